"""AMP: its equations on small arrays, against both losses kept with their graphs, and training with it."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.datasets import load_iris, load_wine
from torch import nn

from mixsk import AMPClassifier, MixupClassifier
from mixsk.backbones import Backbone, build
from mixsk.backbones.wrapped import Wrapped
from mixsk.encoding import Layout
from mixsk.rules import (
    AdversarialLam,
    Batch,
    Draw,
    GenLabel,
    InfiniteClass,
    LaMix,
    Recipe,
    Rows,
    Spec,
    State,
    cross_entropy,
)

N_FEATURES, N_CLASSES = 4, 3


# ---- a batch, a network, and AMP on them with numpy


class Case(NamedTuple):
    """One model's batch and draw, as arrays."""

    x: np.ndarray
    y: np.ndarray
    perm: np.ndarray
    lam: np.ndarray
    site: int = 0

    @property
    def linear(self):
        return self.lam[:, None] * self.y + (1 - self.lam)[:, None] * self.y[self.perm]


def case(seed=0, n=12, site=0):
    rng = np.random.default_rng(seed)
    y = np.eye(N_CLASSES)[rng.integers(N_CLASSES, size=n)]
    return Case(rng.normal(size=(n, N_FEATURES)), y, rng.permutation(n), rng.random(n), site)


def batch_of(*cases, real=None, mixed=None):
    x, y, perm, lam = (torch.tensor(np.stack(arrays)) for arrays in list(zip(*cases, strict=True))[:4])
    sites = [c.site for c in cases]
    site = sites[0] if len(set(sites)) == 1 else sites
    mixed = None if mixed is None else torch.tensor(mixed)
    real = None if real is None else torch.tensor(np.array(real, float))
    return Batch(x, y, Draw(perm, lam, site, None, mixed), real)


def network(*seeds, steep=6.0, **options):
    """An MLP whose logits are large, and far from linear in lam."""
    options = {"hidden": (5, 4), "activation": "tanh", **options}
    net = build("mlp", N_FEATURES, N_CLASSES, options, seeds or (0,)).double()
    with torch.no_grad():
        *hidden, head, _ = net.parameters()
        head.mul_(steep)
        for weight in hidden[::2]:
            weight.mul_(3)
    return net


def layers(net, model=0):
    """[(W, b), ...] of one model, as arrays."""
    arrays = [p[model].detach().numpy() for p in net.parameters()]
    return list(zip(arrays[::2], arrays[1::2], strict=True))


def softmax_loss(scores, t):
    exp = torch.exp if isinstance(scores, torch.Tensor) else np.exp
    log = torch.log if isinstance(scores, torch.Tensor) else np.log
    return -(t * (scores - log(exp(scores).sum(-1))[..., None])).sum(-1)


def scores_at(weights, case, lam, features=None):
    """Scores of the rows mixed at lam; `features` gathers what each layer is given."""
    tanh = torch.tanh if isinstance(case.x, torch.Tensor) else np.tanh
    h = case.x
    for k, (W, b) in enumerate(weights):
        if k:
            h = tanh(h)
        if k == case.site:
            h = lam[:, None] * h + (1 - lam)[:, None] * h[case.perm]
        if features is not None:
            features.append(h)
        h = h @ W + b
    return h


def losses_at(weights, case, lam, t, loss=softmax_loss):
    return loss(scores_at(weights, case, lam), t)


def own_slope(losses, lam, delta=1e-6):
    """Slope of each row's own loss, by central differences."""
    return (losses(lam + delta) - losses(lam - delta)) / (2 * delta)


def slope_of_sum(losses, lam, delta=1e-6):
    """Slope of all rows' losses in each row's lam, by central differences."""
    moves = delta * np.eye(len(lam))
    return np.array([losses(lam + m).sum() - losses(lam - m).sum() for m in moves]) / (2 * delta)


def move(lam, slope, epsilon):
    """Eq. 15 with Eq. 16, and lam kept in [0, 1]."""
    steps = [epsilon * min(max(s, -1), 1) for s in slope]
    return np.array([min(max(v + step, 0), 1) for v, step in zip(lam, steps, strict=True)])


