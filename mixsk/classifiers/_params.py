"""Flat named parameters: storing, getting, setting and checking them."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from sklearn.utils._param_validation import validate_parameter_constraints
from skorch.callbacks import Callback
from torch import nn
from torch.optim import SGD

from mixsk.backbones import BACKBONES, accepted
from mixsk.classifiers._settings import FOUND, flat, reads
from mixsk.classifiers._table import COUNT, ENCODERS, OF_INPUTS
from mixsk.densities import DENSITIES
from mixsk.engine import make_schedule
from mixsk.rules import MASKS, TARGETS

PREFIXES = ("module__", "optimizer__", "callbacks__")

# Parameters whose string value stands for an object with parameters of its own.
CHOICES: dict[str, Mapping[str, Callable[[], Any]]] = {
    "mix": MASKS,
    "label": TARGETS,
    "density": DENSITIES,
    "encoder": ENCODERS,
}


class ParamsMixin:
    """Flat named parameters, and `module__*`, `optimizer__*`, `callbacks__*` beside them."""

    def _store(self, given: dict[str, Any]) -> None:
        """Store the arguments of `__init__`, from its `locals()`."""
        for name, value in given.items():
            if name == "kwargs":
                self._check_names(value)
                vars(self).update(value)
            elif name != "self" and not name.startswith("__"):
                setattr(self, name, value)

    @classmethod
    def _get_param_names(cls) -> list[str]:
        """The constructor's parameters: looked up once a class, since every clone asks for them."""
        if "_param_names" not in vars(cls):
            cls._param_names = super()._get_param_names()  # type: ignore[attr-defined,misc]
        return list(cls._param_names)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters, `module__*` and the like included.

        Parameters
        ----------
        deep : bool, default=True
            Also the parameters of the objects among them.

        Returns
        -------
        dict
        """
        own = {name: value for name, value in vars(self).items() if name.startswith(PREFIXES)}
        return {**super().get_params(deep), **own}  # type: ignore[misc]

    def set_params(self, **params: Any) -> Any:
        """Set parameters.

        `density__reg_covar=1e-3` on `density="gm"` first replaces the string by that name's object, and
        `encoder__augment__crop=2` on `encoder="auto"` by the encoder of what the network reads.

        Parameters
        ----------
        **params : dict

        Returns
        -------
        self
        """
        own = {name: value for name, value in params.items() if name.startswith(PREFIXES)}
        rest = {name: value for name, value in params.items() if name not in own}
        self._check_names([*own, *(name.partition("__")[0] for name in rest)])
        for name, value in own.items():
            setattr(self, name, value)
        for name in list(rest):
            outer, _, inner = name.partition("__")
            current = rest.get(outer, getattr(self, outer))
            if inner and isinstance(current, str):
                if current not in CHOICES.get(outer, ()):
                    raise ValueError(f"{name} has no effect: {outer}={current!r} has no parameters.")
                module = rest.get("module", getattr(self, "module", "table"))
                rest[outer] = self._chosen(outer, current, module, inner)
        return super().set_params(**rest)  # type: ignore[misc]

    def _chosen(self, outer: str, name: str, module: Any, inner: str) -> Any:
        """The object that a name stands for; for an encoder it depends on the network."""
        if outer == "encoder" and name == "auto":
            kind, option = reads(module), inner.partition("__")[0]
            if kind == "table" and not isinstance(module, str):  # X says later whether it is images
                for other, encoder in OF_INPUTS.items():
                    if other != kind and option in encoder().get_params(deep=False):
                        raise ValueError(
                            f"encoder__{inner} is a parameter of {encoder.__name__}, and for a network of "
                            "your own encoder='auto' is not known to be one. Pass "
                            f"encoder={encoder.__name__}()."
                        )
            return self._own_encoder(kind)  # type: ignore[attr-defined]
        return CHOICES[outer][name]()

    def _check_names(self, given: Iterable[str]) -> None:
        known = self._get_param_names()
        for name in given:
            if name in known or (name.startswith(PREFIXES) and not name.endswith("__")):
                continue
            close = difflib.get_close_matches(name, [*known, *PREFIXES], n=1)
            hint = f", did you mean {close[0]!r}?" if close else f". Known are {', '.join(known)}."
            raise TypeError(f"{type(self).__name__} got an unknown parameter {name!r}{hint}")

    def _check_params(self) -> None:
        """Raise InvalidParameterError or ValueError for a value out of range or without effect."""
        validate_parameter_constraints(
            self._parameter_constraints,  # type: ignore[attr-defined]
            self.get_params(deep=False),
            caller_name=type(self).__name__,
        )
        self._check_kinds()
        if callable(self.schedule):  # type: ignore[attr-defined]
            make_schedule(self.schedule, SGD([torch.zeros(1, requires_grad=True)], lr=0.1), 1, 1)  # type: ignore[attr-defined]
        self._check_hidden()
        if self._calibrates(1) and self.warm_start:  # type: ignore[attr-defined]
            raise ValueError(
                "calibrate=True cannot go with warm_start=True: the folds would start anew, and their "
                "temperature would not be that of a network that goes on. Set one of them to False."
            )
        self._check_bagging()  # type: ignore[attr-defined]
        self._check_checkpoint()  # type: ignore[attr-defined]
        self._check_extra()
        self._check_callbacks()
        self._check_effects()

    def _check_kinds(self) -> None:
        """A class is no rule, and True is no number."""
        for name, value in self.get_params(deep=False).items():
            if name in CHOICES and isinstance(value, type):
                raise ValueError(
                    f"{name}={value.__name__} is a class: pass an object, {name}={value.__name__}()."
                )
            allowed = self._parameter_constraints.get(name, ["boolean"])  # type: ignore[attr-defined]
            if isinstance(value, bool) and not {"boolean", "verbose"} & {
                a for a in allowed if isinstance(a, str)
            }:
                raise ValueError(f"{name} must not be a bool. Got {value!r}.")

    def _check_callbacks(self) -> None:
        given = self.callbacks or []  # type: ignore[attr-defined]
        pairs = [c if isinstance(c, tuple) and len(c) == 2 else (type(c).__name__, c) for c in given]
        for _, callback in pairs:
            made = callback() if isinstance(callback, type) and issubclass(callback, Callback) else callback
            if not isinstance(made, Callback):
                raise ValueError(
                    f"callbacks must be skorch callbacks or pairs (name, callback). Got {callback!r}. "
                    "scikit-learn's own go to set_callbacks(...)."
                )
        names = {name for name, _ in pairs} | {"print_log"}
        for name in vars(self):
            if name.startswith("callbacks__") and name.split("__")[1] not in names:
                raise ValueError(
                    f"{name} has no effect: no callback has that name. Named are "
                    f"{sorted(names - {'print_log'}) or 'none'}: callbacks=[('name', callback), ...]."
                )

    def _check_hidden(self) -> None:
        hidden = self.hidden  # type: ignore[attr-defined]
        if not hidden or not all(COUNT.is_satisfied_by(width) for width in hidden):
            raise ValueError(
                f"hidden must be a tuple of layer widths >= 1, such as (128, 128). Got {hidden!r}. "
                "Use module='linear' for no hidden layer."
            )

    def _check_extra(self) -> None:
        """Every module__* must be a parameter of the module's constructor."""
        module = self.module  # type: ignore[attr-defined]
        given = {name[len("module__") :] for name in vars(self) if name.startswith("module__")}
        if given and isinstance(module, nn.Module):
            raise ValueError(
                f"module__{min(given)} has no effect with a module that is already built. "
                "Pass its class instead of an instance."
            )
        known = accepted(module)
        if known is None:
            return
        ours = flat(module)
        if isinstance(module, str):
            known = known - FOUND
        for name in sorted(given - known):
            raise ValueError(
                f"module__{name} has no effect with module={module!r}: its constructor takes "
                f"{sorted(known - ours) or 'no further parameters'}."
            )
        for name in sorted(given & ours):
            raise ValueError(f"module__{name} is the parameter {name!r}: set {name}=...")

    def _check_effects(self) -> None:
        """A parameter away from its default must change something."""
        usual = inspect.signature(type(self)).parameters
        changed = {
            name for name in self._get_param_names() if not _same(getattr(self, name), usual[name].default)
        }
        for names, idle, why in NO_EFFECT:
            if idle(self):
                for name in sorted(changed & names):
                    raise ValueError(
                        f"{name}={getattr(self, name)!r} has no effect with {why}: leave {name} at its "
                        "default, or change the other."
                    )


