"""Kubernetes Events: few, typed, none on a timer; one when an object's state changes for better or worse.

https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dask_k8s_controller.cache.objects import Meta
from dask_k8s_controller.kubernetes.api import FIELD_MANAGER, Api
from dask_k8s_controller.kubernetes.errors import ApiError
from dask_k8s_controller.kubernetes.resources import EVENTS, Resource
from dask_k8s_controller.plans.notices import Notice
from dask_k8s_controller.settings import EventSettings
from dask_k8s_models.scalars import to_time

if TYPE_CHECKING:
    from dask_k8s_controller.runtime.clock import Clock

logger = logging.getLogger(__name__)

SILENCE = 60.0
"""Seconds for which the same is not said again about the same object."""

LONGEST_MESSAGE = 1024


@dataclass
class EventRecorder:
    """Writes Events in the background; a lost one is no loss."""

    api: Api
    clock: Clock
    settings: EventSettings
    """Which Events are written at all."""
    _recorded: dict[tuple[str, str], float] = field(default_factory=dict, init=False)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    def record(self, resource: Resource, meta: Meta, notice: Notice) -> None:
        """Write an Event about an object, unless the same was said just now or nobody wants it."""
        level = logging.WARNING if notice.is_warning else logging.INFO
        if not self.settings.enabled or level < logging.getLevelNamesMapping()[self.settings.level]:
            return
        now = self.clock.monotonic()
        if now - self._recorded.get((meta.uid, notice.reason), float("-inf")) < SILENCE:
            return
        self._recorded[meta.uid, notice.reason] = now
        task = asyncio.create_task(self._write(meta.namespace, self._event(resource, meta, notice)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def sweep(self) -> None:
        """Forget what was recorded long ago."""
        now = self.clock.monotonic()
        self._recorded = {what: at for what, at in self._recorded.items() if now - at < SILENCE}

    def cancel(self) -> None:
        """Drop the Events that are not written yet."""
        for task in self._tasks:
            task.cancel()

    async def stop(self) -> None:
        """Let the last Events be written."""
        if self._tasks:
            _, pending = await asyncio.wait(self._tasks, timeout=1.0)
            for task in pending:
                task.cancel()

    def _event(self, resource: Resource, meta: Meta, notice: Notice) -> dict[str, Any]:
        time = to_time(self.clock.now())
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": f"{meta.name}.{secrets.token_hex(8)}", "namespace": meta.namespace},
            "involvedObject": {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "namespace": meta.namespace,
                "name": meta.name,
                "uid": meta.uid,
            },
            "type": "Warning" if notice.is_warning else "Normal",
            "reason": notice.reason,
            "message": notice.message[:LONGEST_MESSAGE],
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": FIELD_MANAGER,
            "reportingInstance": socket.gethostname(),
        }

    async def _write(self, namespace: str, event: dict[str, Any]) -> None:
        try:
            await self.api.create(EVENTS, namespace, event)
        except ApiError as error:
            logger.debug("An Event could not be written: %s", error)
