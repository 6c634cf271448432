"""`mixsk bench` on texts: official splits, development rows, the methods that read texts and no others."""

import os
import re
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

pytest.importorskip("distributed")
pytest.importorskip("psutil")
pytest.importorskip("pyarrow")
pytest.importorskip("rich")

from mixsk import MixupClassifier
from mixsk.bench import Method, load_methods, methods, read_results, read_suite
from mixsk.bench.cell import freeze_table, run_cells
from mixsk.bench.cli import main
from mixsk.bench.engine import close_keepers
from mixsk.bench.methods import METHODS, TEXT_METHODS
from mixsk.bench.plan import Cell, planned
from mixsk.bench.store import Run, Table
from mixsk.datasets import load_text, take_share

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="every cell runs in a forked process"),
    pytest.mark.xdist_group("bench"),
]

SUITE = """
[tables.questions]
text = "trec"
[tables.reviews]
text = "sst-2"
[tables.folds]
text = "mr"
folds = 3
[tables.few]
text = "trec"
share = 0.2
draws = 2
"""
WORDS = [["good", "très bon", "素晴らしい"], ["bad", "schlecht", "\U0001f44e"]]  # by class
SETS = {
    "trec.train": 60,
    "trec.test": 20,
    "sst-2.train": 40,
    "sst-2.dev": 12,
    "sst-2.test": 16,
    "mr.all": 30,
}


@pytest.fixture(scope="module", autouse=True)
def a_log_of_wide_columns():
    with pytest.MonkeyPatch.context() as patch:
        for variable in ["FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"]:
            patch.delenv(variable, raising=False)
        patch.setenv("COLUMNS", "120")
        yield
    close_keepers()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a few rows of three texts, and a suite of them."""
    folder, rng = tmp_path_factory.mktemp("texts"), np.random.default_rng(0)
    for name, n in SETS.items():
        codes = rng.permutation(np.arange(n) % 2)
        rows = [f"{code}\ta {rng.choice(WORDS[code])} film of {rng.integers(1900, 2000)}" for code in codes]
        (folder / f"{name}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "tiny.toml").write_text(SUITE)
    return folder


@pytest.fixture(scope="module")
def suite(home):
    return read_suite(home / "tiny.toml", data_home=home)


@pytest.fixture(scope="module")
def run(home, tmp_path_factory):
    """A run with the protocol that texts have by default: its folder, status and what it told."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    return folder, *bench(home, f"--out={folder}", "--methods=tfidf-logreg", "--jobs=2", "--seed=3")


def bench(home, *options):
    out = StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        try:
            status = main(["bench", "run", f"--suite={home / 'tiny.toml'}", f"--data={home}", *options])
        except SystemExit as ended:
            status = ended.code
    return status, out.getvalue()


def loaded(name, home):
    with pytest.warns(UserWarning, match="The file is incomplete"):
        return load_text(name, data_home=home)


# --- suites


def test_the_suite_of_texts_has_all_five():
    suite = read_suite("text")
    assert suite.reads == "text"
    assert list(suite.tables) == list(suite.splits) == ["trec", "sst-1", "sst-2", "subj", "mr"]
    assert read_suite("builtin").reads == "table"


def test_the_real_texts_have_official_splits_or_ten_folds(shared_data):
    suite = read_suite("text", data_home=shared_data)
    sizes = {"trec": [5452, 500], "sst-1": [8544, 2210, 1101], "sst-2": [6920, 1821, 872]}
    for name, table in suite.tables.items():
        texts, y = table()
        splits = suite.splits[name]()
        assert all(isinstance(text, str) for text in texts)
        if name in sizes:
            assert {key: [len(rows) for rows in parts] for key, parts in splits.items()} == {
                (0, 0): sizes[name]
            }
        else:
            assert list(splits) == [(0, fold) for fold in range(10)]
            assert_array_equal(np.sort(np.concatenate([test for _, test in splits.values()])), range(len(y)))


