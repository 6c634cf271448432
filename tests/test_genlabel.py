"""GenLabelClassifier's densities by name: cross-validation of two, hard labels, a limit on rows."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csc_matrix
from sklearn.base import clone
from sklearn.datasets import load_iris, make_moons
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from mixsk import GenerativeClassifier, GenLabelClassifier, MixupClassifier
from mixsk.classifiers._holdout import held_out_score, stratified_folds
from mixsk.densities import GM, KDE, NN, NNLabel
from mixsk.encoding import Layout
from mixsk.rules import GenLabel, LatentGenLabel, Rows, State

SMALL = {"hidden": (16,), "max_epochs": 4, "random_state": 0, "n_cv": 1}
LATENT = {"density_at": "last", "density_schedule": "warmup"}
ONLINE = {"density_at": "last", "density_schedule": "online"}


class Spy(GenLabelClassifier):
    """Keeps what each classifier is fitted with, those of the folds included."""

    log = []

    def fit(self, X, y, sample_weight=None, **arguments):
        self.log.append((self, X, y, sample_weight))
        return super().fit(X, y, sample_weight, **arguments)


@pytest.fixture
def log(monkeypatch):
    monkeypatch.setattr(Spy, "log", [])
    return Spy.log


def numbered(n=60, seed=0):
    """Rows whose first column says which one it is, and three overlapping classes."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % 3)
    X = np.column_stack([np.arange(n), rng.normal(size=(n, 2)) + y[:, None]])
    return X, y


def ids(X):
    return set(np.asarray(X)[:, 0].astype(int).tolist())


# --- the folds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "n_folds"),
    [([40, 40, 40], 5), ([40, 6, 5], 5), ([40, 4, 9], 4), ([40, 2, 9], 2), ([40, 1, 9], 5), ([3, 1, 1], 3)],
)
@pytest.mark.parametrize("seed", range(5))
def test_folds_are_stratified_and_a_class_of_one_row_is_always_trained_on(counts, n_folds, seed):
    y = np.random.default_rng(seed).permutation(np.repeat(["a", "b", "c"], counts))
    folds = stratified_folds(y, seed)
    assert len(folds) == n_folds
    held = np.concatenate([test for _, test in folds])
    several = [label for label, count in zip("abc", counts, strict=True) if count > 1]
    assert_array_equal(np.sort(held), np.flatnonzero(np.isin(y, several)))
    for train, test in folds:
        assert_array_equal(np.sort(np.append(train, test)), np.arange(len(y)))
        for label, count in zip("abc", counts, strict=True):
            assert label in y[train]
            if count > 1:
                assert np.sum(y[test] == label) in (count // n_folds, -(-count // n_folds))


def test_the_seed_decides_who_is_in_which_fold():
    y = np.arange(60) % 3
    same, again, other = ([t.tolist() for _, t in stratified_folds(y, seed)] for seed in (0, 0, 1))
    assert same == again != other


def test_without_a_class_of_two_rows_there_are_no_folds():
    assert stratified_folds(np.arange(4), 0) == []


class Told:
    """A classifier that has the labels' probabilities from a table, and says what it was fitted with."""

    def __init__(self, classes, log_p, fitted):
        self.classes_, self.log_p, self.fitted = classes, log_p, fitted
        self.net_ = type("Net", (), {"stop_": "max_epochs"})()

    def fit(self, X, y, w):
        self.fitted.append((X[:, 0], y, w))

    def predict_log_proba(self, X):
        return self.log_p[X[:, 0]]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_the_score_is_the_weighted_accuracy_and_log_loss_of_the_held_out_rows(weighted, seed):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(["a", "b", "c"], [8, 6, 1]))
    w = rng.random(15) * 3 if weighted else None
    log_p = np.log(rng.dirichlet(np.ones(3), 15))
    folds, fitted = stratified_folds(y, 0), []
    fits = [Told(np.array(["a", "b", "c"]), log_p, fitted) for _ in folds]
    minus_accuracy, loss = held_out_score(fits, folds, np.arange(15)[:, None], y, w)
    held = np.flatnonzero(y != "c")
    weight = None if w is None else w[held]
    labels = np.array(["a", "b", "c"])
    assert_allclose(
        -minus_accuracy, accuracy_score(y[held], labels[log_p[held].argmax(1)], sample_weight=weight)
    )
    assert_allclose(loss, log_loss(y[held], np.exp(log_p[held]), labels=labels, sample_weight=weight))
    for (index, label, weight), (train, _) in zip(fitted, folds, strict=True):
        assert_array_equal(index, train)
        assert_array_equal(label, y[train])
        assert weight is None if w is None else np.array_equal(weight, w[train])


