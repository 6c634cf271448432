"""`mixsk bench status`: how far a run is."""

from math import isfinite

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mixsk.bench.cli import DONE
from mixsk.bench.status import read_status
from mixsk.bench.text import duration, say


def configure(parser):
    """Add the command's arguments."""
    parser.description = "Tell how many cells of a run are done, failed and left."
    parser.epilog = "Exit status: 0, or 2 if there is no run in the folder."
    parser.add_argument("folder", help="of the run")


def run(args, parser):
    """Show the status; return the exit status."""
    show(read_status(args.folder))
    return DONE


def show(status):
    """Print how far a run is."""
    console, settings = Console(), status.settings
    total, done, failed = (sum(getattr(status, name).values()) for name in ("planned", "done", "failed"))
    say(
        console,
        f"{settings['suite']['name']}, protocol {settings['protocol']['name']}: {len(settings['tables'])} "
        f"tables, {total} cells: {done} done, {failed} failed, {status.left} left",
    )
    if status.left and status.running:
        known = isfinite(status.seconds_left)
        say(console, f"running, about {duration(status.seconds_left)} left" if known else "running")
    elif status.left:
        say(console, "not running on this machine; the command that began it goes on")
    table = Table(box=SIMPLE_HEAD)
    table.add_column("method", no_wrap=True)
    for heading in ("done", "failed", "left"):
        table.add_column(heading, justify="right")
    for method, planned in status.planned.items():
        done, failed = status.done[method], status.failed[method]
        table.add_row(escape(method), *(str(n) if n else "" for n in (done, failed, planned - done - failed)))
    console.print(table)
