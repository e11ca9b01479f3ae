"""What users do with clusters, groups, jobs and autoscalers, and where each of it has to end."""

from __future__ import annotations

import contextlib
import functools
import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dask_k8s_models import make_cluster_spec
from tests.harness.kube import Kube, Object
from tests.harness.lab import Lab, Stage
from tests.harness.nodes import on_fake_nodes

CLUSTERS = "daskclusters.kubernetes.dask.org"
GROUPS = "daskworkergroups.kubernetes.dask.org"
JOBS = "daskjobs.kubernetes.dask.org"
AUTOSCALERS = "daskautoscalers.kubernetes.dask.org"
NAME = "flow"
GUEST = "guest"
"""A job that uses a cluster."""

Act = Callable[[Stage], object]

_numbers = itertools.count(1)


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


@dataclass(frozen=True)
class Flow:
    """One thing that a user does.

    Parameters
    ----------
    name : str
        How it is called.
    act : callable
        Does it.
    after : Shape
        What it leads to.
    created : int
        How many pods are made for it, if nothing is made twice.
    requests : mapping
        What the controller asks for it, by verb and resource, and how often it does so at least: several
        changes of a status may be written at once, and the garbage collector may be quicker: then it's 0.
    prepare : callable
        Does what comes before.
    before : Shape
        What that leads to.
    """

    name: str
    act: Act
    after: Shape
    created: int
    requests: Mapping[str, int]
    prepare: Act = lambda _: None
    before: Shape = NOTHING

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


# Clusters


def manifest(workers: int, *, pending: bool = False, idle_timeout: int = 0, guarded: bool = False) -> Object:
    cluster = make_cluster_spec(
        name=NAME,
        image="daskdev/dask:1",
        n_workers=workers,
        idle_timeout=idle_timeout,
        tls=guarded or None,
        network_policy=guarded,
    )
    for component in ("scheduler", "worker"):
        cluster["spec"][component]["spec"] = on_fake_nodes(cluster["spec"][component]["spec"])
    if pending:
        cluster["spec"]["worker"]["spec"]["nodeSelector"] = {"test.dask.org/no-such": "node"}
    return cluster


def create(workers: int, **options: Any) -> Act:
    return lambda stage: stage.kube.create(manifest(workers, **options), stage.namespace)


def change(spec: Object) -> Act:
    return lambda stage: stage.kube.patch(CLUSTERS, NAME, {"spec": spec}, stage.namespace)


def scale(workers: int) -> Act:
    return change({"worker": {"replicas": workers}})


def add_group(stage: Stage) -> None:
    worker = manifest(2)["spec"]["worker"]
    body = {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskWorkerGroup",
        "metadata": {"name": f"{NAME}-more"},
        "spec": {"cluster": NAME, "worker": worker},
    }
    stage.kube.create(body, stage.namespace)


def change_container(**changes: object) -> Act:
    def act(stage: Stage) -> object:
        containers = stage.kube.get(CLUSTERS, NAME, stage.namespace)["spec"]["worker"]["spec"]["containers"]
        containers[0] |= changes
        return change({"worker": {"spec": {"containers": containers}}})(stage)

    return act


def delete(stage: Stage) -> None:
    stage.kube.delete(CLUSTERS, NAME, stage.namespace)


def become_idle(stage: Stage) -> None:
    stage.schedulers.idle.add(stage.namespace)


def create_suspended(stage: Stage) -> None:
    body = manifest(2)
    body["spec"]["suspend"] = True
    stage.kube.create(body, stage.namespace)


def then(*acts: Act) -> Act:
    def act(stage: Stage) -> None:
        for one in acts:
            one(stage)

    return act


def of(default: int, **others: int) -> dict[str, int]:
    return {f"{NAME}-default": default} | {f"{NAME}-{name}": count for name, count in others.items()}


SUSPENDED = Shape(of(0), schedulers=0, condition="Suspended")

# Jobs


