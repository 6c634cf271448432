"""Calibration error and Brier score against their definitions, written as loops, and scikit-learn's."""

import re
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.metrics import brier_score_loss, make_scorer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.tree import DecisionTreeClassifier

from mixsk.metrics import brier_score, expected_calibration_error

METRICS = [expected_calibration_error, brier_score]


def loop_calibration_error(codes, proba, weight, n_bins):
    """Sum over bins of |B| / n * |acc(B) - conf(B)|, each term as it is written."""
    error = 0.0
    for m in range(1, n_bins + 1):
        inside = [
            (int(np.argmax(p)) == code, max(p), w)
            for code, p, w in zip(codes, proba, weight, strict=True)
            if (m - 1) / n_bins < max(p) <= m / n_bins
        ]
        total = sum(w for _, _, w in inside)
        if total > 0:
            accuracy = sum(w for right, _, w in inside if right) / total
            confidence = sum(w * p for _, p, w in inside) / total
            error += total / sum(weight) * abs(accuracy - confidence)
    return error


def loop_brier(codes, proba, weight):
    rows = [
        sum((p - (c == code)) ** 2 for c, p in enumerate(row)) for code, row in zip(codes, proba, strict=True)
    ]
    return sum(w * row for w, row in zip(weight, rows, strict=True)) / sum(weight)


@st.composite
def predictions(draw):
    """Codes (n,), probabilities (n, C) and weights (n,), with ties and values on the borders of bins."""
    n, n_classes, parts = (
        draw(st.integers(1, 12)),
        draw(st.integers(2, 5)),
        draw(st.sampled_from([4, 10, 15])),
    )
    codes = draw(st.lists(st.integers(0, n_classes - 1), min_size=n, max_size=n))
    cuts = st.lists(st.integers(0, parts), min_size=n_classes - 1, max_size=n_classes - 1).map(sorted)
    counts = [np.diff([0, *draw(cuts), parts]) for _ in range(n)]
    weight = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n).filter(any))
    return np.array(codes), np.array(counts) / parts, np.array(weight, float)


def random_predictions(n=200, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, n_classes, n), rng.dirichlet(np.ones(n_classes), n), rng.random(n)


# --- the definitions ----------------------------------------------------------------------------------


@given(predictions(), st.sampled_from([1, 2, 10, 15]), st.booleans())
def test_calibration_error_is_its_definition_bin_by_bin(data, n_bins, weighted):
    codes, proba, weight = data
    given_weight = weight if weighted else None
    error = expected_calibration_error(
        codes, proba, labels=range(proba.shape[1]), n_bins=n_bins, sample_weight=given_weight
    )
    counted = weight if weighted else np.ones(len(codes))
    assert_allclose(error, loop_calibration_error(codes, proba, counted, n_bins), atol=1e-12)
    assert type(error) is float
    assert 0 <= error <= 1


@given(predictions(), st.booleans())
def test_brier_score_is_its_definition_row_by_row(data, weighted):
    codes, proba, weight = data
    score = brier_score(
        codes, proba, labels=range(proba.shape[1]), sample_weight=weight if weighted else None
    )
    counted = weight if weighted else np.ones(len(codes))
    assert_allclose(score, loop_brier(codes, proba, counted), atol=1e-12)
    assert type(score) is float
    assert 0 <= score <= 2


def test_calibration_error_worked_out_by_hand_with_two_bins():
    # Confidences .5 (right), .4 (wrong) in (0, .5]; .75 (right), 1 (wrong) in (.5, 1].
    proba = [[0.5, 0.3, 0.2], [0.4, 0.3, 0.3], [0.0, 0.25, 0.75], [0.0, 1.0, 0.0]]
    expected = Fraction(2, 4) * abs(Fraction(1, 2) - Fraction(9, 20)) + Fraction(2, 4) * (
        Fraction(7, 8) - Fraction(1, 2)
    )
    assert_allclose(expected_calibration_error([0, 1, 2, 0], proba, n_bins=2), float(expected))


