"""Infinite Class Mixup: every mixed row is a class of its own.

Source: Mensink and Mettes, "Infinite Class Mixup" (BMVC 2023), Eq. 2-9. With the scores S of a batch
(logits, bias included) and its targets Y, row i's score for the class of row j is S~ = S Y^T; the loss is
the cross entropy of S~ against the identity, over rows (class axis, Eq. 5) plus over columns (pair axis,
Eq. 7). No temperature; gradients flow through the scores alone.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

from mixsk.rules._choice import Choice

DIMENSIONS = {"class": (2,), "pair": (1,), "both": (2, 1)}  # of the scores (M, rows, their classes)
AXES = tuple(DIMENSIONS)
PRIORS = ("train", "uniform")


class InfiniteClass(Choice):
    """Cross entropy between mixed rows and the classes that they are themselves.

    The rows of a batch see each other: a row of weight 0 leaves both normalisers. A batch of one row has
    loss 0, and the value depends on batch and classes: compare runs by clean log loss.

    Parameters
    ----------
    axis : {"class", "pair", "both"}, default="both"
        Which normaliser: the classes of the batch, its rows, or the sum of both losses (Eq. 9). "pair"
        alone says nothing of how frequent the classes are: their offsets are fitted afterwards.
    class_prior : {"train", "uniform"}, default="train"
        The loss is at its best where S = log p(c | x) - log p(c). "train" gives it S - log p(c), with the
        training rows' class frequencies, so that softmax(S) predicts.
        NOTE[DIFF]: "uniform" is the paper's form, right for classes of equal size; at 9:1 it costs 16
        points of accuracy.

    Examples
    --------
    >>> loss = InfiniteClass(axis="class", class_prior="uniform")
    >>> S, t = torch.tensor([[[2.0, 0.0], [0.0, 2.0]]]), torch.eye(2)[None]
    >>> loss(S, t)  # log(1 + e^-2)
    tensor([[0.1269, 0.1269]])
    """

    rows_interact = True

    def __init__(self, axis: str = "both", class_prior: str = "train") -> None:
        self.axis = axis
        self.class_prior = class_prior

    def check(self) -> None:
        """Both are known names."""
        for name, allowed in (("axis", AXES), ("class_prior", PRIORS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}. Got {getattr(self, name)!r}.")

    def count(self, counts: Tensor) -> None:
        """Learn the class frequencies from the numbers of training rows, (C,) or (M, C)."""
        share = (counts / counts.sum(-1, keepdim=True)).unsqueeze(-2)
        # An absent class is no row's class: its score is never asked for, and its offset must be finite.
        self.offset_ = torch.where(share > 0, share.clamp_min(torch.finfo(share.dtype).tiny).log(), 0.0)

    def __call__(self, logits: Tensor, t: Tensor, w: Tensor | None = None) -> Tensor:
        # In the targets' precision: autocast would round lam to a few bits, and on a CPU the loss itself.
        device = logits.device.type
        known = torch.amp.is_autocast_available(device)  # not to "meta"
        with torch.autocast(device, enabled=False) if known else nullcontext():
            return self._of_rows(logits.to(t.dtype), t, w)

    def _of_rows(self, logits: Tensor, t: Tensor, w: Tensor | None) -> Tensor:
        if self.class_prior == "train":
            logits = logits - self.offset_.to(logits.dtype)
        scores = logits @ t.transpose(1, 2)
        if w is not None:
            # The diagonal stays: a row that is dropped needs a finite loss, since 0 * inf is NaN.
            gone = (w == 0).unsqueeze(1) | (w == 0).unsqueeze(2)
            own_place = torch.eye(scores.shape[1], dtype=torch.bool, device=scores.device)
            scores = scores.masked_fill(gone & ~own_place, -torch.inf)
        # log_softmax is one kernel where logsumexp is five: half the time of a step's loss.
        own = [torch.log_softmax(scores, dim).diagonal(dim1=1, dim2=2) for dim in DIMENSIONS[self.axis]]
        return -sum(own[1:], start=own[0])

    @property
    def lacks_offsets(self) -> bool:
        """Whether the classes' offsets have no gradient: a constant on a column of S~ changes nothing."""
        return self.axis == "pair"


def fit_offsets(logits: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
    """Constants for the classes under which clean rows are likeliest.

    Parameters
    ----------
    logits : Tensor of shape (M, n, C)
    y : int64 Tensor of shape (n,)
    w : Tensor of shape (n,) or None

    Returns
    -------
    Tensor of shape (M, 1, C)
        Of mean 0, in the dtype of `logits`.
    """
    weight = torch.ones_like(y, dtype=torch.float64) if w is None else w.double()
    # One model at a time: a line search over all would let each stop where the others do.
    each = [_fit_offset(scores, y, weight / weight.sum()) for scores in logits.detach().double()]
    return torch.stack(each).unsqueeze(1).to(logits.dtype)


def _fit_offset(scores: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    offset = torch.zeros_like(scores[0], requires_grad=True)
    # A class without rows would go to -inf: a weak pull to 0 holds it, and fixes the common constant.
    optimizer = torch.optim.LBFGS([offset], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        chosen = torch.log_softmax(scores + offset, -1).gather(-1, y.unsqueeze(-1)).squeeze(-1)
        loss = -(chosen * weight).sum() + 1e-6 * offset.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return (offset - offset.mean()).detach()
