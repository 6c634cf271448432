"""What a report says of a run: `build` puts its sections together."""

from dataclasses import dataclass, field

from mixsk.bench.names import check_known
from mixsk.bench.report import account, comparison, paper
from mixsk.bench.results import complete_folds


@dataclass
class Report:
    """What a report says.

    Attributes
    ----------
    title, lede : str
    facts : list of (str, str)
        The few that everybody asks first: what, and how much.
    notices : list of str
        What a reader should know first: the run has not ended, results are damaged.
    verdict : str
        Which methods rank first.
    sections : dict of str to dict
        By name, what the page needs of each section. One that has nothing to say is not there.
    frames : dict of str to DataFrame
        What is written as CSV, by the name of the file.
    pictures : list of Picture
        What is written as PNG.
    """

    title: str
    lede: str
    facts: list
    notices: list
    verdict: str = ""
    sections: dict = field(default_factory=dict)
    frames: dict = field(default_factory=dict)
    pictures: list = field(default_factory=list)


def build(results, baselines=None):
    """Compute a report.

    Parameters
    ----------
    results : Results
    baselines : list of str or None, default=None
        What the methods are counted against; the figures show gains over the first. None: those of the
        GenLabel paper, mixup first, or else the run's first method.

    Returns
    -------
    report : Report

    Raises
    ------
    ValueError
        If a baseline is none of the run's methods.
    """
    methods = results.methods
    for name in baselines or ():
        check_known("baseline", name, methods)
    compared = complete_folds(results.cells)
    report = Report(**account.head(results, compared))
    if (compared["status"] == "ok").any():
        comparison.add(report, results.cells, methods, baselines or _usual(methods))
        comparison.add_paper(report, results.settings)
    account.add(report, results)
    return report


def _usual(methods):
    """The baselines of the GenLabel paper that were run, or the first method."""
    known = [name for name in dict.fromkeys(["mixup", *paper.BASELINES]) if name in methods]
    return known or methods[:1]
