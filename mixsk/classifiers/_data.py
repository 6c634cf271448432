"""From the user's y and weights to class codes, label weights and a validation split."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, _num_samples


def check_labels(y: Any, owner: str) -> np.ndarray:
    """Return y as a 1-d array of class labels, or raise ValueError."""
    if y is None:
        raise ValueError(
            f"{owner} requires y to be passed, but the target y is None. Pass one class label for each row."
        )
    y = column_or_1d(_plain(y), warn=True)
    _check_no_missing(y)
    kinds = {"text" if isinstance(v, str) else "numbers" for v in y} if y.dtype == object else ()
    if len(kinds) > 1:
        raise ValueError(
            "y mixes text and numbers as labels, which have no common order. Convert them, for example with "
            "y.astype(str)."
        )
    if type_of_target(y, input_name="y") == "continuous":
        raise ValueError(
            "Unknown label type: continuous. y holds floats that are not whole numbers, and this is a "
            "classifier. Pass class labels (integers, strings or booleans), or bin y first, e.g. with "
            "KBinsDiscretizer."
        )
    check_classification_targets(y)
    return y


def check_lengths(X: Any, y: np.ndarray) -> None:
    """Raise ValueError if X and y have not the same number of rows, or none."""
    if _num_samples(y) == 0:
        raise ValueError("Found array with 0 sample(s) in y while a minimum of 1 is required.")
    check_consistent_length(X, y)


def check_weights(sample_weight: Any, X: Any, owner: str) -> np.ndarray | None:
    """Return finite weights >= 0, float64 (n,), not all zero; None if there are none."""
    if sample_weight is None:
        return None
    sample_weight = np.asarray(sample_weight)
    if sample_weight.dtype.kind not in "biuf":
        raise ValueError(
            f"sample_weight must hold numbers >= 0, one for each row. Got an array of dtype "
            f"{sample_weight.dtype}."
        )
    if sample_weight.size and not sample_weight.any():
        raise ValueError(
            "sample_weight is zero for every row: nothing is left to fit. Give some rows weight."
        )
    weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
    if (weight < 0).any():
        raise ValueError(
            f"sample_weight has {int((weight < 0).sum())} negative entries, the first at row "
            f"{int(np.argmax(weight < 0))}. {owner} takes weights >= 0; 0 leaves a row out."
        )
    if not weight.any():
        raise ValueError(
            "sample_weight is zero for every row: nothing is left to fit. Give some rows weight."
        )
    return weight


def encode_labels(y: np.ndarray, classes: np.ndarray, what: str = "y") -> np.ndarray:
    """Positions of y's labels in the sorted `classes`, int64; unknown labels raise ValueError."""
    if (y.dtype.kind in "OUST") != (classes.dtype.kind in "OUST"):
        raise ValueError(
            f"{what} has labels of dtype {y.dtype}, but those of fit have {classes.dtype}: "
            f"{classes[:5].tolist()}."
        )
    codes = np.searchsorted(classes, y).clip(max=len(classes) - 1)
    unknown = classes[codes] != y
    if unknown.any():
        labels = np.unique(y[unknown]).tolist()
        raise ValueError(
            f"{what} contains labels that were not seen in fit: {labels[:5]}. Known are "
            f"{classes.tolist()[:10]}{' ...' if len(classes) > 10 else ''}."
        )
    return codes.astype(np.int64)


def class_weights(
    class_weight: Any, y: np.ndarray, w: np.ndarray | None, classes: np.ndarray
) -> np.ndarray | None:
    """Weight of each class, float64 (C,), or None.

    Parameters
    ----------
    class_weight : {"balanced"}, dict or None
    y : int array of shape (n,)
        Class codes.
    w : array of shape (n,) or None
        Sample weights: "balanced" counts rows by them.
    classes : array of shape (C,)
    """
    if class_weight is None:
        return None
    if class_weight == "balanced":
        counts = np.bincount(y, w, minlength=len(classes)).astype(np.float64)
        return counts.sum() / (len(classes) * np.maximum(counts, np.finfo(np.float64).tiny)) * (counts > 0)
    known = classes.tolist()
    unknown = [label for label in class_weight if label not in known]
    if unknown:
        raise ValueError(f"class_weight names classes that y does not have: {unknown}. y has {known}.")
    weights = np.array([class_weight.get(label, 1.0) for label in known], np.float64)
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights[np.unique(y)].any():
        raise ValueError(
            f"class_weight must be finite and >= 0, and > 0 for a class of y. Got {class_weight}."
        )
    return weights


def validation_split(
    y: np.ndarray, fraction: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """Stratified indices of training and validation rows; every class keeps a training row.

    Parameters
    ----------
    y : int array of shape (n,)
    fraction : float
        Share of the rows held out.
    rng : numpy.random.Generator

    Returns
    -------
    train, valid : int arrays
        valid is None where no row can be spared (each class has only one).
    """
    order = rng.permutation(len(y))
    _, position, counts = np.unique(y[order], return_inverse=True, return_counts=True)
    spare = counts - 1
    # Largest remainders: the whole split has the fraction asked for, each class as near as it can be.
    wanted = counts * fraction
    held = np.minimum(np.floor(wanted), spare).astype(int)
    missing = round(len(y) * fraction) - held.sum()
    for k in np.argsort(held - wanted, kind="stable"):
        if missing > 0 and held[k] < spare[k]:
            held[k] += 1
            missing -= 1
    if held.sum() == 0 and spare.any():
        held[np.argmax(spare)] = 1
    if held.sum() == 0:
        return np.arange(len(y)), None
    by_class = np.argsort(position, kind="stable")
    rank = np.empty(len(y), int)
    rank[by_class] = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    valid = rank < held[position]
    return np.sort(order[~valid]), np.sort(order[valid])


def _plain(y: Any) -> Any:
    """Nullable pandas labels as numpy has them: booleans stay booleans, integers integers."""
    dtype = getattr(y, "dtype", None)
    if isinstance(y, list) and any(isinstance(v, str) for v in y):
        return np.array(y, dtype=object) if not all(isinstance(v, str) for v in y) else y
    if not pd.api.types.is_extension_array_dtype(dtype) or pd.isna(y).any():
        return y
    for kind, is_kind in ((bool, pd.api.types.is_bool_dtype), (np.int64, pd.api.types.is_integer_dtype)):
        if is_kind(dtype):
            return np.asarray(y, dtype=kind)
    return y


def _check_no_missing(y: np.ndarray) -> None:
    missing = pd.isna(y)
    if missing.any():
        raise ValueError(
            f"Input y contains NaN: {int(missing.sum())} rows have no label, the first is row "
            f"{int(np.argmax(missing))}. Drop these rows before fit."
        )
    if y.dtype.kind == "f" and np.isinf(y).any():
        raise ValueError("Input y contains infinity. Pass class labels.")
