"""The settings of a fit: the user's, and the network's own where those are "auto"."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mixsk.backbones import BACKBONES, Backbone, Training
from mixsk.engine.iterator import batch_slots

NAMES = ("optimizer", "lr", "weight_decay", "schedule", "batch_size", "max_epochs")


def usual(module: Any) -> Training:
    """What a network is trained with where nothing else is said."""
    cls = BACKBONES[module] if isinstance(module, str) else module
    return getattr(cls, "trained_with", Backbone.trained_with)


def settled(estimator: Any, n_rows: int | None) -> Training:
    """The settings of a fit to `n_rows` training rows; None: of a call of partial_fit, which has no plan.

    Parameters
    ----------
    estimator : classifier
    n_rows : int or None

    Returns
    -------
    Training
        With nothing left open.
    """
    own = {name: getattr(estimator, name) for name in NAMES}
    found = replace(usual(estimator.module), **{name: v for name, v in own.items() if not is_auto(v)})
    if n_rows is None:
        return replace(found, max_epochs=1, schedule=None if is_auto(estimator.schedule) else found.schedule)
    if found.steps is not None and is_auto(estimator.max_epochs):
        n_batches = len(batch_slots(n_rows, found.batch_size))
        found = replace(found, max_epochs=max(found.min_epochs, -(-found.steps // n_batches)))
    return found


def is_auto(value: Any) -> bool:
    """Whether a parameter is left to the network; arrays and objects compare in ways of their own."""
    return isinstance(value, str) and value == "auto"
