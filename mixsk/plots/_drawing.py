"""What the displays share: matplotlib when it is needed, one colour a class, and its legend."""

from __future__ import annotations

from numbers import Real
from typing import Any, Self

import numpy as np

# The ten colours of Petroff, "Accessible Color Sequences for Data Visualization" (2021), arXiv:2107.02270:
# told apart under the common colour vision deficiencies; also scikit-learn's, so that pictures agree.
PALETTE = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
# Of lines: without the greys, which are for references.
LINE_COLORS = tuple(color for color in PALETTE if color not in ("#94a4a2", "#717581"))


class ClassPicture:
    """What every display begins and ends with; a display stores these attributes itself."""

    classes: Any
    xlabel: str | None
    ylabel: str | None
    colors: Any

    def _begin(self, ax: Any) -> tuple[Any, np.ndarray]:
        """The axes to draw into, those given or of a new figure, and the colour of each class."""
        plt = pyplot(type(self).__name__)
        if ax is None:
            _, ax = plt.subplots()
        return ax, class_colors(self.colors, len(self.classes))

    def _end(self, ax: Any, legend: bool, colors: np.ndarray, n_points: int, further: Any = ()) -> Self:
        """Legend, names of the axes, and the attributes that say where it is drawn."""
        self.legend_ = draw_legend(ax, self.classes, colors, n_points, further) if legend else None
        label_axes(ax, self.xlabel, self.ylabel)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def pyplot(owner: str) -> Any:
    """The module matplotlib.pyplot, or ImportError."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{owner} needs matplotlib, which cannot be imported ({error}). "
            "Install it with: pip install 'mixsk[plots]'"
        ) from error
    return plt


def class_colors(colors: Any, n_classes: int) -> np.ndarray:
    """RGB of each class in [0, 1], float64 (C, 3): the given colours, or those of the palette."""
    import matplotlib as mpl

    if colors is None and n_classes <= len(PALETTE):
        colors = PALETTE[:n_classes]
    elif colors is None:  # no palette tells so many apart; this one stays ordered for every eye
        colors = mpl.colormaps["viridis"](np.linspace(0, 1, n_classes))
    if isinstance(colors, str) or len(colors) != n_classes:
        raise ValueError(
            f"colors must be a list of {n_classes} matplotlib colours, one a class in the order of classes_. "
            f"Got {colors!r}. Leave it at None for a colour-blind safe palette."
        )
    return mpl.colors.to_rgba_array(list(colors))[:, :3]


def blend(p: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Colour of class probabilities p (..., C): the classes' colours in these shares, (..., 3)."""
    return (p @ colors).clip(0, 1)


def check_spread(spread: Any) -> None:
    """Raise ValueError if it is neither None nor two quantiles."""
    if spread is None:
        return
    found = list(spread) if isinstance(spread, (tuple, list, np.ndarray)) else []
    if len(found) != 2 or not all(isinstance(q, Real) for q in found) or not 0 <= found[0] < found[1] <= 1:
        raise ValueError(
            "spread must be two quantiles in [0, 1], the lower first, such as (0.25, 0.75), or None for no "
            f"band. Got {spread!r}."
        )


def draw_band(ax: Any, x: np.ndarray, values: np.ndarray, spread: Any, color: Any) -> Any:
    """A band between two quantiles over the first axis of values (n, len(x)), in a pale colour."""
    style = {"facecolor": (color, 0.12), "edgecolor": (color, 0.5), "linewidth": 0.5}
    return ax.fill_between(x, *np.quantile(values, spread, axis=0), **style)


def label_axes(ax: Any, xlabel: str | None, ylabel: str | None) -> None:
    """Name the axes, unless the user has already."""
    if xlabel and not ax.get_xlabel():
        ax.set_xlabel(xlabel)
    if ylabel and not ax.get_ylabel():
        ax.set_ylabel(ylabel)


def draw_legend(ax: Any, classes: Any, colors: np.ndarray, n_points: int, further: Any = ()) -> Any:
    """A legend of the classes' plain colours, and of further handles, where it hides fewest points."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="", marker="o", color=color, label=str(label))
        for label, color in zip(classes, colors, strict=True)
    ]
    # The search for a place takes over 1 s at a million points, and matplotlib then warns.
    place = "best" if n_points <= 100_000 else "upper right"
    return ax.legend(handles=[*handles, *further], title="class", loc=place)
