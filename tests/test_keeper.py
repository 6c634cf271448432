"""The keeper outlives whatever a call does, and nothing outlives the keeper."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from mixsk.bench.keeper import ONE_THREAD, Keeper

psutil = pytest.importorskip("psutil")

HERE = {"PYTHONPATH": str(Path(__file__).parent)}
SECONDS = 60  # for what should take a moment: a busy machine must not fail a test
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(scope="module")
def keeper():
    with Keeper(environ=HERE) as keeper:
        yield keeper


def wait_until(happened):
    end = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.01)


def gone(pid):
    """Whether a process has ended; one that nobody has asked for its exit code yet counts as ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def pids_in(path):
    wait_until(path.exists)
    return [int(pid) for pid in path.read_text().split()]


@contextmanager
def in_thread(function, *args, **kwargs):
    """Run a function in a thread, yield its future."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(function, *args, **kwargs)


def test_call_returns_what_the_function_returns(keeper):
    outcome = keeper.call("keeper_cells:echo", 1, 0.1, "ä\n", None, {"a": [True, {}]})
    assert outcome.value == [1, 0.1, "ä\n", None, {"a": [True, {}]}]
    assert (outcome.status, outcome.error) == ("ok", "")
    assert 0 < outcome.seconds < SECONDS
    assert 1 < outcome.peak_mb < 1000


def test_exception_is_reported_with_its_traceback(keeper):
    outcome = keeper.call("keeper_cells:fail", "no such column")
    assert (outcome.status, outcome.value) == ("failed", None)
    assert "in fail" in outcome.error
    assert outcome.error.endswith("KeyError: 'no such column'\n")


@pytest.mark.parametrize(
    ("function", "error"),
    [
        ("keeper_cells:no_such_function", "AttributeError"),
        ("no_such_module:echo", "No module named 'no_such_module'"),
        ("keeper_cells:leave", "TypeError"),
        ("not a name", "ValueError"),
    ],
)
def test_function_that_cannot_be_called_is_a_failure(keeper, function, error):
    outcome = keeper.call(function)
    assert outcome.status == "failed"
    assert error in outcome.error


def test_sys_exit_is_a_failure_like_other_exceptions(keeper):
    outcome = keeper.call("keeper_cells:leave", 4)
    assert outcome.status == "failed"
    assert outcome.error.endswith("SystemExit: 4\n")


def test_result_that_json_cannot_hold_is_a_failure_that_says_so(keeper):
    outcome = keeper.call("keeper_cells:unspeakable")
    assert outcome.status == "failed"
    assert outcome.error == (
        "keeper_cells:unspeakable returned a value of <class 'dict'> that JSON cannot hold: Object of type "
        "set is not JSON serializable. Return dicts with str keys, lists, str, float, int, bool or None."
    )


def test_argument_that_json_cannot_hold_is_an_error_of_the_caller(keeper):
    with pytest.raises(TypeError, match="set is not JSON serializable"):
        keeper.call("keeper_cells:echo", {1, 2})
    assert keeper.call("keeper_cells:echo", 1).value == [1]


def test_prints_of_imports_functions_and_their_processes_do_not_disturb(keeper):
    with Keeper(preload=["keeper_cells"], environ=HERE) as talkative:
        for keeper_ in (keeper, talkative):
            assert keeper_.call("keeper_cells:chatter", '{"status": "ok"}\n').value == "said"
            assert keeper_.call("keeper_cells:echo", 1).value == [1]


def test_stdin_of_a_function_is_empty(keeper):
    assert keeper.call("keeper_cells:read_stdin").value == ""


def test_result_larger_than_the_buffer_of_a_pipe_arrives_whole(keeper):
    assert keeper.call("keeper_cells:text", 5_000_000, time_limit=SECONDS).value == "x" * 5_000_000


def test_argument_larger_than_the_buffer_of_a_pipe_arrives_whole(keeper):
    assert keeper.call("keeper_cells:echo", "x" * 2_000_000).value == ["x" * 2_000_000]


def test_segfault_names_the_signal_and_shows_the_stack_and_the_last_output(keeper):
    outcome = keeper.call("keeper_cells:segfault")
    assert (outcome.status, outcome.value) == ("crashed", None)
    assert outcome.error.startswith(
        "The process of keeper_cells:segfault was killed by SIGSEGV before it returned."
    )
    assert "last words" in outcome.error
    assert "in segfault" in outcome.error
    assert outcome.peak_mb > 1


def test_exit_code_is_named(keeper):
    outcome = keeper.call("keeper_cells:vanish", 3)
    assert outcome.status == "crashed"
    what, output = outcome.error.split("\n", 1)
    assert what == (
        "The process of keeper_cells:vanish ended with exit code 3 before it returned. Its last output:"
    )
    assert output.endswith("last words")


def test_exit_code_zero_without_a_result_is_a_crash(keeper):
    outcome = keeper.call("os:_exit", 0)
    assert (outcome.status, outcome.value) == ("crashed", None)
    assert "ended with exit code 0 before it returned. It printed nothing." in outcome.error


def test_kill_from_outside_is_a_crash_that_mentions_memory(keeper):
    outcome = keeper.call("keeper_cells:die", signal.SIGKILL)
    assert outcome.status == "crashed"
    assert "killed by SIGKILL, perhaps by the system because memory ran out" in outcome.error


def test_long_output_is_quoted_from_its_end(keeper):
    error = keeper.call("keeper_cells:shout_and_die", 100_000).error
    assert "SIGABRT" in error
    assert "END" in error
    assert "BEGINNING" not in error
    assert len(error) < 4200


def test_function_that_also_returns_in_a_forked_process_breaks_nothing(keeper):
    assert keeper.call("keeper_cells:answer_twice").status in ("ok", "crashed")
    assert keeper.call("keeper_cells:echo", 1).value == [1]


def test_call_that_never_ends_is_stopped_at_its_limit_with_what_it_started(keeper, tmp_path):
    outcome = keeper.call("keeper_cells:report_and_hang", str(tmp_path / "pids"), time_limit=2)
    assert outcome.status == "timeout"
    assert outcome.error.startswith("keeper_cells:report_and_hang was killed at its limit of 2 s.")
    assert 2 <= outcome.seconds < SECONDS
    process, child, grandchild = pids_in(tmp_path / "pids")
    assert gone(child)
    wait_until(lambda: gone(grandchild))
    assert not gone(process)
    assert keeper.call("keeper_cells:echo", 1).value == [1]


def test_process_left_behind_by_a_finished_call_is_ended(keeper):
    outcome = keeper.call("keeper_cells:leave_process_behind")
    assert outcome.status == "ok"
    wait_until(lambda: gone(outcome.value))


@pytest.mark.parametrize("in_another_process", [False, True])
def test_leak_past_the_cap_is_stopped(keeper, in_another_process):
    cap = 150 * 10**6
    outcome = keeper.call("keeper_cells:leak", 400, in_another_process, memory_limit=cap, time_limit=SECONDS)
    assert (outcome.status, outcome.value) == ("memory", None)
    assert outcome.error.startswith("keeper_cells:leak was killed at its limit of 150 MB of memory.")


def test_memory_below_the_cap_is_no_matter_and_its_peak_is_reported(keeper):
    outcome = keeper.call("keeper_cells:take_and_return", 100, memory_limit=2**30)
    assert outcome.value == 100 * 2**20
    assert 100 < outcome.peak_mb < 400
    assert keeper.call("keeper_cells:echo").peak_mb < 100


def test_call_sees_nothing_of_what_the_call_before_it_changed():
    with Keeper(preload=["keeper_cells"], environ=HERE) as keeper:
        assert [keeper.call("keeper_cells:change").value for _ in range(3)] == [False] * 3


def test_calls_leave_no_files_open(keeper):
    counts = [keeper.call("keeper_cells:processes").value["open"] for _ in range(3)]
    keeper.call("keeper_cells:segfault")
    keeper.call("time:sleep", 600, time_limit=0.05)
    assert {*counts, keeper.call("keeper_cells:processes").value["open"]} == {counts[0]}


def test_killed_keeper_loses_the_call_but_neither_its_processes_nor_the_next_call(tmp_path):
    with Keeper(environ=HERE) as keeper:
        with in_thread(keeper.call, "keeper_cells:report_and_hang", str(tmp_path / "pids")) as future:
            process, *children = pids_in(tmp_path / "pids")
            os.kill(process, signal.SIGKILL)
            outcome = future.result(SECONDS)
        assert (outcome.status, outcome.value) == ("lost", None)
        assert "keeper's process was killed by SIGKILL" in outcome.error
        assert "while it ran keeper_cells:report_and_hang" in outcome.error
        assert math.isnan(outcome.peak_mb)
        for pid in children:
            wait_until(lambda pid=pid: gone(pid))
        assert keeper.call("keeper_cells:echo", 1).value == [1]
        assert keeper.call("keeper_cells:processes").value["keeper"] != process


def test_keeper_that_died_between_two_calls_is_replaced():
    with Keeper(environ=HERE) as keeper:
        process = keeper.call("keeper_cells:processes").value["keeper"]
        os.kill(process, signal.SIGKILL)
        wait_until(lambda: gone(process))
        assert keeper.call("keeper_cells:echo", 1).value == [1]


CALLER = """
import sys
sys.path.insert(0, sys.argv[1])
from keeper import Keeper  # not by way of mixsk, which takes seconds to import
print(Keeper().call("keeper_cells:report_and_hang", sys.argv[2]).status)
"""


@contextmanager
def calling_process(path):
    """Start a process that calls `report_and_hang`; yield it and the ids of those that follow from it."""
    folder = Path(sys.modules[Keeper.__module__].__file__).parent
    command = [sys.executable, "-c", CALLER, folder, path]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=os.environ | HERE, **pipes) as caller:
        yield caller, pids_in(path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_a_caller_that_was_killed(tmp_path, number):
    with calling_process(tmp_path / "pids") as (caller, pids):
        caller.send_signal(number)
        errors = caller.communicate(timeout=SECONDS)[1]
    for pid in pids:
        wait_until(lambda pid=pid: gone(pid))
    if number == signal.SIGINT:
        assert errors.endswith("KeyboardInterrupt\n")


@on_linux
def test_child_of_a_killed_keeper_dies_though_the_caller_cannot_see_to_it(tmp_path):
    with calling_process(tmp_path / "pids") as (caller, (process, child, grandchild)):
        caller.send_signal(signal.SIGSTOP)
        os.kill(process, signal.SIGKILL)
        wait_until(lambda: gone(child))
        assert not gone(grandchild)
        caller.send_signal(signal.SIGCONT)
        assert caller.communicate(timeout=SECONDS)[0] == "lost\n"
    wait_until(lambda: gone(grandchild))


def test_ctrl_c_in_the_calling_thread_ends_the_call_and_the_next_one_works(tmp_path):
    def interrupt():
        wait_until((tmp_path / "pids").exists)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    with Keeper(environ=HERE) as keeper:
        with in_thread(interrupt), pytest.raises(KeyboardInterrupt):
            keeper.call("keeper_cells:report_and_hang", str(tmp_path / "pids"))
        for pid in pids_in(tmp_path / "pids"):
            wait_until(lambda pid=pid: gone(pid))
        assert keeper.call("keeper_cells:echo", 1).value == [1]


def test_close_from_another_thread_ends_the_running_call(tmp_path):
    keeper = Keeper(environ=HERE)
    with in_thread(keeper.call, "keeper_cells:report_and_hang", str(tmp_path / "pids")) as future:
        pids = pids_in(tmp_path / "pids")
        keeper.close()
        outcome = future.result(SECONDS)
    assert outcome.status == "lost"
    assert "keeper's process was closed while it ran keeper_cells:report_and_hang." in outcome.error
    for pid in pids:
        wait_until(lambda pid=pid: gone(pid))


def test_closed_keeper_ends_its_process_and_takes_no_call():
    with Keeper(environ=HERE) as keeper:
        process = keeper.call("keeper_cells:processes").value["keeper"]
    assert gone(process)
    keeper.close()
    with pytest.raises(RuntimeError, match="this keeper is closed"):
        keeper.call("keeper_cells:echo")


def test_keeper_that_was_never_called_has_no_process_to_end():
    before = psutil.Process().children()
    with Keeper():
        assert psutil.Process().children() == before


def test_module_that_cannot_be_preloaded_fails_every_call():
    with Keeper(preload=["no_such_module"]) as keeper:
        for _ in range(2):
            outcome = keeper.call("math:sqrt", 4)
            assert outcome.status == "failed"
            assert "No module named 'no_such_module'" in outcome.error


def test_keeper_that_dies_while_it_preloads_is_lost_and_its_output_shown(tmp_path):
    (tmp_path / "deadly.py").write_text("import os\nprint('last words')\nos.abort()")
    with Keeper(preload=["deadly"], environ={"PYTHONPATH": str(tmp_path)}) as keeper:
        outcome = keeper.call("math:sqrt", 4)
    assert outcome.status == "lost"
    assert "killed by SIGABRT" in outcome.error
    assert "last words" in outcome.error


def test_modules_are_found_where_the_caller_finds_them(tmp_path, monkeypatch):
    (tmp_path / "found_by_caller.py").write_text("def answer():\n    return 42")
    monkeypatch.syspath_prepend(tmp_path)
    with Keeper() as keeper:
        assert keeper.call("found_by_caller:answer").value == 42


def test_modules_of_the_bench_do_not_hide_others(keeper):
    assert keeper.call("importlib.util:find_spec", "suite").value is None


def test_environment_is_added_to_that_of_the_caller_but_threads_stay_pinned(monkeypatch):
    monkeypatch.setenv("FROM_CALLER", "a")
    with Keeper(environ=HERE | {"FROM_ARGUMENT": "b", "OMP_NUM_THREADS": "7"}) as keeper:
        names = ["FROM_CALLER", "FROM_ARGUMENT", *ONE_THREAD]
        values = [keeper.call("keeper_cells:environment", name).value for name in names]
    assert values == ["a", "b", *ONE_THREAD.values()]
    assert ONE_THREAD["OMP_NUM_THREADS"] == "1"


@on_linux
def test_keeper_has_one_thread_after_it_imported_the_stack_and_so_have_its_children():
    with Keeper(preload=["torch", "sklearn", "mixsk"], environ=HERE) as keeper:
        pid = keeper.call("keeper_cells:processes").value["keeper"]
        assert psutil.Process(pid).num_threads() == 1
        assert "\nThreads:\t1\n" in Path(f"/proc/{pid}/status").read_text()
        assert keeper.call("keeper_cells:thread_counts").value == {"torch": 1, "pools": [1], "threads": 1}
        assert keeper.call("keeper_cells:multiply", time_limit=SECONDS).value == [300.0**3] * 2


def test_threads_with_a_keeper_each_call_at_the_same_time(tmp_path):
    def work(number):
        with Keeper(environ=HERE) as keeper:
            values = [keeper.call("keeper_cells:echo", number, i).value for i in range(10)]
            lost = keeper.call("keeper_cells:segfault").status
            return values, lost

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, range(4)))
    assert results == [([[number, i] for i in range(10)], "crashed") for number in range(4)]


def test_other_systems_are_refused_with_what_to_do(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(RuntimeError, match=r"sys\.platform='win32' does not offer\. Use Linux or macOS"):
        Keeper()
