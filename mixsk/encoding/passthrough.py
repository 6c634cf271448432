"""No encoding: numbers that already are as the network should see them."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from mixsk.encoding.layout import Layout
from mixsk.encoding.types import check_table_type


class PassthroughEncoder(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Hand a finite numeric table on, each column as it is.

    For data that is already scaled, for example behind a pipeline's StandardScaler.

    Attributes
    ----------
    layout_ : Layout
        Every column a number of its own.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only if X has string column names.

    See Also
    --------
    TableEncoder : Standardised numbers, categories, missing values.

    Examples
    --------
    >>> PassthroughEncoder().fit_transform([[1, 2.5]])
    array([[1. , 2.5]])
    """

    def fit(self, X, y=None):
        """Check X and remember its columns.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            Finite numbers.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X is not a 2-D table of finite numbers.
        """
        self._validate(X, reset=True)
        self.layout_ = Layout.of_numbers(self.n_features_in_)
        return self

    def transform(self, X):
        """X as floating-point numbers.

        Parameters
        ----------
        X : array-like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n, n_features), C-contiguous
            float32 if X is, else float64. X itself, not a copy, if it is such an array already and may be
            written to.

        Raises
        ------
        ValueError
            If X is not finite or has another number of columns than in fit.
        """
        check_is_fitted(self)
        return self._validate(X, reset=False)

    def _validate(self, X, reset):
        check_table_type(X)
        with np.errstate(over="ignore"):  # a long double above 1.8e308 becomes infinite, and that is reported
            return validate_data(
                self, X, reset=reset, dtype=[np.float64, np.float32], order="C", force_writeable=True
            )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
