"""Run the jobs of a benchmark: on this machine's cores, or on a Dask cluster.

Dask hands jobs to workers. What a worker does is to wait: the job itself runs in a process of its own, under
a `Keeper`, so that nothing that happens to it reaches the worker or another job.
"""

import atexit
import logging
import math
import traceback
from collections import deque
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from threading import Thread

import dask
import joblib
import psutil
from distributed import Client, LocalCluster, WorkerPlugin, as_completed, get_worker
from distributed.scheduler import KilledWorker
from distributed.utils import CancelledError

from mixsk.bench.keeper import Keeper, Outcome

PRELOAD = ("mixsk.bench.cell:warm_up",)
DIED = ("crashed", "lost")
ENDED = ("timeout", "memory")


@dataclass(frozen=True)
class Job:
    """The cells of one method on one table that are trained together, or one cell.

    Attributes
    ----------
    function : str
        What is called in a process of its own, "package.module:name".
    args : tuple
        Its arguments, but the last.
    cells : tuple
        The last: a job of several can be taken apart.
    attempt : int
    """

    function: str
    args: tuple
    cells: tuple = ()
    attempt: int = 1

    def again(self, outcome):
        """Return what is tried instead after an outcome that is no result: nothing, or other jobs.

        A process that died is tried once more as it was, since it may not have been its own fault. Cells that
        ended a common process, or overran its limits, are tried one by one: the others have done nothing.
        """
        if outcome.status in DIED and self.attempt == 1:
            return [replace(self, attempt=2)]
        if outcome.status in DIED + ENDED and len(self.cells) > 1:
            return [replace(self, cells=(cell,), attempt=2) for cell in self.cells]
        return []


@contextmanager
def cluster(n_jobs, scheduler=None, n_gpus=0):
    """Yield a Dask client: of this process with `n_jobs` threads (None: one per core), or of a scheduler.

    Raises
    ------
    ConnectionError
        If no scheduler answers there, or a worker cannot import mixsk.
    """
    if scheduler is not None:
        # Its forty lines on a scheduler that is lost would hide ours.
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
        try:
            client = Client(scheduler, timeout=10)
        except (OSError, TimeoutError, ValueError) as error:
            raise ConnectionError(
                f"no Dask scheduler answers at {scheduler} ({error}); start one with `dask scheduler`, and "
                f"workers with `dask worker {scheduler} --nthreads 1 --nworkers -1`."
            ) from error
        with client:
            _check_workers(client)
            client.register_plugin(Watch())
            yield client
        return
    # Threads are enough: they only wait. After a sleep of the whole machine the worker is late, not dead.
    with (
        dask.config.set({"distributed.scheduler.worker-ttl": None}),
        LocalCluster(
            n_workers=1,
            threads_per_worker=n_jobs or joblib.cpu_count(),
            processes=False,
            dashboard_address="127.0.0.1:0",  # any free port: the usual one may be taken, which would warn
            worker_dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            memory_limit=0,
            resources={"GPU": n_gpus} if n_gpus else None,
        ) as local,
        Client(local) as client,
    ):
        client.register_plugin(Watch())
        try:
            yield client
        finally:
            close_keepers(idle=False)  # first, or the worker would wait for what they run


def _check_workers(client):
    """Say at once what would else be said of every cell."""
    answers = {f"worker {at}": answer for at, answer in client.run(_present, on_error="return").items()}
    try:
        answers["scheduler"] = client.run_on_scheduler(_present)
    except Exception as error:
        answers["scheduler"] = error
    for name, answer in answers.items():
        if isinstance(answer, Exception) and not isinstance(answer, OSError):  # a worker that has just left
            raise ConnectionError(
                f"the Dask {name} cannot import mixsk ({answer}); install it where `dask "
                f"{name.partition(' ')[0]}` is started, too."
            )


def _present():
    """Be imported where it is called."""


