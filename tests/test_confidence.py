"""Confidence between two classes is that of the classifier's own predictions of rows mixed by hand."""

import sys
from itertools import permutations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from mixsk import AMPClassifier, InfiniteMixupClassifier, MixupClassifier
from mixsk.plots import ConfidenceDisplay
from mixsk.plots._drawing import LINE_COLORS
from mixsk.plots._pairs import other_class_pairs

REFERENCE = "that of the mixed label"
PARAMS = {"module": "mlp", "hidden": (6,), "max_epochs": 4, "encoder": "passthrough", "random_state": 0}
PAIRS = [(0, 30), (60, 2), (31, 70)]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def iris():
    X, codes = load_iris(return_X_y=True)
    X = X - X.mean(0)
    y = np.array(["virginica", "setosa", "iris"])[codes]  # not in the order of the codes
    return X[::2], y[::2], X[1::2], y[1::2]


@pytest.fixture(scope="module")
def mixup(iris):
    return MixupClassifier(mix="linear", **PARAMS).fit(*iris[:2])


def in_between(X, i, j, n_lam):
    return np.array([lam * X[i] + (1 - lam) * X[j] for lam in np.linspace(0, 1, n_lam)])


def score_of(kind, p, first, second):
    """By the definition, from the probabilities of one mixed row."""
    return {
        "proba": p[first],
        "difference": np.log(p[first]) - np.log(p[second]),
        "max": max(p),
        "entropy": -sum(share * np.log(share) for share in p),
    }[kind]


def by_hand(clf, X, y, pairs, kind, n_lam):
    """Each pair, then each with its rows in the other order."""
    rows = []
    for i, j in [*pairs, *((j, i) for i, j in pairs)]:
        classes = [list(clf.classes_).index(y[k]) for k in (i, j)]
        rows.append([score_of(kind, p, *classes) for p in clf.predict_proba(in_between(X, i, j, n_lam))])
    return rows


def legend(display):
    return [text.get_text() for text in display.legend_.get_texts()]


