"""The GenLabel paper's toy problems: accuracy on fresh rows, and pictures as in its Figures 4, 5 and 7.

    python benchmarks/toys.py                                  # fit what accuracy.csv lacks
    python benchmarks/toys.py --sets moons cubes_2d --seeds 0
    python benchmarks/toys.py --report                         # the table, from the CSV
    python benchmarks/toys.py --figures                        # a PNG per set, and that of Example 3

Source: Sohn et al., "GenLabel: Mixup Relabeling using Generative Models" (ICML 2022), Table 1 and Examples
1-3. The networks, their training and the densities are those of the authors' released code, with its columns
as they are (not standardised), its equal class priors and its two likeliest classes. A seed stands for the
rows, the test rows and the network.

NOTE[DIFF]: on the cubes their code labels by the true centres and a unit covariance, which no data tells;
here a Gaussian per class is fitted to the training rows. On the nine Gaussians it labels by the means of each
batch, draws lam ~ Beta(2, 2) for mixup but Beta(1, 1) for GenLabel, and keeps the epoch that is best on the
test rows; here the Gaussians are fitted once, lam ~ Beta(1, 1) for both, and the last epoch counts.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import sklearn
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from sklearn.svm import SVC
from skorch.callbacks import GradientNormClipping
from torch import Tensor, nn
from torch.optim.lr_scheduler import MultiStepLR

import mixsk
from mixsk import GenLabelClassifier, MixupClassifier
from mixsk.datasets import make_circles, make_cubes, make_four_circles, make_moons, make_nine_gaussians
from mixsk.densities import GM, KDE
from mixsk.plots import DecisionDisplay, MixedPointsDisplay

RESULTS = Path(__file__).parent / "results" / "toys"
COLUMNS = [
    *("set", "method", "seed", "n_train", "n_test", "accuracy", "fit_seconds"),
    *("params", "mixsk_version", "torch_version", "sklearn_version"),
]


@dataclass(frozen=True)
class Toy:
    """A problem and how the paper's authors train on it."""

    title: str
    make: Callable[..., tuple[np.ndarray, np.ndarray]]
    n_test: int
    net: dict[str, Any]
    genlabel: dict[str, Any]
    paper: dict[str, float] = field(default_factory=dict)  # accuracy in %, Table 1
    n_seeds: int = 5
    lam: float | None = None  # fixed in the picture of the mixed points, as in the paper's
    colors: list[str] | None = None


def sgd(hidden: tuple[int, ...], max_epochs: int, milestones: Iterable[int] = ()) -> dict[str, Any]:
    """SGD with momentum and clipped gradients; the rate falls to a tenth at each milestone."""
    return {
        "module": "mlp",
        "hidden": hidden,
        "max_epochs": max_epochs,
        "batch_size": 128,
        "optimizer": "sgd",
        "lr": 0.1,
        "optimizer__momentum": 0.9,
        "weight_decay": 1e-4,
        "schedule": partial(MultiStepLR, milestones=list(milestones), gamma=0.1) if milestones else None,
        "callbacks": [("clip", GradientNormClipping)],
        "callbacks__clip__gradient_clip_value": 5,
    }


def kde(bandwidth: float, gamma: float) -> dict[str, Any]:
    return {"density": KDE(bandwidth, reg_covar=1e-8), "gamma": gamma}


DEEP = (64, 128, 128, 128)
TOYS = {
    "moons": Toy(
        "Two moons",
        make_moons,
        1000,
        sgd(DEEP, 100, [60, 80]),
        kde(0.2, 1),
        paper={"vanilla": 98.7, "mixup": 97.0},
    ),
    "circles": Toy("Two circles", make_circles, 1000, sgd(DEEP, 100, [60, 80]), kde(0.2, 0.8)),
    # Now and then plain training separates one pair of circles only: five seeds say little of its mean.
    "four_circles": Toy(
        "Four circles",
        make_four_circles,
        2000,
        sgd(DEEP, 100, [20, 50]),
        kde(0.1, 1),
        paper={"vanilla": 91.3, "mixup": 57.7},
        n_seeds=20,
    ),
    # 20 rows a class: the draw of the rows moves the accuracy by more than the method does.
    "cubes_2d": Toy(
        "Two squares",
        partial(make_cubes, n_features=2),
        20_000,
        sgd((64, 128), 40),
        {"density": GM(), "gamma": 1},
        n_seeds=20,
    ),
    "cubes_3d": Toy(
        "Eight cubes",
        make_cubes,
        80_000,
        sgd((64, 128), 40),
        {"density": GM(), "gamma": 0.8, "top_k": 2},
        paper={"vanilla": 93.0, "mixup": 89.4},
        n_seeds=20,
        colors=["C4", "C0", "C5", "C1", "C6", "C2", "C7", "C3"],  # every other class is in the picture
    ),
    "nine_gaussians": Toy(
        "Nine Gaussians",
        make_nine_gaussians,
        9000,
        {
            **{"module": "mlp", "hidden": (64, 128, 128), "max_epochs": 10},
            **{"batch_size": 1000, "lr": 1e-3, "weight_decay": 0},
        },
        {"density": GM(), "gamma": 1, "top_k": 2},
        lam=0.6,
    ),
}

