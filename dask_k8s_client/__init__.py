"""Dask clusters on Kubernetes from Python: `KubeCluster`, and builders for what it creates."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dask_k8s_client import config as config  # registers our defaults with dask.config

if TYPE_CHECKING:
    from dask_k8s_client.cluster import KubeCluster as KubeCluster
    from dask_k8s_client.config import CreateMode as CreateMode
    from dask_k8s_client.discovery import discover as discover
    from dask_k8s_models import make_autoscaler_spec as make_autoscaler_spec
    from dask_k8s_models import make_cluster_spec as make_cluster_spec
    from dask_k8s_models import make_job_spec as make_job_spec
    from dask_k8s_models import make_scheduler_spec as make_scheduler_spec
    from dask_k8s_models import make_worker_spec as make_worker_spec

# The `dask` command imports this package each time it runs, so all is fetched when it is first asked for.
_HOMES = {
    "KubeCluster": "dask_k8s_client.cluster",
    "CreateMode": "dask_k8s_client.config",
    "discover": "dask_k8s_client.discovery",
    "make_cluster_spec": "dask_k8s_models",
    "make_worker_spec": "dask_k8s_models",
    "make_scheduler_spec": "dask_k8s_models",
    "make_job_spec": "dask_k8s_models",
    "make_autoscaler_spec": "dask_k8s_models",
    "KubeClusterError": "dask_k8s_client.errors",
    "SchedulerStartupError": "dask_k8s_client.errors",
    "ValidationError": "dask_k8s_client.errors",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
