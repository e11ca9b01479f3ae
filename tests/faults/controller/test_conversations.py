"""Questions to schedulers are asked in the background; the answers give their objects a turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from dask_k8s_controller.cluster.observe import endpoint
from dask_k8s_controller.kubernetes.api import Api
from dask_k8s_controller.kubernetes.connection import Connection
from dask_k8s_controller.kubernetes.resources import Key
from dask_k8s_controller.plans.actions import Ask, Question, Resume, Retire
from dask_k8s_controller.scheduler.answers import Demand, Problem, Retirement
from dask_k8s_controller.scheduler.conversations import Conversations
from dask_k8s_controller.settings import Patience
from tests.harness.clocks import ManualClock
from tests.harness.hasty import SchedulersAt
from tests.harness.stand_in import StandIn, says
from tests.unit.controller.builders import cluster, scheduler_pod, worker

ENDPOINT = endpoint(cluster(), scheduler_pod("s"), workers=2)
GROUP = Key("DaskWorkerGroup", "default", "c-default")
OTHER = Key("DaskWorkerGroup", "default", "c-extra")
EVERYONE = ["tcp://a:1", "tcp://a:2", "tcp://b:1"]


class Scheduler(StandIn):
    """A scheduler that answers when its gate is open.

    Attributes
    ----------
    asked : list
        Its requests: the last word of the path, and the addresses that came with it.
    tasks : dict
        How many tasks drained workers still have.
    retires : set of str
        The addresses that it retires if asked to.
    error : callable, optional
        What it answers instead.
    """

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.gate = asyncio.Event()
        self.gate.set()
        self.tasks: dict[str, int] = {}
        self.retires: set[str] = set()
        self.error: Any = None

    @property
    def asked(self) -> list[Any]:
        pairs = zip(self.requests, self.bodies, strict=True)
        return [(request.path.rpartition("/")[2], *((body or {}).values())) for request, body in pairs]

    async def _answer(self, request: web.Request) -> Any:
        await self.gate.wait()
        if self.error is not None:
            return await self.error(request)
        match request.path.rpartition("/")[2]:
            case "workers":
                one = {"status": "running", "processing": 0, "keys": 0, "nbytes": 0, "draining": False}
                return {"workers": {"tcp://10.0.0.1:1": {"name": "", **one}}}
            case "check_idle":
                return {"idle_since": None}
            case "demand":
                return {"workers": 7, "needs": []}
        addresses = (await request.json())["workers"]
        match request.path.rpartition("/")[2]:
            case "drain":
                return {address: self.tasks.get(address, 0) for address in addresses}
            case "retire_workers":
                return {address: {} for address in addresses if address in self.retires}
        return {}


class Talk(Conversations):
    """Conversations with that scheduler, whatever the endpoint."""

    def __init__(self, api: Api, url: str) -> None:
        schedulers = SchedulersAt(api, Patience(answer=10, retire=10))
        schedulers.base = url
        self.turns: list[Key] = []
        self.outcomes: list[tuple[str, str]] = []
        self._reconcile = asyncio.Event()
        super().__init__(
            schedulers,
            ManualClock(),
            self._on_reconcile,
            on_question=lambda *told: self.outcomes.append(told),
        )

    def begin(self, question: Question, of: str = "s", key: Key = GROUP, uid: str = "group") -> None:
        """Ask the scheduler with that uid."""
        self.ask(question, replace(ENDPOINT, uid=of), key, uid)

    async def hear(self, question: Question, **asked: Any) -> None:
        """Ask, and wait for the turn that the answer gives."""
        heard = len(self.turns)
        self.begin(question, **asked)
        await self.until_turns(heard + 1)

    async def until_turns(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.turns) < count:
                self._reconcile.clear()
                await self._reconcile.wait()

    def _on_reconcile(self, key: Key) -> None:
        self.turns.append(key)
        self._reconcile.set()


@pytest.fixture
async def scheduler() -> AsyncIterator[Scheduler]:
    async with Scheduler() as scheduler:
        yield scheduler
        scheduler.gate.set()


@pytest.fixture
async def talk(scheduler: Scheduler) -> AsyncIterator[Talk]:
    async def log_in() -> Connection:
        raise AssertionError("the scheduler is asked directly")

    talk = Talk(Api(log_in), scheduler.url)
    yield talk
    await talk.stop()
    await talk.schedulers.close()


async def test_an_answer_has_the_object_reconciled(talk: Talk) -> None:
    assert talk.last(Ask.WORKERS, scheduler_pod("s")) is None
    talk.begin(Ask.WORKERS)
    assert talk.turns == []
    await talk.until_turns(1)
    assert talk.turns == [GROUP]
    answer = talk.last(Ask.WORKERS, scheduler_pod("s"))
    assert answer is not None
    assert answer.value == (worker("10.0.0.1:1", can_drain=True),)
    assert answer.at == 0


async def test_a_question_is_asked_once_for_all_that_want_to_know(talk: Talk, scheduler: Scheduler) -> None:
    scheduler.gate.clear()
    for key in (GROUP, GROUP, OTHER):
        talk.begin(Ask.WORKERS, key=key)
    await scheduler.until_asked(1)
    scheduler.gate.set()
    await talk.until_turns(2)
    assert scheduler.asked == [("workers",)]
    assert sorted(talk.turns) == [GROUP, OTHER]


async def test_demand_is_remembered_until_its_scheduler_is_gone(talk: Talk) -> None:
    await talk.hear(Ask.DEMAND, key=Key("DaskAutoscaler", "default", "a"), uid="autoscaler")
    answer = talk.last(Ask.DEMAND, scheduler_pod("s"))
    assert answer is not None
    assert answer.value == Demand(7, needs=())
    talk.forget("s")
    assert talk.last(Ask.DEMAND, scheduler_pod("s")) is None


async def test_a_busy_scheduler_has_not_been_idle(talk: Talk) -> None:
    await talk.hear(Ask.IDLE, uid="cluster")
    answer = talk.last(Ask.IDLE, scheduler_pod("s"))
    assert answer is not None
    assert (answer.value, answer.problem) == (None, Problem.NONE)


@pytest.mark.parametrize(
    ("error", "problem", "word"),
    [
        (says(503), Problem.UNREACHABLE, "503"),
        (says(404), Problem.NO_ROUTE, "/json/identity.json"),
        (says(200, "nonsense"), Problem.BAD_ANSWER, "JSON"),
    ],
    ids=["unreachable", "no route", "nonsense"],
)
async def test_why_there_is_no_answer_is_remembered(
    talk: Talk, scheduler: Scheduler, error: Any, problem: Problem, word: str
) -> None:
    scheduler.error = error
    await talk.hear(Ask.WORKERS)
    answer = talk.last(Ask.WORKERS, scheduler_pod("s"))
    assert answer is not None
    assert (answer.problem, word in answer.message) == (problem, True)
    assert talk.turns == [GROUP]


class TestRetiring:
    both = Retire((("w1", ("tcp://a:1", "tcp://a:2")), ("w2", ("tcp://b:1",))))

    async def test_pods_whose_workers_were_all_retired_are_done(
        self, talk: Talk, scheduler: Scheduler
    ) -> None:
        scheduler.retires = {"tcp://a:1", "tcp://b:1"}
        await talk.hear(self.both)
        known = talk.retirement("group")
        assert known.done == {"w2"}
        assert known.refused == {"w1": 0}
        assert known.under_way == {}
        assert scheduler.asked == [("retire_workers", EVERYONE)]
        assert talk.turns == [GROUP]

    async def test_nothing_is_asked_twice_while_it_is_under_way(
        self, talk: Talk, scheduler: Scheduler
    ) -> None:
        scheduler.gate.clear()
        talk.begin(self.both)
        await scheduler.until_asked(1)
        assert talk.retirement("group").under_way == {"w1": "s", "w2": "s"}
        talk.begin(self.both)
        scheduler.gate.set()
        await talk.until_turns(1)
        await talk.hear(Ask.IDLE)
        assert scheduler.asked == [("retire_workers", EVERYONE), ("check_idle",)]

    async def test_what_the_scheduler_said_before_is_no_longer_relied_on(self, talk: Talk) -> None:
        await talk.hear(Ask.WORKERS)
        await talk.hear(self.both)
        assert talk.last(Ask.WORKERS, scheduler_pod("s")) is None

    async def test_a_call_that_failed_decides_nothing(self, talk: Talk, scheduler: Scheduler) -> None:
        scheduler.error = says(503)
        await talk.hear(self.both)
        known = talk.retirement("group")
        assert (known.done, known.refused, known.under_way) == (frozenset(), {}, {})
        assert known.failed is not None
        assert known.failed.problem is Problem.UNREACHABLE

    async def test_a_scheduler_that_is_gone_holds_nothing_up(self, talk: Talk, scheduler: Scheduler) -> None:
        scheduler.gate.clear()
        talk.begin(self.both)
        await scheduler.until_asked(1)
        talk.begin(self.both, of="successor")
        await scheduler.until_asked(2)
        talk.forget("s")
        await talk.until_turns(1)
        assert talk.retirement("group").under_way == {"w1": "successor", "w2": "successor"}
        assert talk.turns == [GROUP]

    async def test_what_is_gone_is_forgotten(self, talk: Talk, scheduler: Scheduler) -> None:
        scheduler.retires = {"tcp://b:1"}
        await talk.hear(self.both)
        talk.forget_pod("group", "w2")
        known = talk.retirement("group")
        assert known.done == frozenset()
        assert known.refused == {"w1": 0}
        talk.forget_pod("group", "w1")
        assert talk.retirement("group").refused == {}
        talk.forget("group")
        assert talk.retirement("group") == Retirement()

    async def test_a_refusal_is_forgotten_when_it_is_tried_again(
        self, talk: Talk, scheduler: Scheduler
    ) -> None:
        await talk.hear(self.both)
        assert talk.retirement("group").refused.keys() == {"w1", "w2"}
        scheduler.gate.clear()
        talk.begin(self.both)
        await scheduler.until_asked(2)
        assert talk.retirement("group").refused == {}

    async def test_refusals_are_counted(self, talk: Talk, scheduler: Scheduler) -> None:
        scheduler.retires = {"tcp://b:1"}
        await talk.hear(self.both)
        assert talk.outcomes == [("retire", "Answered"), ("retire", "Refused")]


class TestDraining:
    patient = Retire((("w1", ("tcp://a:1", "tcp://a:2")), ("w2", ("tcp://b:1",))), frozenset({"w1", "w2"}))

    async def test_idle_workers_are_retired_right_after_they_were_drained(
        self, talk: Talk, scheduler: Scheduler
    ) -> None:
        scheduler.retires = {*EVERYONE}
        await talk.hear(self.patient)
        assert scheduler.asked == [("drain", EVERYONE), ("retire_workers", EVERYONE)]
        assert talk.retirement("group").done == {"w1", "w2"}

    async def test_busy_workers_are_not_retired(self, talk: Talk, scheduler: Scheduler) -> None:
        scheduler.tasks = {"tcp://a:2": 1}
        scheduler.retires = {"tcp://b:1"}
        await talk.hear(self.patient)
        known = talk.retirement("group")
        assert (known.done, known.refused) == ({"w2"}, {})
        assert known.busy == {"w1": 0}
        talk.forget_pod("group", "w1")
        assert talk.retirement("group").busy == {}
        assert talk.turns == [GROUP]

    async def test_nothing_is_retired_if_nothing_is_idle(self, talk: Talk, scheduler: Scheduler) -> None:
        scheduler.tasks = {"tcp://a:1": 1, "tcp://b:1": 1}
        await talk.hear(self.patient)
        assert scheduler.asked == [("drain", EVERYONE)]

    async def test_pods_whose_time_is_up_are_retired_undrained(
        self, talk: Talk, scheduler: Scheduler
    ) -> None:
        await talk.hear(Retire(self.patient.pods))
        assert scheduler.asked == [("retire_workers", EVERYONE)]

    async def test_a_scheduler_that_fails_to_drain_retires_nothing(
        self, talk: Talk, scheduler: Scheduler
    ) -> None:
        scheduler.error = says(503)
        await talk.hear(self.patient)
        assert scheduler.asked == [("drain", EVERYONE)]
        assert talk.retirement("group").failed is not None

    async def test_a_worker_that_stays_gets_tasks_again(self, talk: Talk, scheduler: Scheduler) -> None:
        await talk.hear(Resume(("tcp://a:1",)))
        assert scheduler.asked == [("resume", ["tcp://a:1"])]
        assert talk.turns == [GROUP]


async def test_a_scheduler_that_is_gone_tells_nothing_of_its_successors_routes(
    talk: Talk, scheduler: Scheduler
) -> None:
    scheduler.missing = ("/dask-k8s/",)
    scheduler.error = says(200, '{"workers": {}}')
    await talk.hear(Ask.WORKERS)
    scheduler.missing = ()
    await talk.hear(Ask.WORKERS)
    talk.forget("s")
    await talk.hear(Ask.WORKERS)
    assert scheduler.asked == [("identity.json",), ("identity.json",), ("workers",)]


async def test_stopping_asks_no_more(talk: Talk, scheduler: Scheduler) -> None:
    scheduler.gate.clear()
    talk.begin(Ask.WORKERS)
    await scheduler.until_asked(1)
    await talk.stop()
    assert talk.last(Ask.WORKERS, scheduler_pod("s")) is None
    assert scheduler.asked == [("workers",)]


@pytest.mark.parametrize("has_begun", [True, False])
async def test_what_is_given_up_can_be_asked_again(talk: Talk, scheduler: Scheduler, has_begun: bool) -> None:
    scheduler.gate.clear()
    questions = (Ask.WORKERS, Retire((("pod", ("tcp://10.0.0.1:1",)),)))
    for question in questions:
        talk.begin(question)
    if has_begun:
        await scheduler.until_asked(2)
    talk.cancel()
    # What has not begun has nothing to tell, but to those who share the question.
    await talk.until_turns(2 if has_begun else 1)
    assert talk.retirement("group").under_way == {}
    scheduler.gate.set()
    asked = len(scheduler.asked)
    for question in questions:
        await talk.hear(question)
    assert scheduler.asked[asked:] == [("workers",), ("retire_workers", ["tcp://10.0.0.1:1"])]


async def test_what_a_late_answer_told_of_those_that_are_gone_is_swept_away(
    talk: Talk, scheduler: Scheduler
) -> None:
    scheduler.retires = {"tcp://10.0.0.1:1"}
    for number in range(10):
        talk.begin(Ask.WORKERS, of=f"s{number}", uid=f"g{number}")
        retire = Retire(((f"p{number}", ("tcp://10.0.0.1:1",)),))
        talk.begin(retire, of=f"t{number}", uid=f"g{number}")
    await talk.until_turns(20)
    talk.sweep({"s7", "g7"}.__contains__)
    assert talk.last(Ask.WORKERS, scheduler_pod("s7")) is not None
    assert talk.last(Ask.WORKERS, scheduler_pod("s8")) is None
    assert talk.retirement("g7").done == frozenset()
    talk.sweep(lambda uid: False)
    await talk.stop()
    assert not [value for value in vars(talk).values() if isinstance(value, dict) and value]
