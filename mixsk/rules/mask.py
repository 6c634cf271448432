"""Mask: how much of each entry comes from the first row of a pair.

`mask(h, lam, noise, extra) -> (m, share)`: the mixed rows are `m * h + (1 - m) * h[perm]`, and
`share` (M, B) is what the label gives to the first row. `extra` is what a probe found (saliency, a
policy's lam), or the partners `h[perm]` for a mask that says `sees_partner = True`.

A user's own mask is any callable with this signature. It may say `input_only = True`, `fixed = True` (m has
no slope in lam), `by_entry = True` (entries of a row have shares of their own), `ahead = True` (it may be
asked for many steps at once, in place of models), `image_only = True`, and have `configure(spec)`,
`bind(rows)`, `draw_noise(rng, lam)` and `probe(step) -> extra`, which sees the network, once a step. With
`arrange(h, other, extra) -> (h, other)` it changes the rows of a pair before they are mixed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mixsk.rules._choice import Choice
from mixsk.rules._shape import like
from mixsk.rules.cutmix import CutMix
from mixsk.rules.nonlinear import Nonlinear
from mixsk.rules.puzzle import PuzzleMix


class Linear(Choice):
    """Interpolate all entries alike: mixup, and manifold mixup at a hidden site.

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization" (ICLR 2018); the LaMix paper prints
    it as its Eq. 1, x_mix = lam x_i + (1 - lam) x_j.

    Examples
    --------
    >>> m, share = Linear()(torch.ones(1, 2, 3), torch.tensor([[0.25, 1.0]]))
    >>> m.shape, share
    (torch.Size([1, 2, 1]), tensor([[0.2500, 1.0000]]))
    """

    ahead = True

    def __call__(
        self, h: Tensor, lam: Tensor, noise: Tensor | None = None, extra: Any = None
    ) -> tuple[Tensor, Tensor]:
        """Return m of shape (M, B, 1, ...) and share = lam."""
        return like(lam, h), lam


class Half(Choice):
    """The mean of both rows, while lam moves the label alone.

    Source: "Bypassing the Random Input Mixing in Mixup" (LaMix), Eq. 4 (input) and Eq. 2 (label, at lam).

    Examples
    --------
    >>> Half()(torch.ones(1, 1, 3), torch.tensor([[0.9]]))
    (tensor([[[0.5000]]]), tensor([[0.9000]]))
    """

    ahead = True
    fixed = True

    def __call__(
        self, h: Tensor, lam: Tensor, noise: Tensor | None = None, extra: Any = None
    ) -> tuple[Tensor, Tensor]:
        """Return m = 1/2 of shape (M, B, 1, ...) and share = lam."""
        return torch.full_like(like(lam, h), 0.5), lam


class Columns(Choice):
    """Swap whole columns of a table: each is kept from the first row with probability lam.

    The tabular counterpart of CutMix. A category moves whole, with all of its one-hot columns, and so
    does a number with its missing indicator. `share` counts ORIGINAL columns, never one-hot width.

    With lam ~ U(0, 1) a share 2 / (d + 1) of the rows of a d-column table would keep all columns or
    none, and so stay unmixed (half of them at d = 3): such rows draw their columns once more.

    NOTE[DIFF]: the GenLabel paper's Table 8 uses a column-wise CutMix without defining it; this is
    our definition, redraw included.

    Examples
    --------
    >>> mask = Columns()
    >>> mask.column_ = torch.tensor([0, 1, 1])  # one number, one category of two levels
    >>> mask(torch.zeros(1, 1, 3), torch.tensor([[0.5]]), torch.tensor([[[0.2, 0.9]]]))
    (tensor([[[1., 0., 0.]]]), tensor([[0.5000]]))
    """

    input_only = True
    table_only = True
    ahead = True
    fixed = True

    def bind(self, rows: Any) -> None:
        """Learn which encoded column belongs to which original one."""
        # A column may encode to nothing (all values missing): only those that exist are drawn.
        present, column = np.unique(rows.layout.column, return_inverse=True)
        self.n_columns_ = len(present)
        self.column_ = torch.as_tensor(column, device=rows.X.device)

    def draw_noise(self, rng: np.random.Generator, lam: np.ndarray) -> np.ndarray:
        """Uniforms of shape (S, B, columns); rows left unmixed are drawn once more."""
        noise = rng.random((*lam.shape, self.n_columns_), dtype=np.float32)
        kept = (noise < lam[..., None]).sum(-1)
        unmixed = (kept == 0) | (kept == self.n_columns_)
        noise[unmixed] = rng.random((int(unmixed.sum()), self.n_columns_), dtype=np.float32)
        return noise

    def __call__(
        self, h: Tensor, lam: Tensor, noise: Tensor | None = None, extra: Any = None
    ) -> tuple[Tensor, Tensor]:
        """Return the 0-1 mask m of shape (M, B, F) and share, the mean over original columns."""
        assert noise is not None
        keep = (noise < lam[..., None]).to(h.dtype)
        return keep.index_select(2, self.column_), keep.mean(-1)


MASKS: dict[str, type[Choice]] = {
    "linear": Linear,
    "half": Half,
    "columns": Columns,
    "nonlinear": Nonlinear,
    "cutmix": CutMix,
    "puzzle": PuzzleMix,
}
