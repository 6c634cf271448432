"""`mixsk bench report`: what a run has found, as a page, CSV files and figures."""

from pathlib import Path

from mixsk.bench.cli import DONE


def configure(parser):
    """Add the command's arguments."""
    parser.description = (
        "Write what a run has found as one HTML page that needs no network, with its tables as CSV and its "
        "figures as PNG. The run may be under way."
    )
    parser.epilog = "Exit status: 0, or 2 if there is no run in the folder or nothing in it yet."
    parser.add_argument("folder", help="of the run")
    parser.add_argument("--out", type=Path, help="folder of the report (default: FOLDER/report)")
    parser.add_argument("--methods", type=_names, help="only these, joined by commas (default: all)")
    parser.add_argument(
        "--baselines",
        type=_names,
        help="what methods are counted against, joined by commas; figures show gains over the first "
        "(default: mixup and the others of the GenLabel paper that were run, or else the first method)",
    )


def run(args, parser):
    """Write the report; return the exit status."""
    # Here and not above, because what they need is an extra: without it `main` should say so.
    from mixsk.bench.report.content import build
    from mixsk.bench.report.data import read
    from mixsk.bench.report.page import write

    results = read(args.folder, args.methods)
    report, out = build(results, args.baselines), args.out or Path(args.folder, "report")
    try:
        print(write(report, out))
    except OSError as error:
        parser.error(f"cannot write into {out} ({error.strerror}); --out names another folder.")
    return DONE


def _names(text):
    return [name.strip() for name in text.split(",") if name.strip()]
