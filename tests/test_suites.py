"""Suites: the tables they name, tables from files, and mistakes in a suite file with their line."""

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mixsk.bench import read_suite
from mixsk.bench.suite import suite_names
from mixsk.datasets import load_builtin, load_file

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("name", "n_tables"),
    [
        ("cc18", 72),
        ("demo-10", 10),
        ("genlabel-133", 133),
        ("genlabel-balanced-13", 13),
        ("genlabel-multiclass-7", 7),
    ],
)
def test_the_suites_of_openml_have_as_many_tables_as_their_names_say(name, n_tables):
    suite = read_suite(name)
    assert list(suite.tables) == [f"openml-{i}" for i in suite.dataset_ids]
    assert len(set(suite.dataset_ids)) == n_tables
    assert suite.dataset_ids == sorted(suite.dataset_ids)
    assert suite.task_ids == []


def test_the_smaller_suites_of_the_genlabel_paper_are_part_of_the_larger():
    ids = {name: set(read_suite(name).dataset_ids) for name in suite_names() if name.startswith("genlabel")}
    assert ids["genlabel-balanced-13"] < ids["genlabel-133"]
    assert ids["genlabel-multiclass-7"] < ids["genlabel-133"]


def test_the_genlabel_suites_are_those_of_the_reference(shared_data):
    reference = pd.read_json(shared_data.parent / "reference/genlabel/dataset_ids.json", typ="series")
    keys = {
        "genlabel-133": "all133",
        "genlabel-balanced-13": "balanced13",
        "genlabel-multiclass-7": "balanced7_multiclass_paper_table2",
    }
    for name, key in keys.items():
        assert read_suite(name).dataset_ids == reference[key]


def test_the_tables_of_demo_10_load_from_a_cache(shared_data, tmp_path):
    pytest.importorskip("openml")
    make = runpy.run_path(str(shared_data / "make_openml_cache.py"))
    index = pd.read_csv(shared_data / "openml" / "index.csv", dtype=str, keep_default_na=False)
    suite = read_suite("demo-10", cache_dir=tmp_path, offline=True)
    for record in index[index["id"].isin(map(str, suite.dataset_ids))].to_dict("records"):
        make["one"](record, str(shared_data / "openml"), str(tmp_path), None, 0)
        X, y = suite.tables[f"openml-{record['id']}"]()
        assert X.shape == (int(record["n"]), int(record["d"]))
        assert y.nunique() == int(record["n_classes"])


# --- tables from files

TABLE = pd.DataFrame({"x": [1.5, None, 3], "colour": ["red", "blue", "red"], "label": ["a", "b", "a"]})


def write_arff(table, path):
    rows = table.astype(object).where(table.notna(), "?").astype(str).agg(",".join, axis=1)
    header = "@relation t\n@attribute x real\n@attribute colour {red,blue}\n@attribute label {a,b}\n@data\n"
    path.write_text(header + "\n".join(rows) + "\n")


WRITERS = {
    "csv": lambda table, path: table.to_csv(path, index=False),
    "parquet": lambda table, path: table.to_parquet(path),
    "arff": write_arff,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_is_found_beside_its_suite_and_loaded(kind, tmp_path, monkeypatch):
    pytest.importorskip({"csv": "pandas", "parquet": "pyarrow", "arff": "arff"}[kind])
    (tmp_path / "data").mkdir()
    WRITERS[kind](TABLE, tmp_path / "data" / f"mine.{kind}")
    suite = tmp_path / "mine.toml"
    suite.write_text(f'[tables.mine]\nfile = "data/mine.{kind}"\ntarget = "label"')
    monkeypatch.chdir("/")
    X, y = read_suite(suite).tables["mine"]()
    assert list(X.columns) == ["x", "colour"]
    np.testing.assert_array_equal(X["x"], [1.5, np.nan, 3])
    assert list(X["colour"]) == ["red", "blue", "red"]
    assert isinstance(X["colour"].dtype, pd.CategoricalDtype) == (kind == "arff")
    assert list(y) == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": ["a", "a", "a"]}, "all rows have the same class in 'label': 'a'"),
        ({"label": ["a", None, "b"]}, "1 rows have no class in 'label'; remove them"),
        ({"x": None}, r"no row has a value in the columns \['x'\]; remove them"),
    ],
)
def test_a_table_that_cannot_be_learnt_is_an_error(change, message, tmp_path):
    path = tmp_path / "mine.csv"
    TABLE.assign(**change).to_csv(path, index=False)
    with pytest.raises(ValueError, match=rf"mine\.csv: {message}"):
        load_file(path, target="label")


