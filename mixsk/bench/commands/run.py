"""`mixsk bench run`: run methods over the tables of a suite into a folder, and show how they compare."""

import argparse
import re
import signal
import time
from pathlib import Path

import torch
from rich.console import Console

from mixsk.backbones import BACKBONES
from mixsk.bench import runner
from mixsk.bench.cli import CELLS_LEFT, DONE, FAILED, INTERRUPTED
from mixsk.bench.engine import cluster
from mixsk.bench.lock import alone
from mixsk.bench.methods import DEFAULT, METHODS_FOR, load_methods
from mixsk.bench.plan import planned
from mixsk.bench.protocol import PROTOCOLS, Protocol
from mixsk.bench.screen import counting, progress, show_results
from mixsk.bench.store import Run
from mixsk.bench.suite import read_suite, suite_names
from mixsk.bench.text import say
from mixsk.classifiers._settings import reads

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def configure(parser):
    """Add the command's arguments."""
    parser.description = (
        "Run every method on every table of a suite, on the same splits, into a folder. What the folder has "
        "already is kept, so that the same command goes on where it was stopped."
    )
    known = "; ".join(f"for {kind}s: {', '.join(names)}" for kind, names in METHODS_FOR.items())
    parser.epilog = (
        f"methods {known}. Exit status: 0 all cells ran, 1 a cell failed or results cannot be written, 2 bad "
        "input, 3 cells are left after --stop-after, 130 interrupted."
    )
    what = parser.add_argument_group("what is run").add_argument
    what("--suite", default="builtin", help=f"{', '.join(suite_names())}, or a .toml file (default: builtin)")
    what(
        "--methods",
        help="names joined by commas, or all; a .py file that has a dict METHODS of names and scikit-learn "
        f"classifiers is one of them (default: {','.join(DEFAULT)}; for texts and images all)",
    )
    what(
        "--protocol",
        choices=PROTOCOLS,
        help="how rows are split (default: cv; texts and images: official)",
    )
    what("--folds", type=_at_least(2), default=5, help="of cv (default: 5)")
    what("--repeats", type=_at_least(1), default=1, help="of cv and holdout, other splits (default: 1)")
    what("--test-size", type=_share, default=0.3, help="of holdout and paper (default: 0.3)")
    what("--seed", type=_at_least(0), default=0, help="of the splits, and the methods' first (default: 0)")
    what("--seeds", type=_at_least(1), help="fits of each, with other seeds (default: 1; paper: 5)")
    what("--module", choices=tuple(BACKBONES), help="the network of our methods (default: their own)")
    what("--max-epochs", type=_at_least(1), help="for the networks (default: their own)")
    what("--device", default="cpu", help="for the networks: cpu, cuda, ... (default: cpu)")
    what("--parity", action="store_true", help="OpenML tables as in the GenLabel paper: numbers only")
    what("--offline", action="store_true", help="OpenML tables from the cache only")
    how = parser.add_argument_group("how it is run").add_argument
    how("--out", type=Path, help="folder of the results (default: runs/SUITE)")
    how("--jobs", type=_at_least(1), help="cells at a time (default: one per core)")
    how("--scheduler", help="run on a Dask cluster: its address, such as tcp://host:8786")
    how("--shard", type=_shard, default=(1, 1), help="run the part I of N, such as 1/4", metavar="I/N")
    how("--stop-after", type=_seconds, help="begin no cell after this time, such as 2h, 30m, 90s")
    how("--time-limit", type=_seconds, help="for one cell, as --stop-after (default: none)")
    how("--memory-limit", type=_bytes, help="for one process, such as 4G (default: its share)")
    how("--apart", action="store_true", help="train no cells together: seconds are then those of one fit")
    how("--keep-failed", action="store_true", help="do not run failed cells again")
    how("--cache", type=_folder, help="root of the OpenML cache (default: openml-python's)")
    how(
        "--data",
        type=_folder,
        help="folder of texts and images (default: MIXSK_DATA or ~/mixsk_data)",
    )


