"""Scores of a benchmark's cell against scikit-learn's, one by one."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    log_loss,
    recall_score,
    roc_auc_score,
)

from mixsk.bench.scores import SCORES, score
from mixsk.metrics import brier_score, expected_calibration_error


def scikit_learns(y, proba, n_classes):
    """The same scores with scikit-learn's functions on float64; calibration with our own public ones."""
    proba = proba.astype(np.float64)
    share = proba / proba.sum(axis=1, keepdims=True)
    classes, present = np.arange(n_classes), np.unique(y)
    if len(present) == 1:
        auc = np.nan
    elif n_classes == 2:
        auc = roc_auc_score(y, proba[:, 1])
    else:
        auc = np.mean([roc_auc_score(y == c, proba[:, c]) for c in present])
    return {
        "accuracy": accuracy_score(y, proba.argmax(1)),
        # balanced_accuracy_score warns of predicted classes that y lacks
        "balanced_accuracy": recall_score(y, proba.argmax(1), labels=present, average="macro"),
        "log_loss": log_loss(y, share, labels=classes),
        "brier": brier_score(y, share, labels=classes),
        "ece": expected_calibration_error(y, share, labels=classes),
        "auc": auc,
    }


@st.composite
def predictions(draw):
    """Codes, probabilities and number of classes: few rows, many ties, zeros, classes that are missing."""
    n, n_classes, parts = draw(st.integers(1, 15)), draw(st.integers(2, 5)), draw(st.integers(1, 8))
    codes = draw(st.lists(st.integers(0, n_classes - 1), min_size=n, max_size=n))
    cuts = st.lists(st.integers(0, parts), min_size=n_classes - 1, max_size=n_classes - 1).map(sorted)
    counts = np.array([np.diff([0, *draw(cuts), parts]) for _ in range(n)])
    return (
        np.array(codes),
        (counts / parts).astype(draw(st.sampled_from([np.float32, np.float64]))),
        n_classes,
    )


def random_predictions(n, n_classes, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, n_classes, n), rng.dirichlet(np.ones(n_classes), n), n_classes


def assert_equal_scores(scores, expected):
    assert tuple(scores) == SCORES
    for name in SCORES:
        assert_allclose(scores[name], expected[name], rtol=1e-10, atol=1e-12, err_msg=name)
        assert type(scores[name]) is float


# --- against scikit-learn -----------------------------------------------------------------------------


@given(predictions())
def test_scores_of_any_predictions_are_scikit_learns(data):
    assert_equal_scores(score(*data), scikit_learns(*data))


@pytest.mark.parametrize("n_classes", [2, 3, 26])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_of_random_predictions_are_scikit_learns(n_classes, dtype):
    y, proba, _ = random_predictions(1000, n_classes, seed=n_classes)
    proba = proba.astype(dtype)
    scores = score(y, proba, n_classes)
    assert_equal_scores(scores, scikit_learns(y, proba, n_classes))
    assert_allclose(scores["balanced_accuracy"], balanced_accuracy_score(y, proba.argmax(1)))
    if n_classes > 2:
        assert_allclose(scores["auc"], roc_auc_score(y, proba, multi_class="ovr", average="macro"))
    else:
        assert_allclose(scores["brier"], 2 * brier_score_loss(y, proba[:, 1].astype(float)), rtol=1e-6)


def test_scores_worked_out_by_hand():
    # Class 2 never occurs; row 1 ties and goes to class 0.
    proba = np.array([[0.5, 0.25, 0.25], [0.5, 0.5, 0.0], [0.125, 0.75, 0.125], [0.25, 0.0, 0.75]])
    scores = score(np.array([0, 1, 1, 0]), proba, 3)
    assert scores["accuracy"] == 2 / 4
    assert scores["balanced_accuracy"] == (1 / 2 + 1 / 2) / 2
    assert_allclose(scores["log_loss"], np.log([2, 2, 4 / 3, 4]).mean())
    assert_allclose(scores["brier"], (0.375 + 0.5 + 0.09375 + 1.125) / 4)
    assert_allclose(scores["ece"], (abs(1 - 1) + abs(1 - 1.5)) / 4)
    # Class 0: .5 and .25 against .5 and .125, 2.5 of 4 pairs; class 1: .5 and .75 against .25 and 0, all.
    assert_allclose(scores["auc"], (2.5 / 4 + 1) / 2)


