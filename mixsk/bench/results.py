"""The comparison of the methods of a benchmark."""

import pandas as pd
from scipy.stats import rankdata

FOLD = ["table", "repeat", "fold", "seed"]  # what all methods of a comparison share


def read_results(folder):
    """Read the results of a run, also of one that is under way.

    Parameters
    ----------
    folder : str or Path
        As given to `mixsk bench run --out`.

    Returns
    -------
    frame : DataFrame
        One row for each cell that has ended. `status` is "ok", "failed" (an exception, whose traceback is in
        `error`), "crashed" (its process died), "timeout" or "memory"; the scores of all but "ok" are NaN.

    Raises
    ------
    ValueError
        If it is not the folder of a run.
    ImportError
        If pyarrow, of the extra `bench`, is not installed.

    Examples
    --------
    >>> read_results("runs/builtin").groupby("method")["accuracy"].mean()  # doctest: +SKIP
    """
    from mixsk.bench.store import Run  # not above: the comparison itself does not need pyarrow

    run = Run(folder)
    run.settings()  # or an error
    return run.results()


def complete_folds(frame):
    """Return the rows of the folds that every method has reached: all, unless the run has not ended."""
    reached = frame.groupby(FOLD)["method"].transform("nunique")
    return frame[reached == frame["method"].nunique()]


def table_means(frame, score):
    """Average a score over the folds and seeds of each table.

    Parameters
    ----------
    frame : DataFrame
        Rows of `mixsk.bench.read_results`.
    score : str
        The column to average, such as "accuracy".

    Returns
    -------
    means : DataFrame of shape (n_tables, n_methods)
        NaN where a cell failed: the mean of the other folds would not compare with other methods' means.
        Folds that not every method has reached (the run has not ended) are left out.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"table": "iris", "repeat": 0, "fold": [0, 1], "seed": 0, "method": "mixup"})
    >>> table_means(frame.assign(accuracy=[0.9, 1.0]), "accuracy")
    method  mixup
    table
    iris     0.95
    """
    cells = complete_folds(frame).groupby(["table", "method"], sort=False)[score]
    return cells.agg(lambda scores: scores.mean(skipna=False)).unstack(sort=False)


def mean_ranks(means, *, higher_is_better):
    """Rank the methods on each table, 1 for the best, and average the ranks over the tables.

    Parameters
    ----------
    means : DataFrame of shape (n_tables, n_methods)
        From `table_means`. NaN ranks last; equal scores share the mean of their ranks.
    higher_is_better : bool
        True for accuracy, False for log loss.

    Returns
    -------
    ranks : Series of shape (n_methods,)
        From 1, the best everywhere, to n_methods.

    Examples
    --------
    >>> import pandas as pd
    >>> accuracy = pd.DataFrame({"a": [0.9, 0.8], "b": [0.7, 0.8]})
    >>> mean_ranks(accuracy, higher_is_better=True).to_dict()
    {'a': 1.25, 'b': 1.75}
    """
    # Rounded, because the same folds summed in another order may differ in the last bit.
    losses = (-means if higher_is_better else means).round(12).fillna(float("inf"))
    return pd.Series(rankdata(losses, axis=1).mean(axis=0), index=means.columns)


def summarise(frame):
    """Compare the methods over all tables of a result.

    Parameters
    ----------
    frame : DataFrame
        Rows of `mixsk.bench.read_results`.

    Returns
    -------
    summary : DataFrame of shape (n_methods, 6)
        Columns accuracy, log_loss, fit_seconds (means over tables; a table where a cell of the method failed
        is left out), accuracy_rank, log_loss_rank, and failed (number of cells). Sorted by log_loss_rank.
    """
    accuracy, log_loss = table_means(frame, "accuracy"), table_means(frame, "log_loss")
    summary = pd.DataFrame(
        {
            "accuracy": accuracy.mean(),
            "log_loss": log_loss.mean(),
            "fit_seconds": table_means(frame, "fit_seconds").mean(),
            "accuracy_rank": mean_ranks(accuracy, higher_is_better=True),
            "log_loss_rank": mean_ranks(log_loss, higher_is_better=False),
            "failed": (frame["status"] != "ok").groupby(frame["method"]).sum(),
        }
    )
    return summary.sort_values("log_loss_rank", kind="stable")
