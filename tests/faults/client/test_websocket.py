"""The WebSocket of tunnels: frames in any pieces, heartbeats, and an end that loses nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from dask_k8s_client import websocket
from dask_k8s_client.errors import UnreachableError
from dask_k8s_client.forward import PROTOCOL, PortForward, Tunnel
from dask_k8s_client.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, WebSocket
from tests.faults.client.server import ScriptedServer


def frame(opcode: int, content: bytes, *, is_final: bool = True) -> bytes:
    """Return a server's frame."""
    head = bytes((0x80 * is_final | opcode,))
    size = len(content)
    if size < 126:
        return head + bytes((size,)) + content
    if size < 2**16:
        return head + b"\x7e" + size.to_bytes(2, "big") + content
    return head + b"\x7f" + size.to_bytes(8, "big") + content


def unmasked(sent: bytes) -> list[tuple[int, bytes]]:
    """Take a client's frames apart."""
    found = []
    while sent:
        opcode, size, start = sent[0] & 0x0F, sent[1] & 0x7F, 2
        assert sent[1] & 0x80, "a client's frames are masked"
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(sent[2:start], "big")
        key, content = sent[start : start + 4], sent[start + 4 : start + 4 + size]
        found.append((opcode, bytes(byte ^ key[n % 4] for n, byte in enumerate(content))))
        sent = sent[start + 4 + size :]
    return found


class Pieces:
    """A connection on which these pieces come, and then nothing or the end."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.sent = b""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        await asyncio.sleep(0)
        return self.pieces.pop(0) if self.pieces else b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.sent += buffer


async def messages(stream: Pieces) -> list[bytes]:
    found: list[bytes] = []
    async with WebSocket(stream) as socket:
        async for content, begins in socket.parts():
            if begins:
                found.append(b"")
            found[-1] += content
    return found


@given(
    contents=st.lists(st.binary(min_size=1, max_size=300), max_size=6),
    cuts=st.lists(st.integers(0, 2000), max_size=8),
    fragments=st.integers(1, 3),
)
def test_messages_come_whole_in_whatever_pieces(
    contents: list[bytes], cuts: list[int], fragments: int
) -> None:
    sent = b""
    for content in contents:
        step = -(-len(content) // fragments)
        parts = [content[at : at + step] for at in range(0, len(content), step)]
        for number, part in enumerate(parts):
            opcode = CONTINUATION if number else BINARY
            sent += frame(opcode, part, is_final=number == len(parts) - 1) + frame(PING, b"between")
    places = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})
    pieces = [sent[start:end] for start, end in pairwise(places)]
    assert asyncio.run(messages(Pieces(*pieces, frame(CLOSE, b"")))) == contents


@pytest.mark.parametrize("size", [0, 1, 125, 126, 2**16 - 1, 2**16, 2**18 + 3])
async def test_what_is_sent_is_masked_and_whole(size: int) -> None:
    content = bytes(n % 251 for n in range(size))
    stream = Pieces()
    async with WebSocket(stream) as socket:
        await socket.send(content)
    assert unmasked(stream.sent)[0] == (BINARY, content)


async def test_pings_are_answered() -> None:
    stream = Pieces(frame(PING, b"there?"), frame(BINARY, b"x"))
    assert await messages(stream) == [b"x"]
    assert (PONG, b"there?") in unmasked(stream.sent)


async def echo(request: web.Request) -> web.StreamResponse:
    """Forward to a pod that sends back what it gets."""
    socket = web.WebSocketResponse(protocols=(PROTOCOL,), max_msg_size=0)
    await socket.prepare(request)
    for channel in (b"\0", b"\1"):
        await socket.send_bytes(channel + b"\0\0")
    async for message in socket:
        await socket.send_bytes(message.data)
    return socket


class SilentNetwork:
    """Leads to a server, until it forgets its connections without closing them, as a NAT does."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._forgotten: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def forget(self) -> None:
        self._forgotten |= self._tasks

    async def close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, back]
        for source, target in ((reader, back), (there, writer)):
            task = asyncio.ensure_future(self._carry(source, target))
            self._tasks.add(task)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        me = asyncio.current_task()
        try:
            while data := await source.read(2**16):
                if me not in self._forgotten:
                    target.write(data)
                    await target.drain()
        finally:
            if me not in self._forgotten:
                target.close()


@pytest.fixture
async def network(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[PortForward, SilentNetwork]]:
    monkeypatch.setattr(websocket, "HEARTBEAT", 0.2)
    monkeypatch.setattr(websocket, "SILENCE", 0.5)
    async with ScriptedServer(echo) as server:
        network = SilentNetwork(server.port)
        port = await network.start()
        from dask_k8s_client.api import Api
        from dask_k8s_credentials import Credentials

        async with Api(loader=lambda: Credentials(f"http://127.0.0.1:{port}")) as api:
            forward = PortForward(lambda: Tunnel.open(api, "/portforward", 8786))
            await forward.start()
            yield forward, network
            await forward.close()
        await network.close()


async def said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(b"hello")
    return await reader.read(5)


async def test_an_idle_tunnel_lives_as_long_as_the_other_side_answers(
    network: tuple[PortForward, SilentNetwork],
) -> None:
    forward, _ = network
    reader, writer = await asyncio.open_connection("127.0.0.1", forward.port)
    assert await said(reader, writer) == b"hello"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(5), 4 * websocket.SILENCE)
    assert await said(reader, writer) == b"hello"
    writer.close()


async def test_a_connection_that_goes_silent_is_closed_and_the_next_one_works(
    network: tuple[PortForward, SilentNetwork],
) -> None:
    forward, silent = network
    reader, writer = await asyncio.open_connection("127.0.0.1", forward.port)
    assert await said(reader, writer) == b"hello"
    silent.forget()
    began = time.monotonic()
    assert await asyncio.wait_for(reader.read(5), 10) == b""
    assert time.monotonic() - began >= websocket.SILENCE / 2
    writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", forward.port)
    assert await said(reader, writer) == b"hello"
    writer.close()


def test_silence_is_noticed_within_thirty_seconds() -> None:
    assert websocket.HEARTBEAT < websocket.SILENCE < 30


async def test_silence_has_a_reason() -> None:
    class Silent(Pieces):
        async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            import httpcore

            raise httpcore.ReadTimeout

    with pytest.raises(UnreachableError, match="silent for 25 seconds"):
        await messages(Silent())


async def test_what_was_sent_before_the_end_arrives() -> None:
    arrived = 0
    ended = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        nonlocal arrived
        socket = web.WebSocketResponse(protocols=(PROTOCOL,), max_msg_size=0)
        await socket.prepare(request)
        async for message in socket:
            arrived += len(message.data) - 1
            await asyncio.sleep(0.001)
        ended.set()
        return socket

    async with ScriptedServer(slow) as server:
        forward = PortForward(lambda: Tunnel.open(server.api, "/portforward", 8786))
        await forward.start()
        _, writer = await asyncio.open_connection("127.0.0.1", forward.port)
        writer.write(bytes(2**24))
        await writer.drain()
        writer.close()
        await asyncio.wait_for(ended.wait(), 20)
        await forward.close()
    assert arrived == 2**24
