"""The work queue: each key once, one reconcile at a time, back-off, requeue-after."""

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


class Reconciles:
    """Records reconciles; a test says how they end, and can hold them."""

    def __init__(self) -> None:
        self.taken: list[Key] = []
        self.running: set[Key] = set()
        self.most_running = 0
        self.result: Callable[[Key], Requeue] = lambda key: Requeue.on_change()
        self.gate: asyncio.Event | None = None

    async def __call__(self, key: Key) -> Requeue:
        assert key not in self.running, "two reconciles of one key at a time"
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
def reconciles() -> Reconciles:
    return Reconciles()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def queue(reconciles: Reconciles, clock: ManualClock) -> AsyncIterator[WorkQueue]:
    queue = WorkQueue(reconciles, clock=clock, concurrency=2, backoff=Backoff(first=1, longest=8))
    queue.start()
    yield queue
    await queue.stop(grace=1)


@pytest.fixture
async def queue_of(reconciles: Reconciles, clock: ManualClock) -> AsyncIterator[Callable[..., WorkQueue]]:
    """Make queues, and stop them: reconciles that are still held would go on in no event loop."""
    made: list[WorkQueue] = []

    def make(**options: Any) -> WorkQueue:
        made.append(WorkQueue(reconciles, clock=clock, **options))
        return made[-1]

    yield make
    for queue in made:
        await queue.stop(grace=0)


