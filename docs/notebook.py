"""Run the notebook of examples/ on a local Kubernetes and keep its results: ``python docs/notebook.py``."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient

from dask_k8s_local import LocalKubernetes

NOTEBOOK = Path(__file__).parents[1] / "examples" / "quickstart.ipynb"


def run(notebook: nbformat.NotebookNode) -> None:
    """Execute all cells in a kernel of this environment; an error in one is raised.

    Parameters
    ----------
    notebook : NotebookNode
        Gets what its cells write as outputs, without times.
    """
    NotebookClient(notebook, timeout=300, kernel_name="python3", record_timing=False).execute()


def main() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with LocalKubernetes():
        run(notebook)
    keep(notebook)


def keep(notebook: nbformat.NotebookNode) -> None:
    """Write it without the version of whoever ran it, and without displays that are empty by now."""
    notebook.metadata.pop("language_info", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if one.get("data", {}).get("text/html") != ""]
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
