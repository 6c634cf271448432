"""What has changed between two runs: paired differences over tables, cells that failed, times."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mixsk.bench.report.data import CELL
from mixsk.bench.report.statistics import HIGHER_IS_BETTER, LEVEL, mean_interval
from mixsk.bench.scores import SCORES
from mixsk.bench.text import last_line

WORSE, BETTER, SAME, OPEN = "worse", "better", "same", ""
PAIRS = ("cells", "tables")
SPLIT_BY = {  # the settings of a protocol that its splits depend on
    "cv": ("folds", "seed"),
    "holdout": ("test_size", "seed"),
    "paper": ("test_size", "seed"),
    "official": (),
    "openml": (),
}
DIFFERENCES = ["method", "score", "tables", "cells", "a", "b", "change", "low", "high", "verdict"]


@dataclass(frozen=True)
class Changes:
    """What has changed from run A to run B.

    Attributes
    ----------
    settings : list of (str, str, str)
        What differs in what was run: its name, A's, B's.
    scores : DataFrame
        A row for each method and score: `DIFFERENCES`. `a`, `b` and `change`, B's less A's, are means over
        the tables; the intervals from `low` to `high` hold together at 95 % (Bonferroni; NaN for one table).
        `verdict` is "worse" or "better" where the whole interval is, by more than the tolerance, "same" where
        no table differs, and else "".
    times : DataFrame
        A row for each method: the same without verdict, `change` the ratio of B's seconds a fit to A's, its
        geometric mean over the tables, with its own 95 % interval.
    statuses : DataFrame
        The cells that both runs have with another status: `CELL`, before, after, line (of the error).
    only_a, only_b : int
        Cells that the other run has not.
    other_tables : list of str
        Tables of one name and other rows; they are left out.
    level : float
        Of the intervals of `scores`, each by itself.
    """

    settings: list
    scores: pd.DataFrame
    times: pd.DataFrame
    statuses: pd.DataFrame
    only_a: int
    only_b: int
    other_tables: list
    level: float

    @property
    def newly_failed(self):
        """The cells that A has with success and B without."""
        return self.statuses[self.statuses["before"] == "ok"]

    @property
    def worse(self):
        """Whether B is worse: a score of a method, or a cell that fails now."""
        return bool((self.scores["verdict"] == WORSE).any() or len(self.newly_failed))


def compare(a, b, *, scores=SCORES, tolerance=0.0, pair="cells"):
    """Compare two runs.

    Parameters
    ----------
    a, b : Results
    scores : sequence of str, default=SCORES
    tolerance : float, default=0.0
        What a score may change by, in its own units.
    pair : {"cells", "tables"}, default="cells"
        "cells": what both runs have fitted on the same rows with the same seed is compared. "tables": the
        means of each table, whatever its splits and seeds: for runs that differ in these.

    Returns
    -------
    changes : Changes

    Raises
    ------
    ValueError
        If the runs have no cell in common, or their splits differ and cells are to be paired.
    """
    if pair == "cells":
        _check_splits(a.settings, b.settings)
    tables_a, tables_b = a.settings["tables"], b.settings["tables"]
    others = [
        name
        for name in tables_a
        if name in tables_b and tables_a[name]["fingerprint"] != tables_b[name]["fingerprint"]
    ]
    key = CELL if pair == "cells" else ["table", "method"]
    both = _common(a, b, key, others)
    means = _means(both, key, scores)
    rows, level = _score_rows(means, scores, tolerance)
    return Changes(
        settings=_settings(a, b),
        scores=pd.DataFrame(rows, columns=DIFFERENCES),
        times=pd.DataFrame(_time_rows(_means(both, key, ["fit_seconds"])), columns=DIFFERENCES[:-1]),
        statuses=_statuses(a.cells, b.cells, key, others),
        only_a=_only(a.cells, b.cells, key),
        only_b=_only(b.cells, a.cells, key),
        other_tables=others,
        level=level,
    )


def _check_splits(a, b):
    a, b = a["protocol"], b["protocol"]
    for what in ("name", *SPLIT_BY[a["name"]]):
        if a[what] != b[what]:
            raise ValueError(
                f"the runs split their tables in other ways, protocol {what} {a[what]!r} and {b[what]!r}, so "
                "that none of their cells can be paired; --pair tables compares the means of the tables."
            )


def _common(a, b, key, others):
    """The cells of either run that succeeded, on tables that are the same in both."""
    cells = [run.cells[~run.cells["table"].isin(others)] for run in (a, b)]
    if cells[0].merge(cells[1], on=key).empty:
        described = " and ".join(
            f"{run.settings['suite']['name']} ({', '.join(run.methods)}; seeds "
            f"{', '.join(map(str, sorted(set(run.cells['seed']))))})"
            for run in (a, b)
        )
        raise ValueError(f"the runs have no cell in common, of {described}: there is nothing to compare.")
    return [own[own["status"] == "ok"] for own in cells]


def _means(both, key, scores):
    """By score, a frame of each table and method that both runs have: columns a, b and cells."""
    means = {}
    for score in scores:
        a, b = (run[[*CELL, score]] for run in both)
        if key == CELL:
            pairs = a.merge(b, on=CELL, suffixes=("_a", "_b")).dropna()
            groups = pairs.groupby(["method", "table"], sort=False)
            found = groups[[f"{score}_a", f"{score}_b"]].mean()
            cells = groups.size()
        else:
            a, b = (
                run.dropna().groupby(["method", "table"], sort=False)[score].agg(["mean", "size"])
                for run in (a, b)
            )
            found = pd.concat([a["mean"], b["mean"]], axis="columns", join="inner")
            cells = np.minimum(a["size"], b["size"]).reindex(found.index)
        found.columns = ["a", "b"]
        means[score] = found.assign(cells=cells)
    return means


def _score_rows(means, scores, tolerance):
    """The rows of the scores, and the level of each interval: all hold at once with LEVEL."""
    methods = dict.fromkeys(method for score in scores for method, _ in means[score].index)
    groups = [
        (method, score, means[score].loc[[method]])
        for method in methods
        for score in scores
        if method in means[score].index
    ]
    # What is the same in all tables can be no false alarm.
    at_stake = sum(len(rows) > 1 and not _same(rows) for _, _, rows in groups)
    level = 1 - (1 - LEVEL) / max(at_stake, 1)
    found = []
    for method, score, rows in groups:
        change, low, high = mean_interval((rows["b"] - rows["a"]).round(12), level)
        verdict = SAME if _same(rows) else _verdict(low, high, tolerance, HIGHER_IS_BETTER[score])
        counts = [len(rows), int(rows["cells"].sum())]
        found.append([method, score, *counts, rows["a"].mean(), rows["b"].mean(), change, low, high, verdict])
    return found, level


def _same(rows):
    return bool((rows["a"] == rows["b"]).all())


def _verdict(low, high, tolerance, higher_is_better):
    if not higher_is_better:
        low, high = -high, -low
    if high < -tolerance:
        return WORSE
    return BETTER if low > tolerance else OPEN


def _time_rows(means):
    found = []
    frame = means["fit_seconds"]
    for method, rows in frame[(frame["a"] > 0) & (frame["b"] > 0)].groupby(level=0, sort=False):
        ratio, low, high = np.exp(mean_interval(np.log(rows["b"] / rows["a"])))
        counts = [len(rows), int(rows["cells"].sum())]
        found.append([method, "fit_seconds", *counts, rows["a"].mean(), rows["b"].mean(), ratio, low, high])
    return found


def _statuses(a, b, key, others):
    """The cells of B whose status is not that of A's cell of the same key, or of the worst of them."""
    a = a[~a["table"].isin(others)]
    a = a.iloc[np.argsort(a["status"] == "ok", kind="stable")].drop_duplicates(key)
    what = ["status", "error"]
    pairs = a[[*key, *what]].merge(b[[*CELL, *what]], on=key, suffixes=("_a", "_b"))
    pairs = pairs[pairs["status_a"] != pairs["status_b"]]
    errors = pairs["error_b"].where(pairs["status_b"] != "ok", pairs["error_a"])
    named = pairs.rename(columns={"status_a": "before", "status_b": "after"})[[*CELL, "before", "after"]]
    return named.assign(line=errors.map(last_line)).reset_index(drop=True)


