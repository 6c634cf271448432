"""Claims about single tables and small sets of them: Tables 1, 2, 4, 7 and 8, and the toys."""

import numpy as np
import pandas as pd

from findings.counts import BASELINES, NAMES, name
from findings.evidence import (
    ACCURACIES,
    NOT_RUN,
    PAPER,
    ROBUST,
    Finding,
    Section,
    Sheet,
    against,
    between,
    mean_finding,
    percent,
    reported,
    share_finding,
)
from mixsk.bench.report.statistics import mean_interval

TOYS = {
    "moons": "two moons",
    "circles": "two circles",
    "four_circles": "four circles",
    "cubes_2d": "two squares",
    "cubes_3d": "eight cubes",
    "nine_gaussians": "nine Gaussians",
}
UNITS = {  # what an interval on a single table tells
    "seeds": "Gains on a single table are paired over the seeds of one split: their intervals tell what "
    "another seed would give, not what another split, with other test rows, would.",
    "splits": "Gains on a single table are paired over splits, with the seeds of a split averaged. Splits "
    "share rows, so that these intervals are a little too narrow.",
}


def block(number):
    """The accuracies of one of the paper's tables, by number, as the package has them."""
    return next(block for block in ACCURACIES if block["table"] == number)


def points(value):
    """A gain that the paper reports, in points."""
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def paper_gain(table, method, baseline, source):
    """How much more accurate the paper has a method on a table; no text where it says nothing."""
    ours, theirs = reported(method, table, source), reported(baseline, table, source)
    return "" if None in (ours, theirs) else points(ours - theirs)


def mixup_fails(runs, splits, toys):
    """Tables 1 and 2: where mixup is worse than plain training, and whether intrusions are why."""
    found = Section(
        "Where mixup fails, and intrusions (Tables 1 and 2)",
        f"Logistic regression on tables, networks on toys. {UNITS[splits.over]} A seed of a toy stands for "
        "other rows, too.",
    )
    for toy, figures in PAPER["worse"]["toys"].items():
        gains = _toy_gains(toys, toy, "mixup", "vanilla")
        claim, paper = _worse(TOYS[toy], figures)
        found.findings.append(mean_finding(claim, "Table 1", gains, over="seeds", paper=paper, side=-1))
    for table, figures in PAPER["worse"]["tables"].items():
        gains = splits.paired(table, "mixup", "vanilla", splits.over)
        claim, paper = _worse(table, figures)
        found.findings.append(mean_finding(claim, "Table 1", gains, over=splits.over, paper=paper, side=-1))
    row = against(runs.means("mixup", "vanilla"), "mixup", "vanilla")
    losses = (0, None) if row is None else (row["losses"], row["tables"])
    found.findings.append(
        share_finding("Share of all tables on which mixup is worse than plain training", "", *losses, side=0)
    )
    found.findings += _without_intrusions(runs)
    found.sheets.append(_table_2(runs))
    return found


def _worse(where, figures):
    return f"Mixup is worse than plain training: {where}", points(figures["mixup"] - figures["vanilla"])


def _toy_gains(toys, toy, method, baseline):
    """How much more accurate a method is on a toy, by seed, from the CSV file of `toys.py`."""
    if toys is None:
        return pd.Series(dtype=float)
    wide = toys[toys["set"] == toy].pivot(index="seed", columns="method", values="accuracy")
    wide = wide.reindex(columns=[method, baseline])
    return (wide[method] - wide[baseline]).dropna().round(12)


def multi_class():
    """The tables of Table 2 with the paper's gain; one of them has its figures in Table 4."""
    names = [*block(2)["tables"], "openml-1413"]
    names.sort(key=lambda table: int(table.removeprefix("openml-")))
    gains = {}
    for table in names:
        source = 2 if table in block(2)["tables"] else 4
        pair = [reported(method, table, source) for method in ("mixup-exclude-mi", "mixup")]
        gains[table] = pair[0] - pair[1]
    return gains


def _without_intrusions(runs):
    paper = multi_class()
    row = against(runs.means("mixup-exclude-mi", "mixup", tables=paper), "mixup-exclude-mi", "mixup")
    of = f"{sum(gain > 0 for gain in paper.values())} of {len(paper)} tables"
    often = "Without intrusions mixup is more often more than less accurate, tables of several classes"
    much = "Without intrusions mixup is more accurate on average, tables of several classes"
    if row is None:
        return [share_finding(often, "Table 2", 0, None, paper=of), mean_finding(much, "Table 2", [])]
    ends = {"value": row["gain"], "low": row["gain_low"], "high": row["gain_high"], "n": row["tables"]}
    mean = points(float(np.mean(list(paper.values()))))
    return [
        share_finding(often, "Table 2", row["wins"], row["decided"], over="decided tables", paper=of),
        Finding(much, "Table 2", mean, **ends),
    ]


