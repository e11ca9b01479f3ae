"""Schedulers are asked in the background, each once at a time, and whatever goes wrong becomes an answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dask_k8s_controller.autoscaler.demand import Demands
from dask_k8s_controller.kubernetes.errors import BadAnswer, NoSuchRoute, SchedulerError, Unreachable
from dask_k8s_controller.kubernetes.resources import Key
from dask_k8s_controller.scheduler.answers import Problem
from dask_k8s_controller.scheduler.client import Endpoint
from tests.unit.controller.builders import cluster, scheduler_pod
from tests.unit.controller.clocks import ManualClock

ENDPOINT = Endpoint.of(cluster(), scheduler_pod(), 2)
A, B = (Key("DaskAutoscaler", "default", name) for name in "ab")


class Scheduler:
    def __init__(self, answer: int | SchedulerError) -> None:
        self.answer = answer
        self.asked = 0

    async def adaptive_target(self, _: Endpoint) -> int:
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.answer, SchedulerError):
            raise self.answer
        return self.answer


async def told_when_answered(scheduler: Scheduler) -> tuple[Demands, list[Key]]:
    told: list[Key] = []
    answered = asyncio.Event()

    def tell(key: Key) -> None:
        told.append(key)
        if len(told) == 2:
            answered.set()

    demands = Demands(scheduler, ManualClock(), tell)
    demands.ask(ENDPOINT, A)
    demands.ask(ENDPOINT, B)
    async with asyncio.timeout(5):
        await answered.wait()
    return demands, told


async def test_one_question_serves_all_who_want_to_know() -> None:
    scheduler = Scheduler(7)
    demands, told = await told_when_answered(scheduler)
    assert set(told) == {A, B}
    assert scheduler.asked == 1
    answer = demands.demand(ENDPOINT.uid)
    assert answer is not None
    assert answer.value == 7
    demands.forget(ENDPOINT.uid)
    assert demands.demand(ENDPOINT.uid) is None


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (Unreachable("gone"), Problem.UNREACHABLE),
        (NoSuchRoute("none"), Problem.NO_ROUTE),
        (BadAnswer("what?"), Problem.BAD_ANSWER),
    ],
)
async def test_a_failure_is_an_answer(error: Any, problem: Problem) -> None:
    demands, _ = await told_when_answered(Scheduler(error))
    answer = demands.demand(ENDPOINT.uid)
    assert answer is not None
    assert (answer.value, answer.problem, answer.message) == (None, problem, str(error))


async def test_nothing_is_left_running() -> None:
    demands = Demands(Scheduler(1), ManualClock(), lambda _: None)
    demands.ask(ENDPOINT, A)
    await demands.stop()
