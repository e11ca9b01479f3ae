"""What a pod's status says: its state, the reason, and what a person could do about it. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from dask_k8s_client import ages
from dask_k8s_models import commands, labels
from dask_k8s_models import pods as pod_specs

Json = dict[str, Any]

Level = Literal["good", "waiting", "bad"]

IMAGE_PROBLEMS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
    }
)
START_PROBLEMS = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "StartError",
        "CrashLoopBackOff",
    }
)


@dataclass(frozen=True)
class State:
    """How a component is, in Kubernetes' word, with its reason."""

    word: str
    level: Level
    message: str = ""

    def __str__(self) -> str:
        return f"{self.word}: {self.message}" if self.message else self.word


def component(pod: Json) -> str:
    """Return the label that says what the pod is: scheduler, worker or job-runner."""
    return str((pod["metadata"].get("labels") or {}).get(labels.COMPONENT, ""))


def group(pod: Json) -> str:
    """Return the full name of the worker group that the pod belongs to."""
    return str((pod["metadata"].get("labels") or {}).get(labels.WORKER_GROUP_NAME, ""))


def is_anothers(found: Json, uid: str) -> bool:
    """Whether an object belongs to a DaskCluster with another uid, as what an earlier one has left does."""
    owners = found["metadata"].get("ownerReferences") or []
    return any(owner.get("kind") == "DaskCluster" and owner.get("uid") != uid for owner in owners)


def is_terminating(pod: Json) -> bool:
    """Whether the pod has been deleted and is on its way out."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def is_ready(pod: Json) -> bool:
    """Whether the pod serves."""
    condition = _condition(pod, "Ready")
    return not is_terminating(pod) and condition is not None and condition.get("status") == "True"


def scheduler(pods: Iterable[Json]) -> Json | None:
    """Return which of a cluster's scheduler pods counts: a live one, if there is any."""
    found = [pod for pod in pods if component(pod) == labels.Component.SCHEDULER]
    live = [pod for pod in found if is_live(pod)]
    if live:
        return min(live, key=_precedence)
    return max(found, key=lambda pod: str(pod["metadata"].get("creationTimestamp")), default=None)


def is_live(pod: Json) -> bool:
    """Whether the pod runs or will run."""
    return not is_terminating(pod) and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def _precedence(pod: Json) -> tuple[bool, float, str]:
    created = ages.parse(pod["metadata"].get("creationTimestamp"))
    seconds = created.timestamp() if created else 0.0
    return pod_specs.precedence_of_scheduler(is_ready(pod), seconds, pod["metadata"]["name"])


def main_container(pod: Json) -> str:
    """Return the name of the container that runs Dask."""
    annotations = pod["metadata"].get("annotations")
    return str(pod_specs.main_container(pod["spec"], component(pod), annotations).get("name", ""))


def restarts(pod: Json) -> int:
    """How often the container that runs Dask was restarted."""
    return sum(
        int(status.get("restartCount") or 0)
        for status in (pod.get("status") or {}).get("containerStatuses") or []
        if status["name"] == main_container(pod)
    )


def is_pulling(pod: Json) -> bool:
    """Whether the node most likely pulls the image: the network is ready, a container isn't created yet."""
    ready_to_start = _condition(pod, "PodReadyToStartContainers")
    waits = any(waiting.get("reason") == "ContainerCreating" for _, waiting in _waiting(pod))
    return waits and ready_to_start is not None and ready_to_start.get("status") == "True"


def state(pod: Json) -> State:
    """Say how the pod is."""
    status = pod.get("status") or {}
    phase = status.get("phase") or "Pending"
    if is_terminating(pod):
        return State("Terminating", "waiting")
    if phase == "Failed":
        return State(status.get("reason") or "Failed", "bad", status.get("message") or _exit(pod))
    if phase == "Succeeded":
        return State("Completed", "waiting")
    if problem := _problem(pod):
        return problem
    if is_ready(pod):
        return State("Running", "good")
    if phase == "Running":
        return State(
            "Starting",
            "waiting",
            "its readiness probe doesn't succeed yet" if not restarts(pod) else _exit(pod),
        )
    if is_pulling(pod):
        return State("Pulling", "waiting", "the node pulls the image")
    return State("Pending", "waiting")


