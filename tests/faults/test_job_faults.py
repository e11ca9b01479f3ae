"""Every request that is made for a job fails once, in every way; the controller is killed after each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dask_k8s_local.interfaces import Object
from tests.faults.cluster import CLUSTERS, ScaleCluster, condition
from tests.faults.faulty import FAULTS, JOBS, Check, Flow, Runners, Step, Trials, components
from tests.faults.flows import manifest as cluster_manifest

SEED = 20261123


def job(**spec: Any) -> Object:
    pod = {"containers": [{"name": "job", "image": "dask:1", "args": ["python"]}], "restartPolicy": "Never"}
    if "clusterRef" not in spec:
        spec = {"cluster": {"spec": cluster_manifest(1)["spec"]}, **spec}
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskJob",
        "metadata": {"name": "c" if "cluster" in spec else "guest"},
        "spec": {"job": {"spec": pod}, "minReadyWorkers": 1, **spec},
    }


def creates(**spec: Any) -> Step:
    async def step(cluster: ScaleCluster, namespace: str) -> None:
        await cluster.client.create(JOBS, namespace, job(**spec))

    return step


def suspends(value: bool) -> Step:
    async def step(cluster: ScaleCluster, namespace: str) -> None:
        await cluster.client.patch(JOBS, namespace, "c", {"spec": {"suspend": value}})

    return step


async def nothing(cluster: ScaleCluster, namespace: str) -> None:
    pass


async def is_nothing(cluster: ScaleCluster, namespace: str) -> bool:
    return True


async def deletes(cluster: ScaleCluster, namespace: str) -> None:
    await cluster.client.delete(JOBS, namespace, "c")


async def makes_a_cluster(cluster: ScaleCluster, namespace: str) -> None:
    await cluster.client.create(CLUSTERS, namespace, cluster_manifest(1))


async def has_a_cluster(cluster: ScaleCluster, namespace: str) -> bool:
    return condition(await cluster.get(CLUSTERS, namespace, "c"), "Ready") == "True"


def is_job(word: str, *pods: str, name: str = "c", **status: Any) -> Check:
    """Whether a job has that status, and exactly these pods are left."""

    async def check(cluster: ScaleCluster, namespace: str) -> bool:
        found = await cluster.get(JOBS, namespace, name)
        present = (found or {}).get("status", {})
        has_cluster = await cluster.get(CLUSTERS, namespace, "c") is not None
        return (
            present.get("jobStatus") == word
            and all(present.get(key) == value for key, value in status.items())
            and await components(cluster, namespace) == sorted(pods)
            and has_cluster == ("scheduler" in pods)
        )

    return check


async def is_gone(cluster: ScaleCluster, namespace: str) -> bool:
    lists = [await cluster.client.list(resource, namespace) for resource in (JOBS, CLUSTERS, "pods")]
    return not any(lists)


ALL = ("scheduler", "worker", "job-runner")
RUNNING = is_job("Running", *ALL)


def flows(runners: Runners) -> tuple[Flow, ...]:
    def and_ends(step: Step, **ends: str) -> Step:
        async def both(cluster: ScaleCluster, namespace: str) -> None:
            await step(cluster, namespace)
            await runners.end(namespace, **ends)

        return both

    fine = {"c_runner": "Succeeded"}
    return (
        Flow(
            "success",
            nothing,
            is_nothing,
            and_ends(creates(), **fine),
            is_job("Successful", "job-runner", attempts=1),
            pods=3,
        ),
        Flow(
            "failure",
            nothing,
            is_nothing,
            and_ends(creates(backoffLimit=0), c_runner="Failed"),
            is_job("Failed", "job-runner", attempts=1),
            pods=3,
        ),
        Flow(
            "second attempt",
            creates(backoffLimit=1),
            RUNNING,
            and_ends(nothing, c_runner="Failed", c_runner_2="Succeeded"),
            is_job("Successful", "job-runner", "job-runner", attempts=2, jobRunnerPodName="c-runner-2"),
            pods=4,
        ),
        Flow(
            "suspend",
            creates(backoffLimit=0),
            RUNNING,
            suspends(True),
            is_job("JobCreated", attempts=1, startTime=None),
            pods=3,
        ),
        Flow(
            "resume",
            creates(suspend=True, backoffLimit=0),
            is_job("JobCreated", attempts=0),
            and_ends(suspends(False), **fine),
            is_job("Successful", "job-runner", attempts=1),
            pods=3,
        ),
        Flow(
            "use a cluster",
            makes_a_cluster,
            has_a_cluster,
            and_ends(creates(clusterRef={"name": "c"}), guest_runner="Succeeded"),
            is_job("Successful", *ALL, name="guest", attempts=1),
            pods=3,
        ),
        Flow(
            "time to live",
            creates(ttlSecondsAfterFinished=0),
            RUNNING,
            and_ends(nothing, **fine),
            is_gone,
            pods=3,
        ),
        Flow("delete", creates(), RUNNING, deletes, is_gone, pods=3),
    )


@pytest.fixture
async def trials(tmp_path: Path) -> AsyncIterator[Trials]:
    async with ScaleCluster(tmp_path) as cluster:
        yield Trials(cluster)


@pytest.fixture
async def all_flows(trials: Trials) -> AsyncIterator[tuple[Flow, ...]]:
    runners = Runners(trials.cluster)
    watching = asyncio.create_task(runners.run())
    yield flows(runners)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def table(trials: Trials, all_flows: tuple[Flow, ...]) -> list[tuple[Flow, int]]:
    """Return every request of every flow."""
    return [(flow, n) for flow in all_flows for n in range(1, await trials.requests(flow) + 1)]


@pytest.mark.parametrize("sample", [12, pytest.param(None, marks=pytest.mark.full)])
@pytest.mark.timeout(1800)
async def test_requests_fail(trials: Trials, all_flows: tuple[Flow, ...], sample: int | None) -> None:
    async with trials.controller():
        tries = [(*one, how) for one in await table(trials, all_flows) for how in FAULTS]
        chosen = random.Random(SEED).sample(tries, sample or len(tries))
        struck = await trials.all_of([partial(trials.fails, *one) for one in chosen])
    print(f"faults tried: {struck} of {len(tries)}")
    assert struck >= 0.6 * len(chosen)  # Not every run takes as many requests.


@pytest.mark.parametrize("sample", [4, pytest.param(None, marks=pytest.mark.full)])
@pytest.mark.timeout(1800)
async def test_the_controller_is_killed(
    trials: Trials, all_flows: tuple[Flow, ...], sample: int | None
) -> None:
    async with trials.controller():
        tries = await table(trials, all_flows)
    chosen = random.Random(SEED).sample(tries, sample or len(tries))
    struck = await trials.all_of([partial(trials.kills, *one) for one in chosen], at_once=4)
    print(f"kills tried: {struck} of {len(tries)}")
    assert struck >= 0.6 * len(chosen)  # Not every run takes as many requests.