# --- what is fitted to which rows ---------------------------------------------------------------------


def fold_fits(log):
    """What the folds were fitted with, gm's and kde's; the first of the log is the classifier itself."""
    assert [type(v[0].density).__name__ for v in log[1:]] == ["str"] * 5 + ["KDE"] * 5
    return log[1:6], log[6:]


def test_the_choice_is_the_better_of_both_in_a_cross_validation_of_our_own(log):
    X, y = numbered(90)
    w = np.random.default_rng(1).random(90) + 0.2
    params = {"hidden": (16,), "max_epochs": 8, "lr": 0.02, "gamma": 0.9, "n_cv": 1}
    for seed in range(3):
        log.clear()
        clf = Spy(density="cv", random_state=seed, **params).fit(X, y, w)
        scores = []
        for fits in fold_fits(log):
            right, loss = [], []
            for inner, X_train, y_train, w_train in fits:
                train = X_train[:, 0].astype(int)
                assert_array_equal(y_train, y[train])
                assert_allclose(w_train / w_train.sum(), w[train] / w[train].sum())
                test = np.setdiff1d(np.arange(90), train)
                density = "kde" if inner.density != "gm" else "gm"
                again = GenLabelClassifier(density=density, random_state=inner.random_state, **params)
                p = again.fit(X[train], y[train], w[train]).predict_proba(X[test])
                assert_allclose(p, inner.predict_proba(X[test]), atol=1e-6)
                right.append(w[test] @ (p.argmax(1) == y[test]))
                loss.append(log_loss(y[test], p, sample_weight=w[test], normalize=False))
            scores.append((-sum(right), sum(loss)))
        assert clf.density_choice_ == ("gm" if scores[0] < scores[1] else "kde")


def test_kernels_are_chosen_where_a_gaussian_does_not_fit():
    rng = np.random.default_rng(0)
    X = (np.arange(120) % 4)[:, None] + 0.1 * rng.normal(size=(120, 1))  # four heaps, in turn of either class
    y = np.arange(120) % 2
    params = {"module": "mlp", "hidden": (32,), "max_epochs": 30, "gamma": 1.0, "lr": 0.01, "alpha": 0.2}
    params["batch_size"] = 32
    for seed in range(2):
        clf = GenLabelClassifier(density="cv", random_state=seed, **params).fit(X, y)
        assert clf.density_choice_ == "kde"
        assert clf.score(X, y) > 0.8


def test_gaussians_are_chosen_where_the_classes_are_gaussian_and_kernels_fit_their_noise():
    rng = np.random.default_rng(2)
    y = np.arange(300) % 2
    X = rng.normal(size=(300, 6)) + 0.6 * y[:, None]
    params = {"module": "mlp", "hidden": (32,), "max_epochs": 80, "gamma": 1.0, "lr": 0.01}
    assert GenLabelClassifier(density="cv", random_state=3, **params).fit(X, y).density_choice_ == "gm"


def test_the_fit_is_that_with_the_chosen_density_on_all_rows(log):
    X, y = numbered()
    clf = Spy(density="cv", **SMALL).fit(X, y)
    named = GenLabelClassifier(density=clf.density_choice_, **SMALL).fit(X, y)
    assert_array_equal(clf.predict_proba(X), named.predict_proba(X))
    assert_array_equal(clf.density_.class_counts_, [20, 20, 20])
    assert len(log) == 11
    for fits in fold_fits(log):
        assert all(len(rows) == 48 for _, rows, _, _ in fits)


def test_both_candidates_are_tried_on_the_same_folds_with_the_same_seeds(log):
    Spy(density="cv", **SMALL).fit(*numbered())
    gm, kde = fold_fits(log)
    seeds = [inner.random_state for inner, *_ in gm]
    assert seeds == [inner.random_state for inner, *_ in kde]
    assert len(set(seeds)) == 5
    for one, other in zip(gm, kde, strict=True):
        assert_array_equal(one[1], other[1])


