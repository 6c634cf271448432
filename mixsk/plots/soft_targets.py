"""SoftTargets and SoftTargetsDisplay: what labels that are learnt make of the same pairs, epoch by epoch.

Source: "Bypassing the Random Input Mixing in Mixup" (LaMix), section 3.1.2: Figure 2, the mean of the largest
entries of the targets; Figure 3, how all entries of a batch's targets (left) and global labels (right) are
distributed, epoch under epoch.
NOTE[DIFF]: Figure 2 has the five largest; the largest two are drawn here by default.
"""

from __future__ import annotations

from copy import copy
from numbers import Integral
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback

from mixsk.backbones import evaluating
from mixsk.plots._drawing import LINE_COLORS, check_spread, draw_band, label_axes, pyplot
from mixsk.rules import Batch, Draw, Step
from mixsk.rules.objective import Clean

KINDS = {
    "mixed": "target of mixed rows",
    "clean": "target of rows that are not mixed",
    "global": "global label of mixed rows",
}
STYLES = ("curves", "distribution")


class SoftTargets(Callback):
    """A callback of training that writes down, after each epoch, the labels of the same few training rows.

    For labels that change in training: LaMix's, whose second head learns, and those of GenLabel. Rows,
    partners and each pair's own lam are drawn once, as the classifier draws them; what they are mixed to is
    labelled by the network as it is after the epoch, in evaluation mode. Training goes on as if this had not
    been: random numbers, running statistics and a label's own statistics are left alone. Epochs whose phase
    trains on the rows as they are (GenLabel's warm-up) have no targets and are left out.

    Parameters
    ----------
    n_rows : int, default=128
        Training rows that are followed, >= 1; all of them if they are fewer.
    random_state : int, default=0
        Seed of the rows, partners and lam.

    Attributes
    ----------
    epochs_ : list of int
        The epochs that are written down, from 1.
    mixed_, clean_, global_ : list of float32 ndarray of shape (n_rows, n_classes)
        For each of these epochs the targets of the mixed rows; of the rows as batches that are not mixed have
        them; and the global label of the mixed rows alone: LaMix's p, GenLabel's posterior. Of several
        networks side by side, one after the other.

    See Also
    --------
    SoftTargetsDisplay : Draws them.

    Notes
    -----
    A callback of the estimator is copied for each fit. After it, the one that was filled is in
    `estimator.net_.callbacks_`, where `SoftTargetsDisplay.from_estimator` finds it. Pickles lose what it
    wrote.

    Examples
    --------
    >>> from mixsk import LaMixClassifier
    >>> from mixsk.datasets import make_moons
    >>> from mixsk.plots import SoftTargets, SoftTargetsDisplay
    >>> X, y = make_moons(200, random_state=0)
    >>> clf = LaMixClassifier(module="mlp", max_epochs=4, callbacks=[SoftTargets()], random_state=0).fit(X, y)
    >>> display = SoftTargetsDisplay.from_estimator(clf)
    >>> display.targets.shape  # epochs, rows, classes
    (4, 128, 2)
    """

    def __init__(self, n_rows: int = 128, random_state: int = 0) -> None:
        self.n_rows = n_rows
        self.random_state = random_state

    def initialize(self) -> SoftTargets:
        """Begin with nothing."""
        self.epochs_: list[int] = []
        self.mixed_: list[np.ndarray] = []
        self.clean_: list[np.ndarray] = []
        self.global_: list[np.ndarray] = []
        self._batch: Any = None
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Say now what could not be written down.

        Parameters
        ----------
        net : MixNet
        X, y : ignored
        **kwargs : ignored

        Raises
        ------
        ValueError
            If the label of the net's recipe does not change in training; for a parameter out of range.
        """
        for name, least in (("n_rows", 1), ("random_state", 0)):
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise ValueError(f"SoftTargets: {name} must be an int >= {least}. Got {value!r}.")
        recipe = net.criterion_
        if recipe.draw is None or _global_label(recipe.label) is None:
            what = "mix=None has no targets" if recipe.draw is None else f"label={recipe.label!r} has none"
            raise ValueError(
                "SoftTargets follows labels with a part that is no mixture of two rows' own, and "
                f"{what} of this kind. Use it with LaMixClassifier, GenLabelClassifier, or label=LaMix()."
            )

    def on_epoch_end(self, net: Any, dataset_train: Any = None, **kwargs: Any) -> None:
        """Write down the labels as they are now.

        Parameters
        ----------
        net : MixNet
        dataset_train : Part
            The training rows.
        **kwargs : ignored
        """
        if isinstance(net.objective_, Clean):
            return
        if self._batch is None:
            self._batch = self._drawn(net, dataset_train)
        index, draw = self._batch
        with torch.no_grad(), evaluating(net.module_), net._autocast():
            labels = self._labels(net, dataset_train.rows, index, draw)
        for name, label in zip(("mixed_", "clean_", "global_"), labels, strict=True):
            getattr(self, name).append(label.flatten(0, 1).float().cpu().numpy())
        self.epochs_.append(len(net.history))

    def _drawn(self, net: Any, part: Any) -> tuple[np.ndarray, Any]:
        """Rows that are followed, and how they are mixed: each pair at a lam of its own."""
        rng = np.random.default_rng(self.random_state)
        recipe = net.criterion_
        index = rng.choice(part.index, min(self.n_rows, len(part.index)), replace=False)
        y = part.rows.y.cpu().numpy()[index][None]
        drawer = copy(recipe.draw)
        drawer.lam_per, drawer.alternate, drawer.sites = "sample", False, recipe.spec.sites[:1]
        drawn = drawer(rng, y, np.zeros(1, np.int64), {"alpha": recipe.hyper["alpha"]})
        models, device = net.module_.n_models, part.rows.device
        perm, lam, noise = (
            None if v is None else torch.from_numpy(v).to(device).expand(models, *v.shape[1:])
            for v in (drawn.perm, drawn.lam, drawn.noise)
        )
        assert lam is not None
        return index, Draw(perm, lam.to(part.rows.dtype), int(drawn.site[0]), noise)

    @staticmethod
    def _labels(net: Any, rows: Any, index: np.ndarray, draw: Any) -> tuple[torch.Tensor, ...]:
        """Targets of the mixed rows, of the rows as they are, and the global labels: each (M, n, C)."""
        recipe, models = net.criterion_, net.module_.n_models
        at = torch.as_tensor(index, device=rows.device)
        x = rows.at(at)
        if rows.lengths is not None:
            x = x[:, : rows.lengths[index].max()]
        y = torch.nn.functional.one_hot(rows.y[at], rows.n_classes).to(rows.dtype)
        if rows.w is not None:
            y = y * rows.w[at].unsqueeze(-1)
        x, y = (v.expand(models, *v.shape) for v in (x, y))

        def target(draw: Any) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
            step = Step(recipe, net.module_, Batch(x, y, draw))
            step.looked = True  # a label that follows the batches does not follow this one
            h, share = step.mixed(draw.lam)
            _, taps = step.upper(h)
            return step.target(share, taps)[0], taps

        mixed, taps = target(draw)
        alone = torch.arange(len(index), device=rows.device).expand(models, -1)
        still = torch.zeros(models, dtype=torch.bool, device=rows.device)
        clean, _ = target(draw._replace(perm=alone, lam=torch.ones_like(draw.lam), mixed=still))
        own = recipe.each if recipe.each and not hasattr(recipe.label, "aux") else [recipe]
        features = taps[max(taps)].chunk(len(own))
        found = [_global_label(each.label)(f) for each, f in zip(own, features, strict=True)]  # type: ignore[misc]
        return mixed, clean, torch.cat(found)


class SoftTargetsDisplay:
    """Targets of the same rows over the epochs of a training: their largest entries, or all of them.

    Use `from_estimator` or `from_callback`, of an estimator trained with the callback `SoftTargets`.

    Parameters
    ----------
    epochs : array-like of shape (n_epochs,)
        Numbers of the epochs, ascending.
    targets : array-like of shape (n_epochs, n_rows, n_classes)
        Labels, >= 0; rows sum to 1.
    what : {"mixed", "clean", "global"}, default="mixed"
        What they are the labels of.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it is drawn.
    figure_ : matplotlib Figure
        Its figure.
    lines_ : list of matplotlib Line2D
        Mean of the largest entry, of the second, ... of the rows' targets; empty with "distribution".
    bands_ : list of matplotlib PolyCollection
        Between two quantiles of the rows; empty with `spread=None` and with "distribution".
    mesh_ : matplotlib QuadMesh or None
        Of "distribution": entry (epoch, bin) is the share of the targets' entries in the bin.
    legend_ : matplotlib Legend or None
        None with "distribution".

    See Also
    --------
    SoftTargets : Writes the targets down.

    References
    ----------
    "Bypassing the Random Input Mixing in Mixup" (LaMix), Figures 2 and 3.

    Examples
    --------
    >>> from mixsk.plots import SoftTargetsDisplay
    >>> display = SoftTargetsDisplay([1, 2], [[[0.7, 0.3], [0.5, 0.5]], [[0.6, 0.4], [0.2, 0.8]]]).plot()
    >>> display.lines_[0].get_ydata()
    array([0.6, 0.7])
    """

    def __init__(self, epochs: Any, targets: Any, what: str = "mixed") -> None:
        self.epochs = epochs
        self.targets = targets
        self.what = what

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, what: str = "mixed", ax: Any = None, **kwargs: Any
    ) -> SoftTargetsDisplay:
        """Draw what the callback of a fitted classifier wrote down.

        Parameters
        ----------
        estimator : classifier of mixsk
            Fitted with a `SoftTargets` among its `callbacks`.
        what : {"mixed", "clean", "global"}, default="mixed"
            Targets of mixed rows, of rows that are not mixed, or the global labels of mixed rows.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Further arguments of `plot`.

        Returns
        -------
        SoftTargetsDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If there is no such callback, or it wrote nothing.
        """
        pyplot(cls.__name__)
        known = getattr(getattr(estimator, "net_", None), "callbacks_", [])
        ours = [callback for _, callback in known if isinstance(callback, SoftTargets)]
        found = [callback for callback in ours if getattr(callback, "epochs_", None)]
        if not found:
            raise ValueError(
                f"{cls.__name__} draws what a callback wrote down in training, and this "
                f"{type(estimator).__name__} has none that did: fit it with callbacks=[SoftTargets()]. (A "
                "pickle does not hold what callbacks wrote.)"
            )
        return cls.from_callback(found[0], what=what, ax=ax, **kwargs)

    @classmethod
    def from_callback(
        cls, callback: Any, *, what: str = "mixed", ax: Any = None, **kwargs: Any
    ) -> SoftTargetsDisplay:
        """Draw what a callback wrote down.

        Parameters
        ----------
        callback : SoftTargets
            Of a training: the copy in `estimator.net_.callbacks_`.
        what : {"mixed", "clean", "global"}, default="mixed"
            Targets of mixed rows, of rows that are not mixed, or the global labels of mixed rows.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Further arguments of `plot`.

        Returns
        -------
        SoftTargetsDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If the callback wrote nothing, or `what` is unknown.
        """
        pyplot(cls.__name__)
        _check_choice("what", what, tuple(KINDS))
        if not getattr(callback, "epochs_", None):
            raise ValueError(
                "This SoftTargets has seen no epoch with mixed rows. The copy that a fit filled is in "
                "estimator.net_.callbacks_: use from_estimator(estimator)."
            )
        return cls(callback.epochs_, np.stack(getattr(callback, f"{what}_")), what).plot(ax, **kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        style: str = "curves",
        n_largest: int = 2,
        spread: Any = (0.25, 0.75),
        n_bins: int = 50,
        **kwargs: Any,
    ) -> SoftTargetsDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.
        style : {"curves", "distribution"}, default="curves"
            The mean of the largest entries against the epoch (Figure 2), or the distribution of all entries,
            the first epoch at the top (Figure 3); darker is more, by the square root.
        n_largest : int, default=2
            Curves, >= 1 and at most as many as classes.
        spread : (float, float) or None, default=(0.25, 0.75)
            Quantiles of the rows between which the curves' bands lie. None: no bands.
        n_bins : int, default=50
            Bins of the distribution between 0 and its largest value, >= 1.
        **kwargs : dict
            Further arguments of `Axes.plot` for the curves, or of `Axes.pcolormesh`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For parameters out of range.
        """
        plt = pyplot(type(self).__name__)
        targets, epochs = np.asarray(self.targets, dtype=np.float64), np.asarray(self.epochs)
        _check_choice("what", self.what, tuple(KINDS))
        _check_choice("style", style, STYLES)
        _check_count("n_largest", n_largest, targets.shape[-1])
        _check_count("n_bins", n_bins, np.inf)
        check_spread(spread)
        if ax is None:
            _, ax = plt.subplots()
        self.lines_, self.bands_, self.mesh_, self.legend_ = [], [], None, None
        if style == "curves":
            self._draw_curves(ax, epochs, targets, n_largest, spread, kwargs)
        else:
            self._draw_distribution(ax, epochs, targets, n_bins, kwargs)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw_curves(
        self, ax: Any, epochs: np.ndarray, targets: np.ndarray, n_largest: int, spread: Any, kwargs: Any
    ) -> None:
        sorted_ = -np.sort(-targets, axis=-1)
        for k in range(n_largest):
            values = sorted_[..., k].T  # (rows, epochs)
            color = LINE_COLORS[k % len(LINE_COLORS)]
            style = {
                "label": _ordinal(k),
                "color": color,
                "marker": "." if len(epochs) <= 30 else "",
                **kwargs,
            }
            (line,) = ax.plot(epochs, values.mean(axis=0), **style)
            self.lines_.append(line)
            if spread is not None:
                self.bands_.append(draw_band(ax, epochs, values, spread, line.get_color()))
        ax.set_ylim(bottom=0, auto=True)
        ax.xaxis.get_major_locator().set_params(integer=True)
        what = f"mean {KINDS[self.what]}"
        if spread is not None:
            what += "\n(bands: {:g} to {:g} %)".format(*np.multiply(100, spread))
        label_axes(ax, "epoch", what)
        self.legend_ = ax.legend(title="entry", fontsize="small", title_fontsize="small")

    def _draw_distribution(
        self, ax: Any, epochs: np.ndarray, targets: np.ndarray, n_bins: int, kwargs: Any
    ) -> None:
        import matplotlib as mpl

        edges = np.linspace(0, targets.max(), n_bins + 1)
        counts = np.array([np.histogram(of_epoch, edges)[0] for of_epoch in targets])
        shares = counts / counts.sum(axis=1, keepdims=True)
        # Most entries of a label are small: on a linear scale the rest would not be seen.
        style = {"norm": mpl.colors.PowerNorm(0.5, 0), "cmap": "Blues", **kwargs}
        rows = np.append(epochs - 0.5, epochs[-1] + 0.5)
        self.mesh_ = ax.pcolormesh(edges, rows, shares, **style)
        ax.figure.colorbar(self.mesh_, ax=ax, label="share of the entries")
        ax.yaxis.get_major_locator().set_params(integer=True)
        if not ax.yaxis_inverted():
            ax.invert_yaxis()
        label_axes(ax, KINDS[self.what], "epoch")


def _global_label(label: Any) -> Any:
    """What the label says of features beside the two rows' own labels: a function, or None."""
    return getattr(label, "global_label", None) or getattr(label, "posterior", None)


def _ordinal(k: int) -> str:
    return ("largest", "second", "third", "fourth", "fifth")[k] if k < 5 else f"{k + 1}th"


def _check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Raise ValueError for an unknown name."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {allowed}. Got {value!r}.")


def _check_count(name: str, value: Any, most: float) -> None:
    """Raise ValueError for what is no number from 1."""
    if not isinstance(value, Integral) or isinstance(value, bool) or not 1 <= value <= most:
        upto = "" if most == np.inf else f" and <= {most}, the number of classes"
        raise ValueError(f"{name} must be an int >= 1{upto}. Got {value!r}.")
