"""What a person sees of a cluster: its components, their states and since when. Pure functions."""

from __future__ import annotations

import html
from datetime import UTC, datetime
from typing import Any, NamedTuple

from dask_k8s_client import ages, pods
from dask_k8s_client.observe import Observed
from dask_k8s_client.pods import State
from dask_k8s_client.startup import NO_ADDRESS, service_is_ready
from dask_k8s_models import names

Json = dict[str, Any]

COLORS = {"good": "green", "waiting": "yellow", "bad": "red"}
HTML_COLORS = {"good": "#2a7d2a", "waiting": "#8a6d00", "bad": "#b3261e"}


class Row(NamedTuple):
    """One component."""

    component: str
    state: State
    since: datetime | None = None

    def age(self, now: datetime) -> str:
        """Say how long it has been in its state."""
        return ages.age(self.since, now)


def rows(observed: Observed) -> list[Row]:
    """Return a cluster's components in the order in which they come to be."""
    return [
        Row("DaskCluster", _cluster_state(observed), _time((observed.cluster or {}), "creationTimestamp")),
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
    since = _time(group, "creationTimestamp")
    ailing = next((state for state in map(pods.state, members) if state.level == "bad"), None)
    word = f"{ready}/{wanted} ready"
    if ailing:
        return Row(title, State(word, "bad", str(ailing)), since)
    if message := _complaint(group):
        return Row(title, State(word, "bad", message), since)
    return Row(title, State(word, "good" if ready >= wanted else "waiting"), since)


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


def table_html(observed: Observed, now: datetime | None = None) -> str:
    """Write the components as HTML rows, for the table of Dask's own cluster representation."""
    moment = now or datetime.now(UTC)
    lines = [
        '<tr><td style="text-align: left;" colspan="2">'
        f"<strong>{html.escape(row.component)}:</strong> "
        f'<span style="color: {HTML_COLORS[row.state.level]};">{html.escape(row.state.word)}</span>'
        f"{_html_detail(row, moment)}</td></tr>"
        for row in rows(observed)
    ]
    return "\n".join(lines)


def pods_html(observed: Observed, now: datetime | None = None) -> str:
    """Write the pods as an HTML row that can be unfolded, for the table of Dask's own representation."""
    moment = now or datetime.now(UTC)
    dask_pods = [*([observed.scheduler] if observed.scheduler else []), *observed.workers]
    lines = []
    for pod in dask_pods:
        state = pods.state(pod)
        lines.append(
            f'<tr><td style="text-align: left;">{html.escape(pod["metadata"]["name"])}</td>'
            f'<td style="text-align: left; color: {HTML_COLORS[state.level]};">{html.escape(state.word)}</td>'
            f'<td style="text-align: right;">{ages.age(_time(pod, "creationTimestamp"), moment)}</td></tr>'
        )
    return (
        '<tr><td style="text-align: left;" colspan="2"><details>'
        f"<summary><strong>Pods ({len(lines)})</strong></summary>"
        f"<table>{''.join(lines)}</table></details></td></tr>"
    )


def progress_html(title: str, observed: Observed, message: str, now: datetime | None = None) -> str:
    """Write the state of a starting cluster as HTML."""
    notes = "".join(
        f'<p style="margin: 0; color: {HTML_COLORS["bad"]};">{html.escape(text)}</p>'
        for text in warnings(observed)[-3:]
    )
    return (
        '<div class="jp-RenderedHTMLCommon jp-RenderedHTML" style="max-width: 50em;">'
        f'<h4 style="margin: 0;">{html.escape(title)}</h4>'
        f'<table style="width: 100%; text-align: left;">{table_html(observed, now)}</table>'
        f'{notes}<p style="margin: 0;"><em>{html.escape(message)}</em></p></div>'
    )


def _html_detail(row: Row, now: datetime) -> str:
    message = f" – {html.escape(row.state.message)}" if row.state.message else ""
    age = row.age(now)
    return message + (f' <small style="color: #757575;">{age}</small>' if age else "")


def _cluster_state(observed: Observed) -> State:
    if observed.cluster is None:
        return State("-", "waiting")
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
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = next((c for c in conditions if c.get("type") == "Ready" and c.get("status") == "True"), None)
    since = ages.parse(ready.get("lastTransitionTime")) if ready else _time(pod, "creationTimestamp")
    return Row("Scheduler Pod", pods.state(pod), since)


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


def _time(resource: Json, key: str) -> datetime | None:
    return ages.parse((resource.get("metadata") or {}).get(key))
