"""How often GenLabel is more accurate: the paper's Table 3 and Figure 6."""

import pandas as pd

from findings.evidence import (
    NOT_RUN,
    PAPER,
    SHARES,
    Finding,
    Section,
    Sheet,
    against,
    between,
    mean_finding,
    percent,
    share_finding,
)
from mixsk.bench.report import figures
from mixsk.bench.report.statistics import wilson
from mixsk.bench.report.tables import p_value

BASELINES = list(SHARES)
DENSITIES = ("genlabel-cv", "genlabel-gm", "genlabel-kde")
ALPHA_2 = "-alpha-2"
KINDS = ("wins", "ties", "losses")
NAMES = {
    "vanilla": "plain training",
    "adamixup": "AdaMixup",
    "mixup": "mixup",
    "mixup-exclude-mi": "mixup without intrusions",
    "generative": "the Gaussian classifier",
    "genlabel-cv": "GenLabel (CV)",
    "genlabel-gm": "GenLabel (GM)",
    "genlabel-kde": "GenLabel (KDE)",
    "genlabel-nn": "GenLabel (NN)",
    "genlabel-nn-label": "GenLabel (nearest row's label)",
    "genlabel-latent": "GenLabel (GM, latent)",
    "genlabel-latent-nn": "GenLabel (NN, latent)",
    "columns": "columns",
    "columns+genlabel": "columns + GenLabel",
}


def name(method):
    """A method as one reads it."""
    plain = method.removesuffix(ALPHA_2)
    return NAMES.get(plain, plain) + (", alpha 2" if plain != method else "")


def scopes(fits):
    """The sets of tables that are counted over, by what they are called; the paper's own rule first."""
    return {"all tables": None} if fits is None else {"fitted tables": fits, "all tables": None}


def pair_of(runs, method, baseline, tables):
    """The counts of a method, at the same alpha as its baseline where the baseline has an alpha."""
    if method.endswith(ALPHA_2) and baseline.startswith("mixup"):
        baseline += ALPHA_2
    return against(runs.means(method, baseline, tables=tables), method, baseline)


def section(runs, fits):
    """Table 3 and Figure 6."""
    found = Section(
        "Is GenLabel more often more accurate? (Table 3, Figure 6)",
        "Logistic regression. The paper counts GenLabel (CV) on the tables where Gaussians or kernels, as a "
        "classifier, have more than 95 % train accuracy. *Fitted tables* are those of them that were at "
        "hand; *all tables* do not ask for a fit. A table's accuracy is the mean over the seeds. The first "
        "verdict is about how often: wins among the tables that are no ties, against one half. The second is "
        "about how much, which the paper does not tell: the mean gain.",
        listed=[],
    )
    rows, detailed, brief = [], [], []
    for scope, tables in scopes(fits).items():
        for method in [*DENSITIES, *(density + ALPHA_2 for density in DENSITIES)]:
            for baseline in BASELINES:
                row = pair_of(runs, method, baseline, tables)
                often, much = _findings(method, baseline, scope, row, _paper(baseline))
                rows += [] if row is None else [{"scope": scope} | row]
                if method == DENSITIES[0]:
                    found.findings += [often, much]
                    detailed.append(_detailed(scope, baseline, row, often, much))
                elif runs.has(method):
                    brief.append(_brief(scope, method, baseline, row, often, much))
            if method != DENSITIES[0] and not runs.has(method):
                brief.append([name(method), "all", scope, "", "", NOT_RUN, "", NOT_RUN])
        found.findings += (figure_6 := _figure_6(runs, scope, tables))
        found.listed += figure_6
    found.sheets = [_detailed_sheet(detailed), _brief_sheet(brief)]
    found.frames["versus"] = pd.DataFrame(rows)
    gains = {
        name(method): values
        for method in (*DENSITIES, DENSITIES[0] + ALPHA_2)
        if len(values := runs.gains(method, "mixup" + ALPHA_2 * method.endswith(ALPHA_2)))
    }
    if gains:
        picture = figures.gain_histograms("gains", gains, "mixup")
        found.pictures.append(("How many tables gain how much accuracy over mixup", picture))
    return found


def _paper(baseline):
    return " / ".join(f"{share:.1f}" for share in SHARES[baseline]) + " %"


def _findings(method, baseline, scope, row, paper):
    """How often, and by how much, a method beats a baseline."""
    pair = f"{name(method)} against {NAMES[baseline]}, {scope}"
    often, much = f"{pair}: more often more than less accurate", f"{pair}: more accurate on average"
    if row is None:
        return share_finding(often, "Table 3", 0, None, paper=paper), mean_finding(
            much, "", [], claimed=False
        )
    ends = {"value": row["gain"], "low": row["gain_low"], "high": row["gain_high"], "n": row["tables"]}
    decided = share_finding(often, "Table 3", row["wins"], row["decided"], paper=paper, over="decided tables")
    return decided, Finding(much, "", **ends, claimed=False)


