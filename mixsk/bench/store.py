"""The folder of a run: what is run, the tables as they were, and one file for each finished cell.

::

    run.json                                  the settings, the tables with their splits, the methods
    tables/TABLE.pkl                          each table as it was when the run began
    cells/TABLE/METHOD/r0-f1-s0.parquet       the result of repeat 0, fold 1, seed 0
    cells/TABLE/METHOD/r0-f1-s0.failed.parquet  the same, of a cell that has not succeeded yet
    results.csv                               all results but the probabilities

Every file is written beside its place and renamed, so that a process that dies leaves a whole file or none,
and any number of processes may write: they need no lock, and whoever reads finds only whole results.
"""

import hashlib
import json
import os
import pickle
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mixsk.bench.folder import FORMAT, Folder
from mixsk.bench.plan import FAILED, file_name, planned
from mixsk.bench.scores import SCORES


def _schema():
    text, number, integer = pa.string(), pa.float64(), pa.int32()
    types = {
        **dict.fromkeys(("suite", "protocol", "table", "method"), text),
        **dict.fromkeys(("repeat", "fold", "seed"), integer),
        "status": text,
        **dict.fromkeys(SCORES, number),
        **dict.fromkeys(("fit_seconds", "predict_seconds", "peak_mb"), number),
        **dict.fromkeys(("together", "n_train", "n_test", "n_classes"), integer),
        **dict.fromkeys(("params", "chosen", "error", "warnings"), text),
        **dict.fromkeys(("mixsk", "revision", "torch", "sklearn", "python", "host", "finished"), text),
        "y": pa.list_(integer),
        "classes": pa.list_(text),
        "probabilities": pa.list_(pa.list_(pa.float32())),
    }
    return pa.schema(list(types.items()))


SCHEMA = _schema()
BY_ROW = ("y", "classes", "probabilities")  # what a cell keeps of each test row
TABLES, PART = "tables", ".part-"
OLD = 3600  # seconds after which nobody is writing a file any more
COLUMNS = [name for name in SCHEMA.names if name not in BY_ROW]


@dataclass
class Table:
    """A table as a run keeps it.

    Attributes
    ----------
    X : DataFrame or ndarray of shape (n, d), Series of shape (n,), or ndarray of shape (n, h, w[, c])
        A Series is of texts, an array of more than two axes of images.
    y : ndarray of shape (n,), int64
        Codes of the classes.
    classes : list of str
    splits : dict or None
        Official splits, by repeat and fold: training and test rows, and rows for development if it has such.
    """

    X: object
    y: np.ndarray
    classes: list
    splits: dict | None = None

    def fingerprint(self):
        """Hexadecimal digits that another table would not have."""
        if self.X.ndim > 2:
            digest = hashlib.sha256(repr([self.X.shape, str(self.X.dtype), self.classes]).encode())
            digest.update(np.ascontiguousarray(self.X))
        else:
            frame = self.X if isinstance(self.X, pd.DataFrame) else pd.DataFrame(self.X)
            digest = hashlib.sha256(repr([*map(str, frame.columns), self.classes]).encode())
            digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
        digest.update(self.y.tobytes())
        for key, parts in sorted((self.splits or {}).items()):
            digest.update(repr(key).encode() + b"".join(np.asarray(rows).tobytes() for rows in parts))
        return digest.hexdigest()[:32]


class Run(Folder):
    """A run's folder, to be written and read.

    Parameters
    ----------
    folder : str or Path
    """

    def __init__(self, folder):
        super().__init__(folder)
        self._known = {}  # by path, what `_row` has read of a file, and of which

    def begin(self, settings):
        """Write what is run."""
        content = json.dumps({"format": FORMAT} | settings, indent=1)
        with _replacing(self.folder / "run.json") as path:
            path.write_text(content, encoding="utf-8")

    # --- tables

    def freeze(self, name, table):
        """Keep a table."""
        content = pickle.dumps(table, protocol=5)
        with _replacing(self._table_path(name)) as path:
            path.write_bytes(hashlib.sha256(content).digest() + content)

    def table(self, name):
        """Return a table that was kept; None if it is not there or damaged."""
        try:
            content = memoryview(self._table_path(name).read_bytes())
        except FileNotFoundError:
            return None
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            return None
        return pickle.loads(content[32:])

    def _table_path(self, name):
        return self.folder / TABLES / f"{file_name(name)}.pkl"

    # --- results

    def write(self, cell, row):
        """Keep a cell's result; one that succeeded takes the place of one that did not, never the reverse.

        Parameters
        ----------
        cell : Cell
        row : dict
            By the names of `SCHEMA`; what it lacks is missing.

        Raises
        ------
        OSError
            If the file cannot be written, for want of room for instance.
        """
        row = dict.fromkeys(SCHEMA.names) | row | cell._asdict()
        if row["status"] != "ok" and self.has(cell):
            return  # its neighbours in a common program had to be run again
        path = self.folder / cell.path(row["status"])
        with _replacing(path) as part:
            pq.write_table(
                pa.Table.from_pylist([row], schema=SCHEMA), part, compression="zstd", write_page_checksum=True
            )
        if row["status"] == "ok":
            (self.folder / cell.path("failed")).unlink(missing_ok=True)

    def read(self, path, columns=None):
        """Return the row of a result's file; None if the file is damaged, in whatever columns, or gone."""
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                table = file.read(use_threads=False)  # half the time of `read_table`
            (row,) = (table if columns is None else table.select(columns)).to_pylist()
        except (OSError, pa.ArrowException, ValueError, KeyError):
            return None
        # The checksums are those of the values, not of their names.
        return row if table.schema.equals(SCHEMA) else None

    def _row(self, path, stat):
        """What `results` has of a file, None if it is damaged; read once, although it is asked for twice."""
        stamp = stat.st_ino, stat.st_mtime_ns, stat.st_size
        if self._known.get(path, (None,))[0] != stamp:
            self._known[path] = stamp, self.read(self.folder / path, COLUMNS)
        return self._known[path][1]

    def remove_damaged(self):
        """Delete results that are not whole, and what killed processes have left; return how many results."""
        for part in self.folder.glob(f"cells/*/*/{PART}*"):
            with suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime > OLD:
                    part.unlink()
        damaged = [path for path, stat in self.files().items() if self._row(path, stat) is None]
        for path in damaged:
            (self.folder / path).unlink(missing_ok=True)
        return len(damaged)

    def results(self):
        """Return all whole results without what they have of each row, as a DataFrame in the run's order."""
        files = self.files()
        # A process that died as it wrote a success has left the failure beside it.
        outdated = {path.removesuffix(".parquet") + f"{FAILED}.parquet" for path in files}
        cells = planned(self.settings()) if self.exists else []
        place = {str(cell.path()): number for number, cell in enumerate(cells)}
        paths = sorted(
            files.keys() - outdated, key=lambda path: (place.get(path.replace(FAILED, ""), -1), path)
        )
        rows = [self._row(path, files[path]) for path in paths]
        return pd.DataFrame([row for row in rows if row is not None], columns=COLUMNS)

    def export(self):
        """Write results.csv; return the results."""
        frame = self.results()
        with _replacing(self.folder / "results.csv") as path:
            frame.to_csv(path, index=False, lineterminator="\n")
        return frame


@contextmanager
def _replacing(path):
    """Yield a path beside `path`, which takes its place at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{PART}{uuid4().hex}")
    try:
        yield part
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
