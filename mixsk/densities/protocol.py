"""The protocol of a class-conditional log density, and how any object that follows it is called.

The protocol is `fit(Z, y, sample_weight=None)` and `log_prob(z) -> (n, C)`: the log density of each
row under each class, in the order of the integer codes 0..C-1 of y. Any object with these two methods
is a density. `mixsk.densities.Density` adds what training wants: tensors in and out, without a round
trip through numpy.
"""

from __future__ import annotations

import inspect
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from mixsk.densities._rows import as_array
from mixsk.densities.base import Density


class DensityLike(Protocol):
    """What a user's own density needs.

    `fit` gets Z as float64 (n, d) and y as integer codes in 0..C-1; it may also take `sample_weight`
    (else only uniform weights are accepted) and `n_classes`. `log_prob` gets float64 (n, d) and returns
    (n, C): one column for EVERY code, -inf in the column of a class that has no rows in y. An object
    that may meet such a class, as small folds do, should take `n_classes`: from y alone it sees no more
    than the largest code. A row must not be -inf under all classes: it would have no posterior.

    Examples
    --------
    >>> class Nearest:  # exp(-distance to the nearest row of the class), not normalised
    ...     def fit(self, Z, y):
    ...         self.rows = [Z[y == c] for c in range(y.max() + 1)]
    ...         return self
    ...     def log_prob(self, z):
    ...         return -np.stack([abs(z[:, None] - r).sum(-1).min(1) for r in self.rows], axis=1)
    >>> density = fit_density(Nearest(), np.array([[0.0], [3.0]]), np.array([0, 1]))
    >>> log_prob_tensor(density, torch.tensor([[1.0]]), 2)
    tensor([[-1., -2.]], dtype=torch.float64)
    """

    def fit(self, Z: NDArray[np.float64], y: NDArray[np.intp]) -> object:
        """Learn one density for each code in y."""

    def log_prob(self, z: NDArray[np.float64]) -> ArrayLike:
        """Return the log density of each row under each class, (n, C)."""


def fit_density(
    density: Any,
    Z: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    n_classes: int | None = None,
    method: str = "fit",
) -> Any:
    """Fit a density, ours or a user's own, with those of the arguments that its `fit` takes.

    Parameters
    ----------
    density : object with `fit` and `log_prob`
        Fitted in place; clone it before to keep it as it is.
    Z : array-like of shape (n, d)
        Rows; a user's object gets them as float64.
    y : array-like of shape (n,)
        Integer codes in 0..C-1.
    sample_weight : array-like of shape (n,), default=None
        Weights > 0.
    n_classes : int, default=None
        C; None is `y.max() + 1`.
    method : {"fit", "partial_fit"}, default="fit"
        Which of its methods gets the rows.

    Returns
    -------
    object
        The density that was given, fitted.

    Raises
    ------
    TypeError
        If the object lacks `fit` or `log_prob`.
    ValueError
        If the weights differ from each other and its `fit` takes no `sample_weight`.
    """
    name = type(density).__name__
    for needed in ("fit", "log_prob"):
        if not callable(getattr(density, needed, None)):
            raise TypeError(
                f"A density needs the methods fit(Z, y) and log_prob(z), but {name} has no {needed}. "
                f"Got {density!r}."
            )
    if _is_ours(density):
        return getattr(density, method)(Z, y, sample_weight=sample_weight, n_classes=n_classes)
    fit = getattr(density, method)
    arguments: dict[str, Any] = {}
    if _takes(fit, "sample_weight"):
        arguments["sample_weight"] = sample_weight
    elif sample_weight is not None and np.ptp(np.asarray(sample_weight)) > 0:
        raise ValueError(
            f"The rows have different weights, but {name}.fit takes no sample_weight. "
            "Add the argument to it, or fit without weights."
        )
    if _takes(fit, "n_classes"):
        arguments["n_classes"] = int(np.max(y)) + 1 if n_classes is None else n_classes
    fit(np.asarray(Z, dtype=np.float64), np.asarray(y), **arguments)
    return density


def log_prob_tensor(density: Any, z: Tensor, n_classes: int) -> Tensor:
    """Log densities of a tensor of rows, from our density or a user's own.

    Ours stay on the device. A user's object is called through numpy, and what it returns is checked.

    Parameters
    ----------
    density : object with `log_prob`
        Fitted.
    z : Tensor of shape (..., d)
        Rows, on any device.
    n_classes : int
        C, the number of columns that `log_prob` must return.

    Returns
    -------
    Tensor of shape (..., C)
        float64, on z's device; without gradient if the density is a user's own.

    Raises
    ------
    ValueError
        If a user's object returns another shape, NaN, +inf, or a row of -inf for every class.
    """
    if _is_ours(density):
        result: Tensor = density.log_prob(z)
        return result
    rows = z.detach().to("cpu", torch.float64).reshape(z.shape[:-1].numel(), z.shape[-1])
    returned = density.log_prob(rows.numpy())
    values = np.asarray(as_array(returned), dtype=np.float64)
    _check_log_prob(type(density).__name__, values, (len(rows), n_classes))
    return torch.tensor(values, device=z.device).reshape(*z.shape[:-1], n_classes)


def _is_ours(density: object) -> bool:
    # a subclass with a log_prob of its own may know numpy only, so the method decides, not the class
    return getattr(type(density), "log_prob", None) is Density.log_prob


def _takes(method: Any, name: str) -> bool:
    parameters = inspect.signature(method).parameters
    return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _check_log_prob(name: str, values: NDArray[np.float64], shape: tuple[int, int]) -> None:
    if values.shape != shape:
        raise ValueError(
            f"{name}.log_prob returned the shape {values.shape} for {shape[0]} rows, but {shape} is needed: "
            f"one column for each of the codes 0..{shape[1] - 1}. If a class had no rows in fit, let fit "
            "take n_classes and return -inf in its column."
        )
    for bad, what in (
        (np.isnan(values).any(1), "NaN"),
        (np.isposinf(values).any(1), "+inf"),
        (np.isneginf(values).all(1), "-inf for every class"),
    ):
        if bad.any():
            raise ValueError(
                f"{name}.log_prob returned {what} in {bad.sum()} of {shape[0]} rows, the first being row "
                f"{bad.argmax()}: {values[bad.argmax()]}. A log density must be a number for at least one "
                "class, and -inf only where a class cannot be: compute in log space, and bound it below."
            )
