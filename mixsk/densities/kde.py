"""KDE: a Gaussian kernel on every training row of a class.

Source: Sohn et al., "GenLabel: Mixup Relabeling using Generative Models" (ICML 2022), section 1.2: the
mean of N(x_i, h^2 S_c) over the rows of class c, S_c their sample covariance, divided by n_c - 1. h is
Scott's n_c^(-1/(d + 4)), as in `scipy.stats.gaussian_kde`.

NOTE[DIFF]: a class with no more rows than columns has a singular S_c. The authors add 1e-8 to it; by
default we take the covariance pooled over the classes there, as `GM` does, and 1e-4.
NOTE[DIFF]: sample weights are ours. They are importance, as SciPy has them: n_c becomes the effective
number of rows, (sum w)^2 / sum w^2, in Scott's rule and in the divisor of S_c. So their scale does not
matter, and a row of weight 2 is not quite two rows: two rows are more evidence, and get narrower kernels.
"""

from __future__ import annotations

import math
import warnings
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor

from mixsk.densities._blocks import Kept, keep_rows, name_classes, query_blocks, tiles
from mixsk.densities._moments import FLOOR, Array, column_scale, ledoit_wolf, moments, residuals, whiten
from mixsk.densities.base import Density
from mixsk.densities.gaussian import MAX_BYTES


