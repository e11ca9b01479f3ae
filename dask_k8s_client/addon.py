"""What the local Kubernetes installs and runs beside itself, so that Dask clusters work on it."""

from __future__ import annotations

import sys
from typing import Any


def addon() -> dict[str, Any]:
    """Describe Dask as an add-on.

    Returns
    -------
    dict
        ``name``; ``manifests``, the custom resource definitions; ``commands``, each the arguments of a
        process that runs as long as the local Kubernetes does, with ``KUBECONFIG`` in its environment.
    """
    from dask_k8s_models import custom_resource_definitions

    return {
        "name": "dask",
        "manifests": custom_resource_definitions(),
        "commands": [[sys.executable, "-m", "dask_k8s_controller", "--all-namespaces"]],
    }
