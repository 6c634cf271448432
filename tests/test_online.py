"""GenLabel online: running Gaussians of the features, what they make of mixed rows, and what moves them."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import softmax
from sklearn.datasets import load_iris, load_wine
from skorch.callbacks import Callback
from torch import nn

from mixsk import AMPClassifier, GenLabelClassifier, InfiniteMixupClassifier, MixupClassifier
from mixsk.backbones import Backbone, build
from mixsk.densities import GM
from mixsk.rules import AdversarialLam, Batch, Draw, OnlineGenLabel, Recipe, Rows, Sizes, Spec, State

F, C, HIDDEN = 4, 3, (6, 5)
FLOOR = 1e-6
ONLINE = {"density_at": "last", "density_schedule": "online"}
SMALL = {
    "module": "mlp",
    "n_cv": 1,
    "hidden": HIDDEN,
    "dtype": "float64",
    "random_state": 0,
    "batch_size": 16,
    "max_epochs": 4,
    "lr": 0.02,
}


class ByHand:
    """Algorithm 3, lines 6 to 8 and 11 to 15, class by class and row by row."""

    def __init__(self, memory, floor=FLOOR):
        self.memory, self.floor = memory, floor
        self.mean, self.variance = {}, {}

    def update(self, f, y, w=None):
        w = np.ones(len(y)) if w is None else w
        for c in range(C):
            rows = [i for i in range(len(y)) if y[i] == c and w[i] > 0]
            if not rows:
                continue
            total = sum(w[i] for i in rows)
            old = self.memory if c in self.mean else 0  # nothing to remember
            mean = sum(w[i] * f[i] for i in rows) / total
            self.mean[c] = (1 - old) * mean + old * self.mean.get(c, 0)
            spread = sum(w[i] * np.square(f[i] - self.mean[c]).sum() for i in rows) / total / f.shape[1]
            self.variance[c] = max((1 - old) * spread + old * self.variance.get(c, 0), self.floor)

    def posterior(self, z, prior, top_k=2):
        d = z.shape[1]
        p = np.zeros((len(z), C))
        for i, row in enumerate(z):
            score = {
                c: np.log(prior[c])
                - d / 2 * np.log(self.variance[c])
                - np.square(row - self.mean[c]).sum() / (2 * self.variance[c])
                for c in self.mean
            }
            likeliest = sorted(score, key=score.get)[-top_k:]
            p[i, likeliest] = softmax([score[c] for c in likeliest])
        return p

    def check(self, running, m=0):
        assert np.flatnonzero(running.seen[m]).tolist() == sorted(self.mean)
        for c in self.mean:
            assert_allclose(running.mean[m, c], self.mean[c], rtol=1e-9, atol=1e-12)
            assert_allclose(running.variance[m, c], self.variance[c], rtol=1e-8)


# --- the statistics -----------------------------------------------------------------------------------


def label_of(n_models=1, width=5, **params):
    """A label with statistics of its own, as a recipe would give it."""
    label = OnlineGenLabel(**params)
    label.check()
    label.attach(label.aux(Sizes(F, (F, 6, width), C, n_models)))
    return label


def some_rows(seed, classes, n=12, d=5):
    rng = np.random.default_rng(seed)
    y = rng.choice(classes, n)
    return rng.normal(size=(n, d)) * (1 + y[:, None]) + 3 * y[:, None], y


def give(label, f, y, w=None, real=None):
    labels = np.eye(C)[y] if w is None else np.eye(C)[y] * w[..., None]
    real = None if real is None else torch.tensor(np.asarray(real, float))
    label.update(torch.tensor(f), torch.tensor(labels), real)


def asked(label, z, counts=(1.0, 1.0, 1.0)):
    """p, by way of the target with gamma = 1."""
    z = torch.tensor(z)
    M, B = z.shape[:2]
    y = torch.eye(C).double()[torch.zeros(M, B, dtype=torch.long)]
    perm, share = torch.arange(B).expand(M, B), torch.ones(M, B).double()
    t, w = label(y, perm, share, share, {0: 0 * z, 2: z}, State(torch.tensor(counts).double()))
    assert w is None
    return t.numpy()


BATCHES = [[0], [0, 2], [0, 1, 2], [1], [0, 1, 2], [2, 1]]  # the classes of each


@pytest.mark.parametrize("memory", [0.0, 0.3, 0.9, 0.999])
def test_means_then_variances_around_them_move_by_each_batch(memory):
    label, hand = label_of(gamma=1.0, memory=memory), ByHand(memory)
    for k, classes in enumerate(BATCHES):
        f, y = some_rows(k, classes)
        give(label, f[None], y[None])
        hand.update(f, y)
        hand.check(label.running_)
        z = some_rows(100 + k, [0, 1, 2], 20)[0]
        assert_allclose(asked(label, z[None])[0], hand.posterior(z, np.ones(C) / C), atol=1e-10)


def test_an_absent_class_keeps_its_own_bit_for_bit_and_has_no_share_until_it_is_seen():
    label = label_of(gamma=1.0, top_k=C)
    z = some_rows(9, [0, 1, 2])[0][None]
    give(label, *(a[None] for a in some_rows(0, [1])))
    assert_allclose(asked(label, z), np.broadcast_to(np.eye(C)[1], (1, 12, C)))
    before = {name: value.clone() for name, value in label.running_.state_dict().items()}
    give(label, *(a[None] for a in some_rows(1, [0])))
    assert torch.equal(label.running_.mean[0, 1], before["mean"][0, 1])
    assert torch.equal(label.running_.variance[0, 1], before["variance"][0, 1])
    p = asked(label, z)
    assert (p[..., 2] == 0).all()
    assert (p[..., :2] > 0).any(1).all()
    assert_allclose(p.sum(-1), 1)


@pytest.mark.parametrize("memory", [0.8, torch.tensor([0.0, 0.8, 0.5], dtype=torch.float64)])
def test_each_model_has_statistics_and_a_memory_of_its_own(memory):
    label = label_of(3, memory=memory, gamma=torch.tensor([1.0, 1.0, 1.0]).double())
    hands = [ByHand(value) for value in np.broadcast_to(np.asarray(memory, float), 3)]
    for k in range(4):
        each = [some_rows(10 * k + m, BATCHES[(k + m) % 6]) for m in range(3)]
        give(label, *(np.stack(arrays) for arrays in zip(*each, strict=True)))
        for m, hand in enumerate(hands):
            hand.update(*each[m])
            hand.check(label.running_, m)
    z = np.stack([some_rows(50 + m, [0, 1, 2])[0] for m in range(3)])
    expected = [hand.posterior(z[m], np.ones(C) / C) for m, hand in enumerate(hands)]
    assert_allclose(asked(label, z), expected, atol=1e-10)


def test_rows_count_by_their_weight_and_padding_rows_not_at_all():
    label, hand = label_of(memory=0.5), ByHand(0.5)
    rng = np.random.default_rng(0)
    for k in range(4):
        f, y = some_rows(k, [0, 1, 2], 15)
        w, real = rng.random(15) + 0.1, np.arange(15) < 12
        w[3] = 0
        f[~real] = 1e6
        give(label, f[None], y[None], w[None], real[None])
        hand.update(f[real], y[real], w[real])
        hand.check(label.running_)
    before = {name: value.clone() for name, value in label.running_.state_dict().items()}
    give(label, f[None], y[None], None, np.zeros((1, 15)))  # a batch of padding alone
    for name, value in label.running_.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_lone_row_has_the_least_variance_and_targets_stay_finite():
    label = label_of(gamma=1.0, memory=0.0)
    f, _ = some_rows(0, [0], 3)
    give(label, f[None], np.arange(3)[None])
    assert_allclose(label.running_.variance[0], FLOOR, rtol=1e-9)
    z = np.concatenate([f, (f[:1] + f[1:2]) / 2 + 1e-4, f + 1e6])
    p = asked(label, z[None])[0]
    assert np.isfinite(p).all()
    assert_allclose(p[:3], np.eye(C), atol=1e-12)
    give(label, np.full((1, 4, 5), 7.0), np.array([[0, 0, 1, 1]]))  # two classes at one point
    assert_allclose(asked(label, np.full((1, 1, 5), 7.0))[0, 0], [0.5, 0.5, 0], atol=1e-6)


def test_features_far_from_the_origin_give_the_same_posterior():
    near, far = (label_of(gamma=1.0, memory=0.5) for _ in range(2))
    for k in range(3):
        f, y = some_rows(k, [0, 1, 2])
        give(near, f[None], y[None])
        give(far, f[None] + 1e4, y[None])
    z = some_rows(9, [0, 1, 2])[0][None]
    assert_allclose(asked(far, z + 1e4), asked(near, z), atol=1e-5)
    assert_allclose(far.running_.variance, near.running_.variance, rtol=1e-5)


@pytest.mark.parametrize(("top_k", "kept"), [(None, 2), (1, 1), (2, 2), (3, 3), (9, 3)])
def test_the_likeliest_classes_stay_two_unless_told_otherwise(top_k, kept):
    label, hand = label_of(gamma=1.0, top_k=top_k), ByHand(0.9)
    f, y = some_rows(0, [0, 1, 2], 30)
    give(label, f[None], y[None])
    hand.update(f, y)
    z = some_rows(1, [0, 1, 2], 30)[0]
    p = asked(label, z[None])[0]
    assert (p > 0).sum(1).max() == kept
    assert_allclose(p, hand.posterior(z, np.ones(C) / C, kept), atol=1e-10)


@pytest.mark.parametrize(("class_prior", "prior"), [("train", [0.7, 0.2, 0.1]), ("uniform", [1 / 3] * 3)])
def test_the_prior_is_the_training_rows_or_equal(class_prior, prior):
    label, hand = label_of(gamma=1.0, top_k=3, class_prior=class_prior), ByHand(0.9)
    f, y = some_rows(0, [0, 1, 2], 30)
    give(label, f[None], y[None])
    hand.update(f, y)
    z = some_rows(1, [0, 1, 2], 30)[0]
    assert_allclose(asked(label, z[None], (70.0, 20.0, 10.0))[0], hand.posterior(z, prior, 3), atol=1e-10)


def test_features_of_any_shape_are_vectors():
    flat, square = label_of(gamma=1.0, width=6), label_of(gamma=1.0, width=6)
    f, y = some_rows(0, [0, 1, 2], d=6)
    give(flat, f[None], y[None])
    give(square, f.reshape(1, 12, 2, 3), y[None])
    for ours, theirs in zip(flat.running_.buffers(), square.running_.buffers(), strict=True):
        assert torch.equal(ours, theirs)
    assert np.array_equal(asked(flat, f[None]), asked(square, f.reshape(1, 12, 2, 3)))


# --- one step -----------------------------------------------------------------------------------------


def network(seeds=(0,), **options):
    return build("mlp", F, C, {"hidden": HIDDEN, "activation": "tanh", **options}, list(seeds)).double()


def recipe_of(net, label=None, weighted=False, class_weight=None, **spec):
    spec = {"label": label or OnlineGenLabel(memory=0.6), "n_stages": net.n_stages, **spec}
    recipe = Recipe(Spec(hyper={"alpha": 1.0, **spec.pop("hyper", {})}, **spec))
    recipe.attach(Sizes(F, net.widths, C, net.n_models), range(net.n_models))
    recipe.double()
    known = Rows(torch.zeros(1, F).double(), torch.zeros(1, dtype=torch.long), None, C)
    weight = None if class_weight is None else torch.tensor(class_weight)
    counts = torch.tensor([5.0, 4.0, 3.0]).double()
    recipe.bind(lambda: known, State(counts, weight, weighted or weight is not None))
    return recipe


PRIOR = np.array([5, 4, 3]) / 12


class Case:
    """A batch: rows, classes, partners, lam and weights."""

    def __init__(self, seed=0, site=0, n=12, w=None, real=None):
        rng = np.random.default_rng(seed)
        self.x, self.y = rng.normal(size=(n, F)), np.arange(n) % C
        self.perm, self.lam, self.site, self.w, self.real = rng.permutation(n), rng.random(n), site, w, real

    @property
    def linear(self):
        one_hot = np.eye(C)[self.y] if self.w is None else np.eye(C)[self.y] * self.w[:, None]
        lam = self.lam[:, None]
        return lam * one_hot + (1 - lam) * one_hot[self.perm]

    def batch(self, mixed=None):
        y = np.eye(C)[self.y] if self.w is None else np.eye(C)[self.y] * self.w[:, None]
        x, y, perm, lam = (torch.tensor(a)[None] for a in (self.x, y, self.perm, self.lam))
        mixed = None if mixed is None else torch.tensor([mixed])
        real = None if self.real is None else torch.tensor(self.real)[None]
        return Batch(x, y, Draw(perm, lam, self.site, None, mixed), real)


def stage_by_stage(net, x, start, stop):
    h = x
    for stage in net.stages[start:stop]:
        h = torch.tanh(h @ stage.linear.weight[0] + stage.linear.bias[0])
    return h


def features(net, case, tap=2):
    """Clean and mixed rows' features, as numpy arrays."""
    x, lam = torch.tensor(case.x), torch.tensor(case.lam)[:, None]
    with torch.no_grad():
        h = stage_by_stage(net, x, 0, case.site)
        h = lam * h + (1 - lam) * h[case.perm]
        return stage_by_stage(net, x, 0, tap).numpy(), stage_by_stage(net, h, case.site, tap).numpy()


