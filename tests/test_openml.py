"""OpenML tables through the cache: a right entry needs no network, a wrong one is never used.

A server in this process answers as OpenML does, with two tables of a few rows.
"""

import gzip
import hashlib
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mixsk.bench import read_suite
from mixsk.bench.cli import main
from mixsk.datasets import load_openml, load_openml_task
from mixsk.datasets.openml import fetch

openml = pytest.importorskip("openml")

FRUIT = """@relation fruit
@attribute 'row id' numeric
@attribute weight numeric
@attribute colour {red,'dark green',yellow}
@attribute note string
@attribute kind {apple,pear}
@attribute colour_of_peel numeric
@data
1,100.5,red,'a, b',apple,3
2,200,'dark green',c,pear,4
3,?,?,?,apple,3
4,300,red,'100%',pear,4
"""
UNCHECKED = "@relation u\n@attribute x real\n@attribute class {0,1}\n@data\n1.5,0\n2.5,1\n"


class Server(BaseHTTPRequestHandler):
    """Answers from `pages`, {path: text}, compressed as OpenML does."""

    pages, asked = {}, []

    def do_GET(self):
        path = self.path.partition("?")[0]
        self.asked.append(path)
        status, body = (200, self.pages[path]) if path in self.pages else (412, unknown(path))
        body = gzip.compress(body.encode())
        self.send_response(status)
        self.send_header("Content-Type", "text/xml; charset=utf-8")
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def unknown(path):
    code, what = (151, "Unknown task") if "/task/" in path else (111, "Unknown dataset")
    return xml("error", code=code, message=what)


def xml(root, **elements):
    lines = [f"<oml:{name}>{value}</oml:{name}>" for name, value in elements.items()]
    return xml_of(root, "".join(lines))


def xml_of(root, content):
    return f'<oml:{root} xmlns:oml="http://openml.org/openml">{content}</oml:{root}>'


def splits_of(n_rows, n_folds):
    lines = [
        f"{'TEST' if row % n_folds == fold else 'TRAIN'},{row},0,{fold}"
        for fold in range(n_folds)
        for row in range(n_rows)
    ]
    attributes = ["type {TRAIN,TEST}", "rowid numeric", "repeat numeric", "fold numeric"]
    return "\n".join(["@relation s", *(f"@attribute {a}" for a in attributes), "@data", *lines, ""])