def _figure_6(runs, scope, tables):
    """At least as accurate as mixup on most tables, for both alphas."""
    found = []
    for method, alpha in ((DENSITIES[0], 1), (DENSITIES[0] + ALPHA_2, 2)):
        row = pair_of(runs, method, "mixup", tables)
        claim = f"GenLabel (CV) is at least as accurate as mixup on more than half, alpha {alpha}, {scope}"
        paper = f"{SHARES['mixup'][0] + SHARES['mixup'][1]:.1f} %" if alpha == 1 else "most tables"
        hits, trials = (0, None) if row is None else (row["wins"] + row["ties"], row["tables"])
        found.append(share_finding(claim, "Figure 6", hits, trials, paper=paper))
    return found


def _detailed(scope, baseline, row, often, much):
    cells = [NAMES[baseline], scope]
    if row is None:
        return [*cells, "", "", "", "", _paper(baseline), "", NOT_RUN, "", NOT_RUN]
    shares = [between(*(row[f"{kind}_{end}"] for end in ("share", "low", "high"))) for kind in KINDS]
    p = p_value(row["p"]) if row["decided"] else ""
    return [*cells, str(row["tables"]), *shares, _paper(baseline), p, often.verdict, much.ours, much.verdict]


def _detailed_sheet(rows):
    heads = ["GenLabel (CV) against", "over", "tables", "more, %", "equal, %", "less, %", "the paper"]
    heads += ["p, sign test", "how often", "mean gain, points", "how much"]
    caption = "GenLabel (CV), alpha 1: share of tables on which it is more, equally and less accurate."
    return Sheet(caption, heads, rows)


def _brief(scope, method, baseline, row, often, much):
    cells = [name(method), NAMES[baseline], scope]
    if row is None:
        return [*cells, "", "", NOT_RUN, "", NOT_RUN]
    counts = " / ".join(str(row[kind]) for kind in KINDS)
    return [*cells, counts, often.ours, often.verdict, much.ours, much.verdict]


def _brief_sheet(rows):
    heads = ["method", "against", "over", "more / equal / less", "wins of the decided, %", "how often"]
    heads += ["mean gain, points", "how much"]
    caption = "Either density by itself, and lam ~ Beta(2, 2): the paper gives no such counts."
    return Sheet(caption, heads, rows, folded=True)


def beside(runs, fits):
    """The shares against mixup beside the paper's, both with intervals: whether they may be the same."""
    n, rows = PAPER["n_tables"], []
    paper = dict(zip(KINDS, SHARES["mixup"], strict=True))
    for scope, tables in scopes(fits).items():
        for method in DENSITIES:
            row = pair_of(runs, method, "mixup", tables)
            for kind, word in zip(KINDS, ("more", "equal", "less"), strict=True):
                theirs = wilson(round(paper[kind] / 100 * n), n)
                cells = [name(method), scope, word, between(paper[kind] / 100, *theirs)]
                if row is None:
                    rows.append([*cells, "", NOT_RUN])
                    continue
                low, high = row[f"{kind}_low"], row[f"{kind}_high"]
                inside = "inside" if low <= paper[kind] / 100 <= high else "outside"
                rows.append([*cells, between(row[f"{kind}_share"], low, high), inside])
    heads = ["method", "over", "accurate", f"the paper (CV), % of {n}", "ours, %", "the paper's lies"]
    caption = "Win, tie and loss against mixup, and whether the paper's share is in our interval."
    return Sheet(caption, heads, rows)


def other_splits(checks):
    """GenLabel (GM) against mixup in other runs: other splits, other scalings."""
    rows = []
    for label, runs in checks.items():
        row = pair_of(runs, "genlabel-gm", "mixup", None)
        if row is None:
            rows.append([label, "", "", "", "", NOT_RUN, "", NOT_RUN])
            continue
        often, much = _findings("genlabel-gm", "mixup", label, row, "")
        shares = [percent(row[f"{kind}_share"]) for kind in KINDS]
        p = p_value(row["p"]) if row["decided"] else ""
        cells = [label, str(row["tables"]), " / ".join(shares), often.ours, p]
        rows.append([*cells, often.verdict, much.ours, much.verdict])
    heads = ["run", "tables", "more / equal / less, %", "wins of the decided, %", "p, sign test", "how often"]
    heads += ["mean gain, points", "how much"]
    return Sheet("GenLabel (GM) against mixup under other splits.", heads, rows)
