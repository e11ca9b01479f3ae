"""Health and metrics, over HTTP."""

from __future__ import annotations

import socket
from typing import Any

import aiohttp
import pytest

from dask_k8s_controller.kubernetes.resources import Key
from dask_k8s_controller.runtime.health import HealthServer, PortTaken
from dask_k8s_controller.runtime.metrics import Metrics
from dask_k8s_controller.runtime.queue import Requeue, WorkQueue
from dask_k8s_controller.settings import Settings
from dask_k8s_controller.watching.watches import Watches
from tests.harness.clocks import ManualClock


async def nothing(_: Key) -> Requeue:
    return Requeue.on_change()


class TestHealth:
    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    def server(self, clock: ManualClock, **settings: Any) -> tuple[HealthServer, WorkQueue]:
        queue = WorkQueue(nothing, clock=clock, concurrency=0)
        chosen = Settings(**{"health_port": 0, **settings})
        return HealthServer(chosen, queue, Metrics(), Watches(())), queue

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
        monkeypatch.setattr(Watches, "failing_for", 601.0)
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
            assert "dask_controller_loop_lag_seconds_count 0.0" in text
        finally:
            await server.stop()