def by_hand(weights, case, epsilon, t=None):
    """L, L' and the moved lam of a case (Eq. 14-16, 20); the label stays at lam."""
    t = case.linear if t is None else t

    def losses(lam):
        return losses_at(weights, case, lam, t)

    moved = move(case.lam, own_slope(losses, case.lam), epsilon)
    return losses(case.lam), losses(moved), moved


def leaves(weights):
    return [tuple(torch.tensor(a, requires_grad=True) for a in layer) for layer in weights]


def as_tensors(case):
    return Case(*(torch.tensor(a) for a in case[:4]), case.site)


# ---- what is run, watched by a mask and a loss of our own


class Watched:
    """The linear mask; keeps every lam it is called with."""

    def __init__(self):
        self.lams = []

    def __call__(self, h, lam, noise, extra):
        self.lams.append(lam.detach().clone())
        return lam.reshape(lam.shape + (1,) * (h.ndim - 2)), lam


class Recorded:
    """Cross entropy; keeps every row's loss."""

    def __init__(self):
        self.seen = []

    def __call__(self, logits, t, w):
        self.seen.append(cross_entropy(logits, t).detach())
        return cross_entropy(logits, t)


class HalfFeatures:
    """A user's label: half linear, half the softmax of what the head sees of the mixed row."""

    tap = "last"

    def __call__(self, y, perm, share, lam, taps, state):
        linear = share[..., None] * y + (1 - share)[..., None] * torch.take_along_dim(y, perm[..., None], 1)
        return 0.5 * linear + 0.5 * torch.softmax(taps[2][..., :N_CLASSES], -1), None

    @staticmethod
    def by_hand(weights, case):
        features = []
        scores_at(weights, case, case.lam, features)
        s = np.exp(features[2][:, :N_CLASSES])
        return 0.5 * case.linear + 0.5 * s / s.sum(1, keepdims=True)


def recipe_for(objective, sites, *, n_stages=2, rows=None, state=None, **spec):
    spec = {"mix": Watched(), "loss": Recorded(), "lam_per": "sample", **spec}
    recipe = Recipe(Spec(sites=sites, n_stages=n_stages, objective=objective, **spec))
    recipe.bind(lambda: rows, state or State(torch.ones(N_CLASSES).double()))
    return recipe


def run(net, objective, *cases, real=None, mixed=None, **spec):
    """Losses (M,), gradients of the network's parameters, and the recipe that was run."""
    recipe = recipe_for(objective, tuple({c.site for c in cases}), n_stages=net.n_stages, **spec)
    loss = recipe(net, batch_of(*cases, real=real, mixed=mixed))
    return loss.detach(), torch.autograd.grad(loss.sum(), list(net.parameters())), recipe


def assert_gradients(given, expected, **tolerance):
    assert len(given) == len(expected)
    for one, other in zip(given, expected, strict=True):
        assert_allclose(one.reshape(other.shape), other.detach(), **{"rtol": 1e-6, "atol": 1e-9, **tolerance})


# ---- Eq. 8, 14-17, 20: how lam moves


@pytest.mark.parametrize("site", [0, 1, 2])
@pytest.mark.parametrize("label", ["linear", HalfFeatures()])
def test_lam_moves_up_the_finite_difference_slope_of_its_rows_own_loss(site, label):
    net, c = network(), case(site=site)
    t = c.linear if label == "linear" else label.by_hand(layers(net), c)
    before, after, moved = by_hand(layers(net), c, 0.1, t)
    _, _, recipe = run(net, AdversarialLam(0.1), c, label=label)
    probed, tried, chosen = (lam[0].numpy() for lam in recipe.mask.lams)
    assert_allclose(probed, c.lam, rtol=0)
    assert_allclose(tried, moved, atol=1e-9)
    assert_allclose(chosen, np.where(after > before, moved, c.lam), atol=1e-9)
    assert_allclose(recipe.loss.seen[1][0], after, rtol=1e-7)


class Bells:
    """A user's density: round bells of variance 1 at the class means."""

    def fit(self, Z, y):
        self.means = np.array([Z[y == c].mean(0) for c in range(N_CLASSES)])
        return self

    def log_prob(self, z):
        return -0.5 * ((z[:, None] - self.means) ** 2).sum(-1)