def test_a_share_is_drawn_as_often_as_asked_for_and_tested_on_all_test_rows(suite, home):
    trec = loaded("trec", home)
    train, test = trec.subsets["train"], trec.subsets["test"]
    with pytest.warns(UserWarning, match="The file is incomplete"):
        splits = suite.splits["few"]()
    assert list(splits) == [(0, 0), (1, 0)]
    for (draw, _), parts in splits.items():
        expected = train[take_share(trec.target[train], 0.2, random_state=draw)]
        assert len(parts) == 2
        assert_array_equal(parts[0], expected)
        assert_array_equal(parts[1], test)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text = 'imdb'", ", line 2, table a: unknown text 'imdb'"),
        ("text = 'mr'\nshare = 3", r", line 3, table a: share is above 0 and at most 1"),
        ("text = 'mr'\nfolds = 1", ", line 3, table a: `folds` is a whole number of 2 or more, got 1"),
        ("text = 'mr'\ndraws = 0.5", ", line 3, table a: `draws` is a whole number of 1 or more, got 0.5"),
        ("text = 'mr'\ndraws = true", ", line 3, table a: `draws` is a whole number of 1 or more, got True"),
        ("text = 'mr'\ntarget = 'y'", ", line 3, table a: unknown key 'target'"),
        ("text = 'mr'\n[tables.b]\nsklearn = 'iris'", ", line 3, table b: a suite has texts or tables, not"),
        ("sklearn = 'iris'\n[tables.b]\ntext = 'mr'", ", line 3, table b: a suite has texts or tables, not"),
    ],
)
def test_a_mistake_in_a_suite_of_texts_is_named_with_its_line(text, message, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(f"[tables.a]\n{text}\n")
    with pytest.raises(ValueError, match=r"suite .*mine\.toml" + message):
        read_suite(path)


# --- the command


def test_texts_are_judged_on_their_official_rows_or_in_folds(run, home):
    folder, status, _ = run
    assert status == 0
    results = read_results(folder).set_index(["table", "repeat", "fold"])
    assert set(results["protocol"]) == {"official"}
    expected = {}
    for table, name in {"questions": "trec", "reviews": "sst-2"}.items():
        text = loaded(name, home)
        expected[table, 0, 0] = text, text.subsets["train"], text.subsets["test"]
    text = loaded("mr", home)
    folds = StratifiedKFold(3, shuffle=True, random_state=0).split(text.target, text.target)
    expected |= {("folds", 0, fold): (text, *parts) for fold, parts in enumerate(folds)}
    text = loaded("trec", home)
    for draw in range(2):
        rows = text.subsets["train"]
        rows = rows[take_share(text.target[rows], 0.2, random_state=draw)]
        expected["few", draw, 0] = text, rows, text.subsets["test"]
    assert set(results.index) == set(expected)
    for key, (text, train, test) in expected.items():
        clf = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
        clf.fit(text.data[train], text.target[train])
        assert results.loc[key, "accuracy"] == clf.score(text.data[test], text.target[test])
        assert (results.loc[key, "n_train"], results.loc[key, "n_test"]) == (len(train), len(test))


def test_texts_that_are_incomplete_are_told(run):
    assert "questions: " in run[2]
    assert re.search(r"trec\.train\.tsv: 60 rows, .* where TREC, train, has 5452, .*incomplete", run[2])
    assert "tiny: 4 tables x 1 methods, protocol official, 7 cells, 2 at a time\n" in run[2]


def test_a_second_run_finds_all_texts_and_results(run, home):
    status, out = bench(home, f"--out={run[0]}", "--methods=tfidf-logreg", "--seed=3")
    assert status == 0
    assert "7 cells are in " in out


def test_any_characters_of_a_text_are_kept(run, home):
    kept, text = Run(run[0]).table("reviews"), loaded("sst-2", home)
    pd.testing.assert_series_equal(kept.X, text.data)
    assert any("\U0001f44e" in row for row in kept.X)
    assert kept.classes == ["negative", "positive"]
    assert_array_equal(kept.y, text.target)


def test_tables_of_other_texts_have_other_fingerprints():
    def fingerprint(*texts):
        return Table(pd.Series(texts, name="text"), np.array([0, 1]), ["a", "b"]).fingerprint()

    assert fingerprint("one", "deux") == fingerprint("one", "deux")
    others = [("one", "two"), ("one", "twø"), ("two", "one"), ("", "")]
    assert len({fingerprint(*texts) for texts in others}) == 4


def test_texts_have_their_own_methods_and_those_of_a_user(home, tmp_path):
    (tmp_path / "one.toml").write_text('[tables.reviews]\ntext = "sst-2"\n')
    (tmp_path / "counted.py").write_text(
        "from sklearn.feature_extraction.text import CountVectorizer\n"
        "from sklearn.naive_bayes import MultinomialNB\n"
        "from sklearn.pipeline import make_pipeline\n\n"
        "METHODS = {'counted': make_pipeline(CountVectorizer(), MultinomialNB())}\n"
    )
    options = [f"--suite={tmp_path / 'one.toml'}", f"--out={tmp_path / 'run'}", "--max-epochs=1"]
    assert bench(home, *options)[0] == 0
    assert bench(home, *options, f"--methods={tmp_path / 'counted.py'}")[0] == 0
    results = read_results(tmp_path / "run")
    assert set(results["method"]) == {*TEXT_METHODS, "counted"}
    assert set(results["warnings"]) == {""}
    text = loaded("sst-2", home)
    (X, y), (X_test, _), (X_val, y_val) = (
        (text.data[rows], text.target[rows]) for rows in map(text.subsets.get, ["train", "test", "dev"])
    )
    clf = MixupClassifier(
        module="textcnn", mix_at="embedding", alpha=1, lam_per="sample", max_epochs=1, random_state=0
    )
    proba = clf.fit(X, y, X_val=X_val, y_val=y_val).predict_proba(X_test)
    run = Run(tmp_path / "run")
    row = run.read(run.folder / Cell("reviews", "word-mixup", 0, 0, 0).path())
    assert_allclose(row["probabilities"], proba, atol=1e-6)


def test_other_protocols_split_all_rows_of_a_text(home, tmp_path):
    options = [f"--out={tmp_path / 'run'}", "--methods=tfidf-logreg", "--protocol=cv", "--folds=2"]
    assert bench(home, *options)[0] == 0
    results = read_results(tmp_path / "run")
    n_test = results.groupby("table")["n_test"].sum().to_dict()
    assert n_test == {"questions": 80, "few": 80, "reviews": 68, "folds": 30}


def test_the_report_of_a_run_on_texts_says_how_they_were_split(run, tmp_path):
    for package in ["duckdb", "jinja2", "matplotlib", "scikit_posthocs"]:
        pytest.importorskip(package)
    with redirect_stdout(StringIO()):
        assert main(["bench", "report", str(run[0]), f"--out={tmp_path / 'report'}"]) == 0
    (page,) = (tmp_path / "report").glob("*.html")
    assert "the official splits" in page.read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--methods=mixup"], "method mixup is for tables, and suite tiny has texts; use text-vanilla, word"),
        (["--methods=tfidf-logreg,boosting"], "method boosting is for tables, and suite tiny has texts"),
        (["--suite=builtin", "--methods=word-amp"], "method word-amp is for texts, and suite builtin has"),
        (["--module=mlp"], "--module mlp reads tables, and suite tiny has texts; use "),
        (["--protocol=paper"], "protocol paper is that of the GenLabel paper's tables, and suite tiny has"),
    ],
)
def test_what_cannot_read_texts_is_refused_before_any_work(options, message, home, tmp_path):
    status, out = bench(home, f"--out={tmp_path / 'run'}", *options)
    assert status == 2
    assert message in out
    assert not (tmp_path / "run").exists()


