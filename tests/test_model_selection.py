"""Searches as one program: each fit is what it would be alone, all else what scikit-learn's searches do."""

import inspect
import io
import json
import pickle
import re
import time
import warnings
from dataclasses import replace
from functools import cache

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import coo_matrix
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - brings HalvingGridSearchCV
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import accuracy_score, log_loss, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
    ShuffleSplit,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import EpochScoring
from torch import nn
from torch.optim import RMSprop
from torch.optim.lr_scheduler import CosineAnnealingLR

from mixsk import (
    AdaMixupClassifier,
    AMPClassifier,
    GenLabelClassifier,
    InfiniteMixupClassifier,
    LaMixClassifier,
    MixupClassifier,
)
from mixsk.backbones import Table
from mixsk.densities import GM, KDE
from mixsk.engine import TrainingBatches
from mixsk.engine.stack import StackedNet
from mixsk.model_selection import (
    BatchedGridSearchCV,
    BatchedRandomizedSearchCV,
    batched_cross_validate,
)
from mixsk.rules import GenLabel, LaMix, Logistic, OnlineGenLabel

M, G, INF, A, L, D = (
    MixupClassifier, GenLabelClassifier, InfiniteMixupClassifier, AMPClassifier, LaMixClassifier,
    AdaMixupClassifier,
)  # fmt: skip

SMALL = {"module": "mlp", "hidden": (6, 5), "dtype": "float64", "random_state": 0}
SMALL |= {"batch_size": 16, "max_epochs": 3, "n_cv": 1}


def table(n=58, seed=0):
    """Three overlapping classes, in the ratio 3 : 1 : 1."""
    y = np.array([0, 1, 0, 2, 0])[np.arange(n) % 5]
    return np.random.default_rng(seed).normal(size=(n, 3)) + 0.7 * y[:, None], y


X, Y = table()
ROWS = np.arange(58)
# 27 and 31 rows: two batches each, which are shorter in the first fold.
SPLITS = [(ROWS[:27], ROWS[27:]), (ROWS[27:], ROWS[:27])]


def make(cls=M, **params):
    """A small classifier; one with a density has Gaussians and a share of theirs unless told otherwise."""
    if cls is G and "density_schedule" not in params:
        params = {"density": "gm", **params}
    if cls is G and params.get("density") != "nn-label":
        params = {"gamma": 0.5, **params}
    params = {**SMALL, "lr": 0.02, **params}
    if params["module"] not in ("mlp", "table"):
        del params["hidden"]
    return cls(**params)


LINEAR = make(module="linear")
RATES = {"lr": [0.02, 0.05]}


def search(estimator, grid, **params):
    return BatchedGridSearchCV(estimator, grid, **{"cv": SPLITS, "scoring": "neg_log_loss", **params})


def both(estimator, grid, X=X, y=Y, fit=None, searches=(GridSearchCV, BatchedGridSearchCV), **params):
    """scikit-learn's search and ours, fitted, whatever they warn of."""
    fitted = []
    for cls in searches:
        one = cls(estimator, grid, **{"cv": SPLITS, "scoring": "neg_log_loss", "refit": False, **params})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted.append(one.fit(X, y, **(fit or {})))
    return fitted


def raised(estimator, grid, X=X, y=Y, **params):
    """What scikit-learn's search and ours raise, as type and text."""
    errors = []
    for cls in (GridSearchCV, BatchedGridSearchCV):
        one = cls(estimator, grid, **{"cv": SPLITS, **params})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(Exception) as error:  # noqa: PT011 - they are compared
                one.fit(X, y)
        errors.append((type(error.value), str(error.value)))
    return errors


def split_scores(fitted, which="test", name="score"):
    """Scores (candidates, splits)."""
    splits = range(fitted.n_splits_)
    return np.stack([fitted.cv_results_[f"split{s}_{which}_{name}"] for s in splits], 1)


def check_same_scores(theirs, ours, rtol=1e-7):
    for which in ("test", "train") if theirs.return_train_score else ("test",):
        expected = split_scores(theirs, which)
        assert_allclose(split_scores(ours, which), expected, rtol=rtol)
    assert ours.cv_results_["params"] == theirs.cv_results_["params"]


def check_same_results(theirs, ours):
    """cv_results_ and what is read from it."""
    assert list(ours.cv_results_) == list(theirs.cv_results_)
    for name, expected in theirs.cv_results_.items():
        found = ours.cv_results_[name]
        if name == "params":
            assert found == expected
            continue
        exact = name.startswith(("param_", "rank_"))
        assert type(found) is type(expected)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        if name.endswith("_time"):
            assert (found >= 0).all()
        elif exact:
            assert_array_equal(found, expected)
        else:
            assert_allclose(found, expected, rtol=1e-7, atol=1e-12)
    for name in ("best_index_", "best_params_", "n_splits_", "multimetric_"):
        assert getattr(ours, name, None) == getattr(theirs, name, None)
    if hasattr(theirs, "best_score_"):
        assert ours.best_score_ == pytest.approx(theirs.best_score_, rel=1e-7, nan_ok=True)


def stripped(text):
    return text.replace("Batched", "").replace(" ", "").replace("\n", "")


@pytest.fixture
def programs(monkeypatch):
    """Models of each program that is run."""
    run, sizes = StackedNet.fit_loop, []

    def fit_loop(self, *args, **kwargs):
        sizes.append(self.module_.n_models)
        return run(self, *args, **kwargs)

    monkeypatch.setattr(StackedNet, "fit_loop", fit_loop)
    return sizes


# --- each fit as alone: every recipe ------------------------------------------------------------------


def check_as_alone(estimator, candidates, X=X, y=Y, cv=SPLITS):
    """Scores within 1e-7 of fits one by one: of each candidate on some split, and on each split of some."""
    grid = [{name: [value] for name, value in candidate.items()} for candidate in candidates]
    found = split_scores(search(estimator, grid, cv=cv, refit=False, error_score="raise").fit(X, y))
    assert len(np.unique(found.round(9))) == found.size  # else the numbers would have no effect
    for c, candidate in enumerate(candidates):
        for s in range(c % 2, len(cv), 2):
            train, test = cv[s]
            alone = clone(estimator).set_params(**candidate).fit(X[train], y[train])
            expected = -log_loss(y[test], alone.predict_proba(X[test]))
            assert found[c, s] == pytest.approx(expected, abs=1e-7, rel=0)


COMMON = [{}, {"lr": 0.05, "weight_decay": 0.1, "random_state": 1}, {"lr": 0.01, "weight_decay": 0}]

# (class, parameters, numbers: each of three candidates has its own)
RECIPES = [
    (M, {}, {"alpha": [0.3, 1.0, 4.0], "label_smoothing": [0.1, 0.3, 0.2]}),
    (M, {"module": "linear"}, {"alpha": [0.3, 1.0, 4.0]}),
    (M, {"module": "table"}, {"label_smoothing": [0.1, 0.3, 0.2]}),
    (M, {"module": "table", "mix_at": "any", "module__norm": "layer"}, {"clean_weight": [0.5, 1, 2]}),
    (M, {"mix": None, "module__norm": "layer"}, {}),
    (M, {"mix": None, "label_smoothing": 0.2, "class_weight": "balanced"}, {}),
    (M, {"mix_at": "any", "lam_per": "sample"}, {"mix_prob": [1, 0.5, 0.2]}),
    (M, {"mix_at": [0, 2], "pair": "other_class"}, {"alpha": [0.3, 1.0, 4.0]}),
    (M, {"mix_at": "last", "module__norm": "layer"}, {"clean_weight": [0.5, 1, 2]}),
    (M, {"mix_at": "hidden", "pair": "same_class"}, {"mix_off": [0, 0.34, 0.5]}),
    (M, {"mix": "columns"}, {"mix_off": [0, 0.34, 0.5], "label_smoothing": [0.1, 0.3, 0.2]}),
    (M, {"mix": "half", "pair": "same_class", "lam_per": "sample"}, {}),
    (M, {"clean_weight": 1}, {"clean_weight": [0.5, 1, 2], "label_smoothing": [0.1, 0.3, 0.2]}),
    (M, {"label": "remix", "class_weight": "balanced"}, {"alpha": [0.3, 1.0, 4.0]}),
    (M, {"label": "remix", "mix_at": "any", "clean_weight": 1}, {}),
    (M, {"label": Logistic(s2=0.3), "module": "linear"}, {"mix_prob": [1, 0.5, 0.2]}),
    (M, {"drop_intrusions": True}, {"label_smoothing": [0.1, 0.3, 0.2]}),
    (M, {"drop_intrusions": True, "mix": "columns", "clean_weight": 1, "label": "logistic"}, {}),
    (M, {"encoder": "passthrough", "class_weight": {0: 1.0, 2: 3.0}}, {}),
    (M, {"schedule": "cosine"}, {}),
    (M, {"schedule": "step", "optimizer": "adamw"}, {}),
    (M, {"schedule": "onecycle", "optimizer": "sgd", "optimizer__momentum": 0.9}, {}),
    (M, {"optimizer": "sgd", "optimizer__momentum": 0.5, "optimizer__nesterov": True}, {}),
    (M, {"optimizer": "sgd", "mix_at": "any"}, {}),
    (M, {"optimizer__betas": (0.5, 0.9), "optimizer__eps": 1e-3, "activation": "silu"}, {}),
    (G, {}, {"gamma": [0, 0.5, 1]}),
    (G, {"module": "table", "density": "auto"}, {"gamma": [0.3, 0.5, 1]}),
    (G, {"module": "linear", "clean_weight": 1, "label_smoothing": 0.1}, {"gamma": [0, 0.5, 1]}),
    (G, {"density": "kde", "class_weight": "balanced"}, {"gamma": [0.3, 0.5, 1]}),
    (G, {"density": "nn", "top_k": 2}, {"gamma": [0.3, 0.5, 1], "alpha": [0.3, 1.0, 4.0]}),
    (G, {"density": "nn-label", "mix": "columns"}, {"mix_prob": [1, 0.5, 0.2]}),
    (G, {"density": GM(reg_covar=0.1), "class_prior": "uniform", "drop_intrusions": True}, {}),
    (
        G,
        {"density_at": "last", "density_schedule": "online", "mix_at": "any"},
        {"memory": [0.9, 0.5, 0], "gamma": [0.3, 0.5, 1]},
    ),
    (G, {"density_at": 1, "density_schedule": "online", "clean_weight": 1}, {"gamma": [0, 0.5, 1]}),
    (INF, {}, {"alpha": [0.3, 1.0, 4.0]}),
    (INF, {"axis": "class", "mix_at": "any"}, {"clean_weight": [0.5, 1, 2]}),
    (INF, {"class_prior": "uniform", "label": GenLabel(KDE()), "drop_intrusions": True}, {}),
    (INF, {"label": "remix", "mix": "columns", "class_weight": "balanced"}, {}),
    (A, {}, {"epsilon": [0.3, 0.1, 0]}),
    (A, {"mix_at": "any", "reweight": True}, {"epsilon": [0.3, 0.1, 0.2], "mix_prob": [1, 0.5, 0.2]}),
    (A, {"reduction": "mean", "select": "ascent", "module": "linear"}, {"epsilon": [0.3, 9.0, 1.0]}),
    (A, {"label": GenLabel(gamma=0.8), "drop_intrusions": True}, {"epsilon": [0.3, 0.1, 0]}),
    (A, {"mix_at": [1, 2], "module__norm": "layer"}, {"clean_weight": [0.5, 1, 2]}),
    (L, {}, {"local_share": [0.5, 0.2, 1]}),
    (L, {"mix": "columns", "class_weight": "balanced"}, {"alpha": [0.3, 1.0, 4.0]}),
    (L, {"global_on_clean": False, "mix_at": "last"}, {"local_share": [0.5, 0.2, 0]}),
    (L, {"detach_target": True}, {"local_share": [0.5, 0.2, 0]}),
    (M, {"label": LaMix(), "mix_at": "any"}, {"clean_weight": [0.5, 1, 2]}),
    (M, {"label": OnlineGenLabel(), "class_weight": "balanced"}, {"alpha": [0.3, 1.0, 4.0]}),
    (D, {}, {"label_smoothing": [0.1, 0.3, 0.2]}),
    (D, {"mix_at": "any", "class_weight": "balanced"}, {"mix_prob": [1, 0.5, 0.2]}),
    (D, {"label": GenLabel(), "pair": "other_class", "drop_intrusions": True}, {"mix_off": [0, 0.34, 0.5]}),
]


