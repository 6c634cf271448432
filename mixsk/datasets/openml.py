"""Tables and tasks of https://www.openml.org, through a cache on disk that is either right or not used.

The data are OpenML's ARFF files. Parquet copies, which OpenML has of many tables, come without a checksum and
are not used.
"""

from operator import index
from typing import NamedTuple

from sklearn.preprocessing import StandardScaler

from mixsk.datasets._openml_cache import (
    Cache,
    Dataset,
    Task,
    parse_xml,
    read_splits,
    read_task,
    text,
)
from mixsk.datasets.files import read_arff, split_target


class OpenMLInfo(NamedTuple):
    """What OpenML says of a table.

    Attributes
    ----------
    name : str
        Its name, which other versions share.
    id : int
        Its id, which it has alone.
    version : int
        Number of the version.
    target : str
        The column that y is.
    md5 : str or None
        MD5 checksum of the data file, in hexadecimal digits, if OpenML gives one.
    """

    name: str
    id: int
    version: int
    target: str
    md5: str | None


class FetchSummary(NamedTuple):
    """What `fetch` did. A dataset is called "dataset 61", a task "task 59".

    Attributes
    ----------
    fetched : list of str
        What was missing or damaged, and is right now.
    present : list of str
        What was right before.
    failed : dict of str to str
        What is still missing, and why.
    """

    fetched: list
    present: list
    failed: dict


def load_openml(dataset_id, *, cache_dir=None, offline=False, parity=False):
    """Load a table of OpenML by its id: from the cache, and from the network where the cache lacks it.

    Parameters
    ----------
    dataset_id : int
        The id of the dataset, which names one version of it: 61 is https://www.openml.org/d/61.
    cache_dir : str, Path or None, default=None
        Root of the cache. None is openml-python's own: `OPENML_CACHE_DIR`, or what its configuration says.
    offline : bool, default=False
        Never use the network, even if the cache lacks the table.
    parity : bool, default=False
        The table as the GenLabel paper uses it: numeric columns only, each standardised over all rows (a
        scaler that is later fitted on training rows undoes that). By default all columns, as they are.

    Returns
    -------
    X : DataFrame of shape (n_samples, n_features)
        Numeric columns in float64, nominal ones as categories, without the columns that OpenML marks as row
        ids or to be ignored. Missing values are NaN; some published tables have columns of nothing else.
    y : Series of shape (n_samples,)
        The class of each row, as a string.
    info : OpenMLInfo
        Name, id, version, target and checksum.

    Raises
    ------
    ImportError
        If openml-python is not installed.
    FileNotFoundError
        If `offline` and the cache has the table not at all, half written or changed. The file is named.
    ConnectionError
        If it has to be fetched and cannot be, or what comes has another checksum than OpenML says.
    ValueError
        If OpenML has no such dataset, or it is no classification table: no target, one class, rows without
        a class, sparse rows; under `parity`, no numeric column.

    Examples
    --------
    >>> from mixsk.datasets import load_openml
    >>> X, y, info = load_openml(61)  # doctest: +SKIP
    >>> info.name, X.shape, y.nunique()  # doctest: +SKIP
    ('iris', (150, 4), 3)
    """
    cache = Cache(cache_dir)
    return _load(cache, Dataset(check_id(dataset_id)), offline=offline, parity=parity)


def load_openml_task(task_id, *, cache_dir=None, offline=False, parity=False):
    """Load a task of OpenML: a table and its official splits.

    Parameters
    ----------
    task_id : int
        The id of a supervised classification task: 59 is https://www.openml.org/t/59.
    cache_dir : str, Path or None, default=None
        As of `load_openml`.
    offline, parity : bool, default=False
        As of `load_openml`.

    Returns
    -------
    X : DataFrame of shape (n_samples, n_features)
        As of `load_openml`.
    y : Series of shape (n_samples,)
        The task's target, as strings.
    info : OpenMLInfo
        As of `load_openml`.
    splits : dict of (int, int) to (ndarray, ndarray)
        For every repeat and fold the numbers of its training and of its test rows, both counted from 0.
        The `cv=` of scikit-learn takes `splits.values()`.

    Raises
    ------
    ImportError, FileNotFoundError, ConnectionError
        As `load_openml`.
    ValueError
        As `load_openml`, or if the task is not supervised classification with splits into train and test.

    Examples
    --------
    >>> from mixsk.datasets import load_openml_task
    >>> X, y, info, splits = load_openml_task(59)  # doctest: +SKIP
    >>> train, test = splits[0, 3]  # doctest: +SKIP
    """
    cache, task = Cache(cache_dir), Task(check_id(task_id))
    cache.provide(task, offline=offline)
    description = read_task(cache.folder(task))
    dataset = Dataset(description.dataset_id)
    X, y, info = _load(cache, dataset, target=description.target, offline=offline, parity=parity)
    splits = read_splits(cache.folder(task), description)
    n_rows = sum(map(len, splits[min(splits)]))
    if n_rows != len(X):
        raise ValueError(
            f"{task} splits {n_rows} rows, but {dataset} has {len(X)}: "
            f"delete {cache.folder(task)} and try again."
        )
    return X, y, info, splits


