"""Phase: a stretch of training with an objective and parameters of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Phase:
    """A part of training: `epochs` of `objective` on the parameters whose names `trainable` accepts.

    The stages up to `frozen` do not change: what happens there is done for many steps at once.
    `name` stands in the history. `on_start(net)` runs first (a density is fitted, a head renewed). None
    means the recipe's own objective, all parameters, nothing to run.
    """

    epochs: int
    name: str = "train"
    frozen: int = 0
    objective: Callable[[Any], Tensor] | None = None
    trainable: Callable[[str], bool] | None = None
    on_start: Callable[[Any], None] | None = None
