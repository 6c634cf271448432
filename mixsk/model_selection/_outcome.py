"""What a program of many fits is given, and what it gives back for each of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.base import clone


@dataclass
class Fold:
    """One training set, and the rows to predict after training.

    Attributes
    ----------
    X, y : training rows and labels
    sample_weight : array or None
    evaluate : list of X
        Rows whose probabilities are asked for.
    before : list of (str, transformer)
        The fitted steps that made X.
    """

    X: Any
    y: Any
    sample_weight: Any
    evaluate: list[Any]
    before: list[tuple[str, Any]] = field(default_factory=list)


@dataclass
class Outcome:
    """What became of one fit.

    Attributes
    ----------
    error : Exception or None
        What ended it; the rest is empty then.
    classes : ndarray of shape (C,)
    rows : list of X
        What was asked to be predicted.
    probabilities : list of ndarray of shape (n, C), or Exception
        Of each of the rows; or what kept them from being predicted.
    before : list of (str, transformer)
        The fitted steps of a pipeline.
    model : Model or None
    """

    error: Exception | None = None
    classes: np.ndarray | None = None
    rows: list[Any] = field(default_factory=list)
    probabilities: list[Any] = field(default_factory=list)
    before: list[tuple[str, Any]] = field(default_factory=list)
    model: Model | None = None


@dataclass
class Model:
    """What a fitted classifier can be made of: one model's weights, and the preparation that it shares.

    Attributes
    ----------
    classifier, prepared : classifier
        With the model's own parameters, and with what preparing has learnt.
    trained : dict
        What training has added to the latter.
    weights, aux : dict of ndarray of shape (M, ...)
        Of all models of the program.
    numbers : list of int
        Which of them are this classifier's.
    epochs : list of dict
        The program's history, as far as the model has come.
    """

    classifier: Any
    prepared: Any
    trained: dict[str, Any]
    weights: dict[str, np.ndarray]
    aux: dict[str, np.ndarray]
    numbers: list[int]
    epochs: list[dict[str, Any]]

    def fitted(self) -> Any:
        """The classifier as a lone fit would have left it, its history apart: that is the program's."""
        clf = clone(self.classifier)
        params = clf.get_params(deep=False)
        learnt = {name: value for name, value in vars(self.prepared).items() if name not in params}
        state = vars(clf) | learnt | self.trained
        state |= {"_fitted_params": params, "_epochs": self.epochs}
        state["_weights"] = {name: value[self.numbers] for name, value in self.weights.items()}
        state["_aux_weights"] = {name: value[self.numbers] for name, value in self.aux.items()}
        clf.__setstate__(state)
        return clf
