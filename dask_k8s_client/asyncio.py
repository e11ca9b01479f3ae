"""Dask's resources as kr8s objects, for use in an event loop.

>>> cluster = await DaskCluster(make_cluster_spec("foo", n_workers=2))  # doctest: +SKIP
>>> await cluster.create()  # doctest: +SKIP
>>> await cluster.wait("condition=Ready", timeout=300)  # doctest: +SKIP

`dask_k8s_client.objects` has their synchronous twins.
"""

from __future__ import annotations

from typing import Any

from dask_k8s_client import kinds
from dask_k8s_client.connections import api as api

__all__ = ["DaskAutoscaler", "DaskCluster", "DaskJob", "DaskWorkerGroup", "api"]


class DaskCluster(kinds.Cluster):
    __doc__ = kinds.Cluster.__doc__

    async def worker_groups(self) -> list[DaskWorkerGroup]:
        return await self.async_worker_groups()

    async def scheduler_pod(self) -> Any:
        return await self.async_scheduler_pod()

    async def scheduler_service(self) -> Any:
        return await self.async_scheduler_service()

    async def workers(self) -> list[Any]:
        return await self.async_workers()

    async def logs(self, **options: str) -> dict[str, str]:
        return await self.async_logs(**options)

    async def connect(self, **options: Any) -> Any:
        """Return a `KubeCluster` that is connected to the scheduler; closing it leaves the cluster.

        Parameters
        ----------
        **options
            Further arguments of `KubeCluster`.
        """
        from dask_k8s_client.cluster import KubeCluster

        return await KubeCluster.of(self, **options)


class DaskWorkerGroup(kinds.WorkerGroup):
    __doc__ = kinds.WorkerGroup.__doc__

    async def pods(self) -> list[Any]:
        return await self.async_pods()

    async def cluster(self) -> DaskCluster:
        found: DaskCluster = await self.async_cluster()
        return found


class DaskJob(kinds.Job):
    __doc__ = kinds.Job.__doc__

    async def wait_until_finished(self, timeout: float | None = None) -> str:
        return await self.async_wait_until_finished(timeout)

    async def pod(self) -> Any:
        return await self.async_pod()

    async def exit_code(self) -> int | None:
        return await self.async_exit_code()

    async def logs(self, **options: str) -> str:
        return await self.async_logs(**options)

    async def cluster(self) -> DaskCluster:
        found: DaskCluster = await self.async_cluster()
        return found


class DaskAutoscaler(kinds.Autoscaler):
    __doc__ = kinds.Autoscaler.__doc__

    async def group(self) -> DaskWorkerGroup:
        found: DaskWorkerGroup = await self.async_group()
        return found

    async def cluster(self) -> DaskCluster:
        found: DaskCluster = await self.async_cluster()
        return found


kinds.hand_on_docstrings(DaskCluster, DaskWorkerGroup, DaskJob, DaskAutoscaler)
DaskCluster._group_class = DaskAutoscaler._group_class = DaskWorkerGroup
DaskWorkerGroup._cluster_class = DaskJob._cluster_class = DaskAutoscaler._cluster_class = DaskCluster
