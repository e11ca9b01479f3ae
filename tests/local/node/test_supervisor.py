"""No process outlives its node, however the node ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from dask_k8s_local.api.kinds.services import SERVICE_NETWORK
from dask_k8s_local.node.network.addresses import RANGE, AddressBlock
from dask_k8s_local.node.runtime.client import Runtime, StartError
from dask_k8s_local.node.runtime.command import Command, Mount, without_mounts

AGENT = """
import asyncio, sys
from pathlib import Path
from dask_k8s_local.node.runtime.client import Runtime
from dask_k8s_local.node.runtime.command import Command

async def main():
    runtime = Runtime(namespaces=sys.argv[1] == "True")
    await runtime.start()
    folder = Path(sys.argv[2])
    (folder / "scratch").mkdir()
    script = f"(setsid sleep {sys.argv[3]} &); sleep {sys.argv[3]} & echo up; exec sleep {sys.argv[3]}"
    command = Command(["sh", "-c", script], {"PATH": "/usr/bin:/bin"}, "/", "pod", str(folder / "scratch"))
    await runtime.run(command, folder / "log")
    print("started", flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


def sleepers(seconds: str) -> list[psutil.Process]:
    running = psutil.process_iter(["cmdline"])
    return [process for process in running if process.info["cmdline"] == ["sleep", seconds]]


async def until(holds: Callable[[], bool], limit: float = 10.0) -> None:
    async with asyncio.timeout(limit):
        while not holds():  # noqa: ASYNC110 - the process table tells nobody when it changes
            await asyncio.sleep(0.01)


def command(tmp_path: Path, *argv: str, **fields: object) -> Command:
    (tmp_path / "scratch").mkdir(exist_ok=True)
    env = {"PATH": os.environ["PATH"]}
    return Command(list(argv), env, "/", "pod", str(tmp_path / "scratch"), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("namespaces", [True, False])
@pytest.mark.parametrize("victim", ["agent", "supervisor"])
async def test_nothing_survives_a_killed_parent(tmp_path: Path, namespaces: bool, victim: str) -> None:
    seconds = f"9{os.getpid()}{int(namespaces)}{len(victim)}"
    agent = subprocess.Popen(  # noqa: ASYNC220 - it only forks
        [sys.executable, "-c", AGENT, str(namespaces), str(tmp_path), seconds], stdout=subprocess.PIPE
    )
    try:
        assert agent.stdout is not None
        assert await asyncio.to_thread(agent.stdout.readline) == b"started\n"
        await until(lambda: len(sleepers(seconds)) == 3)
        below = psutil.Process(agent.pid).children(recursive=True)
        supervisors = [
            process for process in below if any("supervisor.py" in word for word in process.cmdline())
        ]
        if victim == "agent":
            agent.send_signal(signal.SIGKILL)
            await until(lambda: not sleepers(seconds))
        else:
            for process in reversed(supervisors):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()  # or it has ended already, with the one below it
            if namespaces:
                await until(lambda: not sleepers(seconds))
            else:
                # Without a PID namespace the kernel ends those whose parent the supervisor was.
                await until(lambda: len(sleepers(seconds)) < 3)
        await until(lambda: not any(process.is_running() for process in supervisors))
    finally:
        agent.kill()
        agent.wait()
        agent.stdout.close()  # type: ignore[union-attr]
        for process in sleepers(seconds):
            process.kill()


@pytest.mark.parametrize("namespaces", [True, False])
async def test_processes_start_end_and_are_signalled(tmp_path: Path, namespaces: bool) -> None:
    others = set(psutil.Process().children())
    runtime = Runtime(namespaces=namespaces)
    await runtime.start()
    try:
        quick = await runtime.run(command(tmp_path, "sh", "-c", "exit 7"), tmp_path / "quick")
        assert await quick.wait() == 7
        slow = await runtime.run(command(tmp_path, "sleep", "1000"), tmp_path / "slow")
        slow.signal(signal.SIGTERM)
        assert await slow.wait() == 143
        killed = await runtime.run(command(tmp_path, "sleep", "1000"), tmp_path / "killed")
        killed.kill()
        assert await killed.wait() == 137
        with pytest.raises(StartError, match='exec: "missing": executable file not found in \\$PATH'):
            await runtime.run(command(tmp_path, "missing"), tmp_path / "missing")
        with pytest.raises(StartError, match='exec: "/missing": stat /missing: no such file or directory'):
            await runtime.run(command(tmp_path, "/missing"), tmp_path / "missing")
        with pytest.raises(StartError, match='exec: "/etc/passwd": permission denied'):
            await runtime.run(command(tmp_path, "/etc/passwd"), tmp_path / "denied")
    finally:
        await runtime.stop()
    assert set(psutil.Process().children()) <= others


async def test_a_process_that_is_running_when_all_stops_counts_as_killed(tmp_path: Path) -> None:
    runtime = Runtime()
    await runtime.start()
    process = await runtime.run(command(tmp_path, "sleep", "1000"), tmp_path / "log")
    await runtime.stop()
    assert await process.wait() == 137
    with pytest.raises(StartError, match="stopping"):
        await runtime.run(command(tmp_path, "true"), tmp_path / "late")


async def test_containers_inherit_no_descriptors(tmp_path: Path) -> None:
    block = AddressBlock()
    runtime = Runtime(keep_open=[block.lock.fileno()])
    await runtime.start()
    try:
        shows = command(tmp_path, "sh", "-c", "ls /proc/$$/fd")
        await (await runtime.run(shows, tmp_path / "log")).wait()
    finally:
        await runtime.stop()
        block.close()
    descriptors = [line.split()[-1] for line in (tmp_path / "log").read_text().splitlines()]
    assert descriptors == ["0", "1", "2"]


async def test_an_address_block_is_taken_while_its_processes_live(tmp_path: Path) -> None:
    block = AddressBlock()
    runtime = Runtime(keep_open=[block.lock.fileno()])
    await runtime.start()
    address = block.node_address
    block.close()
    assert not is_free(address)
    await runtime.stop()
    assert is_free(address)


def is_free(address: str) -> bool:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 10250))
        except OSError:
            return False
    return True


