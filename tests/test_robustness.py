"""Distances that the attack finds, against boundaries known in closed form or searched for on a grid."""

import re
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from mixsk import (
    AMPClassifier,
    GenerativeClassifier,
    GenLabelClassifier,
    InfiniteMixupClassifier,
    LaMixClassifier,
    MixupClassifier,
)
from mixsk.datasets import make_moons
from mixsk.robustness import Cube, _attack, _nearer, boundary_distances, robust_accuracy

foolbox = pytest.importorskip("foolbox")

RNG = np.random.default_rng(0)
X = np.column_stack([RNG.normal(0, 3, 80), RNG.normal(100, 0.2, 80)])  # of very different ranges
Y = np.where(X[:, 0] / 3 + (X[:, 1] - 100) / 0.2 + RNG.normal(0, 0.5, 80) > 0, "yes", "no")


class Known(nn.Module):
    """Logits by a formula; training changes nothing."""

    def __init__(self, margin):
        super().__init__()
        self.margin = margin
        self.idle = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        margin = self.margin(x)
        return torch.stack([margin, -margin], -1) + 0 * self.idle


def known(margin, X, y):
    """A fitted classifier whose class 0 is where margin(x) > 0, x as it is."""
    clf = MixupClassifier(module=Known(margin), encoder="passthrough", max_epochs=1, random_state=0)
    return clf.fit(X, y)


def fitted(cls=MixupClassifier, **params):
    params = {"module": "linear", "lr": 0.1, "max_epochs": 10, "random_state": 0} | params
    return cls(**params).fit(X, Y)


def true_distances(clf, rows, reference):
    """|w x + b| / ||w|| in units of the ranges, w and b from the log-odds of three points."""

    def log_odds(points):
        return clf.predict_log_proba(points) @ [-1, 1]

    low, span = reference.min(0), np.ptp(reference, 0)
    b = log_odds(low[None])
    w = log_odds(low + np.diag(span)) - b
    return np.abs((rows - low) / span @ w + b) / np.linalg.norm(w)


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (MixupClassifier, {"mix": None}),
        (GenLabelClassifier, {}),
        (AMPClassifier, {}),
        (InfiniteMixupClassifier, {}),
        (LaMixClassifier, {}),
        (MixupClassifier, {"dtype": "float64", "n_threads": 1}),
        (MixupClassifier, {"module": nn.Linear, "module__in_features": 2, "module__out_features": 2}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_distance_to_the_boundary_of_a_linear_network_is_that_of_the_formula(cls, params):
    clf = fitted(cls, **params)
    rows = X[clf.predict(X) == Y][:20]
    found = boundary_distances(clf, rows, clf.predict(rows), reference=X, steps=300)
    truth = true_distances(clf, rows, X)
    assert (found >= truth * (1 - 1e-3)).all()
    assert_allclose(found, truth, rtol=0.03, atol=1e-4)


@pytest.mark.parametrize("members", [1, 3])
def test_no_other_class_is_nearer_to_a_row_than_the_point_found_in_a_curved_plane(members):
    X, y = make_moons(100, random_state=0)
    clf = MixupClassifier(hidden=(32,), lr=0.03, max_epochs=20, n_members=members, random_state=0).fit(X, y)
    rows = X[clf.predict(X) == y][:15]
    found = boundary_distances(clf, rows, clf.predict(rows), reference=X, steps=300)

    low, span = X.min(0), np.ptp(X, 0)
    grid = np.stack(np.meshgrid(*[np.linspace(-0.5, 1.5, 301)] * 2), -1).reshape(-1, 2)
    wrong = clf.predict(low + grid * span)[None] != clf.predict(rows)[:, None]
    gaps = np.linalg.norm((rows - low)[:, None] / span - grid, axis=-1)
    nearest = np.where(wrong, gaps, np.inf).min(1)
    cell = np.hypot(2 / 300, 2 / 300)
    assert (found > nearest - cell).all()
    assert np.median(found) < np.median(nearest) + cell  # a local minimum is rare here


def test_rows_that_are_wrong_as_they_are_have_distance_0():
    clf = fitted()
    found = boundary_distances(clf, X, Y, reference=X, steps=20)
    assert_array_equal(found == 0, clf.predict(X) != Y)
    assert (found == 0).any()


def test_a_label_that_fit_has_not_seen_is_never_right():
    clf = fitted()
    found = boundary_distances(clf, X[:3], ["maybe", *clf.predict(X[1:3])], reference=X, steps=20)
    assert_array_equal(found > 0, [False, True, True])
    assert_array_equal(boundary_distances(clf, X[:3], ["maybe"] * 3, reference=X), np.zeros(3))


def test_robust_accuracy_is_the_share_of_rows_beyond_epsilon():
    clf = fitted()
    found = boundary_distances(clf, X, Y, reference=X, steps=50)
    for epsilon in (0, 0.1, 0.25):
        share = robust_accuracy(clf, X, Y, reference=X, epsilon=epsilon, steps=50)
        assert share == sum(d > epsilon for d in found) / len(X)
        assert share <= clf.score(X, Y)
    assert robust_accuracy(clf, X, Y, reference=X, epsilon=0, steps=50) == clf.score(X, Y)


def test_a_constant_classifier_is_as_robust_as_it_is_accurate():
    y = np.repeat([0, 1], [60, 20])
    clf = known(lambda x: x[:, 0] * 0 + 1, X, y)
    assert_array_equal(boundary_distances(clf, X, y, reference=X), np.where(y == 0, np.inf, 0))
    assert robust_accuracy(clf, X, y, reference=X, epsilon=10) == 0.75


def test_of_one_column_both_sides_are_searched():
    line = np.linspace(0, 1, 11)[:, None]
    y = ((line < 0.35) | (line > 0.75))[:, 0].astype(int)
    clf = known(lambda x: 0.2 - (x[:, 0] - 0.55).abs(), line, y)
    # Of the first row the nearest reference row of the other class is .8, but the nearest boundary .35.
    reference = line[[0, 4, 6, 8, 10]]
    found = boundary_distances(clf, [[0.52], [0.62]], [0, 0], reference=reference)
    assert_allclose(found, [0.17, 0.13], rtol=1e-4)


def test_the_unit_of_a_column_is_its_range_in_the_reference():
    clf = known(lambda x: x[:, 0] - 3, [[0.0, 0.0], [10.0, 1.0]], [0, 1])
    reference = np.array([[0.0, 0.0], [5.0, 1.0], [5.0, 0.0]])
    found = boundary_distances(clf, [[4.0, 0.5]], [0], reference=reference, steps=400)
    assert_allclose(found, [1 / 5], rtol=0.03)
    found = boundary_distances(clf, [[4.0, 0.5]], [0], reference=reference * [4, 1], steps=400)
    assert_allclose(found, [1 / 20], rtol=0.03)


def mixed_table():
    """Numbers, one of them constant and one with missing values, a category and a truth value."""
    n = 60
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {
            "city": pd.Categorical.from_codes(rng.integers(3, size=n), ["Oslo", "Rome", "Bern"]),
            "age": rng.normal(40, 10, n),
            "member": rng.random(n) < 0.5,
            "income": np.where(rng.random(n) < 0.3, np.nan, rng.normal(0, 1, n)),
            "year": 2020.0,
        }
    )
    y = (table["age"] + 8 * table["income"].fillna(0) + 5 * table["member"] > 42).astype(int)
    return table, y.to_numpy()


