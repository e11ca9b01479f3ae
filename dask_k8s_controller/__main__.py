"""``python -m dask_k8s_controller``: runs the controller, with kopf's command-line flags."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import dask_k8s_controller

try:
    import dask_k8s_controller.operator
    from dask_k8s_controller.watching.command_line import run
except ModuleNotFoundError as error:
    sys.exit(f"error: the controller needs {error.name}: run pip install 'dask-k8s[controller]'")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the controller until it is told to stop, with flags of ``kopf run``: those of the command line."""
    dask_k8s_controller.register()
    run(arguments)


if __name__ == "__main__":
    main()