COMMON = {"encoder": "passthrough", "early_stopping": False, "device": "cpu"}
METHODS = {
    "vanilla": "vanilla",
    "mixup": "mixup",
    "no_intrusions": "mixup without intrusions",
    "genlabel": "GenLabel",
    "svm": "RBF SVM",
}


def build(toy: Toy, method: str, seed: int) -> tuple[Any, dict[str, Any]]:
    """The classifier, not fitted, and its parameters."""
    if method == "svm":
        return SVC(gamma=2), {"gamma": 2}
    own = {
        "vanilla": {"mix": None},
        "mixup": {},
        "no_intrusions": {"drop_intrusions": True},
        "genlabel": {**toy.genlabel, "class_prior": "uniform"},
    }[method]
    params = {**COMMON, **toy.net, **own, "random_state": seed}
    return (GenLabelClassifier if method == "genlabel" else MixupClassifier)(**params), params


# ---- accuracies


def measure(name: str, method: str, seed: int) -> dict[str, Any]:
    """Fit one method on one set; its row of the CSV."""
    toy = TOYS[name]
    X, y = toy.make(random_state=seed)
    X_test, y_test = toy.make(toy.n_test, random_state=1000 + seed)
    clf, params = build(toy, method, seed)
    start = time.perf_counter()
    clf.fit(X, y)
    return {
        **{"set": name, "method": method, "seed": seed, "n_train": len(y), "n_test": len(y_test)},
        "fit_seconds": round(time.perf_counter() - start, 3),
        "accuracy": round(clf.score(X_test, y_test), 6),
        "params": json.dumps(params, default=repr),
        "mixsk_version": mixsk.__version__,
        "torch_version": torch.__version__,
        "sklearn_version": sklearn.__version__,
    }


def run(path: Path, sets: Iterable[str], seeds: list[int] | None) -> None:
    """Add the rows that the CSV lacks, each as soon as it is there; without seeds those of each set."""
    done = set()
    if path.exists():
        done = set(pd.read_csv(path)[["set", "method", "seed"]].itertuples(index=False, name=None))
    wanted = [
        (name, method, seed)
        for name in sets
        for seed in (range(TOYS[name].n_seeds) if seeds is None else seeds)
        for method in METHODS
    ]
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not file.tell():
            writer.writeheader()
        for key in wanted:
            if key not in done:
                row = measure(*key)
                writer.writerow(row)
                file.flush()
                print(f"{key[0]:16}{key[1]:16}{key[2]:3}{row['accuracy']:8.3f}{row['fit_seconds']:8.1f} s")


