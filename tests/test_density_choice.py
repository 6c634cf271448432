"""`density="auto"` and `gamma="auto"`: chosen by rows held out, mixup where no density helps."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from skorch.callbacks import EarlyStopping

from mixsk import GenLabelClassifier, MixupClassifier
from mixsk.classifiers import _bagging, _density_choice, genlabel
from mixsk.classifiers._density_choice import best_weight, held_out_posterior, likeliest, sampled
from mixsk.densities import GM, KDE
from mixsk.encoding import Layout
from mixsk.engine import Part
from mixsk.model_selection import BatchedGridSearchCV
from mixsk.plots import MixedPointsDisplay
from mixsk.rules import GenLabel, Rows

SMALL = {"hidden": (8,), "max_epochs": 20, "random_state": 0, "n_cv": 1}
NAMED = {"gm": GenLabel("gm"), "kde": GenLabel("kde")}


def gaussian(n=90, seed=0, distance=1.5):
    """Three Gaussians, of which the rows say little and their moments much."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    centres = distance * np.eye(3, 6)
    return rng.normal(size=(n, 6)) + centres[y], y


def heaps(n=120, seed=0):
    """Four heaps, in turn of either class: one Gaussian a class is wrong, a kernel a row is right."""
    rng = np.random.default_rng(seed)
    X = (np.arange(n) % 4)[:, None] + 0.1 * rng.normal(size=(n, 1))
    return X, np.arange(n) % 2


def part(X, y, w=None):
    weight = None if w is None else torch.as_tensor(w)
    layout = Layout.of_numbers(X.shape[1])
    rows = Rows(torch.as_tensor(X), torch.as_tensor(y), weight, int(y.max()) + 1, layout)
    return Part(rows, np.arange(len(y)))


# --- the weight ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_the_weight_is_the_best_on_a_fine_grid(seed):
    rng = np.random.default_rng(seed)
    told, own, w = rng.random(50), rng.random(50), rng.random(50) + 0.5
    grid = np.linspace(0, 0.9999, 10_000)
    mixtures = grid[:, None] * told + (1 - grid[:, None]) * own
    value = (w * np.log(mixtures)).sum(1) + np.log1p(-grid)
    assert best_weight(told, own, w) == pytest.approx(grid[value.argmax()], abs=1e-3)


def test_a_density_that_is_always_worse_has_no_weight_and_one_that_is_always_better_nearly_all():
    low, high, w = np.full(200, 0.2), np.full(200, 0.8), np.ones(200)
    assert best_weight(low, high, w) < 1e-3
    assert best_weight(high, low, w) > 0.98


def test_few_rows_give_little_weight():
    assert best_weight(np.array([0.9, 0.9]), np.array([0.8, 0.8]), np.ones(2)) < 0.01


def test_a_density_that_is_sure_and_wrong_once_keeps_the_network():
    told, own = np.array([0.0] + [0.9] * 9), np.full(10, 0.8)
    assert 0 <= best_weight(told, own, np.ones(10)) < 0.5


# --- the density --------------------------------------------------------------------------------------


def test_a_posterior_is_of_a_density_that_has_not_seen_the_rows():
    X, y = gaussian(90)
    folds = [(np.arange(0, 60), np.arange(60, 90)), (np.arange(30, 90), np.arange(0, 30))]
    found = held_out_posterior(GenLabel(GM()), part(X, y).rows, folds)
    expected = []
    for train, test in folds:
        density = GM().fit(X[train], y[train])
        log_p = density.log_prob(torch.as_tensor(X[test])).numpy() + np.log(np.bincount(y[train]) / 60)
        expected.append(np.exp(log_softmax(log_p, 1)))
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-6)


@pytest.mark.parametrize(("make", "name"), [(gaussian, "gm"), (heaps, "kde")])
@pytest.mark.parametrize("seed", range(3))
def test_the_density_that_tells_classes_apart_is_taken(make, name, seed):
    assert likeliest(NAMED, part(*make(seed=seed)), seed) == name


def test_weights_count_in_the_choice_of_the_density():
    X, y = heaps()
    X2, y2 = gaussian(120)
    X, X2 = np.c_[X, np.zeros((120, 5))] + 40, X2
    both, labels = np.concatenate([X, X2]), np.concatenate([y, y2])
    w = np.repeat([1.0, 1e-6], 120)
    assert likeliest(NAMED, part(both, labels, w), 0) == "kde"
    assert likeliest(NAMED, part(both, labels, w[::-1].copy()), 0) == "gm"


def test_the_first_density_is_taken_if_no_row_can_be_held_out():
    X, y = gaussian(3)
    assert likeliest(NAMED, part(X, y), 0) == "gm"


