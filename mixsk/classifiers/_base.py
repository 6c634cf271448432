"""What every mixup classifier shares: from X and y to a trained net, and from X to probabilities.

The estimator holds its skorch net in `net_` (composition): a subclass of skorch's own classifier
fails 22 of scikit-learn's checks. No maths here: that is in `mixsk.rules`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.validation import check_is_fitted

from mixsk.classifiers._callbacks import (
    CallbackSupportMixin,
    EpochBridge,
    close_context,
    open_context,
    with_callbacks,
)
from mixsk.classifiers._data import (
    check_labels,
    check_lengths,
    check_weights,
    class_weights,
    encode_labels,
    validation_split,
)
from mixsk.classifiers._network import make_backbone, make_net, pick_device
from mixsk.classifiers._params import ENCODERS, ParamsMixin
from mixsk.encoding import Layout
from mixsk.engine import MixNet, Part, TrainingBatches
from mixsk.rules import Rows, Spec, State, mixing_sites

WEIGHTS, ORDER, DRAWS, DROPOUT, SPLIT = range(5)
AUTO_EARLY_STOPPING = 1000  # rows from which a tenth of them is worth more as validation rows


class MixClassifier(ParamsMixin, CallbackSupportMixin, ClassifierMixin, BaseEstimator):
    """Base of the classifiers; a subclass lists its parameters and says what its label is."""

    # ---- what a method says of itself

    def _label(self) -> Any:
        """The target: a name or an object for the recipe."""
        return self.label

    def _lam_per(self) -> str:
        """Whether lam is drawn per batch or per sample."""
        return self.lam_per or "batch"

    def _alpha(self) -> float:
        """Beta parameter: the user's, or the value of the paper that the choice comes from."""
        if self.alpha is not None:
            return self.alpha
        if self.clean_weight > 0:
            return 20.0  # RegMixup on CIFAR-10
        return 2.0 if self.mix_at in ("any", "hidden") else 1.0  # manifold mixup; GenLabel's tables

    # ---- scikit-learn's face

    @with_callbacks
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Train on X and y.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            Numbers, booleans, strings or categories; missing values are allowed.
        y : array-like of shape (n_samples,)
            Class labels of any type.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0; a row of weight 0 is left out.
        X_val, y_val : array-like, default=None
            Validation rows for early stopping, instead of a share of X.
        sample_weight_val : array-like, default=None
            Their weights.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Before any training, for data or parameters that cannot be used.
        FloatingPointError
            If the loss is no longer finite; the last finite weights are kept.
        """
        given = X, y
        with self._nothing_lost():
            self._check_params()
            device = pick_device(self.device)
            again = self.warm_start and hasattr(self, "net_")
            X, y, w = self._check_rows(X, y, sample_weight)
            if not again:
                self._set_classes(np.unique(y))
                self._start_streams()
            codes = encode_labels(y, self.classes_)
            rows = self._rows(self._encode(X, refit=not again), codes, w, device)
            train, valid = self._split(rows, X_val, y_val, sample_weight_val)
            state = self._weigh(train)
            net = self._new_net(rows, keep_weights=again)
            net.criterion.bind(train.copied, state)
            context = open_context(self, self.max_epochs, *given)
            if context is not None:
                net.callbacks = [*net.callbacks, ("scikit_learn", EpochBridge(self, context, *given))]
            net.initialize()
        self.net_, self._epochs = net, self._epochs if again else []
        self._train(train, valid, self.max_epochs)
        net.callbacks_ = [pair for pair in net.callbacks_ if pair[0] != "scikit_learn"]
        close_context(context, self, *given)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Any:
        """Train one epoch on X and y.

        The encoder, and with it the width of the net, is fitted by the first call.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        classes : array-like of shape (n_classes,), default=None
            All labels that will come; needed in the first call.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For `class_weight="balanced"`, `schedule` or `mix_off`, which need the whole training.
        """
        with self._nothing_lost():
            self._check_params()
            self._check_incremental()
            first = not hasattr(self, "net_")
            if first and classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            X, y, w = self._check_rows(X, y, sample_weight)
            if first:
                self._set_classes(np.unique(check_labels(classes, type(self).__name__)))
                self._start_streams()
            elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
                raise ValueError(
                    f"classes={np.unique(classes).tolist()} is not the same as on the last call to "
                    f"partial_fit, was {self.classes_.tolist()}."
                )
            device = pick_device(self.device) if first else _device_of(self.net_)
            codes = encode_labels(y, self.classes_)
            rows = self._rows(self._encode(X, refit=first), codes, w, device)
            part = Part(rows, np.arange(len(codes)))
            state = self._weigh(part)
            if first:
                net = self._new_net(rows, keep_weights=False)
                net.criterion.bind(part.copied, state)
                self.net_, self._epochs = net.initialize(), []
            else:
                self._extend(part, state)
        self._train(part, None, 1)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict class labels.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        codes = self._logits(X).argmax(-1).numpy()
        return self.classes_[codes]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            Columns in the order of `classes_`; rows sum to 1.
        """
        return torch.softmax(self._logits(X), -1).numpy()

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Predict the logarithm of class probabilities, also where they underflow.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
        """
        return torch.log_softmax(self._logits(X), -1).numpy()

    @property
    def history_(self) -> pd.DataFrame:
        """One row an epoch: epoch, phase, train_loss, valid_loss and valid_acc if any, dur (seconds)."""
        check_is_fitted(self)
        return pd.DataFrame(self._epochs)

    @property
    def n_iter_(self) -> int:
        """Epochs run."""
        check_is_fitted(self)
        return len(self._epochs)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "net_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        table = self.encoder == "auto"
        tags.input_tags.allow_nan = table
        tags.input_tags.sparse = table
        tags.input_tags.categorical = table
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Parameters, weights as arrays and the encoder: no device, no code of ours."""
        state = dict(super().__getstate__())
        net = state.pop("net_", None)
        if net is not None:
            weights = net.module_.state_dict()
            state["_weights"] = {name: value.cpu().numpy() for name, value in weights.items()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        weights = state.get("_weights")
        super().__setstate__({name: value for name, value in state.items() if name != "_weights"})
        if weights is not None:
            try:
                device = pick_device(self.device)
            except ValueError:  # trained on a GPU, loaded where there is none
                device = torch.device("cpu")
            example = torch.zeros(2, self._width, dtype=getattr(torch, self.dtype), device=device)
            backbone = make_backbone(self, example, len(self.classes_), seed=0)
            backbone.load_state_dict({name: torch.as_tensor(value) for name, value in weights.items()})
            self.net_ = make_net(self, backbone).initialize()

    # ---- the parts of fit

    @contextmanager
    def _nothing_lost(self) -> Iterator[None]:
        """If preparing fails, the estimator is what it was: bad input does not cost a fitted model."""
        before = dict(vars(self))
        try:
            yield
        except Exception:
            vars(self).clear()
            vars(self).update(before)
            raise

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

    def _encode(self, X: Any, refit: bool) -> Any:
        if refit:
            self.encoder_ = ENCODERS[self.encoder]() if isinstance(self.encoder, str) else clone(self.encoder)
            encoded = self.encoder_.fit_transform(X)
            for name in ("n_features_in_", "feature_names_in_"):
                if hasattr(self.encoder_, name):
                    setattr(self, name, getattr(self.encoder_, name))
                elif hasattr(self, name):
                    delattr(self, name)
            return encoded
        return self.encoder_.transform(X)

    def _rows(self, encoded: Any, codes: np.ndarray, w: np.ndarray | None, device: torch.device) -> Rows:
        X = torch.as_tensor(np.asarray(encoded), dtype=getattr(torch, self.dtype)).to(device)
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
        valid_rows = self._rows(self.encoder_.transform(X_val), codes, w, rows.X.device)
        return Part(rows, everything), Part(valid_rows, np.arange(len(codes)))

    def _new_net(self, rows: Rows, keep_weights: bool) -> MixNet:
        """A net whose recipe is not bound yet, with new weights or those of `net_`."""
        seed = int(self._stream(WEIGHTS).generate_state(1)[0])
        if keep_weights:
            return make_net(self, self.net_.module_)
        return make_net(self, make_backbone(self, rows.X[:2], rows.n_classes, seed))

    def _extend(self, part: Part, state: State) -> None:
        """Let the recipe of `net_` learn from more rows."""
        recipe = self.net_.criterion_
        if hasattr(self, "density_"):  # after unpickling the recipe is a new one
            recipe.label.density_ = self.density_
        recipe.state.class_counts = torch.as_tensor(self._class_counts).to(state.class_counts)
        recipe.extend(part.copied, state)

    def _train(self, train: Part, valid: Part | None, epochs: int) -> None:
        """Run `epochs` of `net_` and keep its history, whatever ends them."""
        order, draws = (np.random.default_rng(self._stream(kind)) for kind in (ORDER, DRAWS))
        recipe = self.net_.criterion_
        batches = TrainingBatches(train, recipe, self.batch_size, order, draws)
        if self.mix_off:
            recipe.hyper["mix_until"] = round((1 - self.mix_off) * epochs) * len(batches)
        self._class_counts = recipe.state.class_counts.cpu().numpy()
        if hasattr(recipe.label, "density_"):
            self.density_ = recipe.label.density_
        n_before = len(self.net_.history)
        try:
            with self._torch_settings(int(self._stream(DROPOUT).generate_state(1)[0])):
                self.net_.partial_fit((batches, valid), epochs=epochs)
        finally:
            self._calls += 1
            self._epochs = [*self._epochs, *_records(self.net_.history[n_before:])]
        if self.net_.stop_ == "interrupted":
            warnings.warn("Training was interrupted; the model keeps what it has learnt.", stacklevel=3)

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

    @contextmanager
    def _torch_settings(self, seed: int) -> Iterator[None]:
        """Our seed for dropout and our thread count; the user's own again afterwards."""
        device = pick_device(self.device)
        with self._threads(), torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.random.manual_seed(seed)
            yield

    @contextmanager
    def _threads(self) -> Iterator[None]:
        before = torch.get_num_threads()
        if self.n_threads is not None:
            torch.set_num_threads(self.n_threads)
        try:
            yield
        finally:
            if self.n_threads is not None:
                torch.set_num_threads(before)

    def _logits(self, X: Any) -> torch.Tensor:
        """Logits of rows X, float64 (n, C)."""
        check_is_fitted(self)
        encoded = self.encoder_.transform(X)
        rows = self._rows(encoded, np.zeros(len(encoded), np.int64), None, _device_of(self.net_))
        with self._threads():
            return self.net_.predict_logits(Part(rows, np.arange(len(encoded))))[0].double()

    def _spec(self, n_stages: int) -> Spec:
        """The recipe's structure and numbers."""
        return Spec(
            mix=self.mix,
            sites=(0,) if self.mix is None else mixing_sites(self.mix_at, n_stages),
            n_stages=n_stages,
            lam_per=self._lam_per(),
            pair=self.pair,
            label=self._label() if self.mix is not None else "linear",
            drop_intrusions=self.drop_intrusions,
            hyper={
                "alpha": self._alpha(),
                "mix_prob": self.mix_prob,
                "label_smoothing": self.label_smoothing,
                "clean_weight": self.clean_weight,
            },
        )


def _device_of(net: MixNet) -> torch.device:
    return next(net.module_.parameters()).device


def _records(history: Any) -> list[dict[str, Any]]:
    """skorch's history without its batches."""
    return [{name: value for name, value in epoch.items() if name != "batches"} for epoch in history]
