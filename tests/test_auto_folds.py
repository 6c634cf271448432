"""`n_cv="auto"` and `calibrate="auto"`: what they settle to, and that what follows a fit goes with it."""

import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_validate
from small_fits import CLASSIFIERS, SMALL, rows

from mixsk import (
    AdaMixupClassifier,
    AMPClassifier,
    GenLabelClassifier,
    InfiniteMixupClassifier,
    LaMixClassifier,
    MixupClassifier,
)
from mixsk.backbones import Training
from mixsk.backbones.table import Table
from mixsk.classifiers import _calibration
from mixsk.model_selection import BatchedGridSearchCV, batched_cross_validate

GAUSSIANS = {"density": "gm", "gamma": 0.5}


def n_networks(clf):
    return len(clf.predict_proba_members(rows(3)[0]))


@pytest.fixture
def limit(monkeypatch):
    """Let the table network have several folds up to 60 rows only."""
    monkeypatch.setattr(Table, "trained_with", replace(Table.trained_with, n_cv_until=60))
    return 60


class Own(torch.nn.Linear):
    """A network of the user's, which asks for folds and has no model axis."""

    trained_with = Training(n_cv=5, max_epochs=2)

    def __init__(self, n_features, n_classes):
        super().__init__(n_features, n_classes)


# --- what they settle to ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "n_rows", "n_cv"),
    [
        ({}, 20, 5),
        ({}, 10_000, 5),
        ({}, 10_001, 1),
        ({}, None, 1),
        ({"module": "table", "n_members": 2}, 100, 5),
        ({"module": "mlp"}, 100, 1),
        ({"module": "linear"}, 100, 1),
        ({"module": Own}, 100, 1),
        ({"module": Own(4, 3)}, 100, 1),
        ({"warm_start": True}, 100, 1),
        ({"drop_intrusions": True}, 100, 5),
        ({"drop_intrusions": "last"}, 100, 1),
        ({"n_cv": 3}, 10_001, 3),
        ({"n_cv": 1}, 100, 1),
        ({"module": "mlp", "n_cv": 5}, 100, 5),
    ],
)
def test_the_number_of_folds_is_the_networks_own_where_that_can_be_had(params, n_rows, n_cv):
    assert MixupClassifier(**params)._settled_n_cv(n_rows) == n_cv


@pytest.mark.parametrize(
    ("clf", "n_cv"),
    [
        (InfiniteMixupClassifier(), 5),
        (InfiniteMixupClassifier(axis="pair"), 1),
        (GenLabelClassifier(), 5),
        (GenLabelClassifier(density_at="last", density_schedule="online"), 5),
        (GenLabelClassifier(density_at="last", density_schedule="warmup"), 1),
        (GenLabelClassifier(density_at="last", density_schedule="online", drop_intrusions=True), 1),
        (AMPClassifier(), 5),
        (LaMixClassifier(), 5),
        (AdaMixupClassifier(), 5),
    ],
)
def test_a_method_whose_rules_know_of_one_training_set_has_one_network(clf, n_cv):
    X, y = rows(30)
    clf.set_params(**SMALL | {"max_epochs": 10})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of densities of few rows
        assert n_networks(clf.fit(X, y)) == n_cv
    assert (clf.temperature_ == 1) == (n_cv == 1)


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_the_default_is_five_folds_and_their_temperature_bit_for_bit(cls):
    X, y = rows()
    default, named = cls(**SMALL).fit(X, y), cls(**SMALL, n_cv=5, calibrate=True).fit(X, y)
    assert (default.n_cv, default.calibrate) == ("auto", "auto")
    np.testing.assert_array_equal(default.predict_proba_members(X), named.predict_proba_members(X))
    assert default.temperature_ == named.temperature_ != 1
    assert n_networks(default) == 5


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_of_more_rows_the_default_is_one_network_bit_for_bit(cls, limit):
    X, y = rows(limit + 1)
    default, named = cls(**SMALL).fit(X, y), cls(**SMALL, n_cv=1, calibrate=False).fit(X, y)
    np.testing.assert_array_equal(default.predict_proba_members(X), named.predict_proba_members(X))
    assert default.temperature_ == n_networks(default) == 1


def test_all_rows_count_that_have_weight(limit):
    X, y = rows(limit + 1)
    w = np.ones(limit + 1)
    stopped = MixupClassifier(**SMALL, early_stopping=True)
    assert n_networks(clone(stopped).fit(X, y)) == 1  # those held out, too
    assert n_networks(clone(stopped).fit(X[:-1], y[:-1])) == 5
    w[7] = 0
    assert n_networks(MixupClassifier(**SMALL).fit(X, y, w)) == 5


