"""What the columns of an encoded table are, for everything that treats numbers and categories differently.

A category spreads over several encoded columns; column-swap mixing must move it whole and a density must not
put a Gaussian on it. `Layout` is the only thing that they need to know about the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np


@dataclass(frozen=True, eq=False)
class Layout:
    """Meaning of the F columns of an encoded table.

    Every encoded column is either a standardised number or part of exactly one block. Layouts compare equal
    and hash by content.

    Parameters
    ----------
    column : array-like of int of shape (F,)
        Original column, in [0, n_columns), that each encoded column comes from.
    numeric : array-like of int
        Indices of the encoded columns that are numbers, increasing.
    blocks : sequence of (start, stop)
        Half-open ranges of encoded columns that hold one category: a one-hot block, or a single 0/1 column
        (a truth value or a missing indicator). At most one entry of a row's block is 1; a row with an unseen
        category has none.
    n_columns : int
        Number of original columns.

    Raises
    ------
    ValueError
        If an encoded column is in no part or in two, or if `column` points outside the table.

    Examples
    --------
    Age, then a colour with three values:

    >>> layout = Layout(column=[0, 1, 1, 1], numeric=[0], blocks=[(1, 4)], n_columns=2)
    >>> layout.n_encoded, layout.blocks
    (4, ((1, 4),))
    """

    reads: ClassVar[str] = "table"  # what a network for such rows reads
    column: np.ndarray
    numeric: np.ndarray
    blocks: tuple[tuple[int, int], ...]
    n_columns: int

    def __post_init__(self):
        column = np.asarray(self.column, dtype=np.int64)
        numeric = np.asarray(self.numeric, dtype=np.int64)
        blocks = tuple((int(start), int(stop)) for start, stop in self.blocks)
        covered = np.concatenate([numeric, *(np.arange(start, stop) for start, stop in blocks)])
        if not np.array_equal(np.sort(covered), np.arange(len(column))):
            raise ValueError(
                f"Each of the {len(column)} encoded columns must be in `numeric` or in exactly one block, "
                f"but numeric={numeric.tolist()} and blocks={blocks}."
            )
        if len(column) and not 0 <= column.min() <= column.max() < self.n_columns:
            raise ValueError(
                f"`column` must name original columns in [0, {self.n_columns}), got {column.min()} to "
                f"{column.max()}."
            )
        for name, value in (("column", column), ("numeric", numeric), ("blocks", blocks)):
            object.__setattr__(self, name, value)

    @classmethod
    def of_numbers(cls, n_columns: int) -> Layout:
        """Layout of a table whose columns are numbers and stay as they are."""
        return cls(column=np.arange(n_columns), numeric=np.arange(n_columns), blocks=(), n_columns=n_columns)

    @property
    def n_encoded(self) -> int:
        """Number of encoded columns, F."""
        return len(self.column)

    def _key(self):
        return self.column.tobytes(), self.numeric.tobytes(), self.blocks, self.n_columns

    def __eq__(self, other):
        return self._key() == other._key() if isinstance(other, Layout) else NotImplemented

    def __hash__(self):
        return hash(self._key())
