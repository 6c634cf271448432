"""MixedLossDisplay: the loss of mixed rows against lam, of one pair or of a whole set.

Source: Liu et al., "Adversarial Mixing Policy for Relaxing Locally Linear Constraints in Mixup" (EMNLP 2021),
section 4.7 and Figure 2: (a) and (b) one pair, (c) all rows of a test set, each with a partner.
NOTE[DIFF]: the figure has the curves alone. Here pairs also show their spread, and a line the least possible
loss: without it nobody can tell a bad prediction from a label that nobody can be sure of.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from scipy.special import entr

from mixsk.plots._drawing import check_spread, draw_band, label_axes, pyplot
from mixsk.plots._pairs import both_ways, checked, labelled, mixed_log_proba, one_site, random_pairs

REFERENCE = "least possible"


class MixedLossDisplay:
    """Loss of linearly mixed rows against lam, the first row's share: of one pair, or the mean of a set.

    Use `from_estimator`; with `ax=display.ax_` it adds a classifier to a picture. Two rows, h_i and h_j at
    the stage of the network where they are mixed, give a mixed row lam h_i + (1 - lam) h_j. With p the
    probabilities that the classifier gives it, its loss is

        lam (-log p[y_i]) + (1 - lam) (-log p[y_j]),

    the cross entropy against the label that mixup trains on. At lam = 1 and 0 that is the log loss of row i
    and of row j. In between no classifier has less than the entropy of the label, the dotted line: 0 for rows
    of one class, log 2 = 0.69 in the middle of two.

    Parameters
    ----------
    lam : array-like of shape (n_lam,)
        Shares of the first row, in [0, 1], ascending.
    losses : array-like of shape (n_pairs, n_lam)
        Loss of each pair, in nats, >= 0.
    least : array-like of shape (n_lam,) or None, default=None
        The least that the mean of these losses can be. None: not drawn.
    estimator_name : str or None, default=None
        Name in the legend.
    xlabel : str or None, default=None
        Name of the axis of lam. None: "lam, share of the first row".

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it is drawn.
    figure_ : matplotlib Figure
        Its figure.
    line_ : matplotlib Line2D
        The mean over the pairs.
    band_ : matplotlib PolyCollection or None
        Between two quantiles of the pairs; None of a single pair, or with `spread=None`.
    legend_ : matplotlib Legend or None
        Of all that is drawn there; None if nothing has a name.

    See Also
    --------
    MixedPointsDisplay : The mixed points that a classifier is trained on, with their labels.

    Notes
    -----
    A lower curve is no better classifier: predictions are of real rows, which are at the ends. What lies
    between says how nearly linear the classifier is from row to row, which is what mixup asks of it.

    The loss of few pairs is often much of the mean, which may lie above the band.

    Mixed sentences have a word wherever one of both has one. So the curve of `mix_at="embedding"` can jump
    beside lam = 0 and 1, where each has its own words alone.

    References
    ----------
    Liu et al.: "Adversarial Mixing Policy for Relaxing Locally Linear Constraints in Mixup", EMNLP 2021,
    section 4.7 and Figure 2.

    Examples
    --------
    Two classifiers in one picture, on the same pairs:

    >>> from mixsk import AMPClassifier, MixupClassifier
    >>> from mixsk.datasets import make_moons
    >>> from mixsk.plots import MixedLossDisplay
    >>> X, y = make_moons(400, random_state=0)
    >>> params = {"mix": "linear", "module": "mlp", "max_epochs": 5, "random_state": 0}
    >>> mixup = MixupClassifier(**params).fit(X[:200], y[:200])
    >>> amp = AMPClassifier(**params).fit(X[:200], y[:200])
    >>> display = MixedLossDisplay.from_estimator(mixup, X[200:], y[200:])
    >>> other = MixedLossDisplay.from_estimator(amp, X[200:], y[200:], ax=display.ax_)
    >>> display.losses.shape
    (200, 41)

    The rows 3 and 8 alone:

    >>> MixedLossDisplay.from_estimator(amp, X[200:], y[200:], pair=(3, 8)).losses.shape
    (1, 41)
    """

    def __init__(
        self,
        lam: Any,
        losses: Any,
        least: Any = None,
        estimator_name: str | None = None,
        xlabel: str | None = None,
    ) -> None:
        self.lam = lam
        self.losses = losses
        self.least = least
        self.estimator_name = estimator_name
        self.xlabel = xlabel

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        pair: Any = None,
        mix_at: Any = None,
        n_lam: int = 41,
        random_state: Any = 0,
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> MixedLossDisplay:
        """Draw a fitted classifier on rows that it was not trained on.

        Nothing is trained, and nothing is random but the pairs: there is no dropout, and the temperature of
        a calibrated classifier counts. Several networks each mix the rows in their own way; p is the mean of
        what they say.

        Parameters
        ----------
        estimator : classifier of mixsk
            Fitted. Rows are mixed linearly, with linear labels, whatever it was trained on, so that all
            classifiers can be compared; also one with `mix=None`.
        X : array-like or DataFrame of shape (n_samples, n_features), or texts
            What `estimator.predict` takes.
        y : array-like of shape (n_samples,)
            Labels of X.
        pair : (int, int) or None, default=None
            Positions of two rows in X: row i, whose share is lam, and row j. None: all rows, each with one
            partner. The pairs are those of the shuffled rows with the same in reverse, so each of them comes
            both ways, the mean is the same at lam and 1 - lam, and the row in the middle of an odd number is
            its own partner.
        mix_at : {"input", "embedding", "last"}, int or None, default=None
            The stage at which rows are mixed, as in the classifier's parameter. None: the classifier's own.
        n_lam : int, default=41
            Number of values of lam, evenly spaced from 0 to 1, >= 2.
        random_state : int, RandomState instance or None, default=0
            Shuffles the rows. An int gives the same pairs for each classifier.
        name : str or None, default=None
            Name in the legend. None: that of the estimator's class.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Further arguments of `plot`.

        Returns
        -------
        MixedLossDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If the estimator is not of mixsk, `mix_at` is not one stage of its network, `pair` is no pair of
            rows, y has labels that the classifier does not know, or `predict` would refuse X.
        """
        pyplot(cls.__name__)  # before the work
        checked(estimator, n_lam, cls.__name__)
        site = one_site(estimator, mix_at)
        X, y, codes = labelled(estimator, X, y, cls.__name__)
        pairs, xlabel = random_pairs(len(y), random_state), None
        if pair is not None:
            i, j = _checked_pair(pair, len(y))
            pairs = np.array([[i, j]])
            xlabel = f"lam, share of row {i} ({y[i]}); the rest is row {j} ({y[j]})"
        lam = np.linspace(0, 1, n_lam)
        log_p, _ = mixed_log_proba(estimator, X, pairs, lam, site)
        log_p = np.take_along_axis(log_p, codes[pairs][:, None], axis=2)  # of both labels
        losses = -(lam * log_p[..., 0] + (1 - lam) * log_p[..., 1])
        least = np.not_equal(*codes[pairs].T)[:, None] * (entr(lam) + entr(1 - lam))
        if pair is None:
            losses, least = both_ways(losses, len(y)), both_ways(least, len(y))
        name = type(estimator).__name__ if name is None else name
        return cls(lam, losses, least.mean(axis=0), name, xlabel).plot(ax, **kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        name: str | None = None,
        spread: Any = (0.25, 0.75),
        ref_line: bool = True,
        **kwargs: Any,
    ) -> MixedLossDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.
        name : str or None, default=None
            Name in the legend. None: `estimator_name`.
        spread : (float, float) or None, default=(0.25, 0.75)
            Quantiles of the pairs between which the band lies, in [0, 1], the lower first. None: no band.
        ref_line : bool, default=True
            Whether to draw the least possible loss, unless it is there already.
        **kwargs : dict
            Further arguments of `Axes.plot` for the mean, whose colour is also that of the band.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `spread` is no such pair.
        """
        plt = pyplot(type(self).__name__)
        check_spread(spread)
        if ax is None:
            _, ax = plt.subplots()
        lam, losses = np.asarray(self.lam), np.atleast_2d(self.losses)
        if ref_line and self.least is not None and REFERENCE not in ax.get_legend_handles_labels()[1]:
            ax.plot(lam, self.least, color="0.5", linestyle=":", label=REFERENCE)
        name = self.estimator_name if name is None else name
        (self.line_,) = ax.plot(lam, losses.mean(axis=0), **{"label": name, "zorder": 2.5, **kwargs})
        self.band_, what = None, "loss"
        if len(losses) > 1:
            what = f"mean loss of {len(losses)} pairs"
            if spread is not None:
                what += " (band: {:g} to {:g} %)".format(*np.multiply(100, spread))
                self.band_ = draw_band(ax, lam, losses, spread, self.line_.get_color())
        ax.set_xlim(0, 1)
        ax.set_ylim(bottom=0, auto=True)  # and a next classifier may be higher up
        label_axes(ax, self.xlabel or "lam, share of the first row", what)
        named = bool(ax.get_legend_handles_labels()[1])
        self.legend_ = ax.legend(fontsize="small") if named else None
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _checked_pair(pair: Any, n_rows: int) -> tuple[int, int]:
    """The positions of two rows, or ValueError."""
    found: list[Any] = list(pair) if isinstance(pair, (tuple, list, np.ndarray)) else []
    whole = [one for one in found if isinstance(one, Integral) and not isinstance(one, bool)]
    if len(found) != 2 or len(whole) != 2 or min(whole) < 0 or max(whole) >= n_rows:
        raise ValueError(
            f"pair must be the positions of two rows of X, each from 0 to {n_rows - 1}, such as (0, 1), or "
            f"None for all rows. Got {pair!r}."
        )
    return int(found[0]), int(found[1])
