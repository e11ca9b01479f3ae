"""Workers that leave by their hook: their tasks, their results, and who takes these over."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from distributed import Client, Event, Future, Scheduler, Worker

from dask_k8s_controller.cluster import children
from dask_k8s_controller.scheduler.client import SchedulerClient
from dask_k8s_controller.worker_group.leave import ROUTE, SCRIPT
from tests.faults.controller.preload.asking import ENDPOINT, until


async def leave(scheduler: Scheduler, pod: str, seconds: float, ip: str = "") -> int:
    """Ask as the hook of a worker's pod does."""
    url = f"http://127.0.0.1:{scheduler.http_server.port}/dask-k8s/v1/leave"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json={"pod": pod, "ip": ip, "seconds": seconds}) as answer,
    ):
        return answer.status


def run_again(scheduler: Scheduler) -> set[Any]:
    """Return the tasks that were taken from a worker which had them, or whose results were lost."""
    ends = [(str(key), start, end) for key, start, end, *_ in scheduler.transition_log]
    return {
        key
        for key, start, end in ends
        if (start == "processing" and end != "memory") or (start, end) == ("memory", "released")
    }


async def results_of(dask: Client, number: int, *workers: Worker) -> list[Future]:
    """Have so many results computed, by these workers if there are any; return when they are in memory."""
    only = [worker.address for worker in workers] or None
    held = dask.map(lambda number: number, range(number), workers=only, pure=False)
    await asyncio.wait_for(dask.gather(held), 10)  # type: ignore[arg-type]
    return held


