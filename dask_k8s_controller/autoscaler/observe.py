"""What an autoscaler's plan is made from: everything about one DaskAutoscaler at one moment.

Pure: no kopf, no HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dask_k8s_controller.autoscaler.spec import Autoscaler
from dask_k8s_controller.cache.objects import Pod, moment
from dask_k8s_controller.cluster.spec import Cluster
from dask_k8s_controller.scheduler.answers import Answer, Worker
from dask_k8s_controller.worker_group.spec import WorkerGroup


@dataclass(frozen=True)
class GroupOfWorkers:
    """A DaskWorkerGroup with the pods that it made."""

    group: WorkerGroup
    pods: tuple[Pod, ...] = ()

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


@dataclass(frozen=True)
class ObservedAutoscaler:
    """A DaskAutoscaler, what it scales, and what the scheduler says.

    Parameters
    ----------
    autoscaler : Autoscaler
        The object itself.
    now : datetime
        The time.
    cluster : Cluster, optional
        The cluster that it names, if that exists.
    scheduler : Pod, optional
        The cluster's live scheduler pod.
    target : GroupOfWorkers, optional
        The group that it names, if that exists, be it of this cluster or not.
    others : tuple of GroupOfWorkers
        The cluster's other groups.
    rivals : tuple of Autoscaler
        The other autoscalers of the same group.
    demand : Answer, optional
        How many workers the scheduler could use when it was asked last.
    workers : Answer, optional
        The workers that the scheduler knew when it was asked last.
    """

    autoscaler: Autoscaler
    now: datetime
    cluster: Cluster | None = None
    scheduler: Pod | None = None
    target: GroupOfWorkers | None = None
    others: tuple[GroupOfWorkers, ...] = ()
    rivals: tuple[Autoscaler, ...] = ()
    demand: Answer[int] | None = None
    workers: Answer[tuple[Worker, ...]] | None = None

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
        return self.now if self.was_changed else moment(self.autoscaler.status.get("lastScaleTime"))


def _age(autoscaler: Autoscaler) -> tuple[float, str]:
    created = autoscaler.meta.created
    return (created.timestamp() if created else 0.0, autoscaler.name)
