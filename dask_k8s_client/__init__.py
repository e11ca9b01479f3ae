"""Dask clusters on Kubernetes from Python: `KubeCluster`, and builders for what it creates."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dask_k8s_client import config as config  # registers our defaults with dask.config

if TYPE_CHECKING:
    from dask_k8s_client.cluster import KubeCluster as KubeCluster
    from dask_k8s_client.config import CreateMode as CreateMode
    from dask_k8s_client.discovery import discover as discover
    from dask_k8s_client.encryption import NoCertificate as NoCertificate
    from dask_k8s_client.errors import AlreadyExistsError as AlreadyExistsError
    from dask_k8s_client.errors import ApiError as ApiError
    from dask_k8s_client.errors import ClusterExistsError as ClusterExistsError
    from dask_k8s_client.errors import ClusterNotFoundError as ClusterNotFoundError
    from dask_k8s_client.errors import ConflictError as ConflictError
    from dask_k8s_client.errors import ControllerTimeoutError as ControllerTimeoutError
    from dask_k8s_client.errors import CredentialsError as CredentialsError
    from dask_k8s_client.errors import ForbiddenError as ForbiddenError
    from dask_k8s_client.errors import GoneError as GoneError
    from dask_k8s_client.errors import InvalidError as InvalidError
    from dask_k8s_client.errors import JupyterNotEnabledError as JupyterNotEnabledError
    from dask_k8s_client.errors import KubeClusterError as KubeClusterError
    from dask_k8s_client.errors import MissingCRDsError as MissingCRDsError
    from dask_k8s_client.errors import NotFoundError as NotFoundError
    from dask_k8s_client.errors import ResourceTimeoutError as ResourceTimeoutError
    from dask_k8s_client.errors import SchedulerStartupError as SchedulerStartupError
    from dask_k8s_client.errors import UnauthorizedError as UnauthorizedError
    from dask_k8s_client.errors import UnreachableError as UnreachableError
    from dask_k8s_client.errors import ValidationError as ValidationError
    from dask_k8s_client.errors import WorkerGroupNotFoundError as WorkerGroupNotFoundError
    from dask_k8s_client.kr8s_errors import TimedOutError as TimedOutError
    from dask_k8s_client.migration import MigrationError as MigrationError
    from dask_k8s_client.objects import DaskAutoscaler as DaskAutoscaler
    from dask_k8s_client.objects import DaskCluster as DaskCluster
    from dask_k8s_client.objects import DaskJob as DaskJob
    from dask_k8s_client.objects import DaskWorkerGroup as DaskWorkerGroup
    from dask_k8s_models import make_autoscaler_spec as make_autoscaler_spec
    from dask_k8s_models import make_cluster_spec as make_cluster_spec
    from dask_k8s_models import make_job_spec as make_job_spec
    from dask_k8s_models import make_scheduler_spec as make_scheduler_spec
    from dask_k8s_models import make_worker_spec as make_worker_spec

_KINDS = ("DaskAutoscaler", "DaskCluster", "DaskJob", "DaskWorkerGroup")
_ERRORS = (
    "AlreadyExistsError",
    "ApiError",
    "ClusterExistsError",
    "ClusterNotFoundError",
    "ConflictError",
    "ControllerTimeoutError",
    "CredentialsError",
    "ForbiddenError",
    "GoneError",
    "InvalidError",
    "JupyterNotEnabledError",
    "KubeClusterError",
    "MissingCRDsError",
    "NotFoundError",
    "ResourceTimeoutError",
    "SchedulerStartupError",
    "UnauthorizedError",
    "UnreachableError",
    "ValidationError",
    "WorkerGroupNotFoundError",
)

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
    **dict.fromkeys(_KINDS, "dask_k8s_client.objects"),
    **dict.fromkeys(_ERRORS, "dask_k8s_client.errors"),
    "NoCertificate": "dask_k8s_client.encryption",
    "TimedOutError": "dask_k8s_client.kr8s_errors",
    "MigrationError": "dask_k8s_client.migration",
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
