"""The multi-layer perceptron."""

from __future__ import annotations

from torch import nn

from mixsk.backbones.base import Backbone, StackedLayerNorm, StackedLinear

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "mish": nn.Mish,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
}


class MLP(Backbone):
    """Hidden layers, each linear -> norm -> activation; dropout between a stage and what follows.

    A site is a stage's output BEFORE dropout, so that what is mixed is the layer's representation.

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
        self.stages = nn.ModuleList()
        width = n_features
        for k, n_out in enumerate(hidden):
            parts: list[nn.Module] = [nn.Dropout(dropout)] if dropout and k else []
            parts.append(StackedLinear(width, n_out, n_models))
            if norm == "layer":
                parts.append(StackedLayerNorm(n_out, n_models))
            parts.append(ACTIVATIONS[activation]())
            self.stages.append(nn.Sequential(*parts))
            width = n_out
        head = StackedLinear(width, n_classes, n_models)
        self.head = nn.Sequential(nn.Dropout(dropout), head) if dropout else head
