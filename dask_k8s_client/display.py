"""What a person sees of a cluster: its components, their states and since when. Pure functions."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from dask_k8s_client import ages, pods
from dask_k8s_client.observe import Observed
from dask_k8s_client.pods import State
from dask_k8s_client.startup import NO_ADDRESS, service_is_ready
from dask_k8s_models import names

Json = dict[str, Any]

COLORS = {"good": "green", "waiting": "yellow", "bad": "red"}


class Row(NamedTuple):
    """One component."""

    component: str
    state: State
    since: datetime | None = None


def rows(observed: Observed) -> list[Row]:
    """Return a cluster's components in the order in which they come to be."""
    return [
        Row("DaskCluster", _cluster_state(observed), creation(observed.cluster or {})),
        _scheduler_row(observed),
        Row("Scheduler Service", _service_state(observed)),
        *(
            group_row(observed, name)
            for name in sorted(observed.groups, key=lambda n: (not _is_default(observed, n), n))
        ),
    ]


def group_row(observed: Observed, name: str) -> Row:
    """Return a worker group: how many of its workers are ready, and what ails the others."""
    group = observed.groups[name]
    wanted = int(group["spec"]["worker"].get("replicas", 1))
    members = [pod for pod in observed.workers if pods.group(pod) == name]
    ready = sum(1 for pod in members if pods.is_ready(pod))
    title = f"Workers ({name.removeprefix(f'{observed.name}-')})"
    ailing = next((pod for pod in members if pods.state(pod).level == "bad"), None)
    word = f"{ready}/{wanted} ready"
    if ailing:
        return Row(title, State(word, "bad", str(pods.state(ailing))), pods_since(ailing))
    if message := _complaint(group):
        return Row(title, State(word, "bad", message), creation(group))
    times = [since for pod in members if (since := pods_since(pod))]
    return Row(
        title, State(word, "good" if ready >= wanted else "waiting"), max(times, default=creation(group))
    )


def pods_since(pod: Json) -> datetime | None:
    """Return since when a pod is ready, else when it was created."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = next((c for c in conditions if c.get("type") == "Ready" and c.get("status") == "True"), None)
    return ages.parse(ready.get("lastTransitionTime")) if ready else creation(pod)


def creation(resource: Json) -> datetime | None:
    """Return when a resource was created."""
    return ages.parse((resource.get("metadata") or {}).get("creationTimestamp"))


def warnings(observed: Observed) -> list[str]:
    """Return Kubernetes' warnings since we look, in order and each once, but for what `rows` tell already."""
    found = [event for event in observed.events.values() if event.get("type") == "Warning"]
    # Probes fail while a container starts; that is what they are for.
    found = [event for event in found if event.get("reason") != "Unhealthy"]
    found.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    told = " ".join(row.state.message for row in rows(observed))
    texts = [
        f"{(event.get('involvedObject') or {}).get('name')}: {event.get('reason')}: {event.get('message')}"
        for event in found
        if str(event.get("message")) not in told
    ]
    return list(dict.fromkeys(texts))


def why_workers_are_missing(observed: Observed, planned: int, wanted: int) -> str:
    """Say what ails the components, and whether more workers are waited for than the groups ask for."""
    reasons = [f"{row.component}: {row.state}" for row in rows(observed) if row.state.level == "bad"]
    if wanted > planned:
        reasons.append(f"The worker groups ask for {planned} in all; `scale` asks for more.")
    return "\n".join(reasons)


def _cluster_state(observed: Observed) -> State:
    if observed.cluster is None:
        return State("Gone", "bad", "it doesn't exist any more")
    if observed.cluster["metadata"].get("deletionTimestamp"):
        return State("Terminating", "waiting")
    if not observed.phase:
        return State("Waiting", "waiting", "no operator has acted on it yet")
    message = _complaint(observed.cluster) if observed.phase != "Running" else ""
    level = {"Running": "good", "Error": "bad"}.get(observed.phase, "waiting")
    return State(observed.phase, level, message)  # type: ignore[arg-type]


def _scheduler_row(observed: Observed) -> Row:
    pod = observed.scheduler
    if pod is None:
        return Row("Scheduler Pod", State("-", "waiting"))
    return Row("Scheduler Pod", pods.state(pod), pods_since(pod))


def _service_state(observed: Observed) -> State:
    if observed.service is None:
        return State("-", "waiting")
    if not service_is_ready(observed):
        return State("Pending", "waiting", NO_ADDRESS)
    return State(str(observed.service["spec"].get("type") or "Created"), "good")


def _complaint(resource: Json) -> str:
    """Return what the operator says is wrong with its object."""
    for condition in (resource.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "Stalled" and condition.get("status") == "True":
            return f"{condition.get('reason')}: {condition.get('message')}"
    return ""


def _is_default(observed: Observed, group: str) -> bool:
    return group == names.default_group(observed.name)
