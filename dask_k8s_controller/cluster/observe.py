"""What a cluster's plan is made from: everything about one DaskCluster at one moment."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import quote

from dask_k8s_controller.autoscaler.spec import Autoscaler
from dask_k8s_controller.cache.cache import Cache, newest
from dask_k8s_controller.cache.certificate import Certificate
from dask_k8s_controller.cache.custom import Custom
from dask_k8s_controller.cache.objects import By, Meta, Node, Owner, Pod, Service, Sought
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.kubernetes.resources import Key
from dask_k8s_controller.plans.actions import Ask
from dask_k8s_controller.plans.plan import C, Observed, Plan
from dask_k8s_controller.scheduler.answers import Answer, ServedCertificate, Worker
from dask_k8s_controller.scheduler.endpoint import Endpoint
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_models import labels, names, pods
from dask_k8s_models.labels import Component


def gather(cache: Cache, cluster: Cluster) -> ObservedCluster:
    """Gather what a cluster's plan needs."""
    namespace, name = cluster.meta.namespace, cluster.name
    pods, members = _scheduler_pods(cache, cluster), By("cluster", namespace, name)
    holders = cache.find(Pod, By("name", namespace, names.scheduler(name)))
    notes = cache.notes(cluster.meta.uid)
    scheduler = scheduler_of(cluster, pods)
    return ObservedCluster(
        subject=cluster,
        now=cache.clock.now(),
        monotonic=cache.clock.monotonic(),
        pods=pods,
        name_is_taken=cache.is_taken(namespace, names.scheduler(name))
        or not {pod.meta.uid for pod in holders} <= {pod.meta.uid for pod in pods},
        service=cache.get(Service, namespace, names.scheduler(name)),
        groups=cache.find(WorkerGroup, members),
        autoscaled=cache.summary(Autoscaler, autoscaled_groups, members),
        scheduler_leaves=scheduler is not None and bool(cache.leaving([scheduler])),
        idle=cache.answers.last(Ask.IDLE, scheduler),
        endpoint=endpoint_of(cache, cluster, scheduler),
        certificate=notes.certificate or Certificate.of_status(cluster.status.get("tls") or {}),
        served=cache.answers.last(Ask.CERTIFICATE, scheduler),
        applied={**notes.applied},
        operator_namespace=cache.operator_namespace,
        workers=cache.answers.last(Ask.WORKERS, scheduler),
        runners=cache.find(Pod, pods_of(namespace, name, Component.JOB_RUNNER)),
        entropy=secrets.token_hex(8),
    )


def keys(cache: Cache, changed: Any, before: Any = None) -> Iterable[Key]:
    """Name the clusters that a change of an object concerns."""
    namespace = changed.meta.namespace
    match changed:
        case Cluster(name=name):
            yield Key(Cluster.kind, namespace, name)
        case WorkerGroup(cluster=cluster):
            yield Key(Cluster.kind, namespace, cluster)
        case Autoscaler(cluster=cluster) if changed.differs(before):
            yield Key(Cluster.kind, namespace, cluster)
        case Pod(meta=meta) | Service(meta=meta) if meta.labels.get(labels.COMPONENT) == Component.SCHEDULER:
            yield Key(Cluster.kind, namespace, meta.labels.get(labels.CLUSTER_NAME, ""))
        case Pod(meta=Meta(owner=Owner(kind=Cluster.kind, name=name))):
            yield Key(Cluster.kind, namespace, name)
        case Node() if changed.differs(before):
            for pod in cache.on_node(changed):
                yield from keys(cache, pod)


def autoscaled_groups(autoscalers: tuple[Autoscaler, ...]) -> frozenset[str]:
    """Return the names of the groups that autoscalers target."""
    return frozenset(one.worker_group for one in autoscalers if not one.meta.is_deleting)


def scheduler_of(cluster: Cluster, pods: Iterable[Pod]) -> Pod | None:
    """Return the pod of a cluster's scheduler: a live one, rather ready than not, rather old than new."""
    live = [pod for pod in pods if pod.is_live and pod.meta.is_child_of(cluster.meta.uid)]
    return min(live, key=_precedence, default=None)


