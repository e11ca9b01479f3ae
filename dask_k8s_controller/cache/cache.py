"""All that is known of the cluster, and how it looks from one object: `observe` gathers what a plan needs."""

from __future__ import annotations

import secrets
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from dask_k8s_controller.autoscaler.spec import Autoscaler
from dask_k8s_controller.cache.objects import Meta, Pod, Service
from dask_k8s_controller.cache.store import HasMeta, Store
from dask_k8s_controller.cluster.observe import ObservedCluster
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.job.spec import Job
from dask_k8s_controller.kubernetes.resources import Key
from dask_k8s_controller.runtime.clock import Clock
from dask_k8s_controller.scheduler.answers import Retirement
from dask_k8s_controller.scheduler.client import Endpoint
from dask_k8s_controller.scheduler.conversations import Conversations
from dask_k8s_controller.worker_group.observe import ObservedGroup
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_models import labels, names

T = TypeVar("T", bound=HasMeta)

UNDECIDED_FOR = 600.0
"""Seconds after which a request whose fate is unknown can't take effect any more."""

TAKEN_FOR = 60.0
"""Seconds for which a name is taken for taken after it was found so."""


@dataclass(frozen=True)
class By:
    """A key of a `Store`: what of an object has which value, in which namespace."""

    what: str
    namespace: str
    value: str
    more: str = ""


def _by_name(facts: HasMeta) -> By:
    return By("name", facts.meta.namespace, facts.meta.name)


def _pod_keys(pod: Pod) -> Iterable[Hashable]:
    cluster = pod.meta.labels.get(labels.CLUSTER_NAME)
    component = pod.meta.labels.get(labels.COMPONENT)
    group = pod.meta.labels.get(labels.WORKER_GROUP_NAME)
    yield _by_name(pod)
    if cluster and component:
        yield By("component", pod.meta.namespace, cluster, component)
    if group and component == labels.Component.WORKER:
        yield By("group", pod.meta.namespace, group)


def _member_keys(member: WorkerGroup | Autoscaler | Job) -> Iterable[Hashable]:
    yield _by_name(member)
    yield By("cluster", member.meta.namespace, member.cluster)


