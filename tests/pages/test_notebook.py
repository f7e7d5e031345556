"""The notebook of the first video."""

import ast
import os
import sys
from pathlib import Path

import pytest

from tests.pages.test_pages import write_videogen
from tests.support.pages import ROOT

NOTEBOOK = ROOT / "docs" / "tutorials" / "first_video.ipynb"


def notebook():
    nbformat = pytest.importorskip("nbformat")
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_is_stored_without_outputs():
    cells = [cell for cell in notebook().cells if cell.cell_type == "code"]
    assert len(cells) > 10
    for cell in cells:
        ast.parse(cell.source)
        assert not cell.outputs and cell.execution_count is None


@pytest.mark.slow  # minutes of compilation and sampling
def test_the_notebook_runs(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    write_videogen(tmp_path)
    path = f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    for name, value in (("PATH", path), ("PYTHONPATH", str(ROOT)), ("JAX_PLATFORMS", "cpu")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    ran = notebook()
    nbclient.NotebookClient(
        ran, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [output for cell in ran.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    data = [output.get("data", {}) for output in outputs]
    assert sum("<video " in "".join(one.get("text/html", "")) for one in data) >= 4
    assert sum("image/png" in one for one in data) >= 7
    text = "".join(output.get("text", "") for output in outputs)
    before, after = text.split("loss ")[-1].split(";")[0].split(" → ")
    assert float(after) < float(before)
