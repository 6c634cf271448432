"""Which training rows a density keeps, and the blocks in which it meets the rows to evaluate.

KDE and nearest neighbours compare every row with every training row; GM does not need this.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from torch import Tensor

from mixsk.densities._rows import rows_by_class

TILE = 2048  # training rows of one product

# Pairs of rows at once. On the CPU 1 MB of float64: what one pass wrote is still in the cache for the next.
PAIRS = 2**17
PAIRS_ELSEWHERE = 2**24  # 128 MB keep a GPU busy


class Kept(NamedTuple):
    """Training rows of a density, sorted by class."""

    rows: NDArray[Any]  # (n, d), a copy in the dtype that was given
    weight: NDArray[np.float64]  # (n,)
    runs: list[slice]  # of each class' rows; empty for a class without rows


def keep_rows(
    density: Any, Z: NDArray[Any], y: NDArray[np.intp], sample_weight: NDArray[np.float64], n_classes: int
) -> Kept:
    """At most `density.max_density_rows` rows, a random share of each class, with a warning if not all."""
    members = rows_by_class(y, n_classes)
    most = density.max_density_rows
    if len(Z) > max(most, sum(len(rows) > 0 for rows in members)):
        seed = density.random_state
        if seed is None:
            seed = np.random.SeedSequence().generate_state(1)[0]
        rng = check_random_state(seed)
        counts = np.array([len(rows) for rows in members])
        members = [
            np.sort(rng.permutation(rows)[:quota])
            for rows, quota in zip(members, _quotas(counts, most), strict=True)
        ]
        name = type(density).__name__
        warnings.warn(
            f"{name}: {sum(map(len, members))} of {len(Z)} rows are kept, the same share of each class "
            f"(max_density_rows={most}). Every row to evaluate is compared with all of them: "
            "a larger max_density_rows takes proportionally more time.",
            UserWarning,
            stacklevel=4,  # the caller of fit
        )
    stops = np.cumsum([len(rows) for rows in members]).tolist()
    order = np.concatenate(members)
    runs = [slice(start, stop) for start, stop in zip([0, *stops[:-1]], stops, strict=True)]
    return Kept(Z[order], sample_weight[order], runs)


def _quotas(counts: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """One row for each class; the others in proportion, so that all of them together are `most`."""
    present = (counts > 0).astype(np.intp)
    others = np.cumsum(counts - present) * max(most - present.sum(), 0) // (counts - present).sum()
    return present + np.diff(others, prepend=0)


def name_classes(codes: NDArray[np.intp], counts: NDArray[np.intp]) -> str:
    """Classes and their numbers of rows, for a warning; at most 10."""
    named = ", ".join(f"class {c} ({counts[c]} row{'' if counts[c] == 1 else 's'})" for c in codes[:10])
    return named + ", ..." * (len(codes) > 10)


def tiles(n_rows: int) -> list[slice]:
    """Slices of at most TILE training rows."""
    return [slice(start, min(start + TILE, n_rows)) for start in range(0, n_rows, TILE)]


def query_blocks(z: Tensor, width: int) -> tuple[Tensor, ...]:
    """Rows (n, d) in pieces: `width` numbers for each row of one take bounded memory."""
    pairs = PAIRS if z.device.type == "cpu" else PAIRS_ELSEWHERE
    return z.split(max(1, pairs // max(width, 1)))
