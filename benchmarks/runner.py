"""What the batch runner costs beside the fits, and how long `status` takes.

    python benchmarks/runner.py              # one minute on 2 cores

Cells of a classifier that does nothing, each in a process of its own: all their time is overhead. Then a
folder with 10 000 results, of which `mixsk bench status` counts.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mixsk.bench.cli import main
from mixsk.bench.folder import Folder
from mixsk.bench.plan import planned

METHODS = """
from sklearn.dummy import DummyClassifier
METHODS = {"nothing": DummyClassifier()}
"""


def overhead(folder: Path, n_jobs: int, repeats: int) -> float:
    """Seconds of a core for each cell beyond its fit and prediction."""
    begin = ["bench", "run", "--suite", str(folder / "small.toml"), "--methods", str(folder / "nothing.py")]
    begin += ["--folds", "10", "--jobs", str(n_jobs), "--out", str(folder / f"run-{n_jobs}")]
    seconds = []
    for n in (1, 1 + repeats):  # the difference: what starting costs is not a cell's
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            assert main([*begin, "--repeats", str(n)]) == 0
        seconds.append(time.perf_counter() - start)
    return (seconds[1] - seconds[0]) * n_jobs / (10 * (repeats - 1))


def status(folder: Path, n_cells: int) -> float:
    """Seconds of `mixsk bench status` for a folder with so many results, of which it reads none."""
    settings = json.loads((folder / "run-2" / "run.json").read_text())
    settings["protocol"]["repeats"] = n_cells // 10
    many = folder / "many"
    many.mkdir()
    (many / "run.json").write_text(json.dumps(settings))
    content = next((folder / "run-2").glob("cells/*/*/*.parquet")).read_bytes()
    for cell in planned(Folder(many).settings()):
        path = many / cell.path()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    command = [str(Path(sys.executable).with_name("mixsk")), "bench", "status", str(many)]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def run() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=30, help="10 cells each")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "nothing.py").write_text(METHODS)
        (folder / "small.toml").write_text('[tables.iris]\nsklearn = "iris"\n')
        for n_jobs in (1, 2):
            print(
                f"overhead of a cell, {n_jobs} at a time: {overhead(folder, n_jobs, args.repeats):.3f} s",
                flush=True,
            )
        print(f"status of 10 000 cells: {status(folder, 10_000):.2f} s", flush=True)


if __name__ == "__main__":
    run()
