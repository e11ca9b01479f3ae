"""Events: what kube-scheduler and kubelet tell about a pod, repeated ones counted."""

from __future__ import annotations

import logging
from secrets import token_hex
from typing import Literal

from dask_k8s_local.interfaces import Api, ApiError, Object
from dask_k8s_local.node.times import now, timestamp

logger = logging.getLogger(__name__)

EventLevel = Literal["Normal", "Warning"]

REMEMBERED = 4096
"""Events of which we remember how often they happened."""


class Recorder:
    """Writes Events in the name of one component.

    Parameters
    ----------
    component : str
        ``kubelet`` or ``default-scheduler``.
    host : str
        The node's name, empty for a component of the control plane.
    """

    def __init__(self, api: Api, component: str, host: str = "") -> None:
        self._api = api
        self._component = component
        self._host = host
        self._written: dict[tuple[str, ...], tuple[str, int]] = {}

    async def record(
        self, about: Object, type_: EventLevel, reason: str, message: str, field_path: str = ""
    ) -> None:
        """Write an Event, or count it up if the same was written before; a failure is only logged."""
        metadata = about["metadata"]
        key = (metadata["uid"], type_, reason, message, field_path)
        moment = timestamp(now())
        namespace = metadata.get("namespace", "default")
        try:
            if key in self._written and await self._count_up(namespace, key, moment):
                return
            event = self._event(about, type_, reason, message, field_path, moment)
            await self._api.create("events", namespace, event)
        except ApiError as error:
            # The namespace may be on its way out, and nobody waits for an Event.
            logger.debug("event %s of %s not written: %s", reason, metadata["name"], error.message)
            return
        self._written[key] = (event["metadata"]["name"], 1)
        while len(self._written) > REMEMBERED:
            del self._written[next(iter(self._written))]

    async def _count_up(self, namespace: str, key: tuple[str, ...], moment: str) -> bool:
        name, count = self._written[key]
        try:
            await self._api.patch("events", namespace, name, {"count": count + 1, "lastTimestamp": moment})
        except ApiError as error:
            if error.code == 404:
                return False
            raise
        self._written[key] = (name, count + 1)
        return True

    def _event(
        self, about: Object, type_: str, reason: str, message: str, field_path: str, moment: str
    ) -> Object:
        metadata = about["metadata"]
        namespace = metadata.get("namespace", "default")
        involved = {
            "apiVersion": about.get("apiVersion", "v1"),
            "kind": about.get("kind", "Pod"),
            "name": metadata["name"],
            "namespace": metadata.get("namespace"),
            "uid": metadata["uid"],
            "resourceVersion": metadata.get("resourceVersion"),
            "fieldPath": field_path,
        }
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name'][:236]}.{token_hex(8)}", "namespace": namespace},
            "involvedObject": {name: value for name, value in involved.items() if value},
            "reason": reason,
            "message": message,
            "source": {"component": self._component, **({"host": self._host} if self._host else {})},
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
            "type": type_,
            "reportingComponent": self._component,
            "reportingInstance": self._host,
        }
