"""What networks of images share: no model axis within, a memory format, convolutions as they start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mixsk.backbones.base import Backbone, StackedLinear, evaluating, rows_interact
from mixsk.backbones.training import Training

PIXELS_AT_ONCE = 2**20  # predicted at a time


class ImageNetwork(Backbone):
    """A network of images: inputs are (1, B, C, H, W), floats as the encoder's layout prepares them.

    Its stages are modules of rows (B, ...), without the model axis. The last gives features (B, F), which the
    head maps to logits.

    Parameters
    ----------
    stages : iterable of nn.Module
    head : nn.Module
        (1, B, ...) -> (1, B, n_classes).
    channels_last : {"auto"} or bool, default=False
        Whether images, features and weights of convolutions are held with the channels side by side. "auto":
        yes, which is faster.
    n_models : int, default=1
        1, since there is no model axis.

    Raises
    ------
    ValueError
        If several models are asked for, or `channels_last` is something else.
    """

    reads = "image"
    stacks = False
    manifold = 2  # manifold mixup's choice for residual networks of images: the input and two stages
    trained_with = Training(
        optimizer="sgd",
        lr=0.1,
        weight_decay=5e-4,
        options={"momentum": 0.9, "nesterov": True},
        schedule="cosine",
        batch_size=128,
        max_epochs=100,
        stop_from=None,
    )

    def __init__(
        self,
        stages: Iterable[nn.Module],
        head: nn.Module,
        *,
        channels_last: bool | str = False,
        n_models: int = 1,
    ) -> None:
        super().__init__()
        if n_models != 1:
            raise ValueError(
                f"{type(self).__name__} has no model axis, so {n_models} models of it cannot be stacked. Use "
                "n_members=1 and n_cv=1."
            )
        if channels_last not in ("auto", True, False):
            raise ValueError(f"module__channels_last must be 'auto', True or False. Got {channels_last!r}.")
        self.stages, self.head = nn.ModuleList(stages), head
        self.rows_interact = rows_interact(self)
        # "auto" is True: on the CPU (one thread) forward and backward of LeNet, 128 images of 28 x 28, take
        # 10.8 against 12.5 ms, of a ResNet-18, 32 of 32 x 32, 1.16 against 1.42 s; predictions 4.6 against
        # 7.0 ms and 0.76 against 0.79 s. It was not measured on a GPU; tensor cores work in this format.
        self.channels_last = bool(channels_last)
        if self.channels_last:
            self.stages.to(memory_format=torch.channels_last)

    @classmethod
    def structure(cls, n_rows: int | None, layout: Any, options: Mapping[str, Any]) -> dict[str, Any]:
        """The shape of an image."""
        return {"shape": tuple(layout.shape)}

    @torch.no_grad()
    def measure(self, example: Tensor) -> None:
        """Set `widths` by what the stages make of an image.

        Parameters
        ----------
        example : Tensor of shape (k, C, H, W)
            Images on the network's device.
        """
        h, widths = example, [example[0].numel()]
        with evaluating(self):
            for stage in self.stages:
                h = stage(h)
                widths.append(h[0].numel())
        self.widths = tuple(widths)

    def rows_at_once(self, X: Tensor) -> int:
        """Rows of X (n, C, H, W) that are predicted at a time: about a million pixels."""
        return images_at_once(X)

    def lower(self, x: Tensor, site: int, start: int = 0) -> Tensor:
        """Output (1, B, ...) of stage `site` for what stage `start` gave; by default for images x."""
        if site <= start:
            return x
        h = self._rows(x)
        for stage in self.stages[start:site]:
            h = stage(h)
        return h.unsqueeze(0)

    def upper(self, h: Tensor, site: int, taps: tuple[int, ...] = ()) -> tuple[Tensor, dict[int, Tensor]]:
        """Logits (1, B, C) from features at `site`, and the features at the sites in `taps`."""
        features = {site: h} if site in taps else {}
        rows = self._rows(h)
        for k, stage in enumerate(self.stages[site:], site + 1):
            rows = stage(rows)
            if k in taps:
                features[k] = rows.unsqueeze(0)
        return self.head(rows.unsqueeze(0)), features

    def _rows(self, h: Tensor) -> Tensor:
        """Features without the model axis, in this network's memory format, which mixing may have changed."""
        rows = h.squeeze(0)
        wanted = torch.channels_last if self.channels_last else torch.contiguous_format
        return rows.contiguous(memory_format=wanted) if rows.ndim == 4 else rows