class KDE(Density):
    """Gaussian kernel class-conditional densities.

    Each class is a mixture of as many Gaussians as it has rows, with one covariance
    `h^2 (S_c + reg_covar I)` for all of them.

    Parameters
    ----------
    bandwidth : "scott", float > 0 or array-like of shape (C,), default="scott"
        The factor h: "scott" is n_c^(-1/(d + 4)) for each class; a number is for all classes.
    covariance : {"auto", "class", "pooled", "ledoit-wolf", "diag"}, default="auto"
        S_c.

        - "class": each class its own, divided by n_c - 1.
        - "pooled": one for all, the covariance within the classes.
        - "auto": "class", but "pooled" for a class with n_c <= d rows, with a warning. If all rows together
          are too few for that, too, the pooled one is shrunk as by "ledoit-wolf".
        - "ledoit-wolf": each class its own, shrunk towards a multiple of the identity.
        - "diag": each class its own variances, no covariances.

        A single row has no covariance of its own: if not "pooled", its kernel is a sphere with the mean of
        the pooled variances, with a warning.
    reg_covar : float >= 0, default=1e-4
        Added to every variance. At 0, too, the kernels stay proper: with the columns scaled to variance 1,
        no direction of S_c has less than 1e-12.
    categorical : {"frequencies", "ignore", "onehot"}, default="frequencies"
        What `TableDensity` does with category columns; not used on its own.
    max_density_rows : int >= 1, default=20000
        Of more rows so many are kept, with a warning: a random share, the same of each class, but at least
        one row of each. All that is fitted is that of a fit to the rows kept.
    random_state : int, RandomState or None, default=0
        Chooses the rows kept; None takes others each time. The global generator is never touched.

    Attributes
    ----------
    rows_ : ndarray of shape (n_kept, d)
        Rows that have a kernel, sorted by class.
    weights_ : ndarray of shape (n_kept,)
        Weights of the kernels; they sum to 1 in each class.
    row_counts_ : ndarray of shape (C,)
        Rows kept of each class.
    bandwidths_ : ndarray of shape (C,)
        h; 0 for an absent class.
    covariances_ : ndarray of shape (C, d, d), or (C, d) with "diag"
        Of the kernels, h^2 and reg_covar included; 0 for an absent class.
    n_classes_, n_features_in_ : int
        C and d.

    Examples
    --------
    >>> kde = KDE(bandwidth=0.5, reg_covar=0).fit([[0.0], [2.0], [5.0], [8.0]], [0, 0, 1, 1])
    >>> kde.covariances_.ravel()  # variances 2 and 4.5, times 0.5^2
    array([0.5  , 1.125])
    >>> kde.log_prob(torch.tensor([[1.0]])).exp()  # e^-1 / sqrt(pi); two kernels at 4 and 7
    tensor([[0.2076, 0.0002]], dtype=torch.float64)
    """

    _parameter_constraints = {
        "bandwidth": [StrOptions({"scott"}), Interval(Real, 0, None, closed="neither"), "array-like"],
        "covariance": [StrOptions({"auto", "class", "pooled", "ledoit-wolf", "diag"})],
        "reg_covar": [Interval(Real, 0, None, closed="left")],
        "categorical": [StrOptions({"frequencies", "ignore", "onehot"})],
        "max_density_rows": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        bandwidth: str | float | ArrayLike = "scott",
        covariance: str = "auto",
        reg_covar: float = 1e-4,
        categorical: str = "frequencies",
        max_density_rows: int = 20_000,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.bandwidth = bandwidth
        self.covariance = covariance
        self.reg_covar = reg_covar
        self.categorical = categorical
        self.max_density_rows = max_density_rows
        self.random_state = random_state

    def _fit(self, Z: NDArray[Any], y: NDArray[np.intp], sample_weight: Array, n_classes: int) -> None:
        d = Z.shape[1]
        self._check_size(n_classes, d)
        chosen = self._chosen_bandwidths(n_classes)
        kept = keep_rows(self, Z, y, sample_weight, n_classes)
        present = ((c, run) for c, run in enumerate(kept.runs) if run.start < run.stop)
        groups = [_Group(c, run, kept, self.covariance == "diag") for c, run in present]
        self.rows_, self.weights_ = kept.rows, np.concatenate([g.share for g in groups])
        self.row_counts_ = np.array([run.stop - run.start for run in kept.runs])
        self.bandwidths_ = np.zeros(n_classes)
        for g in groups:
            scott = float((g.share @ g.share) ** (1 / (d + 4)))
            self.bandwidths_[g.code] = scott if chosen is None else chosen[g.code]
        self._set_scale(groups, d)
        self._set_covariances(groups, d)

    def _check_size(self, n_classes: int, d: int) -> None:
        size = 8 * n_classes * d * d
        if self.covariance != "diag" and size > MAX_BYTES:
            raise ValueError(
                f"KDE(covariance={self.covariance!r}) would keep {n_classes} covariances of {d} x {d} "
                f"columns, {size / 2**30:.3g} GiB, above the limit of {MAX_BYTES / 2**30:g} GiB. Use "
                "covariance='diag', or fewer columns (for example by PCA before the classifier)."
            )

    def _chosen_bandwidths(self, n_classes: int) -> Array | None:
        """One factor per class, None for Scott's."""
        if isinstance(self.bandwidth, str):
            return None
        chosen = np.asarray(self.bandwidth, dtype=np.float64)
        if chosen.ndim and chosen.shape != (n_classes,):
            raise ValueError(
                f"bandwidth must be 'scott', one number, or one for each of the {n_classes} classes. "
                f"Got an array of shape {chosen.shape}."
            )
        if not (np.isfinite(chosen) & (chosen > 0)).all():
            raise ValueError(f"Bandwidths must be finite and > 0. Got {self.bandwidth!r}.")
        return np.broadcast_to(chosen, n_classes)

    def _set_scale(self, groups: list[_Group], d: int) -> None:
        """Centre and scale of the columns, from the classes' moments by the law of total variance."""
        self._means = np.zeros((len(self.bandwidths_), d))
        for g in groups:
            self._means[g.code] = g.mean
        self._centre = sum((g.mass * g.mean for g in groups), np.zeros(d))
        total = np.zeros(d)
        for g in groups:
            variance = g.covariance if g.covariance.ndim == 1 else np.diagonal(g.covariance)
            total += g.mass * (variance + np.square(g.mean - self._centre))
        self._scale = column_scale(self._centre, total, self.reg_covar)

    def _set_covariances(self, groups: list[_Group], d: int) -> None:
        diagonal = self.covariance == "diag"
        for g in groups:
            few_rows = self.covariance == "auto" and g.n_rows <= d and not g.single
            g.pooled = self.covariance == "pooled" or few_rows
        few = [g for g in groups if g.pooled or g.single] if self.covariance != "pooled" and d else []
        shrunk = self.covariance == "auto" and bool(few) and len(self.rows_) - len(groups) < d
        pooled = self._pooled_covariance(groups, shrunk)
        unit = np.ones(d) if diagonal else np.eye(d)
        self.covariances_ = np.zeros((len(self.row_counts_), *unit.shape))
        for g in groups:
            if g.pooled:
                covariance = pooled
            elif g.single:
                covariance = (pooled if diagonal else np.diagonal(pooled)).sum() / max(d, 1) * unit
            elif self.covariance == "ledoit-wolf":
                parts = residuals(self.rows_, g.rows, g.share, g.mean)
                covariance = ledoit_wolf(g.covariance, parts) / g.spread
            else:
                covariance = g.covariance / g.spread
            h = self.bandwidths_[g.code]
            self.covariances_[g.code] = h**2 * (covariance + self.reg_covar * unit)
        if few:
            self._warn(few, shrunk, d)

    def _pooled_covariance(self, groups: list[_Group], shrunk: bool) -> Array:
        """Covariance within the classes, divided by the number of rows less that of classes."""
        pooled = sum((g.mass * g.covariance for g in groups), np.zeros_like(groups[0].covariance))
        spread = sum(g.mass * g.spread for g in groups if not g.single)
        if not spread:
            return np.zeros_like(pooled)
        if shrunk:
            parts = (r for g in groups for r in residuals(self.rows_, g.rows, g.mass * g.share, g.mean))
            pooled = ledoit_wolf(pooled, parts)
        divided: Array = pooled / spread
        return divided

    def _warn(self, few: list[_Group], shrunk: bool, d: int) -> None:
        named = name_classes(np.array([g.code for g in few]), self.row_counts_)
        because = f", shrunk (Ledoit-Wolf) as even all {len(self.rows_)} rows are too few," if shrunk else ""
        warnings.warn(
            f"KDE(covariance={self.covariance!r}): too few rows for a covariance of their own over {d} "
            f"columns in {named}. The covariance pooled over the classes{because} is used instead, for a "
            "single row the mean of its variances in all directions. Choose covariance='pooled' for all "
            "classes to say so yourself.",
            UserWarning,
            stacklevel=5,  # the caller of fit
        )

    def _make_tensors(self, device: torch.device) -> _Kernels:
        def tensor(array: NDArray[Any]) -> Tensor:
            return torch.tensor(array, device=device)

        classes: list[_Class | None] = []
        d = self.rows_.shape[1]
        stop = 0
        for c, n_rows in enumerate(self.row_counts_.tolist()):
            start, stop = stop, stop + n_rows
            if not n_rows:
                classes.append(None)
                continue
            h, mean = self.bandwidths_[c], self._means[c]
            # the floor under the variances is for S_c: a small h may make them smaller
            factor, log_det = whiten(self.covariances_[c] / h**2, self._scale)
            factor = factor / h
            own = []
            for tile in tiles(n_rows):
                rows = self.rows_[start:stop][tile].astype(np.float64) - mean
                white = rows * factor if factor.ndim == 1 else rows @ factor.T
                with np.errstate(divide="ignore"):  # a weight may underflow: that kernel is not there
                    log_weight = np.log(self.weights_[start:stop][tile])
                height = LOG2_E * (log_weight - 0.5 * np.square(white).sum(1))
                own.append((tensor(height), tensor(np.ascontiguousarray(LOG2_E * white.T))))
            shift = self._centre - mean
            bias = shift * factor if factor.ndim == 1 else factor @ shift
            constant = log_det - d * math.log(h) - d / 2 * math.log(2 * math.pi)
            classes.append(_Class(tensor(factor), tensor(bias), own, constant))
        return _Kernels(tensor(self._centre), classes)

    def _log_prob(self, z: Tensor) -> Tensor:
        centre, classes = self._tensors(z.device)
        # takes float32 to float64 on the way
        shifted = (z - centre).reshape(z.shape[:-1].numel(), z.shape[-1])
        columns = [
            shifted.new_full((len(shifted),), -torch.inf) if kernels is None else log_sum(shifted, kernels)
            for kernels in classes
        ]
        return torch.stack(columns, -1).reshape(*z.shape[:-1], len(columns))


# Powers of 2, not of e: torch's exp2 takes half the time of its exp in float64, and exp is half of all.
LOG2_E = 1 / math.log(2)


class _Class(NamedTuple):
    """One class' kernels, whitened, about the class' mean."""

    factor: Tensor  # (d, d), or (d,) for a diagonal one: A / h, A S_c A' = I
    bias: Tensor  # (d,)
    tiles: list[tuple[Tensor, Tensor]]  # (log weight - |v|^2 / 2, v') of whitened rows v, in bits
    constant: float  # log normaliser


class _Kernels(NamedTuple):
    centre: Tensor  # (d,)
    classes: list[_Class | None]


def log_sum(shifted: Tensor, kernels: _Class) -> Tensor:
    """Log density (n,) under one class of rows (n, d) that are relative to the centre.

    -|u - v|^2 / 2 = u v - |v|^2 / 2 - |u|^2 / 2, and the last term leaves the sum over the kernels: one
    product, and nothing to lose where the row is far from all of them.
    """
    factor, bias, own, constant = kernels
    logs = []
    for rows in query_blocks(shifted, own[0][1].shape[1]):
        u = torch.addcmul(bias, rows, factor) if factor.ndim == 1 else F.linear(rows, factor, bias)
        total = None
        for height, v in own:
            exponent = torch.addmm(height, u, v)
            largest = exponent.detach().amax(1, keepdim=True)
            part = exponent.sub_(largest).exp2_().sum(1).log2() + largest.squeeze(1)
            total = part if total is None else torch.logaddexp2(total, part)
        assert total is not None  # a class has at least one row
        logs.append(constant + total / LOG2_E - 0.5 * u.square().sum(1))
    return torch.cat(logs)


class _Group:
    """One class while it is fitted."""

    def __init__(self, code: int, run: slice, kept: Kept, diagonal: bool) -> None:
        weight = kept.weight[run]
        self.code = code
        self.rows = np.arange(run.start, run.stop)  # of those kept
        self.n_rows = len(weight)
        self.share = weight / weight.sum()
        self.mass = float(weight.sum() / kept.weight.sum())  # the class' part of all weights
        _, mean, variance = moments(kept.rows, self.rows, self.share[:, None], diagonal)
        self.mean, self.covariance = mean[0], variance[0]  # maximum likelihood
        self.spread = float(self.share @ (1 - self.share))  # (n - 1) / n, n the effective number of rows
        self.single = self.spread <= FLOOR
        self.pooled = False
