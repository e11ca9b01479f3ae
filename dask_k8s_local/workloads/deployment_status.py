"""How a Deployment fares: its counts and its conditions.

https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from dask_k8s_local.interfaces import Object

_DONE = "NewReplicaSetAvailable"
_LATE = "ProgressDeadlineExceeded"


def replicas_of(replica_set: Object, key: str) -> int:
    """Return a count of a ReplicaSet's status."""
    return int((replica_set.get("status") or {}).get(key) or 0)


def share(value: Any, of: int, *, up: bool) -> int:
    """Return a number of replicas that is given as such or as a percentage."""
    if isinstance(value, int):
        return value
    exact = of * int(str(value).rstrip("%")) / 100
    return math.ceil(exact) if up else math.floor(exact)


def deployment_status(deployment: Object, current: Object | None, sets: list[Object]) -> Object:
    """Return the status of a Deployment; what holds as before keeps its times."""
    spec, before = deployment["spec"], deployment.get("status") or {}
    total = sum(replicas_of(one, "replicas") for one in sets)
    available = sum(replicas_of(one, "availableReplicas") for one in sets)
    counts = {
        "replicas": total,
        "updatedReplicas": replicas_of(current, "replicas") if current else 0,
        "readyReplicas": sum(replicas_of(one, "readyReplicas") for one in sets),
        "availableReplicas": available,
        "unavailableReplicas": max(spec["replicas"] - available, 0),
    }
    is_complete = counts["updatedReplicas"] == total == available == spec["replicas"]
    conditions = {one["type"]: one for one in before.get("conditions") or ()}
    return {
        "observedGeneration": deployment["metadata"]["generation"],
        **{key: value for key, value in counts.items() if value},
        "conditions": [
            _condition(conditions.get("Available"), "Available", *_availability(spec, available)),
            _progress(deployment, conditions.get("Progressing"), current, counts, is_complete=is_complete),
        ],
    }


def _availability(spec: Object, available: int) -> tuple[bool, str, str]:
    rolling = spec["strategy"].get("rollingUpdate") or {}
    least = spec["replicas"] - share(rolling.get("maxUnavailable", 0), spec["replicas"], up=False)
    if available >= least:
        return True, "MinimumReplicasAvailable", "Deployment has minimum availability."
    return False, "MinimumReplicasUnavailable", "Deployment does not have minimum availability."


def _progress(
    deployment: Object,
    before: Object | None,
    current: Object | None,
    counts: dict[str, int],
    *,
    is_complete: bool,
) -> Object:
    status = deployment.get("status") or {}
    name = current["metadata"]["name"] if current else ""
    if is_complete:
        told = f'ReplicaSet "{name}" has successfully progressed.'
        return _condition(before, "Progressing", True, _DONE, told)
    has_moved = status.get("observedGeneration") != deployment["metadata"]["generation"] or any(
        status.get(key, 0) != counts[key] for key in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )
    if before is not None and not has_moved:
        if before["reason"] == _LATE:
            return before
        if seconds_since(before["lastUpdateTime"]) > deployment["spec"]["progressDeadlineSeconds"]:
            told = f'ReplicaSet "{name}" has timed out progressing.'
            return _condition(before, "Progressing", False, _LATE, told)
    told = f'ReplicaSet "{name}" is progressing.'
    return _condition(before, "Progressing", True, "ReplicaSetUpdated", told, renew=has_moved)


def _condition(
    before: Object | None, type_: str, holds: bool, reason: str, message: str, *, renew: bool = False
) -> Object:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    status = "True" if holds else "False"
    old = before or {}
    is_same = (old.get("status"), old.get("reason"), old.get("message")) == (status, reason, message)
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "lastUpdateTime": old["lastUpdateTime"] if is_same and not renew else now,
        "lastTransitionTime": old["lastTransitionTime"] if old.get("status") == status else now,
    }


def seconds_since(time: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(time.replace("Z", "+00:00"))).total_seconds()


def deadline(deployment: Object, status: Object) -> float | None:
    """Return the seconds until a rollout that stands still counts as failed."""
    progress = next(one for one in status["conditions"] if one["type"] == "Progressing")
    if progress["reason"] in (_DONE, _LATE):
        return None
    limit: float = deployment["spec"]["progressDeadlineSeconds"]
    return max(limit - seconds_since(progress["lastUpdateTime"]), 0) + 1