def images_at_once(X: Tensor) -> int:
    """How many images (n, C, H, W) have about a million pixels together."""
    return max(1, PIXELS_AT_ONCE // (X.shape[-2] * X.shape[-1]))


class StandardNetwork(ImageNetwork):
    """A network of our own for images of one shape: stages, the last of which pools, and a linear head.

    Parameters
    ----------
    stages : iterable of nn.Module
    n_features, n_classes : int
        C, and number of logits.
    shape : tuple of int
        (C, H, W).
    channels_last : {"auto"} or bool
    n_models : int

    Raises
    ------
    ValueError
        If `shape` is no (C, H, W) with C = `n_features`.
    """

    def __init__(
        self,
        stages: Iterable[nn.Module],
        n_features: int,
        n_classes: int,
        shape: tuple[int, int, int],
        channels_last: bool | str,
        n_models: int,
    ) -> None:
        if len(shape) != 3 or shape[0] != n_features:
            raise ValueError(f"shape must be (C, H, W) with C = n_features = {n_features}. Got {shape!r}.")
        super().__init__(stages, nn.Identity(), channels_last=channels_last, n_models=n_models)
        self.measure(torch.zeros(1, *shape))
        assert self.widths is not None
        self.head = StackedLinear(self.widths[-1], n_classes)


class Conv(nn.Conv2d):
    """A convolution whose weights start after He et al.: normal with variance 2 / fan-out; biases with 0.

    Source: He et al., "Delving Deep into Rectifiers" (ICCV 2015), https://arxiv.org/abs/1502.01852.
    """

    def forward(self, h: Tensor) -> Tensor:
        """Convolve h (B, C, H, W)."""
        grey = self.in_channels == 1 and self.stride == (1, 1)
        if grey and h.requires_grad and h.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
            made = super().forward(h.detach())  # whose gradient to the weights is torch's own
            return _WithSlope.apply(h, made, self.weight.detach(), self.padding[0])
        return super().forward(h)

    def reset_parameters(self) -> None:
        """Give it new initial weights."""
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class _WithSlope(torch.autograd.Function):
    """What a convolution made of images with one channel, with its gradient to the images.

    The slope of an input is a sum of the outputs' slopes, weighed by the kernels, one term for each place in
    a kernel. LeNet's slope of 128 images takes 11.3 ms so, forward and back, 13.8 with a convolution by the
    kernels turned round, and more by torch's own backward. AMP, AdaMixUp and PuzzleMix ask for it at every
    step.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, made: Tensor, weight: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.padding, ctx.shape = padding, x.shape
        return made.view_as(made)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        n, n_out, height, width = slope.shape
        flat = slope.transpose(0, 1).reshape(n_out, -1)
        tall, wide = (size + 2 * ctx.padding for size in ctx.shape[2:])
        padded = slope.new_zeros(n, tall, wide)
        # Row by row of the kernels, in memory that is used again: all at once take a millisecond longer.
        parts = slope.new_empty(weight.shape[3], flat.shape[1])
        for i, kernels in enumerate(weight[:, 0].unbind(1)):
            torch.mm(kernels.t(), flat, out=parts)
            for j, part in enumerate(parts.view(-1, n, height, width)):
                padded[:, i : i + height, j : j + width] += part
        top = ctx.padding
        return padded[:, None, top : tall - top, top : wide - top], slope, None, None


class Norm(nn.BatchNorm2d):
    """Batch normalisation; a channel of one value, which has no spread, takes the running statistics.

    So one row can be fitted however small its image is.
    """

    def forward(self, h: Tensor) -> Tensor:
        """Normalise h (B, C, H, W)."""
        if self.training and h.numel() == h.shape[1]:
            return F.batch_norm(h, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(h)


class Pool(nn.Module):
    """The mean of each channel: (B, C, H, W) -> (B, C)."""

    def forward(self, h: Tensor) -> Tensor:
        """Average over the pixels."""
        return h.mean((2, 3))


def conv3(n_in: int, n_out: int, stride: int = 1) -> Conv:
    """3 x 3, without a bias: a batch normalisation follows."""
    return Conv(n_in, n_out, 3, stride, padding=1, bias=False)


def conv1(n_in: int, n_out: int, stride: int = 1) -> Conv:
    """1 x 1, without a bias."""
    return Conv(n_in, n_out, 1, stride, bias=False)


def check_width(width: Any) -> int:
    """`width`, or ValueError if it is no whole number >= 1."""
    if not isinstance(width, Integral) or isinstance(width, bool) or width < 1:
        raise ValueError(f"module__width, channels of the first layer, must be an int >= 1. Got {width!r}.")
    return int(width)