@pytest.mark.parametrize("kind", ["proba", "difference", "max", "entropy"])
def test_a_score_is_that_of_the_predictions_in_between_both_ways(mixup, iris, kind):
    X, y = iris[2:]
    display = ConfidenceDisplay.from_estimator(mixup, X, y, score=kind, pairs=PAIRS, n_lam=5)
    expected = by_hand(mixup, X, y, PAIRS, kind, 5)
    assert_allclose(display.values, expected, rtol=1e-4, atol=1e-5)
    lam, mean = display.line_.get_xydata().T
    assert_allclose(lam, np.linspace(0, 1, 5))
    assert_allclose(mean, np.mean(expected, axis=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("params", [{"n_members": 2, "dtype": "float64"}, {"module": "table", "n_cv": 2}])
def test_several_networks_and_a_temperature_are_what_predict_proba_has_of_them(iris, params):
    X, y, X_test, y_test = iris
    clf = InfiniteMixupClassifier(**{**PARAMS, **params}).fit(X, y)
    display = ConfidenceDisplay.from_estimator(clf, X_test, y_test, pairs=PAIRS, n_lam=3, score="entropy")
    assert_allclose(display.values, by_hand(clf, X_test, y_test, PAIRS, "entropy", 3), rtol=2e-4)


def test_the_difference_is_that_of_the_networks_scores_and_the_norm_that_of_its_features(mixup, iris):
    X, y = iris[2:]
    weights = [value.double().numpy()[0] for value in mixup.net_.module_.state_dict().values()]
    w1, b1, w2, b2 = weights
    difference, norm = [], []
    for i, j in PAIRS:
        first, second = (list(mixup.classes_).index(y[k]) for k in (i, j))
        features = np.maximum(in_between(X, i, j, 4) @ w1 + b1[0], 0)
        scores = features @ (w2 if w2.shape[0] == 6 else w2.T) + b2[0]
        difference.append(scores[:, first] - scores[:, second])
        norm.append((features**2).sum(axis=1))
    for kind, expected in (("difference", difference), ("norm", norm)):
        display = ConfidenceDisplay.from_estimator(mixup, X, y, score=kind, pairs=PAIRS, n_lam=4)
        assert_allclose(display.values[:3], expected, rtol=1e-4, atol=1e-4)
        back = np.array(expected)[:, ::-1] * (-1 if kind == "difference" else 1)
        assert_allclose(display.values[3:], back, rtol=1e-4, atol=1e-4)


def test_at_a_hidden_stage_its_outputs_are_mixed_and_the_ends_stay(iris):
    X, y, X_test, y_test = iris
    clf = AMPClassifier(mix_at="last", **PARAMS).fit(X, y)
    last = ConfidenceDisplay.from_estimator(clf, X_test, y_test, pairs=PAIRS, n_lam=3, score="norm")
    first = ConfidenceDisplay.from_estimator(
        clf, X_test, y_test, pairs=PAIRS, n_lam=3, score="norm", mix_at="input"
    )
    assert_allclose(last.values[:, [0, -1]], first.values[:, [0, -1]], rtol=1e-4)
    assert np.abs(last.values[:, 1] - first.values[:, 1]).max() > 1e-4


def test_images_are_mixed_pixel_by_pixel():
    rng = np.random.default_rng(0)
    y = np.arange(24) % 3
    X = rng.random((24, 12, 12))
    X[np.arange(24), y * 4] += 1
    params = {"module": "lenet", "mix": "linear", "max_epochs": 2, "random_state": 0}
    clf = MixupClassifier(**params).fit(X, y)
    pairs = list(permutations(range(3), 2))  # the paper's: one image of each class, all pairs
    display = ConfidenceDisplay.from_estimator(clf, X, y, pairs=pairs, n_lam=3)
    assert_allclose(display.values, by_hand(clf, X, y, pairs, "proba", 3), rtol=1e-3, atol=1e-5)


def test_texts_have_their_own_predictions_at_the_ends():
    texts = ["good film", "bad", "a very good story", "a bad bad film", "nice", "so dull a thing"] * 3
    y = np.array([1, 0, 1, 0, 1, 0] * 3)
    params = {"module": "textcnn", "module__dimension": 5, "module__n_filters": 3, "max_epochs": 2}
    clf = MixupClassifier(mix_at="embedding", random_state=0, **params).fit(texts, y)
    pairs = [(2, 5), (1, 4)]
    display = ConfidenceDisplay.from_estimator(clf, texts, y, pairs=pairs, n_lam=3, score="max")
    confidence = clf.predict_proba(texts).max(axis=1)
    assert_allclose(display.values[:2, ::-2], confidence[pairs], rtol=1e-4)


# --- pairs --------------------------------------------------------------------------------------------


def test_random_pairs_are_of_two_classes_each_row_first_in_turn_and_any_other_a_partner():
    codes = np.repeat([0, 2, 1], [1, 5, 14])
    pairs = other_class_pairs(codes, 20_000, 0)
    assert (codes[pairs[:, 0]] != codes[pairs[:, 1]]).all()
    assert np.bincount(pairs[:, 0]).tolist() == [1000] * 20
    of_first = pairs[pairs[:, 0] == 3, 1]  # a row of class 2 meets the 15 rows of the others
    counts = np.bincount(of_first, minlength=20)
    assert (counts[1:6] == 0).all()
    assert counts[[0, *range(6, 20)]].min() > 30


def test_the_same_seed_is_the_same_pairs_and_there_are_as_many_as_asked_for(mixup, iris):
    X, y = iris[2:]
    first, again, other = (
        ConfidenceDisplay.from_estimator(mixup, X, y, n_lam=2, random_state=seed) for seed in (0, 0, 1)
    )
    assert first.values.shape == (2 * len(y), 2)
    assert np.array_equal(first.values, again.values)
    assert not np.array_equal(first.values, other.values)
    assert ConfidenceDisplay.from_estimator(mixup, X, y, n_lam=2, n_pairs=200).values.shape == (400, 2)


def test_nothing_is_changed(mixup, iris):
    X, y = iris[2:]
    before = np.random.get_state()[1].copy(), torch.get_rng_state(), mixup.predict_proba(X)
    ConfidenceDisplay.from_estimator(mixup, X, y)
    assert np.array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])
    assert np.array_equal(mixup.predict_proba(X), before[2])