@pytest.mark.parametrize(
    ("name", "content", "target", "message"),
    [
        (
            "a.csv",
            "x,label\n1,a\n2,b",
            "lable",
            r"a\.csv: no column 'lable' to predict, only \['x', 'label'\]",
        ),
        ("a.csv", "label\na\nb", "label", "there is no column beside the target 'label'"),
        ("a.csv", "", "label", r"cannot read .*a\.csv"),
        ("a.xlsx", "", "label", r"its name should end in one of \.csv, \.parquet, \.pq, \.arff"),
        ("none.csv", None, "label", r"cannot read .*none\.csv: .*No such file"),
    ],
)
def test_a_file_that_is_no_table_is_an_error(name, content, target, message, tmp_path):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        load_file(tmp_path / name, target=target)


# --- mistakes in a suite


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[tables.a]\nsklearn = 'iris'\n[tables.b]\n\nsklearn = 'iris'\nrows = 3",
            ", line 6, table b: unknown key 'rows'",
        ),
        (
            "# a comment\n[tables.a]\ntoy = 'make_moon'",
            ", line 3, table a: unknown toy 'make_moon', did",
        ),
        (
            "[tables.a]\n[tables.b]\ntoy = 'make_moons'",
            ", line 1, table a: say where the table comes",
        ),
        (
            "[tables.a]\nopenml = 61\ntoy = 'make_moons'",
            ", line 1, table a: say where the table comes",
        ),
        ("openml = [61]\ntasks = [59]", ", line 2: a suite has one or more"),
        ("openml = [61, 62,\n61]", r", line 1: listed more than once: \[61\]"),
        ("openml = 61", ", line 1: the ids are a list, got 61"),
        ("\nopenml = ['iris']", ", line 2: an id of OpenML is a whole number above 0, got 'iris'"),
        ("[tables.a]\nopenml = 0", ", line 2, table a: an id of OpenML is a whole number"),
        ("[tables.a]\nopenml = 61\ntarget = 'x'", ", line 3, table a: unknown key 'target'. Known: none"),
        (
            "openml = [61]\n[tables.openml-61]\nopenml = 62",
            ", line 2, table openml-61: the list `openml`",
        ),
        ("[tables.a]\nfile = 'none.csv'\ntarget = 'x'", ", line 2, table a: there is no file 'none.csv' in "),
        ("[tables.a]\nfile = 'mine.toml'", ", line 1, table a: `target = ...` is missing"),
        (
            "[tables.a]\nfile = 'mine.toml'\ntraget = 'x'",
            ", line 3, table a: .* did you mean 'target'",
        ),
    ],
)
def test_a_mistake_in_a_suite_is_named_with_its_line_before_any_work(text, message, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"suite .*mine\.toml" + message):
        read_suite(path)


# --- the rule of the GenLabel paper's 82 tables


def test_a_table_is_kept_if_gaussians_or_kernels_fit_its_training_rows():
    fits = runpy.run_path(str(ROOT / "benchmarks" / "genlabel_82.py"))["fits"]
    rng = np.random.default_rng(0)
    X, y = load_builtin("iris")
    assert fits(X, y)
    assert not fits(X, rng.permutation(y))
    corners = rng.choice([-3, 3], (200, 2))  # one class in two opposite corners: only kernels fit
    assert fits(corners + rng.normal(size=(200, 2)), corners.prod(axis=1))