def test_genlabels_posterior_is_that_of_the_row_mixed_at_the_drawn_lam():
    net, c = network(), case()
    y = np.arange(30) % N_CLASSES
    X = np.random.default_rng(1).normal(size=(30, N_FEATURES)) + y[:, None]
    rows = Rows(torch.tensor(X), torch.tensor(y), None, N_CLASSES, Layout.of_numbers(N_FEATURES))
    h = c.lam[:, None] * c.x + (1 - c.lam)[:, None] * c.x[c.perm]
    bells = np.exp([[-0.5 * ((row - X[y == k].mean(0)) ** 2).sum() for k in range(N_CLASSES)] for row in h])
    t = 0.3 * c.linear + 0.7 * bells / bells.sum(1, keepdims=True)
    before, after, moved = by_hand(layers(net), c, 0.1, t)
    loss, _, recipe = run(net, AdversarialLam(0.1), c, label=GenLabel(Bells(), gamma=0.7), rows=rows)
    assert_allclose(recipe.mask.lams[1][0], moved, atol=1e-8)
    assert_allclose(loss, np.maximum(before, after).mean(), rtol=1e-7)


def test_the_slope_is_clipped_at_1_and_lam_at_0_and_1():
    net, c = network(steep=40), case(n=40)
    slope = own_slope(lambda lam: losses_at(layers(net), c, lam, c.linear), c.lam)
    _, _, moved = by_hand(layers(net), c, 0.2)
    assert (np.abs(slope) > 1).any()
    assert (np.abs(slope) < 1).any()
    assert (moved == 0).any()
    assert (moved == 1).any()
    _, _, recipe = run(net, AdversarialLam(0.2), c)
    assert_allclose(recipe.mask.lams[1][0], moved, atol=1e-8)


def test_the_label_side_would_move_lam_elsewhere_and_does_not():
    net, c = network(), case()
    _, _, recipe = run(net, AdversarialLam(0.01), c)

    def both_sides(lam):
        t = lam[:, None] * c.y + (1 - lam)[:, None] * c.y[c.perm]
        return losses_at(layers(net), c, lam, t)

    elsewhere = move(c.lam, own_slope(both_sides, c.lam), 0.01)
    assert np.abs(recipe.mask.lams[1][0].numpy() - elsewhere).max() > 1e-3


def test_a_rows_loss_is_its_two_labels_losses_weighed_by_lam():
    net, c = network(), case()
    _, _, recipe = run(net, AdversarialLam(), c)
    scores = scores_at(layers(net), c, c.lam)
    expected = c.lam * softmax_loss(scores, c.y) + (1 - c.lam) * softmax_loss(scores, c.y[c.perm])  # Eq. 17
    assert_allclose(recipe.loss.seen[0][0], expected, rtol=1e-10)


def test_the_slope_of_the_mean_is_smaller_by_the_number_of_real_rows():
    net, c = network(), case()
    slope = own_slope(lambda lam: losses_at(layers(net), c, lam, c.linear), c.lam)
    real = np.arange(12) < 9
    _, _, recipe = run(net, AdversarialLam(0.1, reduction="mean"), c, real=[real])
    assert_allclose(recipe.mask.lams[1][0], move(c.lam, slope / 9, 0.1), atol=1e-9)
    _, _, recipe = run(net, AdversarialLam(0.1, reduction="mean"), c)
    assert_allclose(recipe.mask.lams[1][0], move(c.lam, slope / 12, 0.1), atol=1e-9)


# ---- Eq. 18-21: what is minimised


@pytest.mark.parametrize("site", [0, 1, 2])
@pytest.mark.parametrize("select", ["max", "ascent"])
@pytest.mark.parametrize("label", ["linear", HalfFeatures()])
def test_loss_and_gradients_are_those_of_both_graphs_with_the_branch_chosen_row_by_row(site, select, label):
    net, c = network(), case(seed=1, site=site, n=30)
    label_by_hand = c.linear if label == "linear" else label.by_hand(layers(net), c)
    _, _, moved = by_hand(layers(net), c, 0.4, label_by_hand)
    weights, tensors = leaves(layers(net)), as_tensors(c)
    t = torch.tensor(label_by_hand)
    before = losses_at(weights, tensors, tensors.lam, t)
    after = losses_at(weights, tensors, torch.tensor(moved), t)
    mask = after > before
    assert mask.any()
    assert (after < before).any() == (site < 2)  # under the head alone the loss is convex in lam
    expected = (before * ~mask + after * mask if select == "max" else after).mean()  # Eq. 19
    loss, gradients, _ = run(net, AdversarialLam(0.4, select=select), c, label=label)
    assert_allclose(loss, expected.detach(), rtol=1e-7)
    flat = [p for layer in weights for p in layer]
    assert_gradients(gradients, torch.autograd.grad(expected, flat))