def answers(url):
    """Return {path: text}: dataset 7 (fruit) with task 70, dataset 8 (without checksum)."""
    common = {"version": 2, "format": "ARFF", "licence": "Public", "visibility": "public", "status": "active"}
    task = f"""<oml:task xmlns:oml="http://openml.org/openml">
  <oml:task_id>70</oml:task_id><oml:task_type_id>1</oml:task_type_id>
  <oml:task_type>Supervised Classification</oml:task_type>
  <oml:input name="source_data"><oml:data_set>
    <oml:data_set_id>7</oml:data_set_id><oml:target_feature>colour_of_peel</oml:target_feature>
  </oml:data_set></oml:input>
  <oml:input name="estimation_procedure"><oml:estimation_procedure>
    <oml:id>1</oml:id><oml:type>crossvalidation</oml:type>
    <oml:data_splits_url>{url}/splits</oml:data_splits_url>
    <oml:parameter name="number_repeats">1</oml:parameter>
    <oml:parameter name="number_folds">2</oml:parameter>
    <oml:parameter name="percentage"></oml:parameter>
  </oml:estimation_procedure></oml:input>
  <oml:input name="cost_matrix"><oml:cost_matrix></oml:cost_matrix></oml:input>
</oml:task>"""
    features = [
        f"<oml:feature><oml:index>{i}</oml:index><oml:name>{name}</oml:name><oml:data_type>{kind}</oml:data_type>"
        f"{''.join(f'<oml:nominal_value>{v}</oml:nominal_value>' for v in values)}"
        "<oml:is_target>false</oml:is_target><oml:number_of_missing_values>0</oml:number_of_missing_values>"
        "</oml:feature>"
        for i, (name, kind, values) in enumerate(
            [
                ("row id", "numeric", []),
                ("weight", "numeric", []),
                ("colour", "nominal", ["red", "dark green", "yellow"]),
                ("note", "string", []),
                ("kind", "nominal", ["apple", "pear"]),
                ("colour_of_peel", "nominal", ["3", "4"]),
            ]
        )
    ]
    return {
        "/api/v1/xml/data/7": xml(
            "data_set_description",
            id=7,
            name="fruit",
            **common,
            url=f"{url}/fruit.arff",
            parquet_url=f"{url}/never/asked.pq",
            default_target_attribute="kind",
            row_id_attribute="row id",
            ignore_attribute="note",
            md5_checksum=hashlib.md5(FRUIT.encode()).hexdigest(),
        ),
        "/api/v1/xml/data/8": xml(
            "data_set_description",
            id=8,
            name="unchecked",
            **common,
            url=f"{url}/unchecked.arff",
            default_target_attribute="class",
        ),
        "/api/v1/xml/data/features/7": xml_of("data_features", "".join(features)),
        "/fruit.arff": FRUIT,
        "/unchecked.arff": UNCHECKED,
        "/api/v1/xml/task/70": task,
        "/splits": splits_of(4, 2),
    }


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A server that openml-python asks instead of www.openml.org, with a cache of its own."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    url = f"http://127.0.0.1:{http.server_port}"
    monkeypatch.setattr(Server, "pages", answers(url))
    monkeypatch.setattr(Server, "asked", [])
    monkeypatch.setattr(openml.config, "server", f"{url}/api/v1/xml")
    monkeypatch.setattr(openml.config, "connection_n_retries", 1)
    monkeypatch.setattr(openml.config, "_root_cache_directory", tmp_path / "openml-pythons")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Server
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def find(cache, pattern):
    (path,) = [path for path in cache.rglob(pattern) if path.is_file()]
    return path


def files(folder):
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


# --- a right entry


def test_a_table_has_the_types_of_the_file_and_no_row_ids(server, cache):
    X, y, info = load_openml(7, cache_dir=cache)
    expected = pd.DataFrame(
        {
            "weight": [100.5, 200, np.nan, 300],
            "colour": pd.Categorical(["red", "dark green", None, "red"], ["red", "dark green", "yellow"]),
            "colour_of_peel": [3.0, 4, 3, 4],
        }
    )
    pd.testing.assert_frame_equal(X, expected)
    assert list(y) == ["apple", "pear", "apple", "pear"]
    assert info == ("fruit", 7, 2, "kind", hashlib.md5(FRUIT.encode()).hexdigest())


def test_a_right_entry_needs_no_network_and_is_only_read(server, cache):
    first = load_openml(7, cache_dir=cache)
    assert server.asked
    before = files(cache)
    server.asked.clear()
    server.pages.clear()
    for offline in (False, True):
        again = load_openml(7, cache_dir=cache, offline=offline)
        pd.testing.assert_frame_equal(first[0], again[0])
    assert server.asked == []
    assert files(cache) == before


def test_the_cache_is_the_one_that_openml_python_reads(server, cache):
    load_openml(7, cache_dir=cache)
    assert not any(path.endswith(".pq") for path in server.asked)
    server.asked.clear()
    openml.config.set_root_cache_directory(cache)
    os.environ["OPENML_SKIP_PARQUET"] = "true"
    try:
        dataset = openml.datasets.get_dataset(7, download_data=True)
    finally:
        del os.environ["OPENML_SKIP_PARQUET"]
    X, _, _, _ = dataset.get_data(dataset_format="dataframe")
    assert X["weight"].iloc[0] == 100.5
    assert server.asked == []


def test_fetching_leaves_openml_python_as_it_was_and_nothing_beside_the_entry(server, cache, tmp_path):
    load_openml(7, cache_dir=cache)
    assert openml.config.get_config_as_dict()["cachedir"] == tmp_path / "openml-pythons"
    assert "OPENML_SKIP_PARQUET" not in os.environ
    assert sorted(path.name for path in files(cache)) == ["dataset.arff", "description.xml"]


