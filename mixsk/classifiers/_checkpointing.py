"""Fits that go on where they were interrupted: which checkpoint is whose."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from mixsk.classifiers._bagging import Folded
from mixsk.classifiers._settings import NAMES, settled
from mixsk.encoding import DatasetImages, ImageLayout
from mixsk.engine import MixNet, Part
from mixsk.engine.checkpoint import ROUGHLY, CheckpointFile, read

# Parameters that say where, how loudly or how long a network is trained, but not what becomes of it.
OF_NO_MATTER = {
    "device", "n_threads", "verbose", "time_limit", "callbacks", "checkpoint", "warm_start", "random_state",
}  # fmt: skip
IN_ENCODERS = {"n_workers", "n_jobs"}  # parameters of theirs that are likewise of no matter
ROWS, NUMBERS = 8, 1024  # of X that are looked at: so many rows, so many numbers of each
ADDRESS = re.compile("0x[0-9a-fA-F]+")  # in memory, of a function that a module shows


class Checkpointing:
    """Mixin: the checkpoint of a fit. Before `Preparation`, whose streams it may seed."""

    # Parameters and fitted attributes of the classifier.
    checkpoint: Any
    warm_start: bool
    random_state: Any
    mix_off: float
    classes_: np.ndarray
    _seed: int
    _found: dict[str, Any] | None = None  # what the file holds, while a fit is being prepared

    def _check_checkpoint(self) -> None:
        """Raise ValueError for what a checkpoint cannot go with."""
        if self.checkpoint is not None and self.warm_start:
            raise ValueError(
                "checkpoint is of one fit from its first epoch on, and warm_start=True goes on from the one "
                "before. Set one of them to its default."
            )

    def _check_incremental(self) -> None:
        """Raise ValueError for what partial_fit cannot do."""
        if self.checkpoint is not None:
            raise ValueError(
                f"checkpoint={str(self.checkpoint)!r} is written by fit, epoch by epoch; partial_fit has but "
                "one. Set checkpoint=None, and pickle the classifier instead."
            )
        super()._check_incremental()  # type: ignore[misc]

    def _start_streams(self) -> None:
        """Look for an earlier training, before anything is chosen or trained; what it drew is drawn again."""
        self._found = None if self.checkpoint is None else read(self.checkpoint)
        super()._start_streams()  # type: ignore[misc]
        if self._found is not None and not isinstance(self.random_state, Integral):
            self._seed = int(self._found["seed"])

    def _checkpoint_file(self, net: MixNet, train: Part, valid: Part | None) -> CheckpointFile | None:
        """The file of the training that is about to begin; with an earlier one's state, if it is the same.

        Raises
        ------
        ValueError
            If it is not, or if the training cannot be written.
        """
        found = self.__dict__.pop("_found", None)
        if self.checkpoint is None:
            return None
        if len(net.criterion.phases(net.max_epochs)) > 1:
            raise ValueError(
                f"label={self._label()!r} trains in phases, whose densities are not written. Use "  # type: ignore[attr-defined]
                "checkpoint=None with it."
            )
        file = CheckpointFile(self.checkpoint, self._identity(net, train, valid), self._seed, found)
        if file.found is not None and file.found["epochs"] > net.max_epochs:
            raise ValueError(
                f"checkpoint={str(self.checkpoint)!r} has {file.found['epochs']} epochs, more than "
                f"max_epochs={net.max_epochs}. Raise max_epochs, use another path, or delete the file to "
                "start anew."
            )
        return file

    def _identity(self, net: MixNet, train: Part, valid: Part | None) -> dict[str, Any]:
        """What tells this training from others, cheaply."""
        given = {
            name: value
            for name, value in self.get_params(deep=False).items()  # type: ignore[attr-defined]
            if name not in OF_NO_MATTER and not name.startswith("callbacks__")
        }
        training = settled(self, len(train))
        given |= {name: getattr(training, name) for name in NAMES}
        if training.schedule is None and not self.mix_off:
            del given["max_epochs"]  # which ends the training, and changes nothing before
        seed = self.random_state if isinstance(self.random_state, Integral) else None
        identity: dict[str, Any] = {name: described(value) for name, value in given.items()}
        identity |= {
            "the class": type(self).__name__,
            "random_state": described(seed),
            "options of the optimiser": described(training.options),
            "the classes": described(self.classes_.tolist()),
            "the network": _digest(
                f"{name} {tuple(value.shape)}"
                for part in (net.module, net.criterion.aux)
                for name, value in part.state_dict().items()
            ),
            "number of training rows": str(len(train.index)),
            "shape of an encoded row": str(tuple(train.rows.X.shape[1:])),
            "the training rows' labels": _labels(train),
            "number of validation rows": str(0 if valid is None else len(valid)),
            "the validation rows' labels": "none" if valid is None else _labels(valid),
        }
        layout = train.rows.layout
        if getattr(layout, "vocabulary", None) is not None:
            identity["the vocabulary"] = f"of hash {_digest(map(repr, layout.vocabulary))}"
        identity["samples"] = _samples("training rows", train)
        if isinstance(layout, ImageLayout):  # pixels are kept as given, and normalised by those of all rows
            scale = torch.tensor([layout.mean, layout.std], dtype=torch.float64)
            rough = ROUGHLY if isinstance(train.rows.X, DatasetImages) else ""
            identity["samples"][f"mean and deviation of pixels{rough}"] = scale
        if valid is not None:
            identity["samples"] |= _samples("validation rows", valid)
        return identity


def described(value: Any) -> str:
    """A parameter in words that are the same in every process.

    Examples
    --------
    >>> described((128, np.float64(0.5))), described(np.mean), described({"a": None})
    ('[128, 0.5]', 'numpy.mean', "{'a': None}")
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(described(v) for v in value)}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{described(k)}: {described(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (np.ndarray, torch.Tensor)):
        array = np.ascontiguousarray(torch.as_tensor(value).cpu())
        return f"array {array.shape} {_digest([array.tobytes()])}"
    if isinstance(value, (str, int, float, type(None))):
        return repr(value)
    name = getattr(value, "__qualname__", None)
    if name is not None:  # a class or a function
        return f"{value.__module__}.{name}"
    found = f"{type(value).__module__}.{type(value).__qualname__}"
    if hasattr(value, "get_params"):
        given = {k: v for k, v in value.get_params(deep=False).items() if k not in IN_ENCODERS}
        found += f"({', '.join(f'{k}={described(v)}' for k, v in given.items())})"
    if isinstance(value, nn.Module):
        found += f" of structure {_digest([ADDRESS.sub('', repr(value))])} and weights {_weights(value)}"
    return found


def _weights(network: nn.Module) -> str:
    """A hash of the weights, but for those that a lazy module does not have yet."""
    known = {
        name: value
        for name, value in network.state_dict().items()
        if isinstance(value, torch.Tensor) and not is_lazy(value)
    }
    return _digest(
        part
        for name, value in known.items()
        for part in (name, value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    )


def _digest(parts: Iterable[str | bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part.encode() if isinstance(part, str) else part)
    return found.hexdigest()[:12]


def _labels(part: Part) -> str:
    """Which rows are trained on, in which folds, and their classes."""
    folds = [index for fold in part.folds for index in fold] if isinstance(part, Folded) else []
    codes = part.rows.y.cpu().numpy()[part.index]
    return "those of hash " + _digest(
        np.ascontiguousarray(a, np.int64).tobytes() for a in (codes, part.index, *folds)
    )


def _samples(what: str, part: Part) -> dict[str, torch.Tensor]:
    """Some numbers of some rows, and some weights: compared by value, since machines round otherwise."""
    found = {}
    if not isinstance(part.rows.X, DatasetImages):  # whose images may differ from one reading to the next
        at = part.index[np.unique(np.linspace(0, len(part.index) - 1, ROWS).astype(int))]
        X = torch.as_tensor(part.rows.X[at]).flatten(1).cpu()
        X = X[:, np.unique(np.linspace(0, X.shape[1] - 1, NUMBERS).astype(int))].double()
        found[f"values of {what}"] = X
    if part.rows.w is not None:
        w = part.rows.w[torch.as_tensor(part.index, device=part.rows.w.device)].double().cpu()
        found[f"weights of {what}"] = torch.stack([w.sum(), w.square().sum(), w[0], w[-1]])
    return found
