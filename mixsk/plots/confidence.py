"""ConfidenceDisplay: how sure a classifier is of rows between two classes, against lam.

Source: Mensink and Mettes, "Infinite Class Mixup" (BMVC 2023), section 4.3 and Figure 4: of pairs of test
images of different classes, mixed at lam = 0, 0.1, ..., 1, the mean squared norm (left), and how far the
score of the first class is above that of the second (right).
NOTE[DIFF]: the paper does not say whose norm it is; here it is that of the features which the head sees.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from scipy.special import entr

from mixsk.plots._drawing import LINE_COLORS, check_spread, draw_band, label_axes, pyplot
from mixsk.plots._pairs import (
    checked,
    checked_pairs,
    labelled,
    mixed_log_proba,
    one_site,
    other_class_pairs,
)

MOST_PAIRS = 1000  # that are drawn where the user does not say how many
REFERENCE = "that of the mixed label"


class Score(NamedTuple):
    """A number of each mixed row.

    Attributes
    ----------
    of : callable
        (log p (P, G, C), squared norms (P, G), log p of both classes (P, G, 2)) -> (P, G).
    sign : {1, -1, None}
        What it is of the same row if its parents change places: this times itself; None: something else.
    reference : callable or None
        lam -> the value that the mixed label has.
    ylabel : str
    """

    of: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    sign: int | None
    reference: Callable[[np.ndarray], np.ndarray] | None
    ylabel: str


SCORES = {
    "proba": Score(
        lambda log_p, norm, two: np.exp(two[..., 0]), None, lambda lam: lam, "probability of both classes"
    ),
    "difference": Score(
        lambda log_p, norm, two: two[..., 0] - two[..., 1],
        -1,
        None,
        "score of first - second class",
    ),
    "norm": Score(lambda log_p, norm, two: norm, 1, None, "squared norm of the features"),
    "max": Score(
        lambda log_p, norm, two: np.exp(log_p.max(axis=-1)),
        1,
        lambda lam: np.maximum(lam, 1 - lam),
        "confidence",
    ),
    "entropy": Score(
        lambda log_p, norm, two: -(np.exp(log_p) * log_p).sum(axis=-1),
        1,
        lambda lam: entr(lam) + entr(1 - lam),
        "entropy of the prediction, nats",
    ),
}


class ConfidenceDisplay:
    """What a classifier says of rows between two classes against lam, the share of the first: means of pairs.

    Use `from_estimator`; with `ax=display.ax_` it adds a classifier to a picture. Rows h_i and h_j of
    different classes, at the stage of the network where they are mixed, give lam h_i + (1 - lam) h_j. Each
    pair is taken both ways, so that a curve has two like halves. With p the probabilities of the mixed row,
    `score` is

    - "proba": p of the class of row i, and dashed that of row j;
    - "difference": log p[y_i] - log p[y_j], which of a single network, not calibrated, is the difference of
      both classes' scores (Figure 4, right);
    - "norm": the squared norm of what the head sees, the mean of several networks' (Figure 4, left);
    - "max": the largest entry of p, whatever its class;
    - "entropy": the entropy of p, in nats.

    Parameters
    ----------
    lam : array-like of shape (n_lam,)
        Shares of the first row, in [0, 1], ascending, alike from both ends.
    values : array-like of shape (n_values, n_lam)
        The score of each pair, each pair both ways.
    score : {"proba", "difference", "norm", "max", "entropy"}, default="proba"
        What the values are.
    estimator_name : str or None, default=None
        Name in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it is drawn.
    figure_ : matplotlib Figure
        Its figure.
    line_ : matplotlib Line2D
        The mean over the pairs.
    other_line_ : matplotlib Line2D or None
        That of the second class, dashed; None but for "proba".
    band_ : matplotlib PolyCollection or None
        Between two quantiles of the pairs; None with `spread=None`.
    legend_ : matplotlib Legend or None
        Of all that is drawn there; None if nothing has a name.

    See Also
    --------
    MixedLossDisplay : The loss of mixed rows.
    ReliabilityDisplay : How often a classifier is right where it is so sure.

    References
    ----------
    Mensink and Mettes: "Infinite Class Mixup", BMVC 2023, section 4.3 and Figure 4.

    Examples
    --------
    >>> from mixsk import InfiniteMixupClassifier, MixupClassifier
    >>> from mixsk.datasets import make_moons
    >>> from mixsk.plots import ConfidenceDisplay
    >>> X, y = make_moons(400, random_state=0)
    >>> params = {"mix": "linear", "module": "mlp", "max_epochs": 5, "random_state": 0}
    >>> mixup = MixupClassifier(**params).fit(X[:200], y[:200])
    >>> infinite = InfiniteMixupClassifier(**params).fit(X[:200], y[:200])
    >>> display = ConfidenceDisplay.from_estimator(mixup, X[200:], y[200:])
    >>> other = ConfidenceDisplay.from_estimator(infinite, X[200:], y[200:], ax=display.ax_)
    >>> display.values.shape  # 200 pairs, both ways
    (400, 11)
    """

    def __init__(
        self, lam: Any, values: Any, score: str = "proba", estimator_name: str | None = None
    ) -> None:
        self.lam = lam
        self.values = values
        self.score = score
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        score: str = "proba",
        pairs: Any = None,
        n_pairs: int | None = None,
        mix_at: Any = None,
        n_lam: int = 11,
        random_state: Any = 0,
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> ConfidenceDisplay:
        """Draw a fitted classifier on rows that it was not trained on.

        Nothing is trained, and nothing is random but the pairs: there is no dropout, and the temperature of a
        calibrated classifier counts.

        Parameters
        ----------
        estimator : classifier of mixsk
            Fitted. Rows are mixed linearly, whatever it was trained on, so that all classifiers can be
            compared; also one with `mix=None`.
        X : array-like or DataFrame of shape (n_samples, n_features), texts or images
            What `estimator.predict` takes.
        y : array-like of shape (n_samples,) or None
            Labels of X, of at least two classes. None: those of a Dataset of images that has them.
        score : {"proba", "difference", "norm", "max", "entropy"}, default="proba"
            What is drawn, see above.
        pairs : int array-like of shape (n_pairs, 2) or None, default=None
            Positions of rows in X, two of different classes to a pair. None: random ones. The paper has one
            test image of each class, and all their pairs.
        n_pairs : int or None, default=None
            Number of random pairs, >= 1: each row is the first of as many, and its partner any of another
            class. None: as many as rows, but at most 1000.
        mix_at : {"input", "embedding", "last"}, int or None, default=None
            The stage at which rows are mixed, as in the classifier's parameter. None: the classifier's own.
        n_lam : int, default=11
            Number of values of lam, evenly spaced from 0 to 1, >= 2.
        random_state : int, RandomState instance or None, default=0
            Draws the pairs. An int gives the same pairs for each classifier.
        name : str or None, default=None
            Name in the legend. None: that of the estimator's class.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Further arguments of `plot`.

        Returns
        -------
        ConfidenceDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If the estimator is not of mixsk, `mix_at` is not one stage of its network, a pair is of one
            class, parameters are out of range, y has labels that the classifier does not know, or `predict`
            would refuse X.
        """
        pyplot(cls.__name__)  # before the work
        checked(estimator, n_lam, cls.__name__)
        _check_score(score)
        if score == "norm" and estimator.net_.module_.n_stages == 0:
            raise ValueError(
                f"score='norm' is of features, and module={estimator.module!r} has no hidden stage that "
                "gives any. Use another score, or a network of stages."
            )
        site = one_site(estimator, mix_at)
        X, y, codes = labelled(estimator, X, y, cls.__name__)
        chosen = _chosen_pairs(pairs, n_pairs, codes, y, random_state)
        lam = np.linspace(0, 1, n_lam)
        log_p, norm = mixed_log_proba(estimator, X, chosen, lam, site)
        two = np.take_along_axis(log_p, codes[chosen][:, None], axis=2)
        of, sign = SCORES[score][:2]
        values = of(log_p, norm, two)
        swapped = of(log_p, norm, two[..., ::-1]) if sign is None else sign * values
        name = type(estimator).__name__ if name is None else name
        return cls(lam, np.concatenate([values, swapped[:, ::-1]]), score, name).plot(ax, **kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        name: str | None = None,
        spread: Any = None,
        ref_line: bool = True,
        **kwargs: Any,
    ) -> ConfidenceDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.
        name : str or None, default=None
            Name in the legend. None: `estimator_name`.
        spread : (float, float) or None, default=None
            Quantiles of the pairs between which a band is drawn, in [0, 1], the lower first, such as (0.25,
            0.75); of "proba" that of the first class. None: no band.
        ref_line : bool, default=True
            Whether to draw what the mixed label itself would have, unless it is there already; "difference"
            and "norm" have no such line.
        **kwargs : dict
            Further arguments of `Axes.plot` for the mean, whose colour is else the next of a colour-blind
            safe palette.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `spread` is no such pair, or `score` is unknown.
        """
        plt = pyplot(type(self).__name__)
        _check_score(self.score)
        check_spread(spread)
        if ax is None:
            _, ax = plt.subplots()
        score, lam, values = SCORES[self.score], np.asarray(self.lam), np.atleast_2d(self.values)
        both, mean = self.score == "proba", values.mean(axis=0)
        if ref_line and score.reference is not None and REFERENCE not in ax.get_legend_handles_labels()[1]:
            line = score.reference(lam)
            style = {"color": "0.5", "linestyle": ":", "linewidth": 1}
            ax.plot(lam, line, label=REFERENCE, **style)
            if both:
                ax.plot(lam, line[::-1], **style)
        name = self.estimator_name if name is None else name
        n_named = len([one for one in ax.get_legend_handles_labels()[1] if one != REFERENCE])
        style = {"label": name, "zorder": 2.5, "color": LINE_COLORS[n_named % len(LINE_COLORS)], **kwargs}
        (self.line_,) = ax.plot(lam, mean, **style)
        self.other_line_ = self.band_ = None
        color = self.line_.get_color()
        if both:
            style = {**kwargs, "color": color, "linestyle": "--", "label": None, "zorder": 2.5}
            (self.other_line_,) = ax.plot(lam, mean[::-1], **style)
        what = f"mean {score.ylabel}"
        if spread is not None:
            what += "\n(band: {:g} to {:g} %)".format(*np.multiply(100, spread))
            self.band_ = draw_band(ax, lam, values, spread, color)
        ax.set_xlim(0, 1)
        if self.score in ("norm", "entropy"):
            ax.set_ylim(bottom=0, auto=True)
        elif self.score in ("proba", "max"):
            ax.set_ylim(0, 1.02)
        label_axes(ax, "lam, share of the first row" + (" (dashed: the second)" if both else ""), what)
        named = bool(ax.get_legend_handles_labels()[1])
        self.legend_ = ax.legend(fontsize="small") if named else None
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _check_score(score: Any) -> None:
    """Raise ValueError for an unknown score."""
    if not isinstance(score, str) or score not in SCORES:
        raise ValueError(f"score must be one of {sorted(SCORES)}. Got {score!r}.")


def _chosen_pairs(
    pairs: Any, n_pairs: Any, codes: np.ndarray, y: np.ndarray, random_state: Any
) -> np.ndarray:
    """The user's pairs, or random ones; ValueError for what is no pair of two classes."""
    if pairs is None:
        if n_pairs is None:
            n_pairs = min(len(codes), MOST_PAIRS)
        elif not isinstance(n_pairs, Integral) or isinstance(n_pairs, bool) or n_pairs < 1:
            raise ValueError(f"n_pairs must be an int >= 1 or None. Got {n_pairs!r}.")
        return other_class_pairs(codes, int(n_pairs), random_state)
    if n_pairs is not None:
        raise ValueError(f"n_pairs={n_pairs!r} has no effect with pairs. Give one of both.")
    chosen = checked_pairs(pairs, len(codes))
    for i, j in chosen[codes[chosen[:, 0]] == codes[chosen[:, 1]]]:
        raise ValueError(
            f"pairs are of rows of different classes, but the rows {i} and {j} are both of {y[i]!r}."
        )
    return chosen
