"""Notices when kopf lists a resource anew, as it does when a watch was interrupted for too long.

kopf then shows what there is, but not what has gone meanwhile. Its requests pass through a session of ours,
and that is where a second list of a collection is seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from types import SimpleNamespace

import aiohttp
from yarl import URL

from dask_k8s_controller.resources import Resource


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
        self._tasks: dict[Listing, asyncio.Task[None]] = {}

    def trace(self) -> aiohttp.TraceConfig:
        """Return what a session needs to report here."""
        config = aiohttp.TraceConfig()
        config.on_request_end.append(self._request_ended)
        return config

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
        if end.method == "GET" and end.response.status == 200 and "watch" not in end.url.query:
            listing = self._listing(end.url)
            if listing is not None and listing in self._listed:
                self._call_back(listing)
            elif listing is not None:
                self._listed.add(listing)

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