def name_of(value):
    return value.__name__ if inspect.isclass(value) else None


@pytest.mark.parametrize(("cls", "params", "numbers"), RECIPES, ids=name_of)
def test_each_fit_is_what_it_would_be_alone(cls, params, numbers, programs):
    own = [{name: values[k] for name, values in numbers.items()} for k in range(3)]
    check_as_alone(make(cls, **params), [{**COMMON[k], **own[k]} for k in range(3)])
    assert programs == [6]


@pytest.mark.parametrize("cls", [M, G, INF, A, L, D])
def test_so_it_is_with_sample_weights(cls):
    """Rows of weight 0 are dropped, and one fold has no weights but 1."""
    w = np.r_[np.ones(27), np.random.default_rng(0).integers(0, 4, 31)]
    theirs, ours = both(make(cls), {"lr": [0.02, 0.05], "random_state": [0, 1]}, fit={"sample_weight": w})
    check_same_scores(theirs, ours)
    without = search(make(cls), RATES, refit=False).fit(X, Y)
    assert not np.isin(split_scores(ours)[:, 1], split_scores(without)).any()


def test_scores_are_weighted_where_scikit_learns_search_weights_them():
    fit = {"sample_weight": np.random.default_rng(0).integers(1, 9, 58)}
    check_same_results(*both(LINEAR, RATES, scoring=None, fit=fit, return_train_score=True))
    search(LINEAR, RATES, scoring=None).fit(X, Y, **fit)  # without a warning


def test_so_it_is_in_float32():
    ours, theirs = (
        one.cv_results_["mean_test_score"]
        for one in both(make(module="linear", dtype="float32", max_epochs=20), RATES)
    )
    assert_allclose(ours, theirs, rtol=1e-5)


def test_so_it_is_where_weight_decay_and_alpha_follow_from_the_number_of_rows(monkeypatch):
    monkeypatch.setattr(Table, "trained_with", replace(Table.trained_with, decay_rows=20, alpha_rows=20))
    estimator = make(module="table")
    check_as_alone(estimator, [{}, {"lr": 0.05}])
    decays = {clone(estimator).fit(X[t], Y[t]).net_.optimizer_.defaults["weight_decay"] for t, _ in SPLITS}
    assert decays == {20 / 27, 20 / 31}


@pytest.mark.parametrize("cls", [M, A])
@pytest.mark.parametrize("n_rows", [(32, 33, 34), (16, 17, 18), (27, 31, 21, 24)])
def test_so_it_is_with_folds_of_any_size(cls, n_rows):
    """32 rows in batches of 16 are two batches, 33 and 34 are three; a batch may be a row short."""
    X, y = table(80)
    cv = [(np.arange(n), np.arange(60, 80)) for n in n_rows]
    check_as_alone(make(cls, module="linear"), [{}, {"lr": 0.05}], X, y, cv)


class Tilted:
    """A user's mask whose share depends on what it mixes."""

    def __call__(self, h, lam, noise, extra):
        return lam[..., None], lam * torch.sigmoid(h.mean(-1))


class Bound:
    """A user's label that depends on the training rows."""

    def bind(self, rows):
        self.tilt = torch.sigmoid(5 * rows.X[:, 0].min())

    def __call__(self, y, perm, share, lam, taps, state):
        t = y + self.tilt * y.roll(1, -1)
        return t / t.sum(-1, keepdim=True), None


@pytest.mark.parametrize("params", [{"mix": Tilted(), "mix_at": "any"}, {"label": Bound()}])
def test_so_it_is_with_a_users_own_rules(params):
    check_as_alone(make(**params), COMMON)


@pytest.mark.filterwarnings("ignore:Some of the fits run one by one:UserWarning")
def test_so_it_is_with_a_schedule_of_ones_own():
    """A floor, or a peak, is not a share of the learning rate."""
    schedule = lambda optimizer: CosineAnnealingLR(optimizer, 3, eta_min=0.015)  # noqa: E731
    check_as_alone(make(module="linear", schedule=schedule), [{}, {"lr": 0.05}])


PATIENT = {"early_stopping": True, "n_iter_no_change": 2, "validation_fraction": 0.3}


@pytest.mark.parametrize("params", [{}, {"class_weight": "balanced"}])
@pytest.mark.parametrize("cls", [G, L])
def test_with_early_stopping_each_model_keeps_its_own_best_epoch(cls, params):
    estimator = make(cls, **PATIENT, **params, max_epochs=40)
    candidates = [{"lr": 0.3}, {"lr": 0.03, "random_state": 1}, {"lr": 0.1}]
    check_as_alone(estimator, candidates)
    train = SPLITS[0][0]
    epochs = [clone(estimator).set_params(**c).fit(X[train], Y[train]).n_iter_ for c in candidates]
    assert len(set(epochs)) > 1


def test_a_model_that_has_stopped_may_diverge_afterwards():
    """Alone it would have stopped before: weights grow a thousandfold a step while others go on."""
    estimator = make(module="linear", optimizer="sgd", **PATIENT, max_epochs=150)
    candidates = [{"lr": 1.0, "weight_decay": 1000.0}, {"lr": 0.01, "weight_decay": 0.0}]
    check_as_alone(estimator, candidates)


def test_fits_without_a_seed_differ_and_one_with_a_generator_repeats():
    twice = search(make(random_state=None), {"lr": [0.02, 0.02]}, refit=False).fit(X, Y)
    assert len(np.unique(split_scores(twice))) == 4
    check_same_scores(*both(make(random_state=np.random.RandomState(3)), RATES))


def test_dropout_masks_are_reproducible():
    """Masks are not those of a lone fit, but a search repeats."""
    first, again, without = (
        split_scores(search(make(dropout=p), RATES, refit=False).fit(X, Y)) for p in (0.5, 0.5, 0)
    )
    assert_array_equal(first, again)
    assert (first != without).all()


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (A, {"mix_at": "any"}),
        (M, {"mix_at": "hidden", "mix_prob": 0.5, "pair": "other_class"}),
        (L, {"mix": "columns"}),
        (D, {}),
        (M, {}),  # mixed ahead
        (G, {"mix": "columns", "clean_weight": 1}),
    ],
)
def test_draws_and_initial_weights_are_bit_for_bit_those_of_a_lone_fit(cls, params, monkeypatch):
    seen = []

    def fit_loop(self, X, y=None, epochs=None, **kwargs):
        weights = [*self.module_.parameters(), *self.criterion_.aux.parameters()]
        seen.append(([w.detach().clone() for w in weights], [b for _ in range(2) for b in X[0]]))
        raise RuntimeError("seen")

    monkeypatch.setattr(StackedNet, "fit_loop", fit_loop)
    estimator = make(cls, **params)
    candidates = [{"random_state": s, "lr": lr} for s in (0, 1) for lr in (0.1, 0.2)]
    grid = {"random_state": [0, 1], "lr": [0.1, 0.2]}
    with pytest.raises(RuntimeError, match="seen"):
        search(estimator, grid).fit(X, Y)
    ((weights, batches),) = seen
    owner = set()
    for candidate in candidates:
        for train, _ in SPLITS:
            clf = clone(estimator).set_params(**candidate)
            part, _, net = clf._prepare(X[train], Y[train])
            (alone,) = clf._batches(part, [net.criterion], net.plan.batch_size, net.max_epochs)
            assert type(alone) is TrainingBatches
            alone = [b for _ in range(2) for b in alone]
            alone_weights = [*net.module.parameters(), *net.criterion.aux.parameters()]
            twins = [
                m
                for m in range(len(weights[0]))
                if all(torch.equal(a[m], b[0]) for a, b in zip(weights, alone_weights, strict=True))
                and all(_same_rows(a, b, m) for a, b in zip(batches, alone, strict=True))
            ]
            assert twins
            owner.update(twins)
    assert owner == set(range(8))


