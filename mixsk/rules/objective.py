"""Objective: what one step minimises, `objective(step) -> (M,)`, built from the parts of a `Step`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mixsk.rules._shape import per_model
from mixsk.rules.amp import AdversarialLam
from mixsk.rules.loss import cross_entropy


class Clean:
    """Cross entropy of the rows as they are: no mixing (vanilla training)."""

    def __call__(self, step: Any) -> Tensor:
        logits, _ = step.upper(step.clean())
        t, w = step.clean_target()
        return step.mean(cross_entropy(logits, t, w), w)


class Mixed:
    """The loss of the mixed rows (mixup and all that changes only mask, site, target or loss)."""

    ahead = True

    def __call__(self, step: Any) -> Tensor:
        h, share = step.mixed(step.draw.lam)
        logits, taps = step.upper(h)
        t, w, keep = step.target(share, taps)
        return step.mean(step.loss(logits, t, keep, taps), w, keep)


class WithClean:
    """`mixed + clean_weight * clean`, in one forward over 2 B rows; the clean term is cross entropy.

    Source: Pinto et al., "RegMixup" (NeurIPS 2022), which weighs the mixed term by eta = 1.
    NOTE[DIFF]: the released code averages over the 2 B rows, half of our scale.

    Parameters
    ----------
    clean_weight : float or Tensor of shape (M,)
        >= 0; RegMixup is 1.
    """

    ahead = True

    def __init__(self, clean_weight: float | Tensor) -> None:
        self.clean_weight = clean_weight

    def __call__(self, step: Any) -> Tensor:
        h, share = step.mixed(step.draw.lam)
        n_rows = h.shape[1]
        logits, taps = step.upper(torch.cat((h, step.clean()), 1))
        step.clean_taps = {site: features[:, n_rows:] for site, features in taps.items()} or None
        taps = {site: features[:, :n_rows] for site, features in taps.items()}
        t, w, keep = step.target(share, taps)
        loss = step.mean(step.loss(logits[:, :n_rows], t, keep, taps), w, keep)
        t, w = step.clean_target()
        clean = step.mean(cross_entropy(logits[:, n_rows:], t, w), w)
        return loss + per_model(self.clean_weight, 1) * clean


class Plus:
    """`objective + clean_weight * clean`, for an objective that runs the network in its own way.

    The clean rows are run apart: a network with batch normalisation sees them as a batch of their own.

    Parameters
    ----------
    objective : callable
    clean_weight : float or Tensor of shape (M,)
        >= 0.
    """

    def __init__(self, objective: Any, clean_weight: float | Tensor) -> None:
        self.objective = objective
        self.moves_lam = getattr(objective, "moves_lam", False)
        self.full_precision = getattr(objective, "full_precision", False)
        self.clean_weight = clean_weight

    def __call__(self, step: Any) -> Tensor:
        return self.objective(step) + per_model(self.clean_weight, 1) * Clean()(step)


OBJECTIVES: dict[str, Callable[[], Any]] = {"mixed": Mixed, "adversarial_lam": AdversarialLam}
