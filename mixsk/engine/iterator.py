"""In-memory batches on the device, with their draws prepared many steps at once.

A loader that collates row by row costs two to three times a plain loop over tensors; per-epoch draws
alone bound a table of one batch per epoch at a quarter of the steps per second that chunks reach.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mixsk.rules import Batch, Draw, Mixture, Recipe, Rows

CHUNK = 2**20  # random numbers drawn at once, about 4 to 8 MB
MAX_EPOCHS_AHEAD = 32
GROUP = 2**17  # numbers of X (or of labels) gathered and mixed at once: half a megabyte stays in the cache
POOL = 20  # batches whose rows are sorted by length together: still random, with little padding


@dataclass(frozen=True)
class Part:
    """Some rows of an encoded table: the table itself is never copied for a split."""

    rows: Rows
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def copied(self) -> Rows:
        """The part's rows as a table of their own (`Rows.take`); the table itself if they are all of it."""
        whole = np.array_equal(self.index, np.arange(len(self.rows.y)))
        return self.rows if whole else self.rows.take(self.index)

    def by_length(self) -> tuple[Part, Any]:
        """The rows from short to long, and where each of them then is; as they are if all are alike."""
        if self.rows.lengths is None:
            return self, slice(None)
        order = np.argsort(self.rows.lengths[self.index], kind="stable")
        return Part(self.rows, self.index[order]), torch.from_numpy(np.argsort(order))


