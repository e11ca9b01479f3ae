"""What ``kubectl get pods`` says of a pod.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

from dask_k8s_local.api.tables.durations import age
from dask_k8s_local.interfaces import Object

_NONE = "<none>"


def _status(body: Object) -> Object:
    status: Object = body.get("status") or {}
    return status


def _spec(body: Object) -> Object:
    spec: Object = body.get("spec") or {}
    return spec


def containers_ready(pod: Object) -> str:
    statuses = _status(pod).get("containerStatuses") or ()
    sidecars = {
        one["name"] for one in _spec(pod).get("initContainers") or () if one.get("restartPolicy") == "Always"
    }
    started = [one for one in _status(pod).get("initContainerStatuses") or () if one["name"] in sidecars]
    ready = sum(bool(one.get("ready")) for one in (*statuses, *started))
    return f"{ready}/{len(_spec(pod).get('containers') or ()) + len(sidecars)}"


def pod_status(pod: Object) -> str:
    """Return the word that stands in kubectl's STATUS column of a pod."""
    status = _status(pod)
    word: str = status.get("reason") or status.get("phase") or "Unknown"
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            word = "SchedulingGated"
    init_word = _init_status(pod)
    if init_word:
        word = init_word
    else:
        for container in reversed(status.get("containerStatuses") or []):
            word = _container_word(container) or word
        is_any_running = any(
            one.get("ready") and "running" in (one.get("state") or {})
            for one in status.get("containerStatuses") or ()
        )
        if word == "Completed" and is_any_running:
            is_ready = any(
                one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or ()
            )
            word = "Running" if is_ready else "NotReady"
    if "deletionTimestamp" in pod["metadata"]:
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return word


def _container_word(container: Object) -> str:
    state = container.get("state") or {}
    waiting, terminated = state.get("waiting") or {}, state.get("terminated") or {}
    if waiting.get("reason"):
        return str(waiting["reason"])
    if not terminated:
        return ""
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _init_status(pod: Object) -> str:
    inits = _spec(pod).get("initContainers") or []
    sidecars = {one["name"] for one in inits if one.get("restartPolicy") == "Always"}
    for index, container in enumerate(_status(pod).get("initContainerStatuses") or ()):
        state = container.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if terminated is not None and terminated.get("exitCode", 0) == 0:
            continue
        if container["name"] in sidecars and container.get("started"):
            continue
        if terminated is not None:
            return f"Init:{_container_word(container)}"
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{len(inits)}"
    return ""


def restarts(pod: Object) -> str:
    statuses = _status(pod).get("containerStatuses") or ()
    count = sum(one.get("restartCount", 0) for one in statuses)
    ends = [
        ended
        for one in statuses
        if (ended := ((one.get("lastState") or {}).get("terminated") or {}).get("finishedAt"))
    ]
    return f"{count} ({age(max(ends))} ago)" if count and ends else str(count)


def readiness_gates(pod: Object) -> str:
    gates = [one["conditionType"] for one in _spec(pod).get("readinessGates") or ()]
    if not gates:
        return _NONE
    true = {one["type"] for one in _status(pod).get("conditions") or () if one["status"] == "True"}
    return f"{len(true & set(gates))}/{len(gates)}"
