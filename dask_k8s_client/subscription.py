# mypy: disallow-untyped-calls=False
"""A Dask cluster manager that goes on knowing its workers, whatever becomes of its scheduler."""

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

from dask_k8s_client import display, pods
from dask_k8s_client.errors import KubeClusterError
from dask_k8s_client.session import Session
from dask_k8s_client.startup import scheduler_is_ready

logger = logging.getLogger(__name__)

FIRST_LOOK, LAST_LOOK = 0.5, 8.0
"""Seconds after which workers that don't agree with the pods are asked for, doubled each time."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between two attempts to connect to a scheduler that should be there, doubled each time."""
RECHECK = 1.0
"""Seconds after which waiting for workers asks the scheduler anew, should a message have been missed."""


class Subscriber(Cluster):
    """What a cluster manager does to know its scheduler's workers, and those of the scheduler's successor."""

    _session: Session
    _workers_changed: asyncio.Event

    async def _read_certificate(self) -> None:
        """Take the certificate of the present scheduler."""
        raise NotImplementedError

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
        pause = FIRST_PAUSE
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

    async def _scheduler_is_back(self) -> bool:
        observer = self._session.observer
        now = await observer.until(lambda seen: seen.cluster is None or scheduler_is_ready(seen))
        if now.cluster is None:
            return False
        try:
            await self._read_certificate()
        except KubeClusterError as error:
            self._log(str(error))
        return True

    async def _follow_pods(self) -> None:
        """Ask for the workers when the pods have changed and the scheduler didn't tell.

        A scheduler keeps one subscription: a second cluster manager's silently replaces the first one's.
        """
        observer = self._session.observer
        delay = FIRST_LOOK
        while True:
            pulse = observer.pulse
            if pods.are_workers(self._session.now.workers, self.observed):
                delay = FIRST_LOOK
                await pulse.wait()
                continue
            if delay > LAST_LOOK:  # It won't change by itself: these workers have names of their own.
                await pulse.wait()
                delay = FIRST_LOOK
            await asyncio.sleep(delay)
            if not pods.are_workers(self._session.now.workers, self.observed):
                await self._running_workers()
                self._workers_changed.set()
                delay *= 2

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
                if reason := self._why_workers_are_missing(n_workers):
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

    def _why_workers_are_missing(self, n_workers: int) -> str:
        ailing = [row for row in display.rows(self._session.now) if row.state.level == "bad"]
        reasons = [f"{row.component}: {row.state}" for row in ailing]
        if n_workers > len(self.plan):
            reasons.append(f"The worker groups ask for {len(self.plan)} in all; `scale` asks for more.")
        return "\n".join(reasons)
