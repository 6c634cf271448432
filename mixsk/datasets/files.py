"""Tables from files: CSV, parquet and ARFF."""

from pathlib import Path

import numpy as np
import pandas as pd

INSTALL_OPENML = "pip install 'mixsk[openml]'"


def load_file(path, *, target):
    r"""Load a classification table from a CSV, parquet or ARFF file.

    Parameters
    ----------
    path : str or Path
        The file. Its ending says what it is: `.csv` (separated by commas, names in the first line),
        `.parquet` or `.pq` (needs pyarrow), `.arff` (needs the extra `openml`).
    target : str
        The column that has the classes.

    Returns
    -------
    X : DataFrame of shape (n_samples, n_features)
        The other columns: numbers, and categories where the file says that a column is nominal.
    y : Series of shape (n_samples,)
        The class of each row, as a string.

    Raises
    ------
    ValueError
        If the file cannot be read, has no column `target` or no other column, a row has no class, all rows
        have the same, or a column has no value in any row.
    ImportError
        If what reads such a file is not installed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from mixsk.datasets import load_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "flowers.csv"
    ...     _ = path.write_text("length,colour,kind\n1.5,red,a\n2.5,blue,b\n")
    ...     X, y = load_file(path, target="kind")
    >>> list(X.columns), list(y)
    (['length', 'colour'], ['a', 'b'])
    """
    path = Path(path)
    readers = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".pq": pd.read_parquet, ".arff": read_arff}
    if path.suffix.lower() not in readers:
        raise ValueError(f"cannot tell what {path} is: its name should end in one of {', '.join(readers)}.")
    try:
        table = readers[path.suffix.lower()](path)
    except ImportError:
        raise
    except Exception as error:  # every reader has its own kinds
        raise ValueError(f"cannot read {path}: {error}") from error
    X, y = split_target(table, target, source=str(path))
    empty = [name for name in X.columns if X[name].isna().all()]
    if empty:
        raise ValueError(f"{path}: no row has a value in the columns {empty}; remove them.")
    return X, y


def split_target(table, target, *, source):
    """Return the columns of `table` without `target`, and `target` as strings; errors name the `source`."""
    if target not in table.columns:
        raise ValueError(f"{source}: no column {target!r} to predict, only {list(table.columns)}.")
    X, y = table.drop(columns=target), table[target]
    if X.shape[1] == 0:
        raise ValueError(f"{source}: there is no column beside the target {target!r}.")
    if y.isna().any():
        raise ValueError(f"{source}: {y.isna().sum()} rows have no class in {target!r}; remove them.")
    # Classes that are written as numbers: "1" and not "1.0".
    if pd.api.types.is_float_dtype(y):
        if (y % 1 != 0).any():
            raise ValueError(f"{source}: the target {target!r} has fractions, and is no class for that.")
        y = y.astype(np.int64)
    y = y.astype(str)
    if y.nunique() < 2:
        raise ValueError(f"{source}: all rows have the same class in {target!r}: {y.iloc[0]!r}.")
    return X, y


def read_arff(path):
    """Read a dense ARFF file: numeric attributes in float64, nominal ones as categories, NaN for "?".

    openml-python's own reader makes unsigned bytes of small numbers, whose differences overflow, and booleans
    of the categories "true" and "false".
    """
    try:
        import arff
    except ImportError as error:
        raise ImportError(f"ARFF files are read by liac-arff: {INSTALL_OPENML}") from error
    with Path(path).open(encoding="utf-8") as file:
        try:
            content = arff.load(file)
        except arff.ArffException as error:
            raise ValueError(str(error)) from error
    # By columns, and by their place: two attributes may have one name.
    values = list(zip(*content["data"], strict=True)) or [()] * len(content["attributes"])
    columns = [_column(kind, column) for (_, kind), column in zip(content["attributes"], values, strict=True)]
    table = pd.DataFrame(dict(enumerate(columns)))
    return table.set_axis([name for name, _ in content["attributes"]], axis=1)


def _column(kind, values):
    if isinstance(kind, list):
        return pd.Categorical(values, categories=kind)
    return np.array(values, dtype=np.float64 if kind in ("NUMERIC", "REAL", "INTEGER") else object)
