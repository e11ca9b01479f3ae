"""The way to a scheduler, which may be replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from dask_k8s_client import link as link_module
from dask_k8s_client.api import Api
from dask_k8s_client.errors import ForbiddenError, ResourceTimeoutError
from dask_k8s_client.forward import PROTOCOL
from dask_k8s_client.link import Link
from dask_k8s_client.observe import Observed
from tests.faults.client.server import ScriptedServer
from tests.harness.stand_in import refusal
from tests.unit.client.objects import READY, by_name, observed, scheduler_pod, service

READY_SCHEDULER = observed(pods=by_name(scheduler_pod(**READY)), service=service())


class StagedObserver:
    """Shows what a test tells it to show."""

    namespace = "default"

    def __init__(self, api: Api, now: Observed) -> None:
        self.api = api
        self.now = now
        self.pulse = asyncio.Event()

    def show(self, now: Observed) -> None:
        self.now = now
        pulse, self.pulse = self.pulse, asyncio.Event()
        pulse.set()

    async def until(self, is_reached: Callable[[Observed], bool]) -> Observed:
        while not is_reached(self.now):
            await self.pulse.wait()
        return self.now


async def pod(request: web.Request) -> web.StreamResponse:
    """Forward to a pod that sends its name."""
    socket = web.WebSocketResponse(protocols=(PROTOCOL,))
    await socket.prepare(request)
    for channel in (b"\0", b"\1"):
        await socket.send_bytes(channel + b"\0\0")
    name, number = request.path.split("/")[-2], request.query["ports"]
    await socket.send_bytes(b"\0" + f"{name}:{number}".encode())
    async for _ in socket:
        break
    return socket


async def opened(observer: Any, limit: float = 5) -> Link:
    return await Link.open(observer, None, (None, None), limit)


async def answer_at(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return (await asyncio.wait_for(reader.read(100), 5)).decode()
    finally:
        writer.close()


async def test_both_ports_are_forwarded_to_the_pods_own() -> None:
    async with ScriptedServer(pod) as server:
        link = await opened(StagedObserver(server.api, READY_SCHEDULER))
        assert link.address.startswith("tcp://localhost:")
        assert link.dashboard_port is not None
        assert await answer_at(int(link.address.rpartition(":")[2])) == "foo-scheduler:8786"
        assert await answer_at(link.dashboard_port) == "foo-scheduler:8787"
        await link.close()
    # Asking whether we may forward is the first connection itself, not one more.
    assert len(server.asked) == 2


async def test_a_new_connection_waits_for_a_new_scheduler_and_goes_there() -> None:
    async with ScriptedServer(pod) as server:
        observer = StagedObserver(server.api, READY_SCHEDULER)
        link = await opened(observer)
        port = int(link.address.rpartition(":")[2])
        await answer_at(port)
        observer.show(replace(READY_SCHEDULER, pods={}))
        asking = asyncio.create_task(answer_at(port))
        new = scheduler_pod(**READY)
        new["metadata"]["name"] = "foo-scheduler-12345"
        observer.show(replace(READY_SCHEDULER, pods=by_name(new)))
        assert await asking == "foo-scheduler-12345:8786"
        await link.close()


async def test_a_pod_that_has_just_died_is_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "RETRY", 0.01)
    async with ScriptedServer(refusal(404, "NotFound"), refusal(500, "InternalError"), pod) as server:
        link = await opened(StagedObserver(server.api, READY_SCHEDULER))
        assert await answer_at(int(link.address.rpartition(":")[2])) == "foo-scheduler:8786"
        await link.close()


async def test_what_may_not_be_forwarded_is_told_with_the_rule() -> None:
    async with ScriptedServer(refusal(403, "Forbidden")) as server:
        with pytest.raises(ForbiddenError, match="pods/portforward"):
            await opened(StagedObserver(server.api, READY_SCHEDULER))


async def test_what_cannot_be_reached_in_time_is_told_with_the_reason() -> None:
    async with ScriptedServer(refusal(502, "BadGateway", "the node is gone")) as server:
        with pytest.raises(ResourceTimeoutError, match="the node is gone"):
            await opened(StagedObserver(server.api, READY_SCHEDULER), limit=1)


async def test_a_load_balancer_needs_no_forwarding() -> None:
    balanced = service("LoadBalancer", loadBalancer={"ingress": [{"ip": "1.2.3.4"}]})
    async with ScriptedServer({}) as server:
        link = await opened(StagedObserver(server.api, replace(READY_SCHEDULER, service=balanced)))
    assert (link.address, link.host, link.dashboard_port) == ("tcp://1.2.3.4:8786", "1.2.3.4", 8787)
    assert server.asked == []


async def test_a_scheduler_that_turns_to_tls_has_another_address() -> None:
    async with ScriptedServer(pod) as server:
        observer = StagedObserver(server.api, READY_SCHEDULER)
        link = await opened(observer)
        before, dashboard = link.address, link.dashboard()
        encrypted = scheduler_pod(**READY)
        encrypted["spec"]["containers"][0]["args"] = ["dask", "scheduler", "--protocol", "tls"]
        observer.show(replace(READY_SCHEDULER, pods=by_name(encrypted)))
        assert link.renew() == link.address == before.replace("tcp://", "tls://")
        assert link.dashboard() == dashboard
        await link.close()


async def test_a_node_port_that_answers_is_used(free_port: int) -> None:
    listening = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    by_node = service("NodePort")
    by_node["spec"]["ports"][0]["nodePort"] = port
    nodes = {"items": [{"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}}]}
    async with ScriptedServer(nodes) as server:
        link = await opened(StagedObserver(server.api, replace(READY_SCHEDULER, service=by_node)))
        assert link.address == f"tcp://127.0.0.1:{port}"
    listening.close()
    by_node["spec"]["ports"][0]["nodePort"] = free_port
    async with ScriptedServer(nodes, pod) as server:
        link = await opened(StagedObserver(server.api, replace(READY_SCHEDULER, service=by_node)))
        assert link.address.startswith("tcp://localhost:")
        await link.close()


async def test_without_permission_to_list_nodes_ports_are_forwarded() -> None:
    async with ScriptedServer(refusal(403, "Forbidden"), pod) as server:
        link = await opened(StagedObserver(server.api, replace(READY_SCHEDULER, service=service("NodePort"))))
        assert link.address.startswith("tcp://localhost:")
        await link.close()
