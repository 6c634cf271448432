"""Fixtures of all tests, and real tables where they are at hand."""

import gzip
import io
import re
from pathlib import Path

import hypothesis
import pandas as pd
import pytest

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"

# The same examples on every run, and no time limit for one of them: a busy machine must not fail a test.
hypothesis.settings.register_profile("mixsk", derandomize=True, deadline=None)
hypothesis.settings.load_profile("mixsk")


def pytest_report_header():
    if SHARED_DATA.is_dir():
        return f"real tables: {len(list(SHARED_DATA.glob('openml/*.arff.gz')))} found beside the repository"
    return "real tables: not found beside the repository, tests on built-in tables only"


@pytest.fixture(scope="session")
def shared_data():
    """Folder of real tables, ../shared/data as seen from the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the real tables of ../shared/data, which is not there")
    return SHARED_DATA


@pytest.fixture(scope="session")
def real_table(shared_data):
    """Load an OpenML table by its id: X with nominal columns as categories, y as strings."""
    targets = pd.read_csv(shared_data / "openml" / "index.csv").set_index("id")["target"]

    def load(did):
        table = read_arff(shared_data / "openml" / f"{did}.arff.gz")
        return table.drop(columns=targets[did]), table[targets[did]].astype(str)

    return load


def read_arff(path):
    """Attributes of a gzipped ARFF table as a data frame: numbers as floats, nominal ones as categories."""
    lines = gzip.decompress(path.read_bytes()).decode("utf-8", errors="replace").splitlines()
    lines = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("%")]
    start = next(i for i, line in enumerate(lines) if line.lower().startswith("@data"))
    pattern = r"@attribute\s+('(?:[^'\\]|\\.)*'|\"[^\"]*\"|\S+)\s*(.*)"
    attributes = [m.groups() for line in lines[:start] if (m := re.match(pattern, line, flags=re.IGNORECASE))]
    X = pd.read_csv(
        io.StringIO("\n".join(lines[start + 1 :])),
        header=None,
        names=[name.strip("'\"") for name, _ in attributes],
        na_values="?",
        keep_default_na=False,
        quotechar="'",
        skipinitialspace=True,
    )
    nominal = [name for name, (_, kind) in zip(X.columns, attributes, strict=True) if kind.startswith("{")]
    return X.astype(dict.fromkeys(nominal, "category"))
