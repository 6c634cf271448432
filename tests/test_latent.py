"""GenLabel in latent space: plain warm-up, a density of features, and a head trained above a frozen body."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import softmax
from scipy.stats import multivariate_normal
from sklearn.datasets import load_iris, load_wine
from skorch.callbacks import Callback, EpochScoring
from torch import nn

from mixsk import AMPClassifier, GenLabelClassifier, InfiniteMixupClassifier, MixupClassifier
from mixsk.backbones import Backbone
from mixsk.densities import GM, KDE, NN, NNLabel
from mixsk.rules import LatentGenLabel

F, C = 4, 3
LATENT = {"density_at": "last", "density_schedule": "warmup"}
SMALL = {
    "module": "mlp",
    "n_cv": 1,
    "hidden": (6, 5),
    "activation": "tanh",
    "encoder": "passthrough",
    "dtype": "float64",
    "random_state": 0,
    "batch_size": 16,
    "max_epochs": 6,
    "warmup": 0.5,
    "lr": 0.02,
}


def table(n=60, seed=0):
    """Three overlapping classes; 60 rows are four batches of 15."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % C
    return rng.normal(size=(n, F)) + 0.7 * y[:, None], y


class Watch(Callback):
    """Keeps the weights at the start and at the end of each epoch, and whose rows were trained on."""

    def __init__(self):
        self.start, self.end, self.moments = [], [], []

    def __deepcopy__(self, memo):
        return self

    def on_epoch_begin(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        self.start.append(weights(net))
        self.moments.append(len(net.optimizer_.state))
        self.train, self.valid = dataset_train, dataset_valid

    def on_epoch_end(self, net, **kwargs):
        self.end.append(weights(net))


def weights(net):
    return {name: value.clone() for name, value in net.module_.state_dict().items()}


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def fitted(cls=GenLabelClassifier, X=None, y=None, fit=None, **params):
    """A small network, trained on the table unless told otherwise, and what was watched."""
    X, y = table() if X is None else (X, y)
    watch, extra = Watch(), params.pop("callbacks", [])
    if "module" in params:  # hidden and activation are the MLP's
        params = {"hidden": (128, 128), "activation": "relu", **params}
    own = LATENT if cls is GenLabelClassifier else {}
    small = {k: v for k, v in SMALL.items() if own or k != "warmup"}
    clf = cls(**{**small, **own, **params}, callbacks=[*extra, watch])
    return clf.fit(X, y, **(fit or {})), watch


def features(state, x, site, start=0, m=0):
    """What stage `site` makes of rows x (n, d) with the weights of model m, in numpy."""
    h = np.asarray(x)
    for k in range(start, site):
        W, b = (state[f"stages.{k}.linear.{part}"][m].numpy() for part in ("weight", "bias"))
        h = np.tanh(h @ W + b)
    return h


def gaussians(Z, y, w=None):
    """Of each class: mean, maximum-likelihood covariance and log frequency, weighted."""
    w = np.ones(len(y)) if w is None else w
    found = []
    for c in range(C):
        z, v = Z[y == c], w[y == c] / w[y == c].sum()
        mean = v @ z
        covariance = (v[:, None] * (z - mean)).T @ (z - mean) + 1e-4 * np.eye(Z.shape[1])
        found.append((mean, covariance, np.log(w[y == c].sum() / w.sum())))
    return found


def posterior(each, z):
    scores = [multivariate_normal(mean, covariance).logpdf(z) + prior for mean, covariance, prior in each]
    return softmax(np.stack(np.broadcast_arrays(*scores), -1), -1)


# --- the warm-up --------------------------------------------------------------------------------------

PLAIN = [
    {},
    {"mix_at": "any", "dropout": 0.3},
    {"module__norm": "layer", "optimizer": "sgd", "optimizer__momentum": 0.9},
    {"class_weight": "balanced", "label_smoothing": 0.1},
    {"lam_per": "sample", "pair": "other_class", "mix_prob": 0.5, "clean_weight": 1.0},
    {"mix": "columns"},
    {"n_members": 2, "mix_at": [0, 2]},
]
MIXING = {"mix_at", "lam_per", "pair", "mix_prob", "clean_weight", "mix"}


@pytest.mark.parametrize("params", PLAIN)
def test_the_warm_up_is_plain_training_bit_for_bit(params):
    fit = {"sample_weight": np.random.default_rng(0).integers(1, 4, 60)} if "class_weight" in params else None
    clf, ours = fitted(fit=fit, **params)
    plain = {name: value for name, value in params.items() if name not in MIXING}
    alone, theirs = fitted(MixupClassifier, mix=None, fit=fit, **{**plain, "max_epochs": 3})
    assert len(theirs.end) == 3
    for mine, other in zip(ours.end[:3], theirs.end, strict=True):
        assert changed(mine, other) == set()
    assert clf.history_["train_loss"][:3].tolist() == alone.history_["train_loss"].tolist()
    assert changed(ours.end[2], ours.end[5])


def test_the_epochs_of_both_phases_make_up_max_epochs():
    clf, _ = fitted(max_epochs=7, warmup=0.3)
    assert clf.history_["phase"].tolist() == ["warm-up"] * 2 + ["head"] * 5
    assert clf.n_iter_ == 7


@pytest.mark.parametrize("max_epochs", [2, 3, 5, 10, 37, 100])
@pytest.mark.parametrize("warmup", [1e-9, 0.2, 0.5, 0.71, 0.999])
def test_the_share_of_the_warm_up_is_rounded_and_leaves_both_phases_an_epoch(max_epochs, warmup):
    first, second = LatentGenLabel(warmup=warmup).phases(max_epochs)
    assert (first.name, second.name) == ("warm-up", "head")
    assert first.epochs + second.epochs == max_epochs
    assert min(first.epochs, second.epochs) >= 1
    if 1 < warmup * max_epochs < max_epochs - 1:
        assert abs(first.epochs - warmup * max_epochs) <= 0.5


@pytest.mark.parametrize("known", [False, True])
def test_one_epoch_is_too_few_and_nothing_is_lost(known):
    X, y = table()
    clf = GenLabelClassifier(**{**SMALL, **LATENT})
    if known:
        p = clf.fit(X, y).predict_proba(X)
    state = dict(vars(clf.set_params(max_epochs=1)))
    with pytest.raises(ValueError, match="max_epochs=1 leaves no epoch"):
        clf.fit(X, y)
    assert vars(clf).keys() == state.keys()
    if known:
        assert np.array_equal(clf.predict_proba(X), p)


# --- what the second phase trains ---------------------------------------------------------------------


@pytest.mark.parametrize(("density_at", "above"), [("last", ()), (3, ()), (2, (2,)), (1, (1, 2))])
@pytest.mark.parametrize(
    "params",
    [
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"optimizer": "sgd", "optimizer__momentum": 0.9, "clean_weight": 0.5},
        {"head": "keep", "dropout": 0.2, "n_members": 2},
        {"module": "table"},
    ],
)
def test_after_the_warm_up_all_of_the_head_changes_and_nothing_else(density_at, above, params):
    clf, watch = fitted(hidden=(6, 5, 5), density_at=density_at, **params)
    head = {name for name in watch.end[0] if name.startswith(("head", *(f"stages.{k}." for k in above)))}
    assert len(head) == 2 + 2 * len(above)
    for epoch in range(3):
        assert changed(watch.start[epoch], watch.end[epoch]) == set(watch.end[0])
    for epoch in range(3, 6):
        assert changed(watch.end[2], watch.end[epoch]) == head
        assert changed(watch.start[epoch], watch.end[epoch]) == head
    assert changed(watch.end[-1], weights(clf.net_)) == set()
    assert all(p.requires_grad for p in clf.net_.module_.parameters())