def test_no_gradient_flows_through_the_moved_lam():
    net, c = network(), as_tensors(case())
    weights = leaves(layers(net))
    flat = [p for layer in weights for p in layer]
    lam, t = c.lam.clone().requires_grad_(), torch.tensor(case().linear)
    (slope,) = torch.autograd.grad(losses_at(weights, c, lam, t).sum(), lam, create_graph=True)
    moved = (c.lam + 0.05 * slope.clamp(-1, 1)).clamp(0, 1)
    _, gradients, _ = run(net, AdversarialLam(0.05, select="ascent"), case())
    constant = torch.autograd.grad(losses_at(weights, c, moved.detach(), t).mean(), flat, retain_graph=True)
    assert_gradients(gradients, constant)
    second_order = torch.autograd.grad(losses_at(weights, c, moved, t).mean(), flat)
    assert max((a - b).abs().max() for a, b in zip(constant, second_order, strict=True)) > 1e-4


@pytest.mark.parametrize("site", [0, 1, 2])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_with_epsilon_zero_it_is_mixup_bit_for_bit(site, dropout):
    net, c = network(dropout=dropout), case(site=site)
    net.train()
    torch.manual_seed(0)
    loss, gradients, _ = run(net, "mixed", c)
    after_mixup = torch.get_rng_state()
    torch.manual_seed(0)
    same, same_gradients, _ = run(net, AdversarialLam(0), c)
    assert torch.equal(torch.get_rng_state(), after_mixup)
    assert torch.equal(same, loss)
    assert all(torch.equal(a, b) for a, b in zip(same_gradients, gradients, strict=True))


# ---- noise and batch statistics


