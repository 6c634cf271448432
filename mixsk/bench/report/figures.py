"""The figures of a report, by matplotlib: drawn once, for a light and a dark page and as PNG.

What is drawn in `INK` takes the colour of the page's text; all other colours are readable on both grounds.
"""

import io
import warnings
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from mixsk.bench.report.svg import inline

INK = "#24292f"
QUIET = "#848d97"
NO_BREAK = "\N{NO-BREAK SPACE}"  # spaces that a browser keeps
BETTER, TIE, WORSE = "#3f90da", "#9aa3ad", "#e76300"  # blue and orange: for every kind of colour vision
LEADER = {"arrowstyle": "-", "color": QUIET, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 3}
STYLE = {
    "font.family": "sans-serif",
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelsize": 8.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.7,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "text.parse_math": False,  # a $ in a name is a $
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "svg.fonttype": "none",  # the page's own font; and a reader can search and copy
    "svg.hashsalt": "mixsk",
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True)
class Picture:
    """A figure of one or more panels.

    Attributes
    ----------
    name : str
        Of its file, without ".png".
    panels : list of str
        SVG elements for a page, one a panel.
    png : bytes
        All panels in one picture, on white.
    """

    name: str
    panels: list
    png: bytes


@dataclass(frozen=True)
class Panel:
    """What draws one panel into axes, what it says to those who do not see it, and names of its points."""

    draw: object
    label: str
    points: tuple = ()


def picture(name, panels, *, size, columns=4, margins=(0.55, 0.45, 0.1, 0.3)):
    """Draw panels: each by itself for the page, and all together for a file.

    Parameters
    ----------
    name : str
    panels : list of Panel
    size : (float, float)
        Of a panel, in inches.
    columns : int, default=4
        Of the file's picture, at most.
    margins : (float, float, float, float) or None
        Left, below, right and above the axes, in inches. None: of a single panel, what it needs; that takes
        several times the time.

    Returns
    -------
    picture : Picture
    """
    # A name in letters that matplotlib's font lacks is right on the page, and boxes in the file.
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        drawings = [
            inline(
                _saved([panel], size, 1, margins, "svg"), f"{name}-{number}", panel.label, INK, panel.points
            )
            for number, panel in enumerate(panels)
        ]
        return Picture(name, drawings, _saved(panels, size, columns, margins, "png"))


def _saved(panels, size, columns, margins, kind):
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    width, height = size[0] * columns, size[1] * rows
    figure = Figure(figsize=(width, height), layout="constrained" if margins is None else None)
    left, below, right, above = margins or (0, 0, 0, 0)
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        x, y = size[0] * column + left, height - size[1] * (row + 1) + below
        w, h = size[0] - left - right, size[1] - below - above
        place = (x / width, y / height, w / width, h / height)
        panel.draw(figure.subplots() if margins is None else figure.add_axes(place))
    file = io.BytesIO()
    ground = {"facecolor": "white"} if kind == "png" else {"transparent": True}
    snug = {"bbox_inches": "tight", "pad_inches": 0.04} if margins is None else {}
    figure.savefig(file, format=kind, dpi=130, **ground, **snug)
    return file.getvalue()


# --- the figures