def loss_of(net, case, t, w=None):
    """Cross entropy of the mixed rows against fixed targets, with its graph."""
    x, lam = torch.tensor(case.x), torch.tensor(case.lam)[:, None]
    h = stage_by_stage(net, x, 0, case.site)
    z = stage_by_stage(net, lam * h + (1 - lam) * h[case.perm], case.site, 2)
    loss = -(torch.tensor(t) * torch.log_softmax(z @ net.head.weight[0] + net.head.bias[0], -1)).sum(-1)
    return loss.mean() if w is None else (torch.tensor(w) * loss).sum() / len(case.y)


def grads(loss, net):
    return torch.autograd.grad(loss.sum(), list(net.parameters()), allow_unused=True)


def check_gradients(given, expected):
    assert all(one is not None for one in given)
    for one, other in zip(given, expected, strict=True):
        assert_allclose(one, other, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(("site", "density_at"), [(0, "last"), (1, "last"), (2, 2), (0, 1), (1, 1)])
def test_a_step_sees_the_batch_first_and_no_gradient_flows_through_what_it_saw(site, density_at):
    net = network()
    recipe = recipe_of(net, OnlineGenLabel(0.7, memory=0.6, density_at=density_at), sites=(site,))
    hand = ByHand(0.6)
    for k in range(3):
        case = Case(k, site)
        loss = recipe(net, case.batch())
        clean, mixed = features(net, case, density_at if density_at == 1 else 2)
        hand.update(clean, case.y)
        hand.check(recipe.aux["label"])
        t = 0.7 * hand.posterior(mixed, PRIOR) + 0.3 * case.linear
        expected = loss_of(net, case, t)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
        check_gradients(grads(loss, net), grads(expected, net))
    assert not any(value.requires_grad for value in recipe.aux.state_dict().values())
    assert list(recipe.aux.parameters()) == []


W = np.array([0.2, 3.0, 1.0, 0.5, 1.3, 0.9] * 2)


@pytest.mark.parametrize("class_weight", [None, [0.5, 2.0, 1.0]])
def test_sample_weights_weigh_rows_in_the_statistics_and_class_weights_do_not(class_weight):
    net, case, hand = network(), Case(w=W), ByHand(0.6)
    recipe = recipe_of(net, OnlineGenLabel(0.7, memory=0.6), True, class_weight)
    loss = recipe(net, case.batch())
    clean, mixed = features(net, case)
    hand.update(clean, case.y, W)
    hand.check(recipe.aux["label"])
    linear = case.linear
    t = 0.7 * hand.posterior(mixed, PRIOR) * linear.sum(1, keepdims=True) + 0.3 * linear
    t = t if class_weight is None else t * np.array(class_weight)
    w = t.sum(1)
    assert loss.item() == pytest.approx(loss_of(net, case, t / w[:, None], w).item(), rel=1e-9)


def test_padding_rows_are_not_seen():
    real = np.repeat([1.0, 0.0], [9, 3])
    net, case, hand = network(), Case(real=real), ByHand(0.6)
    recipe = recipe_of(net)
    loss = recipe(net, case.batch())
    assert loss.isfinite()
    hand.update(features(net, case)[0][:9], case.y[:9])
    hand.check(recipe.aux["label"])


def test_a_batch_that_is_not_mixed_is_seen_and_trained_on_its_own_labels():
    net, case, hand = network(), Case(), ByHand(0.6)
    case.perm, case.lam = np.arange(12), np.ones(12)
    recipe = recipe_of(net, OnlineGenLabel(1.0, memory=0.6))
    loss = recipe(net, case.batch(mixed=False))
    hand.update(features(net, case)[0], case.y)
    hand.check(recipe.aux["label"])
    assert loss.item() == pytest.approx(loss_of(net, case, np.eye(C)[case.y]).item(), rel=1e-9)


def count_forwards(net):
    """Of each stage and the head: the rows of each call, and whether it was made with gradient."""
    calls = [[] for _ in range(net.n_stages + 1)]
    for k, part in enumerate([*net.stages, net.head]):
        part.register_forward_pre_hook(
            lambda _, args, k=k: calls[k].append((args[0].shape[1], torch.is_grad_enabled()))
        )
    return calls


TWICE, ONCE = [(12, True), (12, False)], [(12, True)]


@pytest.mark.parametrize(
    ("site", "tap", "expected"),
    [
        (0, 2, [TWICE, TWICE, ONCE]),
        (1, 2, [ONCE, TWICE, ONCE]),  # the clean rows are known up to the site
        (2, 2, [ONCE, ONCE, ONCE]),
        (0, 1, [TWICE, ONCE, ONCE]),
        (1, 1, [ONCE, ONCE, ONCE]),
    ],
)
def test_clean_rows_are_run_once_more_without_gradient_from_the_site_to_the_density(site, tap, expected):
    net = network()
    recipe = recipe_of(net, OnlineGenLabel(density_at=tap), sites=(site,))
    calls = count_forwards(net)
    recipe(net, Case(site=site).batch())
    assert [sorted(part, reverse=True) for part in calls] == expected


@pytest.mark.parametrize("site", [0, 1, 2])
def test_with_a_clean_term_its_forward_serves_the_statistics_too(site):
    net, case, hand = network(), Case(site=site), ByHand(0.6)
    recipe = recipe_of(net, OnlineGenLabel(0.7, memory=0.6), sites=(site,), hyper={"clean_weight": 0.5})
    calls = count_forwards(net)
    loss = recipe(net, case.batch())
    assert calls == [[(12 if k < site else 24, True)] for k in range(3)]
    clean, mixed = features(net, case)
    hand.update(clean, case.y)
    hand.check(recipe.aux["label"])
    t = 0.7 * hand.posterior(mixed, PRIOR) + 0.3 * case.linear
    plain = Case(site=site)
    plain.perm = np.arange(12)
    expected = loss_of(net, case, t) + 0.5 * loss_of(net, plain, np.eye(C)[case.y])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    check_gradients(grads(loss, net), grads(expected, net))


# --- with AMP -----------------------------------------------------------------------------------------


class Counted(OnlineGenLabel):
    """Counts its updates."""

    updates = 0

    def update(self, features, y, real):
        self.updates += 1
        super().update(features, y, real)


@pytest.mark.parametrize("site", [0, 1, 2])
@pytest.mark.parametrize("loss", ["cross_entropy", "infinite"])
@pytest.mark.parametrize("select", ["max", "ascent"])
@pytest.mark.parametrize("hyper", [{}, {"clean_weight": 0.5}])
def test_amp_moves_the_statistics_once_a_step(site, loss, select, hyper):
    net, hand = network(), ByHand(0.6)
    objective = AdversarialLam(0.1, select=select, reweight=True)
    spec = {"sites": (site,), "loss": loss, "objective": objective, "lam_per": "sample", "hyper": hyper}
    recipe = recipe_of(net, Counted(0.7, memory=0.6), **spec)
    for k in range(3):
        case = Case(k, site)
        assert recipe(net, case.batch()).isfinite().all()
        hand.update(features(net, case)[0], case.y)
        hand.check(recipe.aux["label"])
    assert recipe.label.updates == 3


@pytest.mark.parametrize("site", [0, 1, 2])
@pytest.mark.parametrize("loss", ["cross_entropy", "infinite"])
@pytest.mark.parametrize("hyper", [{}, {"clean_weight": 0.5}])
def test_amp_without_a_move_is_mixup_with_all_its_gradients(site, loss, hyper):
    case, found = Case(site=site), []
    for objective in ("mixed", AdversarialLam(0.0)):
        net = network()
        spec = {"sites": (site,), "loss": loss, "objective": objective, "lam_per": "sample"}
        value = recipe_of(net, hyper=dict(hyper), **spec)(net, case.batch())
        found.append([value.detach(), *grads(value, net)])
    check_gradients(found[1], found[0])


def test_amps_label_is_that_of_the_rows_mixed_at_the_drawn_lam():
    net, case, hand = network(), Case(), ByHand(0.6)
    seen = []

    class Noted:
        def __call__(self, logits, t, w):
            seen.append(t)
            return -(t * torch.log_softmax(logits, -1)).sum(-1)

    label = OnlineGenLabel(0.7, memory=0.6)
    recipe = recipe_of(net, label, objective=AdversarialLam(0.3), loss=Noted(), lam_per="sample")
    recipe(net, case.batch())
    clean, mixed = features(net, case)
    hand.update(clean, case.y)
    t = 0.7 * hand.posterior(mixed, PRIOR) + 0.3 * case.linear
    assert len(seen) == 3
    for one in seen:
        assert_allclose(one[0], t, atol=1e-10)
        assert not one.requires_grad


@pytest.mark.parametrize("loss", ["cross_entropy", "infinite"])
def test_torchs_generator_advances_alike_however_often_amp_probes(loss):
    states = []
    for objective in (
        AdversarialLam(0.1, select="ascent"),
        AdversarialLam(0.1),
        AdversarialLam(0.1, select="ascent", reweight=True),
        "mixed",
    ):
        net = network(dropout=0.5).train()
        torch.manual_seed(0)
        recipe_of(net, objective=objective, loss=loss, lam_per="sample")(net, Case().batch())
        states.append(torch.get_rng_state())
    assert all(torch.equal(state, states[0]) for state in states)


@pytest.mark.parametrize("site", [0, 1, 2])
@pytest.mark.parametrize("loss", ["cross_entropy", "infinite"])
def test_all_of_amps_forwards_see_the_same_dropout_masks(site, loss):
    """With epsilon 0 they are the same rows: the same masks give the same logits."""
    net, logits = network(dropout=0.5).train(), []
    net.head.register_forward_hook(lambda *args: logits.append(args[2].detach()))
    objective = AdversarialLam(0.0, reweight=True)
    recipe_of(net, objective=objective, loss=loss, sites=(site,), lam_per="sample")(
        net, Case(site=site).batch()
    )
    assert len(logits) == (2 if loss == "infinite" else 3)
    assert all(torch.equal(one, logits[0]) for one in logits)


# --- batch normalisation and dropout ------------------------------------------------------------------


class Stage(nn.Module):
    """A user's stage with a norm that keeps statistics, for one model."""

    def __init__(self, n_in, n_out, norm):
        super().__init__()
        self.linear, self.norm = nn.Linear(n_in, n_out), norm(n_out)

    def forward(self, h):
        return torch.tanh(self.norm(self.linear(h[0])))[None]


class InstanceNorm(nn.Module):
    """Over pairs of features."""

    def __init__(self, width):
        super().__init__()
        self.inner = nn.InstanceNorm1d(width // 2, track_running_stats=True)

    def forward(self, h):
        return self.inner(h.unflatten(1, (-1, 2))).flatten(1)


class Normalised(Backbone):
    def __init__(self, norm=nn.BatchNorm1d):
        super().__init__()
        self.stages = nn.ModuleList([Stage(F, 6, norm), Stage(6, 6, norm)])
        self.head = nn.Linear(6, C)
        self.widths = (F, 6, 6)
        self.rows_interact = True


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, InstanceNorm])
@pytest.mark.parametrize("site", [0, 1, 2])
@pytest.mark.parametrize("objective", ["mixed", AdversarialLam(0.1)])
def test_the_clean_forward_leaves_the_norms_statistics_alone(norm, site, objective):
    torch.manual_seed(0)
    net, plain, case = Normalised(norm).double(), Normalised(norm).double(), Case(site=site)
    plain.load_state_dict(net.state_dict())
    spec = {"sites": (site,), "objective": objective, "lam_per": "sample"}
    recipe_of(net, **spec)(net, case.batch())
    recipe_of(plain, "linear", **spec)(plain, case.batch())
    before = Normalised(norm).double().state_dict()
    for name, value in net.state_dict().items():
        assert_allclose(value, plain.state_dict()[name], rtol=1e-10)
        assert "running" not in name or not torch.equal(value, before[name])
    assert all(m.track_running_stats for m in net.modules() if hasattr(m, "track_running_stats"))


