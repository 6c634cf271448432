"""What a user does with a classifier: fit on data as it comes, watch it, stop it, go on."""

import io
import pickle
from contextlib import nullcontext, redirect_stdout

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from joblib import Parallel, delayed
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_iris, make_classification
from sklearn.feature_selection import SelectKBest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EarlyStopping, EpochScoring
from torch import nn

from mixsk import GenLabelClassifier, MixupClassifier
from mixsk.backbones import Backbone
from mixsk.densities import GM
from mixsk.rules import GenLabel

FAST = {"max_epochs": 3, "hidden": (16,), "random_state": 0, "n_cv": 1}
GAUSSIANS = {"density": "gm", "gamma": 0.5}


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def frame():
    """Numbers, categories, strings, booleans and missing values of each kind."""
    rng = np.random.default_rng(0)
    n = 120
    y = rng.integers(3, size=n)
    table = pd.DataFrame(
        {
            "number": rng.normal(size=n) + y,
            "missing": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
            "integer": pd.array(rng.integers(5, size=n), dtype="Int64"),
            "word": np.array(["red", "green", "blue"])[np.where(rng.random(n) < 0.8, y, 0)],
            "category": pd.Categorical(np.array(["x", "y"])[rng.integers(2, size=n)]),
            "truth": rng.random(n) < 0.5,
        }
    )
    table.loc[3, "integer"] = pd.NA
    table.loc[4, "word"] = None
    return table, np.array(["low", "mid", "high"])[y]


@pytest.mark.parametrize("cls", [MixupClassifier, GenLabelClassifier])
@pytest.mark.parametrize("mix", ["linear", "columns", "half"])
def test_a_data_frame_is_fitted_as_it_comes(cls, mix, frame):
    X, y = frame
    clf = cls(max_epochs=40, mix=mix, random_state=0, n_cv=1).fit(X, y)
    assert clf.classes_.tolist() == ["high", "low", "mid"]
    assert clf.feature_names_in_.tolist() == list(X)
    probabilities = clf.predict_proba(X)
    assert np.isfinite(probabilities).all()
    assert_allclose(probabilities.sum(1), 1)
    assert clf.score(X, y) > 0.7


def test_columns_in_another_order_and_unseen_categories_are_predicted(frame):
    X, y = frame
    clf = MixupClassifier(**FAST).fit(X, y)
    assert_array_equal(clf.predict_proba(X[list(X)[::-1]]), clf.predict_proba(X))
    new = X.head(2).assign(word=["violet", "black"], missing=[pd.NA, 1e6])
    assert np.isfinite(clf.predict_proba(new)).all()


def test_polars_sparse_and_lists_give_what_the_array_gives(iris):
    X, y = iris
    clf = MixupClassifier(**FAST).fit(X, y)
    expected = clf.predict_proba(X)
    assert_allclose(clf.predict_proba(scipy.sparse.csr_array(X)), expected, atol=1e-6)
    assert_allclose(clf.predict_proba(X.tolist()), expected, atol=1e-6)
    polars = pytest.importorskip("polars")
    assert_allclose(
        MixupClassifier(**FAST).fit(polars.DataFrame(X), y).predict_proba(polars.DataFrame(X)), expected
    )


@pytest.mark.parametrize(
    "labels",
    [
        np.array([True, False, True]),
        ["a", "b", "a"],
        [3, 7, 3],
        [-1.0, 1.0, -1.0],
        pd.Categorical(["u", "v", "u"]),
    ],
)
def test_labels_of_any_type_come_back(labels):
    X = np.array([[0.0], [1.0], [0.1]])
    predicted = MixupClassifier(max_epochs=100, lr=0.01, random_state=0).fit(X, labels).predict(X)
    assert list(predicted) == list(labels)


@pytest.mark.parametrize("n_rows", [2, 3, 129, 257])
def test_odd_batches_and_a_batch_of_one_row_work(n_rows):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n_rows, 2)), np.arange(n_rows) % 2
    for params in ({}, {"mix": "columns"}, {"pair": "other_class"}, {"drop_intrusions": True}):
        for batch_size in (1, 128):
            clf = MixupClassifier(
                max_epochs=1, batch_size=batch_size, early_stopping=False, n_cv=1, **params
            ).fit(X, y)
            assert np.isfinite(clf.predict_proba(X)).all()


