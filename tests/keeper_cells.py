"""What the tests of the keeper run in child processes."""

import ctypes
import os
import signal
import subprocess
import sys
import time

print("printed by an import")
os.write(1, b"written by an import\n")

changed = False


def echo(*args):
    return list(args)


def chatter(text):
    print(text)
    sys.stderr.write(text)
    os.write(1, text.encode())
    subprocess.run(["echo", text], check=True)
    return "said"


def fail(text):
    raise KeyError(text)


def leave(code):
    sys.exit(code)


def vanish(code):
    print("last words")
    os._exit(code)


def segfault():
    print("last words")
    ctypes.string_at(0)


def die(number):
    os.kill(os.getpid(), number)


def shout_and_die(characters):
    print("BEGINNING", "x" * characters, "END")
    os.kill(os.getpid(), signal.SIGABRT)


def text(characters):
    return "x" * characters


def unspeakable():
    return {"rows": {1, 2}}


def change():
    global changed
    before, changed = changed, True
    return before


def read_stdin():
    return sys.stdin.read()


def processes():
    return {"keeper": os.getppid(), "child": os.getpid(), "open": len(os.listdir("/dev/fd"))}


def environment(name):
    return os.environ.get(name)


def report_and_hang(path):
    """Start a process, write the ids of all, never end."""
    other = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    with open(path + ".part", "w") as file:
        file.write(f"{os.getppid()} {os.getpid()} {other.pid}")
    os.rename(path + ".part", path)
    time.sleep(600)


def leave_process_behind():
    return subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"]).pid


def answer_twice():
    """Return in a forked process too."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    return "x" * 10


def leak(megabytes, in_another_process=False):
    """Take memory step by step, then keep it."""
    if in_another_process and os.fork():
        os.wait()
    kept = []
    for _ in range(megabytes):
        kept.append(b"x" * 2**20)
        time.sleep(0.0005)
    time.sleep(600)


def take_and_return(megabytes):
    return len(b"x" * megabytes * 2**20)


def thread_counts():
    import sklearn  # noqa: F401 - its OpenMP is one of those that count
    import torch
    from threadpoolctl import threadpool_info

    with open("/proc/self/status") as file:
        threads = next(int(line.split()[1]) for line in file if line.startswith("Threads"))
    pools = {pool["num_threads"] for pool in threadpool_info()}
    return {"torch": torch.get_num_threads(), "pools": sorted(pools), "threads": threads}


def multiply():
    """Work that libraries like to share among threads."""
    import numpy as np
    import torch

    a = np.ones((300, 300))
    return [float((a @ a).sum()), float((torch.ones(300, 300) @ torch.ones(300, 300)).sum())]
