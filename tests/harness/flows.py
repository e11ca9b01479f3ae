"""What users do with clusters, step by step, each with the pods that must be there in the end."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dask_k8s_models import make_cluster_spec
from tests.harness.embedded import ScriptedSchedulers
from tests.harness.kube import Kube, Object
from tests.harness.nodes import on_fake_nodes

CLUSTERS = "daskclusters.kubernetes.dask.org"
GROUPS = "daskworkergroups.kubernetes.dask.org"
NAME = "flow"

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Stage:
    """Where a flow takes place."""

    kube: Kube
    schedulers: ScriptedSchedulers
    namespace: str
    patience: float = 1.0
    """What limits of time are multiplied by."""


@dataclass(frozen=True)
class Shape:
    """The pods that are there, and nothing else.

    Parameters
    ----------
    workers : mapping
        How many pods each group has.
    schedulers : int
        How many scheduler pods there are.
    condition : str
        What holds of the cluster; nothing if there is no cluster.
    image : str
        What all workers run.
    """

    workers: Mapping[str, int] = field(default_factory=dict)
    schedulers: int = 1
    condition: str = "Ready"
    image: str = ""


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
    prepare : callable
        Does what comes before.
    before : Shape
        What that leads to.
    """

    name: str
    act: Callable[[Stage], object]
    after: Shape
    created: int
    prepare: Callable[[Stage], object] = lambda _: None
    before: Shape = NOTHING


def manifest(workers: int, *, pending: bool = False, idle_timeout: int = 0) -> Object:
    cluster = make_cluster_spec(
        name=NAME, image="daskdev/dask:1", n_workers=workers, idle_timeout=idle_timeout
    )
    for component in ("scheduler", "worker"):
        cluster["spec"][component]["spec"] = on_fake_nodes(cluster["spec"][component]["spec"])
    if pending:
        cluster["spec"]["worker"]["spec"]["nodeSelector"] = {"test.dask.org/no-such": "node"}
    return cluster


def create(workers: int, *, pending: bool = False, idle_timeout: int = 0) -> Callable[[Stage], object]:
    def act(stage: Stage) -> object:
        body = manifest(workers, pending=pending, idle_timeout=idle_timeout)
        return stage.kube.create(body, stage.namespace)

    return act


def change(spec: Object) -> Callable[[Stage], object]:
    return lambda stage: stage.kube.patch(CLUSTERS, NAME, {"spec": spec}, stage.namespace)


def add_group(stage: Stage) -> None:
    worker = manifest(2)["spec"]["worker"]
    body = {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskWorkerGroup",
        "metadata": {"name": f"{NAME}-more"},
        "spec": {"cluster": NAME, "worker": worker},
    }
    stage.kube.create(body, stage.namespace)


def change_image(stage: Stage) -> None:
    containers = stage.kube.get(CLUSTERS, NAME, stage.namespace)["spec"]["worker"]["spec"]["containers"]
    containers[0]["image"] = "daskdev/dask:2"
    change({"worker": {"spec": {"containers": containers}}})(stage)


def delete(stage: Stage) -> None:
    stage.kube.delete(CLUSTERS, NAME, stage.namespace)


def delete_and_create(stage: Stage) -> None:
    delete(stage)
    create(2)(stage)


def suspend_at_once(stage: Stage) -> None:
    create(2)(stage)
    change({"suspend": True})(stage)


def become_idle(stage: Stage) -> None:
    stage.schedulers.idle.add(stage.namespace)


def of(default: int, **others: int) -> dict[str, int]:
    return {f"{NAME}-default": default} | {f"{NAME}-{name}": count for name, count in others.items()}


SUSPENDED = Shape(of(0), schedulers=0, condition="Suspended")
SUSPEND = change({"suspend": True})


def _create_suspended(stage: Stage) -> None:
    body = manifest(2)
    body["spec"]["suspend"] = True
    stage.kube.create(body, stage.namespace)


FLOWS = (
    Flow("create", create(2), Shape(of(2)), created=3),
    Flow("scale up", change({"worker": {"replicas": 3}}), Shape(of(3)), 2, create(1), Shape(of(1))),
    Flow("scale down", change({"worker": {"replicas": 1}}), Shape(of(1)), 0, create(3), Shape(of(3))),
    Flow(
        "scale pending workers down",
        change({"worker": {"replicas": 1}}),
        Shape(of(1), condition="SchedulerReady"),
        0,
        create(3, pending=True),
        Shape(of(3), condition="SchedulerReady"),
    ),
    Flow("add a group", add_group, Shape(of(1, more=2)), 2, create(1), Shape(of(1))),
    Flow(
        "change the image",
        change_image,
        Shape(of(3), image="daskdev/dask:2"),
        3,
        create(3),
        Shape(of(3), image="daskdev/dask:1"),
    ),
    Flow("suspend", SUSPEND, SUSPENDED, 0, create(2), Shape(of(2))),
    Flow("resume", change({"suspend": False}), Shape(of(2)), 3, _create_suspended, SUSPENDED),
    Flow("idle shutdown", become_idle, NOTHING, 0, create(1, idle_timeout=1), Shape(of(1))),
    Flow("delete", delete, NOTHING, 0, create(2), Shape(of(2))),
    Flow("delete and create", delete_and_create, Shape(of(2)), 3, create(2), Shape(of(2))),
)


def await_shape(stage: Stage, shape: Shape, timeout: float = 30) -> None:
    """Wait until exactly the pods of that shape are there, and the cluster's status says so."""
    kube, namespace = stage.kube, stage.namespace
    timeout *= stage.patience
    kube.wait_all("pods", namespace, until=lambda pods: difference(pods, shape) == "", timeout=timeout)
    if not shape.condition:
        kube.gone(CLUSTERS, NAME, namespace, timeout=timeout)
        kube.wait_all(GROUPS, namespace, until=lambda groups: not groups, timeout=timeout)
        return

    def is_told(cluster: Object) -> bool:
        status = cluster.get("status", {})
        return (
            status.get("observedGeneration") == cluster["metadata"]["generation"]
            and holds(cluster, shape.condition)
            and status.get("replicas") == shape.workers[f"{NAME}-default"]
            and {group["name"]: group["replicas"] for group in status.get("workerGroups", ())}
            == shape.workers
        )

    kube.wait(CLUSTERS, NAME, namespace, until=is_told, timeout=timeout)


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
    wanted = {**shape.workers, "scheduler": shape.schedulers}
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
