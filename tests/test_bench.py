"""`mixsk bench run`: honest splits, one row per cell whatever happens, clear errors before any work."""

import json
import os
import re
import signal
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from mixsk.bench import METHODS, Method, Suite, mean_ranks, plan, read_suite, run, summarise, table_means
from mixsk.bench.cli import main
from mixsk.bench.runner import COLUMNS
from mixsk.datasets import load_builtin, make_cubes

Console = pytest.importorskip("rich.console").Console
show_results = pytest.importorskip("mixsk.bench.screen").show_results

TABLES = {
    "iris": lambda: load_builtin("iris"),
    "cubes": lambda: make_cubes(n_features=2, random_state=0),
}
SUITE_FILE = """
[tables.iris]
sklearn = "iris"
[tables.cubes]
toy = "make_cubes"
n_features = 2
random_state = 0
"""


class Spy(DummyClassifier):
    """Remembers which rows it was fitted on."""

    seen = []

    def fit(self, X, y, sample_weight=None):
        if X.shape[1] == 1:  # not the fit that warms up the process
            self.seen.append((self.strategy, tuple(X[:, 0])))
        return super().fit(X, y)


class Interrupted(DummyClassifier):
    """The user presses Ctrl-C while it fits."""

    def fit(self, X, y, sample_weight=None):
        raise KeyboardInterrupt


class Killed(DummyClassifier):
    """Its process is killed while it fits."""

    def fit(self, X, y, sample_weight=None):
        os.kill(os.getpid(), signal.SIGKILL)


