"""Searches whose fits are one program."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import (
    GridSearchCV,
    ParameterGrid,
    ParameterSampler,
    RandomizedSearchCV,
    check_cv,
)
from sklearn.utils import indexable

from mixsk.model_selection._plan import outcomes
from mixsk.model_selection._progress import Evaluations, stacked_training
from mixsk.model_selection._replay import Replay


class _Splits:
    """Splits made once, for training and for scoring."""

    def __init__(self, splits: list[tuple[Any, Any]]) -> None:
        self.splits = splits

    def split(self, X: Any = None, y: Any = None, groups: Any = None) -> Any:
        return iter(self.splits)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        return len(self.splits)


class _Batched:
    """Mixin: train all candidates on all splits first, then let the search replay them."""

    estimator: Any
    cv: Any
    scoring: Any
    n_jobs: int | None
    return_train_score: bool
    verbose: int
    _candidates: Callable[[], Iterable[dict[str, Any]]]  # the settings to try

    def fit(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Run the search.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        **params : dict
            `groups` for the splitter, `sample_weight` for the fits.

        Returns
        -------
        self
        """
        if not hasattr(self.estimator, "fit"):
            return super().fit(X, y, **params)  # type: ignore[misc] # which says what is wrong with it
        self._validate_params()  # type: ignore[attr-defined] # before anything is done with cv
        given = {name: getattr(self, name) for name in ("estimator", "cv", "n_jobs")}
        rows, labels = indexable(X, y)
        fit_params = {name: value for name, value in params.items() if name != "groups" and value is not None}
        splitter = check_cv(self.cv, labels, classifier=is_classifier(self.estimator))
        splits = [tuple(pair) for pair in splitter.split(rows, labels, params.get("groups"))]
        self._batch = (rows, labels, splits, fit_params, given)
        self._queue: deque[Any] = deque()
        self._seconds: list[float] = []
        self._told: str | None = None
        try:
            self.estimator = Replay(given["estimator"], self._queue)
            self.cv, self.n_jobs = _Splits(splits), 1
            super().fit(X, y, **params)  # type: ignore[misc]
        finally:
            for name, value in given.items():
                setattr(self, name, value)
            if isinstance(getattr(self, "best_estimator_", None), Replay):
                self.best_estimator_ = self.best_estimator_.estimator
            told = self._told
            del self._batch, self._queue, self._seconds, self._told
        if told is not None:
            warnings.warn(told, stacklevel=2)
        if hasattr(self, "_checked_cv_orig"):  # from scikit-learn 1.9
            self._checked_cv_orig = splitter
        if self.scoring is None:  # the estimator's own score, which was asked of the stand-in
            self.scorer_ = check_scoring(self.estimator)
        return self

    def _format_results(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        results: dict[str, Any] = super()._format_results(*args, **kwargs)  # type: ignore[misc]
        seconds = np.array(self._seconds)
        stacked = ~np.isnan(seconds)
        results["mean_fit_time"] = np.where(stacked, seconds, results["mean_fit_time"])
        results["std_fit_time"] = np.where(stacked, 0.0, results["std_fit_time"])
        return results

    def _init_callback_context(self, *args: Any, max_subtasks: int = 0, **kwargs: Any) -> Any:
        """scikit-learn's tasks, and one more: the training."""
        return super()._init_callback_context(  # type: ignore[misc]
            *args, max_subtasks=max_subtasks + 1, **kwargs
        )

    def _run_search(self, evaluate_candidates: Any, callback_ctx: Any = None) -> None:
        candidates = list(self._candidates())
        stacked = self._train(candidates, callback_ctx)
        if callback_ctx is None:  # scikit-learn < 1.9
            evaluate_candidates(candidates)
            return
        context = callback_ctx.subcontext(
            task_name="search", max_subtasks=len(stacked), sequential_subtasks=False
        ).call_on_fit_task_begin(estimator=self)
        evaluate_candidates(candidates, callback_ctx=Evaluations(context, stacked))
        context.call_on_fit_task_end(estimator=self)

    def _train(self, candidates: list[dict[str, Any]], callback_ctx: Any) -> list[bool]:
        """Fill the queue; tell which of the fits are stacked."""
        rows, labels, splits, fit_params, given = self._batch
        estimators = [
            clone(given["estimator"]).set_params(**clone(params, safe=False)) for params in candidates
        ]
        progress = partial(stacked_training, parent=callback_ctx, search=self, verbose=self.verbose)
        queue, seconds, self._told = outcomes(
            estimators, rows, labels, splits, fit_params, self.return_train_score, given["n_jobs"], progress
        )
        stacked = [outcome is not None for outcome in queue]
        of_candidates = stacked[:: max(1, len(splits))]  # without splits scikit-learn says what is wrong
        self._seconds += [seconds if yes else np.nan for yes in of_candidates]
        self._queue.extend(queue)
        return stacked


class BatchedGridSearchCV(_Batched, GridSearchCV):
    """`GridSearchCV` that trains all candidates on all folds as one program.

    A drop-in for `sklearn.model_selection.GridSearchCV`, with its parameters, attributes and results.
    Candidates that differ in numbers (`lr`, `weight_decay`, `alpha`, `gamma`, `epsilon`, `clean_weight`,
    `label_smoothing`, `local_share`, `memory`, `mix_prob`, `mix_off`, `random_state`) are stacked with all
    of their folds; those that differ in structure are stacked apart. A fit has the draws and the initial
    weights that it would have alone, and so the same result up to rounding. What cannot be stacked (a module
    or an optimiser of your own, callbacks, members) is fitted one by one, which a warning says.

    Each program runs on one thread; with `n_jobs` the fits are shared among processes. The steps of a
    pipeline before the classifier are fitted once a fold.

    Parameters
    ----------
    estimator : classifier
        One of mixsk's, or a pipeline that ends in one.
    param_grid : dict or list of dicts
        Values of each parameter.
    scoring : str, callable, list, tuple or dict, default=None
        None is the accuracy.
    n_jobs : int, default=None
        Processes among which the fits are shared.
    refit : bool, str or callable, default=True
        Whether, or by which score, the best candidate is fitted to all rows.
    cv : int, splitter or iterable, default=None
        None is 5 stratified folds.
    verbose : int, default=0
        From 1 on, what is trained together and how long it took, before what scikit-learn prints while it
        scores; from 2 on also a line for each program.
    pre_dispatch : int or str, default="2*n_jobs"
        Not used: it is scikit-learn's, for fits one by one.
    error_score : "raise" or number, default=nan
        Score of a fit that fails; the others are not touched by it.
    return_train_score : bool, default=False
        Whether the training rows are scored, too.

    See Also
    --------
    BatchedRandomizedSearchCV : The same over sampled candidates.
    batched_cross_validate : One candidate over many splits.

    Notes
    -----
    Callbacks of scikit-learn 1.9, such as its `ProgressBar`, may be set by `set_callbacks`. They are told
    of all stacked training as one task of the search, "stacked-training". Its subtasks are model-epochs
    (models times epochs), each of which ends with its epoch; if there are more than 500, a subtask stands
    for equally many of them. A model that has stopped early, or failed, has all of its epochs behind it.
    A callback that answers true at the end of a subtask stops the program that is being trained. The
    search's other tasks, and the fits of what is not stacked, are told as by scikit-learn's search. With
    `n_jobs` callbacks are copied to the processes, as they are by scikit-learn's.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from mixsk import GenLabelClassifier
    >>> from mixsk.model_selection import BatchedGridSearchCV
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = GenLabelClassifier(module="linear", max_epochs=30, random_state=0)
    >>> search = BatchedGridSearchCV(clf, {"lr": [0.1, 0.01], "gamma": [0, 0.5, 1]}, cv=5).fit(X, y)
    >>> search.best_params_["lr"], bool(search.best_score_ > 0.9)
    (0.1, True)
    """

    def _candidates(self) -> Iterable[dict[str, Any]]:
        return ParameterGrid(self.param_grid)


class BatchedRandomizedSearchCV(_Batched, RandomizedSearchCV):
    """`RandomizedSearchCV` that trains all candidates on all folds as one program.

    A drop-in for `sklearn.model_selection.RandomizedSearchCV`; what is stacked, and how, is said at
    `BatchedGridSearchCV`.

    Parameters
    ----------
    estimator : classifier
        One of mixsk's, or a pipeline that ends in one.
    param_distributions : dict or list of dicts
        Values, or a distribution with `rvs`, of each parameter.
    n_iter : int, default=10
        Candidates sampled.
    scoring : str, callable, list, tuple or dict, default=None
        None is the accuracy.
    n_jobs : int, default=None
        Processes among which the fits are shared.
    refit : bool, str or callable, default=True
        Whether, or by which score, the best candidate is fitted to all rows.
    cv : int, splitter or iterable, default=None
        None is 5 stratified folds.
    verbose : int, default=0
        From 1 on, what is trained together and how long it took, before what scikit-learn prints while it
        scores; from 2 on also a line for each program.
    pre_dispatch : int or str, default="2*n_jobs"
        Not used: it is scikit-learn's, for fits one by one.
    random_state : int, RandomState instance or None, default=None
        Samples the candidates.
    error_score : "raise" or number, default=nan
        Score of a fit that fails; the others are not touched by it.
    return_train_score : bool, default=False
        Whether the training rows are scored, too.

    Examples
    --------
    >>> from scipy.stats import loguniform
    >>> from sklearn.datasets import load_iris
    >>> from mixsk import MixupClassifier
    >>> from mixsk.model_selection import BatchedRandomizedSearchCV
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MixupClassifier(module="linear", max_epochs=30, random_state=0)
    >>> search = BatchedRandomizedSearchCV(clf, {"lr": loguniform(1e-2, 1)}, n_iter=4, random_state=0)
    >>> bool(search.fit(X, y).best_score_ > 0.85)
    True
    """

    def _candidates(self) -> Iterable[dict[str, Any]]:
        return ParameterSampler(self.param_distributions, self.n_iter, random_state=self.random_state)
