"""AdaMixUp: its loss and every gradient by hand, its halves, and what training with it changes."""

import pickle
from copy import deepcopy
from itertools import permutations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_iris
from torch import nn

from mixsk import AdaMixupClassifier, MixupClassifier
from mixsk.backbones import StackedLinear, build
from mixsk.engine import MixNet
from mixsk.rules import (
    AdaMixup,
    Batch,
    Draw,
    GenLabel,
    LaMix,
    LatentGenLabel,
    OnlineGenLabel,
    Recipe,
    Rows,
    Sizes,
    Spec,
    State,
)
from mixsk.rules.adamixup import first_half
from mixsk.rules.step import Step

F, C, HIDDEN = 3, 3, (5, 4)
N_STAGES = len(HIDDEN)


# --- one step, by hand --------------------------------------------------------------------------------


def rows(n=6, seed=3):
    """Rows, classes, partners in the whole batch, and a uniform number for each row."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, F)), np.arange(n) % C, rng.permutation(n), rng.random(n)


def network(seeds=(0,), hidden=HIDDEN, **options):
    return build("mlp", F, C, {"hidden": hidden, "activation": "tanh", **options}, list(seeds)).double()


def recipe_of(net, seeds=(7,), weighted=False, class_weight=None, hyper=None, **spec):
    """A bound recipe for the network; policy and discriminator are seeded apart."""
    hyper = {"alpha": 1.0, **(hyper or {})}
    recipe = Recipe(Spec(objective=AdaMixup(), lam_per="sample", n_stages=net.n_stages, hyper=hyper, **spec))
    recipe.attach(Sizes(F, net.widths, C, len(seeds)), list(seeds))
    recipe.double()
    X, y, _, _ = rows(12)
    weight = None if class_weight is None else torch.tensor(class_weight).double()
    known = Rows(torch.tensor(X), torch.tensor(y), None, C)
    recipe.bind(lambda: known, State(torch.ones(C).double(), weight, weighted or weight is not None))
    return recipe


def batch_of(X, y, perm, u, w=None, site=0, mixed=None, n_models=1):
    """The same batch for each of the models."""
    labels = np.eye(C)[y] * (1 if w is None else w[:, None])
    tensors = [torch.tensor(np.broadcast_to(a, (n_models, *a.shape)).copy()) for a in (X, labels, perm, u)]
    flags = None if mixed is None else torch.tensor(mixed)
    return Batch(tensors[0], tensors[1], Draw(tensors[2], tensors[3], site, None, flags))


def weights(net, recipe, m=0, of=torch.detach):
    """The arrays of model m by network: W, b of each layer; of the policy the gates m1, m2 (2, F) last."""
    policy, discriminator = recipe.objective.policy_, recipe.objective.discriminator_
    layers = [part for part in net.modules() if isinstance(part, StackedLinear)]

    def arrays(layers):
        for layer in layers:
            W = of(layer.weight)[m].numpy()
            yield from (W.T.copy() if layer.narrow else W.copy(), of(layer.bias)[m, 0].numpy().copy())

    return {
        "body": [*arrays(layers[:-1])],
        "head": [*arrays(layers[-1:])],
        "policy": [*arrays([policy.hidden, policy.head]), of(policy.gates)[m, :, 0].numpy().copy()],
        "discriminator": [*arrays([discriminator])],
    }


def gradients(net, recipe, m=0):
    return weights(net, recipe, m, of=lambda p: torch.zeros_like(p) if p.grad is None else p.grad)


def body(theta, x, start=0, stop=None):
    layers = theta["body"]
    for W, b in list(zip(layers[::2], layers[1::2], strict=True))[start:stop]:
        x = np.tanh(x @ W + b)
    return x


def softmax(v):
    return np.exp(v) / np.exp(v).sum()


def lam_of(theta, first, second, u):
    W1, b1, W2, b2, gates = theta["policy"]
    m1, m2 = 1 / (1 + np.exp(-gates))
    a, b, _ = softmax(np.maximum((m1 * first + m2 * second) / 2 @ W1 + b1, 0) @ W2 + b2)
    return a + b * u


def by_hand(theta, c, w=None, class_weight=(1, 1, 1), site=0, smoothing=0, row=None, label=None, count=None):
    """Both parts of the loss, row by row.

    `row`, `label` and `count` are the weights whose policy gives lam in the mixed row, in its label and in
    its weight for the discriminator, if they are not `theta`.
    """
    X, y, perm, u = c
    n, half = len(X), (len(X) + 1) // 2
    w = np.ones(n) if w is None else w
    pairs = sorted(range(half), key=lambda i: perm[i])

    def label_of(i, j, lam):
        t = lam * w[i] * np.eye(C)[y[i]] + (1 - lam) * w[j] * np.eye(C)[y[j]]
        return np.asarray(class_weight) * ((1 - smoothing) * t + smoothing * t.sum() / C)

    def cross_entropy(h, t):
        W, b = theta["head"]
        return -(t * np.log(softmax(body(theta, h, site) @ W + b))).sum()

    def is_real(h):
        W, b = theta["discriminator"]
        return 1 / (1 + np.exp(-(body(theta, h, site) @ W + b)[0]))

    below = [body(theta, x, 0, site) for x in X]
    classifier = discriminator = 0.0
    for i, j in enumerate(pairs):
        lam, lam_y, lam_w = (
            lam_of(theta if other is None else other, X[i], X[j], u[i]) for other in (row, label, count)
        )
        h = lam * below[i] + (1 - lam) * below[j]
        classifier += cross_entropy(h, label_of(i, j, lam_y)) + cross_entropy(below[i], label_of(i, i, 1))
        discriminator -= label_of(i, j, lam_w).sum() * np.log(1 - is_real(h))
    for i in range(n):
        discriminator -= label_of(i, i, 1).sum() * np.log(is_real(below[i]))
    return np.array([classifier / (2 * half), discriminator / (n + half)])


def slopes(loss, theta, eps=1e-6):
    """Central differences of `loss(theta)` in every entry of theta."""

    def of(array):
        slope = np.zeros_like(array)
        for k in np.ndindex(array.shape):
            before = array[k]
            array[k] = before + eps
            up = loss(theta)
            array[k] = before - eps
            slope[k] = (up - loss(theta)) / (2 * eps)
            array[k] = before
        return slope

    return {name: [of(array) for array in arrays] for name, arrays in theta.items()}


def step_of(net, recipe, *batches, **options):
    """Losses and each model's gradients."""
    net.zero_grad()
    recipe.zero_grad()
    batch = batches[0] if isinstance(batches[0], Batch) else batch_of(*batches[0], **options)
    losses = recipe(net, batch)
    losses.sum().backward()
    return losses.detach().numpy(), [gradients(net, recipe, m) for m in range(len(losses))]