class Certain(DummyClassifier):
    """Gives the first class all the probability, in float32."""

    def predict_proba(self, X):
        return np.eye(len(self.classes_), dtype=np.float32)[np.zeros(len(X), dtype=int)]


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Run `mixsk bench run` in one process on two tiny tables; return its exit status and its rows."""
    (tmp_path / "tiny.toml").write_text(SUITE_FILE)
    monkeypatch.setitem(METHODS, "tree", Method(DecisionTreeClassifier, {"max_depth": 2}))
    for variable in ["FORCE_COLOR", "TTY_COMPATIBLE"]:  # they make rich take a pipe for a terminal
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setitem(METHODS, "broken", Method(DecisionTreeClassifier, {"max_depth": -2}))

    def run_bench(*args):
        out = tmp_path / "out.csv"
        status = main(
            ["bench", "run", "--suite", str(tmp_path / "tiny.toml"), "--out", str(out), "--jobs=1", *args]
        )
        return status, pd.read_csv(out)

    return run_bench


def run_rows(suite, methods, **options):
    cells = plan(suite, methods, folds=options.pop("folds", 2), seed=options.pop("seed", 0))
    return pd.DataFrame([row for _, row in sorted(run(cells, **options), key=lambda pair: pair[0])])


# --- the whole command


def test_the_csv_has_one_row_per_cell_with_the_scores_of_a_direct_cross_validation(bench):
    status, rows = bench("--methods=logreg,tree", "--seed=7")
    assert status == 0
    assert list(rows.columns) == COLUMNS
    assert len(rows) == 2 * 2 * 5
    estimators = {
        "logreg": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, random_state=7)),
        "tree": DecisionTreeClassifier(max_depth=2, random_state=7),
    }
    expected = []
    for load in TABLES.values():
        X, y = map(np.asarray, load())
        for train, test in StratifiedKFold(5, shuffle=True, random_state=7).split(X, y):
            for estimator in estimators.values():
                estimator.fit(X[train], y[train])
                accuracy = accuracy_score(y[test], estimator.predict(X[test]))
                expected.append((accuracy, log_loss(y[test], estimator.predict_proba(X[test]))))
    assert_allclose(rows[["accuracy", "log_loss"]], expected, rtol=1e-9)


def test_a_row_says_how_to_repeat_it(bench):
    _, rows = bench("--methods=tree", "--folds=2", "--repeats=2", "--seed=3")
    row = rows.iloc[2]
    assert (row["suite"], row["table"], row["method"]) == ("tiny", "iris", "tree")
    assert (row["repeat"], row["fold"], row["seed"], row["n_train"], row["n_test"]) == (1, 0, 3, 75, 75)
    assert json.loads(row["params"]) == {"max_depth": 2, "random_state": 3}
    assert row[["mixsk_version", "torch_version", "sklearn_version", "status"]].notna().all()
    assert (row[["fit_seconds", "predict_seconds"]] > 0).all()


def test_the_screen_shows_every_method_and_where_the_csv_is(bench, capsys):
    bench("--methods=logreg,tree", "--folds=2")
    out, err = capsys.readouterr()
    for text in [
        "2 tables x 2 methods, 8 cells",
        "logreg",
        "tree",
        "rank by",
        "Log loss by table",
        "out.csv",
    ]:
        assert text in out
    assert err.splitlines()[-1] == "8 of 8 cells"  # no bar where there is no terminal


def test_a_failing_method_becomes_rows_with_its_error_and_exit_status_1(bench, capsys):
    status, rows = bench("--methods=broken,tree", "--folds=2")
    out = capsys.readouterr().out
    assert status == 1
    broken, tree = rows[rows["method"] == "broken"], rows[rows["method"] == "tree"]
    assert (broken["status"] == "failed").all()
    assert broken["error"].str.contains("The 'max_depth' parameter of DecisionTreeClassifier").all()
    assert broken[["accuracy", "log_loss", "fit_seconds"]].isna().all(axis=None)
    assert (tree["status"] == "ok").all()
    assert tree["error"].isna().all()
    assert re.search(
        r"^broken failed in 4 cells, first iris, repeat 0, fold 0: .*'max_depth' param.*$", out, re.M
    )


def test_ctrl_c_keeps_the_finished_rows(bench, monkeypatch, capsys):
    monkeypatch.setitem(METHODS, "interrupted", Method(Interrupted))
    status, rows = bench("--methods=logreg,tree,interrupted", "--folds=2")
    assert status == 130
    assert_array_equal(rows["method"], ["logreg", "tree"])
    assert rows["accuracy"].notna().all()
    assert "Interrupted: 2 of 12 cells had finished." in capsys.readouterr().out


def test_more_processes_give_the_same_scores(bench):
    _, alone = bench("--methods=logreg", "--folds=2")
    _, together = bench("--methods=logreg", "--folds=2", "--jobs=2")
    seconds = ["fit_seconds", "predict_seconds"]
    pd.testing.assert_frame_equal(alone.drop(columns=seconds), together.drop(columns=seconds))


def test_a_process_that_is_killed_leaves_a_row_for_every_cell():
    cells = plan(Suite("s", {"cubes": TABLES["cubes"]}), {"killed": Method(Killed)}, folds=3)
    rows = dict(run(cells, n_jobs=2))
    assert sorted(rows) == [0, 1, 2]
    assert {row["status"] for row in rows.values()} == {"failed"}
    assert all(row["error"].splitlines()[-1].startswith("A process died") for row in rows.values())


# --- bad input: status 2, a message, no work


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--suite=buitlin"], "unknown suite 'buitlin', did you mean 'builtin'? Known: builtin, cc18"),
        (["--suite=none.toml"], "cannot read the suite none.toml: [Errno 2] No such file"),
        (
            ["--methods=vanila,mixup"],
            "unknown method 'vanila', did you mean 'vanilla'? Known: vanilla, mixup,",
        ),
        (["--methods=,"], "give at least one name"),
        (["--folds=1"], "expected a whole number of 2 or more, got '1'"),
        (["--folds=151"], "suite builtin, table iris: Cannot have number of splits n_splits=151"),
        (["--jobs=0"], "expected a whole number of 1 or more, got '0'"),
        (["--max-epochs=many"], "expected a whole number of 1 or more, got 'many'"),
        (
            ["--out=missing/results.csv"],
            "cannot write results to missing/results.csv: make the folder missing first.",
        ),
        (
            ["--out=occupied.csv"],
            "occupied.csv exists and is not the result of a benchmark; choose another name.",
        ),
    ],
)
def test_bad_input_is_an_error_with_status_2_before_any_work(args, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "occupied.csv").write_text("my,data\n1,2\n")
    monkeypatch.setattr("mixsk.bench.cli.run", lambda *_, **__: pytest.fail("it started to work"))
    with pytest.raises(SystemExit) as exit_info:
        main(["bench", "run", "--methods=logreg", *args])
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["occupied.csv"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tables.a]\nsklearn = 'irsi'", r"table a: unknown table 'irsi', did you mean 'iris'\?"),
        ("[tables.a]\nsklearn = 'iris'\nrows = 3", "table a: unknown key 'rows'. Known: none."),
        ("[tables.a]\ntoy = 'make_moon'", r"table a: unknown toy 'make_moon', did you mean 'make_moons'"),
        ("[tables.a]\ntoy = 'make_moons'\nn_sample = 3", "unknown key 'n_sample', did you mean 'n_samples'"),
        (
            "[tables.a]\nrows = 61",
            "table a: say where the table comes from, by one of `sklearn",
        ),
        ("[table.a]\nsklearn = 'iris'", r"a suite has one or more \[tables.NAME\] sections and nothing else"),
        ("", r"a suite has one or more \[tables.NAME\] sections"),
        ("[tables.a]\nsklearn iris", r"cannot read the suite .*line 2"),
    ],
)
def test_a_suite_file_with_a_mistake_says_where(text, message, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_suite(path)


def test_without_rich_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr("mixsk.bench.cli.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as exit_info:
        main(["bench", "run"])
    assert exit_info.value.code == 2
    assert "need rich: pip install 'mixsk[bench]'" in capsys.readouterr().err


def test_an_earlier_result_may_be_replaced_and_a_folder_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(SUITE_FILE)
    for folds in (2, 3):
        args = ["--suite=tiny.toml", "--methods=logreg", "--out=runs", "--jobs=1", f"--folds={folds}"]
        assert main(["bench", "run", *args]) == 0
    assert len(pd.read_csv("runs/results.csv")) == 2 * 3
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["results.csv"]


# --- honest cells


def test_every_method_is_fitted_on_the_same_training_rows_and_no_others(monkeypatch):
    monkeypatch.setattr(Spy, "seen", [])
    X, y = np.arange(20.0)[:, None], np.arange(20) % 2
    methods = {strategy: Method(Spy, {"strategy": strategy}) for strategy in ["prior", "uniform"]}
    cells = plan(Suite("one", {"table": lambda: (X, y)}), methods, folds=4, seed=1)
    rows = [row for _, row in run(cells)]
    assert {row["status"] for row in rows} == {"ok"}
    rows_of = {strategy: [rows for name, rows in Spy.seen if name == strategy] for strategy in methods}
    assert rows_of["prior"] == rows_of["uniform"]
    splits = StratifiedKFold(4, shuffle=True, random_state=1).split(X, y)
    assert rows_of["prior"] == [tuple(X[train, 0]) for train, _ in splits]


def test_splits_depend_on_the_seed_but_not_on_the_methods_or_the_other_tables():
    def splits(tables, methods, seed):
        suite = Suite("s", {name: TABLES[name] for name in tables})
        cells = plan(suite, {name: METHODS[name] for name in methods}, seed=seed)
        return {(cell.names["table"], cell.names["fold"]): tuple(cell.test) for cell in cells}

    one = splits(["iris"], ["logreg"], seed=0)
    assert one.items() <= splits(["cubes", "iris"], ["boosting", "logreg"], seed=0).items()
    assert one != splits(["iris"], ["logreg"], seed=1)


def test_a_fit_gets_one_thread_and_the_callers_threads_are_restored():
    import torch

    class CountThreads(DummyClassifier):
        def fit(self, X, y, sample_weight=None):
            threads.append(torch.get_num_threads())
            return super().fit(X, y)

    threads, before = [], torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run_rows(Suite("s", {"cubes": TABLES["cubes"]}), {"count": Method(CountThreads)})
        assert set(threads) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_probability_of_zero_costs_the_same_in_every_precision_as_a_class_that_was_not_trained_on():
    X, y = np.zeros((4, 1)), np.array([0, 0, 1, 1])
    suite = Suite("s", {"table": lambda: (X, y)})
    rows = run_rows(suite, {"certain": Method(Certain)})
    certain_but_wrong_in_half = -np.log(np.finfo(np.float64).eps) / 2
    assert_allclose(rows["log_loss"], certain_but_wrong_in_half, rtol=1e-6)

    cell = plan(suite, {"prior": Method(DummyClassifier)}, folds=2)[0]
    ((_, row),) = run([replace(cell, train=np.array([0, 1]), test=np.array([0, 2]))])
    assert_allclose(row["log_loss"], certain_but_wrong_in_half, rtol=1e-6)


def test_probabilities_that_are_not_finite_are_a_failure():
    class NaN(DummyClassifier):
        def predict_proba(self, X):
            return np.full((len(X), 2), np.nan)

    rows = run_rows(Suite("s", {"cubes": TABLES["cubes"]}), {"nan": Method(NaN)})
    assert (rows["status"] == "failed").all()
    assert rows["error"].str.contains("predict_proba returned values that are not finite").all()


def test_warnings_of_a_method_are_in_its_row():
    methods = {"short": Method(LogisticRegression, {"max_iter": 1})}
    rows = run_rows(Suite("s", {"iris": TABLES["iris"]}), methods)
    assert rows["warnings"].str.startswith("ConvergenceWarning: lbfgs failed to converge").all()


# --- methods and the builtin suite


def test_a_method_takes_only_the_overrides_that_its_estimator_has():
    method = Method("sklearn.linear_model.LogisticRegression", {"C": 2}, standardise=True)
    pipeline = method.build(random_state=5, max_epochs=3, device="cpu")
    assert isinstance(pipeline[0], StandardScaler)
    assert (pipeline[1].C, pipeline[1].random_state) == (2, 5)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_can_be_built_with_the_runs_seed(name):
    estimator = METHODS[name].build(random_state=5, max_epochs=3, device="cpu")
    assert (5 in estimator.get_params().values()) == (name != "generative")  # which draws nothing at random


def test_the_builtin_suite_has_real_tables_and_toys_and_no_more_rows_than_a_short_run_bears():
    suite = read_suite("builtin")
    shapes = {name: load()[0].shape for name, load in suite.tables.items()}
    assert list(shapes) == [
        "iris",
        "wine",
        "breast_cancer",
        "digits",
        "moons",
        "circles",
        "four_circles",
        "cubes",
        "rare_moon",
    ]
    assert sum(n_rows for n_rows, _ in shapes.values()) < 5000


# --- the comparison


def results(scores):
    """Rows of a run with 2 folds from {(table, method): [score of fold 0, score of fold 1]}; None failed."""
    return pd.DataFrame(
        [
            {
                "table": table,
                "method": method,
                "repeat": 0,
                "fold": fold,
                "status": "failed" if s is None else "ok",
            }
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
    assert_allclose(
        summary.loc["a", ["accuracy", "accuracy_rank", "log_loss_rank", "failed"]].astype(float),
        [0.8, 1.5, 2, 1],
    )
    assert_allclose(
        summary.loc["b", ["accuracy", "accuracy_rank", "log_loss_rank", "failed"]].astype(float),
        [0.4, 1.5, 1, 0],
    )
    assert list(summary.index) == ["b", "a"]


def test_a_run_interrupted_before_its_first_whole_fold_has_nothing_to_compare(capsys):
    frame = results({("t1", "a"): [0.9], ("t2", "b"): [0.8]}).assign(error="", warnings="")
    show_results(frame, Console())
    assert capsys.readouterr().out == "No fold has been finished by every method: nothing to compare.\n"


def test_folds_that_an_interrupted_run_has_not_finished_are_not_compared():
    frame = results({("t1", "a"): [0.9, 0.1], ("t1", "b"): [0.8]})
    assert_allclose(table_means(frame, "accuracy"), [[0.9, 0.8]])


def test_a_table_with_official_splits_is_run_on_those():
    X, y = load_builtin("iris")
    split = np.arange(0, 150, 2), np.arange(1, 150, 2)
    suite = Suite("own", {"a": lambda: (X, y)}, splits={"a": lambda: {(0, 0): split, (1, 0): split[::-1]}})
    cells = plan(suite, {"mixup": METHODS["mixup"]}, folds=3)
    assert [(cell.names["repeat"], cell.names["fold"]) for cell in cells] == [(0, 0), (1, 0)]
    np.testing.assert_array_equal(cells[1].train, split[1])
