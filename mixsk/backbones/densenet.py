"""Densely connected networks in the form for small images: a 3 x 3 first convolution and no max-pooling.

Source: Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks" (CVPR 2017),
https://arxiv.org/abs/1608.06993.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mixsk.backbones._images import Norm, Pool, StandardNetwork, check_width, conv1, conv3

BLOCKS = (6, 12, 24, 16)  # layers of DenseNet-121: twice these, 4 around the blocks, and the last


class DenseLayer(nn.Module):
    """A 1 x 1 and a 3 x 3 convolution whose channels join those of the input: n_in -> n_in + growth."""

    def __init__(self, n_in: int, growth: int) -> None:
        super().__init__()
        self.added = nn.Sequential(
            *(Norm(n_in), nn.ReLU(), conv1(n_in, 4 * growth)),
            *(Norm(4 * growth), nn.ReLU(), conv3(4 * growth, growth)),
        )

    def forward(self, h: Tensor) -> Tensor:
        """Append to the channels of h."""
        return torch.cat((h, self.added(h)), 1)


def transition(n_in: int) -> nn.Sequential:
    """Half the channels and half the side; of an odd side, the last pixel stands alone."""
    return nn.Sequential(
        Norm(n_in), nn.ReLU(), conv1(n_in, n_in // 2), nn.AvgPool2d(2, ceil_mode=True)
    )  # fmt: skip


class DenseNet121(StandardNetwork):
    """Four blocks of 6, 12, 24 and 16 dense layers: 6 956 298 parameters at 3 channels and 10 classes.

    Sites: 1 to 3 what comes behind the first three blocks with half the channels and half the side, 4 the
    last block, normalised and averaged over the pixels. It takes images of any size.

    Parameters
    ----------
    n_features : int
        C.
    n_classes : int
    shape : tuple of int
        (C, H, W).
    width : int, default=64
        Channels of the first convolution; each layer adds half as many.
    channels_last : {"auto"} or bool, default="auto"
        Memory format. "auto": True, which is faster.
    n_models : int, default=1

    Raises
    ------
    ValueError
        For a `width` that is no int >= 1.

    Examples
    --------
    >>> DenseNet121(3, 10, shape=(3, 8, 8), width=4)(torch.zeros(1, 5, 3, 8, 8)).shape
    torch.Size([1, 5, 10])
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        shape: tuple[int, int, int],
        width: int = 64,
        channels_last: bool | str = "auto",
        n_models: int = 1,
    ) -> None:
        channels = check_width(width)
        growth = (width + 1) // 2
        stages, first = [], [conv3(n_features, width)]
        for depth in BLOCKS:
            layers = [DenseLayer(channels + k * growth, growth) for k in range(depth)]
            channels += depth * growth
            stages.append(nn.Sequential(*first, *layers))
            if len(stages) < len(BLOCKS):
                stages[-1].append(transition(channels))
                first, channels = [], channels // 2
        stages[-1].extend([Norm(channels), nn.ReLU(), Pool()])
        super().__init__(stages, n_features, n_classes, shape, channels_last, n_models)
