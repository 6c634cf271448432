"""Draw: who is mixed with whom, how much, and where; numpy, on the host.

Rules take a `Draw`, never a generator, so that a run is the same on CPU and GPU, alone or stacked.
Many steps are drawn at once: one call for a thousand small batches costs what ten single ones would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
LAM_PER = ("batch", "sample")
PAIRS = ("any", "other_class", "same_class")


class Draw(NamedTuple):
    """The random part of S steps (numpy, leading axis S) or of one step (torch, leading axis M).

    Attributes
    ----------
    perm : int array of shape (S, B)
        Partner of each row within its batch. A padding row is its own partner.
    lam : float32 array of shape (S, B)
        Share of the first row, in [0, 1].
    site : int array of shape (S,); of one step, an int, or a list of M if models differ
        Stage whose output is mixed; 0 is the input.
    noise : float32 array of shape (S, B, W) or None
        Uniforms in [0, 1) for hard masks.
    mixed : bool array of shape (S,) or None
        False for a batch that is trained without mixing; None if every batch is mixed.
    """

    perm: Any
    lam: Any
    site: Any
    noise: Any = None
    mixed: Any = None


class BetaDraw:
    """Partners within the batch, lam ~ Beta(alpha, alpha).

    Parameters
    ----------
    lam_per : {"batch", "sample"}
        One lam for a whole batch (Zhang et al. 2018 as released) or one for each row.
    pair : {"any", "other_class", "same_class"}
        A random permutation; or a partner drawn from the rows of the batch with another, or the
        same, label (with replacement). A row without such a partner is mixed with itself.
    sites : tuple of int
        Stages to draw from, uniformly, once per batch.
    noise : callable (rng, lam) -> float32 array of shape (S, B, W), or None
        The uniforms that a hard mask needs.
    alternate : bool
        Leave every other step, those of even global number, unmixed (LaMix, section 2.4).

    Examples
    --------
    >>> draw = BetaDraw(lam_per="batch", pair="other_class", sites=(0,))
    >>> one = draw(np.random.default_rng(0), np.array([[0, 1, -1]]), np.array([0]), {"alpha": 1.0})
    >>> one.perm.tolist(), one.site.tolist()
    ([[1, 0, 2]], [0])
    """

    def __init__(
        self,
        lam_per: str = "batch",
        pair: str = "any",
        sites: tuple[int, ...] = (0,),
        noise: Callable[[np.random.Generator, Array], Array] | None = None,
        alternate: bool = False,
    ) -> None:
        for name, value, allowed in (("lam_per", lam_per, LAM_PER), ("pair", pair, PAIRS)):
            if value not in allowed:
                raise ValueError(f"{name}={value!r} is unknown. Use one of {allowed}.")
        self.lam_per = lam_per
        self.pair = pair
        self.sites = sites
        self.noise = noise
        self.alternate = alternate

    def __call__(self, rng: np.random.Generator, y: Array, step: Array, hyper: Mapping[str, float]) -> Draw:
        """Draw S steps.

        Parameters
        ----------
        rng : numpy.random.Generator
            One model's own generator.
        y : int array of shape (S, B)
            Class codes; -1 marks a padding row, at the end of its batch.
        step : int array of shape (S,)
            Global step numbers.
        hyper : mapping
            `alpha` > 0; optionally `mix_prob` in [0, 1], the share of batches mixed (1), and
            `mix_until`, the global step from which nothing is mixed (never).

        Returns
        -------
        Draw
        """
        n_steps, width = y.shape
        alpha, prob = hyper["alpha"], hyper.get("mix_prob", 1.0)
        until = hyper.get("mix_until", np.inf)
        beta = rng.beta(alpha, alpha, (n_steps, width if self.lam_per == "sample" else 1))
        lam = np.broadcast_to(beta.astype(np.float32), (n_steps, width)).copy()
        perm = _partners(rng, y, self.pair)
        site = np.zeros(n_steps, np.int64) + self.sites[0]
        if len(self.sites) > 1:
            site = np.asarray(self.sites)[rng.integers(len(self.sites), size=n_steps)]
        mixed = None
        if prob < 1 or np.isfinite(until) or self.alternate:
            mixed = step < until
            if self.alternate:
                mixed &= step % 2 == 1
            if prob < 1:
                mixed &= rng.random(n_steps) < prob
            lam = np.where(mixed[:, None], lam, np.float32(1))
            perm = np.where(mixed[:, None], perm, np.arange(width))
        noise = None if self.noise is None else self.noise(rng, lam)
        return Draw(perm, lam, site, noise, mixed)


def _partners(rng: np.random.Generator, y: Array, pair: str) -> Array:
    if pair == "any":
        key = rng.random(y.shape)
        padding = y < 0
        if padding.any():  # keys above 1, in order: padding stays where it is, at the end
            key = np.where(padding, 2.0 + np.arange(y.shape[1]), key)
        return np.argsort(key, axis=1)
    return _class_partners(rng, y, same=pair == "same_class")


def _class_partners(rng: np.random.Generator, y: Array, same: bool) -> Array:
    """Partner of the same, or of another, class; uniform over the batch's real rows."""
    n_steps, width = y.shape
    position = np.arange(width)
    order = np.argsort(y, axis=1, kind="stable")  # a class is one run; padding (-1) comes first
    run = np.take_along_axis(y, order, 1)
    first = np.ones((n_steps, width), bool)
    first[:, 1:] = run[:, 1:] != run[:, :-1]
    last = np.ones((n_steps, width), bool)
    last[:, :-1] = first[:, 1:]
    start = np.maximum.accumulate(np.where(first, position, 0), axis=1)
    stop = np.minimum.accumulate(np.where(last, position + 1, width)[:, ::-1], axis=1)[:, ::-1]
    u = rng.random((n_steps, width))
    if same:
        chosen = start + (u * (stop - start)).astype(np.int64)
        possible = run >= 0
    else:
        n_padding = (y < 0).sum(1, keepdims=True)
        others = width - n_padding - (stop - start)
        chosen = n_padding + (u * others).astype(np.int64)
        chosen = np.where(chosen >= start, chosen + (stop - start), chosen)
        possible = (run >= 0) & (others > 0)
    chosen = np.where(possible, chosen, position)
    perm = np.empty_like(order)
    np.put_along_axis(perm, order, np.take_along_axis(order, chosen, 1), 1)
    return perm
