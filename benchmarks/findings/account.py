"""How runs were made: the command that makes them again, how many fits, how long, with which versions."""

import re
import shlex
from math import prod
from pathlib import Path

from mixsk.bench.protocol import Protocol
from mixsk.bench.report import account
from mixsk.bench.report.content import Report
from mixsk.bench.text import duration

ROOT = Path(__file__).parents[2]
SEEDS = {"paper": 5}  # fits of each, unless said; else 1
LEFT_OUT = ("machine", "suite", "protocol")  # said by the command, or of no use to others


def shown(path):
    """A path as others have it: from the repository's root, or where runs are usually kept."""
    path = Path(path)
    if not path.is_absolute():
        return str(path)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(Path("runs", path.name))


def command(folder, settings):
    """The command that makes a run again, from what its folder says.

    Options that run.json does not keep (jobs, limits, the cache) are not results' business, and left out.
    """
    suite, protocol, overrides = settings["suite"], settings["protocol"], settings["overrides"]
    source = suite["source"]
    sources = dict.fromkeys(method["source"] for method in settings["methods"].values())
    methods = [shown(name) if name.endswith(".py") else name for name in sources]
    words = ["--suite", shown(source) if source.endswith(".toml") else source]
    words += ["--methods", ",".join(methods), "--protocol", protocol["name"]]
    usual = Protocol()
    for key in ("folds", "repeats", "test_size", "seed"):
        if protocol[key] != getattr(usual, key):
            words += [f"--{key.replace('_', '-')}", str(protocol[key])]
    if settings["seeds"] != SEEDS.get(protocol["name"], 1):
        words += ["--seeds", str(settings["seeds"])]
    for key, value in overrides.items():
        if (key, value) != ("device", "cpu"):
            words += [f"--{key.replace('_', '-')}", str(value)]
    words += ["--parity"] if suite["parity"] else []
    return f"mixsk bench run {shlex.join([*words, '--out', shown(folder)])}"


def fits(settings, cells):
    """How many networks the cells have trained: with a search, each candidate on each fold, and the best."""
    each = {name: _fits_of(method["is"]) for name, method in settings["methods"].items()}
    return int(cells["method"].map(each).sum())


def _fits_of(description):
    if "param_grid" not in description:
        return 1
    folds = re.search(r"n_splits=(\d+)", description["cv"].get("text", ""))
    candidates = prod(len(values) for values in description["param_grid"].values())
    return candidates * int(folds[1] if folds else description["cv"].get("n_splits", 5)) + 1


def add(section, *all_runs):
    """Say of a section how its runs were made."""
    for runs in all_runs:
        for folder, results in zip(runs.folders, runs.results, strict=True):
            if (line := command(folder, results.settings)) in section.commands:
                continue
            section.commands.append(line)
            section.account += _facts(Path(folder).name, results)


def _facts(label, results):
    report = Report(**account.head(results, results.cells))  # here pairs of methods are compared, not all
    account.add(report, results)
    facts = [*report.facts, ("fits", f"{fits(results.settings, results.cells):,}".replace(",", " "))]
    facts += [fact for fact in report.sections["run"]["facts"] if fact[0] not in LEFT_OUT]
    facts += [("note", notice) for notice in report.notices]
    return [(label, name, text) for name, text in facts]


def notices(all_runs):
    """What is to be known first: which runs have not ended, or have damaged results."""
    return [
        f"{folder.name}: {notice}"
        for runs in all_runs
        for folder, results in zip(runs.folders, runs.results, strict=True)
        for notice in account.head(results, results.cells)["notices"]
    ]


def add_file(section, script, frame):
    """The same of results in a CSV file, which keeps versions in columns whose names say so."""
    section.commands.append(f"python benchmarks/{script}")
    if frame is None:
        return
    section.account.append((script, "rows", str(len(frame))))
    for column in ("fit_seconds", "attack_seconds"):
        if column in frame:
            what = f"{column.removesuffix('_seconds')}, all rows"
            section.account.append((script, what, duration(float(frame[column].sum()))))
    for column in frame.columns:
        if column.endswith("_version"):
            versions = ", ".join(map(str, dict.fromkeys(frame[column].dropna())))
            section.account.append((script, column.replace("_", " "), versions))
