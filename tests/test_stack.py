"""Many models as one program: optimisers with a rate for each model, and batches of several training sets."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn, optim
from torch.optim import lr_scheduler

from mixsk import AMPClassifier, LaMixClassifier, MixupClassifier
from mixsk.backbones import build
from mixsk.engine import Part, Plan
from mixsk.engine.optimizer import STACKED, StackedAdam, StackedAdamW, StackedSGD
from mixsk.engine.snapshot import Snapshot
from mixsk.engine.stack import PerSource, Source, StackedBatches, StackedNet, StackedRows
from mixsk.rules import Recipe, Rows, Spec, State

# --- optimisers ---------------------------------------------------------------------------------------

RATES, DECAYS = (0.1, 0.003, 0.3), (0.0, 0.1, 2.0)
M, STEPS = len(RATES), 20
SHAPES = [(3, 2), (1, 2), (4,)]

METHODS = [
    (StackedSGD, optim.SGD, {}),
    (StackedSGD, optim.SGD, {"momentum": 0.9}),
    (StackedSGD, optim.SGD, {"momentum": 0.5, "nesterov": True}),
    (StackedAdam, optim.Adam, {}),
    (StackedAdam, optim.Adam, {"betas": (0.5, 0.9), "eps": 1e-3}),
    (StackedAdamW, optim.AdamW, {}),
    (StackedAdamW, optim.AdamW, {"betas": (0.8, 0.99), "eps": 1e-4}),
]
SCHEDULES = {
    "constant": lambda o: lr_scheduler.ConstantLR(o, 1.0),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS),
    "step": lambda o: lr_scheduler.MultiStepLR(o, [5, 12], 0.1),
    "onecycle": lambda o: lr_scheduler.OneCycleLR(
        o, [group["lr"] for group in o.param_groups], total_steps=STEPS, cycle_momentum=False
    ),
}


def random_tensors(seed):
    """One tensor for each of SHAPES, with a leading model axis."""
    rng = np.random.default_rng(seed)
    return [torch.tensor(rng.normal(size=(M, *shape))) for shape in SHAPES]


def parameters_of(models):
    return [nn.Parameter(t[models].clone()) for t in random_tensors(seed=0)]


def stack(cls=StackedAdam, **options):
    parameters = parameters_of(slice(None))
    rates, decays = (torch.tensor(v, dtype=torch.float64) for v in (RATES, DECAYS))
    return parameters, cls(parameters, rates, decays, **options)


def run(parameters, optimizer, models=slice(None), scheduler=None, steps=range(STEPS)):
    """Steps with gradients that have a random part and follow the weights."""
    for step in steps:
        for p, noise in zip(parameters, random_tensors(seed=100 + step), strict=True):
            p.grad = noise[models] + 0.3 * p.detach()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("cls", "torchs", "options"), METHODS)
def test_each_model_is_updated_as_by_torchs_optimiser_with_its_own_rate_and_decay(
    cls, torchs, options, schedule
):
    ours, optimizer = stack(cls, **options)
    run(ours, optimizer, scheduler=SCHEDULES[schedule](optimizer))
    for m in range(M):
        own = slice(m, m + 1)
        alone = parameters_of(own)
        theirs = torchs(alone, lr=RATES[m], weight_decay=DECAYS[m], **options)
        run(alone, theirs, own, SCHEDULES[schedule](theirs))
        for p, q in zip(ours, alone, strict=True):
            assert_allclose(p[own].detach(), q.detach(), rtol=1e-12, atol=1e-12)


def test_each_named_optimiser_has_a_stacked_form():
    assert STACKED == {"adam": StackedAdam, "adamw": StackedAdamW, "sgd": StackedSGD}


@pytest.mark.parametrize("cls", STACKED.values())
def test_weights_without_a_gradient_stay_as_they_are(cls):
    """torch leaves them alone, decay included: so does a head that is not trained keep its weights."""
    ours, optimizer = stack(cls)
    before = ours[1].detach().clone()
    for step in range(3):
        for p, noise in zip(ours, random_tensors(seed=100 + step), strict=True):
            p.grad = None if p is ours[1] else noise
        optimizer.step()
    assert torch.equal(ours[1], before)
    assert not torch.equal(ours[0], parameters_of(slice(None))[0])


@pytest.mark.parametrize(("cls", "torchs", "options"), METHODS)
def test_a_retired_model_stays_at_zero_and_its_neighbours_do_not_notice(cls, torchs, options):
    left, right = stack(cls, **options), stack(cls, **options)
    run(*left)
    run(*right, steps=range(7))
    right[1].retire(torch.tensor([False, True, False]))
    assert all((p[1] == 0).all() for p in right[0])
    run(*right, steps=range(7, STEPS))
    for p, q in zip(left[0], right[0], strict=True):
        assert (q[1] == 0).all()
        assert torch.equal(p[[0, 2]], q[[0, 2]])


@pytest.mark.parametrize("cls", [StackedSGD, StackedAdam, StackedAdamW])
def test_a_gradient_that_is_not_finite_harms_its_own_model_alone(cls):
    options = {"momentum": 0.9} if cls is StackedSGD else {}
    left, right = stack(cls, **options), stack(cls, **options)
    run(*left)
    for step in range(STEPS):
        for p, noise in zip(right[0], random_tensors(seed=100 + step), strict=True):
            p.grad = noise + 0.3 * p.detach()
            p.grad[1] = torch.nan
        right[1].step()
    for p, q in zip(left[0], right[0], strict=True):
        assert torch.equal(p[[0, 2]], q[[0, 2]])
        assert q[1].isnan().all()


def test_parameters_stay_views_of_one_matrix_through_loading_and_snapshots():
    net = build("mlp", 3, 2, {"hidden": (4,)}, [0, 1, 2]).double()
    fresh = build("mlp", 3, 2, {"hidden": (4,)}, [3, 4, 5]).double()
    like = {name: value.clone() for name, value in net.state_dict().items()}
    optimizer = StackedSGD(net.parameters(), *(torch.tensor(v).double() for v in (RATES, DECAYS)))
    assert all(torch.equal(p, like[name]) for name, p in net.named_parameters())
    snapshot = Snapshot([net])
    net.load_state_dict(fresh.state_dict())
    joined = torch.cat([p.detach().reshape(M, -1) for p in fresh.parameters()], 1)
    assert torch.equal(optimizer.matrix, joined)

    for p in net.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    rates, decays = (torch.tensor(v).double().unsqueeze(1) for v in (RATES, DECAYS))
    assert_allclose(optimizer.matrix, joined - rates * (1 + decays * joined), rtol=1e-14)
    assert torch.equal(torch.cat([p.detach().reshape(M, -1) for p in net.parameters()], 1), optimizer.matrix)

    snapshot.update(torch.tensor([False, True, False]))
    snapshot.restore()
    for name, p in net.named_parameters():
        assert torch.equal(p[[0, 2]], like[name][[0, 2]])
        assert not torch.equal(p[1], like[name][1])


# --- batches of several training sets -----------------------------------------------------------------

C = 3


def table(n, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % C
    return rng.normal(size=(n, 4)) + 0.7 * y[:, None], y


SMALL = {"hidden": (5,), "dtype": "float64", "random_state": 0, "batch_size": 16, "max_epochs": 2, "n_cv": 1}


def batches_of(n_rows, cls=MixupClassifier, seed=0, **params):
    """The batches of a classifier's lone fit, and its validation rows."""
    clf = cls(**{**SMALL, **params, "random_state": seed})
    train, valid, net = clf._prepare(*table(n_rows, seed))
    return clf._batches(train, [net.criterion], net.plan.batch_size, net.max_epochs)[0], valid


