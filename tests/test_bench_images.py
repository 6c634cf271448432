"""`mixsk bench` on images: official test rows, shares and long tails, development rows, their methods."""

import json
import os
import re
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.dummy import DummyClassifier
from sklearn.naive_bayes import GaussianNB

pytest.importorskip("distributed")
pytest.importorskip("psutil")
pytest.importorskip("pyarrow")
pytest.importorskip("rich")

from mixsk.bench import IMAGE_METHODS, METHODS, TEXT_METHODS, Method, load_methods, read_results, read_suite
from mixsk.bench.cell import freeze_table, run_cells
from mixsk.bench.cli import main
from mixsk.bench.engine import close_keepers
from mixsk.bench.methods import pixels
from mixsk.bench.plan import Cell, planned
from mixsk.bench.store import Run, Table
from mixsk.datasets import load_images, long_tail, take_share, text_splits

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="every cell runs in a forked process"),
    pytest.mark.xdist_group("bench"),
]

SUITE = """
[tables.digits]
image = "mnist"
[tables.colours]
image = "cifar-10"
[tables.few]
image = "mnist"
share = 0.2
draws = 2
[tables.tail]
image = "mnist"
imbalance = 0.1
[tables.few-of-tail]
image = "mnist"
imbalance = 0.1
share = 0.5
draws = 2
"""
QUICK = """
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

def brightness(X):
    assert X.dtype == "uint8" and X.ndim > 2
    return X.reshape(len(X), -1).mean(1, keepdims=True)

METHODS = {"quick": make_pipeline(FunctionTransformer(brightness), GaussianNB())}
"""
SHAPES = {"mnist": (28, 28), "cifar10": (32, 32, 3)}
OF_NETWORK = {name for name in IMAGE_METHODS if name != "logreg-pixels"}


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
    """A folder with a few images of two sets, the brighter the larger the class, and a suite of them."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for name, shape in SHAPES.items():
        arrays = {}
        for part, n in {"train": 200, "test": 50}.items():
            codes = rng.permutation(np.arange(n) % 10)
            bright = 20 * codes.reshape(-1, *(1 for _ in shape))
            arrays[f"X_{part}"] = (bright + rng.integers(0, 70, (n, *shape))).astype(np.uint8)
            arrays[f"y_{part}"] = codes.astype(np.uint8)
        np.savez_compressed(folder / f"{name}.npz", **arrays)
    (folder / "tiny.toml").write_text(SUITE)
    (folder / "quick.py").write_text(QUICK)
    return folder


@pytest.fixture(scope="module")
def suite(home):
    return read_suite(home / "tiny.toml", data_home=home)


@pytest.fixture(scope="module")
def run(home, tmp_path_factory):
    """A run with the protocol that images have by default: its folder, status and what it told."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    return folder, *bench(home, f"--out={folder}", f"--methods={home / 'quick.py'}", "--jobs=2", "--seed=3")


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
        return load_images(name, data_home=home)


def by_hand(images):
    """Training rows of each table of MNIST, by table and draw."""
    train, y = images.subsets["train"], images.target
    tail = train[long_tail(y[train], 0.1, 0)]
    expected = {("digits", 0): train, ("tail", 0): tail}
    for draw in range(2):
        expected["few", draw] = train[take_share(y[train], 0.2, random_state=draw)]
        rng = np.random.RandomState(draw)
        tail = train[long_tail(y[train], 0.1, rng)]
        expected["few-of-tail", draw] = tail[take_share(y[tail], 0.5, random_state=rng)]
    return expected


# --- suites


def test_the_suite_of_images_has_mnist_and_cifar_shares_and_tails():
    suite = read_suite("images")
    assert suite.reads == "image"
    assert list(suite.tables) == list(suite.splits)
    assert {name.rpartition("-")[0] or name for name in suite.tables} == {
        *("mnist", "mnist-tail", "cifar-10", "cifar-10-tail", "cifar")
    }


