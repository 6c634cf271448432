"""The cache of OpenML's files: what an entry must have, and how it gets there.

openml-python downloads, and its folders and file names are kept, so that both read the same cache. But it
writes straight into an entry, believes whatever lies there, deletes an entry that it cannot complete, and
pickles into it as it reads. Here a download goes to a folder beside the entries, is checked, and is moved
into place at once; an entry that is not right counts as missing; and reading writes nothing, so that many
processes may read.
"""

import hashlib
import io
import os
import re
import tempfile
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers.expat import ExpatError

import numpy as np
import pandas as pd

from mixsk.datasets.files import INSTALL_OPENML, read_arff

NO_SUCH_DATASET, NO_SUCH_TASK = 111, 151  # OpenML's error codes
SUPERVISED_CLASSIFICATION = "1"  # OpenML's number of the task type


class DamagedError(Exception):
    """A file of the cache is half written or has been changed."""


class Cache:
    """The entries of one server below `cache_dir`; None is openml-python's own folder."""

    def __init__(self, cache_dir=None):
        self._openml = _import_openml()
        configured = self._openml.config.get_config_as_dict()["cachedir"]
        self._base = Path(configured if cache_dir is None else cache_dir).expanduser()
        # org/openml/www for https://www.openml.org
        self._server = Path(self._openml.config.get_cache_directory()).relative_to(configured)

    def folder(self, entry):
        """Return where the files of a `Dataset` or `Task` lie."""
        return self._base / self._server / entry.path

    def provide(self, entry, *, offline):
        """Make sure that an entry is there and right; return whether it had to be fetched."""
        fault = entry.fault(self.folder(entry))
        if fault is None:
            return False
        if offline:
            raise FileNotFoundError(
                f"{entry} is not in the cache: {fault}. Fetch it where there is a network (offline=False, or "
                "`mixsk bench fetch`), or name a cache that has it (cache_dir=, OPENML_CACHE_DIR)."
            )
        self._fetch(entry)
        return True

    def _fetch(self, entry):
        self._base.mkdir(parents=True, exist_ok=True)
        # On the file system of the cache, where moving a folder is one step.
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=self._base) as staging:
            self._download(entry, staging)
            new = Path(staging, self._server, entry.path)
            fault = entry.fault(new)
            if fault is not None:
                raise ConnectionError(f"{entry} came damaged from {self._openml.config.server}: {fault}")
            for pickled in new.glob("*.pkl*"):
                pickled.unlink()
            self._replace(entry, new, Path(staging, "old"))

    def _replace(self, entry, new, aside):
        """Put a new folder in the place of the old one, which goes aside."""
        folder = self.folder(entry)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            os.replace(folder, aside)
        try:
            os.replace(new, folder)
        except OSError:
            # Another process fetched the same entry meanwhile: theirs is as good.
            if entry.fault(folder) is not None:
                raise

    def _download(self, entry, staging):
        openml = self._openml
        try:
            with _configured(openml, staging):
                entry.download(openml)
        except (openml.exceptions.PyOpenMLError, OSError, ExpatError) as error:
            if getattr(error, "code", None) in (NO_SUCH_DATASET, NO_SUCH_TASK):
                raise ValueError(f"OpenML has no {entry}; ids: https://www.openml.org/search") from error
            raise ConnectionError(f"could not fetch {entry} from {openml.config.server}: {error}") from error


@dataclass(frozen=True)
class Dataset:
    """The entry of a dataset."""

    id: int

    @property
    def path(self):
        return Path("datasets", str(self.id))

    def __str__(self):
        return f"dataset {self.id}"

    def fault(self, folder):
        """Return which file is missing or damaged and how, or None."""
        description, data = folder / "description.xml", folder / "dataset.arff"
        try:
            _check_present(description, data)
            expected = text(parse_xml(description), "md5_checksum")
            if expected is None:
                read_arff(data)  # the only check there is
            elif expected.lower() not in _checksums(data):
                raise DamagedError(f"{data} has another MD5 checksum than description.xml says, {expected}")
        except DamagedError as error:
            return str(error)
        except ValueError as error:  # all that liac-arff and a wrong encoding raise
            return f"{data} is half written or damaged ({error})"
        return None

    def download(self, openml):
        openml.datasets.get_dataset(self.id, download_data=True)