@pytest.mark.parametrize("n_bins", [10, 15, 100])
def test_a_confidence_on_a_border_belongs_to_the_bin_below_it(n_bins):
    for m in range(n_bins // 2 + 2, n_bins):
        # One right row on the border m / n_bins, one wrong row in the middle of the bin below or above it.
        border = m / n_bins
        for middle, shared in ((border - 0.5 / n_bins, True), (border + 0.5 / n_bins, False)):
            error = expected_calibration_error([1, 0], [border, middle], n_bins=n_bins)
            gaps = 1 - border, -middle
            expected = abs(sum(gaps)) / 2 if shared else sum(map(abs, gaps)) / 2
            assert_allclose(error, expected, atol=1e-12)


def test_one_bin_compares_accuracy_with_mean_confidence():
    codes, proba, _ = random_predictions()
    expected = abs((proba.argmax(1) == codes).mean() - proba.max(1).mean())
    assert_allclose(expected_calibration_error(codes, proba, n_bins=1), expected)


def test_perfect_predictions_score_0_and_certain_wrong_ones_the_most():
    y, right, wrong = [0, 1, 2], np.eye(3), np.eye(3)[[1, 2, 0]]
    assert [metric(y, right) for metric in METRICS] == [0, 0]
    assert_allclose([metric(y, wrong) for metric in METRICS], [1, 2])


def test_the_label_frequencies_as_a_constant_prediction_have_no_calibration_error():
    y = ["a"] * 3 + ["b"] * 2 + ["c"] * 5
    assert_allclose(expected_calibration_error(y, [[0.3, 0.2, 0.5]] * 10), 0, atol=1e-12)


def test_of_equal_probabilities_the_first_is_the_prediction():
    assert_allclose(expected_calibration_error([0, 0], [[0.5, 0.5]] * 2, labels=[0, 1]), 0.5)
    assert_allclose(expected_calibration_error([1, 1], [0.5, 0.5], labels=[0, 1]), 0.5)
    assert_allclose(expected_calibration_error([0, 1], [[0.4, 0.4, 0.2]] * 2, labels=[0, 1, 2]), 0.1)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_brier_score_is_twice_scikit_learns_for_two_labels(dtype):
    rng = np.random.default_rng(0)
    y, later, weight = rng.integers(0, 2, 100), rng.random(100).astype(dtype), rng.random(100)
    expected = 2 * brier_score_loss(y, later.astype(float), sample_weight=weight)
    assert_allclose(brier_score(y, later, sample_weight=weight), expected, rtol=1e-12)
    two_columns = np.column_stack([1 - later, later])
    assert_allclose(
        brier_score(y, two_columns, sample_weight=weight),
        expected,
        rtol=1e-3 if dtype is np.float16 else 1e-6,
    )


# --- weights, labels and what may be passed -----------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_a_whole_weight_is_as_many_copies_of_the_row_and_its_scale_has_no_effect(metric):
    codes, proba, _ = random_predictions(50)
    copies = np.random.default_rng(1).integers(0, 4, 50)
    weighted = metric(codes, proba, sample_weight=copies)
    assert_allclose(weighted, metric(np.repeat(codes, copies), np.repeat(proba, copies, axis=0)))
    assert_allclose(weighted, metric(codes, proba, sample_weight=copies * 1e6))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("labels", [["ham", "spam", "eggs"], [2.5, -1.0, 0.0], [True, False]])
def test_labels_name_the_columns_in_their_order(metric, labels):
    codes, proba, _ = random_predictions(n_classes=len(labels))
    expected = metric(codes, proba, labels=range(len(labels)))
    y = np.array(labels)[codes]
    assert_allclose(metric(y, proba, labels=labels), expected)
    order = np.argsort(labels)
    assert_allclose(metric(y, proba[:, order]), expected)


@pytest.mark.parametrize("metric", METRICS)
def test_one_column_is_the_probability_of_the_later_label(metric):
    codes, proba, _ = random_predictions(n_classes=2)
    expected = metric(codes, proba)
    assert_allclose(metric(codes, proba[:, 1]), expected)
    assert_allclose(metric(codes, proba[:, [1]]), expected)
    assert_allclose(metric(codes, proba[:, 0], labels=[1, 0]), expected)


@pytest.mark.parametrize("metric", METRICS)
def test_a_label_may_be_missing_from_the_rows_when_labels_names_it(metric):
    codes, proba, weight = random_predictions(n_classes=4)
    some = codes < 2
    loop = loop_brier if metric is brier_score else lambda *data: loop_calibration_error(*data, 15)
    expected = loop(codes[some], proba[some], weight[some])
    assert_allclose(
        metric(codes[some], proba[some], labels=[0, 1, 2, 3], sample_weight=weight[some]), expected
    )


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    "container",
    [
        list,
        lambda y: np.array(y, dtype=object),
        lambda y: np.array(y)[:, None],
        pd.Series,
        lambda y: pd.Series(y, index=range(7, 7 + len(y)), dtype="category"),
        lambda y: pd.Series(y, dtype="string"),
        pl.Series,
    ],
)
def test_labels_come_in_any_container(metric, container):
    codes, proba, weight = random_predictions(30)
    expected = metric(codes, proba, sample_weight=weight)
    y = np.array(["ant", "bee", "cat"])[codes].tolist()
    frame = pd.DataFrame(proba, columns=["ant", "bee", "cat"])
    assert_allclose(metric(container(y), frame, sample_weight=pd.Series(weight)), expected)
    assert_allclose(
        metric(container(y), proba.tolist(), labels=pd.Index(frame.columns), sample_weight=weight), expected
    )


