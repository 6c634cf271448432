"""What a comparison over tables says, and how sure it is of it.

The unit is the table throughout: its folds and seeds are averaged first, because the fits of one table share
rows and are no independent evidence ("Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR
7, 2006).
"""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from mixsk.bench.results import mean_ranks, table_means
from mixsk.bench.scores import SCORES

LEVEL = 0.95  # of all intervals
HIGHER_IS_BETTER = {
    **dict.fromkeys(("accuracy", "balanced_accuracy", "auc"), True),
    **dict.fromkeys(("log_loss", "brier", "ece", "fit_seconds"), False),
}


def wilson(successes, trials, level=LEVEL):
    """Return the binomial interval of a share, by Wilson's score.

    Unlike the normal approximation it stays within [0, 1] and has a width at shares of 0 and 1.

    Parameters
    ----------
    successes, trials : int
    level : float, default=0.95

    Returns
    -------
    low, high : float
        NaN without trials.

    Examples
    --------
    >>> low, high = wilson(0, 10)
    >>> low, high
    (0.0, 0.278)
    """
    if trials == 0:
        return np.nan, np.nan
    interval = stats.binomtest(successes, trials).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def mean_interval(values, level=LEVEL):
    """Return the mean of values and its interval, by Student's t.

    Parameters
    ----------
    values : array-like of shape (n,)
        Finite.
    level : float, default=0.95

    Returns
    -------
    mean, low, high : float
        The ends are NaN for fewer than two values.

    Examples
    --------
    >>> mean_interval([1.0, 2.0, 3.0])
    (2.0, -0.484, 4.484)
    """
    values = np.asarray(values, dtype=float)
    if len(values) == 0:
        return np.nan, np.nan, np.nan
    mean = float(values.mean())
    if len(values) == 1:
        return mean, np.nan, np.nan
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return mean, float(mean - half), float(mean + half)


def gains(means, method, baseline, *, higher_is_better):
    """Return by how much a method is better than a baseline on each table where both have a mean.

    Rounded to 12 digits: the same folds summed in another order may differ in the last bit, and are a tie.

    Parameters
    ----------
    means : DataFrame of shape (n_tables, n_methods)
        From `mixsk.bench.table_means`.
    method, baseline : str
    higher_is_better : bool

    Returns
    -------
    gains : Series
        By table, above 0 where the method is better.
    """
    difference = means[method] - means[baseline]
    return (difference if higher_is_better else -difference).dropna().round(12)


def versus(means, baselines, *, higher_is_better):
    """Count wins, ties and losses of every method against every baseline.

    Parameters
    ----------
    means : DataFrame of shape (n_tables, n_methods)
        From `mixsk.bench.table_means`.
    baselines : list of str
        Among the methods.
    higher_is_better : bool

    Returns
    -------
    counts : DataFrame
        Columns method, baseline, tables; wins, ties, losses, and of each its `_share` with the ends `_low`
        and `_high` of the binomial interval; gain, gain_low, gain_high: the mean over the tables and its t
        interval.
    """
    rows = []
    # What is no baseline itself comes first: it is what one wants to know.
    for method in sorted(means.columns, key=lambda name: name in baselines):
        for baseline in baselines:
            if method == baseline:
                continue
            by_table = gains(means, method, baseline, higher_is_better=higher_is_better)
            row = {"method": method, "baseline": baseline, "tables": len(by_table)}
            signs = {"wins": by_table > 0, "ties": by_table == 0, "losses": by_table < 0}
            for name, hits in signs.items():
                row[name] = int(hits.sum())
                row[f"{name}_share"] = hits.mean() if len(hits) else np.nan
                row[f"{name}_low"], row[f"{name}_high"] = wilson(row[name], len(hits))
            row["gain"], row["gain_low"], row["gain_high"] = mean_interval(by_table)
            rows.append(row)
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Tests:
    """Whether the differences between methods over tables are more than chance.

    Attributes
    ----------
    tables : int
        On which every method has a mean.
    ranks : Series
        Mean rank of each method over these tables, 1 for the best everywhere; ascending.
    friedman : float
        p-value of "all methods are equal"; NaN for fewer than three methods.
    critical_difference : float
        Mean ranks that differ by more do so significantly, by Nemenyi; NaN as `friedman`.
    nemenyi, wilcoxon_holm : DataFrame of shape (n_methods, n_methods)
        p-values of "these two are equal", corrected for the number of pairs; in the order of `ranks`.
    """

    tables: int
    ranks: pd.Series
    friedman: float
    critical_difference: float
    nemenyi: pd.DataFrame
    wilcoxon_holm: pd.DataFrame


