"""The folder of a run: whole files or none, damage that is noticed, and what it tells without being read."""

import csv
import os
import resource
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

pytest.importorskip("pyarrow")

from mixsk.bench import read_results
from mixsk.bench.folder import FORMAT, Folder
from mixsk.bench.lock import alone
from mixsk.bench.plan import Cell, file_name, planned
from mixsk.bench.scores import SCORES
from mixsk.bench.status import read_status
from mixsk.bench.store import BY_ROW, COLUMNS, SCHEMA, Run, Table

CELL = Cell("iris", "mixup", 0, 1, 2)
OK = {
    "suite": "tiny",
    "protocol": "cv",
    "status": "ok",
    **dict(zip(SCORES, [0.1, 1 / 3, 2e-300, 0.25, 0.5, np.nan], strict=True)),
    **{"fit_seconds": 0.5, "peak_mb": 300.5, "together": 5, "n_train": 4, "n_test": 2, "n_classes": 3},
    **{"params": '{"alpha": null}', "chosen": "null", "error": "", "warnings": "é: [x]\nsecond"},
    **{"mixsk": "0.1", "revision": "abc", "host": "here", "finished": "2024-05-01T12:00:00+00:00"},
    **{"y": [2, 0], "classes": ["a", "é", ""], "probabilities": [[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]]},
}
FAILED = {"suite": "tiny", "protocol": "cv", "status": "failed", "error": "Traceback ...", "warnings": ""}
SETTINGS = {
    "suite": {"name": "tiny"},
    "protocol": {"name": "cv", "folds": 3, "repeats": 2, "seed": 7, "test_size": 0.3},
    "seeds": 2,
    "methods": {"logreg": {}, "mixup": {}},
    "tables": {"iris": {"official": None}, "wine": {"official": None}},
}


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "run")
    run.begin(SETTINGS)
    return run


