"""Cross-validation whose fits are one program."""

from __future__ import annotations

import warnings
from typing import Any

from sklearn.base import clone, is_classifier
from sklearn.model_selection import check_cv, cross_validate
from sklearn.utils import indexable

from mixsk.model_selection._plan import outcomes
from mixsk.model_selection._replay import Replay
from mixsk.model_selection._search import _Splits


def batched_cross_validate(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    groups: Any = None,
    scoring: Any = None,
    cv: Any = None,
    n_jobs: int | None = None,
    params: dict[str, Any] | None = None,
    return_train_score: bool = False,
    error_score: Any = float("nan"),
) -> dict[str, Any]:
    """`cross_validate` that trains all splits as one program.

    Parameters
    ----------
    estimator : classifier of mixsk, or pipeline that ends in one
    X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    groups : array-like of shape (n_samples,), default=None
        For the splitter.
    scoring : str, callable, list, tuple or dict, default=None
        None is the accuracy.
    cv : int, splitter or iterable, default=None
    n_jobs : int, default=None
        Processes among which the fits are shared.
    params : dict, default=None
        `sample_weight` for the fits.
    return_train_score : bool, default=False
    error_score : "raise" or number, default=nan
        Score of a split whose fit fails.

    Returns
    -------
    dict of ndarray of shape (n_splits,)
        As `sklearn.model_selection.cross_validate` returns it; `fit_time` is the program's, divided by
        its fits.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from mixsk import MixupClassifier
    >>> from mixsk.model_selection import batched_cross_validate
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MixupClassifier(module="linear", lr=0.1, max_epochs=20, random_state=0)
    >>> bool(batched_cross_validate(clf, X, y, cv=5)["test_score"].mean() > 0.85)
    True
    """
    rows, labels = indexable(X, y)
    splitter = check_cv(cv, labels, classifier=is_classifier(estimator))
    splits = [tuple(pair) for pair in splitter.split(rows, labels, groups)]
    fit_params = dict(params or {})
    queue, seconds, told = outcomes(
        [clone(estimator)], rows, labels, splits, fit_params, return_train_score, n_jobs
    )
    if told is not None:
        warnings.warn(told, stacklevel=2)
    stacked = queue[0] is not None
    results: dict[str, Any] = cross_validate(
        Replay(estimator, queue), X, y, scoring=scoring, cv=_Splits(splits), params=params,
        return_train_score=return_train_score, error_score=error_score, n_jobs=1,
    )  # fmt: skip
    if stacked:
        results["fit_time"] = results["fit_time"] * 0 + seconds
    return results
