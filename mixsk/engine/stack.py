"""Many models as one program: batches of several training sets, and a net that stops each model by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mixsk.engine.iterator import Part, TrainingBatches
from mixsk.engine.net import MixNet
from mixsk.rules import Batch, Draw, Mixture, State


@dataclass
class Source:
    """Models that see the same batches: one training set, one stream of order and draws.

    Attributes
    ----------
    batches : TrainingBatches
        Of one stream; its recipe may hold a number for each of the models.
    valid : Part or None
        Validation rows.
    n_models : int
    """

    batches: TrainingBatches
    valid: Part | None
    n_models: int


class StackedBatches:
    """The batches of several sources, one step of each at a time, side by side: (M, B, ...).

    A model whose batch is shorter than another's gets padding rows, of which `real` tells.

    Parameters
    ----------
    sources : sequence of Source
        Of as many batches an epoch, all mixed ahead or none of them.
    rows : bool
        Whether the rows as they are, and their labels, are asked for where rows are mixed ahead.
    """

    def __init__(self, sources: Sequence[Source], rows: bool) -> None:
        self.sources = sources
        self.rows = rows
        self.part = sources[0].batches.part
        self.counts = [source.n_models for source in sources]
        self._real: dict[tuple[int, ...], Tensor | None] = {}

    def __len__(self) -> int:
        return len(self.sources[0].batches)

    def __iter__(self) -> Iterator[Batch]:
        for batches in zip(*(source.batches for source in self.sources), strict=True):
            yield self._joined(batches)

    def skip(self, n_batches: int) -> None:
        """Pass over the next batches of every source."""
        for source in self.sources:
            source.batches.skip(n_batches)

    def _joined(self, batches: tuple[Batch, ...]) -> Batch:
        sizes = tuple(batch.x.shape[1] for batch in batches)
        width = max(sizes)
        real = self._real_rows(sizes)

        def join(part: Callable[[Batch], Any], fill: float = 0.0) -> Any:
            return _join([part(batch) for batch in batches], self.counts, width, fill)

        if batches[0].mixture is not None:
            parts = zip(*(batch.mixture or () for batch in batches), strict=True)
            mixture = Mixture(*(_join(part, self.counts, width, 1.0) for part in parts))
            x = join(lambda b: b.x) if self.rows else mixture.h  # else nobody asks for them
            y = join(lambda b: b.y, 1.0) if self.rows else mixture.t
            return Batch(x, y, Draw(None, None, 0), real, mixture)
        # Padding has a label, so that no rule divides by its weight of 0.
        x, y = join(lambda b: b.x), join(lambda b: b.y, 1.0)
        if batches[0].draw is None:
            return Batch(x, y, None, real)
        return Batch(x, y, self._draw([batch.draw for batch in batches], sizes), real)

    def _draw(self, draws: list[Any], sizes: tuple[int, ...]) -> Draw:
        width = max(sizes)
        sites = [draw.site for draw in draws]
        site = sites[0] if len(set(sites)) == 1 else _repeated(sites, self.counts)
        mixed = None
        if any(draw.mixed is not None for draw in draws):
            always = draws[0].lam.new_ones(1, dtype=torch.bool)
            mixed = _join([always if d.mixed is None else d.mixed for d in draws], self.counts, 0, 0.0)
        perm = _join([_own_partners(draw.perm, width) for draw in draws], self.counts, width, 0.0)
        lam = _join([draw.lam for draw in draws], self.counts, width, 1.0)
        noise = _join([draw.noise for draw in draws], self.counts, width, 0.0)
        return Draw(perm, lam, site, noise, mixed)

    def _real_rows(self, sizes: tuple[int, ...]) -> Tensor | None:
        if sizes not in self._real:
            like = self.part.rows
            rows = torch.tensor(_repeated(sizes, self.counts), device=like.device)
            real = (torch.arange(max(sizes), device=like.device) < rows.unsqueeze(1)).to(like.dtype)
            self._real[sizes] = None if len(set(sizes)) == 1 else real
        return self._real[sizes]


class StackedRows:
    """Rows of several sources side by side, (M, n, ...), as one batch for validation.

    Parameters
    ----------
    parts : sequence of Part
        One a source.
    class_weights : sequence of Tensor or None
        Of each source.
    counts : sequence of int
        Models of each source.
    """

    def __init__(
        self, parts: Sequence[Part], class_weights: Sequence[Tensor | None], counts: Sequence[int]
    ) -> None:
        width = max(len(part) for part in parts)
        xs, ys, ws = [], [], []
        for part, class_weight in zip(parts, class_weights, strict=True):
            rows = part.rows.take(part.index)
            w = torch.ones_like(rows.y, dtype=rows.X.dtype) if rows.w is None else rows.w
            xs.append(rows.X.unsqueeze(0))
            ys.append(rows.y.unsqueeze(0))
            ws.append((w if class_weight is None else w * class_weight[rows.y]).unsqueeze(0))
        self.x, self.y, self.w = (_join(v, counts, width, 0.0) for v in (xs, ys, ws))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        yield self.x, self.y, self.w


class StackedNet(MixNet):
    """A `MixNet` of models that end each by itself: one that diverges leaves its neighbours alone."""

    def fit_loop(self, X: Any, y: Any = None, epochs: int | None = None, **fit_params: Any) -> MixNet:
        """Train as `MixNet` does; `diverged_` (M,) tells which models have no finite weights."""
        models = self.module_.n_models
        self.diverged_ = torch.zeros(models, dtype=torch.bool, device=X[0].part.rows.X.device)
        return super().fit_loop(X, y, epochs, **fit_params)

    def _clean_batches(self, valid: Any) -> Any:
        return valid

    def _check_finite(self, loss: Tensor, prefix: str) -> None:
        bad = ~(loss + torch.linalg.vector_norm(self.optimizer_.matrix, dim=1)).isfinite()
        if bool(bad.any()):
            self.optimizer_.retire(bad)
            if self.patience_ is not None:  # what a finished model does is of no account
                bad = bad & ~self.patience_.finished(bad)
            self.diverged_ |= bad
        self._record_loss(prefix, float(loss[~bad].mean()))
        if bool(self.diverged_.all()):
            self.stop_ = "diverged"

    @torch.no_grad()
    def probabilities(self, xs: Sequence[Tensor], counts: Sequence[int]) -> list[Tensor]:
        """Class probabilities (G, n, C) in float64 of each source's rows (n, F) by its own G models."""
        self._set_training(False)
        width = max(len(x) for x in xs)
        pieces = []
        step = max(1, 2**22 // (sum(counts) * max(1, xs[0][0].numel())))
        for start in range(0, width, step):
            some = [x[start : start + step].unsqueeze(0) for x in xs]
            longest = max(x.shape[1] for x in some)
            pieces.append(torch.softmax(self._logits(_join(some, counts, longest, 0.0)).double(), -1).cpu())
        whole = torch.cat(pieces, 1).split(list(counts))
        return [p[:, : len(x)] for p, x in zip(whole, xs, strict=True)]


class PerSource:
    """A rule that is bound to each source's own rows: mask or target, split along the model axis.

    Parameters
    ----------
    rules : sequence
        One a source.
    counts : sequence of int
        Models of each source.
    states : sequence of State or None
        For targets: each source's own.
    """

    def __init__(self, rules: Sequence[Any], counts: Sequence[int], states: Sequence[Any] | None) -> None:
        self.rules, self.counts, self.states = list(rules), list(counts), states

    def __call__(self, *args: Any) -> tuple[Any, ...]:
        """Ask each source's rule for its own models, and lay the answers side by side."""
        results = []
        for s, rule in enumerate(self.rules):
            own = [self._own(arg, s) for arg in args]
            if self.states is not None:
                own[-1] = self.states[s]
            results.append(rule(*own))
        return tuple(
            None if all(v is None for v in values) else torch.cat(list(values))
            for values in zip(*results, strict=True)
        )

    def _own(self, arg: Any, s: int) -> Any:
        start = sum(self.counts[:s])
        if isinstance(arg, dict):
            return {key: value[start : start + self.counts[s]] for key, value in arg.items()}
        return arg[start : start + self.counts[s]] if isinstance(arg, Tensor) else arg


def know(recipe: Any, recipes: list[Any], states: list[State], counts: list[int]) -> None:
    """Tell the common recipe what the sources' own ones know, laid side by side.

    Parameters
    ----------
    recipe : Recipe
        Of all models.
    recipes : list of Recipe
        One a source, bound.
    states : list of State
        Each source's own.
    counts : list of int
        Models of each source.
    """
    recipe.each = recipes
    repeats = torch.tensor(counts)

    def side_by_side(tensors: list[Tensor]) -> Tensor:
        return torch.stack(tensors).repeat_interleave(repeats.to(tensors[0].device), 0)

    class_weight = None
    if states[0].class_weight is not None:
        weights = [state.class_weight for state in states if state.class_weight is not None]
        class_weight = side_by_side(weights).unsqueeze(1)
    class_counts = side_by_side([state.class_counts for state in states])
    recipe._know(State(class_counts, class_weight, any(state.weighted for state in states)))
    if recipe.mask is not None and hasattr(recipe.mask, "bind"):
        recipe.mask = PerSource([r.mask for r in recipes], counts, None)
    if recipe.target is not None and not hasattr(recipe.label, "aux"):
        recipe.target = PerSource([r.target for r in recipes], counts, states)


def _join(tensors: Sequence[Any], counts: Sequence[int], width: int, fill: float) -> Any:
    """(1 or G, B, ...) of each source as (M, width, ...), shorter ones filled up; None if all are."""
    given = next((t for t in tensors if t is not None), None)
    if given is None:
        return None
    joined = []
    for t, n in zip(tensors, counts, strict=True):
        if t is None:  # all ones, as in another source
            t = given.new_ones(1, width, *given.shape[2:])
        if t.ndim > 1 and t.shape[1] < width:
            filler = t.new_full((t.shape[0], width - t.shape[1], *t.shape[2:]), fill)
            t = torch.cat((t, filler), 1)
        joined.append(t if t.shape[0] == n else t.expand(n, *t.shape[1:]))
    return torch.cat(joined)


def _own_partners(perm: Tensor, width: int) -> Tensor:
    """Partners (1, B) with padding rows, each its own partner, up to `width`."""
    rest = torch.arange(perm.shape[1], width, device=perm.device).unsqueeze(0)
    return torch.cat((perm, rest), 1)


def _repeated(values: Sequence[int], counts: Sequence[int]) -> list[int]:
    return [value for value, n in zip(values, counts, strict=True) for _ in range(n)]
