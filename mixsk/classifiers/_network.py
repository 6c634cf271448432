"""From a classifier's parameters to its skorch net."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from skorch.callbacks import PrintLog
from torch import nn

from mixsk.backbones import Backbone, Training, build, seeded
from mixsk.classifiers._settings import flat
from mixsk.classifiers._table import OPTIMIZERS
from mixsk.classifiers._trial import try_module
from mixsk.engine import MixNet, Plan
from mixsk.rules import Recipe, Sizes


def pick_device(device: str) -> torch.device:
    """The torch device that the parameter names, or ValueError."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ValueError(
            f"device={device!r} is no torch device. Use 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'."
        ) from None
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device={device!r} was asked for, but torch sees {torch.cuda.device_count()} CUDA devices. "
            "Use device='auto' or 'cpu', or install a CUDA build of torch."
        )
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device='mps' was asked for, but torch sees none. Use device='auto' or 'cpu'.")
    return chosen


def device_of(net: MixNet) -> torch.device:
    """Where a net's weights are."""
    return next(net.module_.parameters()).device


def make_backbone(
    estimator: Any, example: torch.Tensor, dtype: torch.dtype, n_classes: int, seeds: Sequence[int]
) -> Backbone:
    """The network with its initial weights, on the estimator's device.

    Parameters
    ----------
    estimator : classifier
    example : Tensor of shape (n, F), or (n, C, H, W)
        A few rows as the network sees them, to learn the width from and to try a user's module with.
    dtype : torch.dtype
        Of the weights.
    n_classes : int
    seeds : sequence of int
        One for each model.
    """
    options = _prefixed(estimator, "module__")
    # An option that the user sets to None is as open as one that is not set.
    options |= {name: value for name, value in estimator._structure.items() if options.get(name) is None}
    options.update({name: getattr(estimator, name) for name in flat(estimator.module)})
    backbone = build(estimator.module, example.shape[1], n_classes, options, seeds)
    backbone = backbone.to(example.device, dtype)
    if not isinstance(estimator.module, str):
        with seeded(seeds[0]):  # lazy layers get their weights now
            try_module(backbone, example, n_classes)
            if backbone.widths is None and hasattr(backbone, "measure"):
                backbone.measure(example)
        if next(backbone.parameters(), None) is None:
            raise ValueError(f"module={estimator.module!r} has no parameters, so nothing can be trained.")
    return backbone


def make_net(
    estimator: Any,
    training: Training,
    backbone: Backbone,
    n_inputs: int,
    n_classes: int,
    seeds: Sequence[int],
    aux: nn.Module | None = None,
) -> MixNet:
    """A skorch net around the backbone and the (still unbound) recipe of the estimator.

    Parameters
    ----------
    estimator : classifier
    training : Training
        Its settings, with nothing left open.
    backbone : Backbone
    n_inputs, n_classes : int
    seeds : sequence of int
        Of the recipe's own networks, one for each model.
    aux : nn.ModuleDict or None
        Networks of an earlier recipe, whose weights go on.
    """
    recipe = Recipe(estimator._spec(backbone.n_stages))
    recipe.attach(Sizes(n_inputs, backbone.widths, n_classes, backbone.n_models, recipe.spec.reads), seeds)
    if estimator.amp is not None and getattr(recipe.objective, "full_precision", False):
        raise ValueError(
            f"amp={estimator.amp!r} rounds numbers to fewer digits than {type(estimator).__name__} needs: it "
            "compares losses at lam and at lam + epsilon * slope, which differ in the digits that are lost. "
            "Use amp=None."
        )
    some = next(backbone.parameters())
    recipe.to(some.device, some.dtype)
    if aux is not None and _go_on(aux.state_dict(), recipe.aux.state_dict()):
        recipe.aux.load_state_dict(aux.state_dict())
    if getattr(recipe.loss, "lacks_offsets", False):
        backbone.shift(torch.zeros(()))  # says now if the offsets found in the end could not be kept
    plan = Plan(
        schedule=training.schedule,
        patience=patience(estimator, training),
        time_limit=estimator.time_limit,
        amp=estimator.amp,
        batch_size=training.batch_size,
        accumulate=estimator.accumulate,
        ema=estimator.ema,
    )
    callbacks = list(deepcopy(estimator.callbacks or []))
    if estimator.verbose:
        callbacks.append(("print_log", PrintLog()))
    return MixNet(
        backbone,
        recipe,
        plan,
        lr=training.lr,
        max_epochs=training.max_epochs,
        callbacks=callbacks,
        verbose=estimator.verbose,
        device=str(next(backbone.parameters()).device),
        **_optimizer(estimator, training),
        **{f"callbacks__{name}": value for name, value in _prefixed(estimator, "callbacks__").items()},
    )


def _go_on(old: dict[str, torch.Tensor], new: dict[str, torch.Tensor]) -> bool:
    """Whether weights belong to the same networks: in names, shapes, and the stage that they describe."""
    return old.keys() == new.keys() and all(
        old[name].shape == new[name].shape
        and (not name.endswith("stage") or torch.equal(old[name], new[name].to(old[name])))
        for name in old
    )


def patience(estimator: Any, training: Training) -> int | None:
    """Epochs without improvement after which training stops; None: nothing is stopped or restored."""
    if estimator.early_stopping is False:
        return None
    never = estimator.early_stopping == "auto" and training.steps is not None  # they are all planned for
    return training.max_epochs if never else estimator.n_iter_no_change


def _optimizer(estimator: Any, training: Training) -> dict[str, Any]:
    """The optimiser's class and its parameters, as skorch wants them."""
    named = isinstance(training.optimizer, str)
    cls = OPTIMIZERS[training.optimizer] if named else training.optimizer
    if inspect.signature(cls.step).parameters["closure"].default is inspect.Parameter.empty:
        raise ValueError(
            f"{cls.__name__} evaluates the loss several times a step, which a drawn batch does not allow. "
            "Use 'adam', 'adamw', 'sgd' or another first-order optimiser."
        )
    known = list(inspect.signature(cls).parameters)
    given = _prefixed(estimator, "optimizer__")
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise ValueError(
                f"optimizer__{name} is no parameter of {cls.__name__}"
                + (f", did you mean 'optimizer__{close[0]}'?" if close else f": it takes {known[1:]}.")
            )
    options = {"weight_decay": training.weight_decay} if "weight_decay" in known else {}
    own = {**training.options, **given}
    if named and "foreach" not in own:
        options["fused"] = True  # one kernel for all weights: 0.1 ms a step less for two hidden layers
    return {"optimizer": cls, **{f"optimizer__{name}": value for name, value in {**options, **own}.items()}}


def _prefixed(estimator: Any, prefix: str) -> dict[str, Any]:
    return {name[len(prefix) :]: value for name, value in vars(estimator).items() if name.startswith(prefix)}
