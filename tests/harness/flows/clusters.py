"""What users do with clusters and their groups."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from dask_k8s_models import make_cluster_spec
from tests.harness.flows.flow import TOLD, Act, Flow, then
from tests.harness.flows.shapes import CLUSTERS, NAME, NOTHING, Shape, await_shape, of
from tests.harness.kube import Object
from tests.harness.lab import Lab, Stage
from tests.harness.nodes import on_fake_nodes


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


SUSPENDED = Shape(of(0), schedulers=0, condition="Suspended")
CREATED = {
    "create services": 1,
    "create daskworkergroups": 1,
    "create pods": 3,
    "create events": 1,
    "patch daskclusters/status": 2,
    "patch daskworkergroups/status": 1,
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
        }
        | TOLD,
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
        }
        | TOLD,
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
        }
        | TOLD,
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
        }
        | TOLD,
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
        }
        | TOLD,
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
)


def created_at_once(lab: Lab, count: int, *, workers: int = 2) -> float:
    """Create clusters, each in a namespace of its own; return the seconds until all are ready."""
    with contextlib.ExitStack() as stack:
        stages = [stack.enter_context(lab.stage()) for _ in range(count)]
        begun = time.monotonic()
        for stage in stages:
            create(workers)(stage)
        for stage in stages:
            await_shape(stage, Shape(of(workers)), timeout=150)
        return time.monotonic() - begun
