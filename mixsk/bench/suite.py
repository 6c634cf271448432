"""Suites: which tables a benchmark runs on, read from a small TOML file.

::

    openml = [61, 187]          # OpenML datasets by their ids: the tables openml-61 and openml-187

    [tables.iris]
    sklearn = "iris"            # a real table of mixsk.datasets.load_builtin

    [tables.moons]
    toy = "make_moons"          # a generator of mixsk.datasets; the other keys are its parameters
    n_samples = 400
    random_state = 0

    [tables.credit]
    openml = 31                 # an OpenML dataset under a name of your own

    [tables.iris-official]
    openml_task = 59            # an OpenML task: its table, target and official splits

    [tables.mine]
    file = "mine.csv"           # CSV, parquet or ARFF, as seen from the suite's folder
    target = "label"            # the column to predict

    [tables.trec-few]
    text = "trec"               # a text of mixsk.datasets.load_text, with its official split, or in folds
    folds = 10                  # where it has no official split (default: 10)
    share = 0.03                # of the training rows of each class (default: 1, all)
    draws = 10                  # of such a share, and of folds: so many repeats (default: 1)

    [tables.mnist-tail]
    image = "mnist"             # a set of mixsk.datasets.load_images, with its official split
    imbalance = 0.01            # of the training rows, as of mixsk.datasets.long_tail (default: 1, all)
    draws = 3                   # of those; `share` as of texts, as `imbalance` is theirs, too

A suite has tables, texts or images, not a mixture: the methods are others.
"""

import re
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from importlib.resources import files
from inspect import signature
from pathlib import Path

import numpy as np
from sklearn.utils import check_random_state

from mixsk import datasets
from mixsk.bench.names import check_known
from mixsk.datasets._image_files import IMAGES
from mixsk.datasets._text_files import TEXTS
from mixsk.datasets.builtin import BUILTIN_TABLES
from mixsk.datasets.openml import check_id
from mixsk.datasets.samples import official_or_folds, thin