def test_the_limit_of_the_table_network_is_ten_thousand_rows(monkeypatch):
    asked = []
    settled = MixupClassifier._settled_n_cv
    monkeypatch.setattr(
        MixupClassifier, "_settled_n_cv", lambda self, n: asked.append(settled(self, n)) or asked[-1]
    )
    for n, n_cv in ((10_000, 5), (10_001, 1)):
        train, _, net = MixupClassifier(**SMALL | {"batch_size": 2000})._prepare(*rows(n))
        assert asked[-1] == net.module.n_models == n_cv
        assert len(train) == (7200 if n_cv == 5 else 9001)  # a tenth is held out for early stopping


def test_rows_of_which_none_can_be_held_out_train_one_network_without_a_warning():
    X, y = rows(3)
    clf = MixupClassifier(**SMALL).fit(X, y)
    assert clf.temperature_ == n_networks(clf) == 1
    with pytest.warns(UserWarning, match="calibrate=True needs a class with two rows"):
        assert MixupClassifier(**SMALL, calibrate=True).fit(X, y).temperature_ == 1


@pytest.mark.parametrize(("n_cv", "calibrate", "is_one"), [
    ("auto", False, True), (3, "auto", False), (1, "auto", True), (3, False, True), (1, True, False),
])  # fmt: skip
def test_there_is_a_temperature_where_it_costs_nothing_or_is_asked_for(n_cv, calibrate, is_one):
    clf = MixupClassifier(**SMALL, n_cv=n_cv, calibrate=calibrate).fit(*rows())
    assert (clf.temperature_ == 1) == is_one


def test_a_temperature_that_is_asked_for_of_many_rows_is_that_of_one_network_a_fold(limit, monkeypatch):
    X, y = rows(limit + 1)  # of which 4/5 are fewer than the limit
    given, original = [], _calibration.out_of_fold
    monkeypatch.setattr(_calibration, "out_of_fold", lambda clf, *a: given.append(clf) or original(clf, *a))
    clf = MixupClassifier(**SMALL, calibrate=True).fit(X, y)
    assert n_networks(clf) == given[0].n_cv == 1
    assert clf.temperature_ == MixupClassifier(**SMALL, n_cv=1, calibrate=True).fit(X, y).temperature_ != 1


@pytest.mark.parametrize("params", [{"n_cv": "Auto"}, {"n_cv": None}, {"calibrate": "yes"}, {"calibrate": 2}])
def test_no_other_word_is_allowed(params):
    with pytest.raises(ValueError, match=f"{next(iter(params))!r} parameter"):
        MixupClassifier(**params).fit(*rows())


def test_what_densities_warn_of_is_said_once_and_not_in_every_fold():
    X, y = rows(60)
    wide = np.column_stack([X, np.random.default_rng(0).normal(size=(60, 40))])
    with pytest.warns(UserWarning, match="too few rows for a covariance") as told:
        GenLabelClassifier(**SMALL, **GAUSSIANS).fit(wide, y)
    assert len(told) == 1


# --- what follows a fit -------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_a_first_partial_fit_trains_one_network(cls):
    X, y = rows()
    default, named = cls(**SMALL), cls(**SMALL, n_cv=1, calibrate=False)
    for clf in (default, named):
        clf.partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X, y)
    np.testing.assert_array_equal(default.predict_proba(X), named.predict_proba(X))
    assert default.temperature_ == n_networks(default) == 1
    assert n_networks(default.fit(X, y)) == 5


