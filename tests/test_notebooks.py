"""The notebooks run from top to bottom, on the CPU, and are kept without outputs."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_outputs_are_kept(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    assert all(not c.outputs and c.execution_count is None for c in cells if c.cell_type == "code")


# Jupyter's own code meets an old asyncio interface, its kernel an old one of the debugger.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fashion_mnist_t4_on_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EWA_NOTEBOOK_DATA", "digits")
    monkeypatch.setenv("EWA_NOTEBOOK_EPOCHS", "2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    package = str(FOLDER.parent / "python")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([package, os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(FOLDER / "fashion_mnist_t4.ipynb", as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    outputs = [output for c in notebook.cells if c.cell_type == "code" for output in c.outputs]
    text = "".join(o.get("text", "") for o in outputs)
    assert "element-wise layers on cpu: rust" in text
    assert "ewa reaches" in text
    assert "rust: " in text
    assert any("image/png" in o.get("data", {}) for o in outputs)
    assert (tmp_path / "runs" / "vgg_like" / "result.json").exists()
