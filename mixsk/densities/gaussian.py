"""GM: one Gaussian, or a mixture of a few, per class.

Source: Sohn et al., "GenLabel: Mixup Relabeling using Generative Models" (ICML 2022), Algorithm 1 with
the Gaussian mixture of section 4; EM as in Bishop, "Pattern Recognition and Machine Learning", section
9.2.2, with scikit-learn's start, regularisation and stopping rule (`GaussianMixture`).

NOTE[DIFF]: a class with no more rows than columns has a singular covariance of its own. The authors add
1e-4 to it, which makes every direction that its rows do not span extremely unlikely; by default we take
the covariance pooled over the classes there (`covariance="class"` is theirs). Sample weights are ours.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator
from functools import cached_property
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor

from mixsk.densities._moments import (
    MASS_FLOOR,
    Array,
    Moments,
    column_scale,
    ledoit_wolf,
    merge,
    moments,
    residuals,
    whiten,
)
from mixsk.densities._rows import chunks, rows_by_class
from mixsk.densities.base import Density

# scikit-learn's tol (gain of the mean log-likelihood in nats) and twice its max_iter.
TOL = 1e-3
MAX_ITER = 200

# Of the covariances: with their whitening, moments and tensors a fit takes about four times as much.
MAX_BYTES = 2**30


WIDTH = 64  # columns from which whitening in blocks pays
CACHED = 2**17  # whitened numbers at once: a megabyte stays in the cache


class GM(Density):
    """Gaussian class-conditional densities, by maximum likelihood.

    Parameters
    ----------
    n_components : int >= 1, default=1
        Gaussians per class. More than one are fitted by EM from one k-means start; a class with fewer
        distinct rows than components uses fewer.
    covariance : {"auto", "class", "pooled", "ledoit-wolf", "diag"}, default="auto"
        - "class": each component its own, divided by n_c.
        - "pooled": one for all, the covariance within the classes (within the components).
        - "auto": "class", but "pooled" for a class with n_c <= n_components * d rows, with a warning. If
          all rows together are too few for that, too, the pooled one is shrunk as by "ledoit-wolf".
        - "ledoit-wolf": each component its own, shrunk towards a multiple of the identity. Weights are
          importance here, not repeats: twice the weight everywhere is no more evidence.
        - "diag": each component its own variances, no covariances.
    reg_covar : float >= 0, default=1e-4
        Added to every variance. At 0, too, the Gaussians stay proper: with the columns scaled to variance
        1, no direction has less than 1e-12.
    categorical : {"frequencies", "ignore", "onehot"}, default="frequencies"
        What `TableDensity` does with category columns; not used on its own.
    random_state : int, RandomState or None, default=0
        Of the k-means start; None takes a new seed each time. The global generator is never touched.

    Attributes
    ----------
    weights_ : ndarray of shape (C, n_components)
        Shares within the class; 0 for a component that is not used, and for all of an absent class.
    means_ : ndarray of shape (C, n_components, d)
        0 where unused.
    covariances_ : ndarray of shape (C, n_components, d, d), or (C, n_components, d) with "diag"
        reg_covar included; 0 where unused.
    n_classes_, n_features_in_ : int
        C and d.
    n_iter_ : int
        EM steps after the start; 0 with one component.
    converged_ : bool
        Whether the last EM step gained less than 1e-3 nats per row; if not, EM stopped after 200.

    Examples
    --------
    >>> Z = np.array([[0.0], [2.0], [5.0], [5.0], [8.0]])
    >>> gm = GM(reg_covar=0).fit(Z, [0, 0, 1, 1, 1])
    >>> gm.means_.ravel(), gm.covariances_.ravel()
    (array([1., 6.]), array([1., 2.]))
    >>> gm.log_prob(torch.tensor([[1.0]])).exp()  # 1 / sqrt(2 pi), e^(-25/4) / sqrt(4 pi)
    tensor([[0.3989, 0.0005]], dtype=torch.float64)
    """

    _parameter_constraints = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "covariance": [StrOptions({"auto", "class", "pooled", "ledoit-wolf", "diag"})],
        "reg_covar": [Interval(Real, 0, None, closed="left")],
        "categorical": [StrOptions({"frequencies", "ignore", "onehot"})],
        "random_state": ["random_state"],
    }
    _derived = Density._derived | {"_whitening"}

    def __init__(
        self,
        n_components: int = 1,
        covariance: str = "auto",
        reg_covar: float = 1e-4,
        categorical: str = "frequencies",
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.n_components = n_components
        self.covariance = covariance
        self.reg_covar = reg_covar
        self.categorical = categorical
        self.random_state = random_state

    def _fit(self, Z: NDArray[Any], y: NDArray[np.intp], sample_weight: Array, n_classes: int) -> None:
        self._check_size(n_classes, Z.shape[1])
        seed = self.random_state
        if seed is None:
            seed = np.random.SeedSequence().generate_state(1)[0]
        rng = check_random_state(seed)
        groups = [
            _Group.start(c, Z, rows, sample_weight, self.n_components, rng)
            for c, rows in enumerate(rows_by_class(y, n_classes))
            if len(rows)
        ]
        self.n_iter_, self.converged_ = 0, True
        if self.n_components == 1:
            self._moments = self._class_moments(Z, groups, sample_weight.sum())
        self._choose_covariances(groups, Z.shape[1])
        self._maximise(Z, groups, n_classes)
        if self.n_components == 1:
            return
        previous, self.converged_ = -math.inf, False
        while not self.converged_ and self.n_iter_ < MAX_ITER:
            likelihood = self._expect(Z, groups)
            self._maximise(Z, groups, n_classes)
            self.n_iter_ += 1
            self.converged_ = abs(likelihood - previous) < TOL
            previous = likelihood

    def _extend(self, Z: NDArray[Any], y: NDArray[np.intp], sample_weight: Array) -> None:
        if self.n_components > 1 or self.covariance == "ledoit-wolf":
            raise ValueError(
                f"GM(n_components={self.n_components}, covariance={self.covariance!r}) needs all rows at "
                "once. Only one component with covariance 'auto', 'class', 'pooled' or 'diag' can go on "
                "with more."
            )
        n_classes = len(self.weights_)
        by_class = enumerate(rows_by_class(y, n_classes))
        groups = [_Group.start(c, Z, rows, sample_weight, 1, None) for c, rows in by_class if len(rows)]
        for code, more in self._class_moments(Z, groups, sample_weight.sum()).items():
            self._moments[code] = merge(self._moments[code], more) if code in self._moments else more
        total = sum(m.weight for m in self._moments.values())
        known = [_Group.known(code, m, total) for code, m in sorted(self._moments.items())]
        self._choose_covariances(known, Z.shape[1])
        self._maximise(Z, known, n_classes)

    def _check_size(self, n_classes: int, d: int) -> None:
        n = n_classes * self.n_components
        size = 8 * n * d * d
        if self.covariance != "diag" and size > MAX_BYTES:
            raise ValueError(
                f"GM(covariance={self.covariance!r}) would keep {n} covariances of {d} x {d} columns, "
                f"{size / 2**30:.3g} GiB, above the limit of {MAX_BYTES / 2**30:g} GiB. Use "
                "covariance='diag', fewer columns (for example by PCA before the classifier), or a density "
                "of your own that looks at fewer of them."
            )

    def _class_moments(self, Z: NDArray[Any], groups: list[_Group], total: float) -> dict[int, Moments]:
        """Moments of each class' rows, which its group keeps, too."""
        for g in groups:
            _, mean, covariance = moments(Z, g.rows, g.share, self.covariance == "diag")
            g.moments = Moments(len(g.rows), g.mass * total, mean[0], covariance[0])
        return {g.code: g.moments for g in groups if g.moments is not None}

    def _choose_covariances(self, groups: list[_Group], d: int) -> None:
        """Decide, once per fit, which classes are pooled and whether the pooled covariance is shrunk."""
        for g in groups:
            few_rows = self.covariance == "auto" and g.n_rows <= g.k * d
            g.pooled = self.covariance == "pooled" or few_rows
        few = [g for g in groups if g.pooled]
        self._shrink_pooled = False
        if self.covariance != "auto" or not few:
            return
        n = sum(g.n_rows for g in groups)
        # shrinking needs the rows themselves, which `partial_fit` no longer has
        self._shrink_pooled = n - sum(g.k for g in groups) < d and all(len(g.rows) for g in groups)
        named = ", ".join(f"class {g.code} ({g.n_rows} rows)" for g in few[:10])
        named += ", ..." if len(few) > 10 else ""
        because = f", shrunk (Ledoit-Wolf) as even all {n} rows are too few," if self._shrink_pooled else ""
        warnings.warn(
            f"GM(covariance='auto'): too few rows for a covariance of their own over {d} columns in {named}. "
            f"The covariance pooled over the classes{because} is used instead. "
            "Choose covariance='pooled', 'ledoit-wolf' or 'diag' for all classes, or 'class' for none, "
            "to say so yourself.",
            UserWarning,
            stacklevel=4,  # the caller of fit
        )

    def _maximise(self, Z: NDArray[Any], groups: list[_Group], n_classes: int) -> None:
        """M-step: parameters from the shares."""
        d, k, diagonal = Z.shape[1], self.n_components, self.covariance == "diag"
        self.weights_ = np.zeros((n_classes, k))
        self.means_ = np.zeros((n_classes, k, d))
        self.covariances_ = np.zeros((n_classes, k, d) if diagonal else (n_classes, k, d, d))
        for g in groups:
            if g.moments is None:
                mass, mean, covariance = moments(Z, g.rows, g.share, diagonal)
            else:
                mass, mean, covariance = np.ones(1), g.moments.mean, g.moments.covariance
            self.weights_[g.code, : g.k] = mass / mass.sum()
            self.means_[g.code, : g.k] = mean
            self.covariances_[g.code, : g.k] = covariance
        self._set_scale(groups)
        if any(g.pooled for g in groups):
            pooled = self._pooled_covariance(Z, groups)
            for g in groups:
                if g.pooled:
                    self.covariances_[g.code, : g.k] = pooled
        if self.covariance == "ledoit-wolf":
            for g in groups:
                for j in range(g.k):
                    share = g.share[:, j] / (g.share[:, j].sum() + MASS_FLOOR)
                    self.covariances_[g.code, j] = ledoit_wolf(
                        self.covariances_[g.code, j], residuals(Z, g.rows, share, self.means_[g.code, j])
                    )
        used = self.weights_ > 0
        self.covariances_[used] += self.reg_covar * (np.ones(d) if diagonal else np.eye(d))
        self.__dict__.pop("_whitening", None)

    @cached_property
    def _whitening(self) -> tuple[Array, Array]:
        """Whitening matrix and its log determinant of each component."""
        factors, log_dets = np.zeros_like(self.covariances_), np.zeros_like(self.weights_)
        for at in zip(*np.nonzero(self.weights_), strict=True):
            factors[at], log_dets[at] = whiten(self.covariances_[at], self._scale)
        return factors, log_dets

    def _pooled_covariance(self, Z: NDArray[Any], groups: list[_Group]) -> Array:
        d = Z.shape[1]
        pooled = np.zeros((d, d))
        for g in groups:
            pooled += g.mass * np.einsum("k,kde->de", self.weights_[g.code], self.covariances_[g.code])
        if not self._shrink_pooled:
            return pooled

        def parts() -> Iterator[tuple[Array, Array]]:
            for g in groups:
                for j in range(g.k):
                    yield from residuals(Z, g.rows, g.mass * g.share[:, j], self.means_[g.code, j])

        return ledoit_wolf(pooled, parts())

    def _set_scale(self, groups: list[_Group]) -> None:
        """Centre and scale of the columns, from the moments of all rows by the law of total variance."""
        part = np.zeros_like(self.weights_)
        for g in groups:
            part[g.code] = g.mass * self.weights_[g.code]
        self._centre = np.einsum("ck,ckd->d", part, self.means_)
        variances = self.covariances_
        if variances.ndim == 4:
            variances = np.einsum("ckdd->ckd", variances)
        total = np.einsum("ck,ckd->d", part, variances + np.square(self.means_ - self._centre))
        self._scale = column_scale(self._centre, total, self.reg_covar)

    def _expect(self, Z: NDArray[Any], groups: list[_Group]) -> float:
        """E-step: shares from the parameters; returns the weighted mean log-likelihood."""
        total = 0.0
        for g in groups:
            gaussians = self._gaussians(slice(g.code, g.code + 1), torch.device("cpu"))
            for part in chunks(len(g.rows)):
                joint = log_joint(torch.tensor(Z[g.rows[part]], device="cpu"), gaussians)[:, : g.k]
                log_prob = torch.logsumexp(joint, -1, keepdim=True)
                g.share[part] = g.weight[part, None] * (joint - log_prob).exp().numpy()
                total += g.mass * float(g.weight[part] @ log_prob.numpy()[:, 0])
        return total

    def _gaussians(self, classes: slice, device: torch.device) -> Gaussians:
        """Tensors that evaluate the components of some classes."""
        weights, means = self.weights_[classes], self.means_[classes]
        factors, log_dets = (values[classes] for values in self._whitening)
        c, k, d = means.shape
        present = weights.sum(1, keepdims=True) > 0
        with np.errstate(divide="ignore"):
            # an absent class is -inf by `absent`, not here: logsumexp of nothing but -inf has a NaN gradient
            log_weight = np.where(present, np.log(weights), 0.0)
        shift = self._centre - means
        if factors.ndim == 3:
            blocks = [(0, factors.reshape(c * k, d), (shift * factors).reshape(c * k, d))]
        else:
            blocks = list(_blocks(factors, np.einsum("ckde,cke->ckd", factors, shift)))
        constant = (log_weight + log_dets - d / 2 * math.log(2 * math.pi)).reshape(c * k)
        absent = np.where(present[:, 0], 0.0, -np.inf)
        if k == 1:
            constant, absent = constant + absent, np.zeros(c)

        def tensor(array: Array) -> Tensor:
            return torch.tensor(array, device=device)

        on_device = [(start, tensor(factor), tensor(bias)) for start, factor, bias in blocks]
        return Gaussians(tensor(self._centre), on_device, tensor(constant), tensor(absent))

    def _make_tensors(self, device: torch.device) -> Gaussians:
        return self._gaussians(slice(None), device)

    def _log_prob(self, z: Tensor) -> Tensor:
        gaussians = self._tensors(z.device)
        joint = log_joint(z, gaussians)
        c, k = self.weights_.shape
        if k == 1:
            return joint
        return torch.logsumexp(joint.reshape(*z.shape[:-1], c, k), -1) + gaussians.absent


