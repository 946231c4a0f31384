"""The notebook runs from top to bottom; here with a dataset and a training that are tiny."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "efficientps_d2_demo.ipynb"
LIMIT = 1_500_000  # bytes that a repository bears


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def outputs(notebook) -> list:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_it_runs(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("NOTEBOOK_PICTURES", "8")
    monkeypatch.setenv("NOTEBOOK_ITERATIONS", "3")
    shutil.copy(NOTEBOOK, tmp_path)
    client = NotebookClient(
        notebook,
        timeout=300,
        resources={"metadata": {"path": str(tmp_path)}},
        kernel_name="python3",
    )
    client.execute()
    found = outputs(notebook)
    images = [o for o in found if "image/jpeg" in o.get("data", {})]
    assert len(images) == 3
    text = "".join(o.get("text", "") for o in found if o.output_type == "stream")
    assert "iteration 3 of 3" in text and "report.html" in text
    assert "| All" in "".join(o["data"].get("text/markdown", "") for o in found if "data" in o)
    assert (tmp_path / "notebook_output" / "model" / "model.safetensors").is_file()


def test_its_outputs_are_committed_and_small(notebook):
    assert NOTEBOOK.stat().st_size < LIMIT
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    text = str(outputs(notebook))
    assert "iteration 300 of 300" in text and "Traceback" not in text
    for word in ("/root", "/home", "/work", "/tmp"):
        assert word not in text, "a path of somebody's machine"
