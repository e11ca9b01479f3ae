"""A container of a pod: its image, its runs, and the waits between them, as kubelet does it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import datetime

from dask_k8s_local.interfaces import Object
from dask_k8s_local.node.events import EventLevel
from dask_k8s_local.node.pods.back_off import INITIAL, BackOff, duration
from dask_k8s_local.node.pods.environment import ConfigError, argv
from dask_k8s_local.node.pods.images import ImageError, check_image, ignored
from dask_k8s_local.node.pods.logs import last_text
from dask_k8s_local.node.pods.run import ContainerRun, PodOfContainer
from dask_k8s_local.node.pods.status import ContainerRecord
from dask_k8s_local.node.runtime.client import Process, StartError
from dask_k8s_local.node.runtime.command import Command
from dask_k8s_local.node.times import now, timestamp

CONFIG_RETRY = 5.0
START_FAILED = 128


class ContainerRunner:
    """Runs a container until it has ended for good, or is told to stop.

    Parameters
    ----------
    record : ContainerRecord
        What the pod's status is made from; kept up to date here.
    policy : str
        ``Always``, ``OnFailure`` or ``Never``.
    """

    def __init__(self, record: ContainerRecord, pod: PodOfContainer, policy: str) -> None:
        self.record = record
        self.started = asyncio.Event()
        """Set when the container runs and its startup probe has passed."""
        self.runs = 0
        """How often the process was started."""
        self._pod = pod
        self._policy = policy
        self._scale = pod.node.settings.back_off_scale
        self._stopping = asyncio.Event()
        self._woken = asyncio.Event()
        self._is_outdated = False
        self._back_off = BackOff(self._scale)
        self._image_back_off = BackOff(self._scale)
        self._run: ContainerRun | None = None

    @property
    def spec(self) -> Object:
        return self.record.spec

    @property
    def process(self) -> Process | None:
        """The process of the last run."""
        return self._run.process if self._run else None

    async def run(self) -> None:
        while await self._have_image():
            await self._wait_out_crashes()
            if self._stopping.is_set():
                break
            self._is_outdated = False
            exit_code = await self._run_once()
            if self._stopping.is_set() or not (self._is_outdated or self._restarts_after(exit_code)):
                break
        if "waiting" in self.record.state and self.record.last_state:
            # Stopped while it waited for its restart: it ended as its last run did.
            self.record.state, self.record.last_state = self.record.last_state, {}
            self._pod.changed()

    async def stop(self, grace: float) -> None:
        """End the container, within `grace` seconds if it does so when asked."""
        self._stopping.set()
        self._woken.set()
        if self._run is not None:
            await self._run.stop(grace, f"Stopping container {self.record.name}")

    async def replace(self, spec: Object, grace: float) -> None:
        """Go on with another image: at once if the container waits, else when its process has ended."""
        self.record.spec = spec
        self._is_outdated = True
        self._back_off = BackOff(self._scale)
        self._image_back_off = BackOff(self._scale)
        self._woken.set()
        if self._run is not None:
            await self._run.stop(grace, f"Container {self.record.name} definition changed, will be restarted")

    def _restarts_after(self, exit_code: int | None) -> bool:
        if exit_code is None or self._policy == "Always":
            return True
        return self._policy == "OnFailure" and exit_code != 0

    # Before the process

    async def _have_image(self) -> bool:
        """Wait until the image can be had; return False if told to stop meanwhile."""
        while True:
            image = self.spec.get("image") or ""
            policy = self.spec.get("imagePullPolicy") or "IfNotPresent"
            try:
                check_image(image, policy, self._pod.node.settings.failing_images)
            except ImageError as error:
                if await self._wait_for_image(image, error):
                    return False
            else:
                await self._tell("Normal", "Pulled", f'Container image "{image}" already present on machine')
                return True

    async def _wait_for_image(self, image: str, error: ImageError) -> bool:
        """Tell why there is no image and wait; return True if told to stop."""
        self._waits(error.reason, error.message)
        if error.reason != "ErrImagePull":
            await self._tell("Warning", error.event, error.message)
            await self._tell("Warning", "Failed", f"Error: {error.reason}")
            return await self._sleep(INITIAL * self._scale)
        await self._tell("Normal", "Pulling", f'Pulling image "{image}"')
        message = f'Failed to pull image "{image}": rpc error: code = NotFound desc = {error.message}'
        await self._tell("Warning", "Failed", message)
        await self._tell("Warning", "Failed", "Error: ErrImagePull")
        self._image_back_off.next()
        delay = self._image_back_off.delay * self._scale
        # Kubelet looks again a moment later, and finds itself in back-off.
        if await self._sleep(min(delay / 2, 1.0)):
            return True
        if self.spec.get("image") != image:
            return False
        self._waits("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {error.message}')
        await self._tell("Normal", "BackOff", f'Back-off pulling image "{image}"')
        await self._tell("Warning", "Failed", "Error: ImagePullBackOff")
        return await self._sleep(delay)

    async def _wait_out_crashes(self) -> None:
        delay = self._back_off.next() if self.runs and not self._is_outdated else 0.0
        if not delay:
            return
        pod = self._pod.pod["metadata"]
        where = f"{pod['name']}_{pod['namespace']}({pod['uid']})"
        name = self.record.name
        message = f"back-off {duration(delay)} restarting failed container={name} pod={where}"
        self._waits("CrashLoopBackOff", message)
        text = f"Back-off restarting failed container {name} in pod {where}"
        await self._tell("Warning", "BackOff", text)
        await self._sleep(delay * self._scale)

    async def _command(self) -> Command | None:
        """Return the process to start, or None, after telling why and waiting, if it's misconfigured."""
        try:
            command, env = await self._pod.command(self.spec)
        except ConfigError as error:
            reason, message = "CreateContainerConfigError", str(error)
        else:
            words = argv(self.spec, env)
            for name in ignored(env):
                message = f"{name} does nothing here: install packages where the local Kubernetes itself runs"
                await self._tell("Warning", "VariableIgnored", message)
            if words:
                return replace(command, argv=words)
            reason = "CreateContainerError"
            message = (
                f"no command specified: images are not pulled here, so that of {self.spec.get('image')} "
                "is unknown; give the container a command or args"
            )
        self._waits(reason, message)
        await self._tell("Warning", "Failed", f"Error: {message}")
        await self._sleep(CONFIG_RETRY * self._scale)
        return None

    # The process

    async def _run_once(self) -> int | None:
        """Run the process once: its exit code, or None if it couldn't even be described."""
        command = await self._command()
        if command is None or self._stopping.is_set():
            return None
        record = self.record
        log = self._pod.log_path(record.name, self.runs)
        self.runs += 1
        record_id = f"process://{self._pod.pod['metadata']['uid']}/{record.name}/{self.runs}"
        await self._tell("Normal", "Created", f"Created container: {record.name}")
        started_at = now()
        try:
            process = await self._pod.node.runtime.run(command, log)
        except StartError as error:
            await self._tell("Warning", "Failed", f"Error: {error}")
            record.restart_count, record.container_id = self.runs - 1, record_id
            self._ended(START_FAILED, started_at, "StartError", str(error))
            return START_FAILED
        self._run = ContainerRun(record, self._pod, process, self.started)
        if self._stopping.is_set():
            process.kill()  # Told to stop while it started.
        record.restart_count, record.container_id = self.runs - 1, record_id
        self._now({"running": {"startedAt": timestamp(started_at)}})
        await self._tell("Normal", "Started", f"Started container {record.name}")
        exit_code = await self._run.until_exit()
        self._forget_log_before()
        message = ""
        if exit_code and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            message = last_text(log)
        self._ended(exit_code, started_at, "Completed" if exit_code == 0 else "Error", message)
        return exit_code

    def _forget_log_before(self) -> None:
        """Keep one log of a container that has ended, as kubelet keeps one such container."""
        path = self._pod.log_path(self.record.name, self.runs - 2)
        for one in (path, path.with_name(path.name + ".1")):
            one.unlink(missing_ok=True)

    # What others see

    def _waits(self, reason: str, message: str) -> None:
        self._now({"waiting": {"reason": reason, "message": message}})

    def _ended(self, exit_code: int, started_at: datetime, reason: str, message: str) -> None:
        terminated = {
            "exitCode": exit_code,
            "reason": reason,
            "startedAt": timestamp(started_at),
            "finishedAt": timestamp(now()),
            "containerID": self.record.container_id,
        }
        if message:
            terminated["message"] = message
        self._now({"terminated": terminated})

    def _now(self, state: Object) -> None:
        if "terminated" in self.record.state:
            self.record.last_state = self.record.state
        self.record.state = state
        self._pod.changed()

    async def _tell(self, type_: EventLevel, reason: str, message: str) -> None:
        await self._pod.record(self.spec, type_, reason, message)

    async def _sleep(self, seconds: float) -> bool:
        """Wait, at most until the container is to be another; return True as soon as it is told to stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)
        self._woken.clear()
        return self._stopping.is_set()
