"""AMP: move each row's lam to where the network finds the mixed row slightly harder.

Source: Liu et al., "Adversarial Mixing Policy for Relaxing Locally Linear Constraints in Mixup" (EMNLP 2021),
Eq. 8 and 14-21. lam is drawn (rand), moved up the slope of the row's own loss (max), and of the two losses
the larger one is minimised (min). The move touches the input side alone: the label stays at the drawn lam.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from mixsk.rules._choice import Choice, check_number
from mixsk.rules._shape import per_model
from mixsk.rules.step import statistics_kept

REDUCTIONS = ("sum", "mean")
SELECTS = ("max", "ascent")
MEMORY = 5  # batches that `reweight` looks back on
NO_SLOPE = "the mixed rows do not depend on lam, so there is no slope in lam to follow. Let m depend on lam."


class AdversarialLam(Choice):
    """The loss of rows mixed at lam or at `lam + epsilon * clip(dL/dlam, -1, 1)`, whichever is larger.

    lam + ... is clamped to [0, 1] and, like the choice between the two, a constant: no gradient flows
    through it. The label is computed once, at the drawn lam, and held fixed. All forwards of a step see
    the same dropout masks: with independent ones the larger loss would be the unluckier mask, an effect
    many times that of the move.

    Where rows do not see each other this takes a forward and a backward to the mixing site, a second
    forward, and one ordinary step at the chosen lam. Rows that see each other (Infinite Class Mixup,
    batch normalisation) need both losses with their graphs; the slope is then that of all rows' losses.

    Parameters
    ----------
    epsilon : float or Tensor of shape (M,), default=0.002
        Step of the move (Eq. 15), >= 0; 0 leaves lam as drawn.
    reduction : {"sum", "mean"}, default="sum"
        The slope of a row's own loss (Eq. 16), or of the batch mean.
        NOTE[DIFF]: the released code takes the mean, so that lam moves 1 / B as far: next to nothing.
    share_noise : bool, default=True
        Whether all forwards of a step use the same dropout masks.
    select : {"max", "ascent"}, default="max"
        The larger of both losses (Eq. 18-21), or always the moved lam (the paper's "+MaxOp", Table 4).
    reweight : bool, default=False
        Weigh a row by `1 + max(0, d - mu) / sd`, d its gain in loss, mu and sd (over n - 1) those of the
        positive gains of the last 5 batches, this one included. As in the released code; not in the paper.

    Examples
    --------
    >>> from mixsk import AMPClassifier
    >>> AMPClassifier(epsilon=0.01)._objective()
    AdversarialLam(epsilon=0.01)
    """

    moves_lam = True
    # Half precision loses the move: lam changes by .002 at most where numbers are .0005 (float16) or .0039
    # (bfloat16) apart, and so does a loss, a small difference of larger numbers.
    full_precision = True

    def __init__(
        self,
        epsilon: float | Tensor = 0.002,
        reduction: str = "sum",
        share_noise: bool = True,
        select: str = "max",
        reweight: bool = False,
    ) -> None:
        self.epsilon = epsilon
        self.reduction = reduction
        self.share_noise = share_noise
        self.select = select
        self.reweight = reweight

    def check(self) -> None:
        """epsilon >= 0 and known names."""
        if not isinstance(self.epsilon, Tensor):
            check_number(self, "epsilon", 0, sys.float_info.max)
        for name, allowed in (("reduction", REDUCTIONS), ("select", SELECTS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}. Got {getattr(self, name)!r}.")

    def __call__(self, step: Any) -> Tensor:
        lam, joint = step.draw.lam, _rows_interact(step)
        step.look()
        same_noise = _Replay(step.h.device, self.share_noise)
        moving = lam.detach().clone().requires_grad_()
        with torch.enable_grad(), same_noise():
            # Rows that do not see each other are run again at the chosen lam: no weights in this graph.
            h, share = step.mixed(moving, None if joint else step.h.detach())
            logits, taps = step.upper(h)
            with torch.no_grad():
                t, w, keep = step.target(share.detach(), {site: f.detach() for site, f in taps.items()})
            before = step.loss(logits, t, keep)
        moved = self._moved(step, before, moving, keep, joint)

        def loss_at(lam: Tensor) -> Tensor:
            with same_noise():
                return step.loss(step.upper(step.mixed(lam)[0])[0], t, keep)

        if joint:
            with statistics_kept(step.net):
                after = loss_at(moved)
            loss = after if self.select == "ascent" else torch.where(after > before, after, before)
        else:
            after = before
            if self.select == "max" or self.reweight:
                with torch.no_grad():
                    after = loss_at(moved)
            loss = loss_at(moved if self.select == "ascent" else torch.where(after > before, moved, lam))
        if self.reweight:
            loss = loss * self._row_weight((after - before).detach(), step.present(keep))
        return step.mean(loss, w, keep)

    def _moved(self, step: Any, loss: Tensor, lam: Tensor, keep: Tensor | None, joint: bool) -> Tensor:
        """lam moved up the slope of its loss."""
        (slope,) = torch.autograd.grad(loss.sum(), lam, retain_graph=joint, allow_unused=True)
        if slope is None:
            raise ValueError(f"mix={step.recipe.spec.mix!r}: {NO_SLOPE}")
        if self.reduction == "mean":
            present = step.present(keep)
            slope = slope / (loss.shape[1] if present is None else present.sum(-1, keepdim=True).clamp_min(1))
        return (lam.detach() + per_model(self.epsilon, 2) * slope.clamp(-1, 1)).clamp(0, 1)

    def get_extra_state(self) -> list[Tensor]:
        """What `reweight` remembers of the last batches, for a checkpoint."""
        return list(getattr(self, "recent_", ()))

    def set_extra_state(self, state: list[Tensor]) -> None:
        """Remember again what `get_extra_state` gave."""
        self.recent_ = deque(state, maxlen=MEMORY)

    def _row_weight(self, gain: Tensor, present: Tensor | None) -> Tensor:
        positive = gain.clamp_min(0).double()
        if present is not None:
            positive = positive * (present > 0)
        moments = [(positive > 0).double().sum(-1), positive.sum(-1), positive.square().sum(-1)]
        recent = self.__dict__.setdefault("recent_", deque(maxlen=MEMORY))
        recent.append(torch.stack(moments))
        n, total, squares = torch.stack(list(recent)).sum(0).unsqueeze(-1)
        mean = total / n.clamp_min(1)
        deviation = ((squares - n * mean.square()).clamp_min(0) / (n - 1).clamp_min(1)).sqrt()
        # One gain, or gains that are all alike, have no deviation: none stands out.
        excess = torch.where(deviation > 0, (gain - mean) / deviation, 0.0)
        return (1 + excess.clamp_min(0)).to(gain.dtype)


class _Replay:
    """A context that starts each time with the noise it started with first: the same dropout masks."""

    def __init__(self, device: torch.device, active: bool) -> None:
        self.device = device
        self.state: Tensor | None = None
        self.active = active and device.type != "meta"

    @contextmanager
    def __call__(self) -> Iterator[None]:
        if self.active:
            if self.state is None:
                self.state = self._generator().get_state()
            else:
                self._generator().set_state(self.state)
        yield

    def _generator(self) -> torch.Generator:
        if self.device.type == "cuda":
            return torch.cuda.default_generators[self.device.index or 0]
        return (
            torch.mps._get_default_mps_generator() if self.device.type == "mps" else torch.default_generator
        )


def _rows_interact(step: Any) -> bool:
    return getattr(step.recipe.loss, "rows_interact", False) or getattr(step.net, "rows_interact", False)
