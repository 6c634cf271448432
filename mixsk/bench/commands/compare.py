"""`mixsk bench compare`: what has changed between two runs, with an exit status for use in CI."""

import argparse
from pathlib import Path

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mixsk.bench.cli import DONE
from mixsk.bench.names import check_known
from mixsk.bench.report.changes import BETTER, PAIRS, SAME, WORSE, compare
from mixsk.bench.report.data import read
from mixsk.bench.scores import SCORES
from mixsk.bench.text import say

IS_WORSE = 1
MOST = 20  # cells or settings that are listed


def configure(parser):
    """Add the command's arguments."""
    parser.description = (
        "Tell what has changed from run A to run B: the differences of the scores, with intervals over "
        "tables, what fails now or no longer, the ratio of the times."
    )
    parser.epilog = (
        "A score is worse if its whole interval is, by more than the tolerance; the intervals hold together "
        "at 95 %. Exit status: 0 nothing is worse, 1 a score is worse or a cell fails now, 2 bad input: no "
        "run, nothing in common."
    )
    parser.add_argument("run_a", help="folder of the run before", metavar="RUN_A")
    parser.add_argument("run_b", help="folder of the run after", metavar="RUN_B")
    parser.add_argument(
        "--tolerance",
        type=_tolerance,
        default=0.0,
        help="what a score may lose, in its own units (default: 0)",
    )
    parser.add_argument(
        "--scores", type=_scores, default=SCORES, help=f"joined by commas (default: {','.join(SCORES)})"
    )
    parser.add_argument(
        "--pair",
        choices=PAIRS,
        default="cells",
        help="cells: fits on the same rows with the same seed; tables: means of tables, for runs of other "
        "splits or seeds (default: cells)",
    )
    parser.add_argument(
        "--csv", type=Path, help="write the differences to this file; of fit_seconds the ratios"
    )


def run(args, parser):
    """Show the changes; return the exit status."""
    changes = compare(
        read(args.run_a), read(args.run_b), scores=args.scores, tolerance=args.tolerance, pair=args.pair
    )
    if args.csv is not None:
        frame = pd.concat([changes.scores, changes.times], ignore_index=True)
        try:
            frame.to_csv(args.csv, index=False, lineterminator="\n")
        except OSError as error:
            parser.error(f"cannot write {args.csv}: {error.strerror or error}")
    show(changes, args.run_a, args.run_b, args.tolerance)
    return IS_WORSE if changes.worse else DONE


def show(changes, run_a, run_b, tolerance=0.0):
    """Print the changes; what decides comes last."""
    console = Console()

    say(console, f"A: {run_a}\nB: {run_b}")
    _list(console, "Other settings", [f"{what}: {a} -> {b}" for what, a, b in changes.settings])
    for count, own, other in ((changes.only_a, "A", "B"), (changes.only_b, "B", "A")):
        if count:
            say(console, f"{count} {'cell is' if count == 1 else 'cells are'} in {own} and not in {other}.")
    _list(console, "Tables of the same name with other rows, left out", changes.other_tables)
    if len(changes.scores) and (changes.scores["verdict"] == SAME).all():
        say(console, "All scores of the cells that both have are the same, to the last bit.")
    elif len(changes.scores):
        console.print(_score_table(changes.scores))
    if len(changes.times):
        console.print(_time_table(changes.times))
    mended = changes.statuses.drop(changes.newly_failed.index)
    _list(console, "Cells of another status", [_cell(row) for _, row in mended.iterrows()])
    _list(console, "Cells that fail now", [_cell(row) for _, row in changes.newly_failed.iterrows()], "red")
    found = changes.scores[changes.scores["verdict"] == WORSE]
    for _, row in found.iterrows():
        say(console, f"Worse: {row['score']} of {row['method']} by {abs(row['change']):.4f}", style="red")
    if changes.worse:
        return
    beyond = f" by more than {tolerance:g}" if tolerance else ""
    say(console, f"No score is significantly worse{beyond}, no cell fails that did not.", style="green")


def _list(console, heading, lines, style=None):
    if len(lines):
        say(console, f"{heading}:", style)
        for line in lines[:MOST]:
            say(console, f"  {line}", style)
        if len(lines) > MOST:
            say(console, f"  and {len(lines) - MOST} more", style)


def _cell(row):
    place = "{method} on {table}, repeat {repeat}, fold {fold}, seed {seed}".format(**row)
    return f"{place}: {row['before']} -> {row['after']} ({row['line']})"


def _score_table(scores):
    table = Table(
        title="Means over tables, and the change from A to B",
        caption="the intervals hold together at 95 %",
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("score", no_wrap=True)
    for heading in ("A", "B", "change", "interval", "tables"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    styles = {WORSE: "red", BETTER: "green"}
    for method, rows in scores.groupby("method", sort=False):
        table.add_section()
        table.add_row(f"[bold]{escape(method)}[/]")
        for _, row in rows.iterrows():
            same = row["verdict"] == SAME
            table.add_row(
                f"  {row['score'].replace('_', ' ')}",
                *(f"{row[name]:.3f}" for name in ("a", "b")),
                "0" if same else f"{row['change']:+.4f}",
                "" if same else _interval(row, "+.4f"),
                str(row["tables"]),
                row["verdict"],
                style=styles.get(row["verdict"]),
            )
    return table


def _time_table(times):
    table = Table(title="Seconds a fit", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("method", no_wrap=True)
    for heading in ("A", "B", "B / A", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for _, row in times.iterrows():
        seconds = (f"{row[name]:.3f}" for name in ("a", "b"))
        table.add_row(escape(row["method"]), *seconds, f"{row['change']:.2f}", _interval(row, ".2f"))
    return table


def _interval(row, form):
    return "one table" if row["low"] != row["low"] else f"{row['low']:{form}} to {row['high']:{form}}"


def _tolerance(text):
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of 0 or more, got {text!r}")
    return number


def _scores(text):
    try:
        return [check_known("score", name.strip(), list(SCORES)) for name in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
