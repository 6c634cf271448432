"""Loss: `(logits, t, w) -> (M, B)`, one value a row; w (M, B) marks rows that take part, None all."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


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
    return -(t * torch.log_softmax(logits, -1)).sum(-1)


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {"cross_entropy": cross_entropy}