def assert_same(ours, theirs, **tolerance):
    for name, arrays in theirs.items():
        for mine, other in zip(ours[name], arrays, strict=True):
            assert_allclose(mine, other, **tolerance)


def least(gradients, *names):
    """The smallest of the arrays' largest entries."""
    return min(np.abs(array).max() for name in names or gradients for array in gradients[name])


@pytest.fixture
def small_policy(monkeypatch):
    """Fewer numbers to differentiate by hand."""
    monkeypatch.setattr("mixsk.rules.adamixup.HIDDEN", 8)


W = np.array([0.2, 3.0, 1.0, 0.5, 1.3, 0.9])
DIFFERENCES = {"rtol": 1e-5, "atol": 1e-9}


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_the_loss_is_the_mean_cross_entropy_of_both_halves_and_that_of_real_against_mixed(n):
    """Odd batches and a batch of one row, which is mixed with itself, too."""
    net, c = network(), rows(n)
    recipe = recipe_of(net)
    loss, _ = step_of(net, recipe, c)
    assert loss.shape == (1,)
    assert_allclose(loss, by_hand(weights(net, recipe), c).sum(), rtol=1e-12)


@pytest.mark.parametrize("site", [0, 1, 2])
@pytest.mark.parametrize(
    ("w", "options"),
    [
        (None, {}),
        (W, {}),
        (None, {"class_weight": [0.5, 2.0, 1.0]}),
        (W, {"class_weight": [0.5, 2.0, 1.0], "smoothing": 0.2}),
    ],
)
def test_so_it_is_at_every_site_with_weights_of_rows_and_classes_and_smoothing(site, w, options):
    net, c = network(), rows()
    hyper = {"label_smoothing": options.get("smoothing", 0)}
    known = {"weighted": w is not None, "class_weight": options.get("class_weight")}
    recipe = recipe_of(net, sites=(site,), hyper=hyper, **known)
    loss, _ = step_of(net, recipe, c, w=w, site=site)
    assert_allclose(loss, by_hand(weights(net, recipe), c, w=w, site=site, **options).sum(), rtol=1e-12)


