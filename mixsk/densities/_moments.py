"""Weighted means and covariances, Ledoit-Wolf shrinkage, and whitening: the linear algebra of `GM`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixsk.densities._rows import chunks

Array = NDArray[np.float64]

# Least variance in any direction, in units of the columns' variances, where reg_covar does not bound it:
# far above the rounding error of `eigh` (2e-16 d), far below any spread in real data.
FLOOR = 1e-12

# Gives a component that lost all its rows in EM a mean all the same; scikit-learn adds as much.
MASS_FLOOR = 10 * float(np.finfo(np.float64).eps)


class Moments(NamedTuple):
    """What `partial_fit` keeps of a class' rows."""

    n_rows: int
    weight: float  # sum of their sample weights
    mean: Array  # (d,)
    covariance: Array  # (d, d), or variances (d,)


def merge(a: Moments, b: Moments) -> Moments:
    """Moments of the rows of both: means and covariances by weight, plus the spread between the means."""
    weight = a.weight + b.weight
    part = b.weight / weight
    shift = b.mean - a.mean
    between = np.square(shift) if a.covariance.ndim == 1 else np.outer(shift, shift)
    covariance = (1 - part) * a.covariance + part * b.covariance + part * (1 - part) * between
    return Moments(a.n_rows + b.n_rows, weight, a.mean + part * shift, covariance)


def residuals(
    Z: NDArray[Any], rows: NDArray[np.intp], share: Array, mean: Array
) -> Iterator[tuple[Array, Array]]:
    """Pairs (Z - mean, share) of `rows`, a chunk at a time, in float64."""
    for part in chunks(len(rows)):
        yield Z[rows[part]].astype(np.float64) - mean, share[part]


def moments(
    Z: NDArray[Any], rows: NDArray[np.intp], share: Array, diagonal: bool
) -> tuple[Array, Array, Array]:
    """Mass (k,), mean (k, d) and maximum-likelihood covariance (k, d, d), or variance (k, d), per component.

    share (n, k) is each row's part in each component; all of it sums to 1.
    """
    k, d = share.shape[1], Z.shape[1]
    mass = share.sum(0) + MASS_FLOOR
    mean = np.zeros((k, d))
    for z, s in residuals(Z, rows, share, np.zeros(d)):
        mean += s.T @ z
    mean /= mass[:, None]
    covariance = np.zeros((k, d) if diagonal else (k, d, d))
    for j in range(k):
        for r, s in residuals(Z, rows, share[:, j], mean[j]):
            r *= np.sqrt(s)[:, None]
            covariance[j] += np.square(r).sum(0) if diagonal else r.T @ r
        covariance[j] /= mass[j]
    return mass, mean, covariance


def ledoit_wolf(covariance: Array, parts: Iterable[tuple[Array, Array]]) -> Array:
    """Shrink a covariance towards its mean variance times the identity.

    Source: Ledoit and Wolf (2004), "A well-conditioned estimator for large-dimensional covariance
    matrices", Lemmas 3.2-3.5: b^2 / d^2. Their 1/n^2 is the sum of squared shares here, so that weights
    mean importance; with equal weights it is scikit-learn's `ledoit_wolf`.

    parts gives residuals (n, d) and their shares (n,), which sum to 1 over all parts.
    """
    d = len(covariance)
    target = np.trace(covariance) / max(d, 1) * np.eye(d)
    distance = np.square(covariance - target).sum()
    if distance == 0:
        return covariance
    size = np.square(covariance).sum()
    spread = 0.0  # sum of share^2 |r r' - S|^2
    for r, s in parts:
        fourth = np.square(np.square(r).sum(1)) - 2 * ((r @ covariance) * r).sum(1) + size
        spread += float(np.square(s) @ fourth)
    amount = np.clip(spread / distance, 0, 1)
    shrunk: Array = (1 - amount) * covariance + amount * target
    return shrunk


def column_scale(mean: Array, variance: Array, reg_covar: float) -> Array:
    """Standard deviation per column, from the moments of all rows, regularised.

    A column that is constant over all rows tells no class from another. Without reg_covar it gets 1: its
    term is the same under all classes and cancels, if it is not so large that the others drown in it.
    """
    constant = variance <= np.square(FLOOR * mean)
    return np.sqrt(np.where(constant, reg_covar if reg_covar > FLOOR else 1.0, variance + reg_covar))


def whiten(covariance: Array, scale: Array) -> tuple[Array, float]:
    """A with A S A' = I, and log |A|; for a variance vector, A's diagonal.

    Eigenvalues are bounded in units of `scale`, the same for all classes: so columns of any scales are
    treated alike, and a direction that no class has any spread in favours none.
    """
    log_det = -float(np.log(scale).sum())
    if covariance.ndim == 1:
        deviation = np.sqrt(np.maximum(covariance / np.square(scale), FLOOR))
        return 1 / (deviation * scale), log_det - float(np.log(deviation).sum())
    values, vectors = np.linalg.eigh(covariance / scale[:, None] / scale)
    values = np.maximum(values, FLOOR)
    return (vectors / np.sqrt(values)).T / scale, log_det - 0.5 * float(np.log(values).sum())
