"""Wait until a cluster's scheduler can be connected to; fail with Kubernetes' own reason."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from dask_k8s_client import pods, startup
from dask_k8s_client.errors import KubeClusterError, SchedulerStartupError
from dask_k8s_client.logs import pod_log
from dask_k8s_client.observe import Observed, Observer

LONGEST_PULL = 1800.0
"""Seconds that the time limit stands still while an image is pulled."""


class Patience:
    """Seconds left, which each progress restores.

    Parameters
    ----------
    limit : float
        Seconds without progress after which it is over.
    """

    def __init__(self, limit: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._clock = clock
        self._reached: set[str] = set()
        self._since = clock()
        self._under_way_since: float | None = None

    def left(self, observed: Observed) -> float:
        """Return the seconds that are left now."""
        now = self._clock()
        new = set(startup.milestones(observed)) - self._reached
        if new:
            self._reached |= new
            self._since = now
        if startup.is_under_way(observed):
            self._under_way_since = now if self._under_way_since is None else self._under_way_since
            if now - self._under_way_since < LONGEST_PULL:
                self._since = now
        else:
            self._under_way_since = None
        return self._since + self.limit - now


async def until_connectable(observer: Observer, timeout: float, log: Callable[[str], None]) -> Observed:
    """Wait through all stages of a cluster's start.

    Parameters
    ----------
    observer : Observer
        Watches the cluster.
    timeout : float
        Seconds without any progress after which to give up.
    log : callable
        Told what is waited for.

    Raises
    ------
    ControllerTimeoutError, ResourceTimeoutError, SchedulerStartupError
        With the reason, see `startup.failure`.
    """
    patience = Patience(timeout)
    logged = ""
    while True:
        pulse = observer.pulse
        now = observer.now
        stage = startup.stage(now)
        if stage is None:
            return now
        if error := startup.definite_failure(now):
            raise error
        if (text := startup.announcement(stage, now)) != logged:
            logged = text
            log(text)
        left = patience.left(now)
        if left <= 0:
            raise await _with_logs(observer, now, startup.failure(now, stage, timeout))
        with suppress(TimeoutError):
            await asyncio.wait_for(pulse.wait(), left)


async def failure_with_logs(observer: Observer, observed: Observed, timeout: float) -> KubeClusterError:
    """Return why a scheduler that was ready isn't any more, with its log."""
    return await _with_logs(observer, observed, startup.scheduler_failure(observed, timeout))


async def _with_logs(observer: Observer, observed: Observed, error: KubeClusterError) -> KubeClusterError:
    """Add the scheduler's log to an error about a scheduler that crashed."""
    pod = observed.scheduler
    has_run = pod is not None and (pods.restarts(pod) or pods.state(pod).word == "Starting")
    if not isinstance(error, SchedulerStartupError) or pod is None or not has_run:
        return error
    log = await pod_log(observer.api, observer.namespace, pod)
    return SchedulerStartupError(f"{error}\nScheduler Pod logs:\n{log}\n{pods.remedy(log)}".rstrip())