SUITE_FOLDER = files("mixsk.bench") / "suites"
# What comes with a split: by its key, the function that loads it, the names of such, and the keys beside.
WITH_SPLIT = {
    "text": (datasets.load_text, TEXTS, ["imbalance", "share", "draws", "folds"]),
    "image": (datasets.load_images, IMAGES, ["imbalance", "share", "draws"]),
}
SOURCES = ["sklearn", "toy", "openml", "openml_task", "file", *WITH_SPLIT]
LEAST = {"draws": 1, "folds": 2}  # keys that are whole numbers, and their smallest values
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
    splits : dict of str to callable, default={}
        For the tables that have official splits, a function without arguments that returns them, as
        `mixsk.datasets.load_openml_task` does: a dict of (repeat, fold) to (train, test), or to (train, test,
        dev) with rows for development.
    reads : {"table", "text", "image"}, default="table"
        What its tables are, and a method for it has to read.
    dataset_ids, task_ids : list of int, default=[]
        The OpenML datasets and tasks among the tables, for `mixsk.datasets.openml.fetch`.
    source : str, default=""
        What `read_suite` reads it from again, in another process and another folder.
    digest : str, default=""
        Hexadecimal digits that a suite of another content would not have.
    options : dict, default={}
        The keyword arguments of `read_suite`.
    """

    name: str
    tables: dict
    splits: dict = field(default_factory=dict)
    reads: str = "table"
    dataset_ids: list = field(default_factory=list)
    task_ids: list = field(default_factory=list)
    source: str = ""
    digest: str = ""
    options: dict = field(default_factory=dict)


def suite_names():
    """Return the names of the suites that come with the package."""
    return sorted(
        path.name.removesuffix(".toml") for path in SUITE_FOLDER.iterdir() if path.name.endswith(".toml")
    )


def read_suite(name, *, cache_dir=None, offline=False, parity=False, data_home=None):
    """Read a suite and check it, without loading its tables.

    Parameters
    ----------
    name : str or Path
        A suite of the package, such as "builtin", or the path of a TOML file.
    cache_dir : str, Path or None, default=None
        For the tables of OpenML, as of `mixsk.datasets.load_openml`.
    offline, parity : bool, default=False
        For the tables of OpenML, as of `mixsk.datasets.load_openml`.
    data_home : str, Path or None, default=None
        For texts and images, as of `mixsk.datasets.load_text` and `load_images`.

    Returns
    -------
    suite : Suite
        Its tables: first those of the list `openml`, then the others in the order of the file.

    Raises
    ------
    ValueError
        If there is no such suite, the file is not TOML, or a table in it is not described as above. The
        message says in which line.

    Examples
    --------
    >>> list(read_suite("builtin").tables)[:3]
    ['iris', 'wine', 'breast_cancer']
    >>> list(read_suite("demo-10").tables)[:3]
    ['openml-11', 'openml-18', 'openml-31']
    """
    path = Path(name)
    if path.suffix != ".toml":
        check_known("suite", str(name), suite_names())
        path, source = SUITE_FOLDER / f"{name}.toml", name
    else:
        source = path.absolute()
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"cannot read the suite {name}: {error}") from error
    options = {
        "cache_dir": None if cache_dir is None else str(cache_dir),
        "offline": offline,
        "parity": parity,
        "data_home": None if data_home is None else str(data_home),
    }
    try:
        entries = _entries(content)
        suite = Suite(
            path.name.removesuffix(".toml"),
            {},
            reads=_reads(next(iter(entries.values()))),
            source=str(source),
            digest=sha256(text.encode()).hexdigest()[:16],
            options=options,
        )
        for table, entry in entries.items():
            with _at(table):
                _add(suite, table, entry, path.parent)
    except _MistakeError as mistake:
        raise ValueError(f"suite {name}{mistake.place(text)}: {mistake}") from mistake
    return suite


class _MistakeError(ValueError):
    """A mistake in a suite; where it is becomes known on its way up."""

    table = key = None

    def place(self, text):
        """Return ", line 3, table NAME" as far as known. tomllib tells no lines of what is well formed."""
        section, line = None, None
        for number, content in enumerate(text.splitlines(), start=1):
            if header := re.match(r"\s*\[\s*tables\s*\.\s*(.+?)\s*\]", content):
                section = header[1].strip("'\"")
                found = self.key is None
            else:
                found = self.key is not None and re.match(rf"\s*['\"]?{re.escape(self.key)}\b", content)
            if found and section == self.table and line is None:
                line = number
        return (f", line {line}" if line else "") + (f", table {self.table}" if self.table else "")


@contextmanager
def _at(table=None, key=None):
    """Turn a ValueError into a mistake in this table, at this key."""
    try:
        yield
    except ValueError as error:
        mistake = error if isinstance(error, _MistakeError) else _MistakeError(str(error))
        mistake.table, mistake.key = mistake.table or table, mistake.key or key
        raise mistake from error


def _entries(content):
    """Return {table: what describes it} of the whole file."""
    ids, tables = content.pop("openml", []), content.pop("tables", {})
    with _at(key=next(iter(content), None)):
        if content or not isinstance(tables, dict) or not (ids or tables):
            raise ValueError(
                "a suite has one or more [tables.NAME] sections and nothing else but a list `openml` of ids."
            )
    with _at(key="openml"):
        if not isinstance(ids, list):
            raise ValueError(f"the ids are a list, got {ids!r}.")
        repeated = [i for i in dict.fromkeys(map(check_id, ids)) if ids.count(i) > 1]
        if repeated:
            raise ValueError(f"listed more than once: {repeated}.")
    listed = {f"openml-{i}": {"openml": i} for i in ids}
    for table in tables:
        with _at(table):
            if table in listed:
                raise ValueError("the list `openml` has a table of this name too.")
    return listed | tables


def _reads(entry):
    """What a table is: a "table", a "text" or an "image"."""
    return next((key for key in WITH_SPLIT if isinstance(entry, dict) and key in entry), "table")


def _add(suite, table, entry, folder):
    """Add to the suite the table that `entry` describes."""
    params = dict(entry) if isinstance(entry, dict) else {}
    source, *others = [key for key in SOURCES if key in params] or [None]
    if not 1 <= len(table) <= 60:
        raise ValueError("a table's name has 1 to 60 characters.")
    if source is None or others:
        ways = ", ".join(f"`{key} = ...`" for key in SOURCES)
        raise ValueError(f"say where the table comes from, by one of {ways}.")
    value = params.pop(source)
    with _at(key=source):
        load, known = _loader(suite, table, source, value, folder)
    for key in params:
        with _at(key=key):
            check_known("key", key, known)
            if source in WITH_SPLIT:
                _check_number(key, params[key])
    if source == "file" and "target" not in params:
        raise ValueError("`target = ...` is missing, the column to predict.")
    if (reads := _reads(entry)) != suite.reads:
        both = " or ".join(f"{kind}s" for kind in sorted([reads, suite.reads], reverse=True))
        raise ValueError(f"a suite has {both}, not both: the methods are others. Make two of it.")
    if source in WITH_SPLIT:
        suite.splits[table] = partial(_splits, *load.args, **params)
        params = {}
    suite.tables[table] = partial(load, **params)


def _loader(suite, table, source, value, folder):
    """Return the function that loads a table and the names of its parameters."""
    openml = {name: suite.options[name] for name in ("cache_dir", "offline", "parity")}
    if source == "sklearn":
        return partial(datasets.load_builtin, check_known("table", value, sorted(BUILTIN_TABLES))), []
    if source == "toy":
        load = getattr(datasets, check_known("toy", value, TOYS))
        return load, list(signature(load).parameters)
    if source == "file":
        if not isinstance(value, str) or not (folder / value).is_file():
            raise ValueError(f"there is no file {value!r} in {folder.absolute()}.")
        return partial(datasets.load_file, folder / value), ["target"]
    if source in WITH_SPLIT:
        load, known, keys = WITH_SPLIT[source]
        return partial(_rows, load, check_known(source, value, list(known)), suite.options["data_home"]), keys
    if source == "openml":
        suite.dataset_ids.append(check_id(value))
        return (lambda: datasets.load_openml(value, **openml)[:2]), []
    suite.task_ids.append(check_id(value))
    suite.splits[table] = lambda: datasets.load_openml_task(value, **openml)[3]
    return (lambda: datasets.load_openml_task(value, **openml)[:2]), []


def _check_number(key, value):
    if key in LEAST:
        if isinstance(value, bool) or not isinstance(value, int) or value < LEAST[key]:
            raise ValueError(f"`{key}` is a whole number of {LEAST[key]} or more, got {value!r}.")
    else:
        {"share": datasets.take_share, "imbalance": datasets.long_tail}[key]([0], value)  # or its error


def _rows(load, name, data_home):
    found = load(name, data_home=data_home)
    return found.data, np.array(found.target_names)[found.target]


def _splits(load, name, data_home, *, imbalance=1, share=1, draws=1, folds=10):
    """Splits by draw and fold, with rows for development if those are official; else cells hold some out."""
    found, splits = load(name, data_home=data_home), {}
    for draw in range(draws):
        rng = check_random_state(draw)
        cuts = official_or_folds(found.target, found.subsets, folds, rng)
        for fold, (train, test, dev) in enumerate(cuts):
            train = train[thin(found.target[train], imbalance, share, rng)]
            splits[draw, fold] = (train, test) if dev is None else (train, test, dev)
    return splits