async def settle() -> None:
    """Let everything happen that can happen without time passing."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_key_that_is_added_is_reconciled(queue: WorkQueue, reconciles: Reconciles) -> None:
    queue.add(A)
    await settle()
    assert reconciles.taken == [A]
    assert (queue.depth, reconciles.running) == (0, set())


async def test_a_key_that_is_added_often_before_its_reconcile_gets_one(
    queue_of: Callable[..., WorkQueue], reconciles: Reconciles
) -> None:
    queue = queue_of()
    for _ in range(5):
        queue.add(A)
    assert queue.depth == 1
    queue.start()
    await settle()
    assert reconciles.taken == [A]


async def test_a_key_that_is_added_during_its_reconcile_gets_another_one_afterwards(
    queue: WorkQueue, reconciles: Reconciles
) -> None:
    reconciles.gate = asyncio.Event()
    queue.add(A)
    await settle()
    queue.add(A)
    queue.add(A)
    await settle()
    assert reconciles.taken == [A]
    reconciles.gate.set()
    await settle()
    assert reconciles.taken == [A, A]


async def test_no_more_keys_are_reconciled_at_once_than_allowed(
    queue: WorkQueue, reconciles: Reconciles
) -> None:
    reconciles.gate = asyncio.Event()
    for number in range(5):
        queue.add(Key("DaskCluster", "default", str(number)))
    await settle()
    assert reconciles.most_running == 2
    assert queue.depth == 3
    reconciles.gate.set()
    await settle()
    assert len(reconciles.taken) == 5


async def test_a_key_comes_back_when_it_asked_to(
    queue: WorkQueue, reconciles: Reconciles, clock: ManualClock
) -> None:
    reconciles.result = lambda key: Requeue(after=5) if len(reconciles.taken) == 1 else Requeue.on_change()
    queue.add(A)
    await settle()
    clock.advance(4.9)
    await settle()
    assert reconciles.taken == [A]
    clock.advance(0.1)
    await settle()
    assert reconciles.taken == [A, A]


async def test_a_change_comes_before_a_later_reconcile_and_replaces_it(
    queue: WorkQueue, reconciles: Reconciles, clock: ManualClock
) -> None:
    reconciles.result = lambda key: Requeue(after=5) if len(reconciles.taken) == 1 else Requeue.on_change()
    queue.add(A)
    await settle()
    queue.add(A)
    await settle()
    clock.advance(60)
    await settle()
    assert reconciles.taken == [A, A]


async def test_failures_in_a_row_back_off_longer_up_to_a_bound(
    queue: WorkQueue, reconciles: Reconciles, clock: ManualClock
) -> None:
    reconciles.result = lambda key: Requeue(failed=True)
    queue.add(A)
    waits = []
    for _ in range(6):
        await settle()
        begun, taken = clock.seconds, len(reconciles.taken)
        while len(reconciles.taken) == taken:
            clock.advance(0.05)
            await settle()
        waits.append(clock.seconds - begun)
    for wait, bound in zip(waits, (1, 2, 4, 8, 8, 8), strict=True):
        assert 0.75 * bound <= wait <= bound + 0.1


async def test_what_fails_and_wants_to_be_next_at_once_backs_off_all_the_same(
    queue: WorkQueue, reconciles: Reconciles, clock: ManualClock
) -> None:
    reconciles.result = lambda key: Requeue(after=0, failed=True)
    queue.add(A)
    for _ in range(100):
        await settle()
        clock.advance(0.1)
    assert len(reconciles.taken) <= 6


async def test_success_ends_the_back_off(
    queue: WorkQueue, reconciles: Reconciles, clock: ManualClock
) -> None:
    results = iter([Requeue(failed=True)] * 3 + [Requeue.on_change(), Requeue(failed=True)])
    reconciles.result = lambda key: next(results, Requeue.on_change())
    queue.add(A)
    await settle()
    clock.advance(10)
    await settle()
    clock.advance(10)
    await settle()
    clock.advance(10)
    await settle()
    assert len(reconciles.taken) == 4
    queue.add(A)
    await settle()
    clock.advance(1.1)
    await settle()
    assert len(reconciles.taken) == 6


async def test_a_reconcile_that_raises_is_logged_and_tried_again(
    queue: WorkQueue, reconciles: Reconciles, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    def fail_once(key: Key) -> Requeue:
        if len(reconciles.taken) == 1:
            raise RuntimeError("boom")
        return Requeue.on_change()

    reconciles.result = fail_once
    queue.add(A)
    await settle()
    assert "DaskCluster default/a: reconciling failed" in caplog.text
    clock.advance(1.1)
    await settle()
    assert reconciles.taken == [A, A]


async def test_a_failing_key_does_not_hold_up_another(
    queue: WorkQueue, reconciles: Reconciles, clock: ManualClock
) -> None:
    reconciles.result = lambda key: Requeue(failed=key == A)
    queue.add(A)
    await settle()
    queue.add(B)
    await settle()
    assert reconciles.taken == [A, B]


async def test_many_changes_in_a_short_time_make_few_reconciles(
    queue_of: Callable[..., WorkQueue], reconciles: Reconciles, clock: ManualClock
) -> None:
    queue = queue_of(spacing=1.0)
    queue.start()
    for _ in range(100):
        queue.add(A)
        await settle()
        clock.advance(0.1)
        await settle()
    assert 9 <= len(reconciles.taken) <= 11


async def test_keys_wait_while_the_queue_is_paused(queue: WorkQueue, reconciles: Reconciles) -> None:
    queue.pause()
    queue.add(A)
    await settle()
    assert reconciles.taken == []
    queue.start()
    await settle()
    assert reconciles.taken == [A]


async def test_pausing_cancels_the_reconciles_that_are_on_and_their_keys_wait(
    queue: WorkQueue, reconciles: Reconciles, clock: ManualClock
) -> None:
    reconciles.gate = asyncio.Event()
    queue.add(A)
    await settle()
    queue.pause()
    await settle()
    assert reconciles.running == set()
    reconciles.gate = None
    clock.advance(60)
    await settle()
    assert reconciles.taken == [A]
    queue.start()
    await settle()
    assert reconciles.taken == [A, A]


async def test_nothing_is_remembered_of_keys_that_are_done(
    queue_of: Callable[..., WorkQueue], reconciles: Reconciles, clock: ManualClock
) -> None:
    queue = queue_of(spacing=0.5)
    queue.start()
    for number in range(1000):
        queue.add(Key("DaskCluster", f"ns-{number % 7}", str(number)))
    for _ in range(30):
        await settle()
    clock.advance(1)
    queue.sweep()
    assert len(reconciles.taken) == 1000
    kept = {name: value for name, value in vars(queue).items() if isinstance(value, dict | set) and value}
    assert kept == {}


async def test_stopping_lets_reconciles_finish_and_starts_no_more(
    queue: WorkQueue, reconciles: Reconciles
) -> None:
    reconciles.gate = asyncio.Event()
    queue.add(A)
    await settle()
    stopping = asyncio.create_task(queue.stop(grace=5))
    await settle()
    queue.add(B)
    reconciles.gate.set()
    await stopping
    assert reconciles.taken == [A]
    assert reconciles.running == set()


async def test_stopping_cancels_reconciles_that_take_too_long(
    queue: WorkQueue, reconciles: Reconciles
) -> None:
    reconciles.gate = asyncio.Event()
    queue.add(A)
    await settle()
    await queue.stop(grace=0.01)
    assert reconciles.running == set()


async def test_the_longest_wait_and_reconcile_are_known(
    queue: WorkQueue, reconciles: Reconciles, clock: ManualClock
) -> None:
    reconciles.gate = asyncio.Event()
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
        self, queue: WorkQueue, reconciles: Reconciles
    ) -> None:
        reconciles.gate = asyncio.Event()
        self.add(queue, "many", 1000)
        await settle()
        self.add(queue, "one", 1)
        await settle()
        assert reconciles.taken[-1].namespace == "one"
        assert len(reconciles.taken) == 7

    async def test_take_their_reconciles_in_reconcile(
        self, queue_of: Callable[..., WorkQueue], reconciles: Reconciles
    ) -> None:
        queue = queue_of(concurrency=1)
        for namespace in ("a", "b", "c"):
            self.add(queue, namespace, 3)
        queue.start()
        await settle()
        await settle()
        assert [key.namespace for key in reconciles.taken] == ["a", "b", "c"] * 3

    async def test_with_the_fewest_reconciles_are_next(
        self, queue_of: Callable[..., WorkQueue], reconciles: Reconciles
    ) -> None:
        queue = queue_of(concurrency=3)
        reconciles.gate = asyncio.Event()
        self.add(queue, "first", 10)
        queue.start()
        await settle()
        self.add(queue, "late", 1)
        reconciles.gate.set()
        reconciles.gate = asyncio.Event()
        await settle()
        assert [key.namespace for key in reconciles.taken] == ["first"] * 3 + ["late"] + ["first"] * 2

    async def test_that_waits_for_its_own_reconciles_is_no_sign_of_a_stuck_queue(
        self, queue: WorkQueue, reconciles: Reconciles, clock: ManualClock
    ) -> None:
        reconciles.gate = asyncio.Event()
        self.add(queue, "many", 1000)
        await settle()
        clock.advance(500)
        assert queue.longest_wait == 0
        assert queue.depth == 994

    async def test_are_forgotten_when_they_have_nothing_to_do(
        self, queue: WorkQueue, reconciles: Reconciles
    ) -> None:
        for number in range(100):
            self.add(queue, f"ns-{number}", 2)
        for _ in range(20):
            await settle()
        assert len(reconciles.taken) == 200
        assert (queue.depth, reconciles.running) == (0, set())
        assert not queue._served
