"""Events: told by controllers, counted when they come again, forgotten after an hour.

https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from dask_k8s_local.interfaces import Api, ApiError, Object
from dask_k8s_local.workloads.queue import Controller, Key, own_key

TTL_SECONDS = 3600.0


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Recorder:
    """Tells what a controller did, on the object that it did it for."""

    def __init__(self, api: Api, component: str) -> None:
        self._api = api
        self._component = component

    async def record(self, about: Object, kind: str, reason: str, message: str) -> None:
        """Create an Event, or count the same one up. What can't be told is left untold."""
        own = about["metadata"]
        namespace = own.get("namespace", "default")
        identity = "/".join((own["uid"], self._component, kind, reason, message))
        name = f"{own['name']}.{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
        try:
            before = await self._api.get("events", namespace, name)
        except ApiError:
            before = None
        try:
            if before is None:
                await self._api.create("events", namespace, self._event(about, name, kind, reason, message))
            else:
                again = {"count": before.get("count", 1) + 1, "lastTimestamp": _now()}
                await self._api.patch("events", namespace, name, again)
        except ApiError as error:
            # The namespace may be going, or somebody may have deleted the Event meanwhile.
            if error.code not in (403, 404, 409):
                raise

    def _event(self, about: Object, name: str, kind: str, reason: str, message: str) -> Object:
        own = about["metadata"]
        involved = {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": own["name"],
            "namespace": own.get("namespace", ""),
            "uid": own["uid"],
            "resourceVersion": own["resourceVersion"],
        }
        now = _now()
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": own.get("namespace", "default")},
            "involvedObject": {key: value for key, value in involved.items() if value},
            "reason": reason,
            "message": message,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "type": kind,
        }


class EventTtl(Controller):
    """Deletes Events that nobody has written for an hour."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self._written: dict[Key, tuple[str, float]] = {}

    def sources(self) -> Iterable[tuple[str, Callable[[Object], Iterable[Key]]]]:
        yield "events", self._event_changed

    def _event_changed(self, event: Object) -> Iterable[Key]:
        (key,) = own_key(event)
        version = event["metadata"]["resourceVersion"]
        if self._written.get(key, ("", 0.0))[0] != version:
            self._written[key] = (version, time.monotonic())
        yield key

    async def reconcile(self, key: Key) -> float | None:
        left = self._written[key][1] + TTL_SECONDS - time.monotonic()
        try:
            if left > 0:
                await self.api.get("events", *key)
                return left
            await self.api.delete("events", *key)
        except ApiError as error:
            if error.code != 404:
                raise
        self._written.pop(key, None)
        return None