def test_the_real_images_of_the_suite_are_split_as_it_says(shared_data):
    suite = read_suite("images", data_home=shared_data)
    labels = load_images("mnist", data_home=shared_data).target
    smallest_over_largest = {"mnist-tail-10": 0.1, "mnist-tail-100": 0.01}
    sizes = {"mnist": 60000, "mnist-1": 600, "mnist-5": 3000, "mnist-10": 6000}
    for name in [*sizes, *smallest_over_largest]:
        splits = suite.splits[name]()
        assert list(splits) == [(draw, 0) for draw in range(1 if name == "mnist" else 3)]
        assert len({tuple(train) for train, _ in splits.values()}) == len(splits)
        for train, test in splits.values():
            assert_array_equal(test, range(60000, 70000))
            assert train.max() < 60000
            counts = np.bincount(labels[train])
            if name in sizes:
                assert abs(len(train) - sizes[name]) <= 5  # each class is rounded
            else:
                assert counts[9] == int(6742 * smallest_over_largest[name])
                assert counts[1] == int(6742 * smallest_over_largest[name] ** (1 / 9))


def test_shares_and_tails_are_of_the_training_rows_and_tested_on_all_test_rows(suite, home):
    images = loaded("mnist", home)
    for name, splits in suite.splits.items():
        if name != "colours":
            with pytest.warns(UserWarning, match="The file is incomplete"):
                splits = splits()
            expected = {(draw, 0): rows for (table, draw), rows in by_hand(images).items() if table == name}
            assert splits.keys() == expected.keys()
            for key, (train, test) in splits.items():
                assert_array_equal(train, expected[key])
                assert_array_equal(test, images.subsets["test"])
    counts = np.bincount(images.target[by_hand(images)["tail", 0]])
    assert_array_equal(counts, [int(20 * 0.1 ** (code / 9) + 1e-9) for code in range(10)])


