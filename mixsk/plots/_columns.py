"""Columns of X as numbers in the user's units, whatever X is."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixsk.encoding import PassthroughEncoder, TableEncoder


def column_names(X: Any) -> list[str] | None:
    """Names of the columns of a data frame; None for what has no names."""
    return [str(name) for name in X.columns] if hasattr(X, "columns") else None


def check_is_table(kind: str, owner: str, instead: str) -> None:
    """Raise ValueError for what has no columns to draw: kind "text" or "image"."""
    if kind != "table":
        what = {"text": "texts", "image": "images"}[kind]
        raise ValueError(f"{owner} draws points of a table, and {what} have none. Use {instead}.")


def read_plane(X: Any, owner: str) -> np.ndarray:
    """The two numeric columns of X, float64 (n, 2), NaN where missing; ValueError if X is not that."""
    encoder = TableEncoder().fit(X)  # it reads X as the classifiers do
    if encoder.n_features_in_ != 2:
        raise ValueError(
            f"{owner} draws the plane of exactly 2 columns, but X has {encoder.n_features_in_}. Fit the "
            "classifier on two of them, or on two components such as PCA(n_components=2) gives."
        )
    check_numeric(encoder, [0, 1], owner)
    encoded = encoder.transform(X)
    plane = in_units(encoder, encoded, [0, 1])
    for start, _ in encoder.layout_.blocks:  # indicators of missing values
        plane[encoded[:, start] > 0, encoder.layout_.column[start]] = np.nan
    return plane


def check_numeric(encoder: TableEncoder, columns: Any, owner: str) -> None:
    """Raise ValueError if a column is not read as numbers."""
    names = getattr(encoder, "feature_names_in_", range(encoder.n_features_in_))
    for j in columns:
        if encoder.kinds_[j] != "number":
            raise ValueError(
                f"{owner} draws numbers, but column {names[j]!r} is read as {encoder.kinds_[j]}. Choose "
                "numeric columns, or turn this one into numbers (astype(float)) before fit."
            )


def in_units(encoder: Any, encoded: np.ndarray, columns: Any) -> np.ndarray:
    """Original columns of encoded rows (n, F) in the user's units, float64 (n, len(columns))."""
    encoded = np.asarray(encoded, dtype=np.float64)
    if isinstance(encoder, TableEncoder):
        numbers = np.flatnonzero(encoder.kinds_ == "number")  # encoded first, in this order
        at = np.searchsorted(numbers, columns)
        return encoded[:, at] * encoder.scale_[at] + encoder.mean_[at]
    if isinstance(encoder, PassthroughEncoder):
        return encoded[:, columns]
    if hasattr(encoder, "inverse_transform"):
        return np.asarray(encoder.inverse_transform(encoded), dtype=np.float64)[:, columns]
    raise ValueError(
        f"encoder={encoder!r} has no inverse_transform, so its rows cannot be shown in the units of X. "
        "Use encoder='auto', 'passthrough' or a transformer with inverse_transform."
    )
