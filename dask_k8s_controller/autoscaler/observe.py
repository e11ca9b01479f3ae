"""What an autoscaler's plan is made from: everything about one DaskAutoscaler at one moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dask_k8s_controller.autoscaler.spec import Autoscaler
from dask_k8s_controller.autoscaler.workforce import GroupOfWorkers, Workforce, workforce
from dask_k8s_controller.cache.cache import Cache
from dask_k8s_controller.cache.objects import By, Pod, moment
from dask_k8s_controller.cluster.observe import InCluster, in_cluster, live_scheduler, member_keys, pods_of
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.kubernetes.resources import Key
from dask_k8s_controller.plans.actions import Ask
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_models.labels import Component


def gather(cache: Cache, autoscaler: Autoscaler) -> ObservedAutoscaler:
    """Gather what an autoscaler's plan needs."""
    namespace = autoscaler.meta.namespace
    group = cache.get(WorkerGroup, namespace, autoscaler.worker_group)
    everybody = workforce_of(cache, cache.get(Cluster, namespace, autoscaler.cluster))
    return ObservedAutoscaler(
        **in_cluster(cache, autoscaler),
        target=everybody.members.get(group.name, GroupOfWorkers(group)) if group is not None else None,
        workforce=everybody,
    )


def keys(cache: Cache, changed: Any, before: Any = None) -> Iterable[Key]:
    """Name the autoscalers that a change of an object concerns.

    A group concerns its own and the one that asks for all; the others look when the next answer comes.
    """
    yield from member_keys(cache, Autoscaler, changed)
    match changed:
        case WorkerGroup(name=group, cluster=cluster) | Autoscaler(worker_group=group, cluster=cluster):
            namespace = changed.meta.namespace
            for autoscaler in cache.find(Autoscaler, By("group", namespace, group)):
                yield Key(Autoscaler.kind, namespace, autoscaler.name)
            if first := workforce_of(cache, cache.get(Cluster, namespace, cluster)).first:
                yield Key(Autoscaler.kind, namespace, first)


def workforce_of(cache: Cache, cluster: Cluster | None) -> Workforce:
    """Return the groups of a cluster: the same for all of its autoscalers until something changes."""
    if cluster is None:
        return Workforce()
    namespace, name = cluster.meta.namespace, cluster.name
    scheduler = live_scheduler(cache, cluster)
    pods = cache.find(Pod, pods_of(namespace, name, Component.WORKER))
    return cache.derived(
        cluster.meta.uid,
        workforce,
        cache.find(WorkerGroup, By("cluster", namespace, name)),
        pods,
        cache.find(Autoscaler, By("cluster", namespace, name)),
        cache.answers.last(Ask.DEMAND, scheduler),
        cache.answers.last(Ask.WORKERS, scheduler),
        cache.leaving(pods),
    )


@dataclass(frozen=True)
class ObservedAutoscaler(InCluster[Autoscaler]):
    """A DaskAutoscaler, what it scales, and what the scheduler says."""

    target: GroupOfWorkers | None = None
    """The group that it names, if that exists, be it of this cluster or not."""
    workforce: Workforce = field(default_factory=Workforce)
    """All groups of the cluster, and what the scheduler said."""

    @property
    def asks_for_all(self) -> bool:
        """Of all autoscalers of the cluster it is the one that asks, again and again, what there is to do."""
        return self.workforce.first == self.subject.name

    @property
    def replicas(self) -> int:
        """How many workers the group should have by now."""
        return self.target.group.replicas if self.target else 0

    @property
    def predecessor(self) -> Autoscaler | None:
        """The older autoscaler of the same group, which goes before this one."""
        scales = self.target.autoscaler if self.target else None
        return scales if scales and scales.meta.uid != self.subject.meta.uid else None

    @property
    def was_changed(self) -> bool:
        """The replicas aren't what the status says: somebody changed them, or we did and were interrupted."""
        noted = self.subject.status.get("currentReplicas")
        return noted is not None and self.target is not None and noted != self.replicas

    @property
    def changed_at(self) -> datetime | None:
        """When the number of workers changed last, to the second, as far as that is known."""
        if self.was_changed:
            return self.now
        changed_at = moment(self.subject.status.get("lastScaleTime"))
        # What is yet to come was noted by a clock that was wrong.
        return changed_at if changed_at is not None and changed_at <= self.now else None
