"""`n_cv`: each network is trained on all folds but one, and the temperature comes from the one it lacks."""

import pickle
import warnings

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from small_fits import CLASSIFIERS, SMALL, rows

from mixsk import (
    AMPClassifier,
    GenLabelClassifier,
    InfiniteMixupClassifier,
    LaMixClassifier,
    MixupClassifier,
)
from mixsk.classifiers import _bagging
from mixsk.classifiers._calibration import fit_temperature
from mixsk.model_selection import BatchedGridSearchCV, batched_cross_validate

OF_DENSITY = {GenLabelClassifier: {"density": "gm", "gamma": 0.5}}


@pytest.fixture
def folds(monkeypatch):
    """The folds of the last fit."""
    found = []
    cut = _bagging.stratified_folds
    monkeypatch.setattr(_bagging, "stratified_folds", lambda *args: found.append(cut(*args)) or found[-1])
    return found


@pytest.mark.parametrize(
    ("cls", "mix"),
    [(cls, "half" if cls is LaMixClassifier else "linear") for cls in CLASSIFIERS]
    + [(MixupClassifier, "columns"), (GenLabelClassifier, "columns")],
)
def test_the_first_network_is_that_of_a_lone_fit_without_the_first_fold(cls, mix, folds):
    X, y = rows()
    params = {**SMALL, **OF_DENSITY.get(cls, {}), "mix": mix, "dtype": "float64"}
    many = cls(**params, n_cv=3, calibrate=False).fit(X, y)
    train, _ = folds[-1][0]
    alone = cls(**params, n_cv=1).fit(X[train], y[train])
    np.testing.assert_allclose(many.predict_proba_members(X)[0], alone.predict_proba(X), rtol=1e-7)


@pytest.mark.parametrize(
    "params", [{"mix": None}, {"mix": "columns"}, {"mix_at": "any"}, {"clean_weight": 1}]
)
def test_every_way_of_mixing_has_its_own_rows(params, folds):
    X, y = rows()
    params = {
        **SMALL,
        **params,
        "dtype": "float64",
        "module": "table",
        "mix_off": 0 if "mix" in params else 0.5,
    }
    many = MixupClassifier(**params, n_cv=3, calibrate=False).fit(X, y)
    train, _ = folds[-1][0]
    alone = MixupClassifier(**params, n_cv=1).fit(X[train], y[train])
    np.testing.assert_allclose(many.predict_proba_members(X)[0], alone.predict_proba(X), rtol=1e-7)


def test_a_network_never_sees_the_labels_of_its_fold(folds):
    X, y = rows()
    clf = GenLabelClassifier(**SMALL, density="gm", gamma=0.5, n_cv=3, calibrate=False)
    before = clone(clf).fit(X, y)
    held = folds[-1][2][1]
    X2 = X.copy()
    X2[held] += 100.0
    after = clf.fit(X2, y)
    for model in range(3):
        same = np.array_equal(*(clf.predict_proba_members(X)[model] for clf in (before, after)))
        assert same == (model == 2)


