"""The loss of mixed rows is that of the classifier's own predictions of rows that are mixed by hand."""

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
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mixsk import AMPClassifier, MixupClassifier
from mixsk.plots import MixedLossDisplay

REFERENCE = "least possible"
TABLE = {"module": "mlp", "hidden": (6,), "max_epochs": 3, "encoder": "passthrough", "random_state": 0}
TEXT = {
    "module": "textcnn",
    "module__dimension": 5,
    "module__n_filters": 3,
    "max_epochs": 3,
    "random_state": 0,
}
WORDS = {"good": "fine great nice", "bad": "poor dull sad", "odd": "strange new"}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def sentences(n, seed=0):
    """Texts of 1 to 12 words, with a word of their class, and the classes."""
    rng = np.random.default_rng(seed)
    y = rng.choice(list(WORDS), n)
    common = "the film a story of it is and".split()
    texts = []
    for label in y:
        text = list(rng.choice(common, rng.integers(0, 12)))
        text.insert(int(rng.integers(len(text) + 1)), str(rng.choice(WORDS[label].split())))
        texts.append(" ".join(text))
    return texts, y


@pytest.fixture(scope="module")
def iris():
    X, codes = load_iris(return_X_y=True)
    X = X - X.mean(0)  # so that ReLUs are on for one row and off for another
    y = np.array(["virginica", "setosa", "iris"])[codes]  # not in the order of the codes
    return X[::2], y[::2], X[1::2], y[1::2]


@pytest.fixture(scope="module")
def mixup(iris):
    return MixupClassifier(mix="linear", **TABLE).fit(*iris[:2])


@pytest.fixture(scope="module")
def texts():
    return sentences(61, seed=1)


@pytest.fixture(scope="module")
def word_amp():
    return AMPClassifier(mix_at="embedding", **TEXT).fit(*sentences(60))


def pair_loss(p, y_i, y_j, lam, classes):
    """By the definition, from the probabilities of the mixed row."""
    p = dict(zip(classes, p, strict=True))
    return -lam * np.log(p[y_i]) - (1 - lam) * np.log(p[y_j])


def by_hand(clf, X, y, i, j, n_lam):
    """Loss of two rows that are mixed at the input, by predict_proba of the rows in between."""
    lam = np.linspace(0, 1, n_lam)
    proba = clf.predict_proba(np.array([share * X[i] + (1 - share) * X[j] for share in lam]))
    return [pair_loss(p, y[i], y[j], share, clf.classes_) for p, share in zip(proba, lam, strict=True)]


def of_words(clf, text_i, text_j, y_i, y_j, n_lam):
    """Loss of two sentences, one lam at a time and without padding, from the vectors of their words."""
    module = clf.net_.module_.eval()
    table = module.stages[0].weight.detach()
    codes = [clf.encoder_.transform([text])[0] for text in (text_i, text_j)]
    length = max(map(len, codes))
    # Vectors of words with a 1 behind each; a position that has no word is all 0.
    rows = np.zeros((2, length, table.shape[1] + 1))
    for row, of_text in zip(rows, codes, strict=True):
        for position, code in enumerate(of_text):
            row[position] = [*table[code].tolist(), 1]
    losses = []
    for lam in np.linspace(0, 1, n_lam):
        mixed = torch.as_tensor(lam * rows[0] + (1 - lam) * rows[1]).float()
        with torch.no_grad():
            logits = module.head(module.stages[1](mixed[None, None]))[0, 0].double()
        losses.append(pair_loss(torch.softmax(logits, 0).numpy(), y_i, y_j, lam, clf.classes_))
    return losses


def legend(display):
    return [text.get_text() for text in display.legend_.get_texts()]


def drawn(display):
    return display.line_.get_xydata().T


# --- one pair -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", [(0, 30), (70, 3), (5, 6), (4, 4)])
def test_a_pair_at_the_input_has_the_loss_of_the_predictions_in_between(mixup, iris, pair):
    X, y = iris[2:]
    display = MixedLossDisplay.from_estimator(mixup, X, y, pair=pair, n_lam=7)
    lam, loss = drawn(display)
    assert_allclose(lam, np.linspace(0, 1, 7))
    assert_allclose(loss, by_hand(mixup, X, y, *pair, 7), rtol=1e-4)
    assert display.losses.shape == (1, 7)


