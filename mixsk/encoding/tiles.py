"""An opened table: columns to look at, and its numbers in tiles that fit into the cache."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from mixsk.encoding.columns import as_numbers, kind_of

# 1 MiB of float64: a tile is filled, reduced and written while it is in the cache. 1 000 000 x 20 float32
# take 0.1 s this way and no second copy; as one float64 array the copy alone is 160 MB.
_TILE_NUMBERS = 2**17
_TILE_COLUMNS = 64


class MatrixTable:
    """Numbers of one dtype: a 2-D array or a CSR matrix; for the methods see `ColumnTable`."""

    def __init__(self, matrix):
        self.matrix = matrix
        self.shape = matrix.shape

    def label(self, j):  # noqa: D102
        return f"column {j}"

    def kind(self, j):  # noqa: D102
        return kind_of(self.matrix, "X")

    def column(self, j):  # noqa: D102
        if sp.issparse(self.matrix):
            return self.matrix[:, [j]].toarray().ravel()
        return self.matrix[:, j]

    def tiles(self, columns):  # noqa: D102
        n, k = self.shape[0], len(columns)
        part, everything = slice(0, k), k == self.shape[1]
        for rows, block in _scratch(n, k):
            source = self.matrix[rows]
            if sp.issparse(source):
                source = source.toarray()
            with np.errstate(over="ignore"):  # a long double above 1.8e308 becomes inf, and that is reported
                np.copyto(block, source if everything else source[:, columns], casting="same_kind")
            yield rows, part, block


class ColumnTable:
    """Columns of different dtypes, named by the user or numbered."""

    def __init__(self, names, columns, n_rows):
        self.names = names
        self.columns = columns
        self.shape = (n_rows, len(columns))

    def label(self, j):
        """How error messages call column j."""
        return f"column {self.names[j]!r}"

    def kind(self, j):
        """What column j holds, see `kind_of`."""
        return kind_of(self.columns[j], self.label(j))

    def column(self, j):
        """Column j, an array or a pandas Series of shape (n,)."""
        return self.columns[j]

    def tiles(self, columns):
        """Yield (rows, part, block) over the table.

        `rows` and `part` are slices; `block` is a float64 copy of these rows of the columns
        ``columns[part]``, missing values as NaN. It may be written to and is good until the next one.
        """
        for first in range(0, len(columns), _TILE_COLUMNS):
            part = slice(first, min(first + _TILE_COLUMNS, len(columns)))
            sources = [as_numbers(self.columns[j], self.label(j)) for j in columns[part]]
            for rows, block in _scratch(self.shape[0], len(sources)):
                for i, source in enumerate(sources):
                    block[:, i] = source[rows]
                yield rows, part, block


def _scratch(n_rows, n_columns):
    """Yield (rows, block) over a table: slices of rows and an uninitialised float64 array to fill, reused."""
    if n_columns == 0:
        return
    step = max(1, min(n_rows, _TILE_NUMBERS // n_columns))
    # Column-major: reductions over rows run along memory, measured twice as fast at 20 columns.
    buffer = np.empty((n_columns, step)).T
    for start in range(0, n_rows, step):
        rows = slice(start, min(start + step, n_rows))
        yield rows, buffer[: rows.stop - rows.start]
