"""Manifold intrusion: a mixed row that lies nearest to a training row of a third class is dropped.

Source: GenLabel paper, Definition 1 (and "mixup without MI" of its Table 2).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mixsk.rules._shape import partner
from mixsk.rules.target import Taps, Wrapper

BLOCK = 16384  # training rows per product
DISTANCES = 2**21  # distances at once, 8 MB


class DropIntrusions(Wrapper):
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

    def __call__(
        self, y: Tensor, perm: Tensor, share: Tensor, lam: Tensor, taps: Taps, state: Any
    ) -> tuple[Tensor, Tensor]:
        t, w = self.target(y, perm, share, lam, taps, state)
        with torch.no_grad():
            nearest = self.nearest_label(taps[0]).unsqueeze(-1)
            parents = (y > 0) | (partner(y, perm) > 0)
            keep = parents.gather(-1, nearest).squeeze(-1).to(t.dtype)
        return t, keep if w is None else keep * w
