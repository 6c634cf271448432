"""`mixsk bench report`: statistics by hand, a page that is whole and harmless, whatever a run looks like."""

import csv
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.stats import chi2, wilcoxon

pytest.importorskip("duckdb")
pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")
pytest.importorskip("pyarrow")
pytest.importorskip("rich")
pytest.importorskip("scikit_posthocs")

from fake_runs import fail, make_run, probabilities, write

from mixsk.bench import summarise
from mixsk.bench.cli import main
from mixsk.bench.plan import Cell, planned
from mixsk.bench.report import figures, paper, statistics
from mixsk.bench.report.content import build
from mixsk.bench.report.data import read
from mixsk.bench.report.page import render
from mixsk.bench.report.page import write as write_report

EVIL = "</title></script><script>alert('x')</script><img src=x onerror=alert(1)> $\\frac{1}{2}$ & Ünï 表"


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, and the text outside style and script."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.text, self._in = [], "", None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._in = tag

    def handle_endtag(self, tag):
        self._in = None

    def handle_data(self, data):
        if self._in not in ("style", "script"):
            self.text += f" {' '.join(data.split())} "

    def values(self, attribute):
        return [attrs[attribute] for _, attrs in self.elements if attribute in attrs]

    def has(self, *words):
        text = " ".join(self.text.split())
        return all(word in text for word in words)


def page_of(run, **options):
    report = build(read(run.folder), **options)
    return report, Page(render(report))


def sections(report):
    return set(report.sections)


@pytest.fixture
def undrawn(monkeypatch):
    """Draw nothing, for tests that look at numbers: a figure takes longer than all else."""
    monkeypatch.setattr(
        figures, "picture", lambda name, panels, **_: figures.Picture(name, ["<svg></svg>"], b"")
    )


# --- statistics


@pytest.mark.parametrize(("successes", "trials"), [(45, 82), (6, 82), (0, 7), (7, 7), (1, 2)])
def test_binomial_intervals_are_wilsons(successes, trials):
    z, p = 1.959963984540054, successes / trials
    middle = (p + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * (p * (1 - p) / trials + z**2 / (4 * trials**2)) ** 0.5
    assert_allclose(statistics.wilson(successes, trials), (middle - half, middle + half), atol=1e-12)


def test_interval_of_a_mean_is_students():
    # t_{.975} of 2 degrees of freedom is 4.302653, the standard error of 1, 2, 6 is 1.527525
    assert_allclose(
        statistics.mean_interval([1, 2, 6]), (3, 3 - 4.302653 * 1.527525, 3 + 4.302653 * 1.527525), 1e-6
    )


@pytest.mark.parametrize("values", [[], [0.5]])
def test_fewer_than_two_values_have_no_interval(values):
    _, low, high = statistics.mean_interval(values)
    assert np.isnan([low, high]).all()


def test_wins_ties_and_losses_are_counted_over_the_tables_where_both_have_a_mean():
    means = pd.DataFrame(
        {"base": [0.5, 0.5, 0.3, 0.9, np.nan], "new": [0.7, 0.4, 0.1 + 0.2, np.nan, 0.9]}, index=list("abcde")
    )
    (row,) = statistics.versus(means, ["base"], higher_is_better=True).to_dict("records")
    assert (row["method"], row["baseline"], row["tables"]) == ("new", "base", 3)
    assert (row["wins"], row["ties"], row["losses"]) == (1, 1, 1)
    assert_allclose([row["wins_share"], row["gain"]], [1 / 3, 0.1 / 3], atol=1e-12)
    (row,) = statistics.versus(means, ["base"], higher_is_better=False).to_dict("records")
    assert (row["wins"], row["losses"], round(row["gain"], 12)) == (1, 1, round(-0.1 / 3, 12))


def ranked_means(n_tables=9, n_methods=4):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(n_tables, n_methods)) + 0.8 * np.arange(n_methods)
    return pd.DataFrame(values, columns=list("abcd")[:n_methods])


