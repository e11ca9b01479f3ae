"""What a Dask scheduler said, as plans rely on it.

Pure: no kopf, no HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from ipaddress import ip_address
from itertools import islice
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, OnErrorOmit
from pydantic.dataclasses import dataclass as model

from dask_k8s_controller.cache.objects import Pod

T = TypeVar("T")

MOST = 20
"""Kinds of needs, and resources of a worker, that are read of an answer."""

LENIENT = ConfigDict(populate_by_name=True, extra="ignore")


def _few(value: Any) -> Any:
    """Leave out what is too much, and shorten names that are too long."""
    if isinstance(value, dict):
        return {str(name)[:63]: each for name, each in islice(value.items(), MOST)}
    return value[:MOST] if isinstance(value, list) else value


Number = Annotated[float, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=0)]
Text = Annotated[str, BeforeValidator(lambda value: str(value or ""))]
Flag = Annotated[bool, BeforeValidator(lambda value: value is True)]
Resources = Annotated[Mapping[str, Number], BeforeValidator(_few)]


class Problem(Enum):
    """Why there is no answer."""

    NONE = ""
    UNREACHABLE = "SchedulerUnreachable"
    NO_ROUTE = "SchedulerRoutesMissing"
    BAD_ANSWER = "SchedulerAnswersBadly"


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What a scheduler said last, or why it didn't."""

    at: float
    """When, by the monotonic clock, in seconds: an answer ages whatever is done to the time of day."""
    value: T | None = None
    problem: Problem = Problem.NONE
    """Why it didn't say anything."""
    message: str = ""
    """The same for people."""

    def age(self, monotonic: float) -> float:
        """Return the seconds since."""
        return monotonic - self.at


@dataclass(frozen=True)
class ServedCertificate:
    """The certificate that a scheduler was started with: its public part, in PEM, and when it ends."""

    pem: str
    not_after: datetime


@model(frozen=True, config=LENIENT)
class Worker:
    """A worker process that the scheduler knows."""

    address: str
    host: str
    name: Text = ""
    status: Text = "running"
    executing: Count | None = Field(default=None, validation_alias="processing")
    """Tasks that it runs now; None if that isn't known, which is not 0."""
    keys: Count | None = None
    """Results that it holds."""
    nbytes: Count | None = None
    """Their size."""
    can_drain: bool = False
    """The scheduler can give it no more tasks; then the numbers are those of this very moment, too."""
    is_draining: Flag = Field(default=False, validation_alias="draining")
    """The scheduler gives it no more tasks, as we asked it to."""
    resources: Annotated[Mapping[str, OnErrorOmit[Number]], BeforeValidator(_few)] = field(
        default_factory=dict
    )
    """The abstract resources that it offers, those that can be read."""
    threads: Count = Field(default=0, validation_alias="nthreads")
    """How many tasks it runs at a time; 0 if that isn't known."""
    memory_limit: Count = 0
    """Bytes that it can hold; 0 if that isn't known."""
    bound: Count = 0
    """Results that it alone may hold: actors, and those of tasks for particular workers."""

    @property
    def is_retiring(self) -> bool:
        """Takes no more tasks, since it is being retired."""
        return self.status == "closing_gracefully"


def is_busy(workers: Iterable[Worker]) -> bool:
    """Whether any of a pod's workers runs tasks, as far as is known."""
    return any(worker.executing != 0 for worker in workers)


def holds_nothing(workers: Iterable[Worker]) -> bool:
    """Whether workers are known to neither run tasks nor hold results."""
    return all(worker.executing == 0 and worker.keys == 0 and not worker.nbytes for worker in workers)


def amounts(resources: Mapping[str, float]) -> str:
    """Return amounts of resources as users write them."""
    return " ".join(f"{name}={amount:g}" for name, amount in sorted(resources.items())) or "nothing"


