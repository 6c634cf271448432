"""What comes out of a benchmark: a CSV with one row per cell, and the comparison of the methods."""

import csv
import os
from pathlib import Path

import pandas as pd
from scipy.stats import rankdata

from mixsk.bench.runner import COLUMNS


class ResultFile:
    """A CSV that keeps each row from the moment it is added and takes its name when it is closed.

    Until then the rows lie in "NAME.partial" beside it: an earlier result stays until there is a new one, and
    a run that is killed leaves what it had finished.

    Parameters
    ----------
    path : str or Path
        A file ending in ".csv", or a folder, which is made if it is missing and gets a "results.csv". The
        folder around either must exist.

    Raises
    ------
    ValueError
        If no file can be written there, or one is there that is not the result of a benchmark.
    """

    def __init__(self, path):
        path = Path(path)
        if not path.parent.is_dir():
            raise ValueError(f"cannot write results to {path}: make the folder {path.parent} first.")
        try:
            if path.suffix != ".csv":
                path.mkdir(exist_ok=True)
                path = path / "results.csv"
            if path.exists() and not _is_result(path):
                raise ValueError(f"{path} exists and is not the result of a benchmark; choose another name.")
            self._partial = path.with_name(path.name + ".partial")
            self._write(dict(zip(COLUMNS, COLUMNS, strict=True)), mode="w")
        except OSError as error:
            raise ValueError(f"cannot write results to {path}: {error.strerror}.") from error
        self.path = path
        self._rows = {}

    def add(self, number, row):
        """Write a row; `number` is its place in the closed file."""
        self._rows[number] = row
        self._write(row, mode="a")

    def close(self):
        """Put the rows in order under the file's name; return them as a DataFrame."""
        frame = pd.DataFrame([self._rows[number] for number in sorted(self._rows)], columns=COLUMNS)
        frame.to_csv(self._partial, index=False, lineterminator="\n")
        os.replace(self._partial, self.path)
        return frame

    def _write(self, row, mode):
        with self._partial.open(mode, encoding="utf-8", newline="") as file:
            csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(row)


def complete_folds(frame):
    """Return the rows of the folds that every method has reached: all, unless the run was interrupted."""
    reached = frame.groupby(["table", "repeat", "fold"])["method"].transform("nunique")
    return frame[reached == frame["method"].nunique()]


def table_means(frame, score):
    """Average a score over the folds of each table.

    Parameters
    ----------
    frame : DataFrame
        Rows with the columns of a result file.
    score : str
        The column to average, such as "accuracy".

    Returns
    -------
    means : DataFrame of shape (n_tables, n_methods)
        NaN where a cell failed: the mean of the other folds would not compare with other methods' means.
        Folds that not every method has reached (the run was interrupted) are left out.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"table": "iris", "repeat": 0, "fold": [0, 1], "method": "mixup"})
    >>> table_means(frame.assign(accuracy=[0.9, 1.0]), "accuracy")
    method  mixup
    table
    iris     0.95
    """
    cells = complete_folds(frame).groupby(["table", "method"], sort=False)[score]
    return cells.agg(lambda scores: scores.mean(skipna=False)).unstack(sort=False)


def mean_ranks(means, *, higher_is_better):
    """Rank the methods on each table, 1 for the best, and average the ranks over the tables.

    Parameters
    ----------
    means : DataFrame of shape (n_tables, n_methods)
        From `table_means`. NaN ranks last; equal scores share the mean of their ranks.
    higher_is_better : bool
        True for accuracy, False for log loss.

    Returns
    -------
    ranks : Series of shape (n_methods,)
        From 1, the best everywhere, to n_methods.

    Examples
    --------
    >>> import pandas as pd
    >>> accuracy = pd.DataFrame({"a": [0.9, 0.8], "b": [0.7, 0.8]})
    >>> mean_ranks(accuracy, higher_is_better=True).to_dict()
    {'a': 1.25, 'b': 1.75}
    """
    # Rounded, because the same folds summed in another order may differ in the last bit.
    losses = (-means if higher_is_better else means).round(12).fillna(float("inf"))
    return pd.Series(rankdata(losses, axis=1).mean(axis=0), index=means.columns)


def summarise(frame):
    """Compare the methods over all tables of a result.

    Parameters
    ----------
    frame : DataFrame
        Rows with the columns of a result file.

    Returns
    -------
    summary : DataFrame of shape (n_methods, 6)
        Columns accuracy, log_loss, fit_seconds (means over tables; a table where a cell of the method failed
        is left out), accuracy_rank, log_loss_rank, and failed (number of cells). Sorted by log_loss_rank.
    """
    accuracy, log_loss = table_means(frame, "accuracy"), table_means(frame, "log_loss")
    summary = pd.DataFrame(
        {
            "accuracy": accuracy.mean(),
            "log_loss": log_loss.mean(),
            "fit_seconds": table_means(frame, "fit_seconds").mean(),
            "accuracy_rank": mean_ranks(accuracy, higher_is_better=True),
            "log_loss_rank": mean_ranks(log_loss, higher_is_better=False),
            "failed": (frame["status"] == "failed").groupby(frame["method"]).sum(),
        }
    )
    return summary.sort_values("log_loss_rank", kind="stable")


def _is_result(path):
    with path.open("rb") as file:
        return file.readline().decode(errors="replace").strip() == ",".join(COLUMNS)
