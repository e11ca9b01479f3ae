"""A scheduler that is lost under a connected client, and what comes through a port-forward."""

from __future__ import annotations

import time

import pytest
from distributed import Client

from dask_k8s_client import KubeCluster
from tests.e2e.conftest import pods_of
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


@pytest.mark.full
def test_a_result_of_a_gigabyte_comes_through_whole(namespace: str, dask_image: str) -> None:
    with (
        KubeCluster(name="big", namespace=namespace, image=dask_image, n_workers=1, quiet=True) as cluster,
        Client(cluster, direct_to_workers=False) as client,
    ):
        tasks = sent_to(client)
        assert client.submit(tasks.random_bytes, 2**30).result(timeout=240) == tasks.random_bytes(2**30)