@pytest.mark.parametrize(
    "params",
    [
        {"module": "table", "n_cv": 2, "n_members": 2},  # with a temperature, and trained on swapped columns
        {"n_members": 3, "dtype": "float64"},
        {"module": "linear", "hidden": (128, 128)},
        {"mix": None, "calibrate": True},
    ],
)
def test_several_networks_and_a_temperature_are_what_predict_proba_has_of_them(iris, params):
    X, y, X_test, y_test = iris
    clf = MixupClassifier(**{**TABLE, **params}).fit(X, y)
    display = MixedLossDisplay.from_estimator(clf, X_test, y_test, pair=(1, 60), n_lam=5)
    assert_allclose(display.losses[0], by_hand(clf, X_test, y_test, 1, 60, 5), rtol=2e-4)


def test_at_a_hidden_stage_its_outputs_are_mixed(iris):
    X, y, X_test, y_test = iris
    clf = AMPClassifier(mix_at="last", **TABLE).fit(X, y)
    weights = {name: value.double().numpy()[0] for name, value in clf.net_.module_.state_dict().items()}
    w1, b1, w2, b2 = weights.values()
    first, second = (np.maximum(X_test[row] @ w1 + b1[0], 0) for row in (2, 40))
    expected = []
    for lam in np.linspace(0, 1, 5):
        logits = (lam * first + (1 - lam) * second) @ w2 + b2[0]
        p = np.exp(logits) / np.exp(logits).sum()
        expected.append(pair_loss(p, y_test[2], y_test[40], lam, clf.classes_))
    display = MixedLossDisplay.from_estimator(clf, X_test, y_test, pair=(2, 40), n_lam=5)
    assert_allclose(display.losses[0], expected, rtol=1e-4)
    at_input = MixedLossDisplay.from_estimator(clf, X_test, y_test, pair=(2, 40), n_lam=5, mix_at="input")
    assert_allclose(at_input.losses[0], by_hand(clf, X_test, y_test, 2, 40, 5), rtol=1e-4)
    assert np.abs(at_input.losses - display.losses).max() > 1e-3


@pytest.mark.parametrize("pair", [(0, 1), (1, 0), (10, 33)])
def test_a_pair_of_sentences_is_mixed_as_vectors_of_words_with_the_words_of_both(word_amp, texts, pair):
    X, y = texts
    i, j = pair
    display = MixedLossDisplay.from_estimator(word_amp, X, y, pair=pair, n_lam=5)
    assert_allclose(display.losses[0], of_words(word_amp, X[i], X[j], y[i], y[j], 5), rtol=1e-4)


def test_vanilla_training_on_text_is_mixed_at_its_embeddings(texts):
    X, y = texts
    clf = MixupClassifier(mix=None, **TEXT).fit(*sentences(60))
    display = MixedLossDisplay.from_estimator(clf, X, y, pair=(3, 4), n_lam=5)
    assert_allclose(display.losses[0], of_words(clf, X[3], X[4], y[3], y[4], 5), rtol=1e-4)
    last = MixedLossDisplay.from_estimator(clf, X, y, pair=(3, 4), n_lam=5, mix_at="last")
    assert_allclose(last.losses[0, [0, -1]], display.losses[0, [0, -1]], rtol=1e-5)
    assert np.abs(last.losses - display.losses).max() > 1e-4


def test_the_axis_of_a_pair_names_its_rows_and_classes(mixup, iris):
    y = iris[3]
    display = MixedLossDisplay.from_estimator(mixup, *iris[2:], pair=(0, 30))
    assert display.ax_.get_xlabel() == f"lam, share of row 0 ({y[0]}); the rest is row 30 ({y[30]})"
    assert display.ax_.get_ylabel() == "loss"
    assert display.band_ is None


# --- all rows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 9, 20])
def test_each_row_has_one_partner_who_has_it_for_his_partner(mixup, iris, n):
    X, y = iris[2][:n], iris[3][:n]
    display = MixedLossDisplay.from_estimator(mixup, X, y, n_lam=5)
    assert display.losses.shape == (n, 5)
    proba = mixup.predict_proba(X)
    own = np.array([-np.log(p[list(mixup.classes_).index(label)]) for p, label in zip(proba, y, strict=True)])
    possible = {(i, j): by_hand(mixup, X, y, i, j, 5) for i in range(n) for j in range(n)}
    assert_allclose(np.sort(display.losses[:, -1]), np.sort(own), rtol=1e-4)
    found = [
        min(possible, key=lambda pair: np.abs(np.subtract(possible[pair], losses)).max())
        for losses in display.losses
    ]
    for pair, losses in zip(found, display.losses, strict=True):
        assert_allclose(losses, possible[pair], rtol=1e-4)
    assert sorted(i for i, _ in found) == list(range(n))
    assert {(j, i) for i, j in found} == set(found)
    assert sum(i == j for i, j in found) == n % 2


