# mypy: disallow-untyped-calls=False
"""What Dask's kinds can do as kr8s objects, written once; `asyncio` and `objects` hand it on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

import kr8s.asyncio.objects
import kr8s.objects
from box import Box
from kr8s._objects import JSONPATH_CONDITION_EXPRESSION, APIObject

import dask_k8s_models as models
from dask_k8s_client import connections, pods, raw
from dask_k8s_client.api import Api
from dask_k8s_client.create import check, explained
from dask_k8s_client.errors import (
    ForbiddenError,
    InvalidError,
    NotFoundError,
    ResourceTimeoutError,
    with_remedy,
)
from dask_k8s_client.groups import is_whole
from dask_k8s_client.logs import cluster_logs, pod_log
from dask_k8s_client.resources import PODS, SERVICES, Resource
from dask_k8s_client.watch import Informer
from dask_k8s_models import labels, names

Json = dict[str, Any]
M = TypeVar("M", bound=models.Resource)


class DaskObject(APIObject, Generic[M]):
    """One of Dask's kinds; see `kr8s.asyncio.objects.APIObject` for what every kind has.

    Parameters
    ----------
    resource : dict, str or model
        A manifest, a name, or one of the models of `dask_k8s_models`.
    namespace : str, optional
        Instead of the manifest's, else the connection's.
    api : Api, optional
        The connection; the event loop's own, or the process's, if omitted.
    """

    version = models.API_VERSION
    namespaced = True
    _model: ClassVar[type[models.Resource]]

    def __init__(self, resource: Any, namespace: str | None = None, api: Any = None) -> None:
        if isinstance(resource, Mapping):
            resource = {**resource, "metadata": dict(resource.get("metadata") or {})}
        if api is None and not self._asyncio:
            api = connections.sync_api()
        super().__init__(resource, namespace=namespace, api=api)

    def __await__(self) -> Any:
        async def connected() -> Any:
            if self._api is None:
                self._api = await connections.api()
            return self

        return connected().__await__()

    @property
    def model(self) -> M:
        """The object as the models of `dask_k8s_models` describe it, with types.

        Raises
        ------
        ValidationError
            It isn't valid, with each field and what is wrong with it.
        """
        content = self.to_dict()
        check(content)
        return self._model.model_validate(content)  # type: ignore[return-value]

    @property
    def status(self) -> Box:
        """What the controller says; empty before it has said anything."""
        return self.raw.get("status") or Box({})

    @status.setter
    def status(self, value: Json) -> None:
        self.raw["status"] = value

    @classmethod
    async def async_get(
        cls,
        name: str | None = None,
        namespace: str | None = None,
        api: Any = None,
        label_selector: str | dict[str, str] | None = None,
        field_selector: str | dict[str, str] | None = None,
        timeout: int = 2,
        **kwargs: Any,
    ) -> Self:
        """Read one object: by its name with a single request, else by selectors as kr8s does.

        Raises
        ------
        NotFoundError
            There is none of that name.
        """
        api = api or await cls._connected()
        if name is None or label_selector or field_selector:
            found: Self = await super().async_get(
                name, namespace, api, label_selector, field_selector, timeout, **kwargs
            )
            return found
        try:
            return cls(await raw.get(api, cls._resource().path(namespace or api.namespace, name)), api=api)
        except ForbiddenError as error:
            raise with_remedy(error) from error

    @classmethod
    async def async_list(cls, api: Any = None, **kwargs: Any) -> AsyncGenerator[Any]:
        """Yield the objects of a namespace; ``namespace=kr8s.ALL`` those of all."""
        async for found in super().async_list(api=api or await cls._connected(), **kwargs):
            yield found

    async def async_create(self) -> None:
        """Create the object. It is checked before anything is sent, and unknown fields are refused.

        Raises
        ------
        ValidationError
            It isn't valid, with each field and what is wrong with it.
        AlreadyExistsError
            The name is taken.
        MissingCRDsError, ForbiddenError
            The API server's reasons, with the remedy.
        """
        body = self.to_dict()
        for key in ("resourceVersion", "uid", "managedFields"):
            body["metadata"].pop(key, None)
        check(body)
        try:
            self.raw = await raw.create(self._connection, self._resource().path(self.namespace), body)
        except (NotFoundError, ForbiddenError, InvalidError) as error:
            raise explained(error, str(self.namespace)) from error

    async def async_delete(
        self, propagation_policy: str | None = None, grace_period: int | None = None, force: bool = False
    ) -> None:
        """Delete the object: this one, and not another that has got its name meanwhile.

        Raises
        ------
        NotFoundError
            There is no such object.
        ConflictError
            It isn't this one any more.
        """
        options = {
            "propagationPolicy": propagation_policy,
            "gracePeriodSeconds": 0 if force else grace_period,
        }
        given = {key: value for key, value in options.items() if value is not None}
        try:
            await raw.delete(self._connection, self._path(), uid=self.metadata.get("uid"), **given)
        except ForbiddenError as error:
            raise with_remedy(error) from error

    async def async_exists(self, ensure: bool = False) -> bool:
        """Whether it is there; if it was read or created before, whether this very one is."""
        try:
            found = await raw.get(self._connection, self._path())
        except NotFoundError:
            if ensure:
                raise
            return False
        return self.metadata.get("uid") in (None, found["metadata"]["uid"])

    async def async_patch(
        self,
        patch: Json | list[Json],
        *,
        subresource: str | None = None,
        type: Any = None,  # noqa: A002
    ) -> None:
        """Change the object by a JSON merge patch, or by a JSON patch if it is a list."""
        try:
            answer = await raw.patch(self._connection, self._path(subresource or ""), patch)
        except ForbiddenError as error:
            raise with_remedy(error) from error
        if answer.get("kind") == self.kind:
            self.raw = answer
        else:  # Of ``scale`` the API server answers a Scale.
            await self.async_refresh()

    async def async_watch(self) -> AsyncGenerator[tuple[str, Self]]:
        """Yield each change of the object, for ever."""
        selector = {"fieldSelector": f"metadata.name={self.name}"}
        informer = Informer(self._connection, self._resource().path(self.namespace), params=selector)
        if self.metadata.get("resourceVersion"):
            informer.start_with(self.to_dict())
        async with aclosing(informer.changes()) as changes:
            async for event, found in changes:
                self.raw = found
                yield event, self

    async def async_wait(
        self,
        conditions: list[str] | str,
        mode: Literal["any", "all"] = "any",
        timeout: float | None = None,
    ) -> None:
        """Wait for conditions, as `kubectl wait --for` names them.

        Raises
        ------
        ResourceTimeoutError
            They didn't come about in time; the message says how the object is.
        NotFoundError
            There is no such object, or it was deleted meanwhile.
        """
        awaited = [conditions] if isinstance(conditions, str) else conditions
        try:
            async with asyncio.timeout(timeout):
                try:
                    await self.async_refresh()
                except NotFoundError:
                    if "delete" not in awaited:
                        raise
                    return
                if await self._test_conditions(awaited, mode):
                    return
                async for event, _ in self.async_watch():
                    if event == "DELETED" and "delete" not in awaited:
                        raise NotFoundError(f"The {self.kind} {self.name} was deleted meanwhile.", 404)
                    if event == "DELETED" or await self._test_conditions(awaited, mode):
                        return
        except TimeoutError as error:
            told = "; ".join(
                f"{one.get('type')}={one.get('status')} {one.get('reason', '')}: {one.get('message', '')}"
                for one in self.status.get("conditions") or []
            )
            raise ResourceTimeoutError(
                f"The {self.kind} {self.name} hasn't reached {', '.join(awaited)} "
                f"within {timeout:g} seconds. "
                f"Its conditions: {told or 'none; is the Dask Operator running?'}"
            ) from error

    async def _test_conditions(self, conditions: list[str], mode: Literal["any", "all"] = "any") -> bool:
        """Test as kr8s does.

        But a condition that speaks about an earlier spec doesn't hold, nor does what isn't there yet.
        """
        held = [await self._holds(condition) for condition in conditions]
        return all(held) if mode == "all" else any(held)

    async def _holds(self, condition: str) -> bool:
        is_behind = (self.status.get("observedGeneration") or 0) < (self.metadata.get("generation") or 0)
        if is_behind and condition.startswith("condition"):
            return False
        try:
            return bool(await super()._test_conditions([condition]))
        except ValueError:
            if re.search(JSONPATH_CONDITION_EXPRESSION, condition):
                return False  # no field of that path, or several
            raise

    @classmethod
    async def _connected(cls) -> Any:
        return await (connections.api() if cls._asyncio else connections.synchronous())

    @property
    def _connection(self) -> Api:
        connection: Api = self.api
        return connection

    @classmethod
    def _resource(cls) -> Resource:
        return Resource(cls.endpoint, f"/apis/{cls.version}")

    def _path(self, subresource: str = "") -> str:
        return self._resource().path(self.namespace, self.name, subresource)

    def _read_as(self, kind: Any, found: Json) -> Any:
        return kind(found, api=self.api)

    async def _pods(self, wanted: Mapping[str, str]) -> list[Json]:
        path = PODS.path(self.namespace)
        items = (await raw.get(self._connection, path, labelSelector=labels.selector(wanted)))["items"]
        return sorted(items, key=lambda pod: str(pod["metadata"]["name"]))

    @property
    def _pod_class(self) -> Any:
        return kr8s.asyncio.objects.Pod if self._asyncio else kr8s.objects.Pod


class Scalable(DaskObject[M]):
    """A kind with workers."""

    scalable = True
    scalable_spec = "worker.replicas"

    @property
    def replicas(self) -> int:
        """How many workers it asks for."""
        return int(self.spec.get("worker", {}).get("replicas", 1))

    @replicas.setter
    def replicas(self, value: int) -> None:
        raise NotImplementedError(f"Use scale({value}) to set the replicas of a {self.kind}.")

    async def async_scale(self, replicas: int | None = None) -> None:
        """Ask for so many workers, as `kubectl scale` does.

        Raises
        ------
        ValueError
            It isn't a whole number, 0 or more.
        """
        if not is_whole(replicas):
            raise ValueError(f"Cannot scale to {replicas!r} workers: it must be a whole number, 0 or more.")
        await self.async_patch({"spec": {"replicas": int(replicas or 0)}}, subresource="scale")


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
        found = pods.scheduler(await self._pods(labels.scheduler(self.name)))
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


def hand_on_docstrings(*classes: type) -> None:
    """Describe each public method as the private one that does its work."""
    for one in classes:
        for name, method in vars(one).items():
            inner = getattr(one, f"async_{name}", None)
            if inner is not None and not method.__doc__:
                method.__doc__ = inner.__doc__