def _same_rows(batch, alone, m):
    """Whether model m sees, of real rows, what a lone fit sees."""
    n = alone.x.shape[1]
    pairs = [(batch.x, alone.x), (batch.y, alone.y)]
    if alone.mixture is not None:
        # Rows as they are may not be asked for.
        pairs = [(a, b) for a, b in zip(batch.mixture, alone.mixture, strict=True) if b is not None]
    else:
        pairs += [(batch.draw.perm, alone.draw.perm), (batch.draw.lam, alone.draw.lam)]
        if alone.draw.noise is not None:
            pairs.append((batch.draw.noise, alone.draw.noise))
        site = batch.draw.site
        if (site if isinstance(site, int) else site[m]) != alone.draw.site:
            return False
        if alone.draw.mixed is not None and batch.draw.mixed[m] != alone.draw.mixed[0]:
            return False
    return all(torch.equal(a[m, :n], b[0]) for a, b in pairs)


# --- what is stacked ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "grid", "expected"),
    [
        (G, {"lr": [0.1, 0.2], "gamma": [0, 1], "alpha": [0.5, 2]}, [16]),
        (M, {"mix_prob": [0.5, 1], "mix_off": [0, 0.5], "random_state": [0, None]}, [16]),
        (M, {"hidden": [(3,), [3], (4,)]}, [4, 2]),
        (M, [{"lr": [0.1, 0.2]}, {"mix": ["columns"], "lr": [0.1]}], [4, 2]),
        (M, {"clean_weight": [0, 1, 2]}, [2, 4]),
        (M, {"batch_size": np.array([16]), "lr": [0.1, 0.2]}, [4]),
        (M, {"batch_size": [16, 8]}, [2, 2]),
    ],
)
def test_candidates_that_differ_in_numbers_are_one_program(cls, grid, expected, programs):
    search(make(cls), grid, refit=False).fit(X, Y)
    assert programs == expected


@pytest.mark.parametrize("grid", [{"alpha": [0.3, 1.0, 4.0]}, {"lr": [0.1, 0.2, 0.3]}])
@pytest.mark.parametrize("cls", [G, A])
def test_what_does_not_fit_into_memory_is_trained_in_portions(cls, grid, monkeypatch, programs):
    whole = split_scores(search(make(cls), grid, refit=False).fit(X, Y))
    assert programs == [6]
    with monkeypatch.context() as patch:
        patch.setattr("mixsk.model_selection._train.MEMORY", 0)
        alone = split_scores(search(make(cls), grid, refit=False).fit(X, Y))
    assert programs == [6, *[1] * 6]

    run = StackedNet.fit_loop

    def fit_loop(self, *args, **kwargs):
        if self.module_.n_models > 2:
            raise MemoryError
        return run(self, *args, **kwargs)

    monkeypatch.setattr(StackedNet, "fit_loop", fit_loop)
    halved = split_scores(search(make(cls), grid, refit=False).fit(X, Y))
    assert sum(programs[7:]) == 6
    assert max(programs[7:]) == 2
    assert_allclose(alone, whole, rtol=1e-10)
    assert_allclose(halved, whole, rtol=1e-10)


class Spy(StandardScaler):
    """A scaler that tells of each fit."""

    fits: list = []

    def fit(self, X, y=None, sample_weight=None):
        self.fits.append(len(X))
        return super().fit(X, y, sample_weight)


@pytest.fixture
def spied():
    Spy.fits.clear()
    return Pipeline([("scale", Spy()), ("clf", clone(LINEAR))])


@pytest.mark.parametrize(
    "grid",
    [
        {"clf__lr": [0.1, 0.2, 0.3]},
        {"clf__alpha": [0.5, 1.0, 2.0]},
        {"clf__random_state": [0, 1, None]},
        {"clf__lam_per": ["batch", "sample"]},
    ],
)
def test_steps_before_the_network_are_fitted_once_a_fold(spied, grid):
    fitted = search(spied, grid).fit(X, Y)
    assert Spy.fits == [27, 31, 58]  # and once by the refit
    if "clf__random_state" not in grid:
        check_same_scores(*both(spied, grid))
    assert fitted.best_estimator_[0].n_samples_seen_ == 58


def test_a_grid_may_go_over_a_step_before_the_network(spied):
    grid = {"scale__with_mean": [True, False], "scale": [Spy(), "passthrough"], "clf__lr": [0.1, 0.2]}
    theirs, ours = both(
        spied.set_params(clf__encoder="passthrough"),
        [{"scale__with_mean": [True, False], "clf__lr": [0.1, 0.2]}, {"scale": ["passthrough"]}],
        refit=True,
    )
    check_same_results(theirs, ours)
    assert len(np.unique(ours.cv_results_["mean_test_score"])) == 5
    assert_array_equal(ours.predict(X), theirs.predict(X))
    assert "scale" in grid


def test_sample_weights_reach_the_network_of_a_pipeline(spied):
    fit = {"clf__sample_weight": np.random.default_rng(0).integers(1, 4, 58)}
    theirs, ours = both(spied, {"clf__lr": [0.1, 0.2]}, fit=fit)
    check_same_scores(theirs, ours)
    without = search(spied, {"clf__lr": [0.1, 0.2]}, refit=False).fit(X, Y)
    assert (split_scores(ours) != split_scores(without)).all()


# --- a drop-in ----------------------------------------------------------------------------------------


def half_accuracy(estimator, X, y):
    return accuracy_score(y, estimator.predict(X)) / 2


def two_scores(estimator, X, y):
    return {"half": half_accuracy(estimator, X, y), "loss": -log_loss(y, estimator.predict_proba(X))}


def second(results):
    return 1


GROUPS = np.arange(58) // 6 % 5
SETTINGS = {
    "score": {"scoring": None},
    "string": {"scoring": "accuracy", "return_train_score": True, "refit": False, "cv": 3},
    "list": {"scoring": ["accuracy", "neg_log_loss"], "refit": "neg_log_loss"},
    "dict": {
        "scoring": {"roc": "roc_auc_ovr", "loss": make_scorer(log_loss, response_method="predict_proba")},
        "refit": second,
        "return_train_score": True,
    },
    "callable": {"scoring": half_accuracy, "error_score": "raise"},
    "callable with several": {"scoring": two_scores, "refit": "loss", "cv": StratifiedKFold(3)},
    "groups": {"cv": GroupKFold(3), "error_score": 0.5},
    "shuffled": {"cv": ShuffleSplit(2, test_size=0.5, random_state=3), "scoring": "roc_auc_ovo"},
    "list of grids": {"param_grid": [{"lr": [0.1]}, {"hidden": [(3,), (4, 3)], "alpha": [0.5, None]}]},
    "text": {"param_grid": {"label": ["linear", Logistic(s2=0.5)], "mix_at": ["input", [0, 1]]}, "cv": 2},
    "refit by a function": {"refit": second, "pre_dispatch": 1, "return_train_score": True},
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_results_are_those_of_scikit_learns_search(setting):
    params = {"refit": True, **SETTINGS[setting]}
    grid = params.pop("param_grid", {"lr": [0.01, 0.2], "module__norm": ["layer"]})
    fit = {"groups": GROUPS} if setting == "groups" else None
    theirs, ours = both(make(hidden=(4,)), grid, fit=fit, **params)
    check_same_results(theirs, ours)
    assert vars(ours).keys() == vars(theirs).keys()
    if params["refit"]:
        assert type(ours.best_estimator_) is M
        assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))
        if not callable(params["refit"]):  # scikit-learn's cannot score by several metrics then
            assert ours.score(X, Y) == pytest.approx(theirs.score(X, Y))


def test_so_are_those_of_a_randomised_search():
    searches = (RandomizedSearchCV, BatchedRandomizedSearchCV)
    distributions = {"lr": loguniform(1e-3, 1), "alpha": loguniform(0.1, 10), "hidden": [(3,), (4,)]}
    for random_state in (0, np.random.RandomState(5)):
        state = random_state if isinstance(random_state, int) else random_state.get_state()
        found = []
        for cls in searches:
            if not isinstance(random_state, int):
                random_state.set_state(state)
            params = {"n_iter": 4, "random_state": random_state, "refit": True}
            found += both(make(), distributions, searches=[cls], **params)
        check_same_results(*found)


class Recorded(StratifiedKFold):
    """A shuffling splitter without a seed that remembers what it gave."""

    def split(self, X, y=None, groups=None):
        self.given = list(super().split(X, y, groups))
        self.times = getattr(self, "times", 0) + 1
        return iter(self.given)


def test_a_shuffling_splitter_without_a_seed_splits_once():
    splitter = Recorded(2, shuffle=True)
    ours = search(LINEAR, RATES, cv=splitter, refit=False).fit(X, Y)
    assert splitter.times == 1
    (theirs,) = both(LINEAR, RATES, cv=splitter.given, searches=[GridSearchCV])
    check_same_scores(theirs, ours)