def sources(cls=MixupClassifier, rows=(27, 31, 24), counts=(1, 2, 1), **params):
    """Three sources of two batches an epoch, the last of 11, 15 and 8 rows; and the same batches again."""
    made = [batches_of(n, cls, seed, **params) for seed, n in enumerate(rows)]
    again = [batches_of(n, cls, seed, **params)[0] for seed, n in enumerate(rows)]
    return [Source(*pair, count) for pair, count in zip(made, counts, strict=True)], again


OWNER = [0, 1, 1, 2]  # source of each of the four models


def test_shorter_batches_get_padding_rows_that_nobody_takes_part_in():
    given, alone = sources(AMPClassifier, mix_at="any")
    stacked = StackedBatches(given, rows=True)
    assert len(stacked) == 2
    for _ in range(3):  # epochs
        for batch, *theirs in zip(stacked, *alone, strict=True):
            widths = [one.x.shape[1] for one in theirs]
            assert batch.x.shape == (4, max(widths), 4)
            assert batch.y.shape == (4, max(widths), C)
            if len(set(widths)) == 1:
                assert batch.real is None
            for m, s in enumerate(OWNER):
                one, n = theirs[s], widths[s]
                assert torch.equal(batch.x[m, :n], one.x[0])
                assert torch.equal(batch.y[m, :n], one.y[0])
                assert torch.equal(batch.draw.perm[m, :n], one.draw.perm[0])
                assert torch.equal(batch.draw.lam[m, :n], one.draw.lam[0])
                assert batch.draw.perm[m, n:].tolist() == list(range(n, max(widths)))
                assert batch.x[m, n:].isfinite().all()
                if batch.real is not None:
                    assert batch.real[m].tolist() == [1.0] * n + [0.0] * (max(widths) - n)
            sites = batch.draw.site
            sites = [sites] * 4 if isinstance(sites, int) else sites
            assert sites == [theirs[s].draw.site for s in OWNER]