@pytest.mark.usefixtures("small_policy")
@pytest.mark.parametrize(("site", "w"), [(0, None), (1, W)])
def test_gradients_of_classifier_policy_and_discriminator_are_the_losses_slopes(site, w):
    net, c = network(), rows()
    recipe = recipe_of(net, weighted=w is not None, sites=(site,))
    _, (found,) = step_of(net, recipe, c, w=w, site=site)
    theta = weights(net, recipe)
    still = deepcopy(theta)  # how much a row counts is nothing to be learnt
    expected = slopes(lambda th: by_hand(th, c, w, site=site, count=still).sum(), theta)
    assert_same(found, expected, **DIFFERENCES)
    assert least(expected) > 1e-4


@pytest.mark.usefixtures("small_policy")
def test_the_policy_learns_through_the_mixed_row_and_through_its_label():
    net, c = network(), rows()
    recipe = recipe_of(net)
    _, (found,) = step_of(net, recipe, c)
    theta = weights(net, recipe)
    still = deepcopy(theta)
    through_row = slopes(lambda th: by_hand(th, c, label=still).sum(), theta)
    through_label = slopes(lambda th: by_hand(th, c, row=still).sum(), theta)
    assert least(through_row, "policy") > 1e-4
    assert least(through_label, "policy") > 1e-4
    both = zip(through_row["policy"], through_label["policy"], strict=True)
    assert_same(found, {"policy": [first + second for first, second in both]}, **DIFFERENCES)


@pytest.mark.usefixtures("small_policy")
def test_the_discriminator_reaches_the_shared_body_and_the_policy():
    net, c = network(), rows()
    recipe = recipe_of(net)
    with torch.no_grad():
        for p in net.head.parameters():
            p.zero_()  # a classifier that knows nothing has no slope below its head
    _, (found,) = step_of(net, recipe, c)
    expected = slopes(lambda th: by_hand(th, c)[1], weights(net, recipe))
    del expected["head"]
    assert_same(found, expected, **DIFFERENCES)
    assert least(expected) > 1e-5


@pytest.mark.usefixtures("small_policy")
def test_a_linear_network_shows_the_discriminator_its_inputs():
    net, c = build("linear", F, C, {}, [0]).double(), rows()
    recipe = recipe_of(net)
    loss, (found,) = step_of(net, recipe, c)
    theta = weights(net, recipe)
    assert_allclose(loss, by_hand(theta, c).sum(), rtol=1e-12)
    assert_same(found, slopes(lambda th: by_hand(th, c).sum(), theta), **DIFFERENCES)


# --- the halves ---------------------------------------------------------------------------------------


def pairing(perm, pair="any", y=None, real=None):
    """Partners of the first half's rows."""
    perm = np.atleast_2d(perm)
    y = np.zeros(perm.shape, int) if y is None else np.atleast_2d(y)
    models, n = perm.shape
    net = network()  # not asked for anything at the input
    recipe = Recipe(Spec(objective=AdaMixup(), pair=pair, n_stages=N_STAGES, hyper={"alpha": 1.0}))
    labels = torch.eye(C).double()[torch.tensor(y)]
    draw = Draw(torch.tensor(perm), torch.ones(models, n).double(), 0)
    batch = Batch(torch.zeros(models, n, F).double(), labels, draw, real)
    return first_half(Step(recipe, net, batch)).draw.perm.numpy()


