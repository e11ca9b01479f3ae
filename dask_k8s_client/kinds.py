# mypy: disallow-untyped-calls=False
"""What Dask's kinds can do as kr8s objects, written once; `asyncio` and `objects` hand it on."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypeVar

import kr8s.asyncio.objects
import kr8s.objects

import dask_k8s_models as models
from dask_k8s_client import pods, raw
from dask_k8s_client.dask_object import DaskObject, Scalable
from dask_k8s_client.dask_object import hand_on_docstrings as hand_on_docstrings
from dask_k8s_client.errors import (
    NotFoundError,
)
from dask_k8s_client.logs import cluster_logs, pod_log
from dask_k8s_client.resources import PODS, SERVICES
from dask_k8s_models import labels, names

Json = dict[str, Any]
M = TypeVar("M", bound=models.Resource)


class Cluster(Scalable[models.DaskCluster]):
    """A Dask cluster."""

    kind = "DaskCluster"
    endpoint = plural = "daskclusters"
    singular = "daskcluster"
    _model = models.DaskCluster
    _group_class: ClassVar[type[DaskObject[Any]]]

    async def async_worker_groups(self) -> list[Any]:
        """Return the cluster's worker groups, also those that were made by hand."""
        path = self._group_class._resource().path(self.namespace)
        found = (await raw.get(self._connection, path))["items"]
        mine = [item for item in found if item["spec"]["cluster"] == self.name]
        return [self._read_as(self._group_class, item) for item in mine]

    async def async_scheduler_pod(self) -> Any:
        """Return the pod of the scheduler.

        Raises
        ------
        NotFoundError
            There is none at the moment.
        """
        existing = await self._pods(labels.scheduler(self.name))
        uid = str(self.raw["metadata"].get("uid"))
        found = pods.scheduler(pod for pod in existing if not pods.is_anothers(pod, uid))
        if found is None:
            raise NotFoundError(f"The cluster {self.name} has no scheduler pod at the moment.", 404)
        return self._read_as(self._pod_class, found)

    async def async_scheduler_service(self) -> Any:
        """Return the Service of the scheduler.

        Raises
        ------
        NotFoundError
            There is none at the moment.
        """
        path = SERVICES.path(self.namespace, names.scheduler(self.name))
        kind = kr8s.asyncio.objects.Service if self._asyncio else kr8s.objects.Service
        return self._read_as(kind, await raw.get(self._connection, path))

    async def async_workers(self) -> list[Any]:
        """Return the pods of all workers, but those that are on their way out."""
        wanted = {labels.CLUSTER_NAME: self.name, labels.COMPONENT: labels.Component.WORKER.value}
        found = [pod for pod in await self._pods(wanted) if not pods.is_terminating(pod)]
        return [self._read_as(self._pod_class, pod) for pod in found]

    async def async_logs(self, **options: str) -> dict[str, str]:
        """Return the logs of scheduler and workers by pod name; of a pod without one, why it has none.

        Parameters
        ----------
        **options : str
            Query parameters of the log request, e.g. ``tailLines="10"``.
        """
        return await cluster_logs(self._connection, str(self.namespace), self.name, **options)


class WorkerGroup(Scalable[models.DaskWorkerGroup]):
    """A group of a cluster's workers."""

    kind = "DaskWorkerGroup"
    endpoint = plural = "daskworkergroups"
    singular = "daskworkergroup"
    _model = models.DaskWorkerGroup
    _cluster_class: ClassVar[type[DaskObject[Any]]]

    async def async_pods(self) -> list[Any]:
        """Return the pods of the group's workers, but those that are on their way out."""
        wanted = {labels.WORKER_GROUP_NAME: self.name, labels.COMPONENT: labels.Component.WORKER.value}
        found = [pod for pod in await self._pods(wanted) if not pods.is_terminating(pod)]
        return [self._read_as(self._pod_class, pod) for pod in found]

    async def async_cluster(self) -> Any:
        """Return the cluster that the workers join."""
        return await self._cluster_class.async_get(self.spec.cluster, self.namespace, self.api)


class Job(DaskObject[models.DaskJob]):
    """A program that runs with a cluster of its own, or with one that is there."""

    kind = "DaskJob"
    endpoint = plural = "daskjobs"
    singular = "daskjob"
    _model = models.DaskJob
    _cluster_class: ClassVar[type[DaskObject[Any]]]

    @property
    def result(self) -> Literal["Successful", "Failed"] | None:
        """How it ended; None while it hasn't."""
        word = self.status.get("jobStatus")
        return word if word in (models.JobStatusWord.SUCCESSFUL, models.JobStatusWord.FAILED) else None

    async def async_wait_until_finished(self, timeout: float | None = None) -> str:
        """Wait until the job has ended.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most.

        Returns
        -------
        str
            ``Successful`` or ``Failed``.

        Raises
        ------
        ResourceTimeoutError
            It hasn't in time.
        """
        await self.async_wait(["condition=Complete", "condition=Failed"], timeout=timeout)
        return str(self.result)

    async def async_pod(self) -> Any:
        """Return the pod of the latest attempt.

        Raises
        ------
        NotFoundError
            There is none.
        """
        await self.async_refresh()
        name = self.status.get("jobRunnerPodName") or names.runner(self.name)
        return self._read_as(
            self._pod_class, await raw.get(self._connection, PODS.path(self.namespace, name))
        )

    async def async_exit_code(self) -> int | None:
        """Return the exit code of the latest attempt's program; None while it hasn't one."""
        pod = (await self.async_pod()).to_dict()
        for status in (pod.get("status") or {}).get("containerStatuses") or []:
            ended = (status.get("state") or {}).get("terminated")
            if ended and status["name"] == pods.main_container(pod):
                return int(ended["exitCode"])
        return None

    async def async_logs(self, **options: str) -> str:
        """Return what the latest attempt's program has written.

        Parameters
        ----------
        **options : str
            Query parameters of the log request, e.g. ``tailLines="10"``.
        """
        pod = await self.async_pod()
        return await pod_log(self._connection, str(self.namespace), pod.to_dict(), **options)

    async def async_cluster(self) -> Any:
        """Return the cluster that the job runs with."""
        name = self.status.get("clusterName") or self.spec.get("clusterRef", {}).get("name") or self.name
        return await self._cluster_class.async_get(name, self.namespace, self.api)


class Autoscaler(DaskObject[models.DaskAutoscaler]):
    """What chooses the number of a group's workers."""

    kind = "DaskAutoscaler"
    endpoint = plural = "daskautoscalers"
    singular = "daskautoscaler"
    _model = models.DaskAutoscaler
    _group_class: ClassVar[type[DaskObject[Any]]]
    _cluster_class: ClassVar[type[DaskObject[Any]]]

    async def async_group(self) -> Any:
        """Return the worker group that it scales."""
        cluster, named = self.spec.cluster, self.spec.get("workerGroup")
        name = named or names.default_group(cluster)
        try:
            return await self._group_class.async_get(name, self.namespace, self.api)
        except NotFoundError:
            # A group may be called as it is in Python, without its cluster's name.
            return await self._group_class.async_get(
                names.worker_group(cluster, name), self.namespace, self.api
            )

    async def async_cluster(self) -> Any:
        """Return the cluster whose demand it looks at."""
        return await self._cluster_class.async_get(self.spec.cluster, self.namespace, self.api)