@dataclass(frozen=True)
class Task:
    """The entry of a task."""

    id: int

    @property
    def path(self):
        return Path("tasks", str(self.id))

    def __str__(self):
        return f"task {self.id}"

    def fault(self, folder):
        """Return which file is missing or damaged and how, or None."""
        try:
            _check_present(folder / "task.xml", folder / "datasplits.arff")
            read_splits(folder, read_task(folder))
        except DamagedError as error:
            return str(error)
        return None

    def download(self, openml):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # openml-python leaves the splits' file open
            openml.tasks.get_task(self.id, download_splits=True)


@dataclass(frozen=True)
class TaskDescription:
    """What task.xml says."""

    dataset_id: int
    target: str
    n_splits: int | None


def read_task(folder):
    """Read task.xml; a ValueError if it is no supervised classification."""
    root = parse_xml(folder / "task.xml")
    if text(root, "task_type_id") != SUPERVISED_CLASSIFICATION:
        raise ValueError(
            f"task {text(root, 'task_id')} is {text(root, 'task_type')!r}, not supervised classification."
        )
    counts = [
        int(parameter.text or 1)
        for parameter in root.iterfind(".//{*}parameter")
        if parameter.get("name") in ("number_repeats", "number_folds")
    ]
    dataset_id, target = text(root, ".//{*}data_set_id"), text(root, ".//{*}target_feature")
    if dataset_id is None or target is None:
        raise DamagedError(f"{folder / 'task.xml'} names no dataset and target")
    return TaskDescription(int(dataset_id), target, int(np.prod(counts)) if counts else None)


def read_splits(folder, task):
    """Read datasplits.arff: {(repeat, fold): (train, test)}, every row in one of them."""
    path = folder / "datasplits.arff"
    header, *rows = re.split(r"(?im)^\s*@data\s*$", path.read_text(encoding="utf-8"), maxsplit=1)
    names = [name.lower() for name in re.findall(r"(?im)^\s*@attribute\s+['\"]?(\w+)", header)]
    if "sample" in names:
        raise ValueError(f"{path} has learning curves, which are no splits into train and test.")
    try:
        frame = pd.read_csv(
            io.StringIO(rows[0]), header=None, names=names, comment="%", skipinitialspace=True
        )
        numbers = frame[["repeat", "fold", "rowid"]].astype("int64")
        is_test = frame["type"].map({"TRAIN": False, "TEST": True}).astype("bool")
    except (IndexError, KeyError, ValueError) as error:
        raise DamagedError(f"{path} is half written or damaged ({error})") from error
    splits = {
        key: tuple(group.loc[is_test[group.index] == side, "rowid"].to_numpy() for side in (False, True))
        for key, group in numbers.groupby(["repeat", "fold"])
    }
    n_rows = numbers["rowid"].max() + 1 if len(numbers) else 0
    whole = all(
        np.array_equal(np.sort(np.concatenate(split)), np.arange(n_rows)) for split in splits.values()
    )
    if not splits or not whole or len(splits) != (task.n_splits or len(splits)):
        raise DamagedError(f"{path} is half written or damaged (rows or folds are missing)")
    return splits


def parse_xml(path):
    """Return the root of an XML file."""
    try:
        return ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise DamagedError(f"{path} is half written or damaged ({error})") from error


def text(root, tag):
    """Return the text of the first element of that name, or None."""
    path = tag if tag.startswith(".//") else f"{{*}}{tag}"
    found = root.findtext(path)
    return found.strip() if found and found.strip() else None


def _check_present(*files):
    for file in files:
        if not file.is_file():
            raise DamagedError(f"{file} is missing")


def _checksums(path):
    """MD5 of the file as it is, and as it came: openml-python writes text, with this system's line ends."""
    content = path.read_bytes()
    came = content.replace(os.linesep.encode(), b"\n")
    return {hashlib.md5(data, usedforsecurity=False).hexdigest() for data in (content, came)}


@contextmanager
def _configured(openml, cache_dir):
    """Have openml-python download into `cache_dir`, and ARFF files: parquet copies have no checksum."""
    before = openml.config.get_config_as_dict()["cachedir"], os.environ.get("OPENML_SKIP_PARQUET")
    openml.config.set_root_cache_directory(Path(cache_dir))
    os.environ["OPENML_SKIP_PARQUET"] = "true"
    try:
        yield
    finally:
        openml.config.set_root_cache_directory(before[0])
        os.environ.pop("OPENML_SKIP_PARQUET")
        if before[1] is not None:
            os.environ["OPENML_SKIP_PARQUET"] = before[1]


def _import_openml():
    try:
        import openml
    except ImportError as error:
        raise ImportError(f"tables of OpenML need openml-python: {INSTALL_OPENML}") from error
    return openml
