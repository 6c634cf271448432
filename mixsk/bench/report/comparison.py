"""The sections of a report that set methods beside each other."""

import numpy as np
import pandas as pd

from mixsk.bench.report import figures, paper, statistics
from mixsk.bench.report.statistics import HIGHER_IS_BETTER
from mixsk.bench.report.tables import Cell, Head, columns, interval, number, numbers, p_value
from mixsk.bench.results import complete_folds, table_means
from mixsk.bench.scores import SCORES

NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "ECE",
    "auc": "AUC",
}
JUDGED = ("accuracy", "log_loss")  # what is counted and tested
KINDS = ("wins", "ties", "losses")


def add(report, cells, methods, baselines):
    """Add the sections.

    Parameters
    ----------
    report : Report
    cells : DataFrame
        Of `Results`; what is compared are the folds that every method has reached.
    methods, baselines : list of str
    """
    means = {score: table_means(cells, score)[methods] for score in SCORES}
    summary = statistics.summary(cells)
    _summary(report, summary, len(means["accuracy"]))
    if len(methods) > 1:
        _versus(report, means, baselines)
        _tests(report, means)
    _costs(report, summary, complete_folds(cells))
    _reliability(report, summary, complete_folds(cells))
    _by_table(report, means)


def _summary(report, summary, n_tables):
    heads = [Head("method", numeric=False)]
    cells = [[Cell(method) for method in summary.index]]
    for score, name in NAMES.items():
        heads.append(Head(name, hint=_hint(score), low=not HIGHER_IS_BETTER[score]))
        cells.append(numbers(summary[score], 3, _best(score)))
    for score in JUDGED:
        heads.append(Head(f"rank by {NAMES[score]}", hint="1 is best", low=True))
        cells.append(numbers(summary[f"{score}_rank"], 2, "min"))
    heads.append(Head("seconds a fit", hint=_hint("fit_seconds"), low=True))
    cells.append(numbers(summary["fit_seconds"], 2, "min"))
    if summary["failed"].any():
        heads.append(Head("failed cells"))
        cells.append(numbers(summary["failed"], 0))
    if len(summary) > 1:
        report.verdict = "Best mean rank: " + ", ".join(
            _first(summary[f"{score}_rank"], f"by {NAMES[score]}") for score in JUDGED
        )
    report.frames["summary"] = summary.reset_index(names="method")
    report.sections["summary"] = {"table": columns(heads, cells), "n_tables": n_tables}


def _first(ranks, by):
    """The methods with the lowest mean rank, said in a sentence."""
    names = ranks.index[ranks.round(6) == ranks.round(6).min()]
    return f"{' and '.join(names)} {by} ({ranks.min():.2f})"


def _versus(report, means, baselines):
    counts = {
        score: statistics.versus(means[score], baselines, higher_is_better=HIGHER_IS_BETTER[score])
        for score in JUDGED
    }
    counts["accuracy"] = paper.shares(counts["accuracy"], means["accuracy"].index)
    frame = pd.concat([rows.assign(score=score) for score, rows in counts.items()], ignore_index=True)
    report.frames["versus"] = frame[["score", *frame.columns.drop("score")]]
    known = means["accuracy"].dropna(axis="columns", how="all")
    report.sections["versus"] = _gains(report, known, baselines) | {
        "accuracy": _counted(counts["accuracy"], ("more accurate", "equal", "less"), 2, 100),
        "log_loss": _counted(counts["log_loss"], ("lower log loss", "equal", "higher"), 3, 1),
        "paper": "paper_wins" in frame,
        "n_paper": len(set(means["accuracy"].index) & set(paper.TABLES)),
        "n_tables": len(means["accuracy"]),
    }


def _gains(report, means, baselines):
    """Figures of the gains over the first of the baselines that has scores, for the methods that have."""
    main = next((name for name in baselines if name in means), None)
    by_method = {
        method: statistics.gains(means, method, main, higher_is_better=True)
        for method in means
        if main not in (None, method)
    }
    by_method = {method: values for method, values in by_method.items() if len(values)}
    if not by_method:
        return {"main": None}
    gains = figures.gain_histograms("gains", by_method, main)
    scatter = figures.scatters("scatter", means, list(by_method), main)
    report.pictures += [gains, scatter]
    return {"main": main, "gains": gains, "scatter": scatter}


def _counted(counts, words, digits, scale):
    heads = [Head("method", numeric=False), Head("against", numeric=False), Head("")]
    cells = [
        [Cell(name) for name in counts["method"]],
        [Cell(name) for name in counts["baseline"]],
        [_bar(row) for _, row in counts.iterrows()],
    ]
    for kind, word in zip(KINDS, words, strict=True):
        heads.append(Head(word, hint="% of tables"))
        cells.append([_share(row, kind) for _, row in counts.iterrows()])
    heads += [Head("mean gain", hint="points" if scale == 100 else "nats"), Head("tables")]
    cells.append(
        [
            number(
                row["gain"], digits, sign=True, scale=scale,
                note=interval(row["gain_low"], row["gain_high"], digits, sign=True, scale=scale),
            )
            for _, row in counts.iterrows()
        ]
    )  # fmt: skip
    cells.append([number(n, 0) for n in counts["tables"]])
    if "paper_wins" in counts:
        heads.append(Head("the paper's", numeric=False, hint="82 tables"))
        cells.append([_paper(row) for _, row in counts.iterrows()])
    return columns(heads, cells)


