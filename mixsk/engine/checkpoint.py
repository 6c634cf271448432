"""What a training needs to go on as if it had never been interrupted, in one file.

Weights, optimiser, counters and torch's random state are written. The order of the rows and the draws are
not: they come from seeds, and are drawn again up to the place where the training goes on. A file holds
tensors, numbers, strings, lists and dicts only, so that loading it runs no code.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections import Counter, deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import torch
from torch import Tensor

FORMAT = 1
KIND = "mixsk checkpoint"
RTOL, ATOL = 1e-4, 1e-6  # of encoded numbers, which another machine may round otherwise
ROUGHLY = ", roughly"  # ends the name of numbers that differ from one reading of a Dataset to the next
ROUGH = 0.1
HINT = (
    "A checkpoint belongs to one fit (in a search or a cross-validation each would need a file of its own): "
    "use another path, or delete the file to start anew."
)
DAMAGED = (
    "checkpoint={!r} cannot be read: it is no checkpoint, or damaged. Use another path, or delete the file "
    "to start anew."
)


def read(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What a file holds; None if there is none yet.

    Raises
    ------
    ValueError
        If the file is no checkpoint, or none can be written there.
    """
    file = Path(path)
    if file.is_dir():
        raise ValueError(
            f"checkpoint={str(path)!r} is a folder. Name a file in it, such as {str(file / 'fit.pt')!r}."
        )
    if not file.parent.is_dir():
        raise ValueError(f"checkpoint={str(path)!r} is in a folder that does not exist. Make it first.")
    if not os.access(file.parent, os.W_OK):
        raise ValueError(
            f"checkpoint={str(path)!r} is in a folder that cannot be written to. Use another path."
        )
    if not file.exists():
        return None
    try:
        with ZipFile(file) as whole:  # whose sums torch does not check
            damaged = whole.testzip()
        found = None if damaged else torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # of zip files, pickles and types, many kinds
        raise ValueError(DAMAGED.format(str(path))) from error
    if damaged:
        raise ValueError(DAMAGED.format(str(path)))
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise ValueError(
            f"checkpoint={str(path)!r} exists, and is no checkpoint of mixsk. Use another path: it would be "
            "overwritten."
        )
    if found.get("format") != FORMAT:
        raise ValueError(
            f"checkpoint={str(path)!r} has format {found.get('format')}, and this version of mixsk knows "
            f"format {FORMAT}. Use the version that wrote it, another path, or delete the file to start anew."
        )
    return found


class CheckpointFile:
    """The file of one training.

    Parameters
    ----------
    path : path
    identity : dict
        Strings by name, and in "samples" tensors, that tell this training from others.
    seed : int
        Of the streams.
    found : dict or None
        What `read` gave.

    Raises
    ------
    ValueError
        If what was found is of another training.
    """

    def __init__(self, path: Any, identity: dict[str, Any], seed: int, found: dict[str, Any] | None) -> None:
        self.path = Path(path)
        self.head = {"kind": KIND, "format": FORMAT, "identity": identity, "seed": seed}
        self.found = None if found is None else found["state"]
        self.known = _signature(self.path)
        if found is not None:
            differing = differences(found["identity"], identity)
            if differing:
                raise ValueError(
                    f"checkpoint={str(path)!r} is of another fit: {'; '.join(differing)}. {HINT}"
                )

    def save(self, state: dict[str, Any]) -> None:
        """Write a state; the file holds the one before, or this one, whatever happens meanwhile."""
        if self.known == "another's":
            return
        if _signature(self.path) not in (None, self.known):
            warnings.warn(
                f"Another fit has written to checkpoint={str(self.path)!r}; this one goes on without it, and "
                f"leaves it alone. {HINT}",
                UserWarning,
                stacklevel=2,
            )
            self.known = "another's"
            return
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
        try:
            with beside.open("wb") as file:
                torch.save({**self.head, "state": plain(state)}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self.path)
        finally:
            beside.unlink(missing_ok=True)
        self.known = _signature(self.path)


def _signature(path: Path) -> Any:
    """Changes when somebody writes the file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What tells two trainings apart, in words.

    Examples
    --------
    >>> differences({"lr": "0.1", "samples": {}}, {"lr": "0.2", "samples": {}})
    ['lr was 0.1 and is 0.2']
    """
    names = sorted((then.keys() | now.keys()) - {"samples"})
    found = [
        f"{name} was {_short(then.get(name))} and is {_short(now.get(name))}"
        for name in names
        if then.get(name) != now.get(name)
    ]
    if not found:  # of other rows, values cannot be compared
        for name in sorted(then["samples"].keys() | now["samples"].keys()):
            old, new = (side["samples"].get(name, torch.zeros(0)) for side in (then, now))
            rtol = ROUGH if name.endswith(ROUGHLY) else RTOL
            if old.shape != new.shape or not torch.allclose(old, new, rtol, ATOL, equal_nan=True):
                found.append(f"{name.removesuffix(ROUGHLY)} are not the same")
    return found


