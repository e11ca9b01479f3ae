"""Taking over live clusters that another operator runs as Deployments: their pods go on as they are.

dask-kubernetes runs a scheduler and each worker as a Deployment of one pod. Its pods are what ours would be,
but for their owners: so Deployments and ReplicaSets are orphaned, and the pods get the DaskCluster or
DaskWorkerGroup as owner.
https://kubernetes.io/docs/tasks/administer-cluster/use-cascading-deletion/#set-orphan-deletion-policy
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from dask_k8s_client import pods, raw
from dask_k8s_client.errors import ForbiddenError, KubeClusterError, NotFoundError
from dask_k8s_client.resources import AUTOSCALERS, CLUSTERS, GROUPS, JOBS, PODS, Resource
from dask_k8s_models import labels
from dask_k8s_models.cluster import ClusterSpec
from dask_k8s_models.hashes import template_hash
from dask_k8s_models.markers import without_nulls
from dask_k8s_models.resource import API_VERSION
from dask_k8s_models.worker_group import WorkerGroupSpec

if TYPE_CHECKING:
    from dask_k8s_client.api import Api

Json = dict[str, Any]

DEPLOYMENTS = Resource("deployments", "/apis/apps/v1")
REPLICA_SETS = Resource("replicasets", "/apis/apps/v1")
KINDS = {"DaskCluster": CLUSTERS, "DaskWorkerGroup": GROUPS, "DaskJob": JOBS, "DaskAutoscaler": AUTOSCALERS}

KOPF = "kopf.zalando.org/"
"""What begins the names of the finalizers and annotations that the other operator leaves."""

OURS = "app.kubernetes.io/component"
"""The label that our operator's Deployment has, however it is installed, and the other's has not."""

OPEN_ROUTES = """
from distributed.http.utils import get_handlers
from distributed.scheduler import Scheduler

for scheduler in list(Scheduler._instances):
    routes = get_handlers(scheduler, ["distributed.http.scheduler.api"], prefix="/")
    scheduler.http_application.add_handlers(".*$", routes)
"""
"""What makes a scheduler serve distributed's own routes by which workers are retired, without a restart.

https://distributed.dask.org/en/stable/http_services.html
"""

ORPHAN_LIMIT = 60.0
"""Seconds within which Kubernetes' garbage collector takes owners off."""


class MigrationError(KubeClusterError):
    """A cluster can't be taken over as things stand; nothing was changed."""


@dataclass(frozen=True)
class Step:
    """One change, told before it is made.

    Parameters
    ----------
    verb : str
        What is done.
    what : str
        To which object.
    """

    verb: str
    what: str

    def __str__(self) -> str:
        return f"{self.verb} {self.what}"


async def clusters_of_others(api: Api, namespace: str | None) -> list[tuple[str, str]]:
    """Return the namespace and name of each cluster that has Deployments, or pods that nobody owns.

    Parameters
    ----------
    api : Api
        The API server's client.
    namespace : str, optional
        Where to look; in all namespaces by default.
    """
    selector = f"{labels.CLUSTER_NAME},{labels.COMPONENT} in (scheduler,worker)"
    found = (await raw.get(api, DEPLOYMENTS.path(namespace), labelSelector=selector))["items"]
    pods_there = (await raw.get(api, PODS.path(namespace), labelSelector=selector))["items"]
    orphans = [pod for pod in pods_there if _controller(pod) is None]
    places = (item["metadata"] for item in (*found, *orphans))
    return sorted({(place["namespace"], place["labels"][labels.CLUSTER_NAME]) for place in places})


