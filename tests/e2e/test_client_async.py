"""Clusters in event loops, several at once, and what is left when they are closed."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from distributed import Client, Status

from dask_k8s_client import KubeCluster, raw
from dask_k8s_client.errors import ForbiddenError
from tests.e2e.conftest import DASK_CLUSTERS
from tests.harness.kube import Kube
from tests.harness.proxy import ApiProxy

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


@pytest.fixture
def made(namespace: str, dask_image: str) -> Callable[..., Coroutine[Any, Any, KubeCluster]]:
    """Return a cluster without workers that has started in the event loop that runs."""

    async def start(**options: Any) -> KubeCluster:
        given = {"name": "mine", "namespace": namespace, "image": dask_image, "quiet": True}
        return await KubeCluster(**given, asynchronous=True, **options)

    return start


async def closed(cluster: KubeCluster) -> None:
    await asyncio.wait_for(cluster.close(), 60)


@pytest.fixture(params=["stopped", "closed"])
def ended(request: pytest.FixtureRequest) -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Run something in an event loop that ends with it."""
    loop = asyncio.new_event_loop()

    def run(made: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(made)

    run_and_end = run if request.param == "closed" else loop.run_until_complete
    yield run_and_end
    if not loop.is_closed():
        loop.run_until_complete(asyncio.gather(*asyncio.all_tasks(loop), return_exceptions=True))
        loop.close()


def test_a_cluster_whose_event_loop_has_ended_is_closed_all_the_same(
    made: Any, ended: Any, kube: Kube, namespace: str
) -> None:
    cluster = ended(made())
    with pytest.raises(RuntimeError, match=r"event loop .* has ended; KubeCluster\.from_name\('mine'\)"):
        cluster.scale(1)
    cluster.close()
    assert cluster.status == Status.closed
    kube.gone(DASK_CLUSTERS, "mine", namespace, timeout=30)
    asyncio.run(closed(cluster))


def test_so_it_is_in_another_event_loop_if_that_is_decided_later(
    made: Any, ended: Any, kube: Kube, namespace: str
) -> None:
    cluster = ended(made(shutdown_on_close=False))
    cluster.shutdown_on_close = True
    asyncio.run(closed(cluster))
    assert cluster.status == Status.closed
    kube.gone(DASK_CLUSTERS, "mine", namespace, timeout=30)


async def test_a_cluster_is_closed_from_another_event_loop_while_its_own_runs(
    made: Any, kube: Kube, namespace: str
) -> None:
    cluster = await made()
    await asyncio.to_thread(asyncio.run, closed(cluster))
    assert cluster.status == Status.closed
    await asyncio.to_thread(kube.gone, DASK_CLUSTERS, "mine", namespace, timeout=1)


async def test_who_gives_up_waiting_for_the_end_does_not_stop_it(
    made: Any, kube: Kube, namespace: str
) -> None:
    cluster = await made()
    is_closing, may_go_on = asyncio.Event(), asyncio.Event()
    say_good_bye = cluster.scheduler_comm.close_rpc

    async def late_good_bye() -> None:
        is_closing.set()
        await may_go_on.wait()
        await say_good_bye()

    cluster.scheduler_comm.close_rpc = late_good_bye
    closing = asyncio.ensure_future(closed(cluster))
    await is_closing.wait()
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    may_go_on.set()
    await closed(cluster)
    assert cluster.status == Status.closed
    await asyncio.to_thread(kube.gone, DASK_CLUSTERS, "mine", namespace, timeout=1)


@pytest.mark.parametrize("problem", [ValueError("what can't be read"), asyncio.CancelledError()])
async def test_whatever_the_scheduler_says_at_the_end_its_cluster_is_deleted(
    made: Any, kube: Kube, namespace: str, problem: BaseException
) -> None:
    cluster = await made()
    say_good_bye = cluster.scheduler_comm.close_rpc

    async def break_off() -> None:
        await say_good_bye()
        raise problem

    cluster.scheduler_comm.close_rpc = break_off
    await closed(cluster)
    assert cluster.status == Status.closed
    await asyncio.to_thread(kube.gone, DASK_CLUSTERS, "mine", namespace, timeout=1)


async def test_a_cluster_that_could_not_be_deleted_is_by_another_close(
    made: Any, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = await made()

    async def refuse(*_: Any, **__: Any) -> None:
        raise ForbiddenError("not now")

    with monkeypatch.context() as patch:
        patch.setattr(raw, "delete", refuse)
        with pytest.raises(ForbiddenError, match="not now"):
            await cluster.close()
    assert "another close" in cluster._repr_html_()
    await closed(cluster)
    assert cluster.status == Status.closed
    await asyncio.to_thread(kube.gone, DASK_CLUSTERS, "mine", namespace, timeout=30)


class CountingProxy(ApiProxy):
    """An API server that counts what it is asked, and by whom."""

    def __init__(self, upstream: Path) -> None:
        super().__init__(upstream)
        self.asked: list[str] = []
        self.askers: set[str] = set()

    def but_tunnels(self) -> list[str]:
        return [one for one in self.asked if not is_tunnel(one)]

    async def _start(self) -> None:
        # Its threads must be told from the client's.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(thread_name_prefix="api-proxy"))
        await super()._start()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.rel_url}")
        self.askers.add(request.headers.get("User-Agent", ""))
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return await super()._handle(request)
        protocols = request.headers["Sec-WebSocket-Protocol"].split(", ")
        near = web.WebSocketResponse(protocols=protocols, max_msg_size=0)
        opening = self._session.ws_connect(
            f"{self._server}{request.raw_path}", protocols=protocols, max_msg_size=0
        )
        async with opening as far:
            await near.prepare(request)
            there, back = asyncio.ensure_future(_relay(near, far)), asyncio.ensure_future(_relay(far, near))
            await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
            for task in (there, back):
                task.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
        return near


def is_tunnel(asked: str) -> bool:
    return "/portforward?" in asked


async def _relay(source: Any, target: Any) -> None:
    async for message in source:
        await target.send_bytes(message.data)


@pytest.fixture
def counting_proxy(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CountingProxy]:
    with CountingProxy(kubeconfig) as proxy:
        monkeypatch.setenv("KUBECONFIG", str(proxy.kubeconfig))
        yield proxy


def test_a_cluster_has_the_port_that_was_asked_for_takes_few_requests_and_leaves_no_thread(
    counting_proxy: CountingProxy, kube: Kube, namespace: str, dask_image: str, free_port: int
) -> None:
    threads = set(threading.enumerate())
    cluster = KubeCluster(
        name="counted",
        namespace=namespace,
        image=dask_image,
        n_workers=1,
        scheduler_forward_port=free_port,
        quiet=True,
    )
    to_create = counting_proxy.but_tunnels()
    with Client(cluster) as client:
        assert cluster.forwarded_dashboard_port == str(free_port)
        assert client.submit(sum, [10, 1]).result(timeout=120) == 11
    cluster.close()
    cluster.close()
    assert "Closed, and the cluster deleted." in cluster._repr_html_()
    assert cluster.observed == set()

    # The cluster itself; five watches, and a list where that of the events begins. For want of time Dask
    # connects once more: how many tunnels there are isn't the client's choice, only that each is wanted.
    assert sum(one.startswith("POST") for one in to_create) == 1
    assert len(to_create) <= 7, "\n".join(to_create)
    # It is deleted, and seen to go.
    assert len(counting_proxy.but_tunnels()) <= 9, "\n".join(counting_proxy.asked)
    tunnels = [one for one in counting_proxy.asked if is_tunnel(one)]
    assert {one.partition("portforward?")[2] for one in tunnels} == {"ports=8786"}
    assert counting_proxy.askers == {"dask-k8s-client"}, "who else sends requests?"
    kube.gone(DASK_CLUSTERS, "counted", namespace, timeout=5)
    gc.collect()
    # Dask's own pool of threads for serialization belongs to the process.
    others = ("Dask-Offload", "api-proxy")
    left = [one for one in set(threading.enumerate()) - threads if not one.name.startswith(others)]
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
