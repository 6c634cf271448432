"""MixedPointsDisplay: the mixed points that a classifier is trained on, in the colours of their labels."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils.validation import _num_features

from mixsk.classifiers._base import MixClassifier
from mixsk.encoding import TableEncoder
from mixsk.plots._columns import check_is_table, check_numeric, column_names, in_units
from mixsk.plots._drawing import ClassPicture, blend, pyplot
from mixsk.plots._mixing import mixed_rows


class MixedPointsDisplay(ClassPicture):
    """Mixed points in the plane of two columns, coloured by the labels that they are trained on.

    Use `from_estimator`. With `color="blend"` the colour of a point is the classes' colours blended
    in the shares that its label gives them; a point that is dropped (`drop_intrusions`) is a cross.

    Parameters
    ----------
    points : ndarray of shape (n_points, 2)
        The mixed points.
    targets : ndarray of shape (n_points, n_classes)
        Their labels, >= 0; rows sum to 1.
    classes : array-like of shape (n_classes,)
        Labels, in the order of `targets`.
    parents : ndarray of shape (n_points, 2, 2) or None, default=None
        The two points that each was mixed from: `parents[:, 0]` and their partners `parents[:, 1]`.
    kept : bool ndarray of shape (n_points,) or None, default=None
        False for points that are left out of training. None: all are kept.
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
    points_ : matplotlib PathCollection
        The points that are kept.
    dropped_ : matplotlib PathCollection or None
        The points that are dropped; None if there are none.
    lines_ : matplotlib LineCollection or None
        From each point to its parents; None with `parents=False`.
    legend_ : matplotlib Legend or None
        None with `legend=False`.

    See Also
    --------
    DecisionDisplay : What a classifier makes of them, in the same colours.

    Examples
    --------
    >>> from mixsk import GenLabelClassifier
    >>> from mixsk.datasets import make_moons
    >>> from mixsk.plots import MixedPointsDisplay
    >>> X, y = make_moons(200, random_state=0)
    >>> clf = GenLabelClassifier(gamma=1, random_state=0)  # need not be fitted
    >>> display = MixedPointsDisplay.from_estimator(clf, X, y, n_points=50)
    >>> display.points.shape, display.targets.shape
    ((50, 2), (50, 2))
    """

    def __init__(
        self,
        *,
        points: Any,
        targets: Any,
        classes: Any,
        parents: Any = None,
        kept: Any = None,
        xlabel: str | None = None,
        ylabel: str | None = None,
        colors: Any = None,
    ) -> None:
        self.points = points
        self.targets = targets
        self.classes = classes
        self.parents = parents
        self.kept = kept
        self.xlabel = xlabel
        self.ylabel = ylabel
        self.colors = colors

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        n_points: int = 500,
        features: Any = None,
        random_state: Any = None,
        color: str = "blend",
        parents: bool = False,
        colors: Any = None,
        legend: bool = True,
        scatter_kw: dict[str, Any] | None = None,
        ax: Any = None,
    ) -> MixedPointsDisplay:
        """Draw what `estimator.fit(X, y)` trains on: the first row of each of its first batches.

        The batches are those of fit, with its pairs, mask and labels; with a density, it is fitted on X.
        One row a batch, because a batch may share one lam. Nothing is trained. Vanilla training
        (`mix=None`) shows the rows as they are.

        Parameters
        ----------
        estimator : classifier of mixsk
            Fitted or not; it is not changed.
        X : array-like or DataFrame of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Their labels.
        n_points : int, default=500
            Points to draw, >= 1.
        features : pair of int or str, or None, default=None
            The two numeric columns to draw, by position or name. None: both columns of an X that has two.
        random_state : int, RandomState instance or None, default=None
            Takes the place of the estimator's. None: the estimator's own, so that with an int the points
            are exactly those of fit.
        color : {"blend", "top"}, default="blend"
            Blend the classes' colours in the shares of the label, or take that of its likeliest class.
        parents : bool, default=False
            Whether to draw thin lines from each point to the two points that it was mixed from.
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
        MixedPointsDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If X is texts or images, the estimator mixes at a hidden stage, its encoder cannot be inverted,
            or `features` are not two numeric columns; also for all that fit would refuse.
        """
        pyplot(cls.__name__)  # before the work
        if not isinstance(estimator, MixClassifier):
            raise ValueError(
                f"{cls.__name__} shows how a classifier of mixsk mixes, but got {type(estimator).__name__}. "
                "Of a pipeline pass the last step, and X as it reaches it: pipe[:-1].fit_transform(X)."
            )
        if not isinstance(n_points, Integral) or isinstance(n_points, bool) or n_points < 1:
            raise ValueError(f"n_points must be an int >= 1. Got {n_points!r}.")
        kind = estimator._kind(X)
        instead = "MixedImagesDisplay" if kind == "image" else "MixedLossDisplay, the loss of mixed rows"
        check_is_table(kind, cls.__name__, instead)
        rows = mixed_rows(estimator, X, y, n_points, random_state)
        names = column_names(X)
        columns = _choose(X, features, rows.encoder, cls.__name__)
        # Parents and points in one go: an encoder's inverse takes rows (n, F).
        stacked = np.concatenate([rows.x, rows.parents[:, 0], rows.parents[:, 1]])
        points, first, second = np.split(in_units(rows.encoder, stacked, columns), 3)
        display = cls(
            points=points,
            targets=rows.targets,
            classes=rows.classes,
            parents=np.stack([first, second], axis=1),
            kept=rows.kept,
            xlabel=names and names[columns[0]],
            ylabel=names and names[columns[1]],
            colors=colors,
        )
        return display.plot(ax, color=color, parents=parents, legend=legend, scatter_kw=scatter_kw)

    def plot(
        self,
        ax: Any = None,
        *,
        color: str = "blend",
        parents: bool = False,
        legend: bool = True,
        scatter_kw: dict[str, Any] | None = None,
    ) -> MixedPointsDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.
        color : {"blend", "top"}, default="blend"
            Blend the classes' colours in the shares of the label, or take that of its likeliest class.
        parents : bool, default=False
            Whether to draw thin lines from each point to the two points that it was mixed from.
        legend : bool, default=True
            Whether to draw a legend of the classes.
        scatter_kw : dict or None, default=None
            Further arguments of `Axes.scatter` for the points.

        Returns
        -------
        self
        """
        if color not in ("blend", "top"):
            raise ValueError(f"color must be 'blend' or 'top'. Got {color!r}.")
        if parents and self.parents is None:
            raise ValueError(
                "parents=True needs the parents of the points: pass parents=, or from_estimator."
            )
        ax, colors = self._begin(ax)
        points, targets = np.asarray(self.points), np.asarray(self.targets)
        kept = np.ones(len(points), bool) if self.kept is None else np.asarray(self.kept, bool)
        own = blend(targets, colors) if color == "blend" else colors[targets.argmax(axis=1)]
        style = {"s": 14, "zorder": 2, **(scatter_kw or {})}
        self.points_ = ax.scatter(*points[kept].T, **{"c": own[kept], "edgecolors": "none", **style})
        self.dropped_ = None
        if not kept.all():
            crosses = {"c": "0.4", "linewidths": 0.8, "label": "dropped", "marker": "x"}
            self.dropped_ = ax.scatter(*points[~kept].T, **{**style, **crosses})
        self.lines_ = self._draw_lines(ax, points) if parents else None
        handles = [] if self.dropped_ is None else [self.dropped_]
        return self._end(ax, legend, colors, len(points), handles)

    def _draw_lines(self, ax: Any, points: np.ndarray) -> Any:
        from matplotlib.collections import LineCollection

        first, second = np.moveaxis(np.asarray(self.parents), 1, 0)
        # Over the point: with columns swapped it does not lie between its parents.
        paths = np.stack([first, points, second], axis=1)
        lines = LineCollection(list(paths), colors="0.5", linewidths=0.4, alpha=0.6, zorder=1)
        ax.add_collection(lines)
        ax.autoscale_view()
        return lines


def _choose(X: Any, features: Any, encoder: Any, owner: str) -> list[int]:
    """Positions of the two columns to draw."""
    names = column_names(X)
    n_columns = _num_features(X) if names is None else len(names)
    if features is None and n_columns != 2:
        example = (names[0], names[1]) if names and n_columns > 1 else (0, 1)
        raise ValueError(
            f"{owner} draws two columns, but X has {n_columns}. Say which, such as features={example}."
        )
    chosen = (0, 1) if features is None else tuple(features)
    columns = [names.index(one) if names and one in names else one for one in chosen]
    unknown = [one for one in columns if not isinstance(one, Integral) or not 0 <= one < n_columns]
    if unknown or len(columns) != 2:
        raise ValueError(
            f"features must be two columns of X: positions from 0 to {n_columns - 1}"
            + (f", or names among {names}" if names else "")
            + f". Got {features!r}."
        )
    if isinstance(encoder, TableEncoder):
        check_numeric(encoder, columns, owner)
    return columns