def fetch(dataset_ids, task_ids=(), *, cache_dir=None, report=None):
    """Fill the cache, so that no later step needs the network.

    One after the other, for the server's sake. A second call goes on where the first ended, and fetches again
    what has been damaged since.

    Parameters
    ----------
    dataset_ids, task_ids : iterable of int
        What to fetch; with a task comes its dataset.
    cache_dir : str, Path or None, default=None
        As of `load_openml`.
    report : callable or None, default=None
        Called with a line of text as each dataset or task is done.

    Returns
    -------
    summary : FetchSummary
        What was fetched, what was there, what failed and why.

    Raises
    ------
    ImportError
        If openml-python is not installed.
    ValueError
        If an id is not a whole number above 0.

    Examples
    --------
    >>> from mixsk.datasets.openml import fetch
    >>> fetch([61, 187], report=print).failed  # doctest: +SKIP
    1/2 dataset 61: fetched
    2/2 dataset 187: present
    {}
    """
    cache, summary = Cache(cache_dir), FetchSummary([], [], {})
    wanted = [Dataset(check_id(i)) for i in dataset_ids] + [Task(check_id(i)) for i in task_ids]
    wanted = list(dict.fromkeys(wanted))
    for number, entry in enumerate(wanted, start=1):
        try:
            fetched = cache.provide(entry, offline=False)
            if isinstance(entry, Task):
                dataset = Dataset(read_task(cache.folder(entry)).dataset_id)
                fetched = cache.provide(dataset, offline=False) or fetched
        except (ValueError, OSError) as error:
            outcome = summary.failed[str(entry)] = str(error)
        else:
            outcome = "fetched" if fetched else "present"
            getattr(summary, outcome).append(str(entry))
        if report is not None:
            report(f"{number}/{len(wanted)} {entry}: {outcome}")
    return summary


def _load(cache, dataset, *, offline, parity, target=None):
    """Return X, y and info of a dataset; `target` None is the one that OpenML gives it."""
    cache.provide(dataset, offline=offline)
    description = parse_xml(cache.folder(dataset) / "description.xml")
    info = OpenMLInfo(
        text(description, "name"),
        dataset.id,
        int(text(description, "version") or 1),
        target or text(description, "default_target_attribute"),
        text(description, "md5_checksum"),
    )
    if info.target is None:
        raise ValueError(f"{dataset} ({info.name}) has no target in OpenML; take one of its tasks.")
    if (text(description, "format") or "").lower() == "sparse_arff":
        raise ValueError(f"{dataset} ({info.name}) has sparse rows, which cannot be loaded.")
    path = cache.folder(dataset) / "dataset.arff"
    try:
        table = read_arff(path)
    except ValueError as error:
        raise ValueError(f"{dataset} ({info.name}): cannot read {path}: {error}") from error
    table = table.drop(columns=_not_features(description) & set(table.columns) - {info.target})
    X, y = split_target(table, info.target, source=f"{dataset} ({info.name})")
    return (_as_in_the_paper(X, dataset) if parity else X), y, info


def _not_features(description):
    """Names of row ids and of columns to be ignored. Some descriptions have several in one element."""
    elements = [*description.iterfind("{*}row_id_attribute"), *description.iterfind("{*}ignore_attribute")]
    texts = [element.text for element in elements if element.text]
    return {*texts, *(name.strip() for joined in texts for name in joined.split(","))}


def _as_in_the_paper(X, dataset):
    numeric = X.select_dtypes("number").dropna(axis=1, how="all")
    if numeric.shape[1] == 0:
        raise ValueError(f"{dataset} has no numeric column, and parity=True takes no others.")
    return StandardScaler().set_output(transform="pandas").fit_transform(numeric)


def check_id(identifier):
    """Return an id as an int: numpy's integers are welcome, "61" and 61.0 are not."""
    if hasattr(identifier, "__index__") and index(identifier) >= 1 and not isinstance(identifier, bool):
        return index(identifier)
    raise ValueError(f"an id of OpenML is a whole number above 0, got {identifier!r}.")
