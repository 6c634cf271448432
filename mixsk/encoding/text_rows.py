"""X as the user has it, opened as a list of strings or as a table of codes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from numbers import Number

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.utils.validation import validate_data

ALLOWED = (
    "a list, array or Series of str, a data frame with one column of str, or whole-number codes of shape "
    "(n, L)"
)


def read_rows(estimator, X, *, reset):
    """Validate X and open it.

    Parameters
    ----------
    estimator : estimator
        Gets `n_features_in_` and `feature_names_in_` if `reset` and X is two-dimensional; else a
        two-dimensional X is checked against them.
    X : list, array, Series or data frame
    reset : bool
        True in fit.

    Returns
    -------
    list of str of length n, or ndarray of int64 of shape (n, L) with no entry below 0

    Raises
    ------
    ValueError
        If X has no row, several columns of text, missing values, or codes that are no whole numbers >= 0.
    TypeError
        If X is none of what is allowed, or a row is neither missing nor a string.
    """
    if not sp.issparse(X):  # which may be a mapping
        check_text_type(X)
    if reset:
        for name in ("n_features_in_", "feature_names_in_"):
            vars(estimator).pop(name, None)
    X = _known_container(X)
    if isinstance(X, pd.DataFrame):
        numeric = all(pd.api.types.is_numeric_dtype(dtype) for dtype in X.dtypes)
        cells = None if numeric else X.to_numpy(dtype=object)
    elif sp.issparse(X) or (isinstance(X, np.ndarray) and X.dtype.kind in "biufc"):
        cells = None
    else:
        cells = _cells(X)
    if cells is None:
        return _codes(estimator, X, reset)
    if cells.ndim > 1 and not _holds_text(cells):
        # With the dtype that numpy finds for it: as objects, whole numbers would go through float64.
        return _codes(estimator, X if isinstance(X, pd.DataFrame) else np.asarray(X), reset)
    if cells.ndim == 1:
        return _strings(cells.tolist(), estimator)
    if cells.ndim > 2 or cells.shape[1] != 1:
        what = f"the columns {X.columns.tolist()}" if isinstance(X, pd.DataFrame) else f"shape {cells.shape}"
        raise ValueError(
            f"X holds strings and has {what}, but a row must be one text. Choose one column, or join them: "
            "X.agg(' '.join, axis=1) for a data frame."
        )
    if reset or hasattr(estimator, "n_features_in_"):
        header = X if isinstance(X, pd.DataFrame) else cells
        validate_data(estimator, header, reset=reset, skip_check_array=True)
    return _strings(cells[:, 0].tolist(), estimator)


def check_text_type(X):
    """Raise for an X that is neither rows of text nor codes, before anything else looks at it.

    Parameters
    ----------
    X : object
        What a user gave as X; no sparse matrix.

    Raises
    ------
    ValueError
        For a single string.
    TypeError
        For a mapping, a set, a lazy frame, an iterator or another object without rows.

    Examples
    --------
    >>> check_text_type({"text": ["great"]})
    Traceback (most recent call last):
    TypeError: X must be a list, ... not a dict. Pass its values, ...
    """
    if getattr(X, "shape", None) == ():
        X = X.item()  # what an array without dimensions holds
    if isinstance(X, (str, bytes)):
        raise ValueError(f"X is one string, {X[:40]!r}, but must be {ALLOWED}. For one text use [X].")
    name = type(X).__name__
    if isinstance(X, Mapping):
        remedy = "Pass its values, list(X.values()), or a column of pd.DataFrame(X)"
    elif name == "LazyFrame":
        remedy = "Call X.collect() first"
    elif not any(hasattr(X, name) for name in ("__len__", "__array__", "shape")):
        remedy = "Use list(X)" if hasattr(X, "__iter__") else "Read the texts into a list"
    elif isinstance(X, (set, frozenset)):
        remedy = "It has no order: use sorted(X)"
    else:
        return
    raise TypeError(f"X must be {ALLOWED}, not a {name}. {remedy}.")


def _known_container(X):
    """Data frames of every library as pandas, series of every library and masked arrays as plain arrays."""
    if isinstance(X, np.ma.MaskedArray):
        cells = X.data.astype(object)
        cells[np.ma.getmaskarray(X)] = None
        return cells
    polars = sys.modules.get("polars")
    if polars is not None and isinstance(X, polars.DataFrame):  # its own to_pandas needs pyarrow
        return pd.DataFrame({name: X.get_column(name).to_numpy() for name in X.columns})
    if not isinstance(X, (pd.DataFrame, np.ndarray)) and len(getattr(X, "shape", ())) == 2:
        return X.to_pandas() if callable(getattr(X, "to_pandas", None)) else X
    for convert in ("to_list", "to_pylist"):  # pandas and polars; arrow
        if callable(getattr(X, convert, None)):
            return _column(getattr(X, convert)())
    return X


def _column(values):
    """A list as a one-dimensional array of objects, whatever it holds."""
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _cells(X):
    """Anything else as an array of objects: in one of strings NaN would become the text "nan"."""
    if isinstance(X, (list, tuple)) and X and isinstance(X[0], (str, bytes)):
        return _column(X)
    return np.asarray(X, dtype=object)


def _holds_text(cells):
    return any(isinstance(cell, (str, bytes)) for cell in cells.flat)


def _strings(rows, estimator):
    if not rows:
        raise ValueError(
            f"Found array with 0 sample(s) (shape=(0,)) while a minimum of 1 is required by "
            f"{type(estimator).__name__}. X must be {ALLOWED}."
        )
    if set(map(type, rows)) == {str}:
        return rows
    if all(isinstance(row, Number) and row == row for row in rows):
        raise ValueError(
            f"Expected 2D array, got 1D array instead: X is one row of numbers, {rows[:3]}..., but must be "
            f"{ALLOWED}. Reshape your data: X.reshape(1, -1) if it is one row of codes, X.reshape(-1, 1) if "
            "each row has one; numbers that are meant as texts become such with str."
        )
    for i, row in enumerate(rows):
        if not isinstance(row, str):
            raise _wrong_row(i, row)
    return list(map(str, rows))  # numpy.str_ and other subclasses


def _wrong_row(i, row):
    if isinstance(row, (list, tuple, np.ndarray)):
        return TypeError(
            f"Row {i} of X is {str(row)[:60]}, but every row must be one string. Join a row of words with "
            "' '.join(row); fill rows of codes up with zeros, so that X has shape (n, L)."
        )
    if pd.api.types.is_scalar(row) and pd.isna(row):
        return ValueError(
            f"Row {i} of X is missing ({row!r}), but every row must be a string. Drop such rows, or put '' "
            "in their place, which is a valid text."
        )
    remedy = "Decode it, for example row.decode('utf-8')" if isinstance(row, bytes) else "Convert it with str"
    return TypeError(
        f"Row {i} of X is {str(row)[:60]!r}, of type {type(row).__name__}, but every row must be a string. "
        f"{remedy}, or drop it."
    )


def _codes(estimator, X, reset):
    """X as int64 codes, checked."""
    X = validate_data(estimator, X, reset=reset)
    if X.dtype.kind not in "iuf":
        raise TypeError(f"X must be {ALLOWED}, got an array of dtype {X.dtype}.")
    limit = 2**63
    if X.dtype.kind == "f":
        X, limit = X.astype(np.float64), 2**53  # above it, some whole numbers are no floats
    for problem, wrong in (
        ("Negative values in data", X < 0),
        ("Fractions in data", X != np.floor(X)),
        ("Too large values in data", X >= limit),
    ):
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise ValueError(
                f"{problem}: X has {X[row, column]} in row {row}, column {column}, but codes must be whole "
                f"numbers from 0, which is padding, to below {limit}. Pass text as strings; a table of "
                "measurements needs a network for tables."
            )
    return X.astype(np.int64)