@pytest.mark.parametrize("metric", METRICS)
def test_nullable_and_unsigned_numbers_are_labels(metric):
    codes, proba, _ = random_predictions(30)
    expected = metric(codes, proba)
    assert_allclose(metric(pd.Series(codes, dtype="Int64"), proba, labels=[0, 1, 2]), expected)
    assert_allclose(metric(codes.astype(np.uint8), proba, labels=[0.0, 1.0, 2.0]), expected)


@pytest.mark.parametrize("metric", METRICS)
def test_inputs_are_left_as_they_were(metric):
    codes, proba, weight = random_predictions(20)
    copies = codes.copy(), proba.copy(), weight.copy()
    for array in (codes, proba, weight):
        array.setflags(write=False)
    metric(codes, proba, sample_weight=weight)
    for array, copy in zip((codes, proba, weight), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n_classes", [2, 1000])
def test_probabilities_in_half_precision_pass(metric, n_classes):
    codes, proba, _ = random_predictions(n_classes=n_classes)
    half = proba.astype(np.float16)
    labels = range(n_classes)
    assert_allclose(metric(codes, half, labels=labels), metric(codes, proba, labels=labels), atol=2e-3)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("last", [0.199, 0.201])
def test_a_row_may_miss_1_by_a_thousandth(metric, last):
    proba = np.array([[0.5, 0.3, last]] * 3)
    assert_allclose(metric([0, 1, 2], proba), metric([0, 1, 2], [[0.5, 0.3, 0.2]] * 3), atol=2e-3)
    proba[1, 2] += np.sign(last - 0.2) * 1e-4
    with pytest.raises(ValueError, match="1 rows that do not sum to 1"):
        metric([0, 1, 2], proba)


# --- scikit-learn's scorers ---------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("load", [load_iris, load_breast_cancer])
def test_as_a_scorer_it_judges_what_predict_proba_returns(metric, load):
    X, codes = load(return_X_y=True)
    y = np.array(["ant", "bee", "cat"])[codes]
    scorer = make_scorer(metric, response_method="predict_proba", greater_is_better=False)
    tree = DecisionTreeClassifier(max_depth=2, random_state=0).fit(X[::2], y[::2])
    proba = tree.predict_proba(X[1::2])
    code = np.searchsorted(tree.classes_, y[1::2])
    ones = np.ones(len(code))
    expected = (
        loop_brier(code, proba, ones)
        if metric is brier_score
        else loop_calibration_error(code, proba, ones, 15)
    )
    assert expected > 0
    assert_allclose(scorer(tree, X[1::2], y[1::2]), -expected)
    assert_allclose(scorer(tree, X[1::2], y[1::2], sample_weight=ones), -expected)


def test_a_search_prefers_the_setting_with_the_lower_score():
    X, y = load_iris(return_X_y=True)
    flipped = np.where(np.random.default_rng(0).random(len(y)) < 0.3, (y + 1) % 3, y)
    scoring = {
        "brier": make_scorer(brier_score, response_method="predict_proba", greater_is_better=False),
        "ece": make_scorer(
            expected_calibration_error, response_method="predict_proba", greater_is_better=False, n_bins=10
        ),
    }
    # A full tree is certain of every label, and a third of the labels are noise.
    depths = {"max_depth": [None, 2]}
    search = GridSearchCV(DecisionTreeClassifier(random_state=0), depths, scoring=scoring, refit="brier")
    search.fit(X, flipped)
    assert search.best_params_ == {"max_depth": 2}
    assert search.cv_results_["mean_test_ece"][1] > search.cv_results_["mean_test_ece"][0]


def test_a_scorer_with_labels_judges_folds_that_lack_a_class():
    X, y = load_iris(return_X_y=True)
    X, y = X[:120], y[:120]  # 20 rows of the last class, at the end: unshuffled folds miss classes
    plain = make_scorer(brier_score, response_method="predict_proba")
    named = make_scorer(brier_score, response_method="predict_proba", labels=[0, 1, 2])
    tree = DecisionTreeClassifier(random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="Pass the label of each column as labels"):
        plain(tree, X[:60], y[:60])
    assert named(tree, X[:60], y[:60]) == 0
    scores = cross_val_score(tree, X, y, scoring=named, cv=3)
    assert np.isfinite(scores).all()


# --- errors -------------------------------------------------------------------------------------------

GOOD = {"y_true": [0, 1, 2], "y_proba": np.full((3, 3), 1 / 3)}
BAD = {
    "fewer labels than rows": ({"y_true": [0, 1]}, "inconsistent numbers of samples: [2, 3]"),
    "weights of another length": ({"sample_weight": [1, 1]}, "inconsistent numbers of samples"),
    "no rows": ({"y_true": [], "y_proba": np.empty((0, 3))}, "0 sample(s)"),
    "NaN": ({"y_proba": [[np.nan, 0.5, 0.5]] * 3}, "y_proba contains NaN"),
    "infinity": ({"y_proba": [[np.inf, 0, 0]] * 3}, "y_proba contains infinity"),
    "negative": (
        {"y_proba": [[1, 0, 0], [1.25, -0.25, 0], [0, 0, 1]]},
        "2 entries outside [0, 1], the first is 1.25",
    ),
    "one column above 1": ({"y_true": [0, 1, 1], "y_proba": [0, 1, 1.5]}, "1 entries outside [0, 1]"),
    "logits": ({"y_proba": [[3.0, -2.0, 0.1]] * 3}, "outside [0, 1]"),
    "row sum": (
        {"y_proba": [[1, 0, 0], [0.5, 0.25, 0.24], [0.5, 0.5, 0.01]]},
        "2 rows that do not sum to 1 within 0.001, the first is row 1 with 0.99",
    ),
    "three axes": ({"y_proba": np.full((3, 3, 1), 1 / 3)}, "dim 3"),
    "one-hot labels": ({"y_true": np.eye(3)}, "1d array"),
    "missing label": (
        {"y_true": np.array(["a", None, "b"], object)},
        "no label in 1 rows, the first is row 1",
    ),
    "NaN label": ({"y_true": [0, np.nan, 1]}, "no label in 1 rows"),
    "mixed labels": ({"y_true": np.array(["a", 1, 2], object)}, "no common order"),
    "too few labels in y_true": (
        {"y_true": [0, 1, 1]},
        "3 labels, but y_true has 2: [0, 1]. Pass the label of each",
    ),
    "one label in y_true": ({"y_true": [1, 1, 1], "y_proba": [0, 1, 1]}, "2 labels, but y_true has 1: [1]"),
    "too few labels": ({"labels": [0, 1]}, "3 labels, but labels has 2: [0, 1]"),
    "unknown label": (
        {"y_true": ["a", "b", "x"], "labels": ["a", "b", "c"]},
        "without a column in y_proba: ['x']",
    ),
    "number for text": ({"labels": ["0", "1", "2"]}, "without a column in y_proba: [0, 1, 2]"),
    "repeated label": ({"labels": [0, 1, 1]}, "[0, 1, 1], which repeats a label"),
    "zero weights": ({"sample_weight": [0, 0, 0]}, "sample_weight is zero for every row"),
    "negative weight": ({"sample_weight": [1, -1, 1]}, "egative"),
    "weight NaN": ({"sample_weight": [1, np.nan, 1]}, "sample_weight contains NaN"),
    "no y": ({"y_true": None}, "'y_true' parameter of"),
}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("change", "words"), BAD.values(), ids=BAD)
def test_what_cannot_be_scored_is_an_error_that_says_why(metric, change, words):
    data = GOOD | change
    with pytest.raises(ValueError, match=re.escape(words)):
        metric(data.pop("y_true"), data.pop("y_proba"), **data)


def test_a_message_about_many_labels_shows_ten():
    with pytest.raises(ValueError, match=re.escape("y_true has 40: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...].")):
        brier_score(range(40), np.full((40, 50), 0.02))


@pytest.mark.parametrize("n_bins", [0, -1, 2.5, "auto"])
def test_bins_are_a_whole_number_from_1(n_bins):
    words = re.escape("'n_bins' parameter of expected_calibration_error must be an int in the range [1, inf)")
    with pytest.raises(ValueError, match=words):
        expected_calibration_error(**GOOD, n_bins=n_bins)