def _only(own, other, key):
    """How many cells of a run the other has not."""
    found = own[[*CELL]].merge(other[key].drop_duplicates(), on=key, how="left", indicator=True)
    return int((found["_merge"] == "left_only").sum())


def _settings(a, b):
    """What differs in what was run."""
    pairs = {"suite": [run.settings["suite"]["name"] for run in (a, b)]}
    for what in a.settings["protocol"]:
        pairs[f"protocol {what}"] = [run.settings["protocol"].get(what) for run in (a, b)]
    pairs["seeds"] = [run.settings["seeds"] for run in (a, b)]
    overrides = [run.settings["overrides"] for run in (a, b)]
    for what in overrides[0] | overrides[1]:
        pairs[what] = [own.get(what, "not set") for own in overrides]
    methods = [run.settings["methods"] for run in (a, b)]
    for name in methods[0]:
        if name in methods[1]:
            is_a, is_b = (own[name]["is"] for own in methods)
            for what in is_a | is_b:
                pairs[f"{name}: {what}"] = [own.get(what, "not set") for own in (is_a, is_b)]
    for what in ("mixsk", "revision", "torch", "sklearn", "python", "host"):
        pairs[what] = [", ".join(dict.fromkeys(run.cells[what].dropna().astype(str))) for run in (a, b)]
    return [(what, str(own), str(other)) for what, (own, other) in pairs.items() if own != other]
