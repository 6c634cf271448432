"""That the benchmarks of images can be run, and that their text shows what the files hold."""

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_runs import make_run

pytest.importorskip("pyarrow")

from mixsk.bench import load_methods, read_suite

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks" / "images"
RESULTS = ROOT / "benchmarks" / "results" / "images"
TABLES = ["mnist-01", "mnist-05", "mnist-10", "mnist-tail-10", "mnist-tail-100"]
NAMES = {
    "vanilla": "plain",
    "mixup": "mixup",
    "mixup-0.2": "mixup, alpha .2",
    "manifold": "manifold mixup",
    "cutmix": "CutMix",
    "regmixup": "RegMixup",
    "ic-mixup": "IC-Mixup",
    "ic-remix": "IC-Remix",
    "ic-regmixup": "IC-RegMixup",
    "lamix": "LaMix",
    "genlabel-online": "GenLabel, online",
}


def script(name):
    """A file of the folder as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def text():
    return (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")


def committed(name):
    """A file of results, which there is once its runs are done."""
    path = RESULTS / name
    if not path.exists():
        pytest.skip(f"no {name} yet")
    return pd.read_csv(path)


def shown(frame):
    """The tables of a file of results, in our order; runs of the long tails may be to come."""
    return [table for table in TABLES if table in frame.index.get_level_values("table")]


def images(n_rows, *shape):
    rng = np.random.default_rng(0)
    return rng.integers(256, size=(n_rows, *shape), dtype=np.uint8), np.arange(n_rows) % 10


@pytest.mark.parametrize(("suite", "tables"), [("few", TABLES[:3]), ("tails", TABLES[3:])])
def test_a_suite_draws_three_times_from_mnist(suite, tables):
    found = read_suite(str(FOLDER / f"{suite}.toml"))
    assert list(found.tables) == tables
    assert {found.splits[table].keywords["draws"] for table in tables} == {3}


def test_the_suite_for_a_gpu_is_of_images():
    assert read_suite(str(FOLDER / "cifar.toml")).reads == "image"


def test_methods_differ_by_nothing_but_the_method():
    made = load_methods(str(FOLDER / "few.py"), "image")
    assert list(made) == [f"lenet-{name}" for name in NAMES]
    shared = {"module": "lenet", "early_stopping": False}
    for method in made.values():
        clf = method.build(random_state=0)
        assert {name: getattr(clf, name) for name in shared} == shared
        for name in ("optimizer", "lr", "weight_decay", "schedule", "batch_size", "max_epochs", "encoder"):
            assert getattr(clf, name) == "auto"


def test_each_method_can_be_trained():
    X, y = images(20, 12, 12)
    for method in load_methods(str(FOLDER / "few.py"), "image").values():
        clf = method.build(random_state=0, max_epochs=1).fit(X, y)
        assert clf.predict_proba(X).shape == (20, 10)


def test_methods_for_a_gpu_crop_and_flip():
    made = load_methods(str(FOLDER / "cifar.py"), "image")
    assert list(made) == [f"resnet18-{name}" for name in ("vanilla", "mixup", "ic-regmixup", "lamix")]
    for method in made.values():
        augment = method.build(random_state=0).encoder.augment
        assert (augment.crop, augment.flip) == (4, True)


def test_all_others_are_compared_with_the_bases(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        errors = importlib.import_module("errors")
    run = make_run(tmp_path / "run", ["one"], ["a", "b", "c"], folds=3)
    rates = errors.read([str(run.folder)])
    pairs = errors.against(rates, ["a", "c"])
    assert sorted(pairs) == ["a:c", "b:a", "b:c", "c:a"]
    assert len(errors.differences(rates, pairs)) == 4


@pytest.mark.parametrize("name", ["hand", "plain", "PuzzleMix"])
def test_speed_times_an_epoch_of_each_kind(name):
    speed = script("speed")
    net = speed.Net("lenet", "mnist", (12, 12), 8, 2, speed.CROP_FLIP)
    here = (net, *speed.images(net, 16, None), "cpu", None)
    if name == "hand":
        seconds = speed.hand_written(*here), speed.hand_written(*here, mixes=True)
    else:
        seconds = speed.ours(name, *here), speed.whole_fit(*here)
    assert min(seconds) > 0


def test_every_method_of_the_small_subset_can_be_measured():
    mnist = script("mnist")
    X, y = images(20, 12, 12)
    for name in ("default", "IC-RegMixup"):
        found = mnist.measure(mnist.METHODS[name].set_params(max_epochs=1), (X, y), (X, y), seed=0)
        assert 0 <= found["accuracy"] <= 100
        assert found["cpu"] > 0
    for clf in mnist.METHODS.values():
        assert clf.module == "lenet"


def test_the_text_shows_the_error_rates(text):
    few = committed("few.csv").set_index(["method", "table"])
    for method, name in NAMES.items():
        rows = [few.loc[f"lenet-{method}", table] for table in shown(few)]
        cells = [f"{row.error:.2f} ± {row.deviation:.2f}" for row in rows]
        assert f"| {name} | {' | '.join(cells)} |" in text


@pytest.mark.parametrize("base", ["vanilla", "mixup"])
def test_the_text_shows_the_differences(text, base):
    pairs = committed("few-pairs.csv").set_index(["first", "second", "table"])
    for method, name in NAMES.items():
        if method != base:
            rows = [pairs.loc[f"lenet-{method}", f"lenet-{base}", table] for table in shown(pairs)]
            cells = [f"{row.gain:+.2f} ({row.low:+.2f} to {row.high:+.2f})" for row in rows]
            assert f"| {name} | {' | '.join(cells)} |" in text.replace("\N{MINUS SIGN}", "-")


def test_the_text_shows_the_speed(text):
    for row in committed("speed.csv").itertuples():
        cells = f"{row.first} / {row.second} | {row.ratio:.2f} ({row.low:.2f} to {row.high:.2f})"
        bar = " " if np.isnan(row.bar) else f" {row.bar} "
        assert f"| {row.device} | {row.net} | {cells} |{bar}|" in text


@pytest.mark.parametrize("name", ["mnist", "small"])
def test_the_text_shows_seconds_and_accuracy(text, name):
    for row in committed(f"{name}.csv").itertuples():
        assert f"| {row.method} | {row.accuracy:.2f} | {row.cpu:.1f} | {row.wall:.1f} |" in text