class Part(nn.Module):
    """A user's stage, for one model."""

    def __init__(self, *parts):
        super().__init__()
        self.inner = nn.Sequential(*parts)
        self.modes = []

    def forward(self, h):
        self.modes.append(self.training)
        return self.inner(h[0])[None]


class Normalised(Backbone):
    """A user's network: batch norm below and above, one without weights, and dropout as a stage."""

    def __init__(self, norm=nn.BatchNorm1d):
        super().__init__()
        parts = [nn.Linear(F, 6), norm(6), nn.Tanh()], [norm(6, affine=False)], [nn.Dropout(0.5)]
        self.stages = nn.ModuleList([*(Part(*p) for p in parts), Part(nn.Linear(6, 5), norm(5))])
        self.head = Part(norm(5), nn.Linear(5, C))
        self.widths = (F, 6, 6, 6, 5)


@pytest.mark.parametrize("density_at", ["last", 3])
@pytest.mark.parametrize("scored", [False, True])
def test_a_frozen_body_keeps_its_batch_norm_statistics_and_drops_nothing_out(density_at, scored):
    """A score on training rows switches the network to evaluation and back within the epoch."""
    torch.manual_seed(0)
    score = EpochScoring("accuracy", name="acc", on_train=True, lower_is_better=False)
    module = Normalised()
    clf, watch = fitted(module=module, density_at=density_at, callbacks=[score] if scored else [])
    below = ("stages.0", "stages.1", "stages.2") + (("stages.3",) if density_at == "last" else ())
    moved = changed(watch.end[2], watch.end[5])
    assert not {name for name in moved if name.startswith(below)}
    above = {name for name in watch.end[0] if not name.startswith(below)}
    assert {name for name in above if not name.endswith("tracked")} <= moved  # a fresh norm counts anew
    assert changed(watch.end[1], watch.end[2]) == set(watch.end[0])
    stages = clf.net_.module_.stages
    assert module.stages[0].modes == []  # the user's own is never trained
    n_body = 4 if density_at == "last" else 3
    last_trained = [len(s.modes) - 1 - s.modes[::-1].index(True) for s in stages]
    in_head_phase = [len(s.modes) - last for s, last in zip(stages, last_trained, strict=True)]
    assert min(in_head_phase[:n_body]) > 1  # rows of many steps at once, and the validation rows


