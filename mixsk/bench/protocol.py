"""Protocols: which rows the cells of a table train on and are judged on, and with which seeds."""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedKFold, train_test_split

from mixsk.bench.plan import OFFICIAL

PROTOCOLS = ("cv", "holdout", "official", "openml", "paper")


@dataclass(frozen=True)
class Protocol:
    """How a table is split. The splits depend on its labels and on `seed` alone.

    Parameters
    ----------
    name : {"cv", "holdout", "official", "openml", "paper"}, default="cv"
        "cv": stratified k-fold cross-validation, repeated. "holdout": one stratified split into training and
        test rows, repeated. "official": the splits that a table brings, an OpenML task, a text or images;
        "openml" is another name for it. "paper": one holdout, on whose training rows the parameters are
        chosen by 5-fold cross-validation, as in the GenLabel paper (section 6).
    folds : int, default=5
        Of "cv": at least 2.
    repeats : int, default=1
        Of "cv" and "holdout": how many times, with other splits.
    seed : int, default=0
        Of the splits: repeat r is split by scikit-learn's splitters with `random_state=seed + r`.
    test_size : float, default=0.3
        Of "holdout" and "paper": the share of test rows.

    Examples
    --------
    >>> splits = Protocol("cv", folds=3, repeats=2).splits(np.repeat([0, 1], 30))
    >>> list(splits)
    [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    >>> train, test = splits[1, 2]
    >>> len(train), len(test)
    (40, 20)
    """

    name: str = "cv"
    folds: int = 5
    repeats: int = 1
    seed: int = 0
    test_size: float = 0.3

    @property
    def searches(self):
        """Whether a method's parameters are chosen on the training rows."""
        return self.name == "paper"

    def splits(self, y, official=None):
        """Return the training and test rows of every repeat and fold.

        Parameters
        ----------
        y : ndarray of shape (n,)
            Class of each row.
        official : dict or None, default=None
            The table's own splits, for "official".

        Returns
        -------
        splits : dict of (int, int) to (ndarray, ndarray)
            By repeat and fold: numbers of the training and of the test rows, from 0. Official ones may have
            a third part, rows for development.

        Raises
        ------
        ValueError
            If the rows cannot be split so.
        """
        if self.name in OFFICIAL:
            if not official:
                raise ValueError(
                    f"protocol {self.name} needs the official splits of an OpenML task (`openml_task = ...` "
                    "in the suite), a text (`text = ...`) or images (`image = ...`), which this table has "
                    "not; use the protocol cv or holdout."
                )
            return official
        if self.name == "cv":
            return {(r, f): pair for r in range(self.repeats) for f, pair in enumerate(self._folds(y, r))}
        repeats = self.repeats if self.name == "holdout" else 1
        return {(r, 0): stratified_holdout(y, self.test_size, self.seed + r) for r in range(repeats)}

    def _folds(self, y, repeat):
        most = np.unique(y, return_counts=True)[1].max()
        if most < self.folds:
            raise ValueError(
                f"{self.folds} folds need a class of {self.folds} rows or more, and the largest has {most}; "
                "use fewer folds."
            )
        splitter = StratifiedKFold(self.folds, shuffle=True, random_state=self.seed + repeat)
        with warnings.catch_warnings():  # a class of fewer rows than folds is not worth a word here
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            return list(splitter.split(np.zeros(len(y)), y))


def stratified_holdout(y, test_size, seed):
    """Split rows into training and test rows, each class in proportion.

    A class of one row is trained on; of any other, at least one row is.

    Parameters
    ----------
    y : ndarray of shape (n,)
    test_size : float
        Share of test rows, above 0 and below 1.
    seed : int

    Returns
    -------
    train, test : ndarray of int
        Row numbers, ascending.

    Raises
    ------
    ValueError
        If no class has two rows, or there are too few rows for so many classes.
    """
    _, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    several = np.flatnonzero(counts[codes] > 1)
    n_classes = int((counts > 1).sum())
    n_test = max(round(test_size * len(y)), n_classes)
    if n_classes == 0 or n_test + n_classes > len(several):
        raise ValueError(
            f"{len(y)} rows of {len(counts)} classes cannot be split into training and test rows: each class "
            "needs rows of both."
        )
    _, test = train_test_split(several, test_size=n_test, stratify=codes[several], random_state=seed)
    # Of a small class and a large test_size, all rows may have come to the test.
    lacking = np.setdiff1d(codes, np.delete(codes, test))
    test = np.setdiff1d(test, [test[codes[test] == c][0] for c in lacking])
    return np.setdiff1d(np.arange(len(y)), test), test
