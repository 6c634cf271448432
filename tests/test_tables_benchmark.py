"""benchmarks/tables/compare.py: a run beside peers whose figures are known, by hand."""

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_runs import make_run
from numpy.testing import assert_allclose
from scipy import stats

pytest.importorskip("pyarrow")

from mixsk.bench import load_methods, read_results, read_suite

FOLDER = Path(__file__).parents[1] / "benchmarks" / "tables"
TABLES = ["openml-1", "openml-2", "openml-3"]
METHODS = [
    "ablation",
    "averaging",
    "categories",
    "defaults",
    "density_spaces",
    "large",
    "methods",
    "methods_more",
]


@pytest.fixture(scope="module")
def compare():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        return importlib.import_module("compare")


def peers(folder, losses):
    """Files of peers: `losses` by method and OpenML id; five folds that differ by .01."""
    rows = [
        {
            "did": did,
            "method": method,
            "fold": fold,
            "acc": 0.5,
            "logloss": loss + 0.01 * (fold - 2),
            "ece": 0.1,
        }
        for method, by_table in losses.items()
        for did, loss in by_table.items()
        for fold in range(5)
    ]
    folder.mkdir()
    pd.DataFrame(rows).to_csv(folder / "peers.csv", index=False)
    return folder


def test_methods_are_ranked_among_the_peers_on_the_tables_that_all_have(
    compare, tmp_path, capsys, monkeypatch
):
    run = make_run(tmp_path / "run", TABLES, ["mixup", "plain"], folds=5)
    folder = peers(tmp_path / "peers", {"good": {1: 0.01, 2: 0.02, 3: 0.03}, "poor": {1: 9, 2: 8}})
    out = tmp_path / "new" / "table.csv"
    monkeypatch.setattr(
        "sys.argv", ["compare.py", str(run.folder), "--peers", str(folder), "--out", str(out)]
    )
    compare.main()
    assert "2 tables" in capsys.readouterr().out
    found = pd.read_csv(out, index_col="method")
    assert found.index[0] == "good *"
    assert found.index[-1] == "poor *"

    cells = read_results(run.folder)
    cells = cells[cells["table"] != "openml-3"]
    for method in ("mixup", "plain"):
        losses = cells[cells["method"] == method].groupby("table")["log_loss"].mean().to_numpy()
        differences = np.array([0.01, 0.02]) - losses
        half = stats.t.ppf(0.975, 1) * differences.std(ddof=1) / np.sqrt(2)
        row = found.loc[method]
        assert_allclose(row["log_loss"], losses.mean(), atol=1e-5)
        assert_allclose(row["gain"], differences.mean(), atol=1e-5)
        assert_allclose([row["gain_low"], row["gain_high"]], row["gain"] + [-half, half], atol=2e-5)
        more = cells[cells["method"] == method].groupby("table")["ece"].mean().to_numpy() - 0.1
        assert_allclose(row["ece_more"], more.mean(), atol=1e-5)
        half = stats.t.ppf(0.975, 1) * more.std(ddof=1) / np.sqrt(2)
        found_ends = [row["ece_more_low"], row["ece_more_high"]]
        assert_allclose(found_ends, row["ece_more"] + [-half, half], atol=2e-5)
        assert_allclose(row["fit_seconds"], 0.5)
    assert found.loc["good *", "log_loss_rank"] == 1
    assert found.loc["poor *", "log_loss_rank"] == 4
    assert found["log_loss_rank"].sum() == 10


def test_a_peer_that_lacks_a_fold_of_a_table_is_not_compared_there(compare, tmp_path):
    folder = peers(tmp_path / "peers", {"one": {1: 0.3, 2: 0.3}})
    rows = pd.read_csv(folder / "peers.csv")
    rows[(rows["did"] != 2) | (rows["fold"] != 4)].to_csv(folder / "peers.csv", index=False)
    assert compare.theirs(folder, set())["table"].tolist() == ["openml-1"]
    assert compare.theirs(folder, {"one"}).empty


def test_pairs_are_compared_table_by_table(compare, tmp_path, capsys, monkeypatch):
    run = make_run(tmp_path / "run", TABLES, ["mixup", "plain"], folds=5)
    out = tmp_path / "own.csv"
    command = ["compare.py", str(run.folder), "--pairs", "mixup:plain", "--out", str(out)]
    monkeypatch.setattr("sys.argv", command)
    compare.main()
    assert "mixup against plain, 3 tables: log loss" in capsys.readouterr().out
    means = read_results(run.folder).groupby(["method", "table"])["log_loss"].mean()
    gains = means["plain"] - means["mixup"]
    (row,) = pd.read_csv(tmp_path / "own-pairs.csv").itertuples()
    half = stats.t.ppf(0.975, 2) * gains.std(ddof=1) / np.sqrt(3)
    assert_allclose([row.log_loss, row.log_loss_low], [gains.mean(), gains.mean() - half], atol=2e-5)
    assert row.worst_table == gains.idxmin()
    assert_allclose(row.worst_log_loss, gains.min(), atol=1e-5)
    found = pd.read_csv(out, index_col="method")
    assert found["gain"].max() == 0


def test_the_two_halves_share_no_table_and_the_methods_can_be_made():
    choose, confirm = (set(read_suite(FOLDER / f"{name}.toml").tables) for name in ("choose", "confirm"))
    assert not choose & confirm
    assert len(choose | confirm) == 125
    assert set(read_suite(FOLDER / "categories.toml").tables) <= choose | confirm
    for name in METHODS:
        for method in load_methods(str(FOLDER / f"{name}.py")).values():
            method.build(random_state=0)._check_params()


@pytest.mark.parametrize(
    "name",
    ["choose", "confirm", "categories", "ablation", "methods", "density_spaces", "averaging"],
)
def test_the_committed_figures_are_those_of_the_text(compare, name):
    root = FOLDER.parents[1]
    found = pd.read_csv(root / "benchmarks" / "results" / "tables" / f"{name}.csv", index_col="method")
    text = (root / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert "\n".join(compare.markdown(found)) in text
    if name == "confirm":
        assert "\n".join(compare.markdown(found)) in (root / "README.md").read_text(encoding="utf-8")
