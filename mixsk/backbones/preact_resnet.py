"""Residual networks whose blocks normalise first, in the form for small images.

Source: He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks" (ECCV 2016),
https://arxiv.org/abs/1603.05027.
"""

from __future__ import annotations

from torch import Tensor, nn

from mixsk.backbones._images import Norm, conv1, conv3
from mixsk.backbones.resnet import ResNet


class PreActBlock(nn.Module):
    """Norm -> ReLU -> 3 x 3 convolution, twice, around which the input goes.

    Where the shape changes, the way around is a 1 x 1 convolution of what the first ReLU gives.

    Parameters
    ----------
    n_in, n_out : int
        Channels of the input and the output.
    stride : int
    dropout : float, default=0
        In [0, 1), before the second convolution.
    """

    expansion = 1

    def __init__(self, n_in: int, n_out: int, stride: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.first = nn.Sequential(Norm(n_in), nn.ReLU())
        self.residual = nn.Sequential(
            *(conv3(n_in, n_out, stride), Norm(n_out), nn.ReLU()),
            *([nn.Dropout(dropout)] if dropout else []),
            conv3(n_out, n_out),
        )
        self.shortcut = None if stride == 1 and n_in == n_out else conv1(n_in, n_out, stride)

    def forward(self, h: Tensor) -> Tensor:
        """Add what the convolutions make of h to h."""
        active = self.first(h)
        return self.residual(active) + (h if self.shortcut is None else self.shortcut(active))


class PreActResNet18(ResNet):
    """`ResNet` of 8 blocks that normalise first, with the paper's normalisation and ReLU at the end.

    11 172 170 parameters at 3 channels and 10 classes: 11 171 146, as many as a widely used form without that
    last normalisation, and its 2 x 512.

    NOTE[DIFF]: the first block's way around is the first convolution's output as it is, as in that form; the
    paper has it after normalisation and ReLU.

    Examples
    --------
    >>> import torch
    >>> PreActResNet18(3, 10, shape=(3, 8, 8), width=4)(torch.zeros(1, 5, 3, 8, 8)).shape
    torch.Size([1, 5, 10])
    """

    block, depths = PreActBlock, (2, 2, 2, 2)

    def stem(self, n_features: int, width: int) -> nn.Module:
        """A convolution alone: the first block normalises."""
        return conv3(n_features, width)

    def top(self, width: int) -> tuple[nn.Module, ...]:
        """What every block starts with, for the mean."""
        return Norm(width), nn.ReLU()
