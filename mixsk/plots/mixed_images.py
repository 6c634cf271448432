"""MixedImagesDisplay: images and their partners, what a classifier mixes of them, and the labels of that."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from mixsk.classifiers._data import check_labels, check_lengths, encode_labels
from mixsk.engine import Part
from mixsk.plots._drawing import class_colors, pyplot
from mixsk.plots._images import check_of_images, draw_image, in_pixels, pixel_range, shorten
from mixsk.plots._mixing import seen_in_training

ROWS = ("image", "partner", "mixed", "label")
INCHES = 1.15  # of a column, and of a row of images


class MixedImagesDisplay:
    """Pairs of images, the mixed images that a classifier trains on, and the labels that these have.

    Use `from_estimator`. A column is a pair: an image with its class, its partner, the mixed image with lam,
    and the largest shares of its label as bars. Where the mask does not give the label lam itself, as CutMix
    does not, "share" is what it gives; where the label says something else than that, the bars show it.

    Parameters
    ----------
    images, partners, mixed : array-like of shape (n, C, H, W)
        First images, their partners, and what they become together, in units of the encoded pixels: from 0 to
        255 for uint8.
    targets : array-like of shape (n, n_classes)
        Labels of the mixed images, >= 0; rows sum to 1.
    lam, share : array-like of shape (n,)
        The first image's share as drawn, and what the mask gives to its label, in [0, 1].
    classes : array-like of shape (n_classes,)
        Class labels, in the order of `targets`.
    labels : array-like of shape (n, 2) or None, default=None
        Class labels of the first image and of its partner. None: not written.
    kept : bool array-like of shape (n,) or None, default=None
        False for what `drop_intrusions` drops. None: all are kept.
    limits : (float, float), default=(0, 255)
        Pixels that are drawn black and white.
    colors : list of n_classes matplotlib colours, or None, default=None
        Of the bars. None: a colour-blind safe palette (Petroff 2021) up to 10 classes, above that viridis.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (4, n)
        Images, partners, mixed images, labels.
    figure_ : matplotlib Figure or SubFigure
        Where it is drawn.
    bars_ : list of matplotlib BarContainer
        The shares of each label, the largest at the top.

    See Also
    --------
    MixedPointsDisplay : The mixed rows of a table.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from mixsk import MixupClassifier
    >>> from mixsk.plots import MixedImagesDisplay
    >>> digits = load_digits()
    >>> X, y = digits.images[:200].repeat(2, 1).repeat(2, 2), digits.target[:200]
    >>> clf = MixupClassifier(module="lenet", mix="cutmix", max_epochs=1, random_state=0).fit(X, y)
    >>> display = MixedImagesDisplay.from_estimator(clf, X, y, n_images=5)
    >>> display.mixed.shape, display.targets.shape
    ((5, 1, 16, 16), (5, 10))
    """

    def __init__(
        self,
        *,
        images: Any,
        partners: Any,
        mixed: Any,
        targets: Any,
        lam: Any,
        share: Any,
        classes: Any,
        labels: Any = None,
        kept: Any = None,
        limits: tuple[float, float] = (0, 255),
        colors: Any = None,
    ) -> None:
        self.images = images
        self.partners = partners
        self.mixed = mixed
        self.targets = targets
        self.lam = lam
        self.share = share
        self.classes = classes
        self.labels = labels
        self.kept = kept
        self.limits = limits
        self.colors = colors

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        n_images: int = 8,
        lam: Any = None,
        random_state: Any = None,
        colors: Any = None,
        figure: Any = None,
        **kwargs: Any,
    ) -> MixedImagesDisplay:
        """Draw what a fitted classifier trains on: the first pair of each of the first mixed batches.

        Its objective is run on these batches, and what it mixes and how it labels that is drawn: its own
        pairs, mask (PuzzleMix's with the saliency of the fitted network), augmentation and label. One pair
        a batch, because a batch may share one lam and one box. Batches that are left unmixed (`mix_prob`,
        `mix_off`, LaMix's clean ones) or mixed at hidden stages are not drawn. AMP and AdaMixUp move the
        drawn lam; `lam` is then what they have made of it. Nothing is trained, and the estimator is not
        changed.

        Parameters
        ----------
        estimator : classifier of mixsk
            Fitted to images.
        X : array-like of images, or torch Dataset
            Training images, or others of their shape.
        y : array-like of shape (n_samples,) or None
            Their labels. None: those of a Dataset that has them.
        n_images : int, default=8
            Pairs to draw, >= 1.
        lam : float, array-like of shape (n_images,) or None, default=None
            Takes the place of the drawn lam, in [0, 1]: one for all pairs, or one for each.
        random_state : int, RandomState instance or None, default=None
            Seeds order, pairs and lam. None: the estimator's own seed, so that of the rows that it was
            trained on these are the first batches of its fit, if all were mixed at the input.
        colors : list of n_classes matplotlib colours, or None, default=None
            Of the bars. None: a colour-blind safe palette.
        figure : matplotlib Figure or SubFigure, or None, default=None
            Where to draw. None makes a figure.
        **kwargs : dict
            Further arguments of `plot`.

        Returns
        -------
        MixedImagesDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If the estimator is not of mixsk, not fitted to images, or never mixes them at the input; for
            parameters out of range; for images and labels that the estimator cannot take.
        """
        pyplot(cls.__name__)  # before the work
        check_of_images(estimator, cls.__name__, "Use MixedPointsDisplay for two columns of a table.")
        lam = _checked(n_images, lam)
        spec = estimator.net_.criterion_.spec
        if spec.mix is None or 0 not in spec.sites:
            how = "mixes nothing" if spec.mix is None else f"mixes at the stages {spec.sites} of the network"
            raise ValueError(
                f"{cls.__name__} draws images that are mixed, but this {type(estimator).__name__} {how}. Use "
                "a classifier with mix='linear', 'cutmix' or another mask, and mix_at='input' or 'any'."
            )
        X, y = estimator._open_images(X, y)
        y = check_labels(y, cls.__name__)
        check_lengths(X, y)
        codes = encode_labels(y, estimator.classes_)
        device = next(estimator.net_.module_.parameters()).device
        part = Part(estimator._rows(estimator._encode(X), codes, None, device), np.arange(len(codes)))
        seed = estimator._seed
        if random_state is not None:
            seed = int(check_random_state(random_state).randint(2**31 - 1))
        seen = seen_in_training(estimator, part, lam, n_images, seed)
        x, partners, mixed = (
            in_pixels(values, estimator.encoder_.layout_) for values in (seen.x, seen.partners, seen.mixed)
        )
        display = cls(
            images=x,
            partners=partners,
            mixed=mixed,
            targets=seen.targets.double().numpy(),
            lam=seen.lam.double().numpy(),
            share=seen.share.double().numpy(),
            classes=estimator.classes_,
            labels=estimator.classes_[seen.labels.numpy()],
            kept=seen.kept.numpy(),
            limits=pixel_range(estimator, np.concatenate((x, partners))),
            colors=colors,
        )
        return display.plot(figure, **kwargs)

    def plot(self, figure: Any = None, *, n_shares: int = 5) -> MixedImagesDisplay:
        """Draw.

        Parameters
        ----------
        figure : matplotlib Figure or SubFigure, or None, default=None
            Where to draw. None makes a figure.
        n_shares : int, default=5
            The most classes of a label that are drawn, >= 1; shares below 0.005 never are.

        Returns
        -------
        self
        """
        plt = pyplot(type(self).__name__)
        if not _is_count(n_shares):
            raise ValueError(f"n_shares must be an int >= 1. Got {n_shares!r}.")
        targets = np.asarray(self.targets)
        shown = [_largest(target, n_shares) for target in targets]
        n_bars = max(map(len, shown))
        heights = [1, 1, 1, 0.1 + 0.16 * n_bars]  # of lines of print, where an image is one
        if figure is None:
            size = (INCHES * len(targets) + 0.6, INCHES * sum(heights) + 0.9)
            figure = plt.figure(figsize=size, layout="constrained")
        grid = {"squeeze": False, "height_ratios": heights}
        self.axes_, self.figure_ = figure.subplots(4, len(targets), **grid), figure
        names = None if self.labels is None else np.asarray(self.labels)
        for k, column in enumerate(self.axes_.T):
            drawn = (self.images[k], self.partners[k], self.mixed[k])
            titles = ("", "") if names is None else (shorten(names[k, 0]), shorten(names[k, 1]))
            for ax, image, title in zip(column, drawn, (*titles, self._told(k)), strict=False):
                draw_image(ax, image, self.limits)
                ax.set_title(title, fontsize="small", pad=3)
        colors = class_colors(self.colors, len(self.classes))
        self.bars_ = [
            self._draw_label(ax, target, chosen, n_bars, colors)
            for ax, target, chosen in zip(self.axes_[3], targets, shown, strict=True)
        ]
        for ax, name in zip(self.axes_[:, 0], ROWS, strict=True):
            ax.set_ylabel(name)
        return self

    def _told(self, k: int) -> str:
        """What is written above a mixed image."""
        lam, share = float(self.lam[k]), float(self.share[k])
        told = f"lam {lam:.2f}"
        if abs(lam - share) > 0.005:
            told += f"\nshare {share:.2f}"
        return told if self.kept is None or self.kept[k] else told + "\ndropped"

    def _draw_label(
        self, ax: Any, target: np.ndarray, chosen: np.ndarray, n_bars: int, colors: np.ndarray
    ) -> Any:
        """The chosen classes' shares of a label, from the top, with their names on the bars."""
        bars = ax.barh(range(len(chosen)), target[chosen], height=0.86, color=colors[chosen], alpha=0.5)
        for place, code in enumerate(chosen):
            text = f"{shorten(self.classes[code], 9)} {target[code]:.2f}"
            ax.text(0.04, place, text, va="center", ha="left", fontsize="x-small")
        ax.set(xlim=(0, 1), ylim=(n_bars - 0.5, -0.5), xticks=[], yticks=[])
        ax.spines[["top", "right", "bottom"]].set_visible(False)
        return bars


def _largest(target: np.ndarray, n_shares: int) -> np.ndarray:
    """Classes of the largest shares of a label, in their order."""
    order = np.argsort(-target, kind="stable")[:n_shares]
    return order[target[order] >= 0.005]


def _is_count(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= 1


def _checked(n_images: Any, lam: Any) -> np.ndarray | None:
    """lam of each image, or ValueError."""
    if not _is_count(n_images):
        raise ValueError(f"n_images must be an int >= 1. Got {n_images!r}.")
    if lam is None:
        return None
    found = lam if isinstance(lam, (list, tuple, np.ndarray)) else [lam] * n_images
    if len(found) != n_images or not all(isinstance(one, Real) and 0 <= one <= 1 for one in found):
        raise ValueError(
            f"lam must be a number in [0, 1], n_images={n_images} of them, or None for those of training. "
            f"Got {lam!r}."
        )
    return np.array(found, dtype=np.float64)
