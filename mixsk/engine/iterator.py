"""In-memory batches on the device, with their draws prepared many steps at once.

A loader that collates row by row costs two to three times a plain loop over tensors; per-epoch draws
alone bound a table of one batch per epoch at a quarter of the steps per second that chunks reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mixsk.rules import Batch, Draw, Recipe, Rows

CHUNK = 2**20  # random numbers drawn at once, about 4 to 8 MB
MAX_EPOCHS_AHEAD = 32


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
        device = self.part.rows.X.device
        indices = _upload(index, device)
        codes = _upload(y, device)
        unpacked = _unpack(draw, n_steps, self.part.rows.X)
        for s, size in enumerate(np.tile(sizes, len(order)).tolist()):
            yield self._batch(indices[s][:size], codes[s][:size], unpacked[s], size, width)

    def _batch(self, index: Tensor, y: Tensor, draw: Draw | None, size: int, width: int) -> Batch:
        rows = self.part.rows
        x = rows.X.index_select(0, index).unsqueeze(0)
        label = self.one_hot.index_select(0, y).unsqueeze(0)
        if rows.w is not None:
            label = label * rows.w.index_select(0, index).unsqueeze(-1)
        if draw is not None and size < width:
            noise = None if draw.noise is None else draw.noise[:, :size]
            draw = Draw(draw.perm[:, :size], draw.lam[:, :size], draw.site, noise, draw.mixed)
        return Batch(x, label, draw)


def _upload(array: np.ndarray, device: torch.device) -> tuple[Tensor, ...]:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device).unbind(0)


def _unpack(draw: Draw | None, n_steps: int, X: Tensor) -> list[Draw | None]:
    """One Draw a step, with a model axis of 1 and the site as a plain int."""
    if draw is None:
        return [None] * n_steps
    perm = _upload(draw.perm[:, None], X.device)
    # lam meets X and the labels in `lerp`, which takes one dtype only.
    lam = torch.from_numpy(draw.lam[:, None]).to(X).unbind(0)
    noise = [None] * n_steps if draw.noise is None else _upload(draw.noise[:, None], X.device)
    mixed = [None] * n_steps if draw.mixed is None else _upload(draw.mixed[:, None], X.device)
    return [Draw(*one) for one in zip(perm, lam, draw.site.tolist(), noise, mixed, strict=True)]


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
