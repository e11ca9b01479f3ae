"""A node that only marks pods Ready, for tests of scale."""

from __future__ import annotations

import asyncio
import time

import pytest

from dask_k8s_local.interfaces import ApiError, LogOptions
from tests.local.node.kit import Cluster, a_pod, container, is_ready, status_of


async def test_pods_become_ready_without_processes(cluster: Cluster) -> None:
    node = await cluster.add_scale_node()
    init = [container("true", name="init")]
    await cluster.create(a_pod("one", container("no such program"), initContainers=init))
    pod = await cluster.until("one", is_ready)
    assert status_of(pod, "init")["state"]["terminated"]["exitCode"] == 0
    assert [chunk async for chunk in node.logs(pod, LogOptions("main"))] == []
    with pytest.raises(ApiError, match="runs no processes"):
        node.address(pod, 80)
    await cluster.delete("one")
    await cluster.until_gone("one")


async def test_readiness_can_take_its_time(cluster: Cluster) -> None:
    await cluster.add_scale_node(latency=(0.2, 0.4), seed=1)
    started = time.monotonic()
    await cluster.create(a_pod("one", container("true")))
    await cluster.until("one", is_ready)
    assert time.monotonic() - started >= 0.2


async def test_hundreds_of_pods_come_and_go(cluster: Cluster) -> None:
    await cluster.add_scale_node()
    ready: set[str] = set()
    gone = 0

    async def watch(count: int) -> None:
        nonlocal gone
        async for event, pod in cluster.api.watch("pods"):
            if event == "DELETED":
                gone += 1
            elif is_ready(pod):
                ready.add(pod["metadata"]["name"])
            if gone == count:
                return

    watching = asyncio.create_task(watch(300))
    for number in range(300):
        await cluster.create(a_pod(f"pod-{number}", container("true")))
    async with asyncio.timeout(30):
        while len(ready) < 300:  # noqa: ASYNC110 - the watch above counts them
            await asyncio.sleep(0.01)
    pods = await cluster.api.list("pods")
    assert len({pod["status"]["podIP"] for pod in pods}) == 300
    for number in range(300):
        await cluster.delete(f"pod-{number}")
    await asyncio.wait_for(watching, 30)
    assert await cluster.api.list("pods") == []