def test_rows_held_out_to_stop_early_have_no_part_in_the_choice(log):
    X, y = numbered(90)
    params = {"early_stopping": True, "validation_fraction": 0.3, **SMALL}
    clf = Spy(density="cv", **params).fit(X, y)
    train, valid = (set(part.tolist()) for part in split_of(clf, X, y))
    assert len(valid) == 27
    for fits in fold_fits(log):
        assert set.union(*(ids(rows) for _, rows, _, _ in fits)) == train
        assert all(inner.early_stopping is True for inner, *_ in fits)
        assert all(inner.history_["valid_loss"].notna().all() for inner, *_ in fits)


def split_of(clf, X, y):
    """The rows that the classifier trains on and those by which it stops, from its seed."""
    again = clone(clf).set_params(density="gm")
    train, valid, _ = again._prepare(X, y)
    return train.index, valid.index


def test_validation_rows_of_the_users_own_have_no_part_in_the_choice(log):
    X, y = numbered()
    X_val, y_val = numbered(30, seed=1)
    X_val[:, 0] += 1000
    clf = Spy(density="cv", **SMALL).fit(X, y, X_val=X_val, y_val=y_val)
    for fits in fold_fits(log):
        assert set.union(*(ids(rows) for _, rows, _, _ in fits)) == set(range(60))
        assert all(inner.early_stopping is True for inner, *_ in fits)  # as the last fit stops early
    other = Spy(density="cv", **SMALL).fit(X, y, X_val=X_val + 7, y_val=y_val[::-1])
    for a, b in zip(log[1:11], log[12:], strict=True):
        assert_array_equal(a[0].predict_proba(X), b[0].predict_proba(X))
    assert other.density_choice_ == clf.density_choice_


@pytest.mark.parametrize("early_stopping", [False, "auto"])
def test_folds_stop_early_only_if_the_last_fit_does(log, early_stopping):
    Spy(density="cv", early_stopping=early_stopping, **SMALL).fit(*numbered())
    for fits in fold_fits(log):
        assert all("valid_loss" not in inner.history_ for inner, *_ in fits)


def test_early_stopping_with_folds_that_can_spare_no_row():
    X, y = numbered(4)  # two rows of one class: a fold trains on one of each
    params = {"early_stopping": True, **SMALL}
    fit = {"X_val": X, "y_val": y}
    clf = GenLabelClassifier(density="cv", **params)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert clf.fit(X, y, **fit).density_choice_ in ("gm", "kde")


def test_rows_of_weight_zero_are_in_no_fold(log):
    X, y = numbered()
    w = np.tile([1.0, 0.0, 2.0], 20)
    Spy(density="cv", **SMALL).fit(X, y, w)
    for fits in fold_fits(log):
        assert set.union(*(ids(rows) for _, rows, _, _ in fits)) == set(np.flatnonzero(w).tolist())


def test_the_folds_take_one_member_no_output_and_their_share_of_the_time(log, capsys):
    params = {"verbose": 1, "callbacks__print_log__floatfmt": ".2f", "warm_start": True, "time_limit": 60.0}
    clf = Spy(density="cv", n_members=2, **params, **SMALL).fit(*numbered())
    for inner, *_ in log[1:]:
        assert (inner.n_members, inner.verbose, inner.warm_start) == (1, 0, False)
        assert inner.time_limit == 60 / 11
    assert len(capsys.readouterr().out.strip().splitlines()) == 2 + SMALL["max_epochs"]  # one table
    assert clf.predict_proba_members(numbered()[0]).shape == (2, 60, 3)
    assert 50 < clf.net_.plan.time_limit < 60


def test_the_whole_takes_no_longer_than_the_time_limit(log):
    clf = Spy(density="cv", **{**SMALL, "max_epochs": 10**6}, time_limit=1.1).fit(*numbered())
    assert sum(inner.history_["dur"].sum() for inner, *_ in log[1:]) < 1.1
    assert clf.net_.plan.time_limit < 1.1
    assert all(inner.net_.stop_ == "time_limit" for inner, *_ in log)


def test_parameters_of_the_network_and_the_users_callbacks_are_the_same_in_the_folds(log):
    class Note(Callback):
        def __deepcopy__(self, memo):
            return self

        def on_train_begin(self, net, **kwargs):
            lrs.append((net.lr, net.optimizer_.param_groups[0]["momentum"], net.module_.stages[0].norm))

    lrs = []
    params = {"optimizer": "sgd", "optimizer__momentum": 0.5, "module__norm": "layer", "lr": 0.02}
    Spy(density="cv", gamma=0.5, module="mlp", callbacks=[Note()], **params, **SMALL).fit(*numbered())
    assert len(lrs) == 11
    assert {(lr, momentum) for lr, momentum, _ in lrs} == {(0.02, 0.5)}
    assert all(isinstance(norm, torch.nn.Module) for *_, norm in lrs)