def _short(value: Any) -> str:
    text = "not there" if value is None else str(value)
    return text if len(text) < 100 else text[:97] + "..."


def plain(value: Any) -> Any:
    """The value in types that can be loaded without running code.

    Raises
    ------
    TypeError
        If it has none.
    """
    if isinstance(value, Tensor):
        return value.detach()
    if value is None or type(value) in (bool, int, float, str, bytes, Counter):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return torch.as_tensor(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, deque)):
        return [plain(item) for item in value]
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    raise TypeError(f"{type(value).__name__} cannot be written without code")


def captured(net: Any, first_epoch: int) -> dict[str, Any]:
    """The state of a net between two epochs, of a training that began at `first_epoch` of its history.

    Raises
    ------
    TypeError
        If the optimiser or the scheduler has a state that cannot be written.
    """
    patience, device = net.patience_, torch.device(net.device)
    return plain(
        {
            "epochs": len(net.history) - first_epoch,
            "stop": net.stop_,
            "weights": net.module_.state_dict(),
            "aux": net.criterion_.aux.state_dict(),
            "optimizer": net.optimizer_.state_dict(),
            "scheduler": net.scheduler_ and net.scheduler_.state_dict(),
            "scaler": net.scaler_ and net.scaler_.state_dict(),
            "average": net.average_ and net.average_.state_dict(),
            "patience": patience
            and {
                "best": patience.best_weights.kept,
                "loss": patience.best_loss,
                "waited": patience.waited,
                "epochs": patience.epochs,
            },
            "rules": {name: rule.get_extra_state() for name, rule in _remembering(net.criterion_)},
            "history": [_record(epoch) for epoch in net.history[first_epoch:]],
            "lowest": net.best_,
            "random": {
                "cpu": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
            },
        }
    )


def put_back(net: Any, state: dict[str, Any], batches: Any) -> int:
    """Let a net that is about to begin, and its batches, go on from a state; the epochs that it has had."""
    device = torch.device(net.device)
    net.module_.load_state_dict(state["weights"])
    net.criterion_.aux.load_state_dict(state["aux"])
    net.optimizer_.load_state_dict(state["optimizer"])
    for part, own in ((net.scheduler_, state["scheduler"]), (net.scaler_, state["scaler"])):
        if part is not None:
            part.load_state_dict(own)
    if net.average_ is not None:
        net.average_.load_state_dict(state["average"])
    if net.patience_ is not None:
        kept = net.patience_.best_weights.kept
        for own, best in zip(kept, state["patience"]["best"], strict=True):
            own.copy_(best)
        net.patience_.best_loss = state["patience"]["loss"]
        net.patience_.waited = state["patience"]["waited"]
        net.patience_.epochs = state["patience"]["epochs"]
    for name, rule in _remembering(net.criterion_):
        rule.set_extra_state([value.to(device) for value in state["rules"][name]])
    net.history.extend(state["history"])
    net.best_.update(state["lowest"])
    net.stop_ = state["stop"]
    net.finite_.update()
    net.finite_epoch_ = len(net.history)
    batches.skip(state["epochs"] * len(batches))
    torch.set_rng_state(state["random"]["cpu"])
    if device.type == "cuda" and state["random"]["cuda"] is not None:
        torch.cuda.set_rng_state(state["random"]["cuda"], device)
    return int(state["epochs"])


def _remembering(recipe: Any) -> list[tuple[str, Any]]:
    """Rules that remember tensors of earlier batches outside of their networks and buffers."""
    rules = {"mask": recipe.mask, "label": recipe.label, "objective": recipe.method}
    return [(name, rule) for name, rule in rules.items() if hasattr(rule, "get_extra_state")]


def _record(epoch: Mapping[str, Any]) -> dict[str, Any]:
    """An epoch of the history, without its batches and what callbacks put there that cannot be written."""
    kept: dict[str, Any] = {}
    for name, value in {**epoch, "batches": []}.items():
        try:
            kept[name] = plain(value)
        except TypeError:
            continue
    return kept
