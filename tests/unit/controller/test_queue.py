"""The work queue: each key once, one turn at a time, back-off, requeue-after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from dask_k8s_controller.kubernetes.resources import Key
from dask_k8s_controller.runtime.queue import Requeue, WorkQueue
from dask_k8s_controller.settings import Backoff
from tests.harness.clocks import ManualClock

A = Key("DaskCluster", "default", "a")
B = Key("DaskCluster", "default", "b")


class Turns:
    """Records turns; a test says how they end, and can hold them."""

    def __init__(self) -> None:
        self.taken: list[Key] = []
        self.running: set[Key] = set()
        self.most_running = 0
        self.result: Callable[[Key], Requeue] = lambda key: Requeue.on_change()
        self.gate: asyncio.Event | None = None

    async def __call__(self, key: Key) -> Requeue:
        assert key not in self.running, "two turns of one key at a time"
        self.taken.append(key)
        self.running.add(key)
        self.most_running = max(self.most_running, len(self.running))
        try:
            if self.gate is not None:
                await self.gate.wait()
            return self.result(key)
        finally:
            self.running.discard(key)


@pytest.fixture
def turns() -> Turns:
    return Turns()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def queue(turns: Turns, clock: ManualClock) -> AsyncIterator[WorkQueue]:
    queue = WorkQueue(turns, clock=clock, concurrency=2, backoff=Backoff(first=1, longest=8))
    queue.start()
    yield queue
    await queue.stop(grace=1)


@pytest.fixture
async def queue_of(turns: Turns, clock: ManualClock) -> AsyncIterator[Callable[..., WorkQueue]]:
    """Make queues, and stop them: turns that are still held would go on in no event loop."""
    made: list[WorkQueue] = []

    def make(**options: Any) -> WorkQueue:
        made.append(WorkQueue(turns, clock=clock, **options))
        return made[-1]

    yield make
    for queue in made:
        await queue.stop(grace=0)


async def settle() -> None:
    """Let everything happen that can happen without time passing."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_key_that_is_added_gets_a_turn(queue: WorkQueue, turns: Turns) -> None:
    queue.add(A)
    await settle()
    assert turns.taken == [A]
    assert (queue.depth, turns.running) == (0, set())


async def test_a_key_that_is_added_often_before_its_turn_gets_one(
    queue_of: Callable[..., WorkQueue], turns: Turns
) -> None:
    queue = queue_of()
    for _ in range(5):
        queue.add(A)
    assert queue.depth == 1
    queue.start()
    await settle()
    assert turns.taken == [A]


async def test_a_key_that_is_added_during_its_turn_gets_another_one_afterwards(
    queue: WorkQueue, turns: Turns
) -> None:
    turns.gate = asyncio.Event()
    queue.add(A)
    await settle()
    queue.add(A)
    queue.add(A)
    await settle()
    assert turns.taken == [A]
    turns.gate.set()
    await settle()
    assert turns.taken == [A, A]


async def test_no_more_keys_have_their_turn_at_once_than_allowed(queue: WorkQueue, turns: Turns) -> None:
    turns.gate = asyncio.Event()
    for number in range(5):
        queue.add(Key("DaskCluster", "default", str(number)))
    await settle()
    assert turns.most_running == 2
    assert queue.depth == 3
    turns.gate.set()
    await settle()
    assert len(turns.taken) == 5


async def test_a_key_comes_back_when_it_asked_to(queue: WorkQueue, turns: Turns, clock: ManualClock) -> None:
    turns.result = lambda key: Requeue(after=5) if len(turns.taken) == 1 else Requeue.on_change()
    queue.add(A)
    await settle()
    clock.advance(4.9)
    await settle()
    assert turns.taken == [A]
    clock.advance(0.1)
    await settle()
    assert turns.taken == [A, A]


