"""Questions to schedulers are asked in the background; the answers give their objects a turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Any

import pytest

from dask_k8s_controller.cluster.observe import endpoint
from dask_k8s_controller.kubernetes.errors import BadAnswer, NoSuchRoute, SchedulerError, Unreachable
from dask_k8s_controller.kubernetes.resources import Key
from dask_k8s_controller.plans.actions import Ask, Resume, Retire
from dask_k8s_controller.scheduler.answers import Demand, Problem, Retirement, Worker
from dask_k8s_controller.scheduler.conversations import Conversations
from dask_k8s_controller.scheduler.endpoint import Endpoint
from tests.harness.clocks import ManualClock
from tests.unit.controller.builders import cluster, scheduler_pod, worker

ENDPOINT = endpoint(cluster(), scheduler_pod("s"), workers=2)
GROUP = Key("DaskWorkerGroup", "default", "c-default")
OTHER = Key("DaskWorkerGroup", "default", "c-extra")


class FakeSchedulers:
    """Answers when the gate is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: SchedulerError | None = None
        self.known: tuple[Worker, ...] = (worker("10.0.0.1:1"),)
        self.idle: float | None = None
        self.wanted = 7
        self.retires: frozenset[str] = frozenset()
        self.tasks: dict[str, int] = {}
        self.asked: list[Any] = []
        self.forgotten: list[str] = []

    async def _answer(self, question: Any, answer: Any) -> Any:
        self.asked.append(question)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return answer

    async def workers(self, endpoint: Endpoint) -> tuple[Worker, ...]:
        return await self._answer("workers", self.known)  # type: ignore[no-any-return]

    async def certificate(self, endpoint: Endpoint) -> Any:
        return await self._answer("certificate", None)

    async def idle_for(self, endpoint: Endpoint) -> float | None:
        return await self._answer("idle", self.idle)  # type: ignore[no-any-return]

    async def demand(self, endpoint: Endpoint) -> Demand:
        return await self._answer("demand", Demand(self.wanted))  # type: ignore[no-any-return]

    async def retire(self, endpoint: Endpoint, addresses: Iterable[str]) -> frozenset[str]:
        return await self._answer(sorted(addresses), self.retires)  # type: ignore[no-any-return]

    async def drain(self, endpoint: Endpoint, addresses: Iterable[str]) -> dict[str, int]:
        wanted = sorted(addresses)
        answer = {address: self.tasks.get(address, 0) for address in wanted}
        return await self._answer(("drain", wanted), answer)  # type: ignore[no-any-return]

    async def resume(self, endpoint: Endpoint, addresses: Iterable[str]) -> None:
        await self._answer(("resume", sorted(addresses)), None)

    def forget(self, uid: str) -> None:
        self.forgotten.append(uid)

    async def close(self) -> None:
        pass


@pytest.fixture
def schedulers() -> FakeSchedulers:
    return FakeSchedulers()


@pytest.fixture
def turns() -> list[Key]:
    return []


@pytest.fixture
async def conversations(schedulers: FakeSchedulers, turns: list[Key]) -> AsyncIterator[Conversations]:
    conversations = Conversations(schedulers, ManualClock(), turns.append)
    yield conversations
    await conversations.stop()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_an_answer_gives_the_object_its_turn(conversations: Conversations, turns: list[Key]) -> None:
    assert conversations.last(Ask.WORKERS, scheduler_pod("s")) is None
    conversations.ask(Ask.WORKERS, ENDPOINT, GROUP, "group")
    assert turns == []
    await settle()
    assert turns == [GROUP]
    answer = conversations.last(Ask.WORKERS, scheduler_pod("s"))
    assert answer is not None
    assert answer.value == (worker("10.0.0.1:1"),)
    assert answer.at == 0


