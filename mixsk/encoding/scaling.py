"""Mean and standard deviation of number columns in float64, read in tiles, safe at any magnitude.

Tiles are merged by the pairwise update of Chan, Golub and LeVeque (1979), "Updating formulae and a pairwise
algorithm for computing sample variances": one pass, no float64 copy of the table, no cancellation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Squares of numbers within 2**(+-400) and their sums stay far inside float64; columns beyond are first
# multiplied by a power of two, which is exact.
_SAFE_EXPONENT = 400

# A training row is at most sqrt(n - 1) standard deviations from the mean, so the bound touches none of fewer
# than 1e12 training rows; it keeps a new row's 1e300 from becoming infinite in float32 and in the network.
LARGEST_Z = 1e6


class Scaling(NamedTuple):
    """What turns k columns x into ``(x * prescale - shift) * factor``; prescale is 0 without spread."""

    n_seen: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    prescale: np.ndarray
    shift: np.ndarray
    factor: np.ndarray


def fit_scaling(table, columns):
    """Scaling of the number columns `columns` of a table; missing values (NaN) are left out.

    Parameters
    ----------
    table : MatrixTable or ColumnTable
        See `mixsk.encoding.tiles`.
    columns : ndarray of int of shape (k,)

    Returns
    -------
    Scaling
        float64 arrays of shape (k,). Columns that are constant or all missing have std 1 and scale to zeros.

    Raises
    ------
    ValueError
        If a value is infinite.
    """
    # Sums of 1e308 overflow in the first round; the second round, prescaled, replaces them.
    with np.errstate(over="ignore", invalid="ignore"):
        n_seen, mean, m2, low, high = _moments(table, columns)
    prescale = np.ones(len(columns))
    largest = np.where(n_seen > 0, np.maximum(np.abs(low), np.abs(high)), 0.0)
    exponent = np.frexp(largest)[1]
    extreme = np.abs(exponent) > _SAFE_EXPONENT
    if extreme.any():
        # To about 1. 2**1000 brings even the smallest subnormal, 2**-1074, into the safe range; the largest
        # exponent, 1024, must not lead to 2**-1024, whose inverse is infinite.
        prescale[extreme] = np.ldexp(1.0, np.minimum(1 - exponent[extreme], 1000))
        again = _moments(table, columns[extreme], prescale[extreme])
        mean[extreme], m2[extreme] = again[1], again[2]

    varies = (low < high) & (m2 > 0)
    mean, prescale = np.where(varies, mean, 0.0), np.where(varies, prescale, 0.0)
    std = np.sqrt(np.where(varies, m2, 1.0) / np.where(varies, n_seen, 1.0))
    unscale = 1 / np.where(varies, prescale, 1.0)
    return Scaling(
        n_seen=n_seen,
        mean=np.where(varies, mean * unscale, np.where(n_seen > 0, low, 0.0)),
        std=np.where(varies, std * unscale, 1.0),
        prescale=prescale,
        shift=mean,
        factor=np.where(varies, 1 / std, 0.0),
    )


def _moments(table, columns, prescale=None):
    n_seen, mean, m2 = np.zeros((3, len(columns)))
    low, high = np.full(len(columns), np.inf), np.full(len(columns), -np.inf)
    for _, part, block in table.tiles(columns):
        if prescale is not None:
            block *= prescale[part]
        tile_low, tile_high = block.min(axis=0), block.max(axis=0)
        missing = None
        if not (
            np.isfinite(tile_low).all() and np.isfinite(tile_high).all()
        ):  # NaN spreads through min and max
            if np.isinf(block).any():
                raise_infinite(table, columns)
            missing = np.isnan(block)
            tile_low, tile_high = np.fmin.reduce(block, axis=0), np.fmax.reduce(block, axis=0)
            block[missing] = 0
        count = len(block) if missing is None else len(block) - missing.sum(axis=0)
        centre = block.sum(axis=0) / np.maximum(count, 1)
        block -= centre
        if missing is not None:
            block[missing] = 0
        total = np.maximum(n_seen[part] + count, 1)
        delta = centre - mean[part]
        m2[part] += np.einsum("ij,ij->j", block, block) + delta**2 * (n_seen[part] * count / total)
        mean[part] += delta * (count / total)
        n_seen[part] += count
        low[part] = np.fmin(low[part], tile_low)
        high[part] = np.fmax(high[part], tile_high)
    return n_seen, mean, m2, low, high


def raise_infinite(table, columns):
    """Raise the error for infinite values, naming the columns and the first row of each."""
    first_rows = {}
    for rows, part, block in table.tiles(columns):
        infinite = np.isinf(block)
        for i in np.flatnonzero(infinite.any(axis=0)):
            first_rows.setdefault(columns[part][i], rows.start + int(infinite[:, i].argmax()))
    raise ValueError(infinite_message([(table.label(j), row) for j, row in sorted(first_rows.items())]))


def infinite_message(found):
    """Text of the error for infinite values; `found` lists (column label, first row)."""
    places = ", ".join(f"{label} (first in row {row})" for label, row in found[:5])
    more = f" and {len(found) - 5} more columns" if len(found) > 5 else ""
    return (
        f"Input X contains infinity in {places}{more}. Finite numbers and missing values (NaN) are allowed. "
        "Replace infinity by NaN, for example X.replace([np.inf, -np.inf], np.nan), by the largest value "
        "that makes sense, or drop the rows."
    )
