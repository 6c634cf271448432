"""Targets are written down as the rules give them, and nobody notices."""

import pickle
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.stats import multivariate_normal
from sklearn.datasets import load_iris

from mixsk import AMPClassifier, GenLabelClassifier, LaMixClassifier, MixupClassifier
from mixsk.backbones import Staged
from mixsk.densities import GM
from mixsk.plots import SoftTargets, SoftTargetsDisplay
from mixsk.rules import LaMix

MLP = {"module": "mlp", "hidden": (6,), "max_epochs": 4, "batch_size": 32, "encoder": "passthrough"}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return X - X.mean(0), y


@pytest.fixture(scope="module")
def lamix(iris):
    return LaMixClassifier(callbacks=[SoftTargets(n_rows=1000)], random_state=0, **MLP).fit(*iris)


def written(clf):
    (callback,) = [one for _, one in clf.net_.callbacks_ if isinstance(one, SoftTargets)]
    return callback


def softmax(scores):
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def in_order(targets):
    return targets[np.lexsort(targets.T.round(4))]


def lamix_label(clf, X):
    """p of Eq. 9 for rows as they reach the network, from the fitted weights."""
    w1, b1 = (v.double().numpy()[0] for v in list(clf.net_.module_.state_dict().values())[:2])
    w, b = (v.double().numpy()[0] for v in clf.net_.criterion_.aux.state_dict().values())
    scores = np.maximum(X @ w1 + b1, 0) @ (w if w.shape[0] == 6 else w.T) + b
    return softmax(1 / (1 + np.exp(-scores)))


# --- what is written down -----------------------------------------------------------------------------


def test_lamix_targets_of_rows_as_they_are_follow_the_second_head(lamix, iris):
    X, y = iris
    callback = written(lamix)
    assert callback.epochs_ == [1, 2, 3, 4]
    expected = (np.eye(3)[y] + lamix_label(lamix, X)) / 2
    assert_allclose(in_order(callback.clean_[-1]), in_order(expected), atol=1e-4)
    assert np.abs(callback.clean_[0] - callback.clean_[-1]).max() > 1e-3


def test_lamix_targets_of_mixed_rows_are_half_of_both_labels_and_half_of_the_head(lamix, iris):
    X, y = iris
    callback = written(lamix)
    index, draw = callback._batch
    partner, lam = index[draw.perm[0].numpy()], draw.lam[0].double().numpy()[:, None]
    assert sorted(index) == sorted(partner) == list(range(150))
    assert len(np.unique(lam)) > 100  # each pair has its own, from U(0, 1)
    assert 0.4 < lam.mean() < 0.6
    p = lamix_label(lamix, (X[index] + X[partner]) / 2)
    local = lam * np.eye(3)[y[index]] + (1 - lam) * np.eye(3)[y[partner]]
    assert_allclose(callback.global_[-1], p, atol=1e-5)
    assert_allclose(callback.mixed_[-1], (local + p) / 2, atol=1e-5)


def test_genlabel_targets_are_the_posterior_of_the_density(iris):
    X, y = iris
    clf = GenLabelClassifier(
        gamma=0.7, mix="linear", callbacks=[SoftTargets(n_rows=1000)], random_state=0, calibrate=False, **MLP
    ).fit(X, y)
    callback = written(clf)
    index, draw = callback._batch
    partner, lam = index[draw.perm[0].numpy()], draw.lam[0].double().numpy()[:, None]
    rows = (lam * X[index] + (1 - lam) * X[partner]).astype(np.float32)
    ridge = GM().reg_covar
    log_p = [
        multivariate_normal(X[y == c].mean(0), np.cov(X[y == c].T, bias=True) + ridge * np.eye(4)).logpdf(
            rows
        )
        for c in range(3)
    ]
    p = softmax(np.stack(log_p, axis=-1))  # classes of 50 rows each
    local = lam * np.eye(3)[y[index]] + (1 - lam) * np.eye(3)[y[partner]]
    assert_allclose(callback.global_[-1], p, atol=1e-3)
    assert_allclose(callback.mixed_[0], 0.7 * p + 0.3 * local, atol=1e-3)
    assert_allclose(callback.clean_[-1], np.eye(3)[y[index]], atol=1e-6)


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (GenLabelClassifier, {"density_at": "last", "density_schedule": "online"}),
        (GenLabelClassifier, {"n_cv": 2, "n_members": 2}),
        (LaMixClassifier, {"n_cv": 2, "class_weight": "balanced"}),
        (LaMixClassifier, {"mix": "columns"}),
        (MixupClassifier, {"label": LaMix(), "mix_at": "any", "mix": "linear"}),
    ],
)
def test_targets_of_every_recipe_are_labels_and_the_rows_are_the_same_in_each_epoch(iris, cls, params):
    clf = cls(**{**MLP, "callbacks": [SoftTargets(n_rows=20, random_state=3)], "random_state": 0, **params})
    callback = written(clf.fit(*iris))
    n_models = params.get("n_cv", 1) * params.get("n_members", 1)
    for name in ("mixed_", "clean_", "global_"):
        targets = np.stack(getattr(callback, name))
        assert targets.shape == (4, 20 * n_models, 3)
        assert_allclose(targets.sum(-1), 1, atol=1e-5)
        assert (targets >= 0).all()
    assert len(callback._batch[0]) == len(set(callback._batch[0])) == 20