def categorical(n=58):
    """A table whose folds meet different categories, labels in words."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"number": X[:n, 0], "letter": rng.choice(list("abc"), n), "other": X[:n, 1]})
    frame.loc[40:, "letter"] = rng.choice(list("defgh"), n - 40)
    frame.loc[::7, "number"] = np.nan
    return frame, pd.Series(np.array(["low", "mid", "high"])[Y[:n]])


def test_folds_may_be_encoded_to_different_widths(programs):
    frame, words = categorical()
    theirs, ours = both(make(), RATES, X=frame, y=words, refit=True, return_train_score=True)
    assert programs == [2, 2]
    check_same_results(theirs, ours)
    assert ours.classes_.tolist() == ["high", "low", "mid"]
    assert_array_equal(ours.predict(frame), theirs.predict(frame))
    assert_array_equal(ours.feature_names_in_, frame.columns)
    assert ours.n_features_in_ == 3


@pytest.mark.parametrize("lacking", [["high"], ["high", "mid"]])
def test_a_fold_may_lack_classes(lacking):
    """With one class left, that fold alone cannot be fitted."""
    frame, words = categorical()
    present = np.flatnonzero(~words.isin(lacking))
    cv = [(present[:20], ROWS), *SPLITS]
    theirs, ours = both(make(), RATES, X=frame, y=words, cv=cv, scoring="accuracy", return_train_score=True)
    check_same_results(theirs, ours)
    assert np.isnan(split_scores(ours)[:, 0]).all() == (len(lacking) == 2)
    assert np.isfinite(split_scores(ours)[:, 1:]).all()


@pytest.mark.parametrize("form", [coo_matrix, np.ndarray.tolist, pd.DataFrame])
def test_tables_of_other_kinds(form):
    check_same_scores(*both(LINEAR, RATES, X=form(X), y=Y.tolist()))


@pytest.mark.parametrize("scoring", [None, "accuracy", "neg_log_loss"])
def test_labels_in_a_column(scoring):
    check_same_scores(*both(LINEAR, RATES, y=Y[:, None], scoring=scoring))


def test_a_search_keeps_what_it_was_given_and_leaves_nothing_else():
    estimator, cv = make(), KFold(2)
    ours = BatchedGridSearchCV(estimator, RATES, cv=cv, n_jobs=1)
    before = ours.get_params()
    ours.fit(X, Y)
    assert ours.estimator is estimator
    assert ours.cv is cv
    assert ours.get_params() == before
    assert not hasattr(estimator, "net_")
    theirs = GridSearchCV(estimator, RATES, cv=cv, n_jobs=1).fit(X, Y)
    assert vars(ours).keys() == vars(theirs).keys()
    assert repr(ours.scorer_) == repr(theirs.scorer_)


def test_the_best_estimator_is_a_lone_fit():
    ours = search(make(), RATES).fit(X, Y)
    alone = make(**ours.best_params_).fit(X, Y)
    assert type(ours.best_estimator_) is M
    assert_array_equal(ours.predict_proba(X), alone.predict_proba(X))
    assert_array_equal(ours.predict_log_proba(X), alone.predict_log_proba(X))
    assert len(ours.best_estimator_.history_) == 3
    assert_array_equal(ours.classes_, [0, 1, 2])


def test_names_of_columns_are_kept():
    theirs, ours = both(LINEAR, RATES, X=pd.DataFrame(X, columns=list("abc")), refit=True)
    assert_array_equal(ours.feature_names_in_, theirs.feature_names_in_)


def test_a_fitted_search_is_pickled_without_what_trained_it():
    ours = BatchedGridSearchCV(make(), RATES, cv=2).fit(X, Y)
    dumped = pickle.dumps(ours)
    assert b"mixsk.model_selection._replay" not in dumped
    again = pickle.loads(dumped)
    assert_array_equal(again.predict_proba(X), ours.predict_proba(X))
    assert again.best_params_ == ours.best_params_
    assert again.score(X, Y) == ours.score(X, Y)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(BatchedGridSearchCV, GridSearchCV), (BatchedRandomizedSearchCV, RandomizedSearchCV)],
)
def test_parameters_clones_and_text_are_those_of_scikit_learns_search(ours, theirs):
    assert str(inspect.signature(ours)) == str(inspect.signature(theirs))
    pipe = Pipeline([("scale", StandardScaler()), ("clf", make(L))])
    one, other = (
        clone(cls(pipe, RATES, cv=4)).set_params(refit=False, estimator__clf__lr=0.3, n_jobs=2)
        for cls in (ours, theirs)
    )
    assert one.get_params().keys() == other.get_params().keys()
    assert one.get_params()["estimator__clf__lr"] == 0.3
    assert one.n_jobs == 2
    assert stripped(repr(one)) == stripped(repr(other))
    assert issubclass(ours, theirs)


def test_other_searches_and_searches_in_a_cross_validation_work():
    halving = HalvingGridSearchCV(LINEAR, RATES, cv=2, min_resources=28, factor=2).fit(X, Y)
    assert halving.best_params_["lr"] in RATES["lr"]
    theirs, ours = (
        cross_val_score(cls(LINEAR, RATES, cv=2), X, Y, cv=2) for cls in (GridSearchCV, BatchedGridSearchCV)
    )
    assert_array_equal(ours, theirs)


def test_a_search_may_be_fitted_again_without_a_refit():
    ours = search(LINEAR, RATES).fit(X, Y)
    ours.set_params(refit=False, param_grid={"lr": [0.1]}).fit(X, Y)
    assert ours.best_params_ == {"lr": 0.1}
    assert len(ours.cv_results_["params"]) == 1


def lines_of(capsys):
    """What was printed, without the times."""
    return [line.partition("total time")[0] for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("verbose", [0, 1, 2, 3])
def test_it_prints_what_is_trained_together_and_then_what_scikit_learns_search_prints(verbose, capsys):
    grid = [RATES, {"hidden": [(3,)]}]
    GridSearchCV(make(), grid, cv=SPLITS, verbose=verbose, refit=False).fit(X, Y)
    theirs = lines_of(capsys)
    BatchedGridSearchCV(make(), grid, cv=SPLITS, verbose=verbose, refit=False).fit(X, Y)
    told = [
        "Training 6 fits together, 18 model-epochs",
        "[Stack] END 4 models, up to 3 epochs; ",
        "[Stack] END 2 models, up to 3 epochs; ",
        "Trained 6 fits together; ",
    ]
    assert lines_of(capsys) == [[], told[::3], told, told][verbose] + theirs
    assert sum("Fitting 2 folds for each of 3 candidates, totalling 6 fits" in line for line in theirs) == (
        verbose > 0
    )


def test_where_nothing_is_stacked_nothing_is_said_to_be_trained_together(capsys):
    with pytest.warns(UserWarning, match=WARNED):
        search(LogisticRegression(), {"C": [0.1, 1]}, verbose=1, refit=False).fit(X, Y)
    assert lines_of(capsys) == ["Fitting 2 folds for each of 2 candidates, totalling 4 fits"]


def test_times_are_the_programs_shared_among_its_fits():
    seen = {}

    def first(results):
        seen.update({name: np.copy(results[name]) for name in ("mean_fit_time", "std_fit_time")})
        return 0

    fitted = search(make(max_epochs=20), RATES, refit=first).fit(X, Y)
    times = fitted.cv_results_["mean_fit_time"]
    assert (times > 1e-3).all()
    assert_array_equal(times, seen["mean_fit_time"])
    assert_array_equal(fitted.cv_results_["std_fit_time"], seen["std_fit_time"])


# --- scorers ------------------------------------------------------------------------------------------


def on_half_of_the_rows(estimator, X, y):
    return log_loss(y[::2], estimator.predict_proba(X[::2]), labels=[0, 1, 2])


def on_shifted_rows(estimator, X, y):
    return log_loss(y, estimator.predict_proba(X + 1))


def smallest_log_probability(estimator, X, y):
    return estimator.predict_log_proba(X).min()


def epochs(estimator, X, y):
    return estimator.n_iter_ + len(estimator.get_params())


@pytest.mark.parametrize("scorer", [on_half_of_the_rows, on_shifted_rows, smallest_log_probability, epochs])
def test_a_scorer_may_ask_whatever_a_fitted_classifier_answers(scorer):
    theirs, ours = both(
        make(module="linear", lr=100.0), {"alpha": [0.5, 1.0]}, scoring=scorer, return_train_score=True
    )
    assert np.isfinite(split_scores(theirs)).all()
    check_same_scores(theirs, ours)


@pytest.mark.parametrize("cls", [M, G, INF, A, L, D])
def test_so_it_may_of_every_class(cls):
    params = {"density_at": 1, "density_schedule": "online"} if cls is G else {}
    theirs, ours = both(make(cls, **params), {"lr": [0.02, 0.3]}, scoring=on_shifted_rows)
    assert len(np.unique(split_scores(theirs))) == 4
    check_same_scores(theirs, ours)


def test_so_it_may_of_a_pipeline(spied):
    def all_sorts(estimator, X, y):
        scaler, clf = estimator["scale"], estimator.named_steps["clf"]
        assert_array_equal(clf.predict(scaler.transform(X)), estimator.predict(X))
        return on_shifted_rows(estimator, X, y) + scaler.mean_.sum() + clf.n_features_in_ + clf.lr

    theirs, ours = both(spied, {"clf__lr": [0.02, 0.05]}, scoring=all_sorts)
    assert np.isfinite(split_scores(theirs)).all()
    check_same_scores(theirs, ours)
    assert Spy.fits == [27, 31, 27, 31, 27, 31]  # theirs four, ours two


def test_so_it_may_of_rows_in_a_list():
    def on_shifted(estimator, rows, y):
        return log_loss(y, estimator.predict_proba([row + 1 for row in rows]))

    theirs, ours = both(LINEAR, RATES, X=list(X), scoring=on_shifted)
    assert np.isfinite(split_scores(theirs)).all()
    check_same_scores(theirs, ours)


def test_a_scorer_sees_how_many_epochs_each_fit_would_have_run():
    def n_epochs(estimator, X, y):
        return estimator.n_iter_ + len(estimator.history_) / 100

    theirs, ours = both(make(**PATIENT, max_epochs=20), {"lr": [0.3, 0.03]}, scoring=n_epochs)
    assert len(np.unique(split_scores(theirs))) > 1
    check_same_scores(theirs, ours)


class Reversed(M):
    """A user's classifier that predicts in its own way."""

    def predict_proba(self, X):
        return super().predict_proba(X)[:, ::-1]


