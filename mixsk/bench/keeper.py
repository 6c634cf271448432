"""Run functions one at a time, each in a forked process of its own, and outlive whatever they do.

A `Keeper` is a handle on a process that imports the stack once and forks a child per call: the child costs
milliseconds instead of the seconds of the imports, and what it does to its memory, its threads or itself ends
with it. Forking is safe there and not in the caller, because the keeper's process has one thread. It is
started by exec, so that the caller may have many.

The keeper's process runs this file as a script and needs nothing beyond the standard library before it
imports what it was told to: what `mixsk.bench` imports could start threads.
"""

import ctypes
import faulthandler
import gc
import json
import math
import os
import pkgutil
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module

# Read by the libraries when they are loaded. Threads that they start then would not survive the fork.
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ["OMP", "MKL", "OPENBLAS", "NUMEXPR"]}
ONE_THREAD |= {"VECLIB_MAXIMUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
MB = 10**6
PIECE = 2**20  # bytes read at a time
SECONDS_BETWEEN_LOOKS = 0.05  # at the memory of a child that has a cap
SECONDS_TO_LEAVE = 5.0  # for a keeper that was told to; it needs milliseconds, unless it is still importing
TAIL = 4000  # characters of output that a report quotes


@dataclass(frozen=True)
class Outcome:
    """How a call ended.

    Attributes
    ----------
    status : {"ok", "failed", "crashed", "timeout", "memory", "lost"}
        failed: the function raised an exception, or returned what JSON cannot hold. crashed: its process
        died before it returned. timeout, memory: its process was killed at that limit. lost: the keeper's
        process died, and the function with it.
    value : object
        What the function returned, as JSON holds it (tuples are lists); None unless ok.
    error : str
        The traceback of a failure; for the others what happened and the last output. Empty if ok.
    seconds : float
        Wall clock, from the fork to the end of the process; of a lost one, of the whole call.
    peak_mb : float
        Peak resident memory of the process in units of 10^6 bytes, with what it shares with the keeper;
        NaN if lost.
    """

    status: str
    value: object
    error: str
    seconds: float
    peak_mb: float


class Keeper:
    """Call functions by name in forked processes, with limits on their time and memory.

    Its process starts at the first call, and again at the first one after it died. A keeper runs one call at
    a time; threads that call at the same time have one each.

    Parameters
    ----------
    preload : sequence of str, default=()
        Names of modules to import before the first fork, or "module:name" of functions to call then. They
        should start no threads.
    environ : dict of str to str or None, default=None
        Variables to add to the environment of the process. Those in `ONE_THREAD` are set whatever it says.

    Raises
    ------
    RuntimeError
        On a system other than Linux and macOS.

    Examples
    --------
    >>> with Keeper() as keeper:
    ...     keeper.call("math:hypot", 3, 4).value
    ...     keeper.call("os:_exit", 3).error.splitlines()[0]
    5.0
    'The process of os:_exit ended with exit code 3 before it returned. It printed nothing.'
    """

    def __init__(self, preload=(), environ=None):
        if sys.platform not in ("linux", "darwin"):
            raise RuntimeError(
                f"mixsk bench runs every cell in a forked process, which sys.platform={sys.platform!r} does "
                "not offer. Use Linux or macOS; on Windows, WSL."
            )
        self.preload = tuple(preload)
        self.environ = dict(environ or {})
        self._process = None
        self._output = None  # what the keeper's process prints: why it died, if it does
        self._child = None  # id of the process of the running call
        self._closed = False
        self._calling = threading.Lock()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def call(self, function, *args, time_limit=None, memory_limit=None):
        """Call a function in a process of its own and wait for it.

        When it ends, so do the processes that it started, unless they have left its process group.

        Parameters
        ----------
        function : str
            "package.module:name". Modules are searched where the caller finds them.
        *args
            What JSON can hold.
        time_limit : float or None, default=None
            Seconds after which the process is killed.
        memory_limit : int or None, default=None
            Bytes of resident memory beyond which the process is killed. What its own children have counts,
            pages that they share count for each. Looked at every 0.05 s, less often among many processes.

        Returns
        -------
        outcome : Outcome
            Of whatever happens in the process; no exception leaves it.

        Raises
        ------
        TypeError, ValueError
            If JSON cannot hold an argument.
        RuntimeError
            If the keeper is closed.
        """
        limits = {"time_limit": time_limit, "memory_limit": memory_limit}
        request = _line({"function": function, "args": args} | limits)
        with self._calling:
            start = time.perf_counter()
            try:
                process = self._running()
                reply = self._ask(process, request)
            except BaseException:  # Ctrl-C in the calling thread: nobody will read the reply
                self._hang_up()
                raise
            if reply is not None:
                return Outcome(**reply)
            self._hang_up()
            fate = "was closed" if self._closed else _fate(process.returncode)
            error = f"The keeper's process {fate} while it ran {function}.{_last_output(self._output)}"
            return Outcome("lost", None, error, time.perf_counter() - start, math.nan)

    def close(self):
        """End the process and, from another thread, the running call: its outcome is "lost"."""
        self._closed = True
        self._hang_up()
        with self._calling:
            self._release()

    def _running(self):
        """The keeper's process, started if there is none."""
        self._check_open()
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._release()
        self._output = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            # -P: beside this file are others whose names must not hide modules.
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            env=os.environ | self.environ | ONE_THREAD,
            start_new_session=True,  # Ctrl-C in the terminal is for the caller, who decides
        )
        self._check_open()  # again: `close`, in another thread, either sees the process or is seen here
        with suppress(OSError):  # it died at once: the request will tell
            self._process.stdin.write(_line({"path": [*map(str, sys.path)], "preload": self.preload}))
        return self._process

    def _check_open(self):
        if self._closed:
            raise RuntimeError("this keeper is closed. Make another one.")

    def _ask(self, process, request):
        """Send a request, return the reply, or None if there will be none."""
        # ValueError: no whole line came, or `close`, in another thread, has closed the file.
        with suppress(OSError, ValueError):
            process.stdin.write(request)
            process.stdin.flush()
            self._child = json.loads(process.stdout.readline())
            reply = json.loads(process.stdout.readline())
            self._child = None
            return reply
        return None

    def _hang_up(self):
        """End the keeper's process and its child."""
        process = self._process
        if process is None:
            return
        with suppress(OSError):
            process.stdin.close()  # the sign to leave
        try:
            process.wait(SECONDS_TO_LEAVE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._child is not None and process.returncode != 0:  # it could not see to it itself
            _kill_group(self._child)
        self._child = None

    def _release(self):
        """Close the files of a process that has ended."""
        if self._process is None:
            return
        with suppress(OSError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._output.close()
        self._process = None


def _line(message):
    return json.dumps(message).encode() + b"\n"


def _kill_group(pid):
    """Kill a child and what it has started; also when it has ended itself."""
    with suppress(ProcessLookupError, PermissionError):  # macOS does not permit it when all have ended
        os.killpg(pid, signal.SIGKILL)


def _fate(code):
    """Exit code, or minus the number of a signal, in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    names = {s.value: s.name for s in signal.Signals}
    hint = ", perhaps by the system because memory ran out" if -code == signal.SIGKILL else ""
    return f"was killed by {names.get(-code, f'signal {-code}')}{hint}"


def _last_output(file):
    """Sentence that quotes the end of a file."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - 4 * TAIL))  # UTF-8 has up to 4 bytes a character
    text = file.read().decode(errors="replace")
    # Of a fatal signal, after where it came: some hundred names, which would leave no room for the rest.
    text = re.sub(r"\n+Extension modules: .*", "", text).strip()
    return f" Its last output:\n{text[-TAIL:]}" if text else " It printed nothing."


# ===== In the keeper's process =====


class _Server:
    """Answers the requests that come in on stdin, one by one.

    Its stdout is for replies alone: what modules and functions print goes elsewhere.
    """

    def __init__(self):
        self.pid, self.running = os.getpid(), None
        self.requests, self.replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        sys.stdout.reconfigure(line_buffering=True)  # a crash does not flush
        # The end of a child makes `ended` readable, so that one `select` waits for all there is to wait for.
        self.ended, signalled = os.pipe()
        for end in (self.ended, signalled):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(signalled, warn_on_full_buffer=False)
        self.own = [self.requests.fileno(), self.replies.fileno(), nothing, self.ended, signalled]
        self.libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def serve(self):
        """Import what the caller wants, then answer until it closes its end."""
        start = json.loads(self.requests.readline())
        # As the caller has it, so that both import the same modules; then what PYTHONPATH adds here.
        sys.path[:] = dict.fromkeys(start["path"] + sys.path)
        broken = None
        try:
            for name in start["preload"]:
                module, _, function = name.partition(":")
                module = import_module(module)
                if function:
                    getattr(module, function)()
        except BaseException:
            broken = {"status": "failed", "value": None, "error": traceback.format_exc()}
        sys.stdout.flush()  # else each child would print it again
        gc.collect()
        gc.freeze()  # else the first collection in each child would copy the pages of all modules
        for line in self.requests:
            if broken:
                self.reply(None)
                self.reply(broken | {"seconds": 0.0, "peak_mb": 0.0})
            else:
                self.run(**json.loads(line))
        self.leave()

    def reply(self, message):
        try:
            self.replies.write(_line(message))
            self.replies.flush()
        except BrokenPipeError:
            self.leave()

    def leave(self):
        """End at once, with the child: the caller is gone."""
        if self.running is not None:
            _kill_group(self.running)
        os._exit(0)

    def run(self, function, args, time_limit, memory_limit):
        """Fork a child, wait for it, reply."""
        start = time.perf_counter()
        answer, to_answer = os.pipe()
        with tempfile.TemporaryFile() as output, os.fdopen(answer, "rb", buffering=0) as answer:
            pid = os.fork()
            if pid == 0:
                self.child(function, args, to_answer, output.fileno())
            self.running = pid
            with suppress(OSError):
                os.setpgid(pid, pid)  # here too: it may have to be killed before it comes to that itself
            os.close(to_answer)
            self.reply(pid)
            deadline = math.inf if time_limit is None else start + time_limit
            text, killed, code, peak = self.wait(answer, deadline, memory_limit)
            self.running = None
            outcome = {"status": killed or "crashed", "value": None}
            if killed:
                limit = f"{time_limit} s" if killed == "timeout" else f"{memory_limit / MB:.0f} MB of memory"
                outcome["error"] = f"{function} was killed at its limit of {limit}.{_last_output(output)}"
            else:
                fate = f"The process of {function} {_fate(code)} before it returned."
                outcome["error"] = fate + _last_output(output)
                if code == 0:
                    with suppress(ValueError):  # nothing, or garbled by a process that it forked
                        outcome |= json.loads(text)
        self.reply(outcome | {"seconds": time.perf_counter() - start, "peak_mb": peak})

    def wait(self, answer, deadline, memory_limit):
        """Read the child's answer until it has ended, kill it at a limit."""
        pid, text, killed = self.running, bytearray(), None
        look = math.inf if memory_limit is None else time.perf_counter() + SECONDS_BETWEEN_LOOKS
        os.set_blocking(answer.fileno(), False)
        sources = [self.requests, self.ended, answer]
        while not (ended := os.wait4(pid, os.WNOHANG))[0]:
            now = time.perf_counter()
            if now >= deadline:
                killed = "timeout"
            elif now >= look:
                if _resident(pid) > memory_limit:
                    killed = "memory"
                # Psutil reads all processes of the system to find the descendants: at most 5 % of the time.
                look = now + max(SECONDS_BETWEEN_LOOKS, 20 * (time.perf_counter() - now))
            if killed:
                _kill_group(pid)
                deadline = look = math.inf
            pause = min(deadline, look) - time.perf_counter()
            ready = select.select(sources, [], [], None if pause == math.inf else max(pause, 0.0))[0]
            if self.requests in ready:  # not a request, the caller waits for the reply: the end of the file
                self.leave()
            if self.ended in ready:
                os.read(self.ended, 4096)
            if answer in ready:
                chunk = answer.read(PIECE)
                text += chunk or b""
                if chunk == b"":  # closed by all who had it
                    sources.remove(answer)
        _kill_group(pid)  # what it has started
        while chunk := answer.read(PIECE):
            text += chunk
        _, status, usage = ended
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / MB
        return text, killed, os.waitstatus_to_exitcode(status), peak

    def child(self, function, args, answer, output):
        """Call the function, write the answer, never return."""
        try:
            os.setpgid(0, 0)
            if self.libc is not None:
                self.libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: die with the keeper
                if os.getppid() != self.pid:  # which has died already
                    os._exit(1)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(output, 1)
            os.dup2(output, 2)
            for descriptor in self.own:  # a caller waits in vain for the end of a pipe that others hold open
                os.close(descriptor)
            faulthandler.enable(2)
            if "torch" in sys.modules:
                sys.modules["torch"].set_num_threads(1)
            with os.fdopen(answer, "wb") as file:
                file.write(_answer(function, args))
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)


def _answer(function, args):
    """What a call gives, as JSON."""
    try:
        value = pkgutil.resolve_name(function)(*args)
    except BaseException:  # SystemExit too
        return json.dumps({"status": "failed", "error": traceback.format_exc()}).encode()
    try:
        return json.dumps({"status": "ok", "value": value, "error": ""}).encode()
    except (TypeError, ValueError, RecursionError) as error:
        advice = "Return dicts with str keys, lists, str, float, int, bool or None."
        message = f"{function} returned a value of {type(value)} that JSON cannot hold: {error}. {advice}"
        return json.dumps({"status": "failed", "error": message}).encode()


def _resident(pid):
    """Resident bytes of a process and its descendants."""
    import psutil  # an extra, and only for those who set a cap

    process, total = psutil.Process(pid), 0
    for member in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            total += member.memory_info().rss
    return total


if __name__ == "__main__":
    _Server().serve()