def slow(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


OPTIONS: dict[str, Any] = {"nthreads": 1, "host": "127.0.0.1", "dashboard": False}


class TestAWorkerThatLeaves:
    async def test_finishes_its_tasks_and_hands_its_results_over(
        self, scheduler: Scheduler, workers: list[Worker]
    ) -> None:
        one, two = workers
        async with Client(scheduler.address, asynchronous=True) as dask:
            held = await results_of(dask, 5, one)
            gate = Event("gate", client=dask)
            running = dask.submit(lambda: Event("gate").wait() and "done", workers=[one.address], pure=False)
            await until(lambda: bool(scheduler.workers[one.address].processing))
            left = asyncio.create_task(leave(scheduler, "one", 60))
            await until(lambda: scheduler.workers[one.address] not in scheduler.running)
            assert not left.done()
            await gate.set()
            assert await asyncio.wait_for(left, 10) == 200
            await one.close()
            assert two.data.keys() >= {future.key for future in [*held, running]}
            assert await dask.gather([*held, running]) == [*range(5), "done"]
            assert run_again(scheduler) == set()

    async def test_hands_its_results_over_while_it_runs_tasks(
        self, scheduler: Scheduler, workers: list[Worker]
    ) -> None:
        """Its time may be shorter than it knows: a node's end or `kubectl drain --grace-period` cuts it."""
        one, two = workers
        async with Client(scheduler.address, asynchronous=True) as dask:
            await Event("gate", client=dask).clear()
            held = await results_of(dask, 20, one)
            running = dask.submit(lambda: Event("gate").wait() and "done", workers=[one.address], pure=False)
            await until(lambda: bool(scheduler.workers[one.address].processing))
            left = asyncio.create_task(leave(scheduler, "one", 60))
            await until(lambda: two.data.keys() >= {future.key for future in held})
            assert not left.done()
            await Event("gate", client=dask).set()
            assert await running == "done"
            await asyncio.wait_for(left, 10)

    async def test_leaves_at_once_without_results(self, scheduler: Scheduler, workers: list[Worker]) -> None:
        assert await asyncio.wait_for(leave(scheduler, "one", 60), 5) == 200
        assert await asyncio.wait_for(leave(scheduler, "nobody", 60), 5) == 200

    async def test_gets_no_tasks_though_it_had_none(
        self, scheduler: Scheduler, workers: list[Worker]
    ) -> None:
        one, two = workers
        assert await asyncio.wait_for(leave(scheduler, "one", 60), 5) == 200
        async with Client(scheduler.address, asynchronous=True) as dask:
            more = dask.map(slow, [0.1] * 8, pure=False)
            await asyncio.wait_for(dask.gather(more), 10)  # type: ignore[arg-type]
            assert two.data.keys() >= {future.key for future in more}
            assert not one.data

    async def test_finishes_a_task_that_it_was_about_to_steal(
        self, scheduler: Scheduler, workers: list[Worker], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        thief, victim = (scheduler.workers[worker.address] for worker in workers)
        stealing: Any = scheduler.extensions["stealing"]
        answers: list[dict[str, Any]] = []
        monkeypatch.setitem(
            scheduler.stream_handlers, "steal-response", lambda **answer: answers.append(answer)
        )
        async with Client(scheduler.address, asynchronous=True) as dask:
            where = {"workers": [victim.address], "allow_other_workers": True}
            tasks = dask.map(slow, [1.0] * 3, pure=False, **where)
            await until(lambda: len(victim.processing) == 3)
            stealing.move_task_request(scheduler.tasks[tasks[-1].key], victim, thief)
            left = asyncio.create_task(leave(scheduler, "one", 60))
            await until(lambda: thief not in scheduler.running and bool(answers))
            await asyncio.wait([left], timeout=0.5)
            assert not left.done()
            for answer in answers:
                stealing.move_task_confirm(**answer)
            await asyncio.wait_for(left, 20)
            assert await dask.gather(tasks) == [1.0] * 3
            assert run_again(scheduler) == set()

    async def test_is_not_held_up_by_an_actor(self, scheduler: Scheduler, workers: list[Worker]) -> None:
        one, _ = workers
        async with Client(scheduler.address, asynchronous=True) as dask:
            actor = await dask.submit(list, actor=True, workers=[one.address])
            assert await asyncio.wait_for(leave(scheduler, "one", 60), 5) == 200
            del actor

    async def test_is_found_by_the_address_of_its_pod_if_its_name_says_nothing(
        self, scheduler: Scheduler
    ) -> None:
        async with Worker(scheduler.address, **OPTIONS) as worker:
            assert await asyncio.wait_for(leave(scheduler, "pod", 60), 5) == 200
            assert scheduler.workers[worker.address] in scheduler.running
            assert await asyncio.wait_for(leave(scheduler, "pod", 60, ip="127.0.0.1"), 5) == 200
            assert scheduler.workers[worker.address] not in scheduler.running

    async def test_takes_no_others_along_when_it_was_retired_before(
        self, scheduler: Scheduler, workers: list[Worker]
    ) -> None:
        """With the network of its node, other pods have its address."""
        async with Client(scheduler.address, asynchronous=True) as dask:
            held = await results_of(dask, 10)
            assert await asyncio.wait_for(leave(scheduler, "three", 60), 5) == 200
            assert await dask.gather(held) == [*range(10)]
        assert {worker.address for worker in scheduler.running} == {worker.address for worker in workers}

    async def test_waits_for_another_to_come_if_it_is_alone(self, scheduler: Scheduler) -> None:
        async with (
            Worker(scheduler.address, name="pod-0", **OPTIONS) as alone,
            Client(scheduler.address, asynchronous=True) as dask,
        ):
            held = await results_of(dask, 5)
            left = asyncio.create_task(leave(scheduler, "pod", 60))
            await until(lambda: scheduler.workers[alone.address] not in scheduler.running)
            async with Worker(scheduler.address, name="successor", **OPTIONS):
                assert await asyncio.wait_for(left, 10) == 200
                await alone.close()
                assert await dask.gather(held) == list(range(5))
                assert run_again(scheduler) == set()

    async def test_has_its_tasks_run_elsewhere_that_outlast_its_time(
        self, scheduler: Scheduler, workers: list[Worker]
    ) -> None:
        one, _ = workers
        async with Client(scheduler.address, asynchronous=True) as dask:
            await Event("gate", client=dask).clear()
            held = await results_of(dask, 5, one)
            running = dask.submit(
                lambda: Event("gate").wait() and "done", workers=[one.address], allow_other_workers=True
            )
            await until(lambda: bool(scheduler.workers[one.address].processing))
            assert await asyncio.wait_for(leave(scheduler, "one", 1), 10) == 200
            await one.close(executor_wait=False)
            await Event("gate", client=dask).set()
            assert await dask.gather([*held, running]) == [*range(5), "done"]
            assert run_again(scheduler) == {running.key}


class TestOneWorkerFetchesAResult:
    @pytest.fixture
    def preload_source(self) -> str:
        written = "BEFORE_ANOTHER_COPY = 10.0"
        assert written in children.preload_source()
        return children.preload_source().replace(written, "BEFORE_ANOTHER_COPY = 1000.0")

    async def test_another_fetches_it_if_that_is_gone(
        self, scheduler: Scheduler, workers: list[Worker], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, two = workers
        asked: list[str] = []
        fetch = scheduler.request_acquire_replicas

        def acquire(address: str, *of: Any, **more: Any) -> None:
            asked.append(address)
            if len(asked) > 1:
                fetch(address, *of, **more)

        monkeypatch.setattr(scheduler, "request_acquire_replicas", acquire)
        async with (
            Worker(scheduler.address, name="three", **OPTIONS) as three,
            Client(scheduler.address, asynchronous=True) as dask,
        ):
            held = await dask.scatter(1, workers=[one.address])
            left = asyncio.create_task(leave(scheduler, "one", 60))
            await until(lambda: len(asked) == 1)
            first, other = (two, three) if asked == [two.address] else (three, two)
            await first.close()
            await asyncio.wait_for(left, 10)
            assert asked == [first.address, other.address]
            assert other.data.keys() == {held.key}


class TestAWorkerThatIsAlone:
    """With waits of a second instead of 20."""

    @pytest.fixture
    def preload_source(self) -> str:
        written = "FOR_A_NEWCOMER = 20.0"
        assert written in children.preload_source()
        return children.preload_source().replace(written, "FOR_A_NEWCOMER = 1.0")

    @pytest.fixture
    async def alone(self, scheduler: Scheduler) -> AsyncIterator[Worker]:
        async with Worker(scheduler.address, name="one", **OPTIONS) as worker:
            yield worker

    async def test_finishes_its_tasks_nevertheless(self, scheduler: Scheduler, alone: Worker) -> None:
        async with Client(scheduler.address, asynchronous=True) as dask:
            running = dask.submit(slow, 3, pure=False)
            await until(lambda: bool(scheduler.workers[alone.address].processing))
            await asyncio.wait_for(leave(scheduler, "one", 60), 20)
            assert await running == 3
            assert running.key in alone.data

    async def test_leaves_within_its_time_all_the_same(self, scheduler: Scheduler, alone: Worker) -> None:
        async with Client(scheduler.address, asynchronous=True) as dask:
            await Event("gate", client=dask).clear()
            running = dask.submit(lambda: Event("gate").wait(), pure=False)
            await until(lambda: bool(scheduler.workers[alone.address].processing))
            await asyncio.wait_for(leave(scheduler, "one", 1.5), 5)
            await Event("gate", client=dask).set()
            assert await running

    async def test_gives_its_results_up_if_nobody_is_said_to_come(
        self, scheduler: Scheduler, alone: Worker
    ) -> None:
        async with Client(scheduler.address, asynchronous=True) as dask:
            assert await dask.submit(slow, 0, pure=False) == 0
            held = await dask.scatter(1)
            await asyncio.wait_for(leave(scheduler, "one", 60), 10)
            assert alone.data.keys() >= {held.key}

    async def test_keeps_them_until_one_comes_that_is_said_to(
        self, scheduler: Scheduler, client: SchedulerClient, alone: Worker
    ) -> None:
        async with Client(scheduler.address, asynchronous=True) as dask:
            held = await dask.scatter(1)
            left = asyncio.create_task(leave(scheduler, "one", 60))
            begin = time.monotonic()
            while time.monotonic() - begin < 3:  # As long as pulling an image takes.
                assert await client.expect(ENDPOINT)
                await asyncio.sleep(0.2)
            assert not left.done()
            async with Worker(scheduler.address, name="successor", **OPTIONS) as successor:
                await asyncio.wait_for(left, 10)
                assert successor.data.keys() == {held.key}


async def test_workers_that_leave_together_hand_over_what_only_they_hold(
    scheduler: Scheduler, workers: list[Worker]
) -> None:
    one, two = workers
    async with (
        Worker(scheduler.address, name="three", **OPTIONS) as three,
        Client(scheduler.address, asynchronous=True) as dask,
    ):
        scattered = await dask.scatter({"x": 1}, workers=[one.address, two.address], broadcast=True)
        assert len(scheduler.tasks["x"].who_has or ()) == 2
        await asyncio.wait_for(asyncio.gather(leave(scheduler, "one", 60), leave(scheduler, "two", 60)), 10)
        await asyncio.gather(one.close(), two.close())
        assert dict(three.data) == {"x": 1}
        assert await dask.gather(scattered) == {"x": 1}


class TestTheHook:
    """The script itself, as it runs in a worker's container."""

    async def run(self, port: int, seconds: int, before: str = "") -> float:
        """Return how long it took."""
        begin = time.monotonic()
        arguments = ["-c", f"{before}\n{SCRIPT}", "127.0.0.1", str(port), ROUTE, str(seconds), "false"]
        environment = {**os.environ, "DASK_WORKER_NAME": "one"}
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=environment)
        await asyncio.wait_for(process.wait(), 20)
        return time.monotonic() - begin

    async def test_has_a_worker_leave(self, scheduler: Scheduler, workers: list[Worker]) -> None:
        _, two = workers
        await self.run(scheduler.http_server.port, 60)
        assert {worker.address for worker in scheduler.running} == {two.address}

    async def test_has_one_deadline_however_long_it_takes_to_reach_the_scheduler(self) -> None:
        told: list[Any] = []
        is_over = asyncio.Event()

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
            told.append(json.loads(await reader.readexactly(length)))
            await reader.read()
            writer.close()
            await writer.wait_closed()
            is_over.set()

        late = "import socket, time; real = socket.create_connection\n"
        late += "socket.create_connection = lambda *of: time.sleep(2) or real(*of)"
        async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
            took = await self.run(server.sockets[0].getsockname()[1], 4, late)
            await is_over.wait()
        (body,) = told
        assert (body["pod"], body["ip"]) == ("one", "127.0.0.1")
        assert body["seconds"] <= 1
        assert took < 10

    async def test_ends_at_once_if_nobody_listens(self, free_port: int) -> None:
        assert await self.run(free_port, 60) < 20
