"""The linear network: multinomial logistic regression."""

from __future__ import annotations

from torch import nn

from mixsk.backbones.base import Backbone, StackedLinear


class Linear(Backbone):
    """One linear layer from the inputs to the logits; its only site is the input."""

    def __init__(self, n_features: int, n_classes: int, *, n_models: int = 1) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        self.n_models, self.widths = n_models, (n_features,)
        self.head = StackedLinear(n_features, n_classes, n_models)
