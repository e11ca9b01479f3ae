"""The work queue: each key once, one worker per key at a time, back-off on errors, requeue-after."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from dask_k8s_controller.kubernetes.resources import Key
from dask_k8s_controller.runtime.clock import Clock, Timer
from dask_k8s_controller.settings import Backoff

logger = logging.getLogger(__name__)

SPACING_PER_RECONCILE = 5.0
LONGEST_SPACING = 1.0
MANY_KEYS = 1000


@dataclass(frozen=True)
class Requeue:
    """When a key wants its next turn, if nothing changes before.

    Parameters
    ----------
    after : float, optional
        Seconds from now; None waits for a change.
    failed : bool
        Something went wrong: back off, longer with every failure in a row, but at most ``after`` if that
        isn't at once.
    """

    after: float | None = None
    failed: bool = False

    @classmethod
    def on_change(cls) -> Requeue:
        """Wait for a change."""
        return cls()


Process = Callable[[Key], Awaitable[Requeue]]
OnReconcile = Callable[[Key, float, bool], None]


class WorkQueue:
    """Runs ``process`` for every key added, until it says that there is nothing left to do.

    A key that is added while its turn is on gets another turn afterwards; a key that is added many times
    while it waits gets one. Errors never end the queue: whatever ``process`` raises is logged and the key
    comes back after a back-off.

    Parameters
    ----------
    process : callable
        Awaited with a key; returns when the key wants its next turn.
    clock : Clock
        Time.
    concurrency : int
        How many keys have their turn at the same time.
    spacing : float
        The least time in seconds between the beginnings of two turns of one key: many changes, one turn. It
        grows with what a turn takes, so that an object with many children doesn't keep the others waiting.
    backoff : Backoff
        Delays after failures.
    on_reconcile : callable, optional
        Told about each turn that is over: its key, the seconds that it took, whether it failed.
    """

    def __init__(
        self,
        process: Process,
        *,
        clock: Clock,
        concurrency: int = 100,
        spacing: float = 0.0,
        backoff: Backoff | None = None,
        on_reconcile: OnReconcile | None = None,
    ) -> None:
        self._process = process
        self._clock = clock
        self._concurrency = concurrency
        self._spacing = spacing
        self._backoff = backoff or Backoff()
        self._on_reconcile = on_reconcile
        self._ready: dict[Key, float] = {}
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._started_at: dict[Key, float] = {}
        self._last_start: dict[Key, tuple[float, float]] = {}
        self._again: set[Key] = set()
        self._timers: dict[Key, tuple[float, Timer]] = {}
        self._failures: dict[Key, int] = {}
        self._is_open = False
        self._is_stopped = False

    def add(self, key: Key) -> None:
        """Give a key its turn as soon as possible."""
        if self._is_stopped:
            return
        if key in self._running:
            self._again.add(key)
        elif (wait := self._wait_for_spacing(key)) > 0:
            self.add_after(key, wait)
        else:
            self._cancel_timer(key)
            self._ready.setdefault(key, self._clock.monotonic())
            self._start_ready()

    def add_after(self, key: Key, delay: float) -> None:
        """Give a key its turn after ``delay`` seconds, or earlier if it is due earlier anyway."""
        if key in self._ready or self._is_stopped:
            return
        due = self._clock.monotonic() + delay
        if key in self._timers and self._timers[key][0] <= due:
            return
        self._cancel_timer(key)
        self._timers[key] = (due, self._clock.call_later(delay, lambda: self._timer_fired(key)))

    def start(self) -> None:
        """Begin, or go on after `pause`. Keys added before have waited."""
        self._is_open = True
        self._start_ready()

    def pause(self) -> None:
        """Start no more turns; those that are on go on, and keys keep on waiting."""
        self._is_open = False

    async def stop(self, grace: float = 5.0) -> None:
        """Start no more turns, let those that are on finish within ``grace`` seconds, then cancel them."""
        self._is_open = False
        self._is_stopped = True
        for key in list(self._timers):
            self._cancel_timer(key)
        self._ready.clear()
        if tasks := set(self._running.values()):
            _, pending = await asyncio.wait(tasks, timeout=grace)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    @property
    def is_open(self) -> bool:
        """Whether turns begin."""
        return self._is_open

    @property
    def depth(self) -> int:
        """How many keys wait for their turn now."""
        return len(self._ready)

    @property
    def longest_wait(self) -> float:
        """Seconds that the key waits that has waited longest; 0 if none does."""
        return self._clock.monotonic() - min(self._ready.values()) if self._ready else 0.0

    @property
    def longest_reconcile(self) -> float:
        """Seconds of the turn that is on for longest; 0 if none is."""
        return self._clock.monotonic() - min(self._started_at.values()) if self._started_at else 0.0

    @property
    def is_idle(self) -> bool:
        """Whether no key has or awaits its turn, but for those that asked for a later one."""
        return not self._ready and not self._running

    def _start_ready(self) -> None:
        while self._is_open and self._ready and len(self._running) < self._concurrency:
            key = next(iter(self._ready))
            del self._ready[key]
            self._started_at[key] = self._clock.monotonic()
            self._running[key] = asyncio.create_task(self._reconcile(key), name=f"reconcile {key}")

    async def _reconcile(self, key: Key) -> None:
        requeue = Requeue(failed=True)
        try:
            requeue = await self._process(key)
        except Exception:
            logger.exception("%s: reconciling failed; it is tried again.", key)
        finally:
            self._reconcile_is_over(key, requeue)

    def _reconcile_is_over(self, key: Key, requeue: Requeue) -> None:
        del self._running[key]
        start = self._started_at.pop(key)
        seconds = self._clock.monotonic() - start
        if self._spacing:
            spacing = min(max(self._spacing, SPACING_PER_RECONCILE * seconds), LONGEST_SPACING)
            self._last_start[key] = (start, spacing)
            self._forget_old_starts()
        if self._on_reconcile is not None:
            self._on_reconcile(key, seconds, requeue.failed)
        delay = requeue.after
        if requeue.failed:
            self._failures[key] = self._failures.get(key, 0) + 1
            backoff = self._backoff.delay(self._failures[key])
            delay = min(delay, backoff) if delay else backoff
        else:
            self._failures.pop(key, None)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
        elif delay is not None:
            self.add_after(key, delay)
        self._start_ready()

    def _forget_old_starts(self) -> None:
        if len(self._last_start) > MANY_KEYS:
            now = self._clock.monotonic()
            recent = ((key, last) for key, last in self._last_start.items() if now < last[0] + last[1])
            self._last_start = dict(recent)

    def _wait_for_spacing(self, key: Key) -> float:
        if key not in self._last_start:
            return 0.0
        start, spacing = self._last_start[key]
        wait = start + spacing - self._clock.monotonic()
        if wait <= 0:
            del self._last_start[key]
        return wait

    def _timer_fired(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _cancel_timer(self, key: Key) -> None:
        if key in self._timers:
            self._timers.pop(key)[1].cancel()