def significance(means, *, higher_is_better):
    """Test the differences between methods: Friedman and Nemenyi by ranks, Wilcoxon and Holm by pairs.

    Wilcoxon's signed ranks give half of a tie's rank to each side.

    Parameters
    ----------
    means : DataFrame of shape (n_tables, n_methods)
        From `mixsk.bench.table_means`. Methods without any mean and then tables that lack one are left out.
    higher_is_better : bool

    Returns
    -------
    tests : Tests or None
        None if fewer than two methods or two tables are left.
    """
    import scikit_posthocs  # not above: it takes seconds, and `compare` does without

    means = means.dropna(axis="columns", how="all").dropna()
    n_tables, n_methods = means.shape
    if n_tables < 2 or n_methods < 2:
        return None
    losses = (-means if higher_is_better else means).round(12)
    ranks = losses.rank(axis="columns").mean().sort_values(kind="stable")
    losses = losses[ranks.index]
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        # Of few tables, which exact p-values are right for; the page says how many there are.
        warnings.simplefilter("ignore", (UserWarning, RuntimeWarning))
        groups = losses.to_numpy().T.tolist()
        wilcoxon = scikit_posthocs.posthoc_wilcoxon(groups, zero_method="zsplit", p_adjust="holm")
        nemenyi = scikit_posthocs.posthoc_nemenyi_friedman(losses.to_numpy())
        friedman, critical = np.nan, np.nan
        if n_methods > 2:
            friedman = stats.friedmanchisquare(*losses.to_numpy().T).pvalue
            friedman = 1.0 if np.isnan(friedman) else float(friedman)  # all methods tie on every table
            critical = _critical_difference(n_tables, n_methods)
    nemenyi, wilcoxon = (pd.DataFrame(p.to_numpy(), ranks.index, ranks.index) for p in (nemenyi, wilcoxon))
    return Tests(n_tables, ranks, friedman, critical, nemenyi, wilcoxon)


def _critical_difference(n_tables, n_methods):
    q = stats.studentized_range.ppf(LEVEL, n_methods, np.inf) / 2**0.5
    return float(q * (n_methods * (n_methods + 1) / (6 * n_tables)) ** 0.5)


def summary(cells):
    """Average over the tables, method by method.

    Parameters
    ----------
    cells : DataFrame
        Of `Results`, some of which every method has reached.

    Returns
    -------
    table : DataFrame
        Indexed by method: the scores and `fit_seconds` (means over the tables where no cell of the method
        failed), accuracy_rank, log_loss_rank (a failure ranks last), failed (cells). Sorted by log_loss_rank.
    """
    means = {score: table_means(cells, score) for score in (*SCORES, "fit_seconds")}
    table = pd.DataFrame({score: by_table.mean() for score, by_table in means.items()})
    for score in ("accuracy", "log_loss"):
        table[f"{score}_rank"] = mean_ranks(means[score], higher_is_better=HIGHER_IS_BETTER[score])
    table["failed"] = (cells["status"] != "ok").groupby(cells["method"]).sum()
    return table.sort_values("log_loss_rank", kind="stable")


def reliability(cells, n_bins=15):
    """Set confidence beside accuracy, in bins of confidence.

    Every table weighs the same, however many rows it has, as in all other means over tables.

    Parameters
    ----------
    cells : DataFrame
        Of `Results`.
    n_bins : int, default=15
        Of equal width over [0, 1], each with its upper edge: those of the score `ece`.

    Returns
    -------
    bins : DataFrame
        Columns method, bin, share of the predictions, their mean confidence, accuracy; bins without any are
        left out.
    """
    cells = cells[cells["status"] == "ok"]
    edges = np.arange(1, n_bins) / n_bins
    sums, tables = {}, {}
    for (method, _), rows in cells.groupby(["method", "table"], sort=False):
        confidence = np.concatenate(rows["confidence"].to_list()).astype(float)
        right = np.concatenate(rows["right"].to_list()).astype(float)
        bins = np.searchsorted(edges, confidence, side="left")
        by_bin = [np.bincount(bins, values, n_bins) for values in (None, confidence, right)]
        sums[method] = sums.get(method, 0) + np.array(by_bin) / len(bins)
        tables[method] = tables.get(method, 0) + 1
    found = [
        [method, b, share[b] / tables[method], confidence[b] / share[b], accuracy[b] / share[b]]
        for method, (share, confidence, accuracy) in sums.items()
        for b in np.flatnonzero(share)
    ]
    return pd.DataFrame(found, columns=["method", "bin", "share", "confidence", "accuracy"])
