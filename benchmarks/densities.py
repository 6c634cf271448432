"""Time and memory of the class-conditional densities.

    python benchmarks/densities.py                # everything, about half a minute
    python benchmarks/densities.py --only step    # fit, step or large

Setting: 20 columns, 3 classes, float32 rows, one thread. A step is 128 mixed rows; training evaluates many
steps at once. Peak memory is that of the process above what it had with the data loaded (Linux).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch

from mixsk.densities import GM, KDE, NN, Density, NNLabel

COLUMNS, CLASSES, BATCH = 20, 3, 128
NAMED = {"GM": GM, "KDE": KDE, "NN": NN, "NN, k=5": lambda **params: NN(5, **params), "NNLabel": NNLabel}


def table(n_rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three overlapping Gaussian classes, float32."""
    rng = np.random.default_rng(seed)
    y = rng.integers(CLASSES, size=n_rows)
    X = rng.standard_normal((n_rows, COLUMNS), dtype=np.float32)
    X += rng.standard_normal((CLASSES, COLUMNS), dtype=np.float32)[y]
    return X, y


def seconds(run: Callable[[], object], turns: int) -> float:
    """Median of the turns after one that does not count."""
    times = []
    for _ in range(turns + 1):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))


def fits(turns: int) -> None:
    """A fit with what the first rows to evaluate have to wait for."""
    X, y = table(5000)
    print(f"\nfit of 5000 x {COLUMNS} and the first row")
    print(f"{'':12}{'seconds':>10}{'bar':>8}")
    for name, make in NAMED.items():
        density = make()
        took = seconds(lambda density=density: density.fit(X, y).log_prob(torch.from_numpy(X[:1])), turns)
        print(f"{name:12}{took:10.4f}{1:8.2f}", flush=True)


def mixed(n_steps: int, X: np.ndarray) -> torch.Tensor:
    """Mixed rows of some steps, (n_steps, BATCH, COLUMNS)."""
    rng = np.random.default_rng(1)
    a, b = X[rng.integers(len(X), size=(2, n_steps, BATCH))]
    lam = rng.random((n_steps, BATCH, 1), dtype=np.float32)
    return torch.from_numpy(lam * a + (1 - lam) * b)


def steps(turns: int) -> None:
    """The log densities of a training step's mixed rows."""
    X, y = table(1000)
    one, many = mixed(1, X), mixed(50, X)
    print(f"\n{BATCH} mixed rows against 1000 training rows")
    print(f"{'':12}{'us alone':>10}{'us of 50':>10}{'bar':>8}")
    for name, make in NAMED.items():
        density = make().fit(X, y)
        with torch.no_grad():
            alone = seconds(lambda density=density: [density.log_prob(one) for _ in range(20)], turns) / 20
            of_many = seconds(lambda density=density: density.log_prob(many), turns) / len(many)
        print(f"{name:12}{alone * 1e6:10.0f}{of_many * 1e6:10.0f}{300:8}", flush=True)


def status(name: str) -> float:
    """Memory of this process in MB."""
    with open("/proc/self/status") as lines:
        line = next(line for line in lines if line.startswith(name))
    return int(line.split()[1]) * 1024 / 1e6


def measure_large(name: str, n_rows: int, n_queries: int) -> None:
    """Fit and evaluate one density on many rows; print its row of the table."""
    X, y = table(n_rows)
    z = torch.from_numpy(table(n_queries, seed=1)[0])
    params = {} if name == "GM" else {"max_density_rows": n_rows}
    density: Density = NAMED[name](**params)
    NAMED[name]().fit(X[:100], y[:100]).log_prob(z[:100])  # what torch loads once
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # forget the peak so far
    before = status("VmRSS")
    start = time.perf_counter()
    density.fit(X, y)
    fitted = time.perf_counter()
    with torch.no_grad():
        density.log_prob(z)
    stop = time.perf_counter()
    print(f"{name:12}{fitted - start:10.2f}{stop - fitted:12.2f}{status('VmHWM') - before:10.0f}{1024:8}")


def large(n_rows: int, n_queries: int) -> None:
    """Each density in a process of its own, whose peak it has to itself."""
    print(f"\n{n_rows} training rows, {n_queries} rows to evaluate, all rows kept")
    print(f"{'':12}{'fit, s':>10}{'log_prob, s':>12}{'peak, MB':>10}{'bar':>8}", flush=True)
    for name in NAMED:
        arguments = ["--measure", name, "--rows", str(n_rows), "--queries", str(n_queries)]
        subprocess.run([sys.executable, __file__, *arguments], check=True)


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["fit", "step", "large"])
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--rows", type=int, default=100_000, help="training rows of the large part")
    parser.add_argument("--queries", type=int, default=10_000, help="rows to evaluate in the large part")
    parser.add_argument("--measure", choices=list(NAMED), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.measure:
        measure_large(args.measure, args.rows, args.queries)
        return
    print(f"torch {torch.__version__}, numpy {np.__version__}, 1 thread, medians of {args.turns} turns")
    parts = {
        "fit": lambda: fits(args.turns),
        "step": lambda: steps(args.turns),
        "large": lambda: large(args.rows, args.queries),
    }
    for name, part in parts.items():
        if args.only in (None, name):
            part()


if __name__ == "__main__":
    main()
