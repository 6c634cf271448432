"""`ema`: an average of the weights takes their place where the network is looked at."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from skorch.callbacks import Callback
from small_fits import CLASSIFIERS, SMALL, rows
from torch import nn

from mixsk import GenLabelClassifier, InfiniteMixupClassifier, MixupClassifier
from mixsk.engine.average import Average

ALONE = {**SMALL, "module": "mlp", "n_cv": 1, "calibrate": False, "dtype": "float64"}


class Steps(Callback):
    """Keeps the weights after each step, by name."""

    seen: list = []

    def on_train_begin(self, net, **kwargs):
        self.seen.clear()

    def on_batch_end(self, net, training, **kwargs):
        if training:
            self.seen.append(
                {name: p.detach().numpy().copy() for name, p in net.module_.state_dict().items()}
            )


def averaged(steps, decay, start=None):
    """The recursion in numpy."""
    found = start
    for n, weights in enumerate(steps, 1):
        if found is None:
            found = dict(weights)
        else:
            d = min(decay, (1 + n) / (10 + n))
            found = {k: d * found[k] + (1 - d) * weights[k] for k in weights}
    return found


def weights_of(clf):
    return {name: p.detach().numpy() for name, p in clf.net_.module_.state_dict().items()}


def check_close(found, expected):
    assert found.keys() == expected.keys()
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
@pytest.mark.parametrize("n_members", [1, 3])
def test_the_network_ends_with_the_average_of_its_weights(decay, n_members):
    X, y = rows()
    params = {**ALONE, "n_members": n_members, "module": "table"}
    clf = MixupClassifier(**params, ema=decay, callbacks=[Steps]).fit(X, y)
    assert len(Steps.seen) == 18
    check_close(weights_of(clf), averaged(Steps.seen, decay))
    # The weights behind the average are those of a fit without.
    behind = Steps.seen[-1]
    check_close(weights_of(MixupClassifier(**params).fit(X, y)), behind)


def test_the_first_weights_do_not_outlast_a_short_training():
    network = nn.Linear(1, 1, bias=False)
    average = Average(network, 0.999)
    shares = []
    for n in range(1, 101):
        nn.init.constant_(network.weight, n == 1)  # the average is then the part of the first weights in it
        average.update()
        shares.append(average.averaged.weight.item())
    # The product of (1 + n) / (10 + n) over n = 2 ... 10; with .999 alone it is .991.
    assert shares[9] == pytest.approx(np.prod([(1 + n) / (10 + n) for n in range(2, 11)]), rel=1e-5)
    assert shares[9] < 1e-3
    # From (1 + n) / (10 + n) = decay on it is the decay.
    fast = Average(network, 0.5)
    fast.update()
    nn.init.ones_(network.weight)
    moved = []
    for _ in range(20):
        before = fast.averaged.weight.item()
        fast.update()
        moved.append((fast.averaged.weight.item() - before) / (1 - before))
    np.testing.assert_allclose(moved[7:12], 0.5, rtol=1e-3)
    np.testing.assert_allclose(moved[0], 1 - 3 / 12, rtol=1e-5)


def test_a_high_decay_does_not_cost_a_short_training_its_score():
    X, y = rows(300)
    params = {**ALONE, "max_epochs": 10, "lr": 0.01}
    plain, high = (MixupClassifier(**params, ema=ema).fit(X, y) for ema in (None, 0.999))
    assert high.score(X, y) > plain.score(X, y) - 0.05


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_every_method_averages_its_network_and_not_those_beside_it(cls):
    X, y = rows()
    params = {**ALONE, "dropout": 0.1}
    if "density" in cls().get_params():
        params |= {"density": "gm", "gamma": 0.5}
    plain = cls(**params).fit(X, y)
    clf = cls(**params, ema=0.7, callbacks=[Steps]).fit(X, y)
    check_close(weights_of(clf), averaged(Steps.seen, 0.7))
    beside, own = (c.net_.criterion_.aux.state_dict() for c in (clf, plain))
    assert all(torch.equal(beside[name], own[name]) for name in own)


def test_several_networks_are_averaged_each_for_itself():
    X, y = rows()
    params = {**SMALL, "mix": "linear", "dtype": "float64", "ema": 0.8, "calibrate": False}
    pair = MixupClassifier(**params, n_members=2, n_cv=1).fit(X, y)
    alone = MixupClassifier(**params, n_cv=1).fit(X, y)
    np.testing.assert_allclose(pair.predict_proba_members(X)[0], alone.predict_proba(X), rtol=1e-7)


def test_with_groups_of_batches_the_average_moves_once_a_group():
    X, y = rows()
    MixupClassifier(**ALONE, accumulate=4, ema=0.9, callbacks=[Steps]).fit(X, y)
    steps = [Steps.seen[k] for k in (3, 5, 9, 11, 15, 17)]
    clf = MixupClassifier(**ALONE, accumulate=4, ema=0.9).fit(X, y)
    check_close(weights_of(clf), averaged(steps, 0.9))


class Losses(Callback):
    """The log loss of the averaged weights on the validation rows after each epoch, computed apart."""

    def __init__(self, X, y):
        self.X, self.y, self.found = X, y, []

    def on_epoch_end(self, net, dataset_valid, **kwargs):
        part = dataset_valid
        x = part.rows.X[torch.as_tensor(part.index)]
        with torch.no_grad():
            logits = net.module_.eval()(x.unsqueeze(0))[0]
        self.found.append(float(nn.functional.cross_entropy(logits, part.rows.y[part.index])))


def weights_of_net(net):
    return {name: p.detach().numpy().copy() for name, p in net.module_.state_dict().items()}


def test_validation_callbacks_and_the_best_epoch_are_the_averages():
    X, y = rows(300)
    params = {**ALONE, "early_stopping": True, "n_iter_no_change": 2, "max_epochs": 60, "lr": 0.05}
    watch = Losses(X, y)
    clf = MixupClassifier(**params, ema=0.9, callbacks=[("steps", Steps), ("watch", watch)]).fit(X, y)
    watch = clf.net_.callbacks_[1][1]
    losses = clf.history_["valid_loss"]
    np.testing.assert_allclose(losses, watch.found, rtol=1e-9)
    assert clf.net_.stop_ == "early_stopping"
    best = int(losses.argmin())
    assert best < len(losses) - 1
    n_batches = len(Steps.seen) // len(losses)
    check_close(weights_of(clf), averaged(Steps.seen[: (best + 1) * n_batches], 0.9))


def test_batch_normalisation_has_averaged_statistics_and_whole_numbers_are_copied():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()
    network.register_buffer("codes", torch.tensor([3, 5, 7]))
    average = Average(network, 0.9)
    seen = []
    for _ in range(7):
        network(torch.randn(8, 3, dtype=torch.float64)).sum().backward()
        with torch.no_grad():
            for p in network.parameters():
                p -= 0.1 * torch.randn_like(p)
        average.update()
        seen.append({k: v.clone().numpy() for k, v in network.state_dict().items()})
    found = {k: v.numpy() for k, v in average.averaged.state_dict().items()}
    whole = {k: found.pop(k).tolist() for k in ("codes", "1.num_batches_tracked")}
    assert whole == {"codes": [3, 5, 7], "1.num_batches_tracked": 7}
    expected = averaged(seen, 0.9)
    check_close(found, {k: expected[k] for k in found})


def test_shown_weights_change_places_and_come_back():
    network = nn.Linear(2, 2)
    average = Average(network, 0.5)
    average.update()
    before = network.weight.detach().clone()
    with torch.no_grad():
        network.weight += 1
    with average.shown():
        assert torch.equal(network.weight, before)
        assert torch.equal(average.averaged.weight, before + 1)
    assert torch.equal(network.weight, before + 1)
    with pytest.raises(KeyboardInterrupt), average.shown():
        raise KeyboardInterrupt
    assert torch.equal(network.weight, before + 1)


def test_partial_fit_goes_on_with_the_weights_behind_the_average():
    X, y = rows()
    params = {**ALONE, "ema": 0.9}
    clf = MixupClassifier(**params, callbacks=[Steps]).partial_fit(X, y, classes=[0, 1, 2])
    steps = list(Steps.seen)
    clf.partial_fit(X, y)
    steps += Steps.seen
    check_close(weights_of(clf), averaged(steps, 0.9))
    plain = MixupClassifier(**{**params, "ema": None}).partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X, y)
    check_close(weights_of(plain), steps[-1])


def test_after_a_pickle_partial_fit_goes_on_from_the_average():
    X, y = rows()
    clf = MixupClassifier(**ALONE, ema=0.9).partial_fit(X, y, classes=[0, 1, 2])
    again = pickle.loads(pickle.dumps(clf))
    assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
    again.set_params(callbacks=[Steps], lr=1e-300, weight_decay=0)
    again.partial_fit(X, y)
    check_close(Steps.seen[-1], weights_of(clf))


def test_a_warm_start_begins_with_the_average_and_a_new_one():
    X, y = rows()
    clf = MixupClassifier(**ALONE, ema=0.9, warm_start=True).fit(X, y)
    before = {k: v.copy() for k, v in weights_of(clf).items()}
    clf.set_params(lr=1e-300, weight_decay=0, callbacks=[Steps]).fit(X, y)
    check_close(Steps.seen[0], before)
    check_close(weights_of(clf), before)


def test_offsets_that_are_found_after_training_are_those_of_the_average():
    X, y = rows()
    clf = InfiniteMixupClassifier(**ALONE | {"max_epochs": 20}, axis="pair", ema=0.9).fit(X, y)
    logits = clf._logits(X)[0]
    free = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    nn.functional.cross_entropy(logits + free, torch.as_tensor(y)).backward()
    assert free.grad.abs().max() < 1e-4


def test_training_in_phases_begins_the_head_from_the_average():
    X, y = rows()
    params = {**ALONE, "max_epochs": 6, "warmup": 0.5, "head": "keep", "density": "gm", "gamma": 0.5}
    clf = GenLabelClassifier(
        **params, density_at="last", density_schedule="warmup", ema=0.8, callbacks=[Steps]
    )
    clf.fit(X, y)
    body = [name for name in Steps.seen[0] if name.startswith("stages.")]
    half = averaged(Steps.seen[:18], 0.8)
    for name in body:  # which the second phase leaves alone
        np.testing.assert_allclose(weights_of(clf)[name], half[name], rtol=1e-9)
    check_close(
        {k: v for k, v in weights_of(clf).items() if k not in body},
        {k: v for k, v in averaged(Steps.seen[18:], 0.8).items() if k not in body},
    )


class Explode(Callback):
    """Makes a weight infinite in the third epoch."""

    def on_batch_begin(self, net, training, **kwargs):
        if training and len(net.history) == 3:
            next(net.module_.parameters()).data.fill_(torch.inf)


def test_a_training_that_diverges_keeps_the_average_of_the_last_finite_epoch():
    X, y = rows()
    clf = MixupClassifier(**ALONE | {"max_epochs": 5}, ema=0.9, callbacks=[Explode])
    with pytest.raises(FloatingPointError, match="weights of epoch 2"):
        clf.fit(X, y)
    two = MixupClassifier(**ALONE | {"max_epochs": 2}, ema=0.9).fit(X, y)
    check_close(weights_of(clf), weights_of(two))


@pytest.mark.parametrize("ema", [0, 1, -0.5, 2, "0.9", True])
def test_what_is_no_decay_is_refused(ema):
    with pytest.raises(ValueError, match="ema"):
        MixupClassifier(**ALONE, ema=ema).fit(*rows())
