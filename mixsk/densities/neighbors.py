"""NN and NNLabel: densities from the distance to the nearest training rows.

Source: Sohn et al., "GenLabel: Mixup Relabeling using Generative Models" (ICML 2022), section 1.2, after
Bishop, "Pattern Recognition and Machine Learning" (2006): p_c(x) = k / (n_c V_c), V_c the ball
around x that reaches the k-th nearest row of class c. Section 6 has k = 1.

NOTE[DIFF]: what the authors' code calls nearest neighbours is the hard label of the nearest row: `NNLabel`.
"""

from __future__ import annotations

import math
import warnings
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor

from mixsk.densities._blocks import Kept, keep_rows, name_classes, query_blocks, tiles
from mixsk.densities._moments import FLOOR, Array, moments
from mixsk.densities.base import Density

# Least radius, in units of the rows' root mean square distance from their mean: on top of a training row,
# too, a density is finite.
LEAST_RADIUS = 1e-12


class _Neighbors(Density):
    """Keeps the training rows and finds the nearest of each class."""

    # `TableDensity` multiplies one-hot columns by it: two categories are then 1 apart, not sqrt(2), just as
    # the two values of a missing indicator are.
    onehot_scale = 0.5**0.5

    def _keep(self, kept: Kept) -> None:
        """Keep rows, their centre and their spread."""
        self.rows_ = kept.rows
        self.row_counts_ = np.array([run.stop - run.start for run in kept.runs])
        share = np.full((len(kept.rows), 1), 1 / len(kept.rows))
        _, mean, variance = moments(kept.rows, np.arange(len(kept.rows)), share, True)
        self._centre, self._variance = mean[0], variance[0]

    def _make_tensors(self, device: torch.device) -> _Rows:
        def tensor(array: NDArray[Any]) -> Tensor:
            return torch.tensor(array, device=device)

        classes, stop = [], 0
        for n_rows in self.row_counts_.tolist():
            start, stop = stop, stop + n_rows
            own = []
            for tile in tiles(n_rows):
                rows = self.rows_[start:stop][tile].astype(np.float64)
                shifted = rows - self._centre
                minus_two = np.ascontiguousarray(-2 * shifted.T)
                own.append(_Tile(tensor(rows), tensor(minus_two), tensor(np.square(shifted).sum(1))))
            classes.append(own)
        return _Rows(tensor(self._centre), classes, tensor(self._constant))


