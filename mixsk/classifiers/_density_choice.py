"""Which density fits the rows, and how much it has to tell a network: both from rows held out."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from sklearn.model_selection import train_test_split

from mixsk.classifiers._bagging import Folded
from mixsk.classifiers._holdout import Fold, stratified_folds
from mixsk.engine import Part
from mixsk.rules import GenLabel, Rows

MAX_ROWS = 5000  # by which is chosen: of more, a stratified sample
LEAST = 0.01  # a posterior of less weight is not worth its time
TINY = 1e-300  # of a probability that has no logarithm


def sampled(index: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """At most `MAX_ROWS` of the rows at `index`, of each class its share; labels y are of all rows."""
    if len(index) <= MAX_ROWS:
        return index
    _, counts = np.unique(y[index], return_counts=True)
    alike = y[index] if counts.min() > 1 else None
    few, _ = train_test_split(index, train_size=MAX_ROWS, stratify=alike, random_state=seed)
    return np.sort(few)


def held_out_posterior(label: GenLabel, rows: Rows, folds: list[Fold]) -> np.ndarray:
    """Posterior (m, C) of rows held out, from the density of the others; in the order of the folds."""
    found = []
    for train, test in folds:
        rule = deepcopy(label)
        rule.bind(rows.take(train))
        found.append(rule.posterior(rows.X[torch.as_tensor(test, device=rows.X.device)]).cpu().numpy())
    return np.concatenate(found)


def likeliest(labels: dict[str, GenLabel], part: Part, seed: int) -> str:
    """The name whose density tells classes of held-out rows apart with the least log loss.

    The first, if no rows can be held out.
    """
    y = part.rows.y.cpu().numpy()
    index = sampled(part.index, y, seed)
    folds = [(index[a], index[b]) for a, b in stratified_folds(y[index], seed)]
    if not folds:
        return next(iter(labels))
    test = np.concatenate([held for _, held in folds])
    w = _weights(part.rows, test)
    loss = {}
    for name, label in labels.items():
        own = held_out_posterior(label, part.rows, folds)[np.arange(len(test)), y[test]]
        loss[name] = -float(w @ np.log(np.maximum(own, TINY)))
    return min(loss, key=loss.__getitem__)


def weight_beside(label: GenLabel, network: Any, X: Any, y: np.ndarray, w: np.ndarray | None) -> float:
    """Weight of the density's posterior in the best mixture of it and a network's probabilities.

    Both are of rows held out: the network, a classifier of several folds, is trained here, and the density is
    fitted to the same folds. The mixture `g * density + (1 - g) * network` is best in log loss, with one
    row's worth of belief in the network.
    """
    train, valid, net = network._prepare(X, y, w)
    if not isinstance(train, Folded):
        return 0.0
    told = held_out_posterior(label, train.rows, train.folds)  # says before any training what cannot be used
    network._keep(net.initialize(), [])
    network._train(train, valid, net.max_epochs)
    if net.stop_ == "interrupted":
        raise KeyboardInterrupt
    temperature = network._held_out_temperature(train)
    logits, test = network._held_out_logits(net, train)
    codes = train.rows.y.cpu().numpy()[test]
    at = np.arange(len(test)), codes
    own = torch.softmax(torch.as_tensor(logits) / temperature, -1).numpy()[at]
    g = best_weight(told[at], own, _weights(train.rows, test))
    return g if g >= LEAST else 0.0


def best_weight(told: np.ndarray, own: np.ndarray, w: np.ndarray) -> float:
    """The g in [0, 1] with the largest `sum w log(g * told + (1 - g) * own) + log(1 - g)`.

    Parameters
    ----------
    told, own : ndarray of shape (n,)
        Two probabilities of what came true.
    w : ndarray of shape (n,)
    """

    def loss(g: float) -> float:
        return -float(w @ np.log(np.maximum(g * told + (1 - g) * own, TINY)) + np.log1p(-g))

    return float(minimize_scalar(loss, bounds=(0, 1), method="bounded", options={"xatol": 1e-4}).x)


def _weights(rows: Rows, index: np.ndarray) -> np.ndarray:
    return np.ones(len(index)) if rows.w is None else rows.w.double().cpu().numpy()[index]