@pytest.mark.parametrize("params", [{"mix": "linear"}, {"mix": "columns"}, {"mix": None}, {"n_members": 2}])
def test_partial_fit_goes_on_with_each_network_as_with_members(params):
    """Of the same weights and seeds, on rows that are new to all of them."""
    (X, y), (X_new, y_new) = rows(), rows(50, seed=1)
    params = {**SMALL, **params, "dtype": "float64", "optimizer": "sgd"}
    clf = MixupClassifier(**params).fit(X, y)
    before, temperature = clf.predict_proba_members(X), clf.temperature_
    members = MixupClassifier(**params | {"n_members": len(before), "n_cv": 1}).fit(X, y)
    members.net_.module_.load_state_dict(clf.net_.module_.state_dict())
    members._temperature, members._steps = temperature, clf._steps
    np.testing.assert_array_equal(members.predict_proba_members(X), before)
    for other in (members.set_params(calibrate="auto"), clf):
        other.partial_fit(X_new, y_new)
    np.testing.assert_allclose(clf.predict_proba_members(X), members.predict_proba_members(X), rtol=1e-9)
    assert all(np.abs(clf.predict_proba_members(X) - before).max((1, 2)) > 1e-5)
    assert clf.temperature_ == temperature != 1


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_partial_fit_adds_the_rows_to_what_each_network_has_counted(cls):
    (X, y), (X_new, y_new) = rows(100), rows(50, seed=1)
    clf = cls(**SMALL, **GAUSSIANS if cls is GenLabelClassifier else {}).fit(X, y)
    temperature, before = clf.temperature_, clf.predict_proba_members(X)
    own = clf._class_counts.copy()
    assert own.sum(0) == pytest.approx(4 * np.bincount(y))  # each row is in four of five folds
    for n in (1, 2):
        clf.partial_fit(X_new, y_new)
        np.testing.assert_allclose(clf._class_counts, own + n * np.bincount(y_new))
    assert clf.temperature_ == temperature
    assert all(np.abs(clf.predict_proba_members(X) - before).max((1, 2)) > 1e-5)
    if cls is GenLabelClassifier:
        densities = [recipe.label.density_ for recipe in clf.net_.criterion_.each]
        np.testing.assert_allclose([density.class_counts_ for density in densities], clf._class_counts)


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (MixupClassifier, {}),
        (MixupClassifier, {"label": "remix"}),
        (GenLabelClassifier, {"density_at": "last", "density_schedule": "online"}),
        (InfiniteMixupClassifier, {}),
        (LaMixClassifier, {}),
        (AdaMixupClassifier, {}),
    ],
)
def test_partial_fit_goes_on_from_a_pickle_and_from_a_search_as_from_the_fit(cls, params):
    X, y = np.concatenate([rows()[0], rows(40)[0]]), np.concatenate([rows()[1], np.zeros(40, int)])
    params = {**SMALL, **params, "dtype": "float64", "optimizer": "sgd"}  # which has no moments
    clf = cls(**params).fit(X, y)
    splits = [(np.arange(len(y)), np.arange(9))]
    (found,) = batched_cross_validate(cls(**params), X, y, cv=splits, return_estimator=True)["estimator"]
    others = [pickle.loads(pickle.dumps(clf)), found]
    for other in (clf, *others):
        other.partial_fit(X[60:], y[60:]).partial_fit(X[:60], y[:60])
    for other in others:
        np.testing.assert_allclose(other.predict_proba(X), clf.predict_proba(X), rtol=1e-4)
        np.testing.assert_allclose(other._class_counts, clf._class_counts)


def test_partial_fit_takes_new_numbers():
    X, y = rows()
    clf = MixupClassifier(**SMALL).fit(X, y).set_params(lr=0.5, alpha=9).partial_fit(X, y)
    assert clf.net_.lr == 0.5
    assert {own.hyper["alpha"] for own in (clf.net_.criterion_, *clf.net_.criterion_.each)} == {9}
    assert n_networks(clf) == 5


def test_densities_of_several_folds_do_not_outlive_a_pickle():
    X, y = rows()
    clf = pickle.loads(pickle.dumps(GenLabelClassifier(**SMALL, **GAUSSIANS).fit(X, y)))
    before = clf.predict_proba(X)
    with pytest.raises(ValueError, match=r"bound to rows that are gone.*with n_cv=1"):
        clf.partial_fit(X, y)
    np.testing.assert_array_equal(clf.predict_proba(X), before)


def test_partial_fit_with_a_number_of_folds_is_still_refused():
    X, y = rows()
    clf = MixupClassifier(**SMALL, n_cv=3).fit(X, y)
    with pytest.raises(ValueError, match="n_cv=3 cuts all rows into folds"):
        clf.partial_fit(X, y)
    with pytest.raises(ValueError, match="n_cv was 3 and is 'auto' now"):
        clf.set_params(n_cv="auto").partial_fit(X, y)


def test_a_warm_start_cannot_go_on_with_networks_of_folds():
    X, y = rows()
    clf = MixupClassifier(**SMALL).fit(X, y)
    before = clf.predict_proba(X)
    with pytest.raises(
        ValueError, match=r"5 networks, each trained on all folds but one.* Set n_cv=1 .*first"
    ):
        clf.set_params(warm_start=True).fit(X, y)
    np.testing.assert_array_equal(clf.predict_proba(X), before)
    assert n_networks(clf.set_params(warm_start=False).fit(X, y)) == 5


def test_a_warm_start_from_the_first_fit_on_has_one_network(limit):
    X, y = rows()
    clf = MixupClassifier(**SMALL, warm_start=True).fit(X[:50], y[:50]).fit(X, y)
    assert clf.n_iter_ == 6
    assert clf.temperature_ == n_networks(clf) == 1
    large = MixupClassifier(**SMALL).fit(X, y).set_params(warm_start=True).fit(X, y)  # one for its rows
    assert large.n_iter_ == 6


