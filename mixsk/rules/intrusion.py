"""Manifold intrusion: a mixed row that lies nearest to a row of a third class is dropped.

Source: GenLabel paper, Definition 1 (and "mixup without MI" of its Table 2).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mixsk.rules._shape import partner
from mixsk.rules.target import Taps, Wrapper, taps_of

BLOCK = 16384  # training rows per product
DISTANCES = 2**21  # distances at once, 8 MB
SLACK = 1e-12  # of squared lengths in float64: what their products may be off by


class _Drop(Wrapper):
    """Weight 0 for the rows that a subclass does not keep."""

    inner_taps: tuple[int, ...] | None = None  # what the target inside may see of the features; None: all

    def kept(self, mixed: Tensor, parents: Tensor) -> Tensor:
        """Whether a row of `parents`' classes, bool (M, B, C), is nearest to each mixed row: bool (M, B)."""
        raise NotImplementedError(f"{type(self).__name__} must implement kept.")

    def __call__(
        self, y: Tensor, perm: Tensor, share: Tensor, lam: Tensor, taps: Taps, state: Any
    ) -> tuple[Tensor, Tensor]:
        inner = taps if self.inner_taps is None else {site: taps[site] for site in self.inner_taps}
        t, w = self.target(y, perm, share, lam, inner, state)
        with torch.no_grad():
            parents = (y > 0) | (partner(y, perm) > 0)
            keep = self.kept(taps[self.own_taps[0]], parents).to(t.dtype)
        return t, keep if w is None else keep * w


class DropIntrusions(_Drop):
    """Weight 0 for the mixed rows whose nearest training row has neither parent's label.

    The whole training fold counts, parents included. Distances are Euclidean over the standardised
    numbers and the one-hot columns / sqrt(2), so that two different categories are 1 apart. With two
    classes only pairs of one class can intrude.

    Parameters
    ----------
    target : callable
        The target whose rows are weighted.
    """

    own_taps = (0,)

    def bind(self, rows: Any) -> None:
        """Keep the training rows, sorted by class, ready for one product a block."""
        super().bind(rows)
        scale = torch.ones(rows.X.shape[1], dtype=rows.X.dtype, device=rows.X.device)
        for start, stop in rows.layout.blocks:
            if stop - start > 1:  # a missing indicator, of width 1, already differs by 1
                scale[start:stop] = 0.5**0.5
        # |r|^2 - 2 x r loses its digits far from the origin: at columns around 1000 a third of the rows
        # would find a wrong neighbour in float32.
        self.centre_ = rows.X.mean(0)
        order = torch.argsort(rows.y, stable=True)
        X = (rows.X[order] - self.centre_) * scale
        counts = torch.bincount(rows.y, minlength=rows.n_classes).tolist()
        self.scale_ = scale
        self.labels_ = torch.unique(rows.y)
        self.blocks_ = []  # (-2 rows^T, |rows|^2, [(class, width), ...]) of at most BLOCK rows
        label = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        for start in range(0, len(X), BLOCK):
            part = X[start : start + BLOCK]
            runs = torch.unique_consecutive(label[start : start + BLOCK], return_counts=True)
            classes, widths = (v.tolist() for v in runs)
            self.blocks_.append((-2 * part.T.contiguous(), (part * part).sum(1), classes, widths))

    def nearest_label(self, x: Tensor) -> Tensor:
        """Label of the nearest training row of each encoded row x (M, B, F), int64 (M, B)."""
        flat = (x.reshape(-1, x.shape[-1]) - self.centre_) * self.scale_
        most = max(128, DISTANCES // len(self.blocks_[0][1]))
        labels = [self._nearest(piece) for piece in flat.split(most)]
        return torch.cat(labels).reshape(x.shape[:-1])

    def _nearest(self, flat: Tensor) -> Tensor:
        best: dict[int, Tensor] = {}
        for minus_two_rows, norms, classes, widths in self.blocks_:
            # |x|^2 is the same for every training row, so it is left out. Only values are reduced:
            # a minimum per class is several times faster than an argmin over all rows.
            distance = torch.addmm(norms, flat, minus_two_rows)
            for label, part in zip(classes, distance.split(widths, 1), strict=True):
                least = part.amin(1)
                best[label] = torch.minimum(best[label], least) if label in best else least
        least_of_class = torch.stack([best[label] for label in sorted(best)], 1)
        return self.labels_[least_of_class.argmin(1)]

    def kept(self, mixed: Tensor, parents: Tensor) -> Tensor:
        """Whether the nearest training row has a parent's label."""
        return parents.gather(-1, self.nearest_label(mixed).unsqueeze(-1)).squeeze(-1)


class DropFeatureIntrusions(_Drop):
    """Weight 0 for the mixed rows that the network puts nearest to a row of neither parent's label.

    Distances are Euclidean between features, those that the network's head sees; a mixed row's are taken
    wherever it was mixed. A parent's label wins where rows of it and of another are equally near. Without
    hidden stages the features are the encoded rows.

    NOTE[DIFF]: Definition 1 looks among all training rows. Their features change with every step, so that we
    look among the clean rows of the step's own batch, parents included: small batches miss intrusions.

    Parameters
    ----------
    target : callable
        The target whose rows are weighted.
    n_stages : int
        Hidden stages of the network; the last one's output is compared.
    """

    tap = "last"

    def __init__(self, target: Any, n_stages: int) -> None:
        super().__init__(target)
        self.own_taps, self.inner_taps = (n_stages,), taps_of(target, n_stages)
        self.ahead = False  # batches that are prepared together must not see each other

    def update(self, features: Tensor, y: Tensor, real: Tensor | None) -> None:
        """Take the batch among whose rows the nearest is looked for.

        Parameters
        ----------
        features : Tensor of shape (M, B, ...)
            Of clean rows.
        y : Tensor of shape (M, B, C)
            One-hot labels times weights.
        real : Tensor of shape (M, B) or None
            0 for a padding row, which is nobody's neighbour.
        """
        # In float64, which autocast leaves alone: distances are small differences of squares.
        rows = features.flatten(2).double()
        self.centre_ = rows.mean(1, keepdim=True)
        rows = rows - self.centre_
        norms = rows.square().sum(-1)
        far = norms if real is None else norms.masked_fill(real == 0, torch.inf)
        self.rows_, self.norms_, self.far_, self.y_ = rows, norms, far, y

    def kept(self, mixed: Tensor, parents: Tensor) -> Tensor:
        """Whether no row of another label is nearer than the nearest with a parent's label."""
        x = mixed.flatten(2).double() - self.centre_
        most = max(1, DISTANCES // self.norms_.numel())
        pieces = zip(x.split(most, 1), parents.split(most, 1), strict=True)
        return torch.cat([self._kept(*piece) for piece in pieces], 1)

    def _kept(self, x: Tensor, parents: Tensor) -> Tensor:
        # |x|^2 is the same for all, so it is left out.
        distance = torch.baddbmm(self.far_.unsqueeze(1), x, self.rows_.transpose(1, 2), alpha=-2)
        own = parents.to(self.y_.dtype) @ self.y_.transpose(1, 2) > 0  # (M, mixed rows, clean rows)
        nearest_own = distance.masked_fill(~own, torch.inf).amin(-1)
        nearest_other = distance.masked_fill(own, torch.inf).amin(-1)
        # Rows that are equal, as those of dead units are, may differ by rounding.
        slack = SLACK * (x.square().sum(-1) + self.norms_.amax(-1, keepdim=True))
        return nearest_own <= nearest_other + slack