def test_friedman_is_the_formula_of_ranks():
    means = ranked_means()
    tests = statistics.significance(means, higher_is_better=True)
    ranks = means.rank(axis=1, ascending=False).mean()
    statistic = 12 * 9 / (4 * 5) * ((ranks**2).sum() - 4 * 5**2 / 4)
    assert_allclose(tests.friedman, chi2.sf(statistic, 3), rtol=1e-9)
    assert_allclose(tests.ranks, ranks.sort_values())
    assert list(tests.ranks.index) == list(ranks.sort_values().index)


# The constants are those of Table 5 (a) of "Statistical Comparisons of Classifiers over Multiple Data Sets".
@pytest.mark.parametrize(("n_methods", "q"), [(3, 2.343), (4, 2.569)])
def test_nemenyis_critical_difference_has_the_published_constants(n_methods, q):
    tests = statistics.significance(ranked_means(n_methods=n_methods), higher_is_better=True)
    expected = q * (n_methods * (n_methods + 1) / (6 * 9)) ** 0.5
    assert_allclose(tests.critical_difference, expected, rtol=3e-4)
    differ = np.abs(np.subtract.outer(tests.ranks.to_numpy(), tests.ranks.to_numpy()))
    assert ((tests.nemenyi < 0.05).to_numpy() == (differ > tests.critical_difference)).all()


def test_wilcoxon_is_corrected_by_holm_over_all_pairs():
    means = ranked_means()
    tests = statistics.significance(means, higher_is_better=True)
    pairs = [(a, b) for i, a in enumerate(means) for b in means.columns[i + 1 :]]
    p = np.array([wilcoxon(means[a], means[b], zero_method="zsplit").pvalue for a, b in pairs])
    largest = 0
    for place, i in enumerate(np.argsort(p)):
        largest = max(largest, min(1, p[i] * (len(p) - place)))
        assert_allclose(tests.wilcoxon_holm.loc[pairs[i]], largest, rtol=1e-9)


def test_methods_that_tie_everywhere_are_not_told_apart():
    means = pd.DataFrame(np.tile([[0.5], [0.7], [0.9]], 3), columns=list("abc"))
    tests = statistics.significance(means, higher_is_better=True)
    assert tests.friedman == 1
    assert_allclose(tests.nemenyi, 1)
    assert_allclose(tests.wilcoxon_holm, 1)


def test_tests_leave_out_methods_without_scores_and_then_tables_that_lack_one():
    means = ranked_means().assign(none=np.nan)
    means.loc[3, "b"] = np.nan
    tests = statistics.significance(means, higher_is_better=True)
    assert tests.tables == 8
    assert set(tests.ranks.index) == set("abcd")


@pytest.mark.parametrize("means", [ranked_means(n_methods=1), ranked_means(n_tables=1)])
def test_one_method_or_one_table_has_no_test(means):
    assert statistics.significance(means, higher_is_better=True) is None


def test_every_table_weighs_the_same_in_the_calibration():
    cells = pd.DataFrame(
        {
            "method": "m",
            "table": ["small", "large"],
            "status": "ok",
            "confidence": [np.array([0.65]), np.array([0.7, 0.65, 0.9])],
            "right": [np.array([True]), np.array([False, True, True])],
        }
    )
    low, high = statistics.reliability(cells, n_bins=10).to_dict("records")
    # [.6, .7]: all of the small table, two thirds of the large one
    assert (low["bin"], high["bin"]) == (6, 8)
    assert_allclose([low["share"], high["share"]], [(1 + 2 / 3) / 2, (1 / 3) / 2])
    assert_allclose(low["accuracy"], (1 + 1 / 3) / (1 + 2 / 3))
    assert_allclose(low["confidence"], (0.65 + (0.7 + 0.65) / 3) / (1 + 2 / 3))


# --- reading a run


