"""What our runs say about each claim of the GenLabel paper: benchmarks/results/found.md.

    python benchmarks/found.py --paper runs/paper --networks runs/paper-mlp \\
        --columns runs/columns-0 runs/columns-100 --robust benchmarks/results/robustness/robustness.csv \\
        --toys benchmarks/results/toys/accuracy.csv --fits benchmarks/results/paper/tables-fit.toml \\
        --checks "seed 100"=runs/paper-100

Everything is read from what these runs have left; a claim whose run is not given, or lacks a method, is said
to be not run. Runs may be under way. Several folders of --columns are other splits of one run, made with
other values of --seed.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import pandas as pd
from findings import account, checked, counts, link, robust, tables
from findings.evidence import Runs, Section
from findings.page import write

from mixsk.bench import read_suite


def sections(
    *,
    paper: Runs,
    networks: Runs,
    columns: Runs,
    attacked: pd.DataFrame | None = None,
    toys: pd.DataFrame | None = None,
    fits: list[str] | None = None,
    checks: dict[str, Runs] | None = None,
) -> list[Section]:
    """Everything that the page says."""
    checks = checks or {}
    splits = paper.with_splits_of(checks.values())
    found = {
        "counts": counts.section(paper, fits),
        "selected": tables.selected(paper, splits),
        "fails": tables.mixup_fails(paper, splits, toys),
        "networks": tables.networks(networks),
        "robust": robust.section(attacked),
        "columns": tables.columns(columns),
        "link": link.section(paper, columns),
        "toys": tables.on_toys(toys),
        "checked": checked.section(paper, fits, checks),
    }
    for name, runs in {"counts": paper, "selected": splits, "fails": splits, "link": paper}.items():
        account.add(found[name], runs)
    account.add(found["networks"], networks)
    if not networks.folders:
        account.add_file(found["networks"], "robustness.py", attacked)
    account.add(found["columns"], columns)
    account.add(found["link"], columns)
    account.add(found["checked"], paper, *checks.values())
    for name in ("fails", "toys"):
        account.add_file(found[name], "toys.py", toys)
    account.add_file(found["robust"], "robustness.py", attacked)
    return list(found.values())


def _named_folder(text: str) -> tuple[str, str]:
    name, equals, folder = text.rpartition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"got {text!r}; give a name and a run's folder, as NAME=FOLDER.")
    return name, folder


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    folders = {"nargs": "+", "default": [], "metavar": "FOLDER"}
    parser.add_argument("--paper", **folders, help="run of logistic regressions, protocol paper")
    parser.add_argument(
        "--networks",
        **folders,
        help="run of networks (or those of --robust)",
    )
    parser.add_argument("--columns", **folders, help="runs on tables-8-9.toml, each with another --seed")
    parser.add_argument("--robust", type=Path, help="CSV file of robustness.py")
    parser.add_argument("--toys", type=Path, help="CSV file of toys.py")
    parser.add_argument("--fits", help="suite of the tables that a generative classifier fits")
    parser.add_argument(
        "--checks", type=_named_folder, action="append", default=[], metavar="NAME=FOLDER",
        help="another run of mixup and genlabel-gm, with other splits or scaling",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of found.md")
    args = parser.parse_args(argv)
    runs = {name: Runs(getattr(args, name)) for name in ("paper", "networks", "columns")}
    checks = {name: Runs([folder]) for name, folder in args.checks}
    attacked = None if args.robust is None else robust.read(args.robust)
    if attacked is not None and not args.networks:
        runs["networks"] = Runs(cells=robust.networks(attacked))
    found = sections(
        **runs,
        attacked=attacked,
        toys=None if args.toys is None else pd.read_csv(args.toys),
        fits=None if args.fits is None else list(read_suite(args.fits).tables),
        checks=checks,
    )
    notices = account.notices([*runs.values(), *checks.values()])
    print(write(found, args.out, made_by(sys.argv[1:] if argv is None else argv), notices))


def made_by(argv: list[str]) -> str:
    """The command that writes the page again, with paths as others have them."""
    words = []
    for word in argv:
        name, equals, folder = word.rpartition("=")
        words.append(name + equals + account.shown(folder) if "/" in folder else word)
    return shlex.join(["python", "benchmarks/found.py", *words])


if __name__ == "__main__":
    main()
