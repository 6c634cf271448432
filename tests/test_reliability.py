"""The reliability diagram shows the bins of the calibration error, and several classifiers in one picture."""

import re
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_rgb
from numpy.testing import assert_allclose
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch.utils.data import TensorDataset

from mixsk import MixupClassifier
from mixsk.metrics import expected_calibration_error
from mixsk.plots import ReliabilityDisplay

DIAGONAL = "perfectly calibrated"


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def random_predictions(n=300, n_classes=3, seed=0):
    """Codes, probabilities in twentieths (many on the border of a bin) and weights, some of them 0."""
    rng = np.random.default_rng(seed)
    proba = rng.multinomial(20, rng.dirichlet(np.ones(n_classes), n)) / 20
    return rng.integers(0, n_classes, n), proba, rng.integers(0, 4, n) * rng.random(n)


def loop_bins(codes, proba, weight, n_bins):
    """Confidence, accuracy and share of each bin ((m - 1) / n_bins, m / n_bins] that has rows, row by row."""
    found = []
    for m in range(1, n_bins + 1):
        total = confidence = right = 0.0
        for code, row, w in zip(codes, proba, weight, strict=True):
            if (m - 1) / n_bins < max(row) <= m / n_bins:
                total += w
                confidence += w * max(row)
                right += w * (list(row).index(max(row)) == code)
        if total:
            found.append((confidence / total, right / total, total / sum(weight)))
    return np.array(found).T


def labels(display):
    return [text.get_text() for text in display.legend_.get_texts()]


def at(points):
    return np.asarray(points.get_offsets()).T


# --- what is shown ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_bins", [1, 2, 10, 15, 40])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_points_are_the_bins_of_the_definition(n_bins, weighted):
    codes, proba, weight = random_predictions()
    weight = weight if weighted else None
    display = ReliabilityDisplay.from_predictions(codes, proba, n_bins=n_bins, sample_weight=weight)
    counted = np.ones(len(codes)) if weight is None else weight
    confidence, accuracy, share = loop_bins(codes, proba, counted, n_bins)
    assert_allclose(display.confidence, confidence, rtol=1e-12)
    assert_allclose(display.accuracy, accuracy, rtol=1e-12)
    assert_allclose(display.weight, share, rtol=1e-12)
    assert_allclose(at(display.points_), [confidence, accuracy], rtol=1e-12)


@pytest.mark.parametrize("n_bins", [1, 10, 15])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_ece_is_the_number_of_the_metric_and_the_mean_gap_of_the_points(n_bins, weighted):
    codes, proba, weight = random_predictions()
    weight = weight if weighted else None
    display = ReliabilityDisplay.from_predictions(codes, proba, n_bins=n_bins, sample_weight=weight)
    assert display.ece == expected_calibration_error(codes, proba, n_bins=n_bins, sample_weight=weight)
    assert_allclose(display.weight @ np.abs(display.accuracy - display.confidence), display.ece, rtol=1e-12)
    assert labels(display)[-1] == f"ECE = {display.ece:.3f}"


def test_bins_and_error_worked_out_by_hand():
    # .5 (right), .4 (wrong) in (0, .5]; .75 (right), 1 (wrong) in (.5, 1].
    proba = [[0.5, 0.3, 0.2], [0.4, 0.3, 0.3], [0.0, 0.25, 0.75], [0.0, 1.0, 0.0]]
    display = ReliabilityDisplay.from_predictions([0, 1, 2, 0], proba, n_bins=2)
    assert_allclose(display.confidence, [0.45, 0.875])
    assert_allclose(display.accuracy, [0.5, 0.5])
    assert_allclose(display.weight, [0.5, 0.5])
    assert_allclose(display.ece, (0.05 + 0.375) / 2)


def test_perfect_calibration_lies_on_the_diagonal():
    parts = {0.4: 10, 0.6: 5, 0.75: 4, 0.9: 10}  # of so many rows with this confidence, that share is right
    confidence = np.concatenate([np.full(n, p) for p, n in parts.items()])
    y = np.concatenate([np.arange(n) >= round(p * n) for p, n in parts.items()]).astype(int)
    proba = np.column_stack([confidence, *[(1 - confidence) / 2] * 2])
    display = ReliabilityDisplay.from_predictions(y, proba, labels=[0, 1, 2])
    assert_allclose(at(display.points_), [list(parts)] * 2, atol=1e-12)
    assert_allclose(display.ece, 0, atol=1e-12)
    (diagonal,) = [line for line in display.ax_.lines if line.get_label() == DIAGONAL]
    assert_allclose(np.diff(diagonal.get_xydata(), axis=1), 0)


def test_too_sure_is_below_the_diagonal():
    proba = [[0.9, 0.05, 0.05]] * 4
    display = ReliabilityDisplay.from_predictions(list("aabc"), proba)
    assert_allclose(at(display.points_), [[0.9], [0.5]])


