"""Any two-dimensional input, opened as a table whose columns can be read.

Arrays and sparse matrices go through scikit-learn's own validation, so its messages and conventions hold.
Data frames of every library become lists of columns; after training they are matched by label.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.utils.validation import validate_data

from mixsk.encoding.tiles import ColumnTable, MatrixTable
from mixsk.encoding.types import check_table_type


def open_table(estimator, X, *, reset, max_dense_bytes):
    """Validate X and open it.

    Parameters
    ----------
    estimator : estimator
        Gets `n_features_in_` and `feature_names_in_` if `reset`, else they are what X is checked against;
        `_labels` is for a frame's labels that are no strings, which scikit-learn does not remember.
    X : array-like, sparse matrix or data frame of shape (n, n_features)
    reset : bool
        True in fit.
    max_dense_bytes : int
        Most that sparse input may take as dense float32.

    Returns
    -------
    MatrixTable or ColumnTable
    """
    check_table_type(X)
    frame = _as_frame(X)
    if reset:
        estimator._labels = None
    if frame is not None:
        return _open_frame(estimator, frame, reset, max_dense_bytes)
    return _open_array(estimator, X, reset, max_dense_bytes)


@dataclass
class _Frame:
    """A data frame of any library."""

    names: list
    n_rows: int
    column: Callable
    header: object  # what scikit-learn reads the names from


def _open_array(estimator, X, reset, max_dense_bytes):
    if isinstance(X, (list, tuple)):
        # A list of rows with text in some columns: numpy would turn the numbers into text as well.
        X = np.asarray(X, dtype=object) if np.asarray(X).dtype.kind in "US" else np.asarray(X)
    if isinstance(X, np.ma.MaskedArray) and X.dtype.kind in "biuf":
        X = X.astype(np.float64).filled(
            np.nan
        )  # a masked cell is a missing value; asarray would show what is under it
    X = validate_data(estimator, X, reset=reset, dtype=None, accept_sparse="csr", ensure_all_finite=False)
    if sp.issparse(X):
        _check_dense_size(*X.shape, X.shape, max_dense_bytes)
        return MatrixTable(X)
    if X.dtype.kind in "biuf":
        return MatrixTable(X)
    if X.dtype.kind == "V":
        raise TypeError(
            f"X must hold numbers or text, got an array of dtype {X.dtype}. Use a DataFrame instead."
        )
    if X.dtype.kind in "US":
        X = X.astype(object)
    return ColumnTable(range(X.shape[1]), list(X.T), len(X))


def _open_frame(estimator, frame, reset, max_dense_bytes):
    name = type(estimator).__name__
    for i, (count, what) in enumerate(((frame.n_rows, "sample"), (len(frame.names), "feature"))):
        if count == 0:
            raise ValueError(
                f"Found array with 0 {what}(s) (shape={(frame.n_rows, len(frame.names))}) while a minimum of "
                f"1 is required by {name}. The data frame has no {('rows', 'columns')[i]}."
            )
    order = range(len(frame.names))
    if not reset:
        order = _training_order(estimator, frame)
    else:
        repeated = _repeated(frame.names)
        if repeated:
            raise ValueError(
                f"Columns are matched by name, so names must be unique, but X has {repeated} repeatedly."
            )
        validate_data(estimator, frame.header, reset=True, skip_check_array=True)
        if not hasattr(estimator, "feature_names_in_"):
            estimator._labels = frame.names
    columns = [frame.column(j) for j in order]
    n_sparse = sum(isinstance(column.dtype, pd.SparseDtype) for column in columns)
    _check_dense_size(frame.n_rows, n_sparse, (frame.n_rows, len(frame.names)), max_dense_bytes)
    return ColumnTable([frame.names[j] for j in order], columns, frame.n_rows)


def _training_order(estimator, frame):
    """Positions in `frame` of the training columns, by label where it has them all.

    Further columns are ignored where labels are strings: numbers are often mere positions.
    """
    named = hasattr(estimator, "feature_names_in_")
    trained = list(estimator.feature_names_in_) if named else estimator._labels or []
    missing, further = set(trained) - set(frame.names), set(frame.names) - set(trained)
    matched = trained and not missing and (named or not further)
    repeated = [name for name in _repeated(frame.names) if not matched or name not in further]
    if repeated:
        raise ValueError(f"Columns are matched by name, but X has {repeated} more than once.")
    if matched:
        position = {name: j for j, name in enumerate(frame.names)}
        return [position[name] for name in trained]
    # scikit-learn's own error for missing columns and its warning where only one side has names.
    validate_data(estimator, frame.header, reset=False, skip_check_array=True)
    return range(len(frame.names))


def _repeated(names):
    return [name for name, count in Counter(names).items() if count > 1]


def _as_frame(X):
    """X as a `_Frame` if it is a data frame of any library, else None."""
    if not isinstance(X, pd.DataFrame):
        polars = sys.modules.get("polars")
        if polars is not None and isinstance(X, polars.DataFrame):
            return _polars_frame(X)
        X = _to_pandas(X)
    if isinstance(X, pd.DataFrame):
        return _Frame(list(X.columns), len(X), lambda j: X.iloc[:, j], X)
    return None


def _polars_frame(X):
    # Column by column: polars' own to_pandas needs pyarrow, and polars 2 has no interchange protocol.
    for name, dtype in X.schema.items():
        if dtype.is_nested():
            raise TypeError(
                f"In column {name!r} the dtype is {dtype}: each cell of X must be a string or a real number. "
                "Unnest or explode it into columns of their own."
            )
    header = pd.DataFrame(columns=pd.Index(X.columns, dtype=object))
    return _Frame(X.columns, X.height, lambda j: X.to_series(j).to_numpy(), header)


def _to_pandas(X):
    """Data frames of other libraries as pandas; anything else as it is."""
    if len(getattr(X, "shape", (0, 0))) != 2:
        return X  # a series of any library: scikit-learn's error says what to do
    try:
        if callable(getattr(X, "to_pandas", None)):
            return X.to_pandas()
        if hasattr(X, "__dataframe__"):
            return pd.api.interchange.from_dataframe(X)
    except ImportError as error:
        raise ImportError(
            f"X is a {type(X).__module__}.{type(X).__name__}, whose conversion to pandas failed: {error}. "
            "Install what it asks for (mostly `pip install pyarrow`) or pass a pandas DataFrame or an array."
        ) from error
    return X


def _check_dense_size(n_rows, n_columns, shape, max_dense_bytes):
    size = 4 * n_rows * n_columns
    if size > max_dense_bytes:
        raise ValueError(
            f"X is sparse with shape {tuple(shape)}: as dense float32 it takes {_gib(size)}, above "
            f"max_dense_bytes={max_dense_bytes} ({_gib(max_dense_bytes)}). Reduce the columns first, for "
            "example with TruncatedSVD or SelectKBest, or, if memory allows, pass "
            f"TableEncoder(max_dense_bytes={size})."
        )


def _gib(size):
    return f"{size / 2**30:.3g} GiB"
