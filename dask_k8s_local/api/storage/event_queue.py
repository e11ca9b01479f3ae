"""Watches: what happens to a selection of objects, from a version on, without a gap."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator

from dask_k8s_local.api import errors
from dask_k8s_local.api.storage.selectors import Matches
from dask_k8s_local.api.storage.store import Collection, Event, Revision
from dask_k8s_local.interfaces import EventType

BACKLOG = 20_000
"""Events that a watcher may lag behind before it is cut off."""


class Watch:
    """The events of a collection that concern one watcher, queued until it takes them."""

    def __init__(self, collection: Collection, namespace: str | None, matches: Matches | None) -> None:
        self._collection = collection
        self._namespace = namespace
        self._matches = matches
        self._queue: deque[tuple[EventType, Event]] = deque()
        self._wakeup = asyncio.Event()
        self._stop_listening = collection.listen(self._receive, namespace)
        self.is_cut = False
        self.is_ended = False

    def start(self, version: int | None) -> list[Revision]:
        """Begin after a version, or with what is there now, which is returned then."""
        if version is None:
            return [
                one
                for one in self._collection.revisions()
                if (self._namespace is None or one.key[0] == self._namespace)
                and (self._matches is None or self._matches(one.object))
            ]
        try:
            missed = self._collection.events_since(version)
        except LookupError:
            raise errors.too_old(version, self._collection.compacted) from None
        for event in missed:
            if self._namespace is None or event.now.key[0] == self._namespace:
                self._receive(event)
        return []

    def _receive(self, event: Event) -> None:
        type_ = self._type(event)
        if type_ is None:
            return
        self._queue.append((type_, event))
        if len(self._queue) > BACKLOG:
            self.cut()
        self._wakeup.set()

    def _type(self, event: Event) -> EventType | None:
        """Return what an event means to this watcher: to leave a selection is to be deleted from it."""
        matches = self._matches
        if matches is None:
            return event.type
        was_in = event.before is not None and matches(event.before.object)
        if event.type == "DELETED":
            return "DELETED" if was_in else None
        is_in = matches(event.now.object)
        if is_in:
            return "MODIFIED" if was_in else "ADDED"
        return "DELETED" if was_in else None

    def take(self) -> Iterator[tuple[EventType, Event]]:
        """Yield what is queued."""
        while self._queue:
            yield self._queue.popleft()

    async def wait(self) -> None:
        """Wait until there are events, or somebody wakes or cuts the watch."""
        if not self._queue and not self.is_cut and not self.is_ended:
            await self._wakeup.wait()
            self._wakeup.clear()

    def wake(self) -> None:
        self._wakeup.set()

    def end(self) -> None:
        """End the watch when all that is queued has been taken."""
        self.is_ended = True
        self._wakeup.set()

    def cut(self) -> None:
        """End the watch at once, as a lost connection does."""
        self.is_cut = True
        self._wakeup.set()

    def close(self) -> None:
        self._stop_listening()
        self._queue.clear()