@pytest.mark.parametrize(
    "params",
    [
        {"mix_at": "any"},
        {"mix_at": [0, 2], "clean_weight": 1},
        {"mix_at": "last", "lam_per": "sample"},
        {"label": "remix"},
        {"label": "logistic", "label_smoothing": 0.1},
        {"label": GenLabel(gamma=1, top_k=2), "label_smoothing": 0.1},
        {"drop_intrusions": True, "label": GenLabel(density=GM(n_components=2))},
        {"mix_prob": 0.5, "mix_off": 0.3},
        {"module": "linear", "clean_weight": 0.5},
        {"dropout": 0.2, "module__norm": "layer", "activation": "silu"},
        {"schedule": "onecycle", "optimizer": "adamw"},
        {
            "schedule": "step",
            "optimizer": "sgd",
            "optimizer__nesterov": True,
            "optimizer__momentum": 0.9,
            "lr": 0.1,
        },
        {"schedule": lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)},
        {"optimizer": torch.optim.NAdam},
        {"dtype": "float64"},
        {"amp": "bf16"},
        {"amp": "fp16"},
        {"class_weight": "balanced"},
        {"encoder": StandardScaler()},
    ],
)
def test_every_parameter_trains(params, iris):
    clf = MixupClassifier(random_state=0, n_cv=1, **{"max_epochs": 80, "lr": 3e-3, **params}).fit(*iris)
    assert clf.score(*iris) > 0.8
    loss = clf.history_["train_loss"]
    assert np.isfinite(loss).all()


def test_gamma_zero_is_mixup(iris):
    genlabel = GenLabelClassifier(gamma=0, **FAST).fit(*iris)
    assert_array_equal(
        genlabel.predict_proba(iris[0]), MixupClassifier(**FAST).fit(*iris).predict_proba(iris[0])
    )


def test_never_mixing_is_plain_training(iris):
    never = MixupClassifier(mix_prob=0, **FAST).fit(*iris)
    plain = MixupClassifier(mix=None, **FAST).fit(*iris)
    assert_allclose(never.predict_proba(iris[0]), plain.predict_proba(iris[0]), atol=1e-6)


def test_early_stopping_restores_the_best_epoch_and_is_on_from_1000_rows():
    X, y = make_classification(1000, 10, flip_y=0.3, random_state=0)
    clf = MixupClassifier(module="mlp", lr=0.03, random_state=0, n_iter_no_change=4).fit(X, y)
    valid = clf.history_["valid_loss"]
    assert clf.n_iter_ < 100
    assert valid.idxmin() == clf.n_iter_ - 5
    assert "valid_loss" not in MixupClassifier(module="mlp", max_epochs=1).fit(X[:999], y[:999]).history_


def test_given_validation_rows_replace_the_split(iris):
    X, y = iris
    clf = MixupClassifier(max_epochs=60, random_state=0, lr=0.01, n_cv=1).fit(
        X[::2], y[::2], X_val=X[1::2], y_val=y[1::2]
    )
    history = clf.history_
    log_loss = -np.log(clf.predict_proba(X[1::2])[np.arange(75), y[1::2]]).mean()
    assert_allclose(history["valid_loss"].min(), log_loss, rtol=1e-4)
    only_watched = MixupClassifier(max_epochs=30, early_stopping=False, random_state=0)
    only_watched.fit(X[::2], y[::2], X_val=X[1::2], y_val=y[1::2])
    assert only_watched.n_iter_ == 30


def test_weights_move_the_decision_and_rows_of_weight_zero_do_not_exist():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 2)), np.arange(90) % 2
    w = np.where(y == 1, 9.0, 1.0)
    heavy = GenLabelClassifier(max_epochs=30, random_state=0).fit(X, y, sample_weight=w)
    assert heavy.predict(X).mean() > 0.8
    w = np.where(X[:, 0] > 0, 2.0, 0.0)
    some = MixupClassifier(**FAST).fit(X, y, sample_weight=w).predict_proba(X)
    without = MixupClassifier(**FAST).fit(X[w > 0], y[w > 0]).predict_proba(X)
    assert_array_equal(some, without)


