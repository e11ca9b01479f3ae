"""Many clusters at once, and one that spoils everything, which must not disturb the others."""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial

import pytest

from tests.unit.controller.faults.child import Controller
from tests.unit.controller.faults.cluster import CLUSTERS, CONTROLLER, ScaleCluster
from tests.unit.controller.faults.flows import FLOWS
from tests.unit.controller.faults.test_faults import converges, of_the_controller

CREATE = FLOWS[0]


async def created_at_once(cluster: ScaleCluster, count: int) -> float:
    """Create clusters, each in a namespace of its own; return the seconds until all are ready."""
    namespaces = [await cluster.namespace() for _ in range(count)]
    begun = time.monotonic()
    await asyncio.gather(*(CREATE.step(cluster, namespace) for namespace in namespaces))
    await asyncio.gather(*(converges(cluster, CREATE, namespace, "among many") for namespace in namespaces))
    return time.monotonic() - begun


async def test_several_clusters_at_once_all_become_ready(
    cluster: ScaleCluster, controller: Controller
) -> None:
    print(f"10 clusters at once: {await created_at_once(cluster, 10):.1f} s")


@pytest.mark.full
async def test_fifty_clusters_at_once_all_become_ready(cluster: ScaleCluster, controller: Controller) -> None:
    print(f"50 clusters at once: {await created_at_once(cluster, 50):.1f} s")


@pytest.mark.full
async def test_two_hundred_creates_with_random_latency_all_become_ready(
    cluster: ScaleCluster, controller: Controller
) -> None:
    chance = random.Random(1)
    cluster.faults.delay(
        lambda: chance.uniform(0, 0.1), when=lambda request: request.user_agent == CONTROLLER
    )
    for _ in range(4):
        await created_at_once(cluster, 50)


async def test_one_cluster_that_fails_in_every_call_does_not_hold_others_up(
    cluster: ScaleCluster, controller: Controller
) -> None:
    await created_at_once(cluster, 1)  # The controller is up.
    alone = await created_at_once(cluster, 10)
    spoilt = await cluster.namespace()
    cluster.faults.hang(when=partial(of_the_controller, spoilt))
    await CREATE.step(cluster, spoilt)
    beside = await created_at_once(cluster, 10)
    print(f"10 clusters alone: {alone:.2f} s, beside one that fails: {beside:.2f} s")
    assert beside < 2 * alone + 1


async def test_idle_clusters_cause_no_requests(cluster: ScaleCluster, controller: Controller) -> None:
    await created_at_once(cluster, 5)

    async def has_been_quiet_for_three_seconds() -> bool:
        requests = [request for request in cluster.faults.log if request.user_agent == CONTROLLER]
        last = max(request.at for request in requests if request.verb != "watch")
        return time.monotonic() - last > 3

    await cluster.wait(has_been_quiet_for_three_seconds, "there is always another request", limit=6)


async def test_applying_a_manifest_again_changes_nothing(
    cluster: ScaleCluster, controller: Controller
) -> None:
    namespace = await cluster.namespace()
    await CREATE.step(cluster, namespace)
    await converges(cluster, CREATE, namespace, "at first")
    before = await cluster.get(CLUSTERS, namespace, "c")
    assert before is not None
    for _ in range(3):
        await cluster.client.patch(CLUSTERS, namespace, "c", {"spec": before["spec"]})
    await converges(cluster, CREATE, namespace, "after three more times")
    after = await cluster.get(CLUSTERS, namespace, "c")
    assert after is not None
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
