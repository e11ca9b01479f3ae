"""Health, metrics and lists that are repeated, over HTTP."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from dask_k8s_controller.kubernetes.resources import CLUSTERS, PODS, SERVICES, Key
from dask_k8s_controller.runtime.health import HealthServer, PortTaken
from dask_k8s_controller.runtime.metrics import Metrics
from dask_k8s_controller.runtime.queue import Requeue, WorkQueue
from dask_k8s_controller.settings import Settings
from dask_k8s_controller.watching.relists import Listing, RelistMonitor
from tests.unit.controller.clocks import ManualClock


async def nothing(_: Key) -> Requeue:
    return Requeue.on_change()


async def never(_: Listing) -> None:
    raise AssertionError


class TestHealth:
    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    def server(self, clock: ManualClock, **settings: Any) -> tuple[HealthServer, WorkQueue]:
        queue = WorkQueue(nothing, clock=clock, concurrency=0)
        chosen = Settings(**{"health_port": 0, **settings})
        return HealthServer(chosen, queue, Metrics(), RelistMonitor((), never)), queue

    async def get(self, server: HealthServer, path: str) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{server.port}{path}") as response,
        ):
            return response.status, await response.text()

    async def test_is_good_at_first(self, clock: ManualClock) -> None:
        server, _ = self.server(clock)
        await server.start(is_in_cluster=False)
        try:
            assert (await self.get(server, "/healthz"))[0] == 200
        finally:
            await server.stop()

    async def test_is_bad_when_objects_wait_for_ever(self, clock: ManualClock) -> None:
        server, queue = self.server(clock)
        await server.start(is_in_cluster=False)
        try:
            queue.start()
            queue.add(Key("DaskCluster", "default", "a"))
            clock.advance(121)
            status, text = await self.get(server, "/healthz")
            assert status == 503
            assert "waiting to be reconciled for 121 s" in text
        finally:
            await server.stop()

    async def test_is_good_while_another_replica_leads(self, clock: ManualClock) -> None:
        server, queue = self.server(clock)
        queue.add(Key("DaskCluster", "default", "a"))
        clock.advance(1000)
        assert server.problem() == ""

    async def test_is_bad_when_watches_have_failed_for_long(
        self, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(RelistMonitor, "failing_for", 601.0)
        server, _ = self.server(clock)
        assert server.problem() == "lists or watches have been failing for 601 s"

    async def test_a_port_that_was_asked_for_must_be_free(self, clock: ManualClock) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            server, _ = self.server(clock, health_port=taken.getsockname()[1])
            with pytest.raises(PortTaken, match="health-port"):
                await server.start(is_in_cluster=False)

    async def test_the_usual_port_may_be_taken(
        self, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            monkeypatch.setattr(
                "dask_k8s_controller.runtime.health.DEFAULT_HEALTH_PORT", taken.getsockname()[1]
            )
            server, _ = self.server(clock, health_port=None)
            await server.start(is_in_cluster=False)
            assert server.port is None

    async def test_the_port_that_kopf_takes_is_left_to_it(self, clock: ManualClock) -> None:
        server, _ = self.server(clock, health_port=None)
        await server.start(is_in_cluster=False, taken_port=8080)
        assert server.port is None

    async def test_metrics_are_beside_it(self, clock: ManualClock) -> None:
        server, _ = self.server(clock)
        await server.start(is_in_cluster=False)
        try:
            _, text = await self.get(server, "/metrics")
            assert "dask_controller_queue_depth 0.0" in text
        finally:
            await server.stop()


class TestListsThatAreRepeated:
    @pytest.fixture
    async def listed(self) -> Any:
        """A session that reports to a monitor, and what was reported."""
        seen: list[Listing] = []

        async def note(listing: Listing) -> None:
            seen.append(listing)

        async def answer(request: web.Request) -> web.Response:
            return web.json_response({}, status=int(request.query.get("status", "200")))

        monitor = RelistMonitor((PODS, SERVICES, CLUSTERS), note)
        self.monitor = monitor
        application = web.Application()
        application.router.add_get("/{path:.*}", answer)
        server = TestServer(application)
        await server.start_server()
        async with aiohttp.ClientSession(trace_configs=[monitor.trace()]) as session:

            async def get(path: str) -> None:
                async with session.get(server.make_url(path)) as response:
                    await response.read()
                await asyncio.sleep(0)

            yield get, seen
        await monitor.stop()
        await server.close()

    async def test_the_first_list_is_nothing_new(self, listed: Any) -> None:
        get, seen = listed
        await get("/api/v1/pods?labelSelector=a")
        assert seen == []

    async def test_the_second_one_is_reported(self, listed: Any) -> None:
        get, seen = listed
        for _ in range(2):
            await get("/api/v1/pods?labelSelector=dask.org%2Fcluster-name")
        assert seen == [Listing(PODS, None, "dask.org/cluster-name")]

    async def test_namespaces_are_told_apart(self, listed: Any) -> None:
        get, seen = listed
        await get("/apis/kubernetes.dask.org/v1/namespaces/a/daskclusters")
        await get("/apis/kubernetes.dask.org/v1/namespaces/b/daskclusters")
        assert seen == []
        await get("/apis/kubernetes.dask.org/v1/namespaces/b/daskclusters")
        assert seen == [Listing(CLUSTERS, "b", "")]

    async def test_what_fails_is_known_until_it_works_again(self, listed: Any) -> None:
        get, _ = listed
        await get("/api/v1/pods?status=500&watch=true")
        assert self.monitor.failing_for > 0
        await get("/api/v1/services")
        assert self.monitor.failing_for > 0
        await get("/api/v1/pods?watch=true")
        assert self.monitor.failing_for == 0

    async def test_watches_and_other_resources_are_none_of_it(self, listed: Any) -> None:
        get, seen = listed
        for _ in range(2):
            await get("/api/v1/pods?watch=true")
            await get("/api/v1/nodes")
            await get("/apis/other/v1/daskclusters")
        assert seen == []
