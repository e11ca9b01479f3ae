"""Every request made for an autoscaler fails once, in every way; the controller is killed after each."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dask_k8s_local.interfaces import Object
from tests.faults.cluster import CLUSTERS, ScaleCluster, condition
from tests.faults.faulty import (
    AUTOSCALERS,
    FAULTS,
    Check,
    Flow,
    Step,
    Trials,
    demand_file,
    is_settled_group,
)
from tests.faults.flows import manifest as cluster_manifest

SEED = 20261123

AT_ONCE = {
    "scaleUp": {"stabilizationWindowSeconds": 0},
    "scaleDown": {"stabilizationWindowSeconds": 0, "maxPercent": 100},
}


def autoscaler(**spec: Any) -> Object:
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskAutoscaler",
        "metadata": {"name": "c"},
        "spec": {"cluster": "c", "maximum": 5, "behavior": AT_ONCE, **spec},
    }


def a_cluster(replicas: int, **spec: Any) -> Step:
    """A cluster whose scheduler could use as many workers as there are, autoscaled if there is a spec."""

    async def step(cluster: ScaleCluster, namespace: str) -> None:
        demand_file(cluster.folder, namespace).write_text(str(replicas))
        await cluster.client.create(CLUSTERS, namespace, cluster_manifest(replicas))
        if spec:
            await cluster.client.create(AUTOSCALERS, namespace, autoscaler(**spec))

    return step


def wants(workers: int) -> Step:
    async def step(cluster: ScaleCluster, namespace: str) -> None:
        demand_file(cluster.folder, namespace).write_text(str(workers))

    return step


def attaches(**spec: Any) -> Step:
    async def step(cluster: ScaleCluster, namespace: str) -> None:
        await cluster.client.create(AUTOSCALERS, namespace, autoscaler(**spec))

    return step


async def detaches(cluster: ScaleCluster, namespace: str) -> None:
    await cluster.client.delete(AUTOSCALERS, namespace, "c")
    demand_file(cluster.folder, namespace).write_text("5")


def is_autoscaled(replicas: int) -> Check:
    """Whether there are so many workers and the autoscaler's status says so."""

    async def check(cluster: ScaleCluster, namespace: str) -> bool:
        found = await cluster.get(AUTOSCALERS, namespace, "c")
        status = (found or {}).get("status", {})
        return (
            await is_settled_group(cluster, namespace, replicas)
            and condition(found, "Ready") == "True"
            and status.get("desiredReplicas") == status.get("currentReplicas") == replicas
            and found is not None
            and found["metadata"]["ownerReferences"][0]["kind"] == "DaskCluster"
        )

    return check


def is_alone(replicas: int) -> Check:
    """Whether there are so many workers without any autoscaler."""

    async def check(cluster: ScaleCluster, namespace: str) -> bool:
        is_attached = await cluster.get(AUTOSCALERS, namespace, "c") is not None
        return not is_attached and await is_settled_group(cluster, namespace, replicas)

    return check


FLOWS = (
    Flow("grow", a_cluster(1, minimum=1), is_autoscaled(1), wants(4), is_autoscaled(4), pods=5),
    Flow("shrink", a_cluster(4, minimum=1), is_autoscaled(4), wants(1), is_autoscaled(1), pods=5),
    Flow("to zero", a_cluster(2, minimum=0), is_autoscaled(2), wants(0), is_autoscaled(0), pods=3),
    Flow("attach", a_cluster(1), is_alone(1), attaches(minimum=3), is_autoscaled(3), pods=4),
    Flow("detach", a_cluster(2, minimum=1), is_autoscaled(2), detaches, is_alone(2), pods=3),
)


@pytest.fixture
async def trials(tmp_path: Path) -> AsyncIterator[Trials]:
    async with ScaleCluster(tmp_path) as cluster:
        yield Trials(cluster)


async def table(trials: Trials) -> list[tuple[Flow, int]]:
    """Return every request of every flow."""
    return [(flow, n) for flow in FLOWS for n in range(1, await trials.requests(flow) + 1)]


@pytest.mark.parametrize("sample", [8, pytest.param(None, marks=pytest.mark.full)])
@pytest.mark.timeout(1800)
async def test_requests_fail(trials: Trials, sample: int | None) -> None:
    async with trials.controller():
        tries = [(*one, how) for one in await table(trials) for how in FAULTS]
        chosen = random.Random(SEED).sample(tries, sample or len(tries))
        struck = await trials.all_of([partial(trials.fails, *one) for one in chosen])
    print(f"faults tried: {struck} of {len(tries)}")
    assert struck >= 0.4 * len(chosen)  # Not every run takes as many requests.


@pytest.mark.parametrize("sample", [4, pytest.param(None, marks=pytest.mark.full)])
@pytest.mark.timeout(1800)
async def test_the_controller_is_killed(trials: Trials, sample: int | None) -> None:
    async with trials.controller():
        tries = await table(trials)
    chosen = random.Random(SEED).sample(tries, sample or len(tries))
    struck = await trials.all_of([partial(trials.kills, *one) for one in chosen], at_once=4)
    print(f"kills tried: {struck} of {len(tries)}")
    assert struck >= 0.4 * len(chosen)  # Not every run takes as many requests.