def test_equal_weights_are_no_weights(iris):
    weighted = MixupClassifier(**FAST).fit(*iris, sample_weight=np.full(150, 7.0))
    assert_array_equal(
        weighted.predict_proba(iris[0]), MixupClassifier(**FAST).fit(*iris).predict_proba(iris[0])
    )


def test_class_weights_equal_the_sample_weights_they_stand_for(iris):
    X, y = iris
    by_class = MixupClassifier(class_weight={0: 2.0, 1: 0.5}, dtype="float64", **FAST).fit(X, y)
    by_row = MixupClassifier(dtype="float64", **FAST).fit(X, y, sample_weight=np.array([2.0, 0.5, 1.0])[y])
    assert_allclose(by_class.predict_proba(X), by_row.predict_proba(X), rtol=1e-9)


def test_first_partial_fit_is_a_fit_of_one_epoch(iris):
    one = GenLabelClassifier(module="mlp", **GAUSSIANS, max_epochs=1, random_state=0).fit(*iris)
    part = GenLabelClassifier(module="mlp", **GAUSSIANS, random_state=0).partial_fit(*iris, classes=[0, 1, 2])
    assert_array_equal(one.predict_proba(iris[0]), part.predict_proba(iris[0]))


def test_partial_fit_learns_chunk_by_chunk(iris):
    X, y = iris
    for cls in (MixupClassifier, GenLabelClassifier):
        clf = cls(random_state=0, lr=0.01)
        rng = np.random.default_rng(0)
        for _ in range(60):
            chunk = rng.choice(150, 50, replace=False)
            clf.partial_fit(X[chunk], y[chunk], classes=[0, 1, 2])
        assert clf.score(X, y) > 0.85
        assert clf.n_iter_ == 60


def test_partial_fit_goes_on_with_the_density_of_all_rows_seen(iris):
    X, y = iris
    clf = GenLabelClassifier(random_state=0, encoder="passthrough")
    for chunk in (slice(0, None, 3), slice(1, None, 3), slice(2, None, 3)):
        clf.partial_fit(X[chunk], y[chunk], classes=[0, 1, 2])
    params = {"encoder": "passthrough", "max_epochs": 1, "n_cv": 1}
    whole = GenLabelClassifier(**GAUSSIANS, **params, random_state=0).fit(X, y)
    z = torch.as_tensor(X[:9], dtype=torch.float32)
    assert_allclose(clf.density_.log_prob(z), whole.density_.log_prob(z), rtol=1e-9)


def test_partial_fit_refuses_a_density_that_cannot_be_updated(iris):
    clf = GenLabelClassifier(density=GM(n_components=2)).partial_fit(*iris, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="n_components=2"):
        clf.partial_fit(*iris)


def test_warm_start_goes_on_from_the_weights(iris):
    clf = MixupClassifier(max_epochs=30, warm_start=True, random_state=0).fit(*iris)
    first = clf.history_["train_loss"].iloc[0]
    clf.fit(*iris)
    assert clf.n_iter_ == 60
    assert clf.history_["train_loss"].iloc[30] < first


def test_the_time_limit_stops_within_an_epoch():
    X, y = make_classification(20_000, 20, random_state=0)
    clf = MixupClassifier(time_limit=0.2, early_stopping=False).fit(X, y)
    assert clf.history_["dur"].sum() < 0.5
    assert np.isfinite(clf.predict_proba(X[:5])).all()


