"""What an installed mixsk promises before anything is fitted: metadata, files, and a light import."""

import json
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

IMPORT = """
import json, sys, time
import torch, skorch, sklearn
before, start = set(sys.modules), time.process_time()  # not the clock: other processes may have the core
import mixsk
seconds = time.process_time() - start
print(json.dumps({"seconds": seconds, "modules": sorted(set(sys.modules) - before)}))
"""


def import_in_a_fresh_process():
    run = subprocess.run([sys.executable, "-c", IMPORT], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def floors(requirements):
    """{name: version} of every "name>=version"; requirements on mixsk itself only join extras."""
    parsed = [Requirement(r) for r in requirements]
    return {r.name: str(r.specifier).removeprefix(">=") for r in parsed if r.name != "mixsk"}


def exact_versions(file):
    lines = (line.partition("#")[0].strip() for line in (ROOT / file).read_text().splitlines())
    return dict(line.split("==") for line in lines if line)


def test_import_adds_at_most_0_3_seconds_to_importing_torch_skorch_and_sklearn():
    seconds = []
    while len(seconds) < 3 and (not seconds or seconds[-1] > 0.3):
        seconds.append(import_in_a_fresh_process()["seconds"])
    assert min(seconds) <= 0.3, f"import mixsk took {seconds} s"


def test_import_loads_no_optional_package():
    optional = "dask matplotlib openml polars rich timm torchvision transformers".split()
    loaded = {name.partition(".")[0] for name in import_in_a_fresh_process()["modules"]}
    assert "mixsk" in loaded
    assert loaded.isdisjoint(optional)


def test_constraints_oldest_holds_exactly_the_floors_of_pyproject():
    extras = PROJECT["optional-dependencies"]
    declared = floors([*PROJECT["dependencies"], *extras["plots"], *extras["bench"], *extras["text"]])
    oldest = exact_versions("constraints-oldest.txt")
    # "2.13" and "2.13.0" are one version; == compares them as such.
    assert {name: Requirement(f"x=={oldest[name]}") for name in declared} == {
        name: Requirement(f"x=={version}") for name, version in declared.items()
    }


@pytest.mark.parametrize("file", ["constraints.txt", "constraints-oldest.txt"])
def test_constraints_allow_what_pyproject_declares(file):
    versions = exact_versions(file)
    declared = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]
    for requirement in map(Requirement, declared):
        if requirement.name != "mixsk":
            assert requirement.specifier.contains(versions[requirement.name]), requirement


def test_metadata_of_the_installed_package_is_that_of_pyproject():
    installed = metadata.metadata("mixsk")
    assert installed["License-Expression"] == "BSD-3-Clause"
    assert installed["Requires-Python"] == ">=3.11"
    assert set(installed.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])


def test_console_script_mixsk_is_a_function_of_the_package():
    (script,) = metadata.entry_points(group="console_scripts", name="mixsk")
    assert callable(script.load())


def test_version_is_that_of_the_installed_package():
    import mixsk

    assert mixsk.__version__ == metadata.version("mixsk")


def test_every_folder_with_code_is_a_package_so_that_the_wheel_has_it():
    folders = {file.parent for file in (ROOT / "mixsk").rglob("*.py")}
    assert ROOT / "mixsk" / "rules" in folders
    assert [str(f) for f in folders if not (f / "__init__.py").is_file()] == []


def test_package_is_marked_as_typed():
    assert (ROOT / "mixsk" / "py.typed").is_file()
