"""The notebooks of `experiments/notebooks`: they run without errors, and they show figures."""

from __future__ import annotations

import pathlib
import re
import sys

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).parents[1]
FOLDER = ROOT / "experiments" / "notebooks"
NAMES = ("compare_optimizers", "my_data", "my_optimizer")


def pictures(notebook: nbformat.NotebookNode) -> int:
    """Returns the number of pictures in the outputs of a notebook."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return sum(str(output.get("data", {}).get("text/html", "")).count("<img src=") for output in outputs)


def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def test_the_names_are_those_of_the_folder():
    assert tuple(sorted(path.stem for path in FOLDER.glob("*.ipynb"))) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_stored_outputs_belong_to_a_whole_execution(name: str):
    notebook = read(name)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert all(output.output_type != "error" for output in outputs)
    assert pictures(notebook) >= 2
    text = nbformat.writes(notebook)
    assert not re.search(r"/(home|root|tmp|work)/", text)  # paths of the machine that executed it
    assert len(text) < 300_000


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_a_notebook_runs(name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PATH", str(pathlib.Path(sys.executable).parent), prepend=":")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    for name_of_tests in ("XLA_FLAGS", "JAXOPT_BENCH_SIDE_BY_SIDE"):  # with them, training is slow
        monkeypatch.delenv(name_of_tests, raising=False)
    notebook = read(name)
    for cell in notebook.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs = []
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place).execute()
    assert pictures(notebook) >= 2
