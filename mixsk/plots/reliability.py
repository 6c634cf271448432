"""ReliabilityDisplay: how often a classifier is right, against how sure it is.

Source: "On Calibration of Modern Neural Networks" (ICML 2017), https://arxiv.org/abs/1706.04599, Figure 1.
NOTE[DIFF]: the figure has bars as wide as the bins under a histogram of the confidence. Here a bin is a point
at its mean confidence, so that its height over the diagonal is the gap that the ECE sums, and the point's
area is the share of rows: several classifiers then fit into one picture.

Not built on scikit-learn's CalibrationDisplay: that follows the probability of one of two classes.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from mixsk.classifiers._base import MixClassifier
from mixsk.classifiers._data import check_labels
from mixsk.encoding import DatasetImages
from mixsk.metrics import _binned, _checked, expected_calibration_error
from mixsk.plots._drawing import label_axes, pyplot

AREA, DOT = 500, 4  # square points of print: a bin of all rows, and the least that a bin is drawn with
MARGIN = 0.06  # around [0, 1]: a bin of all rows at full confidence is not cut off, in a figure as it comes
RARE = 0.1  # of an even share of the rows: less is left out of the line, which would jump to a single row
REFERENCE = "perfectly calibrated"


class ReliabilityDisplay:
    """Accuracy against confidence in bins of confidence, for any number of classes: a reliability diagram.

    Use `from_estimator` or `from_predictions`; with `ax=display.ax_` they add a classifier to a picture.
    A point is a bin of rows, its area their share of all rows; below the diagonal they are less often right
    than the classifier is sure. Bins, confidence and weights are those of
    `mixsk.metrics.expected_calibration_error`, which the legend gives.

    Parameters
    ----------
    confidence : array-like of shape (n_filled,)
        Mean confidence (largest probability of a row) of each bin that has rows, in [0, 1].
    accuracy : array-like of shape (n_filled,)
        Share of right predictions in these bins, in [0, 1].
    weight : array-like of shape (n_filled,)
        Share of the rows in these bins, by their weights; sums to 1.
    ece : float
        Expected calibration error, in [0, 1].
    estimator_name : str or None, default=None
        Name in the legend. None: the ECE alone.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it is drawn.
    figure_ : matplotlib Figure
        Its figure.
    line_ : matplotlib Line2D
        Joins the bins that have at least a tenth of an even share of the rows.
    points_ : matplotlib PathCollection
        All bins.
    legend_ : matplotlib Legend
        Of all that is drawn there.

    See Also
    --------
    mixsk.metrics.expected_calibration_error : Mean distance of the points from the diagonal, by their areas.
    sklearn.calibration.CalibrationDisplay : The probability of one of two classes against its frequency.

    Notes
    -----
    A small point may be far from the diagonal by chance alone: with n rows its accuracy varies by about
    sqrt(accuracy * (1 - accuracy) / n).

    References
    ----------
    Guo, Pleiss, Sun, Weinberger: "On Calibration of Modern Neural Networks", ICML 2017, Figure 1,
    https://arxiv.org/abs/1706.04599.

    Examples
    --------
    Two classifiers in one picture:

    >>> from sklearn.linear_model import LogisticRegression
    >>> from mixsk import MixupClassifier
    >>> from mixsk.datasets import make_moons
    >>> from mixsk.plots import ReliabilityDisplay
    >>> X, y = make_moons(400, random_state=0)
    >>> mixup = MixupClassifier(max_epochs=5, random_state=0).fit(X[:200], y[:200])
    >>> line = LogisticRegression().fit(X[:200], y[:200])
    >>> display = ReliabilityDisplay.from_estimator(mixup, X[200:], y[200:])
    >>> other = ReliabilityDisplay.from_estimator(line, X[200:], y[200:], ax=display.ax_)
    >>> len(other.legend_.get_texts())  # and the diagonal
    3
    """

    def __init__(
        self, confidence: Any, accuracy: Any, weight: Any, ece: float, estimator_name: str | None = None
    ) -> None:
        self.confidence = confidence
        self.accuracy = accuracy
        self.weight = weight
        self.ece = ece
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        n_bins: int = 15,
        sample_weight: Any = None,
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> ReliabilityDisplay:
        """Draw a fitted classifier on rows that it was not trained on.

        Parameters
        ----------
        estimator : classifier with `predict_proba`
            Fitted; of mixsk, a pipeline or any other of scikit-learn.
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows to predict, or what else the estimator predicts.
        y : array-like of shape (n_samples,)
            Their labels. None: those of a Dataset whose items are (image, label).
        n_bins : int, default=15
            Number of bins of equal width, at least 1.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights >= 0 of the rows, not all 0. None: every row counts the same.
        name : str or None, default=None
            Name in the legend. None: that of the estimator's class.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Further arguments of `plot`.

        Returns
        -------
        ReliabilityDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If the estimator has no `predict_proba`, or for what `expected_calibration_error` refuses, such as
            a label that the classifier does not know.
        """
        pyplot(cls.__name__)  # before the work
        if not hasattr(estimator, "predict_proba"):
            raise ValueError(
                f"{cls.__name__} shows the confidence of predict_proba, which {type(estimator).__name__} "
                "does not have. Use a classifier with predict_proba, CalibratedClassifierCV around this one, "
                "or from_predictions with probabilities from elsewhere."
            )
        if y is None:
            if isinstance(estimator, MixClassifier) and isinstance(X, Dataset | DatasetImages):
                X, y = estimator._open_images(X, y)
            y = check_labels(y, cls.__name__)
        return cls.from_predictions(
            y,
            estimator.predict_proba(X),
            labels=estimator.classes_,
            n_bins=n_bins,
            sample_weight=sample_weight,
            name=type(estimator).__name__ if name is None else name,
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_proba: Any,
        *,
        labels: Any = None,
        n_bins: int = 15,
        sample_weight: Any = None,
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> ReliabilityDisplay:
        """Draw predicted probabilities.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            True labels.
        y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
            Predicted probabilities in [0, 1], rows summing to 1 within 0.001. Of shape (n_samples,) or
            (n_samples, 1): the probability of the later of two labels.
        labels : array-like of shape (n_classes,) or None, default=None
            The label of each column, such as `classifier.classes_`. None: the sorted labels of `y_true`,
            which must then have all of them.
        n_bins : int, default=15
            Number of bins of equal width, at least 1.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Weights >= 0 of the rows, not all 0. None: every row counts the same.
        name : str or None, default=None
            Name in the legend. None: the ECE alone.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Further arguments of `plot`.

        Returns
        -------
        ReliabilityDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            For what `expected_calibration_error` refuses.
        """
        if not isinstance(n_bins, Integral) or isinstance(n_bins, bool) or n_bins < 1:
            raise ValueError(f"n_bins must be an int >= 1. Got {n_bins!r}.")
        rows = {"y_true": y_true, "y_proba": y_proba, "labels": labels, "sample_weight": sample_weight}
        ece = expected_calibration_error(**rows, n_bins=n_bins)  # its checks hold for the bins too
        codes, proba, weight = _checked(**rows)
        confidence, right, bins = _binned(codes, proba, n_bins)
        share, sure, correct = (np.bincount(bins, weight * value) for value in (1, confidence, right))
        filled = share > 0
        share, sure, correct = share[filled], sure[filled], correct[filled]
        return cls(sure / share, correct / share, share, ece, name).plot(ax, **kwargs)

    def plot(
        self, ax: Any = None, *, name: str | None = None, ref_line: bool = True, **kwargs: Any
    ) -> ReliabilityDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.
        name : str or None, default=None
            Name in the legend. None: `estimator_name`.
        ref_line : bool, default=True
            Whether to draw the diagonal, unless it is there already.
        **kwargs : dict
            Further arguments of `Axes.plot` for the line, whose colour is also that of the points.

        Returns
        -------
        self
        """
        plt = pyplot(type(self).__name__)
        if ax is None:
            _, ax = plt.subplots()
        if ref_line and REFERENCE not in ax.get_legend_handles_labels()[1]:
            ax.plot([0, 1], [0, 1], color="0.5", linestyle=":", label=REFERENCE)
        name = self.estimator_name if name is None else name
        label = f"ECE = {self.ece:.3f}" if name is None else f"{name} (ECE = {self.ece:.3f})"
        confidence, accuracy, weight = map(np.asarray, (self.confidence, self.accuracy, self.weight))
        often = weight >= RARE / len(weight)
        (self.line_,) = ax.plot(confidence[often], accuracy[often], **{"label": label, **kwargs})
        # Seen through, because good classifiers all have their largest at the upper right.
        color = self.line_.get_color()
        style = {"facecolors": [(color, 0.3)], "edgecolors": [color], "linewidths": 1}
        self.points_ = ax.scatter(confidence, accuracy, s=(AREA * weight).clip(min=DOT), **style)
        ax.set(xlim=(-MARGIN, 1 + MARGIN), ylim=(-MARGIN, 1 + MARGIN), aspect="equal")
        label_axes(ax, "confidence", "accuracy")
        title = "area of a point: share of rows"
        self.legend_ = ax.legend(title=title, fontsize="small", title_fontsize="small")
        self.ax_, self.figure_ = ax, ax.figure
        return self
