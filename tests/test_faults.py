"""Whatever goes wrong in a benchmark, the same command again ends with the results of a clean run.

Bit for bit, and no process is left behind. What is to go wrong is ordered of the classifiers in
faulty_methods.py. Most of the time goes into importing torch, in every process that forks cells: so the
tests share a cluster whose workers have done it, and what needs a process of its own happens meanwhile.
"""

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest

from mixsk.bench.keeper import ONE_THREAD
from mixsk.bench.plan import Cell

psutil = pytest.importorskip("psutil")
pytest.importorskip("rich")
engine = pytest.importorskip("mixsk.bench.engine")
runner = pytest.importorskip("mixsk.bench.runner")
Run = pytest.importorskip("mixsk.bench.store").Run

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="every cell runs in a forked process"),
    pytest.mark.xdist_group("faults"),  # its fixtures are expensive: one worker makes them
]

SECONDS = 180  # for what should take a few: a busy machine must not fail a test
VARIES = ("fit_seconds", "predict_seconds", "peak_mb", "finished", "revision")  # from run to run
METHODS = Path(__file__).with_name("faulty_methods.py")
TROUBLES = "hang full"  # fewer cells for most of the runs
ALL_TROUBLES = "segfault kill keeper leak hang full"
DASK = Path(sys.executable).with_name("dask")
SUITE = """
[tables.moons]
toy = "make_moons"
n_samples = 40
noise = 0.5
random_state = 0
"""
MIXSK = "import sys; from mixsk.bench.cli import main; sys.exit(main())"  # as the script `mixsk` does
# Has imported what a command imports, and forks a process for each: tells its id, and later how it has ended.
LAUNCHER = """
import json, os, signal, sys
from resource import RLIMIT_FSIZE, setrlimit
from mixsk.bench import engine, lock, runner, screen, store
from mixsk.bench.cli import main
from mixsk.bench.commands import run

for line in sys.stdin:
    request = json.loads(line)
    if "pid" in request:
        pid, status = os.waitpid(request["pid"], os.WNOHANG)
        print(json.dumps(os.waitstatus_to_exitcode(status) if pid else None), flush=True)
        continue
    if pid := os.fork():
        print(pid, flush=True)
        continue
    os.setsid()
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor, to in enumerate([os.open(os.devnull, os.O_RDONLY), output, output]):
        os.dup2(to, descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(request["environ"])
    if request["largest_file"]:
        setrlimit(RLIMIT_FSIZE, [request["largest_file"]] * 2)
    sys.exit(main(request["arguments"]))
"""
TERMINAL = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")  # make rich take a file for one
ENVIRON = {name: value for name, value in os.environ.items() if name not in TERMINAL} | ONE_THREAD


def wait_until(happened):
    end = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.02)


def gone(pid):
    """Whether a process has ended; one that nobody has asked for its exit code yet counts as ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Orders:
    """What is to go wrong, and what the fits have noted."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()

    def give(self, *methods):
        """Let the next fit of a method go wrong, as often as it is named."""
        (self.folder / "hanging").unlink(missing_ok=True)
        for number, method in enumerate(methods):
            (self.folder / f"{method}-{number}").touch()

    def hanging(self):
        """Wait for the fit that hangs; return its keeper, its process and one that it has started."""
        wait_until((self.folder / "hanging").exists)
        return [int(pid) for pid in (self.folder / "hanging").read_text().split()]

    def attempts(self):
        """Return in how many processes each method was fitted."""
        fits = {tuple(line.split()) for line in (self.folder / "log").read_text().splitlines()}
        methods = [method for method, _ in fits]
        return {method: methods.count(method) for method in methods}

    def no_cell_runs(self):
        """Wait until all processes are gone that have fitted something, and what they have started."""
        pids = [int(line.split()[1]) for line in (self.folder / "log").read_text().splitlines()]
        if (self.folder / "hanging").exists():
            pids += self.hanging()[1:]
        wait_until(lambda: all(map(gone, pids)))

    def nothing_runs(self):
        """Wait until no process of a local run is left: they have this folder in their environment."""

        def ours(process):
            try:
                return process.environ().get("MIXSK_ORDERS") == str(self.folder)
            except psutil.Error:
                return False

        wait_until(lambda: not any(map(ours, psutil.process_iter())))


