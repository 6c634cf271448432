"""Samples of the rows of a set: few of them, few of some classes, and those that are held out."""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import check_random_state


def take_share(y, share, *, random_state=None):
    """Draw a share of the rows of each class: what is left where labels are scarce.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Class of each row.
    share : float
        Above 0, at most 1; 0.03 for 3 %. Of n rows of a class `round(share * n)` are kept, and at least one.
    random_state : int, RandomState or None, default=None
        Of the draw. A larger share with the same seed need not contain the smaller.

    Returns
    -------
    rows : ndarray of int64
        Row numbers, ascending.

    Raises
    ------
    ValueError
        If `share` is no such number.

    References
    ----------
    AMP (EMNLP 2021), section 4.4, which draws ten times.

    Examples
    --------
    >>> from mixsk.datasets import take_share
    >>> y = np.repeat(["often", "seldom"], [200, 10])
    >>> rows = take_share(y, 0.03, random_state=0)
    >>> np.unique(y[rows], return_counts=True)[1]
    array([6, 1])
    """
    _check_share("share", share, "0.03 for 3 %")
    return _draw(y, lambda counts: [max(1, round(share * int(count))) for count in counts], random_state)


def long_tail(y, imbalance, random_state=0):
    """Draw ever fewer rows of one class after the other, as long-tailed sets are made of balanced ones.

    Of the class of code c of C classes `n_max * imbalance ** (c / (C - 1))` rows are drawn without
    replacement, rounded down: of the first as many as the largest class has, of the last `imbalance` times
    as many. At least one; a class that has not so many keeps all that it has.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Class of each row; codes are in the sorted order of the classes.
    imbalance : float
        Rows of the smallest class over those of the largest, above 0, at most 1. 1 keeps all rows.
    random_state : int, RandomState or None, default=0
        Of the draw.

    Returns
    -------
    rows : ndarray of int64
        Row numbers, ascending.

    Raises
    ------
    ValueError
        If `imbalance` is no such number.

    References
    ----------
    Cui et al., "Class-Balanced Loss Based on Effective Number of Samples" (CVPR 2019). CIFAR-10 with an
    imbalance of .01 has 12 406 training rows.

    Examples
    --------
    >>> from mixsk.datasets import long_tail
    >>> y = np.repeat([0, 1, 2], 100)
    >>> np.bincount(y[long_tail(y, 0.01)])
    array([100,  10,   1])
    """
    _check_share("imbalance", imbalance, "0.01 where the largest class has 100 times the smallest")

    def sizes(counts):
        wanted = counts.max(initial=0) * imbalance ** np.linspace(0, 1, len(counts))
        # 100 * .29 is a little below 29
        return np.clip(np.floor(wanted * (1 + 1e-12)).astype(int), 1, counts)

    return _draw(y, sizes, random_state)


def thin(y, imbalance, share, rng):
    """Return row numbers of a long tail, and of a share of each of its classes; 1 and 1 draw nothing."""
    rows = np.arange(len(y)) if imbalance == 1 else long_tail(y, imbalance, rng)
    return rows if share == 1 else rows[take_share(y[rows], share, random_state=rng)]


def hold_out(y, size, *, random_state=None):
    """Return rows to train on and rows to hold out: a share of each class, none of a class of one row."""
    _, codes, counts = np.unique(np.asarray(y), return_inverse=True, return_counts=True)
    several = np.flatnonzero(counts[codes] > 1)
    if size == 0 or len(several) == 0:
        return np.arange(len(codes)), np.empty(0, np.int64)
    held = several[take_share(codes[several], size, random_state=random_state)]
    return np.setdiff1d(np.arange(len(codes)), held), held


def official_or_folds(y, subsets, n_folds, rng):
    """List (training rows, test rows, rows for development or None): the official split, or folds."""
    if subsets:
        train, test = (np.asarray(subsets[part]) for part in ("train", "test"))
        return [(train, test, np.asarray(subsets["dev"]) if "dev" in subsets else None)]
    most = np.unique(y, return_counts=True)[1].max(initial=0)
    if isinstance(n_folds, bool) or not isinstance(n_folds, Integral) or not 2 <= n_folds <= most:
        raise ValueError(
            f"n_folds is a whole number from 2 to the rows of the largest class, {most}, but got {n_folds!r}."
        )
    splitter = StratifiedKFold(n_folds, shuffle=True, random_state=rng)
    with warnings.catch_warnings():  # of a class of fewer rows than folds some folds have none
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        return [(*parts, None) for parts in splitter.split(np.zeros(len(y)), y)]


def _check_share(name, value, example):
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value <= 1:
        raise ValueError(f"{name} is above 0 and at most 1 ({example}), but got {value!r}.")


def _draw(y, sizes, random_state):
    """Draw rows of each class: `sizes(counts)` of those that it has."""
    rng = check_random_state(random_state)
    _, codes, counts = np.unique(np.asarray(y), return_inverse=True, return_counts=True)
    taken = [
        rng.choice(np.flatnonzero(codes == code), size, replace=False)
        for code, size in enumerate(sizes(counts))
    ]
    return np.sort(np.concatenate([np.empty(0, np.int64), *taken]))
