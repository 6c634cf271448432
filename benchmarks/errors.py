"""Error rates of runs, and differences between methods with 95 % intervals over their repetitions.

    python benchmarks/errors.py FOLDER [FOLDER ...] [--tables NAME ...] [--pairs FIRST:SECOND ...] \\
        [--against NAME ...] [--out TABLE.csv]

A repetition is one fold or draw of a table, text or set of images with one seed: a difference is taken
within each, and its interval is Student's over them. Pairs are those of `benchmarks/text/amp.py`, unless
`--pairs` or `--against`, the methods that all others are compared with, say which. `--out` also writes the
differences, beside TABLE.csv, into TABLE-pairs.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from mixsk.bench import read_results

REPETITION = ["repeat", "fold", "seed"]
PAIRS = ["cnn-word:cnn", "cnn-sent:cnn", "cnn-word-amp:cnn-word", "cnn-sent-amp:cnn-sent"]


def read(folders: list[str]) -> pd.DataFrame:
    """Error rates in percent: one row for each table and repetition, one column for each method."""
    cells = pd.concat([read_results(folder) for folder in folders])
    cells = cells[cells["status"] == "ok"].assign(error=lambda frame: 100 * (1 - frame["accuracy"]))
    keys = ["table", *REPETITION, "method"]
    if (twice := cells[cells.duplicated(keys)]).size:
        raise ValueError(
            f"{len(twice)} cells are in several of the folders, the first of {twice['method'].iloc[0]!r} on "
            f"{twice['table'].iloc[0]!r}. Give folders without a cell in common."
        )
    return cells.set_index(keys)["error"].unstack()


def means(errors: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation of each table and method."""
    long = errors.stack().dropna().rename("error").groupby(["table", "method"])
    return long.agg(error="mean", deviation="std", repetitions="size").round(3).reset_index()


def against(errors: pd.DataFrame, bases: list[str]) -> list[str]:
    """Pairs of each method with each of `bases`."""
    return [f"{method}:{base}" for base in bases for method in errors if method != base]


def differences(errors: pd.DataFrame, pairs: list[str]) -> pd.DataFrame:
    """By how much the first of each pair errs less than the second, in points, with its interval."""
    rows = []
    for pair in pairs:
        first, second = pair.split(":")
        for table, of_table in errors.groupby("table"):
            if first not in errors or second not in errors:
                continue
            gain = (of_table[second] - of_table[first]).dropna()
            if len(gain) < 2:
                continue
            half = stats.t.ppf(0.975, len(gain) - 1) * gain.std() / np.sqrt(len(gain))
            rows.append(
                (table, first, second, gain.mean(), gain.mean() - half, gain.mean() + half, len(gain))
            )
    names = ["table", "first", "second", "gain", "low", "high", "repetitions"]
    return pd.DataFrame(rows, columns=names).round(3)


def main() -> None:
    """Print both tables, and write them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--tables", nargs="+", help="default: all")
    parser.add_argument("--pairs", nargs="+", default=[])
    parser.add_argument("--against", nargs="+", default=[])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    errors = read(options.folders)
    if options.tables is not None:
        errors = errors.loc[options.tables]
    named = {name for pair in options.pairs for name in pair.split(":")} | set(options.against)
    if unknown := sorted(named - set(errors)):
        parser.error(f"--pairs and --against: no method {unknown} in the folders, but {list(errors)}.")
    pairs = options.pairs + against(errors, options.against) or PAIRS
    tables = means(errors), differences(errors, pairs)
    for table in tables:
        print(table.to_string(index=False), end="\n\n")
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        tables[0].to_csv(options.out, index=False)
        tables[1].to_csv(options.out.with_name(f"{options.out.stem}-pairs.csv"), index=False)


if __name__ == "__main__":
    main()