async def test_a_change_comes_before_a_later_turn_and_replaces_it(
    queue: WorkQueue, turns: Turns, clock: ManualClock
) -> None:
    turns.result = lambda key: Requeue(after=5) if len(turns.taken) == 1 else Requeue.on_change()
    queue.add(A)
    await settle()
    queue.add(A)
    await settle()
    clock.advance(60)
    await settle()
    assert turns.taken == [A, A]


async def test_failures_in_a_row_back_off_longer_up_to_a_bound(
    queue: WorkQueue, turns: Turns, clock: ManualClock
) -> None:
    turns.result = lambda key: Requeue(failed=True)
    queue.add(A)
    waits = []
    for _ in range(6):
        await settle()
        begun, taken = clock.seconds, len(turns.taken)
        while len(turns.taken) == taken:
            clock.advance(0.05)
            await settle()
        waits.append(clock.seconds - begun)
    for wait, bound in zip(waits, (1, 2, 4, 8, 8, 8), strict=True):
        assert 0.75 * bound <= wait <= bound + 0.1


async def test_what_fails_and_wants_to_be_next_at_once_backs_off_all_the_same(
    queue: WorkQueue, turns: Turns, clock: ManualClock
) -> None:
    turns.result = lambda key: Requeue(after=0, failed=True)
    queue.add(A)
    for _ in range(100):
        await settle()
        clock.advance(0.1)
    assert len(turns.taken) <= 6


async def test_success_ends_the_back_off(queue: WorkQueue, turns: Turns, clock: ManualClock) -> None:
    results = iter([Requeue(failed=True)] * 3 + [Requeue.on_change(), Requeue(failed=True)])
    turns.result = lambda key: next(results, Requeue.on_change())
    queue.add(A)
    await settle()
    clock.advance(10)
    await settle()
    clock.advance(10)
    await settle()
    clock.advance(10)
    await settle()
    assert len(turns.taken) == 4
    queue.add(A)
    await settle()
    clock.advance(1.1)
    await settle()
    assert len(turns.taken) == 6


