"""Density: the base class of log densities that are evaluated on tensors, and the checks of its input."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Self, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_array
from sklearn.utils.validation import assert_all_finite
from torch import Tensor

from mixsk.densities._rows import as_array, chunks


class Density(BaseEstimator):
    """Base class of densities that are evaluated on tensors, in float64.

    A subclass implements `_fit(Z, y, sample_weight, n_classes)`, whose arguments are checked, and
    `_log_prob(z)` from a tensor (..., d) to a float64 tensor (..., C) on the same device. It keeps
    what it learns in numpy arrays and gives `_log_prob` its tensors through `_tensors(device)`, made
    once per device by `_make_tensors`. What can be derived again, named in `_derived`, is left out of
    pickles. One that can go on with more rows implements `_extend(Z, y, sample_weight)`, too.
    """

    _derived = frozenset({"_tensor_cache"})

    def fit(
        self,
        Z: ArrayLike | Tensor,
        y: ArrayLike | Tensor,
        sample_weight: ArrayLike | Tensor | None = None,
        n_classes: int | None = None,
    ) -> Self:
        """Fit one density per class.

        Parameters
        ----------
        Z : array-like or Tensor of shape (n, d)
            Rows, finite. float32 is taken to float64 in pieces, never as a whole.
        y : array-like or Tensor of shape (n,)
            Integer codes in 0..C-1. A code without rows gets the log density -inf.
        sample_weight : array-like or Tensor of shape (n,), default=None
            Weights >= 0, not all 0; None is 1 for all. Rows of weight 0 count as absent.
        n_classes : int, default=None
            C; None is `y.max() + 1`. Give it where the last classes may be absent.

        Returns
        -------
        Density
            The fitted density itself.

        Raises
        ------
        ValueError
            If a parameter, Z, y or the weights are outside these ranges.
        """
        rows, codes, weight, n_classes = self._checked(Z, y, sample_weight, n_classes)
        self.__dict__.pop("_tensor_cache", None)
        self._fit(rows, codes, weight, n_classes)
        self.n_features_in_ = rows.shape[1]
        self.n_classes_ = n_classes
        self.class_counts_ = np.bincount(codes, weight, minlength=n_classes)
        return self

    def partial_fit(
        self,
        Z: ArrayLike | Tensor,
        y: ArrayLike | Tensor,
        sample_weight: ArrayLike | Tensor | None = None,
        n_classes: int | None = None,
    ) -> Self:
        """Go on fitting with more rows: the result is that of one fit to all rows.

        Parameters
        ----------
        Z : array-like or Tensor of shape (n, d)
            More rows; the first call is `fit`.
        y : array-like or Tensor of shape (n,)
            Integer codes in 0..C-1.
        sample_weight : array-like or Tensor of shape (n,), default=None
            Weights >= 0, not all 0.
        n_classes : int, default=None
            C, for the first call.

        Returns
        -------
        Density
            The density itself.

        Raises
        ------
        ValueError
            If this density needs all rows at once, or the arguments are outside these ranges.
        """
        if not hasattr(self, "n_classes_"):
            return self.fit(Z, y, sample_weight, n_classes)
        rows, codes, weight, _ = self._checked(Z, y, sample_weight, self.n_classes_)
        _check_width(self, rows.shape)
        self._extend(rows, codes, weight)
        self.__dict__.pop("_tensor_cache", None)
        self.class_counts_ = self.class_counts_ + np.bincount(codes, weight, minlength=self.n_classes_)
        return self

    @overload
    def log_prob(self, z: Tensor) -> Tensor: ...
    @overload
    def log_prob(self, z: NDArray[Any]) -> NDArray[np.float64]: ...

    def log_prob(self, z: Tensor | NDArray[Any]) -> Tensor | NDArray[np.float64]:
        """Log density of each row under each class.

        Parameters
        ----------
        z : ndarray or Tensor of shape (..., d)
            Rows. A tensor may be on any device that has float64, and may require a gradient; it is not
            checked for NaN, which would make the host wait.

        Returns
        -------
        ndarray or Tensor of shape (..., C)
            float64, of the kind and on the device of z. -inf under a class without training rows.

        Raises
        ------
        ValueError
            If z has another number of columns than Z in `fit`; if an ndarray is not finite.
        NotFittedError
            If `fit` has not been called.
        """
        # not check_is_fitted: it collects scikit-learn's tags, 10 times what the density itself costs
        if not hasattr(self, "n_classes_"):
            raise NotFittedError(f"This {type(self).__name__} is not fitted yet. Call fit(Z, y) first.")
        if isinstance(z, Tensor):
            _check_width(self, z.shape)
            return self._log_prob(z)
        z = np.asarray(z)
        if z.dtype != np.float32:
            z = z.astype(np.float64, copy=False)
        _check_width(self, z.shape)
        assert_all_finite(z, input_name="z")
        rows = z.reshape(int(np.prod(z.shape[:-1])), z.shape[-1])
        result = np.empty((len(rows), self.n_classes_))
        with torch.no_grad():
            for part in chunks(len(rows)):
                result[part] = self._log_prob(torch.tensor(rows[part], device="cpu")).numpy()
        return result.reshape(*z.shape[:-1], self.n_classes_)

    def _checked(
        self, Z: Any, y: Any, sample_weight: Any, n_classes: int | None
    ) -> tuple[NDArray[Any], NDArray[np.intp], NDArray[np.float64], int]:
        """Rows, codes and weights of the rows that have weight, and C."""
        self._validate_params()
        rows = check_array(
            as_array(Z),
            dtype=[np.float64, np.float32],
            ensure_min_features=0,
            input_name="Z",
            estimator=self,
        )
        codes = _check_codes(as_array(y), len(rows))
        n_classes = _check_n_classes(n_classes, codes)
        weight = _check_weight(sample_weight, len(rows))
        kept = weight > 0
        if not kept.all():
            rows, codes, weight = rows[kept], codes[kept], weight[kept]
        return rows, codes, weight, n_classes

    def _extend(self, Z: NDArray[Any], y: NDArray[np.intp], sample_weight: NDArray[np.float64]) -> None:
        raise ValueError(f"{type(self).__name__} cannot go on with more rows. Fit it to all of them at once.")

    def _fit(
        self, Z: NDArray[Any], y: NDArray[np.intp], sample_weight: NDArray[np.float64], n_classes: int
    ) -> None:
        raise NotImplementedError(f"{type(self).__name__} must implement _fit.")

    def _log_prob(self, z: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must implement _log_prob.")

    def _make_tensors(self, device: torch.device) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must implement _make_tensors.")

    def _tensors(self, device: torch.device) -> Any:
        cache = self.__dict__.setdefault("_tensor_cache", {})
        if device not in cache:
            # tensors born in inference mode could not take part in a later gradient
            with torch.inference_mode(False):
                cache[device] = self._make_tensors(device)
        return cache[device]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name not in self._derived}


def _check_codes(y: Any, n: int) -> NDArray[np.intp]:
    y = np.asarray(y)
    if y.shape != (n,):
        raise ValueError(f"y must have one code for each of the {n} rows of Z, but its shape is {y.shape}.")
    if y.dtype.kind not in "iub":
        raise ValueError(
            f"y must hold integer codes 0..C-1, but its dtype is {y.dtype}. Encode the labels first."
        )
    if y.min() < 0:
        raise ValueError(f"y must hold integer codes 0..C-1, but it has {y.min()}.")
    return y.astype(np.intp, copy=False)


def _check_n_classes(n_classes: int | None, y: NDArray[np.intp]) -> int:
    needed = int(y.max()) + 1
    if n_classes is None:
        return needed
    if not isinstance(n_classes, Integral) or n_classes < needed:
        raise ValueError(
            f"n_classes must be an integer >= {needed}, as y has the code {needed - 1}. Got {n_classes!r}."
        )
    return int(n_classes)


def _check_weight(sample_weight: Any, n: int) -> NDArray[np.float64]:
    if sample_weight is None:
        return np.ones(n)
    weight = np.asarray(as_array(sample_weight), dtype=np.float64)
    if weight.shape != (n,):
        raise ValueError(
            f"sample_weight must have one weight for each of the {n} rows, but its shape is {weight.shape}."
        )
    if not np.isfinite(weight).all() or weight.min() < 0 or weight.max() == 0:
        raise ValueError(
            "sample_weight must be finite, >= 0 and not all 0. "
            f"Got values from {weight.min()} to {weight.max()}."
        )
    return weight


def _check_width(density: Density, shape: tuple[int, ...]) -> None:
    if not shape or shape[-1] != density.n_features_in_:
        raise ValueError(
            f"z must have {density.n_features_in_} columns, as Z had in {type(density).__name__}.fit, "
            f"but its shape is {tuple(shape)}."
        )
