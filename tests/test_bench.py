"""`mixsk bench run`: honest splits, one row per cell, nothing done twice, clear errors before any work."""

import json
import os
import re
import shutil
import signal
import subprocess
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

pytest.importorskip("distributed")
pytest.importorskip("psutil")
pytest.importorskip("pyarrow")
pytest.importorskip("rich")

from rich.console import Console

import mixsk
from mixsk.bench import Method, mean_ranks, methods, read_results, screen, summarise, table_means
from mixsk.bench.cell import run_cells
from mixsk.bench.cli import main
from mixsk.bench.commands import run as command
from mixsk.bench.engine import close_keepers
from mixsk.bench.lock import alone
from mixsk.bench.plan import Cell, planned
from mixsk.bench.scores import SCORES, score
from mixsk.bench.store import COLUMNS, Run, Table
from mixsk.datasets import load_builtin

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="every cell runs in a forked process"),
    pytest.mark.xdist_group("bench"),  # its fixtures are expensive: one worker makes them
]

MINE = Path(__file__).with_name("bench_methods.py")
METHODS = ["logreg", "tree", "talkative", "mixup"]  # of all runs here, the two in the middle from MINE
COMMON = ["--max-epochs=2", "--folds=2", "--seed=7"]
FIRST = [*COMMON, f"--methods=logreg,{MINE},mixup", "--repeats=2", "--seeds=2"]
FEW = [*COMMON, "--methods=logreg,mixup", "--seeds=2"]  # 16 cells of these 64
OTHERWISE = ["fit_seconds", "predict_seconds", "peak_mb", "finished"]  # may differ between equal runs
ODD = "my [/table] 1.5"
SUITE = f"""
[tables.iris]
sklearn = "iris"
[tables."{ODD}"]
file = "mine.csv"
target = "label"
"""


class Ended(NamedTuple):
    """What a command has returned and printed."""

    status: int
    out: str
    err: str


def mixsk_bench(*arguments):
    """Run the command in this process."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main(["bench", *map(str, arguments)])
        except SystemExit as ended:
            status = ended.code
    return Ended(status, out.getvalue(), err.getvalue())


def bench(suite, folder, *options, jobs=1):
    return mixsk_bench("run", f"--suite={suite}", f"--out={folder}", f"--jobs={jobs}", *options)


@pytest.fixture(scope="module", autouse=True)
def a_log_of_100_columns():
    """No terminal, whatever the variables say that make rich take a file for one."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in ["FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"]:
            patch.delenv(variable, raising=False)
        patch.setenv("COLUMNS", "100")
        yield
    close_keepers()


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite")
    rng = np.random.default_rng(0)
    label = rng.permutation(np.repeat(["b", "a"], [22, 18]))
    table = pd.DataFrame({"x": rng.normal(size=40) + (label == "a"), "z": rng.normal(size=40)})
    table.assign(label=label).to_csv(folder / "mine.csv", index=False)
    (folder / "tiny.toml").write_text(SUITE)
    return folder / "tiny.toml"


@pytest.fixture(scope="module")
def tables(suite):
    """Return {name: (X, y)}, the classes as codes in the order of their names."""
    mine = pd.read_csv(suite.with_name("mine.csv"))
    X, y = map(np.asarray, load_builtin("iris"))
    return {
        "iris": (X, np.unique(y, return_inverse=True)[1]),
        ODD: (mine[["x", "z"]].to_numpy(), (mine["label"] == "b").to_numpy().astype(int)),
    }


@pytest.fixture(scope="module")
def first(suite, tmp_path_factory):
    """A run that nobody changes: its folder, and what the command told."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    return folder, bench(suite, folder, *FIRST, jobs=2)


@pytest.fixture
def copy(first, tmp_path):
    return shutil.copytree(first[0], tmp_path / "copy")


@pytest.fixture(scope="module")
def rows(first):
    return results_of(first[0])


def results_of(folder):
    """The results by table, method, repeat, fold and seed."""
    return read_results(folder).set_index(list(Cell._fields)).sort_index()


def of(method, rows):
    return rows.xs(method, level="method", drop_level=False)


def assert_same_results(folder, whole, n_cells):
    """Assert that a run has so many results, and `whole`, which may have more, the same of these cells."""
    results, others = (results_of(f).drop(columns=OTHERWISE) for f in (folder, whole))
    assert len(results) == n_cells
    pd.testing.assert_frame_equal(results, others.loc[results.index])


def cells_of(folder):
    """When each result was written."""
    return {path: os.stat(folder / path).st_mtime_ns for path in Run(folder).files()}


def snapshot(folder):
    """All files of a folder, with their content."""
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def visible(folder):
    return [path.name for path in Path(folder).rglob("*") if path.name[0] != "."]


def ours(path, content):
    """Write a user's file of methods, which takes its classifiers from bench_methods.py."""
    path.write_text(f"from bench_methods import *\n\nMETHODS = {{{content}}}\n")
    return path