class Noisy(nn.Module):
    """A user's module; keeps its dropout masks."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(N_FEATURES, N_CLASSES)
        self.masks = []

    def forward(self, x):
        self.masks.append(nn.functional.dropout(torch.ones_like(x), 0.5, self.training))
        return self.linear(x * self.masks[-1])


@pytest.mark.parametrize("select", ["max", "ascent"])
def test_all_forwards_of_a_step_see_the_same_dropout_masks(select):
    net = Wrapped(Noisy().double())
    run(net, AdversarialLam(0.1, select=select, reweight=True), case())
    masks = net.head.module.masks
    assert len(masks) == 3
    assert (masks[0] == 0).any()
    assert all(torch.equal(mask, masks[0]) for mask in masks)


def test_without_shared_noise_each_forward_has_masks_of_its_own():
    net = Wrapped(Noisy().double())
    run(net, AdversarialLam(0.1, share_noise=False), case())
    first, *rest = net.head.module.masks
    assert not any(torch.equal(mask, first) for mask in rest)


@pytest.mark.parametrize("site", [0, 1, 2])
def test_a_tiny_move_changes_the_loss_by_next_to_nothing_only_if_noise_is_shared(site):
    net, c = network(dropout=0.5), case(site=site)

    def largest_gain(share_noise):
        torch.manual_seed(0)
        seen = run(net, AdversarialLam(1e-9, share_noise=share_noise), c)[2].loss.seen
        return (seen[1] - seen[0]).abs().max()

    assert largest_gain(True) < 1e-7
    assert largest_gain(False) > 0.1


@pytest.mark.parametrize("loss", ["cross_entropy", "infinite"])
def test_torchs_generator_advances_as_by_one_forward(loss):
    net, c = network(dropout=0.5), case()
    states = []
    for objective in ("mixed", AdversarialLam(0.1), AdversarialLam(0.1, select="ascent", reweight=True)):
        torch.manual_seed(0)
        run(net, objective, c, loss=loss)
        states.append(torch.get_rng_state())
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])


def batch_normalised(parameters, x):
    """Scores of linear -> batch norm -> tanh -> linear, and the moments that the norm saw."""
    W, b, scale, shift, V, c = parameters
    h = x @ W.T + b
    mean, var = h.mean(0), ((h - h.mean(0)) ** 2).mean(0)
    h = (h - mean) / (var + 1e-5) ** 0.5 * scale + shift
    return (torch.tanh(h) if isinstance(h, torch.Tensor) else np.tanh(h)) @ V.T + c, mean, var


@pytest.mark.parametrize("select", ["max", "ascent"])
def test_batch_norm_sees_one_batch_a_step_and_gradients_are_those_of_both_graphs(select):
    torch.manual_seed(0)
    parts = nn.Linear(N_FEATURES, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, N_CLASSES)
    net, c = Wrapped(nn.Sequential(*parts).double()), case(n=20)
    with torch.no_grad():
        net.head.module[3].weight.mul_(6)
    arrays = [p.detach().numpy() for p in net.parameters()]

    def mixed(case, lam):
        return lam[:, None] * case.x + (1 - lam)[:, None] * case.x[case.perm]

    def losses(lam):
        return softmax_loss(batch_normalised(arrays, mixed(c, lam))[0], c.linear)

    moved = move(c.lam, slope_of_sum(losses, c.lam), 0.3)
    leaf, tensors = [torch.tensor(a, requires_grad=True) for a in arrays], as_tensors(c)
    before, after = (
        softmax_loss(batch_normalised(leaf, mixed(tensors, torch.tensor(lam)))[0], torch.tensor(c.linear))
        for lam in (c.lam, moved)
    )
    chosen = torch.where(after > before, after, before) if select == "max" else after
    assert 0 < (after > before).sum() < 20
    loss, gradients, recipe = run(net, AdversarialLam(0.3, select=select), c)
    assert_allclose(recipe.mask.lams[1][0], moved, atol=1e-8)
    assert_allclose(loss, chosen.mean().detach(), rtol=1e-7)
    assert_gradients(gradients, torch.autograd.grad(chosen.mean(), leaf), atol=1e-8)
    assert len(recipe.loss.seen) == 2  # both with their graphs, none run again
    norm = net.head.module[1]
    _, mean, var = batch_normalised(arrays, mixed(c, c.lam))
    assert norm.num_batches_tracked == 1
    assert norm.track_running_stats
    assert_allclose(norm.running_mean, 0.1 * mean, rtol=1e-10)
    assert_allclose(norm.running_var, 0.9 + 0.1 * var * 20 / 19, rtol=1e-10)


class NormalisedStage(nn.Module):
    """A user's stage with batch norm, for one model."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(N_FEATURES, N_FEATURES), nn.BatchNorm1d(N_FEATURES)

    def forward(self, h):
        return torch.tanh(self.norm(self.linear(h[0]))).unsqueeze(0)


class NormalisedStages(Backbone):
    """A user's network of such stages, which says that its rows see each other."""

    rows_interact = True

    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList([NormalisedStage(), NormalisedStage()])
        self.head = nn.Linear(N_FEATURES, N_CLASSES)


@pytest.mark.parametrize("site", [0, 1, 2])
def test_batch_norm_below_and_above_the_site_sees_one_batch_a_step(site):
    torch.manual_seed(0)
    net, once, c = NormalisedStages().double(), NormalisedStages().double(), case(n=20, site=site)
    once.load_state_dict(net.state_dict())
    run(net, AdversarialLam(0.3), c)
    run(once, "mixed", c)
    assert net.stages[0].norm.num_batches_tracked == net.stages[1].norm.num_batches_tracked == 1
    for stage, same in zip(net.stages, once.stages, strict=True):
        assert_allclose(stage.norm.running_mean, same.norm.running_mean, rtol=1e-10)
        assert_allclose(stage.norm.running_var, same.norm.running_var, rtol=1e-10)


