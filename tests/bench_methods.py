"""Methods of a user's own for the tests of `mixsk bench`: a file as the command takes it."""

import os
import sys
import warnings
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.tree import DecisionTreeClassifier

from mixsk.bench import Method


class Prior(ClassifierMixin, BaseEstimator):
    """The share of each class, whatever the row."""

    def fit(self, X, y):
        self.classes_, counts = np.unique(y, return_counts=True)
        self.share_ = counts / len(y)
        return self

    def predict_proba(self, X):
        return np.tile(self.share_, (len(X), 1))


class Talkative(Prior):
    """Prints wherever it can, and gives one warning twice and another once."""

    def fit(self, X, y):
        print("CHATTER")
        print("CHATTER", file=sys.stderr)
        os.write(1, b"CHATTER\n")
        os.write(2, b"CHATTER\n")
        warnings.warn("MUTTER", UserWarning, stacklevel=2)
        return super().fit(X, y)

    def predict_proba(self, X):
        warnings.warn("MUTTER", UserWarning, stacklevel=2)
        warnings.warn("MURMUR", RuntimeWarning, stacklevel=2)
        return super().predict_proba(X)


class Broken(Prior):
    """Cannot be fitted."""

    def fit(self, X, y):
        raise KeyError("no such column")


class BrokenOnce(Prior):
    """Cannot be fitted until a file is there, which it makes."""

    def __init__(self, path=None):
        self.path = path

    def fit(self, X, y):
        if not Path(self.path).exists():
            Path(self.path).touch()
            raise OSError("the network is down")
        return super().fit(X, y)


METHODS = {
    "tree": Method(DecisionTreeClassifier, {"max_depth": 2}, grid={"max_depth": [1, 3, None]}),
    "talkative": Talkative(),
}
