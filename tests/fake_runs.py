"""Runs as `mixsk bench run` would leave them, made in milliseconds."""

import numpy as np

from mixsk.bench.plan import planned
from mixsk.bench.scores import score
from mixsk.bench.store import Run

PROVENANCE = {"mixsk": "1.2.3", "revision": "abc1234", "torch": "2.13.0", "sklearn": "1.9.1"}
PROVENANCE |= {"python": "3.11.9", "host": "box", "finished": "2026-10-01T10:00:00+00:00"}


def make_run(
    folder,
    tables,
    methods,
    skills=None,
    *,
    n_classes=2,
    n_test=30,
    folds=2,
    seeds=1,
    official=None,
    **settings,
):
    """Begin a run and write all its cells; `skills` by (table, method) is how far the classes lie apart."""
    run = Run(folder)
    run.begin(
        {
            "suite": {"name": "tiny", "source": "tiny", "digest": "0", "parity": False, "options": {}}
            | {"tables": list(tables)},
            "protocol": {"name": "cv", "folds": folds, "repeats": 1, "seed": 0, "test_size": 0.3},
            "seeds": seeds,
            "overrides": {},
            "methods": {name: {"source": name, "is": {"class": name, "alpha": 1}} for name in methods},
            "tables": {
                name: {
                    "rows": 60,
                    "columns": 4,
                    "classes": n_classes,
                    "fingerprint": name,
                    "official": official,
                }
                for name in tables
            },
        }
        | settings
    )
    for cell in planned(run.settings()):
        skill = (skills or {}).get((cell.table, cell.method), 1.0)
        write(run, cell, n_classes=n_classes, n_test=n_test, skill=skill)
    return run


def probabilities(cell, n_classes, n_test, skill):
    """Test labels that all methods of a fold share, and probabilities of a method."""
    rng = np.random.default_rng([cell.repeat, cell.fold, cell.seed, len(cell.table)])
    y = rng.integers(n_classes, size=n_test)
    noise = np.random.default_rng([*cell.method.encode(), *cell.table.encode(), cell.fold, cell.seed])
    logits = noise.normal(size=(n_test, n_classes))
    logits[np.arange(n_test), y] += skill
    proba = np.exp(logits)
    return y, proba / proba.sum(axis=1, keepdims=True)


def write(run, cell, *, n_classes=2, n_test=30, skill=1.0, y=None, proba=None, **row):
    """Write a cell that has succeeded, with the scores of its probabilities."""
    if proba is None:
        y, proba = probabilities(cell, n_classes, n_test, skill)
    row = {"fit_seconds": 0.5, "predict_seconds": 0.01, "peak_mb": 100.0, "together": 1} | row
    row |= {"suite": "tiny", "protocol": "cv", "status": "ok", "error": "", "n_train": 40, "n_test": len(y)}
    row |= PROVENANCE | score(y, proba, proba.shape[1]) | {"n_classes": proba.shape[1]}
    row |= {"y": list(map(int, y)), "probabilities": proba.astype(np.float32).tolist()}
    run.write(cell, {"warnings": ""} | row)


def fail(run, cell, status="failed", error="Traceback (most recent call last):\n  ...\nValueError: no luck"):
    """Write a cell that has failed, in place of a success."""
    (run.folder / cell.path()).unlink(missing_ok=True)
    run.write(cell, {"status": status, "error": error, "warnings": ""} | PROVENANCE)