async def test_a_question_is_asked_once_for_all_that_want_to_know(
    conversations: Conversations, schedulers: FakeSchedulers, turns: list[Key]
) -> None:
    schedulers.gate.clear()
    for key in (GROUP, GROUP, OTHER):
        conversations.ask(Ask.WORKERS, ENDPOINT, key, "group")
    await settle()
    schedulers.gate.set()
    await settle()
    assert schedulers.asked == ["workers"]
    assert sorted(turns) == [GROUP, OTHER]


async def test_demand_is_remembered_until_its_scheduler_is_gone(conversations: Conversations) -> None:
    conversations.ask(Ask.DEMAND, ENDPOINT, Key("DaskAutoscaler", "default", "a"), "autoscaler")
    await settle()
    answer = conversations.last(Ask.DEMAND, scheduler_pod("s"))
    assert answer is not None
    assert answer.value == Demand(7)
    conversations.forget("s")
    assert conversations.last(Ask.DEMAND, scheduler_pod("s")) is None


async def test_a_busy_scheduler_has_not_been_idle(conversations: Conversations) -> None:
    conversations.ask(Ask.IDLE, ENDPOINT, GROUP, "cluster")
    await settle()
    answer = conversations.last(Ask.IDLE, scheduler_pod("s"))
    assert answer is not None
    assert (answer.value, answer.problem) == (None, Problem.NONE)


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (Unreachable("no route"), Problem.UNREACHABLE),
        (NoSuchRoute("no such route"), Problem.NO_ROUTE),
        (BadAnswer("nonsense"), Problem.BAD_ANSWER),
    ],
)
async def test_why_there_is_no_answer_is_remembered(
    conversations: Conversations,
    schedulers: FakeSchedulers,
    turns: list[Key],
    error: SchedulerError,
    problem: Problem,
) -> None:
    schedulers.error = error
    conversations.ask(Ask.WORKERS, ENDPOINT, GROUP, "group")
    await settle()
    answer = conversations.last(Ask.WORKERS, scheduler_pod("s"))
    assert answer is not None
    assert (answer.problem, answer.message) == (problem, str(error))
    assert turns == [GROUP]


