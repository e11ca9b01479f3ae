"""A local Kubernetes for each test; nothing of it may be left afterwards."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.local.node.kit import Cluster


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """An API server and a scheduler without nodes."""
    own = psutil.Process()
    before = {task for task in asyncio.all_tasks() if not task.done()}
    processes = set(own.children(recursive=True))
    async with Cluster(tmp_path) as made:
        yield made
    assert set(own.children(recursive=True)) <= processes, "processes are left"
    left = {task for task in asyncio.all_tasks() if not task.done()} - {*before, asyncio.current_task()}
    assert not left, "tasks are left"
    assert os.listdir(tmp_path) == [], "files are left"
    # Other fixtures' servers may live in this process: only what is this cluster's own is looked for.
    assert not [target for target in open_descriptors() if target.startswith(str(tmp_path))], (
        "open files are left"
    )
    port = urlsplit(made.server.url).port
    assert not [
        connection
        for connection in own.net_connections()
        if port in {address.port for address in (connection.laddr, connection.raddr) if address}
    ], "connections are left"


def open_descriptors() -> Iterator[str]:
    """What this process's descriptors are of; removed files too."""
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # It is that of the folder itself, or of another thread.
            yield os.readlink(link)
