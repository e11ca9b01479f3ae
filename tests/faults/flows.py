"""What users do with clusters, each as a step between two states that a test can tell apart."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from dask_k8s_local.interfaces import Object
from dask_k8s_models import labels
from tests.faults.cluster import CLUSTERS, GROUPS, ScaleCluster, condition, is_ready

Step = Callable[[ScaleCluster, str], Awaitable[None]]


def manifest(replicas: int = 2, **spec: Any) -> Object:
    worker = {
        "replicas": replicas,
        "spec": {"containers": [{"name": "worker", "image": "dask:1", "args": ["dask", "worker"]}]},
    }
    scheduler = {
        "spec": {"containers": [{"name": "scheduler", "image": "dask:1", "args": ["dask", "scheduler"]}]}
    }
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskCluster",
        "metadata": {"name": "c"},
        "spec": {"worker": worker, "scheduler": scheduler, **spec},
    }


def extra_group(replicas: int = 2) -> Object:
    worker = manifest(replicas)["spec"]["worker"]
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskWorkerGroup",
        "metadata": {"name": "c-extra"},
        "spec": {"cluster": "c", "worker": worker},
    }


@dataclass(frozen=True)
class Flow:
    """Something that a user does.

    Parameters
    ----------
    name : str
        What it is called.
    before : int or None
        Replicas of the cluster that is there before; None if there is none.
    step : callable
        What the user does.
    workers : dict
        How many workers each group has in the end; None if the cluster is gone.
    pods : int
        How many pods there have ever been in the end: one more means that something was made twice.
    """

    name: str
    before: int | None
    step: Step
    workers: dict[str, int] | None
    pods: int
    has_scheduler: bool = True
    spec: dict[str, Any] = field(default_factory=dict)

    async def prepare(self, cluster: ScaleCluster, namespace: str) -> None:
        """Make the cluster that is there before; `has_settled` tells when it is."""
        if self.before is not None:
            await cluster.client.create(CLUSTERS, namespace, manifest(self.before, **self.spec))

    async def is_prepared(self, cluster: ScaleCluster, namespace: str) -> bool:
        if self.before is None:
            return True
        is_suspended = self.spec.get("suspend", False)
        workers = {"c-default": 0 if is_suspended else self.before}
        return await _is(cluster, namespace, workers, has_scheduler=not is_suspended)

    async def has_converged(self, cluster: ScaleCluster, namespace: str) -> bool:
        if self.workers is None:
            return await cluster.get(CLUSTERS, namespace, "c") is None and not await cluster.pods(namespace)
        return await _is(cluster, namespace, self.workers, has_scheduler=self.has_scheduler)


async def _is(cluster: ScaleCluster, namespace: str, workers: dict[str, int], *, has_scheduler: bool) -> bool:
    """Whether a cluster has exactly these workers, and says that it is ready."""
    found = await cluster.get(CLUSTERS, namespace, "c")
    pods = await cluster.pods(namespace)
    of_groups = {
        name: [pod for pod in pods if pod["metadata"]["labels"].get(labels.WORKER_GROUP_NAME) == name]
        for name in workers
    }
    schedulers = [pod for pod in pods if pod["metadata"]["labels"].get(labels.COMPONENT) == "scheduler"]
    if {name: len(of_group) for name, of_group in of_groups.items()} != workers:
        return False
    if len(schedulers) != int(has_scheduler) or len(pods) != len(schedulers) + sum(workers.values()):
        return False
    if not all(is_ready(pod) and "deletionTimestamp" not in pod["metadata"] for pod in pods):
        return False
    if condition(found, "Ready") != ("True" if has_scheduler else "False") or found is None:
        return False
    if found.get("status", {}).get("observedGeneration") != found["metadata"]["generation"]:
        return False
    groups = [await cluster.get(GROUPS, namespace, name) for name in workers]
    return all(
        group is not None
        and (condition(group, "Ready") == "True" or not has_scheduler)
        and _counts(group) == {workers[group["metadata"]["name"]]}
        and _is_up_to_date(group, of_groups[group["metadata"]["name"]])
        for group in groups
    )


def _counts(group: Object) -> set[int | None]:
    status = group.get("status", {})
    return {status.get("replicas"), status.get("readyReplicas")}


def _is_up_to_date(group: Object, pods: list[Object]) -> bool:
    image = group["spec"]["worker"]["spec"]["containers"][0]["image"]
    return all(pod["spec"]["containers"][0]["image"] == image for pod in pods)


async def create(cluster: ScaleCluster, namespace: str) -> None:
    await cluster.client.create(CLUSTERS, namespace, manifest())


def scale(replicas: int) -> Step:
    async def step(cluster: ScaleCluster, namespace: str) -> None:
        await cluster.client.patch(CLUSTERS, namespace, "c", {"spec": {"worker": {"replicas": replicas}}})

    return step


async def add_group(cluster: ScaleCluster, namespace: str) -> None:
    await cluster.client.create(GROUPS, namespace, extra_group())


async def change_image(cluster: ScaleCluster, namespace: str) -> None:
    spec = {"containers": [{"name": "worker", "image": "dask:2", "args": ["dask", "worker"]}]}
    await cluster.client.patch(CLUSTERS, namespace, "c", {"spec": {"worker": {"spec": spec}}})


async def suspend(cluster: ScaleCluster, namespace: str) -> None:
    await cluster.client.patch(CLUSTERS, namespace, "c", {"spec": {"suspend": True}})


async def resume(cluster: ScaleCluster, namespace: str) -> None:
    await cluster.client.patch(CLUSTERS, namespace, "c", {"spec": {"suspend": False}})


async def idle(cluster: ScaleCluster, namespace: str) -> None:
    cluster.schedulers.idle_since[namespace] = 1.0


async def delete(cluster: ScaleCluster, namespace: str) -> None:
    await cluster.client.delete(CLUSTERS, namespace, "c")


FLOWS = (
    Flow("create", None, create, {"c-default": 2}, pods=3),
    Flow("scale up", 2, scale(4), {"c-default": 4}, pods=5),
    Flow("scale down", 4, scale(1), {"c-default": 1}, pods=5),
    Flow("add a group", 1, add_group, {"c-default": 1, "c-extra": 2}, pods=4),
    Flow("change the image", 2, change_image, {"c-default": 2}, pods=5),
    Flow("suspend", 2, suspend, {"c-default": 0}, pods=3, has_scheduler=False),
    Flow("resume", 2, resume, {"c-default": 2}, pods=3, spec={"suspend": True}),
    Flow("idle shutdown", 2, idle, None, pods=3, spec={"idleTimeout": 1}),
    Flow("delete", 2, delete, None, pods=3),
)