def test_clean_rows_are_normalised_as_a_batch_of_their_own():
    torch.manual_seed(0)
    net, case, hand = Normalised().double(), Case(), ByHand(0.6)
    recipe = recipe_of(net)
    recipe(net, case.batch())
    h = torch.tensor(case.x)
    for stage in net.stages:
        h = stage.linear(h)
        h = torch.tanh((h - h.mean(0)) / (h.var(0, unbiased=False) + 1e-5).sqrt())
    hand.update(h.detach().numpy(), case.y)
    hand.check(recipe.aux["label"])


# --- in training --------------------------------------------------------------------------------------


def table(n=60, seed=0):
    """Three overlapping classes; 60 rows are four batches of 15."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % C
    return rng.normal(size=(n, F)) + 0.7 * y[:, None], y


def fitted(cls=GenLabelClassifier, fit=None, X=None, y=None, **params):
    X, y = table() if X is None else (X, y)
    if cls is GenLabelClassifier:
        params = {**ONLINE, **params}
    if params.get("module", "mlp") != "mlp":
        params["hidden"] = (128, 128)
    return cls(**{**SMALL, **params}).fit(X, y, **(fit or {}))


def encoded_features(clf, X, site):
    with torch.no_grad():
        return clf.net_.module_.lower(torch.tensor(clf._encode(X)).double()[None], site)[0].numpy()


def statistics(net):
    recipe = getattr(net, "criterion_", None) or net.criterion
    return {name: value.clone() for name, value in recipe.aux["label"].state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Watch(Callback):
    """Keeps the statistics at the end of each epoch."""

    def __init__(self):
        self.kept = []

    def __deepcopy__(self, memo):
        return self

    def on_epoch_end(self, net, **kwargs):
        self.kept.append(statistics(net))


@pytest.mark.parametrize("memory", [0.0, 0.8])
@pytest.mark.parametrize("mix_at", ["input", "any"])
def test_an_epochs_statistics_are_those_of_its_batches(memory, mix_at):
    """Weights that stand still: each batch's features are those of the fitted network."""
    seen = []

    class Noted(OnlineGenLabel):
        def update(self, features, y, real):
            seen.append((features[0].numpy(), y[0].numpy().argmax(1)))
            super().update(features, y, real)

    X, y = table()
    clf = fitted(
        MixupClassifier, label=Noted(memory=memory), mix_at=mix_at, lr=1e-30, weight_decay=0, max_epochs=2
    )
    seen = seen[1:]  # the first was a trial before training
    assert [len(rows) for rows, _ in seen] == [15] * 8
    expected = encoded_features(clf, X, 2)
    hand = ByHand(memory)
    for epoch in (seen[:4], seen[4:]):
        rows = np.concatenate([f for f, _ in epoch])
        found = [int(np.abs(expected - row).sum(1).argmin()) for row in rows]
        assert sorted(found) == list(range(60))  # each training row once, as it is
        assert_allclose(rows, expected[found], rtol=1e-9, atol=1e-12)
        assert np.concatenate([codes for _, codes in epoch]).tolist() == y[found].tolist()
    for f, codes in seen:
        hand.update(f, codes)
    hand.check(clf.net_.criterion_.aux["label"])


