"""What runs in a process of its own: the cells of a method on a table, and the loading of a table."""

import json
import math
import platform
import subprocess
import time
import traceback
import warnings
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from inspect import signature
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

import mixsk
from mixsk.bench.methods import load_methods, plain
from mixsk.bench.plan import Cell
from mixsk.bench.protocol import Protocol
from mixsk.bench.scores import score
from mixsk.bench.store import Run, Table
from mixsk.bench.suite import read_suite
from mixsk.classifiers._settings import is_auto, usual
from mixsk.datasets import make_moons
from mixsk.datasets.samples import hold_out
from mixsk.model_selection._group import split, why_not
from mixsk.model_selection._outcome import Fold
from mixsk.model_selection._train import train

OF_THE_LIMIT = 0.8  # what a fit may take of a cell's time; the rest is for what is around it
DEVELOPMENT = 0.1  # of the training rows of texts and images


class Rows(NamedTuple):
    """Row numbers: what an estimator is fitted to, judged on, and told to stop by (None: nothing)."""

    train: np.ndarray
    test: np.ndarray
    dev: np.ndarray | None


def freeze_table(folder, suite, name, options):
    """Load a table of a suite and keep it in a run's folder.

    Parameters
    ----------
    folder : str
    suite : str
        As of `read_suite`, `options` its keyword arguments.
    name : str
    options : dict

    Returns
    -------
    info : dict
        What the run's settings say of the table; or only "refused": why it cannot be learnt. "warnings" are
        those of its loading, if there are any.
    """
    try:
        suite = read_suite(suite, **options)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", UserWarning)
            X, y = suite.tables[name]()
            official = suite.splits[name]() if name in suite.splits else None
        _check(X, y)
    except (ValueError, OSError, ImportError) as error:
        return {"refused": str(error)}
    classes, codes = np.unique(np.asarray(y).astype(str), return_inverse=True)
    table = Table(X, codes.astype(np.int64), classes.tolist(), official)
    Run(folder).freeze(name, table)
    info = {"rows": X.shape[0], "columns": math.prod(X.shape[1:]), "classes": len(classes)}
    if caught:
        info["warnings"] = list(dict.fromkeys(str(one.message) for one in caught))
    return info | {
        "fingerprint": table.fingerprint(),
        "official": None if official is None else sorted(map(list, official)),
    }


def _check(X, y):
    if X.ndim == 2 and X.shape[1] == 0:
        raise ValueError("there is no column beside the target.")
    if len(set(np.asarray(y).astype(str))) < 2:
        raise ValueError(f"all {len(y)} rows have the same class, there is nothing to learn.")
    values = X.isna().to_numpy() if hasattr(X, "isna") else np.isnan(X)
    if values.all():
        raise ValueError("no column has a value in any row.")