@pytest.mark.parametrize("head", ["fresh", "keep"])
def test_a_fresh_head_starts_anew_and_a_kept_one_goes_on(head):
    clf, watch = fitted(head=head, n_members=2)
    begin = watch.start[3]
    renewed = changed(watch.end[2], begin)
    assert renewed == ({"head.weight", "head.bias"} if head == "fresh" else set())
    if head == "fresh":
        for name in renewed:
            assert (begin[name] != watch.end[2][name]).all()
            assert (begin[name] != watch.start[0][name]).all()  # not the head of the beginning either
            assert begin[name].abs().max() <= 1 / np.sqrt(5)  # as torch.nn.Linear is initialised
            assert (begin[name][0] != begin[name][1]).all()
    assert clf.n_iter_ == 6


def test_a_fresh_head_has_moments_of_its_own():
    _, watch = fitted()
    assert watch.moments == [0, 6, 6, 0, 2, 2]  # weights that have moments, when an epoch begins


def test_a_kept_head_has_new_moments_too():
    _, watch = fitted(head="keep")
    assert watch.moments[:4] == [0, 6, 6, 0]


def test_a_fresh_head_is_as_the_seeds_say():
    heads = [
        fitted(random_state=seed, n_members=m)[1].start[3]["head.weight"]
        for seed, m in ((0, 1), (0, 1), (0, 3), (1, 1))
    ]
    assert torch.equal(heads[0], heads[1])
    assert torch.equal(heads[0][0], heads[2][0])
    assert (heads[0] != heads[3]).all()


def test_a_users_head_is_renewed_with_its_statistics():
    torch.manual_seed(0)
    _, watch = fitted(module=Normalised())
    begin = watch.start[3]
    assert torch.equal(begin["head.inner.0.running_mean"], torch.zeros(5).double())
    assert torch.equal(begin["head.inner.0.running_var"], torch.ones(5).double())
    assert begin["head.inner.0.num_batches_tracked"] == 0
    assert (begin["head.inner.1.weight"] != watch.end[2]["head.inner.1.weight"]).all()


# --- the density --------------------------------------------------------------------------------------


class Noted:
    """A user's density: a unit Gaussian around each class' mean; keeps what it is fitted with."""

    def __init__(self):
        self.fits = []

    def __deepcopy__(self, memo):
        return self

    def fit(self, Z, y, sample_weight=None):
        self.fits.append((Z.copy(), y.copy(), sample_weight))
        self.means = np.stack([Z[y == c].mean(0) for c in range(C)])
        return self

    def log_prob(self, z):
        return -0.5 * np.square(z[:, None] - self.means).sum(-1)


@pytest.mark.parametrize("density_at", ["last", 1])
def test_the_density_is_fitted_once_on_the_plain_features_of_the_training_rows(density_at):
    X, y = table(90)
    density = Noted()
    params = {"early_stopping": True, "validation_fraction": 0.3, "n_iter_no_change": 50}
    _, watch = fitted(X=X, y=y, density=density, density_at=density_at, dropout=0.5, **params)
    ((Z, codes, _),) = density.fits
    index = watch.train.index
    assert len(index) == 63
    assert set(index) | set(watch.valid.index) == set(range(90))
    site = 2 if density_at == "last" else 1
    assert_allclose(Z, features(watch.start[3], X[index], site), rtol=1e-12)
    assert np.array_equal(codes, y[index])


