"""A layer of functions that are linear within the bins of each number."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

ROUNDS = 10  # of taking away what a frequent value has too much, which makes a bin's share smaller
ROWS = 100_000  # that bins are taken from, at most: evenly spread ones of more


class PiecewiseLinear(nn.Module):
    """A linear layer on how far some inputs are through each of their bins: 0 before it, 1 after it.

    Its outputs are sums of functions of single inputs, each linear within the bins, and steep where it has to
    be: what a tree does with thresholds, and an MLP learns slowly from plain numbers. Source: "On Embeddings
    for Numerical Features in Tabular Deep Learning" (NeurIPS 2022), https://arxiv.org/abs/2203.05556,
    section 3.2. Each bin has a learnt factor, as inputs have in `FeatureScale`.

    NOTE[DIFF]: the outer bins are clipped too, so that a far value is not a far input; and a value that is
    most of a column (a zero) counts as no more rows than a bin has, so that the others still get bins.

    Parameters
    ----------
    columns : sequence of int
        The inputs that have bins.
    bins : int
        Of each. An input with fewer values than these leaves the last ones at 0.
    n_out : int
        Outputs.
    n_models : int

    Examples
    --------
    >>> layer = PiecewiseLinear([1], bins=2, n_out=8)
    >>> layer.bind(torch.tensor([[7.0, 0.0], [7.0, 1.0], [7.0, 3.0]]))
    >>> layer.encode(torch.tensor([[[7.0, 2.0]]]))
    tensor([[[1.0000, 0.5000]]])
    >>> layer(torch.tensor([[[7.0, 2.0]]])).shape
    torch.Size([1, 1, 8])
    """

    def __init__(self, columns: Sequence[int], bins: int, n_out: int, n_models: int = 1) -> None:
        super().__init__()
        self.bins = bins
        self.columns: Tensor
        self.start: Tensor
        self.slope: Tensor
        self.register_buffer("columns", torch.as_tensor(columns, dtype=torch.long), persistent=False)
        for name in ("start", "slope"):
            self.register_buffer(name, torch.zeros(n_models, len(columns), bins))
        self.weight = nn.Parameter(torch.empty(n_models, n_out, len(columns) * bins))
        self.factor = nn.Parameter(torch.empty(n_models, 1, len(columns) * bins))
        for model in range(n_models):
            self.reset_model(model)

    @torch.no_grad()
    def reset_model(self, model: int) -> None:
        """Give one of the models new initial weights."""
        bound = 1 / math.sqrt(self.weight.shape[-1])
        self.weight[model].uniform_(-bound, bound)
        self.factor[model] = 0

    def bind(self, X: Tensor) -> None:
        """Take the bins from training rows X (n, F), for all models alike."""
        few = X[:: -(-len(X) // ROWS)].index_select(1, self.columns).cpu()
        for k, column in enumerate(few.T):
            edges = edges_of(column, self.bins).to(X)
            n = len(edges) - 1
            self.start[:, k, :n], self.slope[:, k, :n] = edges[:-1], 1 / edges.diff()

    def encode(self, x: Tensor) -> Tensor:
        """How far x (M, B, F) is through each bin: (M, B, columns * bins), in [0, 1]."""
        z = x.index_select(-1, self.columns).unsqueeze(-1)
        return ((z - self.start[:, None]) * self.slope[:, None]).clamp(0, 1).flatten(-2)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (M, B, F) to (M, B, n_out)."""
        # The factors are those of the features; on the weights they cost one product of matrices less.
        return self.encode(x) @ ((1 + 6 * self.factor) * self.weight).transpose(1, 2)


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
