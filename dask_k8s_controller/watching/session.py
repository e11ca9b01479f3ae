"""The session that kopf sends its requests through: lists become the truth, and no answer ends a watch.

kopf gives a watch up for good when the API server refuses it, fails for long, or says that it comes from the
future, as after a restored backup; and until all that it watches has been listed it reacts to nothing. So
what is refused here is an empty list, which is tried again, and what fails is a connection that broke.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any, Protocol, Self

import aiohttp
from yarl import URL

from dask_k8s_controller.kubernetes.connection import Connection
from dask_k8s_controller.watching.watches import Listing, Watches

REFUSED = frozenset({403, 404})
TOO_OLD_OR_NEW = frozenset({410, 504})
"""The watch is to begin with a new list: 410 is Gone, 504 what a version of the future gets."""
KOPF_KNOWS = frozenset({401, 429})

TIME_LIMIT = 30.0
"""Seconds that such a look may take."""

RETRY = 10.0
"""Seconds between looks whether what was refused is allowed by now."""

RETRY_OPTIONAL = 6.0
"""How many times as long it is where the controller can do without."""

Object = dict[str, Any]


class Lists(Protocol):
    """Who is told of lists."""

    def list_begins(self, listing: Listing) -> int:
        """Return a mark: what was known before it is as the list will say."""

    async def listed(self, listing: Listing, items: list[Object], mark: int) -> None:
        """Take note of a part of a list."""

    def list_ends(self, listing: Listing, uids: set[str], version: str, mark: int) -> None:
        """Take note of what a whole list has."""


class Answer:
    """An answer to kopf, as far as it looks at one."""

    status = 200
    closed = True

    def __init__(self, body: Object) -> None:
        self._body = body
        self.content = self

    async def json(self) -> Object:
        """Return the body."""
        return self._body

    async def iter_chunked(self, _: int) -> AsyncIterator[bytes]:
        """Yield the body as the only event of a watch."""
        yield json.dumps(self._body).encode() + b"\n"

    def close(self) -> None:
        """Nothing is open."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


BEGIN_ANEW = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}
"""What makes kopf list anew."""


class WatchSession:
    """What kopf takes for an `aiohttp.ClientSession`.

    Parameters
    ----------
    connection : Connection
        The API server.
    watches : Watches
        Told how lists and watches fare.
    lists : Lists
        Told what lists have.
    """

    def __init__(self, connection: Connection, watches: Watches, lists: Lists) -> None:
        self._session = connection.session
        self._watches = watches
        self._lists = lists
        self._parts: dict[Listing, tuple[int, set[str]]] = {}

    @property
    def headers(self) -> Any:
        """The headers of each request."""
        return self._session.headers

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._session.closed

    def close(self) -> Awaitable[None]:
        """Close it."""
        return self._session.close()

    async def request(self, method: str, url: str, **options: Any) -> Any:
        """Send a request."""
        listing = self._watches.listing(method, URL(url))
        if listing is None:
            return await self._session.request(method, url, **options)
        if "watch" in URL(url).query:
            return await self._watch(listing, url, options)
        return await self._list(listing, url, options)

    async def _list(self, listing: Listing, url: str, options: Mapping[str, Any]) -> Any:
        is_first_part = "continue" not in URL(url).query
        if is_first_part:
            self._parts[listing] = (self._lists.list_begins(listing), set())
        if listing not in self._parts:
            raise aiohttp.ClientPayloadError("the list was begun with other credentials: it begins anew")
        mark, uids = self._parts[listing]
        response = await self._send(listing, url, options)
        if response.status in KOPF_KNOWS:
            return response
        if response.status in REFUSED:
            response.release()
            return Answer({"kind": "List", "metadata": {"resourceVersion": ""}, "items": []})
        if response.status == 410:
            response.release()
            raise aiohttp.ClientPayloadError("the list has expired: it begins anew")
        body: Object = await response.json()
        items = body.get("items") or []
        await self._lists.listed(listing, items, mark)
        uids |= {item["metadata"]["uid"] for item in items}
        metadata = body.get("metadata") or {}
        if not metadata.get("continue"):
            del self._parts[listing]
            self._lists.list_ends(listing, uids, metadata.get("resourceVersion") or "", mark)
        return Answer(body)

    async def _watch(self, listing: Listing, url: str, options: Mapping[str, Any]) -> Any:
        if not self._watches.is_refused(listing):
            response = await self._send(listing, url, options)
            if response.status not in REFUSED | TOO_OLD_OR_NEW:
                return response
            response.release()
        while self._watches.is_refused(listing):
            await asyncio.sleep(RETRY * (RETRY_OPTIONAL if listing.is_optional else 1))
            probe = await self._look_again(listing, URL(url))
            if probe.status == 401:
                return probe  # kopf logs in again, and comes back.
            probe.release()
        return Answer(BEGIN_ANEW)

    async def _look_again(self, listing: Listing, url: URL) -> aiohttp.ClientResponse:
        query = {"limit": "1"}
        if listing.label_selector:
            query["labelSelector"] = listing.label_selector
        timeout = aiohttp.ClientTimeout(total=TIME_LIMIT)
        return await self._send(listing, str(url.with_query(query)), {"timeout": timeout})

    async def _send(self, listing: Listing, url: str, options: Mapping[str, Any]) -> aiohttp.ClientResponse:
        try:
            response = await self._session.request("GET", url, **options)
        except (aiohttp.ClientError, OSError, TimeoutError):
            self._watches.failed(listing)
            raise
        status = response.status
        if status in REFUSED:
            self._watches.refused(listing)
            if listing.is_optional:  # What was known of it grows old.
                self._lists.list_ends(listing, set(), "", self._lists.list_begins(listing))
        elif status < 400:
            self._watches.succeeded(listing)
        else:
            self._watches.failed(listing)
            if status not in KOPF_KNOWS | TOO_OLD_OR_NEW:
                response.release()
                # An error of another kind would end the watch for good.
                raise aiohttp.ClientConnectionError(f"the API server answers HTTP {status}")
        return response
