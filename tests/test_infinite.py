"""Infinite Class Mixup: its equations on small arrays, and what training with it gives."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.datasets import load_iris, make_classification
from torch import nn

from mixsk import InfiniteMixupClassifier, MixupClassifier
from mixsk.rules import GenLabel, InfiniteClass
from mixsk.rules.infinite import fit_offsets


def batch(seed=0, n=6, c=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, c)), rng.dirichlet(np.ones(c), n)


def tensors(*arrays):
    return [torch.tensor(a)[None] for a in arrays]


def by_hand(S, Y, axis):
    """Eq. 9 with loops: minus the log share of the own place, in its row and in its column."""
    scores = S @ Y.T
    loss = np.zeros(len(S))
    for i in range(len(S)):
        if axis in ("class", "both"):  # Eq. 5
            loss[i] -= np.log(np.exp(scores[i, i]) / sum(np.exp(scores[i, j]) for j in range(len(S))))
        if axis in ("pair", "both"):  # Eq. 7
            loss[i] -= np.log(np.exp(scores[i, i]) / sum(np.exp(scores[j, i]) for j in range(len(S))))
    return loss


@pytest.mark.parametrize("axis", ["class", "pair", "both"])
def test_the_loss_is_equation_9(axis):
    S, Y = batch()
    loss = InfiniteClass(axis, "uniform")(*tensors(S, Y))
    assert_allclose(loss[0], by_hand(S, Y, axis), rtol=1e-12)


@pytest.mark.parametrize(("axis", "number"), [("class", 6), ("pair", 8)])
def test_the_gradient_of_the_class_weights_is_equations_6_and_8(axis, number):
    rng = np.random.default_rng(0)
    r, W = rng.normal(size=(5, 4)), rng.normal(size=(4, 3))
    Y = rng.dirichlet(np.ones(3), 5)
    weights = torch.tensor(W, requires_grad=True)
    (
        -InfiniteClass(axis, "uniform")((torch.tensor(r) @ weights)[None], torch.tensor(Y)[None])
    ).sum().backward()
    p = np.exp(r @ W @ Y.T)
    expected = np.zeros_like(W)
    for i in range(5):
        for c in range(3):
            if number == 6:
                mean = sum(p[i, j] * Y[j, c] for j in range(5)) / p[i].sum()
                expected[:, c] += r[i] * (Y[i, c] - mean)
            else:
                mean = sum(p[j, i] * r[j] for j in range(5)) / p[:, i].sum()
                expected[:, c] += Y[i, c] * (r[i] - mean)
    assert_allclose(weights.grad, expected, rtol=1e-10)


def test_class_axis_with_one_hot_targets_is_softmax_with_the_batchs_class_counts():
    S, _ = batch(n=7)
    y = np.array([0, 0, 1, 2, 2, 2, 0])
    n = np.bincount(y)
    loss = InfiniteClass("class", "uniform")(*tensors(S, np.eye(3)[y]))
    logits = torch.tensor(S + np.log(n))
    softmax = torch.nn.functional.cross_entropy(logits, torch.tensor(y), reduction="none")
    assert_allclose(loss[0], softmax + torch.tensor(np.log(n)[y]), rtol=1e-12)


def test_a_row_of_weight_zero_leaves_both_normalisers():
    S, Y = batch(n=6)
    w = torch.tensor([[1.0, 1, 0, 1, 0, 1]]).double()
    kept = [0, 1, 3, 5]
    loss = InfiniteClass("both", "uniform")(*tensors(S, Y), w)
    assert torch.isfinite(loss).all()
    assert_allclose(loss[0, kept], by_hand(S[kept], Y[kept], "both"), rtol=1e-12)
    assert torch.isfinite(InfiniteClass("both", "uniform")(*tensors(S, Y), torch.zeros(1, 6).double())).all()


def test_a_batch_of_one_row_has_loss_zero():
    assert (
        InfiniteClass(class_prior="uniform")(torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[0.3, 0.7]]])) == 0
    )


def test_the_training_prior_is_taken_from_the_scores_and_absent_classes_are_harmless():
    S, Y = batch(c=3)
    Y[:, 2] = 0
    loss = InfiniteClass("both", "train")
    loss.count(torch.tensor([9.0, 1.0, 0.0]).double())
    expected = by_hand(S - np.log([0.9, 0.1, 1.0]), Y, "both")
    assert_allclose(loss(*tensors(S, Y))[0], expected, rtol=1e-12)


def test_fitted_offsets_are_where_the_predicted_frequencies_are_the_true_ones():
    rng = np.random.default_rng(0)
    logits, y = (
        torch.tensor(rng.normal(size=(2, 200, 3))),
        torch.tensor(rng.choice(3, 200, p=[0.7, 0.2, 0.1])),
    )
    offset = fit_offsets(logits, y, None)
    predicted = torch.softmax(logits + offset, -1).mean(1)
    assert_allclose(predicted, np.tile(np.bincount(y) / 200, (2, 1)), atol=1e-4)


@pytest.fixture(scope="module")
def unequal():
    """Two overlapping classes, 9 to 1."""
    return make_classification(1500, 10, weights=[0.9], flip_y=0.02, class_sep=0.7, random_state=0)


def test_at_9_to_1_the_papers_uniform_prior_costs_accuracy_and_the_training_prior_does_not(unequal):
    X, y = unequal

    def accuracy(**params):
        clf = InfiniteMixupClassifier(random_state=0, max_epochs=40, hidden=(32,), lr=3e-3, n_cv=1, **params)
        return clf.fit(X[:1000], y[:1000]).score(X[1000:], y[1000:])

    train, uniform = accuracy(class_prior="train"), accuracy(class_prior="uniform")
    assert train > 0.89
    assert uniform < train - 0.05


def test_the_pair_axis_alone_gets_class_offsets_from_clean_rows(unequal):
    X, y = unequal
    clf = InfiniteMixupClassifier(axis="pair", max_epochs=5, early_stopping=False, random_state=0).fit(X, y)
    assert_allclose(clf.predict_proba(X).mean(0), np.bincount(y) / len(y), atol=1e-3)


def test_the_offsets_of_the_pair_axis_follow_class_weights(unequal):
    X, y = unequal
    clf = InfiniteMixupClassifier(axis="pair", class_weight="balanced", max_epochs=5, early_stopping=False)
    p = clf.set_params(random_state=0).fit(X, y).predict_proba(X)[:, 1]
    weight = np.where(y == 1, len(y) / (2 * y.sum()), len(y) / (2 * (1 - y).sum()))
    assert_allclose(np.average(p, weights=weight), 0.5, atol=1e-3)


@pytest.mark.parametrize(
    "params",
    [
        {"clean_weight": 1},
        {"label": "remix"},
        {"mix": "columns"},
        {"mix_at": "any", "axis": "class"},
        {"label": GenLabel(), "axis": "pair"},
        {"drop_intrusions": True, "label_smoothing": 0.1},
    ],
)
def test_it_composes_with_masks_sites_labels_and_the_clean_term(params):
    X, y = load_iris(return_X_y=True)
    clf = InfiniteMixupClassifier(random_state=0, max_epochs=60, lr=3e-3, n_cv=1, **params).fit(X, y)
    assert clf.score(X, y) > 0.9


def test_early_stopping_looks_at_the_clean_log_loss(unequal):
    X, y = unequal
    clf = InfiniteMixupClassifier(early_stopping=True, random_state=0, max_epochs=30, hidden=(16,), n_cv=1)
    clf.fit(X, y)
    assert clf.history_["valid_loss"].min() < 0.6  # the loss itself has a floor of several nats
    assert clf.history_["train_loss"].min() > 1


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"axis": "row"}, "'axis' parameter of InfiniteMixupClassifier"),
        ({"class_prior": "equal"}, "'class_prior' parameter"),
        ({"mix": None}, "tells mixed rows apart"),
        ({"axis": "pair", "module": nn.Linear(4, 3)}, "axis='pair' needs"),
    ],
)
def test_bad_parameters(params, words):
    X, y = load_iris(return_X_y=True)
    clf = InfiniteMixupClassifier(**params)
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the words are compared
        clf.fit(X, y)
    assert words in str(raised.value)
    assert not hasattr(clf, "net_")


def test_alpha_is_the_papers_unless_clean_rows_are_added():
    assert InfiniteMixupClassifier()._alpha() == 0.2
    mixup = MixupClassifier(mix="linear", clean_weight=1)
    assert InfiniteMixupClassifier(clean_weight=1)._alpha() == mixup._alpha() == 20
