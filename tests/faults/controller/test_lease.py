"""Of several replicas one acts: by a Lease, with clocks that needn't agree."""

from __future__ import annotations

import asyncio

import pytest

from dask_k8s_controller.runtime.lease import LeaderLease
from dask_k8s_controller.settings import LeaderElection
from tests.harness.breaking import await_hit
from tests.harness.by_hand import ControllerByHand
from tests.harness.clocks import ManualClock
from tests.harness.kube import Object

LEASES = "leases.coordination.k8s.io"


class Replica(LeaderLease):
    """A replica with a clock of its own."""

    def __init__(self, controller: ControllerByHand) -> None:
        self.clock = ManualClock()
        self.told: list[str] = []
        super().__init__(
            controller.api,
            self.clock,
            LeaderElection(name="lease", duration=15, renewal=5),
            controller.namespace,
            on_lead=lambda: self.told.append("lead"),
            on_follow=lambda: self.told.append("follow"),
        )


def lease(controller: ControllerByHand) -> Object:
    """Return what the Lease says."""
    found: Object = controller.kube.get(LEASES, "lease", controller.namespace)["spec"]
    return found


@pytest.fixture
async def first(controller: ControllerByHand) -> Replica:
    replica = Replica(controller)
    await replica.step()
    assert replica.is_leading
    return replica


async def test_the_first_replica_leads(controller: ControllerByHand, first: Replica) -> None:
    assert first.told == ["lead"]
    assert lease(controller)["holderIdentity"] == first.identity
    assert lease(controller)["leaseDurationSeconds"] == 15


async def test_the_second_follows_while_the_first_renews(
    controller: ControllerByHand, first: Replica
) -> None:
    second = Replica(controller)
    for _ in range(10):
        first.clock.advance(5)
        second.clock.advance(5)
        await first.step()
        await second.step()
    assert first.is_leading
    assert not second.is_leading
    assert second.told == []


async def test_the_second_takes_over_when_the_first_is_silent(
    controller: ControllerByHand, first: Replica
) -> None:
    second = Replica(controller)
    await second.step()
    second.clock.advance(14)
    await second.step()
    assert not second.is_leading
    second.clock.advance(2)
    await second.step()
    assert second.is_leading
    assert lease(controller)["leaseTransitions"] == 1


async def test_clocks_that_differ_make_no_difference(controller: ControllerByHand, first: Replica) -> None:
    second = Replica(controller)
    second.clock.advance(1_000_000)
    await second.step()
    assert not second.is_leading


async def test_a_leader_that_was_replaced_ceases_to_act(controller: ControllerByHand, first: Replica) -> None:
    second = Replica(controller)
    await second.step()
    second.clock.advance(16)
    await second.step()
    await first.step()
    assert first.told == ["lead", "follow"]


async def test_a_leader_that_can_not_renew_ceases_to_act_before_another_may(
    controller: ControllerByHand, first: Replica
) -> None:
    controller.kubernetes.faults.fail(503, when=controller.asks("get", "leases"))
    first.clock.advance(9)
    await first.step()
    assert first.is_leading
    first.clock.advance(2)
    await first.step()
    assert not first.is_leading


async def test_a_leader_whose_renewal_hangs_ceases_to_act_before_another_may(
    controller: ControllerByHand, first: Replica
) -> None:
    fault = controller.kubernetes.faults.hang(when=controller.asks("get", "leases"))
    renewing = asyncio.create_task(first.step())
    await asyncio.to_thread(await_hit, fault)
    first.clock.advance(10)
    assert first.told == ["lead", "follow"]
    renewing.cancel()


async def test_a_leader_that_stops_leaves_the_lease_to_the_next_at_once(controller: ControllerByHand) -> None:
    first, second = Replica(controller), Replica(controller)
    await first.step()
    first.start()
    await first.stop()
    assert first.told == ["lead", "follow"]
    await second.step()
    assert second.is_leading


async def test_of_two_that_write_at_once_one_leads(controller: ControllerByHand, first: Replica) -> None:
    second = Replica(controller)
    await second.step()
    second.clock.advance(16)

    def a_third_is_quicker() -> None:
        patch = {"spec": {"holderIdentity": "third"}}
        controller.kube.patch(LEASES, "lease", patch, controller.namespace)

    controller.kubernetes.faults.tell(a_third_is_quicker, when=controller.asks("get", "leases"), times=1)
    await second.step()
    assert not second.is_leading
    assert lease(controller)["holderIdentity"] == "third"
