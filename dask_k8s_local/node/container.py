"""One container of a pod: started, probed, restarted with back-off, stopped, as kubelet does it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from dask_k8s_local.interfaces import Object
from dask_k8s_local.node.background import Background
from dask_k8s_local.node.context import NodeContext
from dask_k8s_local.node.environment import ConfigError, Environment, argv
from dask_k8s_local.node.events import EventLevel
from dask_k8s_local.node.images import ImageError, check_image
from dask_k8s_local.node.logs import last_text
from dask_k8s_local.node.probes import Target, UnhealthyError, handle_once, watch_probe
from dask_k8s_local.node.runtime.client import Process, StartError
from dask_k8s_local.node.runtime.command import Command
from dask_k8s_local.node.status import ContainerRecord
from dask_k8s_local.node.times import now, timestamp

INITIAL_BACK_OFF, LONGEST_BACK_OFF = 10.0, 300.0
BACK_OFF_FORGOTTEN_AFTER = 2 * LONGEST_BACK_OFF
CONFIG_RETRY = 5.0
KILL_WAIT = 2.0
"""Seconds that a container has to end at the least, once it is told to."""


class PodOfContainer(Protocol):
    """What a container needs of its pod."""

    node: NodeContext

    @property
    def pod(self) -> Object: ...

    @property
    def pod_ip(self) -> str: ...

    async def command(self, container: Object) -> tuple[Command, Environment]:
        """Return a container's process, without its command line; raise ConfigError."""
        ...

    def log_path(self, container: str, instance: int) -> Path: ...

    def changed(self) -> None: ...

    async def record(
        self, container: Object | None, type_: EventLevel, reason: str, message: str
    ) -> None: ...


