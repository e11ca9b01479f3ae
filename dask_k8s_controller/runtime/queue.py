"""The work queue: each key once, one worker per key, fair to namespaces, back-off, requeue-after."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass, field

from dask_k8s_controller.kubernetes.resources import Key
from dask_k8s_controller.kubernetes.slots import share
from dask_k8s_controller.runtime.clock import Clock, Timer
from dask_k8s_controller.settings import Backoff

logger = logging.getLogger(__name__)

SPACING_PER_RECONCILE = 5.0
LONGEST_SPACING = 1.0


@dataclass(frozen=True)
class Requeue:
    """When a key is to be reconciled again, if nothing changes before."""

    after: float | None = None
    """Seconds from now; None waits for a change."""
    failed: bool = False
    """Something went wrong: back off, longer with every failure in a row, but at most ``after`` if that isn't
    at once."""

    @classmethod
    def on_change(cls) -> Requeue:
        """Wait for a change."""
        return cls()


@dataclass
class _Served:
    """How many reconciles of a namespace are under way, and when the last of them began."""

    reconciles: int = 0
    at: float = 0.0


@dataclass
class WorkQueue:
    """Runs ``process`` for every key added, until it says that there is nothing left to do.

    A key that is added while it is reconciled is reconciled once more; a key that is added many times
    while it waits gets one. Errors never end the queue: whatever ``process`` raises is logged and the key
    comes back after a back-off. Of the namespaces whose keys wait, the one with the fewest reconciles under
    way is next: however many keys it has, they hold up each other, and not another's.
    """

    process: Callable[[Key], Awaitable[Requeue]]
    """Reconciles a key; returns when the key is to be requeued."""
    _: KW_ONLY
    clock: Clock
    concurrency: int = 100
    """How many keys are reconciled at the same time."""
    spacing: float = 0.0
    """The least seconds between the beginnings of two reconciles of one key: many changes, one reconcile.
    It grows with what one takes, so that an object with many children doesn't keep the others waiting."""
    backoff: Backoff = field(default_factory=Backoff)
    """Delays after failures."""
    on_reconcile: Callable[[Key, float, bool], None] = lambda key, seconds, failed: None
    """Told of each reconcile that is over: its key, the seconds that it took, whether it failed."""

    def __post_init__(self) -> None:
        self._ready: dict[str, dict[Key, float]] = {}
        self._served: dict[str, _Served] = {}
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._started_at: dict[Key, float] = {}
        self._rests_until: dict[Key, float] = {}
        self._again: set[Key] = set()
        self._timers: dict[Key, tuple[float, Timer]] = {}
        self._failures: dict[Key, int] = {}
        self.is_open = False
        """Whether reconciles are started."""
        self._is_stopped = False

    def add(self, key: Key) -> None:
        """Reconcile a key as soon as possible."""
        if self._is_stopped:
            return
        if key in self._running:
            self._again.add(key)
        elif (wait := self._rests_until.get(key, 0.0) - self.clock.monotonic()) > 0:
            self.add_after(key, wait)
        else:
            self._cancel_timer(key)
            self._ready.setdefault(key.namespace, {}).setdefault(key, self.clock.monotonic())
            self._start_ready()

    def add_after(self, key: Key, delay: float) -> None:
        """Reconcile a key after ``delay`` seconds, or earlier if it is due earlier anyway."""
        if key in self._ready.get(key.namespace, ()) or self._is_stopped:
            return
        due = self.clock.monotonic() + delay
        if key in self._timers and self._timers[key][0] <= due:
            return
        self._cancel_timer(key)
        self._timers[key] = (due, self.clock.call_later(delay, lambda: self._timer_fired(key)))

    def start(self) -> None:
        """Begin, or go on after `pause`. Keys added before have waited."""
        self.is_open = True
        self._start_ready()

    def pause(self) -> None:
        """Start no more reconciles and cancel those under way, as another replica acts; keep their keys."""
        self.is_open = False
        for task in self._running.values():
            task.cancel()

    async def stop(self, grace: float = 5.0) -> None:
        """Start no more reconciles, let those under way finish within ``grace`` seconds, then cancel them."""
        self.is_open = False
        self._is_stopped = True
        for key in list(self._timers):
            self._cancel_timer(key)
        self._ready.clear()
        if tasks := set(self._running.values()):
            _, pending = await asyncio.wait(tasks, timeout=grace)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    def sweep(self) -> None:
        """Forget when keys were reconciled that may be again."""
        now = self.clock.monotonic()
        self._rests_until = {key: until for key, until in self._rests_until.items() if until > now}

    @property
    def depth(self) -> int:
        """How many keys wait to be reconciled now."""
        return sum(map(len, self._ready.values()))

    @property
    def longest_wait(self) -> float:
        """Seconds for which a namespace has waited for a reconcile that it could have; 0 if none has."""
        now = self.clock.monotonic()
        waiting = (
            now - max(min(keys.values()), self._served[namespace].at if namespace in self._served else 0.0)
            for namespace, keys in self._ready.items()
            if not self._has_its_share(namespace)
        )
        return max(waiting, default=0.0)

    @property
    def longest_reconcile(self) -> float:
        """Seconds of the reconcile that is under way for longest; 0 if none is."""
        return self.clock.monotonic() - min(self._started_at.values()) if self._started_at else 0.0

    def _start_ready(self) -> None:
        while self.is_open and len(self._running) < self.concurrency:
            waiting = [namespace for namespace in self._ready if not self._has_its_share(namespace)]
            if not waiting:
                return
            namespace = min(waiting, key=self._reconciles_of)
            keys = self._ready.pop(namespace)
            key = next(iter(keys))
            del keys[key]
            if keys:
                self._ready[namespace] = keys  # The last of those with as many reconciles.
            now = self.clock.monotonic()
            served = self._served.setdefault(namespace, _Served())
            served.reconciles, served.at = served.reconciles + 1, now
            self._started_at[key] = now
            self._running[key] = asyncio.create_task(self._reconcile(key), name=f"reconcile {key}")

    def _has_its_share(self, namespace: str) -> bool:
        return share(self.concurrency) <= self._reconciles_of(namespace) < self.concurrency

    def _reconciles_of(self, namespace: str) -> int:
        return self._served[namespace].reconciles if namespace in self._served else 0

    async def _reconcile(self, key: Key) -> None:
        requeue = Requeue(failed=True)
        try:
            requeue = await self.process(key)
        except Exception:
            logger.exception("%s: reconciling failed; it is tried again.", key)
        finally:
            self._reconcile_is_over(key, requeue)

    def _reconcile_is_over(self, key: Key, requeue: Requeue) -> None:
        del self._running[key]
        served = self._served[key.namespace]
        served.reconciles -= 1
        if not served.reconciles and key.namespace not in self._ready:
            del self._served[key.namespace]
        start = self._started_at.pop(key)
        seconds = self.clock.monotonic() - start
        if self.spacing:
            spacing = min(max(self.spacing, SPACING_PER_RECONCILE * seconds), LONGEST_SPACING)
            self._rests_until[key] = start + spacing
        self.on_reconcile(key, seconds, requeue.failed)
        delay = requeue.after
        if requeue.failed:
            self._failures[key] = self._failures.get(key, 0) + 1
            backoff = self.backoff.delay(self._failures[key])
            delay = min(delay, backoff) if delay else backoff
        else:
            self._failures.pop(key, None)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
        elif delay is not None:
            self.add_after(key, delay)
        self._start_ready()

    def _timer_fired(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _cancel_timer(self, key: Key) -> None:
        if key in self._timers:
            self._timers.pop(key)[1].cancel()
