"""The network for tables: a multi-layer perceptron behind feature scales that are learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from mixsk.backbones.mlp import MLP, Layer
from mixsk.backbones.piecewise import PiecewiseLinear
from mixsk.backbones.training import Training

MOST_BINS = 128  # of a number
MOST_BINNED = 1024  # of all numbers
LEAST_BINS = 8  # fewer are not worth their time


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


class First(nn.Module):
    """Feature scales, bins if any, and the layer above them, as one stage: nothing is mixed between."""

    def __init__(self, scale: FeatureScale, bins: PiecewiseLinear | None, layer: Layer) -> None:
        super().__init__()
        self.scale, self.bins, self.layer = scale, bins, layer

    def forward(self, x: Tensor) -> Tensor:
        """Map x (M, B, n_features) to (M, B, width)."""
        return self.layer(self.scale(x), None if self.bins is None else self.bins(x))


class Table(MLP):
    """`MLP` behind learnt feature scales, trained briefly with much weight decay.

    As a classifier's module, it has bins for the numbers of tables of at least 9 000 training rows: 128 for
    each, or as many as make 1024 together, if these are at least 8.

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
    bins : int, default=0
        Bins of each number, between quantiles of the training rows; 0: numbers stay as they are.
    binned : sequence of int, default=None
        Inputs that are numbers. None: all.
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
        many_rows=9_000,  # of 10 000, without those held out for early stopping
        with_many={"lr": 0.007, "alpha": 0.01, "alpha_rows": None},
    )

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        hidden: tuple[int, ...] = (128, 128),
        activation: str = "relu",
        dropout: float = 0.0,
        norm: str | None = None,
        bins: int = 0,
        binned: Sequence[int] | None = None,
        n_models: int = 1,
    ) -> None:
        if not isinstance(bins, Integral) or isinstance(bins, bool) or bins < 0:
            raise ValueError(f"module__bins must be an int >= 0, where 0 is none. Got {bins!r}.")
        options: dict[str, Any] = {"activation": activation, "dropout": dropout, "norm": norm}
        super().__init__(n_features, n_classes, hidden=hidden, **options, n_models=n_models)
        if hidden:
            columns = range(n_features) if binned is None else binned
            some = bins and len(columns)
            layer = PiecewiseLinear(columns, bins, hidden[0], n_models) if some else None
            self.stages[0] = First(FeatureScale(n_features, n_models), layer, self.stages[0])

    @classmethod
    def structure(cls, n_rows: int | None, layout: Any, options: Mapping[str, Any]) -> dict[str, Any]:
        """Bins for the numbers of a table of many rows."""
        numbers = layout.numeric.tolist()
        bins = min(MOST_BINS, MOST_BINNED // max(1, len(numbers)))
        return {
            "bins": bins if cls.trained_with.is_many(n_rows) and bins >= LEAST_BINS else 0,
            "binned": numbers,
        }

    def bind(self, rows: Any) -> None:
        """Put the bins between quantiles of the training rows."""
        if self.stages and self.stages[0].bins is not None:
            self.stages[0].bins.bind(rows.X)
