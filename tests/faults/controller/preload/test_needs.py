"""What tasks need, told by a real scheduler with real workers to the planners of autoscalers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import aiohttp
import dask.config
import pytest
from distributed import Client, Event, Scheduler, Worker
from distributed.core import Status

from dask_k8s_controller.autoscaler.needs import Group, shares, unsatisfiable
from dask_k8s_controller.scheduler import preload
from dask_k8s_controller.scheduler.answers import Demand, Need
from dask_k8s_controller.scheduler.parsing import DEMAND, parse_workers, read
from dask_k8s_controller.worker_group.children import worker_pod, worker_template
from tests.faults.controller.preload.asking import until
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


@pytest.mark.parametrize("amount", [Fraction(5), Decimal(5), True, float("nan")])
async def test_an_odd_amount_hides_no_other_task(scheduler: Scheduler, client: Client, amount: Any) -> None:
    """JSON doesn't know it, as NumPy's that ``df.memory_usage().sum()`` gives."""
    tasks = [client.submit(abs, -1, resources={name: 1}, pure=False) for name in ("GPU", "DISK")]
    tasks.append(client.submit(abs, -1, resources={"MEMORY": amount}, pure=False))
    await until(lambda: len(scheduler.unrunnable) == len(tasks))
    needs = read(DEMAND, await ask(scheduler, "demand")).needs or ()
    assert {name for need in needs for name in need.resources} == {"GPU", "DISK", "MEMORY"}
    (odd,) = (need for need in needs if "MEMORY" in need.resources)
    assert odd.resources["MEMORY"] == (math.inf if amount != amount else float(amount))


async def test_odd_amounts_of_a_worker_are_told_as_numbers(scheduler: Scheduler) -> None:
    async with worker_of(scheduler, resources={"MEMORY": Fraction(5), "GPU": True}):
        (worker,) = parse_workers(await ask(scheduler, "workers"))
    assert worker.resources == {"MEMORY": 5, "GPU": 1}


async def test_workers_tell_how_many_tasks_they_run_at_a_time(scheduler: Scheduler) -> None:
    async with worker_of(scheduler, nthreads=3):
        (worker,) = parse_workers(await ask(scheduler, "workers"))
    assert worker.threads == 3


def test_of_what_an_earlier_release_tells_only_what_is_odd_is_left_out() -> None:
    needs = [
        {"resources": {"GPU": amount}, "pinned": False, "waiting": 1, "running": 0, "slots": 1}
        for amount in (True, "1", 2)
    ]
    demand = read(DEMAND, {"workers": 1, "load": 1, "needs": needs})
    assert [need.resources for need in demand.needs or ()] == [{"GPU": 2}]
    workers = {"tcp://10.0.0.1:1": {"processing": 0, "resources": {"GPU": True, "DISK": 3}}}
    assert [worker.resources for worker in parse_workers({"workers": workers})] == [{"DISK": 3}]


def own(needs: Iterable[Need], *groups: Group) -> dict[str, int]:
    return {name: share.own for name, share in shares(Demand(0, tuple(needs), 0), groups).items()}


BIG, GPU = Group("big", {"MEMORY": 64e9}), Group("gpu", {"GPU": 1})


async def test_little_work_of_many_amounts_is_one_workers(scheduler: Scheduler, client: Client) -> None:
    tasks = [client.submit(abs, -1, resources={"MEMORY": 1e9 * n}, pure=False) for n in range(1, 21)]
    await until(lambda: len(scheduler.unrunnable) == len(tasks))
    needs = read(DEMAND, await ask(scheduler, "demand")).needs or ()
    assert len(needs) == 20
    assert own(needs, Group("default"), BIG) == {"default": 0, "big": 1}


async def test_of_more_amounts_than_can_be_told_none_hides_what_else_is_needed(
    scheduler: Scheduler, client: Client
) -> None:
    tasks = [client.submit(abs, -1, resources={"MEMORY": 1e8 * n}, pure=False) for n in range(1, 301)]
    tasks += client.map(abs, range(2), resources={"GPU": 1}, pure=False)
    tasks += client.map(abs, range(3), resources={"MEMORY": float("inf")}, pure=False)
    await until(lambda: len(scheduler.unrunnable) == len(tasks))
    needs = read(DEMAND, await ask(scheduler, "demand")).needs or ()
    assert len(needs) <= 20
    assert own(needs, Group("default"), BIG, GPU) == {"default": 0, "big": 1, "gpu": 1}
    assert max(amount for need in needs for amount in need.resources.values() if amount < math.inf) == 3e10
    (impossible,) = unsatisfiable(Demand(0, needs, 0), (BIG, GPU))
    assert impossible.waiting == 3
    told = unsatisfiable(Demand(0, needs, 0), (GPU,))
    assert sum(need.waiting for need in told) == 303


async def test_tasks_for_a_worker_that_pauses_are_not_told_as_impossible(
    scheduler: Scheduler, client: Client
) -> None:
    async with worker_of(scheduler, memory_limit=0) as worker:
        worker.status = Status.paused
        await until(lambda: scheduler.workers[worker.address].status is Status.paused)
        pinned = client.map(abs, range(3), workers=["one"], pure=False)
        pinned += client.map(abs, range(2), workers=[worker.address], pure=False)
        lost = client.submit(abs, -1, workers=["tcp://10.9.9.9:1"], pure=False)
        await until(lambda: len(scheduler.unrunnable) == 6)
        needs = read(DEMAND, await ask(scheduler, "demand")).needs or ()
        assert [(need.waiting, need.running) for need in needs] == [(1, 5)]
        assert unsatisfiable(Demand(0, needs, 0), (Group("default"),)) == needs
        worker.status = Status.running
        await asyncio.wait_for(client.gather(pinned), 10)
        assert not lost.done()


async def told(scheduler: Scheduler) -> tuple[Need, ...]:
    return read(DEMAND, await ask(scheduler, "demand")).needs or ()


def wait_for_gate(number: int) -> int:
    return number if Event("gate").wait() else -1


async def test_a_worker_is_started_ahead_of_tasks_that_wait_for_what_runs(
    scheduler: Scheduler, client: Client
) -> None:
    async with worker_of(scheduler):
        loaded = client.map(wait_for_gate, range(4), pure=False)
        inferred = client.map(abs, loaded, resources={"GPU": 1}, pure=False)
        later = client.map(abs, inferred, resources={"MEMORY": 1}, pure=False)
        await until(lambda: len(scheduler.tasks) == 12)
        (gpus,) = needs = await told(scheduler)
        assert (str(gpus), gpus.waiting, gpus.running, gpus.coming) == ("GPU=1", 0, 0, 4)
        assert own(needs, Group("default"), GPU, BIG) == {"default": 0, "gpu": 1, "big": 0}
        assert unsatisfiable(Demand(0, needs, 0), (Group("default"),)) == ()
        await Event("gate", client=client).set()
        await until(lambda: len(scheduler.unrunnable) == 4)
        (gpus,) = await told(scheduler)  # Perhaps they wait for ever, and what follows with them.
        assert (str(gpus), gpus.waiting, gpus.coming) == ("GPU=1", 4, 0)
        assert len(later) == 4


async def test_none_is_started_long_before_there_is_anything_for_it(
    scheduler: Scheduler, client: Client
) -> None:
    """What the task waits for takes the only thread minutes."""
    async with worker_of(scheduler):
        loaded = client.map(wait_for_gate, range(150), pure=False)
        reduced = client.submit(sum, loaded, resources={"GPU": 1}, pure=False)
        await until(lambda: len(scheduler.tasks) == 151)
        assert await told(scheduler) == ()
        await Event("gate", client=client).set()
        await until(lambda: len(scheduler.unrunnable) == 1)
        assert not reduced.done()
