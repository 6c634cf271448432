"""Pairs of rows, mixed inside a fitted network at each lam of a grid, and what it says of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state

from mixsk.engine import mean_logits
from mixsk.rules import Rows
from mixsk.rules._shape import like, mix


def random_pairs(n_rows: int, random_state: Any) -> np.ndarray:
    """Each pair of a random pairing once, and a row that is left over with itself: int (half, 2)."""
    order = check_random_state(random_state).permutation(n_rows)
    return np.stack([order, order[::-1]], axis=1)[: -(-n_rows // 2)]


def both_ways(values: np.ndarray, n_rows: int) -> np.ndarray:
    """From values (half, G) of pairs to those (n_rows, G) of rows: a pair's other row has them at 1 - lam."""
    return np.concatenate([values, values[: n_rows // 2, ::-1]])


def mixed_log_proba(estimator: Any, X: Any, pairs: np.ndarray, lam: np.ndarray, site: int) -> np.ndarray:
    """Logarithm of a fitted classifier's probabilities of mixed rows.

    Parameters
    ----------
    estimator : classifier of mixsk
    X : array-like or DataFrame of n rows
    pairs : int array of shape (P, 2)
        Positions in X of the first row, whose share is lam, and of the second.
    lam : array of shape (G,)
    site : int
        Stage of the network where they are mixed, linearly.

    Returns
    -------
    ndarray of shape (P, G, C), float64
    """
    net = estimator.net_
    device = next(net.module_.parameters()).device
    encoded = estimator._encode(X)
    rows = estimator._rows(encoded, np.zeros(len(encoded), np.int64), None, device)
    order = np.arange(len(pairs))
    if rows.lengths is not None:  # pairs of alike length together: less padding
        order = np.argsort(rows.lengths[pairs].max(axis=1), kind="stable")
    at_once = max(1, net.module_.rows_at_once(rows.X) // len(lam))
    chunks = [pairs[order[start : start + at_once]] for start in range(0, len(order), at_once)]
    shares = torch.as_tensor(lam, dtype=rows.dtype, device=device)
    net.module_.eval()
    with estimator._threads(), torch.no_grad():
        logits = torch.cat([_mixed_logits(net, rows, chunk, shares, site) for chunk in chunks], 1)
    log_p = torch.log_softmax(mean_logits(logits.double() / estimator._temperature), -1)
    return log_p.unflatten(0, (len(pairs), len(lam))).numpy()[np.argsort(order)]


def _mixed_logits(net: Any, rows: Rows, pairs: np.ndarray, lam: torch.Tensor, site: int) -> torch.Tensor:
    """Logits (M, P * G, C) of the rows of `pairs` (P, 2), mixed at each of `lam` (G,), on the CPU."""
    x = rows.X[torch.as_tensor(pairs.T.ravel(), device=rows.X.device)].unsqueeze(0)
    if rows.lengths is not None:
        x = x[:, :, : rows.lengths[pairs].max()]
    with net._autocast():
        h = net.module_.lower(x.expand(net.module_.n_models, *x.shape[1:]), site)
        first, second = h.unflatten(1, (2, len(pairs))).unsqueeze(3).unbind(1)  # (M, P, 1, ...)
        mixed = mix(first, like(lam.reshape(1, 1, -1), first), second)
        logits, _ = net.module_.upper(mixed.flatten(1, 2), site)
    return logits.to(rows.dtype).cpu()
