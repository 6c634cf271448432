"""Wide residual networks.

Source: Zagoruyko and Komodakis, "Wide Residual Networks" (BMVC 2016), https://arxiv.org/abs/1605.07146.
"""

from __future__ import annotations

from functools import partial
from numbers import Real
from typing import ClassVar

from torch import nn

from mixsk.backbones._images import Norm, Pool, StandardNetwork, check_width, conv3
from mixsk.backbones.preact_resnet import PreActBlock
from mixsk.backbones.resnet import group


class WideResNet(StandardNetwork):
    """A convolution and three groups of blocks that normalise first, each of few blocks and many channels.

    Sites: 1 to 3 the groups' outputs, the last normalised and averaged over the pixels. It takes images of
    any size.

    Parameters
    ----------
    n_features : int
        C.
    n_classes : int
    shape : tuple of int
        (C, H, W).
    width : int, default=16
        Channels of the first convolution; the groups have `widen`, 2 `widen` and 4 `widen` times as many.
    dropout : float, default=0
        In [0, 1), between the convolutions of a block.
    channels_last : {"auto"} or bool, default="auto"
        Memory format. "auto": True, which is faster.
    n_models : int, default=1

    Raises
    ------
    ValueError
        For a `width` that is no int >= 1, or a `dropout` that is no number in [0, 1).
    """

    depth: ClassVar[int]  # convolutions on the way through and the linear layer: 6 for each block, and 4
    widen: ClassVar[int]

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        shape: tuple[int, int, int],
        width: int = 16,
        dropout: float = 0.0,
        channels_last: bool | str = "auto",
        n_models: int = 1,
    ) -> None:
        if not isinstance(dropout, Real) or not 0 <= dropout < 1:
            raise ValueError(f"module__dropout must be a number in [0, 1). Got {dropout!r}.")
        block, depth = partial(PreActBlock, dropout=dropout), (self.depth - 4) // 6
        n_in, stages = check_width(width), [conv3(n_features, width)]
        for k in range(3):
            n_out = self.widen * width * 2**k
            stages.append(group(block, n_in, n_out, depth, stride=2 if k else 1))
            n_in = n_out
        # The first site is behind the first group.
        stages[:2] = [nn.Sequential(*stages[:2])]
        stages[-1] = nn.Sequential(stages[-1], Norm(n_in), nn.ReLU(), Pool())
        super().__init__(stages, n_features, n_classes, shape, channels_last, n_models)


class WRN16x8(WideResNet):
    """`WideResNet` of depth 16, 8 times as wide: 10 961 370 parameters at 3 channels and 10 classes."""

    depth, widen = 16, 8


class WRN28x10(WideResNet):
    """`WideResNet` of depth 28, 10 times as wide: 36 479 194 parameters.

    Examples
    --------
    >>> import torch
    >>> WRN28x10(3, 10, shape=(3, 8, 8), width=1)(torch.zeros(1, 5, 3, 8, 8)).shape
    torch.Size([1, 5, 10])
    """

    depth, widen = 28, 10
