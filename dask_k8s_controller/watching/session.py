"""The session that kopf sends its requests through: what it shows is the truth, and no answer ends a watch.

kopf documents that a login may bring a session of one's own: https://docs.kopf.dev/en/stable/authentication/.
It finds the resources and namespaces, lists, watches, logs in again, and begins anew; what comes of it the
informer takes from here. kopf sees objects only of resources for which a plugin has handlers.

kopf gives a watch up for good when the API server refuses it, fails for long, or says that it comes from the
future, as after a restored backup. So what is refused here is an empty list, which is tried again, and what
fails is a connection that broke.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import aiohttp
import msgspec
from yarl import URL

from dask_k8s_controller.kubernetes.resources import Resource
from dask_k8s_controller.watching.informer import Informer, read_event
from dask_k8s_controller.watching.watches import Listing, Watches

REFUSED = frozenset({403, 404})
TOO_OLD_OR_NEW = frozenset({410, 504})
"""The watch is to begin with a new list: 410 is Gone, 504 what a version of the future gets."""
HANDLED_BY_KOPF = frozenset({401, 429})

TIME_LIMIT = 30.0
"""Seconds that such a look may take."""

RETRY = 10.0
"""Seconds between looks whether what was refused is allowed by now."""

RETRY_OPTIONAL = 6.0
"""How many times as long it is where the controller can do without."""

Object = dict[str, Any]


@dataclass(eq=False)
class Answer:
    """An answer to kopf, as far as it looks at one."""

    body: Object
    status: ClassVar[int] = 200
    closed: ClassVar[bool] = True

    @property
    def content(self) -> Self:
        """The body's reader, which is the answer itself."""
        return self

    async def json(self) -> Object:
        """Return the body."""
        return self.body

    async def iter_chunked(self, _: int) -> AsyncIterator[bytes]:
        """Yield the body as the only event of a watch."""
        yield msgspec.json.encode(self.body) + b"\n"

    def close(self) -> None:
        """Do nothing: no connection is open."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


@dataclass(eq=False)
class Events(Answer):
    """A watch: the informer hears of each event first, kopf how far it has come."""

    response: aiohttp.ClientResponse
    listing: Listing
    informer: Informer
    is_shared: bool
    """Whether kopf gets the events as well."""

    async def iter_chunked(self, _: int) -> AsyncIterator[bytes]:
        """Yield lines for kopf, as many at a time as have come in."""
        rest = b""
        async for chunk in self.response.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            if kept := self._pass_on(lines):
                yield b"".join(line + b"\n" for line in kept)

    def _pass_on(self, lines: list[bytes]) -> list[bytes]:
        kept, version = [], ""
        for line in filter(None, lines):
            try:
                event = read_event(line)
                self.informer.happened(self.listing, event, line)
            except (msgspec.MsgspecError, RecursionError) as error:
                raise aiohttp.ClientPayloadError(f"an event of a watch is malformed: {error}") from error
            if self.is_shared or event.type in ("BOOKMARK", "ERROR"):
                kept.append(line)
            else:
                version = event.version
        return [_bookmark(version), *kept] if version else kept

    def close(self) -> None:
        """End the watch."""
        self.response.close()


def _bookmark(version: str) -> bytes:
    """Return what tells kopf from where to go on, should the connection break."""
    return msgspec.json.encode({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": version}}})


BEGIN_ANEW = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}
"""What makes kopf list anew."""


@dataclass
class WatchSession:
    """What kopf takes for an `aiohttp.ClientSession`."""

    session: aiohttp.ClientSession
    """The session that sends the requests, with the credentials."""
    watches: Watches
    """Notified of lists and watches that begin, end and fail."""
    informer: Informer
    """Gets the objects that they show."""
    shared: Collection[Resource] = ()
    """Whose objects kopf gets to see."""
    _parts: dict[Listing, tuple[int, set[str]]] = field(default_factory=dict, init=False)

    @property
    def headers(self) -> Any:
        """The headers of each request."""
        return self.session.headers

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self.session.closed

    def close(self) -> Awaitable[None]:
        """Close it."""
        return self.session.close()

    async def request(self, method: str, url: str, **options: Any) -> Any:
        """Send a request."""
        listing = self.watches.listing(method, URL(url))
        if listing is None:
            return await self.session.request(method, url, **options)
        if "watch" in URL(url).query:
            return await self._watch(listing, url, options)
        return await self._list(listing, url, options)

    async def _list(self, listing: Listing, url: str, options: Mapping[str, Any]) -> Any:
        is_first_part = "continue" not in URL(url).query
        if is_first_part:
            self._parts[listing] = (self.informer.list_begins(listing), set())
        if listing not in self._parts:
            raise aiohttp.ClientPayloadError("the list was begun with other credentials: it begins anew")
        mark, uids = self._parts[listing]
        response = await self._send(listing, url, options)
        if response.status in HANDLED_BY_KOPF:
            return response
        if response.status in REFUSED:
            response.release()
            return Answer({"kind": "List", "metadata": {"resourceVersion": ""}, "items": []})
        if response.status == 410:
            response.release()
            raise aiohttp.ClientPayloadError("the list has expired: it begins anew")
        try:
            body = msgspec.json.decode(await response.read(), type=Object)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise aiohttp.ClientPayloadError(f"a list is malformed: {error}") from error
        items = body.get("items") or []
        await self.informer.listed(listing, items, mark)
        uids |= {item["metadata"]["uid"] for item in items}
        metadata = body.get("metadata") or {}
        if not metadata.get("continue"):
            del self._parts[listing]
            self.informer.list_ends(listing, uids, metadata.get("resourceVersion") or "", mark)
        return Answer(body if listing.resource in self.shared else {**body, "items": []})

    async def _watch(self, listing: Listing, url: str, options: Mapping[str, Any]) -> Any:
        if not self.watches.is_refused(listing):
            response = await self._send(listing, url, options)
            if response.status in HANDLED_BY_KOPF:
                return response
            if response.status not in REFUSED | TOO_OLD_OR_NEW:
                return Events({}, response, listing, self.informer, listing.resource in self.shared)
            response.release()
        while self.watches.is_refused(listing):
            await asyncio.sleep(RETRY * (RETRY_OPTIONAL if listing.is_optional else 1))
            probe = await self._probe(listing, URL(url))
            if probe.status == 401:
                return probe  # kopf logs in again, and comes back.
            probe.release()
        return Answer(BEGIN_ANEW)

    async def _probe(self, listing: Listing, url: URL) -> aiohttp.ClientResponse:
        query = {"limit": "1"}
        if listing.label_selector:
            query["labelSelector"] = listing.label_selector
        timeout = aiohttp.ClientTimeout(total=TIME_LIMIT)
        return await self._send(listing, str(url.with_query(query)), {"timeout": timeout})

    async def _send(self, listing: Listing, url: str, options: Mapping[str, Any]) -> aiohttp.ClientResponse:
        try:
            response = await self.session.request("GET", url, **options)
        except (aiohttp.ClientError, OSError, TimeoutError):
            self.watches.failed(listing)
            raise
        status = response.status
        if status in REFUSED:
            is_news = not self.watches.is_refused(listing)
            self.watches.refused(listing)
            if listing.is_optional and is_news:  # What was known of it grows old.
                self.informer.forget(listing)
        elif status < 400:
            self.watches.succeeded(listing)
        else:
            self.watches.failed(listing)
            if status not in HANDLED_BY_KOPF | TOO_OLD_OR_NEW:
                response.release()
                # An error of another kind would end the watch for good.
                raise aiohttp.ClientConnectionError(f"the API server answers HTTP {status}")
        return response