async def test_a_turn_that_raises_is_logged_and_tried_again(
    queue: WorkQueue, turns: Turns, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    def fail_once(key: Key) -> Requeue:
        if len(turns.taken) == 1:
            raise RuntimeError("boom")
        return Requeue.on_change()

    turns.result = fail_once
    queue.add(A)
    await settle()
    assert "DaskCluster default/a: reconciling failed" in caplog.text
    clock.advance(1.1)
    await settle()
    assert turns.taken == [A, A]


async def test_a_failing_key_does_not_hold_up_another(
    queue: WorkQueue, turns: Turns, clock: ManualClock
) -> None:
    turns.result = lambda key: Requeue(failed=key == A)
    queue.add(A)
    await settle()
    queue.add(B)
    await settle()
    assert turns.taken == [A, B]


async def test_many_changes_in_a_short_time_make_few_turns(
    queue_of: Callable[..., WorkQueue], turns: Turns, clock: ManualClock
) -> None:
    queue = queue_of(spacing=1.0)
    queue.start()
    for _ in range(100):
        queue.add(A)
        await settle()
        clock.advance(0.1)
        await settle()
    assert 9 <= len(turns.taken) <= 11


async def test_keys_wait_while_the_queue_is_paused(queue: WorkQueue, turns: Turns) -> None:
    queue.pause()
    queue.add(A)
    await settle()
    assert turns.taken == []
    queue.start()
    await settle()
    assert turns.taken == [A]


async def test_pausing_cancels_the_turns_that_are_on_and_their_keys_wait(
    queue: WorkQueue, turns: Turns, clock: ManualClock
) -> None:
    turns.gate = asyncio.Event()
    queue.add(A)
    await settle()
    queue.pause()
    await settle()
    assert turns.running == set()
    turns.gate = None
    clock.advance(60)
    await settle()
    assert turns.taken == [A]
    queue.start()
    await settle()
    assert turns.taken == [A, A]


async def test_nothing_is_remembered_of_keys_that_are_done(
    queue_of: Callable[..., WorkQueue], turns: Turns, clock: ManualClock
) -> None:
    queue = queue_of(spacing=0.5)
    queue.start()
    for number in range(1000):
        queue.add(Key("DaskCluster", f"ns-{number % 7}", str(number)))
    for _ in range(30):
        await settle()
    clock.advance(1)
    queue.sweep()
    assert len(turns.taken) == 1000
    kept = {name: value for name, value in vars(queue).items() if isinstance(value, dict | set) and value}
    assert kept == {}


async def test_stopping_lets_turns_finish_and_starts_no_more(queue: WorkQueue, turns: Turns) -> None:
    turns.gate = asyncio.Event()
    queue.add(A)
    await settle()
    stopping = asyncio.create_task(queue.stop(grace=5))
    await settle()
    queue.add(B)
    turns.gate.set()
    await stopping
    assert turns.taken == [A]
    assert turns.running == set()


async def test_stopping_cancels_turns_that_take_too_long(queue: WorkQueue, turns: Turns) -> None:
    turns.gate = asyncio.Event()
    queue.add(A)
    await settle()
    await queue.stop(grace=0.01)
    assert turns.running == set()


async def test_the_longest_wait_and_turn_are_known(
    queue: WorkQueue, turns: Turns, clock: ManualClock
) -> None:
    turns.gate = asyncio.Event()
    for number in range(3):
        queue.add(Key("DaskCluster", "default", str(number)))
    await settle()
    clock.advance(7)
    assert queue.longest_reconcile == 7
    assert queue.longest_wait == 7


class TestNamespaces:
    @pytest.fixture
    async def queue(self, queue_of: Callable[..., WorkQueue]) -> WorkQueue:
        queue = queue_of(concurrency=8)
        queue.start()
        return queue

    def add(self, queue: WorkQueue, namespace: str, count: int) -> None:
        for number in range(count):
            queue.add(Key("DaskCluster", namespace, str(number)))

    async def test_a_thousand_keys_of_one_do_not_hold_up_the_one_of_another(
        self, queue: WorkQueue, turns: Turns
    ) -> None:
        turns.gate = asyncio.Event()
        self.add(queue, "many", 1000)
        await settle()
        self.add(queue, "one", 1)
        await settle()
        assert turns.taken[-1].namespace == "one"
        assert len(turns.taken) == 7

    async def test_take_their_turns_in_turn(self, queue_of: Callable[..., WorkQueue], turns: Turns) -> None:
        queue = queue_of(concurrency=1)
        for namespace in ("a", "b", "c"):
            self.add(queue, namespace, 3)
        queue.start()
        await settle()
        await settle()
        assert [key.namespace for key in turns.taken] == ["a", "b", "c"] * 3

    async def test_with_the_fewest_turns_are_next(
        self, queue_of: Callable[..., WorkQueue], turns: Turns
    ) -> None:
        queue = queue_of(concurrency=3)
        turns.gate = asyncio.Event()
        self.add(queue, "first", 10)
        queue.start()
        await settle()
        self.add(queue, "late", 1)
        turns.gate.set()
        turns.gate = asyncio.Event()
        await settle()
        assert [key.namespace for key in turns.taken] == ["first"] * 3 + ["late"] + ["first"] * 2

    async def test_that_waits_for_its_own_turns_is_no_sign_of_a_stuck_queue(
        self, queue: WorkQueue, turns: Turns, clock: ManualClock
    ) -> None:
        turns.gate = asyncio.Event()
        self.add(queue, "many", 1000)
        await settle()
        clock.advance(500)
        assert queue.longest_wait == 0
        assert queue.depth == 994

    async def test_are_forgotten_when_they_have_nothing_to_do(self, queue: WorkQueue, turns: Turns) -> None:
        for number in range(100):
            self.add(queue, f"ns-{number}", 2)
        for _ in range(20):
            await settle()
        assert len(turns.taken) == 200
        assert (queue.depth, turns.running) == (0, set())
        assert not queue._served
