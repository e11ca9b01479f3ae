"""All kinds of ours."""

from __future__ import annotations

from dask_k8s_models.autoscaler import DaskAutoscaler
from dask_k8s_models.cluster import DaskCluster
from dask_k8s_models.job import DaskJob
from dask_k8s_models.resource import Resource
from dask_k8s_models.worker_group import DaskWorkerGroup

KINDS: dict[str, type[Resource]] = {
    "DaskCluster": DaskCluster,
    "DaskWorkerGroup": DaskWorkerGroup,
    "DaskJob": DaskJob,
    "DaskAutoscaler": DaskAutoscaler,
}
"""Our kinds by name, in the order in which people meet them."""