# --- the whole command


def test_a_run_ends_with_status_0_and_a_row_for_every_cell(first, rows):
    assert first[1].status == 0
    assert len(rows) == 2 * 4 * 2 * 2 * 2
    assert rows.index.is_unique
    assert set(rows.index) == {tuple(cell) for cell in planned(Run(first[0]).settings())}
    assert set(rows["status"]) == {"ok"}
    assert set(rows["error"]) == {""}


def test_scores_equal_those_of_a_direct_cross_validation(rows, tables):
    judged = pd.concat([of("logreg", rows), of("tree", rows)])
    for (table, method, repeat, fold, seed), row in judged.iterrows():
        X, y = tables[table]
        train, test = list(StratifiedKFold(2, shuffle=True, random_state=7 + repeat).split(X, y))[fold]
        if method == "tree":
            clf = DecisionTreeClassifier(max_depth=2, random_state=seed)
        else:
            clf = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        clf.fit(X[train], y[train])
        assert row["accuracy"] == accuracy_score(y[test], clf.predict(X[test]))
        assert_allclose(row["log_loss"], log_loss(y[test], clf.predict_proba(X[test])), rtol=1e-5)


def test_networks_that_were_trained_together_predict_as_each_by_itself(first, tables):
    for table, (X, y) in tables.items():
        for fold, (train, test) in enumerate(StratifiedKFold(2, shuffle=True, random_state=8).split(X, y)):
            clf = mixsk.MixupClassifier(mix="linear", max_epochs=2, random_state=7).fit(X[train], y[train])
            row = Run(first[0]).read(first[0] / Cell(table, "mixup", 1, fold, 7).path())
            assert row["together"] == 2
            assert_allclose(row["probabilities"], clf.predict_proba(X[test]), atol=1e-6)


def test_a_row_keeps_the_labels_and_probabilities_that_its_scores_are_of(first, tables):
    run = Run(first[0])
    for cell in planned(run.settings()):
        row = run.read(run.folder / cell.path())
        X, y = tables[cell.table]
        folds = list(StratifiedKFold(2, shuffle=True, random_state=7 + cell.repeat).split(X, y))
        train, test = folds[cell.fold]
        assert_array_equal(row["y"], y[test])
        assert row["classes"] == (["a", "b"] if cell.table == ODD else ["setosa", "versicolor", "virginica"])
        assert (row["n_train"], row["n_test"], row["n_classes"]) == (len(train), len(test), y.max() + 1)
        expected = score(y[test], row["probabilities"], y.max() + 1)
        assert_allclose([row[name] for name in SCORES], [expected[name] for name in SCORES], atol=1e-6)


def test_a_row_says_how_it_came_about(rows):
    assert set(rows["suite"]) == {"tiny"}
    assert set(rows["protocol"]) == {"cv"}
    assert set(rows["chosen"]) == {"null"}
    assert (rows[["fit_seconds", "peak_mb"]] > 0).all(axis=None)
    alone = rows.drop("mixup", level="method")
    assert (alone["predict_seconds"] > 0).all()
    assert set(alone["together"]) == {1}
    for method, name, value in [("tree", "max_depth", 2), ("mixup", "max_epochs", 2)]:
        for (*_, seed), params in of(method, rows)["params"].map(json.loads).items():
            assert (params["random_state"], params[name]) == (seed, value)
    versions = rows[["mixsk", "torch", "sklearn"]].drop_duplicates().to_numpy().tolist()
    assert versions == [[mixsk.__version__, torch.__version__, sklearn.__version__]]
    age = datetime.now(UTC) - pd.to_datetime(rows["finished"])
    assert age.between(pd.Timedelta(-2, "s"), pd.Timedelta(1, "h")).all()


def test_a_row_has_the_revision_of_the_code(rows):
    git = ["git", "-C", Path(mixsk.__file__).parents[1], "rev-parse", "HEAD"]
    head = subprocess.run(git, capture_output=True, text=True)
    (revision,) = set(rows["revision"].str.removesuffix("-dirty"))
    if head.returncode:
        assert revision == ""
    else:
        assert head.stdout.startswith(revision)
        assert len(revision) >= 7


def test_warnings_of_a_method_are_in_its_rows_and_nothing_that_it_prints_is_seen(first, rows):
    assert set(of("talkative", rows)["warnings"]) == {"UserWarning: MUTTER\nRuntimeWarning: MURMUR"}
    assert set(rows.drop("talkative", level="method")["warnings"]) == {""}
    assert "16 of 64 cells gave warnings: see the column `warnings`." in first[1].out
    for text in ["CHATTER", "MUTTER", "MURMUR"]:
        assert text not in first[1].out + first[1].err