@pytest.mark.parametrize("params", [{"n_cv": 1}, {"n_members": 3}, {"hidden": (9,)}, {"calibrate": False}])
def test_a_fitted_model_and_its_pickle_do_not_mind_new_parameters(params):
    X, y = rows()
    clf = MixupClassifier(**SMALL).fit(X, y)
    before = clf.predict_proba_members(X)
    clf.set_params(**params)
    np.testing.assert_array_equal(clf.predict_proba_members(X), before)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(clf)).predict_proba_members(X), before)
    assert len(clf.history_) == 3
    assert clone(clf).get_params() == clf.get_params()


# --- searches -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_cross_validation_trains_the_networks_of_all_folds_as_one_program(cls):
    X, y = rows()
    own = GAUSSIANS if cls is GenLabelClassifier else {}
    clf = cls(**SMALL, **own, dtype="float64")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that some run one by one
        found = batched_cross_validate(clf, X, y, cv=3, return_estimator=True)
    alone = cross_validate(clf, X, y, cv=3, return_estimator=True)
    for one, other in zip(found["estimator"], alone["estimator"], strict=True):
        assert n_networks(one) == 5
        assert one.temperature_ == pytest.approx(other.temperature_, rel=1e-5) != 1
        np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), rtol=1e-5)


def splits_about(limit):
    """A training set of as many rows as have folds, and one of a row more."""
    everything = np.arange(90)
    return [(everything[:n], everything[n:]) for n in (limit, limit + 1)]


def test_folds_on_both_sides_of_the_limit_differ_in_their_networks(limit):
    X, y = rows()
    clf = MixupClassifier(**SMALL | {"dtype": "float64", "batch_size": 64})  # of one batch an epoch, both
    options = {"cv": splits_about(limit), "return_estimator": True}
    found = batched_cross_validate(clf, X, y, **options)["estimator"]
    alone = cross_validate(clf, X, y, **options)["estimator"]
    assert [n_networks(one) for one in found] == [5, 1]
    for one, other in zip(found, alone, strict=True):
        assert one.temperature_ == pytest.approx(other.temperature_, rel=1e-4)
        np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), rtol=1e-4)


def test_a_temperature_that_is_asked_for_is_stacked_where_all_folds_have_several_networks(limit):
    X, y = rows()
    clf = MixupClassifier(**SMALL, calibrate=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batched_cross_validate(clf, X, y, cv=3)  # on 60 rows each
    with pytest.warns(UserWarning, match="calibrate=True is for a fit of its own"):
        found = batched_cross_validate(clf, X, y, cv=splits_about(limit), return_estimator=True)["estimator"]
    assert [n_networks(one) for one in found] == [5, 1]
    assert all(one.temperature_ != 1 for one in found)


def test_a_search_may_choose_the_number_of_folds():
    X, y = rows()
    clf = MixupClassifier(**SMALL, dtype="float64")
    grid = {"n_cv": ["auto", 1, 3], "calibrate": ["auto", False]}
    scores = {"scoring": "neg_log_loss", "cv": 2}
    ours = BatchedGridSearchCV(clf, grid, **scores).fit(X, y)
    theirs = GridSearchCV(clf, grid, **scores).fit(X, y)
    for name in ("split0_test_score", "split1_test_score"):
        np.testing.assert_allclose(ours.cv_results_[name], theirs.cv_results_[name], rtol=1e-5)
    named = ours.cv_results_["param_n_cv"] == 1
    uncalibrated = ours.cv_results_["param_calibrate"] == False  # noqa: E712 - an array of objects
    assert len(set(ours.cv_results_["mean_test_score"][named])) == 1
    assert len(set(ours.cv_results_["mean_test_score"][~named & ~uncalibrated])) == 2


def test_progress_counts_the_epochs_of_every_network(capsys):
    X, y = rows()
    batched_cross_validate(MixupClassifier(**SMALL), X, y, cv=2, verbose=2)
    out = capsys.readouterr().out
    assert "Training 2 fits together, 30 model-epochs" in out
    assert "[Stack] END 10 models, up to 3 epochs" in out


def test_epochs_that_follow_from_the_rows_of_a_fold_are_counted_as_they_are_trained(capsys):
    X, y = rows(170)  # two times 85 rows, of which a network sees 68: two batches of 40, not three
    clf = MixupClassifier(**SMALL | {"max_epochs": "auto", "batch_size": 40, "hidden": (2,)})
    batched_cross_validate(clf, X, y, cv=2, verbose=2)
    out = capsys.readouterr().out
    assert "Training 2 fits together, 3000 model-epochs" in out
    assert "[Stack] END 10 models, up to 300 epochs" in out
