"""The controller's routes inside a real scheduler, with real workers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import dask.config
import pytest
from distributed import Client, Event, Scheduler, Worker

from dask_k8s_controller.cluster import children
from dask_k8s_controller.scheduler.answers import Demand
from dask_k8s_controller.scheduler.client import SchedulerClient
from tests.faults.controller.preload.asking import ENDPOINT, until


async def test_workers_are_told_as_they_are_now(client: SchedulerClient, workers: list[Worker]) -> None:
    told = {worker.address: worker for worker in await client.workers(ENDPOINT)}
    assert told.keys() == {worker.address for worker in workers}
    assert {worker.name for worker in told.values()} == {"one", "two"}
    assert all(worker.can_drain and not worker.is_draining for worker in told.values())


async def test_a_drained_worker_gets_no_more_tasks_and_finishes_those_it_has(
    scheduler: Scheduler, client: SchedulerClient, workers: list[Worker]
) -> None:
    one, two = workers
    async with Client(scheduler.address, asynchronous=True) as dask:
        gate = Event("gate", client=dask)
        running = dask.submit(lambda: Event("gate").wait() and "done", workers=[one.address], pure=False)
        await until(lambda: bool(scheduler.workers[one.address].processing))
        assert await client.drain(ENDPOINT, [one.address]) == {one.address: 1}

        more = dask.map(lambda number: number, range(20), pure=False)
        await asyncio.wait_for(dask.gather(more), 10)  # type: ignore[arg-type]
        assert {worker for who in (await dask.who_has(more)).values() for worker in who} == {two.address}

        await gate.set()
        assert await running == "done"
        assert await client.drain(ENDPOINT, [one.address]) == {one.address: 0}
        (told,) = [worker for worker in await client.workers(ENDPOINT) if worker.address == one.address]
        assert (told.is_draining, told.executing, told.keys) == (True, 0, 1)


async def test_a_drained_worker_is_retired_with_its_results_moved(
    scheduler: Scheduler, client: SchedulerClient, workers: list[Worker]
) -> None:
    one, two = workers
    async with Client(scheduler.address, asynchronous=True) as dask:
        held = dask.map(lambda number: number, range(5), workers=[one.address], pure=False)
        await asyncio.wait_for(dask.gather(held), 10)  # type: ignore[arg-type]
        await client.drain(ENDPOINT, [one.address])
        assert await client.retire(ENDPOINT, [one.address]) == {one.address}
        assert set(scheduler.workers) == {two.address}
        assert await dask.gather(held) == list(range(5))


async def test_a_worker_that_is_resumed_gets_tasks_again(
    scheduler: Scheduler, client: SchedulerClient, workers: list[Worker]
) -> None:
    one, _ = workers
    await client.drain(ENDPOINT, [one.address])
    assert scheduler.workers[one.address] not in scheduler.running
    await client.resume(ENDPOINT, [one.address])
    assert scheduler.workers[one.address] in scheduler.running
    assert not any(worker.is_draining for worker in await client.workers(ENDPOINT))
    async with Client(scheduler.address, asynchronous=True) as dask:
        assert await dask.submit(lambda: 1, workers=[one.address], pure=False) == 1


async def test_a_worker_that_nobody_knows_is_left_out(client: SchedulerClient, workers: list[Worker]) -> None:
    assert await client.drain(ENDPOINT, ["tcp://127.0.0.1:1"]) == {}
    await client.resume(ENDPOINT, ["tcp://127.0.0.1:1"])


async def test_demand_tells_what_tasks_need(
    scheduler: Scheduler, client: SchedulerClient, workers: list[Worker]
) -> None:
    async with Client(scheduler.address, asynchronous=True) as dask:
        assert await client.demand(ENDPOINT) == Demand(scheduler.adaptive_target(), (), load=0)
        tasks = [
            *dask.map(lambda number: number, range(3), resources={"GPU": 1}, pure=False),
            dask.submit(lambda: 1, workers=["tcp://10.9.9.9:1"], pure=False),
        ]
        await until(lambda: len(scheduler.unrunnable) == len(tasks))
        demand = await client.demand(ENDPOINT)
        assert demand.workers == 0
        assert demand.needs is not None
        by_kind = {(str(need), need.is_pinned): need for need in demand.needs}
        assert by_kind.keys() == {("GPU=1", False), ("nothing", True)}
        assert (by_kind["GPU=1", False].waiting, by_kind["GPU=1", False].slots) == (3, 1)


async def test_workers_tell_how_much_they_can_hold_and_what_they_alone_may(
    scheduler: Scheduler, client: SchedulerClient, workers: list[Worker]
) -> None:
    one, two = workers
    async with Client(scheduler.address, asynchronous=True) as dask:
        anywhere = dask.map(lambda number: number, range(4), pure=False)
        bound = dask.map(lambda number: number, range(3), workers=[one.address], pure=False)
        preferred = dask.submit(
            lambda: 1, workers=[two.address], allow_other_workers=True, key="preferred", pure=False
        )
        await asyncio.wait_for(dask.gather([*anywhere, *bound, preferred]), 10)  # type: ignore[arg-type]
        told = {worker.address: worker for worker in await client.workers(ENDPOINT)}
    assert {address: worker.bound for address, worker in told.items()} == {one.address: 3, two.address: 0}
    assert {address: worker.memory_limit for address, worker in told.items()} == {
        worker.address: worker.memory_manager.memory_limit for worker in workers
    }


async def test_what_tasks_could_use_is_told_apart_from_what_holds_results(
    scheduler: Scheduler, client: SchedulerClient, workers: list[Worker]
) -> None:
    async with Client(scheduler.address, asynchronous=True) as dask:
        held = dask.map(lambda number: number, range(4), pure=False)
        await asyncio.wait_for(dask.gather(held), 10)  # type: ignore[arg-type]
        demand = await client.demand(ENDPOINT)
        assert (demand.workers, demand.for_tasks) == (1, 0)


@pytest.mark.parametrize("some_have_needs", [False, True])
async def test_the_more_time_all_may_take_the_fewer_workers_are_asked_for(
    scheduler: Scheduler, client: SchedulerClient, some_have_needs: bool
) -> None:
    """Whether distributed says how many, or the preload, as there are tasks with needs."""

    def work(number: int) -> int:
        return number

    expected = {"distributed.scheduler.default-task-durations": {"work": "1s"}}
    with dask.config.set(expected):
        async with Client(scheduler.address, asynchronous=True) as user:
            waiting = user.map(work, range(100), pure=False)
            if some_have_needs:
                waiting += user.map(work, range(3), resources={"GPU": 1}, key="needy", pure=False)
            await until(lambda: len(scheduler.queued) + len(scheduler.unrunnable) == len(waiting))
            asked = {}
            for duration in ("5s", "50s"):
                with dask.config.set({"distributed.adaptive.target-duration": duration}):
                    demand = await client.demand(ENDPOINT)
                assert bool(demand.needs) == some_have_needs
                assert demand.for_tasks == demand.workers
                asked[duration] = demand.workers
    assert asked == {"5s": 20, "50s": 2}


async def test_an_answer_about_demand_is_bounded_whatever_waits(
    scheduler: Scheduler, client: SchedulerClient
) -> None:
    async with Client(scheduler.address, asynchronous=True) as dask:
        kept = [
            dask.map(lambda number: number, range(20), resources={f"R{kind}": 1}, pure=False)
            for kind in range(40)
        ]
        await until(lambda: len(scheduler.unrunnable) == 800)
        demand = await client.demand(ENDPOINT)
    assert len(kept) == 40
    assert demand.needs is not None
    assert len(demand.needs) == 20


async def test_preloads_of_configuration_files_are_loaded_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "users_preload.py").write_text(
        "async def dask_setup(server):\n    server.users_mark = True\n"
    )
    written = f"distributed:\n  scheduler:\n    preload: ['{tmp_path}/users_preload.py']\n"
    (tmp_path / "config.yaml").write_text(written)
    monkeypatch.setattr(dask.config, "paths", [str(tmp_path)])
    monkeypatch.setenv(children.PRELOAD_SOURCE, children.preload_source())
    async with Scheduler(
        host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0", preload=[children.PRELOAD]
    ) as scheduler:
        assert scheduler.users_mark


async def test_the_routes_of_its_configuration_are_kept_and_those_by_which_workers_are_retired_added(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "users_routes.py").write_text(
        "from distributed.http.utils import RequestHandler\n\n"
        "class Mine(RequestHandler):\n    def get(self):\n        self.write('mine')\n\n"
        "routes = [('/mine', Mine, {})]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv(children.PRELOAD_SOURCE, children.preload_source())
    options: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "dashboard_address": "127.0.0.1:0"}
    with dask.config.set({"distributed.scheduler.http.routes": ["users_routes"]}):
        async with (
            Scheduler(preload=[children.PRELOAD], **options) as scheduler,
            aiohttp.ClientSession(f"http://127.0.0.1:{scheduler.http_server.port}") as session,
        ):
            async with session.get("/mine") as answer:
                assert await answer.text() == "mine"
            async with session.post("/api/v1/retire_workers", json={"workers": []}) as answer:
                assert await answer.json() == {}