@pytest.mark.parametrize("params", [{}, {"mix_at": "any", "n_members": 2}, {"clean_weight": 1}])
def test_the_trial_before_training_leaves_the_statistics_untouched(params):
    clf = GenLabelClassifier(**{**SMALL, **ONLINE, "warm_start": True, **params})
    _, _, net = clf._prepare(*table())
    found = statistics(net)
    assert not found["seen"].any()
    assert not found["mean"].any()
    assert (found["variance"] == 1).all()
    clf.fit(*table())
    before = statistics(clf.net_)
    assert before["seen"].all()
    _, _, net = clf._prepare(*table(30, seed=1), again=True)
    assert equal(statistics(net), before)


def test_statistics_have_no_part_in_prediction():
    X, _ = table()
    clf = fitted()
    assert set(clf.net_.module_.state_dict()) == {
        *(f"stages.{k}.linear.{part}" for k in (0, 1) for part in ("weight", "bias")),
        *("head.weight", "head.bias"),
    }
    p = clf.predict_proba(X)
    for value in clf.net_.criterion_.aux.buffers():
        value.fill_(np.nan)
    assert np.array_equal(clf.predict_proba(X), p)


def test_predicting_does_not_move_them():
    clf = fitted()
    before = statistics(clf.net_)
    clf.predict_proba(table(200, seed=3)[0])
    assert equal(statistics(clf.net_), before)