@dataclass
class BackOff:
    """A delay that doubles, and is forgotten after a long quiet time."""

    scale: float
    delay: float = 0.0
    last_used: float = 0.0

    def next(self) -> float:
        """Return the delay that is due now, in kubelet's seconds, before any scaling: none the first time."""
        moment = time.monotonic()
        due = self.delay
        if self.last_used and moment - self.last_used > BACK_OFF_FORGOTTEN_AFTER * self.scale:
            due = 0.0
        self.delay = min(due * 2, LONGEST_BACK_OFF) or INITIAL_BACK_OFF
        self.last_used = moment
        return due


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
        self.process: Process | None = None
        self.started = asyncio.Event()
        """Set when the container runs and its startup probe has passed."""
        self._pod = pod
        self._policy = policy
        self._stopping = asyncio.Event()
        self._back_off = BackOff(pod.node.settings.back_off_scale)
        self._image_back_off = BackOff(pod.node.settings.back_off_scale)
        self.runs = 0
        """How often the process was started."""
        self._kills = Background()
        self._is_being_killed = False

    @property
    def spec(self) -> Object:
        return self.record.spec

    async def run(self) -> None:
        try:
            while await self._have_image():
                await self._wait_out_crashes()
                if self._stopping.is_set():
                    break
                exit_code = await self._run_once()
                if self._stopping.is_set() or not self._restarts_after(exit_code):
                    break
        finally:
            await self._kills.stop()
        if "waiting" in self.record.state and self.record.last_state:
            # Stopped while it waited for its restart: it ended as its last run did.
            self.record.state, self.record.last_state = self.record.last_state, {}
            self._pod.changed()

    async def stop(self, grace: float) -> None:
        """End the container: preStop, SIGTERM, and SIGKILL when its time is over."""
        is_first = not self._stopping.is_set()
        self._stopping.set()
        if self.process is not None and self.process.is_running:
            if is_first:
                await self._record("Normal", "Killing", f"Stopping container {self.record.name}")
            await self._end_process(self.process, grace)

    def _restarts_after(self, exit_code: int | None) -> bool:
        if exit_code is None or self._policy == "Always":
            return True
        return self._policy == "OnFailure" and exit_code != 0

    # Before the process

    async def _have_image(self) -> bool:
        """Wait until the image can be had; return False if told to stop meanwhile."""
        image = self.spec.get("image") or ""
        while True:
            settings = self._pod.node.settings
            try:
                check_image(
                    image, self.spec.get("imagePullPolicy") or "IfNotPresent", settings.failing_images
                )
            except ImageError as error:
                if await self._wait_for_image(image, error):
                    return False
            else:
                await self._record(
                    "Normal", "Pulled", f'Container image "{image}" already present on machine'
                )
                return True

    async def _wait_for_image(self, image: str, error: ImageError) -> bool:
        """Tell why there is no image and wait; return True if told to stop."""
        self._waits(error.reason, error.message)
        if error.reason != "ErrImagePull":
            await self._record(
                "Warning", "InspectFailed" if "Invalid" in error.reason else error.reason, error.message
            )
            await self._record("Warning", "Failed", f"Error: {error.reason}")
            return await self._sleep(INITIAL_BACK_OFF * self._pod.node.settings.back_off_scale)
        await self._record("Normal", "Pulling", f'Pulling image "{image}"')
        message = f'Failed to pull image "{image}": rpc error: code = NotFound desc = {error.message}'
        await self._record("Warning", "Failed", message)
        await self._record("Warning", "Failed", "Error: ErrImagePull")
        self._image_back_off.next()
        delay = self._image_back_off.delay * self._pod.node.settings.back_off_scale
        # Kubelet looks again a moment later, and finds itself in back-off.
        if await self._sleep(min(delay / 2, 1.0)):
            return True
        self._waits("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {error.message}')
        await self._record("Normal", "BackOff", f'Back-off pulling image "{image}"')
        await self._record("Warning", "Failed", "Error: ImagePullBackOff")
        return await self._sleep(delay)

    async def _wait_out_crashes(self) -> None:
        if not self.runs:
            return
        delay = self._back_off.next()
        if not delay:
            return
        pod = self._pod.pod["metadata"]
        where = f"{pod['name']}_{pod['namespace']}({pod['uid']})"
        message = f"back-off {_duration(delay)} restarting failed container={self.record.name} pod={where}"
        self._waits("CrashLoopBackOff", message)
        text = f"Back-off restarting failed container {self.record.name} in pod {where}"
        await self._record("Warning", "BackOff", text)
        await self._sleep(delay * self._pod.node.settings.back_off_scale)

    async def _command(self) -> Command | None:
        """Return the process to start, or None, after telling why and waiting, if it's misconfigured."""
        try:
            command, env = await self._pod.command(self.spec)
        except ConfigError as error:
            reason, message = "CreateContainerConfigError", str(error)
        else:
            words = argv(self.spec, env)
            if words:
                return Command(
                    words, command.env, command.cwd, command.hostname, command.scratch, command.mounts
                )
            reason = "CreateContainerError"
            message = (
                f"no command specified: images are not pulled here, so that of {self.spec.get('image')} "
                "is unknown; give the container a command or args"
            )
        self._waits(reason, message)
        await self._record("Warning", "Failed", f"Error: {message}")
        await self._sleep(CONFIG_RETRY * self._pod.node.settings.back_off_scale)
        return None

    # The process

    async def _run_once(self) -> int | None:
        """Run the process once: its exit code, or None if it couldn't even be described."""
        command = await self._command()
        if command is None or self._stopping.is_set():
            return None
        log = self._pod.log_path(self.record.name, self.runs)
        self.runs += 1
        await self._record("Normal", "Created", f"Created container: {self.record.name}")
        try:
            self.process = process = await self._pod.node.runtime.run(command, log)
        except StartError as error:
            await self._record("Warning", "Failed", f"Error: {error}")
            self.record.restart_count = self.runs - 1
            self.record.container_id = f"process://{self._pod.pod['metadata']['uid']}-{self.runs}"
            self._ended(128, now(), "StartError", str(error))
            return 128
        self.record.restart_count = self.runs - 1
        self.record.container_id = f"process://{process.id}"
        started_at = now()
        self._is_being_killed = False
        if self._stopping.is_set():
            process.kill()  # Told to stop while it started.
        background = Background()
        try:
            await self._running(process, started_at, background)
            exit_code = await process.wait()
        finally:
            await background.stop()
            self.started.clear()
            self.record.is_ready = self.record.is_started = False
        message = ""
        if exit_code and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            message = last_text(log)
        await asyncio.to_thread(shutil.rmtree, command.scratch, ignore_errors=True)
        self._ended(exit_code, started_at, "Completed" if exit_code == 0 else "Error", message)
        return exit_code

    async def _running(self, process: Process, started_at: datetime, background: Background) -> None:
        self._now({"running": {"startedAt": timestamp(started_at)}})
        await self._record("Normal", "Started", f"Started container {self.record.name}")
        target = Target(self.spec, self._pod.pod_ip, self._execute, self._pod.node.http)
        post_start = (self.spec.get("lifecycle") or {}).get("postStart")
        if post_start:
            background.spawn(self._post_start(post_start, target, process, background), "postStart")
        else:
            self._probe(target, process, background)

    async def _post_start(
        self, hook: Object, target: Target, process: Process, background: Background
    ) -> None:
        try:
            await handle_once(hook, target)
        except UnhealthyError as error:
            await self._record("Warning", "FailedPostStartHook", f"PostStartHook failed: {error}")
            await self._kill_unhealthy(process, "FailedPostStartHook")
            return
        self._probe(target, process, background)

    def _probe(self, target: Target, process: Process, background: Background) -> None:
        startup = self.spec.get("startupProbe")
        if not startup:
            self._has_started(target, process, background)
            return

        async def passed() -> None:
            self._has_started(target, process, background)

        self._watch(startup, "Startup", target, background, passed, self._killer(process, "startup"))

    def _has_started(self, target: Target, process: Process, background: Background) -> None:
        self.record.is_started = True
        self.started.set()
        liveness, readiness = self.spec.get("livenessProbe"), self.spec.get("readinessProbe")
        if liveness:
            self._watch(liveness, "Liveness", target, background, _nothing, self._killer(process, "liveness"))
        if readiness:
            self._watch(readiness, "Readiness", target, background, self._set_ready, self._set_unready)
        else:
            self.record.is_ready = True
        self._pod.changed()

    def _watch(
        self,
        probe: Object,
        word: str,
        target: Target,
        background: Background,
        passed: Callable[[], Awaitable[None]],
        failed: Callable[[str], Awaitable[None]],
    ) -> None:
        async def report(message: str) -> None:
            await self._record("Warning", "Unhealthy", f"{word} probe failed: {message}")

        scale = self._pod.node.settings.probe_scale
        once = word == "Startup"
        watching = watch_probe(probe, target, scale, passed=passed, failed=failed, report=report, once=once)
        background.spawn(watching, f"{self.record.name}: {word.lower()} probe")

    async def _set_ready(self) -> None:
        self._become_ready(True)

    async def _set_unready(self, _: str) -> None:
        self._become_ready(False)

    def _become_ready(self, is_ready: bool) -> None:
        if self.record.is_ready != is_ready:
            self.record.is_ready = is_ready
            self._pod.changed()

    def _killer(self, process: Process, word: str) -> Callable[[str], Awaitable[None]]:
        async def kill(_: str) -> None:
            await self._kill_unhealthy(process, f"{word} probe")

        return kill

    async def _kill_unhealthy(self, process: Process, what: str) -> None:
        if not self._is_being_killed and process.is_running and not self._stopping.is_set():
            self._is_being_killed = True
            message = f"Container {self.record.name} failed {what}, will be restarted"
            await self._record("Normal", "Killing", message)
            grace = self._pod.pod["spec"].get("terminationGracePeriodSeconds")
            # Not a probe's own task: it is cancelled when the process ends.
            self._kills.spawn(
                self._end_process(process, 30 if grace is None else grace), "unhealthy container"
            )

    async def _end_process(self, process: Process, grace: float) -> None:
        deadline = asyncio.get_running_loop().time() + max(grace, KILL_WAIT)
        pre_stop = (self.spec.get("lifecycle") or {}).get("preStop")
        try:
            async with asyncio.timeout_at(deadline):
                if pre_stop:
                    await self._pre_stop(pre_stop)
                process.signal(self._stop_signal())
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _pre_stop(self, hook: Object) -> None:
        target = Target(self.spec, self._pod.pod_ip, self._execute, self._pod.node.http)
        try:
            await handle_once(hook, target)
        except UnhealthyError as error:
            await self._record("Warning", "FailedPreStopHook", f"PreStopHook failed: {error}")

    def _stop_signal(self) -> int:
        name = str((self.spec.get("lifecycle") or {}).get("stopSignal"))
        return signal.Signals[name] if name in signal.Signals.__members__ else signal.SIGTERM

    async def execute(self, words: list[str], stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        """Run a command beside the container's process; raise StartError if that fails."""
        command, _ = await self._pod.command(self.spec)
        runtime = self._pod.node.runtime
        base = self._pod.log_path(self.record.name, self.runs).with_name(f"exec-{time.monotonic_ns()}")
        streams = [base.with_suffix(suffix) for suffix in (".in", ".out", ".err")]
        streams[0].write_bytes(stdin)
        described = Command(
            words, command.env, command.cwd, command.hostname, command.scratch, command.mounts
        )
        process: Process | None = None
        try:
            process = await runtime.run_captured(described, *streams)
            code = await process.wait()
            return code, streams[1].read_bytes(), streams[2].read_bytes()
        finally:
            if process is not None and process.is_running:
                process.kill()
            await asyncio.to_thread(shutil.rmtree, command.scratch, ignore_errors=True)
            for stream in streams:
                with contextlib.suppress(FileNotFoundError):
                    stream.unlink()

    async def _execute(self, words: list[str]) -> tuple[int, bytes]:
        try:
            code, output, errors = await self.execute(words)
        except StartError as error:
            return 128, str(error).encode()
        return code, output + errors

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

    async def _record(self, type_: EventLevel, reason: str, message: str) -> None:
        await self._pod.record(self.spec, type_, reason, message)

    async def _sleep(self, seconds: float) -> bool:
        """Wait; return True as soon as the container is told to stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()


async def _nothing() -> None:
    pass


def _duration(seconds: float) -> str:
    """Return seconds as Go writes them: ``10s``, ``2m40s``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
