"""The settings of a fit: the user's, and the network's own where those are "auto"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mixsk.backbones import BACKBONES, MLP, Backbone, Training, accepted, network
from mixsk.engine.accumulate import steps_of
from mixsk.engine.iterator import batch_slots

NAMES = ("optimizer", "lr", "weight_decay", "schedule", "batch_size", "max_epochs")
FOUND = {"n_codes", "auto_pool", "shape"}  # options that only `structure` finds, and no user gives
OTHER = Training()  # what is usual with an optimiser that a network does not name


def usual(module: Any, n_rows: int | None = None) -> Training:
    """What a network is trained with, on so many rows if that is known, where nothing else is said."""
    own = getattr(network(module), "trained_with", Backbone.trained_with)
    return replace(own, **own.with_many) if own.is_many(n_rows) else own


def structure(module: Any, n_rows: int | None, layout: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a network's constructor that the training rows decide; a user's class may not take all."""
    cls = network(module)
    if not (isinstance(cls, type) and issubclass(cls, Backbone)):
        return {}
    found, known = cls.structure(n_rows, layout, options), accepted(cls)
    return {name: value for name, value in found.items() if known is None or name in known}


def flat(module: Any) -> set[str]:
    """Options of a network that are parameters of the classifier; of others they are `module__*`."""
    perceptron = isinstance(module, str) and issubclass(network(module), MLP)
    return {"hidden", "activation", "dropout"} if perceptron else set()


def reads(module: Any) -> str:
    """What a network's inputs are: "table", "text" or "image"."""
    if isinstance(module, str) and module not in BACKBONES:  # scikit-learn asks before parameters are checked
        return Backbone.reads
    return str(getattr(network(module), "reads", Backbone.reads))


def input_site(module: Any) -> int:
    """The first stage of a network that can be mixed."""
    return int(getattr(network(module), "input_site", Backbone.input_site))


def stages_mixed(module: Any, n_stages: int) -> int:
    """How many of a network's hidden stages `mix_at="any"` mixes."""
    own = getattr(network(module), "manifold", Backbone.manifold)
    return n_stages if own is None else min(int(own), n_stages)


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
    found = usual(estimator.module, n_rows)
    if not is_auto(estimator.optimizer) and estimator.optimizer != found.optimizer:
        found = replace(found, lr=OTHER.lr, weight_decay=OTHER.weight_decay, decay_rows=None, options={})
    if found.decay_rows is not None:  # rows that come one call after the other may be any number
        most = OTHER.weight_decay if n_rows is None else found.decay_rows / n_rows
        found = replace(found, weight_decay=min(found.weight_decay, most))
    own = {name: getattr(estimator, name) for name in NAMES}
    found = replace(found, **{name: v for name, v in own.items() if not is_auto(v)})
    if n_rows is None:
        return replace(found, max_epochs=1, schedule=None if is_auto(estimator.schedule) else found.schedule)
    if found.max_batches is not None and is_auto(estimator.batch_size):
        while n_rows > found.max_batches * found.batch_size:
            found = replace(found, batch_size=2 * found.batch_size)
    if found.steps is not None and is_auto(estimator.max_epochs):
        n_batches = steps_of(len(batch_slots(n_rows, found.batch_size)), estimator.accumulate)
        least = min(found.min_epochs, max(1, found.max_steps // n_batches))
        found = replace(found, max_epochs=max(least, -(-found.steps // n_batches)))
    return found


def is_auto(value: Any) -> bool:
    """Whether a parameter is left to the network; arrays and objects compare in ways of their own."""
    return isinstance(value, str) and value == "auto"
