"""Scores of a cell: what its probabilities are worth on the test rows.

In numpy: scikit-learn's checks of its input cost several times what the scores do.
"""

import numpy as np

from mixsk.metrics import _brier, _calibration_error

SCORES = ("accuracy", "balanced_accuracy", "log_loss", "brier", "ece", "auc")


def score(y, proba, n_classes):
    """Judge probabilities over all classes of a table.

    Parameters
    ----------
    y : int array of shape (n,)
        Class codes of the test rows, from 0 to n_classes - 1.
    proba : float array of shape (n, n_classes)
        Predicted probabilities, >= 0; 0 for a class that the training rows lacked. Each row is divided by its
        sum for `log_loss`, `brier` and `ece`.
    n_classes : int
        Classes of the table, at least 2.

    Returns
    -------
    scores : dict of str to float
        Its keys are `SCORES`.

        - accuracy: of the class with the largest probability, the first of several;
        - balanced_accuracy: mean over the classes that occur in `y` of the accuracy on their rows;
        - log_loss: in nats, of probabilities clipped to [eps, 1 - eps] with eps of float64, so that one of 0
          costs 36 nats whatever dtype it came in;
        - brier, ece: `mixsk.metrics.brier_score`, in [0, 2], and `expected_calibration_error` in 15 bins;
        - auc: area under the ROC curve; for more than two classes the mean of one against the rest, over the
          classes that occur in `y`. NaN if only one does.

    Raises
    ------
    ValueError
        If `proba` has another shape, is not finite, has negative entries or a row of zeros.

    Examples
    --------
    >>> proba = np.array([[0.5, 0.5, 0.0], [0.25, 0.75, 0.0], [0.75, 0.25, 0.0]])
    >>> scores = score(np.array([0, 1, 1]), proba, n_classes=3)
    >>> scores["accuracy"], scores["balanced_accuracy"], scores["auc"]
    (0.667, 0.75, 0.5)
    """
    y, proba = np.asarray(y), np.asarray(proba, dtype=np.float64)
    share = _normalised(proba, (len(y), n_classes))
    counts = np.bincount(y, minlength=n_classes)
    present = np.flatnonzero(counts)
    # From proba, not from share: a division can make ties of what it rounds, or part them.
    right = proba.argmax(axis=1) == y
    rights = np.bincount(y, right, n_classes)
    eps = np.finfo(np.float64).eps
    weight = np.full(len(y), 1 / len(y))
    return {
        "accuracy": float(right.mean()),
        "balanced_accuracy": float((rights[present] / counts[present]).mean()),
        "log_loss": float(-np.log(share[np.arange(len(y)), y].clip(eps, 1 - eps)).mean()),
        "brier": _brier(y, share, weight),
        "ece": _calibration_error(y, share, weight, n_bins=15),
        "auc": _auc(y, proba, present),
    }


def _normalised(proba, shape):
    """Rows that sum to 1, or the reason why these rows cannot be judged."""
    if proba.shape != shape:
        raise ValueError(
            f"the probabilities have shape {proba.shape}, but {shape[0]} test rows and a table of {shape[1]} "
            f"classes need {shape}."
        )
    _refuse(~np.isfinite(proba).all(axis=1), proba, "not finite")
    total = proba.sum(axis=1, keepdims=True)
    _refuse((proba < 0).any(axis=1) | (total[:, 0] == 0), proba, "negative or all 0")
    return proba / total


def _refuse(wrong, proba, what):
    """Raise ValueError with the first of the rows (n,) that are wrong."""
    if wrong.any():
        first = wrong.argmax()
        raise ValueError(
            f"the probabilities of {wrong.sum()} of {len(wrong)} test rows are {what}; the first is row "
            f"{first}: {proba[first, :5]}."
        )


def _auc(y, proba, present):
    """Area under the ROC curve over the classes in `present`: how well each is told from the rest."""
    if len(present) < 2:
        return float("nan")
    # Of two classes the second alone, as scikit-learn: in float32 the other column may round to other ties.
    judged = [1] if proba.shape[1] == 2 else present
    return float(np.mean([_rank_above(proba[y == c, c], proba[y != c, c]) for c in judged]))


def _rank_above(own, rest):
    """Share of pairs (own, rest) in which the own is larger; a tie is half a pair: Mann and Whitney's U."""
    rest = np.sort(rest)
    below, below_or_tied = (np.searchsorted(rest, own, side) for side in ("left", "right"))
    return (below.sum() + below_or_tied.sum()) / (2 * len(own) * len(rest))