class Launcher:
    """Starts commands that need not import anything, which takes seconds."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=ENVIRON,
            cwd=folder,
        )
        self.asking = threading.Lock()

    def ask(self, **request):
        with self.asking:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())


class Command:
    """A command that has begun."""

    def __init__(self, launcher, output, **request):
        self.launcher, self.output, self.ended = launcher, output, None
        self.pid = launcher.ask(output=str(output), **request)

    @property
    def status(self):
        """How it ended, for which this waits."""
        wait_until(self._has_ended)
        return self.ended

    def _has_ended(self):
        if self.ended is None:
            self.ended = self.launcher.ask(pid=self.pid)
        return self.ended is not None

    @property
    def text(self):
        return self.output.read_text()

    def send(self, number):
        os.kill(self.pid, number)


class Bench:
    """The command for a folder of results, with methods of which some may be in trouble."""

    def __init__(
        self, launcher, folder, *options, troubles=TROUBLES, suite=SUITE, methods=METHODS, orders=None
    ):
        folder.mkdir(exist_ok=True)
        self.launcher, self.out = launcher, folder / "out"
        self.orders = orders or Orders(folder / "orders")
        self.environ = {"MIXSK_ORDERS": str(self.orders.folder), "MIXSK_TROUBLES": troubles}
        (folder / "tiny.toml").write_text(suite)
        self.arguments = ["bench", "run", "--suite", str(folder / "tiny.toml"), "--out", str(self.out)]
        self.arguments += ["--methods", str(methods), "--folds", "2", *options]

    def start(self, *options, largest_file=None):
        return Command(
            self.launcher,
            self.out.with_name(f"{uuid4().hex}.log"),
            arguments=[*self.arguments, *options],
            environ=self.environ,
            largest_file=largest_file,
        )

    def run(self, *options, **limits):
        command = self.start(*options, **limits)
        assert command.status is not None
        return command

    def cells(self):
        """Return all that the results say, but for what varies."""
        run = Run(self.out)
        rows = {path: run.read(run.folder / path) for path in run.files()}
        return {
            path: {name: value for name, value in row.items() if name not in VARIES}
            for path, row in rows.items()
        }

    def parts(self):
        """Return the files that were being written and have not been removed."""
        return list(self.out.rglob(".part-*"))


def is_part(cells, of):
    """Whether there are cells, among others, and as they are there."""
    return bool(cells) and all(of[path] == cell for path, cell in cells.items())


# --- runs on this machine


@pytest.fixture(scope="module")
def launcher(tmp_path_factory):
    launcher = Launcher(tmp_path_factory.mktemp("launcher"))
    yield launcher
    launcher.process.communicate()


class Clean:
    """A run in which nothing goes wrong, by the command as it is installed; it goes on meanwhile."""

    def __init__(self, folder):
        self.bench = Bench(None, folder, "--jobs", "1", troubles=ALL_TROUBLES)
        self.process = subprocess.Popen(
            [sys.executable, "-c", MIXSK, *self.bench.arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENVIRON | self.bench.environ,
        )

    @cached_property
    def cells(self):
        assert self.process.wait(SECONDS) == 0
        self.bench.orders.nothing_runs()
        return self.bench.cells()

    @cached_property
    def fewer(self):
        """Those of a run with fewer troubles."""
        methods = ["steady", "together", *TROUBLES.split()]
        return {path: cell for path, cell in self.cells.items() if cell["method"] in methods}


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    clean = Clean(tmp_path_factory.mktemp("clean"))
    yield clean
    clean.process.wait(SECONDS)


@pytest.fixture(scope="module")
def stories(clean, launcher, tmp_path_factory):
    """What happens in the runs below, as futures."""
    with ThreadPoolExecutor(2) as pool:
        yield {
            story: pool.submit(story, Bench(launcher, tmp_path_factory.mktemp(story.__name__)))
            for story in (knock, stop)
        }


def knock(bench):
    """There is no scheduler."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        return bench.run("--scheduler", address), address