@pytest.mark.parametrize("params", [{}, {"n_members": 2, "mix_at": "any"}, {"module": "table"}])
def test_a_pickle_keeps_the_statistics_and_goes_on_the_same(params):
    X, y = table()
    clf = fitted(optimizer="sgd", **params)
    loaded = pickle.loads(pickle.dumps(clf))
    assert equal(statistics(loaded.net_), statistics(clf.net_))
    assert np.array_equal(loaded.predict_proba(X), clf.predict_proba(X))
    for one in (clf, loaded):
        one.partial_fit(X[:40], y[:40])
    assert np.array_equal(loaded.predict_proba(X), clf.predict_proba(X))
    assert equal(statistics(loaded.net_), statistics(clf.net_))


def test_partial_fit_goes_on_with_them_and_classes_may_come_later():
    X, y = table()
    clf = GenLabelClassifier(**{**SMALL, **ONLINE})
    early = y < 2
    clf.partial_fit(X[early], y[early], classes=range(C))
    before = statistics(clf.net_)
    assert before["seen"].tolist() == [[1, 1, 0]]
    clf.partial_fit(X[~early], y[~early])
    after = statistics(clf.net_)
    assert after["seen"].tolist() == [[1, 1, 1]]
    assert torch.equal(after["mean"][:, :2], before["mean"][:, :2])
    assert torch.equal(after["variance"][:, :2], before["variance"][:, :2])
    prior = clf.net_.criterion_.label.log_prior_
    assert_allclose(prior, np.log([1 / 3] * 3))
    assert np.isfinite(clf.predict_proba(X)).all()


