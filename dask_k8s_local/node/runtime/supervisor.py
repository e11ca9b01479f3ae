"""The process that starts, signals and outlives no container: what containerd is to kubelet.

It reads one JSON object a line from its standard input, and writes one a line to its standard output:

- ``{"op": "start", "id", "argv", "env", "cwd", "hostname", "mounts", "scratch", "log"}``, or with ``stdin``,
  ``stdout``, ``stderr`` (paths) for ``log``: answered by ``started`` or ``failed``, later by ``exited``;
- ``{"op": "signal", "id", "signal"}``; ``{"op": "kill", "id"}`` kills all that descend from it, too;
- ``{"op": "follow" | "unfollow", "id"}``: tell with ``grew`` when the log has grown.

When its input ends, because its parent closed it or died, it kills everything that it ever started and ends.
It runs as a script in an interpreter of its own (``-S -E``), single-threaded so that it may fork, and uses
the standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dask_k8s_local.node.runtime import processes, sandbox
else:
    import processes
    import sandbox

ID_VARIABLE = "_CONTAINER_ID"
CHUNK = 1 << 16
LONGEST_LINE = 16 * 1024
LOG_LIMIT = 10 * 1024 * 1024
RETRY_KILL_AFTER = 0.05


class LogWriter:
    """Writes what a container prints, a line as ``{time} {F|P} {line}``: full or partial."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = 0
        self._rest = b""

    def write(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        prefix = _time_now()
        parts = [b"%s F %s\n" % (prefix, line) for line in lines]
        while len(self._rest) > LONGEST_LINE:
            parts.append(b"%s P %s\n" % (prefix, self._rest[:LONGEST_LINE]))
            self._rest = self._rest[LONGEST_LINE:]
        self._append(b"".join(parts))

    def close(self) -> None:
        if self._rest:
            self._append(b"%s P %s\n" % (_time_now(), self._rest))
        os.close(self._file)

    def _append(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > LOG_LIMIT:
            os.close(self._file)
            os.replace(self._path, self._path + ".1")
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._size = len(data)
        while data:
            data = data[os.write(self._file, data) :]


def _time_now() -> bytes:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return time.strftime(f"%Y-%m-%dT%H:%M:%S.{nanoseconds:09d}Z", time.gmtime(seconds)).encode()


class Container:
    """A process that was started, and all that descend from it."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.id: str = request["id"]
        self.tag = f"{ID_VARIABLE}={self.id}".encode()
        self.pid = 0
        self.has_started = False
        self.output = -1
        self.log: LogWriter | None = None
        self.is_followed = False
        self.has_grown = False
        self.exit_code: int | None = None


class Supervisor:
    """One loop over requests, outputs of containers, and children that ended."""

    def __init__(self, no_namespaces: str) -> None:
        self._may_mount = not no_namespaces
        self._no_namespaces = no_namespaces
        self._containers: dict[str, Container] = {}
        self._by_pid: dict[int, Container] = {}
        self._dying: set[str] = set()
        self._selector = selectors.DefaultSelector()
        self._requests = b""
        self._is_ending = False

    def run(self) -> int:
        """Serve until the input ends; return an exit code."""
        child_ended, wakeup = os.pipe()
        for end in (child_ended, wakeup):
            os.set_blocking(end, False)
        os.set_blocking(sys.stdin.fileno(), False)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._selector.register(sys.stdin.fileno(), selectors.EVENT_READ, self._read_requests)
        self._selector.register(child_ended, selectors.EVENT_READ, lambda: self._drain(child_ended))
        self._tell(event="ready", noNamespaces=self._no_namespaces)
        try:
            while not self._is_ending:
                for key, _ in self._selector.select(RETRY_KILL_AFTER if self._dying else None):
                    key.data()
                self._reap()
                self._finish_dying()
                self._tell_growth()
        except BrokenPipeError:
            pass  # The parent is gone.
        finally:
            for pid in self._by_pid:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)  # All that can be done where there is no /proc.
            kill_all_descendants()
        return 0

    def _end(self, *_: object) -> None:
        self._is_ending = True

    def _drain(self, descriptor: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(descriptor, CHUNK):
                pass

    def _tell(self, **message: Any) -> None:
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(sys.stdout.fileno(), data) :]

    # Requests

    def _read_requests(self) -> None:
        try:
            data = os.read(sys.stdin.fileno(), CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._is_ending = True
            return
        *lines, self._requests = (self._requests + data).split(b"\n")
        for line in lines:
            self._serve(json.loads(line))

    def _serve(self, request: dict[str, Any]) -> None:
        if request["op"] == "start":
            self._start(request)
            return
        container = self._containers.get(request["id"])
        if container is None:
            return  # It has ended while the request was on its way.
        match request["op"]:
            case "signal":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(container.pid, request["signal"])
            case "kill":
                self._dying.add(container.id)
            case "follow":
                container.is_followed = True
                container.has_grown = True
            case "unfollow":
                container.is_followed = False

    def _start(self, request: dict[str, Any]) -> None:
        container = Container(request)
        failure_read, failure_write = os.pipe()
        try:
            output_write = -1
            if "log" in request:
                container.log = LogWriter(request["log"])
                container.output, output_write = os.pipe()
                os.set_blocking(container.output, False)
            container.pid = os.fork()
        except OSError as error:
            self._tell(event="failed", id=container.id, errno=error.errno, message=str(error), stage="fork")
            return
        if container.pid == 0:
            os.close(failure_read)
            _become(request, output_write, failure_write, self._may_mount)
        os.close(failure_write)
        self._containers[container.id] = self._by_pid[container.pid] = container
        if container.output >= 0:
            os.close(output_write)
            self._selector.register(
                container.output, selectors.EVENT_READ, lambda: self._read_output(container)
            )
        self._selector.register(
            failure_read, selectors.EVENT_READ, lambda: self._executed_or_failed(container, failure_read)
        )

    def _executed_or_failed(self, container: Container, failure_read: int) -> None:
        # The exec closes the pipe, a failure before it writes there.
        failure = os.read(failure_read, CHUNK)
        self._selector.unregister(failure_read)
        os.close(failure_read)
        if not failure:
            container.has_started = True
            self._tell(event="started", id=container.id, pid=container.pid)
            return
        self._tell(event="failed", id=container.id, **json.loads(failure))
        del self._containers[container.id]
        self._close_output(container)

    # Outputs

    def _read_output(self, container: Container) -> None:
        if container.log is None:
            return  # Closed by what came before in this turn.
        try:
            data = os.read(container.output, CHUNK)
        except BlockingIOError:
            return
        if data:
            container.log.write(data)
            container.has_grown = True
        else:
            self._close_output(container)

    def _close_output(self, container: Container) -> None:
        if container.log is not None:
            self._selector.unregister(container.output)
            os.close(container.output)
            container.log.close()
            container.log = None

    def _tell_growth(self) -> None:
        grown = [c for c in self._containers.values() if c.is_followed and c.has_grown]
        if grown:
            for container in grown:
                container.has_grown = False
            self._tell(event="grew", ids=[container.id for container in grown])

    # Endings

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            container = self._by_pid.pop(pid, None)
            if container is not None and container.id in self._containers:
                container.exit_code = os.waitstatus_to_exitcode(status)
                self._dying.add(container.id)

    def _finish_dying(self) -> None:
        """Kill all of the containers whose process has ended or shall end, and report those that are gone."""
        if not self._dying:
            return
        members = self._members()
        for identifier in list(self._dying):
            container = self._containers.get(identifier)
            if container is None:
                self._dying.discard(identifier)
                continue
            alive = members.get(identifier, [])
            for pid in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if container.has_started and container.exit_code is not None and not alive:
                self._dying.discard(identifier)
                self._report_exit(container, container.exit_code)

    def _report_exit(self, container: Container, exit_code: int) -> None:
        while container.log is not None:
            before = container.has_grown
            container.has_grown = False
            self._read_output(container)
            if not container.has_grown:
                container.has_grown = before
                self._close_output(container)
        del self._containers[container.id]
        self._tell(event="exited", id=container.id, code=exit_code)

    def _members(self) -> dict[str, list[int]]:
        """Return the living processes of each container, orphans included."""
        main = os.getpid()
        owner: dict[int, str] = {}
        members: dict[str, list[int]] = {}
        for process in processes.descendants(main):
            container = self._by_pid.get(process.pid) or self._by_pid.get(process.session)
            if container is not None:
                owner[process.pid] = container.id
            elif process.parent in owner:
                owner[process.pid] = owner[process.parent]
            else:
                owner[process.pid] = self._owner_of_orphan(process)
            members.setdefault(owner[process.pid], []).append(process.pid)
        return members

    def _owner_of_orphan(self, process: processes.Process) -> str:
        for container in self._containers.values():
            if process.session == container.pid or processes.environment_has(process.pid, container.tag):
                return container.id
        return ""


def _become(request: dict[str, Any], output: int, failure: int, may_mount: bool) -> None:
    """Turn the forked child into the container's process; never returns."""
    stage = "prepare"
    try:
        parent = 1 if may_mount else os.getppid()
        os.setsid()
        sandbox.die_with_parent(parent)
        signal.set_wakeup_fd(-1)
        for caught in (
            signal.SIGCHLD,
            signal.SIGTERM,
            signal.SIGINT,
            signal.SIGHUP,
            signal.SIGPIPE,
            signal.SIGXFSZ,
        ):
            signal.signal(caught, signal.SIG_DFL)
        standard_input = os.open(request.get("stdin") or os.devnull, os.O_RDONLY)
        if output < 0:
            output = os.open(request["stdout"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        errors = output
        if request.get("stderr"):
            errors = os.open(request["stderr"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for source, target in ((standard_input, 0), (output, 1), (errors, 2)):
            os.dup2(source, target)
        if may_mount:
            stage = "mount"
            sandbox.enter_container(request["hostname"], request["mounts"], request["scratch"])
        stage = "chdir"
        os.chdir(request["cwd"])
        stage = "exec"
        os.execvpe(request["argv"][0], request["argv"], request["env"] | {ID_VARIABLE: request["id"]})
    except BaseException as error:
        number = error.errno if isinstance(error, OSError) else None
        os.write(failure, json.dumps({"errno": number, "message": str(error), "stage": stage}).encode())
    finally:
        os._exit(127)


def kill_all_descendants() -> None:
    """Kill until nobody is left: who is killed may have forked a moment before."""
    own = os.getpid()
    while True:
        found = processes.descendants(own)
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        try:
            # Those that were found die, and the first of them to do so wakes us.
            if os.waitpid(-1, 0 if found else os.WNOHANG) == (0, 0):
                time.sleep(0.001)
        except ChildProcessError:
            return


def main(no_namespaces: str) -> int:
    sandbox.adopt_orphans()
    return Supervisor(no_namespaces).run()


if __name__ == "__main__":
    for argument in sys.argv:
        if argument.startswith("--keep-open="):
            # For this process, not for those that it starts.
            os.set_inheritable(int(argument.partition("=")[2]), False)
    unwanted = "--no-namespaces" in sys.argv
    sys.exit(main("they are not wanted") if unwanted else sandbox.enter_namespaces(main))
