"""The sections of a report that give account of the run: how far it is, what failed, what was run."""

import json
import re
from collections import Counter
from datetime import datetime

import numpy as np
import pandas as pd

from mixsk.bench.report.tables import Cell, Head, Table, number
from mixsk.bench.text import duration, last_line

MOST = 100  # kinds of failures on the page; the CSV has all
VERSIONS = {
    "mixsk": "mixsk",
    "revision": "git revision",
    "torch": "torch",
    "sklearn": "scikit-learn",
    "python": "Python",
    "host": "machine",
}


def head(results, compared):
    """Return title, lede, facts and notices.

    Parameters
    ----------
    results : Results
    compared : DataFrame
        The cells of the folds that every method has reached.
    """
    settings, cells = results.settings, results.cells
    n_methods, n_tables = len(results.methods), cells["table"].nunique()
    failed = int((cells["status"] != "ok").sum())
    spent = cells["fit_seconds"].sum() + cells["predict_seconds"].sum()
    return {
        "title": f"{_count(n_methods, 'method')} on {_count(n_tables, 'table')}",
        "lede": f"Suite {settings['suite']['name']}, {describe(settings)}.",
        "facts": [
            ("methods", str(n_methods)),
            ("tables", str(n_tables)),
            ("cells", f"{len(cells):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")),
            ("failed", str(failed)),
            ("fitting took", duration(spent)),
        ],
        "notices": _notices(results, compared),
    }


def describe(settings):
    """Say how a run splits its tables.

    Examples
    --------
    >>> describe({"protocol": {"name": "cv", "folds": 5, "repeats": 1, "test_size": 0.3}, "seeds": 2,
    ...           "overrides": {"module": "linear"}})
    '5-fold cross-validation, 2 seeds, network linear'
    """
    protocol, network = settings["protocol"], settings["overrides"].get("module")
    train = f"{100 - round(100 * protocol['test_size'])}/{round(100 * protocol['test_size'])}"
    words = {
        "cv": f"{protocol['folds']}-fold cross-validation",
        "holdout": f"one {train} split",
        "paper": f"the GenLabel paper's protocol ({train} split, parameters by 5-fold cross-validation)",
        "official": "the official splits",
        "openml": "the official splits of OpenML's tasks",
    }[protocol["name"]]
    repeats = f", {protocol['repeats']} times" if protocol["repeats"] > 1 else ""
    network = f", network {network}" if network else ""
    return f"{words}{repeats}, {_count(settings['seeds'], 'seed')}{network}"


def _notices(results, compared):
    status, notices = results.status, []
    planned = sum(status.planned.values())
    if status.left:
        state = "The run is under way" if status.running else "The run has not ended"
        notices.append(f"{state}: {planned - status.left} of {planned} cells have ended.")
    if len(compared) < len(results.cells):
        if len(compared):
            notices.append(
                f"Methods are compared on {len(compared)} of the {len(results.cells)} cells: the folds that "
                "every method has reached."
            )
        else:
            notices.append("No fold has been reached by every method: there is nothing to compare yet.")
    if results.damaged:
        those = (
            "result is damaged and left out" if results.damaged == 1 else "results are damaged and left out"
        )
        notices.append(f"{results.damaged} {those}; the command that began the run runs such cells again.")
    if not (results.cells["status"] == "ok").any():
        notices.append("Every cell has failed.")
    return notices


def add(report, results):
    """Add the sections."""
    _troubles(report, results.cells)
    settings, cells = results.settings, results.cells
    sizes = [
        [name, *(info[key] for key in ("rows", "columns", "classes"))]
        for name, info in settings["tables"].items()
    ]
    report.sections["run"] = {
        "facts": [*_settings(settings), *_versions(cells), *_extent(cells)],
        "methods": [(name, _parameters(settings["methods"][name]["is"])) for name in results.methods],
        "tables": _sheet(["table", "rows", "columns", "classes"], sizes),
    }


def _troubles(report, cells):
    """What failed or warned, by method and by what it said."""
    failed = cells[cells["status"] != "ok"]
    warned = cells[cells["warnings"] != ""]
    told = warned.assign(status="warning", line=warned["warnings"].map(_lines)).explode("line")
    groups = [*_grouped(failed.assign(line=failed["error"].map(last_line))), *_grouped(told)]
    names = ["kind", "method", "cells", "tables", "first in", "last line"]
    report.frames["failures"] = pd.DataFrame(groups, columns=names)
    if groups:
        report.sections["failures"] = {
            "table": _sheet(names, groups[:MOST]),
            "n_failed": len(failed),
            "n_warned": len(warned),
            "more": max(len(groups) - MOST, 0),
        }


def _lines(warnings):
    """The first line of each warning; a message may have several."""
    return re.findall(r"^\w+: .*", warnings, flags=re.MULTILINE) or [last_line(warnings)]


def _grouped(rows):
    """Rows that say the same, counted, most frequent first."""
    groups = [
        [
            *(status, method, len(same), same["table"].nunique()),
            "{table}, repeat {repeat}, fold {fold}, seed {seed}".format(**same.iloc[0]),
            line,
        ]
        for (status, method, line), same in rows.groupby(["status", "method", "line"], sort=False)
    ]
    return sorted(groups, key=lambda group: -group[2])


def _settings(settings):
    suite, overrides = settings["suite"], settings["overrides"]
    parity = ", numbers only" if suite["parity"] else ""
    yield "suite", f"{suite['name']}, {_count(len(settings['tables']), 'table')}{parity}"
    yield "protocol", describe(settings)
    yield "seed of the splits", str(settings["protocol"]["seed"])
    yield (
        "options of all methods",
        ", ".join(f"{name} = {value}" for name, value in overrides.items()) or "none",
    )


def _versions(cells):
    """What the cells were run with, with how many if they differ."""
    for column, name in VERSIONS.items():
        counts = Counter(value for value in cells[column] if value)
        if len(counts) == 1:
            yield name, *counts
        elif counts:
            yield name, ", ".join(f"{value} ({_count(n, 'cell')})" for value, n in counts.items())


def _extent(cells):
    """When it was run and how much it took."""
    ended = sorted(datetime.fromisoformat(text) for text in cells["finished"] if text)
    if ended:
        first, last = (f"{when:%Y-%m-%d %H:%M}" for when in (ended[0], ended[-1]))
        yield "results from", f"{first} to {last} UTC, {duration((ended[-1] - ended[0]).total_seconds())}"
    if not np.isnan(peak := cells["peak_mb"].max()):
        yield "most memory of a process", f"{peak:.0f} MB"


def _parameters(description):
    """The class of a method and its parameters, as one reads them."""
    params = {name: value for name, value in description.items() if name != "class"}
    texts = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in params.items()]
    return f"{description.get('class', '')}: {', '.join(texts)}"


def _sheet(names, rows):
    """A table of texts and whole numbers."""
    heads = [
        Head(name, numeric=not isinstance(value, str)) for name, value in zip(names, rows[0], strict=True)
    ]
    return Table(
        heads,
        [[Cell(value) if isinstance(value, str) else number(value, 0) for value in row] for row in rows],
    )


def _count(n, noun):
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