def test_texts_that_are_not_there_are_all_named_with_their_files(home, tmp_path):
    status, out = bench(home, f"--out={tmp_path / 'run'}", "--methods=tfidf-logreg", f"--data={tmp_path}")
    assert status == 2
    assert "4 of 4 tables of tiny cannot be used:\n" in out
    assert "  reviews: SST-2, train: found neither stsa.binary.train nor sst-2.train.tsv" in out
    assert str(tmp_path) in out


# --- methods


def test_all_are_the_methods_for_texts_or_those_for_tables():
    assert list(load_methods("all", "text")) == list(TEXT_METHODS)
    assert list(load_methods("all")) == list(load_methods("all", "table")) == list(METHODS)
    assert {method.reads for method in TEXT_METHODS.values()} == {"text"}
    assert {method.reads for method in METHODS.values()} == {"table"}
    assert METHODS.keys().isdisjoint(TEXT_METHODS)
    assert load_methods("word-mixup")["word-mixup"].source == "word-mixup"
    with pytest.raises(ValueError, match="unknown method 'wordmixup', did you mean 'word-mixup'"):
        load_methods("wordmixup", "text")


def test_methods_with_amp_and_without_it_differ_by_it_alone():
    for site, where in {"word": "embedding", "sent": "last"}.items():
        one, other = (TEXT_METHODS[f"{site}-{kind}"].build() for kind in ("mixup", "amp"))
        assert one.mix_at == other.mix_at == where
        assert one.module == other.module == "textcnn"
        assert (one._alpha(), one._lam_per(), one._mix()) == (1, "sample", "linear")
        assert (other._alpha(), other._lam_per(), other._mix()) == (1, "sample", "linear")


