"""Networks as stages."""

from mixsk.backbones.base import Backbone, StackedLayerNorm, StackedLinear
from mixsk.backbones.bilstm import BiLSTM
from mixsk.backbones.build import BACKBONES, accepted, build, network, renew, seeded, stacked, stacks
from mixsk.backbones.linear import Linear
from mixsk.backbones.mlp import ACTIVATIONS, MLP
from mixsk.backbones.piecewise import PiecewiseLinear
from mixsk.backbones.table import Table
from mixsk.backbones.textcnn import TextCNN
from mixsk.backbones.training import Training
from mixsk.backbones.transformer import Transformer
from mixsk.backbones.wrapped import Wrapped

__all__ = [
    "ACTIVATIONS",
    "BACKBONES",
    "MLP",
    "Backbone",
    "BiLSTM",
    "Linear",
    "PiecewiseLinear",
    "StackedLayerNorm",
    "StackedLinear",
    "Table",
    "TextCNN",
    "Training",
    "Transformer",
    "Wrapped",
    "accepted",
    "build",
    "network",
    "renew",
    "seeded",
    "stacked",
    "stacks",
]
