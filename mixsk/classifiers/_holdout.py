"""Folds of training rows, and how well fits do on what they hold out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import _safe_indexing

from mixsk.encoding import DatasetImages

FOLDS = 5

Fold = tuple[np.ndarray, np.ndarray]  # rows trained on, rows held out


def stratified_folds(y: np.ndarray, seed: int | None, n_folds: int | None = None) -> list[Fold]:
    """Folds of rows with labels y; none if no class has two rows.

    A class of one row is always trained on; of each class that is held out, rows are trained on, too. There
    are `n_folds`, or fewer if the largest class has fewer rows; by default `FOLDS`, or fewer if any class has
    fewer rows.
    """
    _, codes, counts = np.unique(np.asarray(y), return_inverse=True, return_counts=True)
    several = np.flatnonzero(counts[codes] > 1)
    if len(several) == 0:
        return []
    n_folds = min(FOLDS, counts[counts > 1].min()) if n_folds is None else min(n_folds, counts.max())
    splitter = StratifiedKFold(int(n_folds), shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # one that has fewer rows than there are folds
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        held = [several[test] for _, test in splitter.split(several, codes[several])]
    return [(np.setdiff1d(np.arange(len(codes)), test), test) for test in held]


@contextmanager
def silent() -> Iterator[None]:
    """Without the warnings of a fit that only serves another: that one says it of all rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def held_out_score(
    fits: Iterable[Any], folds: list[Fold], X: Any, y: np.ndarray, w: np.ndarray | None
) -> tuple[float, float]:
    """Minus the accuracy on held-out rows and, for ties, their log loss; of all folds together.

    Parameters
    ----------
    fits : iterable of classifiers
        One for each fold, unfitted.
    folds : list of Fold
    X, y, w
        Rows, labels and weights or None.
    """
    right = loss = total = 0.0
    for clf, (train, test) in zip(fits, folds, strict=False):
        with silent():
            rows, labels, weight = taken(X, y, w, train)
            clf.fit(rows, labels, weight)
            rows, labels, weight = taken(X, y, w, test)
            log_p = clf.predict_log_proba(rows)
        if clf.net_.stop_ == "interrupted":  # a fit keeps what it has learnt, a choice needs all of them
            raise KeyboardInterrupt
        weight = np.ones(len(test)) if weight is None else weight
        codes = np.searchsorted(clf.classes_, labels)
        right += weight @ (log_p.argmax(1) == codes)
        loss -= weight @ log_p[np.arange(len(test)), codes]
        total += weight.sum()
    return -right / total, loss / total


def taken(X: Any, y: np.ndarray, w: np.ndarray | None, index: np.ndarray) -> tuple[Any, Any, Any]:
    """Some of the rows, their labels and weights."""
    return rows_at(X, index), y[index], None if w is None else w[index]


def rows_at(X: Any, index: np.ndarray) -> Any:
    """Some of the rows; those of a Dataset stay unread."""
    return X.subset(index) if isinstance(X, DatasetImages) else _safe_indexing(X, index)
