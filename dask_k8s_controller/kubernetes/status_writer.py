"""Writes statuses: only when they differ, and mere numbers not too often."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dask_k8s_controller.cache.cache import Cache
from dask_k8s_controller.cache.custom import Custom
from dask_k8s_controller.kubernetes.api import Api
from dask_k8s_controller.kubernetes.errors import ApiError, Refused
from dask_k8s_controller.kubernetes.resources import Key, Resource

if TYPE_CHECKING:
    from dask_k8s_controller.runtime.clock import Clock

logger = logging.getLogger(__name__)

Status = dict[str, Any]

OPTIONAL_FIELDS = (
    "dashboardAddress",
    "disruptionBudgetName",
    "networkPolicyName",
    "schedulerAddress",
    "tls",
    "workerResources",
    "workerResourcesOf",
)
"""Status fields of ours that are removed when they are no longer said."""


@dataclass(frozen=True)
class Written:
    """What came of writing a status."""

    is_done: bool = False
    has_failed: bool = False
    later: float | None = None
    """In how many seconds to write it, if not now."""


@dataclass
class StatusWriter:
    """Writes statuses, at once or, if only numbers of workers differ, after a while."""

    cache: Cache
    """Gets the objects that the API server answers with."""
    api: Api
    clock: Clock
    interval: float
    """Seconds between writes in which nothing but numbers of workers differ."""
    _written_at: dict[str, float] = field(default_factory=dict, init=False)

    def sweep(self) -> None:
        """Drop what is remembered of objects that are gone."""
        self._written_at = {uid: at for uid, at in self._written_at.items() if self.cache.knows(uid)}

    async def write(
        self, resource: Resource, subject: Custom[Any], desired: Status, *, plans_from_status: bool
    ) -> Written:
        """Write an object's status as it should be, if it differs from the present one.

        Where plans are made from statuses, the object is reconciled again because of what is written.
        """
        meta, present = subject.meta, dict(subject.status)
        key = Key(resource.kind, meta.namespace, meta.name)
        removed = {name: None for name in OPTIONAL_FIELDS if name in present and name not in desired}
        if not removed and not differs(desired, present):
            return Written()
        now = self.clock.monotonic()
        wait = self._written_at.get(meta.uid, -1e9) + self.interval - now
        if wait > 0 and not removed and only_counts_differ(desired, present):
            return Written(later=wait)
        patch = {"metadata": {"uid": meta.uid}, "status": {**merging(desired, present), **removed}}
        try:
            answer = await self.api.patch(resource, meta.namespace, meta.name, patch, "status")
        except ApiError as error:
            if error.code == 404:  # The object is gone.
                return Written()
            level = logging.ERROR if isinstance(error, Refused) else logging.WARNING
            logger.log(level, "%s: its status could not be written: %s", key, error)
            return Written(has_failed=True)
        self.cache.see(answer, by=None if plans_from_status else key)
        self._written_at[meta.uid] = now
        return Written(is_done=True)


def merging(desired: Status, present: Status) -> Status:
    """Return what makes the present status the desired one when it is merged into it."""
    result = dict(desired)
    for key, value in desired.items():
        before = present.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            result[key] = {**dict.fromkeys(before), **value}
    return result


def differs(desired: Status, present: Status) -> bool:
    """Whether a status has to be written."""
    return any(present.get(key) != value for key, value in desired.items())


def only_counts_differ(desired: Status, present: Status) -> bool:
    """Whether nothing differs but numbers of workers, which may be written a little later."""
    return not differs(_without_counts(desired), _without_counts(present))


COUNTS = frozenset({"replicas", "readyReplicas", "updatedReplicas"})


def _without_counts(status: Status) -> Status:
    rest = {key: value for key, value in status.items() if key not in COUNTS}
    groups = rest.get("workerGroups") or ()
    conditions = rest.get("conditions") or ()
    rest["workerGroups"] = [group["name"] for group in groups]
    rest["conditions"] = [(item["type"], item["status"], item.get("reason")) for item in conditions]
    return rest
