"""A stand-in whose fit is what the stacked program has trained already.

scikit-learn's own search then does all that is its own: splits, scorers, error handling, ranks, refit.
"""

from __future__ import annotations

from collections import deque
from contextlib import nullcontext
from copy import copy
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline
from sklearn.utils import column_or_1d

from mixsk.classifiers._callbacks import CallbackSupportMixin
from mixsk.model_selection._outcome import Outcome


class Replay(CallbackSupportMixin, BaseEstimator):
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
        if hasattr(estimator, "_metadata_request"):  # scikit-learn 1.6 looks here for what score takes
            self._metadata_request = estimator._metadata_request

    def __sklearn_clone__(self) -> Replay:
        return Replay(clone(self.estimator), self.queue)

    def __sklearn_tags__(self) -> Any:
        return self.estimator.__sklearn_tags__()

    def get_metadata_routing(self) -> Any:
        """What the estimator asks for."""
        return self.estimator.get_metadata_routing()

    def __getattr__(self, name: str) -> Any:
        if "outcome_" in vars(self) and not name.startswith("__") and name != "real_":
            return getattr(self.real(), name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __getitem__(self, step: Any) -> Any:
        """A step of a pipeline, fitted."""
        return self.real()[step]

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
        if self.outcome_ is None:
            context = vars(self).get("_parent_callback_ctx")  # where a search of scikit-learn 1.9 fits it
            with nullcontext() if context is None else context.propagate_callback_context(self.estimator):
                self.estimator.fit(X, y, **fit_params)
        elif self.outcome_.error is not None:
            raise self.outcome_.error.with_traceback(None)
        else:
            self.classes_ = self.outcome_.classes
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the test rows, or of the rows of `fit`, as they are known; of others, computed."""
        known = self._known(X)
        return np.asarray(self.real().predict_proba(X)) if known is None else known

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of probabilities, also where those underflow."""
        return np.asarray(self.real().predict_log_proba(X))

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class."""
        known = self._known(X)
        if known is None:
            return np.asarray(self.real().predict(X))
        return np.asarray(self.classes_)[known.argmax(1)]

    def _known(self, X: Any) -> np.ndarray | None:
        if self.outcome_ is None:
            return None
        for rows, found in zip(self.outcome_.rows, self.outcome_.probabilities, strict=True):
            if _same_rows(rows, X):
                if isinstance(found, Exception):  # rows that could not be encoded
                    raise found.with_traceback(None)
                return np.asarray(found)
        return None

    def real(self) -> Any:
        """The fitted estimator, made from the program's weights where it is asked for.

        Returns
        -------
        estimator
            Not fitted if the fit failed.
        """
        if self.outcome_ is None or self.outcome_.model is None:  # fitted as it is, or failed
            return self.estimator
        if "real_" not in vars(self):
            self.real_ = self.outcome_.model.fitted()
            if isinstance(self.estimator, Pipeline):
                steps = [*self.outcome_.before, (self.estimator.steps[-1][0], self.real_)]
                self.real_ = copy(self.estimator).set_params(steps=steps)
        return self.real_

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy, or what a class of its own says."""
        if self.outcome_ is None:
            return float(
                self.estimator.score(
                    X, y, **({} if sample_weight is None else {"sample_weight": sample_weight})
                )
            )
        return float(np.average(column_or_1d(y) == self.predict(X), weights=sample_weight))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "outcome_")


def _same_rows(one: Any, other: Any) -> bool:
    """Whether two containers hold the same rows."""
    if one is other:
        return True
    if type(one) is not type(other) or getattr(one, "shape", None) != getattr(other, "shape", None):
        return False
    if hasattr(one, "equals"):
        return bool(one.equals(other))
    if issparse(one):
        return bool((one != other).nnz == 0)
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"))
    if isinstance(one, (list, tuple)):
        return all(a is b for a, b in zip(one, other, strict=False)) and len(one) == len(other)
    return False
