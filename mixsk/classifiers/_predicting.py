"""From X to labels and probabilities, by networks that were trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch.utils.data import Dataset

from mixsk.classifiers._data import check_labels
from mixsk.classifiers._network import device_of
from mixsk.encoding import DatasetImages
from mixsk.engine import MixNet, Part, mean_logits


class Predicting:
    """Mixin: what a fitted classifier says of rows. Before scikit-learn's own, whose score it calls."""

    # Fitted attributes of the classifier.
    classes_: np.ndarray
    net_: MixNet
    _temperature: float

    def predict(self, X: Any) -> np.ndarray:
        """Predict class labels.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        codes = self._log_proba(X).argmax(-1).numpy()
        return self.classes_[codes]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            Columns in the order of `classes_`; rows sum to 1. With several networks the mean of theirs.
        """
        return self._log_proba(X).exp().numpy()

    def predict_proba_members(self, X: Any) -> np.ndarray:
        """Predict class probabilities by each network.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_cv * n_members, n_samples, n_classes), float64
            Columns in the order of `classes_`; their mean over the networks is `predict_proba`. Those of a
            fold are side by side.
        """
        return torch.softmax(self._logits(X), -1).numpy()

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Predict the logarithm of class probabilities, also where they underflow.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
        """
        return self._log_proba(X).numpy()

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the accuracy of `predict`.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            Or what else `fit` takes.
        y : array-like of shape (n_samples,), default=None
            True labels. None: those of a Dataset whose items are (image, label).
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If y is None and X has no labels.
        """
        if y is None:
            if isinstance(X, Dataset | DatasetImages):
                X, y = self._open_images(X, y)
            y = check_labels(y, type(self).__name__)
        return super().score(X, y, sample_weight)

    def _logits(self, X: Any) -> torch.Tensor:
        """Logits of rows X by each network over the temperature, float64 (M, n, C)."""
        check_is_fitted(self)
        encoded = self._encode(X)
        rows = self._rows(encoded, np.zeros(len(encoded), np.int64), None, device_of(self.net_))
        with self._threads():
            logits = self.net_.predict_logits(Part(rows, np.arange(len(encoded)))).double()
        return logits / self._temperature

    def _log_proba(self, X: Any) -> torch.Tensor:
        """Logarithm of the mean of the networks' probabilities, float64 (n, C)."""
        return torch.log_softmax(mean_logits(self._logits(X)), -1)
