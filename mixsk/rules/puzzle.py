"""PuzzleMix: blocks of two images, chosen so that what is salient in either of them stays."""

from __future__ import annotations

import math
import sys
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mixsk.backbones import evaluating
from mixsk.rules._choice import Choice, check_number
from mixsk.rules._mincut import cheapest_labels
from mixsk.rules._shape import is_zero, like
from mixsk.rules._transport import block_moves, moved

SCALE = 1000  # whole numbers to a unit of energy and block
LARGEST = 2**29  # of one term: capacities are 32-bit
NEAR = 4  # pixels beside a border between blocks that are compared as one
LOG_2 = math.log(2)
LAM_MARGIN = 1e-4  # keeps log(lam) finite


class Cut(NamedTuple):
    """What the probe found for a batch.

    Attributes
    ----------
    mask : Tensor of shape (1, B, 1, H, W); (1, B, 1, 1, 1) if the batch is not mixed
        The first image's share of each pixel: 0, 1/2 or 1.
    share : Tensor of shape (1, B)
        Its mean.
    moves : pair of int64 Tensors of shape (B, places), or None
        Which block comes to each place, of first images and of partners.
    grid : pair of int
        Rows and columns of these places.
    """

    mask: Tensor
    share: Tensor
    moves: tuple[Tensor, Tensor] | None = None
    grid: tuple[int, int] = (1, 1)


