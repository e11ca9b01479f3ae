# mypy: disallow-untyped-calls=False
"""The Dask side of a cluster manager: a scheduler that may be replaced while we are connected to it."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from dask.utils import parse_timedelta
from distributed.core import Status
from distributed.deploy.cluster import Cluster
from distributed.exceptions import WorkerStartTimeoutError
from distributed.objects import SchedulerInfo

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 5.0
"""Seconds between two attempts to connect to a scheduler that should be there."""
RECHECK = 1.0
"""Seconds after which waiting for workers asks the scheduler anew, should a message have been missed."""


class LastingCluster(Cluster):
    """A cluster manager that subscribes again when its scheduler was lost or replaced."""

    def __init__(self, **kwargs: Any) -> None:
        self._workers_changed = asyncio.Event()
        super().__init__(**kwargs)

    async def _scheduler_is_back(self) -> bool:
        """Wait until there is a scheduler to connect to; False if there will be none."""
        raise NotImplementedError

    async def _why_workers_are_missing(self, n_workers: int) -> str:
        """Say why there are fewer workers than wanted, if that is known."""
        return ""

    async def _follow_scheduler(self) -> None:
        """Subscribe again each time that the connection to the scheduler is lost."""
        while self.status == Status.running and self._watch_worker_status_task is not None:
            await asyncio.wait([self._watch_worker_status_task])
            if self.status != Status.running:
                return
            self._set_info({**self.scheduler_info, "workers": {}})
            if not await self._resubscribe():
                self._log(f"The cluster {self.name} doesn't exist any more.")
                return

    async def _resubscribe(self) -> bool:
        pause = 0.1
        while await self._scheduler_is_back():
            try:
                await self._subscribe()
                return True
            except (OSError, TimeoutError) as error:
                logger.debug("The scheduler of %s can't be reached again yet: %s", self.name, error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        return False

    async def _subscribe(self) -> None:
        assert self.scheduler_comm is not None
        comm = await self.scheduler_comm.live_comm()
        comm.name = "Cluster worker status"
        await comm.write({"op": "subscribe_worker_status"})
        self._set_info(await comm.read())
        self._watch_worker_status_comm = comm
        self._watch_worker_status_task = asyncio.ensure_future(self._watch_worker_status(comm))

    def _set_info(self, info: dict[str, Any]) -> None:
        self.scheduler_info = SchedulerInfo(info)
        self._workers_changed.set()

    def _update_worker_status(self, op: str, msg: Any) -> None:
        if op == "remove":
            # It may have left between our subscription and the first message.
            self.scheduler_info["workers"].pop(msg, None)
        else:
            super()._update_worker_status(op, msg)
        self._workers_changed.set()

    async def _wait_for_workers(self, n_workers: int = 0, timeout: float | str | None = None) -> None:
        seconds = None if timeout is None else parse_timedelta(timeout, "s")
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            self._workers_changed.clear()
            running = await self._running_workers()
            if running >= n_workers:
                return
            left = RECHECK if deadline is None else min(deadline - time.monotonic(), RECHECK)
            if left <= 0:
                error = WorkerStartTimeoutError(running, n_workers, seconds or 0)
                if reason := await self._why_workers_are_missing(n_workers):
                    error.add_note(reason)
                raise error
            try:
                await asyncio.wait_for(self._workers_changed.wait(), left)
            except TimeoutError:
                continue

    async def _running_workers(self) -> int:
        """Ask the scheduler; when it is away nobody works."""
        assert self.scheduler_comm is not None
        try:
            self.scheduler_info = SchedulerInfo(await self.scheduler_comm.identity())
        except (OSError, TimeoutError):
            return 0
        workers = self.scheduler_info["workers"].values()
        return sum(1 for worker in workers if worker["status"] == Status.running.name)