class Constant(M):
    """A user's classifier that scores in its own way."""

    def score(self, X, y, sample_weight=None):
        return 42.0 + self.lr


@pytest.mark.filterwarnings("ignore:Some of the fits run one by one:UserWarning")
@pytest.mark.parametrize(("cls", "scoring"), [(Reversed, "neg_log_loss"), (Constant, None)])
def test_a_subclass_is_asked_in_its_own_way(cls, scoring):
    theirs, ours = both(make(cls), RATES, scoring=scoring, refit=True)
    check_same_scores(theirs, ours)
    assert type(ours.best_estimator_) is cls


def test_rows_that_cannot_be_predicted_cost_the_score_and_not_the_fit():
    broken = X.copy()
    broken[0, 0] = np.inf
    cv = [(ROWS[27:], ROWS[:27]), (ROWS[20:], ROWS[1:20])]
    theirs, ours = both(LINEAR, RATES, X=broken, cv=cv, return_train_score=True)
    assert np.isfinite(split_scores(theirs, "train")).all()
    assert_array_equal(np.isnan(split_scores(theirs)), [[True, False]] * 2)
    check_same_scores(theirs, ours)


def test_metadata_is_routed_as_in_scikit_learns_search():
    w = np.random.default_rng(0).integers(1, 4, 58)
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = clone(LINEAR).set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        check_same_scores(*both(estimator, RATES, scoring=None, fit={"sample_weight": w}))


# --- what cannot be stacked ---------------------------------------------------------------------------

WARNED = r"run one by one, not as one program: "
NOT_STACKED = [
    (M, {"module": nn.Linear(3, 3), "dtype": "float32"}, "a module of your own"),
    (M, {"n_members": 2}, "n_members=2"),
    (M, {"callbacks": [EpochScoring("accuracy", use_caching=False)]}, "callbacks="),
    (M, {"optimizer": RMSprop}, "optimizer=.*RMSprop"),
    (M, {"optimizer__amsgrad": True}, r"optimizer='adam' with \['amsgrad'\]"),
    (M, {"time_limit": 60.0}, "time_limit=60.0"),
    (M, {"warm_start": True}, "warm_start=True"),
    (M, {"amp": "bf16", "dtype": "float32"}, "amp='bf16'"),
    (M, {"drop_intrusions": "last"}, "drop_intrusions"),
    (L, {"drop_intrusions": True}, "drop_intrusions"),
    (G, {"density": "cv"}, "density='cv'"),
    (
        G,
        {"density_at": 2, "density_schedule": "warmup", "density": GM(covariance="pooled")},
        "after a warm-up",
    ),
    (INF, {"axis": "pair"}, "axis='pair'"),
]


@pytest.mark.parametrize(("cls", "params", "words"), NOT_STACKED)
def test_what_cannot_be_stacked_is_fitted_alone_with_one_warning_that_says_why(cls, params, words):
    estimator = make(cls, **params)
    grid = {"weight_decay": [1.0]}
    with pytest.warns(UserWarning, match=WARNED + ".*" + words) as caught:
        ours = search(estimator, grid, return_train_score=True, refit=False).fit(X, Y)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    (theirs,) = both(estimator, grid, searches=[GridSearchCV], return_train_score=True)
    check_same_scores(theirs, ours)
    assert (ours.cv_results_["mean_fit_time"] > 0).all()


def test_a_cross_validation_warns_its_caller_too():
    with pytest.warns(UserWarning, match=WARNED + "time_limit=60.0") as caught:
        batched_cross_validate(make(time_limit=60.0), X, Y, cv=SPLITS)
    assert [w.filename for w in caught] == [__file__]


def test_validation_rows_of_ones_own_make_fits_run_alone():
    estimator = make(early_stopping=True, n_iter_no_change=1, max_epochs=6)
    fit = {"X_val": X[:7], "y_val": Y[:7]}
    with pytest.warns(UserWarning, match=WARNED + r"fit takes \['X_val', 'y_val'\]"):
        search(estimator, RATES, refit=False).fit(X, Y, **fit)
    check_same_scores(*both(estimator, RATES, fit=fit))


def test_some_may_be_stacked_and_others_not(programs):
    grid = {"n_members": [2, 1], "lr": [0.1, 0.2]}
    with pytest.warns(UserWarning, match=WARNED + "n_members=2"):
        ours = search(make(), grid).fit(X, Y)
    assert programs == [4]
    check_same_results(*both(make(), grid, refit=True))
    assert ours.best_estimator_.n_members == ours.best_params_["n_members"]


@pytest.mark.parametrize("scoring", ["roc_auc", "accuracy", None])
@pytest.mark.parametrize("other", [LogisticRegression(), RidgeClassifier()])
def test_the_network_of_a_pipeline_may_be_replaced(other, scoring):
    pipe = Pipeline([("scale", StandardScaler()), ("clf", LINEAR)])
    grid = [{"clf__lr": [0.1, 0.2]}, {"clf": [other]}]
    theirs, ours = both(pipe, grid, y=Y > 0, scoring=scoring, refit=True, error_score="raise")
    check_same_results(theirs, ours)


def test_a_search_over_another_librarys_classifier_is_scikit_learns(programs):
    check_same_results(*both(LogisticRegression(), {"C": [0.1, 1]}, refit=True))
    assert programs == []


# --- bad input ----------------------------------------------------------------------------------------

ILLEGAL = [
    (M, {"lr": -1}),
    (M, {"lr": "fast"}),
    (M, {"weight_decay": -1}),
    (M, {"alpha": -1}),
    (M, {"alpha": [1]}),
    (M, {"clean_weight": None}),
    (M, {"clean_weight": "much"}),
    (M, {"label_smoothing": 1}),
    (M, {"mix_prob": 2}),
    (M, {"mix_off": -1}),
    (M, {"random_state": "zero"}),
    (M, {"batch_size": 0}),
    (M, {"hidden": ()}),
    (M, {"module": "resnet"}),
    (M, {"optimizer": "rmsprop"}),
    (M, {"module": "linear", "hidden": (128, 128), "mix_at": "hidden"}),
    (M, {"mix": "columns", "mix_at": "any"}),
    (M, {"mix": None, "alpha": 1.0}),
    (M, {"schedule": "linear"}),
    (M, {"optimizer__betas": (2.0, 0.9)}),
    (M, {"optimizer": "sgd", "optimizer__nesterov": True}),
    (M, {"optimizer": "sgd", "optimizer__momentum": -1.0}),
    (M, {"optimizer__eps": -1.0}),
    (M, {"optimizer__beta": 1}),
    (M, {"device": "abacus"}),
    (G, {"gamma": 2}),
    (G, {"density": "nn-label", "gamma": 0.3}),
    (G, {"density": "histogram"}),
    (A, {"epsilon": -1}),
    (A, {"mix": "half"}),
    (L, {"local_share": 1, "detach_target": True}),
]


LEGAL = {"lr": [0.02, 0.05], "weight_decay": [0.5]}


@cache
def legal_scores(cls):
    return split_scores(search(make(cls, max_epochs=1), LEGAL, refit=False).fit(X, Y))


@pytest.mark.filterwarnings("ignore:Some of the fits run one by one:UserWarning")
@pytest.mark.parametrize(("cls", "params"), ILLEGAL)
def test_an_illegal_candidate_is_told_as_a_lone_fit_tells_it_and_harms_no_other(cls, params):
    illegal = {name: [value] for name, value in params.items()}
    estimator = make(cls, max_epochs=1)
    theirs, ours = raised(estimator, illegal, error_score="raise")
    assert ours == theirs
    with pytest.warns(FitFailedWarning, match="2 fits failed with the following error"):
        among = search(estimator, [illegal, LEGAL], refit=False, error_score=-7.0).fit(X, Y)
    assert (split_scores(among)[0] == -7).all()
    assert_array_equal(split_scores(among)[1:], legal_scores(cls))


def test_an_illegal_weight_is_told_as_a_lone_fit_tells_it():
    for w in (-np.ones(58), np.ones(57), np.array(["a"] * 58)):
        errors = []
        for cls in (GridSearchCV, BatchedGridSearchCV):
            with pytest.raises(ValueError) as error:  # noqa: PT011 - the words are compared
                cls(LINEAR, RATES, cv=SPLITS, error_score="raise").fit(X, Y, sample_weight=w)
            errors.append(str(error.value))
        assert errors[0] == errors[1]


@pytest.mark.parametrize(
    ("estimator", "grid", "params", "y"),
    [
        (LINEAR, {"lrr": [0.1]}, {}, Y),
        (LINEAR, [], {}, Y),
        (LINEAR, RATES, {"cv": "three"}, Y),
        (LINEAR, RATES, {"cv": 40}, Y),
        (LINEAR, RATES, {"cv": []}, Y),
        (LINEAR, RATES, {"cv": GroupKFold(2)}, Y),
        (LINEAR, RATES, {"n_jobs": 0}, Y),
        (LINEAR, RATES, {"error_score": "nan"}, Y),
        (LINEAR, RATES, {"scoring": "niceness"}, Y),
        (LINEAR, RATES, {"scoring": ["accuracy"], "refit": True}, Y),
        (3, RATES, {}, Y),
        (LINEAR, RATES, {}, Y[:-1]),
        (LINEAR, RATES, {"error_score": "raise"}, Y + 0.5),
        (LINEAR, RATES, {"error_score": "raise"}, None),
        (LINEAR, {"lr": [-1]}, {}, Y),
    ],
)
def test_bad_input_is_refused_as_by_scikit_learns_search(estimator, grid, params, y):
    (kind, _), (ours, words) = raised(estimator, grid, y=y, **params)
    assert ours is kind
    assert words


