"""Of several replicas one acts: by a Lease, with clocks that needn't agree."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from dask_k8s_controller.kubernetes.errors import Conflict, Unavailable
from dask_k8s_controller.kubernetes.resources import Resource
from dask_k8s_controller.runtime.lease import LeaderLease
from dask_k8s_controller.settings import LeaderElection
from tests.unit.controller.clocks import ManualClock


@dataclass
class Leases:
    """An API server that holds one Lease."""

    lease: dict[str, Any] | None = None
    version: int = 0
    is_down: bool = False
    writes: list[dict[str, Any]] = field(default_factory=list)

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any] | None:
        self._check()
        return self.lease and {**self.lease, "spec": dict(self.lease["spec"])}

    async def create(self, resource: Resource, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        self._check()
        if self.lease is None:
            self._store(body, body["spec"])
        assert self.lease is not None
        return self.lease

    async def patch(
        self, resource: Resource, namespace: str, name: str, patch: dict[str, Any]
    ) -> dict[str, Any]:
        self._check()
        assert self.lease is not None
        if patch["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise Conflict("it has changed", 409)
        self._store(self.lease, {**self.lease["spec"], **patch["spec"]})
        return self.lease

    def _store(self, body: dict[str, Any], spec: dict[str, Any]) -> None:
        self.version += 1
        self.lease = {
            **body,
            "metadata": {**body["metadata"], "resourceVersion": str(self.version)},
            "spec": spec,
        }
        self.writes.append(spec)

    def _check(self) -> None:
        if self.is_down:
            raise Unavailable("no route to host")


class Replica(LeaderLease):
    """A replica with a clock of its own."""

    def __init__(self, leases: Leases) -> None:
        self.clock = ManualClock()
        self.told: list[str] = []
        super().__init__(
            leases,  # type: ignore[arg-type]
            self.clock,
            LeaderElection(name="lease", duration=15, renewal=5),
            "operators",
            on_lead=lambda: self.told.append("lead"),
            on_follow=lambda: self.told.append("follow"),
        )


@pytest.fixture
def leases() -> Leases:
    return Leases()


@pytest.fixture
async def first(leases: Leases) -> Replica:
    replica = Replica(leases)
    await replica.step()
    assert replica.is_leading
    return replica


async def test_the_first_replica_leads(leases: Leases, first: Replica) -> None:
    assert first.told == ["lead"]
    assert leases.lease is not None
    assert leases.lease["spec"]["holderIdentity"] == first.identity
    assert leases.lease["spec"]["leaseDurationSeconds"] == 15


async def test_the_second_follows_while_the_first_renews(leases: Leases, first: Replica) -> None:
    second = Replica(leases)
    for _ in range(10):
        first.clock.advance(5)
        second.clock.advance(5)
        await first.step()
        await second.step()
    assert first.is_leading
    assert not second.is_leading
    assert second.told == []


async def test_the_second_takes_over_when_the_first_is_silent(leases: Leases, first: Replica) -> None:
    second = Replica(leases)
    await second.step()
    second.clock.advance(14)
    await second.step()
    assert not second.is_leading
    second.clock.advance(2)
    await second.step()
    assert second.is_leading
    assert leases.lease is not None
    assert leases.lease["spec"]["leaseTransitions"] == 1


async def test_clocks_that_differ_make_no_difference(leases: Leases, first: Replica) -> None:
    second = Replica(leases)
    second.clock.advance(1_000_000)
    await second.step()
    assert not second.is_leading


async def test_a_leader_that_was_replaced_ceases_to_act(leases: Leases, first: Replica) -> None:
    second = Replica(leases)
    await second.step()
    second.clock.advance(16)
    await second.step()
    await first.step()
    assert first.told == ["lead", "follow"]


async def test_a_leader_that_can_not_renew_ceases_to_act_before_another_may(
    leases: Leases, first: Replica
) -> None:
    leases.is_down = True
    first.clock.advance(9)
    await first.step()
    assert first.is_leading
    first.clock.advance(2)
    await first.step()
    assert not first.is_leading


async def test_a_leader_whose_renewal_hangs_ceases_to_act_before_another_may(
    leases: Leases, first: Replica
) -> None:
    async def hang(*_: Any) -> Any:
        await asyncio.Event().wait()

    leases.get = hang  # type: ignore[method-assign]
    renewing = asyncio.create_task(first.step())
    await asyncio.sleep(0)
    first.clock.advance(10)
    assert first.told == ["lead", "follow"]
    renewing.cancel()


async def test_a_leader_that_stops_leaves_the_lease_to_the_next_at_once(leases: Leases) -> None:
    first, second = Replica(leases), Replica(leases)
    await first.step()
    first.start()
    await first.stop()
    assert first.told == ["lead", "follow"]
    await second.step()
    assert second.is_leading


async def test_of_two_that_write_at_once_one_leads(leases: Leases, first: Replica) -> None:
    second, third = Replica(leases), Replica(leases)
    for replica in (second, third):
        await replica.step()
        replica.clock.advance(16)
    stale = leases.lease
    await second.step()

    async def late(*_: Any) -> Any:
        return stale

    leases.get = late  # type: ignore[method-assign]
    await third.step()
    assert second.is_leading
    assert not third.is_leading
