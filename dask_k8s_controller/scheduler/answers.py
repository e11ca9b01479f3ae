"""What a Dask scheduler said, as plans rely on it.

Pure: no kopf, no HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Generic, Protocol, TypeVar

from dask_k8s_controller.cache.objects import Pod

T = TypeVar("T")


class Problem(Enum):
    """Why there is no answer."""

    NONE = ""
    UNREACHABLE = "SchedulerUnreachable"
    NO_ROUTE = "SchedulerRoutesMissing"
    BAD_ANSWER = "SchedulerAnswersBadly"


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What a scheduler said last, or why it didn't."""

    at: datetime
    value: T | None = None
    problem: Problem = Problem.NONE
    message: str = ""

    def age(self, now: datetime) -> float:
        """Return the seconds since."""
        return (now - self.at).total_seconds()


@dataclass(frozen=True)
class Worker:
    """A worker process that the scheduler knows."""

    address: str
    host: str
    name: str = ""
    status: str = "running"
    executing: int = 0
    """Tasks that it runs now."""
    keys: int = 0
    """Results that it holds."""
    nbytes: int = 0
    """Their size."""
    can_drain: bool = False
    """The scheduler can give it no more tasks; then the numbers are those of this very moment, too."""
    is_draining: bool = False
    """The scheduler gives it no more tasks, as we asked it to."""

    @property
    def is_busy(self) -> bool:
        """Runs tasks."""
        return self.executing > 0

    @property
    def is_retiring(self) -> bool:
        """Takes no more tasks, since it is being retired."""
        return self.status == "closing_gracefully"


@dataclass(frozen=True)
class Retirement:
    """What this process of the controller knows of the retirements that it asked for, by the pod's uid."""

    under_way: frozenset[str] = frozenset()
    done: frozenset[str] = frozenset()
    refused: Mapping[str, datetime] = field(default_factory=dict)
    """When the scheduler last left a pod's workers out of its answer."""
    busy: Mapping[str, datetime] = field(default_factory=dict)
    """When the scheduler last said that a pod's workers, though drained, still run tasks."""
    failed: Answer[None] | None = None
    """The last call, if it failed."""


class Answers(Protocol):
    """What schedulers said last, by the uid of the scheduler's pod; of retirements, by that of the group."""

    def workers(self, scheduler_uid: str) -> Answer[tuple[Worker, ...]] | None: ...

    def idleness(self, scheduler_uid: str) -> Answer[datetime] | None: ...

    def demand(self, scheduler_uid: str) -> Answer[int] | None: ...

    def retirement(self, group_uid: str) -> Retirement: ...


def workers_by_pod(pods: Iterable[Pod], workers: Iterable[Worker]) -> dict[str, tuple[Worker, ...]]:
    """Find out which pod each worker runs in: by its address, else by its name.

    Several workers may run in one pod, with names of any form. Where the address says nothing, as pods share
    it with their host, a worker is called as its pod or ``{pod}-{n}``.

    Returns
    -------
    dict
        The workers by the pod's uid; a pod without workers is missing.
    """
    pods = list(pods)
    by_ip = {pod.ip: pod for pod in pods if pod.ip and not pod.shares_host}
    by_name = {pod.name: pod for pod in pods}
    found: dict[str, list[Worker]] = {}
    for worker in workers:
        pod = by_ip.get(worker.host) or by_name.get(worker.name)
        if pod is None:
            pod = by_name.get(worker.name.rpartition("-")[0])
        if pod is not None:
            found.setdefault(pod.meta.uid, []).append(worker)
    return {uid: tuple(of_pod) for uid, of_pod in found.items()}