def are_workers(worker_pods: Iterable[Json], workers: Iterable[str]) -> bool:
    """Whether the scheduler's workers are those of the pods that serve, and no others.

    Parameters
    ----------
    worker_pods : iterable of dict
        The pods of the cluster's workers.
    workers : iterable of str
        The scheduler's names of its workers: a pod's name, or ``{pod}-{n}`` if one pod has several.
    """
    names = {str(worker) for worker in workers}
    homes = names | {name.rpartition("-")[0] for name in names}
    existing = {pod["metadata"]["name"]: is_ready(pod) for pod in worker_pods}
    has_home = all(name in existing or name.rpartition("-")[0] in existing for name in names)
    return has_home and all(name in homes for name, ready in existing.items() if ready)


def milestones(pod: Json) -> Iterator[str]:
    """Name each step that the pod has got to; one that crashes and starts again gets to no new one."""
    yield "pod created"
    for kind in ("PodScheduled", "PodReadyToStartContainers", "Initialized", "Ready"):
        condition = _condition(pod, kind)
        if condition and condition.get("status") == "True":
            yield kind
    for status in (pod.get("status") or {}).get("initContainerStatuses") or []:
        if "terminated" in (status.get("state") or {}):
            yield f"init container {status['name']} ended"
    for status in (pod.get("status") or {}).get("containerStatuses") or []:
        if status.get("started") or "running" in (status.get("state") or {}):
            yield f"container {status['name']} started"


def remedy(message: str, cluster_remedy: str = "") -> str:
    """Say what to do about a problem, if its text tells; else ``cluster_remedy``."""
    for line in message.splitlines():
        # As shells and container runtimes say it: `exec: "dask-worker": executable file not found in $PATH`.
        is_missing = "not found" in line or "no such file" in line.lower()
        if is_missing and (text := commands.remedy(re.split(r"[\s\"'`:,;]+", line))):
            return f"{text[0].upper()}{text[1:]}, or an older image."
    if "exceeded quota" in message:
        return "Ask for less, or have the namespace's ResourceQuota raised."
    return cluster_remedy


def _problem(pod: Json) -> State | None:
    scheduled = _condition(pod, "PodScheduled")
    if scheduled and scheduled.get("status") == "False":
        reason = scheduled.get("reason") or "Unschedulable"
        return State(
            reason, "bad" if reason == "Unschedulable" else "waiting", scheduled.get("message") or ""
        )
    for _, waiting in _waiting(pod):
        reason = waiting.get("reason") or ""
        if reason in IMAGE_PROBLEMS:
            return State(reason, "bad", waiting.get("message") or "")
        if reason in START_PROBLEMS:
            details = [text for text in (_exit(pod), waiting.get("message")) if text]
            return State(reason, "bad", "; ".join(details))
    for status in _statuses(pod):
        terminated = (status.get("state") or {}).get("terminated")
        if terminated and terminated.get("exitCode") and status["name"] == main_container(pod):
            return State(terminated.get("reason") or "Error", "bad", _exit(pod))
    return None


def _exit(pod: Json) -> str:
    """Say how the container that runs Dask ended last."""
    for status in (pod.get("status") or {}).get("containerStatuses") or []:
        ended = (status.get("state") or {}).get("terminated") or (status.get("lastState") or {}).get(
            "terminated"
        )
        if ended and status["name"] == main_container(pod):
            word = ended.get("reason") or "Error"
            text = f"the container ended with exit code {ended.get('exitCode')} ({word})"
            return f"{text}: {ended['message'].strip()}" if ended.get("message") else text
    return ""


def _condition(pod: Json, kind: str) -> Json | None:
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition.get("type") == kind:
            found: Json = condition
            return found
    return None


def _statuses(pod: Json) -> list[Json]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _waiting(pod: Json) -> Iterator[tuple[str, Json]]:
    for status in _statuses(pod):
        waiting = (status.get("state") or {}).get("waiting")
        if waiting:
            yield status["name"], waiting
