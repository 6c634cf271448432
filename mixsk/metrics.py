"""Scores of predicted probabilities: calibration error and the multiclass Brier score.

Both take what scikit-learn's `log_loss` takes, and serve as scorers of its searches:

    make_scorer(brier_score, response_method="predict_proba", greater_is_better=False)

Sources: "On Calibration of Modern Neural Networks" (ICML 2017), https://arxiv.org/abs/1706.04599, eq. 3;
"Verification of Forecasts Expressed in Terms of Probability" (Monthly Weather Review 78, 1950).
NOTE[DIFF]: `log_loss` sorts `labels`; here they name the columns in the order in which they are given.
"""

from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import _check_sample_weight

__all__ = ["brier_score", "expected_calibration_error"]

TOLERANCE = 1e-3  # of a row's sum: half precision passes
_CONSTRAINTS = {
    "y_true": ["array-like"],
    "y_proba": ["array-like"],
    "labels": ["array-like", None],
    "sample_weight": ["array-like", None],
}


@validate_params(
    _CONSTRAINTS | {"n_bins": [Interval(Integral, 1, None, closed="left")]},
    prefer_skip_nested_validation=True,
)
def expected_calibration_error(y_true, y_proba, *, labels=None, n_bins=15, sample_weight=None):
    """How far the confidence in the predicted class is from its accuracy, on average.

    The confidence of a row is its largest probability. Rows are put into `n_bins` bins of confidence,
    ((m - 1) / n_bins, m / n_bins] for m = 1 to n_bins, and

        ECE = sum over bins of (rows in the bin / all rows) * |accuracy in it - mean confidence in it|.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        True labels: numbers, strings or booleans.
    y_proba : array-like of shape (n, C) or (n,)
        Predicted probabilities in [0, 1], rows summing to 1 within 0.001, as `predict_proba` returns them. Of
        shape (n,) or (n, 1): the probability of the later of two labels.
    labels : array-like of shape (C,), default=None
        The label of each column, such as `classifier.classes_`. None: the sorted labels of `y_true`, which
        must then have all C.
    n_bins : int, default=15
        Number of bins of equal width, at least 1.
    sample_weight : array-like of shape (n,), default=None
        Weights >= 0 of the rows, not all 0. None: every row counts the same.

    Returns
    -------
    error : float
        In [0, 1]; 0 if the accuracy equals the mean confidence in every bin.

    Raises
    ------
    ValueError
        If the inputs differ in length, are empty or not finite; if `y_proba` does not hold probabilities; if
        `labels` repeats a label or lacks one of `y_true`, or the columns are not as many as the labels.

    See Also
    --------
    brier_score : Needs no bins, and rewards sharp probabilities too.

    Notes
    -----
    Only the predicted class counts (the first of those with the largest probability), so for two labels it is
    not the error of a calibration curve, which follows the probability of one of them.

    With few rows in a bin its accuracy is far from the confidence by chance alone: compare scores that were
    measured on as many rows. A constant prediction of the class frequencies has an error of 0.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger: "On Calibration of Modern Neural Networks", ICML 2017, eq. 3,
    https://arxiv.org/abs/1706.04599.

    Examples
    --------
    Four predictions with 75 % confidence, three of them right; then four with 95 %:

    >>> y_true = ["cat", "cat", "cat", "dog"]
    >>> expected_calibration_error(y_true, [[0.75, 0.25]] * 4)
    0.0
    >>> expected_calibration_error(y_true, [[0.95, 0.05]] * 4)
    0.2
    """
    return _calibration_error(*_checked(y_true, y_proba, labels, sample_weight), n_bins)


@validate_params(_CONSTRAINTS, prefer_skip_nested_validation=True)
def brier_score(y_true, y_proba, *, labels=None, sample_weight=None):
    """Mean over rows of the squared distance between the probabilities and the one-hot label.

    For n rows and C classes it is 1/n sum_i sum_c (p_ic - 1[y_i = c])^2, Brier's own definition for any C.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        True labels: numbers, strings or booleans.
    y_proba : array-like of shape (n, C) or (n,)
        Predicted probabilities in [0, 1], rows summing to 1 within 0.001, as `predict_proba` returns them. Of
        shape (n,) or (n, 1): the probability of the later of two labels.
    labels : array-like of shape (C,), default=None
        The label of each column, such as `classifier.classes_`. None: the sorted labels of `y_true`, which
        must then have all C.
    sample_weight : array-like of shape (n,), default=None
        Weights >= 0 of the rows, not all 0. None: every row counts the same.

    Returns
    -------
    score : float
        In [0, 2]: 0 if every true label has probability 1, 2 if in every row a wrong one has it. Lower is
        better; its expectation is lowest for the true probabilities and for no others.

    Raises
    ------
    ValueError
        If the inputs differ in length, are empty or not finite; if `y_proba` does not hold probabilities; if
        `labels` repeats a label or lacks one of `y_true`, or the columns are not as many as the labels.

    See Also
    --------
    sklearn.metrics.brier_score_loss : For two labels half of this score, as both columns are off by the same.
        From version 1.7 on it equals this score for more labels, and with `scale_by_half=False` for two.
    expected_calibration_error : Calibration alone.

    Examples
    --------
    >>> from sklearn.metrics import brier_score_loss
    >>> brier_score([0, 1, 1], [0.25, 0.5, 1.0])
    0.208
    >>> 2 * brier_score_loss([0, 1, 1], [0.25, 0.5, 1.0])
    0.208
    >>> brier_score(["b", "a"], [[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]], labels=["a", "b", "c"])
    1.4375
    """
    return _brier(*_checked(y_true, y_proba, labels, sample_weight))


