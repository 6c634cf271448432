"""The command line: `mixsk bench fetch`, `run`, `status`, `report` and `compare`."""

import argparse
import sys
from importlib import import_module
from importlib.util import find_spec

DONE, FAILED, CELLS_LEFT, INTERRUPTED = 0, 1, 3, 130
COMMANDS = {
    "fetch": "bring the OpenML tables of a suite into the cache",
    "run": "run methods over the tables of a suite",
    "status": "tell how far a run is",
    "report": "write what a run has found as a page",
    "compare": "tell what has changed between two runs",
}
NEEDED = {
    "fetch": ["openml"],
    "run": ["rich", "pyarrow", "distributed", "psutil"],
    "status": ["rich"],
    "report": ["duckdb", "scikit_posthocs", "matplotlib", "jinja2", "rich"],
    "compare": ["duckdb", "rich"],
}
EXTRAS = {"fetch": "openml", "report": "report", "compare": "report"}


def main(argv=None):
    """Run the command line and return its exit status.

    Parameters
    ----------
    argv : list of str or None, default=None
        The arguments without the program's name; None takes those of the process.

    Returns
    -------
    status : int
        0: every cell ran, every table is in the cache, nothing is worse. 1: a cell failed, a table could not
        be fetched, results could not be written, something is worse. 3: `--stop-after` has left cells for
        another run. 130: interrupted by Ctrl-C. What had ended is kept in all cases.

    Raises
    ------
    SystemExit
        With status 2 for bad input, before any work; with status 0 after `--help`.
    """
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="mixsk", description="Mixup training as scikit-learn classifiers.")
    bench = parser.add_subparsers(title="commands", required=True).add_parser(
        "bench", help="compare methods over tables"
    )
    adder = bench.add_subparsers(title="commands", required=True, dest="command")
    commands = {name: adder.add_parser(name, help=text) for name, text in COMMANDS.items()}
    if len(argv) > 1 and argv[1] in commands:
        name = argv[1]
        lacking = [package for package in NEEDED[name] if find_spec(package) is None]
        if lacking:
            extra = EXTRAS.get(name, "bench")
            commands[name].error(f"{' and '.join(lacking)} not installed: pip install 'mixsk[{extra}]'")
        # Not above: the others' modules would be imported for nothing.
        command = import_module(f"mixsk.bench.commands.{name}")
        command.configure(commands[name])
    args = parser.parse_args(argv)
    try:
        return command.run(args, commands[args.command])
    except (ValueError, ImportError, OSError) as error:
        commands[args.command].error(str(error))
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