def test_pods_and_services_have_different_addresses() -> None:
    assert not RANGE.overlaps(SERVICE_NETWORK)


def test_addresses_come_back_as_late_as_possible() -> None:
    block = AddressBlock()
    try:
        first = block.allocate()
        block.release(first)
        assert block.allocate() != first
        assert first != block.node_address
    finally:
        block.close()


def test_without_namespaces_paths_in_the_command_are_replaced(tmp_path: Path) -> None:
    mounts = (Mount("/real/a", "/a"), Mount("/real/b", "/a/b/"))
    original = Command(["python", "/a/main.py", "/a/b/x", "/ab"], {}, "/a", "pod", "", mounts)
    replaced = without_mounts(original)
    assert replaced.argv == ["python", "/real/a/main.py", "/real/b/x", "/ab"]
    assert replaced.cwd == "/real/a"
    assert "_POD_PATHS" in replaced.env


async def test_missing_mount_points_appear_for_the_process_alone(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("content")
    targets = ["/run/secrets/deep/here", "/run/secrets/there", "/not-there/a", "/not-there/b/c", str(source)]
    mounts = [Mount(str(source), target) for target in targets]
    runtime = Runtime()
    await runtime.start()
    try:
        names = " ".join(f"{target}/file" for target in targets)
        shown = command(tmp_path, "sh", "-c", f"cat {names}; ls -a / /run", mounts=mounts)
        assert await (await runtime.run(shown, tmp_path / "log")).wait() == 0
    finally:
        await runtime.stop()
    text = (tmp_path / "log").read_text()
    assert text.count("content") == 5 or text.count("content" * 5) == 1
    seen = {line.split()[-1] for line in text.splitlines() if len(line.split()) == 3}
    assert set(os.listdir("/")) | {"not-there"} <= seen | {"proc"}
    assert set(os.listdir("/run")) <= seen
    assert not os.path.exists("/not-there")  # noqa: ASYNC240
    assert os.listdir(tmp_path / "scratch") == []