def test_a_warm_start_goes_on_with_them():
    X, y = table()
    params = {"batch_size": 60, "max_epochs": 1, "warm_start": True, "memory": 0.75}
    clf = fitted(**params)
    before = statistics(clf.net_)
    clf.set_params(lr=1e-30, weight_decay=0).fit(X, y)
    f = encoded_features(clf, X, 2)
    after = statistics(clf.net_)
    for c in range(C):
        mean = 0.25 * f[y == c].mean(0) + 0.75 * before["mean"][0, c].numpy()
        spread = np.square(f[y == c] - mean).mean()
        assert_allclose(after["mean"][0, c], mean, rtol=1e-9)
        variance = 0.25 * spread + 0.75 * before["variance"][0, c].item()
        assert after["variance"][0, c].item() == pytest.approx(variance, rel=1e-9)


def test_a_fit_without_warm_start_forgets_them():
    X, y = table()
    clf = fitted()
    before = statistics(clf.net_)
    assert equal(statistics(clf.fit(X, y).net_), before)


@pytest.mark.parametrize("hidden", [(6, 5), (6, 6)])
def test_statistics_of_another_stage_do_not_go_on(hidden):
    X, y = table()
    clf = fitted(hidden=hidden, warm_start=True, memory=0.999)
    clf.set_params(density_at=1, lr=1e-30, weight_decay=0, max_epochs=1, batch_size=60).fit(X, y)
    f = encoded_features(clf, X, 1)
    means = [f[y == c].mean(0) for c in range(C)]
    assert_allclose(statistics(clf.net_)["mean"][0], means, rtol=1e-6)