def test_folds_cover_all_rows_once_and_members_share_one(folds):
    X, y = rows()
    clf = MixupClassifier(**SMALL, n_cv=4, n_members=2).fit(X, y)
    assert clf.predict_proba_members(X).shape == (8, 90, 3)
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in folds[-1]])), np.arange(90))
    np.testing.assert_allclose(clf.predict_proba(X), clf.predict_proba_members(X).mean(0), rtol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_temperature_is_that_of_the_rows_each_network_lacks(folds, weighted):
    X, y = rows()
    w = np.linspace(0.5, 1.5, 90) if weighted else None
    plain = MixupClassifier(**SMALL, n_cv=3, calibrate=False).fit(X, y, w)
    logits = np.zeros((90, 3))
    for probabilities, (_, test) in zip(plain.predict_proba_members(X), folds[-1], strict=True):
        logits[test] = np.log(probabilities[test])
    clf = MixupClassifier(**SMALL, n_cv=3, calibrate=True).fit(X, y, w)
    assert plain.temperature_ == 1
    assert clf.temperature_ == pytest.approx(fit_temperature(logits, y, w), rel=1e-3)
    members = log_softmax(np.log(plain.predict_proba_members(X)) / clf.temperature_, axis=-1)
    np.testing.assert_allclose(clf.predict_proba(X), np.exp(members).mean(0), rtol=1e-4)


def test_rows_of_folds_that_differ_in_size_take_as_many_steps():
    X, y = rows(98)  # 65, 65 and 66 rows; 65 would make a batch of one row
    clf = MixupClassifier(**SMALL, n_cv=3).fit(X, y)
    assert np.isfinite(clf.predict_proba(X)).all()


def test_a_fit_is_repeated_by_its_seed_and_kept_by_a_pickle():
    X, y = rows()
    clf = MixupClassifier(**SMALL, n_cv=3, calibrate=True).fit(X, y)
    again = clone(clf).fit(X, y)
    back = pickle.loads(pickle.dumps(clf))
    for other in (again, back):
        np.testing.assert_array_equal(other.predict_proba(X), clf.predict_proba(X))
    assert back.temperature_ == clf.temperature_ != 1


def test_there_are_no_more_folds_than_rows_of_the_largest_class():
    X, y = rows(7)  # 3, 2 and 2 rows
    clf = MixupClassifier(**SMALL, n_cv=5).fit(X, y)
    assert len(clf.predict_proba_members(X)) == 3
    assert len(pickle.loads(pickle.dumps(clf)).predict_proba_members(X)) == 3


def test_one_row_a_class_makes_one_network_and_a_warning():
    X, y = rows(3)
    with pytest.warns(UserWarning, match="n_cv=5 needs a class with two rows"):
        clf = MixupClassifier(**SMALL, n_cv=5).fit(X, y)
    assert len(clf.predict_proba_members(X)) == 1


def test_early_stopping_ends_each_network_by_itself(folds):
    X, y = rows(300)
    X_val, y_val = rows(60, seed=1)
    params = SMALL | {
        "module": "mlp",
        "max_epochs": 200,
        "lr": 0.1,
        "dtype": "float64",
        "n_iter_no_change": 3,
    }
    many = MixupClassifier(**params, n_cv=3, calibrate=False).fit(X, y, X_val=X_val, y_val=y_val)
    train, _ = folds[-1][0]
    alone = MixupClassifier(**params).fit(X[train], y[train], X_val=X_val, y_val=y_val)
    assert alone.n_iter_ <= many.n_iter_ < 200
    np.testing.assert_allclose(many.predict_proba_members(X)[0], alone.predict_proba(X), rtol=1e-7)


def test_a_time_limit_holds_for_all_networks():
    X, y = rows(300)
    clf = MixupClassifier(**SMALL | {"max_epochs": 10**6}, n_cv=3, time_limit=0.2).fit(X, y)
    assert clf.net_.stop_ == "time_limit"


@pytest.mark.parametrize(
    ("cls", "params", "words"),
    [
        (MixupClassifier, {"warm_start": True}, "warm_start=True"),
        (MixupClassifier, {"drop_intrusions": "last"}, "drop_intrusions among features"),
        (InfiniteMixupClassifier, {"axis": "pair"}, "axis='pair'"),
        (GenLabelClassifier, {"density_at": "last", "density_schedule": "warmup"}, "density of features"),
    ],
)
def test_what_has_no_cross_fitted_form_says_so(cls, params, words):
    with pytest.raises(
        ValueError, match=rf"n_cv=3 trains each network on its own rows, but .*{words}.*n_cv=1"
    ):
        cls(**{"max_epochs": 2, **params}, n_cv=3).fit(*rows())


def test_partial_fit_cannot_cut_folds():
    X, y = rows()
    with pytest.raises(ValueError, match="n_cv=3 cuts all rows into folds"):
        MixupClassifier(**SMALL, n_cv=3).partial_fit(X, y, classes=[0, 1, 2])


@pytest.mark.parametrize("n_cv", [0, 1.5, True, "5"])
def test_a_number_of_folds_is_an_int_of_at_least_one(n_cv):
    with pytest.raises(ValueError, match="n_cv"):
        MixupClassifier(n_cv=n_cv).fit(*rows())


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (MixupClassifier, {"calibrate": True, "mix": "columns", "lr": [0.01, 0.1]}),
        (MixupClassifier, {"mix_off": [0, 0.5], "early_stopping": True, "max_epochs": 20}),
        (GenLabelClassifier, {"calibrate": True, "gamma": [0.1, 1.0]}),
        (AMPClassifier, {"epsilon": [0.01, 0.1]}),
        (LaMixClassifier, {"calibrate": True, "local_share": [0.2, 0.8]}),
    ],
)
def test_a_search_trains_all_networks_of_all_candidates_together(cls, params):
    X, y = rows(98)
    grid = {name: values for name, values in params.items() if isinstance(values, list)}
    own = {name: value for name, value in params.items() if name not in grid}
    clf = cls(**{**SMALL, "dtype": "float64", **own}, n_cv=3)
    scores = {"scoring": "neg_log_loss", "refit": False, "cv": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that some run one by one
        ours = BatchedGridSearchCV(clf, grid, **scores).fit(X, y)
    theirs = GridSearchCV(clf, grid, **scores).fit(X, y)
    for name in ("split0_test_score", "split1_test_score", "split2_test_score"):
        np.testing.assert_allclose(ours.cv_results_[name], theirs.cv_results_[name], rtol=1e-5)


@pytest.mark.parametrize("cls", [MixupClassifier, GenLabelClassifier])
def test_cross_validation_gives_fitted_classifiers_of_several_networks(cls):
    X, y = rows()
    clf = cls(**SMALL, **OF_DENSITY.get(cls, {}), n_cv=3, calibrate=True, dtype="float64")
    found = batched_cross_validate(clf, X, y, cv=3, return_estimator=True, return_indices=True)
    for fit, train in zip(found["estimator"], found["indices"]["train"], strict=True):
        alone = clone(clf).fit(X[train], y[train])
        assert fit.temperature_ == pytest.approx(alone.temperature_, rel=1e-5)
        np.testing.assert_allclose(fit.predict_proba_members(X), alone.predict_proba_members(X), rtol=1e-5)
        np.testing.assert_allclose(fit.predict_proba(X), alone.predict_proba(X), rtol=1e-5)


def test_a_calibrated_lone_network_still_fits_one_by_one():
    X, y = rows()
    with pytest.warns(UserWarning, match="calibrate=True is for a fit of its own"):
        batched_cross_validate(MixupClassifier(**SMALL, n_cv=1, calibrate=True), X, y, cv=3)
