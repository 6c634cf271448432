"""From candidates and splits to the queue of outcomes that scikit-learn's search then asks for."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from sklearn.base import clone
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_method_params

from mixsk.classifiers._base import MixClassifier
from mixsk.model_selection._group import model_epochs, split, why_not
from mixsk.model_selection._outcome import Fold, Outcome
from mixsk.model_selection._progress import Progress
from mixsk.model_selection._train import train


def outcomes(
    estimators: Sequence[Any],
    X: Any,
    y: Any,
    splits: Sequence[tuple[Any, Any]],
    fit_params: dict[str, Any],
    with_train: bool,
    n_jobs: int | None,
    progress: Callable[[list[list[int]]], AbstractContextManager[list[Progress]]],
) -> tuple[deque[Outcome | None], float, str | None]:
    """Train what can be stacked, for each estimator and then each split; None where it cannot.

    `progress` opens, for the epochs of the fits in each process, what is told of them.

    Returns
    -------
    queue : deque of Outcome or None
    seconds : float
        Of training, over the number of fits.
    told : str or None
        Why some of the fits are left, for a warning.
    """
    start = time.perf_counter()
    jobs, places = [], []
    queue: list[Outcome | None] = [None] * (len(estimators) * len(splits))
    reasons: dict[str, None] = {}
    if y is None:  # which a fit by itself says
        return deque(queue), 0.0, None
    for c, estimator in enumerate(estimators):
        _, clf, prefix = split(estimator)
        try:
            if isinstance(clf, MixClassifier):
                clf._check_params()
            reason = why_not(clf, [len(train) for train, _ in splits])
        except Exception as error:
            queue[c * len(splits) : (c + 1) * len(splits)] = [Outcome(error=error)] * len(splits)
            continue
        if reason is None and set(fit_params) - {f"{prefix}sample_weight"}:
            reason = f"fit takes {sorted(set(fit_params) - {f'{prefix}sample_weight'})}"
        if reason is None and any(getattr(one, "_skl_callbacks", None) for one in (estimator, clf)):
            reason = f"{type(estimator).__name__} has callbacks of its own"
        if reason is not None:
            reasons[reason] = None
            continue
        for s in range(len(splits)):
            jobs.append((estimator, s))
            places.append(c * len(splits) + s)
    portions = _portions(jobs, n_jobs) if jobs else []
    epochs = [model_epochs(split(estimator)[1], len(splits[s][0])) for estimator, s in jobs]
    with progress([[epochs[n] for n in portion] for portion in portions]) as counts:
        if jobs:
            weights = next(iter(fit_params.values()), None)
            folds = [_fold(X, y, weights, *pair, with_train) for pair in splits]
            for place, outcome in zip(places, _run(jobs, folds, portions, counts), strict=True):
                outcome.rows = folds[place % len(splits)].evaluate
                queue[place] = outcome
    seconds = (time.perf_counter() - start) / max(1, len(jobs))
    told = "Some of the fits run one by one, not as one program: " + "; ".join(reasons) + "."
    return deque(queue), seconds, told if reasons else None


def _fold(X: Any, y: Any, weights: Any, rows: Any, test: Any, with_train: bool) -> Fold:
    X_train = _safe_indexing(X, rows)
    w = None if weights is None else _check_method_params(X, {"w": weights}, rows)["w"]
    evaluate = [_safe_indexing(X, test)] + ([X_train] if with_train else [])
    return Fold(X_train, _safe_indexing(y, rows), w, evaluate)


def _portions(jobs: list[tuple[Any, int]], n_jobs: int | None) -> list[list[int]]:
    """Numbers of the jobs, for as many processes as there may be."""
    workers = min(effective_n_jobs(n_jobs), len(jobs))
    if workers == 1:
        return [list(range(len(jobs)))]
    # A portion keeps the models of a fold together, since they see the same batches.
    order = sorted(range(len(jobs)), key=lambda n: jobs[n][1])
    return [part.tolist() for part in np.array_split(order, workers)]


def _run(
    jobs: list[tuple[Any, int]], folds: list[Fold], portions: list[list[int]], counts: list[Progress]
) -> list[Outcome]:
    """All jobs, each portion in a process of its own."""
    if len(portions) == 1:
        return train(jobs, folds, counts[0])
    parts = Parallel(n_jobs=len(portions))(
        delayed(train)([(clone(jobs[n][0]), jobs[n][1]) for n in portion], folds, count)
        for portion, count in zip(portions, counts, strict=True)
    )
    found: list[Outcome] = [Outcome()] * len(jobs)
    for portion, part in zip(portions, parts, strict=True):
        for n, outcome in zip(portion, part, strict=True):
            found[n] = outcome
    return found
