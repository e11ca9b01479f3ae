"""What an autoscaler's plan is made from: everything about one DaskAutoscaler at one moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dask_k8s_controller.autoscaler.spec import Autoscaler
from dask_k8s_controller.cache.cache import Cache
from dask_k8s_controller.cache.objects import Pod, moment
from dask_k8s_controller.cluster.observe import endpoint_of, live_scheduler
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.kubernetes.resources import Key
from dask_k8s_controller.plans.actions import Ask
from dask_k8s_controller.plans.plan import Observed
from dask_k8s_controller.scheduler.answers import Answer, Demand, Worker
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_models import labels


def observe(cache: Cache, key: Key) -> ObservedAutoscaler | None:
    """Gather what an autoscaler's plan needs; None if there is no such autoscaler."""
    namespace = key.namespace
    autoscaler = cache.get(Autoscaler, namespace, key.name)
    if autoscaler is None:
        return None
    cluster = cache.get(Cluster, namespace, autoscaler.cluster)
    scheduler = live_scheduler(cache, cluster)
    target = cache.get(WorkerGroup, namespace, autoscaler.worker_group)
    demand = cache.answers.last(Ask.DEMAND, scheduler)
    there_is_work = demand is not None and demand.value is not None and demand.value != Demand(0, ())
    # They matter for who is to do what, and there may be many.
    scalers = cache.find(Autoscaler, "cluster", namespace, autoscaler.cluster) if there_is_work else ()
    siblings = tuple(
        other
        for other in scalers
        if other.worker_group != autoscaler.worker_group and not other.meta.is_deleting
    )
    return ObservedAutoscaler(
        subject=autoscaler,
        now=cache.now(),
        monotonic=cache.monotonic(),
        cluster=cluster,
        scheduler=scheduler,
        target=_with_pods(cache, target) if target is not None else None,
        others=_others(cache, autoscaler, siblings),
        rivals=tuple(
            other
            for other in cache.find(Autoscaler, "group", namespace, autoscaler.worker_group)
            if other.meta.uid != autoscaler.meta.uid and other.cluster == autoscaler.cluster
        ),
        siblings=siblings,
        demand=demand,
        workers=cache.answers.last(Ask.WORKERS, scheduler),
        endpoint=endpoint_of(cache, cluster),
    )


def keys(cache: Cache, changed: Any, before: Any = None) -> Iterable[Key]:
    """Name the autoscalers that a change of an object concerns."""
    namespace = changed.meta.namespace
    match changed:
        case Cluster(name=cluster) | WorkerGroup(cluster=cluster):
            pass
        case Autoscaler(name=name, cluster=cluster):
            yield Key(Autoscaler.kind, namespace, name)
        case Pod(meta=meta) if meta.labels.get(labels.COMPONENT) == labels.Component.SCHEDULER:
            cluster = meta.labels.get(labels.CLUSTER_NAME, "")
        case _:
            return
    for autoscaler in cache.find(Autoscaler, "cluster", namespace, cluster):
        yield Key(Autoscaler.kind, namespace, autoscaler.name)


def _others(
    cache: Cache, autoscaler: Autoscaler, siblings: tuple[Autoscaler, ...]
) -> tuple[GroupOfWorkers, ...]:
    """Find the cluster's other groups that have workers or want some, and those that these siblings scale."""
    namespace, cluster = autoscaler.meta.namespace, autoscaler.cluster
    wanting = cache.summary(WorkerGroup, _wanting, "cluster", namespace, cluster)
    having = cache.summary(Pod, _groups_of, "component", namespace, cluster, labels.Component.WORKER)
    scaled = {sibling.worker_group for sibling in siblings}
    groups = (cache.get(WorkerGroup, namespace, name) for name in sorted(wanting | having | scaled))
    return tuple(
        _with_pods(cache, group)
        for group in groups
        if group is not None
        and group.cluster == cluster
        and group.name != autoscaler.worker_group
        and not group.meta.is_deleting
    )


