"""An exponential moving average of a network's weights, kept beside it.

Not by torch's `AveragedModel`: that sorts the tensors anew at every step (70 against 10 us for a network of
tables), and averages whole numbers, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn


class Average:
    """The average of a network's weights, which takes their place where the network is looked at.

    Floating-point buffers are averaged too: the running statistics of batch normalisation are those of
    features that the live weights make, and an average of weights wants statistics of the same span. Whole
    numbers (a count of batches, codes) are copied.

    Parameters
    ----------
    network : nn.Module
    decay : float
        In (0, 1). After the first step the average is the weights; step n > 1 moves it by 1 - d of the way to
        them, d = min(decay, (1 + n) / (10 + n)). With `decay` alone the weights of the first steps would be
        most of an average of few. Source: the decay that TensorFlow's `tf.train.ExponentialMovingAverage`
        uses where it is given `num_updates`.

    Attributes
    ----------
    averaged : nn.Module
        A network that holds the average; while `shown`, the live weights.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.averaged = network, deepcopy(network)
        for part in self.averaged.modules():
            if isinstance(part, nn.RNNBase):
                part.flatten_parameters()  # into one piece of memory, as cuDNN wants them
        self.decay = decay
        self.n_steps = 0
        self.is_shown = False
        self.pairs = list(zip(_tensors(self.averaged), _tensors(network), strict=True))
        kinds = {own.dtype for own, _ in self.pairs}
        of_kind = [[pair for pair in self.pairs if pair[0].dtype == kind] for kind in kinds]
        self.groups = [([own for own, _ in pairs], [live for _, live in pairs]) for pairs in of_kind]

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights after a step."""
        self.n_steps += 1
        decay = min(self.decay, (1 + self.n_steps) / (10 + self.n_steps))
        for averages, weights in self.groups:
            if self.n_steps > 1 and averages[0].is_floating_point():
                torch._foreach_lerp_(averages, weights, 1 - decay)
            else:
                torch._foreach_copy_(averages, weights)

    def show(self, show: bool) -> None:
        """Let the network hold the average, or its live weights again: tensors change places."""
        if show != self.is_shown:
            for own, live in self.pairs:
                own.data, live.data = live.data, own.data
            self.is_shown = show

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The network with the average for its weights."""
        self.show(True)
        try:
            yield
        finally:
            self.show(False)

    @torch.no_grad()
    def take_over(self) -> None:
        """Go on from the average: it becomes the live weights."""
        for own, live in self.pairs:
            live.copy_(own)

    def start_anew(self) -> None:
        """Begin a new average with the next step."""
        self.n_steps = 0

    def state_dict(self) -> dict[str, Any]:
        """The average, and of how many steps."""
        return {"weights": self.averaged.state_dict(), "n_steps": self.n_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.averaged.load_state_dict(state["weights"])
        self.n_steps = int(state["n_steps"])


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    return chain(network.parameters(), network.buffers())