class PuzzleMix(Choice):
    """Choose each block from the image in which it is more salient, in a proportion of about lam.

    v_b, 0, 1/2 or 1, is the first image's share of block b, the partner has the rest. The shares minimise

        sum_b  v_b t_b + (1 - v_b) s_b - eta log Binomial(2 v_b; 2, lam) / blocks^2
        + beta / (16 blocks) sum_(b, c)  ((v_b - v_c)^2 + gamma D_bc),

    s and t the saliency of the first image and of its partner, each with sum 1; (b, c) neighbours; D_bc how
    far apart the pixels on both sides of their border are then, in units of [0, 1]: for shares of 0 and 1 as
    the images have it, between them a part linear in v_b and v_c and a multiple of (v_b - v_c)^2. The minimum
    is exact, by cuts of graphs of many images each, of energies rounded to multiples of
    1 / (1000 blocks^2), those of (v_b - v_c)^2 to multiples of 4 times that and from 0 on.

    Saliency is the norm over channels of the slope of the clean loss, with the network in evaluation mode: a
    forward and a backward on top of those of a step. Where it is 0 or not finite all blocks are alike.

    Source: Kim et al., "Puzzle Mix: Exploiting Saliency and Local Statistics for Optimal Mixup" (ICML 2020).
    NOTE[DIFF]: its released code takes the minimum that label swaps reach, and rounds towards 0.
    NOTE[DIFF]: a graph holds at most 2048 blocks, of so many images: the minimum is the same.
    NOTE[DIFF]: numbers of blocks that do not divide the images are left out, so that all blocks are alike: of
    the default 28 x 28 pixels have 2 and 4. Give those `blocks=(2, 4, 7, 14)`.

    Parameters
    ----------
    blocks : tuple of int, default=(2, 4, 8, 16)
        Numbers of blocks along a side, one of which is drawn for each batch; those that do not divide height
        and width of the images are left out.
    eta : float, default=0.2
        Weight of the proportion, >= 0.
    beta : float, default=1.2
        Weight of neighbours' likeness, >= 0.
    gamma : float, default=0.5
        Of which: weight of what is seen at their border, >= 0.
    transport : bool, default=False
        Whether blocks of both images are moved, before they are mixed, to where the mask keeps them.
    t_eps : float, default=0.8
        Price of a squared distance of the image's side, >= 0.
    t_size : int, default=4
        Side in pixels of what is moved, >= 1: the largest that divides a block and does not exceed this.
    lam : float or None, default=None
        None: the cut is made at the drawn lam, and the label follows the mask. A number in [0, 1]: the cut is
        made at that, and the label has the drawn lam (0.5: LaMix's Eq. 5).

    Raises
    ------
    ValueError
        For a parameter out of its range, or without effect: `t_eps` and `t_size` without `transport`, `gamma`
        with `beta=0`; if no number of blocks divides the images.

    Examples
    --------
    >>> from mixsk import MixupClassifier
    >>> MixupClassifier(mix=PuzzleMix(transport=True)).get_params()["mix__transport"]
    True
    """

    input_only = True
    image_only = True
    fixed = True
    scale_: tuple[float, ...] = (1.0,)

    def __init__(
        self,
        blocks: tuple[int, ...] = (2, 4, 8, 16),
        eta: float = 0.2,
        beta: float = 1.2,
        gamma: float = 0.5,
        transport: bool = False,
        t_eps: float = 0.8,
        t_size: int = 4,
        lam: float | None = None,
    ) -> None:
        self.blocks = blocks
        self.eta = eta
        self.beta = beta
        self.gamma = gamma
        self.transport = transport
        self.t_eps = t_eps
        self.t_size = t_size
        self.lam = lam

    def check(self) -> None:
        """Numbers in their ranges, a switch, a tuple of numbers of blocks, and nothing set in vain."""
        for name in ("eta", "beta", "gamma", "t_eps"):
            check_number(self, name, 0, sys.float_info.max)
        if self.lam is not None:
            check_number(self, "lam", 0, 1)
        if not isinstance(self.transport, bool):
            raise ValueError(f"transport must be True or False. Got {self.transport!r}.")
        if not _count(self.t_size):
            raise ValueError(f"t_size must be a whole number of pixels, from 1. Got {self.t_size!r}.")
        several = isinstance(self.blocks, (tuple, list)) and len(self.blocks) > 0
        if not several or not all(map(_count, self.blocks)):
            raise ValueError(
                "blocks must be a tuple of whole numbers from 1, of blocks along a side, such as (2, 4). "
                f"Got {self.blocks!r}."
            )
        usual = type(self)()
        for name in ("t_eps", "t_size") if not self.transport else ():
            if getattr(self, name) != getattr(usual, name):
                raise ValueError(
                    f"{name}={getattr(self, name)!r} has no effect without transport. Use transport=True, or "
                    f"leave {name} out."
                )
        if is_zero(self.beta) and self.gamma != usual.gamma:
            raise ValueError(
                f"gamma={self.gamma!r} has no effect with beta={self.beta!r}. Use a beta above 0, or leave "
                "gamma out."
            )

    def bind(self, rows: Any) -> None:
        """Learn how much the network's units of pixels are of the reach of the pixels.

        Images that no number of blocks divides are an error now, before any training.
        """
        self.n_blocks(tuple(rows.X.shape[2:]), 0.0)
        layout = rows.layout
        self.scale_ = tuple(sd / layout.unit for sd in layout.std) if hasattr(layout, "std") else (1.0,)

    def draw_noise(self, rng: np.random.Generator, lam: np.ndarray) -> np.ndarray:
        """One uniform a step, which chooses the number of blocks: (S, B, 1)."""
        u = rng.random((len(lam), 1, 1), dtype=np.float32)
        return np.broadcast_to(u, (*lam.shape, 1)).copy()

    def probe(self, step: Any) -> Cut:
        """Saliency of the images `step.h` (1, B, C, H, W), and the cut of each pair.

        The network is as it was afterwards: modes, statistics, gradients.
        """
        x, perm, lam = step.h.detach()[0], step.draw.perm[0], step.draw.lam[0]
        n = self.n_blocks(x.shape[-2:], float(step.draw.noise[0, 0, 0]))
        alone = perm == torch.arange(len(perm), device=perm.device)
        # A row that is mixed with itself stays as it is: batches that are not mixed are of such rows.
        ratio = torch.where(alone, 1.0, lam if self.lam is None else self.lam)
        if bool((ratio >= 1).all()):
            return Cut(like(torch.ones_like(lam), x).unsqueeze(0), torch.ones_like(lam).unsqueeze(0))
        seen = saliency(step)
        k = self._labels(x, perm, ratio, _shares(seen, (n, n)), n)
        mask = _spread(k, x.shape[-2:]) / 2
        share = k.sum((-2, -1)).to(lam.dtype) / (2 * n * n)
        cut = Cut(mask.to(lam.dtype)[None, :, None], share.unsqueeze(0))
        return cut._replace(**self._moves(seen, perm, k)) if self.transport else cut

    def n_blocks(self, size: tuple[int, ...], u: float) -> int:
        """Number of blocks along a side of images of `size` (H, W), which `u` in [0, 1) chooses."""
        possible = [n for n in self.blocks if not any(side % n for side in size)]
        if not possible:
            raise ValueError(
                f"mix='puzzle': none of blocks={self.blocks!r} divides the sides of images of "
                f"{size[0]} x {size[1]} pixels. Give PuzzleMix(blocks=...) numbers that divide both, or pad "
                "the images."
            )
        return possible[int(u * len(possible))]

    def __call__(self, h: Tensor, lam: Tensor, noise: Tensor | None = None, extra: Any = None) -> Any:
        """Return the mask that `probe` found, (1, B, 1, H, W), and the label's share (1, B)."""
        return extra.mask, extra.share if self.lam is None else lam

    def arrange(self, h: Tensor, other: Tensor, extra: Cut) -> tuple[Tensor, Tensor]:
        """First images and partners (1, B, C, H, W) with their blocks where the mask keeps them.

        Without `transport`, and in batches that are not mixed, as they are.
        """
        if extra.moves is None:
            return h, other
        own, of_other = extra.moves
        return moved(h[0], own, extra.grid).unsqueeze(0), moved(other[0], of_other, extra.grid).unsqueeze(0)

    def _labels(self, x: Tensor, perm: Tensor, ratio: Tensor, s: Tensor, n: int) -> Tensor:
        """Twice the share of each block, (B, n, n), that costs least."""
        x = x * x.new_tensor(self.scale_).view(-1, 1, 1)
        per_border = self.beta / (16 * n)
        slope = s[perm] - s
        weights = []
        for axis in (-2, -1):
            upper, lower, unlike = _border(x, perm, n, axis)
            before, after = [slice(None)] * 3, [slice(None)] * 3
            before[axis], after[axis] = slice(None, -1), slice(1, None)
            slope[tuple(before)] += per_border * self.gamma * upper
            slope[tuple(after)] += per_border * self.gamma * lower
            weights.append(_whole(per_border * (1 + self.gamma * unlike).clamp_min(0) / 4, n))
        odds = -torch.logit(ratio.clamp(LAM_MARGIN, 1 - LAM_MARGIN))
        # log Binomial(1) - log Binomial(0) is log 2 less the odds, and so on.
        prior = (self.eta / n**2 * (odds - LOG_2), self.eta / n**2 * (odds + LOG_2))
        first, second = (_whole(slope / 2 + like(more, s), n) for more in prior)
        k = torch.from_numpy(cheapest_labels(first, second, *weights)).to(x.device)
        k = torch.where(like(ratio, k) >= 1, 2, k)
        return torch.where(like(ratio, k) <= 0, 0, k)

    def _moves(self, seen: Tensor, perm: Tensor, k: Tensor) -> dict[str, Any]:
        """The transport of first images and of partners."""
        size, n = seen.shape[-2:], k.shape[-1]
        grid = tuple(side // _divisor(side // n, self.t_size) for side in size)
        s, mask = _shares(seen, grid), (_spread(k, grid) / 2).cpu().numpy()
        pairs = ((s.cpu().numpy(), mask), (s[perm].cpu().numpy(), 1 - mask))
        plans = (torch.from_numpy(block_moves(*pair, self.t_eps)).to(seen.device) for pair in pairs)
        return {"moves": tuple(plans), "grid": grid}


def saliency(step: Any) -> Tensor:
    """Norm over channels of each image's slope of the clean loss (B, H, W), in evaluation mode."""
    x = step.h.detach().requires_grad_()
    with torch.enable_grad(), evaluating(step.net):
        logits, _ = step.net.upper(x, 0)
        # The sum of losses: each image's own slope, however many there are beside it.
        loss = -(step.batch.y * logits.to(step.batch.y.dtype).log_softmax(-1)).sum()
        (slope,) = torch.autograd.grad(loss, x)
    largest = slope[0].abs().amax((1, 2, 3), keepdim=True).clamp_min(torch.finfo(slope.dtype).tiny)
    norm: Tensor = (slope[0] / largest).norm(dim=1)  # squares of slopes may be too small for floats
    return norm


def _border(x: Tensor, perm: Tensor, n: int, axis: int) -> tuple[Tensor, Tensor, Tensor]:
    """What shows at the borders between blocks along `axis`, each (B, n, n) less one along the axis.

    D_pq is the difference between image p on the near side and image q on the far side (1: the first image,
    0: its partner). Returned are the two slopes in v of the near and of the far block, and the multiple of
    (v - v')^2.
    """
    sides = [side // n for side in x.shape[-2:]]
    near = [_divisor(side, NEAR) for side in sides]
    cells = avg_pool2d(x, near).movedim(axis, -1)  # the border's cells last but one
    per_block = sides[axis] // near[axis]
    here = (cells[..., per_block - 1 : -1 : per_block], cells[..., per_block::per_block])
    there = tuple(side[perm] for side in here)

    def difference(one: Tensor, other: Tensor) -> Tensor:
        along = (one - other).abs().mean(1)  # (B, cells along the border, borders)
        return along.unflatten(1, (n, -1)).mean(2).movedim(-1, axis)

    d11, d10, d01 = difference(here[0], here[1]), difference(here[0], there[1]), difference(there[0], here[1])
    d00 = d11[perm]
    return (d10 - d01 + d11 - d00) / 2, (d01 - d10 + d11 - d00) / 2, (d10 + d01 - d11 - d00) / 2


def _whole(energy: Tensor, n: int) -> np.ndarray:
    """Energies as whole numbers, on the host."""
    scaled = energy.cpu().double() * (SCALE * n * n)
    whole: np.ndarray = scaled.clamp(-LARGEST, LARGEST).round().long().numpy()
    return whole


def _shares(seen: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Saliency (B, H, W) of the blocks of a grid, with sum 1 for each image; alike if there is none."""
    kernel = [side // n for side, n in zip(seen.shape[-2:], grid, strict=True)]
    s = avg_pool2d(seen.unsqueeze(1), kernel).squeeze(1)
    total = s.sum((-2, -1), keepdim=True)
    return torch.where((total > 0) & total.isfinite(), s / total, 1 / (grid[0] * grid[1]))


def _spread(k: Tensor, size: tuple[int, ...]) -> Tensor:
    """Blocks (B, n, n) as entries of a finer grid (B, *size)."""
    rows, columns = (side // n for side, n in zip(size, k.shape[-2:], strict=True))
    return k.repeat_interleave(rows, -2).repeat_interleave(columns, -1)


def _divisor(n: int, largest: int) -> int:
    """The largest divisor of n that is not above `largest`."""
    return max(d for d in range(1, min(n, largest) + 1) if n % d == 0)


def _count(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1
