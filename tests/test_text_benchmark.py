"""Error rates of runs on text and their differences, and that the text shows what the files hold."""

import importlib
from pathlib import Path

import pandas as pd
import pytest
from fake_runs import make_run
from numpy.testing import assert_allclose
from scipy import stats

pytest.importorskip("pyarrow")

from mixsk.bench import load_methods, read_results, read_suite

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks" / "text"
NAMES = {
    "cnn": "plain",
    "cnn-word": "WordMixup",
    "cnn-word-amp": "WordAMP",
    "cnn-sent": "SentMixup",
    "cnn-sent-amp": "SentAMP",
}


@pytest.fixture(scope="module")
def errors():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        return importlib.import_module("errors")


def test_differences_are_taken_within_each_repetition(errors, tmp_path):
    run = make_run(tmp_path / "run", ["one", "two"], ["mixup", "plain"], folds=5)
    found = errors.differences(errors.read([str(run.folder)]), ["mixup:plain", "mixup:absent"])
    assert found["table"].tolist() == ["one", "two"]
    cells = read_results(run.folder).set_index(["table", "fold", "method"])["accuracy"].unstack()
    for row in found.itertuples():
        gain = 100 * (cells.loc[row.table, "mixup"] - cells.loc[row.table, "plain"])
        interval = stats.ttest_1samp(gain, 0).confidence_interval()
        assert_allclose([row.gain, row.low, row.high], [gain.mean(), *interval], atol=6e-4)


def test_means_are_those_of_the_error_rates(errors, tmp_path):
    run = make_run(tmp_path / "run", ["one"], ["mixup"], folds=5)
    (row,) = errors.means(errors.read([str(run.folder)])).itertuples()
    rates = 100 * (1 - read_results(run.folder)["accuracy"])
    assert_allclose([row.error, row.deviation], [rates.mean(), rates.std()], atol=6e-4)
    assert row.repetitions == 5


def test_a_cell_in_two_folders_is_an_error(errors, tmp_path):
    runs = [make_run(tmp_path / name, ["one"], ["mixup"], folds=3) for name in "ab"]
    with pytest.raises(ValueError, match=r"3 cells are in several .* the first of 'mixup' on 'one'"):
        errors.read([str(run.folder) for run in runs])


def test_a_method_that_is_not_there_is_an_error(errors, tmp_path, monkeypatch, capsys):
    run = make_run(tmp_path / "run", ["one"], ["mixup", "plain"], folds=3)
    monkeypatch.setattr("sys.argv", ["errors.py", str(run.folder), "--pairs", "mixup:plian"])
    with pytest.raises(SystemExit):
        errors.main()
    assert "no method ['plian'] in the folders, but ['mixup', 'plain']" in capsys.readouterr().err


def test_the_committed_figures_are_those_of_the_text():
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    amp = pd.read_csv(ROOT / "benchmarks/results/text/amp.csv").set_index(["method", "table"])
    few = pd.read_csv(ROOT / "benchmarks/results/text/few.csv").set_index(["method", "table"])
    for method, name in NAMES.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} | ") and " ± " in line][
            :1
        ]
        for table in ("trec", "sst-2", "subj"):
            row = amp.loc[method, table]
            assert f"| {row.error:.1f} ± {row.deviation:.1f} |" in line, table
        shares = few.loc[method].sort_index()
        cells = [f"{row.error:.1f} ± {row.deviation:.1f}" for row in shares.itertuples()]
        assert f"| {name} | {' | '.join(cells)} |" in text


def test_suites_and_methods_can_be_read():
    for suite in ("amp", "subj", "trec", "few"):
        assert read_suite(str(FOLDER / f"{suite}.toml")).tables
    for methods in ("amp", "variants"):
        found = load_methods(str(FOLDER / f"{methods}.py"), "text")
        assert all(method.build(random_state=0).module == "textcnn" for method in found.values())


def test_the_committed_parts_and_alphas_of_amp_are_those_of_the_text():
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8").replace("\N{MINUS SIGN}", "-")
    found = pd.read_csv(ROOT / "benchmarks/results/text/variants.csv").set_index("method")
    pairs = pd.read_csv(ROOT / "benchmarks/results/text/variants-pairs.csv").set_index(["first", "second"])

    def cells(method):
        rows = [found.loc[f"{method}{alpha}"] for alpha in ("-0.2", "-0.5", "", "-1.5")]
        return " | ".join(f"{row.error:.1f} ± {row.deviation:.1f}" for row in rows)

    def gain(first, second):
        row = pairs.loc[first, second]
        return f"{row.gain:+.2f} ({row.low:+.2f} to {row.high:+.2f})"

    for method in ("cnn-word", "cnn-word-amp"):
        assert f"| {NAMES[method]} | {cells(method)} |" in text
    gains = [gain(f"cnn-word-amp{alpha}", f"cnn-word{alpha}") for alpha in ("-0.2", "-0.5", "", "-1.5")]
    assert f"| points fewer | {' | '.join(gains)} |" in text
    in_one_line = " ".join(text.split())
    for site in ("word", "sent"):
        row = found.loc[f"cnn-{site}-max"]
        assert f"{row.error:.1f} ± {row.deviation:.1f} % ({site}" in in_one_line
        assert gain(f"cnn-{site}-max", f"cnn-{site}") in in_one_line
        assert gain(f"cnn-{site}-amp", f"cnn-{site}-max") in in_one_line