def test_validation_rows_of_the_users_own_have_no_part_in_it():
    X_val, y_val = table(30, seed=1)
    density = Noted()
    _, watch = fitted(density=density, fit={"X_val": X_val, "y_val": y_val})
    ((Z, codes, _),) = density.fits
    X, y = table()
    assert_allclose(Z, features(watch.start[3], X, 2), rtol=1e-12)
    assert np.array_equal(codes, y)


def test_the_fitted_density_is_there_after_the_fit_and_in_a_pickle():
    X, y = table()
    clf, watch = fitted()
    Z = features(watch.start[3], X, 2)
    means, covariances, _ = zip(*gaussians(Z, y), strict=True)
    assert_allclose(clf.density_.numeric_.means_[:, 0], means, rtol=1e-9)
    assert_allclose(clf.density_.numeric_.covariances_[:, 0], covariances, rtol=1e-9)
    clf.set_params(callbacks=None)
    loaded = pickle.loads(pickle.dumps(clf))
    assert np.array_equal(loaded.predict_proba(X), clf.predict_proba(X))
    assert_allclose(loaded.density_.log_prob(Z), clf.density_.log_prob(Z), rtol=1e-12)
    assert loaded.history_["phase"].tolist() == clf.history_["phase"].tolist()


def test_sample_weights_enter_the_density_and_class_weights_do_not():
    X, y = table()
    w = np.random.default_rng(0).integers(0, 4, 60).astype(float)
    clf, watch = fitted(fit={"sample_weight": w}, class_weight={0: 5.0, 1: 1.0, 2: 1.0})
    kept = w > 0
    Z = features(watch.start[3], X[kept], 2)
    means, covariances, _ = zip(*gaussians(Z, y[kept], w[kept]), strict=True)
    assert_allclose(clf.density_.numeric_.means_[:, 0], means, rtol=1e-9)
    assert_allclose(clf.density_.numeric_.covariances_[:, 0], covariances, rtol=1e-7)
    prior = clf.net_.criterion_.label.log_prior_
    assert_allclose(prior, np.log(np.bincount(y, w) / w.sum()), rtol=1e-9)


# --- the target ---------------------------------------------------------------------------------------


class Seen(LatentGenLabel):
    """Keeps what it is asked and what it answers; asked step by step, as a user's label would be."""

    ahead = False
    calls = []

    def __call__(self, y, perm, share, lam, taps, state):
        t, w = super().__call__(y, perm, share, lam, taps, state)
        self.calls.append((y, perm, share, t))
        return t, w


class Ahead(Seen):
    ahead = True


class Rows:
    """The linear mask; keeps the rows that it mixes."""

    ahead = True
    calls = []

    def __call__(self, h, lam, noise, extra):
        self.calls.append(h.detach())
        return lam.reshape(lam.shape + (1,) * (h.ndim - 2)), lam


@pytest.fixture
def seen(monkeypatch):
    monkeypatch.setattr(Seen, "calls", [])
    monkeypatch.setattr(Rows, "calls", [])


@pytest.mark.parametrize("label", [Seen, Ahead])
@pytest.mark.parametrize(("mix_at", "density_at"), [("input", "last"), (1, 2), ("last", "last"), (1, 1)])
@pytest.mark.parametrize("n_members", [1, 2])
def test_the_target_is_gamma_times_the_posterior_of_the_mixed_rows_features(
    monkeypatch, seen, label, mix_at, density_at, n_members
):
    """Algorithm 2, lines 4 to 7, with scipy's Gaussians of the features."""
    monkeypatch.setattr("mixsk.engine.iterator.GROUP", 1)  # the warm-up prepares no step of the head
    X, y = table()
    rule = label(gamma=0.7, density_at=density_at, warmup=0.5)
    params = {"mix": Rows(), "mix_at": mix_at, "n_members": n_members, "label": rule}
    clf, watch = fitted(MixupClassifier, **params)
    assert clf.history_["phase"].tolist() == ["warm-up"] * 3 + ["head"] * 3
    tap = 2 if density_at == "last" else density_at
    site = {"input": 0, "last": 2}.get(mix_at, mix_at)
    state = watch.start[3]
    each = [gaussians(features(state, X, tap, m=m), y) for m in range(n_members)]
    assert len(Seen.calls) == len(Rows.calls) == 12
    for (labels, perm, share, t), h in zip(Seen.calls, Rows.calls, strict=True):
        assert len(h) == n_members
        for m in range(n_members):
            lam, other = share[m].numpy()[:, None], perm[m].numpy()
            h_mix = lam * h[m].numpy() + (1 - lam) * h[m].numpy()[other]
            p = posterior(each[m], features(state, h_mix, tap, site, m))
            one_hot = labels[m].numpy()
            linear = lam * one_hot + (1 - lam) * one_hot[other]
            assert_allclose(t[m], 0.7 * p + 0.3 * linear, atol=1e-9)


