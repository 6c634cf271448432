"""Cross-validation whose fits are one program."""

from __future__ import annotations

import warnings
from functools import partial
from numbers import Integral, Real
from typing import Any

from sklearn.base import clone, is_classifier
from sklearn.model_selection import check_cv, cross_validate
from sklearn.utils import indexable
from sklearn.utils._param_validation import StrOptions, validate_parameter_constraints

from mixsk.model_selection._plan import outcomes
from mixsk.model_selection._progress import stacked_training
from mixsk.model_selection._replay import Replay
from mixsk.model_selection._search import _Splits

# What scikit-learn would refuse too, but only after the training.
_CONSTRAINTS = {
    "n_jobs": [Integral, None],
    "verbose": ["verbose"],
    "params": [dict, None],
    "return_train_score": ["boolean"],
    "return_estimator": ["boolean"],
    "return_indices": ["boolean"],
    "error_score": [StrOptions({"raise"}), Real],
}


def batched_cross_validate(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    groups: Any = None,
    scoring: Any = None,
    cv: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
    params: dict[str, Any] | None = None,
    return_train_score: bool = False,
    return_estimator: bool = False,
    return_indices: bool = False,
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
    verbose : int, default=0
        From 1 on, what is trained together and how long it took, before what scikit-learn prints while it
        scores; from 2 on also a line for each program.
    params : dict, default=None
        `sample_weight` for the fits.
    return_train_score : bool, default=False
        Whether the training rows are scored, too.
    return_estimator : bool, default=False
        Whether the fitted estimators are returned. The losses in their `history_` are those of the program,
        means over its models; one whose fit failed is not fitted.
    return_indices : bool, default=False
        Whether the rows of each split are returned.
    error_score : "raise" or number, default=nan
        Score of a split whose fit fails.

    Returns
    -------
    dict of ndarray of shape (n_splits,)
        As `sklearn.model_selection.cross_validate` returns it: `fit_time` (the program's, divided by its
        fits), `score_time`, and for each score `test_<name>` and `train_<name>`, all float64. On demand
        `estimator`, a list, and `indices`, a dict of "train" and "test", each a tuple of arrays.

    Raises
    ------
    ValueError
        For data or parameters that cannot be used; also if no fit succeeds.

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
    given = locals()
    validate_parameter_constraints(
        _CONSTRAINTS, {name: given[name] for name in _CONSTRAINTS}, caller_name="batched_cross_validate"
    )
    rows, labels = indexable(X, y)
    splitter = check_cv(cv, labels, classifier=is_classifier(estimator))
    splits = [tuple(pair) for pair in splitter.split(rows, labels, groups)]
    fit_params = dict(params or {})
    progress = partial(stacked_training, verbose=verbose)
    queue, seconds, told = outcomes(
        [clone(estimator)], rows, labels, splits, fit_params, return_train_score, n_jobs, progress
    )
    if told is not None:
        warnings.warn(told, stacklevel=2)
    stacked = queue[0] is not None
    results: dict[str, Any] = cross_validate(
        Replay(estimator, queue), X, y, scoring=scoring, cv=_Splits(splits), params=params,
        return_train_score=return_train_score, return_estimator=return_estimator,
        return_indices=return_indices, error_score=error_score, n_jobs=1, verbose=verbose,
    )  # fmt: skip
    if return_estimator:
        results["estimator"] = [replay.real() for replay in results["estimator"]]
    if stacked:
        results["fit_time"] = results["fit_time"] * 0 + seconds
    return results
