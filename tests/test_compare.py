"""`mixsk bench compare`: paired differences with intervals by hand, and an exit status that CI can trust."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.stats import t

pytest.importorskip("duckdb")
pytest.importorskip("pyarrow")
pytest.importorskip("rich")

from fake_runs import PROVENANCE, fail, make_run, write

from mixsk.bench.cli import main
from mixsk.bench.plan import Cell, planned
from mixsk.bench.report.changes import compare
from mixsk.bench.report.data import read

TABLES, METHODS = ["iris", "wine", "moons", "cubes"], ["vanilla", "mixup"]
PROTOCOL = {"name": "cv", "folds": 2, "repeats": 1, "seed": 0, "test_size": 0.3}


@pytest.fixture
def runs(tmp_path):
    """Two runs that are the same."""
    return [make_run(tmp_path / name, TABLES, METHODS) for name in "ab"]


@pytest.fixture
def call(runs, capsys, monkeypatch):
    """Run the command on the two folders; return its exit status and what it said."""
    monkeypatch.setenv("COLUMNS", "120")

    def command(*options, folders=None):
        folders = folders or [run.folder for run in runs]
        try:
            status = main(["bench", "compare", *map(str, folders), *options])
        except SystemExit as stop:
            status = stop.code
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return command


def worsen(run, method, shift=1.0, tables=TABLES, **row):
    """Write the method's cells anew, with classes further apart (or less, if `shift` is below 0)."""
    for cell in planned(run.settings(), [method]):
        if cell.table in tables:
            write(run, cell, skill=1.0 - shift * (1 + 0.1 * TABLES.index(cell.table)), **row)


def changes_of(runs, **options):
    return compare(*(read(run.folder) for run in runs), **options)


def row_of(changes, method, score):
    return changes.scores.set_index(["method", "score"]).loc[(method, score)]


def test_the_same_run_twice_has_no_change(call):
    status, text = call()
    assert status == 0
    assert "All scores of the cells that both have are the same" in text
    assert "No score is significantly worse" in text


def test_a_worse_score_is_status_1_and_a_better_one_0(runs, call):
    worsen(runs[1], "mixup")
    status, text = call()
    assert status == 1
    assert "Worse: log_loss of mixup" in text
    assert "of vanilla" not in text
    status, text = call(folders=[runs[1].folder, runs[0].folder])
    assert status == 0
    assert "better" in text


def test_intervals_are_students_over_tables_of_the_differences_of_cells_and_hold_together(runs):
    worsen(runs[1], "mixup", 0.3)
    worsen(runs[1], "vanilla", -0.2, tables=["iris"])
    changes = changes_of(runs, scores=["accuracy", "log_loss"])
    a, b = (run.results().set_index(["table", "method", "fold"]) for run in runs)
    by_table = (b["log_loss"] - a["log_loss"]).groupby(["method", "table"]).mean()["mixup"]
    half = t.ppf(1 - 0.05 / 2 / 4, 3) * by_table.std() / 2  # four rows differ, of four tables each
    row = row_of(changes, "mixup", "log_loss")
    assert_allclose(
        row[["change", "low", "high"]].astype(float), by_table.mean() + half * np.array([0, -1, 1])
    )
    assert_allclose(
        row[["a", "b"]].astype(float), [a["log_loss"].xs("mixup", level=1).mean(), row["a"] + row["change"]]
    )
    assert (row["tables"], row["cells"]) == (4, 8)


def test_what_is_the_same_does_not_widen_the_intervals_of_the_rest(runs):
    worsen(runs[1], "mixup", 0.3)
    both = changes_of(runs, scores=["log_loss"])
    assert both.level == pytest.approx(0.95)
    assert list(both.scores["verdict"]) == ["same", "worse"]


def test_a_loss_within_the_tolerance_is_none(runs, call):
    worsen(runs[1], "mixup", 0.3)
    row = row_of(changes_of(runs, scores=["log_loss"]), "mixup", "log_loss")
    assert row["low"] > 0
    assert call("--scores=log_loss", f"--tolerance={row['low'] * 0.99}")[0] == 1
    assert call("--scores=log_loss", f"--tolerance={row['low'] * 1.01}")[0] == 0


