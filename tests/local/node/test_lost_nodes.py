"""A node that isn't heard of any more is lost, and its pods go elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any

from dask_k8s_local.node import Node
from dask_k8s_local.node.lifecycle import seconds_to_eviction
from tests.local.node.kit import World, a_pod, condition, container, is_ready

SCALE = 0.01
UNREACHABLE = "node.kubernetes.io/unreachable"


def ready(node: dict[str, Any]) -> str:
    return str(condition(node, "Ready").get("status"))


def taints(node: dict[str, Any]) -> set[tuple[str, str]]:
    return {(taint["key"], taint["effect"]) for taint in node["spec"].get("taints") or []}


async def test_a_lost_node_is_marked_and_its_pods_are_evicted(world: World) -> None:
    node = await world.add_scale_node(heartbeat_scale=SCALE)
    await world.add_lifecycle(SCALE)
    patient = {"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute"}
    await world.create(
        a_pod("impatient", container("true"), tolerations=[{**patient, "tolerationSeconds": 1}])
    )
    await world.create(a_pod("patient", container("true"), tolerations=[patient]))
    for name in ("impatient", "patient"):
        await world.until(name, is_ready)
    node.pause()
    lost = await world.until("scale", lambda body: ready(body) == "Unknown", resource="nodes")
    assert condition(lost, "Ready")["message"] == "Kubelet stopped posting node status."
    lost = await world.until("scale", lambda body: len(taints(body)) == 2, resource="nodes")
    assert taints(lost) == {(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")}
    pod = await world.until("impatient", lambda pod: "deletionTimestamp" in pod["metadata"])
    assert condition(pod, "DisruptionTarget")["reason"] == "DeletionByTaintManager"
    pod = await world.until("patient", lambda pod: not is_ready(pod))
    assert "deletionTimestamp" not in pod["metadata"]
    assert ("NodeNotReady", "Node is not ready") in await world.events("patient")


async def test_a_node_that_comes_back_ends_what_was_evicted_and_takes_pods_again(world: World) -> None:
    agent = await world.add_node(heartbeat_scale=SCALE)
    await world.add_lifecycle(SCALE)
    await world.create(a_pod("one", container("sleep", "1000")))
    forever = {"key": UNREACHABLE, "operator": "Exists"}
    await world.create(a_pod("stays", container("sleep", "1000"), tolerations=[forever]))
    for name in ("one", "stays"):
        await world.until(name, is_ready)
    agent.pause()
    await world.until("stays", lambda pod: not is_ready(pod))
    await world.until("one", lambda pod: "deletionTimestamp" in pod["metadata"])
    await world.create(a_pod("two", container("sleep", "1000")))
    await world.until_event("two", "FailedScheduling")
    agent.resume()
    await world.until_gone("one")
    await world.until("stays", is_ready)
    await world.until("local", lambda node: ready(node) == "True" and not taints(node), resource="nodes")
    await world.until("two", is_ready)


async def test_a_heard_node_keeps_its_pods(world: World) -> None:
    await world.add_scale_node(heartbeat_scale=SCALE)
    await world.add_lifecycle(SCALE)
    await world.create(a_pod("one", container("true")))
    await world.until("one", is_ready)
    beats = 0

    async def count() -> None:
        nonlocal beats
        async for _ in world.api.watch("leases.coordination.k8s.io"):
            beats += 1
            if beats > 15:  # Longer than it takes to be lost.
                return

    await asyncio.wait_for(count(), 20)
    assert is_ready(await world.pod("one"))


async def test_the_pods_of_a_node_that_is_deleted_are_collected(world: World) -> None:
    await world.add_scale_node(Node(name="gone"))
    await world.add_lifecycle(1.0)
    await world.create(a_pod("one", container("true")))
    await world.until("one", is_ready)
    await world.api.delete("nodes", None, "gone")
    await world.until_gone("one")


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