def test_batches_are_as_long_as_alone():
    given, _ = sources(mix=None)
    (_, last) = StackedBatches(given, rows=True)
    assert last.real.sum(1).tolist() == [14, 16, 16, 12]
    assert last.draw is None


def test_what_is_mixed_ahead_is_each_sources_own():
    given, alone = sources(mix="columns", label_smoothing=0.1)
    for batch, *theirs in zip(StackedBatches(given, rows=False), *alone, strict=True):
        for m, s in enumerate(OWNER):
            n = theirs[s].x.shape[1]
            for ours, one in zip(batch.mixture, theirs[s].mixture, strict=True):
                assert (ours is None) == (one is None)
                assert one is None or torch.equal(ours[m, :n], one[0])


def test_a_mask_and_the_noise_it_needs_are_each_sources_own():
    given, alone = sources(LaMixClassifier, mix="columns")
    for batch, *theirs in zip(StackedBatches(given, rows=True), *alone, strict=True):
        for m, s in enumerate(OWNER):
            n = theirs[s].x.shape[1]
            assert torch.equal(batch.draw.noise[m, :n], theirs[s].draw.noise[0])
            assert bool(batch.draw.mixed[m]) == bool(theirs[s].draw.mixed[0])


def test_sources_that_always_mix_stand_beside_one_that_does_not():
    always, never = (batches_of(20, AMPClassifier, mix_prob=p)[0] for p in (1, 0.0))
    for batch in StackedBatches([Source(always, None, 1), Source(never, None, 2)], rows=True):
        assert batch.draw.mixed.tolist() == [True, False, False]


def test_batches_are_alike_in_size_in_whatever_company():
    """27 rows are two batches of 13 and 14, beside 32 that are two of 16."""
    given, _ = sources(rows=(27, 32), counts=(1, 1), mix=None)
    batches = list(StackedBatches(given, rows=True))
    assert [b.real.sum(1).tolist() for b in batches] == [[13, 16], [14, 16]]


# --- validation rows, and rules that are bound --------------------------------------------------------


def some_rows(n, w=None, seed=0):
    X, y = table(n, seed)
    w = None if w is None else torch.tensor(w)
    return Part(Rows(torch.tensor(X), torch.tensor(y), w, C), np.arange(n)[::-1].copy())


def test_validation_rows_lie_side_by_side_with_the_weights_they_would_have_alone():
    parts = [some_rows(4), some_rows(6, np.arange(1.0, 7), seed=1)]
    per_class = torch.tensor([0.5, 2.0, 0.0], dtype=torch.float64)
    ((x, y, w),) = StackedRows(parts, [None, per_class], counts=[2, 1])
    X, labels = table(6, seed=1)
    assert x.shape == (3, 6, 4)
    assert w[0].tolist() == w[1].tolist() == [1.0] * 4 + [0.0] * 2
    assert_allclose(x[2], X[::-1], rtol=0)
    assert y[2].tolist() == labels[::-1].tolist()
    assert_allclose(w[2], np.arange(1.0, 7)[::-1] * per_class.numpy()[labels[::-1]], rtol=1e-15)
    assert_allclose(x[0, :4], table(4)[0][::-1], rtol=0)


