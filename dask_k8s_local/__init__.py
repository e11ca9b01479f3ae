"""A small local Kubernetes that runs pods as processes, without root or containers.

Importing this package imports nothing else: pytest imports it in each run of every environment that has it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dask_k8s_local.addons import Addon as Addon
    from dask_k8s_local.cluster import LocalKubernetes as LocalKubernetes
    from dask_k8s_local.interfaces import ApiError as ApiError
    from dask_k8s_local.node import Node as Node
    from dask_k8s_local.node import NodeSettings as NodeSettings

_HOMES = {
    "Addon": "dask_k8s_local.addons",
    "ApiError": "dask_k8s_local.interfaces",
    "LocalKubernetes": "dask_k8s_local.cluster",
    "Node": "dask_k8s_local.node",
    "NodeSettings": "dask_k8s_local.node",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"the local Kubernetes needs {error.name}, which is not installed: "
            "pip install 'dask-k8s[controller,local]'"
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
