"""Speed and memory of a fit, as ratios from one run.

    python benchmarks/speed.py                # everything, about 5 minutes
    python benchmarks/speed.py --only small   # small, large, steps, members or memory

Setting: 2 x 128 ReLU, 20 columns, 3 classes, batch 128, Adam, one thread. Times are medians of runs
that take turns, so that a slow minute of the machine falls on all of them alike; a ratio is the median
of the ratios within a turn.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from torch import nn

from mixsk import (
    AMPClassifier,
    GenLabelClassifier,
    InfiniteMixupClassifier,
    LaMixClassifier,
    MixupClassifier,
)

COLUMNS, CLASSES, BATCH = 20, 3, 128
MLP = {"module": "mlp"}  # the network that is written by hand beside it


def table(n_rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three overlapping Gaussian classes, float32."""
    rng = np.random.default_rng(seed)
    y = rng.integers(CLASSES, size=n_rows)
    X = rng.standard_normal((n_rows, COLUMNS), dtype=np.float32)
    X += rng.standard_normal((CLASSES, COLUMNS), dtype=np.float32)[y]
    return X, y


def hand_written(X: np.ndarray, y: np.ndarray, epochs: int) -> None:
    """A plain torch loop for mixup, as one would write it: no estimator, no checks."""
    X = torch.from_numpy((X - X.mean(0)) / X.std(0))
    y = torch.from_numpy(y)
    net = nn.Sequential(
        nn.Linear(COLUMNS, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, CLASSES)
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
    rng = np.random.default_rng(0)
    for _ in range(epochs):
        order = torch.randperm(len(X))
        for start in range(0, len(X), BATCH):
            rows = order[start : start + BATCH]
            x, label = X[rows], y[rows]
            lam, perm = float(rng.beta(1, 1)), torch.randperm(len(rows))
            logits = net(lam * x + (1 - lam) * x[perm])
            loss = lam * F.cross_entropy(logits, label) + (1 - lam) * F.cross_entropy(logits, label[perm])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def ours(cls: type, epochs: int, **params: object) -> Callable[[np.ndarray, np.ndarray], None]:
    """A fit of one of our classifiers for exactly `epochs`."""

    def fit(X: np.ndarray, y: np.ndarray) -> None:
        settings = {"batch_size": BATCH, "max_epochs": epochs, "early_stopping": False, "random_state": 0}
        cls(**MLP, **settings, **params).fit(X, y)

    return fit


def scikit_learn(X: np.ndarray, y: np.ndarray, epochs: int) -> None:
    """scikit-learn's MLP with the same layers, batch and epochs (no mixing)."""
    X = (X - X.mean(0)) / X.std(0)
    net = MLPClassifier((128, 128), batch_size=BATCH, max_iter=epochs, n_iter_no_change=epochs, tol=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        net.fit(X, y)


def take_turns(runs: dict[str, Callable[[], None]], turns: int) -> dict[str, np.ndarray]:
    """Seconds of each run in each turn, after one turn that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(turns + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def report(title: str, seconds: dict[str, np.ndarray], base: str, steps: int, bars: dict[str, float]) -> None:
    """Print medians per step and ratios to `base`."""
    print(f"\n{title}")
    print(f"{'':34}{'us a step':>10}{'ratio':>8}{'range':>14}{'bar':>7}")
    for name, values in seconds.items():
        ratio = values / seconds[base]
        low, high = np.quantile(ratio, [0.1, 0.9])
        bar = f"{bars[name]:.2f}" if name in bars else ""
        spread = "" if name == base else f"{low:.2f} - {high:.2f}"
        print(
            f"{name:34}{np.median(values) / steps * 1e6:10.0f}{np.median(ratio):8.2f}{spread:>14}{bar:>7}",
            flush=True,
        )


def fits(n_rows: int, epochs: int, turns: int, bar: float) -> None:
    """A whole fit against a hand-written loop and scikit-learn's MLP."""
    X, y = table(n_rows)
    mixup, vanilla = ours(MixupClassifier, epochs), ours(MixupClassifier, epochs, mix=None)
    runs = {
        "hand-written torch loop, mixup": lambda: hand_written(X, y, epochs),
        "MixupClassifier": lambda: mixup(X, y),
        "MixupClassifier(mix=None)": lambda: vanilla(X, y),
        "MLPClassifier, no mixing": lambda: scikit_learn(X, y, epochs),
    }
    seconds = take_turns(runs, turns)
    steps = epochs * -(-n_rows // BATCH)
    report(
        f"fit of {n_rows} rows, {epochs} epochs", seconds, next(iter(runs)), steps, {"MixupClassifier": bar}
    )
    for name in ("MixupClassifier", "MixupClassifier(mix=None)"):
        ratio = np.median(seconds[name] / seconds["MLPClassifier, no mixing"])
        print(f"{name} / MLPClassifier: {ratio:.2f} (bar 1.00)")


def steps(turns: int, epochs: int = 40) -> None:
    """A step of each method against a mixup step, on 1000 rows."""
    X, y = table(1000)
    features = {"density_at": "last"}
    methods = {
        "mixup": ours(MixupClassifier, epochs),
        "vanilla": ours(MixupClassifier, epochs, mix=None),
        "genlabel (GM)": ours(GenLabelClassifier, epochs, density="gm", gamma=0.5),
        "genlabel (KDE)": ours(GenLabelClassifier, epochs, density="kde", gamma=0.5),
        "genlabel (NN)": ours(GenLabelClassifier, epochs, density="nn", gamma=0.5),
        "genlabel (GM, online)": ours(GenLabelClassifier, epochs, **features, density_schedule="online"),
        # one epoch of warm-up, so that the steps are those after it
        "genlabel (GM, latent)": ours(
            GenLabelClassifier, epochs, **features, density_schedule="warmup", warmup=1 / epochs
        ),
        "drop_intrusions": ours(MixupClassifier, epochs, drop_intrusions=True),
        "columns": ours(MixupClassifier, epochs, mix="columns"),
        "manifold": ours(MixupClassifier, epochs, mix_at="any"),
        "remix": ours(MixupClassifier, epochs, label="remix"),
        "regmixup": ours(MixupClassifier, epochs, clean_weight=1),
        "infinite": ours(InfiniteMixupClassifier, epochs),
        "lamix": ours(LaMixClassifier, epochs),
        "amp": ours(AMPClassifier, epochs),
        "amp, last hidden stage": ours(AMPClassifier, epochs, mix_at="last"),
    }
    runs = {name: (lambda fit=fit: fit(X, y)) for name, fit in methods.items()}
    seconds = take_turns(runs, turns)
    bars = {
        "genlabel (GM)": 1.15,
        "genlabel (KDE)": 1.8,
        "genlabel (NN)": 1.5,
        "genlabel (GM, online)": 1.4,
        "genlabel (GM, latent)": 1.2,
        "drop_intrusions": 1.5,
        "infinite": 1.25,
        "lamix": 1.35,
        "amp": 2.3,
    }
    report("step, 1000 rows, fit included", seconds, "mixup", epochs * 8, bars)


def members(turns: int, epochs: int = 40) -> None:
    """Eight members trained together against one alone, on 1000 rows."""
    X, y = table(1000)
    for hidden, bar in (((16, 16), 3.0), ((64, 64), 6.0), ((128, 128), None)):
        one, eight = (f"{m} of 2 x {hidden[0]}" for m in ("1 member", "8 members"))
        alone, together = (ours(MixupClassifier, epochs, hidden=hidden, n_members=m) for m in (1, 8))
        runs = {one: partial(alone, X, y), eight: partial(together, X, y)}
        bars = {} if bar is None else {eight: bar}
        report("members, 1000 rows, fit included", take_turns(runs, turns), one, epochs * 8, bars)


MEMORY = """
import numpy as np, torch
from mixsk import MixupClassifier
torch.set_num_threads(1)
small = np.random.default_rng(0).standard_normal((500, 20), dtype=np.float32)
clf = MixupClassifier(module="mlp", max_epochs=1, early_stopping=True)
clf.fit(small, np.arange(500) % 3)  # what torch loads once
rng = np.random.default_rng(0)
X = rng.standard_normal((1_000_000, 20), dtype=np.float32)
y = rng.integers(3, size=1_000_000)
def status(name):
    line = next(line for line in open("/proc/self/status") if line.startswith(name))
    return int(line.split()[1]) / 1000
open("/proc/self/clear_refs", "w").write("5")  # forget the peak so far
before = status("VmRSS")
MixupClassifier(module="mlp", max_epochs=1).fit(X, y)
print(status("VmHWM") - before)
"""


def memory() -> None:
    """Peak memory of a fit on 1 000 000 x 20 float32 above the process with the data loaded (Linux)."""
    out = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    print(f"\npeak memory of a fit on 1 000 000 x 20 float32: {float(out.stdout):.0f} MB more (bar 240)")


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["small", "large", "steps", "members", "memory"])
    parser.add_argument("--turns", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, numpy {np.__version__}, 1 thread, medians of {args.turns} turns")
    parts = {
        "small": lambda: fits(1000, 100, args.turns, 1.25),
        "large": lambda: fits(50_000, 4, max(3, args.turns // 2), 1.10),
        "steps": lambda: steps(args.turns),
        "members": lambda: members(args.turns),
        "memory": memory,
    }
    for name, part in parts.items():
        if args.only in (None, name):
            part()


if __name__ == "__main__":
    main()