def stop(bench):
    """No file can become as large as a result; Ctrl-C is pressed; results are damaged; a run is killed."""
    story = SimpleNamespace(limited=bench.run("--jobs", "1", largest_file=8192))
    bench.orders.nothing_runs()
    story.after_limit, story.parts = bench.cells(), bench.parts()

    bench.orders.give("hang")
    story.interrupted = bench.start("--jobs", "1")
    bench.orders.hanging()
    story.second = bench.run("--jobs", "1")
    story.interrupted.send(signal.SIGINT)
    assert story.interrupted.status is not None
    bench.orders.nothing_runs()
    story.after_interrupt = bench.cells()

    damaged = [bench.out / Cell("moons", method, 0, 1, 0).path() for method in ("steady", "together")]
    half = [path.stat().st_size // 2 for path in damaged]
    damaged[0].write_bytes(damaged[0].read_bytes()[: half[0]])
    damaged[1].write_bytes(bytes(half[1]) + damaged[1].read_bytes()[half[1] :])

    bench.orders.give("hang")
    story.killed = bench.start("--jobs", "1")
    bench.orders.hanging()
    story.killed.send(signal.SIGKILL)
    assert story.killed.status is not None
    bench.orders.nothing_runs()
    story.after_kill = bench.cells()

    story.last = bench.run("--jobs", "1")
    bench.orders.nothing_runs()
    story.at_last = bench.cells()
    return story


# --- a cluster


class Cluster:
    """A scheduler and workers of Dask, as the command `dask` starts them."""

    def __init__(self, folder):
        if not DASK.exists():
            pytest.skip("needs the command `dask`")
        self.folder, self.orders = folder, Orders(folder / "orders")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.scheduler, self.workers = None, []
        self.environ = {"MIXSK_ORDERS": str(self.orders.folder), "XDG_CONFIG_HOME": str(folder)}
        self.environ |= {"no_proxy": "127.0.0.1", "DASK_TEMPORARY_DIRECTORY": str(folder)}

    def ready(self, n_workers):
        """Start what has ended or never been, and wait until there are so many workers."""
        if self.scheduler is None or self.scheduler.poll() is not None:
            self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(self.port))
        wait_until(lambda: "Scheduler at" in self.scheduler.log.read_text())
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < n_workers:
            self.workers.append(self._start("worker", self.address, "--nthreads", "1"))
        for worker in self.workers:
            wait_until(lambda worker=worker: "Registered to" in worker.log.read_text())

    def _start(self, *arguments):
        log = self.folder / f"{uuid4().hex}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                [DASK, *arguments, "--no-dashboard"],
                stdout=file,
                stderr=file,
                cwd=self.folder,
                env=ENVIRON | self.environ,
                start_new_session=True,
            )
        process.log = log
        return process

    def stop(self):
        for processes in [self.workers, [self.scheduler] if self.scheduler else []]:
            for process in processes:
                process.terminate()  # and not kill, or they would leave semaphores
            for process in processes:
                process.wait(SECONDS)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


PAPER = ("--protocol", "paper", "--seeds", "2")  # chooses parameters


@pytest.fixture(scope="module")
def clean_paper(launcher, cluster, tmp_path_factory):
    cluster.ready(1)
    options = [*PAPER, "--scheduler", cluster.address]
    bench = Bench(launcher, tmp_path_factory.mktemp("paper"), *options, orders=cluster.orders)
    command = bench.run()
    assert command.status == 0, command.text
    cells = bench.cells()
    assert {cell["chosen"] for cell in cells.values()} > {"null"}
    return cells


@pytest.fixture
def bench(launcher, cluster, tmp_path):
    cluster.ready(1)
    return Bench(launcher, tmp_path, "--scheduler", cluster.address, orders=cluster.orders)


# --- cells that ruin their process