def infinite_loss(scores, t):
    """Row i's share of the infinite classes' loss: its row of the class axis, its column of the pair axis."""
    log = torch.log if isinstance(scores, torch.Tensor) else np.log
    exp = torch.exp if isinstance(scores, torch.Tensor) else np.exp
    s = scores @ t.T
    own = s.diagonal()
    return log(exp(s).sum(1)) - own + log(exp(s).sum(0)) - own


@pytest.mark.parametrize("site", [0, 2])
def test_with_infinite_classes_a_rows_loss_is_its_class_axis_and_its_pair_axis(site):
    net, c = network(steep=2), case(site=site, n=20)

    def losses(lam):
        return losses_at(layers(net), c, lam, c.linear, infinite_loss)

    moved = move(c.lam, slope_of_sum(losses, c.lam), 0.3)
    weights, tensors = leaves(layers(net)), as_tensors(c)
    before, after = (
        losses_at(weights, tensors, torch.tensor(lam), torch.tensor(c.linear), infinite_loss)
        for lam in (c.lam, moved)
    )
    assert 0 < (after > before).sum() < 20
    chosen = torch.where(after > before, after, before).mean()
    loss, gradients, recipe = run(net, AdversarialLam(0.3), c, loss=InfiniteClass("both", "uniform"))
    assert_allclose(recipe.mask.lams[1][0], moved, atol=1e-8)
    assert_allclose(loss, chosen.detach(), rtol=1e-7)
    flat = [p for layer in weights for p in layer]
    assert_gradients(gradients, torch.autograd.grad(chosen, flat), atol=1e-8)


# ---- the released code's weights


def test_rows_are_weighed_by_how_far_their_gain_exceeds_the_positive_ones_of_five_batches():
    net = network(0, 1)
    recipe = recipe_for(AdversarialLam(0.3, reweight=True), (0,))
    real = np.array([[1.0] * 9 + [0] * 3, [1.0] * 12])
    recent, fallen = [[], []], 0
    for step in range(7):
        cases = case(seed=10 + step), case(seed=20 + step)
        loss = recipe(net, batch_of(*cases, real=real))
        for m, c in enumerate(cases):
            before, after, _ = by_hand(layers(net, m), c, 0.3)
            d = after - before
            d[np.abs(d) < 1e-12] = 0  # a row that is its own partner gains nothing, but for rounding
            recent[m].append(d[(d > 0) & (real[m] > 0)])
            positive, fallen = np.concatenate(recent[m][-5:]), fallen + (d < 0).sum()
            w = np.ones(12)
            for i in np.flatnonzero(d > positive.mean()):
                w[i] += (d[i] - positive.mean()) / positive.std(ddof=1)
            expected = (w * np.maximum(before, after) * real[m]).sum() / real[m].sum()
            assert_allclose(loss[m].detach(), expected, rtol=1e-6)
    assert fallen


@pytest.mark.parametrize("loss", ["cross_entropy", "infinite"])
def test_without_a_positive_gain_all_rows_weigh_the_same(loss):
    net, c = network(), case()
    c = c._replace(perm=np.arange(12))
    weighed, gradients, _ = run(net, AdversarialLam(0.3, reweight=True), c, loss=loss)
    plain, same_gradients, _ = run(net, "mixed", c, loss=loss)
    assert torch.equal(weighed, plain)
    assert_gradients(gradients, same_gradients, rtol=1e-12)


# ---- together with the other axes


def test_rows_that_intrude_are_dropped_from_the_mean():
    net, c = network(), case(n=30)
    X, y = c.x, c.y.argmax(1)
    rows = Rows(torch.tensor(X), torch.tensor(y), None, N_CLASSES, Layout.of_numbers(N_FEATURES))
    h = c.lam[:, None] * X + (1 - c.lam)[:, None] * X[c.perm]
    nearest = y[((h[:, None] - X) ** 2).sum(-1).argmin(1)]
    keep = (nearest == y) | (nearest == y[c.perm])
    assert 0 < keep.sum() < 30
    before, after, _ = by_hand(layers(net), c, 0.3)
    loss, _, _ = run(net, AdversarialLam(0.3), c, drop_intrusions=True, rows=rows)
    assert_allclose(loss, np.maximum(before, after)[keep].mean(), rtol=1e-7)