class InterruptAt(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == self.epoch:
            raise KeyboardInterrupt


def test_ctrl_c_leaves_a_usable_model(iris):
    clf = MixupClassifier(callbacks=[InterruptAt(5)], random_state=0)
    with pytest.warns(UserWarning, match="interrupted"):
        clf.fit(*iris)
    assert 4 <= clf.n_iter_ <= 5
    assert np.isfinite(clf.predict_proba(iris[0])).all()


def test_skorch_callbacks_see_epochs_and_batches(iris):
    class CountBatches(Callback):
        def on_train_begin(self, net, **kwargs):
            self.batches = 0

        def on_batch_end(self, net, batch=None, training=False, **kwargs):
            X, y = batch
            assert len(X) == len(y)
            self.batches += training

    clf = MixupClassifier(
        max_epochs=6, batch_size=50, early_stopping=True, random_state=0, n_cv=1,
        callbacks=[
            ("count", CountBatches()),
            ("accuracy", EpochScoring("accuracy", lower_is_better=False, name="my_acc")),
            ("stop", EarlyStopping(patience=2)),
        ],
        callbacks__stop__patience=5,
    ).fit(*iris)  # fmt: skip
    callbacks = dict(clf.net_.callbacks_)
    assert callbacks["count"].batches == clf.n_iter_ * 3
    assert callbacks["stop"].patience == 5
    assert_allclose(clf.history_["my_acc"], clf.history_["valid_acc"])


def test_a_callback_that_stops_is_no_interruption(iris):
    stop = EarlyStopping(monitor="train_loss", patience=1, threshold=10, sink=lambda message: None)
    clf = MixupClassifier(callbacks=[stop], random_state=0).fit(*iris)
    assert clf.n_iter_ < 10
    assert clf.net_.stop_ == "callback"


def test_verbose_prints_a_line_per_epoch(iris):
    out = io.StringIO()
    with redirect_stdout(out):
        MixupClassifier(verbose=1, max_epochs=2).fit(*iris)
    assert out.getvalue().count("\n") == 4
    assert "train_loss" in out.getvalue()


class Own(nn.Module):
    def __init__(self, n_features, n_classes, width=8):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(n_features, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, n_classes)
        )

    def forward(self, x):
        return self.net(x)


def test_a_module_class_gets_its_sizes_and_an_instance_keeps_its_weights(iris):
    clf = MixupClassifier(module=Own, module__width=16, max_epochs=40, lr=0.01, random_state=0).fit(*iris)
    assert clf.score(*iris) > 0.9
    template = Own(4, 3)
    before = {name: value.clone() for name, value in template.state_dict().items()}
    clf = GenLabelClassifier(module=template, max_epochs=1, lr=1e-7, random_state=0).fit(*iris)
    for name, value in template.state_dict().items():
        assert torch.equal(value, before[name])
    trained = clf.net_.module_.head.module.net[0].weight
    assert_allclose(trained.detach(), before["net.0.weight"], atol=1e-6)
    assert not torch.equal(trained, before["net.0.weight"])


def test_a_backbone_of_stages_is_mixed_at_its_hidden_stages(iris):
    class Staged(Backbone):
        def __init__(self, n_features, n_classes):
            super().__init__()
            self.stages = nn.ModuleList([nn.Sequential(nn.Linear(n_features, 8), nn.Tanh())])
            self.head = nn.Linear(8, n_classes)

    clf = MixupClassifier(module=Staged, mix_at="hidden", max_epochs=40, lr=0.01, random_state=0).fit(*iris)
    assert clf.score(*iris) > 0.8


class Kernel:
    """A user's density in a few lines."""

    def fit(self, Z, y):
        from sklearn.neighbors import KernelDensity

        self.models = [KernelDensity(bandwidth=0.3).fit(Z[y == c]) for c in range(y.max() + 1)]
        return self

    def log_prob(self, z):
        return np.stack([model.score_samples(z) for model in self.models], 1)


def test_a_users_own_density_works(iris):
    clf = GenLabelClassifier(density=Kernel(), gamma=1, max_epochs=40, random_state=0).fit(*iris)
    assert clf.score(*iris) > 0.9


def test_a_users_own_mask_and_target_work(iris):
    def first_half(h, lam, noise, extra):
        m = (torch.arange(h.shape[-1]) < h.shape[-1] / 2).to(h).expand_as(h)
        return m, torch.full_like(lam, 0.5)

    def hard(y, perm, share, lam, taps, state):
        return torch.where((share > 0.5).unsqueeze(-1), y, y[:, perm[0]]), None

    clf = MixupClassifier(mix=first_half, label=hard, max_epochs=30, random_state=0).fit(*iris)
    assert clf.score(*iris) > 0.6