def _wanting(groups: tuple[WorkerGroup, ...]) -> frozenset[str]:
    return frozenset(group.name for group in groups if group.replicas > 0)


def _groups_of(pods: tuple[Pod, ...]) -> frozenset[str]:
    return frozenset(pod.meta.labels.get(labels.WORKER_GROUP_NAME, "") for pod in pods)


def _with_pods(cache: Cache, group: WorkerGroup) -> GroupOfWorkers:
    pods = cache.find(Pod, "group", group.meta.namespace, group.name)
    own = tuple(pod for pod in pods if pod.meta.is_child_of(group.meta.uid))
    return GroupOfWorkers(group, own, cache.leaving(own))


@dataclass(frozen=True)
class GroupOfWorkers:
    """A DaskWorkerGroup with the pods that it made."""

    group: WorkerGroup
    pods: tuple[Pod, ...] = ()
    leaving: frozenset[str] = frozenset()
    """Uids of the pods whose nodes are about to go."""

    @property
    def live(self) -> tuple[Pod, ...]:
        """The pods that run or will run, those included that are on their way out."""
        return tuple(pod for pod in self.pods if pod.is_live)

    @property
    def active(self) -> tuple[Pod, ...]:
        """The pods that count against the replicas."""
        return tuple(pod for pod in self.live if not pod.is_retiring)

    @property
    def ready(self) -> tuple[Pod, ...]:
        """The live pods that are ready."""
        return tuple(pod for pod in self.live if pod.is_ready)

    @property
    def lasting(self) -> int:
        """How many pods are ready; those whose nodes are about to go count until they have a successor."""
        staying = sum(pod.meta.uid not in self.leaving for pod in self.ready)
        return min(len(self.ready), max(staying, self.group.replicas))


@dataclass(frozen=True)
class ObservedAutoscaler(Observed[Autoscaler]):
    """A DaskAutoscaler, what it scales, and what the scheduler says."""

    cluster: Cluster | None = None
    """The cluster that it names, if that exists."""
    scheduler: Pod | None = None
    """The cluster's live scheduler pod."""
    target: GroupOfWorkers | None = None
    """The group that it names, if that exists, be it of this cluster or not."""
    others: tuple[GroupOfWorkers, ...] = ()
    """The cluster's other groups."""
    rivals: tuple[Autoscaler, ...] = ()
    """The other autoscalers of the same group."""
    siblings: tuple[Autoscaler, ...] = ()
    """The autoscalers of the cluster's other groups, while there is work."""
    demand: Answer[Demand] | None = None
    """How many workers the scheduler could use when it was asked last."""
    workers: Answer[tuple[Worker, ...]] | None = None
    """The workers that the scheduler knew when it was asked last."""

    @property
    def autoscaler(self) -> Autoscaler:
        """The object itself."""
        return self.subject

    @property
    def replicas(self) -> int:
        """How many workers the group should have by now."""
        return self.target.group.replicas if self.target else 0

    @property
    def predecessor(self) -> Autoscaler | None:
        """The older autoscaler of the same group, which goes before this one."""
        older = [
            rival
            for rival in self.rivals
            if not rival.meta.is_deleting and _age(rival) < _age(self.autoscaler)
        ]
        return min(older, key=_age, default=None)

    @property
    def was_changed(self) -> bool:
        """The replicas aren't what the status says: somebody changed them, or we did and were interrupted."""
        noted = self.autoscaler.status.get("currentReplicas")
        return noted is not None and self.target is not None and noted != self.replicas

    @property
    def changed_at(self) -> datetime | None:
        """When the number of workers changed last, to the second, as far as that is known."""
        if self.was_changed:
            return self.now
        changed_at = moment(self.autoscaler.status.get("lastScaleTime"))
        # What is yet to come was noted by a clock that was wrong.
        return changed_at if changed_at is not None and changed_at <= self.now else None


def _age(autoscaler: Autoscaler) -> tuple[float, str]:
    created = autoscaler.meta.created
    return (created.timestamp() if created else 0.0, autoscaler.name)