def _calibration_error(codes, proba, weight, n_bins):
    """`expected_calibration_error` of what `_checked` returns; benchmarks skip the checks."""
    confidence, right, bins = _binned(codes, proba, n_bins)
    gaps = np.bincount(bins, weight * (right - confidence))
    return float(np.abs(gaps).sum())


def _binned(codes, proba, n_bins):
    """Confidence, whether it is right, and bin (from 0) of each row, as a reliability diagram shows them."""
    confidence = proba.max(axis=1)
    right = proba.argmax(axis=1) == codes
    # Found among the edges, not as ceil(confidence * n_bins): 0.07 * 100 is 7.000000000000001.
    edges = np.arange(1, n_bins) / n_bins
    return confidence, right, np.searchsorted(edges, confidence, side="left")


def _brier(codes, proba, weight):
    """`brier_score` of what `_checked` returns."""
    one_hot = codes[:, None] == np.arange(proba.shape[1])
    return float(weight @ ((proba - one_hot) ** 2).sum(axis=1))


def _checked(y_true, y_proba, labels, sample_weight):
    """All that a score needs: codes (n,) of the columns, probabilities (n, C), weights (n,) summing to 1."""
    proba = _probabilities(y_proba)
    y_true = column_or_1d(y_true)
    check_consistent_length(y_true, y_proba, sample_weight)
    codes = _codes(y_true, labels, proba.shape[1])
    if sample_weight is None:
        return codes, proba, np.full(len(codes), 1 / len(codes))
    if not np.any(sample_weight):
        raise ValueError("sample_weight is zero for every row: nothing is left to score. Give rows weight.")
    weight = _check_sample_weight(sample_weight, proba, dtype=np.float64, ensure_non_negative=True)
    return codes, proba, weight / weight.sum()


def _probabilities(y_proba):
    """y_proba as float64 (n, C), or the reason why its numbers cannot be probabilities."""
    proba = check_array(y_proba, ensure_2d=False, dtype=np.float64, input_name="y_proba")
    outside = (proba < 0) | (proba > 1)
    if outside.any():
        raise ValueError(
            f"y_proba has {outside.sum()} entries outside [0, 1], the first is {proba[outside][0]}. Pass "
            "probabilities, as predict_proba returns them."
        )
    if proba.ndim == 1 or proba.shape[1] == 1:
        later = proba.reshape(-1, 1)
        return np.hstack([1 - later, later])
    total = proba.sum(axis=1)
    # Rounded, because 1 - 0.999 is more than 0.001 by a few bits.
    off = np.abs(total - 1).round(12) > TOLERANCE
    if off.any():
        raise ValueError(
            f"y_proba has {off.sum()} rows that do not sum to 1 within {TOLERANCE}, the first is row "
            f"{off.argmax()} with {total[off][0]}. Pass probabilities, as predict_proba returns them."
        )
    return proba


def _codes(y_true, labels, n_columns):
    """The column of each row's label; a label without a column and a column without a label are errors."""
    missing = pd.isna(y_true)
    if missing.any():
        raise ValueError(
            f"y_true has no label in {missing.sum()} rows, the first is row {missing.argmax()}. Drop them."
        )
    try:
        present, codes = np.unique(y_true, return_inverse=True)
    except TypeError as error:
        raise ValueError(
            "y_true mixes labels that have no common order. Convert them, for example with astype(str)."
        ) from error
    names = present.tolist() if labels is None else column_or_1d(labels).tolist()
    if len(names) != n_columns:
        raise ValueError(
            f"y_proba has columns for {n_columns} labels, but {'y_true' if labels is None else 'labels'} has "
            f"{len(names)}: {_some(names)}. Pass the label of each column as labels, such as "
            "labels=classifier.classes_."
        )
    # A dict, not a search in arrays: numpy would compare 1 with "1" as two strings.
    columns = {name: column for column, name in enumerate(names)}
    if len(columns) != n_columns:
        raise ValueError(f"labels has {_some(names)}, which repeats a label. Name each column once.")
    unknown = [name for name in present.tolist() if name not in columns]
    if unknown:
        raise ValueError(
            f"y_true has labels without a column in y_proba: {_some(unknown)}. The columns are, by labels, "
            f"{_some(names)}."
        )
    return np.array([columns[name] for name in present.tolist()])[codes]


def _some(names):
    """At most ten names: a list of 1000 classes would hide the rest of a message."""
    return f"[{', '.join(map(repr, names[:10]))}{', ...' if len(names) > 10 else ''}]"
