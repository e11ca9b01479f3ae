"""What lists and watches show goes into the cache, from kopf's answers as they come in.

kopf itself would have a task for each object, two handlers for each event, and every event parsed whole. Most
events only repeat the answer to our own last write: of these no more than the version is read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from dask_k8s_controller.cache.cache import Cache
from dask_k8s_controller.watching.watches import Listing, Watches

logger = logging.getLogger(__name__)

ITEMS_AT_ONCE = 200
"""So many items of a list are parsed before others get the event loop."""


class _Metadata(msgspec.Struct):
    uid: str = ""
    version: str = msgspec.field(name="resourceVersion", default="")


class _Object(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


class Event(msgspec.Struct):
    """An event of a watch, as much as is read of every one: its type, and the object's uid and version."""

    type: str
    object: _Object

    @property
    def version(self) -> str:
        """The version that the watch has come to."""
        return self.object.metadata.version


class _Whole(msgspec.Struct):
    object: dict[str, Any]


read_event = msgspec.json.Decoder(Event).decode
_read_whole = msgspec.json.Decoder(_Whole).decode


@dataclass
class Informer:
    """Keeps the cache up to date."""

    cache: Cache
    watches: Watches
    """What is known of the collections that are listed and watched."""
    on_listed: Callable[[str | None], None]
    """Called when all of a namespace, or of all if it is None, has been listed: what is there may be
    reconciled."""

    def list_begins(self, listing: Listing) -> int:
        """Return a mark: what was known before it is as the list will say."""
        self.watches.begins(listing)
        return self.cache.store(listing.resource.kind).mark()

    async def listed(self, listing: Listing, items: list[dict[str, Any]], mark: int) -> None:
        """Record a part of a list in the cache."""
        for number, item in enumerate(items, 1):
            self._see(listing, item, mark)
            if number % ITEMS_AT_ONCE == 0:
                await asyncio.sleep(0)

    def list_ends(self, listing: Listing, uids: set[str], version: str, mark: int) -> None:
        """Record what a whole list has: what it lacks has gone while a watch was interrupted."""
        self.cache.store(listing.resource.kind).replace_all(uids, version, mark, listing.namespace)
        self.watches.listed(listing)
        self._is_settled(listing)

    def forget(self, listing: Listing) -> None:
        """Drop what was known of a collection that may not be seen, and is done without."""
        store = self.cache.store(listing.resource.kind)
        store.replace_all((), "", store.mark(), listing.namespace)
        self._is_settled(listing)

    def happened(self, listing: Listing, event: Event, line: bytes) -> None:
        """Handle a watch event, of which no more than this was read, and of which the line is the whole."""
        store, metadata = self.cache.store(listing.resource.kind), event.object.metadata
        if event.type == "DELETED":
            store.forget(metadata.uid, metadata.version)
        elif event.type in ("ADDED", "MODIFIED") and not store.has(metadata.uid, metadata.version):
            self._see(listing, _read_whole(line).object)

    def _is_settled(self, listing: Listing) -> None:
        if self.watches.has_synced(listing.namespace or ""):
            self.on_listed(listing.namespace)

    def _see(self, listing: Listing, body: Mapping[str, Any], mark: int | None = None) -> None:
        try:
            # Items of lists have no kind.
            self.cache.see({"kind": listing.resource.kind, **body}, mark)
        except Exception:
            # Whoever made it: the others are still to be heard of.
            logger.exception("%s: an object can't be read, and is left alone.", listing)