class Migration:
    """Hands the clusters of a namespace over.

    Parameters
    ----------
    api : Api
        The API server's client.
    namespace : str
        Where the clusters are.
    dry_run : bool
        Tell the steps and change nothing.
    **connection
        ``kubeconfig`` and ``context``, as KubeCluster takes them.
    """

    def __init__(self, api: Api, namespace: str, *, dry_run: bool = False, **connection: str | None) -> None:
        self._api = api
        self._namespace = namespace
        self._connection = connection
        self._dry_run = dry_run

    async def check(self) -> None:
        """See that our definitions are installed, and that the other operator is stopped.

        Raises
        ------
        MigrationError
            With the command that helps.
        """
        served = await raw.get(self._api, "/apis/kubernetes.dask.org/v1")
        if "daskclusters/status" not in {resource["name"] for resource in served["resources"]}:
            raise MigrationError(
                "the custom resource definitions are still the other operator's: replace them first, by "
                "`dask kubernetes crds | kubectl apply --server-side --force-conflicts -f -`"
            )
        try:
            found = await raw.get(
                self._api, DEPLOYMENTS.path(), labelSelector="app.kubernetes.io/name=dask-kubernetes-operator"
            )
        except ForbiddenError:
            return  # Whoever sees one namespace only has to know it.
        for deployment in found["items"]:
            metadata = deployment["metadata"]
            if OURS not in metadata["labels"] and deployment["spec"].get("replicas"):
                where = f"-n {metadata['namespace']} deployment {metadata['name']}"
                raise MigrationError(
                    f"the other operator still runs, and would make new pods: stop it first, by "
                    f"`kubectl scale --replicas=0 {where}`"
                )

    async def take_over(self, cluster: str) -> AsyncIterator[Step]:
        """Take a cluster over; may be repeated, and goes on where it was interrupted.

        Yields
        ------
        Step
            Each change, before it is made.

        Raises
        ------
        MigrationError
            If the cluster's manifests would be refused by our definitions.
        """
        owners = await self._owners(cluster)
        yield Step("open", f"the HTTP routes of the scheduler of {cluster}")
        if not self._dry_run:
            await self._open_routes(cluster)
        selector = f"{labels.CLUSTER_NAME}={cluster},{labels.COMPONENT} in (scheduler,worker)"
        for resource in (DEPLOYMENTS, REPLICA_SETS):
            for item in await self._list(resource, selector):
                yield (step := Step("orphan", f"{_kind(item, resource)} {item['metadata']['name']}"))
                await self._orphan(step, resource, item)
        for pod in await self._orphans(selector):
            owner = owners.get(_owner_name(pod, cluster))
            if owner is not None:
                name = pod["metadata"]["name"]
                yield Step("adopt", f"Pod {name} for the {owner.kind} {owner.name}")
                if not self._dry_run:
                    await raw.patch(self._api, PODS.path(self._namespace, name), owner.adoption(pod))
        async for step in self._clean(cluster):
            yield step

    async def _owners(self, cluster: str) -> dict[str, _Owner]:
        """Return who is to own the pods: the cluster its scheduler, each group its workers."""
        try:
            found = await raw.get(self._api, CLUSTERS.path(self._namespace, cluster))
        except NotFoundError as error:
            raise MigrationError(f"there is no DaskCluster {cluster} in {self._namespace}") from error
        owners = {"": _Owner.of("DaskCluster", found)}
        for group in (await raw.get(self._api, GROUPS.path(self._namespace)))["items"]:
            if group["spec"].get("cluster") == cluster:
                owners[group["metadata"]["name"]] = _Owner.of("DaskWorkerGroup", group)
        return owners

    async def _open_routes(self, cluster: str) -> None:
        from distributed import Client

        from dask_k8s_client.cluster import KubeCluster

        options = {"namespace": self._namespace, "quiet": True, "asynchronous": True, **self._connection}
        async with (
            await KubeCluster.from_name(cluster, **options) as found,
            Client(found, asynchronous=True, set_as_default=False) as client,  # type: ignore[no-untyped-call]
        ):
            # By reference and as text: whatever releases of Python and Dask the two sides have.
            await client.run_on_scheduler(exec, OPEN_ROUTES)

    async def _orphan(self, step: Step, resource: Resource, item: Json) -> None:
        if self._dry_run:
            return
        metadata = item["metadata"]
        path = resource.path(self._namespace, metadata["name"])
        await raw.delete(self._api, path, uid=metadata["uid"], propagationPolicy="Orphan")
        async with asyncio.timeout(ORPHAN_LIMIT):
            while await self._is_there(path, metadata["uid"]):  # noqa: ASYNC110 - asks the API server
                await asyncio.sleep(0.2)

    async def _is_there(self, path: str, uid: str) -> bool:
        try:
            return bool((await raw.get(self._api, path))["metadata"]["uid"] == uid)
        except NotFoundError:
            return False

    async def _orphans(self, selector: str) -> list[Json]:
        """Return the pods that nobody controls, or that nobody would if this were no dry run."""
        found = await self._list(PODS, selector)
        return [
            pod
            for pod in found
            if pods.is_live(pod)
            and ((owner := _controller(pod)) is None or (self._dry_run and owner["kind"] == "ReplicaSet"))
        ]

    async def _clean(self, cluster: str) -> AsyncIterator[Step]:
        """Take off what would keep the objects from being deleted without the other operator."""
        for kind, resource in KINDS.items():
            for item in (await raw.get(self._api, resource.path(self._namespace)))["items"]:
                metadata = item["metadata"]
                belongs = metadata["name"] == cluster or item["spec"].get("cluster") == cluster
                finalizers = metadata.get("finalizers") or []
                kept = [one for one in finalizers if not one.startswith(KOPF)]
                stale = [key for key in metadata.get("annotations") or {} if key.startswith(KOPF)]
                if not belongs or (kept == finalizers and not stale):
                    continue
                yield Step("clean", f"{kind} {metadata['name']}")
                if not self._dry_run:
                    changes = {
                        "resourceVersion": metadata["resourceVersion"],
                        "finalizers": kept,
                        "annotations": dict.fromkeys(stale),
                    }
                    path = resource.path(self._namespace, metadata["name"])
                    await raw.patch(self._api, path, {"metadata": changes})

    async def _list(self, resource: Resource, selector: str) -> list[Json]:
        found = await raw.get(self._api, resource.path(self._namespace), labelSelector=selector)
        items: list[Json] = found["items"]
        return items


