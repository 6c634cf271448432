"""The parameters of every classifier: default, allowed values and documentation, each in one place.

A classifier's `__init__` lists its parameters; `document` gives it the constraints and the docstring
text from this table, so that a name means the same everywhere.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any, NamedTuple, TypeVar

from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    Options,
    StrOptions,
    validate_parameter_constraints,
)
from torch import nn
from torch.optim import Optimizer

from mixsk.backbones import ACTIVATIONS, BACKBONES, accepted
from mixsk.densities import DENSITIES
from mixsk.encoding import PassthroughEncoder, TableEncoder
from mixsk.engine import SCHEDULES
from mixsk.rules import MASKS, TARGETS
from mixsk.rules.draw import PAIRS
from mixsk.rules.genlabel import PRIORS

PREFIXES = ("module__", "optimizer__", "callbacks__")
ENCODERS = {"auto": TableEncoder, "passthrough": PassthroughEncoder}
OPTIMIZERS = ("adam", "adamw", "sgd")
POSITIVE = Interval(Real, 0, None, closed="neither")
NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
SHARE = Interval(Real, 0, 1, closed="both")
COUNT = Interval(Integral, 1, None, closed="left")


class _SubclassOf(Options):
    """Constraint: a subclass of one class."""

    def __init__(self, base: type) -> None:
        super().__init__(type, set())
        self.base = base

    def is_satisfied_by(self, val: Any) -> bool:
        return isinstance(val, type) and issubclass(val, self.base)

    def __str__(self) -> str:
        return f"a subclass of {self.base.__module__}.{self.base.__qualname__}"


class Parameter(NamedTuple):
    """One row of the table."""

    default: Any
    allowed: list[Any]
    doc: str


def _names(table: Any) -> str:
    return "{" + ", ".join(f'"{name}"' for name in sorted(table)) + "}"


PARAMETERS: dict[str, Parameter] = {
    "module": Parameter(
        "mlp",
        [StrOptions(set(BACKBONES)), nn.Module, _SubclassOf(nn.Module)],
        f"""{_names(BACKBONES)}, nn.Module class or instance, default="mlp"
    The network. A class is called with the `module__*` parameters and, if its constructor has
    them, `n_features` and `n_classes`; an instance is copied with its weights. Both map
    (B, n_features) to logits (B, n_classes) and are mixed at their input.""",
    ),
    "hidden": Parameter(
        (128, 128),
        [tuple, list],
        """tuple of int, default=(128, 128)
    Widths of the hidden layers of "mlp".""",
    ),
    "activation": Parameter(
        "relu",
        [StrOptions(set(ACTIVATIONS))],
        f"""{_names(ACTIVATIONS)}, default="relu"
    Activation of the hidden layers of "mlp".""",
    ),
    "dropout": Parameter(
        0,
        [Interval(Real, 0, 1, closed="left")],
        """float in [0, 1), default=0
    Dropout after the hidden layers of "mlp".""",
    ),
    "encoder": Parameter(
        "auto",
        [StrOptions(set(ENCODERS)), HasMethods(["fit", "transform"])],
        """{"auto", "passthrough"} or transformer, default="auto"
    How X becomes numbers: `mixsk.encoding.TableEncoder()` (standardised numbers, one-hot
    categories, missing indicators), X as it is, or a transformer of your own.""",
    ),
    "mix": Parameter(
        "linear",
        [StrOptions(set(MASKS)), None, callable],
        f"""{_names(MASKS)}, None or callable, default="linear"
    How the two rows of a pair are mixed: all entries alike, at one half, or column by column.
    None trains without mixing. A callable is a mask `(h, lam, noise, extra) -> (m, share)`.""",
    ),
    "mix_at": Parameter(
        "input",
        [
            StrOptions({"input", "embedding", "hidden", "any", "last"}),
            Interval(Integral, 0, None, closed="left"),
            list,
            tuple,
        ],
        """{"input", "hidden", "any", "last"}, int or list of int, default="input"
    Stage of the network that is mixed: "hidden" draws one hidden stage a batch, "any" one of the
    input and the hidden stages (manifold mixup), "last" is the last hidden stage; numbers count
    the stages from 0, the input.""",
    ),
    "alpha": Parameter(
        None,
        [None, POSITIVE],
        """float > 0 or None, default=None
    lam ~ Beta(alpha, alpha). None takes the papers' value: 20 with a `clean_weight` (RegMixup), 2
    for `mix_at="any"` or "hidden" (manifold mixup), 1 otherwise.""",
    ),
    "lam_per": Parameter(
        None,
        [None, StrOptions({"batch", "sample"})],
        """{"batch", "sample"} or None, default=None
    One lam a batch or one a row. None takes the method's own: "batch" here.""",
    ),
    "pair": Parameter(
        "any",
        [StrOptions(set(PAIRS))],
        """{"any", "other_class", "same_class"}, default="any"
    Which row of the batch a row is mixed with.""",
    ),
    "mix_prob": Parameter(
        1,
        [SHARE],
        """float in [0, 1], default=1
    Share of the batches that are mixed.""",
    ),
    "mix_off": Parameter(
        0,
        [SHARE],
        """float in [0, 1], default=0
    Share of the last epochs that are trained without mixing.""",
    ),
    "label": Parameter(
        "linear",
        [StrOptions(set(TARGETS)), callable],
        f"""{_names(TARGETS)} or callable, default="linear"
    Label of a mixed row. A callable is a target `(y, perm, share, lam, taps, state) -> (t, w)`,
    such as `mixsk.rules.Remix(kappa=2)`.""",
    ),
    "label_smoothing": Parameter(
        0,
        [Interval(Real, 0, 1, closed="left")],
        """float in [0, 1), default=0
    Share of every label that is spread evenly over the classes.""",
    ),
    "drop_intrusions": Parameter(
        False,
        ["boolean"],
        """bool, default=False
    Drop mixed rows whose nearest training row has the label of neither parent (manifold
    intrusion, GenLabel paper, Definition 1).""",
    ),
    "clean_weight": Parameter(
        0,
        [NOT_NEGATIVE],
        """float >= 0, default=0
    Weight of the cross entropy of the unmixed batch, added to the mixed loss (RegMixup: 1).""",
    ),
    "density": Parameter(
        "gm",
        [StrOptions(set(DENSITIES)), HasMethods(["fit", "log_prob"])],
        f"""{_names(DENSITIES)} or object, default="gm"
    Class-conditional density that relabels: a Gaussian per class, or an object with
    `fit(Z, y)` and `log_prob(z) -> (n, n_classes)`.""",
    ),
    "gamma": Parameter(
        0.5,
        [SHARE],
        """float in [0, 1], default=0.5
    Weight of the density's posterior in the label; 0 is mixup.""",
    ),
    "top_k": Parameter(
        None,
        [None, COUNT],
        """int or None, default=None
    Keep only the k likeliest classes of the posterior.""",
    ),
    "class_prior": Parameter(
        "train",
        [StrOptions(set(PRIORS))],
        """{"train", "uniform"}, default="train"
    Class prior of the posterior: the training frequencies, or equal ones (the paper's form).""",
    ),
    "optimizer": Parameter(
        "adam",
        [StrOptions(set(OPTIMIZERS)), _SubclassOf(Optimizer)],
        """{"adam", "adamw", "sgd"} or torch.optim.Optimizer class, default="adam"
    More of its parameters as `optimizer__*`.""",
    ),
    "lr": Parameter(
        1e-3,
        [POSITIVE],
        """float > 0, default=1e-3
    Learning rate.""",
    ),
    "weight_decay": Parameter(
        1e-4,
        [NOT_NEGATIVE],
        """float >= 0, default=1e-4
    Weight decay of the optimiser (L2 for "adam" and "sgd", decoupled for "adamw").""",
    ),
    "schedule": Parameter(
        None,
        [None, StrOptions(set(SCHEDULES)), callable],
        """{"cosine", "onecycle", "step"}, callable or None, default=None
    Learning-rate schedule over `max_epochs`; a callable gets the optimiser and returns a torch
    scheduler, stepped once an epoch.""",
    ),
    "batch_size": Parameter(
        128,
        [COUNT],
        """int >= 1, default=128
    Rows a step. A last batch of a single row joins the one before.""",
    ),
    "max_epochs": Parameter(
        100,
        [COUNT],
        """int >= 1, default=100
    Passes over the training rows.""",
    ),
    "time_limit": Parameter(
        None,
        [None, POSITIVE],
        """float > 0 or None, default=None
    Seconds after which training stops; what is trained by then is kept.""",
    ),
    "early_stopping": Parameter(
        "auto",
        [StrOptions({"auto"}), "boolean"],
        """bool or "auto", default="auto"
    Stop when the log loss of held-out clean rows no longer falls, and restore the best epoch's
    weights. "auto": from 1000 training rows on, or if `X_val` is given.""",
    ),
    "validation_fraction": Parameter(
        0.1,
        [Interval(Real, 0, 1, closed="neither")],
        """float in (0, 1), default=0.1
    Share of the rows held out for early stopping, stratified; every class keeps a training row.""",
    ),
    "n_iter_no_change": Parameter(
        10,
        [COUNT],
        """int >= 1, default=10
    Epochs without improvement before training stops early.""",
    ),
    "class_weight": Parameter(
        None,
        [None, StrOptions({"balanced"}), dict],
        """{"balanced"}, dict or None, default=None
    Weights of the classes, `{label: weight}`; "balanced": n / (n_classes * class count).""",
    ),
    "device": Parameter(
        "auto",
        [str],
        """str, default="auto"
    "cpu", "cuda", "cuda:1", "mps"; "auto" takes CUDA if there is any, else the CPU.""",
    ),
    "dtype": Parameter(
        "float32",
        [StrOptions({"float32", "float64"})],
        """{"float32", "float64"}, default="float32"
    Of the inputs and weights.""",
    ),
    "amp": Parameter(
        None,
        [None, StrOptions({"bf16", "fp16"})],
        """{"bf16", "fp16"} or None, default=None
    Automatic mixed precision of the forward pass.""",
    ),
    "n_threads": Parameter(
        None,
        [None, COUNT],
        """int or None, default=None
    Torch threads during fit and predict; the old number is restored. None leaves it alone.""",
    ),
    "random_state": Parameter(
        None,
        ["random_state"],
        """int, RandomState instance or None, default=None
    Seeds the weights, the order of the rows and the draws, each its own stream. The global
    random state is never touched.""",
    ),
    "verbose": Parameter(
        0,
        ["verbose"],
        """int, default=0
    1 prints a line per epoch.""",
    ),
    "warm_start": Parameter(
        False,
        ["boolean"],
        """bool, default=False
    A further `fit` goes on from the weights (and encoder) of the one before.""",
    ),
    "callbacks": Parameter(
        None,
        [None, list],
        """list of skorch callbacks or None, default=None
    skorch callbacks, or pairs (name, callback), notified while training.""",
    ),
}

