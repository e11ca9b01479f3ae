"""Writes a pod's status whenever it differs from what was written last."""

from __future__ import annotations

import asyncio
import logging

from dask_k8s_local.interfaces import Api, ApiError, Object
from dask_k8s_local.node.pods.status import OWN_CONDITIONS, PodRecord, pod_status
from dask_k8s_local.node.times import now

logger = logging.getLogger(__name__)

RETRY_CONFLICT_AFTER = 0.02
RETRY_AFTER = 0.5


class StatusWriter:
    """Makes the API server show what `record` says, at most one write at a time, many changes in one.

    Parameters
    ----------
    connected : asyncio.Event
        Set while the node can reach the API server.
    """

    def __init__(self, api: Api, record: PodRecord, connected: asyncio.Event) -> None:
        self._api = api
        self._record = record
        self._connected = connected
        self._changed = asyncio.Event()
        self._is_settled = asyncio.Event()
        self._is_stopped = False
        self._written: Object | None = None
        self._shown: Object | None = None
        """What the API server made of it, of which others may have changed something meanwhile."""

    def changed(self) -> None:
        self._is_settled.clear()
        self._changed.set()

    def stop_writing(self) -> None:
        """The object is gone: there is nothing to write any more."""
        self._is_stopped = True
        self.changed()

    async def flush(self) -> None:
        """Return when what is true now is written."""
        self.changed()
        await self._is_settled.wait()

    async def run(self) -> None:
        while True:
            await self._changed.wait()
            await self._connected.wait()
            self._changed.clear()
            if not self._is_stopped:
                await self._write()
            if not self._changed.is_set():
                self._is_settled.set()

    async def _write(self) -> None:
        status = pod_status(self._record, now())
        pod = self._record.pod
        if status == self._written and pod.get("status") == self._shown:
            return
        metadata = pod["metadata"]
        patch: Object = {"metadata": {"uid": metadata["uid"]}, "status": status}
        if pod["spec"].get("readinessGates") or any(
            c["type"] not in OWN_CONDITIONS for c in status["conditions"]
        ):
            # A merge patch replaces the whole list, with the conditions that others may write just now.
            patch["metadata"]["resourceVersion"] = metadata["resourceVersion"]
        try:
            self._record.pod = await self._api.patch(
                "pods", metadata["namespace"], metadata["name"], patch, "status"
            )
            self._written, self._shown = status, self._record.pod["status"]
        except ApiError as error:
            await self._cope(error, metadata["name"])

    async def _cope(self, error: ApiError, name: str) -> None:
        if error.code == 404:
            self._is_stopped = True
            return
        if error.code != 409:
            logger.warning("writing the status of pod %s again: %s", name, error.message)
        await asyncio.sleep(RETRY_CONFLICT_AFTER if error.code == 409 else RETRY_AFTER)
        self._changed.set()
