"""Worker groups and autoscalers of a cluster: create, delete, scale, adapt."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, SupportsInt

from dask_k8s_client import raw
from dask_k8s_client.conditions import why_not_ready
from dask_k8s_client.errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    ResourceTimeoutError,
    ValidationError,
    WorkerGroupNotFoundError,
    with_remedy,
)
from dask_k8s_client.resources import AUTOSCALERS, GROUPS
from dask_k8s_client.watch import Informer
from dask_k8s_models import API_VERSION, labels, make_autoscaler_spec, make_worker_group_spec, names, pods

if TYPE_CHECKING:
    from dask_k8s_client.api import Api

Json = dict[str, Any]


class Groups:
    """The worker groups of one cluster.

    Parameters
    ----------
    api : Api
        Connected to the API server; the caller closes it.
    namespace, cluster : str
        The cluster that the groups belong to, and where both are.
    resource : dict, optional
        The DaskCluster, which owns what is created here.
    """

    def __init__(self, api: Api, namespace: str, cluster: str, resource: Json | None = None) -> None:
        self._api = api
        self._namespace = namespace
        self._cluster = cluster
        self._resource = resource

    async def add(self, group: str | None, worker: Json) -> str:
        """Create a worker group.

        Parameters
        ----------
        group : str, optional
            What Python calls it; generated if omitted.
        worker : dict
            What ``make_worker_spec`` returns.

        Returns
        -------
        str
            What Python calls it.

        Raises
        ------
        ValidationError
            The name isn't valid, or taken.
        """
        group = group or f"group-{secrets.token_hex(3)}"
        name = names.worker_group(self._cluster, group)
        if problem := names.problem_with_name(name):
            raise ValidationError(f"The worker group name {name!r} is invalid: {problem}.")
        body = make_worker_group_spec(self._cluster, group, custom_spec=worker)
        body["metadata"] |= {"labels": labels.worker_group(self._cluster, name), **self._owned()}
        try:
            await raw.create(self._api, GROUPS.path(self._namespace), body)
        except AlreadyExistsError as error:
            found = await raw.get(self._api, GROUPS.path(self._namespace, name))
            raise ValidationError(
                f"The cluster {found['spec']['cluster']} already has a worker group "
                f"{(group if self._is_ours(found) else name)!r}; choose another name, or scale it."
            ) from error
        except ForbiddenError as error:
            raise with_remedy(error) from error
        return group

    async def delete(self, group: str, patience: float) -> None:
        """Retire a worker group's workers, then delete it and its autoscaler.

        A group that is deleted takes the results of its workers with it; one that is scaled to zero hands
        them on first.

        Parameters
        ----------
        group : str
            What Python calls it.
        patience : float
            Seconds without a worker less after which to give up.

        Raises
        ------
        WorkerGroupNotFoundError
            There is no such group.
        ResourceTimeoutError
            Its workers don't go; the group stays, and asks for none.
        """
        await self.scale(0, group)
        path = GROUPS.path(self._namespace, names.worker_group(self._cluster, group))
        try:
            found = await raw.get(self._api, path)
            await self._until_empty(found, patience)
            await raw.delete(self._api, path, uid=found["metadata"]["uid"])
        except (NotFoundError, ConflictError):
            return  # somebody else has deleted it meanwhile
        except ForbiddenError as error:
            raise with_remedy(error) from error

    async def _until_empty(self, found: Json, patience: float) -> None:
        name = found["metadata"]["name"]
        params = {"fieldSelector": f"metadata.name={name}"}
        informer = Informer(self._api, GROUPS.path(self._namespace), params=params)
        informer.start_with(found)
        left: int | None = None
        try:
            async with asyncio.timeout(patience) as limit, aclosing(informer.changes()) as changes:
                while not _is_empty(found):
                    replicas = (found.get("status") or {}).get("replicas")
                    if replicas is not None and (left is None or replicas < left):
                        left = replicas
                        limit.reschedule(asyncio.get_running_loop().time() + patience)
                    kind, found = await anext(changes)
                    if kind == "DELETED":
                        return
        except TimeoutError as error:
            reason = why_not_ready(found) or "is the Dask Operator running?"
            raise ResourceTimeoutError(
                f"The worker group {name} has been asked to go, and still has "
                f"{'its' if left is None else left} workers after {patience:g} seconds: {reason} "
                f"`kubectl delete daskworkergroup {name} -n {self._namespace}` deletes it with the results "
                "that its workers hold."
            ) from error

    async def scale(self, n: int, group: str) -> None:
        """End the group's autoscaling and set its number of workers.

        Raises
        ------
        WorkerGroupNotFoundError
            There is no such group.
        ValueError
            ``n`` is negative.
        """
        if not is_whole(n):
            raise ValueError(f"Cannot scale to {n!r} workers: it must be a whole number, 0 or more.")
        await self._require(group)
        name = names.worker_group(self._cluster, group)
        if await self.stop_adapting(group):
            await self._outdate_decisions(name)
        try:
            await raw.patch(
                self._api, GROUPS.path(self._namespace, name, "scale"), {"spec": {"replicas": int(n)}}
            )
        except NotFoundError as error:
            raise await self._unknown(group) from error
        except ForbiddenError as error:
            raise with_remedy(error) from error

    async def adapt(self, minimum: int, maximum: int | None, group: str) -> None:
        """Let an autoscaler choose the group's number of workers, or change the bounds of the one that does.

        Raises
        ------
        ValueError
            The minimum is negative or above the maximum.
        WorkerGroupNotFoundError
            There is no such group.
        """
        bounds_are_whole = is_whole(minimum) and (maximum is None or is_whole(maximum))
        if not bounds_are_whole or (maximum is not None and maximum < minimum):
            raise ValueError(
                f"Cannot adapt between {minimum} and {maximum} workers: it takes 0 <= minimum <= maximum."
            )
        bounds = {"minimum": minimum, "maximum": maximum}
        try:
            if await self._adapt_further(group, bounds):
                return
            await self._require(group)
            other = None if group == names.DEFAULT_GROUP else group
            body = make_autoscaler_spec(self._cluster, minimum, maximum, worker_group=other)
            body["metadata"] |= {"labels": labels.autoscaler(self._cluster), **self._owned()}
            await raw.create(self._api, AUTOSCALERS.path(self._namespace), body)
        except AlreadyExistsError as error:
            # Somebody was faster, if it isn't another cluster's of that name.
            if not await self._adapt_further(group, bounds):
                raise ValidationError(
                    f"{error}; it belongs to another cluster. Choose another name."
                ) from error
        except ForbiddenError as error:
            raise with_remedy(error) from error

    async def _adapt_further(self, group: str, bounds: Json) -> bool:
        """Change the bounds of the autoscaler that there is, if there is one."""
        existing = await self.autoscalers(group)
        if existing:
            # A patch takes null as "no such field".
            await raw.patch(self._api, AUTOSCALERS.path(self._namespace, existing[0]), {"spec": bounds})
        return bool(existing)

    async def stop_adapting(self, group: str) -> bool:
        """Delete the autoscalers of a group; return whether there were any."""
        found = await self.autoscalers(group)
        for name in found:
            try:
                await raw.delete(self._api, AUTOSCALERS.path(self._namespace, name))
            except NotFoundError:
                continue
        return bool(found)

    async def _outdate_decisions(self, name: str) -> None:
        """Have what an autoscaler decided before its end refused, which is for the version that it saw.

        Setting the number that a group has already makes no new version. Who may do no more than scale goes
        without.
        """
        annotations = {labels.ADAPTED_UNTIL: datetime.now(UTC).isoformat()}
        with suppress(NotFoundError, ForbiddenError):
            await raw.patch(
                self._api, GROUPS.path(self._namespace, name), {"metadata": {"annotations": annotations}}
            )

    async def autoscalers(self, group: str) -> list[str]:
        """Return the names of the autoscalers that act on a group, however they were made."""
        answer = await raw.get(self._api, AUTOSCALERS.path(self._namespace))
        full_name = names.worker_group(self._cluster, group)
        return [
            item["metadata"]["name"]
            for item in answer["items"]
            if item["spec"]["cluster"] == self._cluster
            and (item["spec"].get("workerGroup") or names.default_group(self._cluster)) in (group, full_name)
        ]

    def _owned(self) -> Json:
        """Let it go with its cluster, also if that goes before the operator has seen it."""
        if self._resource is None:
            return {}
        reference = {key: self._resource["metadata"][key] for key in ("name", "uid")}
        reference |= {"apiVersion": API_VERSION, "kind": "DaskCluster", "controller": True}
        return {"ownerReferences": [reference]}

    async def _require(self, group: str) -> None:
        """Refuse what doesn't exist, or is another cluster's: `a` with `b-c` is called as `a-b` with `c`."""
        path = GROUPS.path(self._namespace, names.worker_group(self._cluster, group))
        try:
            found = await raw.get(self._api, path)
        except NotFoundError as error:
            raise await self._unknown(group) from error
        if not self._is_ours(found):
            raise await self._unknown(group)

    def _is_ours(self, found: Json) -> bool:
        return bool(found["spec"]["cluster"] == self._cluster)

    async def _unknown(self, group: str) -> WorkerGroupNotFoundError:
        try:
            answer = await raw.get(self._api, GROUPS.path(self._namespace))
        except ApiError:
            return WorkerGroupNotFoundError(f"The cluster {self._cluster} has no worker group {group!r}.")
        prefix = f"{self._cluster}-"
        known = [
            item["metadata"]["name"].removeprefix(prefix)
            for item in answer["items"]
            if item["spec"]["cluster"] == self._cluster
        ]
        if not known:
            return WorkerGroupNotFoundError(
                f"There is no cluster {self._cluster} in the namespace {self._namespace}, "
                "or the operator hasn't made its worker groups yet."
            )
        return WorkerGroupNotFoundError(
            f"The cluster {self._cluster} has no worker group {group!r}; it has {', '.join(known)}."
        )


def _is_empty(group: Json) -> bool:
    """Whether the controller has seen that a group shall have no workers, and it has none."""
    status = group.get("status") or {}
    is_current = (status.get("observedGeneration") or 0) >= (group["metadata"].get("generation") or 0)
    return is_current and not status.get("replicas")


def is_whole(n: Any) -> bool:
    """Whether it is a number, 0 or more, without a fraction; also one of numpy's."""
    is_number = isinstance(n, SupportsInt) and not isinstance(n, bool)
    return is_number and bool(n >= 0 and n % 1 == 0)


def defaults(cluster: Json) -> Json:
    """Return what a further group takes from its cluster: image, resources, env and worker command.

    Parameters
    ----------
    cluster : dict
        The DaskCluster.

    Returns
    -------
    dict
        Arguments for ``make_worker_spec``; those that the cluster doesn't tell are missing.
    """
    worker = cluster["spec"]["worker"]
    annotations = (worker.get("metadata") or {}).get("annotations")
    container = pods.main_container(worker["spec"], labels.Component.WORKER, annotations)
    found = {key: container[key] for key in ("image", "resources", "env") if container.get(key)}
    command = [*(container.get("command") or []), *(container.get("args") or [])]
    if "--name" in command:
        # Builders append `--name $(DASK_WORKER_NAME) …` to the command that the user gave.
        found["worker_command"] = command[: command.index("--name")]
    return found


def runs_jupyter(cluster: Json) -> bool:
    """Whether a DaskCluster's scheduler also serves Jupyter."""
    scheduler = cluster["spec"]["scheduler"]
    return pods.runs_jupyter(scheduler["spec"], (scheduler.get("metadata") or {}).get("annotations"))