@pytest.mark.parametrize("n", [4, 5, 6])
def test_every_pairing_within_the_half_is_equally_likely(n):
    perms = np.array(list(permutations(range(n))))
    found, counts = np.unique(pairing(perms), axis=0, return_counts=True)
    assert_array_equal(found, sorted(permutations(range((n + 1) // 2))))
    assert len(set(counts)) == 1


@pytest.mark.parametrize("pair", ["same_class", "other_class"])
@pytest.mark.parametrize("n", [1, 2, 7, 12])
def test_a_partner_drawn_by_class_stays_or_gives_way_to_one_of_the_half_that_fits(pair, n):
    rng = np.random.default_rng(n)
    half = (n + 1) // 2
    y = rng.integers(C, size=(30, n))
    perm = np.empty((30, n), int)
    for m, i in np.ndindex(30, n):
        fits = [j for j in range(n) if (y[m, i] == y[m, j]) == (pair == "same_class")]
        perm[m, i] = rng.choice(fits or [i])
    found = pairing(perm, pair, y)
    for m, i in np.ndindex(30, half):
        fits = [j for j in range(half) if (y[m, i] == y[m, j]) == (pair == "same_class")]
        from_there_on = sorted(fits, key=lambda j, at=perm[m, i] % half: (j - at) % half)
        assert found[m, i] == (perm[m, i] if perm[m, i] in fits else [*from_there_on, i][0])
    assert pair == "same_class" or n < 7 or len(np.unique(found)) == half


def test_the_classifier_never_learns_the_labels_of_the_other_half_but_the_discriminator_sees_its_rows():
    net, (X, y, perm, u) = network(), rows()
    recipe = recipe_of(net)
    loss, (found,) = step_of(net, recipe, (X, y, perm, u))
    relabelled = np.where(np.arange(6) < 3, y, (y + 1) % C)
    same, (same_gradients,) = step_of(net, recipe, (X, relabelled, perm, u))
    assert_array_equal(same, loss)
    assert_same(same_gradients, found, rtol=0)
    moved = np.where(np.arange(6)[:, None] < 3, X, X + 1)
    other, (other_gradients,) = step_of(net, recipe, (moved, y, perm, u))
    assert_same(other_gradients, {"head": found["head"]}, rtol=1e-12)
    assert abs(other - loss) > 1e-3
    assert np.abs(other_gradients["discriminator"][0] - found["discriminator"][0]).max() > 1e-3


def test_a_batch_that_is_not_mixed_is_trained_whole_and_by_cross_entropy_alone():
    (X, y, perm, u), identity = rows(), np.arange(6)
    net = network((0, 1))
    recipe = recipe_of(net, (7, 8), weighted=True)
    batch = batch_of(X, y, perm, u, w=W, mixed=[True, False], n_models=2)
    batch.draw.perm[1], batch.draw.lam[1] = torch.tensor(identity), 1.0
    losses, (mixed, plain) = step_of(net, recipe, batch)
    assert_allclose(losses[0], by_hand(weights(net, recipe), (X, y, perm, u), W).sum(), rtol=1e-12)
    assert least(mixed) > 0
    alone = network((1,))
    vanilla = Recipe(Spec(mix=None))
    vanilla.bind(lambda: None, State(torch.ones(C), None, True))
    loss = vanilla(alone, batch_of(X, y, perm, u, w=W)._replace(draw=None))
    loss.sum().backward()
    assert_allclose(losses[1], loss.item(), rtol=1e-12)
    found = weights(alone, recipe, of=lambda p: p.grad if p.shape[0] == 1 else p.detach())
    assert_same(plain, {name: found[name] for name in ("body", "head")}, rtol=1e-10)
    assert not any(array.any() for name in ("policy", "discriminator") for array in plain[name])


@pytest.mark.parametrize("pair", ["any", "other_class"])
def test_padding_changes_nothing_however_much_of_it_each_model_has(pair):
    n_rows, n = [11, 6, 1], 12
    net = network(range(3))
    recipe = recipe_of(net, range(3), weighted=True, pair=pair)
    cases = [rows(k, seed=k) for k in n_rows]
    w = np.linspace(0.5, 2, n)
    own = np.arange(n)
    padded = []
    for X, y, perm, u in cases:
        extra = n - len(X)
        padded.append(
            batch_of(
                np.concatenate([X, np.full((extra, F), 9.0)]),
                np.concatenate([y, np.zeros(extra, int)]),
                np.concatenate([perm, own[len(X) :]]),
                np.concatenate([u, np.ones(extra)]),
                w=w,
            )
        )
    x, y, perm, u = (torch.cat(v) for v in zip(*((b.x, b.y, *b.draw[:2]) for b in padded), strict=True))
    real = torch.tensor([[float(i < k) for i in range(n)] for k in n_rows]).double()
    losses, found = step_of(net, recipe, Batch(x, y, Draw(perm, u, 0), real))
    for m, c in enumerate(cases):
        one = network((m,))
        alone = recipe_of(one, (m,), weighted=True, pair=pair)
        loss, (expected,) = step_of(one, alone, c, w=w[: len(c[0])])
        assert_allclose(losses[m], loss[0], rtol=1e-12)
        assert_same(found[m], expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("sites", [0, [0, 2, 1]])
def test_a_stacked_model_gets_the_loss_and_gradients_that_it_gets_alone(sites):
    cases = [rows(7, seed=m) for m in range(3)]
    net = network(range(3))
    recipe = recipe_of(net, (7, 8, 9), sites=(0, 1, 2), weighted=True)
    w = np.linspace(0.5, 2, 7)
    batches = [batch_of(*c, w=w) for c in cases]
    x, y, perm, u = (torch.cat(v) for v in zip(*((b.x, b.y, *b.draw[:2]) for b in batches), strict=True))
    losses, found = step_of(net, recipe, Batch(x, y, Draw(perm, u, sites)))
    for m, c in enumerate(cases):
        one = network((m,))
        alone = recipe_of(one, (7 + m,), sites=(0, 1, 2), weighted=True)
        site = sites if isinstance(sites, int) else sites[m]
        loss, (expected,) = step_of(one, alone, c, w=w, site=site)
        assert_allclose(losses[m], loss[0], rtol=1e-12)
        assert_same(found[m], expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("pair", ["any", "other_class"])
def test_a_step_never_waits_for_the_device(pair):
    """Anything that needs a value on the host raises on `meta`, whose tensors have none."""
    net = network((0, 1)).to("meta")
    recipe = recipe_of(network((0, 1)), (7, 8), pair=pair, weighted=True).to("meta")
    batch = batch_of(*rows(), w=W, mixed=[True, False], n_models=2)
    draw = Draw(*(v.to("meta") if isinstance(v, torch.Tensor) else v for v in batch.draw))
    for real in (None, torch.ones(2, 6, device="meta").double()):
        loss = recipe(net, Batch(batch.x.to("meta"), batch.y.to("meta"), draw, real))
        loss.sum().backward()
        assert loss.is_meta
        assert loss.shape == (2,)


class Told:
    """A user's label that keeps what it is told, and drops every mixed row but the first two."""

    def __call__(self, y, perm, share, lam, taps, state):
        self.told = [v.detach().clone() for v in (perm, share, lam)]
        other = torch.take_along_dim(y, perm[..., None], 1)
        keep = torch.ones_like(share)
        keep[:, 2:] = 0
        return share[..., None] * y + (1 - share[..., None]) * other, keep


def test_a_label_is_told_the_policys_lam_and_rows_that_it_drops_leave_the_mixed_mean():
    net, c = network(), rows()
    recipe = recipe_of(net, label=Told())
    loss, _ = step_of(net, recipe, c)
    theta = weights(net, recipe)
    X, y, perm, u = c
    pairs = sorted(range(3), key=lambda i: perm[i])
    lam = [lam_of(theta, X[i], X[j], u[i]) for i, j in enumerate(pairs)]
    for told, expected in zip(recipe.label.told, (pairs, lam, lam), strict=True):
        assert_allclose(told[0], expected, rtol=1e-12)

    def ce(x, t):
        return -(t * np.log(softmax(body(theta, x) @ theta["head"][0] + theta["head"][1]))).sum()

    one = np.eye(C)[y]
    mixed = [
        ce(lam[i] * X[i] + (1 - lam[i]) * X[j], lam[i] * one[i] + (1 - lam[i]) * one[j])
        for i, j in enumerate(pairs)
    ]
    clean = [ce(X[i], one[i]) for i in range(3)]
    expected = np.mean(mixed[:2]) / 2 + np.mean(clean) / 2 + by_hand(theta, c)[1]
    assert_allclose(loss, [expected], rtol=1e-12)


# --- training -----------------------------------------------------------------------------------------


def table(n=90, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % C
    return rng.normal(size=(n, F)) + y[:, None], y


def small(cls=AdaMixupClassifier, **params):
    fixed = {"module": "mlp", "hidden": (6,), "dtype": "float64", "random_state": 0}
    return cls(**{**fixed, "batch_size": 32, "max_epochs": 3, **params})


def networks(net):
    """Weights of the classifier, the policy and the discriminator, copied."""
    aux = net.criterion_.aux["objective"]
    modules = {"classifier": net.module_, "policy": aux["policy"], "discriminator": aux["discriminator"]}
    return {
        f"{name}.{part}": value.clone()
        for name, module in modules.items()
        for part, value in module.state_dict().items()
    }


@pytest.fixture
def trained(monkeypatch):
    """Every batch that is trained, in order, with the networks as they were before."""
    seen = []
    step = MixNet.train_step

    def spy(net, batch, **kwargs):
        seen.append((batch, networks(net)))
        return step(net, batch, **kwargs)

    monkeypatch.setattr(MixNet, "train_step", spy)
    return seen


def test_training_changes_classifier_policy_and_discriminator_and_there_is_nothing_else(trained):
    X, y = table()
    clf = small(weight_decay=0, max_epochs=1).fit(X, y)
    before, after = trained[0][1], networks(clf.net_)
    assert len(after) == len(dict(clf.net_.get_all_learnable_params())) == 4 + 5 + 2
    for name, value in after.items():
        moved = (value - before[name]).abs() > 1e-6
        assert moved.double().mean() > 0.5  # a unit of the policy may be 0 for every pair of its one epoch


def test_what_is_drawn_is_one_uniform_number_a_row(trained):
    X, y = table()
    small(max_epochs=20).fit(X, y)
    u = torch.cat([batch.draw.lam[0] for batch, _ in trained]).numpy()
    levels = [0.1, 0.25, 0.5, 0.75, 0.9]
    assert_allclose(np.quantile(u, levels), levels, atol=0.04)
    assert len(np.unique(u)) > 0.99 * len(u)


def test_a_fit_is_gradient_descent_on_the_loss_for_all_three_networks(trained):
    """All steps again, in plain torch; weight decay acts on policy and discriminator as on the rest."""
    X, y = table(50)
    w = np.random.default_rng(0).random(50) + 0.5
    clf = small(activation="tanh", optimizer="sgd", lr=0.3, weight_decay=0.05, mix_prob=0.5)
    _, _, start = clone(clf)._prepare(X, y, w)
    theta = {
        name: [torch.tensor(a, requires_grad=True) for a in arrays]
        for name, arrays in weights(start.module, start.criterion).items()
    }
    every = [p for arrays in theta.values() for p in arrays]
    clf.fit(X, y, sample_weight=w)
    flags = [bool(batch.draw.mixed) for batch, _ in trained]
    assert set(flags) == {True, False}
    for (batch, _), mixed in zip(trained, flags, strict=True):
        x, labels, perm, u = batch.x[0], batch.y[0], batch.draw.perm[0], batch.draw.lam[0]
        (W1, b1), (Wh, bh), (Wd, bd) = theta["body"], theta["head"], theta["discriminator"]
        V1, c1, V2, c2, gates = theta["policy"]

        def features(x, W1=W1, b1=b1):
            return torch.tanh(x @ W1 + b1)

        def ce(x, t, Wh=Wh, bh=bh):
            return -(t * torch.log_softmax(features(x) @ Wh + bh, 1)).sum(1)

        half = (len(x) + 1) // 2
        first, second = x[:half], x[:half][perm[:half].argsort()]
        m = torch.sigmoid(gates)
        p = torch.softmax(torch.relu((m[0] * first + m[1] * second) / 2 @ V1 + c1) @ V2 + c2, 1)
        lam = (p[:, 0] + p[:, 1] * u[:half])[:, None]
        h = lam * first + (1 - lam) * second
        t = lam * labels[:half] + (1 - lam) * labels[:half][perm[:half].argsort()]
        logit_of_real, logit_of_false = ((features(r) @ Wd + bd)[:, 0] for r in (x, h))
        real = -(labels.sum(1) * torch.nn.functional.logsigmoid(logit_of_real)).sum()
        false = -(t.sum(1).detach() * torch.nn.functional.logsigmoid(-logit_of_false)).sum()
        loss = torch.cat([ce(h, t), ce(first, labels[:half])]).mean() + (real + false) / (len(x) + half)
        slope = torch.autograd.grad(loss if mixed else ce(x, labels).mean(), every, allow_unused=True)
        with torch.no_grad():
            for value, g in zip(every, slope, strict=True):
                value -= 0.3 * ((0 if g is None else g) + 0.05 * value)
    assert_same(
        weights(clf.net_.module_, clf.net_.criterion_),
        {name: [p.detach().numpy() for p in arrays] for name, arrays in theta.items()},
        rtol=1e-9,
        atol=1e-12,
    )


def test_policies_learn_to_keep_mixed_rows_off_real_rows_of_another_label():
    """Class 1 lies half-way between two groups of class 0: there, a mixed row is a manifold intrusion."""
    rng = np.random.default_rng(0)
    place, y = np.repeat([-2.0, 0.0, 2.0], 100), np.repeat([0, 1, 0], 100)
    X = np.column_stack([place, np.zeros(300)]) + 0.1 * rng.normal(size=(300, 2))
    params = {"hidden": (32,), "lr": 3e-3, "max_epochs": 60, "n_members": 8, "n_cv": 1}
    clf = AdaMixupClassifier(**params, encoder="passthrough")
    _, _, start = clf.set_params(random_state=0)._prepare(X, y)
    ends = torch.tensor([[-2.0, 0.0], [2.0, 0.0]]).reshape(2, 1, 1, 2)

    def distance(recipe):
        """How far each member's interval stays from lam = 1/2."""
        with torch.no_grad():
            a, b, _ = recipe.aux["objective"]["policy"](*ends)[:, 0].unbind(-1)
        return torch.maximum(a - 0.5, 0.5 - a - b).clamp_min(0)

    assert (distance(start.criterion) == 0).all()
    assert (distance(clf.fit(X, y).net_.criterion_) > 0.25).sum() >= 6
    assert clf.score(X, y) == 1


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"mix_at": "any", "dropout": 0.1, "pair": "other_class"},
        {"label": GenLabel(), "drop_intrusions": True, "mix_off": 0.3},
        {"label": OnlineGenLabel(), "mix_at": "last", "label_smoothing": 0.1},
        {"label": "remix", "module": "linear", "hidden": (128, 128), "lr": 0.05},
        {"n_members": 2, "schedule": "cosine", "class_weight": {0: 2, 1: 1, 2: 1}, "max_epochs": 40},
        {"label": "logistic", "batch_size": 25, "pair": "same_class", "mix_prob": 0.5, "amp": "bf16"},
    ],
)
def test_it_learns_and_the_same_seed_gives_the_same_bits(params):
    X, y = load_iris(return_X_y=True)
    fixed = {"module": "mlp", "hidden": (32,), "lr": 1e-2, "max_epochs": 30, "random_state": 0}
    params = fixed | params
    first, second = (AdaMixupClassifier(**params).fit(X, y) for _ in range(2))
    assert first.score(X, y) > 0.9
    assert np.isfinite(first.history_["train_loss"]).all()
    assert np.array_equal(first.predict_proba(X), second.predict_proba(X))


def test_it_is_not_mixup():
    X, y = table()
    ours, theirs = small(), small(MixupClassifier, lam_per="sample")
    assert np.abs(ours.fit(X, y).predict_proba(X) - theirs.fit(X, y).predict_proba(X)).max() > 1e-3


def test_without_mixing_it_is_plain_training():
    X, y = table()
    ours, theirs = small(mix_prob=0), small(MixupClassifier, mix=None)
    assert_allclose(ours.fit(X, y).predict_proba(X), theirs.fit(X, y).predict_proba(X), rtol=1e-9)


@pytest.mark.parametrize("params", [{}, {"mix_at": "any", "mix_prob": 0.5, "pair": "other_class"}])
def test_the_first_of_several_members_is_what_a_lone_one_would_be(params):
    X, y = table()
    three, one = (small(n_members=n, **params).fit(X, y) for n in (3, 1))
    several, alone = three.predict_proba_members(X), one.predict_proba_members(X)
    assert_allclose(several[0], alone[0], rtol=1e-9)
    assert all(np.abs(other - alone[0]).max() > 1e-4 for other in several[1:])
    ours, theirs = networks(three.net_), networks(one.net_)
    for name, value in theirs.items():
        assert_allclose(ours[name][:1], value, rtol=1e-8, atol=1e-12)


def test_policy_and_discriminator_change_no_prediction():
    X, y = table()
    clf = small().fit(X, y)
    before = clf.predict_proba(X)
    with torch.no_grad():
        for p in clf.net_.criterion_.aux.parameters():
            p.fill_(float("nan"))
    assert np.array_equal(clf.predict_proba(X), before)
    plain = small(MixupClassifier).fit(X, y).net_.module_.state_dict()
    assert list(clf.net_.module_.state_dict()) == list(plain)


def test_a_pickle_keeps_all_networks_and_partial_fit_goes_on_with_them(trained):
    X, y = table()
    clf = small(optimizer="sgd", lr=0.1).partial_fit(X, y, classes=[0, 1, 2])  # no moments to be lost
    loaded = pickle.loads(pickle.dumps(clf))
    kept = networks(clf.net_)
    del trained[:]
    for one in (clf, loaded):
        one.partial_fit(X, y)
    assert len(trained) == 6
    for _, start in trained[::3]:
        assert all(torch.equal(start[name], value) for name, value in kept.items())
    ours, theirs = networks(clf.net_), networks(loaded.net_)
    assert all(torch.equal(theirs[name], value) for name, value in ours.items())
    assert not any(torch.equal(kept[name], value) for name, value in ours.items())


def test_a_warm_start_goes_on_with_all_networks_and_a_new_fit_does_not(trained):
    X, y = table()
    clf = small(warm_start=True, max_epochs=1).fit(X, y)
    first, kept = trained[0][1], networks(clf.net_)
    del trained[:]
    clf.fit(X, y)
    assert all(torch.equal(trained[0][1][name], value) for name, value in kept.items())
    del trained[:]
    clf.set_params(warm_start=False).fit(X, y)
    assert all(torch.equal(trained[0][1][name], value) for name, value in first.items())


class Third:
    """A user's mask that ignores lam."""

    def __call__(self, h, lam, noise, extra):
        return torch.full_like(lam, 1 / 3)[..., None], lam


class Curve:
    """A user's mask that follows lam."""

    def __call__(self, h, lam, noise, extra):
        m = lam[..., None] ** torch.linspace(1, 0.5, h.shape[-1], dtype=h.dtype)
        return m, m.mean(-1)


def test_a_users_mask_that_follows_lam_trains_the_policy_too(trained):
    X, y = table()
    clf = small(mix=Curve(), weight_decay=0).fit(X, y)
    first = trained[0][1]
    assert all(not torch.equal(first[name], v) for name, v in networks(clf.net_).items())


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"mix": None}, "Use mix='linear', or MixupClassifier(mix=None)"),
        ({"mix": "columns"}, "policy of AdaMixUp, to follow. Use mix='linear'"),
        ({"mix": "half"}, "policy of AdaMixUp, to follow. Use mix='linear'"),
        ({"label": LaMix()}, "LaMix has a training of its own"),
        ({"label": LatentGenLabel()}, "LatentGenLabel has a training of its own"),
        ({"module": nn.Linear(4, 3), "hidden": (128, 128)}, "this module shows none. Use module='mlp'"),
        ({"module": "linear", "hidden": (128, 128), "mix_at": "hidden"}, "Use mix_at='input'"),
        ({"pair": "cousin"}, "'pair' parameter of AdaMixupClassifier"),
        ({"label": "cosine"}, "'label' parameter"),
    ],
)
def test_what_cannot_be_used_is_refused_before_training_and_costs_no_fitted_model(params, words):
    X, y = load_iris(return_X_y=True)
    fresh = AdaMixupClassifier(**{"hidden": (4,), **params})
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the words are compared
        fresh.fit(X, y)
    assert words in str(raised.value)
    assert not hasattr(fresh, "net_")
    fitted = AdaMixupClassifier(max_epochs=1, hidden=(4,)).fit(X, y)
    net = fitted.net_
    with pytest.raises(ValueError):  # noqa: PT011 - compared above
        fitted.set_params(**params).fit(X, y)
    assert fitted.net_ is net


def test_a_users_mask_that_ignores_lam_is_refused():
    with pytest.raises(ValueError, match="the mixed rows do not depend on lam"):
        small(mix=Third()).fit(*table())


@pytest.mark.parametrize("name", ["alpha", "lam_per", "clean_weight"])
def test_what_the_policy_and_the_clean_half_replace_is_no_parameter(name):
    with pytest.raises(TypeError, match=f"unknown parameter '{name}'"):
        AdaMixupClassifier(**{name: 1})
