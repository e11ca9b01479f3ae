"""How the controller is run: two replicas, narrow permissions, a request to stop."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import replace
from typing import Any

from dask_k8s_controller.settings import LeaderElection
from dask_k8s_local.api import Fault, Request
from dask_k8s_local.interfaces import ApiError, Object
from tests.faults.child import HASTY, Controller, Orders
from tests.faults.cluster import CLUSTERS, CONTROLLER, ScaleCluster
from tests.faults.flows import FLOWS
from tests.faults.test_faults import converges, prepared

CREATE = FLOWS[0]
ELECTION = replace(
    HASTY,
    leader_election=LeaderElection(enabled=True, name="lease", namespace="default", duration=1, renewal=0.2),
)


def orders(cluster: ScaleCluster, *namespaces: str, **more: Any) -> Orders:
    return Orders(str(cluster.kubeconfig), namespaces, cluster.schedulers.url, **more)


async def holder(cluster: ScaleCluster) -> str:
    lease: Object | None = await cluster.get("leases.coordination.k8s.io", "default", "lease")
    return lease["spec"].get("holderIdentity", "") if lease else ""


async def test_a_second_replica_takes_over_from_one_that_is_killed(cluster: ScaleCluster) -> None:
    electing = orders(cluster, settings=ELECTION)
    async with Controller(electing) as first:
        await cluster.wait(lambda: _has_other_holder(cluster, ""), "nobody leads")
        leader = await holder(cluster)
        async with Controller(electing):
            namespace = await prepared(cluster, FLOWS[1])
            await first.end(signal.SIGKILL)
            begun = time.monotonic()
            await cluster.wait(lambda: _has_other_holder(cluster, leader), "nobody takes over")
            print(f"the second replica leads {time.monotonic() - begun:.1f} s after the first was killed")
            await FLOWS[1].step(cluster, namespace)
            await converges(cluster, FLOWS[1], namespace, "with the second replica")


async def test_a_leader_that_stops_hands_over_at_once(cluster: ScaleCluster) -> None:
    patient = replace(ELECTION.leader_election, duration=30)
    electing = orders(cluster, settings=replace(ELECTION, leader_election=patient))
    async with Controller(electing) as first:
        await cluster.wait(lambda: _has_other_holder(cluster, ""), "nobody leads")
        leader = await holder(cluster)
        async with Controller(electing):
            assert await first.end(signal.SIGTERM) == 0
            await cluster.wait(lambda: _has_other_holder(cluster, leader), "nobody takes over", limit=25)


async def _has_other_holder(cluster: ScaleCluster, than: str) -> bool:
    return (await holder(cluster)) not in ("", than)


async def test_only_one_of_two_replicas_writes(cluster: ScaleCluster) -> None:
    electing = orders(cluster, settings=ELECTION)
    async with Controller(electing), Controller(electing):
        namespace = await prepared(cluster, FLOWS[1])
        await FLOWS[1].step(cluster, namespace)
        await converges(cluster, FLOWS[1], namespace, "with two replicas")


async def test_a_role_in_one_namespace_is_enough(cluster: ScaleCluster) -> None:
    namespace = await cluster.namespace()

    def is_beyond_the_role(request: Request) -> bool:
        return request.user_agent == CONTROLLER and bool(request.resource) and request.namespace != namespace

    async def forbid(_: Any, __: Any) -> Any:
        raise ApiError(403, "Forbidden", "the role does not say so")

    cluster.faults._add(Fault(is_beyond_the_role, None, None, forbid))
    async with Controller(orders(cluster, namespace)):
        await CREATE.step(cluster, namespace)
        await converges(cluster, CREATE, namespace, "with a Role alone")


async def test_other_namespaces_are_left_alone(cluster: ScaleCluster) -> None:
    ours, theirs = await cluster.namespace(), await cluster.namespace()
    async with Controller(orders(cluster, ours)):
        await CREATE.step(cluster, theirs)
        await CREATE.step(cluster, ours)
        await converges(cluster, CREATE, ours, "beside another namespace")
    found = await cluster.get(CLUSTERS, theirs, "c")
    assert found is not None
    assert not found.get("status", {}).get("phase")
    assert await cluster.pods(theirs) == []


async def test_a_request_to_stop_lets_writes_finish(cluster: ScaleCluster) -> None:
    async with Controller(orders(cluster)) as controller:
        namespace = await prepared(cluster, FLOWS[1])
        slow = cluster.faults.delay(lambda: 0.2, when=lambda request: request.is_write)
        await FLOWS[1].step(cluster, namespace)
        await cluster.wait(lambda: _has_begun(cluster, namespace), "nothing is created")
        assert await controller.end(signal.SIGTERM) == 0
        cluster.faults.remove(slow)
        controller.start()
        await converges(cluster, FLOWS[1], namespace, "stopped in between")


async def _has_begun(cluster: ScaleCluster, namespace: str) -> bool:
    await asyncio.sleep(0)
    return any(
        request.namespace == namespace and request.verb == "create" and request.resource == "pods"
        for request in cluster.faults.log[-5:]
    )