def _bar(row):
    """Wins, ties and losses as one bar, nothing where no table is left."""
    shares = [row[f"{kind}_share"] for kind in KINDS]
    return Cell("", row["wins_share"], bar=tuple(shares) if row["tables"] else ())


def _share(row, kind):
    note = interval(row[f"{kind}_low"], row[f"{kind}_high"], 0, scale=100)
    return number(row[f"{kind}_share"], 1, scale=100, note=note)


def _paper(row):
    """The paper's shares of a pair, an empty cell for pairs that it has not."""
    if np.isnan(row["paper_wins"]):
        return Cell("", np.nan)
    return Cell(" / ".join(f"{100 * row[f'paper_{kind}']:.1f}" for kind in KINDS), row["paper_wins"])


def _tests(report, means):
    tests, rows = {}, []
    for score in JUDGED:
        found = statistics.significance(means[score], higher_is_better=HIGHER_IS_BETTER[score])
        if found is None:
            continue
        section = {"tests": found, "name": NAMES[score], "friedman": p_value(found.friedman), "picture": None}
        if len(found.ranks) > 2:
            name = f"critical-difference-{score.replace('_', '-')}"
            section["picture"] = figures.critical_difference(name, found, NAMES[score])
            report.pictures.append(section["picture"])
        section["wilcoxon"] = _matrix(found.wilcoxon_holm)
        section["nemenyi"] = _matrix(found.nemenyi)
        tests[score] = section
        rows += [
            {"score": score, "method": a, "other": b, "tables": found.tables}
            | {"rank": found.ranks[a], "other_rank": found.ranks[b], "friedman": found.friedman}
            | {"nemenyi": found.nemenyi.loc[a, b], "wilcoxon_holm": found.wilcoxon_holm.loc[a, b]}
            for i, a in enumerate(found.ranks.index)
            for b in found.ranks.index[i + 1 :]
        ]
    report.sections["tests"] = {
        "of": tests,
        "drawn": any(section["picture"] for section in tests.values()),
        "n_tables": len(means["accuracy"]),
    }
    report.frames["tests"] = pd.DataFrame(rows)


def _matrix(p):
    """A table of p-values; below 5 % they are marked, and the diagonal is empty."""
    heads = [Head("", numeric=False), *(Head(name, low=True) for name in p.columns)]
    cells = [[Cell(name) for name in p.index]]
    for b in p.columns:
        cells.append(
            [Cell("", np.nan) if a == b else Cell(p_value(p.loc[a, b]), p.loc[a, b], best=p.loc[a, b] < 0.05)
             for a in p.index]
        )  # fmt: skip
    return columns(heads, cells)


def _costs(report, summary, cells):
    picture = figures.costs("cost", summary)
    report.pictures.append(picture)
    report.sections["cost"] = {
        "picture": picture,
        "together": int((cells["together"] > 1).sum()),
        "n_cells": len(cells),
    }


def _reliability(report, summary, cells):
    bins = statistics.reliability(cells)
    bins["method"] = pd.Categorical(bins["method"], summary.index)
    bins = bins.sort_values(["method", "bin"]).astype({"method": str})
    report.frames["reliability"] = bins
    picture = figures.reliability("reliability", bins, summary["ece"])
    report.pictures.append(picture)
    report.sections["reliability"] = {"picture": picture}


def _by_table(report, means):
    frames = [by_table.assign(score=score).reset_index() for score, by_table in means.items()]
    frame = pd.concat(frames, ignore_index=True)
    report.frames["tables"] = frame[["score", *frame.columns.drop("score")]]
    report.sections["tables"] = {
        "scores": [
            {"name": NAMES[score], "hint": _hint(score), "table": _scores(by_table, _best(score))}
            for score, by_table in means.items()
        ]
    }


def _scores(means, best):
    heads = [Head("table", numeric=False), *(Head(method) for method in means.columns)]
    rows = [[Cell(table), *numbers(scores, 3, best)] for table, scores in means.iterrows()]
    return columns(heads, list(zip(*rows, strict=True)))


def _best(score):
    return "max" if HIGHER_IS_BETTER[score] else "min"


def _hint(score):
    return "higher is better" if HIGHER_IS_BETTER[score] else "lower is better"


def add_paper(report, settings):
    """Add the accuracies of the GenLabel paper, if the run has tables and methods of it."""
    frame = report.frames["tables"]
    means = frame[frame["score"] == "accuracy"].drop(columns="score").set_index("table")
    pairs = paper.accuracies(means, settings["overrides"].get("module")).dropna()
    if pairs.empty:
        return
    heads = [Head("table", numeric=False), Head("method", numeric=False)]
    heads += [Head("this run", hint="%"), Head("the paper", hint="%"), Head("difference", hint="points")]
    heads += [Head("in its Table")]
    cells = [
        [Cell(table) for table in pairs["table"]],
        [Cell(method) for method in pairs["method"]],
        [number(value, 2, scale=100) for value in pairs["ours"]],
        [number(value, 2, scale=100) for value in pairs["paper"]],
        [number(value, 2, scale=100, sign=True) for value in pairs["difference"]],
        [number(value, 0) for value in pairs["source"]],
    ]
    mean, low, high = statistics.mean_interval(pairs.groupby("table")["difference"].mean())
    report.frames["paper"] = pairs
    report.sections["paper"] = {
        "table": columns(heads, cells),
        "n_pairs": len(pairs),
        "n_tables": pairs["table"].nunique(),
        "difference": number(mean, 2, scale=100, sign=True).text,
        "interval": interval(low, high, 2, sign=True, scale=100),
    }
