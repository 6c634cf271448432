"""Whether GenLabel helps where its densities fit: the paper's Table 9 and section A.6."""

import warnings

import numpy as np
import pandas as pd
from scipy import stats

from findings.counts import NAMES
from findings.evidence import (
    NOT_RUN,
    PAPER,
    Finding,
    Section,
    Sheet,
    between,
    mean_finding,
    percent,
    reported,
)
from findings.tables import points
from mixsk.bench.methods import METHODS
from mixsk.bench.protocol import Protocol
from mixsk.bench.report.figures import BETTER, QUIET, TIE, WORSE, Panel, picture
from mixsk.bench.report.statistics import LEVEL, mean_interval
from mixsk.bench.report.tables import number
from mixsk.bench.store import Run

DRAWS = 5000
WELL = ("iris", "wine")  # of Table 9, where the Gaussian classifier fits; it does not on the others


def rank_correlation(x, y, *, draws=DRAWS, seed=0):
    """Spearman's rank correlation of (n,) pairs and its bootstrap interval over pairs, by percentiles."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan, np.nan, np.nan
    rows = np.random.default_rng(seed).integers(len(x), size=(draws, len(x)))
    ranks = [stats.rankdata(values[rows], axis=1) for values in (x, y)]
    a, b = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    with np.errstate(invalid="ignore"):  # a draw of one pair alone has no correlation
        drawn = (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(stats.spearmanr(x, y).statistic), float(low), float(high)


def train_accuracy(runs):
    """Train accuracy of the Gaussian classifier by table, the mean over the splits of the runs."""
    found = {}
    for folder, results in zip(runs.folders, runs.results, strict=True):
        run, protocol = Run(folder), Protocol(**results.settings["protocol"])
        for name in results.settings["tables"]:
            table = run.table(name)
            if table is None:
                continue
            for train, _ in protocol.splits(table.y, table.splits).values():
                rows, y = getattr(table.X, "iloc", table.X)[train], table.y[train]
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)  # of a class with few rows: a guess
                    score = METHODS["generative"].search(seed=0).fit(rows, y).score(rows, y)
                found.setdefault(name, []).append(score)
    return pd.Series({name: float(np.mean(scores)) for name, scores in found.items()}, dtype=float)


def section(runs, columns):
    """The rank correlation over all tables, and the paper's four."""
    found = Section(
        "Does it help where the densities fit? (Table 9, section A.6)",
        "Spearman's rank correlation, over tables, of how well the Gaussian classifier does with the gain "
        f"of GenLabel (GM) over mixup; its interval is that of {DRAWS} bootstrap samples of the tables "
        "(seed 0). On the tables of Table 9, the gain is paired over splits, the seeds of a split averaged.",
    )
    gains, test = runs.gains("genlabel-gm", "mixup"), runs.means("generative")
    fits = {"train": train_accuracy(runs) if len(gains) else pd.Series(dtype=float)}
    fits["test"] = pd.Series(dtype=float) if test is None else test["generative"].dropna()
    for kind, fit in fits.items():
        paper = _paper_link() if kind == "train" else ""
        claim = f"The gain rises with the {kind} accuracy of the Gaussian classifier"
        pairs = pd.concat([fit, gains], axis=1, keys=["fit", "gain"], join="inner")
        if pairs.empty:
            found.findings.append(Finding(claim, "Section A.6", paper, unit="correlation"))
            continue
        value, low, high = rank_correlation(pairs["fit"], pairs["gain"])
        found.findings.append(
            Finding(claim, "Section A.6", paper, value, low, high, len(pairs), unit="correlation")
        )
        found.frames[f"link-{kind}"] = pairs.reset_index(names="table")
        if kind == "train":
            found.pictures.append(("Gain over mixup against the fit of the Gaussians", _scatter(pairs)))
    ours = train_accuracy(columns)
    for table in PAPER["fit"]:
        better = table in WELL
        claim = f"GenLabel {'makes' if better else 'does not make'} mixup more accurate: {table}"
        gain = columns.paired(table, "genlabel-gm", "mixup", "splits")
        settings = {"over": "splits", "paper": _paper_gain(table), "side": 1 if better else -1}
        found.findings.append(mean_finding(claim, "Table 9", gain, **settings))
    found.sheets.append(_four(columns, ours))
    return found


def _gain(table):
    """The paper's gain of GenLabel (GM) over mixup on a table of its Table 9."""
    labelled = PAPER["labelled"]["genlabel-gm"].get(table) or reported("genlabel-gm", table, 9)
    return labelled - reported("mixup", table)


def _paper_gain(table):
    return points(_gain(table))


def _paper_link():
    """The rank correlation of the paper's own four tables."""
    fits = PAPER["fit"]
    correlation = stats.spearmanr(list(fits.values()), [_gain(table) for table in fits]).statistic
    return f"{number(correlation, 2, sign=True).text}, {len(fits)} tables"


def _four(columns, ours):
    """Table 9 beside ours."""
    rows = []
    for table, theirs in PAPER["fit"].items():
        gains = columns.paired(table, "genlabel-gm", "mixup", "splits")
        fit = percent(ours[table], 2) if table in ours else NOT_RUN
        gain = between(*mean_interval(gains), 2, sign=True) if len(gains) else NOT_RUN
        rows.append([table, f"{theirs:.2f}", fit, _paper_gain(table), gain, str(len(gains) or "")])
    heads = ["table", "train accuracy of GM, the paper, %", "ours, %"]
    heads += ["gain over mixup, the paper", "ours", "splits"]
    return Sheet(f"{NAMES['genlabel-gm']} and {NAMES['generative']} on the tables of Table 9.", heads, rows)


def _scatter(pairs):
    """Gain against fit, a point for each table."""

    def draw(axes):
        colours = np.array([WORSE, TIE, BETTER])[np.sign(pairs["gain"]).astype(int) + 1]
        axes.axhline(0, color=QUIET, linewidth=0.7)
        axes.scatter(100 * pairs["fit"], 100 * pairs["gain"], s=16, c=colours, alpha=0.85, linewidths=0)
        axes.set(title="GenLabel (GM) against mixup", ylabel="gain, points")
        axes.set(xlabel="train accuracy of the Gaussian classifier, %")

    return picture("link", [Panel(draw, "Gain against fit")], size=(4.2, 2.9))
