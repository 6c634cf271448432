"""The engine: batches, one training loop, its hooks, and what it keeps."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    LRScheduler,
)
from torch import nn

from mixsk import MixupClassifier
from mixsk.backbones import StackedLinear, build
from mixsk.encoding import Layout
from mixsk.engine import CleanBatches, MixNet, Part, Patience, Plan, Snapshot, TrainingBatches
from mixsk.engine.iterator import batch_slots
from mixsk.engine.schedule import make_schedule
from mixsk.rules import GenLabel, Phase, Recipe, Rows, Spec, State, cross_entropy
from mixsk.rules.draw import PAIRS

N_FEATURES, N_CLASSES = 4, 3


def table(n=90, seed=0, dtype=torch.float64, w=None):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % N_CLASSES
    X = rng.normal(size=(n, N_FEATURES)) + y[:, None]
    X[:, 0] = np.arange(n)  # tells the rows apart
    w = None if w is None else torch.tensor(w, dtype=dtype)
    return Rows(torch.tensor(X, dtype=dtype), torch.tensor(y), w, N_CLASSES, Layout.of_numbers(N_FEATURES))


def scaled(rows):
    rows.X[:, 0] = rows.X[:, 0] / 50 - 1
    return rows


def bound(part, cls=Recipe, state=None, **spec):
    hyper = {"alpha": 1.0, **spec.pop("hyper", {})}
    recipe = cls(Spec(hyper=hyper, **spec))
    recipe.bind(part.copied, state or State(part.copied().class_counts()))
    return recipe


def batches_of(n=10, batch_size=4, seed=0, rows=None, index=None, **spec):
    rows = table(n) if rows is None else rows
    part = Part(rows, np.arange(len(rows.y)) if index is None else index)
    order, draws = ([np.random.default_rng([seed, k])] for k in range(2))
    return TrainingBatches(part, bound(part, **spec), batch_size, order, draws)


def row_numbers(batch):
    return batch.x[0, :, 0].long().tolist()


# --- batches ------------------------------------------------------------------------------------------


@given(st.integers(1, 60), st.integers(1, 20))
def test_slots_hold_each_row_once_in_batches_alike_in_size_and_none_needlessly_of_one_row(n_rows, batch_size):
    slots = batch_slots(n_rows, batch_size)
    assert np.sort(slots[slots >= 0]).tolist() == list(range(n_rows))
    sizes = (slots >= 0).sum(1)
    assert np.ptp(sizes) <= 1
    assert sizes.max() <= batch_size or sizes.max() == 3  # of two, an odd number of rows cannot be made
    assert len(sizes) <= -(-n_rows // batch_size)
    assert sizes.min() > 1 or n_rows == 1 or batch_size == 1
    assert (np.diff((slots < 0).astype(int), axis=1) >= 0).all()  # padding is at the end


@pytest.mark.parametrize("chunk", [1, 40, 2**20])
@pytest.mark.parametrize(("n", "batch_size"), [(1, 4), (4, 4), (9, 4), (10, 4), (11, 64)])
def test_an_epoch_trains_each_row_once_in_another_order_than_the_last(monkeypatch, chunk, n, batch_size):
    monkeypatch.setattr("mixsk.engine.iterator.CHUNK", chunk)
    batches = batches_of(n, batch_size)
    epochs = [[number for batch in batches for number in row_numbers(batch)] for _ in range(40)]
    assert all(sorted(epoch) == list(range(n)) for epoch in epochs)
    assert n == 1 or len({tuple(epoch) for epoch in epochs}) > 1


def test_batches_hold_only_the_parts_rows():
    index = np.array([3, 17, 5, 8, 80, 2, 11])
    batches = batches_of(rows=table(), index=index, batch_size=3)
    assert len(batches) == 3
    assert [batch.x.shape[1] for batch in batches] == [2, 2, 3]
    assert sorted(number for batch in batches for number in row_numbers(batch)) == sorted(index.tolist())


@pytest.mark.parametrize("lam_per", ["batch", "sample"])
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("mix", ["linear", "columns"])
def test_a_short_batch_is_drawn_among_its_own_rows(lam_per, pair, mix):
    batches = batches_of(11, 4, lam_per=lam_per, pair=pair, mix=mix)
    shapes = []
    for _ in range(30):
        for batch in batches:
            size = batch.x.shape[1]
            shapes.append(size)
            perm, lam, site, noise, mixed = batch.draw
            assert perm.shape == lam.shape == (1, size)
            assert ((perm >= 0) & (perm < size)).all()
            assert batch.y.shape == (1, size, N_CLASSES)
            assert noise is None if mix == "linear" else noise.shape == (1, size, N_FEATURES)
            assert isinstance(site, int)
            assert mixed is None
            assert batch.real is None
            if pair == "same_class":
                assert torch.equal(batch.y[0].argmax(-1)[perm[0]], batch.y[0].argmax(-1))
    assert set(shapes) == {4, 3}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_labels_are_one_hot_times_the_sample_weight_in_the_dtype_of_x(dtype):
    w = np.linspace(0.1, 2, 10)
    for batch in batches_of(rows=table(10, dtype=dtype, w=w)):
        numbers = row_numbers(batch)
        assert batch.x.dtype == batch.y.dtype == batch.draw.lam.dtype == dtype
        expected = torch.eye(N_CLASSES, dtype=dtype)[[k % 3 for k in numbers]] * torch.tensor(
            w[numbers], dtype=dtype
        ).unsqueeze(-1)
        torch.testing.assert_close(batch.y[0], expected)


def test_alpha_pairing_and_mask_do_not_change_the_order_of_the_rows():
    def order(**spec):
        return [row_numbers(batch) for batch in batches_of(**spec)]

    expected = order()
    assert order(hyper={"alpha": 0.1}) == expected
    assert order(pair="other_class", lam_per="sample") == expected
    assert order(mix="columns") == expected
    assert order(mix=None) == expected


def test_the_order_does_not_depend_on_how_many_draws_are_prepared_ahead(monkeypatch):
    def order(chunk):
        monkeypatch.setattr("mixsk.engine.iterator.CHUNK", chunk)
        batches = batches_of()
        return [row_numbers(batch) for _ in range(5) for batch in batches]

    assert order(1) == order(50) == order(2**20)


@pytest.mark.parametrize("chunk", [1, 20, 2**20])
def test_mixing_stops_at_the_step_mix_until_in_whatever_chunks_it_is_drawn(monkeypatch, chunk):
    monkeypatch.setattr("mixsk.engine.iterator.CHUNK", chunk)
    batches = batches_of(12, 4, hyper={"mix_until": 7})
    mixed = [bool(batch.draw.mixed) for _ in range(4) for batch in batches]
    assert mixed == [True] * 7 + [False] * 5


def test_vanilla_batches_have_no_draw():
    assert all(batch.draw is None for batch in batches_of(mix=None))


def test_draws_that_a_users_mask_asks_for_stay_within_a_chunk(monkeypatch):
    """Otherwise a mask with one number an entry draws gigabytes ahead on a large, wide table."""
    monkeypatch.setattr("mixsk.engine.iterator.CHUNK", 4096)
    drawn = []

    class Wide:
        def draw_noise(self, rng, lam):
            drawn.append(lam.size * 64)
            return rng.random((*lam.shape, 64), dtype=np.float32)

        def __call__(self, h, lam, noise, extra):
            return lam[..., None], lam

    next(iter(batches_of(160, 16, mix=Wide())))
    assert max(drawn) <= 4096


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_clean_batches_are_the_parts_rows_in_order(batch_size):
    rows = table(20, w=np.linspace(1, 2, 20))
    index = np.array([5, 3, 19, 0, 7, 8, 11, 12])
    parts = list(CleanBatches(Part(rows, index), batch_size))
    assert len(parts) == len(CleanBatches(Part(rows, index), batch_size))
    x, y, w = (torch.cat(v, d) for v, d in zip(zip(*parts, strict=True), (1, 0, 0), strict=True))
    assert torch.equal(x[0], rows.X[index])
    assert torch.equal(y, rows.y[index])
    assert torch.equal(w, rows.w[index])


def test_a_part_that_is_the_whole_table_is_not_copied_and_another_one_is():
    rows = table(6)
    assert Part(rows, np.arange(6)).copied() is rows
    some = Part(rows, np.array([4, 1])).copied()
    assert torch.equal(some.X, rows.X[[4, 1]])
    assert some.layout is rows.layout


def test_a_part_with_repeated_rows_is_not_the_whole_table():
    rows = table(3)
    assert Part(rows, np.array([0, 0, 2])).copied().X[:, 0].tolist() == [0, 0, 2]


# --- a net to train -----------------------------------------------------------------------------------


def module(seed=0, **options):
    return build("mlp", N_FEATURES, N_CLASSES, {"hidden": (8,), **options}, [seed]).double()


def net_of(*, cls=Recipe, recipe=None, backbone=None, callbacks=(), lr=0.01, weights=None, **choices):
    """A net, and the (batches, validation rows) that it is trained with."""
    state = choices.pop("state", None)
    plan = Plan(**{k: choices.pop(k) for k in ("schedule", "patience", "time_limit", "amp") if k in choices})
    optimizer = {k: choices.pop(k) for k in list(choices) if k.startswith("optimizer")}
    rows = choices.pop("rows", None) or scaled(table(w=weights))
    valid = choices.pop("valid", True)
    train = Part(rows, np.arange(60))
    net = MixNet(
        module() if backbone is None else backbone,
        bound(train, cls, state, **choices) if recipe is None else recipe,
        plan,
        **{"optimizer": torch.optim.Adam, **optimizer},
        lr=lr,
        callbacks=list(callbacks),
        verbose=0,
        device="cpu",
    ).initialize()
    order, draws = ([np.random.default_rng(k)] for k in (1, 2))
    batches = TrainingBatches(train, net.criterion_, 16, order, draws)
    return net, (batches, Part(rows, np.arange(60, 90)) if valid else None)


def fit(epochs=3, **choices):
    net, data = net_of(**choices)
    return net.partial_fit(data, epochs=epochs)


def weights_of(*modules):
    return {
        f"{k}.{name}": p.detach().clone() for k, m in enumerate(modules) for name, p in m.state_dict().items()
    }


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


class AtEpochEnd(Callback):
    """Calls a function with the net after each epoch."""

    def __init__(self, function):
        self.function = function

    def on_epoch_end(self, net, **kwargs):
        self.function(net)


# --- training -----------------------------------------------------------------------------------------


def test_training_lowers_the_loss_and_records_every_epoch():
    net = fit(epochs=30, hyper={"clean_weight": 1})
    assert net.history[:, "epoch"] == list(range(1, 31))
    losses = net.history[:, ("train_loss", "valid_loss")]
    assert losses[-1][0] < losses[0][0]
    assert losses[-1][1] < losses[0][1]
    assert all(seconds > 0 for seconds in net.history[:, "dur"])
    assert net.stop_ == "max_epochs"


def test_the_same_seeds_give_the_same_bits():
    first, again = (weights_of(fit(lam_per="sample", pair="other_class").module_) for _ in range(2))
    assert changed(first, again) == set()


def test_an_epoch_of_plain_training_takes_a_gradient_step_on_each_batchs_mean_loss():
    rows = scaled(table())
    net = fit(epochs=1, mix=None, rows=rows, lr=0.1, optimizer=torch.optim.SGD)
    reference = module()
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.1)
    batches = TrainingBatches(
        Part(rows, np.arange(60)),
        bound(Part(rows, np.arange(60)), mix=None),
        16,
        [np.random.default_rng(1)],
        None,
    )
    total = 0.0
    for batch in batches:
        loss = nn.functional.cross_entropy(reference(batch.x)[0], batch.y[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * batch.x.shape[1]
    for name, p in reference.state_dict().items():
        torch.testing.assert_close(net.module_.state_dict()[name], p)
    assert net.history[-1, "train_loss"] == pytest.approx(total / 60)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_validation_loss_is_the_weighted_log_loss_of_the_plain_network(weighted):
    weights = np.linspace(0.5, 2, 90) if weighted else None
    class_weight = torch.tensor([1.0, 2.0, 0.5]).double() if weighted else None
    state = State(torch.full((3,), 20.0).double(), class_weight, weighted)
    net = fit(weights=weights, state=state, backbone=module(dropout=0.5))
    rows = scaled(table())
    part = Part(rows, np.arange(60, 90))
    logits = net.predict_logits(part)
    assert logits.shape == (1, 30, N_CLASSES)
    p, y = torch.softmax(logits[0], -1).numpy(), rows.y[60:].numpy()
    w = weights[60:] * class_weight.numpy()[y] if weighted else None
    assert net.history[-1, "valid_loss"] == pytest.approx(log_loss(y, p, sample_weight=w))
    assert net.history[-1, "valid_acc"] == pytest.approx(accuracy_score(y, p.argmax(1), sample_weight=w))


def test_dropout_is_on_in_training_and_off_in_prediction():
    modes = {"train": set(), "valid": set()}

    class Watch(Callback):
        def on_batch_end(self, net, training, **kwargs):
            modes["train" if training else "valid"].add(net.module_.training)

    net = fit(backbone=module(dropout=0.5), callbacks=[Watch()])
    assert modes == {"train": {True}, "valid": {False}}
    part = Part(scaled(table()), np.arange(10))
    assert torch.equal(net.predict_logits(part), net.predict_logits(part))


def test_training_goes_on_where_partial_fit_left_it():
    net, data = net_of()
    net.partial_fit(data, epochs=2).partial_fit(data, epochs=3)
    assert changed(weights_of(net.module_), weights_of(fit(epochs=5).module_)) == set()
    assert len(net.history) == 5


def test_a_step_of_every_size_down_to_one_row_is_trained():
    for n in (1, 2, 3, 17):
        part = Part(scaled(table(n)), np.arange(n))
        net, _ = net_of(recipe=bound(part))
        batches = TrainingBatches(
            part, net.criterion_, 16, [np.random.default_rng(0)], [np.random.default_rng(0)]
        )
        net.partial_fit((batches, None), epochs=2)
        assert np.isfinite(net.history[-1, "train_loss"])


# --- what a divergence, a limit and an interruption leave ---------------------------------------------


def test_a_loss_that_is_no_longer_finite_stops_and_keeps_the_last_finite_weights():
    kept = []
    spoil = AtEpochEnd(lambda net: kept.append(weights_of(net.module_)) or _spoil(net, len(kept) == 2))
    net, data = net_of(callbacks=[spoil])
    with pytest.raises(
        FloatingPointError, match=r"became nan in epoch 3.*lr=0.01.*keeps the weights of epoch 2"
    ):
        net.partial_fit(data, epochs=10)
    assert net.stop_ == "diverged"
    assert changed(kept[1], weights_of(net.module_)) == set()
    assert len(kept) == 2


def _spoil(net, now):
    if now:
        for group in net.optimizer_.param_groups:
            group["lr"] = float("nan")


def test_a_divergence_in_the_first_epoch_keeps_the_initial_weights():
    net, data = net_of(lr=float("inf"), optimizer=torch.optim.SGD)
    before = weights_of(net.module_)
    with pytest.raises(FloatingPointError, match=r"in epoch 1\. .*keeps the initial weights"):
        net.partial_fit(data, epochs=3)
    assert changed(before, weights_of(net.module_)) == set()


def test_the_time_limit_ends_training_within_an_epoch():
    class Slow(Callback):
        def on_batch_end(self, net, **kwargs):
            time.sleep(0.02)

    net = fit(epochs=1000, time_limit=0.01, callbacks=[Slow()])
    assert net.stop_ == "time_limit"
    assert len(net.history) == 1
    assert len([b for b in net.history[-1]["batches"] if "train_loss" in b]) == 1


def test_an_interruption_leaves_a_net_that_predicts_and_can_be_trained_on():
    class CtrlC(Callback):
        def on_batch_end(self, net, training, **kwargs):
            if training and len(net.history) == 2:
                raise KeyboardInterrupt

    net, data = net_of(callbacks=[CtrlC()])
    net.partial_fit(data, epochs=5)
    assert net.stop_ == "interrupted"
    assert torch.isfinite(net.predict_logits(data[1])).all()
    assert all(p.requires_grad for p in net.module_.parameters())


def test_an_interruption_still_restores_the_best_epoch():
    seen = []

    class CtrlC(Callback):
        def on_batch_begin(self, net, training, **kwargs):
            if training and len(net.history) == 6:
                raise KeyboardInterrupt

    watch = AtEpochEnd(lambda net: seen.append((net.history[-1, "valid_loss"], weights_of(net.module_))))
    net = fit(epochs=20, lr=1.0, patience=100, callbacks=[watch, CtrlC()])
    assert len(seen) == 5
    assert changed(min(seen, key=lambda pair: pair[0])[1], weights_of(net.module_)) == set()


# --- early stopping -----------------------------------------------------------------------------------


def test_early_stopping_waits_its_patience_and_restores_the_best_epoch():
    seen = []
    watch = AtEpochEnd(lambda net: seen.append((net.history[-1, "valid_loss"], weights_of(net.module_))))
    net = fit(epochs=200, lr=0.5, patience=4, callbacks=[watch])
    losses = [loss for loss, _ in seen]
    best = int(np.argmin(losses))
    assert net.stop_ == "early_stopping"
    assert len(losses) == best + 1 + 4
    assert changed(seen[best][1], weights_of(net.module_)) == set()
    assert changed(seen[-1][1], weights_of(net.module_)) != set()


def test_without_validation_rows_nothing_stops_early_and_the_last_weights_stay():
    seen = []
    watch = AtEpochEnd(lambda net: seen.append(weights_of(net.module_)))
    net = fit(epochs=6, lr=0.5, patience=1, valid=False, callbacks=[watch])
    assert len(seen) == 6
    assert changed(seen[-1], weights_of(net.module_)) == set()
    assert "valid_loss" not in net.history[-1]


def test_a_snapshot_keeps_and_restores_parameters_and_buffers_bit_for_bit():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    kept = Snapshot([net])
    before = weights_of(net)
    net(torch.randn(8, 2, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        net[0].weight.add_(1)
    assert len(changed(before, weights_of(net))) == 4  # the weight, two running statistics, their count
    kept.restore()
    assert changed(before, weights_of(net)) == set()
    with torch.no_grad():
        net[0].weight.add_(1)
    kept.update()
    after = weights_of(net)
    kept.restore()
    assert changed(after, weights_of(net)) == set()


def test_a_snapshot_of_stacked_models_keeps_each_models_own_best():
    net = StackedLinear(2, 2, n_models=3)
    kept = Snapshot([net])
    first = weights_of(net)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(1)
    second = weights_of(net)
    kept.update(torch.tensor([False, True, False]))
    kept.restore()
    for name, p in net.state_dict().items():
        for m, expected in enumerate((first, second, first)):
            assert torch.equal(p[m], expected[f"0.{name}"][m])


def test_patience_ends_when_every_model_has_waited_long_enough():
    patience = Patience([StackedLinear(1, 1, n_models=2)], n_iter_no_change=2)
    losses = [[3.0, 3.0], [2.0, 4.0], [2.0, 4.0], [1.5, 2.0], [2.5, 2.0], [2.5, 2.0]]
    answers = [patience.update(torch.tensor(loss)) for loss in losses]
    assert answers == [False, False, False, False, False, True]
    # the second model was finished before its loss fell again: alone, it would have stopped there
    assert patience.best_loss.tolist() == [1.5, 3.0]


def test_patience_takes_a_loss_that_is_not_a_number_for_no_improvement():
    patience = Patience([StackedLinear(1, 1)], n_iter_no_change=2)
    assert [patience.update(torch.tensor([v])) for v in (1.0, float("nan"), float("nan"))] == [
        False,
        False,
        True,
    ]
    assert patience.best_loss.tolist() == [1.0]


# --- phases -------------------------------------------------------------------------------------------


class TwoPhases(Recipe):
    """Everything for the first epochs, the head alone for the last two."""

    def phases(self, max_epochs):
        def on_start(net):
            self.before = weights_of(net.module_)
            self.epochs_before = len(net.history)

        head = Phase(2, trainable=lambda name: name.startswith("head"), on_start=on_start)
        return [Phase(max_epochs - 2), head]


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_a_phase_trains_exactly_the_parameters_it_names(optimizer):
    momentum = {"optimizer__momentum": 0.9} if optimizer is torch.optim.SGD else {}
    net = fit(epochs=5, cls=TwoPhases, optimizer=optimizer, optimizer__weight_decay=0.1, **momentum)
    recipe = net.criterion_
    assert recipe.epochs_before == 3
    assert len(net.history) == 5
    moved = changed(recipe.before, weights_of(net.module_))
    assert moved == {name for name in recipe.before if name.startswith("0.head")}
    assert all(p.requires_grad for p in net.module_.parameters())


def test_a_phase_may_have_an_objective_of_its_own():
    class Still(Recipe):
        def phases(self, max_epochs):
            return [Phase(max_epochs, objective=lambda step: 0 * step.upper(step.h)[0].sum((1, 2)) + 7)]

    net, data = net_of(cls=Still, optimizer=torch.optim.SGD)
    before = weights_of(net.module_)
    net.partial_fit(data, epochs=2)
    assert net.history[:, "train_loss"] == pytest.approx([7, 7])
    assert changed(before, weights_of(net.module_)) == set()


def test_what_a_phase_starts_with_runs_once_with_the_net_before_its_first_epoch():
    calls = []

    class Renewed(Recipe):
        def phases(self, max_epochs):
            def on_start(net):
                calls.append(len(net.history))
                for p in net.module_.head.parameters():
                    nn.init.zeros_(p)

            return [Phase(1), Phase(2, on_start=on_start)]

    fit(epochs=3, cls=Renewed)
    assert calls == [1]


def test_the_history_tells_the_phases_apart():
    class Named(Recipe):
        def phases(self, max_epochs):
            return [Phase(1, name="warm-up"), Phase(max_epochs - 1, name="head")]

    assert fit(epochs=3, cls=Named).history[:, "phase"] == ["warm-up", "head", "head"]


def test_parameters_that_a_user_froze_stay_frozen():
    frozen = nn.Sequential(nn.Linear(N_FEATURES, 8), nn.ReLU(), nn.Linear(8, N_CLASSES))
    for p in frozen[0].parameters():
        p.requires_grad_(False)
    net, data = net_of(backbone=build(frozen, N_FEATURES, N_CLASSES, {}, [0]).double())
    before = weights_of(net.module_)
    net.partial_fit(data, epochs=2)
    moved = changed(before, weights_of(net.module_))
    assert moved == {name for name in before if ".module.2." in name}
    assert [p.requires_grad for p in net.module_.parameters()] == [False, False, True, True]


# --- aux networks -------------------------------------------------------------------------------------


class SecondHead(Recipe):
    """A second head on the input, trained beside the network."""

    def __init__(self, spec):
        super().__init__(spec)
        torch.manual_seed(3)
        self.aux["second"] = StackedLinear(N_FEATURES, N_CLASSES).double()
        plain = self.objective

        def both(step):
            logits = step.recipe.aux["second"](step.h)
            return plain(step) + step.mean(cross_entropy(logits, step.batch.y))

        self.objective = both


def seconds_loss(net, part):
    rows = part.copied()
    return nn.functional.cross_entropy(net.criterion_.aux["second"](rows.X[None])[0], rows.y).item()


def test_an_aux_network_is_trained_with_the_classifier():
    with torch.random.fork_rng():
        net, data = net_of(cls=SecondHead)
        before = seconds_loss(net, data[0].part)
        net.partial_fit(data, epochs=20)
    assert seconds_loss(net, data[0].part) < before - 0.1


def test_an_aux_network_takes_no_part_in_prediction():
    with torch.random.fork_rng():
        net, data = net_of(cls=SecondHead)
    net.partial_fit(data, epochs=2)
    expected = net.predict_logits(data[1])
    assert not any("second" in name for name in net.module_.state_dict())
    with torch.no_grad():
        for p in net.criterion_.aux.parameters():
            p.fill_(float("nan"))
    assert torch.equal(net.predict_logits(data[1]), expected)


def test_the_best_epochs_aux_weights_are_restored_with_the_networks():
    seen = []
    watch = AtEpochEnd(
        lambda net: seen.append((net.history[-1, "valid_loss"], weights_of(net.module_, net.criterion_.aux)))
    )
    with torch.random.fork_rng():
        net = fit(epochs=100, cls=SecondHead, lr=0.5, patience=3, callbacks=[watch])
    best = min(seen, key=lambda pair: pair[0])[1]
    assert any(name.startswith("1.second") for name in best)
    assert changed(best, weights_of(net.module_, net.criterion_.aux)) == set()
    assert changed(best, seen[-1][1]) == set(best)


def test_a_phase_may_train_the_aux_network_alone():
    class AuxAlone(SecondHead):
        def phases(self, max_epochs):
            return [Phase(max_epochs, trainable=lambda name: name.startswith("aux"))]

    with torch.random.fork_rng():
        net, data = net_of(cls=AuxAlone)
    before = weights_of(net.module_, net.criterion_.aux)
    net.partial_fit(data, epochs=2)
    after = weights_of(net.module_, net.criterion_.aux)
    assert changed(before, after) == {name for name in before if name.startswith("1.")}


# --- skorch's callbacks -------------------------------------------------------------------------------


def test_batches_are_announced_only_if_a_callback_listens(monkeypatch):
    class Counter(Callback):
        def __init__(self):
            self.calls = {"begin": 0, "end": 0, "grad": 0}

        def on_epoch_begin(self, net, **kwargs):
            pass

    class Listener(Counter):
        def on_batch_begin(self, net, batch, training, **kwargs):
            X, y = batch
            assert X.shape[1:] == (N_FEATURES,)
            assert y.shape == X.shape[:1]
            self.calls["begin"] += 1

        def on_batch_end(self, net, batch, training, **kwargs):
            self.calls["end"] += 1

        def on_grad_computed(self, net, named_parameters, **kwargs):
            assert all(p.grad is not None for _, p in named_parameters)
            self.calls["grad"] += 1

    notify, told = MixNet.notify, set()
    monkeypatch.setattr(MixNet, "notify", lambda net, hook, **kw: told.add(hook) or notify(net, hook, **kw))
    fit(callbacks=[Counter()])
    assert {"on_train_begin", "on_epoch_begin", "on_epoch_end", "on_train_end"} <= told
    assert not told & {"on_batch_begin", "on_batch_end", "on_grad_computed"}
    loud = Listener()
    net = fit(callbacks=[("loud", loud)])
    assert loud.calls == {"begin": 3 * 5, "end": 3 * 5, "grad": 3 * 4}  # 4 training batches, 1 of validation
    assert len(net.history[-1]["batches"]) >= 4
    batches = net.history[-1, "batches", :, ("train_loss", "train_batch_size")]
    mean = np.average([loss for loss, _ in batches[:4]], weights=[size for _, size in batches[:4]])
    assert net.history[-1, "train_loss"] == pytest.approx(mean)


def test_listening_does_not_change_the_weights():
    class Listener(Callback):
        def on_batch_end(self, net, **kwargs):
            pass

    assert changed(weights_of(fit().module_), weights_of(fit(callbacks=[Listener()]).module_)) == set()


def test_epoch_scoring_scores_the_validation_rows():
    scores = [
        EpochScoring("accuracy", name="acc", lower_is_better=False),
        EpochScoring("neg_log_loss", name="nll", lower_is_better=False),
    ]
    net = fit(callbacks=scores)
    for epoch in net.history:
        assert epoch["acc"] == pytest.approx(epoch["valid_acc"])
        assert epoch["nll"] == pytest.approx(-epoch["valid_loss"])
    assert "acc_best" in net.history[0]


def test_epoch_scoring_on_training_rows_scores_them_as_they_are():
    """Accuracy on mixed rows would mean nothing."""
    score = EpochScoring("accuracy", name="train_acc", on_train=True, lower_is_better=False)
    net = fit(epochs=2, callbacks=[score], lr=1e-12, backbone=module(dropout=0.9))
    part = Part(scaled(table()), np.arange(60))
    found = net.predict_logits(part)[0].argmax(-1)
    assert net.history[-1, "train_acc"] == pytest.approx((found == part.copied().y).double().mean().item())


def test_batch_scoring_averages_over_the_validation_batches():
    net = fit(callbacks=[BatchScoring("accuracy", name="acc", lower_is_better=False)])
    assert net.history[-1, "acc"] == pytest.approx(net.history[-1, "valid_acc"])


def test_a_users_early_stopping_ends_training_after_its_own_patience():
    stop = EarlyStopping(
        monitor="valid_loss", patience=3, threshold=10.0
    )  # after the first epoch nothing is better
    net = fit(epochs=50, callbacks=[stop])
    assert len(net.history) == 1 + 3
    assert net.stop_ == "callback"


def test_a_users_early_stopping_may_load_its_best_weights():
    seen = []
    watch = AtEpochEnd(lambda net: seen.append((net.history[-1, "valid_loss"], weights_of(net.module_))))
    stop = EarlyStopping(patience=3, threshold=0, load_best=True, sink=lambda text: None)
    net = fit(epochs=100, lr=0.5, callbacks=[watch, stop])
    assert len(seen) < 100
    assert changed(min(seen, key=lambda pair: pair[0])[1], weights_of(net.module_)) == set()


def test_a_callback_may_stop_training_by_setting_stop():
    class Enough(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.stop_ = "enough"

    net = fit(epochs=9, callbacks=[Enough()])
    assert net.stop_ == "enough"
    assert len(net.history) == 1


def test_skorchs_lr_scheduler_and_freezer_and_clipping_work():
    net = fit(lr=0.01, callbacks=[LRScheduler("StepLR", step_size=1, gamma=0.1)])
    assert net.history[:, "event_lr"] == pytest.approx([0.01, 0.001, 0.0001])
    net, data = net_of(callbacks=[Freezer("stages*")])
    before = weights_of(net.module_)
    net.partial_fit(data, epochs=2)
    assert changed(before, weights_of(net.module_)) == {name for name in before if "head" in name}
    net, data = net_of(callbacks=[GradientNormClipping(1e-6)], optimizer=torch.optim.SGD, lr=1.0)
    before = weights_of(net.module_)
    net.partial_fit(data, epochs=1)
    for name, p in weights_of(net.module_).items():
        assert (p - before[name]).norm() <= 4.1e-6  # four steps


def test_skorchs_checkpoint_writes_the_best_epoch(tmp_path):
    net = fit(epochs=4, callbacks=[Checkpoint(dirname=str(tmp_path))])
    best = np.argmin(net.history[:, "valid_loss"])
    assert net.history[int(best), "valid_loss_best"]
    assert (tmp_path / "params.pt").exists()


def test_gradients_are_announced_at_their_true_scale_in_mixed_precision():
    norms = {}

    class Norm(Callback):
        def on_grad_computed(self, net, named_parameters, **kwargs):
            total = sum(p.grad.square().sum().item() for _, p in named_parameters) ** 0.5
            norms.setdefault(net.plan.amp, total)

    rows = scaled(table(dtype=torch.float32))
    for amp in (None, "fp16"):
        fit(epochs=1, rows=rows, backbone=module().float(), amp=amp, callbacks=[Norm()])
    assert norms["fp16"] == pytest.approx(norms[None], rel=0.05)


# --- schedules ----------------------------------------------------------------------------------------


def rates(schedule, epochs=10, steps=4, **options):
    """Learning rate of every step."""
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.5, **options)
    scheduler, per_batch = make_schedule(schedule, optimizer, epochs, steps)
    found = []
    for _ in range(epochs):
        for _ in range(steps):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if per_batch:
                scheduler.step()
        if not per_batch:
            scheduler.step()
    return np.array(found), optimizer


def test_cosine_falls_from_lr_to_zero_over_all_epochs():
    found, optimizer = rates("cosine")
    expected = 0.25 * (1 + np.cos(np.pi * np.repeat(np.arange(10), 4) / 10))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)


def test_step_takes_a_tenth_at_three_and_four_fifths_of_the_epochs():
    found, _ = rates("step")
    np.testing.assert_allclose(found, np.repeat([0.5] * 6 + [0.05] * 2 + [0.005] * 2, 4))


def test_onecycle_rises_to_lr_and_falls_within_its_steps_and_leaves_momentum_alone():
    found, optimizer = rates("onecycle", momentum=0.8)
    assert found.max() == pytest.approx(0.5, rel=0.05)
    assert 0 < found.argmax() < 20
    assert found[-1] < 0.001
    assert optimizer.param_groups[0]["momentum"] == 0.8


def test_a_users_schedule_is_stepped_once_an_epoch():
    found, _ = rates(lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5), epochs=3)
    np.testing.assert_allclose(found, np.repeat([0.5, 0.25, 0.125], 4))


@pytest.mark.parametrize("schedule", ["cosine", "step", "onecycle"])
def test_a_scheduled_net_ends_below_its_starting_rate(schedule):
    net = fit(epochs=5, schedule=schedule, lr=0.01)
    assert net.optimizer_.param_groups[0]["lr"] < 0.002


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"mix": "columns", "pair": "same_class"},
        {"mix": "half", "lam_per": "sample"},
        {"label": "remix", "label_smoothing": 0.1},
        {"label": "logistic", "drop_intrusions": True},
        {"label": GenLabel(gamma=0.7), "mix_prob": 0.5},
        {"clean_weight": 1.0, "mix_off": 0.5},
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_mixing_many_steps_ahead_equals_mixing_each_in_its_step(params, weighted, monkeypatch):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(70, 3)), rng.integers(3, size=70)
    w = rng.random(70) if weighted else None
    params = {"dtype": "float64", "max_epochs": 4, "batch_size": 16, "hidden": (8,), **params}
    clf = MixupClassifier(random_state=0, n_cv=1, **params)
    ahead = clf.fit(X, y, sample_weight=w)
    assert ahead.net_.criterion_.ahead
    probabilities = ahead.predict_proba(X)
    monkeypatch.setattr(Recipe, "ahead", False)
    np.testing.assert_allclose(clf.fit(X, y, sample_weight=w).predict_proba(X), probabilities, rtol=1e-9)


@pytest.mark.parametrize("params", [{"mix_at": "any"}, {"mix": None}, {"label": lambda *a: (a[0], None)}])
def test_what_needs_the_network_or_is_a_users_own_is_not_mixed_ahead(params):
    rng = np.random.default_rng(0)
    clf = MixupClassifier(max_epochs=1, **params).fit(rng.normal(size=(20, 2)), np.arange(20) % 2)
    assert not clf.net_.criterion_.ahead
