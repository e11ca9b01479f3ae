"""What a worker group's plan is made from: everything about one DaskWorkerGroup at one moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from dask_k8s_controller.cache.objects import Pod
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.scheduler.answers import Answer, Retirement, Worker
from dask_k8s_controller.worker_group.spec import WorkerGroup


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
