"""One run of a container: its process, the probes that watch it, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from dask_k8s_local.interfaces import Object
from dask_k8s_local.node.background import Background
from dask_k8s_local.node.events import EventLevel
from dask_k8s_local.node.pods.context import NodeContext
from dask_k8s_local.node.pods.environment import Environment
from dask_k8s_local.node.pods.probes import Target, UnhealthyError, handle_once, watch_probe
from dask_k8s_local.node.pods.status import ContainerRecord
from dask_k8s_local.node.runtime.client import Process, StartError
from dask_k8s_local.node.runtime.command import Command

SHORTEST_GRACE = 2.0
"""Seconds that a container has to end at the least, as kubelet grants them."""
DEFAULT_GRACE = 30.0


class PodOfContainer(Protocol):
    """What a container needs of its pod."""

    node: NodeContext

    @property
    def pod(self) -> Object: ...

    @property
    def pod_ip(self) -> str: ...

    async def command(self, container: Object) -> tuple[Command, Environment]:
        """Return how a container's processes are started, without their command lines; raise ConfigError."""
        ...

    def log_path(self, container: str, run: int) -> Path: ...

    def changed(self) -> None: ...

    async def record(
        self, container: Object | None, type_: EventLevel, reason: str, message: str
    ) -> None: ...


class ContainerRun:
    """A process of a container, from its start to its end.

    Parameters
    ----------
    record : ContainerRecord
        Says whether the container has started and is ready; kept up to date here.
    started : asyncio.Event
        Set while the container counts as started.
    """

    def __init__(
        self, record: ContainerRecord, pod: PodOfContainer, process: Process, started: asyncio.Event
    ) -> None:
        self.process = process
        self._record = record
        self._pod = pod
        self._started = started
        self._watching = Background()
        self._killing = Background()
        self._is_ending = False
        self._target = Target(record.spec, pod.pod_ip, self._execute, pod.node.http)

    async def until_exit(self) -> int:
        """Watch the process until it ends; return its exit code."""
        try:
            hook = self._lifecycle.get("postStart")
            if hook:
                self._watching.spawn(self._post_start(hook), f"{self._record.name}: postStart")
            else:
                self._watch_startup()
            return await self.process.wait()
        finally:
            await self._watching.stop()
            await self._killing.stop()
            self._started.clear()
            self._record.is_ready = self._record.is_started = False

    async def stop(self, grace: float, message: str) -> None:
        """End the process: preStop, SIGTERM, and SIGKILL when its time is over."""
        if not self.process.is_running:
            return
        if not self._is_ending:
            self._is_ending = True
            await self._tell("Normal", "Killing", message)
        deadline = asyncio.get_running_loop().time() + max(grace, SHORTEST_GRACE)
        try:
            async with asyncio.timeout_at(deadline):
                if "preStop" in self._lifecycle:
                    await self._pre_stop(self._lifecycle["preStop"])
                self.process.signal(self._stop_signal())
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()

    @property
    def _lifecycle(self) -> Object:
        return self._record.spec.get("lifecycle") or {}

    def _stop_signal(self) -> int:
        name = str(self._lifecycle.get("stopSignal"))
        return signal.Signals[name] if name in signal.Signals.__members__ else signal.SIGTERM

    # Hooks

    async def _post_start(self, hook: Object) -> None:
        try:
            await handle_once(hook, self._target)
        except UnhealthyError as error:
            await self._tell("Warning", "FailedPostStartHook", f"PostStartHook failed: {error}")
            self._kill("FailedPostStartHook", {})
        else:
            self._watch_startup()

    async def _pre_stop(self, hook: Object) -> None:
        try:
            await handle_once(hook, self._target)
        except UnhealthyError as error:
            await self._tell("Warning", "FailedPreStopHook", f"PreStopHook failed: {error}")

    # Probes

    def _watch_startup(self) -> None:
        probe = self._record.spec.get("startupProbe")
        if probe:
            self._watch("Startup", probe, passed=self._has_started, failed=self._killer("startup", probe))
        else:
            self._has_started()

    def _has_started(self) -> None:
        spec = self._record.spec
        self._record.is_started = True
        self._started.set()
        liveness, readiness = spec.get("livenessProbe"), spec.get("readinessProbe")
        if liveness:
            self._watch("Liveness", liveness, failed=self._killer("liveness", liveness))
        if readiness:
            self._watch(
                "Readiness",
                readiness,
                passed=lambda: self._become_ready(True),
                failed=lambda: self._become_ready(False),
            )
        self._record.is_ready = not readiness
        self._pod.changed()

    def _become_ready(self, is_ready: bool) -> None:
        if self._record.is_ready != is_ready:
            self._record.is_ready = is_ready
            self._pod.changed()

    def _watch(
        self,
        word: str,
        probe: Object,
        *,
        passed: Callable[[], None] = lambda: None,
        failed: Callable[[], None],
    ) -> None:
        async def report(message: str) -> None:
            await self._tell("Warning", "Unhealthy", f"{word} probe failed: {message}")

        scale = self._pod.node.settings.probe_scale
        once = word == "Startup"
        watching = watch_probe(
            probe, self._target, scale, passed=passed, failed=failed, report=report, once=once
        )
        self._watching.spawn(watching, f"{self._record.name}: {word.lower()} probe")

    def _killer(self, word: str, probe: Object) -> Callable[[], None]:
        message = f"Container {self._record.name} failed {word} probe, will be restarted"
        return lambda: self._kill(message, probe)

    def _kill(self, message: str, probe: Object) -> None:
        if not self._is_ending:
            grace = probe.get("terminationGracePeriodSeconds")
            if grace is None:
                grace = self._pod.pod["spec"].get("terminationGracePeriodSeconds")
            stopping = self.stop(DEFAULT_GRACE if grace is None else grace, message)
            # Not among those that watch: the process ends them when it ends.
            self._killing.spawn(stopping, f"{self._record.name}: unhealthy")

    # Commands

    async def _execute(self, words: list[str]) -> tuple[int, bytes]:
        try:
            code, output, errors = await execute(self._pod, self._record.spec, words)
        except StartError as error:
            return 128, str(error).encode()
        return code, output + errors

    async def _tell(self, type_: EventLevel, reason: str, message: str) -> None:
        await self._pod.record(self._record.spec, type_, reason, message)


async def execute(
    pod: PodOfContainer, container: Object, words: list[str], stdin: bytes = b""
) -> tuple[int, bytes, bytes]:
    """Run a command beside a container's process: exit code, stdout, stderr.

    Raises
    ------
    StartError
        If it can't be started.
    ConfigError
        If the container's variables can't be had any more.
    """
    command, _ = await pod.command(container)
    base = pod.log_path(container["name"], 0).with_name(f"exec-{time.monotonic_ns()}")
    streams = [base.with_suffix(suffix) for suffix in (".in", ".out", ".err")]
    streams[0].write_bytes(stdin)
    process: Process | None = None
    try:
        process = await pod.node.runtime.run_captured(replace(command, argv=words), *streams)
        code = await process.wait()
        return code, streams[1].read_bytes(), streams[2].read_bytes()
    finally:
        if process is not None and process.is_running:
            process.kill()
        for stream in streams:
            with contextlib.suppress(FileNotFoundError):
                stream.unlink()