def test_the_best_epochs_statistics_are_restored_with_its_weights():
    watch = Watch()
    fit = dict(zip(("X_val", "y_val"), table(60, seed=2), strict=True))
    params = {"n_iter_no_change": 3, "max_epochs": 100, "lr": 0.1}
    clf = fitted(fit=fit, callbacks=[watch], **params)
    best = clf.history_["valid_loss"].argmin()
    assert best < len(watch.kept) - 1
    assert equal(statistics(clf.net_), watch.kept[best])
    assert not equal(statistics(clf.net_), watch.kept[-1])


# --- members ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"mix_at": "any"},
        {"mix_at": [0, 2], "clean_weight": 0.5, "class_weight": "balanced"},
        {"density_at": 1, "lam_per": "sample", "mix_prob": 0.5, "memory": 0, "top_k": 3},
        {"module": "linear"},
        {"module": "table"},
        {"early_stopping": True, "n_iter_no_change": 3, "max_epochs": 60, "lr": 0.05},
        {"cls": AMPClassifier, "label": OnlineGenLabel(), "mix_at": "any", "epsilon": 0.1},
        {"cls": InfiniteMixupClassifier, "label": OnlineGenLabel(), "mix_at": "any"},
    ],
)
def test_the_first_of_several_members_is_what_a_lone_one_would_be(params):
    X, _ = table(70, seed=1)
    several, alone = (fitted(n_members=n, **params) for n in (3, 1))
    ours, theirs = several.predict_proba_members(X), alone.predict_proba_members(X)
    assert_allclose(ours[0], theirs[0], rtol=1e-9)
    assert all(np.abs(other - theirs[0]).max() > 1e-4 for other in ours[1:])
    for name, value in statistics(several.net_).items():
        assert_allclose(value[0], statistics(alone.net_)[name][0], rtol=1e-9)