class Gaussians(NamedTuple):
    """K Gaussians ready to evaluate: whitened about a common centre, which keeps large offsets exact."""

    centre: Tensor  # (d,)
    # (first column s, factor (K * r, d - s), bias (K * r,)) of r rows each; (0, (K, d), (K, d)) if diagonal
    blocks: list[tuple[int, Tensor, Tensor]]
    constant: Tensor  # (K,): log weight + log normaliser
    absent: Tensor  # (C,): -inf for a class without rows, else 0


def log_joint(z: Tensor, gaussians: Gaussians) -> Tensor:
    """Log weight plus log density, (..., K), of rows (..., d): all components in one product."""
    d, k = z.shape[-1], len(gaussians.constant)
    rows = z.reshape(z.shape[:-1].numel(), d)
    pieces = rows.split(max(128, CACHED // max(1, d * k)))
    joint = [_log_joint(piece, gaussians) for piece in pieces] or [rows.new_zeros(0, k, dtype=torch.float64)]
    return (joint[0] if len(joint) == 1 else torch.cat(joint)).reshape(*z.shape[:-1], k)


def _log_joint(rows: Tensor, gaussians: Gaussians) -> Tensor:
    k = len(gaussians.constant)
    shifted = rows - gaussians.centre  # takes float32 to float64 on the way
    square: Any = 0.0
    for start, factor, bias in gaussians.blocks:
        if bias.ndim == 2:
            white = torch.addcmul(bias, shifted.unsqueeze(-2), factor)
        else:
            white = F.linear(shifted[:, start:], factor, bias).unflatten(-1, (k, len(bias) // k))
        square = square + white.square().sum(-1)
    return torch.add(gaussians.constant, square, alpha=-0.5)


def _blocks(factors: Array, bias: Array) -> Iterator[tuple[int, Array, Array]]:
    """Rows of the whitening matrices (C, k, d, d) of all components, as (first column, rows, bias).

    A whitening matrix may be turned at will. Turned triangular, its lower rows need fewer columns: wide ones
    are evaluated in blocks, at a half to two thirds of the time.
    """
    c, k, d, _ = factors.shape
    n_blocks = -(-d // WIDTH) if d > WIDTH else 1
    if n_blocks > 1:
        turn, factors = np.linalg.qr(factors)
        bias = np.einsum("ckde,ckd->cke", turn, bias)
    edges = np.linspace(0, d, n_blocks + 1).astype(int)
    for start, stop in itertools.pairwise(edges.tolist()):
        rows = factors[:, :, start:stop, start:]
        yield start, rows.reshape(c * k * (stop - start), d - start), bias[:, :, start:stop].reshape(-1)


class _Group:
    """One class while it is fitted."""

    def __init__(self, code: int, rows: NDArray[np.intp], weight: Array, mass: float, share: Array) -> None:
        self.code = code
        self.rows = rows
        self.weight = weight  # (n_c,), sums to 1
        self.mass = mass  # the class' part of all weights
        self.share = share  # (n_c, k): weight times responsibility
        self.k = share.shape[1]
        self.n_rows = len(rows)
        self.moments: Moments | None = None  # of all rows so far, for a single component
        self.pooled = False

    @classmethod
    def known(cls, code: int, moments: Moments, total: float) -> _Group:
        """A class of which only the moments are left."""
        none = np.zeros(0)
        group = cls(code, none.astype(np.intp), none, moments.weight / total, none[:, None])
        group.n_rows, group.moments = moments.n_rows, moments
        return group

    @classmethod
    def start(
        cls,
        code: int,
        Z: NDArray[Any],
        rows: NDArray[np.intp],
        sample_weight: Array,
        n_components: int,
        rng: np.random.RandomState | None,
    ) -> _Group:
        weight = sample_weight[rows]
        mass = weight.sum()
        weight = weight / mass
        k = min(n_components, len(rows))
        if k == 1 or Z.shape[1] == 0:
            share = weight[:, None].copy()
        else:
            clusters = _clusters(Z[rows], weight, k, rng)
            share = weight[:, None] * (clusters[:, None] == np.arange(clusters.max() + 1))
        return cls(code, rows, weight, float(mass / sample_weight.sum()), share)


def _clusters(Z: NDArray[Any], weight: Array, k: int, rng: np.random.RandomState | None) -> NDArray[np.intp]:
    """Cluster 0..k'-1 of each row, k' <= k: duplicated rows can leave k-means with fewer clusters."""
    from sklearn.cluster import KMeans  # 0.3 s at import, for mixtures only

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # says just that
        labels = KMeans(k, n_init=1, random_state=rng).fit(Z.astype(np.float64), sample_weight=weight).labels_
    clusters: NDArray[np.intp] = np.unique(labels, return_inverse=True)[1]
    return clusters
