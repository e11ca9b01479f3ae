"""A mirror of the objects of one kind: filled and kept up to date by a watch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from dask_k8s_client.api import Kubernetes
from dask_k8s_client.errors import ApiError, ForbiddenError, GoneError, NotFoundError, UnreachableError

logger = logging.getLogger(__name__)

Json = dict[str, Any]

FIRST_DELAY, LAST_DELAY = 0.2, 10.0
"""Seconds between attempts to watch again, doubled after each that fails."""


class Mirror:
    """What exists of one kind.

    Parameters
    ----------
    api : Kubernetes
        The connection.
    path : str
        The list that is watched.
    changed : callable
        Called after each change of `objects` or `error`.
    params : dict
        Selectors.

    Attributes
    ----------
    objects : dict
        Object by name.
    error : ApiError or None
        Why we may not watch: forbidden, or the kind doesn't exist. Nothing comes any more then.
    """

    def __init__(
        self, api: Kubernetes, path: str, changed: Callable[[], None], params: dict[str, str] | None = None
    ) -> None:
        self.objects: dict[str, Json] = {}
        self.error: ApiError | None = None
        self._api = api
        self._path = path
        self._params = params or {}
        self._changed = changed
        self._version: str | None = None
        self._has_gap = False

    def start_with(self, found: Json) -> None:
        """Begin with this object instead of with what a first watch tells."""
        self.objects = {found["metadata"]["name"]: found}
        self._version = found["metadata"]["resourceVersion"]

    async def start_now(self) -> None:
        """Leave out what exists, and begin with what comes from now on.

        Raises
        ------
        ApiError
            The list was refused.
        """
        answer = await self._api.get(self._path, **self._params, limit="1")
        self._version = answer["metadata"]["resourceVersion"]

    async def run(self) -> None:
        """Follow the changes until cancelled, or until it is forbidden."""
        delay = FIRST_DELAY
        while True:
            try:
                if self._has_gap:
                    await self._list()
                await self._watch_once()
                delay = FIRST_DELAY
                continue
            except GoneError:
                self._has_gap = True
            except (ForbiddenError, NotFoundError) as error:
                self.error = error
                self._changed()
                return
            except (ApiError, UnreachableError, OSError) as error:
                logger.debug("Watching %s broke off: %s", self._path, error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, LAST_DELAY)

    async def _list(self) -> None:
        """Learn what exists, and forget what vanished while nobody looked."""
        answer = await self._api.get(self._path, **self._params)
        self.objects = {item["metadata"]["name"]: item for item in answer["items"]}
        self._version = answer["metadata"]["resourceVersion"]
        self._has_gap = False
        self._changed()

    async def _watch_once(self) -> None:
        async with aclosing(self._api.watch(self._path, self._version, **self._params)) as events:
            async for kind, found in events:
                self._version = found["metadata"]["resourceVersion"]
                if kind == "BOOKMARK":
                    continue
                if kind == "DELETED":
                    self.objects.pop(found["metadata"]["name"], None)
                else:
                    self.objects[found["metadata"]["name"]] = found
                self._changed()
