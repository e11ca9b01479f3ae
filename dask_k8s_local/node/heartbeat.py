"""How a node makes itself known, and stays known: its Node object and its Lease."""

from __future__ import annotations

import asyncio
import logging

from dask_k8s_local.interfaces import Api, ApiError, Object
from dask_k8s_local.node.background import Background
from dask_k8s_local.node.description import Node, node_object
from dask_k8s_local.node.times import micro_timestamp, now

logger = logging.getLogger(__name__)

LEASES = "leases.coordination.k8s.io"
LEASE_NAMESPACE = "kube-node-lease"
LEASE_SECONDS = 40
RENEW_EVERY = 10.0


class Heartbeat:
    """Registers a node and renews its Lease while it is connected.

    Parameters
    ----------
    status : dict
        The Node's status while it is well; written again when a lost node comes back.
    connected : asyncio.Event
        Set while the node can reach the API server.
    scale : float
        Multiplies the time between two renewals.
    """

    def __init__(
        self, api: Api, node: Node, status: Object, connected: asyncio.Event, scale: float = 1.0
    ) -> None:
        self._api = api
        self._node = node
        self._status = status
        self._connected = connected
        self._scale = scale
        self._background = Background()

    async def start(self) -> None:
        await _create(self._api, "nodes", None, node_object(self._node))
        await self._write_status()
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": LEASE_NAMESPACE}}
        await _create(self._api, "namespaces", None, namespace)
        await _create(self._api, LEASES, LEASE_NAMESPACE, self._lease())
        self._background.spawn(self._beat(), f"heartbeat of {self._node.name}")

    async def stop(self) -> None:
        await self._background.stop()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY * self._scale)
            was_cut_off = not self._connected.is_set()
            await self._connected.wait()
            try:
                if was_cut_off:
                    await self._write_status()
                spec = self._lease()["spec"]
                await self._api.patch(LEASES, LEASE_NAMESPACE, self._node.name, {"spec": spec})
            except ApiError as error:
                logger.warning("node %s could not renew its lease: %s", self._node.name, error.message)

    async def _write_status(self) -> None:
        await self._api.patch("nodes", None, self._node.name, {"status": self._status}, "status")

    def _lease(self) -> Object:
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._node.name, "namespace": LEASE_NAMESPACE},
            "spec": {
                "holderIdentity": self._node.name,
                "leaseDurationSeconds": LEASE_SECONDS,
                "renewTime": micro_timestamp(now()),
            },
        }


async def _create(api: Api, resource: str, namespace: str | None, body: Object) -> None:
    try:
        await api.create(resource, namespace, body)
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