def create_job(**spec: Any) -> Act:
    pod = {
        "containers": [{"name": "job", "image": "daskdev/dask:1", "args": ["python"]}],
        "restartPolicy": "Never",
    }
    is_guest = "clusterRef" in spec
    own_cluster = {} if is_guest else {"cluster": {"spec": manifest(1)["spec"]}}
    body = {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskJob",
        "metadata": {"name": GUEST if is_guest else NAME},
        "spec": {"job": {"spec": on_fake_nodes(pod)}, "minReadyWorkers": 1, **own_cluster, **spec},
    }
    return lambda stage: stage.kube.create(body, stage.namespace)


def suspend_job(value: bool) -> Act:
    return lambda stage: stage.kube.patch(JOBS, NAME, {"spec": {"suspend": value}}, stage.namespace)


def delete_job(stage: Stage) -> None:
    stage.kube.delete(JOBS, NAME, stage.namespace)


def end(phase: str, job: str = NAME, attempt: int = 1) -> Act:
    """Wait until the pod of an attempt runs, and let it end."""
    name = f"{job}-runner" if attempt == 1 else f"{job}-runner-{attempt}"
    code = 0 if phase == "Succeeded" else 1
    ended = {
        "exitCode": code,
        "reason": "Error" if code else "Completed",
        "startedAt": "2026-11-23T09:00:00Z",
        "finishedAt": "2026-11-23T09:00:01Z",
    }
    container = {"name": "job", "image": "daskdev/dask:1", "imageID": "", "ready": False, "restartCount": 0}
    status = {
        "phase": phase,
        "conditions": [{"type": "Ready", "status": "False"}],
        "containerStatuses": [{**container, "state": {"terminated": ended}}],
    }

    def act(stage: Stage) -> None:
        stage.kube.wait("pods", name, stage.namespace, until=_runs)
        stage.kube.patch("pods", name, {"status": status}, stage.namespace, subresource="status")

    return act


def _runs(pod: Object) -> bool:
    return bool(pod.get("status", {}).get("phase") == "Running")


def job(status: str, runners: int = 1, **more: Any) -> Shape:
    """A job whose cluster is gone, or not there yet."""
    return Shape(schedulers=0, condition="", runners=runners, job={"jobStatus": status, **more})


RUNNING = Shape(of(1), runners=1, job={"jobStatus": "Running"})

# Autoscalers

AT_ONCE = {
    "scaleUp": {"stabilizationWindowSeconds": 0},
    "scaleDown": {"stabilizationWindowSeconds": 0, "maxPercent": 100},
}


def want(workers: int) -> Act:
    def act(stage: Stage) -> None:
        stage.schedulers.demand[stage.namespace] = workers

    return act


def attach(minimum: int) -> Act:
    body = {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskAutoscaler",
        "metadata": {"name": NAME},
        "spec": {"cluster": NAME, "minimum": minimum, "maximum": 5, "behavior": AT_ONCE},
    }
    return lambda stage: stage.kube.create(body, stage.namespace)


def detach(stage: Stage) -> None:
    stage.kube.delete(AUTOSCALERS, NAME, stage.namespace)


def autoscaled(workers: int) -> Shape:
    return Shape(of(workers), autoscaler={"desiredReplicas": workers, "currentReplicas": workers})


# The table

CREATED = {
    "create services": 1,
    "create daskworkergroups": 1,
    "create pods": 3,
    "create events": 1,
    "patch daskclusters/status": 2,
    "patch daskworkergroups/status": 1,
}
JOB_RUN = {
    "create daskclusters": 1,
    "create services": 1,
    "create daskworkergroups": 1,
    "create pods": 3,
    "delete daskclusters": 1,
    "create events": 1,
    "patch daskclusters/status": 1,
    "patch daskworkergroups/status": 1,
    "patch daskjobs/status": 2,
}