# --- learning, and what cannot be used ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (GenLabelClassifier, {**ONLINE, "mix_at": "any"}),
        (GenLabelClassifier, {**ONLINE, "memory": 0, "drop_intrusions": True, "label_smoothing": 0.1}),
        (GenLabelClassifier, {**ONLINE, "density_at": 1, "clean_weight": 1, "alpha": 1, "amp": "bf16"}),
        (AMPClassifier, {"label": OnlineGenLabel(), "mix_at": "any", "dropout": 0.1}),
        (InfiniteMixupClassifier, {"label": OnlineGenLabel(), "mix_at": "hidden", "dropout": 0.1}),
    ],
)
@pytest.mark.parametrize("load", [load_iris, load_wine])
def test_it_learns_with_every_method(load, cls, params):
    X, y = load(return_X_y=True)
    small = {"module": "mlp", "hidden": (16, 8), "max_epochs": 60, "lr": 0.02, "random_state": 0}
    clf = cls(**small, **params).fit(X, y)
    assert clf.score(X, y) > 0.9


def test_the_same_seed_gives_the_same_bits():
    X, _ = table()
    one, two = (fitted(mix_at="any", dropout=0.2).predict_proba(X) for _ in range(2))
    assert np.array_equal(one, two)


OWN = {"hidden": (128, 128)}


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"memory": 1}, "'memory' parameter"),
        ({"memory": -0.1}, "'memory' parameter"),
        ({"memory": "0.9"}, "'memory' parameter"),
        ({"top_k": 0}, "'top_k' parameter"),
        ({"density": "kde"}, "density='kde' has no effect with density_schedule='online'"),
        ({"density": GM(reg_covar=1e-3)}, "has no effect with density_schedule='online'"),
        ({"warmup": 0.5}, "warmup=0.5 has no effect"),
        ({"head": "keep"}, "head='keep' has no effect"),
        ({"density_at": "input"}, "density_schedule='online' waits for features"),
        ({"density_at": 0}, "density_schedule='online' waits for features"),
        ({"density_at": 3}, "looks at a stage that this network does not have"),
        ({"density_at": 1, "mix_at": "any"}, "early stage"),
        ({"mix_prob": 0, "memory": 0.5}, "memory=0.5 has no effect with mix_prob=0"),
        ({"mix": None}, "relabels mixed rows"),
        ({"module": nn.Linear(4, 3), **OWN}, "reads the features that the network's head sees"),
    ],
)
def test_what_cannot_be_used_is_refused_before_training_and_nothing_is_lost(params, words):
    X, y = load_iris(return_X_y=True)
    clf = GenLabelClassifier(**{**ONLINE, "hidden": HIDDEN, "max_epochs": 2, **params})
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the words are compared
        clf.fit(X, y)
    assert words in str(raised.value)
    assert not hasattr(clf, "net_")


@pytest.mark.parametrize("density_schedule", ["once", "warmup"])
def test_a_memory_without_an_online_density_has_no_effect(density_schedule):
    X, y = load_iris(return_X_y=True)
    place = {"density_at": "input" if density_schedule == "once" else "last"}
    clf = GenLabelClassifier(memory=0.5, density_schedule=density_schedule, **place)
    with pytest.raises(ValueError, match=r"memory=0\.5 has no effect"):
        clf.fit(X, y)


@pytest.mark.parametrize(
    "rule",
    [
        OnlineGenLabel(memory=1),
        OnlineGenLabel(memory=-0.5),
        OnlineGenLabel(gamma=1.5),
        OnlineGenLabel(top_k=0),
        OnlineGenLabel(class_prior="equal"),
        OnlineGenLabel(density_at="input"),
        OnlineGenLabel(density_at=1.5),
        OnlineGenLabel(density_at=-1),
        OnlineGenLabel(density_at=3),
    ],
)
def test_a_rule_out_of_its_range_is_refused_before_training(rule):
    X, y = load_iris(return_X_y=True)
    clf = MixupClassifier(label=rule, hidden=HIDDEN, max_epochs=2)
    with pytest.raises(ValueError):  # noqa: PT011 - each parameter has its own words
        clf.fit(X, y)
    assert not hasattr(clf, "net_")
