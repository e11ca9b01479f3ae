"""Pods, Services and clusters as Kubernetes shows them at one moment of their lives."""

from __future__ import annotations

from typing import Any

from dask_k8s_client.observe import Observed
from dask_k8s_models import labels, names

Json = dict[str, Any]


def scheduler_pod(**status: Any) -> Json:
    """Return the scheduler's pod of the cluster ``foo``."""
    return {
        "metadata": {
            "name": "foo-scheduler",
            "labels": labels.scheduler("foo"),
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "containers": [
                {
                    "name": "scheduler",
                    "ports": [
                        {"name": "tcp-comm", "containerPort": 8786},
                        {"name": "http-dashboard", "containerPort": 8787},
                    ],
                }
            ]
        },
        "status": status,
    }


def worker_pod(name: str, group: str = "foo-default", **status: Any) -> Json:
    """Return a worker's pod."""
    return {
        "metadata": {"name": name, "labels": labels.worker("foo", group)},
        "spec": {"containers": [{"name": "worker"}]},
        "status": status,
    }


def conditions(*true: str, **false: str) -> list[Json]:
    """Return conditions: those that hold, and those that don't with their message."""
    held = [{"type": kind, "status": "True"} for kind in true]
    return [*held, *({"type": kind, "status": "False", "message": text} for kind, text in false.items())]


READY = {"phase": "Running", "conditions": conditions("PodScheduled", "Initialized", "Ready")}


def unschedulable(message: str = "0/1 nodes are available: 1 Insufficient cpu.") -> Json:
    """Return the status of a pod that fits on no node."""
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"phase": "Pending", "conditions": [condition]}


def waiting(reason: str, message: str = "", container: str = "scheduler", **rest: Any) -> Json:
    """Return the status of a pod whose container waits."""
    state = {"waiting": {"reason": reason, "message": message}}
    return {
        "phase": "Pending",
        "conditions": conditions("PodScheduled"),
        "containerStatuses": [{"name": container, "restartCount": 0, "state": state, **rest}],
    }


def crashed(message: str = "", code: int = 1, restarts: int = 3) -> Json:
    """Return the status of a scheduler in a crash loop."""
    ended = {"terminated": {"exitCode": code, "reason": "Error", "message": message}}
    status = waiting("CrashLoopBackOff", "back-off 10s restarting failed container")
    status["phase"] = "Running"
    status["containerStatuses"][0] |= {"restartCount": restarts, "lastState": ended}
    return status


def service(kind: str = "ClusterIP", **status: Any) -> Json:
    """Return the scheduler's Service."""
    ports = [
        {"name": "tcp-comm", "port": 8786, "targetPort": "tcp-comm", "nodePort": 30786},
        {"name": "http-dashboard", "port": 8787, "targetPort": "http-dashboard", "nodePort": 30787},
    ]
    metadata = {"name": names.scheduler("foo"), "namespace": "default"}
    return {"metadata": metadata, "spec": {"type": kind, "ports": ports}, "status": status}


def cluster(phase: str = "Running", **status: Any) -> Json:
    """Return the DaskCluster ``foo``."""
    metadata = {
        "name": "foo",
        "namespace": "default",
        "uid": "1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    return {"metadata": metadata, "spec": {}, "status": {"phase": phase, **status} if phase else {}}


def group(name: str = "foo-default", replicas: int = 2) -> Json:
    """Return a worker group."""
    metadata = {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"metadata": metadata, "spec": {"cluster": "foo", "worker": {"replicas": replicas}}}


def warning(reason: str, message: str, about: str = "foo-scheduler") -> Json:
    """Return a warning of Kubernetes."""
    return {"type": "Warning", "reason": reason, "message": message, "involvedObject": {"name": about}}


def observed(**known: Any) -> Observed:
    """Return the cluster ``foo`` as it is seen."""
    return Observed(name="foo", **{"cluster": cluster(), **known})


def by_name(*found: Json) -> dict[str, Json]:
    """Return objects by name."""
    return {each["metadata"]["name"]: each for each in found}
