"""Members: several networks of one classifier, trained as one program and averaged."""

import pickle
from itertools import combinations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.metrics import accuracy_score, log_loss
from skorch.callbacks import Callback, EpochScoring
from torch import nn

from mixsk import (
    AMPClassifier,
    GenLabelClassifier,
    InfiniteMixupClassifier,
    LaMixClassifier,
    MixupClassifier,
)
from mixsk.engine import Part
from mixsk.rules import LaMix

CLASSIFIERS = [
    AMPClassifier,
    GenLabelClassifier,
    InfiniteMixupClassifier,
    LaMixClassifier,
    MixupClassifier,
]
C = 3
SMALL = {
    "module": "mlp",
    "n_cv": 1,
    "hidden": (6, 5),
    "dtype": "float64",
    "random_state": 0,
    "batch_size": 16,
    "max_epochs": 4,
    "lr": 0.02,
}
OF_DENSITY = {GenLabelClassifier: {"density": "gm", "gamma": 0.5}}


def table(n=50, seed=0):
    """Three overlapping classes; 50 rows are two batches of 12 and two of 13."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % C
    return rng.normal(size=(n, 4)) + 0.7 * y[:, None], y


def fitted(cls=MixupClassifier, n_members=3, X=None, y=None, fit=None, **params):
    if params.get("module") == "linear":
        params["hidden"] = (128, 128)
    X, y = table() if X is None else (X, y)
    params = {**SMALL, **OF_DENSITY.get(cls, {}), **params}
    return cls(n_members=n_members, **params).fit(X, y, **(fit or {}))


def check_alike(several, alone):
    """The first of several members gives what the lone one gives, and the others do not."""
    X, _ = table(70, seed=1)
    ours, theirs = several.predict_proba_members(X), alone.predict_proba_members(X)
    assert len(theirs) == 1
    assert_allclose(ours[0], theirs[0], rtol=1e-9)
    assert all(np.abs(other - theirs[0]).max() > 1e-4 for other in ours[1:])


# --- the first member is the lone one -----------------------------------------------------------------

COMBINATIONS = [
    {},
    {"module": "linear"},
    {"module": "table"},
    {"mix_at": "any"},  # members mix at different sites
    {"pair": "other_class", "lam_per": "sample", "mix_prob": 0.5, "label_smoothing": 0.1},
    {"clean_weight": 0.5, "class_weight": "balanced", "mix_off": 0.5},
]


@pytest.mark.parametrize("cls", CLASSIFIERS)
@pytest.mark.parametrize("params", COMBINATIONS)
def test_the_first_of_several_members_is_what_a_lone_one_would_be(cls, params):
    if cls is GenLabelClassifier and "mix_at" in params:
        params = {"mix": "half"}  # its density lies at the input
    check_alike(*(fitted(cls, n, **params) for n in (3, 1)))


class Tilted:
    """A user's mask whose share depends on what it mixes, and so on where."""

    def __call__(self, h, lam, noise, extra):
        return lam[..., None], lam * torch.sigmoid(h.mean(-1))


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (MixupClassifier, {"mix": Tilted(), "mix_at": "any"}),
        (MixupClassifier, {"mix": "columns", "drop_intrusions": True}),
        (LaMixClassifier, {"mix": "columns"}),
        (MixupClassifier, {"mix": None}),
        (MixupClassifier, {"label": LaMix(), "mix_at": [0, 2], "clean_weight": 1}),
        (MixupClassifier, {"label": "remix", "pair": "same_class", "module__norm": "layer"}),
        (AMPClassifier, {"mix_at": "any", "reweight": True, "epsilon": 0.1}),
        (AMPClassifier, {"reduction": "mean", "select": "ascent", "epsilon": 0.1, "clean_weight": 1}),
        (InfiniteMixupClassifier, {"mix_at": "any", "label": LaMix()}),
        (MixupClassifier, {"optimizer": "sgd", "schedule": "onecycle"}),
    ],
)
def test_so_it_is_with_every_methods_own_choices(cls, params):
    check_alike(*(fitted(cls, n, **params) for n in (3, 1)))