def run_cells(folder, table, method, cells, time_limit=None):
    """Fit, judge and keep the results of cells that share a table and a method.

    Parameters
    ----------
    folder : str
        Of the run, which says the rest.
    table, method : str
    cells : list of [repeat, fold, seed]
        Trained as one program if the classifier can be.
    time_limit : float or None, default=None
        Seconds after which this process will be killed. A classifier that is fitted alone and knows how to
        keep to a limit is given most of it, so that it ends in time with what it has learnt.

    Returns
    -------
    report : dict
        "statuses", those of the cells; or "unwritable": why the results cannot be written.
    """
    run = Run(folder)
    settings = run.settings()
    cells = [Cell(table, method, *numbers) for numbers in cells]
    data = run.table(table)
    if data is None:
        raise RuntimeError(f"table {table} of {folder} is damaged; start the run again, which repairs it.")
    protocol = Protocol(**settings["protocol"])
    splits = protocol.splits(data.y, data.splits)
    rule = load_methods(settings["methods"][method]["source"])[method]
    common = {"suite": settings["suite"]["name"], "protocol": protocol.name, "n_classes": len(data.classes)}
    common |= {"classes": data.classes} | _provenance()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        make = rule.search if protocol.searches else rule.build
        estimators = [make(random_state=cell.seed, **settings["overrides"]) for cell in cells]
        cuts = [
            _cut(data, estimator, cell.seed, *splits[cell.repeat, cell.fold])
            for cell, estimator in zip(cells, estimators, strict=True)
        ]
        rows = _fit_all(estimators, data, cuts, time_limit)
    told = "\n".join(dict.fromkeys(f"{one.category.__name__}: {one.message}" for one in caught))
    for cell, estimator, row in zip(cells, estimators, rows, strict=True):
        train_rows, test_rows = splits[cell.repeat, cell.fold][:2]
        row |= common | {"together": len(cells), "warnings": told, "peak_mb": _peak_mb()}
        row |= {
            "params": _json(plain(estimator)),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        row |= {"n_train": len(train_rows), "n_test": len(test_rows), "y": data.y[test_rows].tolist()}
        try:
            run.write(cell, row)
        except OSError as error:
            return {"unwritable": f"{folder}: {error.strerror or error}"}
    return {"statuses": [row["status"] for row in rows]}


def _cut(data, estimator, seed, train_rows, test_rows, dev_rows=None):
    """Rows for an estimator: of texts and images with some for development, if it stops by such.

    Without official ones those are a share of the training rows of each class, which depend on the seed.
    """
    is_table = data.X.ndim == 2
    if is_table or "X_val" not in signature(estimator.fit).parameters or not _may_stop(estimator):
        return Rows(train_rows, test_rows, None)
    if dev_rows is None:
        kept, held = hold_out(data.y[train_rows], DEVELOPMENT, random_state=seed)
        train_rows, dev_rows = train_rows[kept], train_rows[held]
    return Rows(train_rows, test_rows, dev_rows if len(dev_rows) else None)


def _may_stop(estimator):
    """Whether rows held out have a say in its training; else it has all of them."""
    stops = getattr(estimator, "early_stopping", True)
    if not is_auto(stops):
        return stops
    # Of an estimator that is none of ours nobody knows.
    return not hasattr(estimator, "module") or usual(estimator.module).stop_from is not None


def _fit_all(estimators, data, cuts, time_limit):
    """Return a row for each estimator and its `Rows`."""
    sizes = [len(cut.train) for cut in cuts]
    alike = len(estimators) > 1 and all(cut.dev is None for cut in cuts)
    if alike and all(can_be_stacked(estimator, sizes) for estimator in estimators):
        return _fit_together(estimators, data, cuts)
    for estimator in estimators:
        if time_limit is not None and getattr(estimator, "time_limit", 0) is None:
            estimator.set_params(time_limit=OF_THE_LIMIT * time_limit / len(estimators))
    return [_fit_alone(estimator, data, *cut) for estimator, cut in zip(estimators, cuts, strict=True)]


def can_be_stacked(estimator, sizes=()):
    """Whether fits of it, to so many rows each if that is known, can be one program."""
    return why_not(split(estimator)[1], sizes) is None


def _fit_alone(estimator, data, train_rows, test_rows, dev_rows):
    given = {} if dev_rows is None else {"X_val": _rows(data.X, dev_rows), "y_val": data.y[dev_rows]}
    start = time.perf_counter()
    try:
        estimator.fit(_rows(data.X, train_rows), data.y[train_rows], **given)
        fitted = time.perf_counter()
        proba = estimator.predict_proba(_rows(data.X, test_rows))
        seconds = {"fit_seconds": fitted - start, "predict_seconds": time.perf_counter() - fitted}
        chosen = getattr(estimator, "best_params_", None)
        return seconds | {"chosen": _json(chosen)} | _judge(data, test_rows, estimator.classes_, proba)
    except Exception:
        return {"status": "failed", "error": traceback.format_exc()}


def _fit_together(estimators, data, cuts):
    """Train them as one program; the seconds, of which each has an equal part, include the prediction."""
    folds, jobs, known = [], [], {}
    for estimator, (train_rows, test_rows, _) in zip(estimators, cuts, strict=True):
        if id(train_rows) not in known:  # seeds share their rows
            known[id(train_rows)] = len(folds)
            X, X_test = _rows(data.X, train_rows), _rows(data.X, test_rows)
            folds.append(Fold(X, data.y[train_rows], None, [X_test]))
        jobs.append((estimator, known[id(train_rows)]))
    start = time.perf_counter()
    outcomes = train(jobs, folds)
    seconds = (time.perf_counter() - start) / len(jobs)
    rows = []
    for outcome, (_, test_rows, _) in zip(outcomes, cuts, strict=True):
        try:
            if outcome.error is not None:
                raise outcome.error
            (proba,) = outcome.probabilities
            if isinstance(proba, Exception):
                raise proba
            row = {"fit_seconds": seconds, "chosen": "null"}
            rows.append(row | _judge(data, test_rows, outcome.classes, proba))
        except Exception:
            rows.append({"status": "failed", "error": traceback.format_exc()})
    return rows


def _rows(X, index):
    return getattr(X, "iloc", X)[index]


def _judge(data, test_rows, classes, proba):
    """Scores over all classes of the table: one that the training rows lack has probability 0."""
    full = np.zeros((len(test_rows), len(data.classes)))
    full[:, classes] = proba
    scores = score(data.y[test_rows], full, len(data.classes))
    kept = full.astype(np.float32)
    return scores | {"status": "ok", "error": "", "probabilities": list(map(list, kept.tolist()))}


def _json(value):
    return json.dumps(value, default=repr)


def _peak_mb():
    """Peak resident memory of this process, in 10^6 bytes."""
    import resource

    scale = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6


@cache
def _provenance():
    """Versions and the machine."""
    return {
        "mixsk": mixsk.__version__,
        "revision": _revision(),
        "torch": torch.__version__,
        "sklearn": _version("scikit-learn"),
        "python": platform.python_version(),
        "host": platform.node(),
    }


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _revision():
    """Git's name for the code that runs, "" if git does not have it."""
    package = Path(mixsk.__file__).parent
    try:
        _git(package, "ls-files", "--error-unmatch", "__init__.py")  # else it only lies in a repository
        return _git(package, "describe", "--always", "--dirty", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(folder, *command):
    done = subprocess.run(
        ["git", "-C", folder, *command], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()


def warm_up():
    """Do once, before the first child is forked, what a first fit would pay for in every child.

    A first fit also imports and initialises: 0.9 s for a network whose fit on iris takes 0.15 s. Not where
    torch may use a GPU: the threads that its first backward pass starts would not be there after a fork.
    """
    _provenance()
    if torch.version.cuda is not None or torch.version.hip is not None:
        return
    X, y = make_moons(20, random_state=0)
    with suppress(Exception), warnings.catch_warnings():  # what goes wrong here goes wrong in the cell too
        warnings.simplefilter("ignore")
        for clf in (mixsk.MixupClassifier, mixsk.GenLabelClassifier):
            clf(max_epochs=1, random_state=0).fit(X, y).predict_proba(X)