def test_without_a_folder_the_cache_is_openml_pythons(server, tmp_path):
    load_openml(7)
    assert find(tmp_path / "openml-pythons", "dataset.arff").read_text() == FRUIT


def test_parity_takes_numeric_columns_and_standardises_them(server, cache):
    X, _, _ = load_openml(7, cache_dir=cache, parity=True)
    weight = np.array([100.5, 200, 300])
    assert list(X.columns) == ["weight", "colour_of_peel"]
    assert_allclose(X["weight"].dropna(), (weight - weight.mean()) / weight.std())
    assert_allclose(X["colour_of_peel"], [-1, 1, -1, 1])


# --- a wrong entry

DAMAGE = {
    "changed": ("dataset.arff", lambda content: content.replace(b"200", b"201")),
    "half written": ("dataset.arff", lambda content: content[: len(content) // 2]),
    "empty": ("dataset.arff", lambda content: b""),
    "half a description": ("description.xml", lambda content: content[: len(content) // 2]),
    "no data": ("dataset.arff", None),
    "no description": ("description.xml", None),
}


def damage(cache, name, change):
    path = find(cache, name)
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))
    return path


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_entry_is_fetched_again_and_offline_an_error_that_names_the_file(kind, server, cache):
    X, _, _ = load_openml(7, cache_dir=cache)
    path = damage(cache, *DAMAGE[kind])
    with pytest.raises(FileNotFoundError) as error:
        load_openml(7, cache_dir=cache, offline=True)
    assert str(path) in str(error.value)
    assert "mixsk bench fetch" in str(error.value)

    again, _, _ = load_openml(7, cache_dir=cache)
    pd.testing.assert_frame_equal(X, again)
    assert find(cache, "dataset.arff").read_text() == FRUIT
    assert not list(cache.glob(".fetch-*"))


def test_without_a_checksum_a_file_that_ends_within_a_row_is_fetched_again(server, cache):
    load_openml(8, cache_dir=cache)
    damage(cache, "dataset.arff", lambda content: content[:-3])
    with pytest.raises(FileNotFoundError, match=r"dataset\.arff is half written or damaged"):
        load_openml(8, cache_dir=cache, offline=True)
    assert len(load_openml(8, cache_dir=cache)[0]) == 2


def test_a_download_with_another_checksum_is_an_error_and_leaves_the_cache_as_it_was(server, cache):
    server.pages["/fruit.arff"] = FRUIT.replace("200", "201")
    with pytest.raises(ConnectionError, match=r"could not fetch dataset 7 .*Checksum"):
        load_openml(7, cache_dir=cache)
    assert files(cache) == {}


def test_a_damaged_entry_that_cannot_be_fetched_again_is_not_used(server, cache):
    load_openml(7, cache_dir=cache)
    path = damage(cache, *DAMAGE["changed"])
    server.pages.clear()
    with pytest.raises(ValueError, match="OpenML has no dataset 7"):
        load_openml(7, cache_dir=cache)
    assert b"201" in path.read_bytes()  # left for a look, not deleted


def test_an_unreachable_server_is_a_connection_error(server, cache, monkeypatch):
    monkeypatch.setattr(openml.config, "server", "http://127.0.0.1:9/api/v1/xml")
    with pytest.raises(ConnectionError, match=r"could not fetch dataset 7 from http://127\.0\.0\.1:9"):
        load_openml(7, cache_dir=cache)


# --- tasks


def test_a_task_has_its_own_target_and_the_official_splits(server, cache):
    X, y, info, splits = load_openml_task(70, cache_dir=cache)
    assert (info.target, list(y)) == ("colour_of_peel", ["3", "4", "3", "4"])
    assert list(X.columns) == ["weight", "colour", "kind"]
    assert list(splits) == [(0, 0), (0, 1)]
    assert_array_equal(splits[0, 0], [[1, 3], [0, 2]])
    assert_array_equal(splits[0, 1], [[0, 2], [1, 3]])
    assert not list(cache.rglob("*.pkl*"))

    server.asked.clear()
    load_openml_task(70, cache_dir=cache, offline=True)
    assert server.asked == []


@pytest.mark.parametrize("end", ["@data", "TRAIN,3,0,0", "TRAIN,0,0,1", ",0,1\n"])
def test_half_written_splits_are_fetched_again(end, server, cache):
    fetch([], [70], cache_dir=cache)
    path = find(cache, "datasplits.arff")
    whole = path.read_text()
    path.write_text(whole[: whole.rindex(end)])
    with pytest.raises(FileNotFoundError, match=r"datasplits\.arff is half written or damaged"):
        load_openml_task(70, cache_dir=cache, offline=True)
    assert fetch([], [70], cache_dir=cache).fetched == ["task 70"]
    assert path.read_text() == whole


def test_a_task_that_is_no_classification_is_an_error(server, cache):
    server.pages["/api/v1/xml/task/70"] = (
        server.pages["/api/v1/xml/task/70"]
        .replace("type_id>1<", "type_id>2<")
        .replace("Supervised Classification", "Supervised Regression")
    )
    with pytest.raises(ValueError, match="task 70 is 'Supervised Regression', not supervised classification"):
        load_openml_task(70, cache_dir=cache)


# --- bad input


@pytest.mark.parametrize("identifier", ["61", 61.5, 0, -3, True, None])
def test_an_id_is_a_whole_number(identifier, cache):
    with pytest.raises(ValueError, match="an id of OpenML is a whole number above 0, got"):
        load_openml(identifier, cache_dir=cache)


@pytest.mark.parametrize(("load", "what"), [(load_openml, "dataset"), (load_openml_task, "task")])
def test_an_id_that_openml_does_not_know_is_an_error(load, what, server, cache):
    with pytest.raises(ValueError, match=f"OpenML has no {what} 123; ids: https://www.openml.org/search"):
        load(123, cache_dir=cache)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<oml:default_target_attribute>class</oml:default_target_attribute>", "", "has no target in OpenML"),
        (">class<", ">klass<", r"no column 'klass' to predict, only \['x', 'class'\]"),
        (">ARFF<", ">Sparse_ARFF<", "has sparse rows"),
    ],
)
def test_a_table_that_cannot_be_learnt_is_an_error(old, new, message, server, cache):
    server.pages["/api/v1/xml/data/8"] = server.pages["/api/v1/xml/data/8"].replace(old, new)
    with pytest.raises(ValueError, match=rf"dataset 8 \(unchecked\).*{message}"):
        load_openml(8, cache_dir=cache)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2.5,1", "2.5,0", "all rows have the same class in 'class': '0'"),
        ("2.5,1", "2.5,?", "1 rows have no class in 'class'"),
        ("2.5,1", "2.5,1.5", "has fractions"),
    ],
)
def test_labels_are_checked(old, new, message, server, cache):
    server.pages["/unchecked.arff"] = UNCHECKED.replace("{0,1}", "real").replace(old, new)
    with pytest.raises(ValueError, match=message):
        load_openml(8, cache_dir=cache)


