"""Workers whose pods others delete leave without loss: results are moved, and no task runs twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from distributed import wait

from tests.conformance.waiting import condition_is, eventually
from tests.e2e.conftest import pods_of
from tests.e2e.test_scaling import await_workers, connected, executions, workers_of
from tests.harness.kube import Kube, Object, Refused
from tests.harness.worker_tasks import sent_to

Manifest = Callable[..., Object]

pytestmark = pytest.mark.usefixtures("controller", "protocol")


def await_end(kube: Kube, namespace: str, gone: list[Object]) -> None:
    uids = {pod["metadata"]["uid"] for pod in gone}
    kube.wait_all(
        "pods",
        namespace,
        until=lambda pods: not uids & {pod["metadata"]["uid"] for pod in pods.values()},
        timeout=180,
    )


def lose_half(
    kube: Kube, namespace: str, manifest: Object, take: Callable[[Object], object], seconds: float = 20
) -> None:
    """Take 2 of 4 workers that hold results and run tasks."""
    kube.create(manifest, namespace)
    with connected("leaving", namespace, 4) as client:
        tasks = sent_to(client)
        results = client.map(tasks.make, range(40), pure=False)
        wait(results, timeout=120)
        long = client.map(tasks.work, range(4), seconds=seconds, pure=False)
        short = client.map(tasks.work, range(4, 44), seconds=0.2, pure=False)
        gone = workers_of(kube, namespace, "leaving-default")[:2]
        for pod in gone:
            take(pod)

        assert sorted(client.gather(long + short)) == [*range(44)]
        await_end(kube, namespace, gone)
        await_workers(kube, namespace, "leaving", 4)
        assert sorted(number for number, _ in client.gather(results)) == [*range(40)]
        assert {name: count for name, count in executions(client).items() if count != 1} == {}


def test_pods_that_are_evicted_lose_no_result_and_run_no_task_twice(
    kube: Kube, namespace: str, cluster_manifest: Manifest
) -> None:
    def take(pod: Object) -> None:
        assert evict(kube, namespace, pod) == 201

    lose_half(kube, namespace, cluster_manifest("leaving", n_workers=4), take)


@pytest.mark.full
@pytest.mark.parametrize("number", range(20))
def test_pods_that_are_evicted_again_and_again(
    kube: Kube, namespace: str, cluster_manifest: Manifest, number: int
) -> None:
    def take(pod: Object) -> None:
        assert evict(kube, namespace, pod) == 201

    lose_half(kube, namespace, cluster_manifest("leaving", n_workers=4), take)


def test_a_budget_lets_workers_go_one_after_the_other(
    kube: Kube, namespace: str, cluster_manifest: Manifest
) -> None:
    manifest = cluster_manifest("leaving", n_workers=2)
    for component in ("scheduler", "worker"):
        manifest["spec"][component]["disruptionBudget"] = {}
    kube.create(manifest, namespace)
    with connected("leaving", namespace, 2) as client:
        results = client.map(sent_to(client).make, range(40), pure=False)
        wait(results, timeout=120)
        first, second = workers_of(kube, namespace, "leaving-default")
        await_budget(kube, namespace, "leaving-default", healthy=2)
        await_budget(kube, namespace, "leaving-scheduler", healthy=1)

        assert evict(kube, namespace, first) == 201
        assert evict(kube, namespace, second) == 429
        assert evict(kube, namespace, pods_of(kube, "leaving", namespace, "scheduler")[0]) == 429

        eventually(lambda: evict(kube, namespace, second), until=lambda code: code == 201, timeout=180)
        others = {first["metadata"]["uid"], second["metadata"]["uid"]}
        (successor,) = (
            pod
            for pod in workers_of(kube, namespace, "leaving-default")
            if pod["metadata"]["uid"] not in others and condition_is(pod, "Ready")
        )
        assert "deletionTimestamp" not in successor["metadata"]
        await_end(kube, namespace, [first, second])
        await_workers(kube, namespace, "leaving", 2)
        assert sorted(number for number, _ in client.gather(results)) == [*range(40)]
        assert {name: count for name, count in executions(client).items() if count != 1} == {}


def await_budget(kube: Kube, namespace: str, name: str, healthy: int) -> None:
    """Wait until a PodDisruptionBudget counts so many pods."""
    kube.wait(
        "poddisruptionbudgets.policy",
        name,
        namespace,
        until=lambda budget: budget.get("status", {}).get("currentHealthy") == healthy,
    )


def evict(kube: Kube, namespace: str, pod: Object) -> int:
    """Ask for a pod's eviction, as a drain does; return what the API server answers."""
    name = pod["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    try:
        kube.request("POST", kube.path("pods", namespace, name, "eviction"), json=eviction)
    except Refused as refused:
        return refused.code
    return 201


def test_a_worker_that_is_alone_waits_for_its_successor(
    kube: Kube, namespace: str, cluster_manifest: Manifest
) -> None:
    kube.create(cluster_manifest("leaving", n_workers=1), namespace)
    with connected("leaving", namespace, 1) as client:
        tasks = sent_to(client)
        results = client.map(tasks.make, range(10), pure=False)
        wait(results, timeout=120)
        (pod,) = workers_of(kube, namespace, "leaving-default")
        kube.delete("pods", pod["metadata"]["name"], namespace)
        kube.wait_all(
            "pods",
            namespace,
            until=lambda pods: (
                pod["metadata"]["uid"] not in {one["metadata"]["uid"] for one in pods.values()}
            ),
            timeout=180,
            labelSelector="dask.org/component=worker",
        )
        assert sorted(number for number, _ in client.gather(results)) == [*range(10)]
        assert {name: count for name, count in executions(client).items() if count != 1} == {}
