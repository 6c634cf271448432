"""Fixtures of all tests, and real tables where they are at hand."""

from pathlib import Path

import hypothesis
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
