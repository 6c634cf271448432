"""A stand-in whose fit is what the stacked program has trained already.

scikit-learn's own search then does all that is its own: splits, scorers, error handling, ranks, refit.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone

from mixsk.model_selection._train import Outcome


class Replay(BaseEstimator):
    """An estimator that takes the next outcome of a queue where it is fitted; without one it really fits.

    Parameters
    ----------
    estimator : estimator
        What it stands for.
    queue : deque of Outcome or None
        In the order in which the fits are asked for; None: this one is to be fitted as it is. Shared by
        all clones.
    """

    def __init__(self, estimator: Any, queue: deque[Outcome | None]) -> None:
        self.estimator = estimator
        self.queue = queue

    def __sklearn_clone__(self) -> Replay:
        return Replay(clone(self.estimator), self.queue)

    def __sklearn_tags__(self) -> Any:
        return self.estimator.__sklearn_tags__()

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters of what it stands for."""
        params: dict[str, Any] = self.estimator.get_params(deep)
        return params

    def set_params(self, **params: Any) -> Replay:
        """Set parameters of what it stands for."""
        self.estimator.set_params(**params)
        return self

    def fit(self, X: Any, y: Any = None, **fit_params: Any) -> Replay:
        """Take the next outcome, raise its error, or fit."""
        self.outcome_ = self.queue.popleft() if self.queue else None
        self.train_ = X
        if self.outcome_ is None:
            self.estimator.fit(X, y, **fit_params)
            self.classes_ = self.estimator.classes_
        elif self.outcome_.error is not None:
            raise self.outcome_.error
        else:
            self.classes_ = self.outcome_.classes
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the test rows, or of the rows of `fit`."""
        if self.outcome_ is None:
            return np.asarray(self.estimator.predict_proba(X))
        sets = self.outcome_.probabilities
        return sets[1] if X is self.train_ and len(sets) > 1 else sets[0]

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of `predict_proba`."""
        if self.outcome_ is None:
            return np.asarray(self.estimator.predict_log_proba(X))
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class."""
        if self.outcome_ is None:
            return np.asarray(self.estimator.predict(X))
        return np.asarray(self.classes_)[self.predict_proba(X).argmax(1)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy."""
        return float(np.average(np.asarray(y) == self.predict(X), weights=sample_weight))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "outcome_")
