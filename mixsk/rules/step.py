"""Step: one batch on its way along the axes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mixsk.rules._shape import is_zero, like, mix, partner
from mixsk.rules.draw import Draw
from mixsk.rules.target import smooth


class Mixture(NamedTuple):
    """What a step mixes: rows, and what their labels have become.

    Attributes
    ----------
    h : Tensor of shape (M, B, ...)
        Mixed rows at the site.
    share : Tensor of shape (M, B)
        The first rows' share.
    t : Tensor of shape (M, B, C)
        Targets; rows sum to 1.
    w, keep : Tensor of shape (M, B) or None
        Label weights, and the rows kept; None: all 1.
    """

    h: Tensor
    share: Tensor
    t: Tensor
    w: Tensor | None
    keep: Tensor | None


class Batch(NamedTuple):
    """What the network sees in one step.

    Attributes
    ----------
    x : Tensor of shape (M, B, ...)
    y : Tensor of shape (M, B, C)
        One-hot labels times sample weights.
    draw : Draw or None
        None where nothing is mixed.
    real : Tensor of shape (M, B) or None
        0 for a padding row; None if there is none.
    mixture : Mixture or None
        Made ahead, where the network has no part in it.
    """

    x: Tensor
    y: Tensor
    draw: Draw | None
    real: Tensor | None = None
    mixture: Mixture | None = None


class Step:
    """One batch on its way along the axes: the parts that an objective puts together.

    Parameters
    ----------
    recipe : Recipe
        Bound.
    net : object with `lower(x, site)` and `upper(h, site, taps)`
        A `mixsk.backbones.Backbone`.
    batch : Batch
        One step's rows and draw.

    Notes
    -----
    Stacked models may mix at different sites. Then all walk up together: at each site in use, the
    models whose site it is are mixed there, and `upper` goes on from the last of these sites.
    """

    def __init__(self, recipe: Any, net: Any, batch: Batch) -> None:
        self.recipe = recipe
        self.net = net
        self.batch = batch
        self.draw: Any = batch.draw  # no draw: only the clean parts are asked for
        site = 0 if batch.draw is None else batch.draw.site
        # (site, the models, or rows, that mix there; None: all of them)
        self.places: list[tuple[int, Tensor | None]] = [(site, None)]
        if not isinstance(site, int):
            chosen = torch.as_tensor(site, device=batch.x.device)
            stops = chosen.unique().tolist() if isinstance(site, Tensor) else sorted(set(site))
            self.places = [(stop, chosen == stop if len(stops) > 1 else None) for stop in stops]
        # Where `upper` goes on from: the last site in use, or where a mixture made ahead already is.
        self.top = self.places[-1][0] if batch.mixture is None else recipe.frozen
        self.looked = False
        self.clean_taps: dict[int, Tensor] | None = None  # of clean rows, where an objective runs them anyway

    @cached_property
    def h(self) -> Tensor:
        """The rows at the first site where some model mixes (M, B, ...)."""
        h: Tensor = self.net.lower(self.batch.x, self.places[0][0])
        return h

    def mixed(self, lam: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mixed rows at the last site in use (M, B, ...) and the first rows' share of the label (M, B).

        Parameters
        ----------
        lam : Tensor of shape (M, B)
        h : Tensor of shape (M, B, ...) or None
            Rows at the first site in use; None: `self.h`.
        """
        if self.batch.mixture is not None:
            return self.batch.mixture.h, self.batch.mixture.share
        h = self.h if h is None else h
        share, below = lam, self.places[0][0]
        for site, here in self.places:
            if site > below:
                h, below = self.net.lower(h, site, below), site
            other = partner(h, self.draw.perm)
            extra = other if getattr(self.recipe.mask, "sees_partner", False) else self.probed
            m, share_here = self.recipe.mask(h, lam, self.draw.noise, extra)
            first = h
            if hasattr(self.recipe.mask, "arrange"):  # parts of both move before they are mixed
                first, other = self.recipe.mask.arrange(h, other, extra)
            h_mix = mix(first, m, other)
            h = h_mix if here is None else torch.where(like(here, h), h_mix, h)
            share = share_here if here is None else torch.where(like(here, share), share_here, share)
        return h, share

    @cached_property
    def probed(self) -> Any:
        """What the mask found by looking at the network, once a step; None if it does not look."""
        probe = getattr(self.recipe.mask, "probe", None)
        return None if probe is None else probe(self)

    def clean(self) -> Tensor:
        """The rows as they are, where the mixed ones are (M, B, ...)."""
        first = self.places[0][0]
        return self.h if first == self.top else self.net.lower(self.h, self.top, first)

    def upper(self, h: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Logits (M, B, C) and the features that the target asked for, from rows that `mixed` gave."""
        return self.net.upper(h, self.top, self.recipe.taps)

    def target(self, share: Tensor, taps: dict[int, Tensor]) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Targets that sum to 1, their label weights (M, B) and the rows kept (M, B); None: all 1."""
        if self.batch.mixture is not None:
            return self.batch.mixture.t, self.batch.mixture.w, self.batch.mixture.keep
        y, draw = self.batch.y, self.draw
        self.look()
        t, keep = self.recipe.target(y, draw.perm, share, draw.lam, taps, self.recipe.state)
        mixed = self.rows_mixed
        if mixed is not None:  # a batch that is not mixed is trained on its own labels
            if not self.recipe.on_clean:
                t = torch.where(mixed.unsqueeze(-1), t, self._smooth(y))
            keep = None if keep is None else torch.where(mixed, keep, 1.0)
        t, w = self._normalised(t)
        return t, w, keep

    @property
    def rows_mixed(self) -> Tensor | None:
        """Whether rows are mixed, (M, 1) or (M, B); None: all of them."""
        mixed = self.draw.mixed  # of models, or of rows
        return mixed if mixed is None or mixed.ndim > 1 else mixed.unsqueeze(1)

    def look(self) -> None:
        """Let the targets that follow the batches see this one, once."""
        if not self.looked:
            for target, site in self.recipe.watchers:
                target.update(self._clean_features(site), self.batch.y, self.batch.real)
        self.looked = True

    def _clean_features(self, site: int) -> Tensor:
        """Features of the rows as they are, at a site that a target reads (M, B, ...)."""
        if self.clean_taps is None:
            h = self.h  # kept, and mixed later: with its gradient
            statistics = statistics_kept(self.net) if self.net.rows_interact else nullcontext()
            self.clean_taps, below = {}, self.places[0][0]
            with torch.no_grad(), statistics:
                for tap in self.recipe.taps:
                    h, below = self.net.lower(h, tap, below), tap
                    self.clean_taps[tap] = h
        return self.clean_taps[site].detach()

    def clean_target(self) -> tuple[Tensor, Tensor | None]:
        """Targets of the rows as they are, and their label weights."""
        return self._normalised(self._smooth(self.batch.y))

    def loss(
        self,
        logits: Tensor,
        t: Tensor,
        keep: Tensor | None = None,
        taps: dict[int, Tensor] | None = None,
    ) -> Tensor:
        """The recipe's loss of each row (M, B); it is told which rows take part.

        With the features of mixed rows, `taps`, what the label adds for these is part of it.
        """
        present = self.present(keep)
        loss = self.recipe.loss(logits, t, present)
        if taps is None or not hasattr(self.recipe.label, "penalty"):
            return loss
        more = self.recipe.label.penalty(self.batch.y, self.draw.perm, taps, present)
        return loss + (more if self.rows_mixed is None else torch.where(self.rows_mixed, more, 0.0))

    def present(self, keep: Tensor | None) -> Tensor | None:
        """Rows that take part (M, B), 0 or 1; None: all of them."""
        real = self.batch.real
        return real if keep is None else keep if real is None else keep * real

    def mean(self, loss: Tensor, w: Tensor | None = None, keep: Tensor | None = None) -> Tensor:
        """`sum(w * loss) / rows`, over real rows, or over kept ones where some are dropped: (M,)."""
        keep = self.present(keep)
        if w is not None:
            loss = loss * w
        if keep is None:
            return loss.mean(-1)
        return (loss * keep).sum(-1) / keep.sum(-1).clamp_min(1)  # 0 if every row is dropped

    def _smooth(self, y: Tensor) -> Tensor:
        return y if is_zero(self.recipe.smoothing) else smooth(y, self.recipe.smoothing)

    def _normalised(self, t: Tensor) -> tuple[Tensor, Tensor | None]:
        state = self.recipe.state
        if not state.weighted:
            return t, None
        if state.class_weight is not None:
            t = t * state.class_weight
        w = t.sum(-1)
        return t / w.clamp_min(torch.finfo(t.dtype).tiny).unsqueeze(-1), w


@contextmanager
def statistics_kept(net: nn.Module) -> Iterator[None]:
    """Let rows be normalised by their batch without an update of the running statistics."""
    norms = [m for m in net.modules() if getattr(m, "track_running_stats", False)]
    # Batch norms need but the word (and their buffers untouched, which a backward still waits for); instance
    # norms update theirs whatever they are told.
    batch = [norm for norm in norms if isinstance(norm, _BatchNorm)]
    others = [b for norm in norms if norm not in batch for b in norm.buffers(recurse=False)]
    kept = [buffer.clone() for buffer in others]
    for norm in batch:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in batch:
            norm.track_running_stats = True
        with torch.no_grad():
            for buffer, value in zip(others, kept, strict=True):
                buffer.copy_(value)
