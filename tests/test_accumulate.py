"""`accumulate`: one step of the optimiser on several batches."""

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from small_fits import CLASSIFIERS, SMALL, rows
from torch import nn

from mixsk import MixupClassifier
from mixsk.engine.accumulate import turns
from mixsk.model_selection import BatchedGridSearchCV

ALONE = {**SMALL, "module": "mlp", "n_cv": 1, "calibrate": False, "dtype": "float64"}


class Batches(Callback):
    """Keeps each batch's rows and labels, in order."""

    seen: list = []

    def on_train_begin(self, net, **kwargs):
        self.seen.clear()

    def on_batch_begin(self, net, batch, training, **kwargs):
        if training:
            self.seen.append(tuple(part.clone() for part in batch))


class Gradients(Callback):
    """Keeps the first parameter's gradient whenever callbacks may change it."""

    seen: list = []

    def on_train_begin(self, net, **kwargs):
        self.seen.clear()

    def on_grad_computed(self, net, **kwargs):
        self.seen.append(next(net.module_.parameters()).grad.clone())


@pytest.mark.parametrize(("n_batches", "accumulate"), [(1, 1), (5, 1), (5, 2), (6, 3), (4, 9)])
def test_groups_are_consecutive_and_their_shares_sum_to_one(n_batches, accumulate):
    found = list(turns(n_batches, accumulate))
    assert len(found) == n_batches
    ends = np.flatnonzero([turn.last for turn in found])
    assert ends.tolist() == [*range(accumulate - 1, n_batches - 1, accumulate), n_batches - 1]
    assert [turn.first for turn in found] == [True, *(turn.last for turn in found[:-1])]
    for group in np.split(np.array([turn.share for turn in found]), ends[:-1] + 1):
        np.testing.assert_allclose(group.sum(), 1)


def plain_network(clf, n_inputs=4, n_classes=3):
    """The classifier's network before training, as modules of torch alone."""
    initial = MixupClassifier(**{**clf.get_params(), "lr": 1e-300, "max_epochs": 1, "callbacks": None})
    weights = initial.fit(*rows()).net_.module_.state_dict()
    network = nn.Sequential(nn.Linear(n_inputs, 5), nn.ReLU(), nn.Linear(5, n_classes)).double()
    for layer, prefix in ((network[0], "stages.0."), (network[2], "head.")):
        own = {name: value for name, value in weights.items() if name.startswith(prefix)}
        weight = next(v for k, v in own.items() if k.endswith("weight"))[0]
        layer.weight.data = weight if weight.shape == layer.weight.shape else weight.T.contiguous()
        layer.bias.data = next(v for k, v in own.items() if k.endswith("bias"))[0, 0]
    return network


@pytest.mark.parametrize(("optimizer", "torchs"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)])
def test_weights_are_those_of_a_loop_over_the_mean_loss_of_each_group(optimizer, torchs):
    X, y = rows()
    params = {**ALONE, "mix": None, "optimizer": optimizer, "lr": 0.05, "weight_decay": 0, "max_epochs": 2}
    clf = MixupClassifier(**params, accumulate=4, callbacks=[Batches]).fit(X, y)
    batches = [pair for _, callback in clf.net_.callbacks_ for pair in callback.seen]
    assert len(batches) == 12  # of 15 rows; two groups an epoch, one of four and one of two
    network = plain_network(clf)
    steps = torchs(network.parameters(), lr=0.05)
    for start, stop in ((0, 4), (4, 6), (6, 10), (10, 12)):
        losses = [nn.functional.cross_entropy(network(x), y) for x, y in batches[start:stop]]
        steps.zero_grad()
        torch.stack(losses).mean().backward()
        steps.step()
    expected = torch.softmax(network(torch.as_tensor(X).double()), -1).detach().numpy()
    np.testing.assert_allclose(clf.predict_proba(X), expected, rtol=1e-9)


@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_one_batch_an_epoch_is_what_it_was_and_groups_train_every_method(cls):
    X, y = rows()
    params = {**ALONE, "batch_size": 90, "dropout": 0.1}
    if "density" in cls().get_params():
        params |= {"density": "gm", "gamma": 0.5}
    one, whole = (cls(**params, accumulate=k).fit(X, y).predict_proba(X) for k in (1, 3))
    np.testing.assert_array_equal(one, whole)
    grouped = cls(**params | {"batch_size": 16}, accumulate=3, n_members=1).fit(X, y)
    single = cls(**params | {"batch_size": 16}).fit(X, y)
    assert np.abs(grouped.predict_proba(X) - single.predict_proba(X)).max() > 1e-6


def test_several_networks_accumulate_each_for_itself():
    X, y = rows()
    params = {**SMALL, "mix": "linear", "dtype": "float64", "accumulate": 2, "calibrate": False}
    pair = MixupClassifier(**params, n_members=2, n_cv=1).fit(X, y)
    alone = MixupClassifier(**params, n_cv=1).fit(X, y)
    np.testing.assert_allclose(pair.predict_proba_members(X)[0], alone.predict_proba(X), rtol=1e-7)


def test_one_cycle_counts_steps_of_the_optimiser():
    X, y = rows()
    clf = MixupClassifier(**ALONE | {"max_epochs": 4}, schedule="onecycle", lr=0.1, accumulate=4).fit(X, y)
    assert clf.net_.scheduler_.total_steps == clf.net_.scheduler_.last_epoch == 8


def test_the_tables_epochs_make_as_many_steps_of_the_optimiser():
    X, y = rows()
    once, twice = (
        MixupClassifier(batch_size=10, n_cv=1, accumulate=k, random_state=0, time_limit=1e-9).fit(X, y)
        for k in (1, 3)
    )
    assert once.net_.max_epochs * 9 == 603
    assert twice.net_.max_epochs * 3 == 600


def test_callbacks_see_the_gradient_of_the_whole_group_once():
    X, y = rows()
    params = {**ALONE, "max_epochs": 1, "lr": 1e-300, "optimizer": "sgd", "weight_decay": 0, "mix": None}
    each = MixupClassifier(**params, callbacks=[Gradients]).fit(X, y).net_.callbacks_[0][1]
    single = [g.clone() for g in each.seen]
    MixupClassifier(**params, accumulate=4, callbacks=[Gradients]).fit(X, y)
    assert len(single) == 6
    assert len(Gradients.seen) == 2
    for found, own in zip(Gradients.seen, (single[:4], single[4:]), strict=True):
        torch.testing.assert_close(found, torch.stack(own).mean(0))


def test_a_stacked_search_fits_one_by_one_with_it():
    X, y = rows()
    params = {**ALONE, "accumulate": 2}
    grid = {"lr": [0.01, 0.1]}
    with pytest.warns(UserWarning, match="accumulate=2 is for a fit of its own"):
        ours = BatchedGridSearchCV(MixupClassifier(**params), grid, cv=2).fit(X, y)
    theirs = GridSearchCV(MixupClassifier(**params), grid, cv=2).fit(X, y)
    np.testing.assert_array_equal(ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"])