def test_the_heads_first_loss_is_the_cross_entropy_of_that_target(seen):
    """All rows are one batch, so the history shows the loss of the fresh head."""
    X, y = table()
    params = {"batch_size": 60, "mix": Rows(), "label": Seen(gamma=0.4, warmup=0.5)}
    clf, watch = fitted(MixupClassifier, **params)
    state = watch.start[3]
    _, perm, share, _ = Seen.calls[0]
    x, lam, other = Rows.calls[0][0].numpy(), share[0].numpy()[:, None], perm[0].numpy()
    order = [int(np.flatnonzero((row == X).all(1))[0]) for row in x]
    assert sorted(order) == list(range(60))
    z = features(state, lam * x + (1 - lam) * x[other], 2)
    one_hot = np.eye(C)[y[order]]
    p = posterior(gaussians(features(state, X, 2), y), z)
    t = 0.4 * p + 0.6 * (lam * one_hot + (1 - lam) * one_hot[other])
    logits = z @ state["head.weight"][0].numpy() + state["head.bias"][0].numpy()
    loss = -(t * np.log(softmax(logits, -1))).sum(-1).mean()
    assert clf.history_["train_loss"][3] == pytest.approx(loss, rel=1e-9)


ANYWHERE = [
    {"mix_at": "any"},
    {"mix_at": [0, 2], "n_members": 3},
    {"mix_at": "hidden", "density_at": 2, "lam_per": "sample", "mix_prob": 0.5, "n_members": 2},
    {"density_at": 1, "label_smoothing": 0.1, "clean_weight": 1.0},
    {"mix": "columns", "class_weight": "balanced"},
    {"drop_intrusions": True},
    {"drop_intrusions": True, "mix": "half", "n_members": 2},
]


@pytest.mark.parametrize("params", ANYWHERE)
def test_steps_prepared_ahead_under_the_frozen_body_train_as_one_by_one(monkeypatch, params):
    X, _ = table()
    results = []
    for group in (1, 2**12, 2**17):  # numbers: one step, several, or all epochs, of which none is the head's
        monkeypatch.setattr("mixsk.engine.iterator.GROUP", group)
        results.append(fitted(max_epochs=9, warmup=0.35, **params)[0].predict_proba_members(X))
    assert_allclose(results[0], results[1], rtol=1e-9)
    assert_allclose(results[0], results[2], rtol=1e-9)


@pytest.mark.parametrize(
    ("density", "same"),
    [
        ("kde", KDE()),
        ("nn", NN()),
        ("nn-label", NNLabel()),
        (GM(covariance="pooled"), GM(covariance="pooled")),
    ],
)
def test_any_density_may_describe_the_features(seen, density, same):
    X, y = table()
    rule = Seen(density=density, gamma=1.0, warmup=0.5)
    _, watch = fitted(MixupClassifier, label=rule, mix=Rows(), batch_size=60)
    state = watch.start[3]
    same.fit(features(state, X, 2), y)
    prior = np.log(np.bincount(y) / 60)
    for (_, perm, share, t), h in zip(Seen.calls, Rows.calls, strict=True):
        lam, x = share[0].numpy()[:, None], h[0].numpy()
        z = features(state, lam * x + (1 - lam) * x[perm[0].numpy()], 2)
        assert_allclose(t[0], softmax(same.log_prob(z) + prior, -1), atol=1e-7)


# --- members ------------------------------------------------------------------------------------------


