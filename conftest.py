"""Settings of the test process; here, not in tests/, because the doctests of mixsk/ need them too."""

import os
import signal

os.environ["MPLBACKEND"] = "Agg"

import numpy as np
import pytest
import torch

# Workers run in parallel, one per core; more threads than cores make small nets up to 40 times slower.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def doctest_names(doctest_namespace):
    """Let examples of batch functions use np and torch without importing them."""
    doctest_namespace.update(np=np, torch=torch)


@pytest.fixture(autouse=True)
def ctrl_c():
    """Let SIGINT interrupt: workers of pytest-xdist and a shell's background jobs ignore it, and so would
    what tests start.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
