"""Settings that are "auto" are the network's own; what the user gives is taken as it is."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import KFold, cross_validate

from mixsk import GenLabelClassifier, MixupClassifier
from mixsk.backbones import BACKBONES, Table, Training, build
from mixsk.classifiers._settings import settled
from mixsk.model_selection import BatchedGridSearchCV, batched_cross_validate

USUAL = {
    "optimizer": "adam",
    "lr": 1e-3,
    "weight_decay": 1e-4,
    "schedule": None,
    "batch_size": 128,
    "max_epochs": 100,
}
OWN = {
    "optimizer": "sgd",
    "lr": 0.5,
    "weight_decay": 0.25,
    "schedule": "cosine",
    "batch_size": 7,
    "max_epochs": 3,
}


def table(n=60, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return rng.normal(size=(n, 4)) + y[:, None], y


def weights(clf):
    return torch.cat([p.detach().flatten() for p in clf.net_.module_.parameters()])


# --- which settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["linear", "mlp", torch.nn.Linear])
def test_auto_is_what_small_networks_have_always_been_trained_with(module):
    found = settled(MixupClassifier(module=module), 5000)
    assert {name: getattr(found, name) for name in USUAL} == USUAL


@pytest.mark.parametrize("module", BACKBONES)
def test_what_is_given_is_taken(module):
    found = settled(MixupClassifier(module=module, **OWN), 5000)
    assert {name: getattr(found, name) for name in OWN} == OWN


@pytest.mark.parametrize(
    ("n", "epochs"),
    [
        (1, 600),
        (128, 600),
        (129, 300),
        (130, 300),
        (640, 120),
        (1280, 60),
        (2560, 40),
        (50_000, 40),
        (10**6, 20),
    ],
)
def test_the_table_network_makes_about_as_many_steps_whatever_the_rows(n, epochs):
    assert settled(MixupClassifier(module="table"), n).max_epochs == epochs


@pytest.mark.parametrize(("n", "size"), [(20, 128), (128_000, 128), (128_001, 256), (10**6, 1024)])
def test_the_table_network_takes_more_rows_a_step_where_there_are_very_many(n, size):
    assert settled(MixupClassifier(), n).batch_size == size
    assert settled(MixupClassifier(batch_size=100), n).batch_size == 100


def test_a_batch_size_of_the_users_keeps_the_number_of_steps():
    assert settled(MixupClassifier(module="table", batch_size=5), 100).max_epochs == 40
    assert settled(MixupClassifier(module="table", batch_size=25), 100).max_epochs == 150


@pytest.mark.parametrize(("n", "decay"), [(20, 3), (100, 3), (150, 2), (600, 0.5), (10**6, 0.0003)])
def test_the_table_network_decays_less_the_more_rows_there_are(n, decay):
    assert settled(MixupClassifier(), n).weight_decay == pytest.approx(decay)
    assert settled(MixupClassifier(weight_decay=0.25), n).weight_decay == 0.25


def test_beside_another_optimiser_rate_and_decay_are_not_the_table_networks():
    found = settled(MixupClassifier(optimizer="sgd"), 50)
    assert (found.lr, found.weight_decay) == (1e-3, 1e-4)
    assert found.schedule == "onecycle"
    found = settled(MixupClassifier(optimizer=torch.optim.AdamW, lr=0.5), 50)
    assert (found.lr, found.weight_decay) == (0.5, 1e-4)
    assert settled(MixupClassifier(optimizer="adamw"), 50) == settled(MixupClassifier(), 50)


@pytest.mark.parametrize(("n", "alpha"), [(30, 0.4), (60, 0.4), (2000, 0.2)])
def test_the_table_network_mixes_less_the_more_rows_there_are(n, alpha):
    X, y = table(n)
    clf = MixupClassifier(hidden=(4,), max_epochs=1, n_cv=1).fit(X, y)
    assert clf.net_.criterion_.hyper["alpha"] == pytest.approx(alpha)
    assert clf.set_params(alpha=2, max_epochs=1).fit(X, y).net_.criterion_.hyper["alpha"] == 2


def test_partial_fit_has_no_schedule_of_its_own():
    found = settled(MixupClassifier(module="table"), None)
    assert found.schedule is None
    assert found.max_epochs == 1
    assert found.optimizer == "adamw"
    assert found.weight_decay == 1e-4  # how many rows will come is not known


@pytest.mark.parametrize("pickled", [False, True])
def test_partial_fit_goes_on_at_a_steady_rate_after_a_fit(pickled):
    X, y = table()
    clf = MixupClassifier(hidden=(8,), random_state=0, n_cv=1).fit(X, y)
    before = clf.predict_proba(X)
    if pickled:
        clf = pickle.loads(pickle.dumps(clf))
    for _ in range(20):
        clf.partial_fit(X, (y + 1) % 3)
    assert np.abs(clf.predict_proba(X) - before).max() > 0.05
    (group,) = clf.net_.optimizer_.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.01, 1e-4)


def test_a_network_of_the_users_says_how_it_is_trained():
    class Mine(torch.nn.Linear):
        trained_with = Training(lr=0.25, max_epochs=2)

        def __init__(self, n_features, n_classes):
            super().__init__(n_features, n_classes)

    clf = MixupClassifier(module=Mine).fit(*table())
    assert clf.n_iter_ == 2
    assert clf.net_.lr == 0.25


# --- what they do -------------------------------------------------------------------------------------


def test_auto_and_the_same_settings_by_hand_are_the_same_fit():
    left_open = MixupClassifier(module="mlp", random_state=0, max_epochs=5)
    by_hand = clone(left_open).set_params(**USUAL | {"max_epochs": 5})
    assert torch.equal(weights(by_hand.fit(*table())), weights(left_open.fit(*table())))


def test_the_table_networks_optimiser_and_epochs_are_used():
    clf = MixupClassifier(module="table", hidden=(4,), batch_size=20, random_state=0, n_cv=1).fit(*table())
    assert type(clf.net_.optimizer_) is torch.optim.AdamW
    assert clf.n_iter_ == 200
    assert clf.net_.optimizer_.param_groups[0]["weight_decay"] == 3
    assert clf.net_.optimizer_.param_groups[0]["lr"] < 1e-6  # one cycle has ended


def test_rows_for_validation_restore_the_best_of_all_epochs_where_nothing_is_stopped_early():
    X, y = table(90)
    rng = np.random.default_rng(0)
    clf = MixupClassifier(module="table", hidden=(16,), mix=None, max_epochs=40, random_state=0, n_cv=1)
    clf.fit(X[:60], y[:60], X_val=X[60:], y_val=rng.permutation(y[60:]))  # labels that cannot be learnt
    history = clf.history_
    assert len(history) == 40
    best = history["valid_loss"].min()
    assert history["valid_loss"].iloc[-1] > best
    p = clf.predict_proba(X[60:])[np.arange(30), np.random.default_rng(0).permutation(y[60:])]
    assert -np.log(p).mean() == pytest.approx(best, rel=1e-5)


def test_the_table_network_holds_rows_out_by_itself_if_there_are_many():
    X, y = table(1200)
    clf = MixupClassifier(module="table", hidden=(4,), max_epochs=1, n_cv=1)
    assert "valid_loss" not in clf.fit(X, y).history_
    assert "valid_loss" in clf.fit(*table(5000)).history_
    assert "valid_loss" in clf.set_params(early_stopping=True).fit(X, y).history_
    assert "valid_loss" in MixupClassifier(module="mlp", hidden=(4,), max_epochs=1).fit(X, y).history_


def test_folds_of_other_sizes_have_their_own_epochs_in_one_program_too():
    X, y = table(45)
    params = {"module": "table", "hidden": (4,), "batch_size": 20, "dtype": "float64", "n_cv": 1}
    clf = MixupClassifier(**params, random_state=0)
    splits = [(np.arange(42), np.arange(42, 45)), (np.arange(4, 24), np.arange(4))]  # 3 batches, and 1
    together = batched_cross_validate(clf, X, y, cv=splits, return_estimator=True)
    alone = cross_validate(clf, X, y, cv=splits, return_estimator=True)
    for one, other in zip(together["estimator"], alone["estimator"], strict=True):
        assert one.n_iter_ == other.n_iter_
        np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), atol=1e-7)
    assert {clf.n_iter_ for clf in alone["estimator"]} == {200, 600}


def test_a_search_may_set_what_is_auto():
    X, y = table(40)
    params = {"density": "gm", "gamma": 0.5, "max_epochs": 3, "random_state": 0, "n_cv": 1}
    clf = GenLabelClassifier(module="table", hidden=(4,), **params)
    search = BatchedGridSearchCV(clf, {"lr": ["auto", 0.5], "weight_decay": ["auto", 0]}, cv=KFold(2)).fit(
        X, y
    )
    scores = search.cv_results_["mean_test_score"]
    at_auto = BatchedGridSearchCV(clf, {"lr": [0.01], "weight_decay": [3]}, cv=KFold(2)).fit(X, y)
    assert scores[0] == at_auto.cv_results_["mean_test_score"][0]


def test_auto_survives_clone_and_pickle():
    clf = MixupClassifier(module="table", hidden=(4,), max_epochs=2, random_state=0).fit(*table())
    again = pickle.loads(pickle.dumps(clf))
    assert clone(again).lr == "auto"
    np.testing.assert_array_equal(again.predict_proba(table()[0]), clf.predict_proba(table()[0]))


# --- the table network --------------------------------------------------------------------------------


def test_an_untrained_table_network_clips_its_inputs_softly():
    net = build("table", 4, 3, {"hidden": (5,), "activation": "tanh"}, [0]).double()
    x = torch.tensor(np.random.default_rng(0).normal(size=(1, 6, 4))) * 10
    clipped = (x / torch.sqrt(1 + x**2 / 9)).numpy()[0]
    assert np.abs(clipped).max() < 3
    layer, head = net.stages[0].layer.linear, net.head

    def affine(h, linear):
        weight = linear.weight[0].T if linear.narrow else linear.weight[0]
        return h @ weight.detach().numpy() + linear.bias[0].detach().numpy()

    expected = affine(np.tanh(affine(clipped, layer)), head)
    np.testing.assert_allclose(net(x)[0].detach().numpy(), expected, atol=1e-12)


def test_a_feature_scale_moves_six_times_as_fast():
    net = build("table", 4, 3, {"hidden": (5,)}, [0]).double()
    before = net.stages[0].scale(torch.ones(1, 1, 4).double())
    with torch.no_grad():
        net.stages[0].scale.weight += 0.01
    after = net.stages[0].scale(torch.ones(1, 1, 4).double())
    torch.testing.assert_close(after / before, torch.full((1, 1, 4), 1.06).double())


def test_a_noise_column_is_scaled_down():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = (X[:, 0] > 0).astype(int)
    clf = MixupClassifier(module="table", weight_decay=0.3, max_epochs=200, random_state=0, n_cv=1).fit(X, y)
    factors = np.abs(1 + 6 * clf.net_.module_.stages[0].scale.weight.detach().numpy()).ravel()
    assert factors[0] > 1.2
    assert factors[1:].max() < 1


def test_the_table_network_has_the_sites_of_the_mlp():
    assert Table(4, 3, hidden=(6, 5)).widths == (4, 6, 5)
    assert Table(4, 3, hidden=(6, 5)).n_stages == 2


# --- how rows are mixed -------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [MixupClassifier, GenLabelClassifier])
@pytest.mark.parametrize(
    ("params", "mix", "alpha"),
    [
        ({"module": "mlp"}, "linear", 1),
        ({}, "columns", 0.4),
        ({"module": "table"}, "columns", 0.4),
        ({"module": "table", "alpha": 2}, "columns", 2),
        ({"module": "table", "mix": "linear"}, "linear", 1),
        ({"module": "table", "mix": "columns"}, "columns", 1),
        ({"module": "table", "mix_at": "any"}, "linear", 2),
        ({"module": "table", "mix_at": [0]}, "columns", 0.4),
    ],
)
def test_how_rows_are_mixed_is_the_networks_own_if_it_is_left_open(cls, params, mix, alpha):
    spec = cls(**params)._spec(n_stages=2)
    assert (spec.mix, spec.hyper["alpha"]) == (mix, alpha)


def test_auto_mixing_and_the_same_by_hand_are_the_same_fit():
    left_open = MixupClassifier(module="table", max_epochs=3, random_state=0, n_cv=1)
    by_hand = clone(left_open).set_params(mix="columns", alpha=0.4)
    X, y = table()
    assert torch.equal(weights(left_open.fit(X, y)), weights(by_hand.fit(X, y)))
    scores = batched_cross_validate(clone(left_open), X, y, cv=3)["test_score"]
    np.testing.assert_array_equal(scores, batched_cross_validate(clone(by_hand), X, y, cv=3)["test_score"])
