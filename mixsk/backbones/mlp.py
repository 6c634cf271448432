"""The multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixsk.backbones.base import Backbone, StackedLayerNorm, StackedLinear

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "silu": F.silu,
    "gelu": F.gelu,
    "elu": F.elu,
    "selu": F.selu,
    "mish": F.mish,
    "tanh": torch.tanh,
    "identity": lambda h: h,
}


class Layer(nn.Module):
    """Dropout -> linear -> norm -> activation, without what is not asked for.

    One module and no `nn.Sequential`: each call of a module costs a few us, a tenth of a small layer's
    arithmetic.
    """

    def __init__(
        self, n_in: int, n_out: int, activation: str, dropout: float, norm: str | None, n_models: int
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.linear = StackedLinear(n_in, n_out, n_models)
        self.norm = StackedLayerNorm(n_out, n_models) if norm == "layer" else None
        self.activation = ACTIVATIONS[activation]

    def forward(self, h: Tensor, more: Tensor | None = None) -> Tensor:
        """Map h (M, B, in) to (M, B, out); `more` (M, B, out) is added to what comes of the linear part."""
        if self.dropout:
            h = F.dropout(h, self.dropout, self.training)
        h = self.linear(h) if more is None else self.linear(h) + more
        return self.activation(h if self.norm is None else self.norm(h))


class MLP(Backbone):
    """Hidden layers, each linear -> norm -> activation; dropout between a layer and what follows.

    A site is a layer's output BEFORE dropout, so that what is mixed is the layer's representation.

    Parameters
    ----------
    n_features, n_classes : int
    hidden : tuple of int, default=(128, 128)
        Widths.
    activation : str, default="relu"
        A key of `ACTIVATIONS`; "identity" is the GenLabel paper's network as released.
    dropout : float, default=0
        In [0, 1).
    norm : {None, "layer"}, default=None
        Layer normalisation before the activation.
    n_models : int, default=1
        Networks stacked.

    Examples
    --------
    >>> MLP(4, 3, hidden=(8,))(torch.zeros(1, 5, 4)).shape
    torch.Size([1, 5, 3])
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        hidden: tuple[int, ...] = (128, 128),
        activation: str = "relu",
        dropout: float = 0.0,
        norm: str | None = None,
        n_models: int = 1,
    ) -> None:
        super().__init__()
        if norm not in (None, "layer"):
            raise ValueError(f"module__norm must be None or 'layer'. Got {norm!r}.")
        widths = (n_features, *hidden)
        self.stages = nn.ModuleList(
            Layer(n_in, n_out, activation, dropout if k else 0.0, norm, n_models)
            for k, (n_in, n_out) in enumerate(zip(widths[:-1], hidden, strict=True))
        )
        self.n_models, self.widths = n_models, widths
        head = StackedLinear(widths[-1], n_classes, n_models)
        self.head = nn.Sequential(nn.Dropout(dropout), head) if dropout else head