MIXING = {
    "mix_at", "alpha", "lam_per", "pair", "mix_prob", "mix_off", "label", "drop_intrusions", "clean_weight",
}  # fmt: skip

# What only mixed rows are asked of: Infinite Class Mixup's loss and LaMix's label meet clean rows, too.
MIXED_ONLY = MIXING | {
    "epsilon", "reduction", "share_noise", "select", "reweight", "density", "gamma", "top_k", "memory",
    "max_density_rows",
}  # fmt: skip

# (parameters, when they do nothing, the reason as the message says it)
NO_EFFECT: list[tuple[set[str], Callable[[Any], bool], str]] = [
    (MIXING, lambda self: self.mix is None, "mix=None"),
    (MIXED_ONLY - {"mix_prob", "clean_weight"}, lambda self: self.mix_prob == 0, "mix_prob=0"),
    (MIXED_ONLY - {"mix_off", "clean_weight"}, lambda self: self.mix_off == 1, "mix_off=1"),
    (
        {"lam_per"},
        lambda self: getattr(
            MASKS.get(self.mix) if isinstance(self.mix, str) else self.mix, "by_entry", False
        ),
        "mix='nonlinear', where each entry has a share of its own",
    ),
    (
        {"hidden", "activation", "dropout"},
        lambda self: not flat(self.module),
        "a module other than 'mlp' and 'table' (others have module__* parameters)",
    ),
    (
        {"validation_fraction", "n_iter_no_change"},
        lambda self: self.early_stopping is False,
        "early_stopping=False",
    ),
    (
        {"reduction", "share_noise", "select", "reweight"},
        lambda self: getattr(self, "epsilon", None) == 0,
        "epsilon=0",
    ),
    (
        {"share_noise"},
        lambda self: self.module in BACKBONES and reads(self.module) == "table" and not self.dropout,
        "a network without dropout",
    ),
    (
        {"detach_target", "global_on_clean"},
        lambda self: getattr(self, "local_share", None) == 1,
        "local_share=1",
    ),
    (
        {"warmup", "head"},
        lambda self: getattr(self, "density_schedule", None) in ("once", "online"),
        "a density_schedule other than 'warmup'",
    ),
    (
        {"memory"},
        lambda self: getattr(self, "density_schedule", None) in ("once", "warmup"),
        "a density_schedule other than 'online'",
    ),
    (
        {"max_density_rows"},
        lambda self: getattr(self, "density_schedule", None) == "online",
        "density_schedule='online', which describes features by Gaussians",
    ),
    (
        {"density"},
        lambda self: getattr(self, "density_schedule", None) == "online" and not _same(self.density, "gm"),
        "density_schedule='online', which describes features by Gaussians, density='gm'",
    ),
    (
        {"gamma", "top_k", "class_prior"},
        lambda self: getattr(self, "density", None) == "nn-label",
        "density='nn-label', the label of the nearest row alone",
    ),
    (
        {"max_density_rows"},
        lambda self: getattr(self, "density", None) == "gm",
        "density='gm', which keeps no rows",
    ),
    (
        {"max_density_rows"},
        lambda self: not isinstance(getattr(self, "density", ""), str),
        "a density that is an object, whose own parameters say what it keeps",
    ),
    ({"weight_decay"}, lambda self: "optimizer__weight_decay" in vars(self), "optimizer__weight_decay"),
    ({"lr"}, lambda self: "optimizer__lr" in vars(self), "optimizer__lr"),
    ({"weight_decay"}, lambda self: not _takes_weight_decay(self.optimizer), "an optimizer that takes none"),
]


def _takes_weight_decay(optimizer: Any) -> bool:
    return isinstance(optimizer, str) or "weight_decay" in inspect.signature(optimizer).parameters


def _same(value: Any, default: Any) -> bool:
    """Whether a parameter is at its default; an object or a class never equals a plain default."""
    if isinstance(value, list) and isinstance(default, tuple):
        value = tuple(value)
    plain = (str, int, float, tuple, type(None))
    return value is default or (isinstance(value, plain) and value == default)
