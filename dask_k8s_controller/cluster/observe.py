"""What a plan is made from: everything about one object at one moment.

Pure: no kopf, no HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from dask_k8s_controller.cache.objects import Pod, Service
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.scheduler.answers import Answer
from dask_k8s_controller.worker_group.spec import WorkerGroup


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


def _created(pod: Pod) -> float:
    return pod.meta.created.timestamp() if pod.meta.created else 0.0
