"""In-memory batches on the device, with their draws prepared many steps at once.

A loader that collates row by row costs two to three times a plain loop over tensors; per-epoch draws
alone bound a table of one batch per epoch at a quarter of the steps per second that chunks reach.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mixsk.rules import Batch, Draw, Mixture, Recipe, Rows

CHUNK = 2**20  # random numbers drawn at once, about 4 to 8 MB
MAX_EPOCHS_AHEAD = 32
GROUP = 2**17  # numbers of X (or of labels) gathered and mixed at once: half a megabyte stays in the cache


@dataclass(frozen=True)
class Part:
    """Some rows of an encoded table: the table itself is never copied for a split."""

    rows: Rows
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def copied(self) -> Rows:
        """The part's rows as a table of their own; the table itself if the part is all of it."""
        whole = np.array_equal(self.index, np.arange(len(self.rows.y)))
        return self.rows if whole else self.rows.take(self.index)


def batch_slots(n_rows: int, batch_size: int) -> np.ndarray:
    """Positions of an epoch's rows as (batches, width), -1 where a batch is shorter.

    A last batch of one row joins the one before: alone it could be mixed with itself only, and
    would break batch normalisation.

    Examples
    --------
    >>> batch_slots(5, 2)
    array([[ 0,  1, -1],
           [ 2,  3,  4]])
    """
    n_batches = max(1, -(-n_rows // batch_size))
    if n_batches > 1 and n_rows % batch_size == 1:
        n_batches -= 1
    starts = np.arange(n_batches) * batch_size
    stops = np.append(starts[1:], n_rows)
    slots = starts[:, None] + np.arange((stops - starts).max())
    return np.where(slots < stops[:, None], slots, -1)


class TrainingBatches:
    """Endless epochs of shuffled batches and their draws; iterating gives one epoch.

    Parameters
    ----------
    part : Part
        The training rows.
    recipe : Recipe
        Its `draw` makes the draws; its `hyper` has alpha, mix_prob, mix_until.
    batch_size : int
    order, draws : numpy.random.Generator
        Separate streams, so that changing alpha does not change the order of the rows.
    """

    def __init__(
        self,
        part: Part,
        recipe: Recipe,
        batch_size: int,
        order: np.random.Generator,
        draws: np.random.Generator,
    ) -> None:
        self.part = part
        self.recipe = recipe
        self.order = order
        self.draws = draws
        self.slots = batch_slots(len(part), batch_size)
        self.sizes = (self.slots >= 0).sum(1)
        self.y = part.rows.y.cpu().numpy()
        n_classes = part.rows.n_classes
        self.one_hot = torch.eye(n_classes, dtype=part.rows.X.dtype, device=part.rows.X.device)
        self.step = 0
        self._batches = self._endless()

    def __len__(self) -> int:
        return len(self.slots)

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(len(self)):
            yield next(self._batches)

    def _endless(self) -> Iterator[Batch]:
        n_batches, width = self.slots.shape
        steps = max(1, CHUNK // (width * (2 + self._noise_width())))
        if steps < n_batches:
            while True:
                order = self.order.permutation(self.part.index)
                for start in range(0, n_batches, steps):
                    yield from self._chunk(order[None], slice(start, start + steps))
        epochs = min(steps // n_batches, MAX_EPOCHS_AHEAD)
        while True:
            order = np.stack([self.order.permutation(self.part.index) for _ in range(epochs)])
            yield from self._chunk(order, slice(None))

    def _noise_width(self) -> int:
        """Uniforms a row that the mask asks for; one throwaway draw tells."""
        draw_noise = getattr(self.recipe.mask, "draw_noise", None)
        if draw_noise is None:
            return 0
        noise = draw_noise(np.random.default_rng(0), np.ones((1, 1), np.float32))
        return int(np.prod(noise.shape[2:]))

    def _chunk(self, order: np.ndarray, batches: slice) -> Iterator[Batch]:
        """Batches of the given part of each epoch in `order` (epochs, n)."""
        slots, sizes = self.slots[batches], self.sizes[batches]
        width = slots.shape[1]
        index = order[:, slots].reshape(-1, width)
        y = self.y[index]
        padding = np.tile(slots < 0, (len(order), 1))
        if padding.any():
            y = np.where(padding, -1, y)
        n_steps = len(index)
        draw = None
        if self.recipe.draw is not None:
            steps = self.step + np.arange(n_steps)
            draw = self.recipe.draw(self.draws, y, steps, self.recipe.hyper)
        self.step += n_steps
        at, codes, drawn = self._upload(index), self._upload(np.maximum(y, 0)), self._tensors(draw)
        sizes = np.tile(sizes, len(order)).tolist()
        numbers = max(1, self.part.rows.X[:1].numel(), self.part.rows.n_classes)
        group = max(1, GROUP // (width * numbers))
        for start in range(0, n_steps, group):
            some = slice(start, start + group)
            draw_of_some = Draw(*(None if v is None else v[some] for v in drawn))
            yield from self._group(at[some], codes[some], draw_of_some, sizes[some])

    def _group(self, at: Tensor, codes: Tensor, draw: Draw, sizes: list[int]) -> Iterator[Batch]:
        """Batches of a few steps: gathered together, and mixed together if the network has no part in it."""
        rows = self.part.rows
        x = rows.X[at]
        y = self.one_hot[codes]
        if rows.w is not None:
            y = y * rows.w[at].unsqueeze(-1)
        ahead: Mixture | None = None
        if self.recipe.ahead:
            ahead = self.recipe.mix(Batch(x, y, draw._replace(site=0)))
        xs, ys, draws, mixtures = (_unbind(v, len(sizes)) for v in ((x,), (y,), draw, ahead or ()))
        for s, size in enumerate(sizes):
            parts = [xs[s], ys[s], draws[s], mixtures[s]]
            if size < at.shape[1]:
                parts = [tuple(_cut(v, size) for v in part) for part in parts]
            (x_s,), (y_s,), draw_s, mixture = parts
            one = None if self.recipe.draw is None else Draw(*draw_s)
            yield Batch(x_s, y_s, one, None, Mixture(*mixture) if mixture else None)

    def _upload(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.part.rows.X.device)

    def _tensors(self, draw: Draw | None) -> Draw:
        """The draw on the device; the site stays on the host, where it chooses what is run."""
        if draw is None:
            return Draw(None, None, None)
        # lam meets X and the labels in `lerp`, which takes one dtype only.
        lam = torch.from_numpy(draw.lam).to(self.part.rows.X)
        noise, mixed = (None if v is None else self._upload(v) for v in (draw.noise, draw.mixed))
        return Draw(self._upload(draw.perm), lam, draw.site.tolist(), noise, mixed)


def _unbind(values: Sequence[Any], n_steps: int) -> list[tuple[Any, ...]]:
    """One tuple a step: of tensors (S, ...) with a model axis of 1 in front, of lists, of None as it is."""
    columns: list[Any] = []
    for value in values:
        if isinstance(value, Tensor):
            columns.append(value.unsqueeze(1).unbind(0))
        else:
            columns.append([None] * n_steps if value is None else value)
    return list(zip(*columns, strict=True)) if columns else [()] * n_steps


def _cut(value: Any, size: int) -> Any:
    """The first `size` rows of (1, B, ...); what has no rows as it is."""
    return value[:, :size] if isinstance(value, Tensor) and value.ndim > 1 else value


class CleanBatches:
    """Rows in order, for validation and prediction: yields (x (1, B, ...), y (B,), w (B,) or None)."""

    def __init__(self, part: Part, batch_size: int = 8192) -> None:
        self.part = part
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.part) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        rows, index = self.part.rows, self.part.index
        for start in range(0, len(index), self.batch_size):
            at = torch.as_tensor(index[start : start + self.batch_size], device=rows.X.device)
            w = None if rows.w is None else rows.w[at]
            yield rows.X[at].unsqueeze(0), rows.y[at], w