def test_the_curve_is_the_mean_is_symmetric_and_ends_at_the_log_loss(mixup, iris):
    X, y = iris[2:]
    display = MixedLossDisplay.from_estimator(mixup, X, y)
    lam, mean = drawn(display)
    assert_allclose(mean, [np.mean(losses) for losses in display.losses.T])
    assert_allclose(mean, mean[::-1], rtol=1e-5)
    assert_allclose(mean[0], log_loss(y, mixup.predict_proba(X)), rtol=1e-5)
    assert len(lam) == 41


def test_sentences_of_any_length_have_the_loss_that_they_have_as_pairs(word_amp, texts):
    X, y = texts
    n_lam = 201  # so many that pairs are taken a few at a time
    losses = MixedLossDisplay.from_estimator(word_amp, X, y, n_lam=n_lam).losses[:, ::20]
    assert_allclose(losses[:, [0, -1]].mean(0), log_loss(y, word_amp.predict_proba(X)), rtol=1e-5)
    order = np.random.RandomState(0).permutation(len(y))
    for k in (0, 13, 30, 60):
        i, j = order[k], order[-1 - k]
        expected = of_words(word_amp, X[i], X[j], y[i], y[j], 11)
        assert min(np.abs(losses - expected).max(axis=1)) < 1e-5


def test_codes_of_words_and_frames_of_columns_can_be_shown():
    rng = np.random.default_rng(0)
    codes, y = rng.integers(1, 20, (30, 6)), np.arange(30) % 2
    clf = MixupClassifier(mix_at="embedding", **TEXT).fit(codes, y)
    display = MixedLossDisplay.from_estimator(clf, codes, y, n_lam=3)
    assert_allclose(drawn(display)[1][0], log_loss(y, clf.predict_proba(codes)), rtol=1e-5)
    frame = pd.DataFrame({"a": rng.normal(size=30), "town": np.where(y, "Rome", "Oslo")})
    clf = MixupClassifier(**{**TABLE, "encoder": "auto"}).fit(frame, y)
    display = MixedLossDisplay.from_estimator(clf, frame, pd.Series(y, index=range(5, 35)), n_lam=3)
    assert_allclose(drawn(display)[1][0], log_loss(y, clf.predict_proba(frame)), rtol=1e-5)


def test_the_same_seed_is_the_same_pairs_for_every_classifier(mixup, iris):
    X, y = iris[2:]
    other = AMPClassifier(**{**TABLE, "random_state": 7}).fit(*iris[:2])
    first, second = (MixedLossDisplay.from_estimator(clf, X, y, n_lam=3) for clf in (mixup, other))
    assert np.abs(first.losses - second.losses).max() > 1e-3
    for display, clf in ((first, mixup), (second, other)):  # in order of the same rows
        order = np.random.RandomState(0).permutation(len(y))
        half = order[: -(-len(y) // 2)]
        p = clf.predict_proba(X[half])[range(len(half)), np.searchsorted(clf.classes_, y[half])]
        assert_allclose(display.losses[: len(half), -1], -np.log(p), rtol=1e-4)
    again = MixedLossDisplay.from_estimator(mixup, X, y, n_lam=3, random_state=1)
    assert np.abs(np.sort(again.losses[:, 1]) - np.sort(first.losses[:, 1])).max() > 1e-3


# --- the least possible loss --------------------------------------------------------------------------


def test_no_loss_is_below_the_least_which_perfect_predictions_reach(mixup, iris):
    X, y = iris[2:]
    display = MixedLossDisplay.from_estimator(mixup, X, y, n_lam=9)
    lam = np.linspace(0, 1, 9)
    order = np.random.RandomState(0).permutation(len(y))
    least = np.zeros(9)
    for i, j in zip(order, order[::-1], strict=True):
        for k, share in enumerate(lam):
            label = [(y[i] == c) * share + (y[j] == c) * (1 - share) for c in mixup.classes_]
            least[k] -= sum(part * np.log(part) for part in label if part > 0)  # p = the label itself
    assert_allclose(display.least, least / len(y), atol=1e-12)
    assert (drawn(display)[1] > display.least).all()
    (line,) = [line for line in display.ax_.lines if line.get_label() == REFERENCE]
    assert_allclose(line.get_ydata(), display.least)


def test_the_least_of_a_pair_of_one_class_is_0_and_of_two_log_2_in_the_middle(mixup, iris):
    X, y = iris[2:]
    other = int(np.flatnonzero(y != y[0])[0])
    alike = MixedLossDisplay.from_estimator(mixup, X, y, pair=(0, 1), n_lam=3)
    differ = MixedLossDisplay.from_estimator(mixup, X, y, pair=(0, other), n_lam=3)
    assert y[0] == y[1]
    assert_allclose(alike.least, 0)
    assert_allclose(differ.least, [0, np.log(2), 0], atol=1e-12)


# --- nothing is changed -------------------------------------------------------------------------------


def test_there_is_no_dropout_and_nothing_is_changed(iris):
    X, y, X_test, y_test = iris
    clf = MixupClassifier(mix="linear", dropout=0.5, n_threads=1, **TABLE).fit(X, y)
    proba = clf.predict_proba(X_test)
    clf.net_.module_.train()
    before = np.random.get_state()[1].copy(), torch.get_rng_state(), torch.get_num_threads()
    display = MixedLossDisplay.from_estimator(clf, X_test, y_test, pair=(0, 30), n_lam=5)
    assert np.array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])
    assert torch.get_num_threads() == before[2]
    assert np.array_equal(clf.predict_proba(X_test), proba)
    assert_allclose(display.losses[0], by_hand(clf, X_test, y_test, 0, 30, 5), rtol=1e-4)