def test_class_and_sample_weights_weigh_the_larger_loss():
    net, c = network(), case()
    rng = np.random.default_rng(5)
    per_class, per_row = rng.uniform(0.5, 2, N_CLASSES), rng.uniform(0.5, 2, 12)
    c = c._replace(y=c.y * per_row[:, None])
    weighed = c.linear * per_class
    w = weighed.sum(1)
    before, after, _ = by_hand(layers(net), c, 0.3, weighed / w[:, None])
    state = State(torch.ones(N_CLASSES).double(), torch.tensor(per_class), weighted=True)
    loss, _, _ = run(net, AdversarialLam(0.3), c, state=state)
    assert_allclose(loss, (w * np.maximum(before, after)).mean(), rtol=1e-7)


def test_label_smoothing_and_the_clean_term_compose():
    net, c = network(), case(site=1)
    before, after, _ = by_hand(layers(net), c, 0.3, 0.8 * c.linear + 0.2 / N_CLASSES)
    clean = losses_at(layers(net), c, np.ones(12), 0.8 * c.y + 0.2 / N_CLASSES)
    hyper = {"alpha": 1.0, "label_smoothing": 0.2, "clean_weight": 0.7}
    loss, _, _ = run(net, AdversarialLam(0.3), c, hyper=hyper)
    assert_allclose(loss, np.maximum(before, after).mean() + 0.7 * clean.mean(), rtol=1e-7)


@pytest.mark.parametrize("loss", ["cross_entropy", "infinite"])
def test_a_batch_that_is_not_mixed_is_trained_as_mixup_trains_it(loss):
    net, c = network(), case(site=1)._replace(perm=np.arange(12), lam=np.ones(12))
    plain, gradients, _ = run(net, "mixed", c, loss=loss, mixed=[False])
    same, same_gradients, _ = run(net, AdversarialLam(0.3), c, loss=loss, mixed=[False])
    assert torch.equal(same, plain)
    assert_gradients(same_gradients, gradients, rtol=1e-12)


def test_rows_that_share_a_lam_are_moved_one_by_one():
    net, c = network(), case()
    c = c._replace(lam=np.full(12, 0.4))
    _, _, moved = by_hand(layers(net), c, 0.1)
    _, _, recipe = run(net, AdversarialLam(0.1), c, lam_per="batch")
    assert len(np.unique(moved)) > 6  # the others meet the clip
    assert_allclose(recipe.mask.lams[1][0], moved, atol=1e-9)


@pytest.mark.parametrize("sites", [(0, 0), (0, 2), (2, 1)])
@pytest.mark.parametrize("loss", ["cross_entropy", "infinite"])
def test_stacked_models_with_their_own_epsilon_and_site_train_as_each_alone(sites, loss):
    epsilon = [0.3, 0.05]
    cases = [case(seed=m, site=site) for m, site in enumerate(sites)]
    stacked = AdversarialLam(torch.tensor(epsilon, dtype=torch.float64))
    losses, gradients, _ = run(network(5, 6), stacked, *cases, loss=loss)
    for m, c in enumerate(cases):
        alone, own, _ = run(network(5 + m), AdversarialLam(epsilon[m]), c, loss=loss)
        assert_allclose(losses[m], alone[0], rtol=1e-7)
        assert_gradients([g[m] for g in gradients], [g[0] for g in own])


# ---- the classifier


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


FAST = {"module": "mlp", "hidden": (32,), "lr": 1e-2, "max_epochs": 60, "random_state": 0}


def probabilities(data, cls=AMPClassifier, **params):
    return cls(**{**FAST, **params}).fit(*data).predict_proba(data[0])


@pytest.mark.parametrize("params", [{}, {"mix_at": "hidden"}, {"clean_weight": 1}])
def test_each_row_has_a_lam_from_the_papers_uniform_distribution(iris, params):
    recipe = AMPClassifier(max_epochs=1, **params).fit(*iris).net_.criterion_
    assert recipe.draw.lam_per == "sample"
    assert recipe.hyper["alpha"] == 1


