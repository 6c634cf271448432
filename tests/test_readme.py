"""What the README names exists (its examples run as doctests, see pyproject.toml)."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


def test_every_command_of_the_readme_is_a_make_target_or_ours():
    makefile = (ROOT / "Makefile").read_text()
    commands = re.findall(r"^(make [a-z-]+|mixsk bench [a-z]+)", TEXT, flags=re.MULTILINE)
    assert {"make test", "make bench"} <= set(commands)
    for command in commands:
        if command.startswith("make"):
            assert f"\n{command.split()[1]}:" in makefile, command


def test_the_first_table_is_the_comparison_with_other_classifiers():
    first = next(line for line in TEXT.splitlines() if line.startswith("|"))
    assert first.startswith("| classifier | log loss |")


def test_every_heading_that_is_linked_exists():
    links = re.findall(r"\]\(([\w/.]+\.md)#([\w-]+)\)", TEXT)
    assert len(links) > 4
    for file, anchor in links:
        headings = re.findall(r"^#+ (.*)$", (ROOT / file).read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}, anchor


def test_every_class_of_the_table_of_methods_exists_or_is_planned():
    import mixsk

    methods = TEXT.split("## Methods")[1].split("## ")[0]
    rows = [line for line in methods.splitlines() if line.startswith("| ") and "Classifier" in line]
    assert len(rows) > 10
    for row in rows:
        for name in re.findall(r"`(\w+Classifier)", row):
            assert hasattr(mixsk, name) or "planned" in row, row


def test_settings_in_the_table_of_methods_are_accepted():
    import numpy as np

    import mixsk
    from mixsk.backbones import BACKBONES
    from mixsk.rules import GenLabel, PuzzleMix, Remix

    calls = re.findall(r"^\| [^|]+\| `(\w+Classifier\([^`]*\))` \|(.*)$", TEXT, flags=re.MULTILINE)
    rows, y = [[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1]
    images = np.arange(4 * 144, dtype=np.uint8).reshape(4, 12, 12)
    names = {name: getattr(mixsk, name) for name in mixsk.__all__}
    names |= {rule.__name__: rule for rule in (GenLabel, PuzzleMix, Remix)}
    ran = 0
    for call, rest in calls:
        if "planned" in rest:
            continue
        clf = eval(call, names)
        fast = {"max_epochs": 1, "n_cv": 1}  # four rows are too few for densities of folds
        clf.set_params(**{name: fast[name] for name in fast.keys() & clf.get_params()})
        of_images = BACKBONES[getattr(clf, "module", "table")].reads == "image"
        clf.fit(images if of_images else rows, y)
        ran += 1
    assert ran > 8
