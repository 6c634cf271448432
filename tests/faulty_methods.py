"""Classifiers that ruin their process in `fit`, if a test has ordered it.

An order is a file in the folder MIXSK_ORDERS, "segfault-1" for one fit of the method "segfault". Who removes
it carries it out: so each is carried out once, by whatever process. The file "log" there names, for each fit,
the method and the process. MIXSK_TROUBLES names the troubles that are methods, for the process that plans.
"""

import ctypes
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.tree import ExtraTreeClassifier

from mixsk.bench import Method
from mixsk.densities import GM


def segfault():
    ctypes.string_at(0)


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def keeper():
    """Kill the process that watches this one."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)


def leak():
    """Take memory step by step, then keep it."""
    kept = []
    for _ in range(500):
        kept.append(b"x" * 2**24)
        time.sleep(0.002)
    time.sleep(600)


def hang():
    """Start a process, write the ids of keeper, process and that one, never end."""
    other = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    part = orders() / "hanging.part"
    part.write_text(f"{os.getppid()} {os.getpid()} {other.pid}")
    part.rename(orders() / "hanging")
    time.sleep(600)


def full():
    """Have no room for results."""

    def write_table(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    pyarrow.parquet.write_table = write_table


TROUBLES = {trouble.__name__: trouble for trouble in (segfault, kill, keeper, leak, hang, full)}


def orders():
    return Path(os.environ["MIXSK_ORDERS"])


def obey(method, trouble):
    """Note the fit, carry out an order if there is one."""
    with (orders() / "log").open("a") as log:
        log.write(f"{method} {os.getpid()}\n")
    for order in orders().glob(f"{method}-*"):
        try:
            order.unlink()
        except FileNotFoundError:
            continue
        return trouble()


class Faulty(ClassifierMixin, BaseEstimator):
    """A random tree, after what was ordered."""

    def __init__(self, trouble="none", random_state=None):
        self.trouble = trouble
        self.random_state = random_state

    def fit(self, X, y):
        obey(self.trouble, TROUBLES.get(self.trouble))
        self.tree_ = ExtraTreeClassifier(max_depth=3, random_state=self.random_state).fit(X, y)
        self.classes_ = self.tree_.classes_
        return self

    def predict_proba(self, X):
        return self.tree_.predict_proba(X)


class Deadly(GM):
    """A density that kills who fits it, if that was ordered: of networks that are trained together."""

    def fit(self, *args, **kwargs):
        obey("together", kill)
        return super().fit(*args, **kwargs)


NETWORK = {"density": Deadly(), "gamma": 0.5, "hidden": (4,), "max_epochs": 3}
GRID = {"lr": [0.1, 0.001]}
METHODS = {"steady": Faulty(), "together": Method("mixsk.GenLabelClassifier", NETWORK, grid=GRID)}
WANTED = os.environ.get("MIXSK_TROUBLES", " ".join(TROUBLES)).split()
METHODS |= {trouble: Faulty(trouble) for trouble in WANTED}