def report(frame: pd.DataFrame) -> str:
    """Markdown table of mean accuracy +- standard error over the seeds, in %, the paper's in brackets."""
    head = ["set", "seeds", *METHODS.values()]
    lines = [head, ["---"] * len(head)]
    for name in TOYS:
        rows = frame[frame["set"] == name]
        if rows.empty:
            continue
        scores = {method: 100 * part["accuracy"] for method, part in rows.groupby("method")}
        cells = [_cell(scores.get(method), TOYS[name].paper.get(method)) for method in METHODS]
        lines.append([TOYS[name].title, str(rows["seed"].nunique()), *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(scores: pd.Series | None, paper: float | None) -> str:
    if scores is None:
        return ""
    error = f" ± {scores.sem():.1f}" if len(scores) > 1 else ""
    return f"{scores.mean():.1f}{error}" + (f" ({paper:.1f})" if paper is not None else "")


# ---- pictures


def picture(name: str, seed: int = 0) -> Figure:
    """The data, the top-1 labels of mixed points, and the regions of four classifiers."""
    toy = TOYS[name]
    X, y = toy.make(random_state=seed)
    some = slice(2000)  # enough to see
    width, height = np.ptp(X[:, :2], axis=0)
    figure = Figure(figsize=(12, 6 * height / width + 1), layout="constrained")
    above, below = figure.subplots(2, 4, sharex=True, sharey=True)

    figure.suptitle(toy.title + (", where the third coordinate is near 1" if X.shape[1] == 3 else ""))
    draw_points(above[0], toy, X[some], np.eye(y.max() + 1)[y[some]])
    above[0].set_title("training rows")
    titles = {
        "mixup": "mixup's labels",
        "no_intrusions": "its intrusions (x)",
        "genlabel": "GenLabel's labels",
    }
    for ax, (method, title) in zip(above[1:], titles.items(), strict=True):
        clf, _ = build(toy, method, seed)
        if toy.lam is not None:
            clf.set_params(mix=partial(fixed, toy.lam))
            title += f", λ = {toy.lam}"
        draw_points(ax, toy, *mixed_points(clf, X[some], y[some]))
        ax.set_title(title)
    for ax, method in zip(below, ("vanilla", "mixup", "genlabel", "svm"), strict=True):
        clf, _ = build(toy, method, seed)
        draw_regions(ax, toy, clf.fit(X, y), X[some], y[some])
        ax.set_title(METHODS[method])
    for ax in (*above, *below):
        ax.set_aspect("equal")
        ax.tick_params(labelsize=7)
    return figure


def fixed(value: float, h: Tensor, lam: Tensor, noise: Any, extra: Any) -> tuple[Tensor, Tensor]:
    """A mask that mixes all pairs at one lam."""
    share = torch.full_like(lam, value)
    return share.reshape(*lam.shape, *[1] * (h.ndim - lam.ndim)), share


def mixed_points(clf: Any, X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points that clf trains on, their labels, and which are kept."""
    clf.set_params(batch_size=32)  # a point is the first row of a batch, and large batches take long
    # A display has two columns, the third is that of a second display; nobody sees either.
    pairs = [(0, 1), (0, 2)][: X.shape[1] - 1]
    displays = [
        MixedPointsDisplay.from_estimator(clf, X, y, n_points=1000, features=pair, ax=Figure().subplots())
        for pair in pairs
    ]
    points = np.column_stack([displays[0].points, *[other.points[:, 1] for other in displays[1:]]])
    return points, displays[0].targets, displays[0].kept


def draw_points(ax: Axes, toy: Toy, points: np.ndarray, targets: np.ndarray, kept: Any = None) -> None:
    """Points in the colour of their likeliest class; those not kept are crosses."""
    near = near_one(points)
    MixedPointsDisplay(
        points=points[near, :2],
        targets=targets[near],
        classes=np.arange(targets.shape[1]),
        kept=None if kept is None else kept[near],
        colors=toy.colors,
    ).plot(ax, color="top", legend=False, scatter_kw={"s": 8, "linewidths": 0.6})


def near_one(X: np.ndarray) -> np.ndarray:
    """Rows whose third coordinate, if they have one, is near 1."""
    return (np.abs(X[:, 2:] - 1) < 0.5).all(axis=1)


def draw_regions(ax: Axes, toy: Toy, clf: Any, X: np.ndarray, y: np.ndarray) -> None:
    """Class probabilities in the plane, those of an SVM 0 or 1; of three columns the third is 1."""
    low, high = X[:, :2].min(0), X[:, :2].max(0)
    margin = 0.15 * (high - low)
    xx0, xx1 = np.meshgrid(*np.linspace(low - margin, high + margin, 250).T)
    grid = np.column_stack([xx0.ravel(), xx1.ravel(), *[np.ones(xx0.size)] * (X.shape[1] - 2)])
    if hasattr(clf, "predict_proba"):
        proba = clf.predict_proba(grid)
    else:
        proba = (clf.predict(grid)[:, None] == clf.classes_).astype(float)
    near = near_one(X)
    DecisionDisplay(
        xx0=xx0,
        xx1=xx1,
        proba=proba.reshape(*xx0.shape, -1),
        classes=clf.classes_,
        X=X[near, :2],
        y=y[near],
        colors=toy.colors,
    ).plot(ax, legend=False, scatter_kw={"s": 5, "linewidths": 0})


def save(figure: Figure, path: Path) -> None:
    """A PNG of 256 colours: a third of the size."""
    buffer = BytesIO()
    figure.savefig(buffer, dpi=90)
    Image.open(buffer).convert("RGB").quantize(256).save(path, optimize=True)


# ---- Example 3 (section 5.2): which direction of given length has the least loss

MAX_MARGIN = np.pi / 4  # that of the support vector machine


class Direction(nn.Module):
    """Logits 0 and theta'x, theta = r (cos phi, sin phi): only phi is trained."""

    def __init__(self, r: float) -> None:
        super().__init__()
        self.r = r
        self.phi = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        score = self.r * x @ torch.stack([self.phi.cos(), self.phi.sin()])
        return torch.stack([torch.zeros_like(score), score], dim=1)


def example_3(n: int = 20, copies: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Rows (1, 0) and (0, 1) of class 1, n times (-1, 0) of class -1; all in copies for large batches."""
    X = np.array([[1.0, 0.0], [0.0, 1.0], *[[-1.0, 0.0]] * n])
    y = np.array([1, 1, *[-1] * n])
    return np.tile(X, (copies, 1)), np.tile(y, copies)


def trained_direction(method: str, r: float, X: np.ndarray, y: np.ndarray, seed: int = 0) -> float:
    """Phi after training on the whole batch.

    GenLabel's Gaussians share one covariance: the class of a single place has none of its own. Float64, a
    small eps and a short memory of squared gradients, as those fall like exp(-r) on the way.
    """
    params = {
        "vanilla": {"mix": None},
        "mixup": {"lam_per": "sample"},
        "genlabel": {
            **{"lam_per": "sample", "density": GM(covariance="pooled")},
            **{"gamma": 1, "class_prior": "uniform"},
        },
    }[method]
    clf = (GenLabelClassifier if method == "genlabel" else MixupClassifier)(
        **{**COMMON, **params},
        module=Direction,
        module__r=r,
        dtype="float64",
        batch_size=len(y),
        max_epochs=300,
        lr=0.05,
        optimizer__betas=(0.9, 0.9),
        optimizer__eps=1e-20,
        weight_decay=0,
        schedule="cosine",
        random_state=seed,
    ).fit(X, y)
    # The log odds of the two unit vectors are the two coordinates of theta.
    p = clf.predict_proba(np.eye(2))
    cosine, sine = np.log(p[:, 1] / p[:, 0])
    return float(np.arctan2(sine, cosine))


def picture_example_3() -> Figure:
    """The rows with the max-margin line, and phi over r."""
    X, y = example_3()
    lengths = [1, 2, 4, 8, 16]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    vanilla = MixupClassifier(mix=None, encoder="passthrough", random_state=0)
    MixedPointsDisplay.from_estimator(vanilla, X, y, n_points=50, scatter_kw={"s": 60}, ax=left)
    left.axline((0, 0), slope=-1, color="0.2", linewidth=1)
    left.set(title="rows, and the line of the largest margin", xlim=(-1.5, 1.5), ylim=(-0.6, 1.4))
    left.set_aspect("equal")
    for method, style in {"vanilla": "C2o-", "mixup": "C3s-", "genlabel": "C4^-"}.items():
        phi = [trained_direction(method, r, X, y) for r in lengths]
        right.plot(lengths, phi, style, markersize=5, label=METHODS[method])
    right.axhline(MAX_MARGIN, color="0.2", linewidth=1, linestyle=":", label="largest margin, π/4")
    right.set_xscale("log", base=2)
    right.set_xticks(lengths, lengths)
    right.set(xlabel="length r of θ", ylabel="angle φ of θ", title="the direction that is learnt")
    right.legend()
    return figure


def pictures(sets: Iterable[str]) -> Iterator[tuple[str, Figure]]:
    """Each picture with its file's name."""
    for name in sets:
        yield name, picture(name)
    yield "example_3", picture_example_3()


def main(arguments: list[str] | None = None) -> None:
    """Fit, or show what has been fitted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=list(TOYS), default=list(TOYS))
    parser.add_argument(
        "--seeds", nargs="+", type=int, help="default: 0 to 4, of four circles and cubes to 19"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of accuracy.csv and the PNGs")
    parser.add_argument("--report", action="store_true", help="only print the table of accuracy.csv")
    parser.add_argument("--figures", action="store_true", help="only draw")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "accuracy.csv"
    start = time.perf_counter()
    if args.report:
        print(report(pd.read_csv(path)))
        return
    if args.figures:
        for name, figure in pictures(args.sets):
            save(figure, args.out / f"{name}.png")
    else:
        run(path, args.sets, args.seeds)
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