def batch_slots(n_rows: int, batch_size: int) -> np.ndarray:
    """Positions of an epoch's rows as (batches, width), -1 where a batch is shorter.

    As few batches as `batch_size` allows, of sizes that differ by one at most: a step on the few rows that
    full batches leave over would weigh as much as any other.

    Examples
    --------
    >>> batch_slots(5, 3)
    array([[ 0,  1, -1],
           [ 2,  3,  4]])
    """
    n_batches = max(1, -(-n_rows // batch_size))
    if batch_size > 1:  # alone a row could be mixed with itself only, and would break batch normalisation
        n_batches = min(n_batches, max(1, n_rows // 2))
    edges = np.arange(n_batches + 1) * n_rows // n_batches
    slots = edges[:-1, None] + np.arange(np.diff(edges).max())
    return np.where(slots < edges[1:, None], slots, -1)


class TrainingBatches:
    """Endless epochs of shuffled batches and their draws; iterating gives one epoch.

    Parameters
    ----------
    part : Part
        The training rows.
    recipe : Recipe
        Its `draw` makes the draws; its `hyper` has alpha, mix_prob, mix_until.
    batch_size : int
    order, draws : sequences of M numpy.random.Generator
        Two streams for each model: changing alpha does not change the order of the rows, and a model's
        numbers do not depend on its neighbours.
    first_step : int, default=0
        Global number of the first step.
    n_rows : int, default=None
        Rows of an epoch: of more, the last in its order are left out. None: all.
    augments : sequences of M numpy.random.Generator, default=()
        A third stream, of rows whose layout says how they are augmented.
    """

    def __init__(
        self,
        part: Part,
        recipe: Recipe,
        batch_size: int,
        order: Sequence[np.random.Generator],
        draws: Sequence[np.random.Generator],
        first_step: int = 0,
        n_rows: int | None = None,
        augments: Sequence[np.random.Generator] = (),
    ) -> None:
        self.part = part
        self.recipe = recipe
        self.order = order
        self.draws = draws
        self.augments = augments if getattr(part.rows.layout, "augment", None) is not None else ()
        self.slots = batch_slots(len(part) if n_rows is None else n_rows, batch_size)
        self.sizes = (self.slots >= 0).sum(1)
        self.y = part.rows.y.cpu().numpy()
        n_classes = part.rows.n_classes
        self.one_hot = torch.eye(n_classes, dtype=part.rows.dtype, device=part.rows.device)
        self.step = first_step
        self._to_skip = 0
        self._batches = self._endless()

    def __len__(self) -> int:
        return len(self.slots)

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(len(self)):
            yield next(self._batches)

    def restart(self) -> None:
        """Begin with generators of their own, so that what comes does not depend on how much went before."""
        streams = (self.order, self.draws, self.augments)
        self.order, self.draws, self.augments = ([rng.spawn(1)[0] for rng in rngs] for rngs in streams)
        self._batches = self._endless()

    def skip(self, n_batches: int) -> None:
        """Pass over the first batches, before any is taken: they are drawn, and not gathered."""
        self._to_skip += n_batches

    def _endless(self) -> Iterator[Batch]:
        n_batches, width = self.slots.shape
        steps = max(1, CHUNK // (width * (2 + self._noise_width())))  # of a model, whatever its company
        if steps < n_batches:
            while True:
                order = self._orders(1)
                for start in range(0, n_batches, steps):
                    yield from self._chunk(order, slice(start, start + steps))
        epochs = min(steps // n_batches, MAX_EPOCHS_AHEAD)
        while True:
            yield from self._chunk(self._orders(epochs), slice(None))

    def _orders(self, epochs: int) -> np.ndarray:
        """The rows in the order of each epoch and model, (epochs, M, n)."""
        shuffled = [[self._shuffled(rng) for _ in range(epochs)] for rng in self.order]
        return np.array(shuffled).swapaxes(0, 1)

    def _shuffled(self, rng: np.random.Generator) -> np.ndarray:
        """The rows in the order of an epoch; those of a batch are alike in length, if they have lengths.

        Each `POOL` batches share random rows, which are sorted and dealt to them in a random order.
        """
        order = rng.permutation(self.part.index)
        if self.part.rows.lengths is None:
            return order
        dealt = order.copy()
        for start in range(0, len(self.slots), POOL):
            pool = [slots[slots >= 0] for slots in self.slots[start : start + POOL]]
            rows = order[np.concatenate(pool)]
            rows = rows[np.argsort(self.part.rows.lengths[rows], kind="stable")]
            dealt[np.concatenate([pool[k] for k in rng.permutation(len(pool))])] = rows
        return dealt

    def _noise_width(self) -> int:
        """Uniforms a row that the mask asks for; one throwaway draw tells."""
        draw_noise = getattr(self.recipe.mask, "draw_noise", None)
        if draw_noise is None:
            return 0
        noise = draw_noise(np.random.default_rng(0), np.ones((1, 1), np.float32))
        return int(np.prod(noise.shape[2:]))

    def _chunk(self, order: np.ndarray, batches: slice) -> Iterator[Batch]:
        """Batches of the given part of each epoch in `order` (epochs, M, n)."""
        slots, sizes = self.slots[batches], self.sizes[batches]
        epochs, n_models = order.shape[:2]
        index = order[:, :, slots].swapaxes(1, 2).reshape(-1, n_models, slots.shape[1])  # (S, M, B)
        y = self.y[index]
        padding = np.tile(slots < 0, (epochs, 1))[:, None]
        if padding.any():
            y = np.where(padding, -1, y)
        n_steps = len(index)
        drawn = self._draw(y, self.step + np.arange(n_steps))
        noise = self._noise(y.shape)
        self.step += n_steps
        at, codes = self._upload(index), self._upload(np.maximum(y, 0))
        sizes = np.tile(sizes, epochs).tolist()
        rows = self.part.rows
        longest = [None] * n_steps if rows.lengths is None else rows.lengths[index].max((1, 2)).tolist()
        passed = min(self._to_skip, n_steps)
        self._to_skip -= passed
        loaded = self._loaded(index[passed:])
        numbers = max(math.prod(rows.X.shape[1:]), rows.n_classes, *self.recipe.below_.widths)
        group = max(1, GROUP // (index[0].size * numbers)) if loaded is None else 1
        # From the start of a group: rows that are mixed together in other company may be rounded otherwise.
        for start in range(passed - passed % group, n_steps, group):
            some = slice(start, start + group)
            draw_of_some = Draw(*(None if v is None else v[some] for v in drawn))
            # A model's steps lie side by side, (M, S * B): rules see one long batch.
            long = _long(at[some])
            noise_of_some = None if noise is None else _long(noise[some])
            if loaded is None:
                where = _long(torch.from_numpy(index[some])) if rows.on_host else long
                x = rows.at(where, noise_of_some)
            else:
                x = rows.seen(next(loaded).unflatten(0, long.shape), noise_of_some)
            batches_of_some = self._group(x, long, codes[some], draw_of_some, sizes[some], longest[some])
            yield from islice(batches_of_some, max(0, passed - start), None)

    def _group(
        self,
        x: Tensor,
        long: Tensor,
        codes: Tensor,
        draw: Draw,
        sizes: list[int],
        longest: list[int | None],
    ) -> Iterator[Batch]:
        """Batches of a few steps: rows x at `long`, mixed together if the network has no part in it."""
        rows, (n_steps, n_models, width) = self.part.rows, codes.shape
        y = self.one_hot[codes.transpose(0, 1).reshape(n_models, -1)]
        if rows.w is not None:
            y = y * rows.w[long].unsqueeze(-1)
        ahead: tuple[Any, ...] = ()
        if self.recipe.ahead:
            ahead = tuple(self.recipe.mix(Batch(x, y, _one_draw(draw, codes.shape))))
        xs, ys, mixtures = (_apart(values, n_steps, width) for values in ((x,), (y,), ahead))
        draws = _unbind(draw, n_steps)
        for s, size in enumerate(sizes):
            parts = [xs[s], ys[s], draws[s], mixtures[s]]
            if size < width:
                parts = [tuple(_cut(v, size) for v in part) for part in parts]
            (x_s,), (y_s,), draw_s, mixture_s = parts
            one = None if self.recipe.draw is None else Draw(*draw_s)
            x_s = x_s if longest[s] is None else x_s[:, :, : longest[s]]
            yield Batch(x_s, y_s, one, None, Mixture(*mixture_s) if mixture_s else None)

    def _draw(self, y: np.ndarray, steps: np.ndarray) -> Draw:
        """The draws of S steps on the device, (S, M, ...), from each model's own generator.

        The site stays on the host, where it chooses what is run.
        """
        if self.recipe.draw is None:
            return Draw(None, None, None)
        each = [self.recipe.draw(rng, y[:, m], steps, self.recipe.hyper) for m, rng in enumerate(self.draws)]
        perm, lam, site, noise, mixed = (
            None if values[0] is None else np.stack(values, 1) for values in zip(*each, strict=True)
        )
        assert lam is not None
        assert site is not None
        sites = site[:, 0] if (site == site[:, :1]).all() else site
        # lam meets X and the labels in `lerp`, which takes one dtype only.
        lam_like_x = torch.from_numpy(lam).to(self.part.rows.device, self.part.rows.dtype)
        return Draw(self._upload(perm), lam_like_x, sites.tolist(), *map(self._upload, (noise, mixed)))

    def _upload(self, array: np.ndarray | None) -> Any:
        if array is None:
            return None
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.part.rows.device)

    def _noise(self, shape: tuple[int, ...]) -> Tensor | None:
        """What the augmentation of S steps needs, (S, M, B, k), from a stream of its own."""
        if not self.augments:
            return None
        augment, (n_steps, _, width) = self.part.rows.layout.augment, shape
        each = [augment.draw(rng, (n_steps, width)) for rng in self.augments]
        noise: Tensor = self._upload(np.stack(each, 1))
        return noise

    def _loaded(self, index: np.ndarray) -> Iterator[Tensor] | None:
        """Stored rows of each step, in order, where they are read one by one."""
        stream = getattr(self.part.rows.X, "stream", None)
        return None if stream is None else iter(stream([at.ravel() for at in index]))


def _long(values: Tensor) -> Tensor:
    """Of S steps (S, M, B, ...) those of one batch, (M, S * B, ...)."""
    return values.transpose(0, 1).flatten(1, 2)


def _one_draw(draw: Draw, shape: torch.Size) -> Draw:
    """The draws of S steps, (S, M, B), as that of one batch (M, S * B)."""
    n_steps, width = shape[0], shape[2]
    start = torch.arange(n_steps, device=draw.perm.device) * width
    mixed = None if draw.mixed is None else _long(draw.mixed.unsqueeze(-1).expand(shape))
    sites = torch.as_tensor(np.array(draw.site).reshape(n_steps, -1))
    each = sites.to(start.device).unsqueeze(-1).expand(shape)
    site = int(sites[0, 0]) if (sites == sites[0, 0]).all() else _long(each)
    perm = _long(draw.perm + start[:, None, None])
    return Draw(perm, _long(draw.lam), site, None if draw.noise is None else _long(draw.noise), mixed)


def _apart(values: Sequence[Tensor | None], n_steps: int, width: int) -> list[tuple[Any, ...]]:
    """One tuple a step of tensors (M, S * B, ...)."""
    steps = [[None] * n_steps if v is None else v.unflatten(1, (n_steps, width)).unbind(1) for v in values]
    return list(zip(*steps, strict=True)) if steps else [()] * n_steps


def _unbind(values: Sequence[Any], n_steps: int) -> list[tuple[Any, ...]]:
    """One tuple a step: of tensors (S, M, ...), of lists, of None as it is."""
    columns: list[Any] = []
    for value in values:
        if isinstance(value, Tensor):
            columns.append(value.unbind(0))
        else:
            columns.append([None] * n_steps if value is None else value)
    return list(zip(*columns, strict=True)) if columns else [()] * n_steps


def _cut(value: Any, size: int) -> Any:
    """The first `size` rows of (M, B, ...); what has no rows as it is."""
    return value[:, :size] if isinstance(value, Tensor) and value.ndim > 1 else value


class CleanBatches:
    """Rows in order, for validation and prediction: yields (x (1, B, ...), y (B,), w (B,)).

    w is the row's weight times that of its class. Padding at the end of a batch's longest row is left out.
    """

    def __init__(self, part: Part, batch_size: int = 8192, class_weight: Tensor | None = None) -> None:
        self.part = part
        self.batch_size = batch_size
        self.class_weight = class_weight

    def __len__(self) -> int:
        return -(-len(self.part) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        rows, index = self.part.rows, self.part.index
        batches = [index[k : k + self.batch_size] for k in range(0, len(index), self.batch_size)]
        stream = getattr(rows.X, "stream", None)
        loaded = None if stream is None else iter(stream(batches))
        for some in batches:
            at = torch.as_tensor(some, device=rows.device)
            y = rows.y[at]
            w = torch.ones_like(y, dtype=rows.dtype) if rows.w is None else rows.w[at]
            if loaded is None:
                x = rows.at(torch.from_numpy(some) if rows.on_host else at).unsqueeze(0)
            else:
                x = rows.seen(next(loaded)).unsqueeze(0)
            if rows.lengths is not None:
                x = x[:, :, : rows.lengths[some].max()]
            yield x, y, w if self.class_weight is None else w * self.class_weight[y]