def test_the_stage_is_that_of_the_fit_whatever_the_parameter_says_now(iris):
    X, y, X_test, y_test = iris
    clf = AMPClassifier(mix_at="last", **TABLE).fit(X, y)
    before = MixedLossDisplay.from_estimator(clf, X_test, y_test, n_lam=3)
    clf.set_params(mix_at="input")
    after = MixedLossDisplay.from_estimator(clf, X_test, y_test, n_lam=3)
    assert np.array_equal(before.losses, after.losses)


# --- the picture --------------------------------------------------------------------------------------


def test_two_classifiers_on_one_axes_are_told_apart_and_share_the_dotted_line(mixup, iris):
    X, y = iris[2:]
    amp = AMPClassifier(**TABLE).fit(*iris[:2])
    first = MixedLossDisplay.from_estimator(mixup, X, y, name="mixup")
    second = MixedLossDisplay.from_estimator(amp, X, y, ax=first.ax_)
    assert second.ax_ is first.ax_
    assert second.figure_ is first.figure_ is first.ax_.figure
    assert legend(second) == [REFERENCE, "mixup", "AMPClassifier"]
    assert first.line_.get_color() != second.line_.get_color()
    for display in (first, second):
        assert_allclose(display.band_.get_facecolor()[0, :3], to_rgb(display.line_.get_color()))


def test_a_classifier_that_is_added_is_not_cut_off():
    first = MixedLossDisplay([0, 1], [[0.1, 0.2], [0.2, 0.3]]).plot()
    second = MixedLossDisplay([0, 1], [[4, 6], [5, 9]]).plot(first.ax_)
    second.figure_.canvas.draw()
    bottom, top = second.ax_.get_ylim()
    assert bottom == 0
    assert 8 < top < 10


def edges(band):
    """Lower and upper edge of a band at its values of x."""
    points = band.get_paths()[0].vertices
    low, high = (
        np.array([pick(points[points[:, 0] == x, 1]) for x in np.unique(points[:, 0])]) for pick in (min, max)
    )
    return low, high


@pytest.mark.parametrize("spread", [(0.25, 0.75), (0, 1), (0.1, 0.5)])
def test_the_band_lies_between_quantiles_of_the_pairs(spread):
    losses = np.random.default_rng(0).gamma(1, size=(41, 5))
    display = MixedLossDisplay(np.linspace(0, 1, 5), losses).plot(spread=spread)
    low, high = (np.sort(losses, axis=0)[round(40 * share)] for share in spread)
    assert_allclose(edges(display.band_), [low, high])
    shares = "{:g} to {:g} %".format(*(100 * share for share in spread))
    assert display.ax_.get_ylabel() == f"mean loss of 41 pairs (band: {shares})"


def test_without_a_spread_there_is_no_band():
    display = MixedLossDisplay([0, 1], np.ones((3, 2))).plot(spread=None)
    assert display.band_ is None
    assert display.ax_.get_ylabel() == "mean loss of 3 pairs"
    assert len(display.ax_.collections) == 0


