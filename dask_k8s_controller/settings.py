"""What whoever runs the controller may choose: Dask's configuration under ``kubernetes.controller``.

As any of Dask's configuration it comes from YAML files, or from environment variables such as
``DASK_KUBERNETES__CONTROLLER__HEALTH_PORT=8081``: https://docs.dask.org/en/stable/configuration.html. Nothing
else of the controller reads it. A setting's key is its name with dashes, below that of its section, unless
its metadata name another; one whose key is None can't be configured. Times are in seconds.
"""

from __future__ import annotations

import dataclasses
import logging
import random
from collections.abc import Iterator
from dataclasses import field
from enum import StrEnum
from typing import Annotated, Any, get_type_hints

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo
from pydantic.dataclasses import dataclass

PREFIX = "kubernetes.controller"

DEFAULT_HEALTH_PORT = 8080

SAFETY = 2 / 3
"""The share of a Lease's duration for which its leader acts without having renewed it."""

Seconds = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class InvalidSetting(ValueError):
    """A setting has a value that it can't have."""


class TLSMode(StrEnum):
    """Whether clusters that say nothing of TLS get it."""

    OFF = "Off"
    DEFAULT = "Default"
    REQUIRED = "Required"


def _tls_mode(value: Any) -> Any:
    # False is what YAML makes of a bare Off.
    return "Off" if value is False else str(value).capitalize()


def _level(value: str) -> str:
    if value.upper() not in logging.getLevelNamesMapping():
        raise ValueError("write INFO or WARNING")
    return value.upper()


