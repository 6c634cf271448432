"""The notebooks run from top to bottom, each in a fresh kernel of this interpreter."""

import sys
from pathlib import Path

import jupytext
import pytest
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
from traitlets.config import Config

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))
SECONDS = 25  # alone on one core, the kernel's start and imports included; pytest --durations shows them


class ThisInterpreter(AsyncKernelManager):
    """A kernel of the running Python, whatever kernel specs are installed; over files, not ports."""

    transport = "ipc"

    @property
    def kernel_spec(self):
        spec = super().kernel_spec
        spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return spec


def run(path, folder):
    """Return the executed notebook; a cell that fails raises CellExecutionError with its traceback.

    The kernel's files lie in `folder`: by default, two kernels that start at the same time share some.
    """
    notebook = jupytext.read(path)
    client = NotebookClient(
        notebook,
        config=Config(ThisInterpreter={"ip": str(folder / "ipc")}),
        kernel_manager_class=ThisInterpreter,
        timeout=4 * SECONDS,  # of one cell: the machine may be busy
        resources={"metadata": {"path": str(ROOT)}},
    )
    return client.execute()


def outputs(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_shows_text_and_pictures_but_no_warnings(path, monkeypatch, tmp_path):
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")  # the tests' draws nothing
    found = outputs(run(path, tmp_path))
    text = [output for output in found if output.output_type == "stream"]
    assert any(output.name == "stdout" for output in text)
    assert not any("Warning" in output.text for output in text)
    assert any("image/png" in output.get("data", {}) for output in found)