@pytest.mark.parametrize("module", ["mlp", "linear"])  # a linear net's loss stays finite longer
@pytest.mark.parametrize(
    ("optimizer", "dtype"), [("sgd", "float64"), ("sgd", "float32"), ("adam", "float64"), ("adam", "float32")]
)
def test_a_candidate_that_diverges_gets_the_error_score_and_its_neighbours_notice_nothing(
    optimizer, dtype, module
):
    estimator = make(optimizer=optimizer, dtype=dtype, module=module)
    (theirs,) = both(estimator, {"lr": [0.02, 1e30]}, error_score=-7.0, searches=[GridSearchCV])
    without = search(estimator, {"lr": [0.02, 0.05]}, refit=False).fit(X, Y)
    if (split_scores(theirs) == -7).any():
        with pytest.warns(FitFailedWarning, match=r"lr=1e\+30"):
            among = search(estimator, {"lr": [0.02, 1e30, 0.05]}, error_score=-7.0, refit=False).fit(X, Y)
    else:
        among = search(estimator, {"lr": [0.02, 1e30, 0.05]}, error_score=-7.0, refit=False).fit(X, Y)
    assert_allclose(split_scores(among)[1], split_scores(theirs)[1], rtol=1e-5)
    assert_array_equal(split_scores(among)[[0, 2]], split_scores(without))


def test_where_all_diverge_the_search_says_so_and_may_raise():
    estimator = make(optimizer="sgd")
    theirs, ours = raised(estimator, {"lr": [1e30, 1e35]})
    assert ours[0] is theirs[0] is ValueError
    assert "All the 4 fits failed" in ours[1]
    with pytest.raises(FloatingPointError, match=r"no longer finite \(lr=1e\+30\)"):
        search(estimator, {"lr": [0.1, 1e30]}, error_score="raise").fit(X, Y)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("where", ["training", "preparing", "scoring", "refit"])
def test_a_search_that_is_broken_off_is_not_fitted_and_its_parameters_are_its_own(where, error, monkeypatch):
    def stop(*args, **kwargs):
        raise error

    places = {
        "training": (StackedNet, "train_step"),
        "preparing": (M, "_prepare"),
        "refit": (M, "_train"),
    }
    estimator, cv = make(), KFold(2)
    scoring = stop if where == "scoring" else "accuracy"
    one = BatchedGridSearchCV(estimator, RATES, cv=cv, scoring=scoring, error_score="raise")
    before = dict(vars(one))
    if where in places:
        monkeypatch.setattr(*places[where], stop)
    with pytest.raises(error):
        one.fit(X, Y)
    assert {name: vars(one)[name] for name in before} == before
    assert not hasattr(one, "cv_results_")
    new = vars(one).keys() - before.keys()
    if where != "refit":
        assert new <= {"_checked_cv_orig", "n_splits_"}  # as scikit-learn's search leaves them
    assert type(getattr(one, "best_estimator_", estimator)) is M
    assert not any(name.startswith("_") for name in new - {"_checked_cv_orig"})
    monkeypatch.undo()
    one.set_params(scoring="accuracy").fit(X, Y)
    check_same_scores(GridSearchCV(estimator, RATES, cv=cv, scoring="accuracy").fit(X, Y), one)


# --- what a search leaves alone -----------------------------------------------------------------------