def test_texts_can_have_long_tails_too(tmp_path):
    codes = np.arange(40) % 2
    (tmp_path / "mr.all.tsv").write_text("".join(f"{code}\tword {n}\n" for n, code in enumerate(codes)))
    (tmp_path / "mine.toml").write_text('[tables.a]\ntext = "mr"\nfolds = 2\nimbalance = 0.2\n')
    with pytest.warns(UserWarning, match="The file is incomplete"):
        splits = read_suite(tmp_path / "mine.toml", data_home=tmp_path).splits["a"]()
    for fold, whole in enumerate(text_splits(codes, n_folds=2, dev_size=0)):
        train, test = splits[0, fold]
        assert_array_equal(test, whole.test)
        assert set(train) < set(whole.train)
        assert_array_equal(np.bincount(codes[train]), [10, 2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image = 'imagenet'", ", line 2, table a: unknown image 'imagenet'"),
        ("image = 'mnist'\nshare = 3", r", line 3, table a: share is above 0 and at most 1"),
        ("image = 'mnist'\nimbalance = 0", ", line 3, table a: imbalance is above 0 and at most 1"),
        (
            "image = 'mnist'\ndraws = 0.5",
            ", line 3, table a: `draws` is a whole number of 1 or more, got 0.5",
        ),
        ("image = 'mnist'\nfolds = 10", ", line 3, table a: unknown key 'folds'"),
        (
            "image = 'mnist'\ntext = 'mr'",
            ".*, table a: say where the table comes from, .*`image = ",
        ),
        (
            "image = 'mnist'\n[tables.b]\ntext = 'mr'",
            ", line 3, table b: a suite has texts or images, not",
        ),
        ("sklearn = 'iris'\n[tables.b]\nimage = 'mnist'", ", line 3, table b: a suite has tables or images"),
        ("image = 'mnist'\n[tables.b]\nsklearn = 'iris'", ", line 3, table b: a suite has tables or images"),
    ],
)
def test_a_mistake_in_a_suite_of_images_is_named_with_its_line(text, message, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(f"[tables.a]\n{text}\n")
    with pytest.raises(ValueError, match=r"suite .*mine\.toml" + message):
        read_suite(path)


# --- the command


def test_images_are_judged_on_their_official_rows(run, home):
    folder, status, _ = run
    assert status == 0
    results = read_results(folder).set_index(["table", "repeat", "fold"])
    assert set(results["protocol"]) == {"official"}
    images = {"mnist": loaded("mnist", home), "cifar-10": loaded("cifar-10", home)}
    expected = {key: (images["mnist"], rows) for key, rows in by_hand(images["mnist"]).items()}
    expected["colours", 0] = images["cifar-10"], images["cifar-10"].subsets["train"]
    assert set(results.index) == {(table, draw, 0) for table, draw in expected}
    for (table, draw), (data, train) in expected.items():
        test = data.subsets["test"]
        brightness = data.data.reshape(len(data.data), -1).mean(1, keepdims=True)
        clf = GaussianNB().fit(brightness[train], data.target[train])
        row = results.loc[table, draw, 0]
        assert row["accuracy"] == clf.score(brightness[test], data.target[test])
        assert (row["n_train"], row["n_test"]) == (len(train), len(test))
    assert results["accuracy"].min() > 0.5  # brightness tells the classes, so that this says something


def test_images_that_are_incomplete_are_told(run):
    assert re.search(r"digits: .*mnist\.npz: 200 rows, .* where MNIST, train, has 60000", run[2])
    assert "tiny: 5 tables x 1 methods, protocol official, 7 cells, 2 at a time\n" in run[2]


def test_a_second_run_finds_all_images_and_results(run, home):
    status, out = bench(home, f"--out={run[0]}", f"--methods={home / 'quick.py'}", "--seed=3")
    assert status == 0
    assert "7 cells are in " in out


def test_images_are_kept_as_they_are(run, home):
    for table, name in {"digits": "mnist", "colours": "cifar-10"}.items():
        kept, images = Run(run[0]).table(table), loaded(name, home)
        assert kept.X.dtype == np.uint8
        assert_array_equal(kept.X, images.data)
        assert_array_equal(np.array(kept.classes)[kept.y], np.array(images.target_names)[images.target])
    tables = json.loads((run[0] / "run.json").read_text())["tables"]
    assert [(info["rows"], info["columns"]) for info in tables.values()][:2] == [(250, 784), (250, 3072)]


def test_tables_of_other_images_have_other_fingerprints():
    X = np.random.default_rng(0).integers(0, 256, (4, 6, 4, 1), np.uint8)

    def fingerprint(X, classes=("a", "b")):
        return Table(X, np.array([0, 1, 1, 0]), list(classes)).fingerprint()

    other = X.copy()
    other[3, 5, 3] ^= 1
    kinds = [X, other, X[..., 0], X.reshape(4, 4, 6), X.view(np.int8), X[::-1]]
    assert len({*map(fingerprint, kinds), fingerprint(X, "ac")}) == len(kinds) + 1
    assert fingerprint(X) == fingerprint(X.copy(order="F"))


def test_other_protocols_split_all_rows_of_a_set(home, tmp_path):
    (tmp_path / "one.toml").write_text('[tables.digits]\nimage = "mnist"\n')
    options = [f"--suite={tmp_path / 'one.toml'}", f"--methods={home / 'quick.py'}", "--protocol=cv"]
    assert bench(home, f"--out={tmp_path / 'run'}", *options)[0] == 0
    assert read_results(tmp_path / "run")["n_test"].tolist() == [50] * 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--methods=mixup"], "method mixup is for tables, and suite tiny has images; use image-vanilla, im"),
        (["--methods=logreg-pixels,word-amp"], "method word-amp is for texts, and suite tiny has images"),
        (["--suite=builtin", "--methods=logreg-pixels"], "method logreg-pixels is for images, and suite bu"),
        (["--module=mlp"], "--module mlp reads tables, and suite tiny has images; use "),
        (["--module=textcnn"], "--module textcnn reads texts, and suite tiny has images; use "),
        (["--protocol=paper"], "protocol paper is that of the GenLabel paper's tables, and suite tiny has"),
    ],
)
def test_what_cannot_read_images_is_refused_before_any_work(options, message, home, tmp_path):
    methods = [] if "--methods" in options[-1] else ["--methods=logreg-pixels"]
    status, out = bench(home, f"--out={tmp_path / 'run'}", *methods, *options)
    assert status == 2
    assert message in out
    assert not (tmp_path / "run").exists()


