"""The kubelet: runs the pods that are bound to a node as processes of this machine."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from dask_k8s_local.interfaces import Api, ApiError, EventType, LogOptions, Object
from dask_k8s_local.node.amounts import parse_resources
from dask_k8s_local.node.background import Background, follow
from dask_k8s_local.node.description import Node, node_status
from dask_k8s_local.node.events import Recorder
from dask_k8s_local.node.heartbeat import Heartbeat
from dask_k8s_local.node.network.addresses import AddressBlock
from dask_k8s_local.node.network.names import NameTable
from dask_k8s_local.node.pods.container import ContainerRunner
from dask_k8s_local.node.pods.context import NodeContext
from dask_k8s_local.node.pods.environment import ConfigError
from dask_k8s_local.node.pods.logs import LogFilter, LogReader
from dask_k8s_local.node.pods.pod import PodWorker
from dask_k8s_local.node.pods.run import execute
from dask_k8s_local.node.runtime.client import Runtime, StartError
from dask_k8s_local.node.settings import NodeSettings


class NodeAgent:
    """A node that runs each container as a process; a `Kubelet` for the API server.

    Parameters
    ----------
    api : Api
        The API server.
    node : Node
        What the node is.
    directory : Path
        Where volumes, logs and scratch files go, in a folder of the node's name that `stop` removes.
    settings : NodeSettings, optional
        Times, failures, and credentials.

    Raises
    ------
    RuntimeError
        If this machine has no addresses for pods.
    """

    def __init__(
        self, api: Api, node: Node | None = None, *, directory: Path, settings: NodeSettings | None = None
    ) -> None:
        self.node = node or Node()
        self.settings = settings or NodeSettings()
        self._api = api
        self._directory = directory / self.node.name
        self._background = Background()
        self._workers: dict[str, PodWorker] = {}
        self._connected = asyncio.Event()
        self._connected.set()
        self._context: NodeContext | None = None
        self._heartbeat: Heartbeat | None = None

    async def start(self) -> None:
        """Register the node and begin to run pods."""
        (self._directory / "scratch").mkdir(parents=True, exist_ok=True)
        addresses = AddressBlock()
        status = node_status(self.node, addresses.node_address)
        self._context = context = NodeContext(
            api=self._api,
            name=self.node.name,
            settings=self.settings,
            directory=self._directory,
            addresses=addresses,
            names=NameTable(self._api, self._directory / "names.json", addresses.node_address),
            runtime=Runtime(namespaces=self.settings.namespaces, keep_open=[addresses.lock.fileno()]),
            events=Recorder(self._api, "kubelet", self.node.name),
            http=aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)),
            allocatable=parse_resources(status["allocatable"]),
            connected=self._connected,
        )
        self._heartbeat = Heartbeat(
            self._api, self.node, status, self._connected, self.settings.heartbeat_scale
        )
        await context.runtime.start()
        await context.names.start()
        await self._heartbeat.start()
        selector = f"spec.nodeName={self.node.name}"
        pods = follow(
            lambda: self._api.watch("pods", field_selector=selector), self._pod_changed, self._connected
        )
        self._background.spawn(pods, f"kubelet of {self.node.name}")

    async def stop(self) -> None:
        """Kill all processes and wait until they are gone; the Node object stays."""
        context = self._context
        if context is None:
            return
        self._context = None
        # Nobody shall read that the pods failed: their node was taken away.
        self._connected.clear()
        # The processes first: what their pods' tasks would wait for is then over.
        await context.runtime.stop()
        await self._background.stop()
        if self._heartbeat is not None:
            await self._heartbeat.stop()
        await context.names.stop()
        await context.http.close()
        context.addresses.close()
        self._workers.clear()
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    def pause(self) -> None:
        """Cut the node off: its processes run on, but nobody hears of it."""
        self._connected.clear()

    def resume(self) -> None:
        self._connected.set()

    def _pod_changed(self, event: EventType, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        worker = self._workers.get(uid)
        if worker is not None:
            worker.update(event, pod)
        elif event != "DELETED" and self._context is not None:
            worker = self._workers[uid] = PodWorker(self._context, pod)
            self._background.spawn(self._live(uid, worker), f"pod {pod['metadata']['name']}")

    async def _live(self, uid: str, worker: PodWorker) -> None:
        try:
            await worker.run()
        finally:
            del self._workers[uid]

    # Kubelet

    def address(self, pod: Object, port: int) -> tuple[str, int]:
        """Return where this machine reaches a port of the pod."""
        pod_ip = (pod.get("status") or {}).get("podIP")
        if not pod_ip:
            raise ApiError(400, "BadRequest", f"pod {pod['metadata']['name']} does not have an address yet")
        return pod_ip, port

    async def logs(self, pod: Object, options: LogOptions) -> AsyncIterator[bytes]:
        """Yield a container's log; raise `ApiError` if there is no such container or no log yet."""
        worker, runner = self._find(pod, options.container)
        path = worker.log_of(runner, previous=options.previous)
        filter_ = LogFilter(options)
        reader = LogReader(path)
        for entry in filter_.tail(reader.entries()):
            yield filter_.text(entry)
            if filter_.is_full:
                return
        # The process at this moment: a restarted container has another log.
        process = runner.process
        if not options.follow or options.previous or process is None:
            return
        with process.follow_log() as has_grown:
            while True:
                is_over = process.exited.done()
                for entry in reader.entries():
                    yield filter_.text(entry)
                    if filter_.is_full:
                        return
                if is_over:
                    return
                await has_grown.wait()
                has_grown.clear()

    async def exec(
        self, pod: Object, container: str, command: list[str], stdin: bytes
    ) -> tuple[int, bytes, bytes]:
        """Run a command beside a container's process: exit code, stdout, stderr."""
        worker, runner = self._find(pod, container)
        if runner.process is None or not runner.process.is_running:
            raise ApiError(
                500, "InternalError", f'unable to upgrade connection: container not found ("{container}")'
            )
        try:
            return await execute(worker, runner.spec, command, stdin)
        except (StartError, ConfigError) as error:
            raise ApiError(500, "InternalError", f"failed to exec in container: {error}") from error

    def _find(self, pod: Object, container: str) -> tuple[PodWorker, ContainerRunner]:
        metadata = pod["metadata"]
        worker = self._workers.get(metadata["uid"])
        known = [c["name"] for key in ("containers", "initContainers") for c in pod["spec"].get(key) or []]
        if container not in known:
            raise ApiError(
                400, "BadRequest", f"container {container} is not valid for pod {metadata['name']}"
            )
        runner = worker.runners.get(container) if worker else None
        if worker is None or runner is None:
            reason = "PodInitializing" if pod["spec"].get("initContainers") else "ContainerCreating"
            message = f'container "{container}" in pod "{metadata["name"]}" is waiting to start: {reason}'
            raise ApiError(400, "BadRequest", message)
        return worker, runner
