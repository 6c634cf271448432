"""The lock of a run's folder."""

import fcntl
import os
import platform
from contextlib import contextmanager
from pathlib import Path

LOCK = ".lock-"


@contextmanager
def alone(folder, shard=None):
    """Hold the lock of a folder, or of one shard of it, so that no cell is run twice at the same time.

    Parameters
    ----------
    folder : str or Path
    shard : str or None, default=None
        The shard's name. Shards share a folder with each other, and with nobody else.

    Raises
    ------
    ValueError
        If another process of this machine (or, where the file system tells, of another) has it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if shard is None:
        with _locked(folder, "run", fcntl.LOCK_EX):
            yield
    else:
        with _locked(folder, "run", fcntl.LOCK_SH), _locked(folder, shard, fcntl.LOCK_EX):
            yield


@contextmanager
def _locked(folder, name, kind):
    with (folder / f"{LOCK}{name}").open("a+") as lock:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise ValueError(
                f"{folder} is in use by another run ({lock.read().strip()}). Wait for it, or share the work: "
                "--shard 1/2 here, --shard 2/2 there."
            ) from error
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {platform.node()}")
        lock.flush()
        yield


def in_use(folder):
    """Whether a run, or a shard of one, is under way in a folder."""
    for path in Path(folder).glob(f"{LOCK}*"):
        with path.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False