def test_only_numbers_that_are_there_are_moved():
    table, y = mixed_table()
    clf = MixupClassifier(lr=0.02, max_epochs=20, random_state=0, n_cv=1).fit(table, y)
    attacked = _attack(clf, table, y, table, steps=200, random_state=0)
    names = clf.encoder_.get_feature_names_out().tolist()
    moved = attacked.points != attacked.rows
    numbers = [names.index("age"), names.index("income")]
    assert not np.delete(moved, numbers, axis=1).any()
    assert not moved[table["income"].isna(), names.index("income")].any()

    found = attacked.distances > 0
    assert_array_equal(found, clf.predict(table) == y)
    assert moved[found].any(axis=1).all()
    # As rows of a table, and a thousandth further on: the boundary itself is a matter of rounding.
    span = np.ptp(attacked.rows[:, numbers], 0)
    way = (attacked.points - attacked.rows)[:, numbers]
    assert_allclose(np.linalg.norm(way / span, axis=1)[found], attacked.distances[found], rtol=1e-3)
    beyond = table.copy()
    beyond[["age", "income"]] += 1.001 * way * clf.encoder_.scale_[:2]
    assert (clf.predict(beyond)[found] != y[found]).all()


def test_the_same_seed_gives_the_same_distances_and_another_seed_others():
    clf = fitted()
    first, again, other = (
        boundary_distances(clf, X[:10], Y[:10], reference=X, steps=150, random_state=seed)
        for seed in (5, 5, 6)
    )
    assert_array_equal(first, again)
    assert (first != other).any()
    assert_allclose(first, other, rtol=0.5)


