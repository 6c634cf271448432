"""DecisionDisplay: the class probabilities over the plane of two columns.

Not built on scikit-learn's DecisionBoundaryDisplay: that draws one class of two, or (newer ones) the
likeliest of several, in colour maps of its own. Here a shade is the blend of the classes' colours, as a
mixed point's is in MixedPointsDisplay, so that both pictures read alike.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.validation import check_is_fitted

from mixsk.classifiers._base import MixClassifier
from mixsk.classifiers._data import encode_labels
from mixsk.classifiers._prepare import is_image, is_text
from mixsk.plots._columns import check_is_table, column_names, read_plane
from mixsk.plots._drawing import ClassPicture, blend, pyplot

SHADE = 0.5  # strength of the shading; the points above it have the full colours


class DecisionDisplay(ClassPicture):
    """Class probabilities as shading, the borders of the decision, and the training points.

    Use `from_estimator`. The colour of a place is the classes' colours blended in the shares that
    `predict_proba` gives them, lightened by half.

    Parameters
    ----------
    xx0, xx1 : ndarray of shape (rows, columns)
        The grid, from `numpy.meshgrid`.
    proba : ndarray of shape (rows, columns, n_classes)
        Class probabilities on the grid.
    classes : array-like of shape (n_classes,)
        Labels, in the order of `proba`.
    X : ndarray of shape (n_samples, 2) or None, default=None
        Points to draw.
    y : array-like of shape (n_samples,) or None, default=None
        Their labels; needed with X.
    xlabel, ylabel : str or None, default=None
        Names of the columns.
    colors : list of n_classes matplotlib colours, or None, default=None
        None: a colour-blind safe palette (Petroff 2021) up to 10 classes, above that viridis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it is drawn.
    figure_ : matplotlib Figure
        Its figure.
    surface_ : matplotlib QuadMesh
        The shading.
    borders_ : list of matplotlib QuadContourSet
        The lines between the likeliest classes.
    points_ : matplotlib PathCollection or None
        The points; None without X.
    legend_ : matplotlib Legend or None
        None with `legend=False`.

    See Also
    --------
    MixedPointsDisplay : The mixed points that a classifier is trained on, in the same colours.
    sklearn.inspection.DecisionBoundaryDisplay : Other responses than probabilities, other estimators.

    Examples
    --------
    >>> from mixsk import MixupClassifier
    >>> from mixsk.datasets import make_moons
    >>> from mixsk.plots import DecisionDisplay
    >>> X, y = make_moons(200, random_state=0)
    >>> clf = MixupClassifier(max_epochs=5, random_state=0).fit(X, y)
    >>> display = DecisionDisplay.from_estimator(clf, X, y)
    >>> len(display.points_.get_offsets())
    200
    """

    def __init__(
        self,
        *,
        xx0: Any,
        xx1: Any,
        proba: Any,
        classes: Any,
        X: Any = None,
        y: Any = None,
        xlabel: str | None = None,
        ylabel: str | None = None,
        colors: Any = None,
    ) -> None:
        self.xx0 = xx0
        self.xx1 = xx1
        self.proba = proba
        self.classes = classes
        self.X = X
        self.y = y
        self.xlabel = xlabel
        self.ylabel = ylabel
        self.colors = colors

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        grid_resolution: int = 200,
        margin: float = 0.1,
        colors: Any = None,
        legend: bool = True,
        scatter_kw: dict[str, Any] | None = None,
        ax: Any = None,
    ) -> DecisionDisplay:
        """Draw a fitted classifier of two columns.

        Parameters
        ----------
        estimator : classifier with `predict_proba`
            Fitted; of mixsk, a pipeline or any other of scikit-learn.
        X : array-like or DataFrame of shape (n_samples, 2)
            Two numeric columns; their range is the range of the picture.
        y : array-like of shape (n_samples,) or None, default=None
            Labels of X. None draws no points.
        grid_resolution : int, default=200
            Points of the grid along each axis, >= 2.
        margin : float, default=0.1
            What is added on each side, as a share of the column's range, >= 0.
        colors : list of n_classes matplotlib colours, or None, default=None
            None: a colour-blind safe palette.
        legend : bool, default=True
            Whether to draw a legend of the classes.
        scatter_kw : dict or None, default=None
            Further arguments of `Axes.scatter` for the points.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        DecisionDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If X has not exactly two numeric columns, or y has labels that the classifier does not know.
        """
        pyplot(cls.__name__)  # before the work
        check_is_fitted(estimator)
        if not hasattr(estimator, "predict_proba"):
            raise ValueError(
                f"{cls.__name__} shades by predict_proba, which {type(estimator).__name__} does not have. "
                "Use a classifier with predict_proba, CalibratedClassifierCV around this one, or "
                "sklearn.inspection.DecisionBoundaryDisplay."
            )
        if not isinstance(grid_resolution, Integral) or grid_resolution < 2:
            raise ValueError(f"grid_resolution must be an int >= 2. Got {grid_resolution!r}.")
        if not isinstance(margin, Real) or not 0 <= margin < np.inf:
            raise ValueError(f"margin must be a finite number >= 0. Got {margin!r}.")
        instead = "ConfidenceDisplay, what a classifier of mixsk says between two rows"
        check_is_table(_kind(estimator, X), cls.__name__, instead)
        points = read_plane(X, cls.__name__)
        names = column_names(X)
        if y is not None:
            y = column_or_1d(y)
            check_consistent_length(points, y)
            encode_labels(y, estimator.classes_)
        xx0, xx1 = _grid(points, grid_resolution, margin)
        grid = np.column_stack([xx0.ravel(), xx1.ravel()])
        proba = estimator.predict_proba(grid if names is None else pd.DataFrame(grid, columns=X.columns))
        display = cls(
            xx0=xx0,
            xx1=xx1,
            proba=proba.reshape(*xx0.shape, -1),
            classes=estimator.classes_,
            X=None if y is None else points,
            y=y,
            xlabel=names and names[0],
            ylabel=names and names[1],
            colors=colors,
        )
        return display.plot(ax, legend=legend, scatter_kw=scatter_kw)

    def plot(
        self, ax: Any = None, *, legend: bool = True, scatter_kw: dict[str, Any] | None = None
    ) -> DecisionDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.
        legend : bool, default=True
            Whether to draw a legend of the classes.
        scatter_kw : dict or None, default=None
            Further arguments of `Axes.scatter` for the points.

        Returns
        -------
        self
        """
        ax, colors = self._begin(ax)
        shade = 1 - SHADE * (1 - blend(self.proba, colors))
        # One picture also in a vector file, where 40 000 cells would be as many paths.
        self.surface_ = ax.pcolormesh(self.xx0, self.xx1, shade, shading="nearest", rasterized=True)
        self.borders_ = self._draw_borders(ax)
        self.points_ = None
        if self.X is not None:
            own = colors[encode_labels(np.asarray(self.y), np.asarray(self.classes))]
            style = {"c": own, "s": 14, "edgecolors": "white", "linewidths": 0.4, "zorder": 2}
            self.points_ = ax.scatter(*np.asarray(self.X).T, **{**style, **(scatter_kw or {})})
        return self._end(ax, legend, colors, n_points=0 if self.X is None else len(self.X))

    def _draw_borders(self, ax: Any) -> list[Any]:
        """Lines where two classes are the likeliest together: one for two classes, else one a class."""
        borders = []
        for k in range(self.proba.shape[2] if self.proba.shape[2] > 2 else 1):
            lead = self.proba[..., k] - np.delete(self.proba, k, axis=2).max(axis=2)
            if lead.min() < 0 < lead.max():  # matplotlib warns of a line that is nowhere
                line = ax.contour(self.xx0, self.xx1, lead, levels=[0], colors="0.2", linewidths=1, zorder=1)
                borders.append(line)
        return borders


def _kind(estimator: Any, X: Any) -> str:
    """What X is: "table", "text" or "image"; codes of words have the form of a table."""
    if is_image(X):
        return "image"
    if is_text(X):
        return "text"
    return estimator._encoded_kind() if isinstance(estimator, MixClassifier) else "table"


def _grid(points: np.ndarray, resolution: int, margin: float) -> list[np.ndarray]:
    """Even grid over the points' range and a margin."""
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    pad = np.where(high > low, margin * (high - low), 0.5)  # a constant column still needs a width
    return np.meshgrid(*np.linspace(low - pad, high + pad, resolution).T)
