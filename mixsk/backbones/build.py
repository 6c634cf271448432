"""From the `module` parameter to a backbone with its initial weights."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import nn

from mixsk.backbones.base import Backbone, rows_interact
from mixsk.backbones.bilstm import BiLSTM
from mixsk.backbones.densenet import DenseNet121
from mixsk.backbones.lenet import LeNet
from mixsk.backbones.linear import Linear
from mixsk.backbones.mlp import MLP
from mixsk.backbones.preact_resnet import PreActResNet18
from mixsk.backbones.resnet import ResNet18, ResNet34, ResNet50
from mixsk.backbones.table import Table
from mixsk.backbones.textcnn import TextCNN
from mixsk.backbones.transformer import Transformer
from mixsk.backbones.wide_resnet import WRN16x8, WRN28x10
from mixsk.backbones.wrapped import Wrapped

# torch's generator is one for all threads: fits in threads of one process take turns with it.
_GENERATOR = threading.RLock()

BACKBONES: dict[str, type[Backbone]] = {
    "linear": Linear,
    "mlp": MLP,
    "table": Table,
    "textcnn": TextCNN,
    "bilstm": BiLSTM,
    "transformer": Transformer,
    "lenet": LeNet,
    "resnet18": ResNet18,
    "resnet34": ResNet34,
    "resnet50": ResNet50,
    "preact_resnet18": PreActResNet18,
    "wrn16_8": WRN16x8,
    "wrn28_10": WRN28x10,
    "densenet121": DenseNet121,
}


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch's generators, and put them back afterwards."""
    devices = [device] if device is not None and device.type == "cuda" else []
    with _GENERATOR, torch.random.fork_rng(devices):
        torch.random.manual_seed(seed)
        yield


def network(module: Any) -> Any:
    """The class that the `module` parameter names; or what it is, a class or an instance."""
    return BACKBONES[module] if isinstance(module, str) else module


def name_of(module: Any) -> str:
    """What an error calls a `module` parameter: a key in quotes, a class or an instance by its class."""
    return repr(module) if isinstance(module, str) else getattr(module, "__name__", type(module).__name__)


def stacks(module: Any) -> bool:
    """Whether networks of it can be trained side by side."""
    return isinstance(module, str) and BACKBONES[module].stacks


def accepted(module: Any) -> set[str] | None:
    """Names of the keyword arguments a module's constructor takes; None: any, or an instance."""
    cls = network(module)
    if not isinstance(cls, type):
        return None
    parameters = inspect.signature(cls).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return {p.name for p in parameters} - {"n_features", "n_classes", "n_models"}


def build(
    module: Any, n_features: int, n_classes: int, options: Mapping[str, Any], seeds: Sequence[int]
) -> Backbone:
    """Make a backbone on the CPU, one model per seed, without touching torch's global generator.

    Parameters
    ----------
    module : str, nn.Module class or nn.Module
        A key of `BACKBONES`; a class, called with `options` and with `n_features` and `n_classes`
        if its constructor has them; or an instance, deep-copied with its weights.
    n_features, n_classes : int
        Width of the encoded input and number of logits.
    options : mapping
        Keyword arguments of the constructor.
    seeds : sequence of int
        Model m gets the weights it would get alone with seeds[m].

    Returns
    -------
    Backbone

    Raises
    ------
    ValueError
        If several models of a user's own module are asked for.
    """
    if len(seeds) > 1 and not stacks(module):
        of_tables = getattr(network(module), "reads", Backbone.reads) == "table"
        others = f"one of {sorted(filter(stacks, BACKBONES))}, or " if of_tables else ""
        raise ValueError(
            f"module={name_of(module)} has no model axis, so {len(seeds)} models of it cannot be stacked. "
            f"Use {others}n_members=1 and n_cv=1."
        )
    if isinstance(module, nn.Module):
        return _as_backbone(deepcopy(module))
    if isinstance(module, str):
        return stacked(partial(_from_name, module, n_features, n_classes, options), seeds)
    sizes = {"n_features": n_features, "n_classes": n_classes}
    wanted = inspect.signature(module).parameters
    sizes = {name: size for name, size in sizes.items() if name in wanted and name not in options}
    return _as_backbone(_seeded(seeds[0], module, **sizes, **options))


def _as_backbone(module: nn.Module) -> Backbone:
    """A user's own network as a backbone that knows whether its rows see each other."""
    backbone = module if isinstance(module, Backbone) else Wrapped(module)
    backbone.rows_interact |= rows_interact(module)
    return backbone


def stacked(make: Callable[[int], nn.Module], seeds: Sequence[int]) -> Any:
    """`make(n_models)` with, for model m, the weights that `make(1)` gets with seeds[m].

    Parameters
    ----------
    make : callable (n_models) -> nn.Module
        Every parameter of the module has a leading model axis.
    seeds : sequence of int

    Returns
    -------
    nn.Module
    """
    singles = {seed: _seeded(seed, make, 1) for seed in dict.fromkeys(seeds)}
    if len(seeds) == 1:
        return singles[seeds[0]]
    whole = _seeded(seeds[0], make, len(seeds))
    with torch.no_grad():
        for name, parameter in whole.named_parameters():
            parameter.copy_(torch.cat([singles[seed].get_parameter(name) for seed in seeds]))
    return whole


def renew(parts: Sequence[nn.Module], seeds: Sequence[int]) -> None:
    """Give parts of a network new initial weights, those of model m from seeds[m].

    Raises
    ------
    ValueError
        If a part has weights, but no `reset_parameters()` to renew them.
    """
    for model, seed in enumerate(seeds):
        with seeded(seed):
            for part in nn.ModuleList(parts).modules():
                if hasattr(part, "reset_model"):
                    part.reset_model(model)
                elif model == 0 and hasattr(part, "reset_parameters"):  # a user's own network stands alone
                    part.reset_parameters()
                elif next(part.parameters(recurse=False), None) is not None and model == 0:
                    raise ValueError(
                        f"{type(part).__name__} has weights but no reset_parameters(), so no fresh head can "
                        "be made. Give it the method, or use head='keep'."
                    )


def _from_name(
    name: str, n_features: int, n_classes: int, options: Mapping[str, Any], n_models: int
) -> Backbone:
    return BACKBONES[name](n_features, n_classes, n_models=n_models, **options)


def _seeded(seed: int, make: Any, *args: Any, **options: Any) -> Any:
    with seeded(seed):
        return make(*args, **options)
