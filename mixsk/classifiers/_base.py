"""What every mixup classifier shares: from X and y to a trained net.

The estimator holds its skorch net in `net_` (composition): a subclass of skorch's own classifier
fails 22 of scikit-learn's checks. No maths here: that is in `mixsk.rules`.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from mixsk.backbones import Backbone, Training, seeded
from mixsk.classifiers._bagging import Bagging, Folded, side_by_side
from mixsk.classifiers._calibration import Calibration
from mixsk.classifiers._callbacks import (
    CallbackSupportMixin,
    EpochBridge,
    close_context,
    open_context,
    with_callbacks,
)
from mixsk.classifiers._checkpointing import Checkpointing
from mixsk.classifiers._data import check_labels, encode_labels
from mixsk.classifiers._network import _prefixed, device_of, make_backbone, make_net, pick_device
from mixsk.classifiers._params import ParamsMixin
from mixsk.classifiers._pickling import Pickling
from mixsk.classifiers._predicting import Predicting
from mixsk.classifiers._prepare import DROPOUT, WEIGHTS, Preparation
from mixsk.classifiers._rollback import nothing_lost
from mixsk.classifiers._settings import input_site, is_auto, settled, stages_mixed, structure, usual
from mixsk.classifiers._trial import try_recipe
from mixsk.engine import MixNet, Part
from mixsk.rules import Rows, Spec, State, mixing_sites

# What the network and its inputs are made of: fixed once it has weights.
STRUCTURE = {"module", "hidden", "activation", "encoder", "dtype", "n_members", "n_cv"}
LEARNT = (KeyboardInterrupt, FloatingPointError)  # ends of a training that keep what was learnt


class MixClassifier(
    Checkpointing,
    Predicting,
    Pickling,
    Preparation,
    Bagging,
    Calibration,
    ParamsMixin,
    CallbackSupportMixin,
    ClassifierMixin,
    BaseEstimator,
):
    """Base of the classifiers; a subclass lists its parameters and says what its label is."""

    _n_train: int | None = None  # rows of an epoch; None where no call knows of all rows
    _structure: dict[str, Any] = {}  # options of the network that the table decided

    # ---- what a method says of itself

    def _label(self) -> Any:
        """The target: a name or an object for the recipe."""
        return self.label

    def _loss(self) -> Any:
        """The loss: a name or an object for the recipe."""
        return "cross_entropy"

    def _objective(self) -> Any:
        """The objective: a name or an object for the recipe."""
        return "mixed"

    def _alternate(self) -> bool:
        """Whether every other step is trained without mixing."""
        return False

    def _lam_per(self) -> str:
        """Whether lam is drawn per batch or per sample."""
        return self.lam_per or "batch"

    def _alpha(self) -> float:
        """Beta parameter: the user's, or the value of the paper that the choice comes from."""
        if self.alpha is not None:
            return self.alpha
        own = usual(self.module, self._n_train)
        if own.alpha is not None and is_auto(self.mix) and self._mix() == own.mix:
            few = own.alpha_rows is None or self._n_train is None
            return own.alpha if few else own.alpha * min(1.0, own.alpha_rows / self._n_train) ** 0.5
        if self.clean_weight > 0:
            return 20.0  # RegMixup on CIFAR-10
        return 1.0 if self._at_input() else 2.0  # GenLabel's tables; manifold mixup

    def _at_input(self) -> bool:
        site = input_site(self.module)
        return self.mix_at in ("input", "embedding", site, [site], (site,))

    def _mix(self) -> Any:
        """The mask: the user's, or the network's own, which is for its input."""
        if not is_auto(self.mix):
            return self.mix
        return usual(self.module).mix if self._at_input() else "linear"

    # ---- scikit-learn's face

    @with_callbacks
    def fit(
        self,
        X: Any,
        y: Any = None,
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
            Numbers, booleans, strings or categories; missing values are allowed. For a network of text a
            list, array or Series of n_samples strings, a DataFrame of one such column, or codes of words. For
            a network of images an array of shape (n, H, W), (n, H, W, C) or (n, C, H, W), rows of pixels with
            `encoder=ImageEncoder(shape=...)`, or a `torch.utils.data.Dataset`.
        y : array-like of shape (n_samples,), default=None
            Class labels of any type. None: those of a Dataset whose items are (image, label).
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
        Exception
            Whatever the items of a Dataset or callbacks raise; the classifier is then what it was before.
        """
        start, given = time.perf_counter(), (X, y)
        again = self.warm_start and hasattr(self, "net_")
        with nothing_lost(self, LEARNT, again):
            with nothing_lost(self):
                train, valid, net = self._prepare(X, y, sample_weight, X_val, y_val, sample_weight_val, again)
                net.plan = replace(net.plan, checkpoint=self._checkpoint_file(net, train, valid))
                temperature = self._fit_temperature(X, y, sample_weight)
                context = open_context(self, net.max_epochs, *given)
                if context is not None:
                    net.callbacks = [*net.callbacks, ("scikit_learn", EpochBridge(self, context, *given))]
                net.initialize()
                self._keep(net, self._epochs if again else [])
                self._temperature = temperature
            if self.time_limit is not None:  # choices, folds and encoding have had their part of it
                net.plan = replace(
                    net.plan, time_limit=max(0.0, self.time_limit - (time.perf_counter() - start))
                )
            try:
                self._train(train, valid, net.max_epochs)
                if isinstance(train, Folded) and self._calibrates(self._n_folds):
                    self._temperature = self._held_out_temperature(train)
            finally:
                net.callbacks_ = [pair for pair in net.callbacks_ if pair[0] != "scikit_learn"]
                net.plan = replace(net.plan, checkpoint=None)
        close_context(context, self, *given)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Any:
        """Train one epoch on X and y.

        The encoder, and with it the width of the net, is fitted by the first call. After a `fit` in several
        folds (`n_cv="auto"`) each of its networks is trained on the new rows, and its temperature stays.

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
        Exception
            Whatever the items of a Dataset or callbacks raise; the network is then what it was before. What
            the method has counted and fitted of these rows (classes, a density) stays.
        """
        with nothing_lost(self, LEARNT, hasattr(self, "net_")):
            with nothing_lost(self):
                self._check_params()
                self._check_incremental()
                first = not hasattr(self, "net_")
                if not first:
                    self._check_structure("partial_fit")
                if first and classes is None:
                    raise ValueError("classes must be passed on the first call to partial_fit.")
                X, y, w = self._check_rows(X, y, sample_weight, first)
                if first:
                    self._set_classes(np.unique(check_labels(classes, type(self).__name__)))
                    self._start_streams()
                elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
                    raise ValueError(
                        f"classes={np.unique(classes).tolist()} is not the same as on the last call to "
                        f"partial_fit, was {self.classes_.tolist()}."
                    )
                device = pick_device(self.device) if first else device_of(self.net_)
                self._dtype_name = self.dtype
                codes = encode_labels(y, self.classes_)
                encoded = self._encode(X, y if first else None)
                if first and len(y) > 1:
                    self._warn_constant(encoded)
                rows = self._rows(encoded, codes, w, device)
                part = Part(rows, np.arange(len(codes)))
                state = self._weigh(part, first=first)
                if not is_auto(self.calibrate):  # else that of networks in folds, if there are such, goes on
                    self._temperature = 1.0
                if first:
                    self._structure = self._structure_for(part, None)
                    net = self._new_net(rows, settled(self, None), keep_weights=False)
                    _bind(net.module, part)
                    net.criterion.bind(part.copied, state)
                    self._keep(net.initialize(), [])
                else:
                    self._extend(part, state)
            self._train(part, None, 1)
        return self

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
        kind = self._kind()
        text, table, image = kind == "text", kind == "table" and self.encoder == "auto", kind == "image"
        tags.input_tags.three_d_array = image
        # Rows of pixels are images for an encoder that knows their shape.
        tags.input_tags.two_d_array = not image or getattr(self.encoder, "shape", None) is not None
        tags.input_tags.string = text
        tags.input_tags.positive_only = text  # codes of words
        tags.input_tags.allow_nan = table
        tags.input_tags.sparse = table
        tags.input_tags.categorical = table or text
        return tags

    # ---- the parts of fit

    def _prepare(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
        again: bool = False,
    ) -> tuple[Part, Part | None, MixNet]:
        """Training and validation rows, and a net whose recipe is bound to them: fit up to its first step.

        `again` keeps the classes, the encoder and the weights.
        """
        self._check_params()
        if again:
            self._check_structure("warm_start")
            self._check_lone()
        device = pick_device(self.device)
        self._dtype_name = self.dtype
        X, y, w = self._check_rows(X, y, sample_weight)
        if not again:
            self._set_classes(np.unique(y))
            self._start_streams()
        codes = encode_labels(y, self.classes_)
        if X_val is None and (y_val is not None or sample_weight_val is not None):
            raise ValueError("y_val and sample_weight_val need X_val: pass the rows they belong to.")
        held_out = self._held_out(codes) if X_val is None else None
        seen = None if held_out is None else held_out[0]
        rows = self._rows(self._encode(X, None if again else y, seen), codes, w, device)
        train, valid = Part(rows, np.arange(len(codes)) if seen is None else seen), None
        if held_out is not None:
            valid = Part(rows, held_out[1])
        elif X_val is not None:
            valid = self._given_validation(X_val, y_val, sample_weight_val, device)
        self._choose(X, y, w, train, valid, again)
        state = self._weigh(train, valid)
        train = self._in_folds(train)
        self._n_train = len(train)
        if not again:
            self._structure = self._structure_for(train, len(train))
        net = self._new_net(rows, settled(self, len(train)), keep_weights=again)
        if not again:
            _bind(net.module, train)
        net.criterion.phases(net.max_epochs)  # says now if there are too few epochs
        self._bind(net.criterion, train, state)
        if not isinstance(self.mix, str | None) or not isinstance(self._label(), str):
            if not hasattr(net.criterion.label, "phases"):  # a label of later features cannot be tried yet
                try_recipe(net, train, self._n_models, f"mix={self.mix!r} with label={self._label()!r}")
        return train, valid, net

    def _structure_for(self, train: Part, n_rows: int | None) -> dict[str, Any]:
        """Options of the network that the training rows decide; None: of rows that are the first of more."""
        return structure(self.module, n_rows, train.rows.layout, _prefixed(self, "module__"))

    def _choose(
        self, X: Any, y: np.ndarray, w: np.ndarray | None, train: Part, valid: Part | None, again: bool
    ) -> None:
        """Settle what a method chooses by trying it on the training rows, before its net is made."""

    def _keep(self, net: MixNet, epochs: list[dict[str, Any]]) -> None:
        """Take the net as fitted, with the parameters that it was made with."""
        self.net_, self._epochs = net, epochs
        self._fitted_params = self.get_params(deep=False)
        self.__dict__.pop("density_", None)

    def _check_structure(self, what: str) -> None:
        """Raise ValueError if the network is no longer the one that the parameters describe."""
        for name in STRUCTURE | {name for name in self._fitted_params if name.startswith("module__")}:
            before, now = self._fitted_params.get(name), getattr(self, name, None)
            if now is not before and now != before:
                raise ValueError(
                    f"{what} goes on with the network it has, but {name} was {before!r} and is {now!r} now. "
                    f"Set {name} back, or fit anew."
                )

    def _new_net(self, rows: Rows, training: Training, keep_weights: bool) -> MixNet:
        """A net whose recipe is not bound yet, with new weights or those of `net_`."""
        seeds, aux_seeds = self._seeds()
        self._shape = tuple(rows.X.shape[1:])
        if keep_weights:
            return self._remade_net(training, aux_seeds)
        example = rows.at(torch.arange(min(2, len(rows.y)), device=rows.device))
        backbone = make_backbone(self, example, rows.dtype, rows.n_classes, seeds)
        return make_net(self, training, backbone, self._n_inputs, rows.n_classes, aux_seeds)

    @property
    def _n_inputs(self) -> int:
        """Numbers in a row as the network sees it."""
        return math.prod(self._shape)

    def _seeds(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Of the network's weights, and of those of the recipe's own networks; one for each network."""
        pairs = [stream.generate_state(2).tolist() for stream in self._streams(WEIGHTS)]
        weights, aux = zip(*pairs, strict=True)
        return weights, aux

    def _remade_net(self, training: Training, aux_seeds: Sequence[int]) -> MixNet:
        """A net with another recipe around the weights of `net_`."""
        old = self.net_
        n_classes, aux = len(self.classes_), old.criterion_.aux
        return make_net(self, training, old.module_, self._n_inputs, n_classes, aux_seeds, aux)

    def _extend(self, part: Part, state: State) -> None:
        """Let the recipe of `net_` learn from more rows, trained at a steady rate."""
        if self.net_.plan.schedule is not None:  # of a training that is over
            self._steady()
        before = self._fitted_params
        changed = any(before.get(name) is not v for name, v in self.get_params(deep=False).items())
        unpickled = not self.net_.criterion_.bound_
        if changed or unpickled:  # new numbers need a new optimiser and a new recipe around the same weights
            density, epochs = getattr(self, "density_", None), self._epochs
            net = self._remade_net(settled(self, None), self._seeds()[1]).initialize()
            label = net.criterion_.label
            of_rows = before.get("density_at", "input") in ("input", 0)  # not of features
            if density is not None and of_rows and hasattr(label, "density"):
                label.density_ = density
            elif hasattr(label, "bind"):
                raise ValueError(
                    f"label={self._label()!r} was bound to rows that are gone, after a pickle or "
                    "set_params, so partial_fit cannot go on with it. Use fit"
                    + (", with n_cv=1 if more rows are to come." if self._n_folds > 1 else ".")
                )
            net.criterion_.state.class_counts = torch.as_tensor(self._class_counts).to(state.class_counts)
            self._keep(net, epochs)
        self._learn_more(self.net_.criterion_, part, state)

    def _steady(self) -> None:
        """Train on without the plan of a whole training: its schedule, and what it made of the rates."""
        training, given = settled(self, None), vars(self)
        self.net_.plan = replace(self.net_.plan, schedule=None)
        for group in self.net_.optimizer_.param_groups:
            group["lr"] = given.get("optimizer__lr", training.lr)
            if "weight_decay" in group:
                group["weight_decay"] = given.get("optimizer__weight_decay", training.weight_decay)

    def _train(self, train: Part, valid: Part | None, epochs: int) -> None:
        """Run `epochs` of `net_` and keep its history, whatever ends them."""
        recipe = self.net_.criterion_
        recipes = train.recipes if isinstance(train, Folded) else [recipe]
        batches = side_by_side(self._batches(train, recipes, self.net_.plan.batch_size, epochs))
        self._class_counts = recipe.state.class_counts.cpu().numpy()
        n_before = len(self.net_.history)
        try:
            with self._torch_settings(int(self._streams(DROPOUT)[0].generate_state(1)[0])):
                self.net_.partial_fit((batches, valid), epochs=epochs)
        finally:
            if hasattr(recipe.label, "density_"):
                self.density_ = recipe.label.density_
            self._calls += 1
            self._steps += len(batches) * (len(self.net_.history) - n_before)
            self._epochs = [*self._epochs, *_records(self.net_.history[n_before:])]
        if self.net_.stop_ == "interrupted":
            warnings.warn("Training was interrupted; the model keeps what it has learnt.", stacklevel=3)

    @contextmanager
    def _torch_settings(self, seed: int) -> Iterator[None]:
        """Our seed for dropout and our thread count; the user's own again afterwards."""
        with self._threads(), seeded(seed, device_of(self.net_)):
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

    def _spec(self, n_stages: int) -> Spec:
        """The recipe's structure and numbers."""
        return Spec(
            mix=self._mix(),
            sites=(0,)
            if self.mix is None
            else mixing_sites(
                self.mix_at, n_stages, input_site(self.module), stages_mixed(self.module, n_stages)
            ),
            n_stages=n_stages,
            input_site=input_site(self.module),
            reads=self._encoded_kind() if hasattr(self, "encoder_") else self._reads(),
            lam_per=self._lam_per(),
            pair=self.pair,
            label=self._label() if self.mix is not None else "linear",
            drop_intrusions=self.drop_intrusions,
            loss=self._loss(),
            objective=self._objective(),
            alternate=self._alternate(),
            hyper={
                "alpha": self._alpha(),
                "mix_prob": self.mix_prob,
                "label_smoothing": self.label_smoothing,
                "clean_weight": self.clean_weight,
            },
        )


def _bind(network: Any, train: Part) -> None:
    """Let a network learn from the training rows, which are copied only if it does."""
    if type(network).bind is not Backbone.bind:
        network.bind(train.copied())


def _records(history: Any) -> list[dict[str, Any]]:
    """skorch's history without its batches and its marks of the best epoch."""
    hidden = ("batches", "train_loss_best", "valid_loss_best")
    return [{name: value for name, value in epoch.items() if name not in hidden} for epoch in history]
