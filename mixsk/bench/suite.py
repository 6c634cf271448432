"""Suites: which tables a benchmark runs on, read from a small TOML file.

::

    [tables.iris]
    sklearn = "iris"            # a real table of mixsk.datasets.load_builtin

    [tables.moons]
    toy = "make_moons"          # a generator of mixsk.datasets; the other keys are its parameters
    n_samples = 400
    random_state = 0
"""

import tomllib
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from inspect import signature
from pathlib import Path

from mixsk import datasets
from mixsk.bench.names import check_known
from mixsk.datasets.builtin import BUILTIN_TABLES

SUITE_FOLDER = files("mixsk.bench") / "suites"
TOYS = [name for name in datasets.__all__ if name.startswith("make_")]


@dataclass(frozen=True)
class Suite:
    """A named set of tables.

    Attributes
    ----------
    name : str
        The name that results carry.
    tables : dict of str to callable
        For every table, by its name, a function without arguments that returns `(X, y)`.
    """

    name: str
    tables: dict


def suite_names():
    """Return the names of the suites that come with the package."""
    return sorted(
        path.name.removesuffix(".toml") for path in SUITE_FOLDER.iterdir() if path.name.endswith(".toml")
    )


def read_suite(name):
    """Read a suite and check it, without loading its tables.

    Parameters
    ----------
    name : str or Path
        A suite of the package, such as "builtin", or the path of a TOML file.

    Returns
    -------
    suite : Suite
        Its tables in the order of the file.

    Raises
    ------
    ValueError
        If there is no such suite, the file is not TOML, or a table in it is not described as above.

    Examples
    --------
    >>> list(read_suite("builtin").tables)[:3]
    ['iris', 'wine', 'breast_cancer']
    """
    path = Path(name)
    if path.suffix != ".toml":
        check_known("suite", str(name), suite_names())
        path = SUITE_FOLDER / f"{name}.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"cannot read the suite {name}: {error}") from error
    tables = content.pop("tables", None)
    if content or not isinstance(tables, dict) or not tables:
        raise ValueError(f"suite {name}: a suite has one or more [tables.NAME] sections and nothing else.")
    return Suite(
        path.name.removesuffix(".toml"), {table: _loader(name, table, tables[table]) for table in tables}
    )


def _loader(suite, table, entry):
    """Return the function that loads the table which `entry` describes."""
    params = dict(entry) if isinstance(entry, dict) else {}
    try:
        if "sklearn" in params:
            load = partial(
                datasets.load_builtin, check_known("table", params.pop("sklearn"), sorted(BUILTIN_TABLES))
            )
        elif "toy" in params:
            load = getattr(datasets, check_known("toy", params.pop("toy"), TOYS))
        else:
            raise ValueError("say where the table comes from, by `sklearn = ...` or `toy = ...`.")
        for key in params:
            check_known("key", key, list(signature(load).parameters))
    except ValueError as error:
        raise ValueError(f"suite {suite}, table {table}: {error}") from error
    return partial(load, **params)
