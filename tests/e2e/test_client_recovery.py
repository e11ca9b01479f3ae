"""A scheduler that is lost under a connected client, and what comes through a port-forward."""

from __future__ import annotations

import time
from collections.abc import Callable

import dask
import pytest
from distributed import Client

from dask_k8s_client import KubeCluster
from tests.e2e.conftest import DASK_CLUSTERS, pods_of
from tests.harness.kube import Kube, Object
from tests.harness.worker_tasks import sent_to

pytestmark = pytest.mark.usefixtures("controller", "protocol")


def is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def test_a_lost_scheduler_is_replaced_under_the_same_cluster(
    kube: Kube, namespace: str, dask_image: str, caplog: pytest.LogCaptureFixture
) -> None:
    with KubeCluster(
        name="lasting", namespace=namespace, image=dask_image, n_workers=2, quiet=True
    ) as cluster:
        with Client(cluster) as client:
            client.wait_for_workers(2, timeout=120)
            [lost] = pods_of(kube, "lasting", namespace, "scheduler")
            address, link = cluster.scheduler_address, cluster.dashboard_link
            kube.delete("pods", lost["metadata"]["name"], namespace)
            kube.wait_all(
                "pods",
                namespace,
                labelSelector="dask.org/cluster-name=lasting,dask.org/component=scheduler",
                until=lambda pods: any(
                    is_ready(pod) and pod["metadata"]["uid"] != lost["metadata"]["uid"]
                    for pod in pods.values()
                ),
            )
            back = time.monotonic()

        with Client(cluster) as client:
            connected = time.monotonic() - back
            assert client.submit(sum, [10, 1]).result(timeout=120) == 11
            took = time.monotonic() - back
            cluster.wait_for_workers(2, timeout=120)

        # The rest is not ours: nannies take 2.5 s to give up, and new workers import what they need.
        assert connected < 5, f"it took {connected:.1f} s to connect"
        assert took < 15, f"it took {took:.1f} s, {connected:.1f} s of them to connect"
        assert (cluster.scheduler_address, cluster.dashboard_link) == (address, link)
        print(f"{connected:.1f} s after the scheduler's pod was back a client was connected, ", end="")
        print(f"after {took:.1f} s a task had run")


def test_a_cluster_that_turns_to_tls_is_followed_and_one_that_turns_from_it_is_told(
    kube: Kube, namespace: str, dask_image: str, protocol: str
) -> None:
    was_encrypted = protocol == "tls"
    with dask.config.set({"kubernetes.tls": True if was_encrypted else None}):
        cluster = KubeCluster(name="turning", namespace=namespace, image=dask_image, quiet=True)
    with cluster:
        kube.patch(DASK_CLUSTERS, "turning", {"spec": {"tls": None if was_encrypted else {}}}, namespace)
        if was_encrypted:
            wait_until(lambda: "encryption required" in str(cluster._cluster_manager_logs))
            return
        wait_until(lambda: cluster.scheduler_address.startswith("tls://"))
        cluster.scale(1)
        cluster.wait_for_workers(1, timeout=120)
        with Client(cluster) as client:
            assert client.submit(sum, [10, 1]).result(timeout=120) == 11


def wait_until(is_reached: Callable[[], bool], timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not is_reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.full
def test_a_result_of_a_gigabyte_comes_through_whole(namespace: str, dask_image: str) -> None:
    with (
        KubeCluster(name="big", namespace=namespace, image=dask_image, n_workers=1, quiet=True) as cluster,
        Client(cluster, direct_to_workers=False) as client,
    ):
        tasks = sent_to(client)
        assert client.submit(tasks.random_bytes, 2**30).result(timeout=240) == tasks.random_bytes(2**30)
