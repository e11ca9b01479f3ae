"""What pods suffer, in Kubernetes' own words, with the remedy where it is known. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from dask_k8s_controller.cache.objects import Container, Pod
from dask_k8s_controller.plans.actions import Remark
from dask_k8s_controller.settings import Policy
from dask_k8s_models.commands import remedy, words_of
from dask_k8s_models.labels import Component
from dask_k8s_models.pods import main_container

WAITING_WELL = frozenset({"", "ContainerCreating", "PodInitializing"})


def problem_of(pod: Pod, command: Iterable[str] = ()) -> Remark | None:
    """Say what keeps a pod from being ready; None if nothing does but time.

    The words of its main container's command and args help to know a remedy.
    """
    if pod.meta.is_deleting or pod.is_ready:
        return None
    if pod.unschedulable:
        return Remark("Unschedulable", f"Pod {pod.name}: {pod.unschedulable}.".replace("..", "."))
    if pod.gates:
        return Remark("SchedulingGated", f"Pod {pod.name} waits to be let in by {', '.join(pod.gates)}.")
    for container in pod.containers:
        if container.waiting_reason not in WAITING_WELL:
            message = container.waiting_message or container.exit_message or "no details given"
            text = f"Pod {pod.name}: {container.waiting_reason}: {message}"
            return Remark(container.waiting_reason, text + _exit(container) + _remedy(container, command))
    if pod.phase == "Failed":
        reason = pod.reason or next((c.exit_reason for c in pod.containers if c.exit_reason), "") or "Failed"
        main = next((c for c in pod.containers if c.exit_code), None)
        text = f"Pod {pod.name}: {reason}: {pod.message or 'it has failed'}"
        return Remark(reason, text + (_exit(main) + _remedy(main, command) if main else ""))
    return None


def problems_of(pods: Iterable[Pod], command: Iterable[str] = ()) -> list[Remark]:
    """Say what keeps pods from being ready: one remark for each reason, with the number of pods."""
    words = list(command)
    found: dict[str, list[Remark]] = {}
    for pod in pods:
        if remark := problem_of(pod, words):
            found.setdefault(remark.reason, []).append(remark)
    return [
        Remark(
            reason,
            remarks[0].message + (f" ({len(remarks)} pods)" if len(remarks) > 1 else ""),
            remarks[0].needs_a_person,
        )
        for reason, remarks in found.items()
    ]


def replaced_at(pod: Pod, policy: Policy) -> datetime | None:
    """When to replace a pod that ended; None for at once: it was taken away, or lived for long.

    What ended soon after its start may do so again.
    """
    if pod.reason or pod.ended is None or pod.meta.created is None:
        return None
    lived = (pod.ended - pod.meta.created).total_seconds()
    return pod.ended + timedelta(seconds=policy.failure_delay) if lived < policy.short_life else None


def command_of(part: Mapping[str, Any] | None, component: Component) -> list[str]:
    """Return the words of the container that runs Dask, or the job, of a spec's part that has a pod's."""
    return words_of(main_container((part or {}).get("spec") or {}, component))


def _exit(container: Container) -> str:
    if container.exit_code is None:
        return ""
    reason = f" ({container.exit_reason})" if container.exit_reason else ""
    return f"; the container {container.name} ended with exit code {container.exit_code}{reason}"


def _remedy(container: Container, command: Iterable[str]) -> str:
    has_failed = container.exit_code not in (None, 0) or container.waiting_reason == "RunContainerError"
    text = remedy(command) if has_failed else ""
    return f"; {text}" if text else ""