@pytest.fixture
def run(tmp_path):
    """A run of three methods on three tables, of which "mixup" is the best."""
    tables, methods = ["iris", "wine", "moons"], ["vanilla", "mixup", "forest"]
    skills = {(table, "mixup"): 3.0 for table in tables}
    return make_run(tmp_path / "run", tables, methods, skills)


def test_reading_gives_the_confidence_of_each_test_row_and_whether_it_was_right(run):
    rows = read(run.folder).cells.set_index(["table", "method", "fold"])
    y, proba = probabilities(Cell("wine", "mixup", 0, 1, 0), 2, 30, 3.0)
    row = rows.loc[("wine", "mixup", 1)]
    assert_allclose(row["confidence"], proba.max(axis=1), rtol=1e-6)
    assert (row["right"] == (proba.argmax(axis=1) == y)).all()


def test_damaged_results_are_counted_and_left_out(run, undrawn):
    cells = planned(run.settings())
    paths = [run.folder / cell.path() for cell in cells]
    paths[0].write_bytes(b"")
    paths[1].write_bytes(b"no parquet")
    paths[2].write_bytes(paths[2].read_bytes()[:-200])
    (paths[3].parent / ".part-123").write_bytes(b"half")
    results = read(run.folder)
    assert results.damaged == 3
    assert len(results.cells) == len(cells) - 3
    _, page = page_of(run)
    assert page.has("3 results are damaged and left out")


def test_a_result_whose_scores_do_not_follow_from_its_probabilities_is_damaged(run):
    cell = planned(run.settings())[0]
    row = run.read(run.folder / cell.path())
    row["probabilities"][3] = row["probabilities"][3][::-1]
    run.write(cell, row)
    assert read(run.folder).damaged == 1


def test_a_failure_beside_its_later_success_does_not_count(run):
    cell = planned(run.settings())[0]
    content = (run.folder / cell.path()).read_bytes()
    fail(run, cell)
    (run.folder / cell.path()).write_bytes(content)
    results = read(run.folder)
    assert len(results.cells) == 18
    assert set(results.cells["status"]) == {"ok"}


def test_folders_may_have_any_name(tmp_path):
    run = make_run(tmp_path / "a=[1]*?", ["iris", "a=b/../<c>"], ["vanilla"])
    results = read(run.folder)
    assert (len(results.cells), results.damaged) == (4, 0)


@pytest.mark.parametrize("whole", [True, False])
def test_without_a_result_there_is_nothing_to_tell(tmp_path, whole):
    run = make_run(tmp_path / "run", ["iris"], ["vanilla"], folds=1)
    path = run.folder / planned(run.settings())[0].path()
    path.unlink() if whole else path.write_bytes(b"")
    with pytest.raises(ValueError, match=f"no whole result yet .{0 if whole else 1} damaged"):
        read(run.folder)


def test_only_named_methods_are_told_of(run):
    assert read(run.folder, ["forest", "mixup"]).methods == ["mixup", "forest"]
    with pytest.raises(ValueError, match="unknown method 'mixpu', did you mean 'mixup'"):
        read(run.folder, ["mixpu"])


# --- the page


