"""The kind DaskCluster, put together."""

from __future__ import annotations

from dask_k8s_controller.cluster.observe import gather, is_held_back, keys
from dask_k8s_controller.cluster.plan import plan
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.cluster.status import first_status, notices, status
from dask_k8s_controller.kubernetes.resources import CLUSTERS
from dask_k8s_controller.plans.kind import Kind

CLUSTER = Kind(
    CLUSTERS,
    Cluster,
    gather,
    plan,
    status,
    keys,
    notices,
    first_status,
    plans_from_status=False,
    is_held_back=is_held_back,
)
