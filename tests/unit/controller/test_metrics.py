"""What Prometheus is told."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dask_k8s_controller.cache.cache import Cache
from dask_k8s_controller.cluster.observe import is_held_back
from dask_k8s_controller.kubernetes.resources import Key
from dask_k8s_controller.operator import KINDS
from dask_k8s_controller.runtime.metrics import Gauges, Metrics
from dask_k8s_controller.runtime.queue import Requeue, WorkQueue
from dask_k8s_controller.scheduler.conversations import Conversations
from tests.harness.clocks import ManualClock
from tests.unit.controller.builders import cluster, cluster_body, group_body, pod_body
from tests.unit.controller.test_cost import cache_with


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"dask_controller_{name}", labels)


async def test_gauges_show_what_is_the_case_when_they_are_read() -> None:
    clock, metrics = ManualClock(), Metrics()
    conversations = Conversations(None, clock, lambda _: None)  # type: ignore[arg-type]
    cache = Cache({kind.resource.kind: kind.object_type.of for kind in KINDS}, clock, conversations)

    async def process(_: Key) -> Requeue:
        return Requeue.on_change()

    queue = WorkQueue(process, clock=clock)
    metrics.registry.register(Gauges(cache, queue))
    assert sample(metrics, "clusters", phase="Running") == 0
    assert sample(metrics, "leader") == 0

    stalled = {"conditions": [{"type": "Stalled", "status": "True"}], "phase": "Pending"}
    cache.store("DaskCluster").see(cluster_body("a", "1"))
    cache.store("DaskCluster").see(cluster_body("b", "2", status=stalled))
    cache.store("DaskCluster").see(cluster_body("c", "3", status={}))
    cache.store("DaskWorkerGroup").see(group_body(replicas=3) | {"status": {"readyReplicas": 2}})
    queue.add(Key("DaskCluster", "default", "a"))
    assert sample(metrics, "clusters", phase="Running") == 1
    assert sample(metrics, "clusters", phase="Pending") == 1
    assert sample(metrics, "clusters", phase="Created") == 1
    assert sample(metrics, "stalled_objects", kind="DaskCluster") == 1
    assert sample(metrics, "workers_wanted", namespace="default") == 3
    assert sample(metrics, "workers_ready", namespace="default") == 2
    assert sample(metrics, "queue_depth") == 1
    clock.advance(7)
    assert sample(metrics, "queue_longest_wait_seconds") == 7
    queue.start()
    assert sample(metrics, "leader") == 1
    await queue.stop()


GATED = {"phase": "Pending", "schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]}


def scheduler(**more: Any) -> dict[str, Any]:
    return pod_body("c-scheduler", component="scheduler", **more)


def workers(*bodies: dict[str, Any]) -> dict[str, float | None]:
    """What is told of the workers of the namespace, where a group wants three and has one."""
    metrics, group = Metrics(), group_body(replicas=3, status={"readyReplicas": 1})
    queue = WorkQueue(None, clock=ManualClock())  # type: ignore[arg-type]
    metrics.registry.register(Gauges(cache_with([group, *bodies]), queue))
    told = ("wanted", "ready", "gated")
    return {name: sample(metrics, f"workers_{name}", namespace="default") for name in told}


def test_a_suspended_cluster_wants_no_workers() -> None:
    assert workers(cluster_body()) == {"wanted": 3, "ready": 1, "gated": 0}
    assert workers(cluster_body(suspend=True)) == {"wanted": 0, "ready": 1, "gated": 0}


@pytest.mark.parametrize(
    ("pods", "gated"),
    [
        ([pod_body("w1"), pod_body("w2", **GATED), pod_body("w3", **GATED)], 2),
        ([pod_body("w1"), pod_body("w2", phase="Pending"), pod_body("w3", **GATED)], 1),
        ([pod_body("w1"), pod_body("w2", **GATED, going=True)], 0),
        ([pod_body("w1"), pod_body("w2"), pod_body("w3"), scheduler(**GATED)], 2),
        ([pod_body("w2", group="other", **GATED), scheduler()], 0),
        ([pod_body(f"w{number}", **GATED) for number in range(5)], 2),
    ],
    ids=["two", "one", "one that goes", "their scheduler", "another group's", "more than are missing"],
)
def test_workers_that_a_queue_holds_back_are_counted(pods: list[dict[str, Any]], gated: int) -> None:
    assert workers(cluster_body(), *pods) == {"wanted": 3, "ready": 1, "gated": gated}


@pytest.mark.parametrize(
    ("spec", "pods", "held_back"),
    [
        ({}, [scheduler(), pod_body("w1", phase="Pending")], False),
        ({"suspend": True}, [], True),
        ({}, [scheduler(**GATED)], True),
        ({}, [scheduler(), pod_body("w1"), pod_body("w2", **GATED)], True),
        ({}, [scheduler(), pod_body("w1", **GATED, going=True)], False),
        ({}, [scheduler(), pod_body("w1", of="other", **GATED)], False),
    ],
)
def test_a_cluster_is_held_back_by_its_user_or_a_queue(
    spec: dict[str, Any], pods: list[dict[str, Any]], held_back: bool
) -> None:
    assert is_held_back(cache_with(pods), cluster(**spec)) == held_back


def test_names_are_as_prometheus_asks_for() -> None:
    metrics = Metrics()
    for family in metrics.registry.collect():
        if family.name.startswith("dask_"):
            assert re.fullmatch(r"dask_controller_[a-z_]+", family.name)
            assert family.documentation.endswith(".")
            assert not family.name.endswith("_total"), "the suffix is the client's"
