"""What is there after a flow, and nothing else, and how to wait for it."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.harness.kube import Object
from tests.harness.lab import Stage

CLUSTERS = "daskclusters.kubernetes.dask.org"
GROUPS = "daskworkergroups.kubernetes.dask.org"
JOBS = "daskjobs.kubernetes.dask.org"
AUTOSCALERS = "daskautoscalers.kubernetes.dask.org"
NAME = "flow"
"""What all that a flow is about is called."""


@dataclass(frozen=True)
class Shape:
    """What is there, and nothing else.

    Parameters
    ----------
    workers : mapping
        How many pods each group has.
    schedulers, runners : int
        How many pods of schedulers and of jobs there are.
    condition : str
        What holds of the cluster; nothing if there is no cluster.
    image : str
        What all workers run.
    job, autoscaler : mapping, optional
        What their status says; without it there is none.
    """

    workers: Mapping[str, int] = field(default_factory=dict)
    schedulers: int = 1
    runners: int = 0
    condition: str = "Ready"
    image: str = ""
    job: Mapping[str, Any] | None = None
    autoscaler: Mapping[str, Any] | None = None


NOTHING = Shape(schedulers=0, condition="")


def of(default: int, **others: int) -> dict[str, int]:
    return {f"{NAME}-default": default} | {f"{NAME}-{name}": count for name, count in others.items()}


def await_shape(stage: Stage, shape: Shape, timeout: float = 30) -> None:
    """Wait until exactly the pods of that shape are there, and all statuses say so."""
    kube, namespace = stage.kube, stage.namespace
    deadline = time.monotonic() + timeout * stage.patience
    while True:
        left = max(1.0, deadline - time.monotonic())
        kube.wait_all("pods", namespace, until=lambda pods: difference(pods, shape) == "", timeout=left)
        if not shape.condition:
            kube.gone(CLUSTERS, NAME, namespace, timeout=left)
            kube.wait_all(GROUPS, namespace, until=lambda groups: not groups, timeout=left)
        else:
            kube.wait(CLUSTERS, NAME, namespace, until=functools.partial(_is_told, shape), timeout=left)
        for resource, status in ((JOBS, shape.job), (AUTOSCALERS, shape.autoscaler)):
            kube.wait_all(resource, namespace, until=functools.partial(_has_status, status), timeout=left)
        # What was as it should be first may have changed meanwhile.
        pods = {pod["metadata"]["name"]: pod for pod in kube.list("pods", namespace)}
        if difference(pods, shape) == "":
            return


def _is_told(shape: Shape, cluster: Object) -> bool:
    status = cluster.get("status", {})
    groups = {group["name"]: group["replicas"] for group in status.get("workerGroups", ())}
    return (
        status.get("observedGeneration") == cluster["metadata"]["generation"]
        and holds(cluster, shape.condition)
        and status.get("replicas") == shape.workers[f"{NAME}-default"]
        and groups == shape.workers
    )


def _has_status(status: Mapping[str, Any] | None, found: Mapping[str, Object]) -> bool:
    if status is None:
        return not found
    return bool(found) and all(
        item.get("status", {}).get(key) == value for item in found.values() for key, value in status.items()
    )


def holds(found: Object, condition: str) -> bool:
    """Whether a condition is true of an object as it is now."""
    return any(
        item["type"] == condition
        and item["status"] == "True"
        and item.get("observedGeneration") == found["metadata"]["generation"]
        for item in found.get("status", {}).get("conditions", ())
    )


def difference(pods: Mapping[str, Object], shape: Shape) -> str:
    """Say how the pods differ from a shape; nothing if they don't."""
    there: dict[str, int] = {}
    for name, pod in pods.items():
        labels = pod["metadata"].get("labels", {})
        if "deletionTimestamp" in pod["metadata"]:
            return f"{name} is on its way out"
        group = labels.get("dask.org/workergroup-name", labels.get("dask.org/component"))
        there[group] = there.get(group, 0) + 1
        image = pod["spec"]["containers"][0]["image"]
        if labels.get("dask.org/component") == "worker" and shape.image not in ("", image):
            return f"{name} has the image {image}"
    wanted = {**shape.workers, "scheduler": shape.schedulers, "job-runner": shape.runners}
    wanted = {key: count for key, count in wanted.items() if count}
    return "" if there == wanted else f"{there} instead of {wanted}"
