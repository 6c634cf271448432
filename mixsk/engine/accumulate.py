"""Gradient accumulation: one step of the optimiser on the mean of several batches' gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Turn(NamedTuple):
    """A batch's place in its group.

    Attributes
    ----------
    first, last : bool
        Whether gradients start at 0 with it, and whether the optimiser steps after it.
    share : float
        Its part in the group's mean.
    """

    first: bool = True
    last: bool = True
    share: float = 1.0


ALONE = Turn()


def turns(n_batches: int, accumulate: int) -> Iterator[Turn]:
    """The places of an epoch's batches; the last group may be shorter.

    Examples
    --------
    >>> [turn.share for turn in turns(5, 3)], [turn.last for turn in turns(3, 2)]
    ([0.3333333333333333, 0.3333333333333333, 0.3333333333333333, 0.5, 0.5], [False, True, True])
    """
    for start in range(0, n_batches, accumulate):
        size = min(accumulate, n_batches - start)
        for k in range(size):
            yield Turn(k == 0, k == size - 1, 1 / size)


def steps_of(n_batches: int, accumulate: int) -> int:
    """Steps of the optimiser in an epoch of so many batches."""
    return -(-n_batches // accumulate)