@pytest.fixture(scope="module")
def ruined(cluster, launcher, stories, tmp_path_factory):
    """Processes die, leak and hang; then the same command runs once more."""
    cluster.ready(1)
    options = ["--scheduler", cluster.address, "--time-limit", "8s", "--memory-limit", "2G"]
    folder = tmp_path_factory.mktemp("ruined")
    bench = Bench(launcher, folder, *options, troubles=ALL_TROUBLES, orders=cluster.orders)
    bench.orders.give(*["segfault"] * 3, "kill", "keeper", "leak", "hang", *["together"] * 3)
    first = bench.run()
    bench.orders.no_cell_runs()
    attempts, found = bench.orders.attempts(), bench.cells()
    again = bench.run()
    return SimpleNamespace(
        first=first, attempts=attempts, found=found, again=again, at_last=bench.cells(), parts=bench.parts()
    )


def row(cells, method, fold, status="ok"):
    return cells[str(Cell("moons", method, 0, fold, 0).path(status))]


def test_a_cell_that_always_segfaults_is_tried_twice_and_said_to_have_crashed(ruined):
    crashed = row(ruined.found, "segfault", 0, "failed")
    assert crashed["status"] == "crashed"
    assert crashed["error"].startswith(
        "The process of mixsk.bench.cell:run_cells was killed by SIGSEGV before it returned. Its last output:"
    )
    where = r"Segmentation fault\n[\s\S]*faulty_methods.py\", line \d+ in segfault\n"
    assert re.search(where, crashed["error"])
    assert crashed["accuracy"] is crashed["probabilities"] is None
    assert ruined.attempts["segfault"] == 2 + 2  # the other fold has crashed once


def test_a_cell_whose_process_or_keeper_was_killed_once_is_tried_again(ruined, clean):
    assert (ruined.attempts["kill"], ruined.attempts["keeper"]) == (2 + 1, 2 + 1)
    for method, fold in [("segfault", 1), ("kill", 0), ("keeper", 0)]:
        assert row(ruined.found, method, fold) == row(clean.cells, method, fold)


def test_a_cell_that_takes_more_memory_than_its_cap_is_ended(ruined):
    leaked = row(ruined.found, "leak", 0, "failed")
    assert leaked["status"] == "memory"
    assert re.match(r"mixsk.bench.cell:run_cells was killed at its limit of \d+ MB of mem", leaked["error"])
    assert ruined.attempts["leak"] == 1 + 1


def test_a_cell_that_never_ends_is_ended_with_what_it_has_started(ruined):
    hung = row(ruined.found, "hang", 0, "failed")
    assert hung["status"] == "timeout"
    assert hung["error"].startswith("mixsk.bench.cell:run_cells was killed at its limit of 8.0 s.")
    assert ruined.attempts["hang"] == 1 + 1  # and `no_cell_runs` found that other process gone


def test_cells_that_are_trained_together_and_die_twice_are_tried_one_by_one(ruined, clean):
    crashed, other = row(ruined.found, "together", 0, "failed"), row(ruined.found, "together", 1)
    assert (crashed["status"], crashed["together"]) == ("crashed", 1)
    assert "was killed by SIGKILL" in crashed["error"]
    assert (other["status"], other["together"]) == ("ok", 1)
    assert row(clean.cells, "together", 1)["together"] == 2
    assert ruined.attempts["together"] == 2 + 2


def test_other_cells_do_not_notice(ruined, clean):
    failed = {path: cell for path, cell in ruined.found.items() if cell["status"] != "ok"}
    assert sorted(cell["method"] for cell in failed.values()) == ["hang", "leak", "segfault", "together"]
    others = {
        path: cell
        for path, cell in ruined.found.items()
        if path not in failed and cell["method"] != "together"
    }
    assert len(others) == 11
    assert is_part(others, clean.cells)
    assert ruined.first.status == 1
    assert "16 of 16 cells, 4 failed" in ruined.first.text


def test_failed_cells_are_run_again_and_all_is_as_if_they_had_not_failed(ruined, clean):
    assert ruined.again.status == 0
    assert "12 cells are in" in ruined.again.text
    assert "4 failed cells are run again" in ruined.again.text
    assert ruined.at_last == clean.cells
    assert ruined.parts == []


