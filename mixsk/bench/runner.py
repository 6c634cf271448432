"""Run a benchmark: every table x method x fold is one cell, and every cell gives one row of results.

Cells run in one process per core with one thread each: on tables of this size more threads only get in each
other's way. A cell that fails is a row with its traceback; the others go on.
"""

import json
import time
import traceback
import warnings
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch
from joblib import Parallel, delayed, parallel_config
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import RepeatedStratifiedKFold
from threadpoolctl import threadpool_limits

from mixsk.bench.methods import Method
from mixsk.datasets import make_moons

COLUMNS = [
    *("suite", "table", "method", "repeat", "fold", "seed", "n_train", "n_test"),
    *("accuracy", "log_loss", "fit_seconds", "predict_seconds"),
    *("params", "mixsk_version", "torch_version", "sklearn_version", "status", "error", "warnings"),
]


@dataclass(frozen=True, eq=False)
class Cell:
    """One method, to be fitted on the training rows of one fold of one table and judged on its test rows."""

    names: dict  # suite, table, method, repeat, fold, seed: what the result's row begins with
    method: Method
    X: object
    y: np.ndarray
    train: np.ndarray  # row numbers
    test: np.ndarray


def plan(suite, methods, *, folds=5, repeats=1, seed=0):
    """Load the tables of a suite, split them and list the cells to run.

    Parameters
    ----------
    suite : Suite
        The tables.
    methods : dict of str to Method
        What to compare.
    folds, repeats : int, default=5 and 1
        Repeated stratified k-fold cross-validation: `folds` >= 2 parts, `repeats` >= 1 times. A table with
        official splits has those.
    seed : int, default=0
        Seed of the splits and of every estimator. The splits depend on the table and the seed alone.

    Returns
    -------
    cells : list of Cell
        In the order table, repeat, fold, method, so that a run that is interrupted has compared all methods
        on the same folds.

    Raises
    ------
    ValueError
        If a table cannot be loaded or be split into so many folds.
    """
    cells = []
    for table, load in suite.tables.items():
        try:
            X, y = load()
            if table in suite.splits:
                splits = suite.splits[table]()
            else:
                cv = RepeatedStratifiedKFold(n_splits=folds, n_repeats=repeats, random_state=seed)
                splits = {divmod(i, folds): pair for i, pair in enumerate(cv.split(X, y))}
        except Exception as error:
            raise ValueError(f"suite {suite.name}, table {table}: {error}") from error
        for (repeat, fold), (train, test) in splits.items():
            for name, method in methods.items():
                names = {"suite": suite.name, "table": table, "method": name}
                names |= {"repeat": repeat, "fold": fold, "seed": seed}
                cells.append(Cell(names, method, X, np.asarray(y), train, test))
    return cells


def run(cells, *, n_jobs=1, **overrides):
    """Run the cells of `plan` and yield a row as each one finishes.

    Parameters
    ----------
    cells : list of Cell
        What `plan` returns.
    n_jobs : int, default=1
        Number of processes. The results do not depend on it, only their order and the seconds do.
    **overrides
        Parameters for every estimator that has them, such as `max_epochs=10` or `device="cpu"`.

    Yields
    ------
    number : int
        The cell's place in `cells`.
    row : dict
        Its keys are `COLUMNS`. `status` is "ok" or "failed"; a failed cell has its traceback in `error` and
        NaN for its scores.
    """
    waiting = dict(enumerate(cells))
    try:
        with parallel_config(backend="loky", n_jobs=n_jobs, inner_max_num_threads=1):
            parallel = Parallel(return_as="generator_unordered", batch_size=1)
            tasks = (delayed(_run_cell)(number, cell, overrides) for number, cell in enumerate(cells))
            for number, row in parallel(tasks):
                del waiting[number]
                yield number, row
    except BrokenExecutor as error:
        # A process was killed (out of memory, say). Nobody knows by which cell, so no open cell has a result.
        advice = "A process died before the cell had finished; if memory ran out, try fewer jobs."
        failure = {"status": "failed", "error": f"{error}\n{advice}"}
        for number, cell in waiting.items():
            yield number, _row(cell, overrides) | failure


def _run_cell(number, cell, overrides):
    row = _row(cell, overrides)
    _warm_up(cell.method, overrides)
    # Collected, not printed: a worker's stderr would break the progress bar.
    with warnings.catch_warnings(record=True) as caught, _one_thread():
        warnings.simplefilter("default")
        try:
            row |= _judge(cell.method.build(random_state=cell.names["seed"], **overrides), cell)
        except Exception:
            row |= {"status": "failed", "error": traceback.format_exc()}
    messages = dict.fromkeys(f"{warning.category.__name__}: {warning.message}" for warning in caught)
    return number, row | {"warnings": "\n".join(messages)}


_warmed_up = set()


def _warm_up(method, overrides):
    """Fit each class once per process before its seconds count.

    A first fit also pays for what it imports: 0.9 s for a network whose fit on iris takes 0.15 s.
    """
    if method.estimator in _warmed_up:
        return
    _warmed_up.add(method.estimator)
    # What goes wrong here goes wrong in the cell too, which reports it.
    with suppress(Exception), warnings.catch_warnings(), _one_thread():
        warnings.simplefilter("ignore")
        method.build(**overrides | {"max_epochs": 1}).fit(*make_moons(20, random_state=0))


def _judge(estimator, cell):
    """Fit on the training rows, return scores on the test rows and seconds."""
    by_row = getattr(cell.X, "iloc", cell.X)
    X_train, X_test = by_row[cell.train], by_row[cell.test]
    start = time.perf_counter()
    estimator.fit(X_train, cell.y[cell.train])
    fitted = time.perf_counter()
    proba = estimator.predict_proba(X_test)
    predicted = time.perf_counter()
    return {
        "accuracy": accuracy_score(cell.y[cell.test], estimator.predict(X_test)),
        "log_loss": _log_loss(cell.y, cell.test, estimator.classes_, proba),
        "fit_seconds": fitted - start,
        "predict_seconds": predicted - fitted,
        "status": "ok",
    }


def _log_loss(y, test, classes, proba):
    """Log loss over all classes of the table: one that the training rows lack has probability 0.

    In float64 for every method: scikit-learn clips at the precision of what it is given, so a probability of
    0 would cost 16 nats from a method that answers in float32 and 36 nats from one that answers in float64.
    """
    if not np.isfinite(proba).all():
        raise ValueError("predict_proba returned values that are not finite")
    all_classes = np.unique(y)
    full = np.zeros((len(test), len(all_classes)))
    full[:, np.searchsorted(all_classes, classes)] = proba
    return log_loss(y[test], full / full.sum(axis=1, keepdims=True), labels=all_classes)


def _row(cell, overrides):
    """Return what is known of a cell before it runs."""
    try:
        settings = cell.method.settings(random_state=cell.names["seed"], **overrides)
    except Exception:  # the class cannot be imported or built; running the cell reports why
        settings = cell.method.params
    return dict.fromkeys(COLUMNS) | {
        **cell.names,
        "n_train": len(cell.train),
        "n_test": len(cell.test),
        **dict.fromkeys(["accuracy", "log_loss", "fit_seconds", "predict_seconds"], np.nan),
        "params": json.dumps(settings, default=repr),
        "mixsk_version": _version("mixsk"),
        "torch_version": _version("torch"),
        "sklearn_version": _version("scikit-learn"),
        "error": "",
        "warnings": "",
    }


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


@contextmanager
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)
