"""Workers whose pods others delete leave without loss: results are moved, and no task runs twice."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from distributed import wait

from tests.e2e.conftest import DASK_CLUSTERS, is_running
from tests.e2e.test_scaling import await_workers, connected, executions, workers_of
from tests.harness.kube import Kube, Object
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


def lose_half(kube: Kube, namespace: str, manifest: Object) -> None:
    """Delete 2 of 4 workers that hold results and run tasks, as anybody may."""
    kube.create(manifest, namespace)
    with connected("leaving", namespace, 4) as client:
        tasks = sent_to(client)
        results = client.map(tasks.make, range(40), pure=False)
        wait(results, timeout=120)
        long = client.map(tasks.work, range(4), seconds=8, pure=False)
        short = client.map(tasks.work, range(4, 44), seconds=0.2, pure=False)
        gone = workers_of(kube, namespace, "leaving-default")[:2]
        for pod in gone:
            kube.delete("pods", pod["metadata"]["name"], namespace)

        assert sorted(client.gather(long + short)) == [*range(44)]
        await_end(kube, namespace, gone)
        await_workers(kube, namespace, "leaving", 4)
        assert sorted(number for number, _ in client.gather(results)) == [*range(40)]
        assert {name: count for name, count in executions(client).items() if count != 1} == {}


def test_pods_that_are_deleted_lose_no_result_and_run_no_task_twice(
    kube: Kube, namespace: str, cluster_manifest: Manifest
) -> None:
    lose_half(kube, namespace, cluster_manifest("leaving", n_workers=4))


@pytest.mark.full
@pytest.mark.parametrize("number", range(20))
def test_pods_that_are_deleted_again_and_again(
    kube: Kube, namespace: str, cluster_manifest: Manifest, number: int
) -> None:
    lose_half(kube, namespace, cluster_manifest("leaving", n_workers=4))


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


def test_a_cluster_that_is_deleted_waits_for_nobody(
    kube: Kube, namespace: str, cluster_manifest: Manifest
) -> None:
    kube.create(cluster_manifest("leaving", n_workers=3), namespace)
    kube.wait(DASK_CLUSTERS, "leaving", namespace, until=is_running, timeout=120)
    with connected("leaving", namespace, 3) as client:
        wait(client.map(sent_to(client).make, range(30), pure=False), timeout=120)
        begin = time.monotonic()
        kube.delete(DASK_CLUSTERS, "leaving", namespace)
        kube.wait_all("pods", namespace, until=lambda pods: not pods, timeout=60)
    assert time.monotonic() - begin < 20
