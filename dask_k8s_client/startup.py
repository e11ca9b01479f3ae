"""What a cluster must get to before anybody can connect, and why it doesn't get there. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from dask_k8s_client import pods
from dask_k8s_client.conditions import why_not_ready
from dask_k8s_client.errors import (
    INSTALL,
    ClusterNotFoundError,
    ControllerTimeoutError,
    KubeClusterError,
    ResourceTimeoutError,
    SchedulerStartupError,
    with_remedy,
)
from dask_k8s_client.observe import Observed

Json = dict[str, Any]

NO_ADDRESS = "its LoadBalancer has no address yet"


class Stage(NamedTuple):
    """One thing that is waited for."""

    waiting_for: str
    is_reached: Callable[[Observed], bool]


def controller_has_acted(observed: Observed) -> bool:
    """Whether a controller has written the cluster's phase."""
    return bool(observed.phase)


def scheduler_is_ready(observed: Observed) -> bool:
    """Whether the scheduler's pod serves."""
    return observed.scheduler is not None and pods.is_ready(observed.scheduler)


def service_is_ready(observed: Observed) -> bool:
    """Whether the scheduler's Service exists, and has an address if it is a LoadBalancer."""
    service = observed.service
    if service is None:
        return False
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress")
    return service["spec"].get("type") != "LoadBalancer" or bool(ingress)


STAGES = (
    Stage("controller to action cluster", controller_has_acted),
    Stage("scheduler pod", scheduler_is_ready),
    Stage("scheduler service", service_is_ready),
)


def stage(observed: Observed) -> Stage | None:
    """Return what is waited for, None if the cluster can be connected to."""
    return next((stage for stage in STAGES if not stage.is_reached(observed)), None)


def announcement(stage: Stage, observed: Observed) -> str:
    """Say what is waited for."""
    lacks_address = stage.is_reached is service_is_ready and observed.service is not None
    return f"Waiting for {stage.waiting_for}" + (f": {NO_ADDRESS}" if lacks_address else "")


def milestones(observed: Observed) -> Iterator[str]:
    """Name what has been reached; each new one is progress that restarts the time limit."""
    if observed.phase:
        yield f"phase {observed.phase}"
    if observed.scheduler is not None:
        yield from pods.milestones(observed.scheduler)
    if observed.service is not None:
        yield "service created"
    for event in observed.events.values():
        if event.get("type") == "Normal":
            yield f"event {event.get('reason')}"


def is_under_way(observed: Observed) -> bool:
    """Whether something that may well take longer than the time limit is going on."""
    scheduler = observed.scheduler
    return scheduler is not None and pods.is_pulling(scheduler) and not scheduler_is_ready(observed)


def definite_failure(observed: Observed) -> KubeClusterError | None:
    """Return the error if it is certain that waiting is useless."""
    if observed.cluster is None:
        return ClusterNotFoundError(f"The DaskCluster {observed.name} was deleted while we waited for it.")
    refused = [error for what, error in observed.refusals.items() if what not in ("events", "groups")]
    return with_remedy(refused[0]) if refused else None


def failure(observed: Observed, waited_for: Stage, timeout: float) -> KubeClusterError:
    """Say why a stage was not reached in time.

    Parameters
    ----------
    observed : Observed
        How it is now.
    waited_for : Stage
        What was not reached.
    timeout : float
        Seconds that nothing moved.

    Returns
    -------
    KubeClusterError
        With Kubernetes' own reason and the remedy.
    """
    if waited_for.is_reached is controller_has_acted:
        return ControllerTimeoutError(
            f"Dask Cluster resource not actioned after {timeout:g} seconds, is the Dask Operator running? "
            f"Install it by {INSTALL}; if it is there, look at its logs: it must watch this namespace."
        )
    if waited_for.is_reached is service_is_ready:
        kind = (observed.service or {"spec": {}})["spec"].get("type")
        reason = (
            f"{NO_ADDRESS}; does your Kubernetes provide load balancers?"
            if kind == "LoadBalancer"
            else "it doesn't exist."
        )
        return ResourceTimeoutError(
            f"The scheduler's Service wasn't ready after {timeout:g} seconds: {reason}"
        )
    return scheduler_failure(observed, timeout)


def unseen(observed: Observed) -> str:
    """Say what could not be looked at, since it may be what would explain a failure."""
    error = observed.refusals.get("events")
    return f"Kubernetes' events could not be read, which may tell more: {error}." if error else ""


def scheduler_failure(observed: Observed, timeout: float) -> KubeClusterError:
    """Say why the scheduler doesn't run."""
    if ((observed.cluster or {}).get("spec") or {}).get("suspend"):
        return ResourceTimeoutError(
            f"The cluster {observed.name} is suspended: its scheduler runs when spec.suspend is false."
        )
    pod = observed.scheduler
    if pod is None:
        reason = why_not_created(observed)
        return SchedulerStartupError(
            _sentence(
                "Scheduler failed to start.", f"Its pod wasn't created within {timeout:g} seconds.", reason
            )
        )
    found = pods.state(pod)
    warnings = [] if found.level == "bad" else recent_warnings(observed, pod["metadata"]["name"])
    text = _sentence(
        "Scheduler failed to start.",
        f"Its pod {pod['metadata']['name']} is {str(found).rstrip('.')}.",
        *warnings,
    )
    return SchedulerStartupError(_sentence(text, pods.remedy(text), unseen(observed)))


def why_not_created(observed: Observed) -> str:
    """Return the controller's own reason for a cluster without a scheduler pod."""
    if text := why_not_ready(observed.cluster or {}):
        return _sentence(text, pods.remedy(text))
    warnings = recent_warnings(observed, observed.name)
    return (
        _sentence(*warnings, *(pods.remedy(text) for text in warnings[:1]))
        or "The operator's logs may tell why."
    )


def recent_warnings(observed: Observed, about: str) -> list[str]:
    """Return Kubernetes' warnings about an object, the newest last."""
    found = [
        event
        for event in observed.events.values()
        if event.get("type") == "Warning"
        and event.get("reason") != "Unhealthy"
        and (event.get("involvedObject") or {}).get("name") == about
    ]
    found.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    return [f"{event.get('reason')}: {event.get('message')}" for event in found[-3:]]


def _sentence(*parts: str) -> str:
    return " ".join(part for part in parts if part)
