"""Watches break at any moment, and what happened meanwhile is never told: all converges nevertheless."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.child import Controller
from tests.faults.cluster import GROUPS, ScaleCluster
from tests.faults.flows import FLOWS, Flow
from tests.faults.test_faults import converges, prepared

STEADY = [flow for flow in FLOWS if flow.name in ("scale up", "scale down", "change the image", "resume")]


@pytest.mark.parametrize("flow", STEADY, ids=lambda flow: flow.name)
async def test_watches_that_break_all_the_time(
    cluster: ScaleCluster, controller: Controller, flow: Flow
) -> None:
    namespace = await prepared(cluster, flow)
    breaking = asyncio.create_task(_break_watches(cluster))
    try:
        await flow.step(cluster, namespace)
        await converges(cluster, flow, namespace, "while watches break")
    finally:
        breaking.cancel()


async def _break_watches(cluster: ScaleCluster) -> None:
    while True:
        cluster.faults.cut_watches()
        await asyncio.sleep(0.03)


async def test_a_pod_that_vanishes_while_nobody_watches_is_replaced(
    cluster: ScaleCluster, controller: Controller
) -> None:
    flow = next(flow for flow in FLOWS if flow.name == "scale up")
    namespace = await prepared(cluster, flow)
    refused = cluster.faults.fail(500, when=lambda request: request.verb in ("watch", "list"))
    cluster.faults.cut_watches()
    (victim, *_) = [
        pod["metadata"]["name"]
        for pod in await cluster.pods(namespace)
        if "worker" in pod["metadata"]["name"]
    ]
    await cluster.client.delete("pods", namespace, victim, grace_period_seconds=0)
    await cluster.wait(lambda: _is_gone(cluster, namespace, victim), "the pod is not deleted")
    cluster.faults.forget_history()
    cluster.faults.remove(refused)

    async def has_two_again() -> bool:
        pods = [pod["metadata"]["name"] for pod in await cluster.pods(namespace)]
        group = await cluster.get(GROUPS, namespace, "c-default")
        return victim not in pods and len(pods) == 3 and (group or {})["status"]["readyReplicas"] == 2

    await cluster.wait(has_two_again, "the pod that vanished is not replaced")


async def _is_gone(cluster: ScaleCluster, namespace: str, pod: str) -> bool:
    return await cluster.get("pods", namespace, pod) is None
