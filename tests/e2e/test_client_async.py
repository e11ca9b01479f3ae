"""Clusters in event loops, several at once, and what is left when they are closed."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading

import aiohttp
import pytest
from distributed import Client

from dask_k8s_client import KubeCluster
from tests.e2e.conftest import DASK_CLUSTERS
from tests.harness.kube import Kube

pytestmark = pytest.mark.usefixtures("controller")


async def test_several_clusters_live_on_one_event_loop(kube: Kube, namespace: str, dask_image: str) -> None:
    async def result(name: str) -> int:
        async with (
            KubeCluster(
                name=name, namespace=namespace, image=dask_image, n_workers=1, asynchronous=True, quiet=True
            ) as cluster,
            Client(cluster, asynchronous=True) as client,
        ):
            assert cluster.asynchronous
            return await client.submit(sum, [10, 1])

    assert await asyncio.gather(result("fizz"), result("buzz")) == [11, 11]
    await asyncio.to_thread(kube.wait_all, DASK_CLUSTERS, namespace, until=lambda found: not found)


async def test_a_start_that_is_cancelled_leaves_nothing(kube: Kube, namespace: str) -> None:
    cluster = KubeCluster(
        name="cancelled",
        namespace=namespace,
        image="registry.invalid/dask:none",
        asynchronous=True,
        resource_timeout=600,
        quiet=True,
    )

    async def start() -> None:
        await cluster

    starting = asyncio.create_task(start())
    await asyncio.to_thread(kube.wait, DASK_CLUSTERS, "cancelled", namespace, until=bool)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await asyncio.to_thread(kube.gone, DASK_CLUSTERS, "cancelled", namespace, timeout=30)
    await cluster.close()
    with pytest.raises(ValueError, match="closed"):
        await cluster


def test_a_cluster_has_the_port_that_was_asked_for_takes_few_requests_and_leaves_no_thread(
    kube: Kube, namespace: str, dask_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[str] = []
    request = aiohttp.ClientSession._request

    async def counted(self: aiohttp.ClientSession, method: str, url: str, **kwargs: object) -> object:
        if "/api" in str(url):  # not the probes of the local Kubernetes, which runs in this process
            requests.append(f"{method} {url}")
        return await request(self, method, url, **kwargs)

    monkeypatch.setattr(aiohttp.ClientSession, "_request", counted)
    threads = set(threading.enumerate())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    cluster = KubeCluster(
        name="counted",
        namespace=namespace,
        image=dask_image,
        n_workers=1,
        scheduler_forward_port=port,
        quiet=True,
    )
    to_create = list(requests)
    with Client(cluster) as client:
        assert cluster.forwarded_dashboard_port == str(port)
        assert client.submit(sum, [10, 1]).result(timeout=120) == 11
    cluster.close()
    cluster.close()
    assert "Closed, and the cluster deleted." in cluster._repr_html_()
    assert cluster.observed == set()

    # The cluster itself; five watches, and a list where that of the events begins; two tunnels.
    assert sum(one.startswith("POST") for one in to_create) == 1
    assert len(to_create) <= 10, "\n".join(to_create)
    assert len(requests) <= 16, "\n".join(requests)
    kube.gone(DASK_CLUSTERS, "counted", namespace, timeout=5)
    gc.collect()
    # Dask's own pool of threads for serialization belongs to the process.
    left = [one for one in set(threading.enumerate()) - threads if "Dask-Offload" not in one.name]
    for thread in left:
        thread.join(timeout=5)  # An event loop tells its threads to end, and doesn't wait for them.
    assert [thread.name for thread in left if thread.is_alive()] == []


def test_a_taken_local_port_is_named(namespace: str, dask_image: str, kube: Kube) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"local port {port}.*another port"):
            KubeCluster(
                name="port", namespace=namespace, image=dask_image, scheduler_forward_port=port, quiet=True
            )
    kube.gone(DASK_CLUSTERS, "port", namespace, timeout=30)
