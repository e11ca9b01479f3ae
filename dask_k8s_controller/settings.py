"""What whoever runs the controller may choose: Dask's configuration under ``kubernetes.controller``.

As any of Dask's configuration it comes from YAML files, or from environment variables such as
``DASK_KUBERNETES__CONTROLLER__HEALTH_PORT=8081``: https://docs.dask.org/en/stable/configuration.html. Nothing
``DASK_KUBERNETES__CONTROLLER__HEALTH_PORT=8081``: https://docs.dask.org/en/stable/configuration.html. Nothing
metadata name another; one whose key is None can't be configured.
"""

from __future__ import annotations

import dataclasses
import logging
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, get_type_hints

from dask_k8s_models.scalars import MAX_WORKERS

PREFIX = "kubernetes.controller"

DEFAULT_HEALTH_PORT = 8080


class InvalidSetting(ValueError):
    """A setting has a value that it can't have."""


class TLSMode(StrEnum):
    """Whether clusters that say nothing of TLS get it."""

    OFF = "Off"
    DEFAULT = "Default"
    REQUIRED = "Required"


def _keyed(default: Any, key: str | None) -> Any:
    return field(default=default, metadata={"key": key})


@dataclass(frozen=True)
class Backoff:
    """Delays that double with every failure in a row.

    Parameters
    ----------
    first, longest : float
        Seconds.
    """

    first: float = 0.25
    longest: float = 60.0

    def delay(self, failures: int) -> float:
        """Return the delay after so many failures in a row, in seconds."""
        # Spread by a quarter, so that what failed together doesn't come back together.
        delay = min(self.longest, self.first * 2.0 ** min(failures - 1, 30))
        return delay * random.uniform(0.75, 1.0)


@dataclass(frozen=True)
class Limits:
    """How much, how long and how often the API server is asked.

    Parameters
    ----------
    concurrency : int
        Requests at the same time; one namespace has at most a quarter of them, or 8.
    timeout : float
        Seconds that one request may take.
    attempts : int
        How often a request is sent before its reconcile fails; then the key backs off and is observed anew.
    first_delay : float
        Seconds before the second attempt; it doubles with each.
    longest_delay : float
        Bound of the delays, of those that the API server asks for as well.
    """

    concurrency: int = 100
    timeout: float = 15.0
    attempts: int = 3
    first_delay: float = 0.2
    longest_delay: float = 10.0


@dataclass(frozen=True)
class Patience:
    """How long a scheduler may take.

    Parameters
    ----------
    answer : float
        Seconds for an answer.
    retire : float
        Seconds for retiring workers, as their results have to be moved.
    """

    answer: float = _keyed(10.0, "timeout")
    retire: float = _keyed(600.0, "retire-timeout")


@dataclass(frozen=True)
class Retry:
    """The waits before a failed attempt of a job is followed by another: they double with every failure.

    Parameters
    ----------
    first, longest : float
        Seconds; those of a Kubernetes Job by default.
    """

    first: float = _keyed(10.0, "retry-delay")
    longest: float = _keyed(360.0, "longest-retry-delay")

    def delay(self, failed: int) -> float:
        """Return the wait after so many failures, in seconds."""
        return min(self.longest, self.first * 2.0 ** min(max(failed - 1, 0), 30))


