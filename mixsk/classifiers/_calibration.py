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
from sklearn.utils import _safe_indexing

from mixsk.classifiers._holdout import stratified_folds

PULL = 1.0  # a standard normal prior of log T
BOUNDS = (-3.0, 3.0)  # of log T


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the fit itself says it of all rows
        fits = batched_cross_validate(
            clone(clf).set_params(random_state=seed),
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
        found = [fit.predict_log_proba(_safe_indexing(X, test)) for fit, test in pairs]
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