def check_alike(several, alone):
    X, _ = table(70, seed=1)
    ours, theirs = several.predict_proba_members(X), alone.predict_proba_members(X)
    assert_allclose(ours[0], theirs[0], rtol=1e-9)
    assert all(np.abs(other - theirs[0]).max() > 1e-4 for other in ours[1:])


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"head": "keep", "mix_at": "any"},
        {"density_at": 1, "density": "kde", "lam_per": "sample"},
        {"clean_weight": 0.5, "class_weight": "balanced", "top_k": 2, "mix_off": 0.3},
    ],
)
def test_the_first_of_several_members_is_what_a_lone_one_would_be(params):
    check_alike(*(fitted(n_members=n, **params)[0] for n in (3, 1)))


@pytest.mark.parametrize("head", ["fresh", "keep"])
def test_so_it_is_if_members_end_their_warm_ups_in_different_epochs(head):
    fit = dict(zip(("X_val", "y_val"), table(60, seed=2), strict=True))
    params = {"n_iter_no_change": 2, "max_epochs": 60, "head": head}
    several, alone = (fitted(n_members=n, fit=fit, **params)[0] for n in (4, 1))
    warm = [(clf.history_["phase"] == "warm-up").sum() for clf in (several, alone)]
    assert warm[1] < warm[0] < 30
    check_alike(several, alone)


@pytest.mark.parametrize("group", [1, 2**12, 2**17])  # steps prepared ahead: one, several, none
def test_members_may_differ_in_gamma(monkeypatch, group):
    monkeypatch.setattr("mixsk.engine.iterator.GROUP", group)
    gamma = torch.tensor([0.2, 0.9], dtype=torch.float64)
    X, _ = table()
    several = fitted(MixupClassifier, label=LatentGenLabel(gamma=gamma), n_members=2, max_epochs=12)[0]
    alone = fitted(MixupClassifier, label=LatentGenLabel(gamma=0.2), max_epochs=12)[0]
    assert_allclose(several.predict_proba_members(X)[0], alone.predict_proba(X), rtol=1e-9)


def test_each_member_has_a_density_of_its_own_features():
    X, y = table()
    clf, watch = fitted(n_members=3)
    assert len(clf.density_) == 3
    for m, density in enumerate(clf.density_):
        means, _, _ = zip(*gaussians(features(watch.start[3], X, 2, m=m), y), strict=True)
        assert_allclose(density.numeric_.means_[:, 0], means, rtol=1e-9)


# --- the end of a phase -------------------------------------------------------------------------------


def replay(losses, patience):
    """Best epoch, and how many are run, of validation losses."""
    best = waited = 0
    for epoch, loss in enumerate(losses):
        if epoch == 0 or loss < losses[best]:
            best, waited = epoch, 0
        else:
            waited += 1
        if waited == patience:
            break
    return best, epoch + 1


@pytest.mark.parametrize("head", ["fresh", "keep"])
def test_each_phase_has_its_own_patience_and_the_last_ones_best_weights_stay(head):
    fit = dict(zip(("X_val", "y_val"), table(60, seed=2), strict=True))
    params = {"n_iter_no_change": 3, "max_epochs": 200, "lr": 0.1, "head": head}
    clf, watch = fitted(fit=fit, gamma=1.0, **params)
    losses = clf.history_.groupby("phase", sort=False)["valid_loss"].apply(list)
    assert losses.index.tolist() == ["warm-up", "head"]
    warm, last = (replay(values, 3) for values in losses)
    assert warm[1] == len(losses["warm-up"]) < 100
    assert last[1] == len(losses["head"]) < 100
    assert warm[0] < warm[1] - 1
    n_warm = warm[1]
    body = {name for name in watch.end[0] if not name.startswith("head")}
    assert not changed(watch.end[warm[0]], watch.start[n_warm]) & body  # the head stands on the best body
    if head == "keep":
        assert changed(watch.end[warm[0]], watch.start[n_warm]) == set()
    assert changed(watch.end[n_warm + last[0]], weights(clf.net_)) == set()


def test_a_fresh_head_does_not_lose_to_a_better_epoch_of_the_warm_up():
    fit = dict(zip(("X_val", "y_val"), table(60, seed=2), strict=True))
    params = {"max_epochs": 60, "warmup": 0.95, "optimizer": "sgd", "lr": 0.05}
    clf, watch = fitted(fit=fit, **params)
    losses = clf.history_.groupby("phase", sort=False)["valid_loss"].apply(list)
    assert min(losses["warm-up"]) < min(losses["head"])  # three epochs are too few for it
    best = 57 + int(np.argmin(losses["head"]))
    assert changed(watch.end[best], weights(clf.net_)) == set()


