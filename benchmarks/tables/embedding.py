"""Categories through a learnt embedding, against one-hot columns: a network of our own for `categories.py`.

It is a class, which has no model axis: one network (`n_cv=1`) is trained, as all of that comparison are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mixsk import MixupClassifier
from mixsk.backbones.table import Table

MOST = 8  # one-hot columns of a category that are left as they are, and the width of an embedding


class Embedded(Table):
    """`Table` whose first layer gets each wide category as `MOST` learnt numbers, the rest as it is.

    Parameters
    ----------
    n_features, n_classes : int
    blocks : sequence of (start, stop)
        Inputs that are one category each.
    """

    def __init__(self, n_features: int, n_classes: int, *, blocks: Sequence[tuple[int, int]] = ()) -> None:
        wide = [block for block in blocks if block[1] - block[0] > MOST]
        super().__init__(n_features + sum(MOST - (stop - start) for start, stop in wide), n_classes)
        self.stages[0] = Embedding(n_features, wide, self.stages[0])
        self.widths = (n_features, *self.widths[1:])

    def bind(self, X: Tensor) -> None:
        """Learn nothing: there are no bins."""


class Embedding(nn.Module):
    """A first stage behind embeddings: mixing stays at the one-hot inputs."""

    def __init__(self, n_features: int, wide: Sequence[tuple[int, int]], above: nn.Module) -> None:
        super().__init__()
        self.wide, self.above = wide, above
        taken = {column for start, stop in wide for column in range(start, stop)}
        self.register_buffer(
            "rest", torch.tensor([c for c in range(n_features) if c not in taken], dtype=int)
        )
        self.tables = nn.ParameterList(torch.randn(stop - start, MOST) for start, stop in wide)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (1, B, n_features) to (1, B, width)."""
        pairs = zip(self.wide, self.tables, strict=True)
        embedded = [x[..., start:stop] @ table for (start, stop), table in pairs]
        return self.above(torch.cat([x[..., self.rest], *embedded], -1))


class EmbeddedClassifier(MixupClassifier):
    """`MixupClassifier` whose network, a class, is told where the categories are."""

    def _new_net(self, rows: Any, training: Any, keep_weights: bool) -> Any:
        self._structure = {"blocks": rows.layout.blocks}
        return super()._new_net(rows, training, keep_weights)