class TestRetiring:
    both = Retire((("w1", ("tcp://a:1", "tcp://a:2")), ("w2", ("tcp://b:1",))))

    async def test_pods_whose_workers_were_all_retired_are_done(
        self, conversations: Conversations, schedulers: FakeSchedulers, turns: list[Key]
    ) -> None:
        schedulers.retires = frozenset({"tcp://a:1", "tcp://b:1"})
        conversations.ask(self.both, ENDPOINT, GROUP, "group")
        await settle()
        known = conversations.retirement("group")
        assert known.done == {"w2"}
        assert known.refused == {"w1": 0}
        assert known.under_way == {}
        assert schedulers.asked == [["tcp://a:1", "tcp://a:2", "tcp://b:1"]]
        assert turns == [GROUP]

    async def test_nothing_is_asked_twice_while_it_is_under_way(
        self, conversations: Conversations, schedulers: FakeSchedulers
    ) -> None:
        schedulers.gate.clear()
        conversations.ask(self.both, ENDPOINT, GROUP, "group")
        await settle()
        known = conversations.retirement("group")
        assert known.under_way == {"w1": "s", "w2": "s"}
        conversations.ask(self.both, ENDPOINT, GROUP, "group")
        await settle()
        assert len(schedulers.asked) == 1

    async def test_what_the_scheduler_said_before_is_no_longer_relied_on(
        self, conversations: Conversations
    ) -> None:
        conversations.ask(Ask.WORKERS, ENDPOINT, GROUP, "group")
        await settle()
        conversations.ask(self.both, ENDPOINT, GROUP, "group")
        await settle()
        assert conversations.last(Ask.WORKERS, scheduler_pod("s")) is None

    async def test_a_call_that_failed_decides_nothing(
        self, conversations: Conversations, schedulers: FakeSchedulers
    ) -> None:
        schedulers.error = Unreachable("timed out")
        conversations.ask(self.both, ENDPOINT, GROUP, "group")
        await settle()
        known = conversations.retirement("group")
        assert (known.done, known.refused, known.under_way) == (frozenset(), {}, {})
        assert known.failed is not None
        assert known.failed.problem is Problem.UNREACHABLE

    async def test_a_scheduler_that_is_gone_holds_nothing_up(
        self, conversations: Conversations, schedulers: FakeSchedulers, turns: list[Key]
    ) -> None:
        schedulers.gate.clear()
        conversations.ask(self.both, ENDPOINT, GROUP, "group")
        await settle()
        successor = replace(ENDPOINT, uid="successor")
        conversations.ask(self.both, successor, GROUP, "group")
        await settle()
        assert len(schedulers.asked) == 2
        conversations.forget("s")
        await settle()
        known = conversations.retirement("group")
        assert known.under_way == {"w1": "successor", "w2": "successor"}
        assert turns == [GROUP]

    async def test_what_is_gone_is_forgotten(
        self, conversations: Conversations, schedulers: FakeSchedulers
    ) -> None:
        schedulers.retires = frozenset({"tcp://b:1"})
        conversations.ask(self.both, ENDPOINT, GROUP, "group")
        await settle()
        conversations.forget_pod("group", "w2")
        known = conversations.retirement("group")
        assert known.done == frozenset()
        assert known.refused == {"w1": 0}
        conversations.forget_pod("group", "w1")
        assert conversations.retirement("group").refused == {}
        conversations.forget("group")
        assert conversations.retirement("group") == Retirement()
        assert schedulers.forgotten == ["group"]

    async def test_a_refusal_is_forgotten_when_it_is_tried_again(
        self, conversations: Conversations, schedulers: FakeSchedulers
    ) -> None:
        conversations.ask(self.both, ENDPOINT, GROUP, "group")
        await settle()
        assert conversations.retirement("group").refused.keys() == {"w1", "w2"}
        schedulers.gate.clear()
        conversations.ask(self.both, ENDPOINT, GROUP, "group")
        await settle()
        assert conversations.retirement("group").refused == {}

    async def test_refusals_are_counted(self, schedulers: FakeSchedulers) -> None:
        told: list[tuple[str, str]] = []
        conversations = Conversations(
            schedulers,
            ManualClock(),
            lambda _: None,
            on_question=lambda question, outcome: told.append((question, outcome)),
        )
        schedulers.retires = frozenset({"tcp://b:1"})
        conversations.ask(self.both, ENDPOINT, GROUP, "group")
        await settle()
        assert told == [("retire", "Answered"), ("retire", "Refused")]