def test_so_it_is_with_offsets_fitted_after_training():
    check_alike(*(fitted(InfiniteMixupClassifier, n, axis="pair") for n in (3, 1)))


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_so_it_is_with_sample_weights(cls):
    w = np.random.default_rng(0).integers(0, 4, 50)
    check_alike(*(fitted(cls, n, fit={"sample_weight": w}) for n in (3, 1)))


@pytest.mark.parametrize("n_rows", [2, 16, 17, 35])
def test_so_it_is_with_batches_of_any_size(n_rows):
    X, y = table(n_rows)
    check_alike(*(fitted(n_members=n, X=X, y=y, mix_at="any", pair="other_class") for n in (3, 1)))


@pytest.mark.parametrize("chunk", [300, 3000])
@pytest.mark.parametrize("params", [{}, {"mix": "columns"}, {"mix_at": "any", "mix_prob": 0.5}])
def test_so_it_is_in_whatever_chunks_the_numbers_are_drawn(monkeypatch, chunk, params):
    """A model's numbers do not depend on its neighbours, on large tables too."""
    monkeypatch.setattr("mixsk.engine.iterator.CHUNK", chunk)
    check_alike(*(fitted(n_members=n, max_epochs=8, **params) for n in (3, 1)))


@pytest.mark.parametrize("cls", [MixupClassifier, LaMixClassifier])
def test_so_it_is_over_partial_fit_and_warm_starts(cls):
    X, y = table()
    clfs = [cls(n_members=n, warm_start=True, **SMALL) for n in (3, 1)]
    for clf in clfs:
        clf.partial_fit(X, y, classes=range(C)).partial_fit(X[:20], y[:20])
        clf.fit(X, y).fit(X[:40], y[:40])
    check_alike(*clfs)


class Watch(Callback):
    """Keeps, for each epoch, every member's probabilities of the validation rows, and its log loss."""

    def __init__(self, kept):
        self.kept = kept

    def __deepcopy__(self, memo):
        return self

    def on_epoch_end(self, net, dataset_valid=None, **kwargs):
        p = torch.softmax(net.predict_logits(dataset_valid), -1).numpy()
        y = dataset_valid.rows.y[dataset_valid.index].numpy()
        self.kept.append((p, -np.log(p[:, np.arange(len(y)), y]).mean(1)))


PATIENT = {"early_stopping": True, "n_iter_no_change": 3, "max_epochs": 60, "lr": 0.05}


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_with_early_stopping_each_member_keeps_the_epoch_that_it_would_keep_alone(cls):
    X_val, y_val = table(60, seed=2)
    kept = []
    fit = {"X_val": X_val, "y_val": y_val}
    several = fitted(cls, 3, fit=fit, callbacks=[Watch(kept)], **PATIENT)
    alone = fitted(cls, 1, fit=fit, **PATIENT)
    check_alike(several, alone)
    assert len(kept) == several.n_iter_
    found = several.predict_proba_members(X_val)
    last = []
    for m in range(3):
        best, waited = 0, 0
        for epoch in range(1, len(kept)):
            better = kept[epoch][1][m] < kept[best][1][m]
            best, waited = (epoch, 0) if better else (best, waited + 1)
            if waited == 3:
                break
        assert_allclose(found[m], kept[best][0][m], rtol=1e-12)
        last.append(epoch + 1)
    assert last[0] == alone.n_iter_
    assert max(last) == several.n_iter_


def test_members_may_finish_in_different_epochs():
    X_val, y_val = table(60, seed=2)
    fit = {"X_val": X_val, "y_val": y_val}
    epochs = [fitted(n_members=n, fit=fit, **PATIENT).n_iter_ for n in (1, 8)]
    assert epochs[0] < epochs[1] < 60


# --- no two members are alike -------------------------------------------------------------------------


