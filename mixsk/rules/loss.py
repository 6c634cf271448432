"""Loss: `(logits, t, w) -> (M, B)`, one value a row; w (M, B) marks rows that take part, None all."""

from __future__ import annotations

import torch
from torch import Tensor

from mixsk.rules._choice import Choice
from mixsk.rules.infinite import InfiniteClass


def cross_entropy(logits: Tensor, t: Tensor, w: Tensor | None = None) -> Tensor:
    """Cross entropy against soft targets: `-sum_c t_c log softmax(logits)_c`.

    Parameters
    ----------
    logits : Tensor of shape (M, B, C)
    t : Tensor of shape (M, B, C)
        Rows sum to 1.
    w : Tensor of shape (M, B) or None
        Not used: the rows of this loss do not see each other.

    Returns
    -------
    Tensor of shape (M, B)
        In nats, >= 0.

    Examples
    --------
    >>> cross_entropy(torch.zeros(1, 1, 2), torch.tensor([[[0.5, 0.5]]]))
    tensor([[0.6931]])
    """
    if len(logits) == 1:
        return -(t * torch.log_softmax(logits, -1)).sum(-1)
    # Few classes make short rows, for which torch's kernels are slow: of many models' logits the columns
    # are normalised, in a third of the time.
    columns = torch.log_softmax(logits.transpose(1, 2).contiguous(), 1)
    return -(t.transpose(1, 2) * columns).sum(1)


class CrossEntropy(Choice):
    """`cross_entropy` as a choice of the loss axis."""

    def __call__(self, logits: Tensor, t: Tensor, w: Tensor | None = None) -> Tensor:
        return cross_entropy(logits, t, w)


LOSSES: dict[str, type[Choice]] = {"cross_entropy": CrossEntropy, "infinite": InfiniteClass}