# --- development rows


class Told(DecisionTreeClassifier):
    """Keeps what it is given; any strings will do."""

    given = []

    def fit(self, X, y, X_val=None, y_val=None):
        self.given.append((X, y, X_val, y_val))
        return super().fit(np.zeros((len(y), 1)), y)

    def predict_proba(self, X):
        return super().predict_proba(np.zeros((len(X), 1)))


class NotTold(Told):
    """Takes no development rows."""

    def fit(self, X, y):
        return super().fit(X, y)


@pytest.fixture
def given(monkeypatch):
    """What has been given to `fit`, and not stacked."""
    for name, kind in {"told": Told, "not-told": NotTold}.items():
        monkeypatch.setitem(methods.TEXT_METHODS, name, Method(kind))
    monkeypatch.setattr(Told, "given", [])
    return lambda: Told.given


def fitted(given, home, folder, name, *, seeds=1, protocol="official", method="told"):
    """Run the cells of one table in this process; return its texts and what was given to each fit."""
    run = Run(folder)
    info = freeze_table(str(folder), str(home / "tiny.toml"), name, {"data_home": str(home)})
    run.begin(
        {
            "suite": {"name": "tiny"},
            "protocol": {"name": protocol, "folds": 2, "repeats": 1, "seed": 0, "test_size": 0.3},
            "seeds": seeds,
            "overrides": {},
            "methods": {method: {"source": method}},
            "tables": {name: info},
        }
    )
    cells = planned(run.settings())
    report = run_cells(str(folder), name, method, [cell[2:] for cell in cells])
    assert set(report["statuses"]) == {"ok"}
    return run.table(name), given()


def test_an_official_development_set_is_given_to_a_method_that_takes_one(given, home, tmp_path):
    _, fits = fitted(given, home, tmp_path, "reviews", seeds=2)
    sst = loaded("sst-2", home)
    for X, y, X_val, y_val in fits:
        assert X.equals(sst.data[sst.subsets["train"]])
        assert X_val.equals(sst.data[sst.subsets["dev"]])
        assert_array_equal(y, sst.target[sst.subsets["train"]])
        assert_array_equal(y_val, sst.target[sst.subsets["dev"]])
    assert len(fits) == 2


@pytest.mark.parametrize(("protocol", "n_train"), [("official", 60), ("cv", 40)])
def test_else_a_tenth_of_the_training_rows_of_each_class_is(given, home, tmp_path, protocol, n_train):
    table, fits = fitted(given, home, tmp_path, "questions", seeds=2, protocol=protocol)
    held = []
    for X, y, X_val, y_val in fits:
        rows = np.concatenate([X.index, X_val.index])
        assert len(rows) == len(set(rows)) == n_train
        assert_array_equal(np.bincount(y_val), [n_train // 20] * 2)
        assert_array_equal(y, table.y[X.index])
        assert_array_equal(y_val, table.y[X_val.index])
        held.append(tuple(X_val.index))
    assert len(set(held)) == len(fits)  # other seeds hold out others
    if protocol == "official":
        assert set(rows) == set(range(60))


def test_a_method_that_takes_no_development_rows_is_fitted_to_all_training_rows(given, home, tmp_path):
    _, fits = fitted(given, home, tmp_path / "a", "questions", method="not-told")
    assert [len(y) for _, y, *_ in fits] == [60]
    _, fits = fitted(given, home, tmp_path / "b", "reviews", method="not-told")
    assert [len(y) for _, y, *_ in fits] == [60, 40]


def test_tables_have_no_development_rows(given, home, tmp_path):
    (tmp_path / "tiny.toml").write_text('[tables.questions]\ntoy = "make_moons"\nn_samples = 20\n')
    _, fits = fitted(given, tmp_path, tmp_path / "run", "questions", protocol="cv")
    assert [(len(y), X_val, y_val) for _, y, X_val, y_val in fits] == [(10, None, None)] * 2