class Cache:
    """The stores of all kinds, and what our own writes have left open.

    Parameters
    ----------
    clock : Clock
        Time.
    conversations : Conversations
        What the schedulers said.
    """

    def __init__(self, clock: Clock, conversations: Conversations) -> None:
        self._clock = clock
        self._conversations = conversations
        self.clusters: Store[Cluster] = Store(Cluster.of, lambda facts: [_by_name(facts)])
        self.groups: Store[WorkerGroup] = Store(WorkerGroup.of, _member_keys)
        self.autoscalers: Store[Autoscaler] = Store(Autoscaler.of, _member_keys)
        self.jobs: Store[Job] = Store(Job.of, _member_keys)
        self.pods: Store[Pod] = Store(Pod.of, _pod_keys)
        self.services: Store[Service] = Store(Service.of, lambda facts: [_by_name(facts)])
        self._stores: dict[str, Store[Any]] = {
            "DaskCluster": self.clusters,
            "DaskWorkerGroup": self.groups,
            "DaskAutoscaler": self.autoscalers,
            "DaskJob": self.jobs,
            "Pod": self.pods,
            "Service": self.services,
        }
        self._undecided: dict[str, dict[str, float]] = {}
        self._taken: dict[By, float] = {}

    def store(self, kind: str) -> Store[Any]:
        """Return the store of a kind."""
        return self._stores[kind]

    def see(self, body: Mapping[str, Any]) -> None:
        """Take note of an object, be it from a watch or the answer to a write."""
        store = self._stores.get(body.get("kind", ""))
        if store is not None:
            store.see(body)

    def named(self, kind: str, metadata: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return what is known of that name."""
        namespace = metadata.get("namespace") or ""
        return self._stores[kind].find(By("name", namespace, metadata["name"]))

    def observe_cluster(self, key: Key) -> ObservedCluster | None:
        """Gather what a cluster's plan needs; None if there is no such cluster."""
        cluster = self.cluster(key.namespace, key.name)
        if cluster is None:
            return None
        pods = self._pods_of(key.namespace, key.name, labels.Component.SCHEDULER)
        scheduler_name = By("name", key.namespace, names.scheduler(key.name))
        holders = {pod.meta.uid for pod in newest(self.pods.find(scheduler_name))}
        observed = ObservedCluster(
            cluster=cluster,
            now=self._clock.now(),
            pods=pods,
            name_is_taken=scheduler_name in self._taken or bool(holders - {pod.meta.uid for pod in pods}),
            service=next(iter(newest(self.services.find(scheduler_name))), None),
            groups=self.groups_of(key.namespace, key.name),
            autoscaled=frozenset(
                autoscaler.worker_group
                for autoscaler in newest(self.autoscalers.find(By("cluster", key.namespace, key.name)))
                if not autoscaler.meta.is_deleting
            ),
            entropy=secrets.token_hex(8),
        )
        if observed.scheduler is None:
            return observed
        idle = self._conversations.idleness(observed.scheduler.meta.uid)
        return replace(observed, idle=idle)

    def observe_group(self, key: Key) -> ObservedGroup | None:
        """Gather what a group's plan needs; None if there is no such group."""
        group = next(iter(newest(self.groups.find(By("name", key.namespace, key.name)))), None)
        if group is None:
            return None
        cluster = self.cluster(key.namespace, group.cluster)
        scheduler = self.scheduler(cluster)
        pods = newest(self.pods.find(By("group", key.namespace, key.name)))
        scheduler_uid = scheduler.meta.uid if scheduler else ""
        return ObservedGroup(
            group=group,
            now=self._clock.now(),
            cluster=cluster,
            scheduler=scheduler,
            pods=pods,
            others_remain=self._others_remain(group),
            workers=self._conversations.workers(scheduler_uid),
            retirement=self._conversations.retirement(group.meta.uid) or Retirement(),
            undecided=self._undecided_names(group.meta.uid),
            entropy=secrets.token_hex(8),
        )

    def cluster(self, namespace: str, name: str) -> Cluster | None:
        """Return the cluster of that name."""
        return next(iter(newest(self.clusters.find(By("name", namespace, name)))), None)

    def groups_of(self, namespace: str, cluster: str) -> tuple[WorkerGroup, ...]:
        """Return the groups that name a cluster."""
        return newest(self.groups.find(By("cluster", namespace, cluster)))

    def scheduler(self, cluster: Cluster | None) -> Pod | None:
        """Return the live scheduler pod of a cluster."""
        if cluster is None:
            return None
        pods = self._pods_of(cluster.meta.namespace, cluster.name, labels.Component.SCHEDULER)
        return ObservedCluster(cluster, self._clock.now(), pods).scheduler

    def endpoint(self, cluster: Cluster) -> Endpoint | None:
        """Return where a cluster's scheduler answers HTTP; None if there is no scheduler."""
        scheduler = self.scheduler(cluster)
        if scheduler is None or cluster.spec is None:
            return None
        workers = sum(
            len(self.pods.find(By("group", cluster.meta.namespace, group.name)))
            for group in self.groups_of(cluster.meta.namespace, cluster.name)
        )
        return Endpoint.of(cluster, scheduler, workers)

    def take(self, meta: Meta) -> None:
        """Take note of a pod that isn't Dask's, so that no watch tells of it, and has a name that we want."""
        now = self._clock.monotonic()
        self._taken = {by: since for by, since in self._taken.items() if now - since < TAKEN_FOR}
        self._taken[By("name", meta.namespace, meta.name)] = now

    def undecided(self, group_uid: str, pod: str) -> None:
        """Take note of a pod whose creation got no answer."""
        self._undecided.setdefault(group_uid, {})[pod] = self._clock.monotonic()

    def decided(self, group_uid: str, pod: str) -> None:
        """Take note that a pod's creation has been answered."""
        if undecided := self._undecided.get(group_uid):
            undecided.pop(pod, None)
            if not undecided:
                del self._undecided[group_uid]

    def forget_group(self, group_uid: str) -> None:
        """Drop what is remembered of a group that is gone."""
        self._undecided.pop(group_uid, None)
        self._conversations.forget(group_uid)

    def _undecided_names(self, group_uid: str) -> tuple[str, ...]:
        now = self._clock.monotonic()
        undecided = self._undecided.get(group_uid, {})
        for name in [name for name, since in undecided.items() if now - since > UNDECIDED_FOR]:
            del undecided[name]
        return tuple(undecided)

    def _pods_of(self, namespace: str, cluster: str, component: labels.Component) -> tuple[Pod, ...]:
        return newest(self.pods.find(By("component", namespace, cluster, component)))

    def _others_remain(self, group: WorkerGroup) -> bool:
        namespace = group.meta.namespace
        others = (other for other in self.groups_of(namespace, group.cluster) if other.name != group.name)
        return any(
            pod.is_live and not pod.is_retiring
            for other in others
            for pod in self.pods.find(By("group", namespace, other.name))
        )


def newest(found: Iterable[T]) -> tuple[T, ...]:
    """Keep, of objects of one name, the last: the others are gone, though nobody has told us yet."""
    by_name: dict[str, T] = {}
    for facts in found:
        known = by_name.get(facts.meta.name)
        if known is None or _version(facts) > _version(known):
            by_name[facts.meta.name] = facts
    return tuple(by_name.values())


def _version(facts: HasMeta) -> int:
    return int(facts.meta.version) if facts.meta.version.isdecimal() else 0