FLOWS = (
    Flow("create", create(2), Shape(of(2)), 3, CREATED),
    Flow(
        "create a guarded one",
        create(2, guarded=True),
        Shape(of(2)),
        3,
        {**CREATED, "create secrets": 1, "patch networkpolicies": 1},
    ),
    Flow(
        "scale up",
        scale(4),
        Shape(of(4)),
        2,
        {
            "patch daskworkergroups": 1,
            "create pods": 2,
            "create events": 1,
            "patch daskclusters/status": 1,
            "patch daskworkergroups/status": 1,
        },
        create(2),
        Shape(of(2)),
    ),
    Flow(
        "scale down",
        scale(1),
        Shape(of(1)),
        0,
        {
            "patch daskworkergroups": 1,
            "patch pods": 2,
            "delete pods": 2,
            "create events": 1,
            "patch daskclusters/status": 1,
            "patch daskworkergroups/status": 1,
        },
        create(3),
        Shape(of(3)),
    ),
    Flow(
        "scale pending workers down",
        scale(1),
        Shape(of(1), condition="SchedulerReady"),
        0,
        {
            "patch daskworkergroups": 1,
            "delete pods": 2,
            "patch daskclusters/status": 1,
            "patch daskworkergroups/status": 1,
        },
        create(3, pending=True),
        Shape(of(3), condition="SchedulerReady"),
    ),
    Flow(
        "add a group",
        add_group,
        Shape(of(1, more=2)),
        2,
        {
            "patch daskworkergroups": 1,
            "create pods": 2,
            "patch daskclusters/status": 1,
            "patch daskworkergroups/status": 1,
        },
        create(1),
        Shape(of(1)),
    ),
    Flow(
        "change the image",
        change_container(image="daskdev/dask:2"),
        Shape(of(2), image="daskdev/dask:2"),
        2,
        {
            "patch daskworkergroups": 1,
            "create pods": 2,
            "patch pods": 2,
            "delete pods": 2,
            "create events": 1,
            "patch daskclusters/status": 1,
            "patch daskworkergroups/status": 1,
        },
        create(2),
        Shape(of(2), image="daskdev/dask:1"),
    ),
    Flow(
        "suspend",
        change({"suspend": True}),
        SUSPENDED,
        0,
        {
            "delete pods": 3,
            "create events": 1,
            "patch daskclusters/status": 1,
            "patch daskworkergroups/status": 1,
        },
        create(2),
        Shape(of(2)),
    ),
    Flow(
        "resume",
        change({"suspend": False}),
        Shape(of(2)),
        3,
        {
            "create pods": 3,
            "create events": 1,
            "patch daskclusters/status": 1,
            "patch daskworkergroups/status": 1,
        },
        create_suspended,
        SUSPENDED,
    ),
    Flow(
        "idle shutdown",
        become_idle,
        NOTHING,
        0,
        {"delete daskclusters": 1},
        create(1, idle_timeout=1),
        Shape(of(1)),
    ),
    Flow("delete", delete, NOTHING, 0, {}, create(2), Shape(of(2))),
    Flow(
        "delete and create",
        then(delete, create(2)),
        Shape(of(2)),
        3,
        CREATED | dict.fromkeys(("delete pods", "delete services", "delete daskworkergroups"), 0),
        create(2),
        Shape(of(2)),
    ),
    Flow(
        "job that succeeds", then(create_job(), end("Succeeded")), job("Successful", attempts=1), 3, JOB_RUN
    ),
    Flow(
        "job that fails",
        then(create_job(backoffLimit=0), end("Failed")),
        job("Failed", attempts=1),
        3,
        JOB_RUN,
    ),
    Flow(
        "second attempt of a job",
        then(end("Failed"), end("Succeeded", attempt=2)),
        job("Successful", runners=2, attempts=2, jobRunnerPodName=f"{NAME}-runner-2"),
        1,
        {"create pods": 1, "delete daskclusters": 1, "create events": 1, "patch daskjobs/status": 1},
        create_job(backoffLimit=1),
        RUNNING,
    ),
    Flow(
        "suspend a job",
        suspend_job(True),
        job("JobCreated", runners=0, attempts=1, startTime=None),
        0,
        {"delete pods": 1, "delete daskclusters": 1, "patch daskjobs/status": 1},
        create_job(backoffLimit=0),
        RUNNING,
    ),
    Flow(
        "resume a job",
        then(suspend_job(False), end("Succeeded")),
        job("Successful", attempts=1),
        3,
        JOB_RUN,
        create_job(suspend=True, backoffLimit=0),
        job("JobCreated", runners=0, attempts=0),
    ),
    Flow(
        "job of another's cluster",
        then(create_job(clusterRef={"name": NAME}), end("Succeeded", GUEST)),
        Shape(of(1), runners=1, job={"jobStatus": "Successful", "attempts": 1}),
        1,
        {"create pods": 1, "create events": 1, "patch daskjobs/status": 2},
        create(1),
        Shape(of(1)),
    ),
    Flow(
        "job that goes when it has ended",
        end("Succeeded"),
        NOTHING,
        0,
        {"delete daskclusters": 1, "delete daskjobs": 1, "create events": 1, "patch daskjobs/status": 1},
        create_job(ttlSecondsAfterFinished=0),
        RUNNING,
    ),
    Flow("delete a job", delete_job, NOTHING, 0, {}, create_job(), RUNNING),
    Flow(
        "autoscale up",
        want(4),
        autoscaled(4),
        3,
        {
            "patch daskworkergroups/scale": 1,
            "create pods": 3,
            "create events": 1,
            "patch daskautoscalers/status": 1,
            "patch daskclusters/status": 1,
            "patch daskworkergroups/status": 1,
        },
        then(want(1), create(1), attach(1)),
        autoscaled(1),
    ),
    Flow(
        "autoscale down",
        want(1),
        autoscaled(1),
        0,
        {
            "patch daskworkergroups/scale": 1,
            "patch pods": 3,
            "delete pods": 3,
            "create events": 1,
            "patch daskautoscalers/status": 1,
            "patch daskclusters/status": 1,
            "patch daskworkergroups/status": 1,
        },
        then(want(4), create(4), attach(1)),
        autoscaled(4),
    ),
    Flow(
        "autoscale to zero",
        want(0),
        autoscaled(0),
        0,
        {
            "patch daskworkergroups/scale": 1,
            "patch pods": 2,
            "delete pods": 2,
            "create events": 1,
            "patch daskautoscalers/status": 1,
            "patch daskclusters/status": 1,
            "patch daskworkergroups/status": 1,
        },
        then(want(2), create(2), attach(0)),
        autoscaled(2),
    ),
    Flow(
        "attach an autoscaler",
        attach(3),
        autoscaled(3),
        2,
        {
            "patch daskautoscalers": 1,
            "patch daskworkergroups/scale": 1,
            "create pods": 2,
            "create events": 1,
            "patch daskautoscalers/status": 1,
            "patch daskclusters/status": 1,
            "patch daskworkergroups/status": 1,
        },
        then(want(1), create(1)),
        Shape(of(1)),
    ),
    Flow(
        "detach an autoscaler",
        then(detach, want(5)),
        Shape(of(2)),
        0,
        {},
        then(want(2), create(2), attach(1)),
        autoscaled(2),
    ),
)
BY_NAME = {flow.name: flow for flow in FLOWS}


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


