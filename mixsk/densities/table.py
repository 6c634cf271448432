"""TableDensity: the density of an encoded table, numbers times categories.

log p_c(x) = log p_c(numeric columns) + sum over category columns of log sum_k q_k pi_ck: the columns'
kinds are independent within a class, as in naive Bayes; the numeric columns keep their correlations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from torch import Tensor

from mixsk.densities._rows import as_slice
from mixsk.densities.base import Density
from mixsk.densities.categories import CategoryFrequencies
from mixsk.densities.protocol import fit_density, log_prob_tensor

CATEGORICAL = ("frequencies", "ignore", "onehot")


class TableDensity(Density):
    """A numeric density on a table's numbers, category frequencies on the rest.

    Parameters
    ----------
    numeric : object with `fit` and `log_prob`
        Density of the numeric columns; a copy of it is fitted. Its attribute `categorical` (without one:
        "frequencies") says what the category columns do: "frequencies" multiplies `CategoryFrequencies`,
        "ignore" leaves them out, "onehot" gives all encoded columns to `numeric`, one-hot blocks of more than
        one column multiplied by its attribute `onehot_scale` (without one: 1).
    layout : Layout
        Which encoded columns are numbers (`numeric`) and which form a category (`blocks`).

    Attributes
    ----------
    numeric_ : object or None
        The fitted copy of `numeric`; None if it has no columns.
    categories_ : CategoryFrequencies or None
        None if there are no categories, or they are not counted.
    n_classes_, n_features_in_ : int
        C and the number of encoded columns.

    Examples
    --------
    >>> from mixsk.densities import GM
    >>> from mixsk.encoding import Layout
    >>> layout = Layout(column=[0, 1, 1], numeric=[0], blocks=[(1, 3)], n_columns=2)  # a number, a category
    >>> X = np.array([[0.0, 1, 0], [2.0, 1, 0], [5.0, 0, 1], [7.0, 0, 1]])
    >>> density = TableDensity(GM(), layout).fit(X, [0, 0, 1, 1])
    >>> density.log_prob(torch.tensor([[3.5, 0.5, 0.5]])).exp()  # between the classes
    tensor([[0.0088, 0.0088]], dtype=torch.float64)
    """

    _parameter_constraints: dict[str, Any] = {}

    def __init__(self, numeric: Any, layout: Any) -> None:
        self.numeric = numeric
        self.layout = layout

    def _fit(
        self, Z: NDArray[Any], y: NDArray[np.intp], sample_weight: NDArray[np.float64], n_classes: int
    ) -> None:
        name = type(self.numeric).__name__
        categorical = getattr(self.numeric, "categorical", "frequencies")
        if categorical not in CATEGORICAL:
            raise ValueError(f"{name}.categorical must be one of {CATEGORICAL}. Got {categorical!r}.")
        width = len(self.layout.column)
        if Z.shape[1] != width:
            raise ValueError(f"The layout describes {width} encoded columns, but X has {Z.shape[1]}.")
        columns = (
            np.arange(width) if categorical == "onehot" else np.asarray(self.layout.numeric, dtype=np.intp)
        )
        if categorical == "ignore" and not len(columns):
            raise ValueError(
                f"{name}.categorical='ignore' leaves nothing to fit: the table has no numeric column. "
                "Use 'frequencies' or 'onehot'."
            )
        self.numeric_ = None
        self._columns = columns
        scale = np.ones(width, dtype=np.float32)
        for start, stop in self.layout.blocks:
            if stop - start > 1:  # the values of a missing indicator differ by 1 as they are
                scale[start:stop] = getattr(self.numeric, "onehot_scale", 1)
        self._scale = scale if categorical == "onehot" and (scale != 1).any() else None
        if len(columns):
            # safe=False copies what is no scikit-learn estimator, a user's plain class
            numeric = clone(self.numeric, safe=False)
            self.numeric_ = fit_density(numeric, self._numbers(Z), y, sample_weight, n_classes)
        self.categories_ = None
        if categorical == "frequencies" and len(self.layout.blocks):
            self.categories_ = CategoryFrequencies(self.layout.blocks).fit(Z, y, sample_weight, n_classes)

    def _extend(self, Z: NDArray[Any], y: NDArray[np.intp], sample_weight: NDArray[np.float64]) -> None:
        if self.numeric_ is not None:
            if not hasattr(self.numeric_, "partial_fit"):
                raise ValueError(
                    f"{type(self.numeric_).__name__} has no partial_fit, so this density cannot go on with "
                    "more rows. Fit it to all of them at once."
                )
            fit_density(self.numeric_, self._numbers(Z), y, sample_weight, self.n_classes_, "partial_fit")
        if self.categories_ is not None:
            self.categories_.partial_fit(Z, y, sample_weight)

    def _numbers(self, Z: NDArray[Any]) -> NDArray[Any]:
        if self._scale is not None:
            return Z * self._scale
        taken = as_slice(self._columns)
        return Z[:, taken] if taken is not None else Z[:, self._columns]

    def _make_tensors(self, device: torch.device) -> tuple[slice | Tensor, Tensor | None]:
        scale = None if self._scale is None else torch.tensor(self._scale, device=device)
        return as_slice(self._columns) or torch.tensor(self._columns, device=device), scale

    def _log_prob(self, z: Tensor) -> Tensor:
        parts = []
        if self.numeric_ is not None:
            columns, scale = self._tensors(z.device)
            rows = z[..., columns] if isinstance(columns, slice) else z.index_select(-1, columns)
            rows = rows if scale is None else rows * scale
            parts.append(log_prob_tensor(self.numeric_, rows, self.n_classes_))
        if self.categories_ is not None:
            parts.append(self.categories_.log_prob(z))
        return sum(parts[1:], parts[0])