def foreign_scheduler(cluster: Cluster | None, pods: tuple[Pod, ...]) -> Pod | None:
    """Return a live scheduler that no DaskCluster owns: another operator runs it, as a Deployment's pod.

    Beside a scheduler of the cluster's own it isn't that, whatever its labels say.
    """
    if cluster is None or scheduler_of(cluster, pods) is not None:
        return None
    owners = ((pod, pod.meta.owner) for pod in pods if pod.is_live)
    return next((pod for pod, owner in owners if owner is None or owner.kind != Cluster.kind), None)


def run_by_another(cluster: Cluster, scheduler: Pod) -> tuple[str, str]:
    """Return the reason why nothing is done about a cluster that another operator runs, and what helps."""
    return (
        "RunByAnotherOperator",
        f"The pod {scheduler.name} is a scheduler of this cluster that another operator runs, so nothing is "
        f"touched. Stop that operator, then hand the cluster over: dask kubernetes migrate {cluster.name}",
    )


def live_scheduler(cache: Cache, cluster: Cluster | None) -> Pod | None:
    """Return the pod of a cluster's scheduler, as the cache knows it."""
    return scheduler_of(cluster, _scheduler_pods(cache, cluster)) if cluster else None


def pods_of(namespace: str, cluster: str, component: Component) -> By:
    """Return the key of a cluster's pods, by what they do for it."""
    return By("component", namespace, cluster, component)


def count_gated(pods: tuple[Pod, ...]) -> int:
    """Count the pods that something, such as a queue, has yet to let in."""
    return sum(pod.is_live and bool(pod.gates) for pod in newest(pods))


def is_held_back(cache: Cache, cluster: Cluster) -> bool:
    """Whether a cluster is not to start for now: somebody has suspended it, or a queue gates its pods."""
    return cluster.is_suspended or any(
        cache.summary(Pod, count_gated, pods_of(cluster.meta.namespace, cluster.name, component))
        for component in (Component.SCHEDULER, Component.WORKER)
    )


def _scheduler_pods(cache: Cache, cluster: Cluster) -> tuple[Pod, ...]:
    key = pods_of(cluster.meta.namespace, cluster.name, Component.SCHEDULER)
    return cache.pods(cluster.meta, key)


def sought_scheduler(cluster: Cluster | None) -> tuple[Sought, ...]:
    """Return where a cluster's scheduler may be, even if it lost a label; nowhere if there should be none."""
    if cluster is None or cluster.is_suspended or cluster.meta.is_deleting:
        return ()
    component = f"{labels.COMPONENT}={Component.SCHEDULER}"
    return Sought(Pod.kind, names.scheduler(cluster.name)), Sought(Pod.kind, selector=component)


def endpoint_of(cache: Cache, cluster: Cluster | None, scheduler: Pod | None) -> Endpoint | None:
    """Return where a cluster's scheduler answers HTTP; None if there is no scheduler."""
    if cluster is None or scheduler is None or cluster.spec is None:
        return None
    workers = cache.find(Pod, pods_of(cluster.meta.namespace, cluster.name, Component.WORKER))
    return endpoint(cluster, scheduler, len(workers))


@dataclass(frozen=True)
class InCluster(Observed[C]):
    """What is observed of everything that belongs to a cluster."""

    cluster: Cluster | None = None
    """The cluster of the name that it gives, if that exists, whoever owns it."""
    scheduler: Pod | None = None
    """That cluster's live scheduler pod."""
    workers: Answer[tuple[Worker, ...]] | None = None
    """The workers that the scheduler knew when it was asked last."""


def in_cluster(cache: Cache, member: Any) -> dict[str, Any]:
    """Gather the fields of `InCluster` for an object that names its cluster."""
    cluster = cache.get(Cluster, member.meta.namespace, member.cluster)
    scheduler = live_scheduler(cache, cluster)
    return {
        "subject": member,
        "now": cache.clock.now(),
        "monotonic": cache.clock.monotonic(),
        "cluster": cluster,
        "scheduler": scheduler,
        "workers": cache.answers.last(Ask.WORKERS, scheduler),
        "endpoint": endpoint_of(cache, cluster, scheduler),
    }


def keys_in(cache: Cache, of: type[Custom[Any]], namespace: str, cluster: str) -> Iterable[Key]:
    """Name the objects of a kind that belong to a cluster."""
    for member in cache.find(of, By("cluster", namespace, cluster)):
        yield Key(of.kind, namespace, member.name)


