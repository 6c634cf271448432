"""`calibrate=True`: the temperature is that of rows held out, and changes nothing else."""

import pickle
import time

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax, softmax
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import log_loss
from small_fits import CLASSIFIERS

from mixsk import GenLabelClassifier, MixupClassifier
from mixsk.classifiers._calibration import PULL, fit_temperature
from mixsk.classifiers._holdout import stratified_folds
from mixsk.model_selection import batched_cross_validate

SMALL = {"hidden": (5,), "max_epochs": 3, "random_state": 0, "n_cv": 1}


def rows(n=90, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return rng.normal(size=(n, 4)) + y[:, None], y


# --- the temperature ----------------------------------------------------------------------------------


@pytest.mark.parametrize("true", [0.4, 1.0, 2.5])
def test_a_temperature_is_found_again(true):
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(20_000, 3))
    y = np.array([rng.choice(3, p=p) for p in softmax(logits, axis=1)])
    assert fit_temperature(logits * true, y) == pytest.approx(true, rel=0.05)


def test_the_temperature_has_the_least_penalised_log_loss():
    rng = np.random.default_rng(1)
    logits, y, w = rng.normal(size=(40, 3)), rng.integers(3, size=40), rng.uniform(0.5, 2, size=40)

    def loss(t):
        fitted = log_softmax(logits / t, axis=1)[np.arange(40), y]
        return -(w * fitted).sum() + PULL * np.log(t) ** 2 / 2

    best = fit_temperature(logits, y, w)
    assert all(loss(best) <= loss(best * factor) for factor in (0.9, 0.99, 1.01, 1.1))


def test_few_rows_that_are_all_right_do_not_make_predictions_sure():
    logits = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert 0.3 < fit_temperature(logits, np.array([0, 1])) < 1


# --- in a classifier ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_only_the_temperature_is_other_than_without_calibration(cls):
    X, y = rows()
    plain = cls(**SMALL).fit(X, y)
    clf = cls(**SMALL, calibrate=True).fit(X, y)
    assert plain.temperature_ == 1
    assert clf.temperature_ != 1
    expected = softmax(plain.predict_log_proba(X) / clf.temperature_, axis=1)
    np.testing.assert_allclose(clf.predict_proba(X), expected, rtol=1e-9)
    np.testing.assert_array_equal(clf.predict(X), plain.predict(X))


def test_the_temperature_is_that_of_fits_to_the_other_folds():
    X, y = rows()
    names = np.array(["b", "a", "c"])[y]
    w = np.random.default_rng(0).uniform(0.5, 2, size=len(y))
    clf = MixupClassifier(**SMALL, calibrate=True).fit(X, names, sample_weight=w)
    seeds = []
    original = batched_cross_validate

    def seen(estimator, X, y, **options):
        seeds.append(estimator.random_state)
        return original(estimator, X, y, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mixsk.model_selection.batched_cross_validate", seen)
        assert clone(clf).fit(X, names, sample_weight=w).temperature_ == clf.temperature_
    (seed,) = seeds
    log_p, held = [], []
    for train, test in stratified_folds(names, seed):
        fold = MixupClassifier(**SMALL | {"random_state": seed})
        fold.fit(X[train], names[train], sample_weight=w[train])
        log_p.append(fold.predict_log_proba(X[test]))
        held.append(test)
    held = np.concatenate(held)
    assert sorted(held) == list(range(len(y)))
    codes = np.unique(names, return_inverse=True)[1][held]
    assert fit_temperature(np.concatenate(log_p), codes, w[held] / w.mean()) == pytest.approx(
        clf.temperature_, rel=1e-3
    )


def test_calibration_improves_probabilities_that_are_too_sure():
    X, y = load_breast_cancer(return_X_y=True)
    train, test = np.arange(0, 569, 2), np.arange(1, 569, 2)
    clf = MixupClassifier(mix=None, lr=0.02, weight_decay=0, max_epochs=60, random_state=0, n_cv=1)
    plain = log_loss(y[test], clf.fit(X[train], y[train]).predict_proba(X[test]))
    calibrated = clone(clf).set_params(calibrate=True).fit(X[train], y[train])
    assert calibrated.temperature_ > 1.2
    assert log_loss(y[test], calibrated.predict_proba(X[test])) < 0.9 * plain


def test_members_are_calibrated_together():
    X, y = rows()
    clf = MixupClassifier(**SMALL, n_members=2, calibrate=True).fit(X, y)
    np.testing.assert_allclose(clf.predict_proba_members(X).mean(0), clf.predict_proba(X), rtol=1e-9)


def test_a_table_as_it_comes_is_calibrated_too():
    X, y = rows()
    X = pd.DataFrame(X, columns=list("abcd")).assign(e=np.where(X[:, 0] > 0, "u", "v"))
    X.loc[::7, ["a", "e"]] = None
    clf = GenLabelClassifier(**SMALL, density="cv", calibrate=True).fit(X, y)
    assert clf.temperature_ != 1
    assert isinstance(clf.density_choice_, str)


def test_the_temperature_is_kept_by_pickles_and_goes_with_a_new_fit():
    X, y = rows()
    clf = MixupClassifier(**SMALL, calibrate=True).fit(X, y)
    again = pickle.loads(pickle.dumps(clf))
    assert again.temperature_ == clf.temperature_
    np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
    assert clf.set_params(calibrate=False).fit(X, y).temperature_ == 1


def test_fits_of_the_folds_and_the_last_share_the_time():
    X, y = rows(3000)
    clf = MixupClassifier(max_epochs=100_000, early_stopping=False, time_limit=3, n_cv=1, calibrate=True)
    start = time.perf_counter()
    clf.fit(X, y)
    assert time.perf_counter() - start < 6
    assert clf.net_.stop_ == "time_limit"


def test_a_search_takes_calibrated_candidates():
    X, y = rows(60)
    clf = MixupClassifier(**SMALL, calibrate=True)
    with pytest.warns(UserWarning, match="calibrate=True is for a fit of its own"):
        scores = batched_cross_validate(clf, X, y, cv=2, scoring="neg_log_loss", return_estimator=True)
    assert all(fit.temperature_ != 1 for fit in scores["estimator"])


def test_rows_of_which_none_can_be_held_out_are_not_calibrated():
    with pytest.warns(UserWarning, match="needs a class with two rows"):
        clf = MixupClassifier(**SMALL, calibrate=True).fit([[0.0], [1.0]], [0, 1])
    assert clf.temperature_ == 1


def test_what_cannot_go_with_calibration_says_so():
    X, y = rows()
    with pytest.raises(ValueError, match="warm_start"):
        MixupClassifier(**SMALL, calibrate=True, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="holds rows out"):
        MixupClassifier(**SMALL, calibrate=True).partial_fit(X, y, classes=[0, 1, 2])
