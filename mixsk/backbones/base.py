"""Networks as stages: what mixes at site k needs the part below k and the part above it.

Tensors have a leading model axis `(M, B, ...)`: M networks of one shape hold their weights stacked
and train in one program. A single network is M = 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from mixsk.backbones.training import Training


class Backbone(nn.Module):
    """`stages` in order, then `head`; site 0 is the input, site k the output of stage k.

    Attributes
    ----------
    stages : nn.ModuleList
    head : nn.Module
        Maps the last stage's features to logits.
    n_models : int
        Networks stacked.
    widths : tuple of int or None
        Of the input and of each stage's output; None if they cannot be had.
    rows_interact : bool
        Whether a row's logits depend on the other rows of its batch, as with batch normalisation.
    reads : {"table", "text", "image"}
        What its inputs are, which chooses the encoder of `encoder="auto"`.
    input_site : int
        The first site whose features can be mixed: 1 where the inputs are codes, which stage 1 embeds.
    manifold : int or None
        How many hidden stages `mix_at="any"` mixes, from the first. None: all.
    stacks : bool
        Whether it has a model axis.
    trained_with : Training
        How it is trained where the user leaves it open.
    """

    stages: nn.ModuleList
    head: nn.Module
    n_models = 1
    widths: tuple[int, ...] | None = None
    rows_interact = False
    reads = "table"
    input_site = 0
    manifold: int | None = None
    stacks = True
    trained_with = Training()

    @classmethod
    def structure(cls, n_rows: int | None, layout: Any, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options of the constructor that the training rows, or files, decide where the user does not.

        With them a network is built again from its weights alone.

        Parameters
        ----------
        n_rows : int or None
            Training rows; None where more are to come.
        layout : mixsk.encoding.Layout or mixsk.encoding.TextLayout
            What the inputs are.
        options : mapping
            Those that the user gives.
        """
        return {}

    def bind(self, rows: Any) -> None:
        """Learn, before training, what the training rows (`mixsk.rules.Rows`) say to all models alike.

        It is kept in persistent buffers (M, ...), or is where the weights start.
        """

    def rows_at_once(self, X: Tensor) -> int:
        """How many rows of X (n, ...) are predicted at a time: what they become is to fit into memory."""
        return 8192

    @property
    def n_stages(self) -> int:
        """Number of hidden stages."""
        return len(self.stages)

    def lower(self, x: Tensor, site: int, start: int = 0) -> Tensor:
        """Output of stage `site` for what stage `start` gave; by default for inputs x (M, B, ...)."""
        for stage in self.stages[start:site] if site > start else ():
            x = stage(x)
        return x

    def above(self, site: int) -> list[nn.Module]:
        """The parts that turn features at `site` into logits."""
        return [*self.stages[site:], self.head]

    def upper(self, h: Tensor, site: int, taps: tuple[int, ...] = ()) -> tuple[Tensor, dict[int, Tensor]]:
        """Logits (M, B, C) from features at `site`, and the features at the sites in `taps`."""
        features = {site: h} if site in taps else {}
        for k, stage in enumerate(self.stages):
            if k >= site:
                h = stage(h)
                if k + 1 in taps:
                    features[k + 1] = h
        return self.head(h), features

    def forward(self, x: Tensor) -> Tensor:
        """Logits (M, B, C) of inputs x (M, B, ...)."""
        return self.upper(x, 0)[0]

    @torch.no_grad()
    def shift(self, offset: Tensor) -> None:
        """Add a constant (M, 1, C) to the logits for good.

        Raises
        ------
        ValueError
            If the head does not end in a `StackedLinear`, whose bias can take it.
        """
        last = list(self.head.modules())[-1]
        if not isinstance(last, StackedLinear):
            raise ValueError(
                "This network's head has no bias of ours to which class offsets could be added, which "
                "axis='pair' needs. Use axis='both' or 'class', or module='mlp' or 'linear', for images "
                "'lenet'."
            )
        last.bias += offset


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, in which nothing is dropped and no statistics are kept.

    Afterwards each part is as it was: one may be held in a mode by its user, or by a phase of training.

    Examples
    --------
    >>> dropout = nn.Dropout(0.5)
    >>> with evaluating(dropout):
    ...     dropout.training
    False
    >>> dropout.training
    True
    """
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def rows_interact(module: nn.Module) -> bool:
    """Whether a module normalises by its batch, or keeps statistics of it."""
    return any(isinstance(part, _NormBase) for part in module.modules())


class StackedLinear(nn.Module):
    """M linear layers as one `baddbmm`, with weights (M, in, out).

    A narrow layer, such as a head of a few classes, holds (M, out, in): BLAS takes a third of the time
    for a product with its transpose (128 x 128 x 3: 8 against 22 us; forward and backward of 8 models
    behind a ReLU: 339 against 445 us).

    Initialised as `torch.nn.Linear` is: uniform in +-1 / sqrt(in), weights and biases.

    Examples
    --------
    >>> StackedLinear(3, 2, n_models=4)(torch.zeros(4, 5, 3)).shape
    torch.Size([4, 5, 2])
    """

    def __init__(self, n_in: int, n_out: int, n_models: int = 1) -> None:
        super().__init__()
        self.narrow = 4 * n_out < n_in
        self.bound = 1 / math.sqrt(n_in)
        shape = (n_models, n_out, n_in) if self.narrow else (n_models, n_in, n_out)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(n_models, 1, n_out))
        for model in range(n_models):
            self.reset_model(model)

    @torch.no_grad()
    def reset_model(self, model: int) -> None:
        """Give one of the models new initial weights."""
        for parameter in (self.weight, self.bias):
            parameter[model].uniform_(-self.bound, self.bound)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (M, B, in) to (M, B, out)."""
        weight = self.weight.transpose(1, 2) if self.narrow else self.weight
        return torch.baddbmm(self.bias, x, weight)

    def extra_repr(self) -> str:
        """Shape of the stacked weights."""
        return f"weight={tuple(self.weight.shape)}"


class StackedLayerNorm(nn.Module):
    """LayerNorm with a scale and a shift for each of M models, (M, 1, width)."""

    def __init__(self, width: int, n_models: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_models, 1, width))
        self.bias = nn.Parameter(torch.zeros(n_models, 1, width))

    @torch.no_grad()
    def reset_model(self, model: int) -> None:
        """Let one of the models scale and shift nothing."""
        self.weight[model], self.bias[model] = 1, 0

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis of x (M, B, width)."""
        return nn.functional.layer_norm(x, x.shape[-1:]) * self.weight + self.bias
