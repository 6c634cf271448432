"""How far stacked training is: tasks for scikit-learn's callbacks (1.9), lines for `verbose`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from joblib.logger import short_format_time
from sklearn.base import clone
from skorch.callbacks import Callback

# scikit-learn's bar adds up all subtasks of a task whenever one ends: this grows with their square.
MOST_TASKS = 500


@dataclass
class Progress:
    """Counts the model-epochs that one process trains.

    Attributes
    ----------
    total : int
        Model-epochs in all.
    verbose : int
    context : sklearn.callback.CallbackContext or None
        Of the training; None: nobody listens.
    search : estimator or None
        Whose callbacks listen.
    size : int
        Model-epochs a task.
    first : int
        Number of this process's first task.
    done, told : int
        Model-epochs counted, and tasks that have ended, so far.
    """

    total: int = 0
    verbose: int = 0
    context: Any = None
    search: Any = None
    size: int = 1
    first: int = 0
    done: int = field(default=0, init=False)
    told: int = field(default=0, init=False)

    def count(self, n: int) -> bool:
        """Count `n` more model-epochs; return whether a callback asks to stop.

        A negative `n` takes back what will be trained again: no task ends then until that is made up for.
        """
        self.done += n
        if self.context is None:
            return False
        stop = False
        due = -(-self.total // self.size) if self.done >= self.total else self.done // self.size
        while self.told < due:
            task = self.context.subcontext(task_name="model-epochs", task_id=self.first + self.told)
            task.call_on_fit_task_begin(estimator=self.search)
            stop |= task.call_on_fit_task_end(estimator=self.search)
            self.told += 1
        return stop

    @contextmanager
    def program(self, n_models: int, max_epochs: int) -> Iterator[list[tuple[str, Callback]]]:
        """Around a program: gives its skorch callbacks, and counts in the end what its models have spared."""
        counter, start = EpochCounter(self), time.perf_counter()
        try:
            yield [] if self.context is None else [("progress", counter)]
        except BaseException:
            self.count(-counter.counted)  # out of memory: its halves come next
            raise
        self.count(n_models * max_epochs - counter.counted)
        if self.verbose > 1:
            seconds = short_format_time(time.perf_counter() - start)
            print(f"[Stack] END {n_models} models, up to {max_epochs} epochs; total time={seconds}")


class EpochCounter(Callback):
    """A skorch callback that counts, after each epoch of a `StackedNet`, what its models have behind them.

    Parameters
    ----------
    progress : Progress
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.counted = 0

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Count; a model that has ended has all of its epochs behind it."""
        ended = net.diverged_
        if net.patience_ is not None:
            ended = ended | net.patience_.finished(ended)
        n_ended = int(ended.sum())
        counted = n_ended * net.max_epochs + (len(ended) - n_ended) * len(net.history)
        new, self.counted = counted - self.counted, counted
        if self.progress.count(new):
            net.stop_ = net.stop_ or "callback"


@contextmanager
def stacked_training(
    epochs: Sequence[Sequence[int]], parent: Any = None, search: Any = None, verbose: int = 0
) -> Iterator[list[Progress]]:
    """Around all stacked training, which is one task of a search.

    Parameters
    ----------
    epochs : sequence of sequences of int
        Of each model, by processes.
    parent : sklearn.callback.CallbackContext or None
        Of the search; None where there are no callbacks.
    search : estimator or None
    verbose : int

    Yields
    ------
    list of Progress
        One a process.
    """
    totals = [sum(portion) for portion in epochs]
    size = max(1, -(-sum(totals) // MOST_TASKS))
    counts = [-(-total // size) for total in totals]
    context = None
    if parent is not None:
        context = parent.subcontext(
            task_name="stacked-training", max_subtasks=sum(counts), sequential_subtasks=False
        ).call_on_fit_task_begin(estimator=search)
    listening = bool(getattr(search, "_skl_callbacks", None))  # there is no public way to ask
    if listening and len(epochs) > 1:
        search_there = clone(search)  # without the rows that a running search holds
    else:
        search_there = search
    n_fits, start = sum(map(len, epochs)), time.perf_counter()
    if verbose > 0 and n_fits:
        print(f"Training {n_fits} fits together, {sum(totals)} model-epochs")
    yield [
        Progress(total, verbose, context if listening else None, search_there, size, sum(counts[:k]))
        for k, total in enumerate(totals)
    ]
    if verbose > 0 and n_fits:
        print(f"Trained {n_fits} fits together; total time={short_format_time(time.perf_counter() - start)}")
    if context is not None:
        context.call_on_fit_task_end(estimator=search)


class Evaluations:
    """The context of a search's evaluations; those of stacked fits propagate no callback to the stand-in.

    Else scikit-learn's bar would have a line for each of them, full as soon as it is there, where now the
    search's own line counts them.

    Parameters
    ----------
    context : sklearn.callback.CallbackContext
    stacked : sequence of bool
        Of each evaluation, in the order of their numbers.
    """

    def __init__(self, context: Any, stacked: Sequence[bool]) -> None:
        self.context = context
        self.stacked = stacked

    def subcontext(self, *, task_id: int, **kwargs: Any) -> Any:
        """Context of one evaluation."""
        context = self.context.subcontext(task_id=task_id, **kwargs)
        return _Unpropagated(context) if self.stacked[task_id] else context


class _Unpropagated:
    """A context that keeps its callbacks to itself."""

    def __init__(self, context: Any) -> None:
        self.context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self.context, name)

    def propagate_callback_context(self, sub_estimator: Any) -> AbstractContextManager[None]:
        return nullcontext()
