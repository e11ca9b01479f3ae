"""What Prometheus is told."""

from __future__ import annotations

import re

from dask_k8s_controller.cache.cache import Cache
from dask_k8s_controller.kubernetes.resources import Key
from dask_k8s_controller.operator import KINDS
from dask_k8s_controller.runtime.metrics import Gauges, Metrics
from dask_k8s_controller.runtime.queue import Requeue, WorkQueue
from dask_k8s_controller.scheduler.conversations import Conversations
from tests.harness.clocks import ManualClock
from tests.unit.controller.builders import cluster_body, group_body


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


def test_names_are_as_prometheus_asks_for() -> None:
    metrics = Metrics()
    for family in metrics.registry.collect():
        if family.name.startswith("dask_"):
            assert re.fullmatch(r"dask_controller_[a-z_]+", family.name)
            assert family.documentation.endswith(".")
            assert not family.name.endswith("_total"), "the suffix is the client's"
