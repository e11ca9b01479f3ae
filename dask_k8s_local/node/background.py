"""Tasks that run beside each other until they are stopped together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from dask_k8s_local.interfaces import ApiError, EventType, Object

logger = logging.getLogger(__name__)

WATCH_AGAIN_AFTER = 0.1


class Background:
    """A set of tasks; what fails is logged at once, and `stop` leaves none behind."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s failed", task.get_name(), exc_info=error)

    async def stop(self) -> None:
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def follow(
    watch: Callable[[], AsyncIterator[tuple[EventType, Object]]],
    handle: Callable[[EventType, Object], None],
    connected: asyncio.Event | None = None,
) -> None:
    """Hand every event of a watch to `handle`, while connected, and watch again when the watch is cut."""
    while True:
        try:
            async for event, changed in watch():
                if connected is not None:
                    await connected.wait()
                handle(event, changed)
        except ApiError as error:
            logger.warning("watching again: %s", error.message)
        await asyncio.sleep(WATCH_AGAIN_AFTER)
