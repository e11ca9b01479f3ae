"""The one home of ``watch → key → queue → reconcile``."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Generic, TypeVar

from dask_k8s_local.interfaces import Api, ApiError, Object

logger = logging.getLogger(__name__)

Key = tuple[str, str]
"""Namespace and name."""
K = TypeVar("K")

_FIRST_DELAY = 0.02
_LAST_DELAY = 10.0


class WorkQueue(Generic[K]):
    """Keys that wait for their turn: each at most once, a failed one again after a growing delay.

    Parameters
    ----------
    reconcile : callable
        Brings the state of one key about; may return the seconds after which to look again.
    """

    def __init__(self, reconcile: Callable[[K], Awaitable[float | None]]) -> None:
        self._reconcile = reconcile
        self._keys: dict[K, None] = {}
        self._wakeup = asyncio.Event()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}

    def add(self, key: K) -> None:
        self._keys[key] = None
        self._wakeup.set()

    def add_after(self, key: K, seconds: float) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_later(seconds, self._due, key)

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def run(self) -> None:
        try:
            while True:
                await self._wakeup.wait()
                self._wakeup.clear()
                while self._keys:
                    key = next(iter(self._keys))
                    del self._keys[key]
                    await self._turn(key)
                    # Reconciling in memory never waits by itself: let requests have their turn too.
                    await asyncio.sleep(0)
        finally:
            for timer in self._timers.values():
                timer.cancel()

    async def _turn(self, key: K) -> None:
        try:
            again = await self._reconcile(key)
        except Exception as error:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            if not isinstance(error, ApiError):
                logger.exception("Reconciling %s failed, trying again", key)
            self.add_after(key, min(_FIRST_DELAY * 2**failures, _LAST_DELAY))
            return
        self._failures.pop(key, None)
        if again is not None:
            self.add_after(key, again)


class Controller(ABC):
    """A small level-triggered controller: says what to watch, and brings one object's state about."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.queue: WorkQueue[Key] = WorkQueue(self.reconcile)

    @abstractmethod
    def sources(self) -> Iterable[tuple[str, Callable[[Object], Iterable[Key]]]]:
        """Yield resources to watch, each with the keys that a changed object concerns."""

    @abstractmethod
    async def reconcile(self, key: Key) -> float | None:
        """Bring the state of one key about; return the seconds after which to look again, if any."""

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for resource, keys in self.sources():
                tasks.create_task(self._follow(self.api.watch(resource), keys))
            tasks.create_task(self.queue.run())

    async def _follow(
        self, events: AsyncIterator[tuple[str, Object]], keys: Callable[[Object], Iterable[Key]]
    ) -> None:
        async for _, body in events:
            for key in keys(body):
                self.queue.add(key)


def own_key(body: Object) -> tuple[Key]:
    """Return the key of the object itself."""
    return ((body["metadata"].get("namespace", ""), body["metadata"]["name"]),)


def controller_key(kind: str) -> Callable[[Object], Iterable[Key]]:
    """Return what finds the key of an object's controller, if that is of a kind."""

    def keys(body: Object) -> Iterable[Key]:
        for owner in body["metadata"].get("ownerReferences") or ():
            if owner.get("controller") and owner["kind"] == kind:
                yield body["metadata"].get("namespace", ""), owner["name"]

    return keys


def is_controlled_by(body: Object, uid: str) -> bool:
    return any(
        owner.get("controller") and owner["uid"] == uid
        for owner in body["metadata"].get("ownerReferences") or ()
    )


def owner_reference(owner: Object) -> Object:
    """Return the reference that makes an owner the controller of what it creates."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
