"""API servers behind proxies, as a kubeconfig's ``proxy-url`` names them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import trustme
from aiohttp import web

from dask_k8s_client import raw
from dask_k8s_client.api import Api
from dask_k8s_credentials import Credentials
from tests.faults.client.server import ScriptedServer, an_object
from tests.harness.stand_in import tls


class Proxy:
    """Leads on to wherever its clients want; speaks HTTP's CONNECT and SOCKS 5."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readexactly(1)
        is_socks = first == b"\5"
        host, port = await (self._socks(reader, writer) if is_socks else self._connect(reader, writer))
        self.asked.append("socks" if is_socks else "http")
        there, back = await asyncio.open_connection(host, port)
        writer.write(b"\5\0\0\1\0\0\0\0\0\0" if is_socks else b"HTTP/1.1 200 OK\r\n\r\n")
        for source, target in ((reader, back), (there, writer)):
            self._tasks.add(asyncio.ensure_future(self._carry(source, target)))

    async def _connect(self, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> tuple[str, int]:
        head = await reader.readuntil(b"\r\n\r\n")
        host, _, port = head.split()[1].decode().rpartition(":")
        return host, int(port)

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int]:
        await reader.readexactly((await reader.readexactly(1))[0])
        writer.write(b"\5\0")
        kind = (await reader.readexactly(4))[3]
        if kind == 1:
            host = socket.inet_ntoa(await reader.readexactly(4))
        else:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        return host, int.from_bytes(await reader.readexactly(2), "big")

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(2**16):
            target.write(data)
        target.close()


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    yield proxy
    await proxy.close()


async def answer(request: web.Request) -> web.StreamResponse:
    if "upgrade" not in request.headers.get("Connection", "").lower():
        return web.json_response(an_object())
    opened = web.WebSocketResponse()
    await opened.prepare(request)
    await opened.send_bytes(b"hello")
    return opened


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
async def test_requests_and_websockets_go_through_the_proxy(proxy: Proxy, scheme: str) -> None:
    authority = trustme.CA()
    _, trusting = tls(authority)
    port = await proxy.start()
    async with ScriptedServer(answer, authority=authority) as server:
        credentials = Credentials(server.url, ssl_context=trusting, proxy=f"{scheme}://127.0.0.1:{port}")
        async with Api(loader=lambda: credentials) as api:
            assert await raw.get(api, "/x") == an_object()
            async with api.open_websocket(version="", base="/x") as opened:
                assert await opened.receive_bytes() == b"hello"
    assert set(proxy.asked) == {"http" if scheme == "http" else "socks"}