def test_of_many_rows_a_stratified_sample_is_asked(monkeypatch):
    monkeypatch.setattr(_density_choice, "MAX_ROWS", 40)
    y = np.repeat([0, 1], [300, 100])
    few = sampled(np.arange(400), y, seed=0)
    assert_array_equal(np.bincount(y[few]), [30, 10])
    assert len(np.unique(few)) == 40
    assert_array_equal(sampled(np.arange(5, 40), y, seed=0), np.arange(5, 40))
    assert len(sampled(np.arange(301), np.repeat([0, 1], [300, 1]), seed=0)) == 40  # a class of one row


# --- in the classifier --------------------------------------------------------------------------------


def test_a_fit_is_that_with_what_was_chosen():
    X, y = gaussian()
    clf = GenLabelClassifier(**SMALL).fit(X, y)
    assert clf.density_choice_ == "gm"
    assert 0.1 < clf.gamma_ <= 1
    named = GenLabelClassifier(density="gm", gamma=clf.gamma_, **SMALL).fit(X, y)
    assert_array_equal(clf.predict_proba(X), named.predict_proba(X))
    assert named.gamma_ == clf.gamma_
    assert not hasattr(named, "density_choice_")


def test_where_no_density_helps_it_is_mixup_bit_for_bit():
    rng = np.random.default_rng(0)
    X = rng.choice([-1.0, 1.0], size=(200, 2)) * (1 + 0.3 * rng.random((200, 2)))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)  # both classes have the same moments
    params = {"module": "mlp", "hidden": (64,), "alpha": 0.2, "lr": 0.01, "max_epochs": 60, "random_state": 0}
    clf = GenLabelClassifier(density="gm", **params).fit(X, y)
    assert clf.gamma_ == 0
    assert_array_equal(clf.predict_proba(X), MixupClassifier(**params).fit(X, y).predict_proba(X))
    assert_array_equal(pickle.loads(pickle.dumps(clf)).predict_proba(X), clf.predict_proba(X))


def test_the_weight_is_that_of_both_predictions_for_rows_held_out(monkeypatch):
    X, y = gaussian()
    seen = {}

    def spy(told, own, w):
        seen.update(told=told, own=own, w=w)
        return best_weight(told, own, w)

    monkeypatch.setattr(_density_choice, "best_weight", spy)
    cut = []
    folds_of = _bagging.stratified_folds
    monkeypatch.setattr(_bagging, "stratified_folds", lambda *a: cut.append(folds_of(*a)) or cut[-1])
    clf = GenLabelClassifier(density="gm", encoder="passthrough", **SMALL).fit(X, y)
    (folds,) = cut
    test = np.concatenate([held for _, held in folds])
    told = held_out_posterior(GenLabel("gm"), part(X.astype(np.float32), y).rows, folds)
    np.testing.assert_allclose(seen["told"], told[np.arange(90), y[test]], rtol=1e-4)
    assert (seen["own"] > 0).all()
    assert (seen["own"] < 1).all()
    assert clf.gamma_ == pytest.approx(best_weight(**seen))


def test_a_gamma_of_the_users_needs_no_network_and_is_stacked_in_a_search():
    X, y = heaps()
    clf = GenLabelClassifier(**SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search = BatchedGridSearchCV(clf, {"gamma": [0.2, 0.8]}, cv=2).fit(X, y)
    assert search.best_estimator_.density_choice_ == "kde"
    alone = [GenLabelClassifier(gamma=gamma, **SMALL) for gamma in (0.2, 0.8)]
    for one, mean in zip(alone, search.cv_results_["mean_test_score"], strict=True):
        assert cross_val_score(one, X, y, cv=2).mean() == pytest.approx(mean, abs=0.02)


def test_a_search_with_gamma_left_open_says_why_it_takes_longer():
    X, y = gaussian(45)
    with pytest.warns(UserWarning, match="gamma='auto' trains networks of its own"):
        BatchedGridSearchCV(GenLabelClassifier(**SMALL), {"lr": [0.01, 0.02]}, cv=2).fit(X, y)


def test_a_warm_start_keeps_the_choices():
    X, y = gaussian()
    clf = GenLabelClassifier(warm_start=True, **SMALL).fit(X, y)
    before = clf.density_choice_, clf.gamma_
    clf.fit(X, np.random.default_rng(0).permutation(y))
    assert (clf.density_choice_, clf.gamma_) == before
    assert GenLabelClassifier(**SMALL).fit(*heaps()).density_choice_ == "kde"


def test_a_new_fit_chooses_anew():
    clf = GenLabelClassifier(**SMALL).fit(*gaussian())
    assert clf.density_choice_ == "gm"
    assert clf.fit(*heaps()).density_choice_ == "kde"
    clf.set_params(density="gm", gamma=0.25).fit(*heaps())
    assert clf.gamma_ == 0.25
    assert not hasattr(clf, "density_choice_")


@pytest.mark.parametrize(
    "params",
    [{"density_at": "last", "density_schedule": s} for s in ("warmup", "online")] + [{"density": "nn-label"}],
)
def test_of_features_and_of_the_nearest_row_nothing_is_chosen(params):
    X, y = gaussian()
    clf = GenLabelClassifier(**params, **SMALL).fit(X, y)
    assert clf.gamma_ == (1 if "density" in params else {"warmup": 0.5, "online": 0.2}[clf.density_schedule])
    assert not hasattr(clf, "density_choice_")


def test_partial_fit_has_gaussians_and_one_half():
    X, y = gaussian()
    left_open = GenLabelClassifier(**SMALL).partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X, y)
    named = GenLabelClassifier(density="gm", gamma=0.5, **SMALL)
    named.partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X, y)
    assert_array_equal(left_open.predict_proba(X), named.predict_proba(X))


