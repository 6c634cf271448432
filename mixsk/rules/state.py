"""What the rules know of the training data: rows once, then a few numbers on the device."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass
class Rows:
    """Encoded rows of one training set: what `bind` gets.

    Attributes
    ----------
    X : Tensor of shape (n, ...), or object with `shape`, `X[index]` and `subset(index)`
        Encoded inputs; where they are stored otherwise than the network sees them, what `at` begins with:
        pixels may be bytes, lie in a file, or be read one by one from a data set. Of images, which may be
        more than memory holds, `take` gives an object of this kind.
    y : int64 Tensor of shape (n,)
        Class codes 0 ... n_classes - 1.
    w : float Tensor of shape (n,) or None
        Sample weights, scaled by the caller; None if all are 1.
    n_classes : int
    layout : object or None
        What the encoded columns are (`mixsk.encoding.Layout`, `TextLayout` for codes of words, `ImageLayout`
        for pixels).
    floats : torch.dtype or None
        Of labels, weights and lam, where X holds codes or bytes; None: as X.
    lengths : int array of shape (n,) or None
        Entries of each row of X that are no padding, which is at their end; None: all.
    """

    X: Tensor
    y: Tensor
    w: Tensor | None
    n_classes: int
    layout: Any = None
    floats: torch.dtype | None = None
    lengths: np.ndarray | None = None

    @property
    def dtype(self) -> torch.dtype:
        """Of labels, weights and lam."""
        return self.X.dtype if self.floats is None else self.floats

    @property
    def device(self) -> torch.device:
        """Of what the network sees."""
        return self.y.device

    @property
    def on_host(self) -> bool:
        """Whether rows are gathered on the host for another device: by numbers that are there, too."""
        return isinstance(self.X, Tensor) and self.X.device != self.device

    def at(self, index: Tensor, noise: Tensor | None = None) -> Tensor:
        """The rows at `index` (...) as the network sees them, (..., *shape), on the device.

        Parameters
        ----------
        index : int64 Tensor
        noise : Tensor of shape (*index.shape, k) or None
            Of the layout's augmentation; None: the rows as they are.
        """
        if isinstance(self.X, Tensor):
            return self.seen(self.X[index.to(self.X.device)], noise)
        flat = self.X[index.flatten().cpu().numpy()]
        return self.seen(flat.unflatten(0, index.shape), noise)

    def seen(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Stored rows x (..., *shape) as the network sees them, on the device; `noise` as of `at`."""
        x = x.to(self.device)
        prepare = getattr(self.layout, "prepare", None)
        if noise is not None:
            # Before they are normalised: what comes in at the border is 0, as pixels have it.
            x = self.layout.augment(x.to(self.dtype), noise)
        return x if prepare is None else prepare(x, self.dtype)

    def take(self, index: np.ndarray) -> Rows:
        """The rows at `index`, copied; images only when they are asked for."""
        at = torch.as_tensor(index, device=self.device)
        X: Any
        if not isinstance(self.X, Tensor):
            X = self.X.subset(index)
        elif getattr(self.layout, "reads", "table") == "image":
            X = Chosen(self.X, np.asarray(index))
        else:
            X = self.X[at.to(self.X.device)]
        w = None if self.w is None else self.w[at]
        lengths = None if self.lengths is None else self.lengths[index]
        return replace(self, X=X, y=self.y[at], w=w, lengths=lengths)

    def class_counts(self) -> Tensor:
        """Weighted number of rows of each class, float64 (C,)."""
        weight = None if self.w is None else self.w.double()
        return torch.bincount(self.y, weight, minlength=self.n_classes).double()


class Chosen:
    """Some rows of a table of images, gathered when they are asked for: most rules want to know their form.

    Parameters
    ----------
    X : Tensor of shape (n, C, H, W)
    index : int array of shape (k,)

    Attributes
    ----------
    shape : tuple of int
        (k, C, H, W).
    dtype : torch.dtype
    """

    def __init__(self, X: Tensor, index: np.ndarray) -> None:
        self.X, self.index = X, index
        self.shape, self.dtype = (len(index), *X.shape[1:]), X.dtype

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: np.ndarray | slice) -> Tensor:
        """Rows at an int array or slice, copied: (m, C, H, W)."""
        return self.X[torch.as_tensor(self.index[index], device=self.X.device)]

    def subset(self, index: np.ndarray) -> Chosen:
        """Some of these rows."""
        return Chosen(self.X, self.index[index])


@dataclass
class State:
    """Numbers that targets use at every step.

    Attributes
    ----------
    class_counts : float64 Tensor of shape (C,)
    class_weight : Tensor of shape (C,) or None
        Multiplies the entries of every target.
    weighted : bool
        Whether labels carry sample or class weights, so that their rows need not sum to 1.
    """

    class_counts: Tensor
    class_weight: Tensor | None = None
    weighted: bool = field(default=False)