def table_of_all_kinds():
    X, y = load_iris(return_X_y=True, as_frame=True)
    X["kind"] = pd.cut(X.iloc[:, 0], 3, labels=["a", "b", "c"]).astype(str)
    X.loc[::7, "kind"] = None
    X.iloc[::5, 1] = np.nan
    return X[::2], np.array(["one", "two", "three"])[y][::2]


class ArrayLike:
    """What numpy makes an array of, and no more."""

    def __init__(self, X):
        self.X = np.asarray(X)
        self.shape = self.X.shape

    def __array__(self, dtype=None, copy=None):
        return self.X.astype(dtype)


@pytest.mark.parametrize("kind", ["frame", "list", "sparse", "array-like"])
def test_any_table_and_labels_can_be_divided(kind):
    X, y = table_of_all_kinds()
    if kind != "frame":
        X = np.nan_to_num(X.iloc[:, :4].to_numpy())
        X, y = {
            "list": (X.tolist(), y.tolist()),
            "sparse": (csc_matrix(X), y),
            "array-like": (ArrayLike(X), y),
        }[kind]
    clf = GenLabelClassifier(density="cv", **SMALL).fit(X, y)
    assert clf.density_choice_ in ("gm", "kde")
    assert clf.classes_.tolist() == ["one", "three", "two"]
    assert np.isfinite(clf.predict_proba(X)).all()


def test_ties_of_both_scores_go_to_gaussians():
    clf = GenLabelClassifier(density="cv", gamma=0, **SMALL).fit(*numbered())
    assert clf.density_choice_ == "gm"


def test_a_table_that_can_spare_no_row_gets_gaussians_with_a_warning():
    X = np.array([[0.0, 1], [2, 0], [4, 4]])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clf = GenLabelClassifier(density="cv", **SMALL).fit(X, [0, 1, 2])
    assert sum("no class has two training rows" in str(one.message) for one in caught) == 1
    assert clf.density_choice_ == "gm"


def test_what_the_folds_warn_of_is_said_once_and_of_all_rows():
    X, y = numbered(30)
    rng = np.random.default_rng(0)
    wide = np.column_stack([X, rng.normal(size=(30, 9))])  # 12 columns for 10 rows a class
    with pytest.warns(UserWarning, match="covariance='auto'") as caught:
        GenLabelClassifier(density="cv", **SMALL).fit(wide, y)
    assert len(caught) == 1


def test_the_same_seed_gives_the_same_choice_and_no_global_generator_is_touched():
    X, y = numbered()
    np.random.seed(3)
    torch.manual_seed(3)
    before = np.random.get_state()[1].tolist(), torch.get_rng_state()
    clfs = [GenLabelClassifier(density="cv", **SMALL).fit(X, y) for _ in range(2)]
    GenLabelClassifier(density="cv", **{**SMALL, "random_state": None}).fit(X, y)
    assert np.random.get_state()[1].tolist() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert_array_equal(clfs[0].predict_proba(X), clfs[1].predict_proba(X))
    assert clfs[0].density_choice_ == clfs[1].density_choice_


def test_a_warm_start_keeps_the_choice_and_a_new_fit_does_not(log):
    X, y = numbered()
    clf = Spy(density="cv", warm_start=True, time_limit=60.0, **SMALL).fit(X, y)
    choice = clf.density_choice_ = "kde"  # whatever it was
    p = clf.predict_proba(X)
    log.clear()
    clf.fit(X[:20], y[:20])
    assert len(log) == 1
    assert clf.density_choice_ == choice
    assert isinstance(clf.density_.numeric_, KDE)
    assert 59 < clf.net_.plan.time_limit <= 60
    assert np.abs(clf.predict_proba(X) - p).max() > 0
    clf.set_params(warm_start=False).fit(X, y)
    assert len(log) == 12


def test_a_warm_start_from_another_density_chooses_first():
    X, y = numbered()
    clf = GenLabelClassifier(density="nn", warm_start=True, **SMALL).fit(X, y)
    assert not hasattr(clf, "density_choice_")
    clf.set_params(density="cv").fit(X[:30], y[:30])
    assert clf.density_choice_ in ("gm", "kde")
    clf.set_params(density="nn").fit(X, y)
    assert not hasattr(clf, "density_choice_")