def prepared(cls=MixupClassifier, n_members=3, **params):
    """A net before its first step, and two epochs of its batches."""
    if cls is GenLabelClassifier:
        params.pop("mix_at", None)
    clf = cls(n_members=n_members, **{**SMALL, **OF_DENSITY.get(cls, {}), **params})
    train, _, net = clf._prepare(*table())
    (batches,) = clf._batches(train, [net.criterion], net.plan.batch_size, 2)
    return net, [batch for _ in range(2) for batch in batches]


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_every_two_members_differ_in_weights_order_pairs_and_lam(cls):
    net, batches = prepared(cls, mix_at="any", lam_per="sample")
    parameters = [*net.module.parameters(), *net.criterion.aux.parameters()]
    assert all(len(p) == 3 for p in parameters)
    mixed = [b.draw for b in batches if b.draw.mixed is None or bool(b.draw.mixed.all())]
    assert len(mixed) >= 4
    for a, b in combinations(range(3), 2):
        assert all((p[a] != p[b]).all() for p in parameters)
        assert sum(torch.equal(batch.x[a], batch.x[b]) for batch in batches) == 0
        assert sum(torch.equal(draw.perm[a], draw.perm[b]) for draw in mixed[::2]) <= 1
        assert all((draw.lam[a] != draw.lam[b]).all() for draw in mixed)
        if cls is not GenLabelClassifier:
            assert any(draw.site[a] != draw.site[b] for draw in mixed if not isinstance(draw.site, int))


def test_members_share_out_the_same_rows_each_in_an_order_of_its_own():
    X, _ = table()
    _, batches = prepared(mix=None)
    rows = torch.cat([batch.x for batch in batches[:4]], 1).numpy()
    assert [len(b.x[0]) for b in batches] == [12, 13, 12, 13] * 2
    expected = np.unique(prepared(n_members=1, mix=None)[1][0].x[0].numpy(), axis=0)
    assert expected.shape == (12, X.shape[1])
    first = np.unique(rows[0], axis=0)
    assert len(first) == 50
    for m in (1, 2):
        assert np.array_equal(np.unique(rows[m], axis=0), first)
        assert not np.array_equal(rows[m], rows[0])


def test_a_column_mask_is_drawn_for_each_member():
    _, batches = prepared(mix="columns")
    for batch in batches:
        for a, b in combinations(range(3), 2):
            assert (batch.draw.noise[a] != batch.draw.noise[b]).all()


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_the_first_member_draws_bit_for_bit_what_a_lone_one_draws(cls):
    params = {"mix_at": "any", "lam_per": "sample", "mix_prob": 0.5}
    (several, batches), (alone, lone_batches) = (prepared(cls, n, **params) for n in (3, 1))
    for ours, theirs in zip(several.module.parameters(), alone.module.parameters(), strict=True):
        assert torch.equal(ours[0], theirs[0])
    for ours, theirs in zip(
        several.criterion.aux.parameters(), alone.criterion.aux.parameters(), strict=True
    ):
        assert torch.equal(ours[0], theirs[0])
    for ours, theirs in zip(batches, lone_batches, strict=True):
        for a, b in [
            (ours.x, theirs.x),
            (ours.y, theirs.y),
            *zip(ours.draw[:2], theirs.draw[:2], strict=True),
        ]:
            assert torch.equal(a[0], b[0])
        assert (ours.draw.site if isinstance(ours.draw.site, int) else ours.draw.site[0]) == theirs.draw.site
        assert ours.draw.mixed[0] == theirs.draw.mixed[0]


def test_a_label_set_between_two_partial_fits_gives_each_member_a_second_head_of_its_own():
    X, y = table()
    clf = MixupClassifier(n_members=3, **SMALL).partial_fit(X, y, classes=range(C))
    clf.set_params(label=LaMix(detach_target=True)).partial_fit(X, y)  # the heads stay as initialised
    heads = clf.net_.criterion_.aux["label"].weight
    for a, b in combinations(range(3), 2):
        assert (heads[a] != heads[b]).all()


