"""The supervisor's other end: start processes, signal them, learn how they ended."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from dask_k8s_local.node.runtime.command import Command, without_mounts

logger = logging.getLogger(__name__)

SUPERVISOR = Path(__file__).with_name("supervisor.py")
LONGEST_MESSAGE = 1 << 24


class StartError(Exception):
    """A process could not be started; the message is worded as the container runtime words it."""


class Process:
    """A process that was started, and all that descend from it."""

    def __init__(self, identifier: str, program: str, runtime: Runtime) -> None:
        self.id = identifier
        self.program = program
        self.pid = 0
        self._log_followers: set[asyncio.Event] = set()
        self._runtime = runtime
        loop = asyncio.get_running_loop()
        self.started: asyncio.Future[None] = loop.create_future()
        self.exited: asyncio.Future[int] = loop.create_future()

    @property
    def is_running(self) -> bool:
        return self.started.done() and not self.exited.done()

    async def wait(self) -> int:
        """Return the exit code (137 for SIGKILL) when no process of the container is left."""
        return await asyncio.shield(self.exited)

    def signal(self, number: int) -> None:
        """Signal the container's own process."""
        self._runtime.send(op="signal", id=self.id, signal=number)

    def kill(self) -> None:
        """Kill the process and all that descend from it."""
        self._runtime.send(op="kill", id=self.id)

    @contextmanager
    def follow_log(self) -> Iterator[asyncio.Event]:
        """Yield an event that is set whenever the log has grown, and when the process has ended."""
        has_grown = asyncio.Event()
        self._log_followers.add(has_grown)
        self._runtime.send(op="follow", id=self.id)
        try:
            yield has_grown
        finally:
            self._log_followers.discard(has_grown)
            if not self._log_followers:
                self._runtime.send(op="unfollow", id=self.id)

    def log_grew(self) -> None:
        for has_grown in self._log_followers:
            has_grown.set()

    def ended(self, code: int) -> None:
        if not self.exited.done():
            self.exited.set_result(code)
        self.log_grew()


class Runtime:
    """Runs processes below one supervisor process.

    Parameters
    ----------
    namespaces : bool
        Whether to use Linux' namespaces where they can be had.
    keep_open : sequence of int
        Descriptors that the supervisor keeps open for as long as it lives.
    """

    def __init__(self, *, namespaces: bool = True, keep_open: Sequence[int] = ()) -> None:
        self._namespaces = namespaces
        self._keep_open = keep_open
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._processes: dict[str, Process] = {}
        self._numbers = count(1)
        self._is_stopping = False
        self.may_mount = False

    async def start(self) -> None:
        arguments = ["-S", "-E", str(SUPERVISOR), *([] if self._namespaces else ["--no-namespaces"])]
        arguments += [f"--keep-open={descriptor}" for descriptor in self._keep_open]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # A Ctrl-C in the terminal is ours to handle: the containers get their time to end.
            start_new_session=True,
            pass_fds=self._keep_open,
            limit=LONGEST_MESSAGE,
        )
        ready = await self._read_message()
        if ready is None:
            raise RuntimeError("the supervisor of the node's processes ended at once, see its standard error")
        self.may_mount = not ready["noNamespaces"]
        if not self.may_mount:
            logger.info("pods have no namespaces: %s", ready["noNamespaces"])
        self._reader = asyncio.create_task(self._read(), name="runtime")

    async def stop(self) -> None:
        """Kill everything, and return when it is gone."""
        self._is_stopping = True
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        if self._reader is not None:
            await self._reader
        # The pipe's transport too: it would warn later that it wasn't closed.
        with suppress(ConnectionError):
            await self._process.stdin.wait_closed()
        self._process = None

    async def run(self, command: Command, log: Path) -> Process:
        """Start a process that writes its output to a log; raise StartError if that fails."""
        return await self._start(command, log=str(log))

    async def run_captured(self, command: Command, stdin: Path, stdout: Path, stderr: Path) -> Process:
        """Start a process with its standard streams in files; raise StartError if that fails."""
        return await self._start(command, stdin=str(stdin), stdout=str(stdout), stderr=str(stderr))

    async def _start(self, command: Command, **streams: str) -> Process:
        if self._is_stopping:
            raise StartError("the node is stopping")
        if not self.may_mount:
            command = without_mounts(command)
        process = Process(f"{os.getpid()}-{id(self):x}-{next(self._numbers)}", command.argv[0], self)
        self._processes[process.id] = process
        mounts = [
            {"source": m.source, "target": m.target, "readOnly": "true" if m.read_only else ""}
            for m in command.mounts
        ]
        self.send(
            op="start",
            id=process.id,
            **(asdict(command) | {"mounts": mounts, "env": dict(command.env)}),
            **streams,
        )
        await process.started
        return process

    def send(self, **message: Any) -> None:
        if self._process is None or self._process.stdin is None or self._process.stdin.is_closing():
            return
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _read_message(self) -> dict[str, Any] | None:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        return json.loads(line) if line else None

    async def _read(self) -> None:
        while (message := await self._read_message()) is not None:
            match message["event"]:
                case "started":
                    process = self._processes[message["id"]]
                    process.pid = message["pid"]
                    _resolve(process.started)
                case "failed":
                    process = self._processes.pop(message["id"])
                    if not process.started.done():
                        process.started.set_exception(_start_error(process.program, message))
                case "exited":
                    process = self._processes.pop(message["id"])
                    process.ended(exit_code(message["code"]))
                case "grew":
                    for identifier in message["ids"]:
                        if identifier in self._processes:
                            self._processes[identifier].log_grew()
        if not self._is_stopping:
            self._is_stopping = True
            logger.error("the supervisor of the node's processes ended by itself: all of them are gone")
        self._all_are_gone()

    def _all_are_gone(self) -> None:
        for process in self._processes.values():
            if not process.started.done():
                process.started.set_exception(StartError("the node is stopping"))
            process.ended(128 + signal.SIGKILL)
        self._processes.clear()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def exit_code(returned: int) -> int:
    """Return what a container runtime reports: 128 plus the signal's number for a process that was killed."""
    return returned if returned >= 0 else 128 - returned


def _start_error(program: str, failure: Mapping[str, Any]) -> StartError:
    """Return the container runtime's words for a process that could not be started."""
    stage, number = failure["stage"], failure["errno"]
    if stage == "mount":
        return StartError(f"failed to create containerd task: failed to mount: {failure['message']}")
    if stage == "exec" and number == errno.ENOENT and "/" not in program:
        problem = f'exec: "{program}": executable file not found in $PATH'
    elif stage == "exec" and number == errno.ENOENT:
        problem = f'exec: "{program}": stat {program}: no such file or directory'
    elif stage == "exec" and number == errno.EACCES:
        problem = f'exec: "{program}": permission denied'
    else:
        problem = failure["message"]
    return StartError(
        "failed to create containerd task: failed to create shim task: OCI runtime create failed: "
        f"runc create failed: unable to start container process: {problem}"
    )
