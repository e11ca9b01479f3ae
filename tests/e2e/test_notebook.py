"""The notebook of examples/ runs as it ships, and what it has kept is what it writes."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from docs.notebook import NOTEBOOK, run
from tests.harness.examples import with_image
from tests.harness.kubeconfigs import in_namespace


def results(notebook: nbformat.NotebookNode) -> list[str]:
    return [
        output.data["text/plain"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "execute_result"
    ]


@pytest.mark.full
@pytest.mark.usefixtures("controller")
def test_the_notebook_runs_to_its_end(
    kubeconfig: Path, namespace: str, dask_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", in_namespace(kubeconfig, namespace, tmp_path / "kubeconfig"))
    kept = nbformat.read(NOTEBOOK, as_version=4)
    notebook = nbformat.reads(with_image(NOTEBOOK.read_text(), dask_image), as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []

    run(notebook)

    assert results(notebook) == results(kept) == ["1.0", "1770"]
