"""Piecewise linear encoding: a number told by how far it has come through each of its column's bins."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

ROUNDS = 10  # of taking away what a frequent value has too much, which makes a bin's share smaller
ROWS = 100_000  # that bins are taken from, at most: evenly spread ones of more


class PiecewiseLinear(nn.Module):
    """For some inputs, how far they are through each of their bins: 0 before it, 1 after it.

    A layer above it is any function of an input that is linear within the bins, and may be steep where there
    are many rows: what a tree does with thresholds, and an MLP learns slowly from plain numbers. Source:
    "On Embeddings for Numerical Features in Tabular Deep Learning" (NeurIPS 2022),
    https://arxiv.org/abs/2203.05556, section 3.2.

    NOTE[DIFF]: the outer bins are clipped too, so that a far value is not a far input; and a value that is
    most of a column (a zero) counts as no more rows than a bin has, so that the others still get bins.

    Parameters
    ----------
    columns : sequence of int
        The inputs that are encoded.
    bins : int
        Of each. An input with fewer values than these leaves the last ones at 0.
    n_models : int

    Examples
    --------
    >>> encoding = PiecewiseLinear([1], bins=2)
    >>> encoding.bind(torch.tensor([[7.0, 0.0], [7.0, 1.0], [7.0, 3.0]]))
    >>> encoding(torch.tensor([[[7.0, 2.0]]]))
    tensor([[[1.0000, 0.5000]]])
    """

    def __init__(self, columns: Sequence[int], bins: int, n_models: int = 1) -> None:
        super().__init__()
        self.bins = bins
        self.columns: Tensor
        self.start: Tensor
        self.slope: Tensor
        self.register_buffer("columns", torch.as_tensor(columns, dtype=torch.long), persistent=False)
        for name in ("start", "slope"):
            self.register_buffer(name, torch.zeros(n_models, len(columns), bins))

    @property
    def n_outputs(self) -> int:
        """Features that come out."""
        return len(self.columns) * self.bins

    def bind(self, X: Tensor) -> None:
        """Take the bins from training rows X (n, F), for all models alike."""
        few = X[:: -(-len(X) // ROWS)].index_select(1, self.columns).cpu()
        for k, column in enumerate(few.T):
            edges = edges_of(column, self.bins).to(X)
            n = len(edges) - 1
            self.start[:, k, :n], self.slope[:, k, :n] = edges[:-1], 1 / edges.diff()

    def forward(self, x: Tensor) -> Tensor:
        """Map x (M, B, F) to (M, B, n_outputs)."""
        z = x.index_select(-1, self.columns).unsqueeze(-1)
        return ((z - self.start[:, None]) * self.slope[:, None]).clamp(0, 1).flatten(-2)


def edges_of(column: Tensor, bins: int) -> Tensor:
    """At most `bins + 1` of a column's values, increasing, with about as many rows between any two.

    Parameters
    ----------
    column : Tensor of shape (n,)
    bins : int
    """
    values, counts = column.unique(return_counts=True)
    if len(values) <= bins + 1:
        return values
    rows = counts.double()
    for _ in range(ROUNDS):
        rows = counts.clamp(max=rows.sum() / bins)
    rows = rows.cumsum(0)
    share = (rows - rows[0]) / (rows[-1] - rows[0])
    wanted = torch.linspace(0, 1, bins + 1, dtype=share.dtype)
    return values[torch.searchsorted(share, wanted).clamp(max=len(values) - 1)].unique()