class NN(_Neighbors):
    """Nearest-neighbour class-conditional densities, `k / (n_c V_c)`.

    V_c is the volume of the ball around the row that reaches the k-th nearest row of class c. With the
    class frequencies as prior n_c cancels. For k = 1 and two rows a and b alone, the posterior of
    `lam a + (1 - lam) b` is `lam^d / (lam^d + (1 - lam)^d)`: the linear label at d = 1, nearly hard at 20.

    Parameters
    ----------
    k : int >= 1, default=1
        Neighbours; a class with fewer rows uses all of them, with a warning. They are counted as rows,
        whatever their weights.
    categorical : {"frequencies", "ignore", "onehot"}, default="frequencies"
        What `TableDensity` does with category columns; not used on its own. With "onehot" two different
        categories are 1 apart.
    max_density_rows : int >= 1, default=20000
        Of more rows so many are kept, with a warning: a random share, the same of each class, but at least
        one row of each. All that is fitted is that of a fit to the rows kept.
    random_state : int, RandomState or None, default=0
        Chooses the rows kept; None takes others each time. The global generator is never touched.

    Attributes
    ----------
    rows_ : ndarray of shape (n_kept, d)
        Rows among which neighbours are looked for, sorted by class.
    row_counts_ : ndarray of shape (C,)
        Rows kept of each class.
    k_ : ndarray of shape (C,)
        Neighbours used, min(k, rows of the class).
    n_classes_, n_features_in_ : int
        C and d.

    Notes
    -----
    n_c is the sum of the class' sample weights, which are scaled to mean 1. The radius is at least 1e-12
    times the root mean square distance of the rows from their mean. Without columns (d = 0) the log
    density is 0.

    Examples
    --------
    >>> nn = NN().fit([[0.0, 0.0], [3.0, 0.0]], [0, 1])
    >>> nn.log_prob(torch.tensor([[1.0, 0.0]])).exp()  # 1 / pi, 1 / (4 pi): lam = 2/3 gives 4/5 and 1/5
    tensor([[0.3183, 0.0796]], dtype=torch.float64)
    """

    _parameter_constraints = {
        "k": [Interval(Integral, 1, None, closed="left")],
        "categorical": [StrOptions({"frequencies", "ignore", "onehot"})],
        "max_density_rows": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        k: int = 1,
        categorical: str = "frequencies",
        max_density_rows: int = 20_000,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.k = k
        self.categorical = categorical
        self.max_density_rows = max_density_rows
        self.random_state = random_state

    def _fit(self, Z: NDArray[Any], y: NDArray[np.intp], sample_weight: Array, n_classes: int) -> None:
        kept = keep_rows(self, Z, y, sample_weight, n_classes)
        self._keep(kept)
        weight = kept.weight / kept.weight.mean()
        mass = np.array([weight[run].sum() for run in kept.runs])
        self.k_ = np.minimum(self.k, self.row_counts_)
        few = np.flatnonzero((self.k_ < self.k) & (self.k_ > 0))
        if len(few):
            self._warn(few)
        d = Z.shape[1]
        log_ball = d / 2 * math.log(math.pi) - math.lgamma(d / 2 + 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            constant = np.log(self.k_ / mass) - log_ball if d else np.zeros(n_classes)
        self._constant = np.where(mass > 0, constant, -np.inf)
        spread = math.sqrt(self._variance.sum())
        # if all rows are equal, any length will do: it is the same for all classes
        self._least_radius = LEAST_RADIUS * (spread if spread > FLOOR * np.linalg.norm(self._centre) else 1.0)

    def _warn(self, few: NDArray[np.intp]) -> None:
        named = name_classes(few, self.row_counts_)
        warnings.warn(
            f"NN(k={self.k}): fewer than {self.k} rows in {named}. All the rows of such a class are used, "
            "as if k were their number. Choose a smaller k to have the same one for all classes.",
            UserWarning,
            stacklevel=4,  # the caller of fit
        )

    def _log_prob(self, z: Tensor) -> Tensor:
        rows = self._tensors(z.device)
        d = z.shape[-1]
        if not d:
            return rows.constant.expand(*z.shape[:-1], len(rows.constant))
        square = square_distances(z, rows, self.k).clamp_min(self._least_radius**2)
        return torch.add(rows.constant, square.log(), alpha=-d / 2)


class NNLabel(_Neighbors):
    """The hard label of the nearest training row, as a density: 0 for its class, -inf for all others.

    So the posterior is 1 for that class, whatever the prior. Among classes that are equally near it is the
    one with the lowest code. In `GenLabel` it is the target of the authors' "GenLabel (NN)" with `gamma=1`.

    Parameters
    ----------
    categorical : {"onehot", "ignore"}, default="onehot"
        What category columns do in `TableDensity`: with "onehot" they count in the distance, two different
        categories being 1 apart; not used on its own.
    max_density_rows : int >= 1, default=20000
        Of more rows so many are kept, with a warning: a random share, the same of each class, but at least
        one row of each.
    random_state : int, RandomState or None, default=0
        Chooses the rows kept; None takes others each time. The global generator is never touched.

    Attributes
    ----------
    rows_ : ndarray of shape (n_kept, d)
        Rows among which the nearest is looked for, sorted by class.
    row_counts_ : ndarray of shape (C,)
        Rows kept of each class.
    n_classes_, n_features_in_ : int
        C and d.

    Notes
    -----
    Sample weights do not matter, but for rows of weight 0, which are absent.

    Examples
    --------
    >>> density = NNLabel().fit([[0.0, 0.0], [3.0, 0.0]], [0, 1])
    >>> density.log_prob(torch.tensor([[1.0, 0.0], [2.0, 9.0]]))
    tensor([[0., -inf],
            [-inf, 0.]], dtype=torch.float64)
    """

    _parameter_constraints = {
        "categorical": [StrOptions({"onehot", "ignore"})],
        "max_density_rows": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        categorical: str = "onehot",
        max_density_rows: int = 20_000,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.categorical = categorical
        self.max_density_rows = max_density_rows
        self.random_state = random_state

    def _fit(self, Z: NDArray[Any], y: NDArray[np.intp], sample_weight: Array, n_classes: int) -> None:
        self._keep(keep_rows(self, Z, y, sample_weight, n_classes))
        self._constant = np.full(n_classes, -np.inf)

    def _log_prob(self, z: Tensor) -> Tensor:
        rows = self._tensors(z.device)
        # argmin gives the first of equals
        nearest = square_distances(z, rows, 1).argmin(-1, keepdim=True)
        return rows.constant.expand(*z.shape[:-1], len(rows.constant)).scatter(-1, nearest, 0.0)


class _Tile(NamedTuple):
    """Some rows of one class."""

    rows: Tensor  # (w, d)
    minus_two: Tensor  # (d, w): -2 times the rows about the centre
    norms: Tensor  # (w,): |row|^2 about the centre


class _Rows(NamedTuple):
    centre: Tensor  # (d,)
    classes: list[list[_Tile]]
    constant: Tensor  # (C,): the log density but for the distance


def square_distances(z: Tensor, rows: _Rows, k: int) -> Tensor:
    """Squared distance of z (..., d) to the k-th nearest row of each class, (..., C).

    To the farthest row of a class that has fewer than k; inf for one that has none.
    """
    flat = z.reshape(z.shape[:-1].numel(), z.shape[-1]).to(torch.float64)
    columns = [
        _kth_square_distance(flat, rows.centre, own, k) if own else flat.new_full((len(flat),), torch.inf)
        for own in rows.classes
    ]
    return torch.stack(columns, -1).reshape(*z.shape[:-1], len(columns))


def _kth_square_distance(z: Tensor, centre: Tensor, own: list[_Tile], k: int) -> Tensor:
    w, d = own[0].rows.shape
    blocks = query_blocks(z, max(w, min(k, w) * d))
    return torch.cat([_nearest_of_tiles(block, centre, own, k).amax(1) for block in blocks])


def _nearest_of_tiles(z: Tensor, centre: Tensor, own: list[_Tile], k: int) -> Tensor:
    """Squared distances to the k nearest rows, (n, k); to all if there are fewer."""
    # the products of numbers far from 0 would lose their digits
    shifted = (z - centre).detach()
    nearest = torch.cat([_nearest(z, shifted, tile, min(k, len(tile.rows))) for tile in own], 1)
    if len(own) == 1 or nearest.shape[1] <= k:
        return nearest
    return nearest.topk(k, largest=False, sorted=False).values


def _nearest(z: Tensor, shifted: Tensor, tile: _Tile, k: int) -> Tensor:
    """Squared distances to the k nearest rows of a tile, (n, k), exact also where they are 0."""
    # |z|^2 is the same for all rows, so it is left out
    near = torch.addmm(tile.norms, shifted, tile.minus_two)
    # topk takes at least twice the time of min
    index = near.min(1).indices if k == 1 else near.topk(k, largest=False, sorted=False).indices
    # The product leaves 1e-16 |row|^2 of a distance of 0: a label that hangs on rounding where rows of two
    # classes are equal, or a mixed row is half of each. So it only finds the neighbours.
    neighbors = tile.rows.index_select(0, index.flatten()).reshape(len(z), k, z.shape[1])
    return (neighbors - z.unsqueeze(1)).square().sum(2)
