"""What one column holds, and how it is read as numbers.

A column is a 1-D numpy array or a pandas Series of any dtype. It holds numbers, truth values, categories or
nothing but missing values; everything else (dates, dicts, complex numbers) is refused with a reason.
"""

from __future__ import annotations

from decimal import Decimal
from numbers import Complex, Real

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype, is_bool_dtype, is_numeric_dtype

NUMBER, BOOL, CATEGORY, EMPTY = "number", "bool", "category", "empty"

# pandas.api.types.infer_dtype looks at every object in C: 20 times faster than a Python loop over types.
_INFERRED = {
    "empty": EMPTY,
    "boolean": BOOL,
    "integer": NUMBER,
    "floating": NUMBER,
    "mixed-integer-float": NUMBER,
    "decimal": NUMBER,
    "string": CATEGORY,
    "bytes": CATEGORY,
    "interval": CATEGORY,
}
_INFERRED_DATES = {"datetime64", "datetime", "date", "timedelta64", "timedelta", "time", "period"}


def kind_of(column, label):
    """What a column holds: "number", "bool", "category" or "empty" (objects that are all missing).

    Parameters
    ----------
    column : ndarray or Series of shape (n,)
    label : str
        How error messages call the column, for example ``"column 'age'"``.

    Raises
    ------
    TypeError
        For dates and durations, and for cells that are neither text nor numbers.
    ValueError
        For complex numbers.

    Examples
    --------
    >>> kind_of(np.array([1, None, 2.5], dtype=object), "column 0")
    'number'
    >>> kind_of(np.array(["1", "2"], dtype=object), "column 0")
    'category'
    """
    dtype = column.dtype
    if isinstance(dtype, (pd.CategoricalDtype, pd.StringDtype, pd.IntervalDtype)):
        return CATEGORY
    if dtype.kind in "mM" or isinstance(dtype, (pd.PeriodDtype, pd.DatetimeTZDtype)):
        raise TypeError(_dates_message(label, dtype))
    if dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {label} has dtype {dtype}.")
    if is_bool_dtype(dtype):
        return BOOL
    if is_numeric_dtype(dtype):
        return NUMBER
    if dtype.kind in "US":
        return CATEGORY
    return _kind_of_objects(np.asarray(column, dtype=object), label)


def readable_as_numbers(column):
    """Whether a category column can be read as numbers: its levels are numbers, or all of it is missing."""
    if isinstance(column.dtype, pd.CategoricalDtype) and is_numeric_dtype(column.dtype.categories.dtype):
        return True
    return bool(pd.isna(column).all())


def as_numbers(column, label):
    """Something that slices into float arrays, missing as NaN, for a column of numbers or nothing.

    Plain numpy columns are returned as they are. pandas' extension dtypes are converted slice by slice, so
    that no second copy of a large table comes into being.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.astype(object).astype(np.float64).to_numpy()
    if isinstance(column.dtype, pd.StringDtype):
        return np.full(len(column), np.nan)  # all missing: text is not let through to here
    if column.dtype == object:
        return _objects_to_floats(np.asarray(column), label)
    if isinstance(column.dtype, np.dtype):
        return np.asarray(column)
    return _ExtensionSlices(column)


def value_type(value):
    """Coarse type of one category: values of different types are never the same category."""
    if isinstance(value, (Real, Decimal, np.bool_)):
        return "number"
    if isinstance(value, str):
        return "text"
    return type(value).__name__


class _ExtensionSlices:
    def __init__(self, series):
        self.series = series

    def __getitem__(self, rows):
        return self.series.iloc[rows].to_numpy(dtype=np.float64, na_value=np.nan)


def _objects_to_floats(values, label):
    floats = np.full(len(values), np.nan)
    present = ~pd.isna(values)
    try:
        floats[present] = values[present].astype(np.float64)
    except OverflowError as error:
        raise ValueError(
            f"Input X contains infinity or a value too large for float64 in {label}: a Python number above "
            "1.8e308. Rescale the column, for example by its logarithm."
        ) from error
    return floats


def _kind_of_objects(values, label):
    inferred = infer_dtype(values, skipna=True)
    if inferred in _INFERRED:
        return _INFERRED[inferred]
    if inferred in _INFERRED_DATES:
        raise TypeError(_dates_message(label, inferred))

    types = {}
    for value in values[~pd.isna(values)]:
        types.setdefault(type(value), value)
    numbers = [t for t in types if issubclass(t, (Real, Decimal, np.bool_))]
    text = [t for t in types if issubclass(t, (str, bytes))]
    for odd in types.keys() - {*numbers, *text}:
        if issubclass(odd, Complex):
            raise ValueError(f"Complex data not supported: {label} holds {types[odd]!r}.")
        if hasattr(odd, "isoformat") or odd in (np.datetime64, np.timedelta64):
            raise TypeError(_dates_message(label, odd.__name__))
        raise TypeError(
            f"In {label} a cell holds {_short(types[odd])}: argument must be a string or a real number, "
            f"not {odd.__name__!r}. Take the numbers or words out of it into columns of their own."
        )
    return CATEGORY if text else NUMBER


def _dates_message(label, dtype):
    return (
        f"In {label} there are dates or durations ({dtype}), which are neither numbers nor categories. Turn "
        "them into numbers, for example df['date'].dt.year, df['date'].dt.dayofweek, "
        "(df['date'] - start).dt.days or df['duration'].dt.total_seconds(), or drop the column."
    )


def _short(value):
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
