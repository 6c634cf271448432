"""Settings of the test process; here, not in tests/, because the doctests of mixsk/ need them too."""

import os

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