def test_page_shows_every_section_and_the_files_have_its_numbers(run, tmp_path):
    fail(run, Cell("wine", "forest", 0, 0, 0))
    report, page = page_of(run)
    assert sections(report) == set("summary versus tests cost reliability tables failures run".split())
    expected = summarise(run.results())
    frame = report.frames["summary"].set_index("method")
    pd.testing.assert_frame_equal(frame[expected.columns], expected, check_names=False, check_dtype=False)
    assert page.has(f"{expected.loc['mixup', 'log_loss']:.3f}", "ValueError: no luck", "1 cell failed")
    assert page.has("Best mean rank: mixup by accuracy (1.00), mixup by log loss (1.00)")
    write_report(report, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("index.html", "summary.csv", "versus.csv", "tests.csv", "reliability.csv", "tables.csv"),
        *("failures.csv", "critical-difference-accuracy.png", "critical-difference-log-loss.png"),
        *("gains.png", "scatter.png", "cost.png", "reliability.png"),
    }
    assert (tmp_path / "out" / "cost.png").read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "out" / "tables.csv").open() as file:
        rows = {(row["score"], row["table"]): row["forest"] for row in csv.DictReader(file)}
    assert rows["accuracy", "wine"] == ""
    cells = run.results().query("table == 'iris' and method == 'forest'")
    assert float(rows["auc", "iris"]) == pytest.approx(cells["auc"].mean())


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    """A run whose every name and message would be code, if the page were careless."""
    methods = ["vanilla", "<b>bold</b>", "x'\"><svg onload=alert(1)>"]
    run = make_run(tmp_path_factory.mktemp("evil") / "run", ["iris", EVIL], methods, n_classes=3)
    fail(run, Cell("iris", "vanilla", 0, 0, 0), error=f"Traceback\nValueError: {EVIL}")
    write(run, Cell("iris", "vanilla", 0, 1, 0), n_classes=3, warnings=f"UserWarning: {EVIL}\nmore\nFit: b")
    settings = run.settings()
    settings["suite"]["name"] = EVIL
    settings["methods"]["vanilla"]["is"]["alpha"] = EVIL
    run.begin(settings)
    report = build(read(run.folder))
    html = render(report)
    return report, html, Page(html)


def test_all_names_are_text(evil):
    report, _, page = evil
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 1
    assert not {"img", "b", "iframe", "object", "embed", "form", "base"} & set(tags)
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    assert page.has(EVIL, "<b>bold</b>", "x'\"><svg onload=alert(1)>", f"UserWarning: {EVIL}", "Fit: b")
    assert "more" not in set(report.frames["failures"]["last line"])  # the second line of a warning


def test_page_asks_for_nothing_from_elsewhere(evil):
    _, html, page = evil
    addresses = [value for name in ("src", "href", "action", "data", "srcset") for value in page.values(name)]
    assert addresses
    assert all(value.startswith(("#", "data:")) for value in addresses)
    assert "http" not in html.replace("http-equiv", "")
    assert "@import" not in html
    (policy,) = (value for value in page.values("content") if "default-src" in value)
    assert "default-src 'none'" in policy
    script = html.partition("<script>")[2].partition("</script>")[0]
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy  # no other script runs


def test_ids_are_unique_and_everything_refers_to_one(evil):
    _, html, page = evil
    ids = page.values("id")
    assert len(set(ids)) == len(ids)
    refers = [value.removeprefix("#") for value in page.values("href") if value.startswith("#")]
    refers += [part.partition(")")[0] for part in html.split("url(#")[1:]]
    assert refers
    assert set(refers) <= set(ids)


def test_figures_take_the_colour_of_the_text_and_say_what_they_show(evil):
    _, html, page = evil
    figures = [attrs for tag, attrs in page.elements if tag == "svg" and attrs.get("role") == "img"]
    assert len(figures) == 2 + 2 + 2 + 3  # gains, scatter, cost, reliability
    assert all(attrs["aria-label"] for attrs in figures)
    assert "currentColor" in html
    assert "#24292f" not in html
    assert page.has("vanilla 0.")  # the title of a point


def test_one_method_is_compared_with_nothing(tmp_path):
    run = make_run(tmp_path / "run", ["iris", "wine"], ["vanilla"])
    report, page = page_of(run)
    assert sections(report) == set("summary cost reliability tables run".split())
    assert page.has("1 method on 2 tables")


def test_one_table_has_no_test(tmp_path, undrawn):
    run = make_run(tmp_path / "run", ["iris"], ["vanilla", "mixup", "forest"])
    report, page = page_of(run)
    assert page.has("need at least two methods and two tables")
    assert "tests" in sections(report)


