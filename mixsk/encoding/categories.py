"""Categories of one column: which are kept, and the position of every cell in the column's one-hot block.

A block is the kept categories in sorted order, then "infrequent" (the rest, where there are too many), then
"missing" (where missing was seen in training). All work per cell is in pandas' hash tables; Python only looks
at the distinct values.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from mixsk.encoding.columns import value_type
from mixsk.encoding.scaling import infinite_message


class Block(NamedTuple):
    """One column's categories; `values` is the object array of those with a position of their own."""

    values: np.ndarray
    infrequent: bool
    missing: bool

    @property
    def width(self):
        """Number of one-hot columns."""
        return len(self.values) + self.infrequent + self.missing


def learn_block(column, label, max_categories):
    """The block of a training column.

    Parameters
    ----------
    column : ndarray or Series of shape (n,)
    label : str
        How error messages call the column.
    max_categories : int or None
        Most positions for values, the shared infrequent one included; None keeps every value.

    Examples
    --------
    >>> learn_block(np.array(["b", "a", "b", None], dtype=object), "column 0", None)
    Block(values=array(['a', 'b'], dtype=object), infrequent=False, missing=True)
    """
    codes, uniques = _factorise(column, label)
    counts = np.bincount(codes + 1, minlength=len(uniques) + 1)
    # A category dtype also lists levels that no row has.
    seen = sorted(
        ((v, c) for v, c in zip(uniques, counts[1:], strict=True) if c), key=lambda pair: _order(pair[0])
    )
    infrequent = max_categories is not None and len(seen) > max_categories
    if infrequent:
        # sorted() is stable: equal counts are decided by the order of values, not of rows.
        most = sorted(range(len(seen)), key=lambda i: -seen[i][1])[: max_categories - 1]
        seen = [seen[i] for i in sorted(most)]
    values = np.empty(len(seen), dtype=object)
    values[:] = [value for value, _ in seen]
    return Block(values, infrequent, bool(counts[0]))


def positions(column, label, block):
    """Position of every cell in `block`, -1 for none (an unseen category, missing never seen in training).

    Returns
    -------
    ndarray of int32 of shape (n,)

    Raises
    ------
    ValueError
        If no value has the type of any training category (text in training, numbers now): every row would
        silently become "unseen".

    Examples
    --------
    >>> block = learn_block(np.array(["b", "a"], dtype=object), "column 0", None)
    >>> positions(np.array(["a", "z", None, "b"], dtype=object), "column 0", block).tolist()
    [0, -1, -1, 1]
    """
    codes, uniques = _factorise(column, label)
    _check_types(uniques, block, label)
    known = {value: i for i, value in enumerate(block.values)}
    other = len(block.values) if block.infrequent else -1
    missing = len(block.values) + block.infrequent if block.missing else -1
    # Code -1 is missing: the last entry.
    lookup = np.array([known.get(value, other) for value in uniques] + [missing], dtype=np.int32)
    return lookup[codes]


def _factorise(column, label):
    """Integer code of every cell (-1 = missing) and the distinct values as plain Python objects."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, uniques = column.cat.codes.to_numpy(), column.cat.categories
    else:
        codes, uniques = pd.factorize(column)
    uniques = [value.item() if isinstance(value, np.generic) else value for value in uniques.tolist()]
    for code, value in enumerate(uniques):
        if isinstance(value, float) and not np.isfinite(value):
            if value != value:  # a nullable float array can hold NaN beside its own NA
                codes = np.where(codes == code, -1, codes)
            elif (codes == code).any():
                raise ValueError(infinite_message([(label, int((codes == code).argmax()))]))
    return codes, uniques


def _check_types(uniques, block, label):
    trained = {value_type(value) for value in block.values}
    given = {value_type(value): value for value in uniques if value == value}
    if trained and given and trained.isdisjoint(given):
        raise ValueError(
            f"In {label} the training categories were {_named(trained)}, for example {block.values[0]!r}, "
            f"but now there are {_named(given)}, for example {next(iter(given.values()))!r}: none can match. "
            "Give the column the dtype that it had in training."
        )


def _order(value):
    if isinstance(value, (str, bytes, int, float)):
        return value_type(value), value, ""
    return value_type(value), 0, repr(value)


def _named(types):
    return " and ".join({"number": "numbers", "text": "text"}.get(t, t) for t in sorted(types))