def test_global_random_states_are_left_alone():
    clf = fitted()
    np.random.seed(3)
    torch.manual_seed(3)
    expected = np.random.random(), torch.rand(1)
    np.random.seed(3)
    torch.manual_seed(3)
    robust_accuracy(clf, X[:10], Y[:10], reference=X, steps=20)
    assert (np.random.random(), torch.rand(1)) == expected


def test_a_rows_distance_does_not_depend_on_the_other_rows():
    clf = fitted()
    together = boundary_distances(clf, X[:12], Y[:12], reference=X, steps=150)
    alone = [boundary_distances(clf, X[i : i + 1], Y[i : i + 1], reference=X, steps=150) for i in (0, 5)]
    assert_allclose(np.concatenate(alone), together[[0, 5]], rtol=1e-2)


def test_many_rows_are_attacked_in_parts(monkeypatch):
    clf = fitted()
    whole = boundary_distances(clf, X[:20], Y[:20], reference=X, steps=50)
    monkeypatch.setattr("mixsk.robustness.TOGETHER", 7)
    monkeypatch.setattr("mixsk.robustness.ROWS_OF_POOL", 3)
    assert_allclose(boundary_distances(clf, X[:20], Y[:20], reference=X, steps=50), whole, rtol=1e-2)


def test_a_large_reference_gives_starting_points_from_a_part_and_ranges_from_all(monkeypatch):
    clf = fitted()
    truth = true_distances(clf, X[:10], X)
    monkeypatch.setattr("mixsk.robustness.POOL", 15)
    found = boundary_distances(clf, X[:10], clf.predict(X[:10]), reference=X, steps=300)
    assert_allclose(found, truth, rtol=0.03, atol=1e-4)


def test_a_start_that_rounding_has_put_on_the_right_side_is_kept():
    clf = known(lambda x: x[:, 0] - 0.5, [[0.0, 0.0], [1.0, 1.0]], [1, 0])
    rows = torch.tensor([[0.9, 0.5], [0.8, 0.5]])
    held = torch.zeros(2, 2, dtype=torch.bool)
    cube = Cube(clf, rows, torch.arange(2), held, torch.zeros(2).double(), torch.ones(2).double())
    starts = torch.tensor([[0.1, 0.5], [0.5000001, 0.5]], dtype=torch.float64)
    points = _nearer(foolbox, cube, torch.tensor([0, 0]), starts, 100, 0)
    assert_array_equal(points[1], starts[1])
    assert 0.4 < points[0, 0] <= 0.5


@pytest.mark.parametrize(
    ("clf", "words"),
    [
        (
            make_pipeline(StandardScaler(), MixupClassifier()),
            "got Pipeline. Of a pipeline pass the last step",
        ),
        (
            GridSearchCV(MixupClassifier(), {"lr": [0.1]}),
            "got GridSearchCV. Of a search pass best_estimator_",
        ),
        (GenerativeClassifier(), "got GenerativeClassifier. Allowed are its classifiers with a network"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_network_of_ours_is_refused(clf, words):
    with pytest.raises(TypeError, match=re.escape(words)):
        boundary_distances(clf, X, Y, reference=X)


@pytest.mark.parametrize(
    ("rows", "y", "options", "words"),
    [
        (X, Y[:-1], {}, "inconsistent numbers of samples: [80, 79]"),
        (X, np.arange(80) % 2, {}, "labels of dtype int64, but those of fit have"),
        (X[:, :1], Y, {}, "X has 1 features"),
        (X, Y, {"reference": X[:, :1]}, "X has 1 features"),
        (X, Y, {"reference": X[:1]}, "none varies in the 1 rows of reference"),
        (X, Y, {"steps": 0}, "'steps' parameter of boundary_distances must be"),
        (X, Y, {"random_state": -1}, "'random_state' parameter of boundary_distances must be"),
    ],
)
def test_rows_that_cannot_be_attacked_are_refused(rows, y, options, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        boundary_distances(fitted(max_epochs=1), rows, y, **{"reference": X} | options)


def test_a_negative_epsilon_is_refused():
    with pytest.raises(ValueError, match="'epsilon' parameter of robust_accuracy must be"):
        robust_accuracy(fitted(max_epochs=1), X, Y, reference=X, epsilon=-0.1)


def test_a_classifier_that_is_not_fitted_is_refused():
    with pytest.raises(NotFittedError):
        boundary_distances(MixupClassifier(), X, Y, reference=X)


def test_without_foolbox_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "foolbox", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'mixsk[robust]'")):
        robust_accuracy(fitted(max_epochs=1), X, Y, reference=X)