# --- what is predicted --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def several():
    return fitted(LaMixClassifier, 4, max_epochs=20)


def test_predictions_are_those_of_the_mean_of_the_members_probabilities(several):
    X, _ = table(70, seed=1)
    members = several.predict_proba_members(X)
    p = several.predict_proba(X)
    assert members.shape == (4, 70, C)
    assert members.dtype == p.dtype == np.float64
    assert_allclose(members.sum(-1), 1, rtol=1e-12)
    assert_allclose(p, members.mean(0), rtol=1e-12)
    assert_allclose(several.predict_log_proba(X), np.log(p), rtol=1e-9)
    assert np.array_equal(several.predict(X), several.classes_[members.mean(0).argmax(1)])


def test_a_lone_member_has_an_axis_too():
    X, _ = table()
    clf = fitted(n_members=1)
    assert clf.predict_proba_members(X).shape == (1, 50, C)
    assert_allclose(clf.predict_proba_members(X)[0], clf.predict_proba(X), rtol=1e-12)


def test_classes_keep_their_names_and_order():
    X, y = table()
    names = np.array(["c", "a", "b"])[y]
    clf = fitted(X=X, y=names)
    assert clf.classes_.tolist() == ["a", "b", "c"]
    assert np.array_equal(clf.predict(X), clf.classes_[clf.predict_proba_members(X).mean(0).argmax(1)])


def test_log_probabilities_are_finite_where_probabilities_underflow(several):
    X, _ = table()
    far = 1e4 * X
    assert (several.predict_proba_members(far) == 0).all(0).any()
    logs = several.predict_log_proba(far)
    assert np.isfinite(logs).all()
    assert logs.min() < -800
    logits = several.net_.predict_logits(_part(several, far)).numpy()
    peak = logits.max(-1, keepdims=True)
    log_p = logits - peak - np.log(np.exp(logits - peak).sum(-1, keepdims=True))
    top = log_p.max(0)
    assert_allclose(logs, top + np.log(np.exp(log_p - top).mean(0)), rtol=1e-9, atol=1e-9)


def _part(clf, X):
    """Rows as `predict` encodes them."""
    encoded = clf._encode(X)
    return Part(clf._rows(encoded, np.zeros(len(X), np.int64), None, torch.device("cpu")), np.arange(len(X)))


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_the_averages_log_loss_is_at_most_the_members_mean_log_loss(cls):
    """Jensen: -log is convex, so it holds for every row."""
    X, y = table(90, seed=3)
    clf = fitted(cls, 4, max_epochs=20)
    rows = np.arange(90)
    average = -np.log(clf.predict_proba(X)[rows, y])
    members = -np.log(clf.predict_proba_members(X)[:, rows, y])
    assert (average <= members.mean(0) + 1e-12).all()
    assert average.mean() < members.mean()


# --- what callbacks and the history see ---------------------------------------------------------------


def test_the_history_has_one_row_an_epoch():
    clf = fitted(n_members=3, early_stopping=True, validation_fraction=0.3)
    assert len(clf.history_) == clf.n_iter_ == SMALL["max_epochs"]
    assert np.isfinite(clf.history_[["train_loss", "valid_loss", "valid_acc"]].to_numpy()).all()


def test_skorchs_scores_are_those_of_the_averaged_prediction():
    X_val, y_val = table(60, seed=2)
    scores = [
        EpochScoring("accuracy", name="acc", lower_is_better=False),
        EpochScoring("neg_log_loss", name="nll", lower_is_better=False),
    ]
    fit = {"X_val": X_val, "y_val": y_val}
    clf = fitted(n_members=5, fit=fit, early_stopping=False, callbacks=scores)  # the last weights stay
    last = clf.history_.iloc[-1]
    p, members = clf.predict_proba(X_val), clf.predict_proba_members(X_val)
    assert last["acc"] == pytest.approx(accuracy_score(y_val, p.argmax(1)))
    assert last["nll"] == pytest.approx(-log_loss(y_val, p))
    assert last["nll"] > -np.mean([log_loss(y_val, one) for one in members]) + 1e-4
    assert last["valid_loss"] == pytest.approx(np.mean([log_loss(y_val, one) for one in members]))