def visible(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


# --- results


def test_a_result_comes_back_as_it_was_written(run):
    run.write(CELL, OK)
    row = run.read(run.folder / CELL.path())
    assert list(row) == SCHEMA.names
    assert row["auc"] != row["auc"]  # NaN
    assert row | {"auc": None} == dict.fromkeys(SCHEMA.names) | OK | CELL._asdict() | {"auc": None}


def test_the_results_of_a_folder_are_a_frame_without_what_belongs_to_single_rows(run):
    run.write(CELL, OK)
    run.write(CELL._replace(fold=0), FAILED)
    frame = run.results()
    assert list(frame.columns) == COLUMNS
    assert not set(BY_ROW) & set(COLUMNS)
    assert frame["status"].tolist() == ["failed", "ok"]
    assert frame["fold"].tolist() == [0, 1]
    assert frame["log_loss"][1] == 2e-300
    pd.testing.assert_frame_equal(read_results(run.folder), frame)


def test_no_results_are_an_empty_frame(run):
    assert run.results().shape == (0, len(COLUMNS))


def test_results_csv_has_the_results(run):
    run.write(CELL, OK)
    assert run.export().equals(run.results())
    with (run.folder / "results.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert list(row) == COLUMNS
    assert row["warnings"] == OK["warnings"]
    *scores, auc = SCORES
    assert [float(row[name]) for name in scores] == [OK[name] for name in scores]
    assert row[auc] == ""


def test_a_success_takes_the_place_of_a_failure_and_never_the_reverse(run):
    run.write(CELL, FAILED)
    assert (run.has(CELL), run.has(CELL, "failed")) == (False, True)
    run.write(CELL, OK)
    assert (run.has(CELL), run.has(CELL, "failed")) == (True, False)
    run.write(CELL, FAILED)
    assert (run.has(CELL), run.has(CELL, "failed")) == (True, False)


def test_a_failure_that_was_left_beside_a_success_does_not_count(run):
    run.write(CELL, FAILED)
    left = (run.folder / CELL.path("failed")).read_bytes()
    run.write(CELL, OK)
    (run.folder / CELL.path("failed")).write_bytes(left)
    assert run.results()["status"].tolist() == ["ok"]
    told = read_status(run.folder)
    assert (told.done["mixup"], told.failed["mixup"]) == (0, 0)  # its seed is none of the settings'
    run.write(CELL._replace(seed=7), FAILED)
    (run.folder / CELL._replace(seed=7).path()).write_bytes(left)
    assert (read_status(run.folder).done["mixup"], read_status(run.folder).failed["mixup"]) == (1, 0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Bytes of a result, and the row in it."""
    run = Run(tmp_path_factory.mktemp("run"))
    run.write(CELL, OK)
    return (run.folder / CELL.path()).read_bytes(), run.read(run.folder / CELL.path())


@given(at=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
def test_a_flipped_bit_is_noticed_or_changes_nothing(whole, tmp_path_factory, at, mask):
    content, row = whole
    changed = bytearray(content)
    changed[int(at * len(content))] ^= mask
    path = tmp_path_factory.getbasetemp() / "changed.parquet"
    path.write_bytes(changed)
    read = Run(path.parent).read(path)
    assert read is None or repr(read) == repr(row)


def test_a_flipped_bit_in_the_name_of_a_column_is_noticed(whole, tmp_path):
    (tmp_path / "changed.parquet").write_bytes(whole[0].replace(b"fit_seconds", b"fit_secondz"))
    assert Run(tmp_path).read(tmp_path / "changed.parquet") is None


@given(share=st.floats(0, 1, exclude_max=True))
def test_a_result_that_was_cut_short_is_damaged(whole, tmp_path_factory, share):
    path = tmp_path_factory.getbasetemp() / "cut.parquet"
    path.write_bytes(whole[0][: int(share * len(whole[0]))])
    assert Run(path.parent).read(path) is None


def test_damaged_and_foreign_results_are_removed_and_no_others(run):
    for seed in range(5):
        run.write(CELL._replace(seed=seed), OK if seed else FAILED)
    for seed, content in [(1, b""), (2, b"x,y\n1,2\n")]:
        (run.folder / CELL._replace(seed=seed).path()).write_bytes(content)
    pd.DataFrame({"x": [1]}).to_parquet(run.folder / CELL._replace(seed=3).path())
    assert run.results()["seed"].tolist() == [0, 4]
    assert run.remove_damaged() == 3
    assert visible(run.folder / "cells") == [f"iris/mixup/r0-f1-{s}.parquet" for s in ["s0.failed", "s4"]]
    assert run.remove_damaged() == 0


@pytest.mark.parametrize("before", [None, FAILED, OK])
def test_a_result_that_cannot_be_written_leaves_what_was_there(run, monkeypatch, before):
    if before is not None:
        run.write(CELL, before)
    files = {name: (run.folder / name).read_bytes() for name in visible(run.folder)}

    def full(*args, **kwargs):
        Path(args[1]).write_bytes(b"half of i")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mixsk.bench.store.pq.write_table", full)
    with pytest.raises(OSError, match="No space left"):
        run.write(CELL, OK)
    assert {name: (run.folder / name).read_bytes() for name in visible(run.folder)} == files


# --- tables

X = pd.DataFrame({"x": [1.5, np.nan, 3.0], "colour": pd.Categorical(["red", None, "red"])})
SPLITS = {(0, 0): (np.array([0, 1]), np.array([2])), (0, 1): (np.array([2]), np.array([0, 1]))}
TABLE = Table(X, np.array([0, 1, 0]), ["a", "b"], SPLITS)


@pytest.mark.parametrize("values", [X, X[["x"]].to_numpy()])
def test_a_table_comes_back_as_it_was_kept(run, values):
    run.freeze("t", Table(values, TABLE.y, TABLE.classes, SPLITS))
    back = run.table("t")
    assert type(back.X) is type(values)
    pd.testing.assert_frame_equal(pd.DataFrame(back.X), pd.DataFrame(values))
    assert_array_equal(back.y, TABLE.y)
    assert back.classes == ["a", "b"]
    assert back.splits.keys() == SPLITS.keys()
    assert back.fingerprint() == Table(values, TABLE.y, TABLE.classes, SPLITS).fingerprint()


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:50] + b"x" + b[51:]])
def test_a_damaged_table_is_not_used(run, damage):
    run.freeze("t", TABLE)
    path = run.folder / "tables" / "t.pkl"
    path.write_bytes(damage(path.read_bytes()))
    assert run.table("t") is None
    assert run.table("none") is None


@pytest.mark.parametrize(
    "other",
    [
        Table(X.assign(x=[1.5, np.nan, 3.1]), TABLE.y, TABLE.classes, SPLITS),
        Table(X.assign(x=[1.5, 0, 3.0]), TABLE.y, TABLE.classes, SPLITS),
        Table(X.rename(columns={"x": "z"}), TABLE.y, TABLE.classes, SPLITS),
        Table(X.iloc[::-1], TABLE.y, TABLE.classes, SPLITS),
        Table(X, np.array([0, 1, 1]), TABLE.classes, SPLITS),
        Table(X, TABLE.y, ["a", "c"], SPLITS),
        Table(X, TABLE.y, TABLE.classes, {(0, 0): SPLITS[0, 0]}),
        Table(X, TABLE.y, TABLE.classes, None),
    ],
)
def test_another_table_has_another_fingerprint(other):
    assert other.fingerprint() != TABLE.fingerprint()


# --- names and settings


@given(st.lists(st.text(min_size=1, max_size=30), min_size=2, max_size=2, unique=True))
def test_any_two_names_are_two_plain_files_in_one_folder(names):
    files = [file_name(name) for name in names]
    assert files[0] != files[1]
    for file in files:
        assert Path(file).name == file
        assert not file.startswith(".")
        assert file.isascii()


def test_usual_names_are_files_of_the_same_name():
    for name in ["iris", "columns+genlabel", "openml-61", "my table_2.1"]:
        assert file_name(name) == name


def test_a_folder_tells_which_results_it_has_under_any_name(run):
    cell = Cell("../a/[b] é.", ".", 0, 0, 0)
    run.write(cell, OK)
    assert run.has(cell)
    assert list(run.files()) == [str(cell.path())]
    assert run.results()["table"].tolist() == [cell.table]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"is not the folder of a run: it has no run\.json\. `mixsk bench run --out FOLDER` makes one"),
        ("{", r"run\.json is damaged \(Expecting property name"),
        ('{"format": 99}', rf"another version of mixsk \(format 99, this one reads {FORMAT}\)"),
    ],
)
def test_a_folder_that_cannot_be_read_says_why(tmp_path, content, message):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    for ask in (lambda folder: Folder(folder).settings(), read_status, read_results):
        with pytest.raises(ValueError, match=message):
            ask(tmp_path)


def test_settings_come_back_as_they_were_written(run):
    assert run.settings() == {"format": FORMAT} | SETTINGS


# --- the plan


def test_the_plan_has_every_cell_once_table_by_table():
    cells = planned(SETTINGS)
    expected = product(["iris", "wine"], ["logreg", "mixup"], range(2), range(3), [7, 8])
    assert cells == [Cell(*names) for names in expected]


def test_a_part_of_the_plan_is_that_of_the_asked_methods_seeds_and_repeats():
    cells = planned(SETTINGS, methods=["mixup"], seeds=1, repeats=1)
    assert cells == [Cell(t, "mixup", 0, f, 7) for t in ["iris", "wine"] for f in range(3)]


@pytest.mark.parametrize(
    ("protocol", "splits"),
    [("holdout", [(0, 0), (1, 0)]), ("paper", [(0, 0)]), ("openml", [(0, 0), (0, 1), (5, 0)])],
)
def test_the_plan_follows_the_protocol(protocol, splits):
    settings = SETTINGS | {
        "protocol": SETTINGS["protocol"] | {"name": protocol},
        "tables": {"iris": {"official": [[0, 0], [0, 1], [5, 0]]}},
    }
    cells = planned(settings, methods=["mixup"], seeds=1)
    assert [(cell.repeat, cell.fold) for cell in cells] == splits


# --- the status


def test_status_counts_by_method_what_is_planned_done_and_failed(run):
    for cell in planned(SETTINGS, methods=["mixup"])[:5]:
        run.write(cell, OK)
    run.write(planned(SETTINGS, methods=["logreg"])[0], FAILED)
    run.write(Cell("iris", "mixup", 7, 0, 7), OK)  # beyond the plan
    told = read_status(run.folder)
    assert told.planned == {"logreg": 24, "mixup": 24}
    assert told.done == {"logreg": 0, "mixup": 5}
    assert told.failed == {"logreg": 1, "mixup": 0}
    assert told.left == 42
    assert told.settings["suite"]["name"] == "tiny"


def test_status_estimates_the_time_left_from_the_latest_results(run):
    cells = planned(SETTINGS)[:4]
    assert np.isnan(read_status(run.folder).seconds_left)
    for number, cell in enumerate(cells):
        run.write(cell, OK)
        os.utime(run.folder / cell.path(), (1000 + 30 * number,) * 2)
    assert read_status(run.folder).seconds_left == pytest.approx(30 * 44)


def test_status_knows_whether_a_run_or_a_shard_of_one_is_under_way(run):
    assert not read_status(run.folder).running
    for name in [None, "2-of-3"]:
        with alone(run.folder, name):
            assert read_status(run.folder).running
        assert not read_status(run.folder).running


def test_a_second_run_is_told_who_has_the_folder(tmp_path):
    with alone(tmp_path / "new"):
        with pytest.raises(ValueError, match=rf"is in use by another run \(process {os.getpid()} on "):
            with alone(tmp_path / "new"):
                pytest.fail("two have it")
        with pytest.raises(ValueError, match="is in use by another run"):
            with alone(tmp_path / "new", "1-of-2"):
                pytest.fail("a shard of a run that is under way")
    with alone(tmp_path / "new", "1-of-2"), alone(tmp_path / "new", "2-of-2"):
        for name in [None, "1-of-2"]:
            with pytest.raises(ValueError, match="is in use by another run"):
                with alone(tmp_path / "new", name):
                    pytest.fail("two have it")
    with alone(tmp_path / "new"):
        pass


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """The folder of a run of 10 000 cells, 9 500 done and 100 failed; their files are empty."""
    names = [f"{number:02}" for number in range(10)]
    settings = SETTINGS | {
        "protocol": SETTINGS["protocol"] | {"folds": 10},
        "seeds": 5,
        "methods": {f"method-{name}": {} for name in names},
        "tables": {f"table-{name}": {"official": None} for name in names},
    }
    run = Run(tmp_path_factory.mktemp("large"))
    run.begin(settings)
    cells = planned(settings)
    assert len(cells) == 10_000
    for number, cell in enumerate(cells[:9600]):
        path = run.folder / cell.path("failed" if number % 96 == 95 else "ok")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return run.folder


def test_the_command_tells_the_status_of_10_000_cells_in_2_seconds(large):
    command = [Path(sys.executable).with_name("mixsk"), "bench", "status", large]
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Of the processor, not of the clock: a busy machine must not fail a test.
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "tiny, protocol cv: 10 tables, 10000 cells: 9500 done, 100 failed, 400 left"
    assert lines[1] == "not running on this machine; the command that began it goes on"
    rows = [line.split() for line in lines if "method-" in line]
    assert len(rows) == 10
    assert sum(int(row[1]) for row in rows) == 9500
    assert min(seconds) < 2


def test_status_of_no_run_is_an_error_with_status_2(tmp_path):
    command = [Path(sys.executable).with_name("mixsk"), "bench", "status", tmp_path / "none"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "none is not the folder of a run: it has no run.json." in done.stderr
