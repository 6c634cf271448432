"""`mixsk bench fetch`: bring the OpenML tables of a suite into the cache."""

from mixsk.bench.cli import DONE, FAILED
from mixsk.bench.suite import read_suite, suite_names
from mixsk.datasets.openml import fetch


def configure(parser):
    """Add the command's arguments."""
    parser.description = "Fetch the OpenML tables of a suite that the cache lacks or has damaged, one by one."
    parser.epilog = "Exit status: 0 all tables are in the cache, 1 some are not, 2 bad input."
    parser.add_argument("suite", help=f"{', '.join(suite_names())}, or a .toml file")
    parser.add_argument("--cache", help="root of the OpenML cache (default: openml-python's)")


def run(args, parser):
    """Fetch the OpenML tables of a suite; return the exit status."""
    suite = read_suite(args.suite)
    if not suite.dataset_ids + suite.task_ids:
        parser.error(f"suite {suite.name} has no tables of OpenML: there is nothing to fetch.")
    try:
        summary = fetch(suite.dataset_ids, suite.task_ids, cache_dir=args.cache, report=print)
    except OSError as error:
        parser.error(str(error))
    print(f"{len(summary.fetched)} fetched, {len(summary.present)} present, {len(summary.failed)} failed")
    return FAILED if summary.failed else DONE
