"""Bins of numbers: what they encode, where they end, and which networks have them."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.model_selection import KFold, StratifiedKFold

from mixsk import GenLabelClassifier, MixupClassifier
from mixsk.backbones import PiecewiseLinear, Table
from mixsk.backbones.piecewise import edges_of
from mixsk.encoding import Layout
from mixsk.model_selection import BatchedGridSearchCV, batched_cross_validate

BINNED = {"module__bins": 4, "hidden": (8,), "max_epochs": 2, "random_state": 0}
MANY = 9_000


def table(n=90, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return rng.normal(size=(n, 3)) + y[:, None], y


def bins_of(clf):
    return clf.net_.module_.stages[0].bins


# --- the encoding -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_models", [1, 3])
def test_each_feature_is_the_way_through_its_bin(n_models):
    X = torch.as_tensor(np.random.default_rng(0).normal(size=(200, 3)))
    encoding = PiecewiseLinear([0, 2], bins=5, n_out=4, n_models=n_models).double()
    encoding.bind(X)
    x = torch.linspace(-5, 5, 101, dtype=torch.double)[:, None].expand(n_models, 101, 3)
    found = encoding.encode(x).reshape(n_models, 101, 2, 5)
    for k, column in enumerate([0, 2]):
        edges = edges_of(X[:, column], 5).numpy()
        for t in range(5):
            expected = np.interp(x[0, :, column], edges[t : t + 2], [0, 1])
            for model in range(n_models):
                assert_allclose(found[model, :, k, t], expected, atol=1e-12)


def test_many_values_are_cut_at_quantiles():
    column = torch.as_tensor(np.random.default_rng(0).exponential(size=10_001))
    edges = edges_of(column, 8)
    assert len(edges) == 9
    assert edges[0] == column.min()
    assert edges[-1] == column.max()
    between, _ = np.histogram(column, edges)
    assert_allclose(between, 10_000 / 8, atol=2)


def test_few_values_are_all_edges():
    assert_array_equal(edges_of(torch.tensor([3.0, 1, 1, 2, 3]), 8), [1, 2, 3])


@pytest.mark.parametrize("where", [-10, 0.3, 10])
def test_a_value_that_is_most_of_a_column_leaves_the_others_their_bins(where):
    rest = np.random.default_rng(0).uniform(size=1000)
    edges = edges_of(torch.as_tensor([where] * 20_000 + rest.tolist()), 20)
    assert len(edges) > 17
    others = rest[rest != where]
    between, _ = np.histogram(others, edges[(edges >= 0) & (edges <= 1)])
    assert between.max() < 3 * len(others) / 20


def test_a_constant_column_says_nothing():
    encoding = PiecewiseLinear([0], bins=3, n_out=4)
    encoding.bind(torch.full((10, 1), 7.0))
    assert_array_equal(encoding.encode(torch.tensor([[[7.0], [-1e6], [1e6]]])), np.zeros((1, 3, 3)))


def test_neighbouring_floats_are_told_apart_without_overflow():
    low = np.float32(1)
    column = torch.as_tensor([low, np.nextafter(low, np.float32(2))])[:, None]
    encoding = PiecewiseLinear([0], bins=2, n_out=4)
    encoding.bind(column)
    assert_array_equal(encoding.encode(column[None])[0], [[0, 0], [1, 0]])
    assert encoding.encode(torch.tensor([[[1e6], [-1e6]]])).isfinite().all()


# --- which networks have bins -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_rows", "n_numbers", "bins"), [(MANY - 1, 3, 0), (MANY, 3, 128), (MANY, 16, 64), (MANY, 200, 0)]
)
def test_a_table_of_many_rows_has_bins_for_all_its_numbers(n_rows, n_numbers, bins):
    assert Table.structure(n_rows, Layout.of_numbers(n_numbers), {})["bins"] == bins


def test_categories_have_no_bins():
    rng = np.random.default_rng(0)
    n = MANY
    X = pd.DataFrame({"colour": rng.choice(list("abc"), n), "x": rng.normal(size=n), "z": rng.normal(size=n)})
    clf = MixupClassifier(hidden=(4,), max_epochs=1, batch_size=4096, early_stopping=False, n_cv=1)
    clf.fit(X, (X["x"] > 0).astype(int))
    assert_array_equal(bins_of(clf).columns, clf.encoder_.layout_.numeric)
    assert bins_of(clf).bins == 128


def test_few_rows_have_none_and_the_user_decides():
    X, y = table()
    assert bins_of(MixupClassifier(**BINNED | {"module__bins": 0}).fit(X, y)) is None
    auto = {name: value for name, value in BINNED.items() if name != "module__bins"}
    assert bins_of(MixupClassifier(**auto).fit(X, y)) is None
    assert bins_of(MixupClassifier(**BINNED).fit(X, y)).bins == 4


def test_a_network_without_hidden_layers_has_no_place_for_them():
    assert Table(3, 2, hidden=(), bins=4)(torch.zeros(1, 5, 3)).shape == (1, 5, 2)


@pytest.mark.parametrize("bins", [-1, 2.5, "many", True])
def test_a_number_of_bins_that_is_none_is_refused(bins):
    with pytest.raises(ValueError, match=r"module__bins must be an int >= 0"):
        MixupClassifier(**BINNED | {"module__bins": bins}).fit(*table())


# --- what becomes of them -----------------------------------------------------------------------------


def test_bins_are_of_the_training_rows_alone():
    X, y = table()
    clf = MixupClassifier(**BINNED, n_cv=1).fit(X, y, X_val=100 + X, y_val=y)
    edges = edges_of(torch.as_tensor(clf.encoder_.transform(X)[:, 0]), 4)
    assert_allclose(bins_of(clf).start[0, 0], edges[:-1], rtol=1e-6)


@pytest.mark.parametrize("own", [{}, {"n_cv": 1}, {"n_members": 2}, {"dtype": "float64"}, {"mix_at": "any"}])
def test_a_pickle_keeps_them(own):
    X, y = table()
    clf = MixupClassifier(**BINNED, **own).fit(X, y)
    again = pickle.loads(pickle.dumps(clf))
    assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
    assert torch.equal(bins_of(again).slope, bins_of(clf).slope)


def test_a_warm_start_and_partial_fit_keep_them():
    X, y = table()
    clf = MixupClassifier(**BINNED, warm_start=True).fit(X, y)
    before = bins_of(clf).start.clone()
    clf.fit(3 * X, y)
    clf.partial_fit(5 * X, y)
    assert before.any()
    assert torch.equal(bins_of(clf).start, before)


@pytest.mark.parametrize("cls", [MixupClassifier, GenLabelClassifier])
@pytest.mark.parametrize("n_cv", [1, 2])
def test_a_search_trains_what_a_lone_fit_trains(cls, n_cv):
    X, y = table(60)
    own = {"density": "gm", "gamma": 0.5} if cls is GenLabelClassifier else {}
    clf = cls(**BINNED | {"max_epochs": 4}, **own, n_cv=n_cv)
    cv = StratifiedKFold(3)
    grid = {"lr": [0.01, 0.03]}
    search = BatchedGridSearchCV(clf, grid, cv=cv, scoring="neg_log_loss", refit=True).fit(X, y)
    for k, (train, test) in enumerate(cv.split(X, y)):
        alone = cls(**clf.get_params() | {"lr": 0.03}).fit(X[train], y[train])
        p = alone.predict_proba(X[test])[np.arange(len(test)), y[test]]
        assert search.cv_results_[f"split{k}_test_score"][1] == pytest.approx(np.log(p).mean(), abs=1e-5)
    best = cls(**clf.get_params() | search.best_params_).fit(X, y)
    assert_allclose(search.predict_proba(X), best.predict_proba(X), atol=1e-5)
    assert torch.equal(bins_of(search.best_estimator_).start, bins_of(best).start)


class Turning(TransformerMixin, BaseEstimator):
    """Puts the number first or last, by the first row's truth value."""

    def fit(self, X, y=None):
        self.first_ = int(X[0, 1])
        self.layout_ = Layout([0, 1], [self.first_], [(1 - self.first_, 2 - self.first_)], 2)
        return self

    def transform(self, X):
        return X[:, ::-1].copy() if self.first_ else X


def test_folds_whose_numbers_stand_elsewhere_are_not_one_program():
    X = np.column_stack([np.random.default_rng(0).normal(size=80), np.repeat([0.0, 1.0], 40)])
    y = np.resize([0, 0, 1, 1, 1], 80)
    clf, cv = MixupClassifier(**BINNED, n_cv=1, encoder=Turning()), KFold(2)
    found = batched_cross_validate(clf, X, y, cv=cv, scoring="neg_log_loss")["test_score"]
    columns = []
    for k, (train, test) in enumerate(cv.split(X)):
        alone = clone(clf).fit(X[train], y[train])
        p = alone.predict_proba(X[test])[np.arange(len(test)), y[test]]
        assert found[k] == pytest.approx(np.log(p).mean(), abs=1e-5)
        columns += bins_of(alone).columns.tolist()
    assert columns == [1, 0]