def test_images_that_are_not_there_are_all_named_with_their_files(home, tmp_path):
    status, out = bench(home, f"--out={tmp_path / 'run'}", "--methods=logreg-pixels", f"--data={tmp_path}")
    assert status == 2
    assert "5 of 5 tables of tiny cannot be used:\n" in out
    assert "  colours: CIFAR-10, train: found neither cifar-10-batches-py/data_batch_1 to data_batch_5" in out
    assert str(tmp_path) in out


def test_the_report_of_a_run_on_images_says_how_they_were_split(run, tmp_path):
    for package in ["duckdb", "jinja2", "matplotlib", "scikit_posthocs"]:
        pytest.importorskip(package)
    with redirect_stdout(StringIO()):
        assert main(["bench", "report", str(run[0]), f"--out={tmp_path / 'report'}"]) == 0
    (page,) = (tmp_path / "report").glob("*.html")
    assert "the official splits" in page.read_text()


# --- methods


def test_all_are_the_methods_for_images():
    assert list(load_methods("all", "image")) == list(IMAGE_METHODS)
    assert {method.reads for method in IMAGE_METHODS.values()} == {"image"}
    for others in [METHODS, TEXT_METHODS]:
        assert others.keys().isdisjoint(IMAGE_METHODS)
    promised = """
        image-vanilla image-mixup cutmix image-manifold image-regmixup ic-mixup ic-regmixup ic-remix
        image-remix image-lamix lamix-puzzle puzzle image-amp image-genlabel-online image-adamixup
        logreg-pixels
    """
    assert set(IMAGE_METHODS) == set(promised.split())
    with pytest.raises(ValueError, match="unknown method 'cutmx', did you mean 'cutmix'"):
        load_methods("cutmx", "image")


def test_the_parameters_of_the_methods_are_those_of_the_papers():
    made = {name: method._bare() for name, method in IMAGE_METHODS.items() if name in OF_NETWORK}
    assert {clf.module for clf in made.values()} == {"lenet"}
    for name in ["image-regmixup", "ic-regmixup"]:
        assert (made[name].clean_weight, made[name]._alpha()) == (1, 20)
    assert {made[name].class_prior for name in ["ic-mixup", "ic-regmixup", "ic-remix"]} == {"uniform"}
    assert {made[name].label for name in ["ic-remix", "image-remix"]} == {"remix"}
    assert {made[name].mix for name in ["puzzle", "lamix-puzzle"]} == {"puzzle"}
    assert (made["cutmix"].mix, made["cutmix"].mix_prob) == ("cutmix", 0.5)
    assert (made["image-manifold"].mix_at, made["image-manifold"]._alpha()) == ("any", 2)
    online = made["image-genlabel-online"]
    assert (online.density_at, online.density_schedule, online.mix_at) == ("last", "online", "input")


def test_the_pixels_of_images_are_numbers_from_0_to_1():
    X = np.array([[[0, 51], [255, 102]]], np.uint8)
    assert_allclose(pixels(X), [[0, 0.2, 1, 0.4]])
    assert pixels(X).dtype == np.float32


def test_every_method_can_be_built_and_no_two_are_the_same():
    descriptions = [json.dumps(method.describe(max_epochs=2)) for method in IMAGE_METHODS.values()]
    assert len(set(descriptions)) == len(IMAGE_METHODS)
    for name in OF_NETWORK:
        IMAGE_METHODS[name].build(max_epochs=2, random_state=0)._check_params()
        assert IMAGE_METHODS[name].build(module="resnet18").module == "resnet18"