def test_choices_go_with_folds_weights_and_calibration():
    X, y = gaussian()
    w = np.linspace(0.5, 1.5, 90)
    for n_cv in (1, 3):
        clf = GenLabelClassifier(calibrate=True, max_density_rows=50, **SMALL | {"n_cv": n_cv})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of kernels on 50 rows
            clf.fit(X, y, w)
        assert clf.temperature_ != 1
        assert len(clf.predict_proba_members(X)) == n_cv


def test_validation_rows_of_the_users_own_have_no_part_in_the_choices():
    X, y = gaussian()
    X_val, y_val = gaussian(30, seed=1)
    fits = [
        GenLabelClassifier(**SMALL).fit(X, y, X_val=rows, y_val=labels)
        for rows, labels in ((X_val, y_val), (X_val + 5, y_val[::-1]))
    ]
    assert len({(clf.density_choice_, clf.gamma_) for clf in fits}) == 1


def test_a_time_limit_holds_for_the_choices_too():
    X, y = gaussian(300)
    params = SMALL | {"max_epochs": 10**6}
    clf = GenLabelClassifier(time_limit=0.6, **params).fit(X, y)
    assert clf.net_.stop_ == "time_limit"
    assert clf.net_.plan.time_limit < 0.5


def test_objects_have_a_weight_of_their_own_too():
    X, y = heaps()
    clf = clone(GenLabelClassifier(density=KDE(bandwidth=0.3), **SMALL)).fit(X, y)
    assert 0 < clf.gamma_ <= 1


def test_mixed_points_can_be_shown_with_the_labels_that_are_chosen():
    X, y = gaussian()
    display = MixedPointsDisplay.from_estimator(GenLabelClassifier(**SMALL), X[:, :2], y, n_points=5)
    assert np.isfinite(display.targets).all()


def test_partial_fit_after_a_choice_of_kernels_says_what_to_do():
    X, y = heaps()
    clf = GenLabelClassifier(**SMALL).fit(X, y)
    before = clf.predict_proba(X)
    with pytest.raises(ValueError, match=r"density='auto' chose 'kde' in fit.*Use density='gm'"):
        clf.partial_fit(X, y)
    assert_array_equal(clf.predict_proba(X), before)


def test_the_users_callbacks_see_the_fit_only():
    X, y = gaussian()
    clf = GenLabelClassifier(callbacks=[EarlyStopping()], early_stopping=True, **SMALL).fit(X, y)
    assert "valid_loss" in clf.history_


def test_an_open_weight_stands_beside_others_in_a_search_of_densities_of_features():
    X, y = gaussian()
    clf = GenLabelClassifier(density_at="last", density_schedule="online", dtype="float64", **SMALL)
    grid = {"gamma": ["auto", 0.9], "clean_weight": [0, 1]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = BatchedGridSearchCV(clf, grid, cv=2, refit=False).fit(X, y)
    theirs = GridSearchCV(clf, grid, cv=2, refit=False).fit(X, y)
    for name in ("split0_test_score", "split1_test_score"):
        np.testing.assert_allclose(ours.cv_results_[name], theirs.cv_results_[name])


def test_no_density_is_tried_where_there_are_as_many_numbers_as_rows(monkeypatch):
    def tried(*arguments):
        raise AssertionError("a covariance of so many numbers cannot be told from so few rows")

    for name in ("likeliest", "weight_beside"):
        monkeypatch.setattr(genlabel, name, tried)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 12)), np.arange(12) % 2
    clf = GenLabelClassifier(n_cv=1, max_epochs=1, random_state=0).fit(X, y)
    assert clf.gamma_ == 0
    plain = MixupClassifier(n_cv=1, max_epochs=1, random_state=0).fit(X, y)
    np.testing.assert_array_equal(clf.predict_proba(X), plain.predict_proba(X))
    with pytest.raises(AssertionError, match="covariance"):
        GenLabelClassifier(n_cv=1, max_epochs=1).fit(X[:, :11], y)