def run(args, parser):
    """Run what a folder lacks, show what it has; return the exit status."""
    if args.scheduler is not None and args.jobs is not None:
        parser.error("--jobs is for this machine's cores; with --scheduler the cluster's workers decide.")
    begun, console = time.monotonic(), Console()
    suite = read_suite(
        args.suite, cache_dir=args.cache, offline=args.offline, parity=args.parity, data_home=args.data
    )
    names, splits = (",".join(DEFAULT), "cv") if suite.reads == "table" else ("all", "official")
    methods = load_methods(names if args.methods is None else args.methods, suite.reads)
    _check_readable(suite, methods, args.module, args.protocol)
    methods, left_out = _for_network(methods, args.module, asked=args.methods not in ("all", None))
    protocol = Protocol(args.protocol or splits, args.folds, args.repeats, args.seed, args.test_size)
    seeds = args.seeds or (5 if args.protocol == "paper" else 1)
    if _on_gpu(args) and args.scheduler is None and not torch.cuda.is_available():
        parser.error(f"--device {args.device}: torch sees no GPU here; use --device cpu.")
    if args.seed + max(seeds, args.repeats) > 2**32:
        parser.error(f"--seed {args.seed}: seeds, those of repeats too, have to be below 2**32.")
    overrides = {"module": args.module, "max_epochs": args.max_epochs, "device": args.device}
    settings = runner.describe(suite, methods, protocol, seeds=seeds, **overrides)
    run = Run(args.out or Path("runs", suite.name))
    runner.merged(run, settings)  # or an error, before anything is started
    number, shards = args.shard
    with (
        alone(run.folder, None if shards == 1 else f"{number}-of-{shards}"),
        cluster(args.jobs, args.scheduler, n_gpus=_on_gpu(args)) as client,
    ):
        with counting("tables ready") as report:
            settings = runner.begin(client, run, settings, report)
        damaged = run.remove_damaged()
        cells = planned(settings, methods, seeds, args.repeats)
        done = {cell for cell in cells if run.has(cell)}
        failed = {cell for cell in cells if cell not in done and run.has(cell, "failed")}
        left = set(cells) - done - (failed if args.keep_failed else set())
        jobs = runner.jobs_of(
            run.folder, cells, left, methods, settings["overrides"], apart=args.apart, shard=args.shard
        )
        workers = args.scheduler or f"{sum(client.nthreads().values())} at a time"
        say(console, f"{suite.name}: {len(settings['tables'])} tables x {len(methods)} methods, protocol "
            f"{protocol.name}, {len(cells)} cells, {workers}")  # fmt: skip
        for text, count in {
            f"left out, they need a hidden layer: {', '.join(left_out)}": len(left_out),
            f"{len(done)} cells are in {run.folder} already": len(done),
            f"{damaged} damaged results are run again": damaged,
            f"{len(failed)} failed cells are {'kept' if args.keep_failed else 'run again'}": len(failed),
            "no worker has come yet: waiting for the first": not client.nthreads(),
        }.items():
            if count:
                say(console, text)
        for name, info in settings["tables"].items():
            for warning in info.get("warnings", []):
                say(console, f"{name}: {warning}", style="yellow")
        end = None if args.stop_after is None else begun + args.stop_after
        trouble = _execute(args, client, run, jobs, settings, end)
    try:
        frame = run.export()
    except OSError:
        frame = run.results()
    show_results(frame, console)
    if trouble is not None:
        say(console, trouble[0], style="red")
    say(console, f"{time.monotonic() - begun:.0f} seconds. Results: {run.folder}, as a table "
        f"{run.folder / 'results.csv'}")  # fmt: skip
    if trouble is not None:
        return trouble[1]
    return FAILED if any(run.has(cell, "failed") and not run.has(cell) for cell in cells) else DONE


def _execute(args, client, run, jobs, settings, end):
    """Run the jobs; return None, or why cells are left and the exit status."""
    todo, ran = sum(len(job.cells) for job in jobs), 0
    options = {
        "time_limit": args.time_limit,
        "memory_limit": args.memory_limit,
        "resources": {"GPU": 1} if _on_gpu(args) else None,
        "stop": lambda: end is not None and time.monotonic() > end,
    }
    # As from Ctrl-C: a cluster's batch system says so before it kills.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    why = None
    try:
        with progress(todo) as advance:
            for cell, status in runner.run_jobs(client, run, jobs, settings, **options):
                ran += 1
                advance(cell, status)
    except KeyboardInterrupt:
        why, status = "Interrupted", INTERRUPTED
    except runner.UnwritableError as error:
        why, status = f"Cannot write results ({error}). Make room and run the same command again", FAILED
    except ConnectionError as error:
        why, status = f"{error}. Start them again, then run the same command again", FAILED
    finally:
        signal.signal(signal.SIGTERM, before)
    if why is None and ran < todo:
        why, status = f"Stopped after {args.stop_after:.0f} s", CELLS_LEFT
    return (
        None if why is None else (f"{why}: {ran} of {todo} cells had ended, {todo - ran} are left.", status)
    )


def _on_gpu(args):
    return args.device.startswith("cuda")


def _for_network(methods, module, asked):
    """The methods that there are for a network, and the names of the others, which may not be asked for."""
    reasons = {name: method.why_not(module) for name, method in methods.items()}
    left_out = [name for name, reason in reasons.items() if reason is not None]
    if left_out and asked:
        raise ValueError(f"--module {module}: {left_out[0]} {reasons[left_out[0]]}")
    return {name: method for name, method in methods.items() if reasons[name] is None}, left_out


def _check_readable(suite, methods, module, protocol):
    """Raise ValueError if something asked for cannot read the tables, texts or images of a suite."""
    those = f"suite {suite.name} has {suite.reads}s"
    for name, method in methods.items():
        if method.reads not in (None, suite.reads):
            raise ValueError(
                f"method {name} is for {method.reads}s, and {those}; use "
                f"{', '.join(METHODS_FOR[suite.reads])}, or methods of your own."
            )
    if module is not None and reads(module) != suite.reads:
        known = [name for name in BACKBONES if reads(name) == suite.reads]
        raise ValueError(
            f"--module {module} reads {reads(module)}s, and {those}; use {' or '.join(known) or 'another'}."
        )
    if protocol == "paper" and suite.reads != "table":
        raise ValueError(f"protocol paper is that of the GenLabel paper's tables, and {those}; use official.")


def _folder(text):
    """Of which the workers of a cluster find the same, wherever they were started."""
    return Path(text).expanduser().absolute()


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


def _share(text):
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0 and below 1, got {text!r}")
    return number


def _shard(text):
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"expected I/N with I from 1 to N, such as 1/4, got {text!r}")
    return int(match[1]), int(match[2])


def _seconds(text):
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if match is None or float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"expected a time such as 90s, 30m, 2h or 1d, got {text!r}")
    return float(match[1]) * UNITS[match[2] or "s"]


def _bytes(text):
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([MG])B?", text)
    if match is None or float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"expected a size such as 500M or 4G, got {text!r}")
    return int(float(match[1]) * {"M": 10**6, "G": 10**9}[match[2]])