def _table_2(runs):
    rows = []
    for table, paper in multi_class().items():
        gains = runs.paired(table, "mixup-exclude-mi", "mixup", "seeds")
        ours = between(*mean_interval(gains), 2, sign=True) if len(gains) else NOT_RUN
        rows.append([table, points(paper), ours, str(len(gains) or "")])
    heads = ["table", "the paper's gain, points", "ours", "seeds"]
    return Sheet("Gain of mixup by dropping mixed points that intrude (Table 2).", heads, rows)


def selected(runs, splits):
    """Table 4 and what section 6.1 says about it."""
    over = splits.over
    found = Section(
        "Cross-validated density, and the selected tables (Table 4)",
        f"Logistic regression. {UNITS[over]} The rows of GenLabel (KDE) and (CV) in the paper's Table 4 are "
        "not legible in the text at hand: its figures here are those of GenLabel (GM).",
    )
    found.findings += _choice(runs)
    said = PAPER["selected"]
    for table in said["overcome"]:
        for method, words, side in (("mixup", "worse", -1), ("genlabel-gm", "better", 1)):
            claim = f"{name(method)} is {words} than plain training: {table}"
            settings = {"paper": paper_gain(table, method, "vanilla", 4), "side": side, "over": over}
            gains = splits.paired(table, method, "vanilla", over)
            claim = claim[0].upper() + claim[1:]
            found.findings.append(mean_finding(claim, "Section 6.1", gains, **settings))
    for table in said["large_gain"]:
        claim = f"GenLabel (GM) gains over {said['gain_over']} points over mixup: {table}"
        settings = {"paper": paper_gain(table, "genlabel-gm", "mixup", 4)}
        settings |= {"reference": said["gain_over"] / 100, "over": over}
        gains = splits.paired(table, "genlabel-gm", "mixup", over)
        found.findings.append(mean_finding(claim, "Section 6.1", gains, **settings))
    methods = ["generative", *(method for method in BASELINES if method != "generative")]
    methods += ["genlabel-gm", "genlabel-kde", "genlabel-cv"]
    found.sheets.append(beside("Table 4", runs, block(4)["tables"], methods, "seeds", _of(4)))
    return found


def _choice(runs):
    """Whether cross-validation takes the better one of two densities."""
    place, methods = "Section 6.1", ("genlabel-cv", "genlabel-gm", "genlabel-kde")
    claims = (
        "GenLabel (CV) is at least as accurate as the better of GM and KDE, where these differ",
        "GenLabel (CV) is more accurate than the average of GM and KDE",
        "What GenLabel (CV) lacks to the better of GM and KDE",
    )
    means = runs.means(*methods)
    if means is None:
        return [
            share_finding(claims[0], place, 0, None),
            mean_finding(claims[1], place, []),
            mean_finding(claims[2], place, [], side=0),
        ]
    means = means.dropna().round(12)
    cv, either = means["genlabel-cv"], means[["genlabel-gm", "genlabel-kde"]]
    best, differ = either.max(axis=1), either["genlabel-gm"] != either["genlabel-kde"]
    return [
        share_finding(claims[0], place, int((cv >= best)[differ].sum()), int(differ.sum())),
        mean_finding(claims[1], place, (cv - either.mean(axis=1)).round(12)),
        mean_finding(claims[2], place, (best - cv).round(12), side=0),
    ]


def _of(number):
    return lambda method, table: reported(method, table, number)


def beside(caption, runs, tables, methods, over, paper):
    """A sheet of accuracies in percent with their interval over seeds or splits, the paper's in brackets."""
    rows = []
    for table in tables:
        row = [table]
        for method in methods:
            theirs = paper(method, table)
            known = "" if theirs is None else f" [{theirs:.2f}]"
            row.append(_accuracy(runs, table, method, over) + known)
        rows.append(row)
    caption = f"{caption}: accuracy in %, its interval over {over}, and the paper's in square brackets."
    return Sheet(caption, ["table", *map(name, methods)], rows, folded=True)


def _accuracy(runs, table, method, over):
    if not runs.has(method):
        return NOT_RUN
    cells = runs.cells
    cells = cells[(cells["table"] == table) & (cells["method"] == method) & (cells["status"] == "ok")]
    if cells.empty:
        return NOT_RUN
    by = ["repeat", "fold"] if over == "splits" else ["repeat", "fold", "seed"]
    return between(*mean_interval(cells.groupby(by)["accuracy"].mean()), 2)


