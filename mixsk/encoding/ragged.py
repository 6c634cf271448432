"""Rows of different lengths, end to end in one array, and back to a table with padding."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Ragged(NamedTuple):
    """n rows of codes, one after the other in `flat`; row i has `lengths[i]` of them."""

    flat: np.ndarray
    lengths: np.ndarray

    def padded(self, blank):
        """Rows as a table, padding at the end.

        Parameters
        ----------
        blank : int
            The one code of a row that has none.

        Returns
        -------
        ndarray of int64 of shape (n, L)
            L is the length of the longest row, at least 1.

        Examples
        --------
        >>> Ragged(np.array([5, 6, 7]), np.array([2, 0, 1])).padded(blank=1)
        array([[5, 6],
               [1, 0],
               [7, 0]])
        """
        width = max(int(self.lengths.max()), 1)
        table = np.zeros((len(self.lengths), width), dtype=np.int64)  # PADDING
        table[np.arange(width) < self.lengths[:, None]] = self.flat
        table[self.lengths == 0, 0] = blank
        return table


def without_padding(table, padding, longest):
    """Rows of a table of codes, each cut where only padding follows.

    Parameters
    ----------
    table : ndarray of int of shape (n, L)
    padding : int or None
        Code that fills rows up; None: nothing does.
    longest : int or None
        Most codes of a row that are kept.

    Returns
    -------
    Ragged

    Examples
    --------
    >>> without_padding(np.array([[5, 0, 6, 0], [7, 0, 0, 0]]), padding=0, longest=None)
    Ragged(flat=array([5, 0, 6, 7]), lengths=array([3, 1]))
    """
    n, width = table.shape
    if padding is None:
        lengths = np.full(n, width)
    else:
        real = table != padding
        lengths = np.where(real.any(axis=1), width - real[:, ::-1].argmax(axis=1), 0)
    if longest is not None:
        lengths = np.minimum(lengths, longest)
    return Ragged(table[np.arange(width) < lengths[:, None]], lengths)