def _words(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(value.replace(",", " ").split())
    return tuple(map(str, value)) if isinstance(value, list) else value


def _renewal(value: float, info: ValidationInfo) -> float:
    duration = info.data.get("duration", float("inf"))
    if not 0 < value < duration * SAFETY:
        raise ValueError(
            f"must be above 0 and below two thirds of leader-election.duration, which is {duration:g}"
        )
    return value


def _keyed(default: Any, key: str | None) -> Any:
    return field(default=default, metadata={"key": key})


def _section(section: type, key: str | None = None) -> Any:
    return field(default_factory=section, metadata={} if key is None else {"key": key})


@dataclass(frozen=True)
class Backoff:
    """Delays that double with every failure in a row."""

    first: Seconds = 0.25
    longest: Seconds = 60.0

    def bound(self, failures: int) -> float:
        """Return the most that the delay may be after so many failures in a row."""
        return min(self.longest, self.first * 2.0 ** min(max(failures - 1, 0), 30))

    def delay(self, failures: int) -> float:
        """Return the delay after so many failures in a row."""
        # Spread by a quarter, so that what failed together doesn't come back together.
        return self.bound(failures) * random.uniform(0.75, 1.0)


@dataclass(frozen=True)
class Limits:
    """How much, how long and how often the API server is asked."""

    concurrency: Count = 100
    """Requests at the same time; one namespace has at most a quarter of them, or 8."""
    timeout: Seconds = 15.0
    """One request may take so long."""
    attempts: Count = 3
    """How often a request is sent before its reconcile fails; then the key backs off and is observed anew."""
    first_delay: Seconds = 0.2
    """Wait before the second attempt; it doubles with each."""
    longest_delay: Seconds = 10.0
    """Bound of the delays, of those that the API server asks for as well."""


@dataclass(frozen=True)
class Patience:
    """How long a scheduler may take."""

    answer: Seconds = _keyed(10.0, "timeout")
    retire: Seconds = _keyed(600.0, "retire-timeout")
    """To retire workers, as their results have to be moved."""


@dataclass(frozen=True)
class Retry(Backoff):
    """The waits before a failed attempt of a job is followed by another: by default a Kubernetes Job's."""

    first: Seconds = _keyed(10.0, "retry-delay")
    longest: Seconds = _keyed(360.0, "longest-retry-delay")


@dataclass(frozen=True)
class Policy:
    """The waits that plans make, and other choices that plans depend on."""

    answer_age: Seconds = _keyed(2.0, None)
    """An answer of a scheduler may be so old when a plan relies on it."""
    scheduler_retry: Seconds = _keyed(5.0, "scheduler.retry")
    """Wait before a scheduler that failed to answer is asked again."""
    drain_poll: Seconds = _keyed(1.0, "scheduler.drain-poll")
    """Wait between looks at a worker that is finishing its tasks."""
    worker_poll: Seconds = _keyed(0.5, None)
    """The least wait between looks whether the scheduler knows the workers of pods that are ready."""
    heartbeat: Seconds = _keyed(1.0, None)
    """What an idle worker is said to do may be so old, where the scheduler can't drain."""
    retire_patience: Seconds = _keyed(30.0, "scheduler.retire-patience")
    """Wait for a retirement that an earlier process of the controller may have begun."""
    refusal_memory: Seconds = _keyed(30.0, "scheduler.refusal-memory")
    """A worker that the scheduler would not retire isn't asked for again so long."""
    short_life: Seconds = 10.0
    """A pod that ended sooner after its start is replaced only after ``failure_delay``."""
    failure_delay: Seconds = 10.0
    idle_poll: Seconds = 1.0
    """The least wait between looks at whether a busy scheduler has become idle."""
    burst: Count = _keyed(500, None)
    """Create at most so many pods in one reconcile, however many are asked for, as a ReplicaSet does."""
    batch_size: Count | None = _keyed(None, "worker-allocation.batch-size")
    """Create at most so many workers of a group at a time; None has no bound."""
    batch_delay: Seconds = _keyed(0.0, "worker-allocation.delay")
    """Wait between such batches."""
    demand_poll: Seconds = _keyed(5.0, "autoscaler.interval")
    """Wait between looks at how many workers a scheduler could use."""
    retry: Retry = _section(Retry, "job")
    tls: Annotated[TLSMode, BeforeValidator(_tls_mode)] = TLSMode.OFF
    """Whether clusters without ``spec.tls`` speak TLS, and others may do without."""
    certificate_lifetime: Annotated[float, Field(ge=1)] = 365 * 86400.0
    """For how long a certificate is made; another is made in the last third of it."""
    operator_label: str = _keyed(
        "app.kubernetes.io/name=dask-kubernetes-operator", "network-policy.operator-label"
    )
    """A label of the controller's own pods, as ``key=value``: NetworkPolicies let them through."""


@dataclass(frozen=True)
class EventSettings:
    """Which Kubernetes Events are written."""

    enabled: bool = True
    level: Annotated[str, AfterValidator(_level)] = "INFO"
    """Of which importance, as in `logging`: INFO for all, WARNING for what went wrong."""


@dataclass(frozen=True)
class LeaderElection:
    """How several replicas of the controller agree on the one that acts, by a Lease.

    https://kubernetes.io/docs/concepts/architecture/leases/
    """

    enabled: bool = False
    """Whether there may be several replicas."""
    name: str = "dask-kubernetes-operator"
    namespace: str = ""
    """Where the Lease is; in the controller's own namespace if it is empty."""
    duration: Seconds = 15.0
    """A leader that is silent for so long is replaced."""
    renewal: Annotated[float, Field(validate_default=True), AfterValidator(_renewal)] = 5.0
    """Wait between signs of life."""

    @property
    def deadline(self) -> float:
        """A leader that could not renew for so long no longer acts: others soon will."""
        return self.duration * SAFETY


@dataclass(frozen=True)
class Settings:
    """All settings."""

    health_port: Annotated[int, Field(ge=0)] | None = None
    """Port of ``/healthz`` and ``/metrics``. None takes 8080, or none at all if that is taken: several
    controllers can run on one machine. A port that is asked for must be free."""
    health_host: str = ""
    """Address that they listen on; if empty, all of the pod's, or outside a cluster the loopback."""
    concurrency: Count = 100
    """How many objects are reconciled at the same time."""
    spacing: Seconds = 0.05
    """The least time between two reconciles of one object: many changes, one reconcile."""
    writes_per_object: Count = 32
    """How many writes one object's reconcile sends at the same time, so that no object takes all."""
    status_interval: Seconds = 2.0
    """The least time between writes of a status in which nothing but numbers of workers differ."""
    leaving_taints: Annotated[tuple[str, ...], BeforeValidator(_words)] = ()
    """Keys of taints that announce a node's end, beside those that are known; a text has them by commas."""
    stop_grace: Seconds = 10.0
    """Reconciles may take so long to finish when the controller is asked to stop."""
    backoff: Backoff = _section(Backoff)
    """Delays of an object whose reconcile failed."""
    limits: Limits = _section(Limits, "api")
    patience: Patience = _section(Patience, "scheduler")
    policy: Policy = _section(Policy, "")
    events: EventSettings = _section(EventSettings)
    leader_election: LeaderElection = _section(LeaderElection)

    @classmethod
    def from_config(cls) -> Settings:
        """Read Dask's configuration.

        Raises
        ------
        InvalidSetting
            With the key that is wrong, and what would be right.
        """
        import dask.config

        chosen: dict[str, Any] = {}
        keys = {path: key for path, key, _ in settings_of(cls)}
        for path, key in keys.items():
            if (value := dask.config.get(f"{PREFIX}.{key}", None)) is not None:
                section = chosen
                for name in path[:-1]:
                    section = section.setdefault(name, {})
                section[path[-1]] = value
        try:
            return cls(**chosen)
        except ValidationError as error:
            wrong = error.errors(include_url=False)[0]
            key = keys[tuple(str(part) for part in wrong["loc"])]
            raise InvalidSetting(f"{PREFIX}.{key} is {wrong['input']!r}: {wrong['msg']}") from error


def settings_of(
    section: type, path: tuple[str, ...] = (), prefix: str = ""
) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """List all settings below a section: each with the names that lead to it, its key, and its default."""
    types = get_type_hints(section)
    for one in dataclasses.fields(section):
        key = one.metadata.get("key", one.name.replace("_", "-"))
        if key is not None:
            key = ".".join(part for part in (prefix, key) if part)
            if dataclasses.is_dataclass(types[one.name]):
                yield from settings_of(types[one.name], (*path, one.name), key)
            else:
                yield (*path, one.name), key, one.default
