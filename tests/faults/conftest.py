"""A cluster without processes, and a hasty controller beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.child import Controller, Orders
from tests.faults.cluster import ScaleCluster


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[ScaleCluster]:
    async with ScaleCluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture
async def controller(cluster: ScaleCluster) -> AsyncIterator[Controller]:
    orders = Orders(str(cluster.kubeconfig), (), cluster.schedulers.url, log=str(cluster.folder / "log"))
    async with Controller(orders) as controller:
        yield controller