def critical_difference(name, tests, score):
    """Methods on the axis of mean ranks; a bar joins those that Nemenyi's test does not tell apart."""
    import scikit_posthocs

    width = min(5.8 + 0.15 * len(tests.ranks), 9)

    def draw(axes):
        scikit_posthocs.critical_difference_diagram(
            tests.ranks,
            tests.nemenyi,
            ax=axes,
            label_fmt_left="{label}  {rank:.2f} ".replace(" ", NO_BREAK),
            label_fmt_right=" {rank:.2f}  {label}".replace(" ", NO_BREAK),
            elbow_props={"color": INK, "linewidth": 0.7},
            marker_props={"s": 14},
            crossbar_props={"color": BETTER, "linewidth": 3},
            text_h_margin=0.02 * np.ptp(tests.ranks),
        )
        low, _ = axes.get_ylim()
        axes.set(xlim=(1, len(tests.ranks)), ylim=(low - 0.3, 4))
        axes.figure.set_size_inches(width, 0.19 * (4.3 - low))
        axes.spines["top"].set_visible(True)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(axis="x", pad=1)
        # Not by scikit-posthocs, which writes it over the numbers of the axis.
        axes.plot([1, 1 + tests.critical_difference], [2.6, 2.6], color=QUIET, linewidth=1.5, marker="|")
        axes.text(1, 3, f"critical difference {tests.critical_difference:.2f}", va="bottom")

    best = ", ".join(f"{method} {rank:.2f}" for method, rank in tests.ranks.items())
    return picture(name, [Panel(draw, f"Mean ranks by {score}: {best}")], size=(width, 2.4), margins=None)