def test_a_constant_class_weight_changes_nothing():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=80), "b": rng.choice(["u", "v"], 80)})
    y, w = rng.integers(2, size=80), rng.random(80)
    fits = [
        GenLabelClassifier(class_weight={0: c, 1: c}, dtype="float64", **GAUSSIANS, **FAST) for c in (1, 1000)
    ]
    assert_allclose(*(clf.fit(X, y, sample_weight=w).predict_proba(X) for clf in fits), rtol=1e-9)
    assert_allclose(fits[1].density_.class_counts_.sum(), 80)


def test_chunks_of_partial_fit_keep_their_weight():
    rng = np.random.default_rng(0)
    X, y, w = rng.normal(size=(60, 2)), np.arange(60) % 2, rng.random(60) + 0.5
    clf = GenLabelClassifier(encoder="passthrough", random_state=0)
    clf.partial_fit(X[:40], y[:40], classes=[0, 1], sample_weight=w[:40])
    clf.partial_fit(X[40:], y[40:], sample_weight=10 * w[40:])
    share = 10 * w[40:].sum() / w[:40].sum()
    assert_allclose(clf.density_.class_counts_.sum(), 40 * (1 + share), rtol=1e-6)
    assert_allclose(clf._class_counts, clf.density_.class_counts_, rtol=1e-6)


def test_partial_fit_warns_of_columns_that_its_encoder_learns_to_ignore(iris):
    clf = MixupClassifier(**FAST)
    with pytest.warns(UserWarning, match=r"Columns \[1\] do not vary in the first chunk"):
        clf.partial_fit(np.where(np.arange(4) == 1, 0, iris[0]), iris[1], classes=[0, 1, 2])


def test_a_warm_start_keeps_the_validation_rows_of_the_first_fit():
    X, y = make_classification(200, 4, random_state=0)
    seen = []

    class Watch(Callback):
        def on_epoch_begin(self, net, dataset_valid=None, **kwargs):
            seen.append(dataset_valid.index)

    clf = MixupClassifier(early_stopping=True, warm_start=True, callbacks=[Watch()], **FAST)
    clf.fit(X, y).fit(X, y)
    assert_array_equal(seen[0], seen[-1])


@pytest.mark.parametrize(
    "params", [{"hidden": (4,)}, {"mix_at": 7}, {"dtype": "float64"}, {"module": "linear"}]
)
def test_set_params_after_fit_leaves_the_fitted_model_as_it_is(params, iris):
    clf = MixupClassifier(**FAST).fit(*iris)
    before = clf.predict_proba(iris[0])
    clf.set_params(**params)
    assert_array_equal(clf.predict_proba(iris[0]), before)
    assert_array_equal(pickle.loads(pickle.dumps(clf)).predict_proba(iris[0]), before)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_going_on_with_another_network_is_refused(method, iris):
    clf = MixupClassifier(warm_start=True, **FAST).fit(*iris).set_params(hidden=(4,))
    with pytest.raises(ValueError, match=r"hidden was \(16,\) and is \(4,\) now"):
        getattr(clf, method)(*iris)


def test_partial_fit_takes_new_parameters(iris):
    clf = MixupClassifier(**FAST).partial_fit(*iris, classes=[0, 1, 2]).set_params(lr=0.5, alpha=9)
    clf.partial_fit(*iris)
    assert clf.net_.optimizer_.param_groups[0]["lr"] == 0.5
    assert clf.net_.criterion_.hyper["alpha"] == 9
    assert clf.n_iter_ == 2


def test_training_goes_on_after_it_diverged(iris):
    clf = MixupClassifier(lr=1e30, random_state=0)
    with pytest.raises(FloatingPointError):
        clf.fit(*iris)
    clf.set_params(lr=1e-3).partial_fit(*iris)
    assert np.isfinite(clf.history_["train_loss"].iloc[-1])


def test_ctrl_c_while_preparing_a_refit_leaves_the_old_model(iris, monkeypatch):
    clf = MixupClassifier(**FAST).fit(*iris)
    before = clf.predict_proba(iris[0])

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(clf.__class__, "_weigh", interrupt)
    with pytest.raises(KeyboardInterrupt):
        clf.fit(np.ones((20, 8)), np.arange(20) % 2)
    assert_array_equal(clf.predict_proba(iris[0]), before)


