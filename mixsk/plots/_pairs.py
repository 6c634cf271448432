"""Pairs of rows, mixed inside a fitted network at each lam of a grid, and what it says of them."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from mixsk.classifiers._base import MixClassifier
from mixsk.classifiers._data import check_labels, check_lengths, encode_labels
from mixsk.engine import mean_logits
from mixsk.rules import Rows, mixing_sites
from mixsk.rules._shape import like, mix


def checked(estimator: Any, n_lam: Any, owner: str) -> None:
    """Raise an error unless this is a fitted classifier of mixsk and a number of values of lam."""
    if not isinstance(estimator, MixClassifier):
        raise ValueError(
            f"{owner} mixes rows inside a network of mixsk, but got {type(estimator).__name__}. "
            "Of a pipeline pass the last step, and X as it reaches it: pipe[:-1].transform(X)."
        )
    check_is_fitted(estimator)
    if not isinstance(n_lam, Integral) or isinstance(n_lam, bool) or n_lam < 2:
        raise ValueError(f"n_lam must be an int >= 2. Got {n_lam!r}.")


def one_site(estimator: Any, mix_at: Any) -> int:
    """The one stage where rows are mixed; ValueError if there are several, or it cannot be mixed there."""
    net = estimator.net_.module_
    chosen = estimator._fitted_params["mix_at"] if mix_at is None else mix_at
    sites = mixing_sites(chosen, net.n_stages, net.input_site)
    if len(sites) > 1:
        raise ValueError(
            f"mix_at={chosen!r} mixes at the stages {sites} of the network, and a curve is of one. Choose it "
            f"here, such as mix_at={sites[-1]}."
        )
    return sites[0]


def labelled(estimator: Any, X: Any, y: Any, owner: str) -> tuple[Any, np.ndarray, np.ndarray]:
    """X, its labels and their codes; a data set of images may hold both."""
    if estimator._encoded_kind() == "image":
        X, y = estimator._open_images(X, y)
    y = check_labels(y, owner)
    check_lengths(X, y)
    return X, y, encode_labels(y, estimator.classes_)


def checked_pairs(pairs: Any, n_rows: int, name: str = "pairs") -> np.ndarray:
    """Positions of rows, int (P, 2), or ValueError."""
    found = np.asarray(pairs)
    right = found.ndim == 2 and found.shape[1:] == (2,) and len(found) > 0 and found.dtype.kind in "iu"
    if not right or found.min() < 0 or found.max() >= n_rows:
        raise ValueError(
            f"{name} must be positions of rows of X, each from 0 to {n_rows - 1}, two to a pair: shape "
            f"(n_pairs, 2). Got {pairs!r}."
        )
    return found.astype(np.int64)


def other_class_pairs(codes: np.ndarray, n_pairs: int, random_state: Any) -> np.ndarray:
    """Pairs of rows of different classes, int (P, 2): each row first in turn, its partner any fitting one."""
    rng = check_random_state(random_state)
    first = np.resize(rng.permutation(len(codes)), n_pairs)
    of_class = np.bincount(codes)
    start = (np.cumsum(of_class) - of_class)[codes[first]]
    own = of_class[codes[first]]
    if (own == len(codes)).any():
        raise ValueError(
            "The rows are all of one class, and pairs are of two. Pass rows of at least two classes."
        )
    place = (rng.random_sample(n_pairs) * (len(codes) - own)).astype(np.int64)
    # Sorted by class, the rows of the own one are a run, which is passed over.
    place += np.where(place >= start, own, 0)
    return np.stack([first, np.argsort(codes, kind="stable")[place]], axis=1)


def random_pairs(n_rows: int, random_state: Any) -> np.ndarray:
    """Each pair of a random pairing once, and a row that is left over with itself: int (half, 2)."""
    order = check_random_state(random_state).permutation(n_rows)
    return np.stack([order, order[::-1]], axis=1)[: -(-n_rows // 2)]


def both_ways(values: np.ndarray, n_rows: int) -> np.ndarray:
    """From values (half, G) of pairs to those (n_rows, G) of rows: a pair's other row has them at 1 - lam."""
    return np.concatenate([values, values[: n_rows // 2, ::-1]])


def mixed_log_proba(
    estimator: Any, X: Any, pairs: np.ndarray, lam: np.ndarray, site: int
) -> tuple[np.ndarray, np.ndarray]:
    """Logarithm of a fitted classifier's probabilities of mixed rows, and how long their features are.

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
    log_p : ndarray of shape (P, G, C), float64
    norm : ndarray of shape (P, G), float64
        Squared norm of the features that the network's head sees, the mean of several networks.
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
        found = [_mixed(net, rows, chunk, shares, site) for chunk in chunks]
    logits, norm = (torch.cat(each, 1).double() for each in zip(*found, strict=True))
    log_p = torch.log_softmax(mean_logits(logits / estimator._temperature), -1)
    back = np.argsort(order)
    log_p, norm = (v.unflatten(0, (len(pairs), len(lam))) for v in (log_p, norm.mean(0)))
    return log_p.numpy()[back], norm.numpy()[back]


def _mixed(
    net: Any, rows: Rows, pairs: np.ndarray, lam: torch.Tensor, site: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (M, P * G, C) and squared norms (M, P * G) of `pairs` (P, 2), mixed at each of `lam` (G,)."""
    x = rows.at(torch.as_tensor(pairs.T.ravel(), device=rows.device)).unsqueeze(0)
    if rows.lengths is not None:
        x = x[:, :, : rows.lengths[pairs].max()]
    with net._autocast():
        h = net.module_.lower(x.expand(net.module_.n_models, *x.shape[1:]), site)
        first, second = h.unflatten(1, (2, len(pairs))).unsqueeze(3).unbind(1)  # (M, P, 1, ...)
        mixed = mix(first, like(lam.reshape(1, 1, -1), first), second)
        last = net.module_.n_stages
        logits, taps = net.module_.upper(mixed.flatten(1, 2), site, (last,))
    norms = taps[last].flatten(2).to(rows.dtype).square().sum(-1)
    return logits.to(rows.dtype).cpu(), norms.cpu()