@model(frozen=True, config=LENIENT)
class Need:
    """Tasks that only some workers can run."""

    resources: Resources
    """What each takes of a worker's resources: https://distributed.dask.org/en/stable/resources.html"""
    is_pinned: Flag = Field(default=False, validation_alias="pinned")
    """They are for particular workers or hosts: no other worker helps."""
    waiting: Count = 0
    """How many wait for such a worker."""
    running: Count = 0
    """How many are on one."""
    coming: Count = 0
    """How many will wait soon, when what they depend on is there."""
    slots: Count = 0
    """How many of them should be run at a time, rounded up."""
    load: Annotated[float, Field(strict=True, ge=0)] | None = None
    """The same to the fraction; None if an earlier release tells."""

    @property
    def at_a_time(self) -> float:
        """How many of them should be run at a time; with other kinds a fraction shares a worker."""
        return self.slots if self.load is None else self.load

    def __str__(self) -> str:
        return amounts(self.resources)


@model(frozen=True, config=LENIENT)
class Demand:
    """What a scheduler could use."""

    workers: Count
    """Workers, for the tasks that any worker can run, to finish what is under way, and to hold results."""
    needs: Annotated[tuple[OnErrorOmit[Need], ...], BeforeValidator(_few)] | None = None
    """The other tasks, but those whose needs can't be read: one must not hide them all.

    None where the scheduler has no such route: then they count with ``workers``.
    """
    load: Count | None = None
    """Workers that the tasks alone could use, as far as the scheduler tells."""

    @property
    def for_tasks(self) -> int:
        """Workers that are worth starting."""
        return self.workers if self.load is None else min(self.load, self.workers)


@dataclass
class Retirement:
    """What this process of the controller knows of the retirements that it asked for, by the pod's uid.

    Times are those of the monotonic clock.
    """

    under_way: dict[str, str] = field(default_factory=dict)
    """The uid of the scheduler's pod that was asked: another one knows nothing of it."""
    done: set[str] = field(default_factory=set)
    refused: dict[str, float] = field(default_factory=dict)
    """When the scheduler last left a pod's workers out of its answer."""
    busy: dict[str, float] = field(default_factory=dict)
    """When the scheduler last said that a pod's workers, though drained, still run tasks."""
    failed: Answer[Any] | None = None
    """The last call, if it failed."""


@dataclass(frozen=True)
class Attribution:
    """Which pod each worker runs in, as far as that can be told."""

    by_pod: Mapping[str, tuple[Worker, ...]] = field(default_factory=dict)
    """The workers by the pod's uid; a pod without workers is missing."""
    unexplained: tuple[Worker, ...] = ()
    """Workers that run in none of the pods: as long as there are any, each pod may be theirs."""

    def of(self, pod: Pod) -> tuple[Worker, ...]:
        """Return the workers that run in a pod."""
        return self.by_pod.get(pod.meta.uid, ())

    def may_have_workers(self, pod: Pod) -> bool:
        """Whether the scheduler may know a worker of this pod."""
        return bool(self.of(pod)) or (bool(self.unexplained) and not pod.runs_nothing)


def attribute(pods: Iterable[Pod], workers: Iterable[Worker]) -> Attribution:
    """Find out in which of a cluster's pods each worker runs: by its name, else by its address.

    A worker is called as its pod, or ``{pod}-{n}`` where several run in one. Other names say nothing; then an
    address does, if just one of the pods has it. A pod that has ended explains no worker, and one that is
    being deleted only those of its name, which finish what they have: its address may be another's by now.
    """
    there = {pod.meta.uid: pod for pod in pods if not pod.has_ended}.values()
    by_name = {pod.name: pod for pod in there}
    by_address: dict[str, list[Pod]] = {}
    for pod in there:
        for address in pod.addresses if pod.is_live else ():
            by_address.setdefault(address, []).append(pod)
    found: dict[str, list[Worker]] = {}
    unexplained: list[Worker] = []
    for worker in workers:
        at_address = by_address.get(_canonical(worker.host), [])
        home = _named_so(worker.name, by_name) or (at_address[0] if len(at_address) == 1 else None)
        if home is None:
            unexplained.append(worker)
        else:
            found.setdefault(home.meta.uid, []).append(worker)
    return Attribution({uid: tuple(of_pod) for uid, of_pod in found.items()}, tuple(unexplained))


def _named_so(name: str, by_name: Mapping[str, Pod]) -> Pod | None:
    pod, _, number = name.rpartition("-")
    return by_name.get(name) or (by_name.get(pod) if number.isdecimal() else None)


def _canonical(host: str) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        return host
