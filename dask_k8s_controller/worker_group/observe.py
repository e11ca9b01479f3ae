"""What a worker group's plan is made from: everything about one DaskWorkerGroup at one moment."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from dask_k8s_controller.autoscaler.spec import Autoscaler
from dask_k8s_controller.cache.cache import Cache, newest
from dask_k8s_controller.cache.objects import By, Node, Pod, Sought
from dask_k8s_controller.cluster.observe import (
    InCluster,
    autoscaled_groups,
    foreign_scheduler,
    in_cluster,
    member_keys,
    pods_of,
    sought_scheduler,
)
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.cluster.tls import is_cut_off
from dask_k8s_controller.kubernetes.resources import Key
from dask_k8s_controller.plans.actions import Ask
from dask_k8s_controller.plans.ownership import is_of_an_earlier_owner
from dask_k8s_controller.plans.plan import Plan
from dask_k8s_controller.scheduler.answers import Answer, Attribution, Retirement, attribute
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_models import labels
from dask_k8s_models.labels import Component


def gather(cache: Cache, group: WorkerGroup) -> ObservedGroup:
    """Gather what a group's plan needs."""
    namespace = group.meta.namespace
    around = in_cluster(cache, group)
    cluster, pods = around["cluster"], cache.pods(group.meta, By("group", namespace, group.name))
    in_same_cluster = By("cluster", namespace, group.cluster)
    return ObservedGroup(
        **around,
        foreign_scheduler=foreign_scheduler(
            cluster, cache.find(Pod, pods_of(namespace, group.cluster, Component.SCHEDULER))
        ),
        pods=pods,
        cluster_pods=cache.find(Pod, pods_of(namespace, group.cluster, Component.WORKER)),
        others_remain=any(
            other.name != group.name and not (cluster and is_of_an_earlier_owner(other, cluster))
            for other in cache.summary(WorkerGroup, _wanting, in_same_cluster)
        ),
        is_autoscaled=group.name in cache.summary(Autoscaler, autoscaled_groups, in_same_cluster),
        retirement=cache.answers.retirement(group.meta.uid),
        expecting=cache.answers.last(Ask.TO_EXPECT, around["scheduler"]),
        leaving=frozenset() if group.chooses_node else cache.leaving(pods),
        undecided=cache.undecided(group.meta.uid),
        applied={**cache.notes(group.meta.uid).applied},
        entropy=secrets.token_hex(8),
    )


def keys(cache: Cache, changed: Any, before: Any = None) -> Iterable[Key]:
    """Name the groups that a change of an object concerns."""
    match changed:
        case Cluster() if not changed.differs(before, "tls"):
            return
        case Pod(meta=meta) if meta.labels.get(labels.COMPONENT) == Component.WORKER:
            yield Key(WorkerGroup.kind, meta.namespace, meta.labels.get(labels.WORKER_GROUP_NAME, ""))
        case Node() if changed.differs(before):
            for pod in cache.on_node(changed):
                yield from keys(cache, pod)
        case _:
            yield from member_keys(cache, WorkerGroup, changed)


def _wanting(groups: tuple[WorkerGroup, ...]) -> tuple[WorkerGroup, ...]:
    return tuple(group for group in newest(groups) if group.replicas > 0 and not group.meta.is_deleting)


@dataclass(frozen=True)
class ObservedGroup(InCluster[WorkerGroup]):
    """A DaskWorkerGroup, its pods, and the cluster that they serve."""

    foreign_scheduler: Pod | None = None
    """A scheduler of the cluster that another operator runs."""
    cluster_pods: tuple[Pod, ...] = ()
    """Worker pods of the cluster, whatever group they are of."""
    others_remain: bool = False
    """Another live group of the cluster wants workers, whether it has them yet or not."""
    is_autoscaled: bool = False
    """A DaskAutoscaler sets the replicas: it never means that results may go."""
    retirement: Retirement = field(default_factory=Retirement)
    """The retirements that were asked for."""
    expecting: Answer[bool] | None = None
    """When the scheduler was told last that workers are on their way."""
    leaving: frozenset[str] = frozenset()
    """Uids of the pods whose nodes are about to go."""
    undecided: tuple[str, ...] = ()
    """Names of pods that were created with an unknown fate: they are to be created again first."""
    entropy: str = ""
    """Makes new names; another string at every observation."""

    @property
    def missing(self) -> tuple[Sought, ...]:
        """A scheduler, while there are workers that may hold something of its results."""
        has_workers = any(pod.is_live and not pod.runs_nothing for pod in self.own_pods)
        return sought_scheduler(self.cluster) if has_workers and self.scheduler is None else ()

    @property
    def keeps_nothing(self) -> bool:
        """No worker is to stay, and no other is to take over what they hold.

        Workers of another group may be yet to come. An autoscaler goes to zero as it saw no results a moment
        ago: if there are any by now, the scheduler refuses.
        """
        return self.subject.replicas == 0 and not (self.others_remain or self.is_autoscaled)

    @cached_property
    def attribution(self) -> Attribution:
        """In which pods the workers run that the scheduler knew when it was asked last."""
        workers = self.workers.value if self.workers else None
        return attribute((*self.cluster_pods, *self.own_pods), workers or ())

    @cached_property
    def cut_off(self) -> tuple[Pod, ...]:
        """The live pods that can't speak to the present scheduler."""
        return tuple(pod for pod in self.own_pods if pod.is_live and is_cut_off(pod, self.scheduler))

    @cached_property
    def active(self) -> tuple[Pod, ...]:
        """The live pods that count against the replicas."""
        return tuple(pod for pod in self._connectable if not pod.is_retiring and not self._moves(pod))

    @cached_property
    def moving(self) -> tuple[Pod, ...]:
        """The live pods whose nodes are about to go: they work until they are chosen."""
        return tuple(pod for pod in self._connectable if not pod.is_retiring and self._moves(pod))

    @cached_property
    def marked(self) -> tuple[Pod, ...]:
        """The live pods that were chosen to go."""
        return tuple(pod for pod in self._connectable if pod.is_retiring)

    @cached_property
    def outdated(self) -> frozenset[str]:
        """Uids of the active pods that are to be replaced, as they were made from an older template."""
        if not self.subject.rolls:
            return frozenset()
        return frozenset(pod.meta.uid for pod in self.active if pod.template_hash != self.subject.worker_hash)

    def _moves(self, pod: Pod) -> bool:
        return pod.meta.uid in self.leaving and self.subject.replicas > 0

    @property
    def _connectable(self) -> list[Pod]:
        return [pod for pod in self.own_pods if pod.is_live and not is_cut_off(pod, self.scheduler)]


GroupPlan = Plan[ObservedGroup]