def test_epochs_that_train_on_rows_as_they_are_are_left_out(iris):
    clf = GenLabelClassifier(
        density_at="last", density_schedule="warmup", warmup=0.5, callbacks=[SoftTargets(10)], **MLP
    ).fit(*iris)
    assert written(clf).epochs_ == [3, 4]


def test_texts_and_images_are_followed_too():
    texts = ["good film", "bad", "a very good story", "a bad bad film", "nice", "so dull a thing"] * 5
    y = np.array([1, 0] * 15)
    params = {"module": "textcnn", "module__dimension": 5, "module__n_filters": 3, "max_epochs": 2}
    clf = LaMixClassifier(mix_at="embedding", callbacks=[SoftTargets()], **params).fit(texts, y)
    assert np.stack(written(clf).mixed_).shape == (2, 30, 2)
    X = np.random.default_rng(0).integers(0, 255, (30, 12, 12)).astype(np.uint8)
    clf = LaMixClassifier(module="lenet", mix="cutmix", callbacks=[SoftTargets(8)], max_epochs=2).fit(X, y)
    assert np.stack(written(clf).mixed_).shape == (2, 8, 2)


# --- nobody notices -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (LaMixClassifier, {"dropout": 0.5}),
        (LaMixClassifier, {"n_cv": 2, "early_stopping": True}),
        (GenLabelClassifier, {"density_at": "last", "density_schedule": "online", "dropout": 0.2}),
        (GenLabelClassifier, {"density_at": "last", "density_schedule": "warmup"}),
        (LaMixClassifier, {"module": "resnet18", "module__width": 2, "encoder": "auto", "mix": "puzzle"}),
    ],
)
def test_training_is_the_same_to_the_bit_with_it_and_without(iris, cls, params):
    X, y = iris
    if params.get("module") == "resnet18":
        X, y = np.tile(X[::5, None], (1, 4, 2))[:, :4, :4], y[::5]
        params = {**params, "max_epochs": 2}
        X = X.repeat(2, 1).repeat(2, 2)
    params = {**MLP, "random_state": 0, **params}
    if "resnet" in params["module"]:
        params.pop("hidden")
    states = []
    for callbacks in (None, [SoftTargets(n_rows=30)]):
        before = np.random.get_state()[1].copy(), torch.get_rng_state()
        clf = cls(callbacks=callbacks, **params).fit(X, y)
        assert np.array_equal(np.random.get_state()[1], before[0])
        assert torch.equal(torch.get_rng_state(), before[1])
        states.append({**clf.net_.module_.state_dict(), **clf.net_.criterion_.aux.state_dict()})
    assert len(written(clf).epochs_) > 0
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


# --- the picture --------------------------------------------------------------------------------------


def test_curves_are_the_means_of_the_largest_entries():
    targets = np.random.default_rng(0).dirichlet(np.ones(4), (3, 50))
    display = SoftTargetsDisplay([2, 3, 5], targets).plot(n_largest=3, spread=(0, 1))
    for k, (line, band) in enumerate(zip(display.lines_, display.bands_, strict=True)):
        each = [[sorted(row)[-1 - k] for row in of_epoch] for of_epoch in targets]
        assert_allclose(line.get_xydata().T, [[2, 3, 5], np.mean(each, axis=1)])
        assert_allclose(band.get_paths()[0].vertices[:, 1].max(), np.max(each))
    assert [text.get_text() for text in display.legend_.get_texts()] == ["largest", "second", "third"]
    assert display.ax_.get_ylabel() == "mean target of mixed rows\n(bands: 0 to 100 %)"
    assert display.mesh_ is None