def test_a_bin_whose_rows_all_weigh_0_is_left_out():
    proba = [[0.9, 0.1], [0.6, 0.4]]
    display = ReliabilityDisplay.from_predictions([0, 1], proba, sample_weight=[2, 0])
    assert_allclose([display.confidence, display.accuracy, display.weight], [[0.9], [1], [1]])


def test_from_estimator_with_string_labels_equals_from_predictions():
    X, codes = load_iris(return_X_y=True)
    y = np.array(["virginica", "setosa", "iris"])[codes]  # not in the order of the codes
    clf = MixupClassifier(max_epochs=3, hidden=(8,), random_state=0).fit(X[::2], y[::2])
    weight = np.random.default_rng(0).random(50)
    test = slice(1, 100, 2)  # has two of the three classes
    display = ReliabilityDisplay.from_estimator(clf, X[test], y[test], n_bins=10, sample_weight=weight)
    proba = clf.predict_proba(X[test])
    same = ReliabilityDisplay.from_predictions(
        y[test], proba, labels=clf.classes_, n_bins=10, sample_weight=weight
    )
    assert display.ece == same.ece > 0
    for name in ("confidence", "accuracy", "weight"):
        assert np.array_equal(getattr(display, name), getattr(same, name))
    right = clf.predict(X[test]) == y[test]
    assert_allclose(display.weight @ display.accuracy, np.average(right, weights=weight))
    assert display.estimator_name == "MixupClassifier"
    assert same.estimator_name is None


def test_pipelines_and_frames_of_others_can_be_shown():
    X, y = load_iris(return_X_y=True, as_frame=True)
    y = y.map({0: "a", 1: "b", 2: "c"}).astype("category")
    clf = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    display = ReliabilityDisplay.from_estimator(clf, X, y, name="logistic")
    assert display.ece == expected_calibration_error(y, clf.predict_proba(X), labels=clf.classes_)
    assert labels(display)[-1] == f"logistic (ECE = {display.ece:.3f})"


# --- the picture --------------------------------------------------------------------------------------


def test_two_classifiers_on_one_axes_are_told_apart_by_colour_and_legend():
    codes, proba, _ = random_predictions()
    first = ReliabilityDisplay.from_predictions(codes, proba, name="one")
    sharper = proba**2 / (proba**2).sum(axis=1, keepdims=True)
    second = ReliabilityDisplay.from_predictions(codes, sharper, ax=first.ax_)
    assert second.ax_ is first.ax_
    assert second.figure_ is first.figure_ is first.ax_.figure
    assert labels(second) == [DIAGONAL, f"one (ECE = {first.ece:.3f})", f"ECE = {second.ece:.3f}"]
    assert first.ece != second.ece
    assert to_rgb(first.line_.get_color()) != to_rgb(second.line_.get_color())
    for display in (first, second):
        color = to_rgb(display.line_.get_color())
        assert_allclose(display.points_.get_facecolors()[:, :3], [color])
        assert_allclose(display.points_.get_edgecolors()[:, :3], [color])


def test_the_area_of_a_point_is_its_share_of_the_rows():
    display = ReliabilityDisplay([0.5, 0.7, 0.9], [0.4, 0.6, 0.8], [0.1, 0.3, 0.6], 0.1).plot()
    areas = display.points_.get_sizes()
    assert_allclose(areas / areas[0], [1, 3, 6])
    assert display.legend_.get_title().get_text() == "area of a point: share of rows"


def test_rare_bins_are_points_that_can_be_seen_beside_the_line():
    share = np.array([0.001, 0.3, 0.699])
    display = ReliabilityDisplay([0.4, 0.7, 0.9], [1.0, 0.6, 0.8], share, 0.1).plot()
    assert_allclose(display.line_.get_xydata(), [[0.7, 0.6], [0.9, 0.8]])
    assert_allclose(at(display.points_), [[0.4, 0.7, 0.9], [1.0, 0.6, 0.8]])
    assert display.points_.get_sizes()[0] >= 4


def test_the_line_has_the_bins_of_usual_size_however_many_there_are():
    n = 2000
    confidence = np.linspace(0.51, 0.99, n)
    display = ReliabilityDisplay.from_predictions(np.arange(n) % 2, 1 - confidence, n_bins=1000)
    assert len(display.weight) > 400
    assert len(display.line_.get_xydata()) == len(display.weight)


def test_all_rows_at_full_confidence_are_one_point_that_is_not_cut_off():
    display = ReliabilityDisplay.from_predictions([0, 1, 2], np.eye(3))
    assert_allclose(at(display.points_), [[1], [1]])
    display.figure_.canvas.draw()
    radius = np.sqrt(display.points_.get_sizes()[0] / np.pi) + display.points_.get_linewidths()[0] / 2
    center = display.ax_.transData.transform([1, 1])
    corner = display.ax_.transAxes.transform([1, 1])
    assert (center + radius * display.figure_.dpi / 72 <= corner).all()


