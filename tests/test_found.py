"""benchmarks/found.py: what it says of runs whose figures are known, by hand."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis

pytest.importorskip("duckdb")
pytest.importorskip("matplotlib")
pytest.importorskip("pyarrow")

from fake_runs import make_run, write

from mixsk.bench.methods import load_methods
from mixsk.bench.plan import planned
from mixsk.bench.protocol import Protocol
from mixsk.bench.store import Table

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
REFERENCE = BENCHMARKS.parents[1] / "shared" / "reference" / "genlabel"
N_TEST = 20
TABLES = [f"openml-{number}" for number in (18, 36, 721, 830, 913, 1413, 1499, 40984, 307, 468)]


@pytest.fixture(scope="module")
def found():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("found")
    for name in [name for name in sys.modules if name.partition(".")[0] in ("found", "findings")]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def evidence(found):
    return importlib.import_module("findings.evidence")


def make(folder, rights, *, seed=0, overrides=None, **settings):
    """A run of the protocol paper; `rights`: how many of 20 rows are right, by method, table and seed."""
    tables = list(next(iter(rights.values())))
    seeds = len(next(iter(next(iter(rights.values())).values())))
    protocol = {"name": "paper", "folds": 5, "repeats": 1, "seed": seed, "test_size": 0.3}
    settings |= {"overrides": overrides or {"module": "linear"}, "protocol": protocol}
    run = make_run(folder, tables, list(rights), seeds=seeds, n_test=2, **settings)
    for cell in planned(run.settings()):
        y = np.zeros(N_TEST, dtype=int)
        right = np.arange(N_TEST) < rights[cell.method][cell.table][cell.seed - seed]
        proba = np.where(right[:, None], [0.75, 0.25], [0.25, 0.75])
        write(run, cell, y=y, proba=proba)
    return run


def by_table(values, seeds=1):
    """The same number of right rows for each seed, table by table."""
    return {table: [value] * seeds for table, value in zip(TABLES, values, strict=True)}


def findings_of(sections, *words):
    """The findings whose claim has all these words."""
    everything = [finding for section in sections for finding in section.findings]
    return [finding for finding in everything if all(word in finding.claim for word in words)]


def wilson(hits, trials):
    z = stats.norm.ppf(0.975)
    centre = (hits + z**2 / 2) / (trials + z**2)
    half = z / (trials + z**2) * np.sqrt(hits * (trials - hits) / trials + z**2 / 4)
    return centre - half, centre + half


def t_interval(values):
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    return np.mean(values), interval.low, interval.high


def ends(finding):
    return finding.value, finding.low, finding.high


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    """GenLabel (CV) beats mixup on 8 of 10 tables, plain training on none, and has one tie with each."""
    rights = {
        "vanilla": by_table([19, 19, 19, 19, 19, 19, 19, 19, 19, 14]),
        "mixup": by_table([10, 10, 10, 10, 10, 10, 10, 10, 15, 14]),
        "genlabel-cv": by_table([11, 12, 13, 14, 15, 16, 17, 18, 13, 14]),
        "genlabel-gm": by_table([11, 12, 13, 14, 15, 16, 17, 16, 12, 14]),
        "genlabel-kde": by_table([10, 13, 13, 12, 15, 14, 16, 18, 13, 10]),
    }
    return make(tmp_path_factory.mktemp("runs") / "paper", rights)


def all_sections(found, paper=None, **given):
    nothing = found.Runs()
    paper = nothing if paper is None else found.Runs([paper.folder])
    return found.sections(**{"paper": paper, "networks": nothing, "columns": nothing} | given)


@pytest.fixture(scope="module")
def said(found, paper):
    """What is said of that run."""
    return all_sections(found, paper)


@pytest.mark.parametrize(
    ("settings", "verdict"),
    [
        ({"low": 0.1, "high": 0.2}, "confirmed"),
        ({"low": -0.2, "high": -0.1}, "contradicted"),
        ({"low": -0.1, "high": 0.1}, "undecided"),
        ({"low": 0.0, "high": 0.0}, "undecided"),
        ({"low": np.nan, "high": np.nan}, "undecided"),
        ({"low": -0.2, "high": -0.1, "side": -1}, "confirmed"),
        ({"low": 0.1, "high": 0.2, "side": -1}, "contradicted"),
        ({"low": 0.1, "high": 0.2, "reference": 0.15}, "undecided"),
        ({"low": 0.1, "high": 0.2, "reference": 0.3}, "contradicted"),
        ({"low": 0.1, "high": 0.2, "side": 0}, "\N{EN DASH}"),
        ({"low": 0.1, "high": 0.2, "n": None}, "not run"),
    ],
)
def test_a_verdict_is_where_the_whole_interval_lies(evidence, settings, verdict):
    assert evidence.Finding("claim", "place", **{"n": 5} | settings).verdict == verdict


def test_wins_ties_losses_and_gains_are_those_counted_by_hand(said):
    against = "GenLabel (CV) against {}, all tables"
    (often,) = findings_of(said, against.format("mixup"), "more often")
    assert_allclose(ends(often), (8 / 9, *wilson(8, 9)))
    assert (often.n, often.over, often.paper) == (9, "decided tables", "54.9 / 7.3 / 35.4 %")
    assert often.verdict == "confirmed"
    (often,) = findings_of(said, against.format("plain training"), "more often")
    assert_allclose(ends(often), (0, *wilson(0, 9)), atol=1e-12)
    assert often.verdict == "contradicted"
    (much,) = findings_of(said, against.format("mixup"), "on average")
    assert_allclose(ends(much), t_interval([0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, -0.1, 0]))
    (most,) = findings_of(said, "at least as accurate as mixup", "alpha 1")
    assert_allclose(ends(most), (9 / 10, *wilson(9, 10)))


def test_the_tables_that_fit_are_counted_by_themselves(found, paper):
    sections = all_sections(found, paper, fits=["openml-307", "openml-468", "openml-36", "openml-31"])
    (often,) = findings_of(sections, "GenLabel (CV) against mixup, fitted tables", "more often")
    assert_allclose(ends(often), (1 / 2, *wilson(1, 2)))  # 36 won, 307 lost, 468 a tie, 31 not in the run
    assert often.verdict == "undecided"


def test_what_was_not_run_is_said_to_be_and_nothing_is_made_up(found, said, tmp_path):
    sections = all_sections(found)
    findings = [finding for section in sections for finding in section.findings]
    assert len(findings) > 50
    assert {finding.verdict for finding in findings} == {"not run"}
    assert all(np.isnan(finding.value) for finding in findings)
    (often,) = findings_of(said, "GenLabel (CV) against AdaMixup", "more often")
    assert often.verdict == "not run"
    found.main(["--out", str(tmp_path)])
    assert "| all | 0 | 0 | 0 |" in (tmp_path / "found.md").read_text(encoding="utf-8")


def test_whether_cross_validation_takes_the_better_density_is_judged_where_they_differ(said):
    better, average, lacks = findings_of(said, "GenLabel (CV)", "GM and KDE")
    # GM and KDE differ on 8 tables; CV is below the better one on 36 alone: 12 to 13 of 20 rows.
    assert_allclose(ends(better), (7 / 8, *wilson(7, 8)))
    means = np.array([10.5, 12.5, 13, 13, 15, 15, 16.5, 17, 12.5, 12])
    assert_allclose(
        ends(average), t_interval((np.array([11, 12, 13, 14, 15, 16, 17, 18, 13, 14]) - means) / 20)
    )
    assert_allclose(ends(lacks), t_interval(np.array([0, 1, 0, 0, 0, 0, 0, 0, 0, 0]) / 20))
    assert lacks.verdict == "\N{EN DASH}"


def test_gains_on_a_table_are_over_seeds_of_one_split_and_over_splits_where_there_are_several(
    found, tmp_path
):
    def one(folder, seed, gains, **settings):
        right = {"mixup": {"openml-830": [10, 10]}, "genlabel-gm": {"openml-830": [10 + g for g in gains]}}
        return found.Runs([make(tmp_path / folder, right, seed=seed, **settings).folder])

    first, second, third = one("a", 0, [1, 3]), one("b", 100, [4, 4]), one("c", 200, [6, 8])
    other = one("d", 300, [0, 0], overrides={"module": "mlp"})

    def gain(**checks):
        sections = found.sections(paper=first, networks=found.Runs(), columns=found.Runs(), checks=checks)
        (finding,) = findings_of(sections, "over 8 points over mixup: openml-830")
        return finding

    alone, several = gain(), gain(b=second, c=third, mlp=other)
    assert (alone.n, alone.over, several.n, several.over) == (2, "seeds", 3, "splits")
    assert_allclose(ends(alone), t_interval([1 / 20, 3 / 20]))
    assert_allclose(ends(several), t_interval([2 / 20, 4 / 20, 7 / 20]))  # each split its seeds' mean
    assert (several.paper, several.reference) == ("+9.86", 0.08)


def test_other_runs_become_rows_of_the_check_whatever_they_are_called(found, paper, tmp_path):
    rights = {"mixup": by_table([10] * 10), "genlabel-gm": by_table([11] * 6 + [10] * 3 + [9])}
    folder = make(tmp_path / "other", rights, seed=7).folder
    found.main(["--paper", str(paper.folder), "--checks", f"a|b <i> *c*={folder}", "--out", str(tmp_path)])
    page = (tmp_path / "found.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith(r"| a\|b &lt;i&gt; \*c\*"))
    assert "| 10 | 60.0 / 30.0 / 10.0 | 85.7 (48.7 to 97.4) | 0.125 | undecided | +2.50 (" in row
    assert "<i>" not in page.replace(found.made_by([f"a|b <i> *c*={folder}"]).split(maxsplit=2)[2], "")


def test_columns_are_paired_over_splits_after_averaging_seeds(found, tmp_path):
    gains = {0: [2, 4], 50: [1, 1], 90: [5, 3]}
    folders = []
    for seed, by_seed in gains.items():
        rights = {"columns": {"iris": [10, 12]}}
        rights["columns+genlabel"] = {"iris": [10 + by_seed[0], 12 + by_seed[1]]}
        folders.append(make(tmp_path / str(seed), rights, seed=seed).folder)
    sections = found.sections(paper=found.Runs(), networks=found.Runs(), columns=found.Runs(folders))
    (finding,) = findings_of(sections, "GenLabel makes columns more accurate: iris")
    assert_allclose(ends(finding), t_interval([3 / 20, 1 / 20, 4 / 20]))
    assert (finding.n, finding.over, finding.paper) == (3, "splits", "+0.44")
    (section,) = (section for section in sections if "Table 8" in section.title)
    assert [line.split("--out")[1].strip() for line in section.commands] == ["runs/0", "runs/50", "runs/90"]
    assert "--seed 50" in section.commands[1]


def test_the_rank_correlation_and_its_bootstrap_are_those_of_a_loop(found):
    link = importlib.import_module("findings.link")
    rng = np.random.default_rng(3)
    x = rng.normal(size=15)
    y = (x + rng.normal(size=15)).round(1)  # with ties
    draws = np.random.default_rng(5).integers(15, size=(40, 15))
    drawn = [stats.spearmanr(x[rows], y[rows]).statistic for rows in draws]
    expected = (stats.spearmanr(x, y).statistic, *np.quantile(drawn, [0.025, 0.975]))
    assert_allclose(link.rank_correlation(x, y, draws=40, seed=5), expected)
    assert np.isnan(link.rank_correlation([1, 2], [1, 2])).all()


def test_the_fit_of_the_gaussians_is_their_accuracy_on_the_training_rows_of_the_run(found, tmp_path):
    link = importlib.import_module("findings.link")
    expected = {}
    rights = {
        "mixup": {f"t{i}": [10] for i in range(4)},
        "genlabel-gm": {f"t{i}": [10 + i] for i in range(4)},
    }
    run = make(tmp_path / "run", rights)
    for i in range(4):
        rng = np.random.default_rng(i)
        y = np.repeat([0, 1], 40)
        X = rng.normal(size=(80, 2)) * np.where(y, 1, 2)[:, None] + y[:, None] * i
        run.freeze(f"t{i}", Table(X, y, ["a", "b"]))
        protocol = Protocol("paper")
        train, _ = protocol.splits(y)[0, 0]
        known = QuadraticDiscriminantAnalysis(priors=[0.5, 0.5]).fit(X[train], y[train])
        expected[f"t{i}"] = known.score(X[train], y[train])
    runs = found.Runs([run.folder])
    assert_allclose(link.train_accuracy(runs)[list(expected)], list(expected.values()), atol=1 / 56)
    sections = found.sections(paper=runs, networks=found.Runs(), columns=found.Runs())
    (finding,) = findings_of(sections, "rises with the train accuracy")
    assert finding.n == 4
    assert_allclose(finding.value, stats.spearmanr(link.train_accuracy(runs), range(4)).statistic)
    assert finding.paper == "+0.60, 4 tables"  # fits 98, 100, 62, 64; gains 8.44, 1.86, -.03, -4.61


def test_robust_accuracy_of_genlabel_is_that_of_the_better_density_table_by_table(found, tmp_path):
    robust = importlib.import_module("findings.robust")
    rights = {"mixup": [0.5] * 8, "genlabel-gm": [0.6] * 4 + [0.4] * 4}
    rights["genlabel-nn-label"] = [0.9] * 8  # not one of the two densities
    rights["genlabel-nn"] = [0.4] * 3 + [0.8] + [0.55] * 3 + [0.3]
    rows = [
        {"table": f"t{i}", "module": "mlp", "method": method, "seed": seed, "accuracy": 0.9,
         "robust_accuracy": value + (0.05 if seed else -0.05), "fit_seconds": 2.0, "attack_seconds": 30.0,
         "mixsk_version": "1.2"}
        for method, values in rights.items()
        for i, value in enumerate(values)
        for seed in (0, 1)
    ]  # fmt: skip
    path = tmp_path / "robust.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    sections = all_sections(found, attacked=robust.read(path))
    (often,) = findings_of(sections, "The better GenLabel against mixup, networks", "more often")
    assert_allclose(ends(often), (7 / 8, *wilson(7, 8)))
    assert (often.paper, often.verdict) == ("9 / 0 / 4 of 13", "confirmed")
    (much,) = findings_of(sections, "The better GenLabel against mixup, networks", "on average")
    assert_allclose(ends(much), t_interval([0.1, 0.1, 0.1, 0.3, 0.05, 0.05, 0.05, -0.1]))
    (gap,) = findings_of(sections, "The attack costs mixup accuracy, networks")
    assert_allclose(ends(gap), [0.4] * 3)
    (section,) = (section for section in sections if "Table 5" in section.title)
    assert [list(row[1:]) for row in section.account] == [
        ["rows", "64"], ["fit, all rows", "2 min"], ["attack, all rows", "32 min"], ["mixsk version", "1.2"],
    ]  # fmt: skip
    clean = all_sections(found, networks=found.Runs(cells=robust.networks(robust.read(path))))
    (finding,) = findings_of(clean, "GenLabel (GM, latent) against mixup: ")
    assert "0 / 8 / 0" in finding.claim  # .9 everywhere
    each = {(row[0], row[1]): row[2] for row in section.sheets[0].rows}
    assert each["GenLabel (GM)", "mixup"] == "4 / 0 / 4"
    assert each["GenLabel (nearest row's label)", "mixup"] == "8 / 0 / 0"
    (other,) = findings_of(sections, "The better GenLabel against mixup, logistic", "more often")
    assert other.verdict == "not run"
    with pytest.raises(ValueError, match="no column robust_accuracy"):
        robust.read(_without(path, "robust_accuracy", tmp_path))


def _without(path, column, folder):
    pd.read_csv(path).drop(columns=column).to_csv(folder / "less.csv", index=False)
    return folder / "less.csv"


def test_networks_are_set_beside_the_papers_without_a_verdict(found, tmp_path):
    rights = {"mixup": {"openml-446": [15, 17], "openml-468": [12, 12]}}
    rights["genlabel-latent"] = {"openml-446": [16, 18], "openml-468": [15, 15]}
    run = make(tmp_path / "mlp", rights, overrides={"module": "mlp"})
    sections = all_sections(found, networks=found.Runs([run.folder]))
    (finding,) = findings_of(
        sections, "GenLabel (GM, latent) against mixup: more / equal / less on 2 / 0 / 0"
    )
    assert_allclose(ends(finding), t_interval([1 / 20, 3 / 20]))
    # 446 a tie, 755 and 1413 better, 468, 683 and 763 worse; +4.31 points in all
    assert (finding.paper, finding.verdict) == ("2 / 1 / 3 of 6; +0.72", "\N{EN DASH}")
    (section,) = (section for section in sections if "Table 7" in section.title)
    (sheet,) = section.sheets
    cells = dict(zip(sheet.heads, sheet.rows[0], strict=True))
    assert cells["mixup"] == "80.00 (16.47 to 143.53) [100.00]"  # 75 and 85: t(1) is 12.706, s.e. is 5
    assert cells["AdaMixup"] == "not run [100.00]"


def test_toys_are_paired_over_seeds(found):
    accuracy = {"vanilla": [0.9, 0.95, 1.0], "mixup": [0.5, 0.6, 0.6], "genlabel": [1.0, 1.0, 0.9]}
    toys = pd.DataFrame(
        [
            {"set": "four_circles", "method": method, "seed": seed, "accuracy": value, "fit_seconds": 1.0}
            for method, values in accuracy.items()
            for seed, value in enumerate(values)
        ]
    )
    sections = all_sections(found, toys=toys)
    (worse,) = findings_of(sections, "Mixup is worse than plain training: four circles")
    assert_allclose(ends(worse), t_interval([-0.4, -0.35, -0.4]))
    assert (worse.verdict, worse.paper) == ("confirmed", "\N{MINUS SIGN}33.60")
    (better,) = findings_of(sections, "GenLabel is better than mixup: four circles")
    assert_allclose(ends(better), t_interval([0.5, 0.4, 0.3]))


def test_the_command_fits_and_notices_are_read_from_the_run(found, tmp_path):
    account = importlib.import_module("findings.account")
    suite = {"name": "mine", "source": str(BENCHMARKS / "results" / "mine.toml"), "digest": "0"}
    suite |= {"parity": True, "options": {}, "tables": ["t"]}
    search = {"cv": {"text": "InnerFolds(n_splits=5)"}, "param_grid": {"lr": [1, 2], "gamma": [0, 1, 2]}}
    methods = {
        "genlabel-gm": {"source": "genlabel-gm", "is": search},
        "mine": {"source": str(BENCHMARKS / "alpha_2.py"), "is": {"class": "C"}},
    }
    rights = {"genlabel-gm": {"t": [10, 10]}, "mine": {"t": [10, 10]}}
    run = make(tmp_path / "my run", rights, seed=3, suite=suite)
    run.begin(run.settings() | {"methods": methods})
    runs = found.Runs([run.folder])
    assert account.command(run.folder, run.settings()) == (
        "mixsk bench run --suite benchmarks/results/mine.toml --methods genlabel-gm,benchmarks/alpha_2.py "
        "--protocol paper --seed 3 --seeds 2 --module linear --parity --out 'runs/my run'"
    )
    assert account.fits(run.settings(), runs.cells) == 2 * (2 * 3 * 5 + 1) + 2
    assert account.notices([runs]) == []
    (run.folder / next(iter(run.files()))).unlink()
    assert account.notices([found.Runs([run.folder])]) == [
        "my run: The run has not ended: 3 of 4 cells have ended."
    ]


def test_the_page_shows_the_files_beside_it_and_old_ones_are_gone(found, paper, said, tmp_path):
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "old.csv").write_text("old")
    found.main(["--paper", str(paper.folder), "--out", str(tmp_path)])
    page = (tmp_path / "found.md").read_text(encoding="utf-8")
    names = {path.name for path in (tmp_path / "found").iterdir()}
    assert names == {"claims.csv", "versus.csv", "gains.png"}
    assert "[versus.csv](found/versus.csv)" in page
    assert "](found/gains.png)" in page
    assert str(tmp_path) not in page
    claims = pd.read_csv(tmp_path / "found" / "claims.csv", keep_default_na=False)
    assert len(claims) == sum(len(section.findings) for section in said)
    versus = pd.read_csv(tmp_path / "found" / "versus.csv")
    assert versus.query("method == 'genlabel-cv' and baseline == 'mixup'")["wins"].tolist() == [8]


def test_a_text_is_shown_as_it_is(found):
    page = importlib.import_module("findings.page")
    assert page.escape("a|b\n<i> *c* `d` [e] $x$ \\") == (r"a\|b &lt;i&gt; \*c\* \`d\` \[e\] \$x\$ " + "\\\\")
    assert page.table(["a", "b"], [["1|2", ""]]).splitlines() == [
        "| a | b |", "| --- | --- |", r"| 1\|2 |  |",
    ]  # fmt: skip


def test_methods_of_the_files_are_the_known_ones_but_for_one_parameter():
    methods = load_methods(f"{BENCHMARKS / 'alpha_2.py'},{BENCHMARKS / 'latent.py'}")
    assert list(methods) == [
        "mixup-alpha-2",
        "mixup-exclude-mi-alpha-2",
        "genlabel-gm-alpha-2",
        "genlabel-kde-alpha-2",
        "genlabel-cv-alpha-2",
        "genlabel-latent-nn",
    ]
    known = load_methods("mixup,mixup-exclude-mi,genlabel-gm,genlabel-kde,genlabel-cv,genlabel-latent")
    for mine, theirs in zip(methods.values(), known.values(), strict=True):
        mine, theirs = (method.search(module="mlp") for method in (mine, theirs))
        other = {key for key, value in mine.estimator.get_params(deep=False).items()
                 if value != theirs.estimator.get_params(deep=False)[key]}  # fmt: skip
        assert other in ({"alpha"}, {"density"})
        assert mine.param_grid == theirs.param_grid
    assert methods["genlabel-latent-nn"].params["density"] == "nn"
    assert methods["genlabel-latent-nn"].why_not("linear")


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="needs the paper's tables beside the repository")
def test_the_papers_figures_are_those_of_its_tables(evidence):
    known, toys = evidence.PAPER, {"moons": "moon", "four_circles": "four_circle", "cubes_3d": "3d_cube"}
    small = pd.read_csv(REFERENCE / "table1_2_8_9.csv")
    small = small.set_index(["table", "dataset", "method"])["accuracy"].sort_index()
    worse = {name: known["worse"]["toys"][mine] for mine, name in toys.items()}
    worse |= {name.replace("-", ""): figures for name, figures in known["worse"]["tables"].items()}
    assert worse == {
        name: small[1, name].to_dict() for name in small[1].index.get_level_values("dataset").unique()
    }
    assert known["labelled"]["genlabel-gm"] == small[8].xs("mixup_genlabel", level="method").to_dict()
    assert known["fit"] == small[9].xs("gm_classifier_train", level="method").to_dict()
