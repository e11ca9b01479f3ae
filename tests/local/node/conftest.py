"""A local Kubernetes for each test; nothing of it may be left afterwards."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from tests.local.node.kit import Cluster


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """An API server and a scheduler without nodes."""
    own = psutil.Process()
    before = {task for task in asyncio.all_tasks() if not task.done()}
    descriptors = own.num_fds()
    processes = set(own.children(recursive=True))
    async with Cluster(tmp_path) as made:
        yield made
    assert set(own.children(recursive=True)) <= processes, "processes are left"
    left = {task for task in asyncio.all_tasks() if not task.done()} - {*before, asyncio.current_task()}
    assert not left, "tasks are left"
    assert os.listdir(tmp_path) == [], "files are left"
    assert own.num_fds() <= descriptors, "descriptors are left"