def member_keys(cache: Cache, of: type[Custom[Any]], changed: Any) -> Iterable[Key]:
    """Name the objects of a kind that a change of one of them, of their cluster or its scheduler concerns."""
    meta = changed.meta
    match changed:
        case Cluster(name=name):
            yield from keys_in(cache, of, meta.namespace, name)
        case Pod() if meta.labels.get(labels.COMPONENT) == Component.SCHEDULER:
            yield from keys_in(cache, of, meta.namespace, meta.labels.get(labels.CLUSTER_NAME, ""))
        case Custom(kind=of.kind, name=name):
            yield Key(of.kind, meta.namespace, name)


def endpoint(cluster: Cluster, scheduler: Pod, workers: int) -> Endpoint:
    """Return where a scheduler's pod answers HTTP, whose answers may tell of so many workers."""
    annotations = scheduler.meta.annotations
    port, prefix = cluster.once(_dashboard)(annotations.get(labels.DEFAULT_CONTAINER))
    return Endpoint(
        namespace=cluster.meta.namespace,
        uid=scheduler.meta.uid,
        pod=scheduler.name,
        ip=scheduler.ip,
        port=port,
        prefix=prefix,
        https=annotations.get(labels.HTTPS, ""),
        workers=workers,
    )


def _dashboard(cluster: Cluster) -> Callable[[str | None], tuple[int, str]]:
    """Return what tells the port and the prefix of a dashboard, by the container that a pod says matters."""
    spec = cluster.raw_spec["scheduler"]["spec"]

    @lru_cache(maxsize=4)
    def of(container: str | None) -> tuple[int, str]:
        annotations = {labels.DEFAULT_CONTAINER: container} if container else {}
        prefix = _quoted(pods.dashboard_prefix(spec, annotations))
        return pods.dashboard_port(spec, annotations), prefix

    return of


def _quoted(prefix: str) -> str:
    """Quote a path that a user chose: it must lead nowhere but to the user's own pod."""
    parts = prefix.split("/")
    return "" if {".", ".."} & set(parts) else "/".join(quote(part, safe="") for part in parts)


@dataclass(frozen=True)
class ObservedCluster(Observed[Cluster]):
    """A DaskCluster and what belongs to it."""

    name_is_taken: bool = False
    """A pod that is not one of ``pods`` is called as the scheduler's pod would be."""
    service: Service | None = None
    """The Service of that name, whoever owns it."""
    groups: tuple[WorkerGroup, ...] = ()
    """All groups that name the cluster."""
    autoscaled: frozenset[str] = frozenset()
    """Names of the groups that a DaskAutoscaler targets."""
    runners: tuple[Pod, ...] = ()
    """Pods of jobs that use the cluster."""
    scheduler_leaves: bool = False
    """The node of the scheduler's pod is about to go."""
    idle: Answer[float] | None = None
    """For how many seconds the scheduler had been idle when it said so; a value of None: it was busy."""
    workers: Answer[tuple[Worker, ...]] | None = None
    """The workers that the scheduler knew when it was asked last."""
    served: Answer[ServedCertificate] | None = None
    """The certificate that the scheduler was started with, as it said last."""
    certificate: Certificate | None = None
    """The certificate that was made for it last."""
    operator_namespace: str = ""
    """Where the controller's pod is; empty outside a cluster."""
    entropy: str = ""
    """Makes new names; another string at every observation."""

    @property
    def missing(self) -> tuple[Sought, ...]:
        """A scheduler that was ready when the status was written last."""
        was_ready = self.subject.condition("SchedulerReady").get("status") == "True"
        return sought_scheduler(self.subject) if was_ready and self.scheduler is None else ()

    @cached_property
    def scheduler(self) -> Pod | None:
        """The scheduler's pod."""
        return scheduler_of(self.subject, self.pods)

    @property
    def default_group(self) -> WorkerGroup | None:
        """The default group, if it exists."""
        return next((group for group in self.groups if group.name == self.subject.default_group), None)


ClusterPlan = Plan[ObservedCluster]


def _precedence(pod: Pod) -> tuple[bool, float, str]:
    created = pod.meta.created.timestamp() if pod.meta.created else 0.0
    return pods.precedence_of_scheduler(pod.is_ready or pod.was_ready, created, pod.name)
