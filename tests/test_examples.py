"""Examples 1-3 of the GenLabel paper, by models trained on the very rows of the examples.

What is learnt is compared with the least expected loss, found by SciPy on a grid of lam, and with what the
paper says of it.
"""

import importlib
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_allclose
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax
from scipy.stats import multivariate_normal
from sklearn.svm import LinearSVC
from torch import nn

from mixsk import MixupClassifier
from mixsk.plots import MixedPointsDisplay
from mixsk.rules import Logistic

LAM = (np.arange(400) + 0.5) / 400


def mixtures(X, targets):
    """Every pair of rows at every lam of a fine grid: mixed rows, and the linear labels."""
    lam = LAM[:, None]
    pairs = [(i, j) for i in range(len(X)) for j in range(len(X))]
    return tuple(
        np.concatenate([lam * values[i] + (1 - lam) * values[j] for i, j in pairs]) for values in (X, targets)
    )


# --- Example 1: intrusions cost margin ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("pair", "margin"),
    [
        ("other_class", 1 / 2),
        # Of the nine pairs two mix the outer rows: 4 (1 - c)^2 + 2 c is least at c = 2 theta = 3/4. The paper
        # prints 7/16, counting the pair of outer rows once and the others twice.
        ("any", 3 / 8),
    ],
)
def test_example_1_without_intrusions_the_margin_is_one_half_and_with_them_three_eighths(pair, margin):
    """Rows -1, 0, 1 of classes 1, 2, 1; f(x) = min(|x| / (2 theta), 1) fitted by least squares."""
    X = np.array([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    clf = MixupClassifier(mix="linear", pair=pair, encoder="passthrough", random_state=0)
    rows = MixedPointsDisplay.from_estimator(clf, X, ["1", "2", "1"], n_points=2500, ax=Figure().subplots())
    x, first = np.abs(rows.points[:, 0]), rows.targets[:, 0]

    def loss(theta):
        return np.square(np.minimum(x / (2 * theta), 1) - first).mean()

    theta = minimize_scalar(loss, bounds=(0.05, 0.95), method="bounded").x
    assert min(theta, 1 - theta) == pytest.approx(margin, abs=0.015)


# --- Example 2: linear labels cost margin, logistic ones do not ---------------------------------------

D = 5.0
CORNERS = np.array([[-D, D], [D, D], [-D, -D]])
SVM = np.array([[-1.0, 1.0], [1.0, 1.0], [-1.0, -1.0]])
LOGISTIC = Logistic(s2=1 / (4 * D))


def scores_of(label, rows):
    """Weights of softmax regression without an intercept, trained on mixtures of the rows; they sum to 0."""
    X, y = np.tile(CORNERS[rows], (80, 1)), np.tile(rows, 80)
    clf = MixupClassifier(
        module=nn.Linear,
        module__in_features=2,
        module__out_features=len(rows),
        module__bias=False,
        encoder="passthrough",
        label=label,
        lam_per="sample",
        batch_size=len(y),
        max_epochs=400,
        early_stopping=False,
        lr=0.3,
        optimizer__betas=(0.9, 0.9),  # the steep labels' gradients soon get small
        weight_decay=0,
        schedule="cosine",
        dtype="float64",
        random_state=0,
    ).fit(X, y)
    scores = np.log(clf.predict_proba(np.eye(2))).T
    return scores - scores.mean(axis=0)


def least_loss_scores(share):
    """Weights of least expected cross entropy when `share(lam)` is the first row's part of the label."""
    x, _ = mixtures(CORNERS, CORNERS)
    pairs = [(i, j) for i in range(3) for j in range(3)]
    first = share(LAM)[:, None]
    t = np.concatenate([first * np.eye(3)[i] + (1 - first) * np.eye(3)[j] for i, j in pairs])

    def loss(w):
        log_p = log_softmax(x @ w.reshape(3, 2).T, axis=1)
        return -(t * log_p).sum() / len(x), ((np.exp(log_p) - t).T @ x).ravel() / len(x)

    w = minimize(loss, np.zeros(6), jac=True, method="BFGS", options={"gtol": 1e-8}).x.reshape(3, 2)
    return w - w.mean(axis=0)


def margin(w):
    """Least distance of a row to the border of its class."""
    others = [(i, j) for i in range(3) for j in range(3) if i != j]
    return min((w[i] - w[j]) @ CORNERS[i] / np.linalg.norm(w[i] - w[j]) for i, j in others)


@pytest.mark.filterwarnings("ignore:Liblinear failed to converge")
def test_example_2_the_svm_has_the_largest_margin_d():
    svm = LinearSVC(
        multi_class="crammer_singer", fit_intercept=False, C=100, random_state=0, max_iter=100_000
    )
    w = svm.fit(CORNERS, [0, 1, 2]).coef_
    assert_allclose(2 * D * (w - w.mean(axis=0)), SVM - SVM.mean(axis=0), atol=0.02)
    assert margin(SVM) == D


@pytest.mark.parametrize(
    ("label", "share", "low", "high"),
    [
        ("linear", lambda lam: lam, 0.9 * D, 0.95 * D),
        (LOGISTIC, lambda lam: expit(8 * D * (lam - 0.5)), 0.995 * D, D),
    ],
    ids=["linear", "logistic"],
)
def test_example_2_linear_labels_lose_margin_and_logistic_ones_keep_it(label, share, low, high):
    w = scores_of(label, [0, 1, 2])
    assert_allclose(w, least_loss_scores(share), rtol=0.05)
    assert low < margin(w) < high


def test_example_2_logistic_labels_teach_two_classes_the_log_odds_of_the_svm():
    """Rows 2 and 3 alone: beside class 1 the SVM's softmax keeps the odds, not the probabilities."""
    w = scores_of(LOGISTIC, [1, 2])
    on_the_line = np.array([1.0, 1.0])
    assert (w[0] - w[1]) @ on_the_line == pytest.approx((SVM[1] - SVM[2]) @ on_the_line, abs=0.02)


# --- Example 3: GenLabel learns the direction of the largest margin -----------------------------------

THREE = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
COUNTS = np.array([1, 1, 20])


@pytest.fixture(scope="module")
def toys():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
        return importlib.import_module("toys")


@pytest.fixture(scope="module")
def learnt(toys):
    """Angles after training, by method and length."""
    rows = toys.example_3()
    pairs = [(method, r) for method in ("vanilla", "mixup", "genlabel") for r in (4, 16)]
    return {(method, r): toys.trained_direction(method, r, *rows) for method, r in pairs}


def least_loss_direction(method, r):
    """Angle of least expected logistic loss among the vectors of length r."""
    positive = np.array([1.0, 1.0, 0.0])
    x, t, weight = THREE, positive, COUNTS
    if method != "vanilla":
        x, t = mixtures(THREE, positive[:, None])
        t = t[:, 0]
        weight = np.repeat(np.outer(COUNTS, COUNTS), len(LAM))
    if method == "genlabel":
        # Only the first two rows differ within their class; the covariance is that of all 22.
        covariance = 2 / COUNTS.sum() * np.cov(THREE[:2].T, bias=True) + 1e-4 * np.eye(2)
        means = [THREE[:2].mean(axis=0), THREE[2]]
        t = expit(np.subtract(*[multivariate_normal(mean, covariance).logpdf(x) for mean in means]))

    def loss(phi):
        score = r * x @ [np.cos(phi), np.sin(phi)]
        return weight @ (t * np.logaddexp(0, -score) + (1 - t) * np.logaddexp(0, score))

    grid = np.linspace(-np.pi, np.pi, 721)
    best = grid[np.argmin([loss(phi) for phi in grid])]
    return minimize_scalar(loss, bounds=(best - 0.01, best + 0.01), method="bounded").x


def test_example_3_the_max_margin_direction_is_pi_over_4(toys):
    """Of unit vectors through the origin that has the largest least score."""
    grid = np.linspace(-np.pi, np.pi, 8001)
    signed = THREE * np.array([[1], [1], [-1]])
    least = (signed @ [np.cos(grid), np.sin(grid)]).min(axis=0)
    assert grid[least.argmax()] == pytest.approx(toys.MAX_MARGIN, abs=1e-3)


def test_example_3_a_trained_direction_is_that_of_least_expected_loss(learnt):
    assert learnt == pytest.approx({key: least_loss_direction(*key) for key in learnt}, abs=0.02)


def test_example_3_genlabel_comes_to_the_largest_margin_sooner_than_vanilla_and_mixup_never(learnt):
    off = {method: phi - np.pi / 4 for (method, r), phi in learnt.items() if r == 16}
    assert abs(off["genlabel"]) < 0.03 < 0.1 < abs(off["vanilla"])
    assert off["mixup"] > 0.15
    limits = {method: least_loss_direction(method, 200) - np.pi / 4 for method in ("mixup", "genlabel")}
    assert abs(limits["genlabel"]) < 0.002
    assert limits["mixup"] > 0.2