def test_a_time_limit_in_the_warm_up_leaves_a_plain_network():
    clf, watch = fitted(time_limit=1e-9)
    assert clf.history_["phase"].tolist() == ["warm-up"]
    assert not hasattr(clf, "density_")
    assert changed(watch.start[0], weights(clf.net_)) == set(watch.start[0])
    assert np.isfinite(clf.predict_proba(table()[0])).all()


class Stop(Callback):
    """Asks for the end of training after some epochs."""

    def __init__(self, epochs):
        self.epochs = epochs

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.epochs:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("epochs", "phases"), [(2, ["warm-up"] * 2), (4, ["warm-up"] * 3 + ["head"])])
def test_a_callback_that_stops_training_ends_it_in_either_phase(epochs, phases):
    clf, _ = fitted(callbacks=[Stop(epochs)])
    assert clf.history_["phase"].tolist() == phases
    assert all(p.requires_grad for p in clf.net_.module_.parameters())


# --- the life of an estimator -------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [GenLabelClassifier, MixupClassifier])
def test_partial_fit_is_refused_and_nothing_is_lost(cls):
    X, y = table()
    own = LATENT if cls is GenLabelClassifier else {"label": LatentGenLabel()}
    clf = cls(**{k: v for k, v in SMALL.items() if k != "warmup"}, **own)
    with pytest.raises(ValueError, match=r"partial_fit|max_epochs"):
        clf.partial_fit(X, y, classes=range(C))
    assert not hasattr(clf, "net_")
    p = clf.fit(X, y).predict_proba(X)
    with pytest.raises(ValueError, match="fit"):
        clf.partial_fit(X, y)
    assert np.array_equal(clf.predict_proba(X), p)


def test_a_density_of_features_is_never_taken_for_one_of_rows():
    X, y = table()
    clf, _ = fitted(hidden=(6, F))  # as many features as columns: nothing else would tell
    p = clf.predict_proba(X)
    clf.set_params(density_at="input", density_schedule="once", warmup=0.2)
    with pytest.raises(ValueError, match="Use fit"):
        clf.partial_fit(X, y)
    assert np.array_equal(clf.predict_proba(X), p)


def test_a_warm_start_goes_through_both_phases_again_from_the_weights_it_has():
    X, y = table()
    clf, watch = fitted(warm_start=True)
    before = weights(clf.net_)
    clf.set_params(callbacks=None)
    loaded = pickle.loads(pickle.dumps(clf))
    clf.set_params(callbacks=[watch]).fit(X, y)
    loaded.fit(X, y)
    assert changed(before, watch.start[6]) == set()
    assert clf.history_["phase"].tolist() == (["warm-up"] * 3 + ["head"] * 3) * 2
    assert (watch.start[9]["head.weight"] != watch.start[3]["head.weight"]).all()
    means, _, _ = zip(*gaussians(features(watch.start[9], X, 2), y), strict=True)
    assert_allclose(clf.density_.numeric_.means_[:, 0], means, rtol=1e-9)
    assert np.array_equal(loaded.predict_proba(X), clf.predict_proba(X))


def test_a_linear_network_is_all_head_and_its_features_are_the_rows():
    X, y = table()
    clf, watch = fitted(module="linear")
    assert changed(watch.end[2], watch.end[5]) == set(watch.end[0])
    means, _, _ = zip(*gaussians(X, y), strict=True)
    assert_allclose(clf.density_.numeric_.means_[:, 0], means, rtol=1e-9)


def test_a_users_stages_need_no_widths_for_a_stage_by_number():
    torch.manual_seed(0)
    module = Normalised()
    module.widths = None
    clf, _ = fitted(module=module, density_at=3)
    assert clf.history_["phase"].tolist() == ["warm-up"] * 3 + ["head"] * 3


def test_the_same_seed_gives_the_same_bits():
    X, _ = table()
    one, two = (fitted(mix_at="any", dropout=0.2)[0].predict_proba(X) for _ in range(2))
    assert np.array_equal(one, two)


