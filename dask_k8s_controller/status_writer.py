"""Writes statuses: only when they differ, and mere numbers not too often."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dask_k8s_controller.api import Api
from dask_k8s_controller.clock import Clock
from dask_k8s_controller.errors import ApiError, Refused
from dask_k8s_controller.facts import Meta
from dask_k8s_controller.queue import Key
from dask_k8s_controller.resources import BY_KIND
from dask_k8s_controller.status import differs, only_counts_differ
from dask_k8s_controller.world import World

logger = logging.getLogger(__name__)

Status = dict[str, Any]

OPTIONAL_FIELDS = ("dashboardAddress", "schedulerAddress")
"""Status fields of ours that are removed when they are no longer said."""


@dataclass(frozen=True)
class Written:
    """What became of a status."""

    is_done: bool = False
    has_failed: bool = False
    later: float | None = None
    """In how many seconds it is better written."""


class StatusWriter:
    """Writes statuses.

    Parameters
    ----------
    world : World
        Sees the answers.
    api : Api
        Where to write.
    clock : Clock
        Time.
    interval : float
        Seconds between writes in which nothing but numbers of workers differ.
    """

    def __init__(self, world: World, api: Api, clock: Clock, interval: float) -> None:
        self._world = world
        self._api = api
        self._clock = clock
        self._interval = interval
        self._written_at: dict[str, float] = {}

    def forget(self, uid: str) -> None:
        """Drop what is remembered of an object that is gone."""
        self._written_at.pop(uid, None)

    async def write(self, key: Key, meta: Meta, desired: Status, present: Mapping[str, Any]) -> Written:
        """Write a status if it differs from the present one."""
        present = dict(present)
        removed = {name: None for name in OPTIONAL_FIELDS if name in present and name not in desired}
        if not removed and not differs(desired, present):
            return Written()
        now = self._clock.monotonic()
        wait = self._written_at.get(meta.uid, -1e9) + self._interval - now
        if wait > 0 and not removed and only_counts_differ(desired, present):
            return Written(later=wait)
        patch = {"metadata": {"uid": meta.uid}, "status": {**desired, **removed}}
        try:
            answer = await self._api.patch(BY_KIND[key.kind], key.namespace, key.name, patch, "status")
        except Refused as error:
            if error.code == 404:  # The object is gone.
                return Written()
            logger.error("%s: its status was refused: %s", key, error)
            return Written(has_failed=True)
        except ApiError as error:
            logger.warning("%s: its status could not be written: %s", key, error)
            return Written(has_failed=True)
        self._world.see(answer)
        self._written_at[meta.uid] = now
        return Written(is_done=True)
