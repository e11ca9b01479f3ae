"""What whoever runs the controller may choose: Dask's configuration under ``kubernetes.controller``.

As any of Dask's configuration it comes from YAML files, or from environment variables such as
``DASK_KUBERNETES__CONTROLLER__HEALTH_PORT=8081``: https://docs.dask.org/en/stable/configuration.html
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import dask.config

from dask_k8s_controller.kubernetes.api import Limits
from dask_k8s_controller.kubernetes.errors import ControllerError
from dask_k8s_controller.plans.actions import Policy
from dask_k8s_controller.runtime.queue import Backoff
from dask_k8s_controller.scheduler.client import Patience

PREFIX = "kubernetes.controller"

DEFAULT_HEALTH_PORT = 8080


class InvalidSetting(ControllerError):
    """A setting has a value that it can't have."""


@dataclass(frozen=True)
class EventSettings:
    """Which Kubernetes Events are written.

    Parameters
    ----------
    enabled : bool
        Whether any are.
    level : int
        Of which importance, as in `logging`: INFO for all, WARNING for what went wrong.
    """

    enabled: bool = True
    level: int = logging.INFO


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
    turns : int
        How many objects are reconciled at the same time.
    spacing : float
        The least seconds between two turns of one object: many changes, one turn.
    writes_per_object : int
        How many writes one object's turn sends at the same time, so that no object takes all.
    status_interval : float
        Seconds between writes of a status in which nothing but numbers of workers differ.
    stop_grace : float
        Seconds that turns may take to finish when the controller is asked to stop.
    """

    health_port: int | None = None
    health_host: str = ""
    turns: int = 100
    spacing: float = 0.05
    writes_per_object: int = 32
    status_interval: float = 1.0
    stop_grace: float = 10.0
    backoff: Backoff = field(default_factory=Backoff)
    limits: Limits = field(default_factory=Limits)
    patience: Patience = field(default_factory=Patience)
    policy: Policy = field(default_factory=Policy)
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
        default = cls()
        batch_size = setting("worker-allocation.batch-size", None, int, least=1)
        return cls(
            health_port=setting("health-port", None, int, least=0),
            health_host=setting("health-host", default.health_host, str),
            turns=setting("turns", default.turns, int, least=1),
            spacing=setting("spacing", default.spacing, float),
            writes_per_object=setting("writes-per-object", default.writes_per_object, int, least=1),
            status_interval=setting("status-interval", default.status_interval, float),
            stop_grace=setting("stop-grace", default.stop_grace, float),
            backoff=Backoff(
                first=setting("backoff.first", default.backoff.first, float),
                longest=setting("backoff.longest", default.backoff.longest, float),
            ),
            limits=Limits(
                concurrency=setting("api.concurrency", default.limits.concurrency, int, least=1),
                timeout=setting("api.timeout", default.limits.timeout, float),
                attempts=setting("api.attempts", default.limits.attempts, int, least=1),
                first_delay=setting("api.first-delay", default.limits.first_delay, float),
                longest_delay=setting("api.longest-delay", default.limits.longest_delay, float),
            ),
            patience=Patience(
                answer=setting("scheduler.timeout", default.patience.answer, float),
                retire=setting("scheduler.retire-timeout", default.patience.retire, float),
            ),
            policy=Policy(
                scheduler_retry=setting("scheduler.retry", default.policy.scheduler_retry, float),
                drain_poll=setting("scheduler.drain-poll", default.policy.drain_poll, float),
                retire_patience=setting("scheduler.retire-patience", default.policy.retire_patience, float),
                refusal_memory=setting("scheduler.refusal-memory", default.policy.refusal_memory, float),
                failure_delay=setting("failure-delay", default.policy.failure_delay, float),
                short_life=setting("short-life", default.policy.short_life, float),
                idle_poll=setting("idle-poll", default.policy.idle_poll, float),
                batch_size=batch_size,
                batch_delay=setting("worker-allocation.delay", None, float) or 0.0,
            ),
            events=EventSettings(
                enabled=setting("events.enabled", True, bool),
                level=_level(setting("events.level", "INFO", str)),
            ),
            leader_election=LeaderElection(
                enabled=setting("leader-election.enabled", False, bool),
                name=setting("leader-election.name", default.leader_election.name, str),
                namespace=setting("leader-election.namespace", "", str),
                duration=setting("leader-election.duration", default.leader_election.duration, float),
                renewal=setting("leader-election.renewal", default.leader_election.renewal, float),
            ),
        )


def setting(key: str, default: Any, kind: type, *, least: float = 0) -> Any:
    value = dask.config.get(f"{PREFIX}.{key}", default)
    if value is None or value == default:
        return default
    if kind is str:
        return str(value)
    if kind is bool and not isinstance(value, bool):
        raise InvalidSetting(f"{PREFIX}.{key} is {value!r}: write true or false")
    try:
        number = kind(value)
    except (TypeError, ValueError) as error:
        raise InvalidSetting(f"{PREFIX}.{key} is {value!r}: write a number") from error
    if kind is not bool and number < least:
        raise InvalidSetting(f"{PREFIX}.{key} is {value!r}: write a number of at least {least}")
    return number


def _level(name: str) -> int:
    level = logging.getLevelNamesMapping().get(name.upper())
    if level is None:
        raise InvalidSetting(f"{PREFIX}.events.level is {name!r}: write INFO or WARNING")
    return level
