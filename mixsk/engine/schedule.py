"""Learning-rate schedules by name; torch's own schedulers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR, OneCycleLR, ReduceLROnPlateau

SCHEDULES = ("cosine", "onecycle", "step")


def make_schedule(schedule: Any, optimizer: Optimizer, epochs: int, steps: int) -> tuple[Any, bool]:
    """Make a scheduler for `epochs` of `steps` each.

    Parameters
    ----------
    schedule : {"cosine", "step", "onecycle"} or callable
        "cosine" falls to 0 over all epochs; "step" multiplies by 0.1 at 60 % and 80 % of them (the
        GenLabel paper's toys); "onecycle" rises and falls step by step, with `lr` at its top. A
        callable gets the optimiser and returns a scheduler, stepped once an epoch.
    optimizer : torch.optim.Optimizer
    epochs, steps : int

    Returns
    -------
    scheduler : object with `step()`
    per_batch : bool
        Whether it is stepped after every batch and not after every epoch.

    Raises
    ------
    ValueError
        If a callable returns something else.
    """
    if isinstance(schedule, str):
        named: dict[str, Callable[[], Any]] = {
            "cosine": lambda: CosineAnnealingLR(optimizer, epochs),
            "step": lambda: MultiStepLR(optimizer, [round(0.6 * epochs), round(0.8 * epochs)], 0.1),
            "onecycle": lambda: OneCycleLR(
                optimizer,
                [group["lr"] for group in optimizer.param_groups],
                total_steps=epochs * steps,
                cycle_momentum=False,  # it would overwrite the user's momentum
            ),
        }
        return named[schedule](), schedule == "onecycle"
    scheduler = schedule(optimizer)
    if not hasattr(scheduler, "step") or isinstance(scheduler, ReduceLROnPlateau):
        raise ValueError(
            f"schedule must take the optimiser and return a torch scheduler that steps without a metric. "
            f"{schedule!r} returned {scheduler!r}."
        )
    return scheduler, False
