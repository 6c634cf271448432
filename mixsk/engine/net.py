"""The skorch net: skorch's life cycle, history and callbacks around a step that runs a recipe.

skorch's own per-batch work (notifications, a host sync a batch) costs about 70 us a step, as much as
a small network's forward pass: here batches are counted on the device and callbacks are told of a
batch only if one of them listens.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor, nn

from mixsk.engine.accumulate import ALONE, Turn, steps_of, turns
from mixsk.engine.average import Average
from mixsk.engine.checkpoint import CheckpointFile, captured, put_back
from mixsk.engine.interrupt import ctrl_c
from mixsk.engine.iterator import CleanBatches, Part, TrainingBatches
from mixsk.engine.schedule import make_schedule
from mixsk.engine.snapshot import Patience, Snapshot
from mixsk.rules import Batch, Phase
from mixsk.rules.infinite import fit_offsets

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
BATCH_HOOKS = ("on_batch_begin", "on_batch_end", "on_grad_computed")


@dataclass(frozen=True)
class Plan:
    """How long and how a net is trained.

    Attributes
    ----------
    schedule : str, callable or None
        Learning-rate schedule.
    patience : int or None
        Epochs without a better validation loss after which training stops. With validation rows
        and a patience the best epoch's weights are restored.
    time_limit : float or None
        Seconds; checked after every step.
    amp : {"bf16", "fp16"} or None
        Autocast of the forward pass.
    batch_size : int
        Rows a batch.
    accumulate : int
        Batches a step of the optimiser.
    ema : float or None
        Decay of the average of the module's weights that takes their place in validation and in the end.
    checkpoint : CheckpointFile or None
        Written after each epoch; what it has found is gone on with. For trainings of one phase.
    """

    schedule: Any = None
    patience: int | None = None
    time_limit: float | None = None
    amp: str | None = None
    batch_size: int = 128
    accumulate: int = 1
    ema: float | None = None
    checkpoint: CheckpointFile | None = None


class MixNet(ClassifierMixin, NeuralNet):
    """A network trained by a recipe.

    Parameters
    ----------
    module : mixsk.backbones.Backbone
        With its initial weights.
    criterion : mixsk.rules.Recipe
        Bound to the training rows; its aux networks are trained with the module.
    plan : Plan
        How long and how.
    optimizer : torch.optim.Optimizer class
        Made by skorch from `lr` and `optimizer__*`.
    **kwargs : dict
        The other parameters of `skorch.NeuralNet`.
    """

    def __init__(self, module: Any, criterion: Any, plan: Plan, optimizer: Any, **kwargs: Any) -> None:
        super().__init__(module, criterion, optimizer=optimizer, train_split=None, **kwargs)
        self.plan = plan
        self.stop_: str | None = None
        self.patience_: Patience | None = None
        self.average_: Average | None = None

    @property
    def _default_callbacks(self) -> list[Any]:
        return []  # the history is written by the epochs themselves

    def get_split_datasets(self, X: Any, y: Any = None, **fit_params: Any) -> tuple[Part, Part | None]:
        """X is the pair (training batches, validation part or None)."""
        batches, valid = X
        return batches.part, valid

    def fit_loop(self, X: Any, y: Any = None, epochs: int | None = None, **fit_params: Any) -> MixNet:
        """Train `epochs` (default max_epochs), phase by phase.

        Parameters
        ----------
        X : tuple of (TrainingBatches, Part or None)
            Training batches and validation rows.
        y : None
        epochs : int or None
        **fit_params
            Not used.
        """
        batches, valid = X
        epochs = self.max_epochs if epochs is None else epochs
        datasets = {"dataset_train": batches.part, "dataset_valid": valid}
        first = len(self.history)
        self._begin(batches, valid, epochs)
        try:
            done = self._resume(batches, first)
            phases = self.criterion_.phases(epochs)
            for phase in phases:
                if phase is not phases[0]:
                    batches.restart()
                self._begin_phase(phase, first=phase is phases[0])
                for _ in range(done, phase.epochs):
                    if self.stop_ is not None:
                        break
                    self.notify("on_epoch_begin", **datasets)
                    self.history.record("phase", phase.name)
                    self._run_epoch(batches, valid)
                    with self._averaged():
                        self._end_epoch(datasets)
                    self._write(first)
                if self.stop_ == "early_stopping" and phase is not phases[-1]:
                    self.stop_ = None  # the phase is over, not the training
                if self.stop_ is not None:
                    return self
            self.stop_ = "max_epochs"
        except KeyboardInterrupt:
            self.stop_ = self.stop_ or "interrupted"
            raise
        finally:
            self._train_only(None)
            self.criterion_.freeze(None, 0)
            if self.patience_ is not None:
                self._restore_best(self.patience_)
            if self.average_ is not None:
                self.average_.show(True)
            if getattr(self.criterion_.loss, "lacks_offsets", False) and self.stop_ != "diverged":
                self._fit_offsets(batches.part)
        return self

    def _fit_offsets(self, part: Part) -> None:
        """Give the head the class offsets that the loss cannot see, from clean rows."""
        self._set_training(False)
        each = [(self._logits(x).detach(), y, w) for x, y, w in self._clean_batches(part)]
        logits, y, w = zip(*each, strict=True)
        self.module_.shift(fit_offsets(torch.cat(logits, 1), torch.cat(y), torch.cat(w)))

    def _resume(self, batches: TrainingBatches, first: int) -> int:
        """Epochs of an interrupted training, whose state the net takes; 0 if there is none.

        Raises
        ------
        ValueError
            If what would have to be written cannot be: now, and not after the first epoch.
        """
        file = self.plan.checkpoint
        if file is None:
            return 0
        try:
            captured(self, first)
        except (TypeError, AttributeError) as error:
            raise ValueError(
                f"checkpoint={str(file.path)!r} cannot hold the state of this optimiser or schedule: "
                f"{error}. Use one of torch's, or checkpoint=None."
            ) from error
        return 0 if file.found is None else put_back(self, file.found, batches)

    def _write(self, first: int) -> None:
        """The state after an epoch; not of a part of one, from which the batches could not go on."""
        if self.plan.checkpoint is not None and self.stop_ != "time_limit":
            self.plan.checkpoint.save(captured(self, first))

    def _restore_best(self, patience: Patience) -> None:
        patience.restore()
        if self.average_ is not None:
            self.average_.take_over()

    def _averaged(self) -> AbstractContextManager[None]:
        """The network as it would be if training ended now."""
        return nullcontext() if self.average_ is None else self.average_.shown()

    def _begin_average(self) -> list[nn.Module]:
        """The average of the weights, which a further call of `partial_fit` goes on with; what holds it."""
        if self.plan.ema is None:
            return []
        if self.average_ is None:
            self.average_ = Average(self.module_, self.plan.ema)
        self.average_.show(False)
        return [self.average_.averaged]

    def _end_epoch(self, datasets: dict[str, Any]) -> None:
        with ctrl_c() as pressed:
            try:
                self.notify("on_epoch_end", **datasets)
            except KeyboardInterrupt:  # how skorch's callbacks ask to stop, too
                if pressed:
                    raise
                self.stop_ = self.stop_ or "callback"

    def _begin(self, batches: TrainingBatches, valid: Part | None, epochs: int) -> None:
        plan = self.plan
        self.stop_ = None
        self.train_part_ = batches.part
        self.best_: dict[str, float] = {}
        self.deadline_ = time.perf_counter() + (np.inf if plan.time_limit is None else plan.time_limit)
        callbacks = [callback for _, callback in self.callbacks_]
        self.listening_ = any(_listens(callback, hook) for callback in callbacks for hook in BATCH_HOOKS)
        self.scoring_ = any(getattr(callback, "on_train", False) for callback in callbacks)
        self.trainable_ = {name for name, p in self.get_all_learnable_params() if p.requires_grad}
        self.scheduler_: Any = None
        self.per_batch_ = False
        if plan.schedule is not None:
            self.scheduler_, self.per_batch_ = make_schedule(
                plan.schedule, self.optimizer_, epochs, steps_of(len(batches), plan.accumulate)
            )
        averaged = self._begin_average()
        self.networks_ = [*(averaged or [self.module_]), self.criterion_.aux]  # that the best epoch is of
        trained = [self.module_, self.criterion_.aux, *averaged]
        self.finite_, self.finite_epoch_ = Snapshot(trained), len(self.history)
        restore = valid is not None and plan.patience is not None
        self.patience_ = Patience(self.networks_, plan.patience) if restore else None
        self.scaler_ = torch.amp.GradScaler(torch.device(self.device).type) if plan.amp == "fp16" else None

    def _begin_phase(self, phase: Phase, first: bool) -> None:
        if not first and self.patience_ is not None:  # each phase ends with its own best weights
            self._restore_best(self.patience_)
            self.patience_ = Patience(self.networks_, self.plan.patience)
        if not first and self.average_ is not None:  # and with those that it would predict with
            self.average_.take_over()
            self.average_.start_anew()
        if phase.on_start is not None:
            phase.on_start(self)
            self.optimizer_.state.clear()  # moments of weights that may be new
        self.frozen_ = list(self.module_.stages[: phase.frozen])
        if phase.trainable is not None:
            self.frozen_ += self._without_training(phase.trainable)
        self.criterion_.freeze(self.module_, phase.frozen)
        self.objective_ = phase.objective
        self._train_only(phase.trainable)

    def _hold_frozen(self) -> None:
        for part in self.frozen_:
            part.eval()

    def _without_training(self, trainable: Callable[[str], bool]) -> Iterator[nn.Module]:
        """The parts none of whose parameters is trained: their running statistics stay, too."""
        for name, part in self.module_.named_modules():
            own = [f"{name}.{inner}" if name else inner for inner, _ in part.named_parameters()]
            if own and not any(trainable(full) for full in own):
                yield part

    def _train_only(self, chosen: Callable[[str], bool] | None) -> None:
        """Let the chosen parameters have gradients; what the user froze stays frozen."""
        for name, parameter in self.get_all_learnable_params():
            parameter.requires_grad_(name in self.trainable_ and (chosen is None or chosen(name)))

    def _run_epoch(self, batches: TrainingBatches, valid: Part | None) -> None:
        start = time.perf_counter()
        self.run_single_epoch(batches, training=True, prefix="train", step_fn=self.train_step)
        if valid is not None:
            clean = self._clean_batches(valid)
            with self._averaged():
                self.run_single_epoch(clean, training=False, prefix="valid", step_fn=self.validation_step)
        self.history.record("dur", time.perf_counter() - start)

    def _clean_batches(self, valid: Part) -> Any:
        return self._in_order(valid.by_length()[0], self.criterion_.state.class_weight)

    def _in_order(self, part: Part, class_weight: Tensor | None = None) -> CleanBatches:
        """The part's rows, as many at a time as memory is spared for."""
        return CleanBatches(part, self.module_.rows_at_once(part.rows.X), class_weight)

    def run_single_epoch(
        self, iterator: Any, training: bool, prefix: str, step_fn: Any, **fit_params: Any
    ) -> None:
        """One pass over the batches; losses are summed on the device and read once."""
        self._set_training(training)
        self._hold_frozen()
        if training:
            self._train_epoch(iterator, prefix, step_fn)
        else:
            self._validate_epoch(iterator, prefix, step_fn)

    def _train_epoch(self, batches: TrainingBatches, prefix: str, step_fn: Any) -> None:
        losses, sizes = [], []
        for batch, turn in zip(batches, turns(len(batches), self.plan.accumulate), strict=True):
            if self.listening_:
                self.notify("on_batch_begin", batch=_pair(batch), training=True)
            step = step_fn(batch, turn=turn)
            losses.append(step["loss"])
            sizes.append(batch.x.shape[1])
            if self.per_batch_ and turn.last:
                self.scheduler_.step()
            if self.listening_:
                self.history.record_batch(f"{prefix}_loss", float(step["loss"].mean()))
                self.history.record_batch(f"{prefix}_batch_size", sizes[-1])
                self.notify("on_batch_end", batch=_pair(batch), training=True, **step)
            if time.perf_counter() > self.deadline_:
                self.stop_ = "time_limit"
                break
        if self.scheduler_ is not None and not self.per_batch_:
            self.scheduler_.step()
        stacked = torch.stack(losses)
        rows = torch.tensor(sizes, dtype=stacked.dtype, device=stacked.device)
        self._check_finite(rows @ stacked / rows.sum(), prefix)

    def _record_loss(self, prefix: str, value: float) -> None:
        """Into the history, with what skorch's Checkpoint looks for: whether it is the best so far."""
        if not self.listening_:  # Checkpoint also wants a batch, of which there is no record
            self.history.new_batch()
            self.history.record_batch(f"{prefix}_loss", value)
        best = value < self.best_.get(prefix, np.inf)
        if best:
            self.best_[prefix] = value
        self.history.record(f"{prefix}_loss", value)
        self.history.record(f"{prefix}_loss_best", best)

    def _check_finite(self, loss: Tensor, prefix: str) -> None:
        """Record the epoch's loss; if it or a weight is not finite, go back and say so."""
        norm = torch.nn.utils.get_total_norm(self.module_.parameters())
        value = float(loss.mean())
        self._record_loss(prefix, value)
        if np.isfinite(value + float(norm)):
            self.finite_.update()
            self.finite_epoch_ = len(self.history)
            return
        self.finite_.restore()
        self.optimizer_.state.clear()  # its moments are not finite either
        self.stop_, self.patience_ = "diverged", None
        epoch = len(self.history)
        what = "training loss" if not np.isfinite(value) else "norm of the weights"
        kept = f"the weights of epoch {self.finite_epoch_}" if self.finite_epoch_ else "the initial weights"
        raise FloatingPointError(
            f"The {what} became {value if 'loss' in what else float(norm)} in epoch {epoch}. The likely "
            f"cause is a learning rate that is too high (lr={self.lr}): try a tenth of it, "
            f"dtype='float64', or look for extreme values in X. The model keeps {kept}."
        )

    def _validate_epoch(self, batches: CleanBatches, prefix: str, step_fn: Any) -> None:
        total = weight = correct = torch.zeros(())
        for batch in batches:
            if self.listening_:
                self.notify("on_batch_begin", batch=_pair(batch), training=False)
            step = step_fn(batch)
            total, weight = total + step["loss"], weight + step["weight"]
            correct = correct + step["correct"]
            if self.listening_:
                self.history.record_batch(f"{prefix}_loss", float((step["loss"] / step["weight"]).mean()))
                self.history.record_batch(f"{prefix}_batch_size", batch[0].shape[1])
                self.notify("on_batch_end", batch=_pair(batch), training=False, **step)
        loss = total / weight
        self._record_loss(prefix, float(loss.mean()))
        self.history.record(f"{prefix}_acc", float((correct / weight).mean()))
        if self.patience_ is not None and self.patience_.update(loss):
            self.stop_ = self.stop_ or "early_stopping"

    def train_step(self, batch: Batch, turn: Turn = ALONE, **fit_params: Any) -> dict[str, Any]:
        """A batch's gradient and, if it is the last of its group, a step; returns the batch's loss (M,)."""
        with self._autocast():
            losses = self.criterion_(self.module_, batch, self.objective_)
        if turn.first:
            for group in self.optimizer_.param_groups:
                for parameter in group["params"]:
                    parameter.grad = None  # what zero_grad does, without its profiler hooks
        # Models share no weights, so their losses' sum has each model's own gradient: the same as ones here.
        scaled = losses if self.scaler_ is None else self.scaler_.scale(losses)
        scaled.backward(torch.full_like(losses, turn.share))
        if turn.last:
            self._step(batch)
        return {"loss": losses.detach(), "y_pred": self._clean_logits(batch) if self.scoring_ else None}

    def _step(self, batch: Batch) -> None:
        """Change the weights by the gradients of a group, of which this is the last batch."""
        if self.listening_:
            if self.scaler_ is not None:
                self.scaler_.unscale_(self.optimizer_)  # callbacks clip gradients at their true scale
            self.notify(
                "on_grad_computed",
                named_parameters=self.get_all_learnable_params(),
                batch=_pair(batch),
                training=True,
            )
        if self.scaler_ is None:
            self.optimizer_.step()
        else:
            self.scaler_.step(self.optimizer_)
            self.scaler_.update()
        if self.average_ is not None:
            self.average_.update()

    def _clean_logits(self, batch: Batch) -> Tensor:
        """Logits (B, C) of the batch's rows as they are: a score on mixed rows would mean nothing."""
        self._set_training(False)
        with torch.no_grad():
            logits = mean_logits(self._logits(batch.x[:1]))  # the first model's rows, by all models
        self._set_training(True)
        self._hold_frozen()
        return logits

    @torch.no_grad()
    def validation_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Summed log loss, weight and correct rows of clean rows, (M,) or the same for all models."""
        x, y, w = batch
        logits = self._logits(x)
        y = y.expand(len(logits), -1)
        chosen = torch.log_softmax(logits, -1).gather(-1, y.unsqueeze(-1)).squeeze(-1)
        return {
            "loss": -(chosen * w).sum(-1),
            "weight": w.sum(-1),
            "correct": ((logits.argmax(-1) == y) * w).sum(-1),
            "y_pred": mean_logits(logits) if self.listening_ else None,
        }

    @torch.no_grad()
    def features(self, part: Part, site: int) -> Tensor:
        """What stage `site` makes of encoded rows, (M, n, ...) on the device."""
        self._set_training(False)
        models = self.module_.n_models
        found = []
        ordered, back = part.by_length()
        for x, _, _ in self._in_order(ordered):
            with self._autocast():
                found.append(self.module_.lower(x.expand(models, *x.shape[1:]), site).to(part.rows.dtype))
        return torch.cat(found, 1)[:, back]

    @torch.no_grad()
    def predict_logits(self, part: Part) -> Tensor:
        """Logits of encoded rows, one set per model: float32 or float64 (M, n, C) on the CPU."""
        self._set_training(False)
        ordered, back = part.by_length()
        return torch.cat([self._logits(x).cpu() for x, _, _ in self._in_order(ordered)], 1)[:, back]

    def evaluation_step(self, batch: Any, training: bool = False) -> Tensor:
        """Logits (B, C) of all models together, for skorch's own scoring callbacks."""
        self._set_training(training)
        with torch.set_grad_enabled(training):
            return mean_logits(self._logits(batch[0]))

    def get_dataset(self, X: Any, y: Any = None) -> Any:
        """Parts are data sets already."""
        return X

    def get_iterator(self, dataset: Any, training: bool = False) -> CleanBatches:
        """Rows in order, for skorch's own scoring callbacks."""
        return self._in_order(dataset)

    @property
    def classes_(self) -> np.ndarray:
        """Class codes, for skorch's own scoring callbacks."""
        return np.arange(len(self.criterion.state.class_counts))

    def predict(self, X: Any) -> np.ndarray:
        """Class codes of a Part, for skorch's own scoring callbacks."""
        return np.asarray(self.predict_proba(X)).argmax(1)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Class probabilities of a Part, for skorch's own scoring callbacks."""
        return torch.cat([torch.softmax(logits, -1) for logits in self.forward_iter(X)]).numpy()

    def _logits(self, x: Tensor) -> Tensor:
        with self._autocast():
            models = self.module_.n_models  # all see the same rows where x has but one set
            logits = self.module_(x.expand(models, *x.shape[1:]))
        return logits.to(next(self.module_.parameters()).dtype)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.plan.amp is None:
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, AUTOCAST[self.plan.amp])


def mean_logits(logits: Tensor) -> Tensor:
    """Logits (n, C) whose softmax is the mean of the models' probabilities, from logits (M, n, C).

    Examples
    --------
    >>> torch.softmax(mean_logits(torch.tensor([[[0.2, 0.8]], [[0.4, 0.6]]]).log()), -1)
    tensor([[0.3000, 0.7000]])
    """
    if len(logits) == 1:
        return logits[0]
    return torch.log_softmax(logits, -1).logsumexp(0) - math.log(len(logits))


def _listens(callback: Callback, hook: str) -> bool:
    return getattr(type(callback), hook, None) is not getattr(Callback, hook)


def _pair(batch: Any) -> tuple[Tensor, Tensor]:
    """What skorch's callbacks know as a batch: (X, y)."""
    y = batch.y[0].argmax(-1) if isinstance(batch, Batch) else batch[1]
    return batch[0][0], y
