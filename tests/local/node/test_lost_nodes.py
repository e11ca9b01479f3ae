"""A node that isn't heard of any more is lost, and its pods go elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any

from dask_k8s_local.node import Node
from dask_k8s_local.node.lifecycle import seconds_to_eviction
from tests.local.node.kit import Cluster, a_pod, condition, container, is_ready

SCALE = 0.01
UNREACHABLE = "node.kubernetes.io/unreachable"


def ready(node: dict[str, Any]) -> str:
    return str(condition(node, "Ready").get("status"))


def taints(node: dict[str, Any]) -> set[tuple[str, str]]:
    return {(taint["key"], taint["effect"]) for taint in node["spec"].get("taints") or []}


async def test_a_lost_node_is_marked_and_its_pods_are_evicted(cluster: Cluster) -> None:
    node = await cluster.add_scale_node(heartbeat_scale=SCALE)
    await cluster.add_lifecycle(SCALE)
    patient = {"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute"}
    await cluster.create(
        a_pod("impatient", container("true"), tolerations=[{**patient, "tolerationSeconds": 1}])
    )
    await cluster.create(a_pod("patient", container("true"), tolerations=[patient]))
    for name in ("impatient", "patient"):
        await cluster.until(name, is_ready)
    node.pause()
    lost = await cluster.until("scale", lambda body: ready(body) == "Unknown", resource="nodes")
    assert condition(lost, "Ready")["message"] == "Kubelet stopped posting node status."
    lost = await cluster.until("scale", lambda body: len(taints(body)) == 2, resource="nodes")
    assert taints(lost) == {(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")}
    pod = await cluster.until("impatient", lambda pod: "deletionTimestamp" in pod["metadata"])
    assert condition(pod, "DisruptionTarget")["reason"] == "DeletionByTaintManager"
    pod = await cluster.until("patient", lambda pod: not is_ready(pod))
    assert "deletionTimestamp" not in pod["metadata"]
    assert ("NodeNotReady", "Node is not ready") in await cluster.events("patient")


async def test_a_node_that_comes_back_ends_what_was_evicted_and_takes_pods_again(cluster: Cluster) -> None:
    agent = await cluster.add_node(heartbeat_scale=SCALE)
    await cluster.add_lifecycle(SCALE)
    await cluster.create(a_pod("one", container("sleep", "1000")))
    forever = {"key": UNREACHABLE, "operator": "Exists"}
    await cluster.create(a_pod("stays", container("sleep", "1000"), tolerations=[forever]))
    for name in ("one", "stays"):
        await cluster.until(name, is_ready)
    agent.pause()
    await cluster.until("stays", lambda pod: not is_ready(pod))
    await cluster.until("one", lambda pod: "deletionTimestamp" in pod["metadata"])
    await cluster.create(a_pod("two", container("sleep", "1000")))
    await cluster.until_event("two", "FailedScheduling")
    agent.resume()
    await cluster.until_gone("one")
    await cluster.until("stays", is_ready)
    await cluster.until("local", lambda node: ready(node) == "True" and not taints(node), resource="nodes")
    await cluster.until("two", is_ready)


async def test_a_heard_node_keeps_its_pods(cluster: Cluster) -> None:
    await cluster.add_scale_node(heartbeat_scale=SCALE)
    await cluster.add_lifecycle(SCALE)
    await cluster.create(a_pod("one", container("true")))
    await cluster.until("one", is_ready)
    beats = 0

    async def count() -> None:
        nonlocal beats
        async for _ in cluster.api.watch("leases.coordination.k8s.io"):
            beats += 1
            if beats > 15:  # Longer than it takes to be lost.
                return

    await asyncio.wait_for(count(), 20)
    assert is_ready(await cluster.pod("one"))


async def test_the_pods_of_a_node_that_is_deleted_are_collected(cluster: Cluster) -> None:
    await cluster.add_scale_node(Node(name="gone"))
    await cluster.add_lifecycle(1.0)
    await cluster.create(a_pod("one", container("true")))
    await cluster.until("one", is_ready)
    await cluster.api.delete("nodes", None, "gone")
    await cluster.until_gone("one")


def test_tolerations_say_how_long_a_pod_stays() -> None:
    node = {"spec": {"taints": [{"key": UNREACHABLE, "effect": "NoExecute"}]}}
    other = {"spec": {"taints": [{"key": "maintenance", "effect": "NoExecute"}]}}

    def seconds(where: dict[str, Any], *tolerations: dict[str, Any]) -> float | None:
        return seconds_to_eviction({"spec": {"tolerations": list(tolerations)}}, where)

    forever = {"operator": "Exists"}
    assert seconds({"spec": {}}) is None
    assert seconds(node) == 300
    assert seconds(node, {**forever, "tolerationSeconds": 7}) == 7
    assert seconds(node, forever) is None
    assert seconds(other) == 0
    assert seconds(other, {"key": "maintenance", "operator": "Exists", "tolerationSeconds": 3}) == 3
