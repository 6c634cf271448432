"""The cells of a run, from its settings alone. Light to import, as all that tells how far a run is."""

from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

FAILED = ".failed"
OFFICIAL = ("official", "openml")  # the protocols of the splits that a table brings


class Cell(NamedTuple):
    """One fit: a method on the training rows of one split of a table, with one seed."""

    table: str
    method: str
    repeat: int
    fold: int
    seed: int

    def path(self, status="ok"):
        """Where in the run's folder its result lies."""
        suffix = "" if status == "ok" else FAILED
        name = f"r{self.repeat}-f{self.fold}-s{self.seed}{suffix}.parquet"
        return Path("cells", file_name(self.table), file_name(self.method), name)


def planned(settings, methods=None, seeds=None, repeats=None):
    """List the cells of a run, in the order in which they are run.

    Parameters
    ----------
    settings : dict
        From `begin` or `Run.settings`.
    methods : iterable of str or None, default=None
        Only these.
    seeds, repeats : int or None, default=None
        Only the first ones.

    Returns
    -------
    cells : list of Cell
    """
    first = settings["protocol"]["seed"]
    seeds = range(first, first + (seeds or settings["seeds"]))
    return [
        Cell(table, method, repeat, fold, seed)
        for table in settings["tables"]
        for method in (settings["methods"] if methods is None else methods)
        for repeat, fold in splits_of(settings, table)
        if repeats is None or repeat < repeats or settings["protocol"]["name"] in OFFICIAL
        for seed in seeds
    ]


def splits_of(settings, table):
    """The (repeat, fold) of a table."""
    protocol = settings["protocol"]
    if protocol["name"] in OFFICIAL:
        if not settings["tables"][table]["official"]:
            raise ValueError(
                f"table {table} has no official splits, which protocol {protocol['name']} needs: name an "
                "OpenML task (`openml_task = ...`), a text (`text = ...`) or images (`image = ...`) in the "
                "suite, or use the protocol cv or holdout."
            )
        return settings["tables"][table]["official"]
    folds = protocol["folds"] if protocol["name"] == "cv" else 1
    repeats = protocol["repeats"] if protocol["name"] != "paper" else 1
    return [(repeat, fold) for repeat in range(repeats) for fold in range(folds)]


def file_name(name):
    """Return a name as a file can have it on any system."""
    return quote(name, safe=" +").replace(".", "%2E") if name.startswith(".") else quote(name, safe=" +.")
