"""LaMix: one mixed input, many labels; half of each label is learnt.

Source: "Bypassing the Random Input Mixing in Mixup" (LaMix), Eq. 8-10. No code of it is public: each
reading of what the paper leaves open is a parameter.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mixsk.backbones import StackedLinear
from mixsk.rules._choice import Choice, check_number
from mixsk.rules._shape import per_model
from mixsk.rules.target import Taps, linear_label


class LaMix(Choice):
    """Target `local_share * linear + (1 - local_share) * p`, p learnt: Eq. 10.

    `p = softmax(sigmoid(W s))` (Eq. 9), s the features that the network's head sees, W a second head with
    bias, trained with the network and used by the target alone. By the sigmoid no entry of p exceeds
    e / (e + C - 1), so that targets, and the probabilities learnt from them, are under-confident: judge
    accuracy, or recalibrate.

    Parameters
    ----------
    local_share : float or Tensor of shape (M,), default=0.5
        Weight of the linear label (beta of Eq. 10), in [0, 1]. At 1 p is not used.
    detach_target : bool, default=False
        Whether the target is a constant. Then W, which has no other loss, stays as initialised: the
        paper's Figure 3 shows that it is trained.
    global_on_clean : bool, default=True
        Whether the label of a clean batch has its share of p too, as the targets of the paper's Figure 3
        have.

    Examples
    --------
    >>> from mixsk import MixupClassifier
    >>> MixupClassifier(mix="half", label=LaMix()).get_params()["label__local_share"]  # no clean steps
    0.5
    """

    tap = "last"
    trained = True

    def __init__(
        self, local_share: float | Tensor = 0.5, detach_target: bool = False, global_on_clean: bool = True
    ) -> None:
        self.local_share = local_share
        self.detach_target = detach_target
        self.global_on_clean = global_on_clean

    def check(self) -> None:
        """local_share in [0, 1], and two switches."""
        if not isinstance(self.local_share, Tensor):
            check_number(self, "local_share", 0, 1)
        for name in ("detach_target", "global_on_clean"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False. Got {getattr(self, name)!r}.")

    @property
    def on_clean(self) -> bool:
        """Whether batches that are not mixed are labelled by this target too."""
        return self.global_on_clean

    def aux(self, sizes: Any) -> nn.Module:
        """The second head."""
        return StackedLinear(sizes.features, sizes.classes, sizes.models)

    def attach(self, aux: nn.Module) -> None:
        """Take the head that the recipe trains."""
        self.head_ = aux

    def global_label(self, s: Tensor) -> Tensor:
        """p of features s (M, B, ...): (M, B, C)."""
        return torch.softmax(torch.sigmoid(self.head_(s.flatten(2))), -1)

    def __call__(
        self, y: Tensor, perm: Tensor, share: Tensor, lam: Tensor, taps: Taps, state: Any
    ) -> tuple[Tensor, None]:
        local = linear_label(y, perm, share)
        p = self.global_label(taps[max(taps)]).to(y.dtype)
        if self.detach_target:
            p = p.detach()
        if state.weighted:  # p has no owner: it weighs what the two rows weigh together
            p = p * local.sum(-1, keepdim=True)
        return torch.lerp(p, local, per_model(self.local_share, local.ndim)), None