@pytest.mark.parametrize("choice", ["gm", "kde"])
@pytest.mark.parametrize("latent", [False, True])
def test_a_pickle_knows_the_choice(choice, latent, monkeypatch):
    monkeypatch.setattr(GenLabelClassifier, "_cross_validated", lambda *arguments, **named: choice)
    X, y = numbered()
    place = {**LATENT, "hidden": (3,)} if latent else {}
    clf = GenLabelClassifier(density="cv", **{**SMALL, **place}).fit(X, y)
    again = pickle.loads(pickle.dumps(clf))
    assert again.density == "cv"
    assert again.density_choice_ == choice
    assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
    assert isinstance(again.density_.numeric_, {"gm": GM, "kde": KDE}[choice])
    again.set_params(density="gm", max_density_rows=20_000)  # the parameters of the next fit
    third = pickle.loads(pickle.dumps(again))
    assert_array_equal(third.predict_proba(X), clf.predict_proba(X))
    assert not hasattr(clone(clf), "density_choice_")
    with pytest.raises(NotFittedError):
        clone(clf).predict(X)


def test_a_choice_in_latent_space_tries_the_latent_method(log):
    X, y = numbered()
    place = {**LATENT, "hidden": (3,)}
    clf = Spy(density="cv", **{**SMALL, **place}).fit(X, y)
    for inner, *_ in log[1:]:
        assert isinstance(inner._label(), LatentGenLabel)
        assert inner.history_["phase"].nunique() == 2
    named = GenLabelClassifier(density=clf.density_choice_, **{**SMALL, **place}).fit(X, y)
    assert_array_equal(clf.predict_proba(X), named.predict_proba(X))


def test_a_search_over_densities_finds_cross_validation_among_them():
    grid = {"density": ["gm", "cv", "nn-label", KDE(bandwidth=0.3)]}
    search = GridSearchCV(GenLabelClassifier(**SMALL), grid, cv=2, error_score="raise").fit(*numbered())
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


class Interrupt(Callback):
    """The user presses Ctrl-C in the third fit."""

    def __init__(self):
        self.fits = 0

    def __deepcopy__(self, memo):
        return self

    def on_train_begin(self, net, **kwargs):
        self.fits += 1

    def on_epoch_begin(self, net, **kwargs):
        if self.fits == 3:
            raise KeyboardInterrupt


def test_an_interrupted_fold_ends_the_fit_and_nothing_is_lost():
    X, y = numbered()
    clf = GenLabelClassifier(density="nn", **SMALL).fit(X, y)
    before, p = dict(vars(clf)), clf.predict_proba(X)
    callback = Interrupt()
    with pytest.raises(KeyboardInterrupt):
        clf.set_params(density="cv", callbacks=[callback]).fit(X, y)
    assert callback.fits == 3
    clf.set_params(density="nn", callbacks=None)
    assert vars(clf).keys() == before.keys()
    assert_array_equal(clf.predict_proba(X), p)


# --- the hard label of the nearest row ----------------------------------------------------------------


def rows_and_step(seed=0, n=30):
    X, y = numbered(n, seed)
    X = StandardScaler().fit_transform(X)
    rng = np.random.default_rng(seed)
    perm, lam = rng.permutation(n), rng.random(n)
    x = lam[:, None] * X + (1 - lam[:, None]) * X[perm]
    target = (
        torch.tensor(np.eye(3)[y])[None],
        *(torch.tensor(v)[None] for v in (perm, lam, lam)),
        {0: torch.tensor(x)[None]},
        State(torch.ones(3)),
    )
    return Rows(torch.tensor(X), torch.tensor(y), None, 3, Layout.of_numbers(3)), target, X, y, x, perm, lam


@pytest.mark.parametrize("seed", range(3))
def test_nn_label_by_name_is_the_nearest_training_rows_label(seed):
    rows, target, X, y, x, _, _ = rows_and_step(seed)
    label = GenLabel("nn-label")
    label.bind(rows)
    t, _ = label(*target)
    assert_array_equal(t[0], np.eye(3)[KNeighborsClassifier(1).fit(X, y).predict(x)])


