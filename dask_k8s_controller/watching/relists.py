"""Notices how kopf's lists and watches fare: its requests pass through a session of ours.

kopf lists a resource anew when a watch was interrupted for too long. It then shows what there is, but not
what has gone meanwhile: somebody has to compare. And if lists and watches fail for long, it is deaf.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from types import SimpleNamespace

import aiohttp
from yarl import URL

from dask_k8s_controller.kubernetes.resources import Resource


@dataclass(frozen=True)
class Listing:
    """A collection that was listed."""

    resource: Resource
    namespace: str | None
    label_selector: str


class RelistMonitor:
    """Calls back for every list of a collection but its first.

    Parameters
    ----------
    resources : iterable of Resource
        The kinds that matter.
    on_relist : callable
        Awaited in a task of its own.
    """

    def __init__(
        self, resources: Iterable[Resource], on_relist: Callable[[Listing], Awaitable[None]]
    ) -> None:
        self._resources = tuple(resources)
        self._on_relist = on_relist
        self._listed: set[Listing] = set()
        self._failing_since: dict[Listing, float] = {}
        self._tasks: dict[Listing, asyncio.Task[None]] = {}

    def trace(self) -> aiohttp.TraceConfig:
        """Return what a session needs to report here."""
        config = aiohttp.TraceConfig()
        config.on_request_end.append(self._request_ended)
        config.on_request_exception.append(self._request_failed)
        return config

    @property
    def failing_for(self) -> float:
        """Seconds for which the lists and watches of some resource have done nothing but fail."""
        return time.monotonic() - min(self._failing_since.values()) if self._failing_since else 0.0

    def again(self, listing: Listing) -> None:
        """Call back once more."""
        self._tasks.pop(listing, None)
        self._call_back(listing)

    async def stop(self) -> None:
        """Call back no more."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _request_ended(
        self, session: aiohttp.ClientSession, context: SimpleNamespace, end: aiohttp.TraceRequestEndParams
    ) -> None:
        listing = self._listing(end.url) if end.method == "GET" else None
        if listing is None:
            return
        if end.response.status != 200:
            self._failing_since.setdefault(listing, time.monotonic())
            return
        self._failing_since.pop(listing, None)
        if "watch" not in end.url.query:
            if listing in self._listed:
                self._call_back(listing)
            self._listed.add(listing)

    async def _request_failed(
        self,
        session: aiohttp.ClientSession,
        context: SimpleNamespace,
        failure: aiohttp.TraceRequestExceptionParams,
    ) -> None:
        if listing := self._listing(failure.url):
            self._failing_since.setdefault(listing, time.monotonic())

    def _listing(self, url: URL) -> Listing | None:
        parts = url.path.strip("/").split("/")
        namespace = parts[-2] if len(parts) > 3 and parts[-3] == "namespaces" else None
        for resource in self._resources:
            if url.path.endswith(resource.path(namespace)):
                return Listing(resource, namespace, url.query.get("labelSelector", ""))
        return None

    def _call_back(self, listing: Listing) -> None:
        if listing not in self._tasks:
            task = asyncio.create_task(self._run(listing))
            self._tasks[listing] = task

    async def _run(self, listing: Listing) -> None:
        try:
            await self._on_relist(listing)
        finally:
            if self._tasks.get(listing) is asyncio.current_task():
                del self._tasks[listing]
