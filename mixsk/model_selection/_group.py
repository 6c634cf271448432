"""Which fits may share a program: those that differ in numbers only."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from sklearn.pipeline import Pipeline

from mixsk.backbones import stacks
from mixsk.classifiers._bagging import one_network
from mixsk.classifiers._base import MixClassifier
from mixsk.classifiers._settings import is_auto, settled

# Numbers that each stacked model may have for itself. All else chooses the program.
OF_A_STEP = ("gamma", "label_smoothing", "clean_weight", "epsilon", "local_share", "memory")
OF_A_DRAW = ("alpha", "mix_prob", "mix_off")
OF_THE_OPTIMIZER = ("lr", "weight_decay")
SETTLED = {"gamma": "gamma_"}  # where what a classifier does with a number it may have left open
NUMBERS = (*OF_A_STEP, *OF_A_DRAW, *OF_THE_OPTIMIZER, "random_state")
ASKED = ("predict", "predict_proba", "predict_log_proba", "score")
OPTIONS = {"adam": {"betas", "eps"}, "adamw": {"betas", "eps"}, "sgd": {"momentum", "nesterov"}}


def split(estimator: Any) -> tuple[Any, Any, str]:
    """The steps before the classifier (None: none), the classifier, and the prefix of its parameters."""
    if isinstance(estimator, Pipeline) and len(estimator.steps) > 1:
        return estimator[:-1], estimator[-1], estimator.steps[-1][0] + "__"
    return None, estimator, ""


def why_not(clf: Any, sizes: Sequence[int] = ()) -> str | None:
    """Why fits of a classifier cannot be stacked, to so many rows each if that is known; None if they can."""
    if not isinstance(clf, MixClassifier):
        return f"{type(clf).__name__} is not one of mixsk's networks"
    ours = ("mixsk.", "sklearn.")
    own = [name for name in ("fit", *ASKED) if not getattr(type(clf), name).__module__.startswith(ours)]
    if own:
        return f"{type(clf).__name__} has a {own[0]} of its own"
    if callable(clf.schedule):
        return "a schedule of your own may look at the optimizer"
    if not stacks(clf.module):
        kind = f"module={clf.module!r}" if isinstance(clf.module, str) else "a module of your own"
        return f"{kind} has no model axis"
    options = {name[len("optimizer__") :] for name in vars(clf) if name.startswith("optimizer__")}
    training = settled(clf, None)
    optimizer, options = training.optimizer, options | training.options.keys()
    if not isinstance(optimizer, str) or not options <= OPTIONS[optimizer]:
        return f"optimizer={optimizer!r} with {sorted(options)} has no stacked form"
    for name, idle in (
        ("callbacks", None), ("verbose", 0), ("time_limit", None), ("warm_start", False), ("n_members", 1),
        ("amp", None), ("accumulate", 1), ("ema", None), ("checkpoint", None),
    ):  # fmt: skip
        if getattr(clf, name) != idle:
            return f"{name}={getattr(clf, name)!r} is for a fit of its own"
    if clf._calibrates(1) and any(clf._settled_n_cv(n_rows) == 1 for n_rows in sizes):
        return f"calibrate={clf.calibrate!r} is for a fit of its own"
    if getattr(clf, "density", None) == "cv":
        return "density='cv' runs a cross-validation of its own"
    if is_auto(getattr(clf, "gamma", None)) and clf.density_schedule == "once" and clf.density != "nn-label":
        return "gamma='auto' trains networks of its own"
    return one_network(clf)


def model_epochs(clf: Any, n_rows: int) -> int:
    """Epochs that the networks of a fit to so many rows have in all, if nothing ends one early."""
    n_cv = clf._settled_n_cv(n_rows)
    trained = n_rows if n_cv == 1 else max(1, n_rows - -(-n_rows // n_cv))
    return int(n_cv * settled(clf, trained).max_epochs)


def key(estimator: Any) -> str:
    """Equal for estimators that differ only in numbers that may be stacked."""
    before, clf, _ = split(estimator)
    params = clf.get_params(deep=False)
    kept = {name: plain(value) for name, value in params.items() if name not in NUMBERS}
    # Without weight in one of them a clean term, or smoothing, would be computed for nothing.
    kept["terms"] = [bool(params.get(name)) for name in ("clean_weight", "label_smoothing")]
    return repr((type(clf), sorted(kept.items()), plain(before)))


def plain(value: Any) -> Any:
    if hasattr(value, "get_params"):
        return type(value), sorted((k, plain(v)) for k, v in value.get_params(deep=False).items())
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return value if isinstance(value, (str, int, float, bool, type(None), type, dict)) else id(value)


def merged(prepared: Any, classifiers: list[Any], dtype: torch.dtype) -> Any:
    """What is prepared for some classifiers, with a tensor (M,) where their numbers of a step differ."""
    one = copy(prepared)
    one.alpha = prepared._alpha()  # draws take theirs from each source
    for name in OF_A_STEP:
        values = [getattr(clf, SETTLED.get(name, name), None) for clf in classifiers]
        if any(value != values[0] for value in values):
            setattr(one, name, torch.tensor(values, dtype=dtype))
        elif hasattr(one, name):
            setattr(one, name, values[0])
    return one