@pytest.mark.parametrize(("score", "sign"), [("accuracy", -1), ("auc", -1), ("brier", 1), ("log_loss", 1)])
def test_worse_is_lower_or_higher_as_the_score_has_it(runs, score, sign):
    worsen(runs[1], "mixup", 2.0)
    row = row_of(changes_of(runs, scores=[score]), "mixup", score)
    assert row["verdict"] == "worse"
    assert np.sign(row["change"]) == sign


def test_only_cells_that_both_have_are_compared_and_the_others_counted(runs, call):
    lost = Cell("iris", "mixup", 0, 1, 0)
    (runs[1].folder / lost.path()).unlink()
    worsen(runs[0], "mixup", 0.5, tables=["iris"])
    write(runs[0], Cell("iris", "mixup", 0, 0, 0))  # as in the other run: only the lost cell differs
    changes = changes_of(runs)
    assert (changes.only_a, changes.only_b) == (1, 0)
    assert set(changes.scores["verdict"]) == {"same"}
    assert row_of(changes, "mixup", "auc")["cells"] == 7
    status, text = call()
    assert status == 0
    assert "1 cell is in A and not in B." in text


def test_a_cell_that_fails_now_is_status_1_and_one_that_no_longer_fails_0(runs, call):
    fail(runs[1], Cell("wine", "mixup", 0, 1, 0), "crashed", "it died by signal 9.\nlast output")
    status, text = call()
    assert status == 1
    assert "mixup on wine, repeat 0, fold 1, seed 0: ok -> crashed (it died by signal 9.)" in text
    status, text = call(folders=[runs[1].folder, runs[0].folder])
    assert status == 0
    assert "crashed -> ok (it died by signal 9.)" in text


def test_times_are_compared_by_the_geometric_mean_of_their_ratios(runs):
    for table, factor in zip(TABLES, (1, 2, 4, 8), strict=True):
        for cell in planned(runs[1].settings(), ["mixup"]):
            if cell.table == table:
                write(runs[1], cell, fit_seconds=0.5 * factor)
    row = changes_of(runs).times.set_index("method").loc["mixup"]
    logs = np.log([1, 2, 4, 8])
    half = t.ppf(0.975, 3) * logs.std(ddof=1) / 2
    expected = np.exp(logs.mean() + half * np.array([0, -1, 1]))
    assert_allclose(row[["change", "low", "high"]].astype(float), expected)


def test_runs_of_other_splits_are_paired_by_their_tables_if_asked(runs, call, tmp_path):
    skills = {(table, "mixup"): 0.2 - 0.05 * i for i, table in enumerate(TABLES)}
    other = make_run(tmp_path / "c", TABLES, METHODS, skills, protocol=PROTOCOL | {"seed": 5})
    folders = [runs[0].folder, other.folder]
    status, text = call(folders=folders)
    assert status == 2
    assert "protocol seed 0 and 5" in text
    assert "--pair tables" in text
    assert call("--pair=tables", "--scores=log_loss", folders=folders)[0] == 1
    changes = changes_of([runs[0], other], pair="tables")
    a, b = (
        run.results().groupby(["method", "table"])["log_loss"].mean()["mixup"] for run in (runs[0], other)
    )
    assert_allclose(row_of(changes, "mixup", "log_loss")["change"], (b - a).mean())


def test_paired_by_tables_a_failure_counts_where_there_was_none(runs):
    fail(runs[1], Cell("wine", "mixup", 0, 1, 0))
    fail(runs[0], Cell("iris", "mixup", 0, 1, 0))
    failures = changes_of(runs, pair="tables").newly_failed
    assert failures[["table", "fold"]].to_numpy().tolist() == [["wine", 1]]


