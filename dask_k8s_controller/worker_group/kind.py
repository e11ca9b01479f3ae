"""The kind DaskWorkerGroup, put together."""

from __future__ import annotations

from dask_k8s_controller.kubernetes.resources import GROUPS
from dask_k8s_controller.plans.kind import Kind
from dask_k8s_controller.worker_group.observe import gather, keys
from dask_k8s_controller.worker_group.plan import plan
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_controller.worker_group.status import notices, status

WORKER_GROUP = Kind(GROUPS, WorkerGroup, gather, plan, status, keys, notices, plans_from_status=False)