def version_of_pods(stage: Stage) -> str:
    """Return the resource version from which `pods_created_since` counts."""
    listing = stage.kube.request("GET", Kube.path("pods", stage.namespace))
    return str(listing["metadata"]["resourceVersion"])


def pods_created_since(stage: Stage, version: str) -> list[str]:
    """Return the names of all pods that were ever created since, as a watch tells, in their order."""
    last = f"last-{next(_numbers)}"
    container = {"name": "last", "image": "busybox", "command": ["sleep", "1"]}
    marker = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": last},
        "spec": {"containers": [container], "nodeSelector": {"test.dask.org/no-such": "node"}},
    }
    stage.kube.create(marker, stage.namespace)
    created: list[str] = []
    for event, pod in stage.kube.watch("pods", stage.namespace, resourceVersion=version):
        name = pod["metadata"]["name"]
        if name == last:
            stage.kube.delete("pods", last, stage.namespace, gracePeriodSeconds=0)
            return created
        if event == "ADDED":
            created.append(name)
    raise AssertionError("the watch ended before the last pod came")


def created_at_once(lab: Lab, count: int) -> float:
    """Create clusters, each in a namespace of its own; return the seconds until all are ready."""
    with contextlib.ExitStack() as stack:
        stages = [stack.enter_context(lab.stage()) for _ in range(count)]
        begun = time.monotonic()
        for stage in stages:
            create(2)(stage)
        for stage in stages:
            await_shape(stage, Shape(of(2)), timeout=150)
        return time.monotonic() - begun