@dataclass(frozen=True)
class _Owner:
    """Who owns a pod from now on, and the hash that says that the pod is made from its spec as it stands."""

    kind: str
    name: str
    uid: str
    hash: str

    @classmethod
    def of(cls, kind: str, body: Json) -> _Owner:
        metadata, spec = body["metadata"], without_nulls(body["spec"])
        try:
            if kind == "DaskCluster":
                pod_spec = ClusterSpec.model_validate(spec).scheduler.spec
            else:
                pod_spec = WorkerGroupSpec.model_validate(spec).worker.spec
        except ValidationError as error:
            problems = "; ".join(_problems(error))
            raise MigrationError(
                f"the {kind} {metadata['name']} isn't valid any more, mend it first: {problems}"
            ) from error
        return cls(kind, metadata["name"], metadata["uid"], template_hash(pod_spec))

    def adoption(self, pod: Json) -> Json:
        """Return the patch that makes a pod this one's."""
        reference = {
            "apiVersion": API_VERSION,
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
        others = pod["metadata"].get("ownerReferences") or []
        return {
            "metadata": {
                "uid": pod["metadata"]["uid"],
                "resourceVersion": pod["metadata"]["resourceVersion"],
                "ownerReferences": [*others, reference],
                "annotations": {labels.TEMPLATE_HASH: self.hash},
            }
        }


def _problems(error: ValidationError) -> Iterable[str]:
    for item in error.errors(include_url=False):
        yield f"spec.{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"


def _controller(body: Json) -> Json | None:
    references: list[Json] = body["metadata"].get("ownerReferences") or []
    return next((reference for reference in references if reference.get("controller")), None)


def _owner_name(pod: Json, cluster: str) -> str:
    is_worker = pods.component(pod) == labels.Component.WORKER
    return str(pod["metadata"]["labels"].get(labels.WORKER_GROUP_NAME)) if is_worker else ""


def _kind(item: Json, resource: Resource) -> str:
    return str(item.get("kind") or ("Deployment" if resource is DEPLOYMENTS else "ReplicaSet"))
