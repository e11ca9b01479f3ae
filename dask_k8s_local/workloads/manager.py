"""All controllers, started and stopped together."""

from __future__ import annotations

import asyncio

from dask_k8s_local.interfaces import Api
from dask_k8s_local.workloads.endpoints import EndpointsController

CONTROLLERS = (EndpointsController,)


class ControllerManager:
    """Runs the controllers in the current event loop."""

    def __init__(self, api: Api) -> None:
        self._controllers = [controller(api) for controller in CONTROLLERS]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(one.run(), name=type(one).__name__) for one in self._controllers]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
