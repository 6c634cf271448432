"""The report as files: one page that needs no network, each table as CSV, each figure as PNG."""

import os
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from uuid import uuid4

from jinja2 import Environment, FunctionLoader, StrictUndefined

import mixsk

HEADINGS = {
    "summary": "At a glance",
    "versus": "Against the baselines",
    "tests": "More than chance?",
    "cost": "What it costs",
    "reliability": "Calibration",
    "tables": "Table by table",
    "paper": "Beside the GenLabel paper",
    "failures": "Failures and warnings",
    "run": "What was run",
}
PAGE = "index.html"

# All that a report may have beside its page.
CSV = ("summary", "versus", "tests", "reliability", "tables", "paper", "failures")
PNG = (
    "critical-difference-accuracy",
    "critical-difference-log-loss",
    "gains",
    "scatter",
    "cost",
    "reliability",
)
FILES = [f"{name}.csv" for name in CSV] + [f"{name}.png" for name in PNG]


def render(report):
    """Return a report as one HTML page.

    It names no address: style, script and figures are in it, and its content security policy forbids the
    rest, whatever a table may be called. All names are escaped.

    Parameters
    ----------
    report : Report

    Returns
    -------
    html : str
    """
    environment = Environment(
        loader=FunctionLoader(_template), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["sentence"] = lambda text: text[:1].upper() + text[1:]
    script = _template("sort.js")
    digest = b64encode(sha256(script.encode()).digest()).decode()
    return environment.get_template("page.html").render(
        report=report,
        headings=HEADINGS,
        style=_template("style.css"),
        script=script,
        script_hash=f"sha256-{digest}",
        version=mixsk.__version__,
        zip=zip,
    )


def _template(name):
    return (files("mixsk.bench.report") / "template" / name).read_text(encoding="utf-8")


def write(report, folder):
    """Write a report into a folder; return the page's path.

    What an earlier report has left there is replaced or, where this one has no such table or figure, deleted.

    Parameters
    ----------
    report : Report
    folder : str or Path

    Returns
    -------
    page : Path
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    contents = {PAGE: render(report).encode()}
    for name, frame in report.frames.items():
        contents[f"{name}.csv"] = frame.to_csv(index=False, lineterminator="\n").encode()
    contents |= {f"{picture.name}.png": picture.png for picture in report.pictures}
    for name, content in contents.items():
        part = folder / f".part-{uuid4().hex}"
        part.write_bytes(content)
        os.replace(part, folder / name)
    for name in set(FILES) - set(contents):
        (folder / name).unlink(missing_ok=True)
    return folder / PAGE
