"""What the local Kubernetes installs and runs beside itself, so that Dask clusters work on it."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any


def addon() -> dict[str, Any]:
    """Describe Dask as an add-on.

    Returns
    -------
    dict
        ``name``; ``manifests``, the custom resource definitions; ``commands``, each the arguments of a
        process that runs as long as the local Kubernetes does, with ``KUBECONFIG`` in its environment.

    Raises
    ------
    ImportError
        If the controller can't run in this environment.
    """
    for module in ("kopf", "prometheus_client"):
        if importlib.util.find_spec(module) is None:
            raise ImportError(
                f"the controller needs {module}, which is not installed: "
                "pip install 'dask-k8s[controller,local]'"
            )
    from dask_k8s_models import custom_resource_definitions

    return {
        "name": "dask",
        "manifests": custom_resource_definitions(),
        "commands": [[sys.executable, "-m", "dask_k8s_controller", "--all-namespaces"]],
    }