def test_plot_takes_a_name_and_what_the_line_takes_and_leaves_out_the_diagonal_if_told_to():
    codes, proba, _ = random_predictions()
    style = {"color": "red", "linestyle": "--", "lw": 3}
    display = ReliabilityDisplay.from_predictions(codes, proba, name="one", ref_line=False, **style)
    assert labels(display) == [f"one (ECE = {display.ece:.3f})"]
    line = display.line_
    assert (line.get_color(), line.get_linestyle(), line.get_linewidth()) == ("red", "--", 3)
    assert_allclose(display.points_.get_facecolors()[:, :3], [(1, 0, 0)])
    first = display.ax_
    assert display.plot(name="other") is display
    assert display.ax_ is not first
    assert labels(display) == [DIAGONAL, f"other (ECE = {display.ece:.3f})"]
    assert labels(display.plot(label="mine"))[-1] == "mine"


def test_axes_are_named_unless_the_user_has_named_them():
    _, axes = plt.subplots()
    axes.set_xlabel("how sure")
    display = ReliabilityDisplay([0.5], [0.5], [1], 0).plot(axes)
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("how sure", "accuracy")
    assert display.ax_ is axes


# --- errors -------------------------------------------------------------------------------------------

GOOD = {"y_true": [0, 1, 2], "y_proba": np.full((3, 3), 1 / 3)}
BAD = {
    "fewer labels than rows": {"y_true": [0, 1]},
    "no rows": {"y_true": [], "y_proba": np.empty((0, 3))},
    "NaN": {"y_proba": [[np.nan, 0.5, 0.5]] * 3},
    "logits": {"y_proba": [[3.0, -2.0, 0.1]] * 3},
    "row sum": {"y_proba": [[0.5, 0.25, 0.2]] * 3},
    "missing label": {"y_true": pd.Series(["a", None, "b"])},
    "too few labels": {"labels": [0, 1]},
    "unknown label": {"labels": ["a", "b", "c"]},
    "repeated label": {"labels": [0, 1, 1]},
    "zero weights": {"sample_weight": [0, 0, 0]},
    "negative weight": {"sample_weight": [1, -1, 1]},
    "no y": {"y_true": None},
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
def test_what_cannot_be_scored_is_the_error_of_the_metric_and_opens_no_figure(change):
    with pytest.raises(ValueError, match=r"\w") as expected:
        expected_calibration_error(**GOOD | change)
    with pytest.raises(type(expected.value), match=re.escape(str(expected.value))):
        ReliabilityDisplay.from_predictions(**GOOD | change)
    assert plt.get_fignums() == []


@pytest.mark.parametrize("n_bins", [0, 2.5, True])
def test_bins_are_a_whole_number_from_1(n_bins):
    with pytest.raises(ValueError, match=re.escape(f"n_bins must be an int >= 1. Got {n_bins!r}.")):
        ReliabilityDisplay.from_predictions(**GOOD, n_bins=n_bins)


def test_the_labels_of_a_dataset_are_its_own():
    rng = np.random.default_rng(0)
    images, y = rng.integers(0, 256, (30, 12, 12), dtype=np.uint8), np.arange(30) % 2
    clf = MixupClassifier(module="lenet", max_epochs=1, random_state=0).fit(images, y)
    pairs = TensorDataset(torch.from_numpy(images), torch.from_numpy(y))
    display = ReliabilityDisplay.from_estimator(clf, pairs, None)
    assert display.ece == ReliabilityDisplay.from_estimator(clf, images, y).ece
    with pytest.raises(ValueError, match="ReliabilityDisplay requires y to be passed"):
        ReliabilityDisplay.from_estimator(clf, images, None)
    with pytest.raises(ValueError, match="items of the dataset are images without labels"):
        ReliabilityDisplay.from_estimator(clf, TensorDataset(torch.from_numpy(images)), None)


def test_a_label_that_the_classifier_does_not_know_is_an_error():
    X, y = load_iris(return_X_y=True)
    clf = LogisticRegression().fit(X[:100], y[:100])
    with pytest.raises(ValueError, match=r"labels without a column in y_proba: \[2\]"):
        ReliabilityDisplay.from_estimator(clf, X, y)


def test_an_estimator_without_predict_proba_is_an_error_that_says_what_to_do():
    X, y = load_iris(return_X_y=True)
    words = "LinearSVC does not have. Use .* CalibratedClassifierCV .* or from_predictions with"
    with pytest.raises(ValueError, match=words):
        ReliabilityDisplay.from_estimator(LinearSVC().fit(X, y), X, y)


def test_an_estimator_that_is_not_fitted_is_an_error():
    with pytest.raises(NotFittedError):
        ReliabilityDisplay.from_estimator(MixupClassifier(), *load_iris(return_X_y=True))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: ReliabilityDisplay.from_predictions(**GOOD),
        lambda: ReliabilityDisplay.from_estimator(None, None, None),
        lambda: ReliabilityDisplay([0.5], [0.5], [1], 0).plot(),
    ],
)
def test_without_matplotlib_the_error_names_the_extra(draw, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    words = r"ReliabilityDisplay needs matplotlib.*pip install 'mixsk\[plots\]'"
    with pytest.raises(ImportError, match=words):
        draw()