# --- the picture --------------------------------------------------------------------------------------


def test_several_classifiers_on_one_axes_have_colours_of_their_own_and_share_the_dotted_line(mixup, iris):
    X, y = iris[2:]
    other = InfiniteMixupClassifier(mix="linear", **PARAMS).fit(*iris[:2])
    first = ConfidenceDisplay.from_estimator(mixup, X, y, name="mixup")
    second = ConfidenceDisplay.from_estimator(other, X, y, ax=first.ax_, spread=(0, 1))
    assert second.ax_ is first.ax_
    assert legend(second) == [REFERENCE, "mixup", "InfiniteMixupClassifier"]
    assert [d.line_.get_color() for d in (first, second)] == list(LINE_COLORS[:2])
    for display in (first, second):
        assert display.other_line_.get_color() == display.line_.get_color()
        assert_allclose(display.other_line_.get_ydata(), display.line_.get_ydata()[::-1])
    assert first.band_ is None
    low = second.band_.get_paths()[0].vertices[:, 1].min()
    assert_allclose(low, second.values.min())


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("proba", [0, 0.5, 1]),
        ("max", [1, 0.5, 1]),
        ("entropy", [0, np.log(2), 0]),
        ("difference", None),
        ("norm", None),
    ],
)
def test_the_dotted_line_is_what_the_mixed_label_has(kind, expected):
    display = ConfidenceDisplay([0, 0.5, 1], [[1, 2, 3]], kind).plot(name="one")
    dotted = [line for line in display.ax_.lines if line.get_label() == REFERENCE]
    if expected is None:
        assert dotted == []
    else:
        assert_allclose(dotted[0].get_ydata(), expected, atol=1e-12)
    assert (display.other_line_ is not None) == (kind == "proba")
    without = display.plot(ref_line=False, color="red")
    assert without.line_.get_color() == "red"
    assert len(without.ax_.lines) == (2 if kind == "proba" else 1)
    assert without.legend_ is None


# --- errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"score": "loss"}, r"score must be one of \['difference', 'entropy', .*Got 'loss'"),
        ({"n_lam": 1}, "n_lam must be an int >= 2. Got 1"),
        ({"n_pairs": 0}, "n_pairs must be an int >= 1 or None. Got 0"),
        ({"pairs": [(0, 75)]}, "positions of rows of X, each from 0 to 74"),
        ({"pairs": [0, 30]}, r"shape \(n_pairs, 2\)"),
        ({"pairs": [(0.5, 3)]}, "positions of rows"),
        ({"pairs": [(0, 30), (0, 1)]}, "rows of different classes, but the rows 0 and 1 are both of"),
        ({"pairs": PAIRS, "n_pairs": 3}, "n_pairs=3 has no effect with pairs"),
        ({"mix_at": "any"}, r"mix_at='any' mixes at the stages \(0, 1\)"),
        ({"spread": 3}, "spread must be two quantiles"),
        ({"y": ["setosa"] * 75}, "The rows are all of one class"),
        ({"y": ["rose"] * 75}, r"labels that were not seen in fit: \['rose'\]"),
    ],
)
def test_what_cannot_be_drawn_is_an_error_that_says_so(mixup, iris, params, words):
    X, y = iris[2:]
    with pytest.raises(ValueError, match=words):
        ConfidenceDisplay.from_estimator(mixup, **{"X": X, "y": y, **params})


def test_only_fitted_networks_of_mixsk_can_be_shown(iris):
    X, y = iris[:2]
    with pytest.raises(NotFittedError):
        ConfidenceDisplay.from_estimator(MixupClassifier(), X, y)
    with pytest.raises(ValueError, match="ConfidenceDisplay mixes rows inside a network of mixsk"):
        ConfidenceDisplay.from_estimator(LogisticRegression().fit(X, y), X, y)
    clf = MixupClassifier(module="linear", max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match="module='linear' has no hidden stage"):
        ConfidenceDisplay.from_estimator(clf, X, y, score="norm")


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"ConfidenceDisplay needs matplotlib.*mixsk\[plots\]"):
        ConfidenceDisplay.from_estimator(None, None, None)
