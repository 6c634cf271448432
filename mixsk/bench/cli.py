"""The commands of `mixsk bench`.

`run` compares methods over tables, shows the result and writes it as a CSV; `fetch` brings the tables of a
suite into the cache before.
"""

import argparse
import time
from importlib.util import find_spec

import joblib

from mixsk.bench.methods import DEFAULT, METHODS
from mixsk.bench.names import check_known
from mixsk.bench.results import ResultFile
from mixsk.bench.runner import plan, run
from mixsk.bench.suite import read_suite, suite_names
from mixsk.datasets.openml import fetch

DONE, CELLS_FAILED, INTERRUPTED = 0, 1, 130
FETCH_FAILED = CELLS_FAILED


def main(argv=None):
    """Run the command line and return its exit status.

    Parameters
    ----------
    argv : list of str or None, default=None
        The arguments without the program's name; None takes those of the process.

    Returns
    -------
    status : int
        0: every cell ran, every table is in the cache. 1: a cell failed, a table could not be fetched. 130:
        interrupted by Ctrl-C, the finished cells are in the CSV.

    Raises
    ------
    SystemExit
        With status 2 for bad input, before any work; with status 0 after `--help`.
    """
    parser, run_parser, fetch_parser = _parsers()
    args = parser.parse_args(argv)
    if args.command == "fetch":
        return _fetch(args, fetch_parser)
    if find_spec("rich") is None:
        run_parser.error("the tables on screen need rich: pip install 'mixsk[bench]'")
    try:
        suite = read_suite(args.suite, cache_dir=args.cache, offline=args.offline, parity=args.parity)
        methods = {name: METHODS[check_known("method", name, list(METHODS))] for name in args.methods}
        cells = plan(suite, methods, folds=args.folds, repeats=args.repeats, seed=args.seed)
        results = ResultFile(args.out or f"bench-{suite.name}.csv")
    except ValueError as error:
        run_parser.error(str(error))
    overrides = {"device": args.device}
    if args.max_epochs is not None:
        overrides["max_epochs"] = args.max_epochs
    return _execute(suite.name, cells, results, args.jobs, overrides)


def _fetch(args, parser):
    """Fetch the OpenML tables of a suite; return the exit status."""
    try:
        suite = read_suite(args.suite)
        if not suite.dataset_ids + suite.task_ids:
            parser.error(f"suite {suite.name} has no tables of OpenML: there is nothing to fetch.")
        summary = fetch(suite.dataset_ids, suite.task_ids, cache_dir=args.cache, report=print)
    except (ValueError, ImportError, OSError) as error:
        parser.error(str(error))
    print(f"{len(summary.fetched)} fetched, {len(summary.present)} present, {len(summary.failed)} failed")
    return FETCH_FAILED if summary.failed else DONE


def _execute(suite, cells, results, n_jobs, overrides):
    """Run the cells, write and show what they gave; return the exit status."""
    # Here and not above, because rich is an extra: without it `main` should say so.
    from rich.console import Console

    from mixsk.bench.screen import progress, say, show_results

    console = Console()
    status, start = DONE, time.monotonic()
    tables, methods = (len({cell.names[key] for cell in cells}) for key in ["table", "method"])
    say(console, f"{suite}: {tables} tables x {methods} methods, {len(cells)} cells, {n_jobs} at a time")
    try:
        with progress(len(cells)) as advance:
            for number, row in run(cells, n_jobs=n_jobs, **overrides):
                results.add(number, row)
                advance(row)
    except KeyboardInterrupt:
        status = INTERRUPTED
    frame = results.close()
    show_results(frame, console)
    if status == INTERRUPTED:
        say(console, f"Interrupted: {len(frame)} of {len(cells)} cells had finished.", style="red")
    elif (frame["status"] == "failed").any():
        status = CELLS_FAILED
    say(console, f"{time.monotonic() - start:.0f} seconds. One row per cell: {results.path}")
    return status


def _parsers():
    parser = argparse.ArgumentParser(prog="mixsk", description="Mixup training as scikit-learn classifiers.")
    commands = parser.add_subparsers(title="commands", required=True)
    bench = commands.add_parser("bench", help="compare methods over tables")
    bench_commands = bench.add_subparsers(title="commands", required=True, dest="command")
    run_parser = bench_commands.add_parser(
        "run",
        help="cross-validate every method on every table of a suite",
        description="Cross-validate every method on every table of a suite. All methods see the same folds.",
        epilog=f"methods: {', '.join(METHODS)}. Exit status: 0 all cells ran, 1 a cell failed, 2 bad input.",
    )
    option = run_parser.add_argument
    option(
        "--suite", default="builtin", help=f"{', '.join(suite_names())}, or a .toml file (default: builtin)"
    )
    option(
        "--methods",
        type=_names,
        default=DEFAULT,
        help=f"names joined by commas, or all (default: {','.join(DEFAULT)})",
    )
    option("--out", help="a .csv file, or a folder for results.csv (default: bench-SUITE.csv)")
    option("--folds", type=_at_least(2), default=5, help="folds of the cross-validation (default: 5)")
    option("--repeats", type=_at_least(1), default=1, help="repeat it, with other folds (default: 1)")
    option("--seed", type=_at_least(0), default=0, help="seed of the folds and the methods (default: 0)")
    option("--jobs", type=_at_least(1), default=joblib.cpu_count(), help="processes (default: one per core)")
    option("--max-epochs", type=_at_least(1), help="for the networks (default: their own)")
    option("--device", default="cpu", help="for the networks: cpu, cuda, ... (default: cpu)")
    option("--parity", action="store_true", help="OpenML tables as in the GenLabel paper: numbers only")
    option("--offline", action="store_true", help="OpenML tables from the cache only")
    fetch_parser = bench_commands.add_parser(
        "fetch",
        help="bring the OpenML tables of a suite into the cache",
        description="Fetch the OpenML tables of a suite that the cache lacks or has damaged, one by one.",
        epilog="Exit status: 0 all tables are in the cache, 1 some are not, 2 bad input.",
    )
    fetch_parser.add_argument("suite", help=f"{', '.join(suite_names())}, or a .toml file")
    for subparser in (run_parser, fetch_parser):
        subparser.add_argument("--cache", help="root of the OpenML cache (default: openml-python's)")
    return parser, run_parser, fetch_parser


def _names(text):
    if text == "all":
        return list(METHODS)
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("give at least one name")
    return names


def _at_least(lowest):
    def integer(text):
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or number < lowest:
            raise argparse.ArgumentTypeError(f"expected a whole number of {lowest} or more, got {text!r}")
        return number

    return integer
