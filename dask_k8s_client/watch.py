"""What exists of one kind: filled and kept up to date by a watch, across its gaps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from dask_k8s_client import raw
from dask_k8s_client.errors import (
    ApiError,
    CredentialsError,
    ForbiddenError,
    KubeClusterError,
    NotFoundError,
    UnauthorizedError,
)

if TYPE_CHECKING:
    from dask_k8s_client.api import Api

logger = logging.getLogger(__name__)

Json = dict[str, Any]

FIRST_DELAY, LAST_DELAY = 0.2, 10.0
"""Seconds between attempts to watch again, doubled after each that fails."""
NEEDS_A_PERSON = (ForbiddenError, NotFoundError, UnauthorizedError, CredentialsError)
"""What ends a watch that has told nothing yet; later, rights and credentials may well come back."""
TOO_OLD_OR_NEW = (410, 504)
"""The watch is to begin with a new list: 410 is Gone, 504 what a version of the future gets."""


class Informer:
    """What exists of one kind.

    Parameters
    ----------
    api : Api
        Connected to the API server; the caller closes it.
    path : str
        The list that is watched.
    changed : callable, optional
        Called after each change of `objects` or `error`.
    params : dict, optional
        Selectors.

    Attributes
    ----------
    objects : dict
        Object by name, or by namespace and name if all namespaces are watched.
    error : KubeClusterError or None
        Why we may not watch: forbidden, or the kind doesn't exist. Nothing comes any more then.
    """

    def __init__(
        self,
        api: Api,
        path: str,
        changed: Callable[[], None] = lambda: None,
        params: dict[str, str] | None = None,
    ) -> None:
        self.objects: dict[str, Json] = {}
        self.error: KubeClusterError | None = None
        self._api = api
        self._path = path
        self._params = params or {}
        self._changed = changed
        self._version: str | None = None
        self._has_watched = False

    def start_with(self, found: Json) -> None:
        """Begin with this object instead of with what a first watch tells."""
        self.objects = {self._key(found): found}
        self._version = found["metadata"]["resourceVersion"]

    def start_after(self, version: str | None) -> None:
        """Begin with what changes after this resource version."""
        self._version = version

    async def start_now(self) -> None:
        """Leave out what exists, and begin with what comes from now on.

        Raises
        ------
        ApiError
            The list was refused.
        """
        answer = await raw.get(self._api, self._path, **self._params, limit="1")
        self._version = answer["metadata"]["resourceVersion"]

    async def run(self) -> None:
        """Follow the changes until cancelled, or until it is forbidden."""
        try:
            async with aclosing(self.changes()) as changes:
                async for _ in changes:
                    self._changed()
        except KubeClusterError as error:
            self.error = error
        finally:
            self._changed()

    async def changes(self) -> AsyncGenerator[tuple[str, Json], None]:
        """Yield each change, as (type, object), for ever.

        After a gap, what changed meanwhile is told as if it had been watched.

        Raises
        ------
        ForbiddenError, NotFoundError, UnauthorizedError, CredentialsError
            We may not watch, or the kind doesn't exist, and that from the beginning.
        """
        delay = FIRST_DELAY
        has_gap = False
        while True:
            try:
                if has_gap:
                    answer = await raw.get(self._api, self._path, **self._params)
                    self._version = answer["metadata"]["resourceVersion"]
                    has_gap = False
                    for kind, found in self._differences(answer["items"]):
                        self._take(kind, found)
                        yield kind, found
                async with aclosing(
                    raw.watch(self._api, self._path, self._version, **self._params)
                ) as events:
                    async for kind, found in events:
                        self._version = found["metadata"]["resourceVersion"]
                        self._has_watched = True
                        delay = FIRST_DELAY
                        if kind != "BOOKMARK":
                            self._take(kind, found)
                            yield kind, found
                self._has_watched = True
                continue
            except (KubeClusterError, OSError, ValueError, KeyError) as error:
                needs_a_person = isinstance(error, NEEDS_A_PERSON)
                if needs_a_person and not self._has_watched:
                    raise
                has_gap |= isinstance(error, ApiError) and error.code in TOO_OLD_OR_NEW
                level = logging.WARNING if needs_a_person and delay == FIRST_DELAY else logging.DEBUG
                logger.log(level, "Watching %s broke off, and is tried again: %r", self._path, error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, LAST_DELAY)

    def _take(self, kind: str, found: Json) -> None:
        if kind == "DELETED":
            self.objects.pop(self._key(found), None)
        else:
            self.objects[self._key(found)] = found

    def _differences(self, items: list[Json]) -> Iterator[tuple[str, Json]]:
        """Compare what exists with what was known."""
        now = {self._key(item): item for item in items}
        for key in self.objects.keys() - now.keys():
            yield "DELETED", self.objects[key]
        for key, item in now.items():
            before = self.objects.get(key)
            if before is None:
                yield "ADDED", item
            elif before["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
                yield "MODIFIED", item

    def _key(self, found: Json) -> str:
        metadata = found["metadata"]
        if "/namespaces/" in self._path:
            return str(metadata["name"])
        return f"{metadata.get('namespace', '')}/{metadata['name']}"