def test_the_screen_shows_every_method_on_every_table_and_where_the_results_are(first):
    folder, ended = first
    for text in [
        "tiny: 2 tables x 4 methods, protocol cv, 64 cells, 2 at a time\n",
        "rank by",
        "Accuracy by table",
        "Log loss by table",
        f"Results: {folder}, as a table {folder / 'results.csv'}\n",
        *METHODS,
        ODD,
    ]:
        assert text in ended.out
    # No bar where there is no terminal.
    tenths = [int(re.fullmatch(r"(\d+) of 64 cells", line)[1]) for line in ended.err.splitlines()]
    assert tenths == [7, 13, 20, 26, 32, 39, 45, 52, 58, 64]


def test_results_csv_has_the_results(first):
    read, frame = pd.read_csv(first[0] / "results.csv"), read_results(first[0])
    assert list(read.columns) == COLUMNS
    numbers = [*SCORES, "fit_seconds", "predict_seconds"]
    assert_allclose(read[numbers], frame[numbers], rtol=1e-12)
    names = [*Cell._fields, "status", "params"]
    assert read[names].astype(str).equals(frame[names].astype(str))


def test_status_tells_what_the_run_has_done(first):
    ended = mixsk_bench("status", first[0])
    assert ended.status == 0
    assert ended.out.startswith("tiny, protocol cv: 2 tables, 64 cells: 64 done, 0 failed, 0 left\n")
    assert re.findall(r"^ +(\S+) +16 *$", ended.out, re.M) == METHODS


# --- going on


def test_a_second_run_trains_nothing_and_touches_no_result(copy, suite):
    before = snapshot(copy / "cells"), snapshot(copy / "tables"), cells_of(copy)
    ended = bench(suite, copy, *FIRST)
    assert (ended.status, ended.err) == (0, "")
    assert f"64 cells are in {copy} already\n" in ended.out
    assert "Log loss by table" in ended.out
    assert (snapshot(copy / "cells"), snapshot(copy / "tables"), cells_of(copy)) == before


