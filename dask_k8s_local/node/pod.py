"""One pod on the node, from the moment it is bound to the moment it is deleted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from pathlib import Path

from dask_k8s_local.interfaces import ApiError, EventType, Object
from dask_k8s_local.node.background import Background
from dask_k8s_local.node.container import ContainerRunner
from dask_k8s_local.node.context import NodeContext
from dask_k8s_local.node.environment import (
    Environment,
    PodFacts,
    container_environment,
    service_environment,
)
from dask_k8s_local.node.events import EventLevel
from dask_k8s_local.node.requests import is_sidecar
from dask_k8s_local.node.runtime.command import Command, Mount
from dask_k8s_local.node.status import PodRecord, first_record, restart_policy
from dask_k8s_local.node.status_writer import StatusWriter
from dask_k8s_local.node.times import now
from dask_k8s_local.node.volumes import (
    SERVICE_ACCOUNT_PATH,
    VolumeError,
    mounts,
    volume_path,
    write_atomically,
)

logger = logging.getLogger(__name__)

MOUNT_RETRY = 2.0
VOLUMES_SYNC = 60.0
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
        self._background = Background()
        self._stopping = asyncio.Event()
        self._deleted = asyncio.Event()
        self._is_gone = False
        self._grace: float | None = None
        self._stop_deadline: float | None = None
        self._volumes: dict[str, Path] = {}

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

    def log_path(self, container: str, instance: int) -> Path:
        return self.directory / "logs" / f"{container}-{instance}.log"

    def log_of(self, runner: ContainerRunner, pod_name: str, *, previous: bool) -> Path:
        """Return where the log of a container's current or previous run is; raise ApiError if none."""
        name = runner.record.name
        last = runner.runs - 1
        if previous:
            if last < 1:
                message = f'previous terminated container "{name}" in pod "{pod_name}" not found'
                raise ApiError(400, "BadRequest", message)
            return self.log_path(name, last - 1)
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
        own = await container_environment(node.api, pod, container, self._facts(), services)
        hostname = (pod["spec"].get("hostname") or pod["metadata"]["name"])[:63]
        env = node.image_environment(self.directory) | {"HOSTNAME": hostname} | own
        env |= node.site_variables(self.pod_ip, hostname, namespace, env)
        mounted = [*self._service_account(container), *mounts(container, self._volumes, own)]
        cwd = container.get("workingDir") or str(self.directory / "home")
        return Command([], env, cwd, hostname, str(node.scratch), mounted), own

    def _service_account(self, container: Object) -> list[Mount]:
        spec = self.pod["spec"]
        is_mounted = any(m["mountPath"] == SERVICE_ACCOUNT_PATH for m in container.get("volumeMounts") or [])
        if is_mounted or spec.get("automountServiceAccountToken") is False or not self.node.settings.token:
            return []
        return [Mount(str(self.directory / "serviceaccount"), SERVICE_ACCOUNT_PATH, read_only=True)]

    def _facts(self) -> PodFacts:
        return PodFacts(self.pod_ip, self.node.addresses.node_address, self.node.name, self.node.allocatable)

    # The pod's life

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
        if pod["metadata"].get("deletionTimestamp"):
            grace = pod["metadata"].get("deletionGracePeriodSeconds")
            self._delete_within(30 if grace is None else grace)
        self.changed()

    def _delete_within(self, grace: float) -> None:
        self._deleted.set()
        self._record.is_ending = True
        if self._grace is None or grace < self._grace:
            self._grace = grace
            self._background.spawn(self._stop_containers(grace), "stopping containers")

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
        node = self.node
        on_host = bool(self.pod["spec"].get("hostNetwork"))
        address = node.addresses.node_address if on_host else node.addresses.allocate()
        try:
            deadline = self.pod["spec"].get("activeDeadlineSeconds")
            if deadline is not None:
                self._background.spawn(self._exceed(deadline), "deadline")
            if await self._prepare(address):
                self._record.pod_ip = address
                self.changed()
                await self._run_containers()
        finally:
            if not on_host:
                node.addresses.release(address)

    async def _exceed(self, deadline: float) -> None:
        await asyncio.sleep(deadline)
        self._record.failure = DEADLINE_EXCEEDED
        self._record.is_ending = True
        await self.record(None, "Normal", *DEADLINE_EXCEEDED)
        await self._stop_containers(self._termination_grace)
        self.changed()

    async def _prepare(self, address: str) -> bool:
        """Make the pod's directories and volumes; return False if told to stop before that succeeds."""
        for name in ("home", "tmp", "logs", "volumes"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        files = self.node.service_account_files(self.pod)
        if files:
            account = self.directory / "serviceaccount"
            account.mkdir(exist_ok=True)
            write_atomically(account, files)
        facts = PodFacts(address, self.node.addresses.node_address, self.node.name, self.node.allocatable)
        while not self._stopping.is_set():
            try:
                await self._make_volumes(facts)
            except VolumeError as error:
                await self.record(None, "Warning", "FailedMount", str(error))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), MOUNT_RETRY * self._scale)
            else:
                await self._tell_of_redirection()
                if self._volumes:
                    self._background.spawn(self._keep_volumes(facts), "volumes")
                return True
        return False

    async def _tell_of_redirection(self) -> None:
        if self._volumes and not self.node.runtime.may_mount:
            message = "this machine offers no namespaces: only Python programs of this pod see its volumes"
            await self.record(None, "Warning", "MountsRedirected", message)

    async def _make_volumes(self, facts: PodFacts) -> None:
        files = self.node.service_account_files(self.pod)
        for volume in self.pod["spec"].get("volumes") or []:
            directory = self.directory / "volumes"
            path = await volume_path(self.node.api, self.pod, volume, facts, directory, files)
            self._volumes[volume["name"]] = path

    async def _keep_volumes(self, facts: PodFacts) -> None:
        """Bring changed ConfigMaps, Secrets and labels into the volumes."""
        while True:
            await asyncio.sleep(VOLUMES_SYNC * self._scale)
            try:
                await self._make_volumes(facts)
            except VolumeError as error:
                await self.record(None, "Warning", "FailedMount", str(error))

    @property
    def _scale(self) -> float:
        return self.node.settings.back_off_scale

    async def _run_containers(self) -> None:
        policy = restart_policy(self.pod)
        sidecars: list[ContainerRunner] = []
        for record in self._record.init_containers:
            if self._stopping.is_set():
                break
            if is_sidecar(record.spec):
                runner = self._start(ContainerRunner(record, self, "Always"))
                sidecars.append(runner)
                await self._first(runner.started)
                continue
            runner = ContainerRunner(record, self, "Never" if policy == "Never" else "OnFailure")
            self.runners[runner.record.name] = runner
            await runner.run()
            if (record.terminated or {}).get("exitCode") != 0:
                break
            record.is_ready = True
        else:
            runners = [ContainerRunner(record, self, policy) for record in self._record.containers]
            self.runners |= {runner.record.name: runner for runner in runners}
            if not self._stopping.is_set():
                await asyncio.gather(*(runner.run() for runner in runners))
        if self._stop_deadline is None:
            self._stop_deadline = asyncio.get_running_loop().time() + self._termination_grace
        for runner in reversed(sidecars):
            await runner.stop(self._stop_deadline - asyncio.get_running_loop().time())

    @property
    def _termination_grace(self) -> float:
        grace = self.pod["spec"].get("terminationGracePeriodSeconds")
        return 30 if grace is None else float(grace)

    def _start(self, runner: ContainerRunner) -> ContainerRunner:
        self.runners[runner.record.name] = runner
        self._background.spawn(runner.run(), f"sidecar {runner.record.name}")
        return runner

    async def _first(self, event: asyncio.Event) -> None:
        """Wait for an event, or for the pod to be stopped."""
        waiting = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(self._stopping.wait())]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    async def _stop_containers(self, grace: float) -> None:
        """Stop all containers but the sidecars, which end when those that need them have ended."""
        self._stopping.set()
        self._stop_deadline = asyncio.get_running_loop().time() + grace
        others = [runner for runner in self.runners.values() if not is_sidecar(runner.spec)]
        await asyncio.gather(*(runner.stop(grace) for runner in others))

    async def _delete(self) -> None:
        metadata = self.pod["metadata"]
        while not self._is_gone:
            await self.node.connected.wait()
            try:
                await self.node.api.delete(
                    "pods",
                    metadata["namespace"],
                    metadata["name"],
                    uid=metadata["uid"],
                    grace_period_seconds=0,
                )
                return
            except ApiError as error:
                if error.code in (404, 409):
                    return  # It is gone, or the name is another pod's.
                logger.warning("deleting pod %s again: %s", metadata["name"], error.message)
                await asyncio.sleep(0.5)
