"""Networks as stages."""

from mixsk.backbones.base import Backbone, StackedLayerNorm, StackedLinear
from mixsk.backbones.build import BACKBONES, accepted, build, renew, seeded, stacked
from mixsk.backbones.linear import Linear
from mixsk.backbones.mlp import ACTIVATIONS, MLP
from mixsk.backbones.piecewise import PiecewiseLinear
from mixsk.backbones.table import Table
from mixsk.backbones.training import Training
from mixsk.backbones.wrapped import Wrapped

__all__ = [
    "ACTIVATIONS",
    "BACKBONES",
    "MLP",
    "Backbone",
    "Linear",
    "PiecewiseLinear",
    "StackedLayerNorm",
    "StackedLinear",
    "Table",
    "Training",
    "Wrapped",
    "accepted",
    "build",
    "renew",
    "seeded",
    "stacked",
]
