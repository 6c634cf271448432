"""Networks as stages."""

from mixsk.backbones.base import Backbone, StackedLayerNorm, StackedLinear, evaluating
from mixsk.backbones.bilstm import BiLSTM
from mixsk.backbones.build import BACKBONES, accepted, build, name_of, network, renew, seeded, stacked, stacks
from mixsk.backbones.densenet import DenseNet121
from mixsk.backbones.lenet import LeNet
from mixsk.backbones.linear import Linear
from mixsk.backbones.mlp import ACTIVATIONS, MLP
from mixsk.backbones.piecewise import PiecewiseLinear
from mixsk.backbones.preact_resnet import PreActResNet18
from mixsk.backbones.resnet import ResNet18, ResNet34, ResNet50
from mixsk.backbones.staged import Staged
from mixsk.backbones.table import Table
from mixsk.backbones.textcnn import TextCNN
from mixsk.backbones.training import Training
from mixsk.backbones.transformer import Transformer
from mixsk.backbones.wide_resnet import WRN16x8, WRN28x10
from mixsk.backbones.wrapped import Wrapped

__all__ = [
    "ACTIVATIONS",
    "BACKBONES",
    "MLP",
    "Backbone",
    "BiLSTM",
    "DenseNet121",
    "LeNet",
    "Linear",
    "PiecewiseLinear",
    "PreActResNet18",
    "ResNet18",
    "ResNet34",
    "ResNet50",
    "StackedLayerNorm",
    "StackedLinear",
    "Staged",
    "Table",
    "TextCNN",
    "Training",
    "Transformer",
    "WRN16x8",
    "WRN28x10",
    "Wrapped",
    "accepted",
    "build",
    "evaluating",
    "name_of",
    "network",
    "renew",
    "seeded",
    "stacked",
    "stacks",
]