@dataclass(frozen=True)
class Policy:
    """The waits that plans make, in seconds, and other choices that plans depend on.

    Parameters
    ----------
    answer_age : float
        An answer of a scheduler may be so old when a plan relies on it.
    scheduler_retry : float
        Wait before a scheduler that failed to answer is asked again.
    drain_poll : float
        Wait between looks at a worker that is finishing its tasks.
    worker_poll : float
        The least wait between looks whether the scheduler knows the workers of pods that are ready.
    heartbeat : float
        What an idle worker is said to do may be so old, where the scheduler can't drain.
    retire_patience : float
        Wait for a retirement that an earlier process of the controller may have begun.
    refusal_memory : float
        A worker that the scheduler would not retire isn't asked for again so long.
    short_life : float
        A pod that ended sooner after its start is replaced only after ``failure_delay``.
    failure_delay : float
        See ``short_life``.
    idle_poll : float
        The least wait between looks at whether a busy scheduler has become idle.
    burst : int
        Create at most so many pods in one reconcile, however many are asked for, as a ReplicaSet does.
    batch_size : int, optional
        Create at most so many workers of a group at a time; None has no bound.
    batch_delay : float
        Wait between such batches.
    demand_poll : float
        Wait between looks at how many workers a scheduler could use.
    largest_demand : int
        Believe no scheduler that it could use more workers than this.
    retry : Retry
        Waits between the attempts of a job.
    tls : TLSMode
        Whether clusters without ``spec.tls`` speak TLS, and others may do without.
    certificate_lifetime : float
        Seconds for which a certificate is made; another is made in the last third of them.
    operator_label : str
        A label of the controller's own pods, as ``key=value``: NetworkPolicies let them through.
    """

    answer_age: float = _keyed(2.0, None)
    scheduler_retry: float = _keyed(5.0, "scheduler.retry")
    drain_poll: float = _keyed(1.0, "scheduler.drain-poll")
    worker_poll: float = _keyed(0.5, None)
    heartbeat: float = _keyed(1.0, None)
    retire_patience: float = _keyed(30.0, "scheduler.retire-patience")
    refusal_memory: float = _keyed(30.0, "scheduler.refusal-memory")
    short_life: float = 10.0
    failure_delay: float = 10.0
    idle_poll: float = 1.0
    burst: int = _keyed(500, None)
    batch_size: int | None = _keyed(None, "worker-allocation.batch-size")
    batch_delay: float = _keyed(0.0, "worker-allocation.delay")
    demand_poll: float = _keyed(5.0, "autoscaler.interval")
    largest_demand: int = _keyed(MAX_WORKERS, None)
    retry: Retry = field(default_factory=Retry, metadata={"key": "job"})
    tls: TLSMode = TLSMode.OFF
    certificate_lifetime: float = 365 * 86400.0
    operator_label: str = _keyed(
        "app.kubernetes.io/name=dask-kubernetes-operator", "network-policy.operator-label"
    )


@dataclass(frozen=True)
class EventSettings:
    """Which Kubernetes Events are written.

    Parameters
    ----------
    enabled : bool
        Whether any are.
    level : str
        Of which importance, as in `logging`: INFO for all, WARNING for what went wrong.
    """

    enabled: bool = True
    level: str = "INFO"

    def __post_init__(self) -> None:
        if self.level.upper() not in logging.getLevelNamesMapping():
            raise InvalidSetting(f"{PREFIX}.events.level is {self.level!r}: write INFO or WARNING")

    @property
    def least_level(self) -> int:
        """The level as a number of `logging`."""
        return logging.getLevelNamesMapping()[self.level.upper()]


@dataclass(frozen=True)
class LeaderElection:
    """How several replicas of the controller agree on the one that acts, by a Lease.

    https://kubernetes.io/docs/concepts/architecture/leases/

    Parameters
    ----------
    enabled : bool
        Whether there may be several replicas.
    name, namespace : str
        The Lease; the namespace is the controller's own if it is empty.
    duration : float
        Seconds after which a silent leader is replaced.
    renewal : float
        Seconds between signs of life.
    """

    enabled: bool = False
    name: str = "dask-kubernetes-operator"
    namespace: str = ""
    duration: float = 15.0
    renewal: float = 5.0


