"""Data sets that are handed out as files: where those may lie, and what is said where they do not."""

import gzip
import os
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

HOME = "MIXSK_DATA"  # the environment variable
MANY = 10  # classes, of which a message does not list them all


@dataclass(frozen=True)
class Form:
    """Files that are a part of a set together, and how they are read: (paths, classes) -> (rows, codes)."""

    files: tuple[str, ...]
    reader: Callable
    inside: str = ""  # the folder that they come in

    def __str__(self):
        several = f"{self.files[0]} to {self.files[-1]}" if len(self.files) > 2 else " with ".join(self.files)
        return f"{self.inside}/{several}" if self.inside else several

    def find(self, folder):
        """Return the paths of all files below `folder`, plain or compressed; None if one is not there."""
        for place in dict.fromkeys([folder / self.inside, folder]):
            paths = [
                next((path for path in (place / name, place / f"{name}.gz") if path.is_file()), None)
                for name in self.files
            ]
            if None not in paths:
                return paths
        return None


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
    elsewhere: str | None = None  # who else has the files

    @property
    def parts(self):
        """The parts of the official split."""
        return [part for part in self.counts if part != "all"]

    def read(self, part, home):
        """Return the rows of a part and their codes, in the order of its files."""
        forms, folders = self.forms[part], [home / folder for folder in self.folders]
        for form in forms:
            for folder in folders:
                if paths := form.find(folder):
                    rows, codes = form.reader(paths, self.classes)
                    self._check_counts(part, codes, " and ".join(map(str, paths)))
                    return rows, codes
        origins = " or ".join(dict.fromkeys(filter(None, [self.origin, self.elsewhere])))
        missing = "" if home.is_dir() else f" (there is no folder {home})"
        raise FileNotFoundError(
            f"{self.title}, {part}: found neither {' nor '.join(dict.fromkeys(map(str, forms)))}, plain or "
            f"as .gz, in {' or '.join(map(str, folders))}{missing}. Get the files from {origins} and put "
            f"them there, or name their folder by data_home= or the environment variable {HOME}."
        )

    def _check_counts(self, part, codes, where):
        found, known = np.bincount(codes, minlength=len(self.classes)), self.counts[part]
        if tuple(found) != known:
            few = len(self.classes) <= MANY
            classes = f", {found.tolist()} of the classes {list(self.classes)}" if few else ""
            warnings.warn(
                f"{where}: {found.sum()} rows{classes}, where {self.title}, {part}, has {sum(known)}, "
                f"{list(known) if few else f'{known[0]} of each class'}. The file is incomplete, or of "
                "another version of the set, or of another set.",
                UserWarning,
                stacklevel=5,
            )


def read_parts(sources, kind, name, subset, data_home):
    """Return the source of a name, and {part: (rows, codes)} of what is asked for of it."""
    if name not in sources:
        near = get_close_matches(str(name).lower(), sources, n=1)
        hint = f", did you mean {near[0]!r}? Choose" if near else "; choose"
        raise ValueError(f"there is no {kind} {name!r}{hint} one of {sorted(sources)}.")
    source = sources[name]
    if subset not in ("all", *source.parts):
        raise ValueError(f"{source.title} has no subset {subset!r}; choose one of {['all', *source.parts]}.")
    home, parts = Path(data_home or os.environ.get(HOME) or "~/mixsk_data").expanduser(), {}
    for part in source.counts if subset == "all" else [subset]:
        parts[part] = source.read(part, home)
    return source, parts


def as_asked(source, parts, data, return_X_y):
    """Return the rows of all parts, put together as `data`, with all that is known of them or the codes."""
    target = np.concatenate([np.asarray(codes, dtype=np.int64) for _, codes in parts.values()])
    if return_X_y:
        return data, target
    ends = np.cumsum([0, *(len(codes) for _, codes in parts.values())])
    rows = {part: np.arange(*ends[k : k + 2]) for k, part in enumerate(parts) if part in source.parts}
    return Bunch(
        data=data,
        target=target,
        target_names=list(source.classes),
        subsets=rows,
        DESCR=f"{source.title}: {source.what}. From {source.origin}.",
    )


def content_of(path):
    """Return the bytes of a file, plain or compressed."""
    content = path.read_bytes()
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged or no gzip file ({error}); get it again.") from error