def test_plot_draws_again_elsewhere_and_takes_a_name_and_what_a_line_takes():
    display = MixedLossDisplay([0, 0.5, 1], [[1, 2, 0]], [0, 0.6, 0], "one", xlabel="share").plot()
    first = display.ax_
    style = {"color": "red", "linestyle": "--", "linewidth": 3}
    assert display.plot(name="other", ref_line=False, **style) is display
    assert display.ax_ is not first
    assert legend(display) == ["other"]
    line = display.line_
    assert (line.get_color(), line.get_linestyle(), line.get_linewidth()) == ("red", "--", 3)
    assert display.ax_.get_xlabel() == "share"
    assert display.ax_.get_ylim()[0] == 0
    assert legend(MixedLossDisplay([0, 1], [[1, 2]], [0, 0]).plot()) == [REFERENCE]
    assert MixedLossDisplay([0, 1], [[1, 2]]).plot().legend_ is None


def test_axes_are_named_unless_the_user_has_named_them():
    _, axes = plt.subplots()
    axes.set_ylabel("how bad")
    display = MixedLossDisplay([0, 1], [[1, 2]]).plot(axes)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("lam, share of the first row", "how bad")
    assert display.ax_ is axes


# --- errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"n_lam": 1}, "n_lam must be an int >= 2. Got 1"),
        ({"n_lam": 2.5}, "n_lam must be an int >= 2. Got 2.5"),
        ({"pair": (0, 75)}, r"positions of two rows of X, each from 0 to 74, .* Got \(0, 75\)"),
        ({"pair": (-1, 0)}, "positions of two rows"),
        ({"pair": (0, 1, 2)}, "positions of two rows"),
        ({"pair": (0, True)}, "positions of two rows"),
        ({"pair": ("setosa", "iris")}, "positions of two rows"),
        ({"pair": 3}, "positions of two rows of X.*Got 3"),
        ({"mix_at": "any"}, r"mix_at='any' mixes at the stages \(0, 1\).*Choose it here, such as mix_at=1"),
        ({"mix_at": 5}, "mix_at=5 is not a list of this network's stages"),
        ({"mix_at": "embedding"}, "mix_at='embedding' needs a network that embeds its input"),
        ({"spread": 0.5}, "spread must be two quantiles.*Got 0.5"),
        ({"spread": (0.8, 0.2)}, "spread must be two quantiles"),
        ({"spread": (0, 95)}, "spread must be two quantiles"),
        ({"spread": ("low", "high")}, "spread must be two quantiles"),
        ({"y": None}, "requires y to be passed"),
        ({"y": ["setosa"] * 3}, "inconsistent numbers of samples"),
        ({"y": ["rose"] * 75}, r"labels that were not seen in fit: \['rose'\]"),
        ({"X": [[0.0, 1.0]] * 75}, "2 features"),
        ({"X": [[np.nan] * 4] * 75}, "NaN"),
    ],
)
def test_what_cannot_be_drawn_is_an_error_that_says_so_and_opens_no_figure(mixup, iris, params, words):
    X, y = iris[2:]
    with pytest.raises(ValueError, match=words):
        MixedLossDisplay.from_estimator(mixup, **{"X": X, "y": y, **params})
    assert plt.get_fignums() == []


def test_codes_of_words_themselves_are_not_mixed(word_amp, texts):
    with pytest.raises(ValueError, match="the codes below them cannot be mixed"):
        MixedLossDisplay.from_estimator(word_amp, *texts, mix_at=0)


def test_only_fitted_networks_of_mixsk_can_be_shown(iris):
    X, y = iris[:2]
    with pytest.raises(NotFittedError):
        MixedLossDisplay.from_estimator(MixupClassifier(), X, y)
    with pytest.raises(ValueError, match="a network of mixsk, but got LogisticRegression"):
        MixedLossDisplay.from_estimator(LogisticRegression().fit(X, y), X, y)
    pipe = make_pipeline(StandardScaler(), MixupClassifier(mix="linear", **TABLE)).fit(X, y)
    with pytest.raises(ValueError, match=r"got Pipeline\. Of a pipeline pass the last step, and X as"):
        MixedLossDisplay.from_estimator(pipe, X, y)
    display = MixedLossDisplay.from_estimator(pipe[-1], pipe[:-1].transform(X), y, n_lam=3)
    assert_allclose(drawn(display)[1][0], log_loss(y, pipe.predict_proba(X)), rtol=1e-5)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: MixedLossDisplay.from_estimator(None, None, None),
        lambda: MixedLossDisplay([0, 1], [[1, 2]]).plot(),
    ],
)
def test_without_matplotlib_the_error_names_the_extra(draw, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"MixedLossDisplay needs matplotlib.*pip install 'mixsk\[plots\]'"):
        draw()