def test_classes_that_are_written_as_numbers_have_no_decimals(server, cache):
    server.pages["/unchecked.arff"] = UNCHECKED.replace("{0,1}", "real")
    assert list(load_openml(8, cache_dir=cache)[1]) == ["0", "1"]


def test_parity_needs_a_numeric_column(server, cache):
    server.pages["/unchecked.arff"] = UNCHECKED.replace("x real", "x {1.5,2.5}")
    with pytest.raises(ValueError, match="dataset 8 has no numeric column, and parity=True takes no others"):
        load_openml(8, cache_dir=cache, parity=True)


def test_without_openml_python_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "openml", None)
    with pytest.raises(ImportError, match=r"pip install 'mixsk\[openml\]'"):
        load_openml(61)


# --- filling the cache


def test_fetch_goes_on_after_a_failure_and_resumes(server, cache):
    lines = []
    summary = fetch([7, 123, 8, 7], [70], cache_dir=cache, report=lines.append)
    assert summary.fetched == ["dataset 7", "dataset 8", "task 70"]
    assert summary.present == []
    assert list(summary.failed) == ["dataset 123"]
    assert lines[0] == "1/4 dataset 7: fetched"
    assert lines[1].startswith("2/4 dataset 123: OpenML has no dataset 123")

    server.asked.clear()
    summary = fetch([7, 8], [70], cache_dir=cache)
    assert (summary.present, server.asked) == (["dataset 7", "dataset 8", "task 70"], [])


