"""What is no table at all, said before anything else looks at it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def check_table_type(X: Any) -> None:
    """Raise TypeError for an X that cannot become a table, and say what to pass instead.

    Parameters
    ----------
    X : object
        What a user gave as X.

    Raises
    ------
    TypeError
        For a lazy frame, a mapping, an iterator or text.

    Examples
    --------
    >>> check_table_type({"age": [1, 2]})
    Traceback (most recent call last):
    TypeError: X must be a 2-D array, a DataFrame or a sparse matrix, not a dict. Use pd.DataFrame(X).
    """
    name = type(X).__name__
    if name == "LazyFrame":
        remedy = "Call X.collect() first"
    elif isinstance(X, Mapping):
        remedy = "Use pd.DataFrame(X)"
    elif isinstance(X, Iterator):
        remedy = "Use list(X)"
    elif isinstance(X, (str, bytes)):
        remedy = "Read it first, e.g. with pd.read_csv"
    else:
        return
    raise TypeError(f"X must be a 2-D array, a DataFrame or a sparse matrix, not a {name}. {remedy}.")
