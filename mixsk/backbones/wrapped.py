"""A user's own network, which knows nothing of stages or of a model axis."""

from __future__ import annotations

from torch import Tensor, nn

from mixsk.backbones.base import Backbone, rows_interact


class Wrapped(Backbone):
    """Any `nn.Module` that maps (B, ...) to logits (B, C), as a backbone whose only site is its input."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        self.head = _AloneOnModelAxis(module)
        self.rows_interact = rows_interact(module)


class _AloneOnModelAxis(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x[0]).unsqueeze(0)
