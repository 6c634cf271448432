"""The figures of the GenLabel paper that belong beside a run's own: those of its tables and methods."""

import tomllib
from importlib.resources import files

import pandas as pd

FIGURES = tomllib.loads((files("mixsk.bench.report") / "genlabel.toml").read_text(encoding="utf-8"))
SUITE = tomllib.loads((files("mixsk.bench") / "suites/genlabel-133.toml").read_text(encoding="utf-8"))
TABLES = [f"openml-{number}" for number in SUITE["openml"]]
BASELINES = list(FIGURES["shares"])

# The paper has these counts for "cv" alone, which takes the better one of the other two on each table.
METHODS = ("genlabel-cv", "genlabel-gm", "genlabel-kde")


def shares(counts, tables):
    """Add the paper's shares to what `versus` has counted for accuracy.

    Parameters
    ----------
    counts : DataFrame
        Of `mixsk.bench.report.statistics.versus`.
    tables : iterable of str
        The run's.

    Returns
    -------
    counts : DataFrame
        With columns paper_wins, paper_ties, paper_losses, in [0, 1], if the run has tables of the paper and
        one of the pairs; NaN for other pairs. Else as it was.
    """
    known = counts["method"].isin(METHODS) & counts["baseline"].isin(BASELINES)
    if not known.any() or not set(tables) & set(TABLES):
        return counts
    found = [
        [share / 100 for share in FIGURES["shares"][baseline]] if theirs else [None] * 3
        for baseline, theirs in zip(counts["baseline"], known, strict=True)
    ]
    names = ["paper_wins", "paper_ties", "paper_losses"]
    return counts.join(pd.DataFrame(found, columns=names, index=counts.index, dtype=float))


def accuracies(means, network):
    """Set the run's accuracies beside the paper's, for the tables and methods that both have.

    Parameters
    ----------
    means : DataFrame of shape (n_tables, n_methods)
        Accuracies in [0, 1].
    network : str or None
        The run's `--module`. The paper's logistic regressions are set beside "linear", its networks with two
        hidden layers beside "mlp".

    Returns
    -------
    pairs : DataFrame
        Columns table, method, ours, paper, difference, source (number of the paper's table).
    """
    rows = []
    for block in FIGURES["accuracies"]:
        if block["network"] != network:
            continue
        for column, table in enumerate(block["tables"]):
            for method in means.columns:
                if table in means.index and method in block:
                    ours, paper = means.loc[table, method], block[method][column] / 100
                    rows.append([table, method, ours, paper, ours - paper, block["table"]])
    return pd.DataFrame(rows, columns=["table", "method", "ours", "paper", "difference", "source"])
