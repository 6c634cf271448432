"""Rows in pieces, by class, and their columns: what all densities do to a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

CHUNK = 16_384  # rows taken to float64 at once: 1 000 000 x 20 float32 rows then cost 3 MB more, not 160


def chunks(n: int) -> Iterator[slice]:
    """Slices of at most CHUNK rows that together cover n rows."""
    return (slice(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK))


def rows_by_class(y: NDArray[np.intp], n_classes: int) -> list[NDArray[np.intp]]:
    """Row numbers of each class, in their order; empty for a class without rows."""
    counts = np.bincount(y, minlength=n_classes)
    return np.split(np.argsort(y, kind="stable"), np.cumsum(counts)[:-1])


def as_slice(columns: NDArray[np.intp]) -> slice | None:
    """The slice that takes the same columns, or None: a slice of a tensor is a free view, a gather a copy."""
    if len(columns) and np.array_equal(columns, np.arange(columns[0], columns[0] + len(columns))):
        return slice(int(columns[0]), int(columns[-1]) + 1)
    return None


def as_array(values: Any) -> Any:
    """Numpy array of a tensor; anything else as it is."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else values