def test_lazy_modules_are_seeded_and_leave_the_global_generator_alone(iris):
    class Lazy(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.LazyLinear(3)

        def forward(self, x):
            return self.layer(x)

    before = torch.random.get_rng_state()
    one, two = (MixupClassifier(module=Lazy, max_epochs=1, random_state=0).fit(*iris) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert_array_equal(one.predict_proba(iris[0]), two.predict_proba(iris[0]))


def test_fits_in_threads_repeat_the_serial_one(iris):
    def fit(seed):
        return MixupClassifier(dropout=0.3, max_epochs=3, random_state=seed).fit(*iris).predict_proba(iris[0])

    serial = [fit(seed) for seed in range(4)]
    threaded = Parallel(2, backend="threading")(delayed(fit)(seed) for seed in range(4))
    assert_array_equal(serial, threaded)


def test_an_encoder_that_needs_y_gets_it(iris):
    clf = MixupClassifier(encoder=make_pipeline(SelectKBest(k=2), StandardScaler()), **FAST).fit(*iris)
    assert clf.net_.module_.stages[0].layer.linear.weight.shape[1] == 2


def test_nullable_labels_come_back_as_plain_ones():
    X = np.arange(4.0)[:, None]
    assert MixupClassifier(**FAST).fit(X, pd.array([True, False] * 2, dtype="boolean")).classes_.dtype == bool
    assert MixupClassifier(**FAST).fit(X, pd.array([1, 2] * 2, dtype="Int64")).classes_.dtype == np.int64


def test_intrusions_are_found_far_from_the_origin_too():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), rng.integers(3, size=60)
    near, far = (
        MixupClassifier(drop_intrusions=True, encoder="passthrough", dtype="float32", **FAST).fit(X + c, y)
        for c in (0, 1000)
    )
    mixed = rng.normal(size=(1, 200, 3))
    labels = [
        clf.net_.criterion_.target.nearest_label(torch.tensor(mixed + c, dtype=torch.float32))
        for clf, c in ((near, 0), (far, 1000))
    ]
    assert (labels[0] == labels[1]).double().mean() > 0.99


def test_densities_that_underflow_still_label():
    X = np.array([[0.0, 0], [0.1, 0], [0, 0.1], [1e5, 1e5], [1e5, 1e5 + 0.1], [1e5 + 0.1, 1e5]])
    clf = GenLabelClassifier(gamma=1, encoder="passthrough", max_epochs=2, n_cv=1).fit(X, [0, 0, 0, 1, 1, 1])
    assert np.isfinite(clf.history_["train_loss"]).all()


REAL = [2, 4, 13, 23, 29, 31, 38, 50, 55, 56]


@pytest.mark.filterwarnings("ignore:(GM|KDE).covariance='auto'.:UserWarning")
@pytest.mark.parametrize("did", REAL)
def test_real_tables_with_categories_and_missing_values(did, real_table):
    X, y = real_table(did)
    rows = np.random.default_rng(0).permutation(len(X))[:600]
    X, y = X.iloc[rows], y.iloc[rows]
    plain = MixupClassifier(max_epochs=30, hidden=(32,), lr=0.01, random_state=0).fit(X, y)
    assert plain.score(X, y) > y.value_counts(normalize=True).iloc[0]
    clf = GenLabelClassifier(max_epochs=2, random_state=0).fit(X, y)
    assert np.isfinite(clf.predict_proba(X)).all()
    search = GridSearchCV(clf, {"gamma": [0, 1]}, cv=2, error_score="raise")
    rare = y.value_counts().min() < 2
    with pytest.warns(UserWarning, match="least populated class") if rare else nullcontext():
        search.fit(X, y)
    assert np.isfinite(search.predict_proba(X)).all()


@pytest.mark.parametrize("row", [0, 7, 19])
def test_a_column_is_what_it_is_in_all_rows_those_held_out_too(row):
    X = pd.DataFrame({"number": np.arange(20.0), "text": pd.Series([None] * 20, dtype=object)})
    X.loc[row, "text"] = "rare"
    clf = MixupClassifier(
        module="mlp", early_stopping=True, validation_fraction=0.5, max_epochs=1, random_state=0
    )
    assert clf.fit(X, np.arange(20) % 2).predict_proba(X).shape == (20, 2)
