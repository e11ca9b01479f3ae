"""Dask's resources as kr8s objects, for use without an event loop, or beside one that runs, as in a notebook.

>>> cluster = DaskCluster(make_cluster_spec("foo", n_workers=2))  # doctest: +SKIP
>>> cluster.create()  # doctest: +SKIP
>>> cluster.wait("condition=Ready", timeout=300)  # doctest: +SKIP

`dask_k8s_client.asyncio` has their asynchronous twins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kr8s._async_utils import as_sync_func
from kr8s._objects import APIObjectSyncMixin

from dask_k8s_client import kinds
from dask_k8s_client.connections import sync_api as api

if TYPE_CHECKING:
    from dask_k8s_client.cluster import KubeCluster

__all__ = ["DaskAutoscaler", "DaskCluster", "DaskJob", "DaskWorkerGroup", "api"]


class DaskCluster(APIObjectSyncMixin, kinds.Cluster):
    __doc__ = kinds.Cluster.__doc__

    def worker_groups(self) -> list[DaskWorkerGroup]:
        return as_sync_func(self.async_worker_groups)()

    def scheduler_pod(self) -> Any:
        return as_sync_func(self.async_scheduler_pod)()

    def scheduler_service(self) -> Any:
        return as_sync_func(self.async_scheduler_service)()

    def workers(self) -> list[Any]:
        return as_sync_func(self.async_workers)()

    def logs(self, **options: str) -> dict[str, str]:
        return as_sync_func(self.async_logs)(**options)

    def connect(self, **options: Any) -> KubeCluster:
        """Return a `KubeCluster` that is connected to the scheduler; closing it leaves the cluster.

        Parameters
        ----------
        **options
            Further arguments of `KubeCluster`.
        """
        from dask_k8s_client.cluster import KubeCluster

        return KubeCluster.of(self, **options)


class DaskWorkerGroup(APIObjectSyncMixin, kinds.WorkerGroup):
    __doc__ = kinds.WorkerGroup.__doc__

    def pods(self) -> list[Any]:
        return as_sync_func(self.async_pods)()

    def cluster(self) -> DaskCluster:
        found: DaskCluster = as_sync_func(self.async_cluster)()
        return found


class DaskJob(APIObjectSyncMixin, kinds.Job):
    __doc__ = kinds.Job.__doc__

    def wait_until_finished(self, timeout: float | None = None) -> str:
        return as_sync_func(self.async_wait_until_finished)(timeout)

    def pod(self) -> Any:
        return as_sync_func(self.async_pod)()

    def exit_code(self) -> int | None:
        return as_sync_func(self.async_exit_code)()

    def logs(self, **options: str) -> str:
        return as_sync_func(self.async_logs)(**options)

    def cluster(self) -> DaskCluster:
        found: DaskCluster = as_sync_func(self.async_cluster)()
        return found


class DaskAutoscaler(APIObjectSyncMixin, kinds.Autoscaler):
    __doc__ = kinds.Autoscaler.__doc__

    def group(self) -> DaskWorkerGroup:
        found: DaskWorkerGroup = as_sync_func(self.async_group)()
        return found

    def cluster(self) -> DaskCluster:
        found: DaskCluster = as_sync_func(self.async_cluster)()
        return found


kinds.hand_on_docstrings(DaskCluster, DaskWorkerGroup, DaskJob, DaskAutoscaler)
DaskCluster._group_class = DaskAutoscaler._group_class = DaskWorkerGroup
DaskWorkerGroup._cluster_class = DaskJob._cluster_class = DaskAutoscaler._cluster_class = DaskCluster