def test_a_bound_rule_is_asked_for_its_own_models_in_its_own_state():
    asked = []

    def rule(name):
        def answer(y, perm, share, lam, taps, state):
            asked.append((name, y, perm, share, lam, taps, state))
            return y * 10, None

        return answer

    states = [State(torch.ones(C)), State(torch.zeros(C))]
    y, perm = torch.arange(6.0).reshape(3, 2, 1), torch.tensor([[0, 1], [1, 0], [1, 0]])
    taps = {0: y + 100}
    target = PerSource([rule("a"), rule("b")], [2, 1], states)
    t, keep = target(y, perm, y[..., 0], y[..., 0] + 1, taps, State(torch.full((C,), 7.0)))
    assert torch.equal(t, 10 * y)
    assert keep is None
    for (name, *args, tap, state), own, s in zip(asked, (slice(0, 2), slice(2, 3)), (0, 1), strict=True):
        assert name == "ab"[s]
        assert state is states[s]
        assert torch.equal(tap[0], y[own] + 100)
        for ours, whole in zip(args, (y, perm, y[..., 0], y[..., 0] + 1), strict=True):
            assert torch.equal(ours, whole[own])


def test_a_mask_without_states_keeps_its_arguments():
    mask = PerSource([lambda h, lam, noise, extra: (h, lam)] * 2, [1, 2], None)
    h, lam = torch.rand(3, 2, 4), torch.rand(3, 2)
    m, share = mask(h, lam, None, "extra")
    assert torch.equal(m, h)
    assert torch.equal(share, lam)


# --- the net ------------------------------------------------------------------------------------------


def net_of(n_inputs, seeds, rates, module="linear", plan=None, **params):
    backbone = build(module, n_inputs, C, {}, seeds).double()
    recipe = Recipe(Spec(mix=None))
    recipe._know(State(torch.ones(len(seeds), C)))
    return StackedNet(
        backbone, recipe, plan or Plan(), StackedSGD, lr=1.0, max_epochs=3, verbose=0,
        optimizer__rates=torch.tensor(rates).double(), optimizer__decays=torch.zeros(len(rates)), **params,
    ).initialize()  # fmt: skip


def test_probabilities_of_many_rows_are_those_of_each_models_own():
    """Rows are taken in pieces where there are many, and sources may have different numbers of them."""
    rng = np.random.default_rng(0)
    X = [torch.tensor(rng.normal(size=(n, 400))) for n in (900, 300)]
    net = net_of(400, range(24), [0.1] * 24)
    found = net.probabilities(X, counts=[20, 4])
    W, b = (p.detach().numpy() for p in net.module_.parameters())
    W = W if W.shape[1] == 400 else W.transpose(0, 2, 1)
    for p, x, models in zip(found, X, (range(20), range(20, 24)), strict=True):
        assert p.dtype == torch.float64
        assert p.shape == (len(models), len(x), C)
        for k in (0, len(models) - 1):
            e = np.exp(x.numpy() @ W[models[k]] + b[models[k]])
            assert_allclose(p[k], e / e.sum(1, keepdims=True), rtol=1e-10)


def test_a_model_that_diverges_is_told_and_leaves_its_neighbours_alone():
    finite = []
    for rates in ([0.1, 1e200, 0.2], [0.1, 0.05, 0.2]):
        net = net_of(4, [0, 1, 2], rates)
        batches, _ = batches_of(30, mix=None)
        net.partial_fit((StackedBatches([Source(batches, None, 3)], rows=True), None))
        finite.append((net.diverged_.tolist(), [p.detach()[[0, 2]] for p in net.module_.parameters()]))
    assert [diverged for diverged, _ in finite] == [[False, True, False], [False] * 3]
    for p, q in zip(finite[0][1], finite[1][1], strict=True):
        assert torch.equal(p, q)


def test_training_ends_when_no_model_is_left():
    net = net_of(4, [0, 1], [1e200, 1e250])
    batches, _ = batches_of(30, mix=None)
    net.partial_fit((StackedBatches([Source(batches, None, 2)], rows=True), None), epochs=50)
    assert net.diverged_.all()
    assert len(net.history) < 5