def gain_histograms(name, gains, baseline):
    """How many tables gain how much accuracy over the baseline, a panel for each method."""
    points = {method: 100 * by_table for method, by_table in gains.items()}
    reach = max([np.abs(values).max() for values in points.values() if len(values)], default=1) or 1
    edges = np.linspace(-reach, reach, 25)
    step = edges[1] - edges[0]
    most = max(
        max(np.histogram(values[values != 0], edges)[0].max(), (values == 0).sum())
        for values in points.values()
    )

    def panel(method, values):
        def draw(axes):
            heights, _ = np.histogram(values[values != 0], edges)
            bins = np.flatnonzero(heights)
            colours = [BETTER if b >= len(heights) // 2 else WORSE for b in bins]
            axes.bar(edges[bins] + step / 2, heights[bins], width=0.88 * step, color=colours)
            axes.axvline(0, color=QUIET, linewidth=0.7, zorder=0)
            axes.bar(0, (values == 0).sum(), width=0.5 * step, color=TIE)
            axes.set(title=method, xlabel=f"gain over {baseline}, points", ylabel="tables")
            axes.set(xlim=(-reach, reach), ylim=(0, most * 1.08))
            axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
            axes.xaxis.set_major_locator(MaxNLocator(nbins=5))

        label = f"{method}: {_counted(values)} than {baseline}"
        return Panel(draw, label)

    return picture(name, [panel(*item) for item in points.items()], size=(3.0, 2.6))


def scatters(name, means, methods, baseline):
    """Accuracy of a method against the baseline's, a point for each table, a panel for each method."""
    values = means[[*methods, baseline]].to_numpy()
    low, high = np.nanmin(values), np.nanmax(values)
    margin = 0.05 * (high - low) or 0.05
    limits = (low - margin, min(high + margin, 1.02))

    def panel(method):
        pair = means[[baseline, method]].dropna()
        x, y = pair.to_numpy().T
        signs = np.sign((y - x).round(12)).astype(int)

        def draw(axes):
            axes.plot(limits, limits, color=QUIET, linewidth=0.7)
            colours = np.array([WORSE, TIE, BETTER])[signs + 1]
            points = axes.scatter(x, y, s=16, c=colours, alpha=0.85, linewidths=0)
            points.set_gid("points")
            axes.set(title=method, xlabel=f"accuracy of {baseline}", ylabel=f"of {method}")
            axes.set(xlim=limits, ylim=limits, aspect="equal")
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(MaxNLocator(nbins=4))

        names = tuple(
            f"{table}: {baseline} {a:.4f}, {method} {b:.4f}"
            for table, a, b in zip(pair.index, x, y, strict=True)
        )
        return Panel(draw, f"{method}: {_counted(signs)} than {baseline}", names)

    return picture(name, [panel(method) for method in methods], size=(2.9, 2.9))


def _counted(signs):
    signs = np.sign(np.asarray(signs))
    return (
        f"better on {(signs > 0).sum()} tables, equal on {(signs == 0).sum()}, worse on {(signs < 0).sum()}"
    )


def costs(name, summary):
    """Accuracy and log loss against the seconds of a fit, a named point for each method."""

    def panel(score, heading):
        known = summary[[score, "fit_seconds"]].dropna()

        def draw(axes):
            x, y = known["fit_seconds"].to_numpy(), known[score].to_numpy()
            axes.scatter(x, y, s=22, color=BETTER, linewidths=0, zorder=3)
            axes.set_xscale("log")
            axes.margins(x=0.12, y=0.12)
            axes.set(title=heading, xlabel="seconds a fit")
            wide = len(x) and x.max() > 300 * x.min()
            axes.xaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
            axes.grid(axis="y", color=QUIET, alpha=0.25, linewidth=0.6)
            _name_points(axes, x, y, known.index)

        said = ", ".join(f"{m} {row[score]:.3f} in {row['fit_seconds']:.2g} s" for m, row in known.iterrows())
        return Panel(draw, f"{heading}: {said}")

    panels = [panel("accuracy", "Accuracy, higher is better"), panel("log_loss", "Log loss, lower is better")]
    return picture(name, panels, size=(5.0, 3.6), columns=2)


def _name_points(axes, x, y, names):
    """Write each name beside its point, where it covers neither a point nor another name."""
    points = axes.transData.transform(np.column_stack([x, y]))
    (left, bottom), (right, top) = axes.transAxes.transform([(0, 0), (1, 1)])
    pixel = axes.figure.dpi / 72
    line, gap, dot = 11 * pixel, 6 * pixel, 4 * pixel
    taken = [(px - dot, px + dot, py - dot, py + dot) for px, py in points]
    for i in np.argsort(-points[:, 1]):
        width = len(names[i]) * 5.2 * pixel
        box = None
        for lines_up in (0, 0.6, -0.6, 1.2, -1.2, 1.8, -1.8, 2.4, -2.4, 3, -3):
            for side in (1, -1):
                begin = points[i, 0] + gap if side > 0 else points[i, 0] - gap - width
                middle = points[i, 1] + lines_up * line
                place = (begin, begin + width, middle - line / 2, middle + line / 2)
                inside = left < place[0] and place[1] < right and bottom < place[2] and place[3] < top
                if box is None and inside and not _covers(place, taken):
                    box, shift, towards = place, lines_up, side
        if box is None:  # crowded: let it overlap
            box, shift, towards = place, 0, 1
        taken.append(box)
        axes.annotate(
            names[i],
            (x[i], y[i]),
            xytext=(6 * towards, 11 * shift),
            textcoords="offset points",
            ha="left" if towards > 0 else "right",
            va="center",
            fontsize=8,
            arrowprops=LEADER if abs(shift) > 1 else None,
        )


def _covers(box, others):
    left, right, low, high = box
    return any(left < r and lf < right and low < h and lo < high for lf, r, lo, h in others)


def reliability(name, bins, ece):
    """Accuracy against confidence, a panel for each method; the area of a point is its share."""

    def panel(method, rows):
        def draw(axes):
            axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.7)
            many = rows[rows["share"] >= 0.01]  # a line through a handful of predictions says nothing
            axes.plot(many["confidence"], many["accuracy"], color=BETTER, linewidth=1.2)
            size = 3 + 110 * rows["share"]
            axes.scatter(rows["confidence"], rows["accuracy"], s=size, color=BETTER, linewidths=0)
            axes.set(title=method, xlabel="confidence", ylabel="accuracy")
            axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1], aspect="equal")
            if method in ece.index and np.isfinite(ece[method]):
                axes.text(0.97, 0.05, f"ECE {ece[method]:.3f}", ha="right", transform=axes.transAxes)

        points = "; ".join(
            f"{c:.2f}: {a:.2f}" for c, a in zip(rows["confidence"], rows["accuracy"], strict=True)
        )
        return Panel(draw, f"{method}, accuracy by confidence: {points}")

    panels = [panel(method, rows) for method, rows in bins.groupby("method", sort=False)]
    return picture(name, panels, size=(2.8, 2.8))