def networks(runs):
    """Table 7: clean accuracy of networks with two hidden layers."""
    found = Section(
        "Clean accuracy of networks (Table 7)",
        "Networks with two hidden layers. The paper shows these figures beside the robust ones and claims "
        "nothing about them, so that there is no verdict. What it calls GenLabel (NN) is by its code the "
        "hard label of the nearest training row, ours a density of nearest neighbours in the latent space.",
    )
    theirs, nearest = block(7), ROBUST["accuracies"]["clean"]["genlabel-nn"]  # which the package's file lacks

    def paper(method, table):
        if table not in theirs["tables"]:
            return None
        figures = nearest if method == "genlabel-latent-nn" else theirs.get(method)
        return None if figures is None else figures[theirs["tables"].index(table)]

    for method in ("genlabel-latent", "genlabel-latent-nn"):
        for baseline in BASELINES[:-1]:
            gains = [paper(method, table) - paper(baseline, table) for table in theirs["tables"]]
            counts = " / ".join(str(sum(np.sign(gains) == sign)) for sign in (1, 0, -1))
            row = against(runs.means(method, baseline), method, baseline)
            claim = f"{name(method)} against {NAMES[baseline]}: "
            claim += "mean gain" if row is None else (
                f"more / equal / less on {row['wins']} / {row['ties']} / {row['losses']}; mean gain"
            )  # fmt: skip
            said = f"{counts} of {len(gains)}; {points(float(np.mean(gains)))}"
            found.findings.append(
                mean_finding(claim, "Table 7", runs.gains(method, baseline), paper=said, side=0)
            )
    methods = [*BASELINES[:-1], "genlabel-latent", "genlabel-latent-nn"]
    found.sheets.append(beside("Table 7", runs, theirs["tables"], methods, "seeds", paper))
    return found


def columns(runs):
    """Table 8: GenLabel on top of mixup and of mixing whole columns."""
    found = Section(
        "GenLabel with another mixing (Table 8)",
        f"Logistic regression. {UNITS['splits']} The paper says CutMix and not how it cuts a "
        "row of a table; here each column is kept with probability lam. It names no network here.",
    )
    theirs, labelled = block(8), PAPER["labelled"]["genlabel-gm"]

    def paper(method, table):
        return labelled.get(table) if method == "genlabel-gm" else reported(method, table, 8)

    for method, baseline in (("genlabel-gm", "mixup"), ("columns+genlabel", "columns")):
        for table in theirs["tables"]:
            said = points(paper(method, table) - paper(baseline, table))
            claim = f"GenLabel makes {NAMES[baseline]} more accurate: {table}"
            gains = runs.paired(table, method, baseline, "splits")
            found.findings.append(mean_finding(claim, "Table 8", gains, over="splits", paper=said))
    methods = ["vanilla", "mixup", "genlabel-gm", "columns", "columns+genlabel"]
    found.sheets.append(beside("Table 8", runs, theirs["tables"], methods, "splits", paper))
    return found


def on_toys(toys):
    """Figures 4 and 7: what relabelling does on the toys, from the CSV file of `toys.py`."""
    found = Section(
        "Toys (Figures 4 and 7)",
        "Paired over seeds, each of which stands for other training rows, test rows and weights. The paper "
        "shows pictures and gives no accuracy of GenLabel.",
    )
    for toy, place in {"four_circles": "Figures 4, 7", "nine_gaussians": "Figure 7"}.items():
        claim = f"GenLabel is better than mixup: {TOYS[toy]}"
        gains = _toy_gains(toys, toy, "genlabel", "mixup")
        found.findings.append(mean_finding(claim, place, gains, over="seeds"))
    rows = [] if toys is None else [_toy_row(toys, toy) for toy in TOYS]
    found.sheets.append(
        Sheet("Gain over mixup in points.", ["toy", "seeds", "plain", "without intrusions", "GenLabel"], rows)
    )
    return found


def _toy_row(toys, toy):
    gains = [_toy_gains(toys, toy, method, "mixup") for method in ("vanilla", "no_intrusions", "genlabel")]
    return [TOYS[toy], str(max(map(len, gains))), *(between(*mean_interval(g), 2, sign=True) for g in gains)]


def offsets(runs, network):
    """How far our accuracies are from the paper's, method by method, where it gives them."""
    rows = []
    for method in [*BASELINES, "genlabel-gm"]:
        pairs = []
        for table_block in ACCURACIES:
            if table_block["network"] != network or method not in table_block:
                continue
            means = runs.means(method, tables=table_block["tables"])
            if means is not None:
                pairs += [
                    accuracy - reported(method, table, table_block["table"]) / 100
                    for table, accuracy in means[method].dropna().items()
                ]
        if pairs:
            rows.append([name(method), str(len(pairs)), between(*mean_interval(pairs), 2, sign=True),
                         percent(max(map(abs, pairs)), 1)])  # fmt: skip
    heads = ["method", "figures", "ours less the paper's, points", "largest difference"]
    return Sheet("Our accuracies less the paper's, where it gives them; the splits differ.", heads, rows)
