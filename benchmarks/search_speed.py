"""Time of batched searches against scikit-learn's, as ratios from one run.

    python benchmarks/search_speed.py                  # everything, about 10 minutes on 2 cores
    python benchmarks/search_speed.py --only linear    # linear, mlp, early or growth
    python benchmarks/search_speed.py --only growth --plot benchmarks/results/search

The search of the GenLabel paper: 4 learning rates x 6 gammas x 5 folds, 100 epochs, batch 128, 3 classes.
Both searches fit the same estimator and refit the best. Runs take turns; a ratio is the median over turns.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import GridSearchCV

from mixsk import GenLabelClassifier, MixupClassifier
from mixsk.model_selection import BatchedGridSearchCV, batched_cross_validate

GRID = {"lr": [0.1, 0.01, 0.001, 0.0001], "gamma": [0, 0.2, 0.4, 0.6, 0.8, 1]}
FITS = 4 * 6 * 5


def table(n_rows: int, n_columns: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three overlapping Gaussian classes, float32."""
    rng = np.random.default_rng(seed)
    y = rng.integers(3, size=n_rows)
    X = rng.standard_normal((n_rows, n_columns), dtype=np.float32)
    return X + rng.standard_normal((3, n_columns), dtype=np.float32)[y], y


def steps_of(n_rows: int, epochs: int) -> int:
    """Steps of all fits of the search, its refit left out."""
    return FITS * epochs * max(1, -(-int(0.8 * n_rows) // 128))


def search(cls: type, clf: object, grid: dict, n_jobs: int, X: np.ndarray, y: np.ndarray) -> float:
    """Seconds of one search."""
    start = time.perf_counter()
    cls(clf, grid, cv=5, n_jobs=n_jobs).fit(X, y)
    return time.perf_counter() - start


def compare(
    title: str, clf: object, grid: dict, size: tuple[int, int], turns: int, jobs: tuple[int, int], bar: float
) -> None:
    """Our search and scikit-learn's by turns, after one of each that does not count."""
    X, y = table(*size)
    ours = partial(search, BatchedGridSearchCV, clf, grid, jobs[0], X, y)
    theirs = partial(search, GridSearchCV, clf, grid, jobs[1], X, y)
    ours()
    if jobs[1] > 1:
        theirs()  # workers are warm
    pairs = np.array([(ours(), theirs()) for _ in range(turns)])
    fits = 5 * int(np.prod([len(values) for values in grid.values()]))
    steps = steps_of(size[0], clf.max_epochs) * fits // FITS
    ratio = pairs[:, 1] / pairs[:, 0]
    print(
        f"{title:58}{np.median(pairs[:, 0]):8.2f}{np.median(pairs[:, 1]):9.2f}{np.median(ratio):8.1f}"
        f"{f'{ratio.min():.1f} - {ratio.max():.1f}':>15}{bar:7.1f}{steps / np.median(pairs[:, 0]):12.0f}",
        flush=True,
    )


def header() -> None:
    """Print the columns' names."""
    print(f"{'':58}{'ours s':>8}{'theirs s':>9}{'ratio':>8}{'range':>15}{'bar':>7}{'steps/s':>12}")


def linear(turns: int) -> None:
    """The linear network, one process each."""
    clf = GenLabelClassifier(
        density="gm", module="linear", early_stopping=False, max_epochs=100, random_state=0
    )
    compare("GenLabel (GM), linear, 105 x 4, n_jobs 1 / 1", clf, GRID, (105, 4), turns, (1, 1), 15)
    compare("GenLabel (GM), linear, 1400 x 20, n_jobs 1 / 1", clf, GRID, (1400, 20), turns, (1, 1), 15)
    compare("GenLabel (GM), linear, 1400 x 20, n_jobs 2 / 2", clf, GRID, (1400, 20), turns, (2, 2), 15)
    clf = MixupClassifier(module="linear", early_stopping=False, max_epochs=100, random_state=0)
    grid = {"lr": GRID["lr"], "alpha": [0.2, 0.5, 1, 2, 4, 8]}
    compare(
        "mixup, linear, 105 x 4, 24 alphas and rates, n_jobs 1 / 1", clf, grid, (105, 4), turns, (1, 1), 15
    )


def early(turns: int) -> None:
    """Early stopping, as the default is from 1000 rows on."""
    clf = GenLabelClassifier(density="gm", module="linear", max_epochs=100, random_state=0)
    compare("GenLabel (GM), linear, 1400 x 20, early stopping", clf, GRID, (1400, 20), turns, (1, 1), 15)


def mlp(turns: int) -> None:
    """Multi-layer perceptrons, two processes each."""
    for width, bar in ((16, 3.0), (64, 1.3), (128, 1.0)):
        network = {"module": "mlp", "hidden": (width, width), "early_stopping": False, "max_epochs": 30}
        clf = GenLabelClassifier(density="gm", **network, random_state=0)
        compare(
            f"GenLabel (GM), 2 x {width}, 1400 x 20, 30 epochs, n_jobs 2 / 2",
            clf,
            GRID,
            (1400, 20),
            turns,
            (2, 2),
            bar,
        )


def growth(folder: Path | None) -> None:
    """Seconds and peak memory against the number of models, of epochs and of rows."""
    rows = []
    cases: list[tuple[str, int, int, int]] = [("models", m, 50, 400) for m in (1, 10, 30, 100, 300, 1000)]
    cases += [("epochs", 100, e, 400) for e in (25, 50, 100, 200, 400)]
    cases += [("rows", 100, 50, n) for n in (400, 800, 1600, 3200, 6400)]
    for axis, models, epochs, n_rows in cases:
        seconds, memory = _alone(models, epochs, n_rows)
        rows.append(
            {
                "axis": axis,
                "models": models,
                "epochs": epochs,
                "rows": n_rows,
                "seconds": seconds,
                "MB": memory,
            }
        )
        print(rows[-1], flush=True)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        frame = pd.DataFrame(rows)
        frame.to_csv(folder / "growth.csv", index=False)
        _plot(frame, folder / "growth.png")


def _alone(models: int, epochs: int, n_rows: int) -> tuple[float, float]:
    """Seconds, and peak memory in MB above the start, of one program in a process of its own."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        X, y = table(60, 20)  # what a first fit imports is not counted
        BatchedGridSearchCV(MixupClassifier(module="linear", max_epochs=2), {"lr": [0.1, 0.2]}).fit(X, y)
        X, y = table(n_rows, 20)
        clf = MixupClassifier(module="linear", early_stopping=False, max_epochs=epochs, random_state=None)
        grid = {"random_state": list(range(models // 2 or 1))}
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        if models == 1:
            batched_cross_validate(clf, X, y, cv=[(np.arange(n_rows), np.arange(5))])
        else:
            BatchedGridSearchCV(clf, grid, cv=2, refit=False).fit(X, y)
        spent = time.perf_counter() - start
        peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000
        os.write(write, f"{spent} {peak}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    seconds, memory = os.read(read, 100).decode().split()
    return float(seconds), float(memory)


def _plot(frame: pd.DataFrame, path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
    for ax, (axis, part) in zip(axes, frame.groupby("axis", sort=False), strict=True):
        ax.loglog(part[axis], part["seconds"], "o-", label="seconds")
        ax.loglog(part[axis], part["MB"].clip(lower=1), "s--", label="peak memory, MB")
        ax.set_xlabel(axis)
        ax.set_xticks(list(part[axis]), [str(value) for value in part[axis]])
        ax.minorticks_off()
        ax.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(path, dpi=90)


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["linear", "early", "mlp", "growth"])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--plot", type=Path, help="folder for the growth's CSV and picture")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(f"torch {torch.__version__}, numpy {np.__version__}, {os.cpu_count()} cores, {args.turns} turns")
    parts: dict[str, Callable[[], None]] = {
        "linear": lambda: linear(args.turns),
        "early": lambda: early(args.turns),
        "mlp": lambda: mlp(args.turns),
        "growth": lambda: growth(args.plot),
    }
    if args.only != "growth":
        header()
    for name, part in parts.items():
        if args.only in (None, name):
            part()


if __name__ == "__main__":
    sys.exit(main())
