"""Which columns are numbers, truth values and categories: decided in training, held to afterwards."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mixsk.encoding.columns import BOOL, CATEGORY, EMPTY, NUMBER, readable_as_numbers


def decide_kinds(table, categorical_features, names):
    """Kind of every training column.

    Parameters
    ----------
    table : MatrixTable or ColumnTable
    categorical_features : "from_dtype", None or array-like
        As in `TableEncoder`.
    names : ndarray of str or None
        Names of the columns, if they have any.

    Returns
    -------
    ndarray of str of shape (n_features,)
        "number", "bool" or "category".

    Raises
    ------
    ValueError
        If `categorical_features` does not fit to the table, or leaves out a column with text.
    """
    declared = _declared(categorical_features, names, table.shape[1])
    kinds = []
    for j in range(table.shape[1]):
        kind = table.kind(j)
        if declared is None:
            # Objects that are all missing may be text in other rows (a fold of a rare column): not numbers.
            kind = CATEGORY if kind == EMPTY else kind
        elif declared[j]:
            kind = CATEGORY
        elif kind == EMPTY or (kind == CATEGORY and readable_as_numbers(table.column(j))):
            kind = NUMBER
        elif kind == CATEGORY:
            raise ValueError(
                f"In {table.label(j)} there is text, for example {_example(table.column(j))}, but it is not "
                f"in categorical_features={categorical_features!r}. Add it, make it numbers, or use "
                "categorical_features='from_dtype'."
            )
        kinds.append(kind)
    return np.array(kinds)


def check_kinds(table, kinds):
    """Raise if a column that was numbers or truth values in training now holds something else."""
    for j, trained in enumerate(kinds):
        kind = table.kind(j)  # refuses dates and the like in every column
        if trained == CATEGORY or kind in (NUMBER, BOOL, EMPTY) or readable_as_numbers(table.column(j)):
            continue
        raise ValueError(
            f"In {table.label(j)} there were {'numbers' if trained == NUMBER else 'truth values'} in "
            f"training, but now there is text, for example {_example(table.column(j))}. Give it the dtype of "
            "training, for example with pd.to_numeric."
        )


def _declared(features, names, n_features):
    """`categorical_features` as a mask over the columns of X, None for "from_dtype"."""
    if isinstance(features, str):
        return None
    mask = np.zeros(n_features, dtype=bool)
    features = np.asarray([] if features is None else features)
    if features.size == 0:
        return mask
    if features.dtype.kind == "b":
        if features.shape != (n_features,):
            raise ValueError(
                f"categorical_features as a mask must have one entry per column, shape ({n_features},), got "
                f"{features.shape}."
            )
        return features
    if features.dtype.kind in "iu":
        outside = features[(features < 0) | (features >= n_features)]
        if outside.size:
            raise ValueError(
                f"categorical_features must be positions in [0, n_features - 1] = [0, {n_features - 1}], got "
                f"{outside.tolist()}."
            )
        mask[features] = True
        return mask
    if not all(isinstance(name, str) for name in features.ravel()):
        raise ValueError(
            f"categorical_features must be all bool, all int or all str, got {features.tolist()}."
        )
    if names is None:
        raise ValueError(
            f"categorical_features has names, {features.tolist()}, but X has no column names. Use positions "
            "or a mask."
        )
    unknown = [name for name in features.tolist() if name not in set(names)]
    if unknown:
        raise ValueError(
            f"categorical_features has names that X does not have: {unknown}. X has {list(names)}."
        )
    mask[np.isin(names.astype(str), features.astype(str))] = True
    return mask


def _example(column):
    values = np.asarray(column, dtype=object)
    return repr(values[~pd.isna(values)][0])