C = TypeVar("C", bound=type)


def document(cls: C) -> C:
    """Class decorator: constraints, and the text for `{parameters}` in the docstring, from the table."""
    signature = inspect.signature(cls)
    named = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    # scikit-learn's checks call a class with every name of its signature, `kwargs` among them.
    cls.__signature__ = signature.replace(parameters=named)
    names = [p.name for p in named]
    cls._parameter_constraints = {name: PARAMETERS[name].allowed for name in names}
    text = "\n".join(f"{name} : {PARAMETERS[name].doc}" for name in names)
    cls.__doc__ = inspect.cleandoc(cls.__doc__ or "").replace("{parameters}", text)
    return cls


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

        `density__reg_covar=1e-3` on `density="gm"` first replaces the string by that name's object.

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
            if inner and isinstance(current, str) and current in CHOICES.get(outer, ()):
                rest[outer] = CHOICES[outer][current]()
        return super().set_params(**rest)  # type: ignore[misc]

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
        self._check_hidden()
        self._check_extra()
        self._check_effects()

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
        flat = {"hidden", "activation", "dropout"} & known if isinstance(module, str) else set()
        for name in sorted(given - known):
            raise ValueError(
                f"module__{name} has no effect with module={module!r}: its constructor takes "
                f"{sorted(known - flat) or 'no further parameters'}."
            )
        for name in sorted(given & flat):
            raise ValueError(f"module__{name} is the parameter {name!r}: set {name}=...")

    def _check_effects(self) -> None:
        """A parameter away from its default must change something."""
        changed = {
            name
            for name in self._get_param_names()
            if not _same(getattr(self, name), inspect.signature(type(self)).parameters[name].default)
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

# (parameters, when they do nothing, the reason as the message says it)
NO_EFFECT: list[tuple[set[str], Callable[[Any], bool], str]] = [
    (MIXING, lambda self: self.mix is None, "mix=None"),
    ({"alpha", "lam_per", "pair", "mix_off"}, lambda self: self.mix_prob == 0, "mix_prob=0"),
    ({"alpha", "lam_per", "pair", "mix_prob"}, lambda self: self.mix_off == 1, "mix_off=1"),
    (
        {"hidden", "activation", "dropout"},
        lambda self: self.module != "mlp",
        "a module other than 'mlp'",
    ),
    (
        {"validation_fraction", "n_iter_no_change"},
        lambda self: self.early_stopping is False,
        "early_stopping=False",
    ),
    ({"weight_decay"}, lambda self: "optimizer__weight_decay" in vars(self), "optimizer__weight_decay"),
]


def _same(value: Any, default: Any) -> bool:
    """Whether a parameter is at its default; an object or a class never equals a plain default."""
    if isinstance(value, list) and isinstance(default, tuple):
        value = tuple(value)
    plain = (str, int, float, tuple, type(None))
    return value is default or (isinstance(value, plain) and value == default)
