"""What a benchmark shows in the terminal: progress on stderr, results on stdout."""

from contextlib import contextmanager

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from mixsk.bench.results import complete_folds, summarise, table_means
from mixsk.bench.text import last_line, say

MAX_TABLES = 40  # more of them are no longer read in a terminal


@contextmanager
def progress(total):
    """Yield a function to call with every cell that has ended, and its status.

    In a terminal it moves a bar; in a log, where a bar would leave thousands of control characters, it prints
    a line at every tenth.
    """
    console = Console(stderr=True)
    show = _bar if console.is_terminal else _lines
    with show(console, total) as advance:
        yield advance


@contextmanager
def _bar(console, total):
    columns = [
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    ]
    failed = 0
    # transient: a bar that has reached its end says nothing that the results do not say.
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting processes", total=total)

        def advance(cell, status):
            nonlocal failed
            failed += status != "ok"
            failures = f"[red]{failed} failed[/] " if failed else ""
            bar.update(task, advance=1, description=f"{failures}{escape(cell.table)} {escape(cell.method)}")

        yield advance


@contextmanager
def _lines(console, total):
    finished = failed = 0

    def advance(cell, status):
        nonlocal finished, failed
        finished += 1
        failed += status != "ok"
        if finished * 10 // total > (finished - 1) * 10 // total:
            failures = f", {failed} failed" if failed else ""
            say(console, f"{finished} of {total} cells{failures}")

    yield advance


@contextmanager
def counting(what):
    """Yield a function to call with how many there are now, and of how many; a terminal shows it."""
    console = Console(stderr=True)
    with console.status("") as line:
        yield lambda done, total: line.update(f"{done} of {total} {what}")


def show_results(frame, console):
    """Print the comparison of the methods, the scores by table, and what failed."""
    if len(complete_folds(frame)):
        _compare(frame, console)
    else:
        say(console, "No fold has been finished by every method: nothing to compare.")
    failed = frame[frame["status"] != "ok"]
    reason = failed["error"].map(last_line)
    for (method, line), rows in failed.groupby(["method", reason], sort=False):
        first = "{table}, repeat {repeat}, fold {fold}, seed {seed}".format(**rows.iloc[0])
        say(console, f"{method} failed in {len(rows)} cells, first {first}: {line}", style="red")
    if warned := (frame["warnings"] != "").sum():
        say(console, f"{warned} of {len(frame)} cells gave warnings: see the column `warnings`.")


def _compare(frame, console):
    summary = summarise(frame)
    console.print(_summary_table(summary))
    for title, score, best in (("Accuracy", "accuracy", "max"), ("Log loss", "log_loss", "min")):
        means = table_means(frame, score)[summary.index]
        upright, across = _by_table(title, means, best), _by_table(title, means, best, across=True)
        unlimited = console.options.update(width=10_000)
        fitting = [
            table
            for table in (across, upright)
            if console.measure(table, options=unlimited).maximum <= console.width
        ]
        if not fitting or len(means) > MAX_TABLES:
            say(console, f"{title} by table: too much for this terminal, `mixsk bench report` shows it")
        else:
            console.print(fitting[0])


def _summary_table(summary):
    table = Table(
        title="Means over the tables",
        caption="rank: 1 is best; sorted by the rank by log loss",
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
    )
    table.add_column("method", no_wrap=True, min_width=max(map(len, summary.index)))
    for heading in ["accuracy", "log loss", "fit seconds", "rank by\naccuracy", "rank by\nlog loss"]:
        table.add_column(heading, justify="right")
    cells = {
        "accuracy": _column(summary["accuracy"], "max"),
        "log_loss": _column(summary["log_loss"], "min"),
        "fit_seconds": _column(summary["fit_seconds"], "min", digits=2),
        "accuracy_rank": _column(summary["accuracy_rank"], "min", digits=2),
        "log_loss_rank": _column(summary["log_loss_rank"], "min", digits=2),
    }
    if summary["failed"].any():
        table.add_column("failed\ncells", justify="right")
        cells["failed"] = [str(n) if n else "" for n in summary["failed"]]
    for method, *scores in zip(summary.index, *cells.values(), strict=True):
        table.add_row(escape(method), *scores)
    return table


def _by_table(title, means, best, across=False):
    """A row for each table and a column for each method; or, across, the other way round."""
    texts = pd.DataFrame({name: _column(scores, best) for name, scores in means.iterrows()}, means.columns)
    texts = texts if across else texts.T
    table = Table(title=f"{title} by table", title_justify="left", box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
    table.add_column("method" if across else "table", no_wrap=True)
    for name in texts.columns:
        # One word a line, so that ten columns fit a terminal of 80.
        table.add_column(escape(name.replace("_", "\n").replace("-", "\n")), justify="right")
    for name, *scores in texts.itertuples():
        table.add_row(escape(name), *scores)
    return table


def _column(scores, best, digits=3):
    """Format a column of scores, the best of them in bold, a missing one as a dash."""
    texts = ["-" if score != score else f"{score:.{digits}f}" for score in scores]
    winner = f"{getattr(scores, best)():.{digits}f}"
    return [f"[bold]{text}[/]" if text == winner else text for text in texts]
