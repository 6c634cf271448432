"""Seconds of a fit beside RealMLP-TD-S of pytabkit, on one thread, by turns in one process.

    pip install pytabkit
    python benchmarks/tables/fit_time.py --cache CACHE --turns 3

CPU seconds, so that other work on the machine matters little; medians over the turns. RealMLP gets the tables
with the medians for missing numbers. The first fit of each does not count.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy

import numpy as np
import torch
from pytabkit import RealMLP_TD_S_Classifier

from mixsk import GenLabelClassifier, MixupClassifier
from mixsk.datasets import load_openml

TABLES = [55, 40710, 1510, 31, 1462]  # of choose.toml and confirm.toml, 155 to 1372 rows
SINGLE = {"n_cv": 1, "calibrate": False}
FITS: dict[str, Callable[[], Any]] = {
    "RealMLP-TD-S": lambda: RealMLP_TD_S_Classifier(n_threads=1, device="cpu", random_state=0),
    "mixup-single": lambda: MixupClassifier(random_state=0, **SINGLE),
    "mixup-default": lambda: MixupClassifier(random_state=0),
    "genlabel-single": lambda: GenLabelClassifier(random_state=0, **SINGLE),
    "genlabel-default": lambda: GenLabelClassifier(random_state=0),
}


def seconds(make: Callable[[], Any], X: Any, y: Any) -> float:
    """CPU seconds of a fit."""
    start = time.process_time()
    make().fit(X, y)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cache", help="root of the OpenML cache (default: openml-python's)")
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    means = {name: [] for name in FITS}
    for did in TABLES:
        X, y = load_openml(did, cache_dir=args.cache)[:2]
        numbers = X.select_dtypes("number").columns
        X[numbers] = X[numbers].fillna(X[numbers].median())
        for make in FITS.values():
            make().fit(X, y)
        turns = [{name: seconds(make, X, y) for name, make in FITS.items()} for _ in range(args.turns)]
        found = {name: float(np.median([turn[name] for turn in turns])) for name in FITS}
        for name, value in found.items():
            means[name].append(value)
        print(f"openml-{did}, {len(y)} rows:", {n: round(v, 2) for n, v in found.items()}, flush=True)
    base = np.mean(means["RealMLP-TD-S"])
    for name, values in means.items():
        print(f"{name:16} {np.mean(values):6.2f} s, {np.mean(values) / base:.2f} of RealMLP-TD-S")


if __name__ == "__main__":
    main()
