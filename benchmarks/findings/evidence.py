"""Claims and what they are set against: values with intervals, and the one rule that judges them."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from mixsk.bench.report import data, paper, statistics
from mixsk.bench.report.tables import interval, number
from mixsk.bench.results import complete_folds, table_means

# What the paper reports: the package's file, what only these claims need, and that of robustness.py.
ACCURACIES, SHARES = paper.FIGURES["accuracies"], paper.FIGURES["shares"]
PAPER = tomllib.loads((Path(__file__).parent / "genlabel.toml").read_text(encoding="utf-8"))
ROBUST = tomllib.loads((Path(__file__).parents[1] / "robustness.toml").read_text(encoding="utf-8"))

CONFIRMED, CONTRADICTED, UNDECIDED = "confirmed", "contradicted", "undecided"
NOT_RUN, NO_CLAIM = "not run", "\N{EN DASH}"
VERDICTS = (CONFIRMED, CONTRADICTED, UNDECIDED, NOT_RUN)
UNITS = {  # factor, digits and whether the sign is written
    "points": (100, 2, True),
    "share": (100, 1, False),
    "correlation": (1, 2, True),
}
FOLD = ["repeat", "fold"]


@dataclass(frozen=True)
class Finding:
    """A claim, the paper's figure and ours.

    `n` is the number of what the interval is taken over, None if nothing was run. `side` says where the
    paper sees the value: above (1) or below (-1) `reference`; 0 where it says nothing. `claimed` is false of
    what is judged in the same way, but which the paper does not say in these words.
    """

    claim: str
    place: str
    paper: str = ""
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    n: int | None = None
    over: str = "tables"
    unit: str = "points"
    side: int = 1
    reference: float = 0.0
    claimed: bool = True

    @property
    def verdict(self):
        """Where the whole interval lies; one without ends decides nothing."""
        if self.n is None:
            return NOT_RUN
        if self.side == 0:
            return NO_CLAIM
        above, below = self.low > self.reference, self.high < self.reference
        if not (above or below):
            return UNDECIDED
        return CONFIRMED if above == (self.side > 0) else CONTRADICTED

    @property
    def ours(self):
        """The value and its interval as one reads them."""
        scale, digits, sign = UNITS[self.unit]
        ends = interval(self.low, self.high, digits, sign=sign, scale=scale)
        text = number(self.value, digits, sign=sign, scale=scale).text
        return f"{text} ({ends})" if ends else text

    def row(self):
        """The finding as a row of a CSV file."""
        return {
            **{"claim": self.claim, "place": self.place, "paper": self.paper},
            **{"value": self.value, "low": self.low, "high": self.high, "n": self.n, "over": self.over},
            **{"unit": self.unit, "side": self.side, "reference": self.reference},
            **{"claimed": self.claimed, "verdict": self.verdict},
        }


@dataclass(frozen=True)
class Sheet:
    """A table of the page: texts, in the order of `heads`; a folded one opens at a click."""

    caption: str
    heads: list
    rows: list
    folded: bool = False


@dataclass
class Section:
    """A part of the page.

    `listed` are the findings that the page lists as claims; the others are in its sheets. `account` are
    rows (run, what, text) that say how it was run, `commands` what runs it again.
    """

    title: str
    lede: str
    findings: list = field(default_factory=list)
    listed: list | None = None
    sheets: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    pictures: list = field(default_factory=list)  # (alternative text, Picture)
    frames: dict = field(default_factory=dict)
    commands: list = field(default_factory=list)
    account: list = field(default_factory=list)


class Runs:
    """The cells of one or more folders of `mixsk bench run`, or of none.

    Folders are other repeats of one run: the splits of each are its own. `cells` are those of another
    script, which has no folder.
    """

    def __init__(self, folders=(), results=None, cells=None):
        self.folders = [Path(folder) for folder in folders]
        self.results = [data.read(folder) for folder in self.folders] if results is None else results
        parts = [
            # Two runs may have used the same numbers for their repeats.
            results.cells.assign(repeat=results.cells["repeat"] + 1000 * place)
            for place, results in enumerate(self.results)
        ]
        none = pd.DataFrame(columns=data.COLUMNS) if cells is None else cells
        self.cells = pd.concat(parts, ignore_index=True) if parts else none

    def with_splits_of(self, others):
        """These runs and those of others that differ in their splits and seeds alone."""
        own = [_but_splits(results.settings) for results in self.results]
        found = dict(zip(self.folders, self.results, strict=True))
        for runs in others:
            for folder, results in zip(runs.folders, runs.results, strict=True):
                if _but_splits(results.settings) in own:
                    found[folder] = results
        return Runs(found, list(found.values()))

    @property
    def over(self):
        """What gains on a single table are paired over."""
        return "splits" if len(self.cells[FOLD].drop_duplicates()) > 1 else "seeds"

    def has(self, *methods):
        """Whether each method has a result."""
        return set(methods) <= set(self.cells["method"])

    def means(self, *methods, tables=None):
        """Accuracy of each table on the folds that all these methods have reached; None if there is none."""
        cells = self.cells[self.cells["method"].isin(methods)]
        if not self.has(*methods) or complete_folds(cells).empty:
            return None
        means = table_means(cells, "accuracy")[list(dict.fromkeys(methods))]
        return means if tables is None else means[means.index.isin(list(tables))]

    def gains(self, method, baseline, tables=None):
        """How much more accurate a method is on each table; empty if one of the two was not run."""
        means = self.means(method, baseline, tables=tables)
        if means is None:
            return pd.Series(dtype=float)
        return statistics.gains(means, method, baseline, higher_is_better=True)

    def paired(self, table, method, baseline, over):
        """How much more accurate a method is on one table, for each "seeds" or "splits"."""
        if not self.has(method, baseline):
            return pd.Series(dtype=float)
        cells = self.cells
        cells = cells[
            (cells["table"] == table) & cells["method"].isin([method, baseline]) & (cells["status"] == "ok")
        ]
        wide = cells.pivot(index=[*FOLD, "seed"], columns="method", values="accuracy")
        wide = wide.reindex(columns=[method, baseline]).astype(float)
        # Seeds of a split share its rows: they are averaged before splits are compared.
        gains = (wide[method] - wide[baseline]).dropna()
        gains = gains.groupby(level=FOLD).mean() if over == "splits" else gains
        return gains.round(12)


def _but_splits(settings):
    """What two runs have in common that differ in their splits alone."""
    protocol = {key: value for key, value in settings["protocol"].items() if key not in ("seed", "repeats")}
    prints = {name: table["fingerprint"] for name, table in settings["tables"].items()}
    return protocol, settings["overrides"], prints


def mean_finding(claim, place, gains, *, over="tables", **settings):
    """A finding about the mean of gains, with its t interval; not run without gains."""
    if len(gains) == 0:
        return Finding(claim, place, over=over, **settings)
    value, low, high = statistics.mean_interval(gains)
    return Finding(claim, place, value=value, low=low, high=high, n=len(gains), over=over, **settings)


def share_finding(claim, place, hits, trials, *, reference=0.5, **settings):
    """A finding about a share, with its binomial interval; not run where trials is None."""
    settings = {"unit": "share", "reference": reference} | settings
    if trials is None:
        return Finding(claim, place, **settings)
    low, high = statistics.wilson(hits, trials)
    value = hits / trials if trials else np.nan
    return Finding(claim, place, value=value, low=low, high=high, n=trials, **settings)


def against(means, method, baseline):
    """The row of `statistics.versus` of a pair, and of the tables that decide: sign test; None if not run."""
    if means is None or means[[method, baseline]].dropna().empty:
        return None
    row = statistics.versus(means[[method, baseline]], [baseline], higher_is_better=True).iloc[0].to_dict()
    row["decided"] = row["wins"] + row["losses"]
    row["p"] = binomtest(row["wins"], row["decided"]).pvalue if row["decided"] else np.nan
    return row


def percent(value, digits=1, *, sign=False):
    """A share or a gain of accuracy in percent or points."""
    return number(value, digits, sign=sign, scale=100).text


def between(value, low, high, digits=1, *, sign=False):
    """The same with its interval."""
    ends = interval(low, high, digits, sign=sign, scale=100)
    return f"{percent(value, digits, sign=sign)} ({ends})" if ends else percent(value, digits, sign=sign)


def reported(method, table, source=None):
    """The paper's accuracy in percent, None if it has none; `source` is the number of its table."""
    for block in ACCURACIES:
        if source in (None, block["table"]) and method in block and table in block["tables"]:
            return block[method][block["tables"].index(table)]
    return None
