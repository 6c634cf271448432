"""From the user's X, y and weights to encoded rows: all that happens before a net is trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.utils import _safe_indexing, check_array, check_random_state

from mixsk.classifiers._data import (
    check_labels,
    check_lengths,
    check_weights,
    class_weights,
    encode_labels,
    validation_split,
)
from mixsk.classifiers._table import ENCODERS
from mixsk.encoding import Layout
from mixsk.engine import Part
from mixsk.rules import Rows, State

# Streams of random numbers, each with its own seed.
WEIGHTS, ORDER, DRAWS, DROPOUT, SPLIT = range(5)
AUTO_EARLY_STOPPING = 1000  # rows from which a tenth of them is worth more as validation rows


class Preparation:
    """Mixin: checks, classes, seeds, encoding, validation rows and label weights."""

    # Parameters and fitted attributes of the classifier.
    encoder: Any
    encoder_: Any
    classes_: np.ndarray

    def _check_rows(self, X: Any, y: Any, sample_weight: Any) -> tuple[Any, np.ndarray, np.ndarray | None]:
        """X, labels and weights of the rows that have weight."""
        y = check_labels(y, type(self).__name__)
        check_lengths(X, y)
        w = check_weights(sample_weight, X, type(self).__name__)
        if w is not None and not w.all():
            kept = np.flatnonzero(w)
            X, y, w = _safe_indexing(X, kept), y[kept], w[kept]
        return X, y, w

    def _set_classes(self, classes: np.ndarray) -> None:
        if len(classes) < 2:
            raise ValueError(
                f"Classifier can't train when only one class is present: every row of y is "
                f"{classes.tolist()[0]!r}. {type(self).__name__} needs at least 2 classes."
            )
        self.classes_ = classes

    def _check_incremental(self) -> None:
        """Raise ValueError for what partial_fit cannot do."""
        for name, idle, why in (
            ("class_weight", self.class_weight == "balanced", "counts all rows"),
            ("schedule", self.schedule is not None, "needs the number of epochs"),
            ("mix_off", self.mix_off > 0, "needs the number of epochs"),
            ("drop_intrusions", self.drop_intrusions, "compares with all training rows"),
        ):
            if idle:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} {why}, which partial_fit never sees. Use fit, or leave "
                    f"{name} at its default."
                )

    def _start_streams(self) -> None:
        """Seeds of this estimator's own streams; call k of fit or partial_fit spawns from (seed, k)."""
        # random_state=None must not advance numpy's global state, which is not ours to touch.
        if self.random_state is None:
            self._seed = int(np.random.SeedSequence().entropy) % 2**63
        else:
            self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self._calls = 0

    def _stream(self, kind: int) -> np.random.SeedSequence:
        """Seed of one stream of this call: changing alpha does not change the initial weights."""
        return np.random.SeedSequence(self._seed, spawn_key=(self._calls, kind))

    def _encode(self, X: Any, refit: bool = False) -> np.ndarray:
        if refit:
            self.encoder_ = ENCODERS[self.encoder]() if isinstance(self.encoder, str) else clone(self.encoder)
            encoded = self._encoded(self.encoder_.fit_transform(X))
            for name in ("n_features_in_", "feature_names_in_"):
                if hasattr(self.encoder_, name):
                    setattr(self, name, getattr(self.encoder_, name))
                elif hasattr(self, name):
                    delattr(self, name)
            return encoded
        return self._encoded(self.encoder_.transform(X))

    def _encoded(self, encoded: Any) -> np.ndarray:
        """What the encoder returned, writable; a user's own is checked."""
        if not isinstance(self.encoder, str):
            encoded = check_array(encoded, dtype=[np.float32, np.float64], input_name="the encoder's output")
        return np.require(encoded, requirements="W")

    def _rows(
        self, encoded: np.ndarray, codes: np.ndarray, w: np.ndarray | None, device: torch.device
    ) -> Rows:
        X = torch.as_tensor(encoded, dtype=getattr(torch, self.dtype)).to(device)
        self._width = X.shape[1]
        layout = getattr(self.encoder_, "layout_", None) or Layout.of_numbers(X.shape[1])
        weights = None if w is None else torch.as_tensor(w, dtype=X.dtype, device=device)
        return Rows(X, torch.as_tensor(codes, device=device), weights, len(self.classes_), layout)

    def _split(self, rows: Rows, X_val: Any, y_val: Any, sample_weight_val: Any) -> tuple[Part, Part | None]:
        """Training and validation parts."""
        n_rows = len(rows.y)
        everything = np.arange(n_rows)
        if X_val is None:
            if y_val is not None or sample_weight_val is not None:
                raise ValueError("y_val and sample_weight_val need X_val: pass the rows they belong to.")
            stop = n_rows >= AUTO_EARLY_STOPPING if self.early_stopping == "auto" else self.early_stopping
            if not stop:
                return Part(rows, everything), None
            rng = np.random.default_rng(self._stream(SPLIT))
            train, valid = validation_split(rows.y.cpu().numpy(), self.validation_fraction, rng)
            if valid is None:
                raise ValueError(
                    "early_stopping=True needs a class with at least two rows to hold one out. Set "
                    "early_stopping=False, or pass X_val and y_val."
                )
            return Part(rows, train), Part(rows, valid)
        if y_val is None:
            raise ValueError("X_val needs y_val: pass the labels of the validation rows.")
        y_val = check_labels(y_val, type(self).__name__)
        check_lengths(X_val, y_val)
        w = check_weights(sample_weight_val, X_val, type(self).__name__)
        codes = encode_labels(y_val, self.classes_, "y_val")
        valid_rows = self._rows(self._encode(X_val), codes, w, rows.X.device)
        return Part(rows, everything), Part(valid_rows, np.arange(len(codes)))

    def _weigh(self, train: Part) -> State:
        """Scale the label weights to mean 1 over the training rows; count the classes."""
        rows = train.rows
        y = rows.y[train.index].cpu().numpy()
        w = None if rows.w is None else rows.w[train.index].double().cpu().numpy()
        per_class = class_weights(self.class_weight, y, w, self.classes_)
        total = np.ones(len(y)) if w is None else w
        counts = np.bincount(y, total, minlength=rows.n_classes)
        scale = np.mean(total if per_class is None else total * per_class[y])
        if rows.w is not None:
            rows.w = rows.w / scale
        elif per_class is not None:
            per_class = per_class / scale
        tensor = None if per_class is None else torch.as_tensor(per_class).to(rows.X)
        return State(
            torch.as_tensor(counts, device=rows.X.device), tensor, w is not None or tensor is not None
        )
