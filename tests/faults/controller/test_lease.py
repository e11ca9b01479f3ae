"""Of several replicas one acts: by a Lease, with clocks that needn't agree."""

from __future__ import annotations

import asyncio

import pytest

from dask_k8s_controller.runtime.clock import Clock, RealClock
from dask_k8s_controller.runtime.lease import LeaderLease
from dask_k8s_controller.settings import LeaderElection
from tests.harness.breaking import await_hit
from tests.harness.by_hand import ControllerByHand
from tests.harness.clocks import ManualClock
from tests.harness.kube import Object

LEASES = "leases.coordination.k8s.io"


class Replica(LeaderLease):
    """A replica with a clock of its own."""

    clock: ManualClock

    def __init__(self, by_hand: ControllerByHand, clock: Clock | None = None, **settings: float) -> None:
        self.told: list[str] = []
        self.steps: asyncio.Queue[bool] = asyncio.Queue()
        super().__init__(
            by_hand.api,
            clock or ManualClock(),
            LeaderElection(name="lease", **{"duration": 15, "renewal": 5, **settings}),
            by_hand.namespace,
            on_lead=lambda: self.told.append("lead"),
            on_follow=lambda: self.told.append("follow"),
        )

    async def step(self) -> bool:
        worked = await super().step()
        self.steps.put_nowait(worked)
        return worked


def lease(by_hand: ControllerByHand) -> Object:
    """Return what the Lease says."""
    found: Object = by_hand.kube.get(LEASES, "lease", by_hand.namespace)["spec"]
    return found


@pytest.fixture
async def first(by_hand: ControllerByHand) -> Replica:
    replica = Replica(by_hand)
    await replica.step()
    assert replica.is_leading
    return replica


async def test_the_first_replica_leads(by_hand: ControllerByHand, first: Replica) -> None:
    assert first.told == ["lead"]
    assert lease(by_hand)["holderIdentity"] == first.identity
    assert lease(by_hand)["leaseDurationSeconds"] == 15


async def test_the_second_follows_while_the_first_renews(by_hand: ControllerByHand, first: Replica) -> None:
    second = Replica(by_hand)
    for _ in range(10):
        first.clock.advance(5)
        second.clock.advance(5)
        await first.step()
        await second.step()
    assert first.is_leading
    assert not second.is_leading
    assert second.told == []


async def test_the_second_takes_over_when_the_first_is_silent(
    by_hand: ControllerByHand, first: Replica
) -> None:
    second = Replica(by_hand)
    await second.step()
    second.clock.advance(14)
    await second.step()
    assert not second.is_leading
    second.clock.advance(2)
    await second.step()
    assert second.is_leading
    assert lease(by_hand)["leaseTransitions"] == 1


async def test_clocks_that_differ_make_no_difference(by_hand: ControllerByHand, first: Replica) -> None:
    second = Replica(by_hand)
    second.clock.advance(1_000_000)
    await second.step()
    assert not second.is_leading


async def test_a_leader_that_was_replaced_ceases_to_act(by_hand: ControllerByHand, first: Replica) -> None:
    second = Replica(by_hand)
    await second.step()
    second.clock.advance(16)
    await second.step()
    await first.step()
    assert first.told == ["lead", "follow"]


async def test_a_leader_that_can_not_renew_ceases_to_act_before_another_may(
    by_hand: ControllerByHand, first: Replica
) -> None:
    by_hand.kubernetes.faults.fail(503, when=by_hand.asks("get", "leases"))
    first.clock.advance(9)
    await first.step()
    assert first.is_leading
    first.clock.advance(2)
    await first.step()
    assert not first.is_leading


async def test_one_renewal_that_fails_costs_nothing(by_hand: ControllerByHand) -> None:
    replica = Replica(by_hand, RealClock(), duration=6, renewal=2)
    by_hand.kubernetes.faults.fail(503, when=by_hand.asks("patch", "leases"), nth=2)
    replica.start()
    assert [await replica.steps.get() for _ in range(3)] == [True, False, True]
    assert replica.told == ["lead"]
    await replica.stop()


async def test_no_error_ends_the_election(by_hand: ControllerByHand, monkeypatch: pytest.MonkeyPatch) -> None:
    replica = Replica(by_hand, RealClock(), duration=60, renewal=0.1)
    with monkeypatch.context() as broken:
        broken.setattr(by_hand.api, "get", None)
        replica.start()
        assert not await asyncio.wait_for(replica.steps.get(), 10)
    async with asyncio.timeout(10):
        while not await replica.steps.get():
            assert replica.told == []
    assert replica.told == ["lead"]
    await replica.stop()


async def test_a_leader_whose_renewal_hangs_ceases_to_act_before_another_may(
    by_hand: ControllerByHand, first: Replica
) -> None:
    fault = by_hand.kubernetes.faults.hang(when=by_hand.asks("get", "leases"))
    renewing = asyncio.create_task(first.step())
    await asyncio.to_thread(await_hit, fault)
    first.clock.advance(10)
    assert first.told == ["lead", "follow"]
    renewing.cancel()


async def test_a_leader_that_stops_leaves_the_lease_to_the_next_at_once(by_hand: ControllerByHand) -> None:
    first, second = Replica(by_hand), Replica(by_hand)
    await first.step()
    first.start()
    await first.stop()
    assert first.told == ["lead", "follow"]
    await second.step()
    assert second.is_leading


async def test_of_two_that_write_at_once_one_leads(by_hand: ControllerByHand, first: Replica) -> None:
    second = Replica(by_hand)
    await second.step()
    second.clock.advance(16)

    def a_third_is_quicker() -> None:
        patch = {"spec": {"holderIdentity": "third"}}
        by_hand.kube.patch(LEASES, "lease", patch, by_hand.namespace)

    by_hand.kubernetes.faults.tell(a_third_is_quicker, when=by_hand.asks("get", "leases"), times=1)
    await second.step()
    assert not second.is_leading
    assert lease(by_hand)["holderIdentity"] == "third"
