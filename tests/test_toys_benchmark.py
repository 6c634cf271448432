"""benchmarks/toys.py: what it measures, what it prints, and that the committed results are whole."""

import importlib
import re
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
PAPER = ROOT.parent / "shared" / "reference" / "genlabel" / "table1_2_8_9.csv"


@pytest.fixture(scope="module")
def toys():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        return importlib.import_module("toys")


def test_a_run_fits_only_what_the_file_lacks(toys, tmp_path, capsys):
    path = tmp_path / "accuracy.csv"
    for seeds in (["0"], ["0", "1"]):
        before = path.read_text() if path.exists() else ""
        toys.main(["--sets", "cubes_2d", "--seeds", *seeds, "--out", str(tmp_path)])
        assert path.read_text().startswith(before)
    frame = pd.read_csv(path)
    assert list(zip(frame["method"], frame["seed"], strict=True)) == [
        (method, seed) for seed in (0, 1) for method in toys.METHODS
    ]
    assert frame["accuracy"].between(0.85, 1).all()
    capsys.readouterr()
    toys.main(["--report", "--out", str(tmp_path)])
    assert "| Two squares | 2 |" in capsys.readouterr().out


def test_the_report_gives_means_and_standard_errors_beside_the_papers_figures(toys):
    accuracy = [0.9, 1.0, 0.95]  # standard error of the first two: sqrt(0.005) / sqrt(2) = 0.05
    frame = pd.DataFrame({"set": "moons", "method": ["vanilla", "vanilla", "svm"], "seed": [0, 1, 0]})
    row = toys.report(frame.assign(accuracy=accuracy)).splitlines()[-1]
    assert row == "| Two moons | 2 | 95.0 ± 5.0 (98.7) |  |  |  | 95.0 |"


def test_the_papers_figures_are_those_of_its_table_1(toys):
    if not PAPER.exists():
        pytest.skip("needs the paper's tables beside the repository")
    paper = pd.read_csv(PAPER).query("table == 1")
    paper = paper.set_index(["dataset", "method"])["accuracy"]
    names = {"moons": "moon", "four_circles": "four_circle", "cubes_3d": "3d_cube"}
    for name, toy in toys.TOYS.items():
        assert toy.paper == (paper[names[name]].to_dict() if name in names else {})


def test_a_picture_has_a_panel_for_the_rows_the_labels_and_each_classifier(toys):
    figure = toys.picture("cubes_2d")
    assert [ax.get_title() for ax in figure.axes] == [
        *("training rows", "mixup's labels", "its intrusions (x)", "GenLabel's labels"),
        *("vanilla", "mixup", "GenLabel", "RBF SVM"),
    ]
    rows, labels = figure.axes[0].collections[0], figure.axes[1].collections[0]
    assert (len(rows.get_offsets()), len(labels.get_offsets())) == (40, 1000)


def test_the_committed_results_have_every_cell_once_and_the_readme_shows_them(toys):
    frame = pd.read_csv(toys.RESULTS / "accuracy.csv")
    assert sorted(frame[["set", "method", "seed"]].itertuples(index=False, name=None)) == sorted(
        (name, method, seed)
        for name, toy in toys.TOYS.items()
        for method in toys.METHODS
        for seed in range(toy.n_seeds)
    )
    assert toys.report(frame) in README


def test_every_toy_has_a_small_committed_picture_that_the_readme_shows(toys):
    pictures = {path.name: path.stat().st_size for path in toys.RESULTS.glob("*.png")}
    assert pictures.keys() == {f"{name}.png" for name in [*toys.TOYS, "example_3"]}
    assert max(pictures.values()) < 150_000
    assert set(re.findall(r"results/toys/(\w+\.png)", README)) == pictures.keys()