def test_two_methods_are_tested_by_wilcoxon_alone(tmp_path, undrawn):
    run = make_run(tmp_path / "run", ["iris", "wine", "moons"], ["a", "b"])
    report, page = page_of(run)
    assert page.has("Wilcoxon")
    assert not page.has("Nemenyi")
    assert {picture.name for picture in report.pictures} == {"gains", "scatter", "cost", "reliability"}


def test_if_every_cell_failed_the_page_says_why(tmp_path):
    run = make_run(tmp_path / "run", ["iris"], ["vanilla", "mixup"])
    for cell in planned(run.settings()):
        fail(run, cell, "timeout", "it was killed at its limit of 60 s.\nlast output")
    report, page = page_of(run)
    assert sections(report) == {"failures", "run"}
    assert page.has("Every cell has failed", "it was killed at its limit of 60 s.", "timeout")
    assert not page.has("last output")


def test_if_one_method_failed_everywhere_the_others_are_compared(tmp_path):
    run = make_run(tmp_path / "run", ["iris", "wine", "moons"], ["vanilla", "mixup", "forest", "broken"])
    for cell in planned(run.settings(), ["broken", "mixup"]):
        fail(run, cell)
    report, page = page_of(run)  # mixup would be the baseline
    assert report.sections["tests"]["of"] != {}
    assert page.has("12 cells failed", "vanilla")
    counts = report.frames["versus"].query("method == 'broken'")
    assert (counts["tables"] == 0).all()
    assert report.sections["versus"]["main"] == "vanilla"


def test_ties_everywhere_are_drawn(tmp_path):
    run = make_run(tmp_path / "run", ["iris", "wine", "moons"], ["vanilla", "mixup", "forest"])
    for cell in planned(run.settings()):
        write(run, cell, y=[0, 1], proba=np.array([[0.75, 0.25], [0.5, 0.5]]))
    report, page = page_of(run)
    counts = report.frames["versus"]
    assert (counts["ties"] == 3).all()
    assert page.has("100.0", "p = 1.000")


def test_a_missing_auc_is_a_dash_and_its_table_is_left_out_of_the_mean(tmp_path, undrawn):
    run = make_run(tmp_path / "run", ["iris", "wine"], ["vanilla", "mixup"])
    for method in ("vanilla", "mixup"):
        write(run, Cell("wine", method, 0, 0, 0), y=[0, 0], proba=np.array([[0.75, 0.25], [0.5, 0.5]]))
    report, _ = page_of(run)
    means = report.frames["tables"].query("score == 'auc'").set_index("table")
    assert means.loc["wine", ["vanilla", "mixup"]].isna().all()
    summary = report.frames["summary"].set_index("method")
    assert summary.loc["mixup", "auc"] == pytest.approx(means.loc["iris", "mixup"])
    assert "\N{EN DASH}" in [
        cell.text for row in report.sections["tables"]["scores"][5]["table"].rows for cell in row
    ]


def test_a_run_that_has_not_ended_is_compared_on_the_folds_that_all_have_reached(run, undrawn):
    for cell in (Cell("wine", "mixup", 0, 1, 0), Cell("moons", "forest", 0, 0, 0)):
        (run.folder / cell.path()).unlink()
    _, page = page_of(run)
    assert page.has(
        "The run has not ended: 16 of 18 cells have ended.",
        "Methods are compared on 12 of the 16 cells: the folds that every method has reached.",
    )


def test_a_run_in_which_no_fold_is_complete_yet_has_a_page(run):
    for cell in planned(run.settings()):
        if (cell.method == "mixup") == (cell.fold == 1):
            (run.folder / cell.path()).unlink()
    report, page = page_of(run)
    assert sections(report) == {"run"}
    assert page.has("No fold has been reached by every method")