def test_skorchs_score_on_training_rows_is_that_of_the_averaged_prediction():
    """Each member has another order of the rows, but a prediction is averaged row by row."""
    X, y = table(200)
    score = EpochScoring("accuracy", name="train_acc", on_train=True, lower_is_better=False)
    clf = fitted(n_members=3, X=X, y=y, max_epochs=30, warm_start=True)
    clf.set_params(lr=1e-30, weight_decay=0, max_epochs=1, callbacks=[score]).fit(X, y)
    assert clf.history_["train_acc"].iloc[-1] == pytest.approx(clf.score(X, y))


# --- the life of an estimator -------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [LaMixClassifier, GenLabelClassifier])
def test_a_pickle_predicts_the_same_and_goes_on_the_same(cls):
    X, y = table()
    clf = cls(n_members=3, **{**SMALL, "optimizer": "sgd"}).partial_fit(X, y, classes=range(C))
    loaded = pickle.loads(pickle.dumps(clf))
    assert np.array_equal(loaded.predict_proba_members(X), clf.predict_proba_members(X))
    if cls is LaMixClassifier:  # a density is bound to rows that a pickle does not keep
        ours, theirs = clf.partial_fit(X, y), loaded.partial_fit(X, y)
        assert np.array_equal(theirs.predict_proba_members(X), ours.predict_proba_members(X))


def test_a_clone_has_the_members_and_fits_the_same():
    X, y = table()
    clf = fitted()
    copy = clone(clf)
    assert copy.n_members == 3
    assert np.array_equal(copy.fit(X, y).predict_proba_members(X), clf.predict_proba_members(X))


def test_changing_the_number_of_members_between_warm_starts_is_an_error_and_costs_nothing():
    X, y = table()
    clf = fitted(warm_start=True)
    before = clf.predict_proba_members(X)
    clf.set_params(n_members=2)
    words = r"n_members was 3 and is 2 now\. Set n_members back, or fit anew"
    with pytest.raises(ValueError, match=f"warm_start goes on with the network it has, but {words}"):
        clf.fit(X, y)
    with pytest.raises(ValueError, match=f"partial_fit goes on with the network it has, but {words}"):
        clf.partial_fit(X, y)
    assert np.array_equal(clf.predict_proba_members(X), before)
    assert clf.set_params(warm_start=False).fit(X, y).predict_proba_members(X).shape == (2, 50, C)


@pytest.mark.parametrize("module", [nn.Linear(4, C), nn.Linear])
def test_several_of_a_users_own_module_are_refused_and_nothing_is_lost(module):
    X, y = table()
    clf = fitted(max_epochs=1)
    before = clf.predict_proba_members(X)
    clf.set_params(module=module, hidden=(128, 128), n_members=2)
    if isinstance(module, type):
        clf.set_params(module__in_features=4, module__out_features=C)
    state = dict(vars(clf))
    with pytest.raises(ValueError, match=r"2 models of it cannot be stacked. Use one of .* or n_members=1"):
        clf.fit(X, y)
    assert vars(clf) == state
    assert np.array_equal(clf.predict_proba_members(X), before)
    assert clf.set_params(n_members=1).fit(X, y).predict_proba_members(X).shape == (1, 50, C)


@pytest.mark.parametrize("n_members", [0, -1, 1.5, True, None, "3"])
@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_a_number_of_members_is_an_int_of_at_least_one(cls, n_members):
    X, y = table()
    clf = cls(n_members=n_members)
    with pytest.raises(ValueError, match="n_members"):
        clf.fit(X, y)
    assert not hasattr(clf, "net_")