def execute(client, jobs, *, time_limit=None, memory_limit=None, resources=None, stop=lambda: False):
    """Run jobs and yield each with its outcome as it ends, in any order.

    Parameters
    ----------
    client : distributed.Client
    jobs : iterable of Job
    time_limit : float or None, default=None
        Seconds for one cell; a job of several has as many times as much.
    memory_limit : int or None, default=None
        Bytes for one process. None: for each thread of a worker an equal part of the worker's memory, or of
        the machine's if the worker has no limit.
    resources : dict or None, default=None
        Of Dask, that a job needs.
    stop : callable, default=lambda: False
        Asked before each job; once it answers True, no other job begins.

    Yields
    ------
    job : Job
    outcome : Outcome
        Of a job that is tried again only the last.

    Raises
    ------
    ConnectionError
        If the scheduler is lost.
    """
    waiting, running = deque(jobs), {}
    completed = as_completed(with_results=False)
    try:
        while waiting or running:
            while waiting and len(running) < _slots(client) and not stop():
                job = waiting.popleft()
                limit = None if time_limit is None else time_limit * max(1, len(job.cells))
                future = client.submit(
                    call, job, limit, memory_limit, resources=resources, pure=False, retries=0
                )
                running[future] = job
                completed.add(future)
            if not running:
                return
            future = next(completed)
            job = running.pop(future)
            outcome = _outcome(future)
            retries = job.again(outcome)
            waiting.extendleft(reversed(retries))
            if not retries:
                yield job, outcome
    except (CancelledError, OSError) as error:  # all of dask: whoever takes what is yielded raises elsewhere
        raise ConnectionError("The Dask scheduler is gone, and its workers with it") from error
    finally:
        if running and client.status == "running":
            client.cancel(list(running), force=True)


def _slots(client):
    """How many jobs may be under way: all threads busy, and on a cluster as many again on their way there."""
    threads = sum(client.nthreads().values())
    return threads if isinstance(client.cluster, LocalCluster) else 2 * threads + 1


def _outcome(future):
    try:
        return Outcome(**future.result())
    except KilledWorker as error:
        return Outcome(
            "crashed", None, f"Dask gave it up after several of its workers had died: {error}", 0, 0
        )
    except CancelledError:
        raise
    except Exception:  # of the worker: it cannot start a process, for instance
        return Outcome("lost", None, traceback.format_exc(), 0.0, math.nan)


def call(job, time_limit, memory_limit):
    """Run a job under a keeper; on a worker of Dask."""
    if memory_limit is None:
        worker = get_worker()
        memory = worker.memory_manager.memory_limit or psutil.virtual_memory().total
        memory_limit = memory // worker.state.nthreads
    try:
        keeper = _idle.pop()
    except IndexError:
        keeper = Keeper(PRELOAD)
    task = get_worker().get_current_task()
    _busy[task] = keeper
    try:
        arguments = [*job.args, list(job.cells), time_limit] if job.cells else job.args
        return asdict(keeper.call(job.function, *arguments, time_limit=time_limit, memory_limit=memory_limit))
    finally:
        if _busy.pop(task, None) is keeper:  # else it was closed
            _idle.append(keeper)


class Watch(WorkerPlugin):
    """Ends on a worker what nobody waits for: its client was interrupted or died, or the scheduler did."""

    name, idempotent = "mixsk", True  # one for all clients

    def transition(self, key, start, finish, **kwargs):
        """End what runs for a task that is given up."""
        if finish == "released" and (keeper := _busy.pop(key, None)) is not None:
            Thread(target=keeper.close).start()  # it may take seconds, in which the worker must answer

    def teardown(self, worker):
        """End what runs, for which the worker would wait before it leaves."""
        close_keepers(idle=False)


_busy, _idle = {}, []  # keepers, those that run something by its task


@atexit.register
def close_keepers(idle=True):
    """End the keepers of this process with what they run; if so wished, not those that wait for more."""
    while _busy:
        _busy.popitem()[1].close()
    while _idle and idle:
        _idle.pop().close()
