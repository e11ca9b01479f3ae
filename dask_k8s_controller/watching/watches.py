"""How the watches of the resources fare: which of them fail, and where the controller may not look."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from yarl import URL

from dask_k8s_controller.kubernetes.resources import OPTIONAL, Resource

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listing:
    """A collection that is listed and watched."""

    resource: Resource
    namespace: str | None
    label_selector: str

    @property
    def is_optional(self) -> bool:
        """Whether the controller can do without."""
        return self.resource in OPTIONAL

    def __str__(self) -> str:
        where = f"in the namespace {self.namespace}" if self.namespace else "in all namespaces"
        return f"{self.resource.plural} {where}"


@dataclass
class _Watch:
    """Whose task watches, since when it has done nothing but fail, whether it may not look, or has looked."""

    task: asyncio.Task[Any] | None
    failing_since: float | None = None
    is_refused: bool = False
    is_listed: bool = False

    def is_settled(self, is_optional: bool) -> bool:
        """Whether all is seen, or what isn't seen is done without."""
        if is_optional and (self.is_refused or self.failing_since is not None):
            return True
        return self.is_listed and not self.is_refused

    @property
    def has_died(self) -> bool:
        task = self.task
        return task is not None and task.done() and not task.cancelled() and task.exception() is not None

    @property
    def has_ended(self) -> bool:
        """Ended on purpose, as its namespace or resource has gone."""
        return self.task is not None and self.task.done() and not self.has_died


@dataclass
class Watches:
    """What is known of all watches."""

    resources: Collection[Resource]
    """The kinds that matter."""
    clock: Callable[[], float] = time.monotonic
    """Returns seconds that never go back."""
    _watches: dict[Listing, _Watch] = field(default_factory=dict, init=False)
    _awaited: set[Resource] = field(default_factory=set, init=False)

    def expect(self, resources: Iterable[Resource]) -> None:
        """Record what is going to be listed: before that nothing can be seen anywhere."""
        self._awaited.update(resources)

    @property
    def failing_for(self) -> float:
        """Seconds for which some watch has done nothing but fail: the controller hears of no change there.

        One that is refused doesn't fail: its namespace does not want the controller, and no restart helps.
        """
        self._forget_ended()
        for watch in self._watches.values():
            if watch.failing_since is None and watch.has_died:
                watch.failing_since = self.clock()
        since = (watch.failing_since for watch in self._watches.values())
        return max((self.clock() - moment for moment in since if moment is not None), default=0.0)

    def is_refused(self, listing: Listing) -> bool:
        """Whether the API server doesn't let the controller list a collection."""
        return listing in self._watches and self._watches[listing].is_refused

    def has_synced(self, namespace: str) -> bool:
        """Whether all that matters in a namespace is known; until then nothing is to be decided there."""
        self._forget_ended()
        seen = {
            listing.resource
            for listing, watch in self._watches.items()
            if watch.is_settled(listing.is_optional) and listing.namespace in (None, namespace)
        }
        return self._awaited.union(listing.resource for listing in self._watches) <= seen

    def listing(self, method: str, url: URL) -> Listing | None:
        """Return the collection that a request is about; None if it matters not."""
        if method.upper() != "GET":
            return None
        parts = url.path.strip("/").split("/")
        namespace = parts[-2] if len(parts) > 3 and parts[-3] == "namespaces" else None
        for resource in self.resources:
            if url.path.endswith(resource.path(namespace)):
                return Listing(resource, namespace, url.query.get("labelSelector", ""))
        return None

    def begins(self, listing: Listing) -> None:
        """Record that a collection is going to be listed."""
        self._watch(listing)
        self._awaited.discard(listing.resource)

    def listed(self, listing: Listing) -> None:
        """Record that all of a collection has been listed."""
        self._watch(listing).is_listed = True

    def succeeded(self, listing: Listing) -> None:
        """Record that a collection was listed, or is being watched."""
        watch = self._watch(listing)
        if watch.is_refused:
            logger.info("The controller may list %s again.", listing)
        watch.failing_since, watch.is_refused = None, False

    def failed(self, listing: Listing) -> None:
        """Record that the API server didn't answer, or not well."""
        watch = self._watch(listing)
        if watch.failing_since is None:
            watch.failing_since = self.clock()

    def refused(self, listing: Listing) -> None:
        """Record that the API server doesn't let the controller look, or has no such resource."""
        watch = self._watch(listing)
        if not watch.is_refused and listing.is_optional:
            logger.info(
                "The controller may not list %s, and does without. docs/rights.md says what for.", listing
            )
        elif not watch.is_refused:
            logger.warning(
                "The controller may not list %s, or there are no such resources: nothing is done there until "
                "that changes. docs/rights.md says which rights it needs.",
                listing,
            )
        watch.failing_since, watch.is_refused = None, True

    def _watch(self, listing: Listing) -> _Watch:
        watch = self._watches.setdefault(listing, _Watch(None))
        watch.task = asyncio.current_task()
        return watch

    def _forget_ended(self) -> None:
        for listing in [listing for listing, watch in self._watches.items() if watch.has_ended]:
            del self._watches[listing]