def test_official_splits_are_the_same_for_all_seeds(tmp_path):
    runs = [
        make_run(
            tmp_path / name,
            *(TABLES, METHODS),
            seeds=2,
            official=[[0, 0], [0, 1]],
            protocol=PROTOCOL | {"name": "openml", "seed": seed},
        )
        for seed, name in enumerate("ab")
    ]
    changes = changes_of(runs)  # seeds 0, 1 and 1, 2
    assert (changes.only_a, changes.only_b) == (16, 16)
    assert set(changes.scores["cells"]) == {8}


def test_a_table_of_the_same_name_with_other_rows_is_left_out(runs, call):
    settings = runs[1].settings()
    settings["tables"]["wine"]["fingerprint"] = "another"
    runs[1].begin(settings)
    worsen(runs[1], "mixup", 3.0, tables=["wine"])
    fail(runs[1], Cell("wine", "vanilla", 0, 1, 0))
    status, text = call()
    assert status == 0
    assert "Tables of the same name with other rows, left out:\n  wine" in text


def test_one_table_has_no_interval_and_decides_nothing(tmp_path, call):
    runs = [make_run(tmp_path / name, ["iris"], ["mixup"]) for name in ("one", "two")]
    worsen(runs[1], "mixup", 2.0)
    status, text = call(folders=[run.folder for run in runs])
    assert status == 0
    assert "one table" in text


def test_a_missing_auc_leaves_its_cells_out(runs):
    for cell in (Cell("iris", "mixup", 0, 0, 0), Cell("iris", "mixup", 0, 1, 0)):
        write(runs[0], cell, y=[0, 0], proba=np.array([[0.75, 0.25], [0.5, 0.5]]))
    changes = changes_of(runs)
    assert row_of(changes, "mixup", "auc")["tables"] == 3
    assert row_of(changes, "mixup", "accuracy")["tables"] == 4


def test_what_was_run_otherwise_is_told(runs, call):
    settings = runs[1].settings()
    settings["overrides"]["max_epochs"] = 5
    settings["methods"]["mixup"]["is"]["alpha"] = 2
    runs[1].begin(settings)
    for cell in planned(settings):
        row = runs[1].read(runs[1].folder / cell.path())
        runs[1].write(cell, row | {"revision": "fedcba9"})
    _, text = call()
    for line in (
        "max_epochs: not set -> 5",
        "mixup: alpha: 1 -> 2",
        f"revision: {PROVENANCE['revision']} -> fedcba9",
    ):
        assert line in text


def test_csv_has_every_difference_and_the_ratios_of_the_times(runs, call, tmp_path):
    worsen(runs[1], "mixup", 0.3)
    call(f"--csv={tmp_path / 'out.csv'}")
    frame = pd.read_csv(tmp_path / "out.csv")
    assert len(frame) == 2 * 6 + 2
    times = frame[frame["score"] == "fit_seconds"].set_index("method")
    assert_allclose(times.loc["vanilla", ["change", "low", "high"]].astype(float), 1)
    expected = row_of(changes_of(runs), "mixup", "brier")
    (row,) = frame.query("method == 'mixup' and score == 'brier'").to_dict("records")
    assert row["verdict"] == "worse"
    assert row["low"] == pytest.approx(expected["low"])


def test_runs_without_a_cell_in_common_cannot_be_compared(tmp_path, call):
    folders = [
        make_run(tmp_path / "one", ["iris"], ["mixup"]).folder,
        make_run(tmp_path / "two", ["iris"], ["forest"]).folder,
    ]
    status, text = call(folders=folders)
    assert status == 2
    assert "no cell in common" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scores=acuracy"], "did you mean 'accuracy'"),
        (["--tolerance=-1"], "expected a number of 0 or more, got '-1'"),
        (["--tolerance=much"], "expected a number of 0 or more, got 'much'"),
        (["--csv=/nowhere/at/all.csv"], "cannot write /nowhere/at/all.csv"),
    ],
)
def test_bad_options_are_told(call, options, message):
    status, text = call(*options)
    assert status == 2
    assert message in text


def test_a_folder_without_a_run_is_told(runs, call, tmp_path):
    status, text = call(folders=[runs[0].folder, tmp_path / "none"])
    assert status == 2
    assert "is not the folder of a run" in text
