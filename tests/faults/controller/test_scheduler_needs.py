"""What tasks need, told by a real scheduler with real workers to the planners of autoscalers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import dask.config
import pytest
from distributed import Client, Scheduler, Worker

from dask_k8s_controller.scheduler import preload
from dask_k8s_controller.worker_group.children import worker_pod, worker_template
from tests.unit.controller.builders import group, pod_spec

ADDRESS = "tcp://c-scheduler.default.svc:8786"


@pytest.fixture
async def scheduler() -> AsyncIterator[Scheduler]:
    async with Scheduler(host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0") as scheduler:
        await preload.dask_setup(scheduler)
        yield scheduler


@pytest.fixture
async def client(scheduler: Scheduler) -> AsyncIterator[Client]:
    async with Client(scheduler.address, asynchronous=True) as client:
        yield client


def worker_of(scheduler: Scheduler, name: str = "one", **options: Any) -> Worker:
    return Worker(
        scheduler.address, **{"name": name, "nthreads": 1, "host": "127.0.0.1", "dashboard": False, **options}
    )


async def ask(scheduler: Scheduler, route: str) -> Any:
    url = f"http://127.0.0.1:{scheduler.http_server.port}/dask-k8s/v1/{route}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200
        return await answer.json()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - a scheduler has no events to wait for
            await asyncio.sleep(0.01)


async def test_a_worker_offers_what_its_group_is_known_for(scheduler: Scheduler, client: Client) -> None:
    """A plain ``dask worker`` whose container has a GPU runs the task that the group has started for."""
    spec = pod_spec("worker")
    spec["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": 1}}
    gpus = group(spec=spec)
    pod = worker_pod(worker_template(gpus, ADDRESS), "w")
    env = {one["name"]: one["value"] for one in pod["spec"]["containers"][0]["env"]}
    resources = dask.config.get("distributed.worker.resources", {}, config=dask.config.collect_env(env))
    with dask.config.set({"distributed.worker.resources": resources}):
        async with worker_of(scheduler) as worker:
            assert scheduler.workers[worker.address].resources == gpus.resources == {"GPU": 1}
            task = client.submit(lambda: "done", resources={"GPU": 1})
            assert await asyncio.wait_for(task, 10) == "done"  # type: ignore[arg-type]
