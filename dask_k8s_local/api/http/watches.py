"""Watches over HTTP.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from aiohttp import web

from dask_k8s_local.api import errors
from dask_k8s_local.api.http.call import Call
from dask_k8s_local.api.http.lists import version_of
from dask_k8s_local.api.http.representation import Representation, representation
from dask_k8s_local.api.http.target import Request
from dask_k8s_local.api.storage.event_queue import Watch
from dask_k8s_local.api.storage.selectors import Selection, matcher
from dask_k8s_local.api.storage.store import Event, encode
from dask_k8s_local.interfaces import ApiError, Object

BOOKMARK_SECONDS = 60.0
"""Kubernetes sends a bookmark about every minute."""
_SHORTEST, _LONGEST = 1800.0, 3600.0
_PAUSE_SECONDS = 0.0005
"""For each open watch, how long one gathers events after it has sent some: many watches would take all
the time for themselves otherwise, and a burst is cheaper to send at once."""


class Watches:
    """The watches of clients outside, so that tests can cut them."""

    def __init__(self) -> None:
        self._open: dict[Watch, Request] = {}

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def following(self, watch: Watch, request: Request) -> Iterator[None]:
        self._open[watch] = request
        try:
            yield
        finally:
            del self._open[watch]
            watch.close()

    def end(self, when: Callable[[Request], bool]) -> None:
        """End the watches that a predicate holds for when they have sent all that they have to."""
        for watch, request in self._open.items():
            if when(request):
                watch.end()

    def cut(self, when: Callable[[Request], bool]) -> int:
        """Cut the watches that a predicate holds for; return how many they were."""
        chosen = [watch for watch, request in self._open.items() if when(request)]
        for watch in chosen:
            watch.cut()
        return len(chosen)


async def serve(call: Call, selection: Selection, watches: Watches) -> web.StreamResponse:
    """Send events until the client goes, the watch is cut, or its time is up."""
    query, served = call.http.query, call.served
    version = version_of(query.get("resourceVersion"))
    sends_initial, bookmarks = _options(call)
    seconds = float(call.number("timeoutSeconds") or random.uniform(_SHORTEST, _LONGEST))
    matches = matcher(served.stored.resource, selection, served.selectable_fields)
    form = representation(call.http, served)
    collection = call.operations.store.collection(served.stored.resource.full_name)
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    watch = Watch(collection, selection.namespace, matches)
    with watches.following(watch, call.record):
        # Version 0 means any, and who asks for initial events gets them whatever the version.
        start = None if sends_initial or not version else version
        try:
            lines = [form.event("ADDED", Event("ADDED", one, None)) for one in watch.start(start)]
        except ApiError as error:
            lines = [encode({"type": "ERROR", "object": errors.status(error)}) + b"\n"]
            watch.cut()
        if sends_initial and bookmarks and not watch.is_cut:
            lines.append(_bookmark(form, call.operations.store.version, initial_events_end=True))
        # A watcher that goes in the middle of an event is an ordinary end.
        with suppress(ConnectionResetError):
            await response.prepare(call.http)
            if lines:
                await response.write(b"".join(lines))
            await _follow(response, watch, form, call, seconds, watches=watches, bookmarks=bookmarks)
    return response


async def _follow(
    response: web.StreamResponse,
    watch: Watch,
    form: Representation,
    call: Call,
    seconds: float,
    *,
    watches: Watches,
    bookmarks: bool,
) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    next_bookmark = loop.time() + BOOKMARK_SECONDS if bookmarks else end
    while not watch.is_cut and loop.time() < end:
        alarm = loop.call_at(min(end, next_bookmark), watch.wake)
        await watch.wait()
        alarm.cancel()
        if lines := [form.event(type_, event) for type_, event in watch.take()]:
            await response.write(b"".join(lines))
            await asyncio.sleep(_PAUSE_SECONDS * len(watches))
        elif watch.is_ended:
            return
        elif bookmarks and not watch.is_cut and loop.time() >= next_bookmark:
            await response.write(_bookmark(form, call.operations.store.version))
            next_bookmark = loop.time() + BOOKMARK_SECONDS
    if bookmarks and not watch.is_cut:
        await response.write(_bookmark(form, call.operations.store.version))


def _options(call: Call) -> tuple[bool, bool]:
    """Return whether what is there shall be sent first, and whether bookmarks are welcome."""
    query = call.http.query
    bookmarks = call.flag("allowWatchBookmarks")
    asked, match = query.get("sendInitialEvents"), query.get("resourceVersionMatch")
    field = "resourceVersionMatch"
    if asked is None and match is None:
        return False, bookmarks
    if asked is None:
        detail = f"{field} is forbidden for watch unless sendInitialEvents is provided"
        raise errors.invalid_options("ListOptions", errors.forbidden_field(field, detail))
    if match != "NotOlderThan":
        detail = f"sendInitialEvents requires setting {field} to NotOlderThan"
        raise errors.invalid_options("ListOptions", errors.forbidden_field(field, detail))
    return call.flag("sendInitialEvents"), bookmarks


def _bookmark(form: Representation, version: int, *, initial_events_end: bool = False) -> bytes:
    metadata: Object = {"resourceVersion": str(version), "creationTimestamp": None}
    if initial_events_end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    return form.bookmark(metadata)
