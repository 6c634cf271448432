"""Robust accuracy: the paper's Table 5, from the CSV file of `benchmarks/robustness.py`."""

import pandas as pd

from findings.counts import BASELINES, name
from findings.evidence import (
    NOT_RUN,
    ROBUST,
    Finding,
    Section,
    Sheet,
    against,
    between,
    mean_finding,
    share_finding,
)
from mixsk.bench.report.statistics import mean_interval
from mixsk.bench.results import table_means

BEST = "the better GenLabel"
DENSITIES = ["genlabel-gm", "genlabel-nn"]  # of which the paper takes the better one on each table
NETWORKS = {"mlp": "networks", "linear": "logistic regression"}
ATTACKED = BASELINES[:-1]  # the paper attacks no generative classifier
COLUMNS = ["table", "module", "method", "seed", "accuracy", "robust_accuracy"]


def read(path):
    """Read the file; its rows stand for cells of one split."""
    frame = pd.read_csv(path)
    if lacking := [column for column in COLUMNS if column not in frame]:
        raise ValueError(
            f"{path} has no column {', '.join(lacking)}, which `benchmarks/robustness.py` writes; it has "
            f"{', '.join(frame.columns)}."
        )
    return frame.assign(repeat=0, fold=0)


def networks(frame):
    """The networks of the file, whose densities are those of the last hidden layer, as a run's cells."""
    names = dict(zip(DENSITIES, ["genlabel-latent", "genlabel-latent-nn"], strict=True))
    rows = frame[frame["module"] == "mlp"]
    return rows.assign(method=rows["method"].replace(names), status="ok")


class Attacked:
    """Robust accuracies of one network, with the better one of GenLabel's densities as one more method."""

    def __init__(self, frame, module):
        self.frame = pd.DataFrame(columns=COLUMNS) if frame is None else frame[frame["module"] == module]
        self.methods = list(dict.fromkeys(self.frame["method"]))
        self.labelled = [method for method in self.methods if method.startswith("genlabel")]

    def means(self, baseline, *others):
        """Means of a baseline and of GenLabel on the tables that all have; None if one was not run."""
        wanted = [*dict.fromkeys([*DENSITIES, *others]), baseline]
        if not set(wanted) <= set(self.methods):
            return None
        means = table_means(self.frame[self.frame["method"].isin(wanted)], "robust_accuracy").dropna()
        return means.assign(**{BEST: means[DENSITIES].max(axis=1)})


def section(frame):
    """Table 5 and the gap to clean accuracy that Table 7 shows."""
    found = Section(
        "Robust accuracy (Table 5)",
        "Accuracy under the boundary attack, L2, radius .1 of a column's range; a wrong clean prediction "
        "counts as broken. The densities are those of the last hidden layer of networks, of the columns in "
        "logistic regression. As in the paper, GenLabel is the better of its densities by the test rows, "
        "table by table, which favours it: the sheets show each by itself. The paper attacks networks only; "
        "of logistic regression its appendix B.1 has a theorem about mixup.",
    )
    for module, network in NETWORKS.items():
        attacked = Attacked(frame, module)
        for baseline in ATTACKED:
            found.findings += _findings(attacked, baseline, module, network)
        found.findings.append(_gap(attacked, network, module))
        found.sheets.append(_each(attacked, network))
    if frame is not None:
        found.sheets.append(_selected(frame))
        by_cell = frame.groupby(["module", "table", "method"], sort=False)[COLUMNS[-2:]]
        found.frames["robust"] = by_cell.mean().reset_index()
    return found


def _findings(attacked, baseline, module, network):
    claim = f"{BEST[0].upper()}{BEST[1:]} against {name(baseline)}, {network}: "
    claimed = module == "mlp" or baseline == "mixup"
    settings = {"side": int(claimed), "place": "Table 5 (a)" if module == "mlp" else "Appendix B.1"}
    counts = ROBUST["counts"][baseline]
    paper = " / ".join(map(str, counts)) + f" of {sum(counts)}" if module == "mlp" else ""
    row = against(attacked.means(baseline), BEST, baseline)
    if not claimed:
        settings["place"] = ""
    hits, trials = (0, None) if row is None else (row["wins"], row["decided"])
    often, much = claim + "more often more than less robust", claim + "more robust on average"
    often = share_finding(often, hits=hits, trials=trials, over="decided tables", paper=paper, **settings)
    settings |= {"claimed": False, "place": ""}
    if row is None:
        return [often, mean_finding(much, gains=[], **settings)]
    ends = {"value": row["gain"], "low": row["gain_low"], "high": row["gain_high"], "n": row["tables"]}
    return [often, Finding(much, **ends, **settings)]


def _gap(attacked, network, module):
    """How far robust accuracy is below clean accuracy, mixup's."""
    claim = f"The attack costs mixup accuracy, {network}"
    place = "Table 7" if module == "mlp" else ""
    frame = attacked.frame[attacked.frame["method"] == "mixup"]
    if frame.empty:
        return mean_finding(claim, place, [], side=int(module == "mlp"))
    gap = (table_means(frame, "accuracy") - table_means(frame, "robust_accuracy"))["mixup"].dropna()
    return mean_finding(claim, place, gap.round(12), side=int(module == "mlp"))


def _each(attacked, network):
    """Every density by itself against every baseline."""
    rows = []
    for method in attacked.labelled:
        for baseline in ATTACKED:
            row = against(attacked.means(baseline, method), method, baseline)
            if row is not None:
                counts = " / ".join(str(row[kind]) for kind in ("wins", "ties", "losses"))
                gain = between(row["gain"], row["gain_low"], row["gain_high"], 2, sign=True)
                rows.append([name(method), name(baseline), counts, gain])
    heads = ["method", "against", "more / equal / less robust", "mean gain, points"]
    return Sheet(f"Each density by itself, {network}.", heads, rows or [[NOT_RUN, "", "", ""]])


def _selected(frame):
    """Robust accuracy on the tables of Table 5 (b), the paper's in brackets."""
    theirs, rows = ROBUST["accuracies"], []
    methods = [*ATTACKED, *DENSITIES]
    for module, network in NETWORKS.items():
        cells = Attacked(frame, module).frame.set_index(["table", "method"])["robust_accuracy"].sort_index()
        for column, table in enumerate(theirs["tables"]):
            row = [network, table]
            for method in methods:
                known = f" [{theirs['robust'][method][column]:.2f}]" if module == "mlp" else ""
                found = (table, method) in cells.index
                text = between(*mean_interval(cells.loc[[(table, method)]]), 2) if found else NOT_RUN
                row.append(text + known)
            rows.append(row)
    caption = "Robust accuracy in %, its interval over seeds, and the paper's Table 5 (b) in square brackets."
    return Sheet(caption, ["network", "table", *map(name, methods)], rows, folded=True)
