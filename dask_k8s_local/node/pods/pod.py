"""One pod on the node, from the moment it is bound to the moment it is deleted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from pathlib import Path

from dask_k8s_local.interfaces import ApiError, EventType, Object
from dask_k8s_local.node.amounts import is_sidecar
from dask_k8s_local.node.background import Background
from dask_k8s_local.node.events import EventLevel
from dask_k8s_local.node.pods.container import ContainerRunner
from dask_k8s_local.node.pods.context import NodeContext
from dask_k8s_local.node.pods.environment import (
    Environment,
    PodFacts,
    container_environment,
    service_environment,
)
from dask_k8s_local.node.pods.mounts import PodVolumes
from dask_k8s_local.node.pods.run import DEFAULT_GRACE
from dask_k8s_local.node.pods.status import PodRecord, first_record, restart_policy
from dask_k8s_local.node.pods.status_writer import StatusWriter
from dask_k8s_local.node.pods.volumes import VolumeError
from dask_k8s_local.node.runtime.command import Command
from dask_k8s_local.node.times import now

logger = logging.getLogger(__name__)

MOUNT_RETRY = 2.0
VOLUMES_SYNC = 60.0
DELETE_RETRY = 0.5
DEADLINE_EXCEEDED = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")


class PodWorker:
    """Runs one pod.

    Parameters
    ----------
    node : NodeContext
        What the node offers.
    pod : dict
        The pod, bound to this node.
    """

    def __init__(self, node: NodeContext, pod: Object) -> None:
        self.node = node
        self.runners: dict[str, ContainerRunner] = {}
        self.directory: Path = node.directory / "pods" / pod["metadata"]["uid"]
        self._record = PodRecord(pod, now(), node.addresses.node_address)
        self._status = StatusWriter(node.api, self._record, node.connected)
        self._volumes = PodVolumes(node, self.directory)
        self._background = Background()
        self._stopping = asyncio.Event()
        self._stop_deadline: float | None = None
        self._deleted = asyncio.Event()
        self._is_gone = False

    # What containers need, see PodOfContainer

    @property
    def pod(self) -> Object:
        return self._record.pod

    @property
    def pod_ip(self) -> str:
        return self._record.pod_ip

    def changed(self) -> None:
        self._status.changed()

    async def record(self, container: Object | None, type_: EventLevel, reason: str, message: str) -> None:
        field_path = ""
        if container is not None:
            is_init = any(container is init.spec for init in self._record.init_containers)
            field_path = f"spec.{'initContainers' if is_init else 'containers'}{{{container['name']}}}"
        if self.node.connected.is_set():
            await self.node.events.record(self.pod, type_, reason, message, field_path)

    def log_path(self, container: str, run: int) -> Path:
        return self.directory / "logs" / f"{container}-{run}.log"

    def log_of(self, runner: ContainerRunner, *, previous: bool) -> Path:
        """Return where the log of a container's current or previous run is; raise ApiError if none."""
        name, pod_name = runner.record.name, self.pod["metadata"]["name"]
        last = runner.runs - 1
        if previous:
            # One that waits for its restart has nothing else to show than what ended.
            path = self.log_path(name, last if "waiting" in runner.record.state else last - 1)
            if not path.exists():
                message = f'previous terminated container "{name}" in pod "{pod_name}" not found'
                raise ApiError(400, "BadRequest", message)
            return path
        if last < 0:
            reason = runner.record.state.get("waiting", {}).get("reason", "ContainerCreating")
            message = f'container "{name}" in pod "{pod_name}" is waiting to start: {reason}'
            raise ApiError(400, "BadRequest", message)
        return self.log_path(name, last)

    async def command(self, container: Object) -> tuple[Command, Environment]:
        """Return how a container's processes are started, without their command lines; raise ConfigError."""
        node, pod = self.node, self.pod
        namespace = pod["metadata"]["namespace"]
        wants_links = pod["spec"].get("enableServiceLinks") is not False
        services = service_environment(node.settings.server, node.names.services(namespace), wants_links)
        own = await container_environment(node.api, pod, container, self._facts(self.pod_ip), services)
        hostname = (pod["spec"].get("hostname") or pod["metadata"]["name"])[:63]
        env = node.image_environment(self.directory) | {"HOSTNAME": hostname} | own
        env |= node.site_variables(self.pod_ip, hostname, namespace, env)
        mounts = self._volumes.mounts(pod, container, own)
        cwd = container.get("workingDir") or str(self.directory / "home")
        return Command([], env, cwd, hostname, str(node.scratch), mounts), own

    def _facts(self, pod_ip: str) -> PodFacts:
        node = self.node
        return PodFacts(pod_ip, node.addresses.node_address, node.name, node.allocatable)

    # What is asked of the pod

    def update(self, event: EventType, pod: Object) -> None:
        """Take note of a change to the pod's object."""
        if event == "DELETED":
            self._is_gone = True
            self._status.stop_writing()
            self._delete_within(0)
            return
        if int(pod["metadata"]["resourceVersion"]) < int(self.pod["metadata"]["resourceVersion"]):
            return  # The answer to a write of ours was newer.
        self._record.pod = pod
        self._replace_outdated(pod["spec"])
        if pod["metadata"].get("deletionTimestamp"):
            grace = pod["metadata"].get("deletionGracePeriodSeconds")
            self._delete_within(DEFAULT_GRACE if grace is None else grace)
        self.changed()

    def _replace_outdated(self, spec: Object) -> None:
        """Have the containers go on whose image, the one thing that may change, has changed."""
        grace = spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE)
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            runner = self.runners.get(container["name"])
            if runner is not None and runner.spec.get("image") != container.get("image"):
                self._background.spawn(runner.replace(container, grace), "replacing a container")

    def _delete_within(self, grace: float) -> None:
        """Stop the pod; a grace that is shortened later comes too late, as kubelet is already waiting."""
        is_first = not self._deleted.is_set()
        self._deleted.set()
        self._record.is_ending = True
        if is_first or self._is_gone:
            self._background.spawn(self._stop_containers(grace), "stopping containers")

    async def _stop_containers(self, grace: float) -> None:
        """Stop all containers but the sidecars, which end when those that need them have ended."""
        self._stopping.set()
        self._stop_deadline = asyncio.get_running_loop().time() + grace
        others = [runner for runner in self.runners.values() if not is_sidecar(runner.spec)]
        await asyncio.gather(*(runner.stop(grace) for runner in others))

    @property
    def _termination_grace(self) -> float:
        grace = self.pod["spec"].get("terminationGracePeriodSeconds")
        return DEFAULT_GRACE if grace is None else float(grace)

    # The pod's life

    async def run(self) -> None:
        """Live, until the pod's object is deleted."""
        spec = self.pod["spec"]
        init_containers = spec.get("initContainers") or []
        self._record.init_containers = [first_record(c, True) for c in init_containers]
        self._record.containers = [first_record(c, bool(init_containers)) for c in spec["containers"]]
        self._background.spawn(self._status.run(), "status")
        try:
            if (self.pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
                self.update("MODIFIED", self.pod)
                await self._live()
                await self._status.flush()
            await self._deleted.wait()
            await self._delete()
        finally:
            await self._background.stop()
            await asyncio.to_thread(shutil.rmtree, self.directory, ignore_errors=True)

    async def _live(self) -> None:
        addresses = self.node.addresses
        on_host = bool(self.pod["spec"].get("hostNetwork"))
        address = addresses.node_address if on_host else addresses.allocate()
        # While the pod lives, and no longer.
        meanwhile = Background()
        meanwhile.spawn(self._keep_deadline(), "deadline")
        try:
            if await self._prepare(address):
                self._record.pod_ip = address
                self.changed()
                meanwhile.spawn(self._keep_volumes(), "volumes")
                await self._run_containers()
        finally:
            await meanwhile.stop()
            if not on_host:
                addresses.release(address)

    async def _keep_deadline(self) -> None:
        """Stop the pod when its deadline is over; the deadline may be set and shortened at any time."""
        started = asyncio.get_running_loop().time()
        while True:
            deadline = self.pod["spec"].get("activeDeadlineSeconds")
            left = None if deadline is None else started + deadline - asyncio.get_running_loop().time()
            if left is not None and left <= 0:
                break
            await asyncio.sleep(1.0 if left is None else min(left, 1.0))
        self._record.failure = DEADLINE_EXCEEDED
        self._record.is_ending = True
        await self.record(None, "Normal", *DEADLINE_EXCEEDED)
        await self._stop_containers(self._termination_grace)

    async def _prepare(self, address: str) -> bool:
        """Make the pod's directories and volumes; return False if told to stop before that succeeds."""
        for name in ("home", "tmp", "logs", "volumes"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        while not self._stopping.is_set():
            try:
                await self._volumes.make(self.pod, self._facts(address))
            except VolumeError as error:
                await self.record(None, "Warning", "FailedMount", str(error))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), MOUNT_RETRY * self._scale)
            else:
                for warning in self._volumes.warnings():
                    await self.record(None, *warning)
                return True
        return False

    async def _keep_volumes(self) -> None:
        """Bring changed ConfigMaps, Secrets and labels into the volumes."""
        while self.pod["spec"].get("volumes"):
            await asyncio.sleep(VOLUMES_SYNC * self._scale)
            try:
                await self._volumes.make(self.pod, self._facts(self.pod_ip))
            except VolumeError as error:
                await self.record(None, "Warning", "FailedMount", str(error))

    @property
    def _scale(self) -> float:
        return self.node.settings.back_off_scale

    async def _run_containers(self) -> None:
        policy = restart_policy(self.pod)
        sidecars: list[tuple[ContainerRunner, asyncio.Task[None]]] = []
        for record in self._record.init_containers:
            if self._stopping.is_set():
                break
            if is_sidecar(record.spec):
                runner = self._runner(ContainerRunner(record, self, "Always"))
                task = self._background.spawn(runner.run(), f"sidecar {record.name}")
                sidecars.append((runner, task))
                await self._first(runner.started)
                continue
            await self._runner(
                ContainerRunner(record, self, "Never" if policy == "Never" else "OnFailure")
            ).run()
            if (record.terminated or {}).get("exitCode") != 0:
                break
            record.is_ready = True
        else:
            if not self._stopping.is_set():
                runners = [
                    self._runner(ContainerRunner(each, self, policy)) for each in self._record.containers
                ]
                await asyncio.gather(*(runner.run() for runner in runners))
        await self._end_sidecars(sidecars)

    def _runner(self, runner: ContainerRunner) -> ContainerRunner:
        self.runners[runner.record.name] = runner
        return runner

    async def _first(self, event: asyncio.Event) -> None:
        """Wait for an event, or for the pod to be stopped."""
        waiting = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(self._stopping.wait())]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    async def _end_sidecars(self, sidecars: list[tuple[ContainerRunner, asyncio.Task[None]]]) -> None:
        """End them one by one, the last first, within what is left of the pod's grace."""
        loop = asyncio.get_running_loop()
        deadline = self._stop_deadline or loop.time() + self._termination_grace
        for runner, task in reversed(sidecars):
            await runner.stop(deadline - loop.time())
            await asyncio.wait([task])

    async def _delete(self) -> None:
        """Tell the API server that nothing is left of the pod."""
        metadata = self.pod["metadata"]
        namespace, name, uid = metadata["namespace"], metadata["name"], metadata["uid"]
        while not self._is_gone:
            await self.node.connected.wait()
            try:
                await self.node.api.delete("pods", namespace, name, uid=uid, grace_period_seconds=0)
                return
            except ApiError as error:
                if error.code in (404, 409):
                    return  # It is gone, or the name is another pod's.
                logger.warning("deleting pod %s again: %s", name, error.message)
                await asyncio.sleep(DELETE_RETRY)