def test_nn_label_as_an_object_is_weighed_by_gamma_like_any_density():
    rows, target, X, y, x, perm, lam = rows_and_step()
    label = GenLabel(NNLabel(), gamma=0.3)
    label.bind(rows)
    linear = lam[:, None] * np.eye(3)[y] + (1 - lam[:, None]) * np.eye(3)[y[perm]]
    nearest = np.eye(3)[KNeighborsClassifier(1).fit(X, y).predict(x)]
    assert_allclose(label(*target)[0][0], 0.3 * nearest + 0.7 * linear, atol=1e-12)


def test_the_classifiers_nn_label_is_the_rules_and_an_object_with_gamma_one():
    X, y = numbered()
    p = [
        clf.set_params(**SMALL).fit(X, y).predict_proba(X)
        for clf in (
            GenLabelClassifier(density="nn-label"),
            MixupClassifier(label=GenLabel("nn-label")),
            GenLabelClassifier(density=NNLabel(), gamma=1.0),
            GenLabelClassifier(density=NNLabel()),
        )
    ]
    assert_array_equal(p[0], p[1])
    assert_array_equal(p[0], p[2])
    assert np.abs(p[0] - p[3]).max() > 1e-3


def test_nn_label_of_features_is_hard_too():
    X, y = numbered()
    p = [
        GenLabelClassifier(density=density, **gamma, lr=0.03, **LATENT, **SMALL).fit(X, y).predict_proba(X)
        for density, gamma in (("nn-label", {}), (NNLabel(), {"gamma": 1.0}), (NNLabel(), {}))
    ]
    assert_array_equal(p[0], p[1])
    assert np.abs(p[0] - p[2]).max() > 1e-3


# --- the limit on rows --------------------------------------------------------------------------------


@pytest.mark.parametrize("density", ["kde", "nn", "nn-label"])
@pytest.mark.parametrize("latent", [False, True])
def test_a_density_by_name_keeps_at_most_so_many_rows(density, latent):
    X, y = numbered()
    place = {**LATENT, "hidden": (3,)} if latent else {}
    params = {**SMALL, **place}
    with pytest.warns(UserWarning, match=r"30 of 60 rows are kept.*max_density_rows=30"):
        clf = GenLabelClassifier(density=density, max_density_rows=30, **params).fit(X, y)
    assert_array_equal(clf.density_.numeric_.row_counts_, [10, 10, 10])
    whole = GenLabelClassifier(density=density, **params).fit(X, y)
    assert_array_equal(whole.density_.numeric_.row_counts_, [20, 20, 20])


