"""Many pods come and go without a trace."""

from __future__ import annotations

import asyncio

import psutil
import pytest

from tests.local.node.kit import World, a_pod, container, is_over, is_ready


async def come_and_go(world: World, count: int) -> None:
    """Start and stop pods in a row, half of them by deletion; the `world` fixture looks for what is left."""
    agent = await world.add_node()
    own = psutil.Process()

    def traces() -> tuple[int, int, int, list[str]]:
        folder = world.directory / agent.node.name / "pods"
        files = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
        return len(own.children(recursive=True)), own.num_fds(), len(asyncio.all_tasks()), files

    before = traces()
    for number in range(count):
        name = f"pod-{number}"
        if number % 2:
            await world.create(a_pod(name, container("sleep", "1000")))
            await world.until(name, is_ready)
        else:
            await world.create(a_pod(name, container("sh", "-c", "sleep 0.01 &"), restartPolicy="Never"))
            await world.until(name, is_over)
        await world.delete(name)
        await world.until_gone(name)
    async with asyncio.timeout(10):
        while traces() != before:  # noqa: ASYNC110 - folders are removed in threads
            await asyncio.sleep(0.01)


async def test_pods_leave_no_process_descriptor_task_or_file(world: World) -> None:
    await come_and_go(world, 20)


@pytest.mark.full
async def test_two_hundred_pods_leave_nothing_either(world: World) -> None:
    await come_and_go(world, 200)
