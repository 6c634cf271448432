"""Residual networks in the form for small images: a 3 x 3 first convolution and no max-pooling.

Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition" (CVPR 2016),
https://arxiv.org/abs/1512.03385.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from mixsk.backbones._images import Norm, Pool, StandardNetwork, check_width, conv1, conv3


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions around which the input goes: (B, n_in, H, W) -> (B, n_out, H / stride, ...)."""

    expansion = 1  # channels that come out for each within

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.residual = self.convolutions(n_in, n_out, stride)
        same = stride == 1 and n_in == n_out
        self.shortcut = nn.Identity() if same else nn.Sequential(conv1(n_in, n_out, stride), Norm(n_out))

    def convolutions(self, n_in: int, n_out: int, stride: int) -> nn.Sequential:
        """What is added to the input, or to a 1 x 1 convolution of it where the shape changes."""
        return nn.Sequential(
            conv3(n_in, n_out, stride), Norm(n_out), nn.ReLU(), conv3(n_out, n_out), Norm(n_out)
        )

    def forward(self, h: Tensor) -> Tensor:
        """Map h (B, n_in, H, W)."""
        return (self.residual(h) + self.shortcut(h)).relu()


class Bottleneck(BasicBlock):
    """1 x 1, 3 x 3 and 1 x 1 convolutions, the first two with a quarter of the channels.

    NOTE[DIFF]: the 3 x 3 convolution has the stride, as in most networks since; the paper's first 1 x 1 has.
    """

    expansion = 4

    def convolutions(self, n_in: int, n_out: int, stride: int) -> nn.Sequential:
        """What is added to the input."""
        width = n_out // self.expansion
        return nn.Sequential(
            *(conv1(n_in, width), Norm(width), nn.ReLU()),
            *(conv3(width, width, stride), Norm(width), nn.ReLU()),
            *(conv1(width, n_out), Norm(n_out)),
        )


def group(
    block: Callable[[int, int, int], nn.Module], n_in: int, n_out: int, depth: int, stride: int
) -> nn.Sequential:
    """`depth` blocks, the first of which has the stride."""
    return nn.Sequential(block(n_in, n_out, stride), *(block(n_out, n_out, 1) for _ in range(depth - 1)))


class ResNet(StandardNetwork):
    """A convolution, four groups of residual blocks, each with twice the channels and half the side.

    Sites: 1 to 4 the groups' outputs, the last averaged over the pixels. It takes images of any size.

    Parameters
    ----------
    n_features : int
        C.
    n_classes : int
    shape : tuple of int
        (C, H, W).
    width : int, default=64
        Channels of the first convolution.
    channels_last : {"auto"} or bool, default="auto"
        Memory format. "auto": True, which is faster.
    n_models : int, default=1

    Raises
    ------
    ValueError
        For a `width` that is no int >= 1.
    """

    block: ClassVar[Any]  # (n_in, n_out, stride) -> nn.Module, with an `expansion`
    depths: ClassVar[tuple[int, int, int, int]]

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
        n_in, stages = check_width(width), [self.stem(n_features, width)]
        for k, depth in enumerate(self.depths):
            n_out = self.block.expansion * width * 2**k
            stages.append(group(self.block, n_in, n_out, depth, stride=2 if k else 1))
            n_in = n_out
        # The first site is behind the first group.
        stages[:2] = [nn.Sequential(*stages[:2])]
        stages[-1] = nn.Sequential(stages[-1], *self.top(n_in), Pool())
        super().__init__(stages, n_features, n_classes, shape, channels_last, n_models)

    def stem(self, n_features: int, width: int) -> nn.Module:
        """What comes before the blocks."""
        return nn.Sequential(conv3(n_features, width), Norm(width), nn.ReLU())

    def top(self, width: int) -> tuple[nn.Module, ...]:
        """What comes between the blocks and the mean."""
        return ()


class ResNet18(ResNet):
    """`ResNet` of 8 basic blocks: 11 173 962 parameters at 3 channels and 10 classes.

    Examples
    --------
    >>> import torch
    >>> ResNet18(3, 10, shape=(3, 8, 8), width=4)(torch.zeros(1, 5, 3, 8, 8)).shape
    torch.Size([1, 5, 10])
    """

    block, depths = BasicBlock, (2, 2, 2, 2)


class ResNet34(ResNet):
    """`ResNet` of 16 basic blocks: 21 282 122 parameters."""

    block, depths = BasicBlock, (3, 4, 6, 3)


class ResNet50(ResNet):
    """`ResNet` of 16 bottleneck blocks: 23 520 842 parameters."""

    block, depths = Bottleneck, (3, 4, 6, 3)