def test_the_distribution_counts_all_entries_with_the_first_epoch_at_the_top():
    targets = np.random.default_rng(0).dirichlet(np.ones(4), (3, 50))
    display = SoftTargetsDisplay([1, 2, 3], targets, "global").plot(style="distribution", n_bins=5)
    width = targets.max() / 5
    for shares, of_epoch in zip(display.mesh_.get_array(), targets, strict=True):
        bins = np.minimum(of_epoch.ravel() // width, 4).astype(int)
        assert_allclose(shares, [(bins == k).sum() / 200 for k in range(5)])
    assert display.ax_.yaxis_inverted()
    assert display.ax_.get_xlabel() == "global label of mixed rows"
    assert display.lines_ == display.bands_ == []


def test_an_estimator_shows_what_its_own_callback_wrote(lamix):
    _, ax = plt.subplots()
    display = SoftTargetsDisplay.from_estimator(lamix, what="clean", ax=ax, n_largest=1)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert_allclose(
        display.lines_[0].get_ydata(), [t.max(axis=1).mean() for t in written(lamix).clean_], rtol=1e-6
    )
    again = SoftTargetsDisplay.from_callback(written(lamix))
    assert_allclose(again.targets, written(lamix).mixed_)


# --- errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"what": "all"}, r"what must be one of \('mixed', 'clean', 'global'\). Got 'all'"),
        ({"style": "bars"}, r"style must be one of \('curves', 'distribution'\). Got 'bars'"),
        ({"n_largest": 4}, "n_largest must be an int >= 1 and <= 3, the number of classes. Got 4"),
        ({"n_bins": 0}, "n_bins must be an int >= 1. Got 0"),
        ({"spread": 0.5}, "spread must be two quantiles"),
    ],
)
def test_what_cannot_be_drawn_is_an_error_that_says_so(lamix, params, words):
    with pytest.raises(ValueError, match=words):
        SoftTargetsDisplay.from_estimator(lamix, **params)
    assert plt.get_fignums() == []


def test_without_a_callback_that_wrote_something_nothing_is_drawn(lamix, iris):
    for clf in (LaMixClassifier(), MixupClassifier(**MLP).fit(*iris), pickle.loads(pickle.dumps(lamix))):
        with pytest.raises(ValueError, match=r"has none that did: fit it with callbacks=\[SoftTargets\(\)\]"):
            SoftTargetsDisplay.from_estimator(clf)
    with pytest.raises(ValueError, match="has seen no epoch with mixed rows"):
        SoftTargetsDisplay.from_callback(SoftTargets())


@pytest.mark.parametrize(
    ("clf", "words"),
    [
        (MixupClassifier(mix="linear"), "label=LinearLabel.* has none of this kind"),
        (MixupClassifier(mix=None), "mix=None has no targets of this kind"),
        (AMPClassifier(mix="linear"), "Use it with LaMixClassifier"),
        (
            LaMixClassifier(callbacks=[SoftTargets(n_rows=0)]),
            "SoftTargets: n_rows must be an int >= 1. Got 0",
        ),
    ],
)
def test_labels_that_never_change_are_refused_before_training(iris, clf, words):
    clf.set_params(module="mlp", max_epochs=1, callbacks=clf.callbacks or [SoftTargets()])
    with pytest.raises(ValueError, match=words):
        clf.fit(*iris)


def test_without_matplotlib_the_error_names_the_extra_and_targets_are_written_all_the_same(iris, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    clf = LaMixClassifier(callbacks=[SoftTargets(5)], **MLP).fit(*iris)
    assert len(written(clf).epochs_) == 4
    with pytest.raises(ImportError, match=r"SoftTargetsDisplay needs matplotlib.*mixsk\[plots\]"):
        SoftTargetsDisplay.from_estimator(clf)


def test_features_that_are_maps_can_be_watched():
    rng = np.random.default_rng(0)
    X, y = rng.integers(256, size=(24, 6, 6), dtype=np.uint8), np.arange(24) % 3
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(32, 3))
    clf = LaMixClassifier(
        module=Staged(network, sites=["0"]), max_epochs=2, callbacks=[SoftTargets()], random_state=0
    ).fit(X, y)
    assert np.isfinite(SoftTargetsDisplay.from_callback(written(clf)).targets).all()