@dataclass(frozen=True)
class Settings:
    """All settings.

    Parameters
    ----------
    health_port : int or None
        Port of ``/healthz`` and ``/metrics``. None takes 8080, or none at all if that is taken: several
        controllers can run on one machine. A port that is asked for must be free.
    health_host : str
        Address that they listen on; if empty, all of the pod's, or outside a cluster the loopback.
    concurrency : int
        How many objects are reconciled at the same time.
    spacing : float
        The least seconds between two reconciles of one object: many changes, one reconcile.
    writes_per_object : int
        How many writes one object's reconcile sends at the same time, so that no object takes all.
    status_interval : float
        Seconds between writes of a status in which nothing but numbers of workers differ.
    stop_grace : float
        Seconds that reconciles may take to finish when the controller is asked to stop.
    backoff : Backoff
        Delays of an object whose reconcile failed.
    limits : Limits
        Of requests to the API server.
    patience : Patience
        With schedulers.
    policy : Policy
        What plans depend on.
    events : EventSettings
        Which Events are written.
    leader_election : LeaderElection
        For several replicas.
    """

    health_port: int | None = None
    health_host: str = ""
    concurrency: int = 100
    spacing: float = 0.05
    writes_per_object: int = 32
    status_interval: float = 1.0
    stop_grace: float = 10.0
    backoff: Backoff = field(default_factory=Backoff)
    limits: Limits = field(default_factory=Limits, metadata={"key": "api"})
    patience: Patience = field(default_factory=Patience, metadata={"key": "scheduler"})
    policy: Policy = field(default_factory=Policy, metadata={"key": ""})
    events: EventSettings = field(default_factory=EventSettings)
    leader_election: LeaderElection = field(default_factory=LeaderElection)

    @classmethod
    def from_config(cls) -> Settings:
        """Read Dask's configuration.

        Raises
        ------
        InvalidSetting
            With the key that is wrong, and what would be right.
        """
        import dask.config

        written = {key: dask.config.get(f"{PREFIX}.{key}", None) for key, _, _ in settings_of(cls)}
        settings: Settings = _read(cls, written, "")
        return settings


def settings_of(section: type, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """List all settings below a section: each with its key, its type, and its default."""
    types = get_type_hints(section)
    for one in dataclasses.fields(section):
        key = _key(one, prefix)
        if dataclasses.is_dataclass(types[one.name]):
            yield from settings_of(types[one.name], key or "")
        elif key is not None:
            yield key, types[one.name], one.default


def _key(one: dataclasses.Field[Any], prefix: str) -> str | None:
    key: str | None = one.metadata.get("key", one.name.replace("_", "-"))
    if key is None:
        return None
    return ".".join(part for part in (prefix, key) if part)


def _read(section: Any, written: dict[str, Any], prefix: str) -> Any:
    types = get_type_hints(section)
    chosen = {}
    for one in dataclasses.fields(section):
        key = _key(one, prefix)
        if dataclasses.is_dataclass(types[one.name]):
            chosen[one.name] = _read(types[one.name], written, key or "")
        elif key is not None and (value := written[key]) is not None:
            chosen[one.name] = _value(key, value, types[one.name])
    return section(**chosen)


LEAST = {"concurrency": 1, "writes-per-object": 1, "attempts": 1, "batch-size": 1, "certificate-lifetime": 1}
"""The least values of settings, by the last part of their keys; 0 for all others."""


def _value(key: str, value: Any, kind: Any) -> Any:
    what = f"{PREFIX}.{key} is {value!r}"
    if kind is str:
        return str(value)
    if kind is TLSMode:
        return _tls_mode(what, value)
    if kind is bool:
        if not isinstance(value, bool):
            raise InvalidSetting(f"{what}: write true or false")
        return value
    try:
        number = float(value) if kind is float else int(value)
    except (TypeError, ValueError) as error:
        raise InvalidSetting(f"{what}: write a number") from error
    least = LEAST.get(key.rpartition(".")[2], 0)
    if not number >= least:
        raise InvalidSetting(f"{what}: write a number of at least {least}")
    return number


def _tls_mode(what: str, value: Any) -> TLSMode:
    if value is False:  # What YAML makes of a bare Off.
        return TLSMode.OFF
    for mode in TLSMode:
        if str(value).lower() == mode.lower():
            return mode
    raise InvalidSetting(f"{what}: write {', '.join(TLSMode)}")
