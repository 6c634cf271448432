"""`mixsk bench`: compare methods by cross-validation over a suite of tables."""

from mixsk.bench.methods import METHODS, Method
from mixsk.bench.results import mean_ranks, summarise, table_means
from mixsk.bench.runner import plan, run
from mixsk.bench.suite import Suite, read_suite

__all__ = [
    "METHODS",
    "Method",
    "Suite",
    "mean_ranks",
    "plan",
    "read_suite",
    "run",
    "summarise",
    "table_means",
]
