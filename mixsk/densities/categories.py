"""CategoryFrequencies: what the category columns of an encoded table say about the class.

Per class and category column, the log of the class frequencies pi averaged over the row's shares q of
the categories, sum_k q_k pi_ck: for a row that is half one category and half another, half of each
frequency. One-hot Gaussians cannot say this: they are singular, and a share of .3 on another category
is 900 nats away from both.

NOTE[DIFF]: the GenLabel paper has numeric columns only; this part is ours.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mixsk.densities._rows import as_slice, chunks, rows_by_class
from mixsk.densities.base import Density

# Entries of one block-diagonal matrix. Below, the zeros in it cost less than the call of another product
# (5 us at 128 rows); far above, they are all the cost: 27 ms for 100 blocks of 50 levels and 10 classes.
GROUP_SIZE = 4096

# Mixed float32 shares sum to 1 within 1e-7; a smaller rest than this is rounding, not an unseen category.
ROUNDING = 1e-6


class CategoryFrequencies(Density):
    """Naive-Bayes frequencies of categories, for rows whose categories may be mixed.

    Frequencies are smoothed by one more row per level, pi_ck = (n_ck + 1) / (n_c + K); weights enter
    n_ck and n_c. A block of one column, a missing indicator or a truth value v, is a category of two
    levels with the shares (v, 1 - v). What a block's shares lack to 1 (an unseen category has none)
    counts alike under all classes, as frequency 1.

    Parameters
    ----------
    blocks : sequence of (start, stop)
        The columns of each category, disjoint.

    Attributes
    ----------
    frequencies_ : list of ndarray of shape (C, width)
        pi of each block; (C, 1) for a block of one column, the frequency of 1.
    n_classes_, n_features_in_ : int
        C and the number of columns.

    Examples
    --------
    >>> X = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # a, a | b
    >>> density = CategoryFrequencies([(0, 2)]).fit(X, [0, 0, 1])
    >>> density.frequencies_[0]  # (2 + 1) / (2 + 2), ...
    array([[0.75 , 0.25 ],
           [0.333, 0.667]])
    >>> density.log_prob(torch.tensor([[0.5, 0.5]])).exp()
    tensor([[0.5000, 0.5000]], dtype=torch.float64)
    """

    _parameter_constraints = {"blocks": ["array-like"]}

    def __init__(self, blocks: Any) -> None:
        self.blocks = blocks

    def _fit(
        self, Z: NDArray[Any], y: NDArray[np.intp], sample_weight: NDArray[np.float64], n_classes: int
    ) -> None:
        _check_blocks(self.blocks, Z.shape[1])
        self._columns = np.concatenate([np.arange(*block) for block in self.blocks])
        self._counts = np.zeros((n_classes, len(self._columns)))
        self._total = np.zeros((n_classes, 1))
        self._extend(Z, y, sample_weight)

    def _extend(self, Z: NDArray[Any], y: NDArray[np.intp], sample_weight: NDArray[np.float64]) -> None:
        counts, total = self._counts, self._total
        for c, rows in enumerate(rows_by_class(y, len(total))):
            for part in chunks(len(rows)):
                shares = Z[np.ix_(rows[part], self._columns)].astype(np.float64)
                counts[c] += sample_weight[rows[part]] @ shares
        total += np.bincount(y, sample_weight, minlength=len(total))[:, None]
        self._absent = np.where(total[:, 0] > 0, 0.0, -np.inf)
        self.frequencies_ = []
        widths = [stop - start for start, stop in self.blocks]
        for count in np.split(counts, np.cumsum(widths)[:-1], axis=1):
            if count.shape[1] == 1:
                self.frequencies_.append((count + 1) / (total + 2))
            else:
                self.frequencies_.append((count + 1) / (count.sum(1, keepdims=True) + count.shape[1]))

    def _make_tensors(self, device: torch.device) -> _Tables:
        def tensor(array: NDArray[Any]) -> Tensor:
            return torch.tensor(array, device=device)

        # the rest of a block of one column, 1 - v, has the frequency of 0; any other rest has 1
        rest = [1 - pi[:, 0] if pi.shape[1] == 1 else np.ones(len(pi)) for pi in self.frequencies_]
        groups, stop = [], 0
        for members in _grouped(self.frequencies_):
            weight, bias = _block_diagonal(members)
            start, stop = stop, stop + weight.shape[1]
            groups.append(_Group(slice(start, stop), len(members), tensor(weight), tensor(bias)))
        columns = as_slice(self._columns)
        return _Tables(
            columns if columns is not None else tensor(self._columns),
            groups,
            tensor(np.stack(rest, axis=1)),
            tensor(self._absent),
        )

    def _log_prob(self, z: Tensor) -> Tensor:
        columns, groups, rest_frequency, absent = self._tensors(z.device)
        shares = z[..., columns] if isinstance(columns, slice) else z.index_select(-1, columns)
        # negative shares occur outside training only (attacks on the encoded row); a log must not meet them
        shares = shares.to(torch.float64).clamp_min(0)
        c = self.n_classes_
        lines = [
            F.linear(shares[..., g.columns], g.weight, g.bias).reshape(*z.shape[:-1], c + 1, g.n_blocks)
            for g in groups
        ]
        line = torch.cat(lines, -1) if len(lines) > 1 else lines[0]
        rest = F.threshold(line[..., c:, :], ROUNDING, 0.0)
        return torch.addcmul(line[..., :c, :], rest, rest_frequency).log().sum(-1) + absent


class _Group(NamedTuple):
    columns: slice  # of the shares
    n_blocks: int
    weight: Tensor  # ((C + 1) * n_blocks, columns): sum_k q_k pi_ck for each class, then 1 - sum_k q_k
    bias: Tensor  # ((C + 1) * n_blocks,)


class _Tables(NamedTuple):
    columns: slice | Tensor
    groups: list[_Group]
    rest_frequency: Tensor  # (C, blocks)
    absent: Tensor  # (C,): -inf for a class without rows, else 0


def _check_blocks(blocks: Any, width: int) -> None:
    if not len(blocks):
        raise ValueError("blocks must name the columns of at least one category. Got none.")
    for block in blocks:
        if len(block) != 2 or not 0 <= block[0] < block[1] <= width:
            raise ValueError(
                f"Each block must be (start, stop) with 0 <= start < stop <= {width}, the number of columns. "
                f"Got {tuple(block)}."
            )


def _grouped(frequencies: list[NDArray[np.float64]]) -> list[list[NDArray[np.float64]]]:
    """Consecutive blocks whose block-diagonal matrix stays small."""
    groups: list[list[NDArray[np.float64]]] = []
    for pi in frequencies:
        grown = [*groups[-1], pi] if groups else []
        width = sum(p.shape[1] for p in grown)
        if groups and width * len(grown) * (len(pi) + 1) <= GROUP_SIZE:
            groups[-1] = grown
        else:
            groups.append([pi])
    return groups


def _block_diagonal(members: list[NDArray[np.float64]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    c, n = len(members[0]), len(members)
    weight = np.zeros((c + 1, n, sum(pi.shape[1] for pi in members)))
    start = 0
    for j, pi in enumerate(members):
        stop = start + pi.shape[1]
        weight[:c, j, start:stop] = pi
        weight[c, j, start:stop] = -1
        start = stop
    bias = np.zeros((c + 1, n))
    bias[c] = 1
    return weight.reshape((c + 1) * n, -1), bias.reshape(-1)
