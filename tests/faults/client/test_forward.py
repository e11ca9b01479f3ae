"""Forwarded ports, against a server that speaks Kubernetes' protocol."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from dask_k8s_client.connect import answers
from dask_k8s_client.errors import NotFoundError, UnreachableError
from dask_k8s_client.forward import PROTOCOL, PortForward, Tunnel
from tests.faults.client.server import ScriptedServer


async def echo(request: web.Request) -> web.StreamResponse:
    """Forward to a pod that sends back what it gets, and closes after ``bye``."""
    socket = web.WebSocketResponse(protocols=(PROTOCOL,), max_msg_size=0)
    await socket.prepare(request)
    port = int(request.query["ports"]).to_bytes(2, "little")
    await socket.send_bytes(b"\0" + port)
    await socket.send_bytes(b"\1" + port)
    async for message in socket:
        assert message.data[0] == 0
        if message.data[1:] == b"bye":
            break
        if message.data[1:] == b"fail":
            await socket.send_bytes(b"\1no such port")
        await socket.send_bytes(message.data)
    return socket


@pytest.fixture
async def forward() -> AsyncIterator[PortForward]:
    async with ScriptedServer(echo) as server:

        async def tunnel() -> Tunnel:
            return await Tunnel.open(server.api, "/portforward", 8786)

        forward = PortForward(tunnel)
        await forward.start()
        yield forward
        await forward.close()


async def connection(forward: PortForward) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", forward.port)


async def test_bytes_go_there_and_back(forward: PortForward) -> None:
    reader, writer = await connection(forward)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    writer.close()
    await writer.wait_closed()


async def test_megabytes_come_through_whole_and_in_order(forward: PortForward) -> None:
    reader, writer = await connection(forward)
    sent = b"".join(hashlib.sha256(str(n).encode()).digest() for n in range(2**18))
    receiving = asyncio.create_task(reader.readexactly(len(sent)))
    writer.write(sent)
    await writer.drain()
    assert await receiving == sent
    writer.close()
    await writer.wait_closed()


async def test_connections_do_not_mix(forward: PortForward) -> None:
    connections = [await connection(forward) for _ in range(5)]
    for number, (_, writer) in enumerate(connections):
        writer.write(b"%d" % number)
    assert [await reader.readexactly(1) for reader, _ in connections] == [b"0", b"1", b"2", b"3", b"4"]
    for _, writer in connections:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("last", [b"bye", b"fail"])
async def test_the_connection_ends_when_the_pod_ends_it(forward: PortForward, last: bytes) -> None:
    reader, writer = await connection(forward)
    writer.write(last)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    await writer.wait_closed()


async def test_closing_ends_all_connections(forward: PortForward) -> None:
    reader, writer = await connection(forward)
    writer.write(b"hello")
    await reader.readexactly(5)
    await forward.close()
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    with pytest.raises(OSError, match="onnect"):
        await connection(forward)


@pytest.mark.parametrize("error", [NotFoundError("pod is gone"), UnreachableError("no network")])
async def test_a_failed_tunnel_ends_only_its_connection(error: Exception) -> None:
    async def no_tunnel() -> Tunnel:
        raise error

    forward = PortForward(no_tunnel)
    await forward.start()
    for _ in range(2):
        reader, writer = await connection(forward)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
    await forward.close()


async def test_a_taken_port_is_named(forward: PortForward) -> None:
    with pytest.raises(OSError, match=f"Cannot forward the local port {forward.port}"):
        await PortForward(forward._open_tunnel, forward.port).start()


async def test_a_closed_port_is_noticed(free_port: int) -> None:
    assert not await answers("127.0.0.1", free_port)
