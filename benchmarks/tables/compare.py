"""A run of our methods beside what other classifiers reach on the same folds of the same tables.

    mixsk bench run --suite benchmarks/tables/choose.toml --methods METHODS.py --out runs/choose
    python benchmarks/tables/compare.py runs/choose --peers FOLDER --out benchmarks/results/tables/choose.csv

The folds are those of `mixsk bench run` by default: `StratifiedKFold(5, shuffle=True, random_state=0)`.
FOLDER has CSV files with one row a fold and the columns did (OpenML id), method, fold, acc, logloss, ece.
Tables are those on which all methods and all peers have every fold. Prints a Markdown table, sorted by
mean log loss; with `--pairs A:B ...` also how A does against B, table by table.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from mixsk.bench import read_results, read_suite
from mixsk.bench.report.statistics import mean_interval

SCORES = {"logloss": "log_loss", "acc": "accuracy", "ece": "ece"}


def ours(folder: Path) -> pd.DataFrame:
    """Mean scores of each table and method of a run that has no failed cell."""
    rows = read_results(folder)
    failed = rows[rows["status"] != "ok"]
    if len(failed):
        raise SystemExit(f"{folder}: {len(failed)} cells are not ok, see `mixsk bench status {folder}`.")
    return rows.groupby(["table", "method"])[[*SCORES.values(), "fit_seconds"]].mean().reset_index()


def theirs(folder: Path, left_out: set[str]) -> pd.DataFrame:
    """Mean scores of each table and peer, where the peer has all five folds; peers with a star."""
    rows = pd.concat([pd.read_csv(path) for path in sorted(folder.glob("*.csv"))])
    rows = rows[~rows["method"].isin(left_out)].rename(columns=SCORES)
    groups = rows.groupby(["did", "method"])
    means = groups[list(SCORES.values())].mean()[groups.size() == 5].reset_index()
    return means.assign(table="openml-" + means["did"].astype(str), method=means["method"] + " *")


def compared(own: pd.DataFrame, peers: pd.DataFrame) -> pd.DataFrame:
    """One row a method: means and mean ranks over the tables that all have, and distances to the best peer.

    `gain` is by how much its log loss is less than that of the peer with the least mean log loss, `ece_more`
    by how much its calibration error is more than that of the peer with the least: means over the tables
    with 95 % t intervals. Without peers the best of ours is the measure.
    """
    every = pd.concat([own, peers])
    wide = {score: every.pivot(index="table", columns="method", values=score) for score in SCORES.values()}
    tables = wide["log_loss"].dropna().index
    wide = {score: frame.loc[tables] for score, frame in wide.items()}
    losses, accuracies = wide["log_loss"], wide["accuracy"]
    errors, among = wide["ece"], (peers if len(peers) else own)["method"].unique()
    best, surest = (scores[among].mean().idxmin() for scores in (losses, errors))
    found = pd.DataFrame(
        {
            "log_loss": losses.mean(),
            "log_loss_rank": losses.rank(axis=1).mean(),
            "accuracy": accuracies.mean(),
            "accuracy_rank": accuracies.rank(axis=1, ascending=False).mean(),
            "ece": errors.mean(),
            "fit_seconds": own[own["table"].isin(tables)].groupby("method")["fit_seconds"].mean(),
        }
    )
    gains = {method: mean_interval(losses[best] - losses[method]) for method in losses}
    found[["gain", "gain_low", "gain_high"]] = pd.DataFrame(gains).T
    more = {method: mean_interval(errors[method] - errors[surest]) for method in errors}
    found[["ece_more", "ece_more_low", "ece_more_high"]] = pd.DataFrame(more).T
    found.insert(0, "tables", len(tables))
    return found.sort_values("log_loss").rename_axis("method")


def paired(own: pd.DataFrame, method: str, base: str) -> dict[str, object]:
    """What a method gains on another in log loss and accuracy, and where it loses most log loss.

    Positive: the method is better. Means over the tables with a 95 % t interval.
    """
    wide = {score: own.pivot(index="table", columns="method", values=score) for score in SCORES.values()}
    losses, accuracies = (wide[name][[method, base]].dropna() for name in ("log_loss", "accuracy"))
    less = losses[base] - losses[method]
    found: dict[str, object] = {"method": method, "base": base, "tables": len(less)}
    for name, gains in (("log_loss", less), ("accuracy", accuracies[method] - accuracies[base])):
        found |= dict(zip((name, f"{name}_low", f"{name}_high"), mean_interval(gains), strict=True))
    return found | {"worst_table": less.idxmin(), "worst_log_loss": less.min()}


def markdown(found: pd.DataFrame) -> list[str]:
    """The lines of a Markdown table; peers have a star."""
    lines = [
        "| classifier | log loss | its mean rank | accuracy | its mean rank | ECE |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in found.iterrows():
        scores = f"{row['log_loss']:.4f} | {row['log_loss_rank']:.2f} | {row['accuracy']:.4f} | "
        lines.append(f"| {name} | {scores}{row['accuracy_rank']:.2f} | {row['ece']:.3f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+", help="folders, of other methods each")
    parser.add_argument("--suite", help="tables to keep (default: all of the runs)")
    parser.add_argument("--peers", type=Path, help="folder of CSV files (default: no peers)")
    parser.add_argument("--pairs", nargs="+", default=[], metavar="A:B", help="methods of the runs")
    parser.add_argument("--without", default="realmlp_td", help="peers to leave out, joined by commas")
    parser.add_argument("--out", type=Path, help="the CSV to write")
    args = parser.parse_args()
    own = pd.concat([ours(folder) for folder in args.runs])
    if args.suite is not None:
        own = own[own["table"].isin(read_suite(args.suite).tables)]
    peers = own.iloc[:0] if args.peers is None else theirs(args.peers, set(args.without.split(",")))
    found = compared(own, peers).round(5)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        found.to_csv(args.out, lineterminator="\n")
    print(f"{found['tables'].iloc[0]} tables")
    print("\n".join(markdown(found)))
    pairs = pd.DataFrame([paired(own, *pair.split(":")) for pair in args.pairs]).round(5)
    for row in pairs.itertuples():
        print(
            f"{row.method} against {row.base}, {row.tables} tables: log loss {row.log_loss:+.4f} "
            f"({row.log_loss_low:+.4f} to {row.log_loss_high:+.4f}), accuracy {row.accuracy:+.4f} "
            f"({row.accuracy_low:+.4f} to {row.accuracy_high:+.4f}), positive is better; worst on "
            f"{row.worst_table} ({row.worst_log_loss:+.3f})"
        )
    if args.out is not None and len(pairs):
        pairs.to_csv(args.out.with_stem(args.out.stem + "-pairs"), index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