class TestDraining:
    patient = Retire((("w1", ("tcp://a:1", "tcp://a:2")), ("w2", ("tcp://b:1",))), frozenset({"w1", "w2"}))

    async def test_idle_workers_are_retired_right_after_they_were_drained(
        self, conversations: Conversations, schedulers: FakeSchedulers
    ) -> None:
        everyone = ["tcp://a:1", "tcp://a:2", "tcp://b:1"]
        schedulers.retires = frozenset(everyone)
        conversations.ask(self.patient, ENDPOINT, GROUP, "group")
        await settle()
        assert schedulers.asked == [("drain", everyone), everyone]
        known = conversations.retirement("group")
        assert known.done == {"w1", "w2"}

    async def test_busy_workers_are_not_retired(
        self, conversations: Conversations, schedulers: FakeSchedulers, turns: list[Key]
    ) -> None:
        schedulers.tasks = {"tcp://a:2": 1}
        schedulers.retires = frozenset({"tcp://b:1"})
        conversations.ask(self.patient, ENDPOINT, GROUP, "group")
        await settle()
        known = conversations.retirement("group")
        assert (known.done, known.refused) == ({"w2"}, {})
        assert known.busy == {"w1": 0}
        conversations.forget_pod("group", "w1")
        assert conversations.retirement("group").busy == {}
        assert turns == [GROUP]

    async def test_nothing_is_retired_if_nothing_is_idle(
        self, conversations: Conversations, schedulers: FakeSchedulers
    ) -> None:
        schedulers.tasks = {"tcp://a:1": 1, "tcp://b:1": 1}
        conversations.ask(self.patient, ENDPOINT, GROUP, "group")
        await settle()
        assert len(schedulers.asked) == 1

    async def test_pods_whose_time_is_up_are_retired_undrained(
        self, conversations: Conversations, schedulers: FakeSchedulers
    ) -> None:
        impatient = Retire(self.patient.pods)
        conversations.ask(impatient, ENDPOINT, GROUP, "group")
        await settle()
        assert schedulers.asked == [["tcp://a:1", "tcp://a:2", "tcp://b:1"]]

    async def test_a_scheduler_that_fails_to_drain_retires_nothing(
        self, conversations: Conversations, schedulers: FakeSchedulers
    ) -> None:
        schedulers.error = Unreachable("timed out")
        conversations.ask(self.patient, ENDPOINT, GROUP, "group")
        await settle()
        assert len(schedulers.asked) == 1
        known = conversations.retirement("group")
        assert known.failed is not None

    async def test_a_worker_that_stays_gets_tasks_again(
        self, conversations: Conversations, schedulers: FakeSchedulers, turns: list[Key]
    ) -> None:
        conversations.ask(Resume(("tcp://a:1",)), ENDPOINT, GROUP, "group")
        await settle()
        assert schedulers.asked == [("resume", ["tcp://a:1"])]
        assert turns == [GROUP]


async def test_stopping_asks_no_more(conversations: Conversations, schedulers: FakeSchedulers) -> None:
    schedulers.gate.clear()
    conversations.ask(Ask.WORKERS, ENDPOINT, GROUP, "group")
    await settle()
    await conversations.stop()
    schedulers.gate.set()
    await settle()
    assert schedulers.asked == ["workers"]
    assert conversations.last(Ask.WORKERS, scheduler_pod("s")) is None


@pytest.mark.parametrize("has_begun", [True, False])
async def test_what_is_given_up_can_be_asked_again(
    conversations: Conversations, schedulers: FakeSchedulers, turns: list[Key], has_begun: bool
) -> None:
    schedulers.gate.clear()
    questions = (Ask.WORKERS, Retire((("pod", ("tcp://10.0.0.1:1",)),)))
    for question in questions:
        conversations.ask(question, ENDPOINT, GROUP, "group")
    if has_begun:
        await settle()
    conversations.cancel()
    await settle()
    assert conversations.retirement("group").under_way == {}
    schedulers.gate.set()
    schedulers.asked.clear()
    for question in questions:
        conversations.ask(question, ENDPOINT, GROUP, "group")
    await settle()
    assert "workers" in schedulers.asked
    assert ["tcp://10.0.0.1:1"] in schedulers.asked


async def test_what_a_late_answer_told_of_those_that_are_gone_is_swept_away(
    conversations: Conversations, schedulers: FakeSchedulers
) -> None:
    schedulers.retires = frozenset({"tcp://10.0.0.1:1"})
    for number in range(100):
        conversations.ask(Ask.WORKERS, replace(ENDPOINT, uid=f"s{number}"), GROUP, f"g{number}")
        retire = Retire(((f"p{number}", ("tcp://10.0.0.1:1",)),))
        conversations.ask(retire, replace(ENDPOINT, uid=f"t{number}"), GROUP, f"g{number}")
    await settle()
    conversations.sweep({"s7", "g7"}.__contains__)
    assert conversations.last(Ask.WORKERS, scheduler_pod("s7")) is not None
    assert conversations.last(Ask.WORKERS, scheduler_pod("s8")) is None
    assert conversations.retirement("g7").done == frozenset()
    conversations.sweep(lambda uid: False)
    assert not [value for value in vars(conversations).values() if isinstance(value, dict) and value]