def test_cross_validation_keeps_to_the_limit_in_its_folds_and_after(log, monkeypatch):
    X, y = make_moons(90, noise=0.1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clf = Spy(density="cv", max_density_rows=30, gamma=1.0, **SMALL).fit(X, y)
    kde = [inner for inner, *_ in log[1:] if inner.density != "gm"]
    assert all(inner.density.max_density_rows == 30 for inner in kde)
    assert all(inner.density_.numeric_.row_counts_.sum() == 30 for inner in kde)
    monkeypatch.setattr(Spy, "_cross_validated", lambda *arguments, **named: "kde")
    with pytest.warns(UserWarning, match="30 of 90 rows are kept"):
        assert clf.fit(X, y).density_.numeric_.row_counts_.sum() == 30


def test_the_default_is_that_of_the_densities():
    default = GenLabelClassifier().max_density_rows
    assert all(density.max_density_rows == default for density in (KDE(), NN(), NNLabel()))


# --- what cannot be used ------------------------------------------------------------------------------

BAD = [
    ({"density": "best"}, "The 'density' parameter of GenLabelClassifier must be a str among"),
    ({"density": KDE}, "density=KDE is a class: pass an object, density=KDE()"),
    ({"density": "kde", "max_density_rows": 0}, "The 'max_density_rows' parameter of GenLabelClassifier"),
    ({"density": "kde", "max_density_rows": 2.5}, "The 'max_density_rows' parameter of GenLabelClassifier"),
    ({"density": "kde", "max_density_rows": True}, "max_density_rows must not be a bool"),
    ({"density": "kde", "max_density_rows": None}, "The 'max_density_rows' parameter of GenLabelClassifier"),
    (
        {"density": "gm", "max_density_rows": 100},
        "max_density_rows=100 has no effect with density='gm', which keeps no rows",
    ),
    (
        {"density": KDE(), "max_density_rows": 9},
        "max_density_rows=9 has no effect with a density that is an object",
    ),
    (
        {"max_density_rows": 100, **ONLINE},
        "max_density_rows=100 has no effect with density_schedule='online'",
    ),
    ({"density": "cv", **ONLINE}, "density='cv' has no effect with density_schedule='online'"),
    ({"density": "nn-label", "gamma": 1.0}, "gamma=1.0 has no effect with density='nn-label'"),
    ({"density": "nn-label", "gamma": 0}, "gamma=0 has no effect with density='nn-label'"),
    ({"density": "nn-label", "top_k": 2}, "top_k=2 has no effect with density='nn-label'"),
    (
        {"density": "nn-label", "class_prior": "uniform"},
        "class_prior='uniform' has no effect with density='nn-l",
    ),
    ({"density": "cv", "mix_prob": 0}, "density='cv' has no effect with mix_prob=0"),
    ({"density": "kde", "max_density_rows": 50, "mix_off": 1}, "has no effect with mix_off=1"),
    ({"density": "cv", "mix": None}, "mixes none"),
    ({"density": "cv", "mix_at": "any"}, "cannot lie below the site that is mixed"),
    ({"density": "cv", "max_epochs": 1, **LATENT}, "max_epochs=1 leaves no epoch"),
    ({"density": "cv", "module__nrm": 1}, "module__nrm has no effect"),
]


@pytest.mark.parametrize(("params", "words"), BAD)
def test_what_cannot_be_used_is_refused_and_nothing_is_lost(params, words):
    X, y = numbered()
    clf = GenLabelClassifier(**SMALL).fit(X, y)
    p = clf.predict_proba(X)
    clf.set_params(**params)
    before = dict(vars(clf))
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the words are compared
        clf.fit(X, y)
    assert words in str(raised.value)
    assert vars(clf) == before
    assert_array_equal(clf.predict_proba(X), p)


def test_bad_rows_cost_no_choice_that_was_made():
    X, y = numbered()
    clf = GenLabelClassifier(density="cv", **SMALL).fit(X, y)
    choice, p = clf.density_choice_, clf.predict_proba(X)
    for bad_x, bad_y in ((X, y + 0.5), (np.where(X == X[3, 1], np.inf, X), y), (X[:5], y), (X, np.zeros(60))):
        with pytest.raises(ValueError):  # noqa: PT011 - any of the messages
            clf.fit(bad_x, bad_y)
    assert clf.density_choice_ == choice
    assert_array_equal(clf.predict_proba(X), p)


def test_partial_fit_cannot_choose_and_says_so_in_the_first_call_already():
    X, y = numbered()
    with pytest.raises(ValueError, match="density='cv' chooses by cross-validation over all rows") as raised:
        GenLabelClassifier(density="cv").partial_fit(X, y, classes=[0, 1, 2])
    assert "Use fit, or density='gm'" in str(raised.value)


def test_a_choice_by_name_has_no_parameters_to_set():
    with pytest.raises(ValueError, match="density__bandwidth has no effect: density='cv' has no parameters"):
        GenLabelClassifier(density="cv").set_params(density__bandwidth=0.3)
    clf = GenLabelClassifier(density="cv").set_params(density="kde", density__bandwidth=0.3)
    assert clf.density.bandwidth == 0.3


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"gamma": 0.7}, "gamma=0.7 has no effect with density='nn-label'"),
        ({"gamma": torch.tensor([0.5])}, "has no effect with density='nn-label'"),
        ({"top_k": 3}, "top_k=3 has no effect"),
        ({"class_prior": "uniform"}, "use density=NNLabel()"),
    ],
)
@pytest.mark.parametrize("cls", [GenLabel, LatentGenLabel])
def test_the_rule_refuses_what_a_hard_label_has_no_use_for(cls, params, words):
    label = cls(density="nn-label", **params)
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the words are compared
        label.check()
    assert words in str(raised.value)
    cls(density=NNLabel(), **params).check()
    cls(density="nn-label", gamma=1).check()  # which it is


def test_only_the_network_chooses_its_density():
    with pytest.raises(ValueError, match="The 'density' parameter of GenerativeClassifier must be"):
        GenerativeClassifier(density="cv").fit(*numbered())
    for cls, there in ((GenerativeClassifier, False), (GenLabelClassifier, True)):
        text = cls.__doc__.split("density : ")[1].split("\n")[0]
        assert ('"cv"' in text) is there
        assert all(f'"{name}"' in text for name in ("gm", "kde", "nn", "nn-label"))
