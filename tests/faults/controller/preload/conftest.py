"""A real scheduler with the controller's routes in it, with real workers, and the client that asks it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import dask.config
import pytest
from distributed import Scheduler, Worker

from dask_k8s_controller.cluster import children
from dask_k8s_controller.kubernetes.api import Api
from dask_k8s_controller.kubernetes.connection import Connection
from dask_k8s_controller.scheduler.client import SchedulerClient
from dask_k8s_controller.scheduler.endpoint import Endpoint

CONFIG = {"distributed.scheduler.work-stealing": True}


@pytest.fixture
def preload_source() -> str:
    return children.preload_source()


@pytest.fixture(params=["/", "/user/me"])
async def scheduler(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, preload_source: str
) -> AsyncIterator[Scheduler]:
    monkeypatch.setenv(children.PRELOAD_SOURCE, preload_source)
    options: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "dashboard_address": "127.0.0.1:0"}
    with dask.config.set(CONFIG):
        async with Scheduler(http_prefix=request.param, preload=[children.PRELOAD], **options) as scheduler:
            scheduler.prefix = request.param.rstrip("/")
            yield scheduler


@pytest.fixture
async def workers(scheduler: Scheduler) -> AsyncIterator[list[Worker]]:
    options: dict[str, Any] = {"nthreads": 1, "host": "127.0.0.1", "dashboard": False}
    async with (
        Worker(scheduler.address, name="one", **options) as one,
        Worker(scheduler.address, name="two", **options) as two,
    ):
        yield [one, two]


@pytest.fixture
async def client(scheduler: Scheduler) -> AsyncIterator[SchedulerClient]:
    async def log_in() -> Connection:
        return Connection("http://nowhere", aiohttp.ClientSession(), False, "default")

    class Here(SchedulerClient):
        @asynccontextmanager
        async def _way_to(self, endpoint: Endpoint) -> AsyncIterator[tuple[Callable[..., Any], str]]:
            base = f"http://127.0.0.1:{scheduler.http_server.port}{scheduler.prefix}"
            yield self._anonymous_session().request, base

    api = Api(log_in)
    client = Here(api)
    yield client
    await client.close()
    await api.close()