def test_figures_show_gains_over_the_first_of_the_baselines(run, undrawn):
    assert build(read(run.folder)).sections["versus"]["main"] == "mixup"
    report = build(read(run.folder), ["forest", "vanilla"])
    assert report.sections["versus"]["main"] == "forest"
    assert set(report.frames["versus"]["baseline"]) == {"forest", "vanilla"}
    with pytest.raises(ValueError, match="unknown baseline 'vanila', did you mean 'vanilla'"):
        build(read(run.folder), ["vanila"])


# --- the paper


def test_the_papers_figures_stand_beside_a_run_of_its_tables_and_methods(tmp_path, undrawn):
    tables, methods = ["openml-1413", "openml-18", "mine"], ["mixup", "genlabel-cv", "genlabel-gm", "amp"]
    run = make_run(tmp_path / "run", tables, methods, overrides={"module": "linear"})
    report, page = page_of(run)
    pairs = report.frames["paper"].set_index(["table", "method"])
    assert set(pairs.index) == {
        *(("openml-1413", "mixup"), ("openml-1413", "genlabel-gm"), ("openml-18", "mixup")),
    }
    assert_allclose(pairs.loc[("openml-1413", "genlabel-gm"), "paper"], 0.96)
    ours = run.results().query("table == 'openml-18' and method == 'mixup'")["accuracy"].mean()
    assert_allclose(pairs.loc[("openml-18", "mixup"), "difference"], ours - 0.7293)
    counts = report.frames["versus"].query("score == 'accuracy'").set_index("method")
    assert_allclose(counts.loc["genlabel-cv", "paper_wins"], 0.5488)
    assert np.isnan(counts.loc["amp", "paper_wins"])
    assert page.has("54.9 / 7.3 / 35.4", "2 are among the 133")


def test_the_papers_figures_are_not_shown_for_other_tables_or_networks(tmp_path, undrawn):
    run = make_run(
        tmp_path / "run", ["openml-1413", "mine"], ["mixup", "vanilla"], overrides={"module": "mlp"}
    )
    pairs = build(read(run.folder)).frames["paper"].set_index("method")
    assert_allclose(pairs.loc["mixup", "paper"], 0.8889)  # of its Table 7, not of Table 4
    run = make_run(tmp_path / "other", ["mine", "yours"], ["mixup", "genlabel-cv"])
    report = build(read(run.folder))
    assert "paper" not in report.sections
    assert "paper_wins" not in report.frames["versus"]


def test_the_papers_figures_have_one_for_each_table():
    for block in paper.FIGURES["accuracies"]:
        figures = {
            name: values for name, values in block.items() if name not in ("table", "network", "tables")
        }
        assert figures
        assert all(len(values) == len(block["tables"]) for values in figures.values())
        assert all(25 < value <= 100 for values in figures.values() for value in values)


# --- the command


def test_command_writes_the_report_into_the_run_and_leaves_the_run_as_it_is(run, capsys, undrawn):
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    (run.folder / "report").mkdir()
    for name in ("paper.csv", "mine.txt"):
        (run.folder / "report" / name).write_text("of an earlier report, or of the user")
    assert main(["bench", "report", str(run.folder)]) == 0
    assert capsys.readouterr().out == f"{run.folder / 'report' / 'index.html'}\n"
    assert all(path.read_bytes() == content for path, content in before.items())
    assert not (run.folder / "report" / "paper.csv").exists()
    assert (run.folder / "report" / "mine.txt").exists()
    assert not list((run.folder / "report").glob(".part*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}"], "is not the folder of a run"),
        (["{run}", "--methods", "mixpu"], "did you mean 'mixup'"),
        (["{run}", "--methods", "mixup", "--baselines", "vanilla"], "unknown baseline 'vanilla'"),
        (["{run}", "--out", "{run}/run.json"], "cannot write into"),
    ],
)
def test_bad_input_is_told_before_anything_is_written(run, tmp_path, capsys, undrawn, arguments, message):
    arguments = [text.format(tmp=tmp_path, run=run.folder) for text in arguments]
    with pytest.raises(SystemExit) as stop:
        main(["bench", "report", *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not (run.folder / "report").exists()