def test_a_missing_or_damaged_result_is_run_again_and_the_others_are_left_alone(copy, suite, first):
    def path(method, fold):
        return copy / Cell("iris", method, 0, fold, 7).path()

    flipped = bytearray(path("tree", 0).read_bytes())
    flipped[50] ^= 1  # in a page of values
    path("logreg", 0).unlink()
    path("logreg", 1).write_bytes(b"")
    path("tree", 0).write_bytes(flipped)
    path("tree", 1).write_text("table,method\niris,tree\n")
    whole = path("mixup", 1).read_bytes()
    path("mixup", 1).write_bytes(whole[: len(whole) // 2])
    table = copy / "tables" / "iris.pkl"
    table.write_bytes(table.read_bytes()[:-1])
    again = {str(path(m, fold).relative_to(copy)) for m in ["logreg", "tree", "mixup"] for fold in (0, 1)}
    before = cells_of(first[0])

    ended = bench(suite, copy, *FIRST)
    assert ended.status == 0
    assert "59 cells are in " in ended.out
    assert "4 damaged results are run again" in ended.out
    assert ended.err.splitlines()[-1] == "6 of 6 cells"  # with the partner of mixup's
    assert {path for path, time in cells_of(copy).items() if time != before[path]} == again
    assert_same_results(copy, first[0], 64)
    assert Run(copy).table("iris").fingerprint() == Run(first[0]).table("iris").fingerprint()


def test_methods_seeds_and_repeats_that_are_added_give_the_results_of_one_run(suite, first, tmp_path):
    folder = tmp_path / "run"
    assert bench(suite, folder, *COMMON, "--methods=logreg").status == 0
    assert "4 cells are in" in bench(suite, folder, *FEW).out
    assert bench(suite, folder, *COMMON, f"--methods={MINE}", "--repeats=2").status == 0
    assert "64 cells: 32 done, 0 failed, 32 left" in mixsk_bench("status", folder).out
    before = cells_of(folder)
    ended = bench(suite, folder, *FEW, "--repeats=2")
    assert "16 cells are in" in ended.out
    assert ended.err.splitlines()[-1] == "16 of 16 cells"
    assert before.items() <= cells_of(folder).items()
    assert_same_results(folder, first[0], 48)


def test_failed_cells_are_rows_with_their_traceback_and_are_run_again(suite, tmp_path):
    once = f'"once": BrokenOnce({str(tmp_path / "once")!r})'
    file = ours(tmp_path / "failing.py", f'"prior": Prior(), "broken": Broken(), {once}')
    folder, options = tmp_path / "run", [f"--methods={file}", "--folds=2"]

    ended = bench(suite, folder, *options)
    assert ended.status == 1
    assert ended.err.splitlines()[-1] == "12 of 12 cells, 5 failed"
    rows = results_of(folder)
    assert list(of("prior", rows)["status"]) == ["ok"] * 4
    assert sorted(of("once", rows)["status"]) == ["failed", "ok", "ok", "ok"]
    broken = of("broken", rows)
    assert list(broken["status"]) == ["failed"] * 4
    assert broken["error"].str.fullmatch(r"Traceback.*KeyError: 'no such column'\n", flags=re.DOTALL).all()
    assert broken[list(SCORES)].isna().all(axis=None)
    for line in [
        r"broken failed in 4 cells, first iris, repeat 0, fold 0, seed 0: KeyError: 'no such column'",
        r"once failed in 1 cells, first .*, seed 0: OSError: the network is down",
        r" +broken +- +- +- .* 4 *",
    ]:
        assert re.search(f"^{line}$", ended.out, re.M)

    before = cells_of(folder)
    kept = bench(suite, folder, *options, "--keep-failed")
    assert (kept.status, kept.err) == (1, "")
    assert "5 failed cells are kept" in kept.out
    assert cells_of(folder) == before
    assert "12 cells: 7 done, 5 failed, 0 left" in mixsk_bench("status", folder).out

    again = bench(suite, folder, *options)
    assert again.status == 1
    assert "5 failed cells are run again" in again.out
    assert again.err.splitlines()[-1] == "5 of 5 cells, 4 failed"
    assert list(of("once", results_of(folder))["status"]) == ["ok"] * 4
    assert len(cells_of(folder)) == 12


class Clock:
    """A second passes whenever it is asked for the time."""

    def __init__(self):
        self.now = 0

    def monotonic(self):
        self.now += 1
        return self.now


def test_after_stop_after_no_cell_begins_and_the_same_command_goes_on(suite, tmp_path, monkeypatch):
    folder, options = tmp_path / "run", [*COMMON, f"--methods={MINE}"]
    with monkeypatch.context() as patch:
        patch.setattr(command, "time", Clock())
        ended = bench(suite, folder, *options, "--stop-after=5s")
    assert ended.status == 3
    assert "Stopped after 5 s: 5 of 8 cells had ended, 3 are left.\n" in ended.out
    assert len(cells_of(folder)) == len(pd.read_csv(folder / "results.csv")) == 5
    ended = bench(suite, folder, *options, "--stop-after=1d")
    assert ended.status == 0
    assert "5 cells are in" in ended.out
    assert ended.err.splitlines()[-1] == "3 of 3 cells"
    assert len(cells_of(folder)) == 8


def test_ctrl_c_keeps_what_has_ended_and_the_same_command_goes_on(suite, first, tmp_path, monkeypatch):
    @contextmanager
    def interrupting(total):
        def advance(cell, status):
            seen.append(cell)
            if len(seen) == 3:
                signal.raise_signal(signal.SIGINT)

        yield advance

    seen, before = [], signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr("mixsk.bench.commands.run.progress", interrupting)
            ended = bench(suite, tmp_path / "run", *FEW, jobs=2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.status == 130
    assert "Interrupted: 3 of 16 cells had ended, 13 are left.\n" in ended.out
    files = cells_of(tmp_path / "run")
    assert {str(cell.path()) for cell in seen} <= files.keys()
    assert len(files) < 16
    assert bench(suite, tmp_path / "run", *FEW).status == 0
    assert_same_results(tmp_path / "run", first[0], 16)


def test_ctrl_c_before_the_run_has_its_tables_is_no_obstacle_to_the_same_command(
    suite, tmp_path, monkeypatch
):
    def interrupt(run, settings):
        raise KeyboardInterrupt

    folder, options = tmp_path / "run", [*COMMON, "--methods=logreg"]
    with monkeypatch.context() as patch:
        patch.setattr(Run, "begin", interrupt)
        ended = bench(suite, folder, *options)
    assert (ended.status, ended.err) == (130, "Interrupted.\n")
    assert "iris.pkl" in visible(folder)
    assert "run.json" not in visible(folder)
    assert bench(suite, folder, *options).status == 0


def test_shards_that_run_one_after_the_other_are_the_whole(suite, first, tmp_path):
    folder = tmp_path / "run"
    assert bench(suite, folder, *FEW, "--shard=1/2").status == 0
    half = cells_of(folder)
    assert 0 < len(half) < 16
    assert bench(suite, folder, *FEW, "--shard=2/2").status == 0
    assert half.items() <= cells_of(folder).items()
    assert_same_results(folder, first[0], 16)


def test_apart_each_net_is_trained_by_itself_with_the_same_scores_but_for_rounding(suite, rows, tmp_path):
    assert bench(suite, tmp_path / "run", *COMMON, "--methods=mixup", "--apart").status == 0
    apart = results_of(tmp_path / "run")
    together = rows.loc[apart.index]
    assert len(apart) == 4
    assert (set(apart["together"]), set(together["together"])) == ({1}, {2})
    assert (apart["predict_seconds"] > 0).all()
    assert_allclose(apart[list(SCORES)], together[list(SCORES)], atol=1e-5)


# --- protocols


def test_holdout_judges_on_a_share_of_the_rows_and_another_in_each_repeat(
    suite, tables, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # not where the processes have been started that run the cells
    options = ["--protocol=holdout", "--test-size=0.25", "--repeats=2", "--seed=3", f"--methods={MINE}"]
    assert bench(suite, "run", *options).status == 0
    rows = results_of("run")
    assert len(rows) == 2 * 2 * 2
    for (table, _, repeat, *_), row in of("tree", rows).iterrows():
        X, y = tables[table]
        size = round(len(y) / 4)
        split = train_test_split(np.arange(len(y)), test_size=size, stratify=y, random_state=3 + repeat)
        train, test = map(np.sort, split)
        tree = DecisionTreeClassifier(max_depth=2, random_state=3).fit(X[train], y[train])
        assert_allclose(row["log_loss"], log_loss(y[test], tree.predict_proba(X[test])), rtol=1e-6)
        assert (row["n_train"], row["n_test"]) == (len(y) - size, size)


def test_paper_chooses_parameters_on_the_training_rows_for_each_of_5_seeds(suite, tables, tmp_path):
    file = ours(tmp_path / "searched.py", '"tree": METHODS["tree"]')
    assert bench(suite, tmp_path / "run", "--protocol=paper", f"--methods={file}").status == 0
    rows = results_of(tmp_path / "run")
    assert list(rows.index) == [(table, "tree", 0, 0, seed) for table in ["iris", ODD] for seed in range(5)]
    for (table, *_, seed), row in rows.iterrows():
        X, y = tables[table]
        size = round(0.3 * len(y))
        split = train_test_split(np.arange(len(y)), test_size=size, stratify=y, random_state=0)
        train, test = map(np.sort, split)
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        grid = {"max_depth": [1, 3, None]}
        search = GridSearchCV(DecisionTreeClassifier(random_state=seed), grid, cv=folds)
        search.fit(X[train], y[train])
        assert json.loads(row["chosen"]) == search.best_params_
        assert row["accuracy"] == search.score(X[test], y[test])


def begun(folder, table, methods, protocol="openml"):
    """A run of one table, whose cells can be run in this process."""
    run = Run(folder)
    run.freeze("t", table)
    settings = {
        "suite": {"name": "s"},
        "protocol": {"name": protocol, "folds": 2, "repeats": 1, "seed": 0, "test_size": 0.3},
        "seeds": 1,
        "overrides": {},
        "methods": {name: {"source": source} for name, source in methods.items()},
        "tables": {"t": {"official": table.splits and sorted(map(list, table.splits))}},
    }
    run.begin(settings)
    return run


def test_openml_judges_on_the_official_splits(tables, tmp_path):
    X, y = tables["iris"]
    even, odd = np.arange(0, 150, 2), np.arange(1, 150, 2)
    splits = {(0, 0): (even, odd), (3, 1): (odd[:70], even)}
    run = begun(tmp_path, Table(X, y, ["a", "b", "c"], splits), {"tree": str(MINE)})
    cells = planned(run.settings())
    assert [(cell.repeat, cell.fold) for cell in cells] == list(splits)
    assert run_cells(str(tmp_path), "t", "tree", [cell[2:] for cell in cells]) == {"statuses": ["ok", "ok"]}
    for row, (train, test) in zip(run.results().to_dict("records"), splits.values(), strict=True):
        tree = DecisionTreeClassifier(max_depth=2, random_state=0).fit(X[train], y[train])
        assert row["accuracy"] == tree.score(X[test], y[test])
        assert (row["n_train"], row["n_test"]) == (len(train), len(test))


def test_a_class_that_was_not_trained_on_has_probability_0(tmp_path):
    X, y = np.arange(20.0)[:, None], np.repeat([0, 1, 2, 1], 5)
    splits = {(0, 0): (np.arange(10), np.arange(10, 20))}
    sources = {"tree": str(MINE), "logreg": "logreg"}
    run = begun(tmp_path, Table(X, y, ["a", "b", "c"], splits), sources)
    for method in sources:
        run_cells(str(tmp_path), "t", method, [[0, 0, 0]])
        row = run.read(tmp_path / Cell("t", method, 0, 0, 0).path())
        proba = np.array(row["probabilities"])
        assert_array_equal(proba[:, 2], 0)
        assert_allclose(proba.sum(axis=1), 1, rtol=1e-6)
        impossible = -np.log(np.finfo(float).eps)
        assert_allclose(row["log_loss"], (5 * impossible - np.log(proba[5:, 1]).sum()) / 10, rtol=1e-5)


def test_every_method_is_fitted_to_the_training_rows_and_no_others(tmp_path, monkeypatch):
    class Spy(DecisionTreeClassifier):
        def fit(self, X, y, sample_weight=None):
            seen.append((tuple(X[:, 0]), tuple(y)))
            return super().fit(X, y)

    seen = []
    X, y = np.arange(20.0)[:, None], np.arange(20) % 2
    sources = {name: name for name in ["spy-1", "spy-2"]}
    begun(tmp_path, Table(X, y, ["a", "b"]), sources, protocol="cv")
    for method in sources:
        monkeypatch.setitem(methods.METHODS, method, Method(Spy))
        run_cells(str(tmp_path), "t", method, [[0, 0, 0], [0, 1, 0]])
    folds = StratifiedKFold(2, shuffle=True, random_state=0).split(X, y)
    assert seen == 2 * [(tuple(X[train, 0]), tuple(y[train])) for train, _ in folds]


def test_probabilities_that_are_not_finite_are_a_failure(tmp_path, monkeypatch):
    class NaN(DecisionTreeClassifier):
        def predict_proba(self, X):
            return super().predict_proba(X) * np.nan

    table = Table(np.arange(20.0)[:, None], np.arange(20) % 2, ["a", "b"])
    run = begun(tmp_path, table, {"nan": "nan"}, protocol="cv")
    monkeypatch.setitem(methods.METHODS, "nan", Method(NaN))
    assert run_cells(str(tmp_path), "t", "nan", [[0, 0, 0]]) == {"statuses": ["failed"]}
    (row,) = run.results().to_dict("records")
    assert row["error"].endswith("of 10 of 10 test rows are not finite; the first is row 0: [nan nan].\n")


# --- bad input: status 2, a message, nothing written


def assert_refused(ended, message):
    assert (ended.status, ended.out) == (2, "")
    assert re.search(message, ended.err, re.M), ended.err


def bad_values(message, **options):
    """Cases of the next test: values that an option does not take."""
    for name, values in options.items():
        option = "--" + name.replace("_", "-")
        for value in values.split(" "):
            yield [f"{option}={value}"], rf"argument {option}: expected {message}.*, got '{value}'$"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--suite=buitlin"], r"unknown suite 'buitlin', did you mean 'builtin'\? Known: builtin, cc18"),
        (["--suite=none.toml"], r"cannot read the suite none\.toml: \[Errno 2\] No such file"),
        (["--methods=vanila"], r"unknown method 'vanila', did you mean 'vanilla'\? Known: vanilla, mixup,"),
        (["--methods=,"], "no method in ','"),
        (["--methods=none.py"], r"cannot read the methods of none\.py: there is no such file in "),
        (["--methods=manifold", "--module=linear"], "--module linear: manifold it needs a hidden layer"),
        (["--module=cnn"], "invalid choice: 'cnn'"),
        (["--protocol=loo"], "invalid choice: 'loo'"),
        (["--jobs=2", "--scheduler=tcp://127.0.0.1:1"], "--jobs is for this machine's cores"),
        (["--seed=4294967295", "--seeds=2"], r"--seed 4294967295: seeds, .* below 2\*\*32"),
        (["--out=mine.csv"], r"mine\.csv is a file and not a folder; choose another"),
        (["--out=mine.csv/below"], r"Not a directory: 'mine\.csv"),
        (["--out=full"], "full is not empty and not the folder of a run; choose another"),
        *bad_values("a whole number of 2 or more", folds="1 two 2.0"),
        *bad_values("a whole number of 1 or more", repeats="0", seeds="0", max_epochs="0 x", jobs="0 -1"),
        *bad_values("a whole number of 0 or more", seed="-1 0.5 "),
        *bad_values("a number above 0 and below 1", test_size="0 1 nan x"),
        *bad_values("I/N with I from 1 to N", shard="0/2 3/2 1 1/0 a/b"),
        *bad_values("a time such as 90s", stop_after="0 2w -1s 1h30m", time_limit="0.0s"),
        *bad_values("a size such as 500M", memory_limit="0G 4 4T -4G"),
    ],
)
def test_bad_input_is_an_error_before_any_work(options, message, suite, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(suite.parent, tmp_path, dirs_exist_ok=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("not to be lost")
    monkeypatch.setattr("mixsk.bench.engine.cluster", lambda *_, **__: pytest.fail("it started to work"))
    before = snapshot(tmp_path)
    assert_refused(mixsk_bench("run", "--suite=tiny.toml", "--methods=logreg", *options), message)
    assert snapshot(tmp_path) == before
    assert sorted(os.listdir(tmp_path)) == ["full", "mine.csv", "tiny.toml"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sklearn = 'iris'\nrows = 3", r"mine\.toml, line 3, table a: unknown key 'rows'\. Known: none"),
        ("file = 'mine.csv'", r"mine\.toml, line 1, table a: `target = \.\.\.` is missing"),
        ("sklearn = 'irsi'", r"mine\.toml, line 2, table a: unknown table 'irsi', did you mean 'iris'"),
    ],
)
def test_a_mistake_in_a_suite_file_is_named_with_its_line(text, message, suite, tmp_path):
    (tmp_path / "mine.toml").write_text(f"[tables.a]\n{text}\n")
    shutil.copy(suite.with_name("mine.csv"), tmp_path)
    assert_refused(bench(tmp_path / "mine.toml", tmp_path / "run"), message)
    assert not (tmp_path / "run").exists()


def test_tables_that_cannot_be_learnt_are_all_named_and_once_mended_the_same_command_runs(tmp_path):
    good = pd.DataFrame({"x": range(8), "z": [0.5] * 8, "label": list("aabbaabb")})
    bad = {
        "one class": good.assign(label="a"),
        "nothing known": good.assign(x=np.nan, z=np.nan),
        "no target": good.rename(columns={"label": "y"}),
        "only a target": good[["label"]],
    }
    suite, names = tmp_path / "mine.toml", ["good", *bad]
    suite.write_text("".join(f'[tables."{name}"]\nfile = "{name}.csv"\ntarget = "label"\n' for name in names))
    for name, table in {"good": good, **bad}.items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    arguments = [suite, tmp_path / "run", f"--methods={MINE}", "--protocol=holdout"]
    ended = bench(*arguments)
    for message in [
        "4 of 5 tables of mine cannot be used:\n",
        "^  one class: .*all rows have the same class in 'label': 'a'",
        r"^  nothing known: .*no row has a value in the columns \['x', 'z'\]",
        r"^  no target: .*no column 'label' to predict, only \['x', 'z', 'y'\]",
        "^  only a target: .*there is no column beside the target 'label'",
    ]:
        assert_refused(ended, message)
    assert visible(tmp_path / "run") == []
    for name in bad:
        good.to_csv(tmp_path / f"{name}.csv", index=False)
    assert bench(*arguments).status == 0


def test_the_protocol_openml_needs_official_splits(suite, tmp_path):
    ended = bench(suite, tmp_path / "run", "--methods=logreg", "--protocol=openml")
    assert_refused(ended, "table iris has no official splits, which protocol openml needs: name an OpenML")
    assert visible(tmp_path / "run") == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--protocol=holdout"], "holds another run: its protocol is 'cv', not 'holdout'"),
        (["--folds=3"], "holds another run: its protocol's folds is 2, not 3"),
        (["--seed=8"], "holds another run: its protocol's seed is 7, not 8"),
        (["--max-epochs=3"], r"holds a run with the options .*'max_epochs': 2.*, not .*'max_epochs': 3"),
        (["--module=linear"], r"holds a run with the options .*, not .*'module': 'linear'"),
        (["--parity"], "holds another run: its suite's parity is False, not True"),
        (["--suite=builtin"], "holds another run: its suite is 'tiny', not 'builtin'"),
    ],
)
def test_the_folder_of_another_run_is_refused_and_left_as_it_is(first, suite, options, message):
    before = snapshot(first[0])
    assert_refused(bench(suite, first[0], *FIRST, *options), message)
    assert snapshot(first[0]) == before


def test_a_suite_of_the_same_name_and_other_tables_is_another_suite(first, suite, tmp_path):
    other = tmp_path / "tiny.toml"
    other.write_text(suite.read_text() + '[tables.wine]\nsklearn = "wine"\n')
    shutil.copy(suite.with_name("mine.csv"), tmp_path)
    assert_refused(bench(other, first[0], *FIRST), "holds another run: its suite's digest is ")


def test_a_method_of_the_same_name_and_other_parameters_is_refused(first, suite, tmp_path):
    file = ours(tmp_path / "other.py", '"tree": DecisionTreeClassifier(max_depth=3)')
    ended = bench(suite, first[0], *COMMON, f"--methods={file}")
    assert_refused(
        ended, "holds results of another method tree: .*'max_depth': 2.*, not .*'max_depth': 3.*another name"
    )


def test_a_folder_in_use_is_refused_but_for_another_shard(copy, suite):
    with alone(copy):
        assert_refused(bench(suite, copy, *FIRST), rf"in use by another run \(process {os.getpid()} on ")
    with alone(copy, "1-of-2"):
        assert_refused(bench(suite, copy, *FIRST, "--shard=1/2"), "--shard 1/2 here, --shard 2/2 there")
        assert bench(suite, copy, *FIRST, "--shard=2/2").status == 0


def test_a_scheduler_that_does_not_answer_is_an_error(suite, tmp_path):
    ended = mixsk_bench("run", f"--suite={suite}", f"--out={tmp_path / 'run'}", "--scheduler=nowhere")
    assert_refused(ended, "no Dask scheduler answers at nowhere .* start one with `dask scheduler`")


@pytest.mark.parametrize(("name", "extra"), [("run", "bench"), ("status", "bench"), ("fetch", "openml")])
def test_what_is_not_installed_is_named_with_how_to_install_it(name, extra, monkeypatch):
    monkeypatch.setattr("mixsk.bench.cli.find_spec", lambda name: None)
    assert_refused(mixsk_bench(name), rf"not installed: pip install 'mixsk\[{extra}\]'")


def test_fetch_refuses_a_suite_without_tables_of_openml():
    pytest.importorskip("openml")
    assert_refused(mixsk_bench("fetch", "builtin"), "suite builtin has no tables of OpenML: there is nothing")
    assert_refused(mixsk_bench("fetch", "demo-1"), "unknown suite 'demo-1', did you mean 'demo-10'")


@pytest.mark.parametrize("name", ["run", "status"])
def test_help_names_the_exit_statuses(name):
    ended = mixsk_bench(name, "--help")
    assert (ended.status, ended.err) == (0, "")
    assert "Exit status: 0" in ended.out


def test_methods_that_need_a_hidden_layer_are_left_out_of_all_where_there_is_none(suite, tmp_path):
    ended = bench(suite, tmp_path / "run", "--methods=all", "--module=linear", "--stop-after=0.001s")
    assert ended.status == 3
    hidden = [name for name, method in methods.METHODS.items() if method.hidden_only]
    assert f"left out, they need a hidden layer: {', '.join(hidden)}\n" in ended.out
    assert "No fold has been finished by every method: nothing to compare." in ended.out
    assert not set(hidden) & set(Run(tmp_path / "run").settings()["methods"])


# --- the comparison


def results(scores):
    """Rows of a run with 2 folds from {(table, method): [score of fold 0, score of fold 1]}; None failed."""
    return pd.DataFrame(
        [
            {"table": table, "method": method, "repeat": 0, "fold": fold, "seed": 0}
            | {"status": "failed" if s is None else "ok"}
            | dict.fromkeys(["accuracy", "log_loss", "fit_seconds"], np.nan if s is None else s)
            for (table, method), of_folds in scores.items()
            for fold, s in enumerate(of_folds)
        ]
    )


def test_ranks_are_taken_on_table_means_and_averaged_over_tables():
    frame = results(
        {
            ("t1", "a"): [0.9, 0.7],
            ("t1", "b"): [0.6, 0.8],
            ("t2", "a"): [0.5, 0.5],
            ("t2", "b"): [0.4, 0.6],
            ("t3", "a"): [0.1, 0.2],
            ("t3", "b"): [0.9, 0.9],
        }
    )
    means = table_means(frame, "accuracy")
    assert_allclose(means, [[0.8, 0.7], [0.5, 0.5], [0.15, 0.9]])
    assert mean_ranks(means, higher_is_better=True).to_dict() == {
        "a": (1 + 1.5 + 2) / 3,
        "b": (2 + 1.5 + 1) / 3,
    }
    assert mean_ranks(means, higher_is_better=False).to_dict() == {
        "a": (2 + 1.5 + 1) / 3,
        "b": (1 + 1.5 + 2) / 3,
    }


def test_a_method_that_failed_on_a_table_ranks_last_there_and_has_no_mean_there():
    frame = results(
        {("t1", "a"): [0.9, None], ("t1", "b"): [0.2, 0.2], ("t2", "a"): [0.8, 0.8], ("t2", "b"): [0.6, 0.6]}
    )
    summary = summarise(frame)
    columns = ["accuracy", "accuracy_rank", "log_loss_rank", "failed"]
    assert_allclose(summary.loc["a", columns].astype(float), [0.8, 1.5, 2, 1])
    assert_allclose(summary.loc["b", columns].astype(float), [0.4, 1.5, 1, 0])
    assert list(summary.index) == ["b", "a"]


def test_means_are_over_seeds_as_over_folds():
    seeds = [
        results({("t", "a"): scores}).assign(seed=i) for i, scores in enumerate([[0.1, 0.3], [0.5, 0.7]])
    ]
    frame = pd.concat(seeds)
    assert_allclose(table_means(frame, "accuracy"), [[0.4]])


def test_a_run_interrupted_before_its_first_whole_fold_has_nothing_to_compare(capsys):
    frame = results({("t1", "a"): [0.9], ("t2", "b"): [0.8]}).assign(error="", warnings="")
    screen.show_results(frame, Console())
    assert capsys.readouterr().out == "No fold has been finished by every method: nothing to compare.\n"


def test_folds_and_seeds_that_an_interrupted_run_has_not_finished_are_not_compared():
    frame = results({("t1", "a"): [0.9, 0.1], ("t1", "b"): [0.8]})
    assert_allclose(table_means(frame, "accuracy"), [[0.9, 0.8]])
    more = results({("t1", "a"): [0.2, 0.2]}).assign(seed=1)
    assert_allclose(table_means(pd.concat([frame, more]), "accuracy"), [[0.9, 0.8]])
