"""The real tables that scikit-learn carries: no download, the same rows everywhere."""

import pandas as pd
from sklearn import datasets

BUILTIN_TABLES = {
    "breast_cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
}


def load_builtin(name):
    """Load a real table that is part of scikit-learn, with its column names and its classes by name.

    Parameters
    ----------
    name : {"breast_cancer", "digits", "iris", "wine"}
        569 x 30 with 2 classes, 1797 x 64 with 10, 150 x 4 with 3, 178 x 13 with 3.

    Returns
    -------
    X : DataFrame of shape (n_samples, n_features)
        Numeric columns in float64.
    y : Series of shape (n_samples,)
        The class of each row: strings, for "digits" the integers 0 to 9.

    Raises
    ------
    ValueError
        If there is no such table.

    Examples
    --------
    >>> from mixsk.datasets import load_builtin
    >>> X, y = load_builtin("iris")
    >>> X.shape, list(y.unique())
    ((150, 4), ['setosa', 'versicolor', 'virginica'])
    """
    if name not in BUILTIN_TABLES:
        raise ValueError(
            f"scikit-learn carries no table {name!r} for us; choose one of {sorted(BUILTIN_TABLES)}."
        )
    table = BUILTIN_TABLES[name](as_frame=True)
    return table.data, pd.Series(table.target_names[table.target], name="target")
