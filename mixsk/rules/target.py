"""Target: the soft label of a mixed row.

`target(y, perm, share, lam, taps, state) -> (t, w)`. `y` (M, B, C) are the rows' labels: one-hot,
times the row's sample weight (weights are part of the label). `t` (M, B, C) need not be normalised:
the recipe multiplies class weights, takes the sum as the row's weight, and divides by it. `w` (M, B)
keeps or drops rows of the batch; None keeps all. `taps` holds the mixed rows' features by site.

A user's own target is any callable with this signature; it may have `bind(rows)`, `check()` and `tap`, the
site whose features it wants ("last": what the head sees), and say `ahead = True` if it may be asked for
many steps at once, in place of models. With `aux(sizes) -> nn.Module` (`mixsk.rules.Sizes`) and
`attach(module)` it has a network of its own, trained with the classifier and absent from `predict`; `trained
= True` says that the label itself has a gradient. With `penalty(y, perm, taps, present) -> (M, B)` it adds to
the loss of each mixed row; `present` (M, B) marks those that take part, None all. With `update(features, y,
real)` it sees the features of each batch's clean rows first.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mixsk.rules._choice import Choice, check_number
from mixsk.rules._shape import like, mix, partner, per_model
from mixsk.rules.nonlinear import NonlinearLabel

Taps = dict[int, Tensor]


def linear_label(y: Tensor, perm: Tensor, share: Tensor) -> Tensor:
    """`share * y + (1 - share) * y[perm]`, shapes (M, B, C) and (M, B)."""
    return mix(y, like(share, y), partner(y, perm))


class LinearLabel(Choice):
    """The label mixed like the input.

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization" (ICLR 2018); the LaMix paper prints
    it as its Eq. 2, y_mix = lam y_i + (1 - lam) y_j.

    Examples
    --------
    >>> y = torch.eye(2)[None]
    >>> t, w = LinearLabel()(y, torch.tensor([[1, 0]]), torch.tensor([[0.75, 0.75]]), None, {}, None)
    >>> t
    tensor([[[0.7500, 0.2500],
             [0.2500, 0.7500]]])
    """

    ahead = True

    def __call__(
        self, y: Tensor, perm: Tensor, share: Tensor, lam: Tensor, taps: Taps, state: Any
    ) -> tuple[Tensor, None]:
        return linear_label(y, perm, share), None


class Logistic(Choice):
    """A steeper label: lam' = 1 / (1 + exp(-2 (lam - 1/2) / s2)).

    Source: GenLabel paper, section 3.2 (logistic labeling; its OpenML comparison takes s2 = 0.1).

    Parameters
    ----------
    s2 : float, default=0.1
        Variance sigma^2 of the two classes around their means, > 0; small is steep.

    Examples
    --------
    >>> y = torch.eye(2)[None]
    >>> t, w = Logistic()(y, torch.tensor([[1, 0]]), torch.tensor([[0.5, 0.6]]), None, {}, None)
    >>> t[0, :, 0]
    tensor([0.5000, 0.1192])
    """

    ahead = True

    def __init__(self, s2: float = 0.1) -> None:
        self.s2 = s2

    def check(self) -> None:
        """s2 > 0."""
        check_number(self, "s2", 0, float("inf"), open_low=True)

    def __call__(
        self, y: Tensor, perm: Tensor, share: Tensor, lam: Tensor, taps: Taps, state: Any
    ) -> tuple[Tensor, None]:
        return linear_label(y, perm, torch.sigmoid(2 * (share - 0.5) / self.s2)), None


class Remix(Choice):
    """Give the whole label to the minority class of an unequal pair.

    With n_i, n_j the sizes of the two rows' classes, the first row's share of the label is 0 where
    n_i / n_j >= kappa and lam < tau, 1 where n_i / n_j <= 1 / kappa and 1 - lam < tau, else lam.

    Source: Chou et al., "Remix: Rebalanced Mixup" (ECCV 2020 workshops); as restated in the
    Infinite Class Mixup paper, section 4, with lam < tau where that prints lam < kappa.

    Parameters
    ----------
    kappa : float, default=3
        Imbalance from which a pair counts as unequal, > 1.
    tau : float, default=0.5
        Share of the minority row below which the label stays linear, in [0, 1].

    Examples
    --------
    >>> from mixsk.rules.state import State
    >>> y = torch.eye(2)[None]
    >>> state = State(class_counts=torch.tensor([30.0, 10.0]))
    >>> t, w = Remix()(y, torch.tensor([[1, 0]]), torch.tensor([[0.4, 0.4]]), None, {}, state)
    >>> t[0, :, 0]
    tensor([0.0000, 0.6000])
    """

    ahead = True

    def __init__(self, kappa: float = 3.0, tau: float = 0.5) -> None:
        self.kappa = kappa
        self.tau = tau

    def check(self) -> None:
        """kappa > 1, tau in [0, 1]."""
        check_number(self, "kappa", 1, float("inf"), open_low=True)
        check_number(self, "tau", 0, 1)

    def __call__(
        self, y: Tensor, perm: Tensor, share: Tensor, lam: Tensor, taps: Taps, state: Any
    ) -> tuple[Tensor, None]:
        count = (y > 0).to(y.dtype) @ state.class_counts.to(y.dtype)
        other = partner(count, perm)
        majority = (count >= self.kappa * other) & (share < self.tau)
        minority = (other >= self.kappa * count) & (1 - share < self.tau)
        share = torch.where(majority, 0.0, torch.where(minority, 1.0, share))
        return linear_label(y, perm, share), None


class Wrapper:
    """A target around another one."""

    own_taps: tuple[int, ...] = ()

    def __init__(self, target: Any) -> None:
        self.target = target
        self.ahead = getattr(target, "ahead", False)

    def bind(self, rows: Any) -> None:
        """Bind the target inside."""
        if hasattr(self.target, "bind"):
            self.target.bind(rows)


class Smoothed(Wrapper):
    """Label smoothing around any target: `(1 - s) t + s / C`.

    Source: Szegedy et al., "Rethinking the Inception Architecture" (CVPR 2016).

    Parameters
    ----------
    target : callable
        The target that is smoothed.
    smoothing : float or Tensor of shape (M,)
        s, in [0, 1).
    """

    def __init__(self, target: Any, smoothing: float | Tensor) -> None:
        super().__init__(target)
        self.smoothing = smoothing

    def __call__(
        self, y: Tensor, perm: Tensor, share: Tensor, lam: Tensor, taps: Taps, state: Any
    ) -> tuple[Tensor, Tensor | None]:
        t, w = self.target(y, perm, share, lam, taps, state)
        return smooth(t, self.smoothing), w


def taps_of(target: Any, n_stages: int) -> tuple[int, ...]:
    """Sites whose features a target needs: its `tap` ("last": what the head sees), or those it wraps."""
    if isinstance(target, Wrapper):
        return tuple(sorted({*target.own_taps, *taps_of(target.target, n_stages)}))
    tap = getattr(target, "tap", None)
    return () if tap is None else (n_stages,) if tap == "last" else (tap,)


def smooth(t: Tensor, smoothing: float | Tensor) -> Tensor:
    """Spread a share of each label evenly over the classes: `(1 - s) t + s / C`.

    Parameters
    ----------
    t : Tensor of shape (M, B, C)
        Labels of any row weight; the even part weighs what the row weighs.
    smoothing : float or Tensor of shape (M,)
        s, in [0, 1).

    Returns
    -------
    Tensor of shape (M, B, C)

    Examples
    --------
    >>> smooth(torch.tensor([[[1.0, 0.0]]]), 0.2)
    tensor([[[0.9000, 0.1000]]])
    """
    uniform = t.sum(-1, keepdim=True) / t.shape[-1]
    return t + per_model(smoothing, t.ndim) * (uniform - t)


TARGETS: dict[str, type[Choice]] = {
    "linear": LinearLabel,
    "logistic": Logistic,
    "remix": Remix,
    "nonlinear": NonlinearLabel,
}
