"""Run a benchmark into a folder: what is there already is kept, all else is run."""

import os
import platform
import shutil
from dataclasses import asdict, replace

from mixsk.bench.cell import can_be_stacked
from mixsk.bench.engine import Job, execute
from mixsk.bench.plan import Cell, splits_of
from mixsk.bench.store import TABLES

FREEZE, RUN = "mixsk.bench.cell:freeze_table", "mixsk.bench.cell:run_cells"


class UnwritableError(OSError):
    """Results cannot be written: the disk is full, for instance."""


def describe(suite, methods, protocol, *, seeds=1, **overrides):
    """Return the settings of a run, but for its tables: what `begin` needs.

    Parameters
    ----------
    suite : Suite
    methods : dict of str to Method
    protocol : Protocol
    seeds : int, default=1
        How many of each fit, with the seeds `protocol.seed`, `protocol.seed + 1`, ...
    **overrides
        Parameters for every estimator that has them, such as `max_epochs=10`; None is left out.

    Raises
    ------
    ValueError
        If a method cannot be built so: what it needs is not installed, or not for this network.
    """
    overrides = {name: value for name, value in overrides.items() if value is not None}
    for name, method in methods.items():
        try:
            method.build(**overrides)
        except Exception as error:
            raise ValueError(f"method {name} cannot be built: {error}") from error
    return {
        "suite": {
            "name": suite.name,
            "source": suite.source,
            "digest": suite.digest,
            "parity": suite.options["parity"],
            "options": suite.options,
            "tables": list(suite.tables),
        },
        "protocol": asdict(protocol),
        "seeds": seeds,
        "overrides": overrides,
        "methods": {
            name: {
                "source": method.source,
                "is": method.describe(searches=protocol.searches, **overrides),
            }
            for name, method in methods.items()
        },
    }


def begin(client, run, settings, report=lambda done, total: None):
    """Make a folder ready: keep its tables, write the settings; return those.

    Parameters
    ----------
    client : distributed.Client
    run : Run
    settings : dict
        From `describe`.
    report : callable
        Called with the number of tables that are ready, and of all.

    Returns
    -------
    settings : dict
        With the tables; and with the methods, repeats and seeds that the folder had before.

    Raises
    ------
    ValueError
        If the folder holds another run, a worker does not see it, or a table cannot be learnt.
    """
    settings = merged(run, settings)
    _check_shared(client, run.folder.absolute())
    try:
        settings |= {"tables": _freeze(client, run, settings, report)}
        for name in settings["tables"]:
            splits_of(settings, name)
    except ValueError:
        if not run.exists:
            shutil.rmtree(run.folder / TABLES, ignore_errors=True)
        raise
    run.begin(settings)
    return settings


def _check_shared(client, folder):
    """Have no worker that makes a folder of its own, or finds no run in it."""
    for worker, seen in client.run(os.path.isdir, folder).items():
        if not seen:
            raise ValueError(
                f"Dask worker {worker} has no folder {folder}: choose one that all machines share (--out)."
            )


def merged(run, settings):
    """Return what a folder is to hold: what it holds already, and what a run of these settings adds.

    Raises
    ------
    ValueError
        If the folder holds another run, or something else.
    """
    if run.exists:
        return _merged(run.folder, run.settings(), settings)
    if run.folder.exists() and not run.folder.is_dir():
        raise ValueError(f"{run.folder} is a file and not a folder; choose another.")
    # Tables alone are what a run leaves that was stopped before it had them all.
    if run.folder.exists() and any(p.name != TABLES and p.name[0] != "." for p in run.folder.iterdir()):
        raise ValueError(f"{run.folder} is not empty and not the folder of a run; choose another.")
    return settings | {"tables": {}}


def _merged(folder, before, now):
    same = {"suite": ("name", "digest", "parity"), "protocol": ("name", "folds", "seed", "test_size")}
    for part, keys in same.items():
        for key in keys:
            if before[part][key] != now[part][key]:
                what = part if key == "name" else f"{part}'s {key}"
                raise ValueError(
                    f"{folder} holds another run: its {what} is {before[part][key]!r}, not "
                    f"{now[part][key]!r}. Choose another folder."
                )
    if before["overrides"] != now["overrides"]:
        raise ValueError(
            f"{folder} holds a run with the options {before['overrides']}, not {now['overrides']}. Choose "
            "another folder."
        )
    for name, method in now["methods"].items():
        known = before["methods"].get(name, method)["is"]
        if known != method["is"]:
            raise ValueError(
                f"{folder} holds results of another method {name}: {known}, not {method['is']}. Choose "
                "another folder, or another name."
            )
    protocol = now["protocol"] | {"repeats": max(before["protocol"]["repeats"], now["protocol"]["repeats"])}
    return now | {
        "protocol": protocol,
        "seeds": max(before["seeds"], now["seeds"]),
        "methods": before["methods"] | now["methods"],
        "tables": before["tables"],
    }