@pytest.mark.parametrize("params", [{}, {"n_members": 2}, {"lr": -1}])
def test_threads_and_random_states_are_left_alone(params):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    states = np.random.get_state()[1].copy(), torch.get_rng_state()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                search(make(random_state=None, dropout=0.1), {n: [v] for n, v in params.items()}).fit(X, Y)
            except ValueError:
                assert params == {"lr": -1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert_array_equal(np.random.get_state()[1], states[0])
    assert torch.equal(torch.get_rng_state(), states[1])


def test_filters_of_warnings_are_left_alone():
    estimator = make(G, density="kde", max_density_rows=5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        search(estimator, RATES, refit=False).fit(X, Y)
    assert caught == []
    with pytest.raises(UserWarning, match="max_density_rows"):  # the tests turn warnings into errors
        search(estimator, RATES, refit=False, error_score="raise").fit(X, Y)


# --- scikit-learn's callbacks -------------------------------------------------------------------------

needs_callbacks = pytest.mark.skipif(
    not hasattr(GridSearchCV, "set_callbacks"), reason="scikit-learn has callbacks from 1.9 on"
)


class Recorder:
    """A callback that keeps what it is told: (when, names of the tasks from the root on, their numbers)."""

    def __init__(self, stop=None):
        self.events, self.estimators, self.sizes = [], set(), {}
        self.stop = stop  # the name of tasks at whose end it asks to stop

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def tell(self, when, context):
        path = [context]
        while path[0].parent is not None:
            path.insert(0, path[0].parent)
        self.events.append((when, tuple(c.task_name for c in path), tuple(c.task_id for c in path)))

    def on_fit_task_begin(self, estimator, context):
        self.estimators.add(type(estimator))
        self.sizes[context.task_name] = context.max_subtasks
        self.tell("begin", context)

    def on_fit_task_end(self, estimator, context):
        self.tell("end", context)
        return context.task_name == self.stop

    def names(self):
        return [names[-1] for when, names, _ in self.events if when == "end"]


class Propagated(Recorder):
    """One that scikit-learn hands on to the estimators inside."""

    max_propagation_depth = None


class Filed(Recorder):
    """One that writes into a file, so that it may be told in another process."""

    def __init__(self, path):
        super().__init__()
        self.path = str(path)

    def tell(self, when, context):
        super().tell(when, context)
        with open(self.path, "a") as file:
            file.write(json.dumps([when, context.task_name, context.task_id]) + "\n")


def recorded(estimator, grid, recorder=None, X=X, y=Y, **params):
    """A search that was fitted, and what its callback was told."""
    recorder = recorder or Recorder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = search(estimator, grid, **params).set_callbacks(recorder).fit(X, y)
    return fitted, recorder


@pytest.fixture
def after_each_epoch(monkeypatch):
    """Of each program: model-epochs that a recorder has been told of after 0, 1, ... epochs."""
    run, recorder, counts = StackedNet._run_epoch, Recorder(), []

    def run_epoch(self, *args):
        if len(self.history) == 1:
            counts.append([])
        counts[-1].append(recorder.names().count("model-epochs"))
        return run(self, *args)

    monkeypatch.setattr(StackedNet, "_run_epoch", run_epoch)
    return recorder, counts


def each(name, number, *path):
    """Begin and end of a task without subtasks."""
    return [(when, (*path, name), number) for when in ("begin", "end")]


@needs_callbacks
@pytest.mark.parametrize("most", [500, 5])
@pytest.mark.parametrize("refit", [True, False])
def test_stacked_training_is_a_task_whose_subtasks_are_model_epochs(refit, most, monkeypatch):
    """Four models of three epochs; with at most five subtasks each is three of the twelve."""
    monkeypatch.setattr("mixsk.model_selection._progress.MOST_TASKS", most)
    fitted, recorder = recorded(LINEAR, RATES, refit=refit)
    n_tasks = 12 if most > 12 else 4
    training, scoring = ("fit", "stacked-training"), ("fit", "search")
    expected = [("begin", ("fit",), (0,)), ("begin", training, (0, 0))]
    for k in range(n_tasks):
        expected += each("model-epochs", (0, 0, k), *training)
    expected += [("end", training, (0, 0)), ("begin", scoring, (0, 1))]
    for k in range(4):
        expected += each("candidate-split-evaluation", (0, 1, k), *scoring)
    expected += [("end", scoring, (0, 1))]
    if refit:
        expected += each("refit-with-best-params", (0, 2), "fit")
    assert recorder.events == [*expected, ("end", ("fit",), (0,))]
    assert recorder.estimators == {BatchedGridSearchCV}
    assert recorder.sizes["fit"] == 2 + refit
    assert recorder.sizes["stacked-training"] == n_tasks
    assert recorder.sizes["search"] == 4
    assert "_skl_callbacks" in vars(fitted)
    assert not hasattr(fitted, "_callback_fit_ctx")


@needs_callbacks
@pytest.mark.parametrize("most", [500, 5])
def test_each_epoch_is_told_as_it_ends(most, after_each_epoch, monkeypatch):
    monkeypatch.setattr("mixsk.model_selection._progress.MOST_TASKS", most)
    recorder, counts = after_each_epoch
    recorded(LINEAR, RATES, recorder)
    assert counts == [[0, 4, 8] if most == 500 else [0, 1, 2]]  # eight of twelve are two and two thirds


@needs_callbacks
def test_a_model_that_has_stopped_early_has_all_of_its_epochs_behind_it(after_each_epoch):
    recorder, counts = after_each_epoch
    estimator = make(G, **PATIENT, max_epochs=40)
    candidates = {"lr": [0.3, 0.1, 0.03]}
    recorded(estimator, candidates, recorder, refit=False)
    last = np.array(
        [
            clone(estimator).set_params(lr=lr).fit(X[train], Y[train]).n_iter_
            for lr in candidates["lr"]
            for train, _ in SPLITS
        ]
    )
    assert len(set(last)) > 2
    expected = [int(np.where(last <= epoch, 40, epoch).sum()) for epoch in range(last.max())]
    assert counts == [expected]
    assert recorder.sizes["stacked-training"] == recorder.names().count("model-epochs") == 240


@needs_callbacks
def test_so_has_one_that_diverges(after_each_epoch):
    recorder, counts = after_each_epoch
    estimator = make(optimizer="sgd", max_epochs=5)
    last = []
    for train, _ in SPLITS:
        with pytest.raises(FloatingPointError) as error:
            clone(estimator).set_params(lr=1e30).fit(X[train], Y[train])
        last.append(int(re.search(r"in epoch (\d+)", str(error.value))[1]))
    recorded(estimator, {"lr": [0.02, 1e30]}, recorder, refit=False)
    assert max(last) < 5
    assert counts == [[2 * k + sum(5 if k >= end else k for end in last) for k in range(5)]]
    assert recorder.names().count("model-epochs") == 20


@needs_callbacks
def test_so_has_one_that_cannot_be_prepared_and_an_illegal_one_has_none(after_each_epoch):
    """The first fold has rows of one class only."""
    recorder, counts = after_each_epoch
    cv = [(np.flatnonzero(Y == 0), ROWS), *SPLITS]
    recorded(LINEAR, {"lr": [0.02, 0.05, -1.0]}, recorder, cv=cv, refit=False)
    assert counts == [[6, 10, 14]]
    assert recorder.sizes["stacked-training"] == recorder.names().count("model-epochs") == 18


@needs_callbacks
def test_what_is_trained_again_in_halves_is_told_once(after_each_epoch, monkeypatch):
    run, (recorder, counts) = StackedNet.fit_loop, after_each_epoch

    def fit_loop(self, X, y=None, epochs=None, **kwargs):
        n_models = self.module_.n_models
        run(self, X, y, 2 if n_models > 2 else epochs, **kwargs)
        if n_models > 2:
            raise MemoryError
        return self

    monkeypatch.setattr(StackedNet, "fit_loop", fit_loop)
    recorded(LINEAR, RATES, recorder, refit=False)
    assert counts == [[0, 4], [8, 8, 8], [8, 8, 10]]
    numbers = [path[-1] for when, names, path in recorder.events if names[-1] == "model-epochs"]
    assert numbers == [k // 2 for k in range(24)]


@needs_callbacks
@pytest.mark.parametrize("other", [{"n_members": [2]}, {"clf": [RidgeClassifier()]}])
def test_all_but_the_training_is_told_as_by_scikit_learns_search(other):
    """Several programs, and fits that are not stacked: these tell of their epochs."""
    prefix = "clf__" if "clf" in other else ""
    grid = [{f"{prefix}lr": [0.02, 0.05]}, {f"{prefix}module": ["mlp"], f"{prefix}hidden": [(3,)]}, other]
    estimator = Pipeline([("scale", StandardScaler()), ("clf", LINEAR)]) if prefix else LINEAR
    events = []
    for cls in (GridSearchCV, BatchedGridSearchCV):
        one = cls(estimator, grid, cv=SPLITS, scoring="accuracy").set_callbacks(Propagated())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            one.fit(X, Y)
        (recorder,) = one._skl_callbacks
        events.append(recorder.events)
    ((_, first, _), *_), ours = events
    theirs = [
        (when, names, numbers)
        for when, names, numbers in events[0]
        if not (names[:2] == ("fit", "search") and len(names) > 3 and numbers[2] < 6)
    ]
    # A stacked fit is told as an evaluation: there is no estimator that is being fitted.
    theirs = [
        (when, (*names[:2], "candidate-split-evaluation"), numbers)
        if len(names) == 3 and names[1] == "search" and numbers[2] < 6
        else (when, names, numbers)
        for when, names, numbers in theirs
    ]
    shifted = [
        (when, names, (numbers[0], numbers[1] - 1, *numbers[2:]) if len(numbers) > 1 else numbers)
        for when, names, numbers in ours
        if "stacked-training" not in names
    ]
    assert first == ("fit",)
    assert shifted == theirs
    assert [names[-1] for when, names, _ in ours if when == "end"].count("model-epochs") == 18
    assert any(names[-1] == "epoch" for _, names, _ in ours) == (not prefix)


@needs_callbacks
def test_a_callback_that_asks_to_stop_stops_the_program():
    def epochs(estimator, X, y):
        return estimator.n_iter_

    grid = [RATES, {"module": ["mlp"], "hidden": [(3,)]}]
    fitted, recorder = recorded(LINEAR, grid, Recorder(stop="model-epochs"), scoring=epochs, refit=False)
    assert (split_scores(fitted) == 1).all()
    assert recorder.names().count("model-epochs") == 18
    fitted, _ = recorded(LINEAR, grid, Recorder(stop="stacked-training"), scoring=epochs, refit=False)
    assert (split_scores(fitted) == 3).all()


@needs_callbacks
@pytest.mark.parametrize("params", [{}, {**PATIENT, "max_epochs": 30}, {"n_members": 2}])
@pytest.mark.parametrize("recorder", [Recorder, Propagated])
def test_callbacks_change_no_result(recorder, params):
    grid = [{"lr": [0.02, 0.3]}, {"hidden": [(3,)], "random_state": [1]}]
    (without,) = both(make(**params), grid, searches=[BatchedGridSearchCV], refit=True)
    told, _ = recorded(make(**params), grid, recorder())
    assert_array_equal(split_scores(told), split_scores(without))
    assert_array_equal(told.predict_proba(X), without.predict_proba(X))


def test_where_nobody_listens_no_epoch_is_counted(monkeypatch):
    run, callbacks = StackedNet.fit_loop, []

    def fit_loop(self, *args, **kwargs):
        callbacks.append([type(callback).__name__ for _, callback in self.callbacks_])
        return run(self, *args, **kwargs)

    monkeypatch.setattr(StackedNet, "fit_loop", fit_loop)
    search(LINEAR, RATES, verbose=0).fit(X, Y)
    assert callbacks == [[]]
    if hasattr(GridSearchCV, "set_callbacks"):
        recorded(LINEAR, RATES)
        assert callbacks == [[], ["EpochCounter"]]


@needs_callbacks
@pytest.mark.parametrize("place", ["network", "pipeline", "network of a pipeline"])
def test_callbacks_of_the_estimator_itself_are_told_by_fits_one_by_one(place, programs):
    recorder = Recorder()
    network = clone(LINEAR)
    pipe = Pipeline([("scale", StandardScaler()), ("clf", network)])
    (pipe if place == "pipeline" else network).set_callbacks(recorder)
    estimator, prefix = (network, "") if place == "network" else (pipe, "clf__")
    grid = {f"{prefix}lr": [0.02, 0.05]}
    (theirs,) = both(estimator, grid, searches=[GridSearchCV])
    told = [(when, names[-1]) for when, names, _ in recorder.events]
    recorder.events.clear()
    with pytest.warns(UserWarning, match=WARNED + ".* has callbacks of its own"):
        ours = search(estimator, grid, refit=False).fit(X, Y)
    assert [(when, names[-1]) for when, names, _ in recorder.events] == told
    assert len(told) > 8
    check_same_scores(theirs, ours)
    assert programs == []


@needs_callbacks
def test_a_search_within_a_search_hands_its_training_on():
    recorder = Propagated()
    inner = search(LINEAR, RATES, cv=2)
    GridSearchCV(inner, {"refit": [True]}, cv=2).set_callbacks(recorder).fit(X, Y)
    training = [path for when, names, path in recorder.events if names[-1] == "stacked-training"]
    assert sorted(set(training)) == [(0, 0, 0, 0), (0, 0, 1, 0), (0, 1, 0)]
    assert recorder.names().count("model-epochs") == 3 * 12


@needs_callbacks
@pytest.mark.parametrize("when", ["begin", "end"])
def test_an_error_in_a_callback_ends_the_search(when):
    class Broken(Recorder):
        def tell(self, now, context):
            if (now, context.task_name) == (when, "model-epochs"):
                raise RuntimeError("broken callback")

    one = search(LINEAR, RATES).set_callbacks(Broken())
    with pytest.raises(RuntimeError, match="broken callback"):
        one.fit(X, Y)
    assert one.estimator is LINEAR
    one.set_callbacks().fit(X, Y)
    assert one.best_params_["lr"] in RATES["lr"]


@pytest.fixture
def terminal(monkeypatch):
    """What rich writes to a terminal, as lines of text, whatever is drawn over."""
    pytest.importorskip("sklearn.callback")  # from scikit-learn 1.9
    console = pytest.importorskip("rich.console")
    written = io.StringIO()
    wide = console.Console(file=written, force_terminal=True, width=140, color_system=None)
    monkeypatch.setattr("rich._console", wide)

    def lines():
        return re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", written.getvalue()).splitlines()

    return lines


def test_scikit_learns_progress_bar_moves_while_the_program_trains(terminal, monkeypatch):
    from sklearn.callback import ProgressBar

    run = StackedNet._run_epoch

    def run_epoch(self, *args):
        time.sleep(0.3 if len(self.history) == 2 else 0)  # it is drawn ten times a second
        return run(self, *args)

    monkeypatch.setattr(StackedNet, "_run_epoch", run_epoch)
    search(make(max_epochs=4), [RATES, {"hidden": [(3,)]}]).set_callbacks(ProgressBar()).fit(X, Y)
    shown = [
        int(found[1]) for line in terminal() if (found := re.search(r"stacked-training #0 .* (\d+)%", line))
    ]
    assert shown == sorted(shown)
    assert {17, 75} <= set(shown)  # 4 of 24 model-epochs, 16 + 2 of 24
    assert shown[-1] == 100


def test_it_has_one_line_for_the_training_one_for_the_scoring_and_one_for_the_refit(terminal):
    from sklearn.callback import ProgressBar

    search(make(), [RATES, {"hidden": [(3,)]}], verbose=1).set_callbacks(ProgressBar()).fit(X, Y)
    name = "BatchedGridSearchCV - "
    assert [re.split(r" +━", line)[0] for line in terminal()[-4:]] == [
        f"{name}fit",
        f"  {name}stacked-training #0",
        f"  {name}search #1",
        f"  {name}refit-with-best-params | MixupClassifier - fit #2",
    ]
    assert all("100%" in line for line in terminal()[-4:])
    assert "Training 6 fits together, 18 model-epochs" in terminal()


# --- cross-validation ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"scoring": "neg_log_loss", "return_train_score": True, "cv": SPLITS},
        {"scoring": ["accuracy", "neg_log_loss"], "cv": StratifiedKFold(3)},
        {"scoring": two_scores, "cv": GroupKFold(3), "groups": GROUPS},
        {"scoring": {"a": "accuracy"}, "params": {"sample_weight": np.arange(58)}, "cv": 2},
    ],
)
def test_a_cross_validation_gives_scikit_learns_scores(params):
    theirs = cross_validate(make(), X, Y, **params)
    ours = batched_cross_validate(make(), X, Y, **params)
    assert list(ours) == list(theirs)
    for name, expected in theirs.items():
        assert ours[name].dtype == expected.dtype
        if name.endswith("_time"):
            assert (ours[name] > 0).all()
        else:
            assert_allclose(ours[name], expected, rtol=1e-7)


def test_a_cross_validation_over_a_pipeline_and_of_what_cannot_be_stacked(spied):
    ours = batched_cross_validate(spied, X, Y, cv=SPLITS, scoring="neg_log_loss")
    assert Spy.fits == [27, 31]
    assert_allclose(
        ours["test_score"], cross_validate(spied, X, Y, cv=SPLITS, scoring="neg_log_loss")["test_score"]
    )
    with pytest.warns(UserWarning, match=WARNED):
        ours = batched_cross_validate(LogisticRegression(), X, Y, cv=SPLITS)
    assert_array_equal(
        ours["test_score"], cross_validate(LogisticRegression(), X, Y, cv=SPLITS)["test_score"]
    )


def test_a_cross_validation_tells_of_fits_that_fail():
    with pytest.raises(ValueError, match="'lr' parameter of"):
        batched_cross_validate(make(lr=-1), X, Y, error_score="raise")
    labels = np.where(np.arange(58) < 29, 0, Y)
    cv = [(ROWS[:20], ROWS[20:]), (ROWS[20:], ROWS[:20])]
    with pytest.warns(FitFailedWarning):
        scores = batched_cross_validate(make(), X, labels, cv=cv)["test_score"]
    assert_array_equal(np.isnan(scores), [True, False])


def test_parameters_of_a_cross_validation_are_those_of_scikit_learns():
    """pre_dispatch apart, which would have no effect."""
    ours, theirs = (inspect.signature(f).parameters for f in (batched_cross_validate, cross_validate))
    assert list(ours) == [name for name in theirs if name != "pre_dispatch"]
    for name, parameter in ours.items():
        assert parameter.kind == theirs[name].kind
        assert name == "y" or str(parameter.default) == str(theirs[name].default)


@pytest.mark.parametrize("cls", [M, G, INF, A, L, D])
def test_a_cross_validation_returns_estimators_that_are_lone_fits(cls):
    params = {"cv": SPLITS, "scoring": "neg_log_loss", "return_estimator": True}
    estimator = make(cls, **PATIENT, max_epochs=20)
    theirs, ours = (f(estimator, X, Y, **params) for f in (cross_validate, batched_cross_validate))
    assert list(ours) == list(theirs)
    assert type(ours["estimator"]) is type(theirs["estimator"])
    for one, other, (train, _) in zip(theirs["estimator"], ours["estimator"], SPLITS, strict=True):
        assert type(other) is cls
        assert other.get_params() == one.get_params()
        assert other.n_iter_ == one.n_iter_
        assert len(other.history_) == len(one.history_)
        again = pickle.loads(pickle.dumps(other))
        for x in (X, X + 1):
            assert_allclose(other.predict_proba(x), one.predict_proba(x), rtol=1e-7, atol=1e-10)
            assert_array_equal(again.predict_proba(x), other.predict_proba(x))
        if cls is G:
            assert_allclose(other.density_.log_prob(X), one.density_.log_prob(X))
        one = pickle.loads(pickle.dumps(one))  # which leaves the optimiser's moments behind
        for fitted in (one, other):
            fitted.partial_fit(X[train], Y[train])
        assert_allclose(other.predict_proba(X), one.predict_proba(X), rtol=1e-7, atol=1e-10)
    assert (ours["estimator"][0].predict_proba(X) != ours["estimator"][1].predict_proba(X)).any()


def test_it_returns_pipelines_with_all_of_their_parameters(tmp_path):
    pipe = Pipeline([("scale", StandardScaler()), ("clf", LINEAR)], memory=str(tmp_path))
    params = {"cv": SPLITS, "return_estimator": True}
    theirs, ours = (f(pipe, X, Y, **params)["estimator"] for f in (cross_validate, batched_cross_validate))
    for one, other in zip(theirs, ours, strict=True):
        assert type(other) is Pipeline
        assert other.memory == str(tmp_path)
        assert_array_equal(other["scale"].mean_, one["scale"].mean_)
        assert_allclose(other.predict_proba(X), one.predict_proba(X), rtol=1e-7)
    assert not hasattr(pipe["scale"], "mean_")


def test_it_returns_estimators_that_were_not_stacked_or_failed():
    params = {"cv": SPLITS, "return_estimator": True}
    with pytest.warns(UserWarning, match=WARNED):
        one, other = batched_cross_validate(LogisticRegression(), X, Y, **params)["estimator"]
    assert type(one) is type(other) is LogisticRegression
    assert (one.coef_ != other.coef_).any()
    labels = np.where(ROWS < 29, 0, Y)
    cv = [(ROWS[:20], ROWS[20:]), (ROWS[20:], ROWS[:20])]
    with pytest.warns(FitFailedWarning):
        failed, fine = batched_cross_validate(make(), X, labels, **{**params, "cv": cv})["estimator"]
    assert type(failed) is M
    with pytest.raises(NotFittedError):
        failed.predict(X)
    assert_array_equal(fine.classes_, [0, 1, 2])


@pytest.mark.parametrize("cv", [None, SPLITS, ShuffleSplit(3, random_state=0), GroupKFold(2)])
def test_a_cross_validation_returns_the_rows_of_its_splits(cv):
    groups = GROUPS if isinstance(cv, GroupKFold) else None
    params = {"cv": cv, "groups": groups, "return_indices": True}
    theirs, ours = (f(LINEAR, X, Y, **params) for f in (cross_validate, batched_cross_validate))
    assert list(ours) == list(theirs)
    assert list(ours["indices"]) == ["train", "test"]
    for which, expected in theirs["indices"].items():
        assert type(ours["indices"][which]) is type(expected)
        for found, rows in zip(ours["indices"][which], expected, strict=True):
            assert_array_equal(found, rows)


@pytest.mark.parametrize("verbose", [0, 1, 2, 3])
def test_a_cross_validation_prints_what_scikit_learns_prints(verbose, capsys):
    cross_validate(LINEAR, X, Y, cv=SPLITS, verbose=verbose)
    theirs = [line for line in lines_of(capsys) if "Parallel" not in line]  # with times
    batched_cross_validate(LINEAR, X, Y, cv=SPLITS, verbose=verbose)
    ours = [line for line in lines_of(capsys) if "Parallel" not in line]
    told = [
        "Training 2 fits together, 6 model-epochs",
        "[Stack] END 2 models, up to 3 epochs; ",
        "Trained 2 fits together; ",
    ]
    assert ours == [[], told[::2], told, told][verbose] + theirs
    assert len(theirs) == (0, 0, 2, 2)[verbose]


@pytest.mark.parametrize(
    "params",
    [
        {"verbose": "much"},
        {"return_estimator": "yes"},
        {"return_indices": None},
        {"return_train_score": 2},
        {"error_score": "nan"},
        {"n_jobs": 1.5},
        {"params": [1]},
    ],
)
def test_a_cross_validation_refuses_what_scikit_learns_refuses_before_it_trains(params, programs):
    told = []
    for f in (cross_validate, batched_cross_validate):
        with pytest.raises(ValueError, match="parameter of") as error:
            f(LINEAR, X, Y, **params)
        told.append(str(error.value).replace("batched_", ""))
    assert told[0] == told[1]
    assert programs == []


# --- processes ----------------------------------------------------------------------------------------


def test_two_processes_give_what_one_gives():
    """The slowest test: processes must start."""
    grid = [{"lr": [0.02, 0.05], "alpha": [0.5, 2.0]}, {"hidden": [(3,)]}]
    one, two = (
        search(make(), grid, n_jobs=n, refit=False, return_train_score=True).fit(X, Y) for n in (1, 2)
    )
    check_same_scores(one, two, rtol=1e-12)
    assert two.n_jobs == 2
    with pytest.raises(ValueError, match="'lr' parameter of MixupClassifier"):
        search(make(), {"lr": [0.1, -1]}, n_jobs=2, error_score="raise").fit(X, Y)


def test_processes_that_surround_a_cross_validation_do_not_mix_up_its_splits():
    cv = [(ROWS[:27], ROWS[27:40]), (ROWS[27:], ROWS[:13])]
    alone = batched_cross_validate(make(), X, Y, cv=cv, scoring="neg_log_loss")
    with joblib.parallel_config(backend="loky", n_jobs=2):
        among = batched_cross_validate(make(), X, Y, cv=cv, scoring="neg_log_loss")
        searched = search(make(), RATES, cv=cv, refit=False).fit(X, Y)
    assert_allclose(among["test_score"], alone["test_score"], rtol=1e-12)
    check_same_scores(search(make(), RATES, cv=cv, refit=False).fit(X, Y), searched, rtol=1e-12)


@needs_callbacks
def test_callbacks_are_told_of_epochs_in_processes(tmp_path):
    grid = {"lr": [0.02, 0.05], "alpha": [0.5, 2.0]}
    one, _ = recorded(make(), grid, refit=False)
    two, _ = recorded(make(), grid, Filed(tmp_path / "told"), n_jobs=2, refit=False)
    check_same_scores(one, two, rtol=1e-12)
    events = [tuple(json.loads(line)) for line in (tmp_path / "told").read_text().splitlines()]
    epochs = [k for when, name, k in events if (when, name) == ("end", "model-epochs")]
    assert sorted(epochs) == list(range(24))
    assert [event for event in events if event[1] == "stacked-training"] == [
        ("begin", "stacked-training", 0), ("end", "stacked-training", 0),
    ]  # fmt: skip
    assert events.index(("end", "stacked-training", 0)) == 2 + 2 * 24
