"""The displays: what is drawn is what the classifier does, in one colour a class."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from matplotlib.colors import to_rgb
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from mixsk import GenLabelClassifier, MixupClassifier
from mixsk.datasets import make_moons, make_nine_gaussians
from mixsk.plots import DecisionDisplay, MixedPointsDisplay
from mixsk.plots._drawing import PALETTE


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def moons():
    return make_moons(120, random_state=0)


@pytest.fixture(scope="module")
def line(moons):
    return LogisticRegression().fit(*moons)


def three_classes(n_samples=90):
    X, y = make_nine_gaussians(n_samples * 3, random_state=0)
    return X[y < 3], np.array(["a", "b", "c"])[y[y < 3]]


def quick(cls=MixupClassifier, **params):
    small = {"hidden": (8,), "mix": "linear", "max_epochs": 2, "batch_size": 16, "random_state": 0}
    return cls(**{"n_cv": 1, **small, **params})


def rgb(artist):
    return artist.get_facecolors()[:, :3]


def offsets(artist):
    return np.asarray(artist.get_offsets())


def labels_at(points, X, y):
    """Labels of the rows of X that the points are."""
    distance = np.abs(points[:, None] - X).max(axis=2)
    assert distance.min(axis=1).max() < 1e-5
    return y[distance.argmin(axis=1)]


def draw_decision(ax=None):
    X, y = make_moons(40, random_state=0)
    return DecisionDisplay.from_estimator(LogisticRegression().fit(X, y), X, y, ax=ax)


def draw_mixed(ax=None):
    return MixedPointsDisplay.from_estimator(quick(), *make_moons(40, random_state=0), n_points=20, ax=ax)


both = pytest.mark.parametrize("draw", [draw_decision, draw_mixed])


# ---- both displays


@both
def test_display_makes_a_figure_of_its_own(draw):
    display = draw()
    assert isinstance(display.ax_, plt.Axes)
    assert display.figure_ is display.ax_.figure


@both
def test_display_draws_into_the_axes_given_and_plot_can_draw_again_elsewhere(draw):
    figure, (left, right) = plt.subplots(1, 2)
    display = draw(ax=left)
    assert display.ax_ is left
    assert display.figure_ is figure
    first = offsets(display.points_)
    assert display.plot(ax=right) is display
    assert display.ax_ is right
    assert np.array_equal(offsets(display.points_), first)
    assert len(plt.get_fignums()) == 1


@both
def test_legend_names_every_class_in_its_colour(draw):
    display = draw()
    assert [text.get_text() for text in display.legend_.get_texts()] == ["0", "1"]
    handles = display.legend_.legend_handles
    assert np.allclose([to_rgb(handle.get_color()) for handle in handles], [to_rgb(c) for c in PALETTE[:2]])
    assert display.plot(legend=False).legend_ is None
    assert display.ax_.get_legend() is None


@both
def test_display_leaves_global_random_state_and_threads_alone(draw):
    plt.figure()
    before = np.random.get_state()[1].copy(), torch.get_rng_state(), torch.get_num_threads()
    draw()
    assert np.array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])
    assert torch.get_num_threads() == before[2]


@both
def test_without_matplotlib_the_error_names_the_extra(draw, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"needs matplotlib.*pip install 'mixsk\[plots\]'"):
        draw()


def test_a_class_has_the_same_colour_in_both_displays():
    X, y = three_classes()
    clf = quick(mix_prob=0).fit(X, y)
    decision = DecisionDisplay.from_estimator(clf, X, y)
    mixed = MixedPointsDisplay.from_estimator(clf, X, y, n_points=40)
    color_of = {label: to_rgb(color) for label, color in zip("abc", PALETTE, strict=False)}
    for display in (decision, mixed):
        labels = labels_at(offsets(display.points_), X, y)
        assert set(labels) == set("abc")
        assert np.allclose(rgb(display.points_), [color_of[label] for label in labels])


def test_own_colors_are_taken_and_a_wrong_number_of_them_is_an_error(line, moons):
    display = DecisionDisplay.from_estimator(line, *moons, colors=["black", "red"])
    assert np.array_equal(rgb(display.points_)[moons[1] == 1][0], (1, 0, 0))
    with pytest.raises(ValueError, match=r"colors must be a list of 2 matplotlib colours.*\['red'\]"):
        DecisionDisplay.from_estimator(line, *moons, colors=["red"])


def test_more_classes_than_the_palette_has_get_different_colours():
    rng = np.random.default_rng(0)
    y = np.arange(120) % 12
    display = MixedPointsDisplay.from_estimator(quick(mix=None), rng.normal(size=(120, 2)), y, n_points=200)
    assert len(np.unique(rgb(display.points_), axis=0)) == 12


# ---- DecisionDisplay


def test_shade_of_a_place_is_the_blend_of_the_probabilities_there():
    X, y = three_classes()
    model = LogisticRegression().fit(X, y)
    display = DecisionDisplay.from_estimator(model, X, y, grid_resolution=7)
    grid = np.column_stack([display.xx0.ravel(), display.xx1.ravel()])
    blended = model.predict_proba(grid) @ [to_rgb(color) for color in PALETTE[:3]]
    assert np.allclose(display.surface_.get_array().reshape(-1, 3), 1 - 0.5 * (1 - blended))


def test_border_of_two_classes_runs_where_both_have_one_half(line, moons):
    (border,) = DecisionDisplay.from_estimator(line, *moons).borders_
    path = np.concatenate([path.vertices for path in border.get_paths()])
    assert len(path) > 10
    assert np.allclose(line.predict_proba(path)[:, 1], 0.5, atol=0.01)


def test_a_classifier_that_always_says_the_same_has_no_border(moons):
    X, y = moons
    never = LogisticRegression().fit(X, y)
    never.coef_[:], never.intercept_[:] = 0, 1
    assert DecisionDisplay.from_estimator(never, X, y).borders_ == []


def test_grid_covers_the_points_and_the_margin(line, moons):
    X = moons[0]
    display = DecisionDisplay.from_estimator(line, X, grid_resolution=5, margin=0.5)
    assert display.points_ is None
    width = np.ptp(X, axis=0)
    corners = [display.xx0.min(), display.xx1.min()], [display.xx0.max(), display.xx1.max()]
    assert np.allclose(corners, [X.min(axis=0) - width / 2, X.max(axis=0) + width / 2])


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_a_data_frame_names_the_axes_and_gives_the_picture_of_the_array(frame, moons):
    X, y = moons
    X_frame = frame({"length": X[:, 0], "width": X[:, 1]})
    display = DecisionDisplay.from_estimator(quick().fit(X_frame, y), X_frame, y)
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("length", "width")
    assert np.allclose(offsets(display.points_), X, atol=1e-6)
    assert np.allclose(
        display.proba, DecisionDisplay.from_estimator(quick().fit(X, y), X, y).proba, atol=1e-5
    )


def test_rows_with_missing_values_are_left_out_of_the_picture(moons):
    X, y = moons
    X = X.copy()
    X[3, 1] = np.nan
    display = DecisionDisplay.from_estimator(quick().fit(X, y), X, y)
    drawn = np.ma.getmaskarray(display.points_.get_offsets()).any(axis=1)
    assert np.flatnonzero(drawn).tolist() == [3]


def test_pipelines_are_drawn_in_the_units_of_their_input(moons):
    X, y = moons
    pipe = make_pipeline(StandardScaler(), quick(encoder="passthrough")).fit(100 * X, y)
    display = DecisionDisplay.from_estimator(pipe, 100 * X, y)
    assert np.allclose(offsets(display.points_), 100 * X, atol=1e-4)


def bad_decision(name):
    X, y = make_moons(40, random_state=0)
    fitted = LogisticRegression().fit(X, y)
    frame = pd.DataFrame({"size": X[:, 0], "town": np.where(y, "Rome", "Oslo")})
    return {
        "one column": (fitted, X[:, :1], y, {}),
        "four columns": (fitted, np.hstack([X, X]), y, {}),
        "text": (quick().fit(frame, y), frame, y, {}),
        "no probabilities": (LinearSVC().fit(X, y), X, y, {}),
        "unknown label": (fitted, X, y + 1, {}),
        "grid": (fitted, X, y, {"grid_resolution": 1}),
        "margin": (fitted, X, y, {"margin": -1}),
    }[name]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("one column", "exactly 2 columns, but X has 1. Fit the classifier on two"),
        ("four columns", "exactly 2 columns, but X has 4. Fit the classifier on two"),
        ("text", "column 'town' is read as category. Choose numeric columns"),
        ("no probabilities", "predict_proba, which LinearSVC does not have. Use"),
        ("unknown label", r"labels that were not seen in fit: \[2\]. Known are \[0, 1\]"),
        ("grid", "grid_resolution must be an int >= 2. Got 1"),
        ("margin", "margin must be a finite number >= 0. Got -1"),
    ],
)
def test_decision_display_says_what_it_cannot_draw(name, words):
    estimator, X, y, params = bad_decision(name)
    with pytest.raises(ValueError, match=words):
        DecisionDisplay.from_estimator(estimator, X, y, **params)


# ---- MixedPointsDisplay


class Recorder:
    """A linear label that notes the encoded mixed rows and the labels of every batch of a fit."""

    tap = 0
    noted = []  # of the class: fit works with a copy of the object

    def __call__(self, y, perm, share, lam, taps, state):
        t = share[..., None] * y + (1 - share)[..., None] * y[:, perm[0]]
        self.noted.append((taps[0][0], t[0]))
        return t, None


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"mix": "auto"},
        {"lam_per": "sample", "pair": "other_class"},
        {"mix": "columns"},
        {"mix": "half", "mix_prob": 0.5},
        {"mix_off": 0.5},
        {"early_stopping": True, "class_weight": "balanced"},
    ],
)
def test_points_and_labels_are_those_that_fit_trains_on(params, moons):
    X, y = moons[0], np.where(np.arange(120) % 3, moons[1], 1)  # two thirds are of class 1
    clf = quick(label=Recorder(), max_epochs=4, encoder="passthrough", **params)
    display = MixedPointsDisplay.from_estimator(clf, X, y, n_points=24)
    Recorder.noted.clear()
    clf.fit(X, y)
    noted = Recorder.noted[1:25]  # the first is the trial of a user's label before training
    points, targets = (torch.stack([batch[i][0] for batch in noted]).numpy() for i in (0, 1))
    if "class_weight" in params:
        targets = targets * clf.net_.criterion_.state.class_weight.numpy()
        targets /= targets.sum(axis=1, keepdims=True)
    assert np.allclose(display.points, points, atol=1e-6)
    assert np.allclose(display.targets, targets, atol=1e-6)


def test_points_without_mixing_are_the_original_rows_with_their_labels(moons):
    X, y = moons
    for params in ({"mix": None}, {"mix_prob": 0}, {"mix_off": 1}):
        display = MixedPointsDisplay.from_estimator(quick(**params), X, y, n_points=50)
        assert np.array_equal(display.targets, np.eye(2)[labels_at(offsets(display.points_), X, y)])
        assert np.allclose(display.parents, display.points[:, None])


def test_points_lie_between_their_parents_in_the_units_of_x(moons):
    X, y = moons
    X = 1000 + 50 * X
    display = MixedPointsDisplay.from_estimator(quick(), X, y, n_points=50)
    first, second = display.parents[:, 0], display.parents[:, 1]
    for parent in (first, second):
        assert np.abs(parent[:, None] - X).max(axis=2).min(axis=1).max() < 1e-3
    low, high = np.minimum(first, second), np.maximum(first, second)
    assert (display.points > low - 1e-3).all()
    assert (display.points < high + 1e-3).all()
    assert np.ptp(display.points, axis=0).min() > 20


def test_genlabel_points_carry_the_posterior_of_the_fitted_density(moons):
    X, y = moons
    clf = quick(GenLabelClassifier, density="gm", gamma=1)
    display = MixedPointsDisplay.from_estimator(clf, X, y, n_points=50)
    clf.fit(X, y)
    z = torch.as_tensor(clf.encoder_.transform(display.points))
    assert np.bincount(y)[0] == np.bincount(y)[1]  # so that the prior says nothing
    posterior = torch.softmax(clf.density_.log_prob(z), -1).numpy()
    assert np.allclose(display.targets, posterior, atol=1e-4)
    assert np.allclose(rgb(display.points_), display.targets @ [to_rgb(c) for c in PALETTE[:2]], atol=1e-6)


def test_color_top_takes_the_colour_of_the_likeliest_class(moons):
    display = MixedPointsDisplay.from_estimator(quick(), *moons, n_points=50, color="top")
    top = np.array([to_rgb(color) for color in PALETTE[:2]])[display.targets.argmax(axis=1)]
    assert np.allclose(rgb(display.points_), top)


def test_parents_are_joined_to_their_point_by_a_line(moons):
    display = MixedPointsDisplay.from_estimator(quick(), *moons, n_points=10, parents=True)
    paths = np.array(display.lines_.get_segments())
    assert np.array_equal(paths, np.stack([display.parents[:, 0], display.points, display.parents[:, 1]], 1))
    assert display.plot().lines_ is None


def test_dropped_intrusions_are_crosses_beside_the_points_that_are_kept():
    X, y = three_classes()  # three in a row: the middle of the outer two lies on the third
    display = MixedPointsDisplay.from_estimator(quick(drop_intrusions=True), X, y, n_points=200)
    assert 0 < len(offsets(display.dropped_)) < 100
    assert len(offsets(display.points_)) + len(offsets(display.dropped_)) == 200
    assert np.array_equal(offsets(display.dropped_), display.points[~display.kept])
    # nearest to the middle class, which neither parent belongs to
    assert (display.targets[~display.kept, 1] == 0).all()
    assert display.legend_.get_texts()[-1].get_text() == "dropped"


def test_two_features_of_a_wide_table_can_be_chosen_by_name_or_position(moons):
    X, y = moons
    town = np.where(X[:, 0] > 0, "Rome", "Oslo")
    frame = pd.DataFrame({"town": town, "length": X[:, 0], "none": np.nan, "width": X[:, 1]})
    by_name = MixedPointsDisplay.from_estimator(quick(), frame, y, n_points=20, features=("width", "length"))
    by_position = MixedPointsDisplay.from_estimator(quick(), frame, y, n_points=20, features=(3, 1))
    assert (by_name.ax_.get_xlabel(), by_name.ax_.get_ylabel()) == ("width", "length")
    assert np.array_equal(by_name.points, by_position.points)
    distance = np.abs(by_name.parents[:, 0][:, None] - X[:, ::-1]).max(axis=2).min(axis=1)
    assert distance.max() < 1e-5


def test_a_transformer_with_an_inverse_is_shown_in_the_units_of_x(moons):
    X, y = moons
    by_table = MixedPointsDisplay.from_estimator(quick(), X, y, n_points=20)
    by_scaler = MixedPointsDisplay.from_estimator(quick(encoder=StandardScaler()), X, y, n_points=20)
    assert np.allclose(by_table.points, by_scaler.points, atol=1e-5)


def test_random_state_none_is_that_of_the_estimator_and_an_int_takes_its_place(moons):
    def points(estimator, random_state=None):
        display = MixedPointsDisplay.from_estimator(estimator, *moons, n_points=20, random_state=random_state)
        return display.points

    assert np.array_equal(points(quick()), points(quick()))
    assert np.array_equal(points(quick(), 7), points(quick(random_state=7)))
    assert not np.array_equal(points(quick(), 7), points(quick()))
    assert not np.array_equal(points(quick(random_state=None)), points(quick(random_state=None)))


def test_the_estimator_is_not_changed(moons):
    X, y = moons
    fitted = quick().fit(X, y)
    before = fitted.predict_proba(X)
    MixedPointsDisplay.from_estimator(fitted, -X, 1 - y, n_points=5, random_state=3)
    assert np.array_equal(fitted.predict_proba(X), before)
    assert fitted.random_state == 0
    unfitted = quick()
    MixedPointsDisplay.from_estimator(unfitted, X, y, n_points=5)
    assert not hasattr(unfitted, "encoder_")


@pytest.mark.parametrize(
    ("estimator", "params", "words"),
    [
        (quick(mix_at="any"), {}, r"mixed and labelled at the input.*mix_at='any'.*\(0, 1\).*'input'"),
        (quick(mix_at=1), {}, "mixed and labelled at the input.*mix_at=1"),
        (LogisticRegression(), {}, "classifier of mixsk mixes, but got LogisticRegression"),
        (make_pipeline(StandardScaler(), quick()), {}, "got Pipeline. Of a pipeline pass the last step"),
        (quick(), {"n_points": 0}, "n_points must be an int >= 1. Got 0"),
        (quick(), {"features": (0, 9)}, r"features must be two columns of X: positions from 0 to 1. Got"),
        (quick(), {"features": ("length", 0)}, r"features must be two columns.*Got \('length', 0\)"),
        (quick(), {"color": "red"}, "color must be 'blend' or 'top'. Got 'red'"),
        (quick(alpha=-1), {}, "alpha"),
    ],
)
def test_mixed_points_display_says_what_it_cannot_draw(estimator, params, words, moons):
    with pytest.raises(ValueError, match=words):
        MixedPointsDisplay.from_estimator(estimator, *moons, **params)


TEXTS = ["a great film", "an awful film"] * 10
IMAGES = np.random.default_rng(0).integers(0, 256, (20, 12, 12), dtype=np.uint8)
NO_TABLES = [
    (MixupClassifier(module="textcnn", max_epochs=1), TEXTS, "texts", "MixedLossDisplay"),
    (MixupClassifier(module="lenet", max_epochs=1), IMAGES, "images", "MixedImagesDisplay"),
]


@pytest.mark.parametrize(("clf", "X", "what", "instead"), NO_TABLES)
def test_texts_and_images_have_no_points_to_draw(clf, X, what, instead):
    y = np.arange(20) % 2
    words = f"draws points of a table, and {what} have none. Use "
    with pytest.raises(ValueError, match=f"^MixedPointsDisplay {words}{instead}"):
        MixedPointsDisplay.from_estimator(clf, X, y)
    for estimator in (clone(clf).fit(X, y), quick().fit(np.eye(20)[:, :2], y)):
        with pytest.raises(ValueError, match=f"^DecisionDisplay {words}ConfidenceDisplay"):
            DecisionDisplay.from_estimator(estimator, X, y)


def test_codes_of_words_are_no_plane():
    X, y = np.arange(40).reshape(20, 2) % 7 + 1, np.arange(20) % 2
    clf = MixupClassifier(module="textcnn", max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match=r"^DecisionDisplay draws points of a table, and texts have none"):
        DecisionDisplay.from_estimator(clf, X, y)


def test_an_encoder_without_an_inverse_is_an_error(moons):
    class OneWay(StandardScaler):
        inverse_transform = property()

    with pytest.raises(ValueError, match=r"no inverse_transform.*Use encoder='auto'"):
        MixedPointsDisplay.from_estimator(quick(encoder=OneWay()), *moons)


def test_a_wide_table_asks_for_the_features_to_draw(moons):
    X, y = moons
    with pytest.raises(
        ValueError, match=r"draws two columns, but X has 4. Say which, such as features=\(0, 1\)"
    ):
        MixedPointsDisplay.from_estimator(quick(), np.hstack([X, X]), y)
    frame = pd.DataFrame({"town": np.where(y, "Rome", "Oslo"), "length": X[:, 0], "width": X[:, 1]})
    with pytest.raises(ValueError, match="draws two columns, but X has 1"):
        MixedPointsDisplay.from_estimator(quick(), X[:, :1], y)
    with pytest.raises(ValueError, match="column 'town' is read as category"):
        MixedPointsDisplay.from_estimator(quick(), frame, y, features=("town", "width"))


def test_plot_of_parents_needs_parents():
    display = MixedPointsDisplay(points=np.zeros((1, 2)), targets=np.eye(2)[:1], classes=[0, 1])
    assert len(display.plot().points_.get_offsets()) == 1
    with pytest.raises(ValueError, match="parents=True needs the parents"):
        display.plot(parents=True)
