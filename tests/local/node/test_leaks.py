"""Many pods come and go without a trace."""

from __future__ import annotations

import asyncio

import psutil
import pytest

from tests.local.node.kit import Cluster, a_pod, container, is_over, is_ready


async def come_and_go(cluster: Cluster, count: int) -> None:
    """Start and stop pods in a row, half of them by deletion; `cluster` looks for what is left."""
    agent = await cluster.add_node()
    own = psutil.Process()

    def traces() -> tuple[int, int, list[str]]:
        folder = cluster.directory / agent.node.name / "pods"
        files = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
        return len(own.children(recursive=True)), len(asyncio.all_tasks()), files

    before, descriptors = traces(), own.num_fds()
    for number in range(count):
        name = f"pod-{number}"
        if number % 2:
            await cluster.create(a_pod(name, container("sleep", "1000")))
            await cluster.until(name, is_ready)
        else:
            await cluster.create(a_pod(name, container("sh", "-c", "sleep 0.01 &"), restartPolicy="Never"))
            await cluster.until(name, is_over)
        await cluster.delete(name)
        await cluster.until_gone(name)
    async with asyncio.timeout(10):
        # Folders are removed in threads; servers of other fixtures may open a few descriptors meanwhile.
        while traces() != before or own.num_fds() - descriptors >= count / 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_pods_leave_no_process_descriptor_task_or_file(cluster: Cluster) -> None:
    await come_and_go(cluster, 20)


@pytest.mark.full
async def test_two_hundred_pods_leave_nothing_either(cluster: Cluster) -> None:
    await come_and_go(cluster, 200)