@pytest.mark.parametrize("load", [load_iris, load_wine])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"mix_at": "last", "dropout": 0.2},
        {"mix_at": "any", "reweight": True, "label": "remix"},
        {"dropout": 0.2, "share_noise": False, "reduction": "mean", "select": "ascent"},
        {"label": GenLabel(), "drop_intrusions": True, "clean_weight": 0.5, "mix_prob": 0.7, "n_members": 2},
    ],
)
def test_it_learns_and_the_same_seed_gives_the_same_bits(load, params):
    X, y = load(return_X_y=True)
    clf = AMPClassifier(**FAST, **params).fit(X, y)
    assert clf.score(X, y) > 0.9
    assert np.array_equal(probabilities((X, y), **params), clf.predict_proba(X))


def test_table_4s_variants_are_switches(iris):
    rand = probabilities(iris, epsilon=0)
    assert np.array_equal(rand, probabilities(iris, MixupClassifier, lam_per="sample", alpha=1))
    most, always = probabilities(iris, epsilon=0.1), probabilities(iris, epsilon=0.1, select="ascent")
    assert len({p.tobytes() for p in (rand, most, always)}) == 3


def test_a_users_module_with_batch_norm_counts_each_step_once(iris):
    module = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    clf = AMPClassifier(module=module, batch_size=50, lr=1e-2, max_epochs=50, random_state=0).fit(*iris)
    assert clf.net_.module_.head.module[1].num_batches_tracked == 50 * 3
    assert clf.score(*iris) > 0.9


class Staggered:
    """A user's mask: later columns come from the first row to a larger share."""

    def __call__(self, h, lam, noise, extra):
        powers = torch.linspace(1, 0.5, h.shape[-1], dtype=h.dtype)
        m = lam[..., None] ** powers
        return m, m.mean(-1)


def test_a_users_mask_that_varies_with_lam_is_followed(iris):
    assert AMPClassifier(mix=Staggered(), **FAST).fit(*iris).score(*iris) > 0.9
    moved, drawn = (probabilities(iris, mix=Staggered(), epsilon=e) for e in (0.1, 0))
    assert not np.array_equal(moved, drawn)


class Third:
    """A user's mask that ignores lam."""

    def __call__(self, h, lam, noise, extra):
        return torch.full_like(lam, 1 / 3)[..., None], lam


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"mix": "columns"}, "Use mix='linear'"),
        ({"mix": "half"}, "Use mix='linear'"),
        ({"mix": Third()}, "do not depend on lam"),
        ({"label": LaMix()}, "Use another label"),
        ({"mix": None}, "Use mix='linear', or MixupClassifier(mix=None)"),
        ({"epsilon": -0.1}, "'epsilon' parameter of AMPClassifier"),
        ({"epsilon": float("inf")}, "'epsilon' parameter"),
        ({"reduction": "median"}, "'reduction' parameter"),
        ({"select": "min"}, "'select' parameter"),
        ({"share_noise": 1.0}, "'share_noise' parameter"),
        ({"reweight": "yes"}, "'reweight' parameter"),
        ({"epsilon": 0, "select": "ascent"}, "select='ascent' has no effect with epsilon=0"),
        ({"epsilon": 0, "reduction": "mean"}, "reduction='mean' has no effect with epsilon=0"),
        ({"epsilon": 0, "reweight": True}, "reweight=True has no effect with epsilon=0"),
        ({"share_noise": False}, "share_noise=False has no effect with a network without dropout"),
        ({"mix_prob": 0, "epsilon": 0.1}, "epsilon=0.1 has no effect with mix_prob=0"),
    ],
)
def test_what_cannot_be_used_is_refused_before_training_and_costs_no_fitted_model(iris, params, words):
    fresh = AMPClassifier(**params)
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the words are compared
        fresh.fit(*iris)
    assert words in str(raised.value)
    assert not hasattr(fresh, "net_")
    fitted = AMPClassifier(max_epochs=1, hidden=(4,)).fit(*iris)
    net = fitted.net_
    with pytest.raises(ValueError):  # noqa: PT011 - compared above
        fitted.set_params(**params).fit(*iris)
    assert fitted.net_ is net


@pytest.mark.parametrize(
    "objective", [AdversarialLam(-1), AdversarialLam(reduction="max"), AdversarialLam(select="sum")]
)
def test_a_rule_out_of_its_range_is_refused_when_the_recipe_is_made(objective):
    with pytest.raises(ValueError, match="must be"):
        Recipe(Spec(objective=objective))