def test_a_process_that_is_killed_while_it_fetches_leaves_no_entry(server, cache):
    code = f"""
import os, signal, openml
from mixsk.datasets import load_openml
openml.config.server = {openml.config.server!r}
get = openml.datasets.get_dataset
def die(*args, **kwargs):
    get(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
openml.datasets.get_dataset = die
load_openml(7, cache_dir={str(cache)!r})
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert run.returncode == -9
    with pytest.raises(FileNotFoundError, match="is missing"):
        load_openml(7, cache_dir=cache, offline=True)
    assert len(load_openml(7, cache_dir=cache)[0]) == 4


def test_the_command_fetches_a_suite_and_a_run_needs_no_network_then(server, cache, tmp_path, capsys):
    suite = tmp_path / "mine.toml"
    suite.write_text("openml = [7]\n[tables.peel]\nopenml_task = 70\n[tables.iris]\nsklearn = 'iris'")
    assert main(["bench", "fetch", str(suite), "--cache", str(cache)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "1/2 dataset 7: fetched",
        "2/2 task 70: fetched",
        "2 fetched, 0 present, 0 failed",
    ]
    server.asked.clear()
    X, y = read_suite(suite, cache_dir=cache, offline=True, parity=True).tables["openml-7"]()
    assert (X.shape, list(y)) == ((4, 2), ["apple", "pear", "apple", "pear"])
    assert list(read_suite(suite, cache_dir=cache).splits["peel"]()) == [(0, 0), (0, 1)]
    assert server.asked == []


def test_the_command_exits_with_1_if_a_table_fails_and_2_if_there_is_none(server, cache, tmp_path, capsys):
    suite = tmp_path / "mine.toml"
    suite.write_text("openml = [7, 123]")
    assert main(["bench", "fetch", str(suite), "--cache", str(cache)]) == 1
    assert "1 fetched, 0 present, 1 failed" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "fetch", "builtin", "--cache", str(cache)])
    assert "suite builtin has no tables of OpenML: there is nothing to fetch" in capsys.readouterr().err


# --- real tables


@pytest.fixture(scope="module")
def real_cache(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("openml")
    script = shared_data / "make_openml_cache.py"
    ids = "18,31,38,53,61,62"
    subprocess.run([sys.executable, script, "--out", folder, "--ids", ids], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(
    ("dataset_id", "shape", "n_classes"),
    [(18, (2000, 6), 10), (31, (1000, 20), 2), (38, (3772, 29), 2), (53, (270, 13), 2), (62, (101, 16), 7)],
)
def test_real_tables_have_the_published_size_and_the_values_of_another_reader(
    dataset_id, shape, n_classes, real_cache, real_table
):
    X, y, info = load_openml(dataset_id, cache_dir=real_cache, offline=True)
    assert (X.shape, y.nunique(), info.id) == (shape, n_classes, dataset_id)
    expected, labels = real_table(dataset_id)
    assert_array_equal(y, labels)
    for name in X.columns:
        assert_array_equal(X[name].isna(), expected[name].isna())
        if X[name].dtype == "category":
            # The other reader makes booleans of "true" and "false".
            values, others = (table[name].dropna().astype(str).str.lower() for table in (X, expected))
            assert_array_equal(values, others)
        else:
            assert_array_equal(X[name], expected[name].astype(float))


def test_openmls_own_splits_of_iris(real_cache):
    X, y, info, splits = load_openml_task(59, cache_dir=real_cache, offline=True)
    assert (info.name, X.shape, len(splits)) == ("iris", (150, 4), 10)
    assert_array_equal(np.sort(np.concatenate([test for _, test in splits.values()])), np.arange(150))
    for train, test in splits.values():
        assert_array_equal(np.sort(np.r_[train, test]), np.arange(150))
        assert list(y.iloc[test].value_counts()) == [5, 5, 5]