# --- learning, and what cannot be used ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "cls", "params"),
    [
        (load_iris, GenLabelClassifier, LATENT),
        (load_wine, GenLabelClassifier, LATENT),
        (load_wine, GenLabelClassifier, {**LATENT, "density": "nn", "head": "keep", "mix_at": "any"}),
        (load_iris, GenLabelClassifier, {**LATENT, "density_at": 1, "drop_intrusions": True, "lr": 0.03}),
        (load_iris, GenLabelClassifier, {**LATENT, "clean_weight": 1, "amp": "bf16", "alpha": 1}),
        (load_wine, AMPClassifier, {"label": LatentGenLabel(), "mix_at": "any", "dropout": 0.1}),
        (load_iris, InfiniteMixupClassifier, {"label": LatentGenLabel()}),
    ],
)
def test_it_learns_with_every_method(load, cls, params):
    X, y = load(return_X_y=True)
    params = {"module": "mlp", "hidden": (16, 8), "max_epochs": 80, "lr": 0.02, **params}
    assert cls(random_state=0, **params).fit(X, y).score(X, y) > 0.9


IRIS = {**LATENT, "hidden": (6, 5), "max_epochs": 4}
OWN = {"hidden": (128, 128)}


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"density_schedule": "once"}, "density_at='last' describes features"),
        ({"density_schedule": "once", "density_at": 1}, "density_at=1 describes features"),
        ({"density_at": "input"}, "density_schedule='warmup' waits for features"),
        ({"density_at": 0}, "density_schedule='warmup' waits for features"),
        ({"density_at": 3}, "looks at a stage that this network does not have"),
        ({"density_at": -1}, "'density_at' parameter"),
        ({"density_at": "first"}, "'density_at' parameter"),
        ({"density_at": True}, "density_at must not be a bool"),
        ({"density_at": 1, "mix_at": "any"}, "early stage"),
        ({"density_at": 1, "mix_at": "last"}, "early stage"),
        ({"density_schedule": "later"}, "'density_schedule' parameter"),
        ({"head": "new"}, "'head' parameter"),
        ({"warmup": 0}, "'warmup' parameter"),
        ({"warmup": 1.0}, "'warmup' parameter"),
        ({"memory": 0.5}, "memory=0.5 has no effect with a density_schedule other than 'online'"),
        ({"density_schedule": "online", "warmup": 0.5}, "warmup=0.5 has no effect"),
        ({"density_schedule": "online", "head": "keep"}, "head='keep' has no effect"),
        ({"density_schedule": "once", "density_at": "input", "warmup": 0.5}, "warmup=0.5 has no effect"),
        ({"density": "gauss"}, "'density' parameter"),
        ({"mix": None}, "relabels mixed rows"),
        ({"density": GM(covariance="full")}, "'covariance' parameter of GM"),
        ({"module": nn.Linear(4, 3), **OWN}, "reads the features that the network's head sees"),
        ({"module": nn.Linear(4, 3), "density_at": 1, **OWN}, "a stage that this network does not have"),
    ],
)
def test_what_cannot_be_used_is_refused_before_training_and_nothing_is_lost(params, words):
    X, y = load_iris(return_X_y=True)
    clf = GenLabelClassifier(**{**IRIS, **params})
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the words are compared
        clf.fit(X, y)
    assert words in str(raised.value)
    assert not hasattr(clf, "net_")


@pytest.mark.parametrize(
    "rule",
    [
        LatentGenLabel(warmup=0.0),
        LatentGenLabel(warmup=1.0),
        LatentGenLabel(head="new"),
        LatentGenLabel(density_at="input"),
        LatentGenLabel(density_at=1.5),
        LatentGenLabel(density_at=-1),
        LatentGenLabel(density="gauss"),
        LatentGenLabel(gamma=2.0),
    ],
)
def test_a_rule_out_of_its_range_is_refused_before_training(rule):
    X, y = load_iris(return_X_y=True)
    clf = MixupClassifier(label=rule, hidden=(6, 5), max_epochs=4)
    with pytest.raises(ValueError):  # noqa: PT011 - each parameter has its own words
        clf.fit(X, y)
    assert not hasattr(clf, "net_")


def test_the_density_of_maps_is_that_of_their_numbers():
    rng = np.random.default_rng(0)
    X, y = rng.integers(256, size=(40, 12, 12), dtype=np.uint8), np.arange(40) % 2
    clf = GenLabelClassifier(
        module="lenet", mix="linear", density_at=2, density_schedule="warmup", max_epochs=3, random_state=0
    ).fit(X, y)
    assert clf.density_.n_features_in_ == 16  # 16 maps of one pixel
    assert np.isfinite(clf.predict_proba(X)).all()