def test_every_method_learns_from_images(home, tmp_path):
    (tmp_path / "one.toml").write_text('[tables.tail]\nimage = "mnist"\nimbalance = 0.1\n')
    options = [f"--suite={tmp_path / 'one.toml'}", "--max-epochs=2", "--methods=all"]
    status, out = bench(home, f"--out={tmp_path / 'run'}", *options)
    results = read_results(tmp_path / "run")
    assert set(results["method"]) == set(IMAGE_METHODS)
    assert set(results["status"]) == {"ok"}
    assert status == 0, out


# --- development rows


class Told(DummyClassifier):
    """Keeps what it is given."""

    given = []

    def fit(self, X, y, X_val=None, y_val=None):
        self.given.append((X, y, X_val, y_val))
        return super().fit(X, y)


class NotTold(Told):
    """Takes no development rows."""

    def fit(self, X, y):
        return super().fit(X, y)


class SaysWhen(Told):
    """Stops when it thinks fit, and has no parameter that names a network."""

    early_stopping = "auto"


@pytest.fixture
def given(monkeypatch):
    """What has been given to `fit`."""
    for name, kind in {"told": Told, "not-told": NotTold, "says-when": SaysWhen}.items():
        monkeypatch.setitem(IMAGE_METHODS, name, Method(kind))
    monkeypatch.setattr(Told, "given", [])
    return Told.given


def fitted(home, folder, name, *, seeds=1, method="told"):
    """Run the cells of one table in this process; return its images."""
    run = Run(folder)
    info = freeze_table(str(folder), str(home / "tiny.toml"), name, {"data_home": str(home)})
    protocol = {"name": "official", "folds": 2, "repeats": 1, "seed": 0, "test_size": 0.3}
    run.begin(
        {
            "suite": {"name": "tiny"},
            "protocol": protocol,
            "seeds": seeds,
            "overrides": {},
            "methods": {method: {"source": method}},
            "tables": {name: info},
        }
    )
    cells = planned(run.settings())
    assert all(isinstance(cell, Cell) for cell in cells)
    report = run_cells(str(folder), name, method, [cell[2:] for cell in cells])
    assert set(report["statuses"]) == {"ok"}
    return run.table(name)


def test_a_tenth_of_the_training_rows_of_each_class_is_held_out_for_development(given, home, tmp_path):
    table = fitted(home, tmp_path, "digits", seeds=2)
    held = []
    for X, y, X_val, y_val in given:
        assert_array_equal(np.bincount(y_val), [2] * 10)
        assert_array_equal(np.bincount(y), [18] * 10)
        both = sorted(map(bytes, [*X, *X_val]))
        assert both == sorted(map(bytes, table.X[:200]))
        place = {bytes(image): code for image, code in zip(table.X, table.y, strict=True)}
        assert [place[bytes(image)] for image in X_val] == y_val.tolist()
        held.append(frozenset(map(bytes, X_val)))
    assert len(set(held)) == len(given) == 2  # other seeds hold out others


def test_a_method_of_ones_own_that_has_no_module_is_given_development_rows(given, home, tmp_path):
    fitted(home, tmp_path, "digits", method="says-when")
    assert [(len(y), len(y_val)) for _, y, _, y_val in given] == [(180, 20)]


def test_a_long_tail_leaves_every_class_a_row_to_train_on(given, home, tmp_path):
    fitted(home, tmp_path, "few-of-tail")
    for _, y, _, y_val in given:
        counts = np.bincount(y, minlength=10) + np.bincount(y_val, minlength=10)
        assert np.bincount(y).min() >= 1
        assert counts.min() < counts.max() / 5
    assert len(given) == 2


def test_a_method_that_takes_no_development_rows_is_fitted_to_all_training_rows(given, home, tmp_path):
    fitted(home, tmp_path, "digits", method="not-told")
    assert [len(y) for _, y, *_ in given] == [200]