def test_a_keeper_that_dies_twice_is_a_crash_too(tmp_path, monkeypatch):
    lost = engine.Outcome("lost", None, "The keeper's process was killed by SIGKILL", 2.0, math.nan)
    job = engine.Job(runner.RUN, (str(tmp_path), "moons", "keeper"), ((0, 0, 0), (0, 1, 0)))
    monkeypatch.setattr(runner, "execute", lambda client, jobs: [(job, lost) for job in jobs])
    settings = {"suite": {"name": "tiny"}, "protocol": {"name": "cv"}, "tables": {"moons": {"classes": 2}}}
    ended = dict(runner.run_jobs(None, Run(tmp_path), [job], settings))
    assert ended == {Cell("moons", "keeper", 0, fold, 0): "crashed" for fold in (0, 1)}
    frame = Run(tmp_path).results()
    assert frame["status"].tolist() == ["crashed"] * 2
    assert frame["error"].tolist() == [lost.error] * 2


# --- results that cannot be written, or differ from what was written


def test_a_disk_that_fills_up_ends_the_run_and_nothing_is_lost(bench, clean):
    bench.orders.give("full")
    full = bench.run()
    assert full.status == 1
    told = r"Cannot write results \(.*No space left on device\)\. Make room and run the same command again: 6"
    assert re.search(told, full.text)
    assert "Traceback" not in full.text
    found = bench.cells()
    assert 6 <= len(found) < 8  # the next one was under way
    assert is_part(found, clean.fewer)

    assert bench.run().status == 0
    assert bench.cells() == clean.fewer


def test_a_damaged_entry_of_the_openml_cache_is_fetched_again_or_named(
    cluster, launcher, tmp_path, monkeypatch
):
    pytest.importorskip("openml")
    from test_openml import FRUIT, Server, answers

    cluster.ready(1)
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(Server, "pages", answers(url))
        config = cluster.folder / "openml" / "config"
        config.parent.mkdir()
        config.write_text(f"server = {url}/api/v1/xml\nconnection_n_retries = 1\n")

        options = ["--scheduler", cluster.address, "--cache", str(tmp_path / "cache"), "--max-epochs", "2"]
        whole, damaged = (
            Bench(launcher, tmp_path / name, *options, suite="openml = [7]", methods="vanilla")
            for name in ("whole", "damaged")
        )
        first = whole.run()
        assert first.status == 0, first.text
        (file,) = (tmp_path / "cache").rglob("dataset.arff")
        file.write_text(FRUIT.replace("200", "201"))
        offline = damaged.run("--offline")
        online = damaged.run()
        server.shutdown()
    assert offline.status == 2
    assert f"openml-7: dataset 7 is not in the cache: {file} has another MD5 checksum" in offline.text
    assert online.status == 0, online.text
    assert file.read_text() == FRUIT
    assert damaged.cells() == whole.cells()
    assert len(whole.cells()) == 2


# --- workers and schedulers that die


def test_shards_that_run_at_the_same_time_share_the_cells(bench, clean_paper):
    shards = [bench.start(*PAPER, "--shard", f"{number}/2") for number in (1, 2)]
    for shard in shards:
        assert shard.status == 0, shard.text
        assert "4 of 4 cells" in shard.text
    assert bench.cells() == clean_paper


def test_a_machine_that_slept_has_not_lost_its_own_worker():
    with engine.cluster(1) as client:
        assert client.cluster.scheduler.worker_ttl is None


def test_a_worker_that_is_killed_leaves_its_cell_to_another(cluster, bench, clean_paper):
    cluster.ready(2)
    bench.orders.give("hang")
    command = bench.start(*PAPER)
    pids = bench.orders.hanging()
    worker = psutil.Process(pids[0]).parent()
    (nanny,) = [process for process in cluster.workers if process.pid == worker.ppid()]
    nanny.kill()  # first, or it would start another
    worker.kill()
    assert command.status == 0, command.text
    assert bench.cells() == clean_paper
    wait_until(lambda: all(map(gone, pids)))


