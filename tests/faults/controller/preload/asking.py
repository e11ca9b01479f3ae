"""What tests of the routes ask, and how they wait for what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from dask_k8s_controller.cluster.observe import endpoint
from tests.unit.controller.builders import cluster, scheduler_pod

ENDPOINT = replace(endpoint(cluster(), scheduler_pod(), workers=2))


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - a scheduler has no events to wait for
            await asyncio.sleep(0.01)
