"""How a network is trained where the user leaves it open: what is best for one is not for another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Training:
    """Settings of a fit.

    Attributes
    ----------
    optimizer : str or torch.optim.Optimizer class
    lr, weight_decay : float
    schedule : str, callable or None
    batch_size : int
    max_epochs : int
    steps : int or None
        If not None, `max_epochs` is what makes about as many steps, whatever the number of rows.
    min_epochs : int
        Of `steps`: however many rows there are.
    stop_from : int or None
        Number of rows from which `early_stopping="auto"` holds some out. None: never; with validation rows of
        the user's, all epochs run and the best one's weights are restored.
    mix : str
        How its input is mixed.
    alpha : float or None
        With that mask. None: the method's own.
    """

    optimizer: Any = "adam"
    lr: float = 1e-3
    weight_decay: float = 1e-4
    schedule: Any = None
    batch_size: int = 128
    max_epochs: int = 100
    steps: int | None = None
    min_epochs: int = 1
    stop_from: int | None = 1000  # rows from which a tenth of them is worth more as validation rows
    mix: str = "linear"
    alpha: float | None = None
