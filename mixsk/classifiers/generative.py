"""The classifier that a class-conditional density is by itself: Bayes' rule, no network."""

from __future__ import annotations

import warnings
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted

from mixsk.classifiers._data import check_labels, encode_labels
from mixsk.classifiers._params import PREFIXES, ParamsMixin
from mixsk.classifiers._prepare import Preparation
from mixsk.classifiers._rollback import nothing_lost
from mixsk.classifiers._table import document
from mixsk.densities import DENSITIES, TableDensity
from mixsk.encoding import Layout
from mixsk.rules.genlabel import log_prior

# Fourth powers of larger numbers, which a covariance is shrunk by, overflow float64 in a sum over the rows.
LARGEST = 1e70


@document
class GenerativeClassifier(Preparation, ParamsMixin, ClassifierMixin, BaseEstimator):
    """Bayes classifier: the class under which a row is likeliest, `argmax_c log p_c(x) + log prior_c`.

    The densities p_c are those by which `GenLabelClassifier` relabels, without a network: its accuracy says
    how well they fit the data. The GenLabel paper (Sohn et al., "GenLabel: Mixup Relabeling using Generative
    Models", ICML 2022) compares with it, and finds that relabelling fails where it does not even fit the
    training rows (Table 9).

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    class_prior_ : ndarray of shape (n_classes,)
        Prior of each class; they sum to 1.
    density_ : mixsk.densities.TableDensity
        The fitted density; `density_.numeric_` is that of the numeric columns.
    encoder_ : transformer
        The fitted encoder.
    n_features_in_ : int
        Columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if X had string column names.

    See Also
    --------
    GenLabelClassifier : A network trained on mixed rows that such a density relabels.

    Notes
    -----
    On numbers `GM()` is quadratic discriminant analysis, `GM(covariance="pooled")` linear, and
    `GM(covariance="diag")` Gaussian naive Bayes, each with `reg_covar` added to the variances; categories
    are naive Bayes. Everything is computed in float64 and in logarithms: far from the data every density
    underflows to 0, but their ratios do not.

    Sample weights enter the density and the prior, not the encoder's scales, and only their ratios matter.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from mixsk import GenerativeClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = GenerativeClassifier().fit(X, y)
    >>> clf.predict_proba(X[[0, 70]]).round(3)
    array([[1.  , 0.  , 0.  ],
           [0.  , 0.33, 0.67]])
    >>> clf.set_params(density__covariance="pooled").fit(X, y).score(X, y)
    0.98
    """

    def __init__(self, *, encoder: Any = "auto", density: Any = "gm", class_prior: str = "train") -> None:
        self._store(locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Fit the densities and the prior.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            Numbers, booleans, strings or categories; missing values are allowed.
        y : array-like of shape (n_samples,)
            Class labels of any type.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0; a row of weight 0 is left out.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For data or parameters that cannot be used; the estimator is then what it was before.
        """
        with nothing_lost(self):
            self._check_params()
            X, y, w = self._check_rows(X, y, sample_weight)
            self._set_classes(np.unique(y))
            encoded = self._encode(X, y)
            self._start(encoded, encode_labels(y, self.classes_), w)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Any:
        """Go on fitting with more rows: densities and prior become those of all rows.

        The encoder, and with it the scale of the columns, is fitted by the first call.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        classes : array-like of shape (n_classes,), default=None
            All labels that will come; needed in the first call. One that has not come yet gets the
            probability 0.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self

        Raises
        ------
        ValueError
            In the first call already, if the density needs all rows at once; and for data or parameters that
            cannot be used. The estimator is then what it was before.
        """
        with nothing_lost(self):
            self._check_params()
            first = not hasattr(self, "density_")
            if first and classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            if not first:
                self._check_same(classes)
            X, y, w = self._check_rows(X, y, sample_weight, first)
            if first:
                self._set_classes(np.unique(check_labels(classes, type(self).__name__)))
            codes = encode_labels(y, self.classes_)
            encoded = self._encode(X, y if first else None)
            if first:
                if len(y) > 1:
                    self._warn_constant(encoded)
                self._start(encoded, codes, w)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    deepcopy(self.density_).partial_fit(encoded[:1], codes[:1])  # raises why it cannot, if so
            else:
                self._go_on(encoded, codes, w)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict class labels.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        codes = self.predict_log_proba(X).argmax(1)
        return self.classes_[codes]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            Columns in the order of `classes_`; rows sum to 1.
        """
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Predict the logarithm of class probabilities, also where they underflow.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            -inf for a class without training rows, and where a density says that a class cannot be.

        Raises
        ------
        ValueError
            If X does not have the training columns, or is so far away that float64 holds no log density.
        """
        check_is_fitted(self)
        return self._log_posterior(self._encode(X))

    def _reads(self) -> str:
        """There is no network to say so."""
        return "table"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        table = self.encoder == "auto"
        tags.input_tags.allow_nan = table
        tags.input_tags.sparse = table
        tags.input_tags.categorical = table
        return tags

    # ---- the parts of fit

    def _check_params(self) -> None:
        self._validate_params()
        self._check_kinds()

    def _check_names(self, given: Any) -> None:
        """No network: `module__*` and the like are no parameters here."""
        for name in given:
            if name.startswith(PREFIXES):
                raise TypeError(
                    f"{type(self).__name__} has no network to give {name!r} to. Its parameters are "
                    f"{', '.join(self._get_param_names())}."
                )
        super()._check_names(given)

    def _check_same(self, classes: Any) -> None:
        """Raise ValueError if the parameters or `classes` are no longer those of the rows before."""
        for name, before in self._fitted_params.items():
            now = getattr(self, name)
            if now is not before and now != before:
                raise ValueError(
                    f"partial_fit goes on with the density it has, but {name} was {before!r} and is {now!r} "
                    f"now. Set {name} back, or fit anew."
                )
        if classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(
                f"classes={np.unique(classes).tolist()} is not the same as on the last call to partial_fit, "
                f"was {self.classes_.tolist()}."
            )

    def _encode(self, X: Any, y: np.ndarray | None = None) -> np.ndarray:
        encoded = super()._encode(X, y)
        if encoded.dtype == np.float64:  # float32 ends long before
            largest = max(encoded.max(), -encoded.min())
            if largest > LARGEST:
                raise ValueError(
                    f"Encoded values reach {largest:.3g}, and densities take numbers up to {LARGEST:g}. "
                    "Scale the columns, or use encoder='auto'."
                )
        return encoded

    def _start(self, encoded: np.ndarray, codes: np.ndarray, w: np.ndarray | None) -> None:
        chosen = DENSITIES[self.density]() if isinstance(self.density, str) else self.density
        layout = getattr(self.encoder_, "layout_", None) or Layout.of_numbers(encoded.shape[1])
        density = TableDensity(clone(chosen, safe=False), layout)
        self.density_ = density.fit(encoded, codes, w, len(self.classes_))
        self._fitted_params = {"encoder": self.encoder, "density": self.density}
        self._set_prior()
        self._log_posterior(encoded[:2])  # a density that cannot be evaluated says so in fit

    def _go_on(self, encoded: np.ndarray, codes: np.ndarray, w: np.ndarray | None) -> None:
        # A copy: should the density fail half-way, ours is still that of the rows before.
        self.density_ = deepcopy(self.density_).partial_fit(encoded, codes, w)
        self._set_prior()

    def _set_prior(self) -> None:
        counts = torch.as_tensor(self.density_.class_counts_)
        self.class_prior_ = log_prior(counts, self.class_prior).exp().numpy()

    def _log_posterior(self, encoded: np.ndarray) -> np.ndarray:
        """Log probabilities of encoded rows, float64 (n, C)."""
        with np.errstate(divide="ignore"):  # a class without rows: -inf, here and in its density
            joint = self.density_.log_prob(encoded) + np.log(self.class_prior_)
        lost = ~np.isfinite(joint.max(1))
        if lost.any():
            raise ValueError(
                f"{lost.sum()} of {len(lost)} rows, the first being row {lost.argmax()}, are so far from the "
                "training rows that float64 holds no log density of any class: their encoded values reach "
                f"{np.abs(encoded[lost]).max():.3g}. Scale the columns, or use encoder='auto'."
            )
        return log_softmax(joint, axis=1)
