"""Temperature scaling: one number that makes probabilities neither too sure nor too unsure.

Source: "On Calibration of Modern Neural Networks" (ICML 2017), https://arxiv.org/abs/1706.04599, section 4.2.
NOTE[DIFF]: the temperature comes from out-of-fold predictions and not from rows held out for it, so that all
rows are trained on; and it is drawn to 1 where there are few rows.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from mixsk.classifiers._bagging import Folded
from mixsk.classifiers._data import encode_labels
from mixsk.classifiers._holdout import FOLDS, rows_at, silent, stratified_folds, taken
from mixsk.classifiers._prepare import FOLD_SEEDS
from mixsk.classifiers._settings import is_auto
from mixsk.encoding import DatasetImages

PULL = 1.0  # a standard normal prior of log T
BOUNDS = (-3.0, 3.0)  # of log T


class Calibration:
    """Mixin: the temperature of a classifier's predictions."""

    calibrate: bool | str
    _n_folds: int
    time_limit: float | None
    classes_: np.ndarray
    _temperature = 1.0

    @property
    def temperature_(self) -> float:
        """What logits are divided by: 1 without `calibrate`; above 1, predictions are made less sure."""
        check_is_fitted(self)
        return self._temperature

    def _calibrates(self, n_cv: int) -> bool:
        """Whether a fit of so many folds has a temperature; "auto": where it costs nothing."""
        return n_cv > 1 if is_auto(self.calibrate) else bool(self.calibrate)

    def _fit_temperature(self, X: Any, y: Any, sample_weight: Any) -> float:
        """The temperature of predictions on rows that were not trained on; 1 without `calibrate`.

        That of networks in folds is found once they are trained. Of the time limit the fits of the folds and
        the one to come have equal shares.
        """
        if self._n_folds > 1 or not self._calibrates(1):
            return 1.0
        X, y, w = self._check_rows(X, y, sample_weight)
        template = clone(self).set_params(**self._in_a_fold())
        vars(template).pop("_skl_callbacks", None)  # which are told of the fit itself
        (stream,) = self._streams(FOLD_SEEDS)[:1]
        found = out_of_fold(template, X, y, w, int(stream.generate_state(1)[0]) % 2**31)
        if found is None:
            warnings.warn(
                "calibrate=True needs a class with two rows, one to hold out: the temperature stays 1.",
                stacklevel=4,  # the caller of fit
            )
            return 1.0
        log_p, rows = found
        return fit_temperature(log_p, encode_labels(y[rows], self.classes_), None if w is None else w[rows])

    def _held_out_temperature(self, train: Folded) -> float:
        """The temperature of networks that were each trained on all folds but one."""
        logits, index = self._held_out_logits(self.net_, train)  # type: ignore[attr-defined]
        rows = train.rows.take(index)
        return fit_temperature(logits, rows.y.cpu().numpy(), None if rows.w is None else rows.w.cpu().numpy())

    def _in_a_fold(self) -> dict[str, Any]:
        """Parameters of the fits that only serve this one."""
        limit = self.time_limit and self.time_limit / (FOLDS + 1)
        return {"calibrate": False, "n_cv": 1, "verbose": 0, "time_limit": limit, "checkpoint": None}


def out_of_fold(
    clf: Any, X: Any, y: np.ndarray, w: np.ndarray | None, seed: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Logarithms of probabilities (m, C) of rows that clones of `clf` were not fitted to; the rows' numbers.

    None if no class has two rows. Columns are in the order of the sorted classes.
    """
    from mixsk.model_selection import batched_cross_validate  # which is built on the classifiers

    folds = stratified_folds(y, seed)
    if not folds:
        return None
    clf = clone(clf).set_params(random_state=seed)
    with silent():
        if isinstance(X, DatasetImages):  # whose folds scikit-learn would read into memory
            fits = [clone(clf).fit(*taken(X, y, w, train)) for train, _ in folds]
        else:
            fits = batched_cross_validate(
                clf,
                X,
                y,
                cv=folds,
                params=None if w is None else {"sample_weight": w},
                scoring=_nothing,
                error_score="raise",
                return_estimator=True,
            )["estimator"]
        held_out = [test for _, test in folds]
        pairs = zip(fits, held_out, strict=True)
        found = [fit.predict_log_proba(rows_at(X, test)) for fit, test in pairs]
    return np.concatenate(found), np.concatenate(held_out)


def _nothing(clf: Any, X: Any, y: Any) -> float:
    return 0.0


def fit_temperature(log_p: np.ndarray, codes: np.ndarray, w: np.ndarray | None = None) -> float:
    """The T for which softmax(log_p / T) has the least log loss, with a prior of log T.

    Parameters
    ----------
    log_p : ndarray of shape (n, C)
        Logits, or logarithms of probabilities.
    codes : ndarray of int of shape (n,)
        True classes.
    w : ndarray of shape (n,) or None
        Weights, which count as rows.

    Returns
    -------
    temperature : float
        Above 1: probabilities are made less sure.
    """
    rows = np.arange(len(codes))
    weights = np.ones(len(codes)) if w is None else w

    def loss(log_t: float) -> float:
        fitted = log_softmax(log_p / np.exp(log_t), axis=1)[rows, codes]
        return float(-(weights @ fitted) + PULL * log_t**2 / 2)

    return float(np.exp(minimize_scalar(loss, bounds=BOUNDS, method="bounded").x))
