"""Shapes: every rule sees a leading model axis `(M, B, ...)`."""

from __future__ import annotations

import torch
from torch import Tensor


def partner(h: Tensor, perm: Tensor) -> Tensor:
    """Rows of `h` in the order of `perm`: the second example of each pair.

    Parameters
    ----------
    h : Tensor of shape (M, B, ...)
        One batch per model.
    perm : Tensor of shape (M, B), int64
        Index of each row's partner within its own model's batch.

    Returns
    -------
    Tensor of shape (M, B, ...)

    Examples
    --------
    >>> partner(torch.tensor([[[1.0], [2.0]]]), torch.tensor([[1, 0]]))
    tensor([[[2.],
             [1.]]])
    """
    if h.shape[0] == 1:  # index_select costs a third of a gather
        return h.index_select(1, perm[0])
    index = perm.reshape(perm.shape + (1,) * (h.ndim - 2))
    return torch.gather(h, 1, index.expand(perm.shape + h.shape[2:]))


def like(value: Tensor, h: Tensor) -> Tensor:
    """`value` of shape (M, B) with trailing axes added so that it broadcasts against `h`."""
    for _ in range(h.ndim - value.ndim):
        value = value.unsqueeze(-1)  # a third of what reshape costs
    return value


def per_model(value: float | Tensor, ndim: int) -> float | Tensor:
    """A hyper-parameter, one number or one per model (M,), ready to broadcast over `ndim` axes."""
    return value.reshape((-1,) + (1,) * (ndim - 1)) if isinstance(value, Tensor) else value


def mix(h: Tensor, m: Tensor, other: Tensor) -> Tensor:
    """`m * h + (1 - m) * other`; exact where m is 0 or 1 and where a row meets itself."""
    return torch.lerp(other, h, m.to(h.dtype))  # under autocast a hidden h is narrower than lam


def is_zero(value: float | Tensor) -> bool:
    """Whether a hyper-parameter is the plain number 0; a tensor, one number a model, may be anything."""
    return not isinstance(value, Tensor) and value == 0
