"""The results of a run as a report needs them, by DuckDB from the files of its cells.

Nothing in the folder is written, and a run may be under way in it.
"""

from dataclasses import dataclass
from glob import escape

import duckdb
import numpy as np
import pandas as pd

from mixsk.bench.folder import Folder
from mixsk.bench.names import check_known
from mixsk.bench.results import FOLD
from mixsk.bench.scores import SCORES
from mixsk.bench.status import Status, read_status

CELL = [*FOLD, "method"]
TEXTS = ["error", "warnings", "mixsk", "revision", "torch", "sklearn", "python", "host", "finished"]
COLUMNS = (
    *(*CELL, "status", *SCORES, "fit_seconds", "predict_seconds", "peak_mb", "together", "n_test", *TEXTS),
)
AT_ONCE = 500  # files in a query; one that is damaged spoils it, and its files are then read one by one

# DuckDB does not look at the checksums of pages. `judged_again` finds what a flipped bit has changed: the log
# loss that the probabilities of the cell give, but for what float32 has rounded.
QUERY = f"""
SELECT {", ".join(f'"{name}"' for name in COLUMNS)},
    list_transform(probabilities, lambda p: list_max(p) / list_sum(p)) AS confidence,
    list_transform(
        list_zip(probabilities, y), lambda row: list_position(row[1], list_max(row[1])) = row[2] + 1
    ) AS "right",
    list_avg(list_transform(
        list_zip(probabilities, y),
        lambda row: -ln(greatest(row[1][row[2] + 1] / list_sum(row[1]), {np.finfo(np.float64).eps}))
    )) AS judged_again
FROM read_parquet(?, hive_partitioning = false)
"""


@dataclass(frozen=True)
class Results:
    """What a run has found so far.

    Attributes
    ----------
    settings : dict
        What is run.
    cells : DataFrame
        One row for each cell that has ended, in the order of the tables and methods of the settings:
        `COLUMNS` and, of the test rows of a cell that succeeded, two arrays: `confidence`, the probability
        of the predicted class, and `right`, whether it was the true one.
    damaged : int
        Files that cannot be read or whose scores do not follow from their probabilities; they are left out.
    status : Status
        How far the run is.
    """

    settings: dict
    cells: pd.DataFrame
    damaged: int
    status: Status

    @property
    def methods(self):
        """Names of the methods that have a result, in the order of the settings."""
        reached = set(self.cells["method"])
        return [name for name in self.settings["methods"] if name in reached]


def read(folder, methods=None):
    """Read the results of a run.

    Parameters
    ----------
    folder : str or Path
        As given to `mixsk bench run --out`.
    methods : list of str or None, default=None
        Only these.

    Returns
    -------
    results : Results

    Raises
    ------
    ValueError
        If it is not the folder of a run, it has no such method, or no cell has ended yet.
    """
    run = Folder(folder)
    settings = run.settings()
    for name in methods or ():
        check_known("method", name, list(settings["methods"]))
    rows, damaged = _rows([run.folder / path for path in sorted(run.files())])
    methods = settings["methods"] if methods is None else methods
    rows = rows[rows["method"].isin(list(methods)) & rows["table"].isin(list(settings["tables"]))]
    if rows.empty:
        raise ValueError(
            f"{run.folder} has no whole result yet ({damaged} damaged): there is nothing to tell. `mixsk "
            "bench status` says how far the run is."
        )
    places = {"table": settings["tables"], "method": settings["methods"]}
    places = {key: {name: place for place, name in enumerate(names)} for key, names in places.items()}
    # A cell whose failure has just been replaced may have been seen as both: the success is last, and stays.
    rows = rows.assign(succeeded=rows["status"] == "ok").sort_values(
        ["table", "method", "repeat", "fold", "seed", "succeeded"],
        key=lambda column: column.map(places[column.name]) if column.name in places else column,
        kind="stable",
    )
    cells = rows.drop_duplicates(CELL, keep="last").drop(columns=["succeeded", "judged_again"])
    return Results(settings, cells.reset_index(drop=True), damaged, read_status(folder))


def _rows(paths):
    """The rows of the files that are whole, and how many are not."""
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
        parts = []
        for start in range(0, len(paths), AT_ONCE):
            some = [escape(str(path)) for path in paths[start : start + AT_ONCE]]
            try:
                parts.append(_query(connection, some))
            except duckdb.Error:
                parts += [part for path in some if (part := _one(connection, path)) is not None]
    if not parts:
        return pd.DataFrame(columns=COLUMNS), len(paths)
    rows = pd.concat(parts, ignore_index=True)
    rows[TEXTS] = rows[TEXTS].fillna("")
    failed = rows["status"] != "ok"
    agree = np.isclose(
        rows["judged_again"].astype(float), rows["log_loss"].astype(float), rtol=1e-4, atol=1e-4
    )
    whole = rows[failed | agree]
    gone = sum(not path.exists() for path in paths) if len(rows) < len(paths) else 0
    return whole, len(paths) - len(whole) - gone


def _one(connection, path):
    """The row of one file, None if it is damaged."""
    try:
        return _query(connection, [path])
    except duckdb.Error:
        return None


def _query(connection, paths):
    return connection.execute(QUERY, [paths]).df()