def test_a_scheduler_that_is_killed_ends_the_run_and_its_workers(cluster, bench, clean_paper):
    bench.orders.give("hang")
    command = bench.start(*PAPER)
    pids = bench.orders.hanging()
    cluster.scheduler.kill()
    assert command.status == 1, command.text
    told = "The Dask scheduler is gone, and its workers with it. Start them again, then run the same command"
    assert told in command.text
    assert "Traceback" not in command.text
    wait_until(lambda: all(map(gone, pids)))
    wait_until(lambda: all(worker.poll() is not None for worker in cluster.workers))
    assert is_part(bench.cells(), clean_paper)

    cluster.ready(1)
    again = bench.run(*PAPER)
    assert again.status == 0, again.text
    assert bench.cells() == clean_paper


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/cwd is another folder for each process")
def test_a_worker_that_does_not_see_the_folder_is_an_error(bench):
    command = bench.run("--out", f"/proc/self/cwd/{uuid4().hex}")
    assert command.status == 2
    assert re.search(r"Dask worker tcp://127.0.0.1:\d+ has no folder /proc/self/cwd/\w+: ch", command.text)


def test_ctrl_c_ends_what_runs_on_a_worker(bench, clean_paper):
    bench.orders.give("hang")
    command = bench.start(*PAPER)
    pids = bench.orders.hanging()
    command.send(signal.SIGINT)
    assert command.status == 130, command.text
    assert "Interrupted: " in command.text
    wait_until(lambda: all(map(gone, pids)))
    assert is_part(bench.cells(), clean_paper)


def test_a_scheduler_or_worker_that_cannot_import_mixsk_is_an_error(launcher, tmp_path):
    cluster = Cluster(tmp_path)
    cluster.environ["PYTHONPATH"] = str(tmp_path / "hides")
    (tmp_path / "hides").mkdir()
    (tmp_path / "hides" / "mixsk.py").write_text("raise ImportError('no mixsk')")
    bench = Bench(launcher, tmp_path, "--scheduler", cluster.address, orders=cluster.orders)
    try:
        for n_workers, name in enumerate(["scheduler", r"worker tcp://127.0.0.1:\d+"]):
            cluster.ready(n_workers)
            command = bench.run()
            assert command.status == 2
            assert re.search(rf"the Dask {name} cannot import mixsk \(.*no mixsk.*\); inst", command.text)
    finally:
        cluster.stop()


def test_a_scheduler_that_does_not_answer_is_an_error(stories):
    command, address = stories[knock].result()
    assert command.status == 2
    assert f"no Dask scheduler answers at {address}" in command.text
    assert f"dask worker {address} --nthreads 1" in command.text


# --- runs on this machine that end early


def test_a_limit_on_the_size_of_files_is_a_full_disk(stories):
    story = stories[stop].result()
    assert story.limited.status == 1
    told = r"Cannot write results \(.*File too large.*\)\. Make room and run the same command again: 0 of 8"
    assert re.search(told, story.limited.text)
    assert "Traceback" not in story.limited.text
    assert story.after_limit == {}
    assert story.parts == []


def test_a_second_run_on_the_folder_is_refused_and_told_whose_it_is(stories):
    story = stories[stop].result()
    assert story.second.status == 2
    owner = (
        rf"in use by another run \(process {story.interrupted.pid} on .*\)\. Wait for it, or share the work"
    )
    assert re.search(owner, story.second.text)


def test_ctrl_c_keeps_what_has_ended(stories, clean):
    story = stories[stop].result()
    assert story.interrupted.status == 130
    assert "Interrupted: 4 of 8 cells had ended, 4 are left." in story.interrupted.text
    assert "Traceback" not in story.interrupted.text
    assert len(story.after_interrupt) == 4
    assert is_part(story.after_interrupt, clean.fewer)


def test_damaged_results_are_run_again_and_a_killed_runner_loses_nothing_else(stories, clean):
    story = stories[stop].result()
    assert story.killed.status == -signal.SIGKILL
    assert "2 cells are in" in story.killed.text
    assert "2 damaged results are run again" in story.killed.text
    assert len(story.after_kill) == 4
    assert is_part(story.after_kill, clean.fewer)


def test_after_all_this_the_results_are_those_of_a_clean_run(stories, clean):
    story = stories[stop].result()
    assert story.last.status == 0
    assert "4 cells are in" in story.last.text
    assert story.at_last == clean.fewer
