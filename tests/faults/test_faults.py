"""Every single request of the controller fails once, in every way; the controller is killed after each.

All must converge to exactly what the user asked for, and nothing may be made twice. The whole table takes
minutes; a sample of it, always the same, is run for every change.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest

from dask_k8s_local.api import Fault, Request
from tests.faults.child import Controller, Orders
from tests.faults.cluster import CLUSTERS, CONTROLLER, ScaleCluster
from tests.faults.flows import FLOWS, Flow

AT_ONCE = 8
"""So many namespaces have their fault at the same time."""

SEED = 20261123

FAULTS: dict[str, Callable[..., Fault]] = {}


def fault(name: str) -> Callable[[Callable[..., Fault]], Callable[..., Fault]]:
    def register(strike: Callable[..., Fault]) -> Callable[..., Fault]:
        FAULTS[name] = strike
        return strike

    return register


@fault("409")
def conflict(cluster: ScaleCluster, **which: Any) -> Fault:
    return cluster.faults.fail(409, **which)  # type: ignore[no-any-return]


@fault("429")
def too_many_requests(cluster: ScaleCluster, **which: Any) -> Fault:
    return cluster.faults.fail(429, **which)  # type: ignore[no-any-return]


@fault("500")
def internal_error(cluster: ScaleCluster, **which: Any) -> Fault:
    return cluster.faults.fail(500, **which)  # type: ignore[no-any-return]


@fault("timeout before the effect")
def lost_request(cluster: ScaleCluster, **which: Any) -> Fault:
    return cluster.faults.hang(**which)  # type: ignore[no-any-return]


@fault("timeout after the effect")
def lost_answer(cluster: ScaleCluster, **which: Any) -> Fault:
    return cluster.faults.hang(after_effect=True, **which)  # type: ignore[no-any-return]


@fault("connection broken after the effect")
def broken_connection(cluster: ScaleCluster, **which: Any) -> Fault:
    return cluster.faults.break_connection(after_effect=True, **which)  # type: ignore[no-any-return]


def of_the_controller(namespace: str, request: Request) -> bool:
    """Whether a request is one that the controller makes of its own accord."""
    return request.namespace == namespace and request.user_agent == CONTROLLER and request.verb != "watch"


async def count_requests(cluster: ScaleCluster, flow: Flow) -> int:
    """Find out how many requests a flow takes when nothing fails."""
    namespace = await prepared(cluster, flow)
    before = len(cluster.faults.log)
    await flow.step(cluster, namespace)
    await converges(cluster, flow, namespace, "without any fault")
    made = [request for request in cluster.faults.log[before:] if of_the_controller(namespace, request)]
    return len(made)


async def prepared(cluster: ScaleCluster, flow: Flow) -> str:
    namespace = await cluster.namespace()
    await flow.prepare(cluster, namespace)
    await cluster.wait(
        lambda: flow.is_prepared(cluster, namespace), f"{flow.name}: its cluster does not become ready"
    )
    return namespace


async def converges(
    cluster: ScaleCluster, flow: Flow, namespace: str, under: str, *, limit: float = 30.0, every: float = 0.02
) -> None:
    try:
        await cluster.wait(lambda: flow.has_converged(cluster, namespace), "", limit, every)
    except TimeoutError:
        state = await cluster.describe(namespace)
        pytest.fail(f"{flow.name} does not converge, {under}:\n{state}")
    seen = len(cluster.pods_seen[namespace])
    assert seen == flow.pods, f"{flow.name}, {under}: {seen} pods were made instead of {flow.pods}"
    found = await cluster.get(CLUSTERS, namespace, "c")
    if found is not None:
        assert "finalizers" not in found["metadata"]
        assert "annotations" not in found["metadata"]


async def breaks_one_request(cluster: ScaleCluster, flow: Flow, number: int, name: str) -> bool:
    """Let one request of a flow fail; return whether it was made at all."""
    namespace = await prepared(cluster, flow)
    struck = FAULTS[name](cluster, when=partial(of_the_controller, namespace), nth=number)
    await flow.step(cluster, namespace)
    await converges(cluster, flow, namespace, f"request {number}: {name}")
    cluster.faults.remove(struck)
    await cluster.client.delete("namespaces", None, namespace)
    return struck.hits > 0


async def kills_after_one_request(cluster: ScaleCluster, flow: Flow, number: int) -> bool:
    """Kill the controller after one request of a flow; return whether it came to that."""
    namespace = await cluster.namespace()
    log = str(cluster.folder / f"{namespace}.log")
    orders = Orders(str(cluster.kubeconfig), (namespace,), cluster.schedulers.url, log=log)
    async with Controller(orders) as controller:
        await flow.prepare(cluster, namespace)
        await cluster.wait(
            lambda: flow.is_prepared(cluster, namespace), f"{flow.name}: its cluster does not become ready"
        )

        async def strike(_: Any, handle: Any) -> Any:
            answer = await handle()
            controller.kill()
            return answer

        def concerns(request: Request) -> bool:
            # Lists at the start change nothing that a kill could leave half done.
            return of_the_controller(namespace, request) and request.verb != "list"

        struck = cluster.faults._add(Fault(concerns, number, 1, strike))
        await flow.step(cluster, namespace)
        await cluster.wait(
            partial(_struck_or_converged, cluster, flow, namespace, struck), f"{flow.name}: nothing happens"
        )
        if struck.hits:
            await controller.end(signal.SIGKILL)
            controller.start()
        await converges(cluster, flow, namespace, f"killed after request {number}")
        cluster.faults.remove(struck)
    return bool(struck.hits)


async def _struck_or_converged(cluster: ScaleCluster, flow: Flow, namespace: str, struck: Fault) -> bool:
    return struck.hits > 0 or await flow.has_converged(cluster, namespace)


async def all_of(tries: Iterable[Callable[[], Any]], at_once: int = AT_ONCE) -> int:
    """Try all, several at a time; return how many struck."""
    slots = asyncio.Semaphore(at_once)

    async def one(attempt: Callable[[], Any]) -> bool:
        async with slots:
            return bool(await attempt())

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(attempt)) for attempt in tries]
    return sum(task.result() for task in tasks)


async def table(cluster: ScaleCluster) -> list[tuple[Flow, int]]:
    """Return every request of every flow."""
    return [(flow, n) for flow in FLOWS for n in range(1, await count_requests(cluster, flow) + 1)]


async def test_some_requests_fail(cluster: ScaleCluster, controller: Controller) -> None:
    tries = [(flow, number, name) for flow, number in await table(cluster) for name in FAULTS]
    chosen = random.Random(SEED).sample(tries, 20)
    struck = await all_of(partial(breaks_one_request, cluster, *one) for one in chosen)
    print(f"faults tried: {struck} of {len(tries)}")
    assert struck >= 15


@pytest.mark.full
@pytest.mark.timeout(1800)
async def test_every_request_fails_in_every_way(cluster: ScaleCluster, controller: Controller) -> None:
    tries = [(flow, number, name) for flow, number in await table(cluster) for name in FAULTS]
    struck = await all_of(partial(breaks_one_request, cluster, *one) for one in tries)
    print(f"faults tried: {struck} of {len(tries)}")
    assert struck >= 0.8 * len(tries)


async def _kill_table(cluster: ScaleCluster) -> list[tuple[Flow, int]]:
    orders = Orders(str(cluster.kubeconfig), (), cluster.schedulers.url)
    async with Controller(orders):
        return await table(cluster)


async def test_the_controller_is_killed_after_some_requests(cluster: ScaleCluster) -> None:
    tries = await _kill_table(cluster)
    chosen = random.Random(SEED).sample(tries, 4)
    struck = await all_of((partial(kills_after_one_request, cluster, *one) for one in chosen), at_once=4)
    print(f"kills tried: {struck} of {len(tries)}")
    assert struck >= 3


@pytest.mark.full
@pytest.mark.timeout(1800)
async def test_the_controller_is_killed_after_every_request(cluster: ScaleCluster) -> None:
    tries = await _kill_table(cluster)
    struck = await all_of((partial(kills_after_one_request, cluster, *one) for one in tries), at_once=4)
    print(f"kills tried: {struck} of {len(tries)}")
    assert struck >= 0.8 * len(tries)
