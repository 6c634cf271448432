"""A user's own network, which knows nothing of stages or of a model axis."""

from __future__ import annotations

from torch import Tensor, nn

from mixsk.backbones._images import images_at_once
from mixsk.backbones.base import Backbone, rows_interact


class Wrapped(Backbone):
    """Any `nn.Module` that maps (B, ...) to logits (B, C), as a backbone whose only site is its input."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        self.head = _AloneOnModelAxis(module)
        self.rows_interact = rows_interact(module)

    def rows_at_once(self, X: Tensor) -> int:
        """Rows of X that are predicted at a time: of images (n, C, H, W) about a million pixels."""
        return images_at_once(X) if len(X.shape) == 4 else super().rows_at_once(X)


class _AloneOnModelAxis(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x[0]).unsqueeze(0)
