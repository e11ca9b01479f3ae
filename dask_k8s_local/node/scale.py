"""A node that runs nothing: its pods become Ready, so that thousands can be had for tests of scale."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from ipaddress import ip_network
from itertools import count

from dask_k8s_local.interfaces import Api, ApiError, EventType, LogOptions, Object
from dask_k8s_local.node.background import Background, follow
from dask_k8s_local.node.description import Node, node_status
from dask_k8s_local.node.heartbeat import Heartbeat
from dask_k8s_local.node.pods.status import PodRecord, first_record, pod_status
from dask_k8s_local.node.times import now, timestamp

CAPACITY: dict[str, str | int] = {"cpu": 10_000, "memory": "100Ti", "pods": 10_000}
POD_RANGE = ip_network("10.128.0.0/9")
RETRY_AFTER = 0.5

_numbers = count(2)


class ScaleNode:
    """A node whose pods become Ready without any process.

    Parameters
    ----------
    api : Api
        The API server.
    node : Node, optional
        What the node is; without capacities there is room for 10,000 pods.
    latency : float or (float, float)
        Seconds from binding to Ready, or the bounds between which they are chosen at random.
    seed : int, optional
        Makes the random latencies repeatable.
    heartbeat_scale : float
        As in `NodeSettings`.
    """

    def __init__(
        self,
        api: Api,
        node: Node | None = None,
        *,
        latency: float | tuple[float, float] = 0.0,
        seed: int | None = None,
        heartbeat_scale: float = 1.0,
    ) -> None:
        node = node or Node(name="scale")
        self.node = replace(node, capacity=CAPACITY | dict(node.capacity))
        self._api = api
        self._random = random.Random(seed)
        self._latency = latency if isinstance(latency, tuple) else (latency, latency)
        self._background = Background()
        self._connected = asyncio.Event()
        self._connected.set()
        self._known: set[str] = set()
        self._address = _address()
        status = node_status(self.node, self._address)
        self._heartbeat = Heartbeat(api, self.node, status, self._connected, heartbeat_scale)

    async def start(self) -> None:
        """Register the node and begin to take pods."""
        await self._heartbeat.start()
        selector = f"spec.nodeName={self.node.name}"
        pods = follow(
            lambda: self._api.watch("pods", field_selector=selector), self._pod_changed, self._connected
        )
        self._background.spawn(pods, f"kubelet of {self.node.name}")

    async def stop(self) -> None:
        await self._heartbeat.stop()
        await self._background.stop()

    def pause(self) -> None:
        """Cut the node off: nobody hears of it."""
        self._connected.clear()

    def resume(self) -> None:
        self._connected.set()

    def _pod_changed(self, event: EventType, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if event == "DELETED":
            self._known.discard(uid)
        elif pod["metadata"].get("deletionTimestamp"):
            self._background.spawn(self._until_done(pod, self._delete), "delete")
        elif uid not in self._known:
            self._known.add(uid)
            self._background.spawn(self._become_ready(pod), "pod")

    async def _become_ready(self, pod: Object) -> None:
        seconds = self._random.uniform(*self._latency)
        if seconds:
            await asyncio.sleep(seconds)
        await self._connected.wait()
        await self._until_done(pod, self._write_ready)

    async def _until_done(self, pod: Object, act: Callable[[Object], Awaitable[None]]) -> None:
        while True:
            try:
                await act(pod)
                return
            except ApiError as error:
                if error.code in (404, 409):
                    return
                await asyncio.sleep(RETRY_AFTER)

    async def _write_ready(self, pod: Object) -> None:
        metadata = pod["metadata"]
        patch = {"metadata": {"uid": metadata["uid"]}, "status": _ready_status(pod, self._address)}
        await self._api.patch("pods", metadata["namespace"], metadata["name"], patch, "status")

    async def _delete(self, pod: Object) -> None:
        metadata = pod["metadata"]
        await self._api.delete(
            "pods", metadata["namespace"], metadata["name"], uid=metadata["uid"], grace_period_seconds=0
        )

    # Kubelet

    def address(self, pod: Object, port: int) -> tuple[str, int]:
        raise ApiError(
            501, "NotImplemented", f"pod {pod['metadata']['name']} is on a node that runs no processes"
        )

    async def logs(self, pod: Object, options: LogOptions) -> AsyncIterator[bytes]:
        """Yield nothing: a pod without processes has an empty log."""
        nothing: tuple[bytes, ...] = ()
        for line in nothing:
            yield line

    async def exec(
        self, pod: Object, container: str, command: list[str], stdin: bytes
    ) -> tuple[int, bytes, bytes]:
        raise ApiError(
            501, "NotImplemented", f"pod {pod['metadata']['name']} is on a node that runs no processes"
        )


def _address() -> str:
    number = next(_numbers) % POD_RANGE.num_addresses
    return str(POD_RANGE[number])


def _ready_status(pod: Object, host_ip: str) -> Object:
    moment = now()
    record = PodRecord(pod, moment, host_ip, _address())
    running = {"running": {"startedAt": timestamp(moment)}}
    done = {
        "terminated": {
            "exitCode": 0,
            "reason": "Completed",
            **dict.fromkeys(("startedAt", "finishedAt"), timestamp(moment)),
        }
    }
    for key, records in (("initContainers", record.init_containers), ("containers", record.containers)):
        for spec in pod["spec"].get(key) or []:
            container = first_record(spec, False)
            is_running = key == "containers" or spec.get("restartPolicy") == "Always"
            container.state = running if is_running else done
            container.is_ready = True
            container.is_started = is_running
            container.container_id = f"scale://{pod['metadata']['uid']}/{spec['name']}"
            records.append(container)
    return pod_status(record, moment)