def _freeze(client, run, settings, report):
    """Keep the tables that the folder has not; return what is known of all."""
    suite, names, known = settings["suite"], settings["suite"]["tables"], settings["tables"]
    todo = [name for name in names if name not in known or run.table(name) is None]
    report(len(names) - len(todo), len(names))
    arguments = (str(run.folder.absolute()), suite["source"])  # a worker may be in another folder
    jobs = [Job(FREEZE, (*arguments, name, suite["options"])) for name in todo]
    infos, refused = dict(known), {}
    for number, (job, outcome) in enumerate(execute(client, jobs), start=len(names) - len(todo) + 1):
        name = job.args[2]
        info = outcome.value if outcome.status == "ok" else {"refused": f"{outcome.status}: {outcome.error}"}
        if "refused" in info:
            refused[name] = info["refused"]
        elif name in known and info["fingerprint"] != known[name]["fingerprint"]:
            refused[name] = "it is no longer the table that this run began with; choose another folder."
        infos[name] = info
        report(number, len(names))
    if refused:
        lines = "\n".join(f"  {name}: {refused[name]}" for name in names if name in refused)
        raise ValueError(f"{len(refused)} of {len(names)} tables of {suite['name']} cannot be used:\n{lines}")
    return {name: infos[name] for name in names}


def jobs_of(folder, cells, left, methods, overrides, *, apart=False, shard=(1, 1)):
    """Put cells into jobs: the folds of a repeat and seed together, where the classifier can be stacked.

    What is trained together, and in which shard, depends on all `cells` and not on those that are `left`: so
    a run that was interrupted ends with the numbers of one that was not, which rounding would change, and
    shards that begin at different times leave nothing out.

    Parameters
    ----------
    folder : Path
    cells : list of Cell
        All of the run.
    left : set of Cell
        Those without a result.
    methods : dict of str to Method
    overrides : dict
    apart : bool, default=False
        Train each cell by itself.
    shard : (int, int), default=(1, 1)
        I and N: every N-th job from the I-th on, which counts from 1.

    Returns
    -------
    jobs : list of Job
    """
    stacked = {
        name: not apart and can_be_stacked(method.build(**overrides)) for name, method in methods.items()
    }
    groups = {}
    for cell in cells:
        together = (cell.table, cell.method, cell.repeat, cell.seed) if stacked[cell.method] else cell
        groups.setdefault(together, []).append(cell)
    number, of = shard
    where = str(folder.absolute())  # a worker may be in another folder
    return [
        Job(RUN, (where, group[0].table, group[0].method), tuple(tuple(cell[2:]) for cell in group))
        for group in list(groups.values())[number - 1 :: of]
        if not left.isdisjoint(group)
    ]


def run_jobs(client, run, jobs, settings, **options):
    """Run jobs and yield (cell, status) as each cell has ended.

    Parameters
    ----------
    client : distributed.Client
    run : Run
    jobs : list of Job
    settings : dict
        From `begin`.
    **options
        Of `execute`.

    Raises
    ------
    UnwritableError
        If a result cannot be written.
    ConnectionError
        If Dask's scheduler is lost.
    """
    for job, outcome in execute(client, jobs, **options):
        if outcome.status == "lost":  # the process died with its keeper: that is our affair
            outcome = replace(outcome, status="crashed")
        cells = [Cell(*job.args[1:], *numbers) for numbers in job.cells]
        report = outcome.value if outcome.status == "ok" else {}
        if "unwritable" in report:
            raise UnwritableError(report["unwritable"])
        statuses = report.get("statuses")
        if statuses is None:  # no result was written, and nobody else is left to do it
            statuses = [outcome.status] * len(cells)
            for cell in cells:
                _write_failure(run, cell, settings, outcome, len(cells))
        yield from zip(cells, statuses, strict=True)


def _write_failure(run, cell, settings, outcome, together):
    table = settings["tables"][cell.table]
    row = {"suite": settings["suite"]["name"], "protocol": settings["protocol"]["name"]}
    row |= {"status": outcome.status, "error": outcome.error, "warnings": "", "together": together}
    row |= {
        "fit_seconds": outcome.seconds / together,
        "peak_mb": outcome.peak_mb,
        "n_classes": table["classes"],
    }
    try:
        run.write(cell, row | {"host": platform.node()})
    except OSError as error:
        raise UnwritableError(f"{run.folder}: {error.strerror or error}") from error
