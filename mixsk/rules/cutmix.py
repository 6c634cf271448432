"""CutMix: a box of the first image is replaced by the same box of its partner."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mixsk.rules._choice import Choice


class CutMix(Choice):
    """Take one box from the partner; the label follows the area that is taken.

    The box has sides `floor(size * sqrt(1 - lam))` around a pixel chosen uniformly, and ends where the image
    ends. `share` is one minus its true area over that of the image, so at least lam. With one lam for a whole
    batch its images share the box too.

    Source: Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
    Features" (ICCV 2019); half of the batches of small images are mixed (`mix_prob=0.5`).
    NOTE[DIFF]: its released code has half the floored side, floored, on both sides of the pixel, so that an
    odd side loses a pixel. Here boxes keep it, and that pixel is the middle of an odd side.

    Examples
    --------
    >>> lam, middle = torch.tensor([[0.75]]), torch.tensor([[[0.5, 0.0]]])
    >>> m, share = CutMix()(torch.zeros(1, 1, 3, 4, 4), lam, middle)
    >>> m[0, 0, 0]  # sides of 2 around row 2 and column 0
    tensor([[1., 1., 1., 1.],
            [0., 1., 1., 1.],
            [0., 1., 1., 1.],
            [1., 1., 1., 1.]])
    >>> share
    tensor([[0.8750]])
    """

    input_only = True
    image_only = True
    ahead = True
    fixed = True
    one_box_ = True

    def configure(self, spec: Any) -> None:
        """Learn whether a batch has one lam, and so one box."""
        self.one_box_ = spec.lam_per == "batch"

    def draw_noise(self, rng: np.random.Generator, lam: np.ndarray) -> np.ndarray:
        """Uniforms of shape (S, B, 2), which place the boxes: alike in a batch if its images share one."""
        n_steps, n_rows = lam.shape
        centre = rng.random((n_steps, 1 if self.one_box_ else n_rows, 2), dtype=np.float32)
        return np.broadcast_to(centre, (n_steps, n_rows, 2)).copy()

    def __call__(
        self, h: Tensor, lam: Tensor, noise: Tensor | None = None, extra: Any = None
    ) -> tuple[Tensor, Tensor]:
        """Return m of shape (M, B, 1, H, W), 0 in the box, and share of shape (M, B)."""
        assert noise is not None
        height, width = h.shape[-2:]
        rows, n_rows = _interval(height, lam, noise[..., 0])
        columns, n_columns = _interval(width, lam, noise[..., 1])
        box = rows.unsqueeze(-1) & columns.unsqueeze(-2)
        area = height * width
        return (~box).to(h.dtype).unsqueeze(2), (area - n_rows * n_columns) / area


def _interval(size: int, lam: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The box along one axis: which pixels it has, bool (M, B, size), and how many, in lam's dtype."""
    side = (size * (1 - lam).sqrt()).floor()
    start = (size * noise).floor() - (side / 2).floor()
    stop = (start + side).clamp(max=size)
    start = start.clamp(min=0)
    pixel = torch.arange(size, device=lam.device)
    inside = (pixel >= start.unsqueeze(-1)) & (pixel < stop.unsqueeze(-1))
    return inside, (stop - start).to(lam.dtype)
