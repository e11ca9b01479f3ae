"""What a plan is made from: everything about one object at one moment.

Pure: no kopf, no HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from dask_k8s_controller.answers import Answer, Retirement, Worker
from dask_k8s_controller.facts import Pod, Service
from dask_k8s_controller.specs import Cluster, WorkerGroup


@dataclass(frozen=True)
class ObservedCluster:
    """A DaskCluster and what belongs to it.

    Parameters
    ----------
    cluster : Cluster
        The object itself.
    now : datetime
        The time.
    pods : tuple of Pod
        Scheduler pods of that name, whoever owns them.
    name_is_taken : bool
        A pod that is not one of ``pods`` is called as the scheduler's pod would be.
    service : Service, optional
        The Service of that name, whoever owns it.
    groups : tuple of WorkerGroup
        All groups that name the cluster.
    autoscaled : frozenset of str
        Names of the groups that a DaskAutoscaler targets.
    idle : Answer, optional
        Since when the scheduler has been idle, as it said last; a value of None means that it is busy.
    entropy : str
        Makes new names; another string at every observation.
    """

    cluster: Cluster
    now: datetime
    pods: tuple[Pod, ...] = ()
    name_is_taken: bool = False
    service: Service | None = None
    groups: tuple[WorkerGroup, ...] = ()
    autoscaled: frozenset[str] = frozenset()
    idle: Answer[datetime] | None = None
    entropy: str = ""

    @cached_property
    def own_pods(self) -> tuple[Pod, ...]:
        """The scheduler pods that this very cluster made."""
        return tuple(pod for pod in self.pods if pod.meta.is_child_of(self.cluster.meta.uid))

    @cached_property
    def scheduler(self) -> Pod | None:
        """The scheduler's pod: a live one, rather ready than not, rather old than new."""
        live = [pod for pod in self.own_pods if pod.is_live]
        return min(live, key=lambda pod: (not pod.is_ready, _created(pod), pod.name), default=None)

    @property
    def raw_scheduler_spec(self) -> Mapping[str, Any]:
        """The scheduler's pod spec as the user wrote it."""
        return (self.cluster.raw_spec.get("scheduler") or {}).get("spec") or {}

    @property
    def default_group(self) -> WorkerGroup | None:
        """The default group, if it exists."""
        return next((group for group in self.groups if group.name == self.cluster.default_group), None)


@dataclass(frozen=True)
class ObservedGroup:
    """A DaskWorkerGroup, its pods, and the cluster that they serve.

    Parameters
    ----------
    group : WorkerGroup
        The object itself.
    now : datetime
        The time.
    cluster : Cluster, optional
        The cluster that the group names, if it exists.
    scheduler : Pod, optional
        The cluster's live scheduler pod.
    pods : tuple of Pod
        Worker pods of a group of that name, whoever owns them.
    others_remain : bool
        The cluster's other groups have workers that stay.
    workers : Answer, optional
        The workers that the scheduler knew when it was asked last.
    retirement : Retirement
        The retirements that were asked for.
    undecided : tuple of str
        Names of pods that were sent to the API server with an unknown fate: they are to be sent again first.
    entropy : str
        Makes new names; another string at every observation.
    """

    group: WorkerGroup
    now: datetime
    cluster: Cluster | None = None
    scheduler: Pod | None = None
    pods: tuple[Pod, ...] = ()
    others_remain: bool = False
    workers: Answer[tuple[Worker, ...]] | None = None
    retirement: Retirement = field(default_factory=Retirement)
    undecided: tuple[str, ...] = ()
    entropy: str = ""

    @cached_property
    def own_pods(self) -> tuple[Pod, ...]:
        """The pods that this very group made."""
        return tuple(pod for pod in self.pods if pod.meta.is_child_of(self.group.meta.uid))


@dataclass(frozen=True)
class Failure:
    """A write that the API server did not carry out."""

    what: str
    message: str
    needs_a_person: bool


@dataclass(frozen=True)
class Outcome:
    """What became of a plan's writes."""

    failures: tuple[Failure, ...] = ()
    has_conflicts: bool = False
    """Some objects were no longer as they had been observed."""

    @property
    def is_complete(self) -> bool:
        """Whether all was carried out."""
        return not self.failures and not self.has_conflicts


def _created(pod: Pod) -> float:
    return pod.meta.created.timestamp() if pod.meta.created else 0.0