# --- edges --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_probability_of_0_costs_36_nats_in_any_precision(dtype):
    scores = score(np.array([0, 1, 2]), np.eye(3, dtype=dtype)[[0, 1, 0]], 3)
    assert_allclose(scores["log_loss"], -np.log(np.finfo(np.float64).eps) / 3)
    assert_allclose(scores["brier"], 2 / 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_certain_and_right_is_the_best_of_each_score(dtype):
    scores = score(np.array([0, 1, 1, 2]), np.eye(3, dtype=dtype)[[0, 1, 1, 2]], 3)
    expected = {"accuracy": 1, "balanced_accuracy": 1, "log_loss": 0, "brier": 0, "ece": 0, "auc": 1}
    assert_equal_scores(scores, expected)


def test_rows_that_do_not_sum_to_1_are_divided_by_their_sum():
    y, proba, _ = random_predictions(100, 3, seed=0)
    scale = np.random.default_rng(1).choice([0.5, 2.0, 4.0], size=(100, 1))
    scaled, plain = score(y, proba * scale, 3), score(y, proba, 3)
    for name in ("accuracy", "balanced_accuracy", "log_loss", "brier", "ece"):
        assert_allclose(scaled[name], plain[name], err_msg=name)


def test_equal_probabilities_of_float32_rows_stay_ties_though_their_sums_differ():
    # Divided by the sums, 1 and .99999, the two .3 of class 0 would no longer tie.
    proba = np.array([[0.3, 0.7, 0.0], [0.3, 0.69999, 0.0]], dtype=np.float32)
    assert score(np.array([0, 1]), proba, 3)["auc"] == (0.5 + 0.0) / 2


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("code", [0, 1])
def test_rows_of_one_class_have_no_auc_and_all_other_scores(n_classes, code):
    _, proba, _ = random_predictions(20, n_classes, seed=0)
    scores = score(np.full(20, code), proba, n_classes)
    assert np.isnan(scores.pop("auc"))
    assert np.isfinite(list(scores.values())).all()
    assert scores["accuracy"] == scores["balanced_accuracy"]


def test_auc_of_two_classes_is_that_of_the_second_class():
    y, proba, _ = random_predictions(50, 2, seed=3)
    assert_allclose(score(y, proba, 2)["auc"], roc_auc_score(y, proba[:, 1]))
    # The first column rounds to 1 twice and could not tell these rows apart.
    assert score(np.array([0, 1]), np.array([[1, 1e-20], [1, 2e-20]]), 2)["auc"] == 1
    # A third class that occurs nowhere makes it the mean over two classes, which are mirrored here.
    assert_allclose(score(y, np.c_[proba, np.zeros(50)], 3)["auc"], roc_auc_score(y, proba[:, 1]))


def test_a_class_that_training_lacked_counts_against_every_score():
    y = np.array([0, 0, 1, 2])
    proba = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0.5, 0.5, 0]], dtype=float)
    scores = score(y, proba, 3)
    assert scores["accuracy"] == 3 / 4
    assert scores["balanced_accuracy"] == 2 / 3
    assert scores["log_loss"] > 9
    # Class 2 cannot be told apart: all of its probabilities tie.
    assert scores["auc"] == (1 + 1 + 0.5) / 3


def test_the_arrays_are_left_as_they_were():
    y, proba, _ = random_predictions(20, 3, seed=0)
    before = proba.copy()
    y.setflags(write=False)
    proba.setflags(write=False)
    score(y, proba, 3)
    np.testing.assert_array_equal(proba, before)


# --- errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_probabilities_that_are_not_finite_are_an_error(bad):
    proba = np.full((3, 2), 0.5)
    proba[2, 0] = bad
    words = re.escape(f"of 1 of 3 test rows are not finite; the first is row 2: {proba[2]}")
    with pytest.raises(ValueError, match=words):
        score(np.array([0, 1, 0]), proba, 2)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 3), (2, 2), (3, 2, 1)])
def test_probabilities_of_another_shape_are_an_error(shape):
    words = re.escape(f"shape {shape}, but 3 test rows and a table of 2 classes need (3, 2)")
    with pytest.raises(ValueError, match=words):
        score(np.array([0, 1, 0]), np.full(shape, 0.5), 2)


@pytest.mark.parametrize("row", [[0.0, 0.0], [-0.5, 1.5]])
def test_rows_that_no_sum_can_make_probabilities_are_an_error(row):
    with pytest.raises(ValueError, match=r"of 1 of 2 test rows are negative or all 0; the first is row 1"):
        score(np.array([0, 1]), np.array([[0.5, 0.5], row]), 2)
