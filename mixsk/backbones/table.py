"""The network for tables: a multi-layer perceptron behind feature scales that are learnt."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mixsk.backbones.mlp import MLP
from mixsk.backbones.training import Training


class FeatureScale(nn.Module):
    """Soft clipping of each input, and one learnt factor for each.

    x -> (1 + 6 u) * x / sqrt(1 + (x / 3)^2) with u = 0 at first. The clipping is the identity near 0 and
    never exceeds 3; the factor lets a network leave out inputs early. Both are RealMLP's ("Better by
    Default", NeurIPS 2024, https://arxiv.org/abs/2407.04491), whose factors learn at 6 times the learning
    rate.

    NOTE[DIFF]: the 6 is in the formula, which for Adam is the same and needs no rate of its own; weight decay
    draws the factor to 1.
    """

    def __init__(self, n_features: int, n_models: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_models, 1, n_features))

    @torch.no_grad()
    def reset_model(self, model: int) -> None:
        """Let one of the models scale nothing."""
        self.weight[model] = 0

    def forward(self, x: Tensor) -> Tensor:
        """Scale x (M, B, n_features)."""
        return (1 + 6 * self.weight) * x * torch.rsqrt(1 + (x / 3).square())


class Scaled(nn.Module):
    """A layer behind feature scales, as one stage: nothing is mixed between the two."""

    def __init__(self, scale: nn.Module, layer: nn.Module) -> None:
        super().__init__()
        self.scale, self.layer = scale, layer

    def forward(self, x: Tensor) -> Tensor:
        """Map x (M, B, n_features) to (M, B, width)."""
        return self.layer(self.scale(x))


class Table(MLP):
    """`MLP` behind learnt feature scales, trained briefly with much weight decay.

    Parameters
    ----------
    n_features, n_classes : int
    hidden : tuple of int, default=(128, 128)
        Widths.
    activation : str, default="relu"
        A key of `ACTIVATIONS`.
    dropout : float, default=0
        In [0, 1).
    norm : {None, "layer"}, default=None
        Layer normalisation before the activation.
    n_models : int, default=1
        Networks stacked.

    Examples
    --------
    >>> Table(4, 3, hidden=(8,))(torch.zeros(1, 5, 4)).shape
    torch.Size([1, 5, 3])
    """

    trained_with = Training(
        optimizer="adamw",
        lr=0.01,
        weight_decay=3.0,
        decay_rows=300,
        schedule="onecycle",
        max_batches=1000,
        steps=600,
        min_epochs=40,
        stop_from=5000,
        mix="columns",
        alpha=0.4,
        alpha_rows=500,
        n_cv=5,
        n_cv_until=10_000,
    )

    def first(self, layer: nn.Module) -> nn.Module:
        """The first layer behind feature scales."""
        return Scaled(FeatureScale(self.widths[0], self.n_models), layer)
