"""Port-forward: a pod's ports over a WebSocket's channels, or over SPDY, which may be inside a WebSocket.

https://kubernetes.io/docs/reference/kubectl/generated/kubectl_port-forward/
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from dask_k8s_local.api import errors
from dask_k8s_local.api.http.call import Call
from dask_k8s_local.api.subresources import spdy
from dask_k8s_local.api.subresources.pods import kubelet_of, pod_of
from dask_k8s_local.api.subresources.spdy import PROTOCOL_ERROR, REFUSED, Data, Decoder, Encoder
from dask_k8s_local.api.subresources.websockets import CHANNELS, accept, offered, require_websocket
from dask_k8s_local.interfaces import ApiError

SPDY, STREAMS = "SPDY/3.1", "portforward.k8s.io"
TUNNEL = f"{SPDY}+{STREAMS}"
_CHUNK = 1024 * 1024
_MOST_CONNECTIONS = 1000
Dial = Callable[[int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
"""Connect to a port of the pod; raise OSError or ApiError if that can't be."""


async def serve(call: Call) -> web.StreamResponse:
    pod = pod_of(call)
    kubelet = kubelet_of(call, pod)

    async def dial(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, number = kubelet.address(pod, port)
        return await asyncio.open_connection(host, number, limit=_CHUNK)

    if call.http.headers.get("Upgrade", "").lower() == SPDY.lower():
        return await _over_spdy(call, dial)
    require_websocket(call, (*CHANNELS, TUNNEL))
    if TUNNEL in offered(call):
        return await _through_tunnel(call, dial)
    return await _over_channels(call, dial)


# Channels


async def _over_channels(call: Call, dial: Dial) -> web.StreamResponse:
    """Connect channels 0, 2, … to the pod's ports; channels 1, 3, … tell what went wrong."""
    try:
        ports = [int(one) for text in call.http.query.getall("ports", []) for one in text.split(",")]
    except ValueError:
        raise errors.bad_request(f"unable to parse ports {call.http.query.getall('ports')}") from None
    if not ports or not all(0 < port < 65536 for port in ports):
        raise errors.bad_request('query parameter "ports" is required')
    websocket = await accept(call)
    streams: dict[int, asyncio.StreamWriter] = {}
    tasks: list[asyncio.Task[None]] = []
    try:
        for index, port in enumerate(ports):
            for channel in (2 * index, 2 * index + 1):
                await websocket.send_bytes(bytes([channel]) + struct.pack("<H", port))
        for index, port in enumerate(ports):
            try:
                reader, writer = await dial(port)
            except (OSError, ApiError) as error:
                await websocket.send_bytes(bytes([2 * index + 1]) + _told(call, port, error))
                continue
            streams[2 * index] = writer
            tasks.append(asyncio.create_task(_send_channel(websocket, 2 * index, reader)))
        tasks.append(asyncio.create_task(_receive_channels(websocket, streams)))
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for writer in streams.values():
            writer.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(ConnectionError):
            await websocket.close()
    return websocket


def _told(call: Call, port: int, error: Exception) -> bytes:
    return f"error forwarding port {port} to pod {call.target.name}: {error}".encode()


async def _send_channel(websocket: web.WebSocketResponse, channel: int, reader: asyncio.StreamReader) -> None:
    prefix = bytes([channel])
    with suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK):
            await websocket.send_bytes(prefix + chunk)


async def _receive_channels(
    websocket: web.WebSocketResponse, streams: dict[int, asyncio.StreamWriter]
) -> None:
    with suppress(ConnectionError):
        async for message in websocket:
            if message.type is not WSMsgType.BINARY or not message.data:
                continue
            writer = streams.get(message.data[0])
            if writer is not None:
                writer.write(memoryview(message.data)[1:])
                await writer.drain()


# SPDY


class _Reader(asyncio.StreamReader):
    """What comes after the headers of a request, handed over by the HTTP server."""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:  # type: ignore[override]
        super().feed_data(data)
        return False, b""


async def _over_spdy(call: Call, dial: Dial) -> web.StreamResponse:
    http = call.http
    known = ",".join(http.headers.getall("X-Stream-Protocol-Version", [STREAMS]))
    if STREAMS not in {one.strip() for one in known.split(",")}:
        raise ApiError(403, "Forbidden", f"unable to upgrade: none of {known} is spoken here, but {STREAMS}")
    transport = http.transport
    if transport is None:
        raise ConnectionResetError
    response = web.Response(status=101)
    response.headers.update({"Connection": "Upgrade", "Upgrade": SPDY, "X-Stream-Protocol-Version": STREAMS})
    loop = asyncio.get_running_loop()
    reader = _Reader(limit=_CHUNK, loop=loop)
    reader.set_transport(transport)
    http.protocol.set_parser(reader)  # type: ignore[arg-type]
    await response.prepare(http)
    await response.write_eof()
    writer = asyncio.StreamWriter(transport, http.protocol, None, loop)

    async def send(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    async def received() -> AsyncIterator[bytes]:
        while data := await reader.read(_CHUNK):
            yield data

    try:
        await _Streams(call, dial, send).run(received())
    finally:
        response.force_close()
        transport.close()
    return response


async def _through_tunnel(call: Call, dial: Dial) -> web.StreamResponse:
    websocket = await accept(call, (TUNNEL,))

    async def received() -> AsyncIterator[bytes]:
        async for message in websocket:
            if message.type is WSMsgType.BINARY:
                yield message.data

    try:
        await _Streams(call, dial, websocket.send_bytes).run(received())
    finally:
        with suppress(ConnectionError):
            await websocket.close()
    return websocket


@dataclass
class _Connection:
    """Two streams that belong together: one for bytes, one for what goes wrong."""

    port: int
    error: int = 0
    data: int = 0
    writer: asyncio.StreamWriter | None = None
    is_settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it is known whether the pod can be connected to."""
    is_given_up: bool = False
    task: asyncio.Task[None] | None = None


class _Streams:
    """Connections to a pod's ports, for which a client opens a pair of streams each."""

    def __init__(self, call: Call, dial: Dial, send: Callable[[bytes], Awaitable[None]]) -> None:
        self._call = call
        self._dial = dial
        self._send = send
        self._encoder = Encoder()
        self._connections: dict[str, _Connection] = {}
        self._by_stream: dict[int, str] = {}

    async def run(self, received: AsyncIterator[bytes]) -> None:
        """Carry bytes until the client goes."""
        decoder = Decoder()
        try:
            with suppress(ConnectionError, spdy.SpdyError):
                async for data in received:
                    for frame in decoder.feed(data):
                        if isinstance(frame, spdy.GoAway):
                            return
                        await self._take(frame)
        finally:
            tasks = [one.task for one in self._connections.values() if one.task]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, frame: spdy.Frame) -> None:
        match frame:
            case spdy.Ping(number):
                await self._send(self._encoder.ping(number))
            case spdy.Opened():
                await self._open(frame)
            case Data():
                await self._receive(frame)
            case spdy.Reset(stream):
                connection = self._of(stream)
                if connection is not None and connection.data == stream and connection.task:
                    connection.is_given_up = True
                    connection.task.cancel()

    def _of(self, stream: int) -> _Connection | None:
        return self._connections.get(self._by_stream.get(stream, ""))

    async def _open(self, opened: spdy.Opened) -> None:
        headers, stream = opened.headers, opened.stream
        kind, port = headers.get("streamtype"), headers.get("port", "")
        identity = headers.get("requestid") or f"{port}/{(stream + 1) // 4}"
        connection = self._connections.get(identity)
        is_new = kind in ("error", "data") and (connection is None or not getattr(connection, kind))
        if not is_new or not port.isdecimal() or not 0 < int(port) < 65536:
            await self._send(self._encoder.reset(stream, PROTOCOL_ERROR))
            return
        if connection is None:
            if len(self._connections) >= _MOST_CONNECTIONS:
                await self._send(self._encoder.reset(stream, REFUSED))
                return
            connection = self._connections[identity] = _Connection(int(port))
        self._by_stream[stream] = identity
        setattr(connection, str(kind), stream)
        await self._send(self._encoder.reply(stream))
        if connection.error and connection.data and connection.task is None:
            connection.task = asyncio.create_task(self._carry(identity, connection))

    async def _receive(self, frame: Data) -> None:
        connection = self._of(frame.stream)
        if connection is None or frame.stream != connection.data or connection.task is None:
            return
        await connection.is_settled.wait()
        writer = connection.writer
        if writer is None:
            return
        with suppress(ConnectionError):
            writer.write(frame.data)
            await writer.drain()
            if frame.is_last and writer.can_write_eof():
                writer.write_eof()

    async def _carry(self, identity: str, connection: _Connection) -> None:
        """Connect, and send what the pod sends, until it has nothing more to send."""
        told = b""
        try:
            reader, connection.writer = await self._dial(connection.port)
            connection.is_settled.set()
            with suppress(ConnectionError):
                while chunk := await reader.read(_CHUNK):
                    await self._send(self._encoder.data(connection.data, chunk))
        except (OSError, ApiError) as error:
            told = _told(self._call, connection.port, error)
        except asyncio.CancelledError:
            if not connection.is_given_up:
                raise
        finally:
            connection.is_settled.set()
            if connection.writer is not None:
                connection.writer.close()
            del self._connections[identity]
            del self._by_stream[connection.data], self._by_stream[connection.error]
        with suppress(ConnectionError):
            if not connection.is_given_up:
                await self._send(self._encoder.data(connection.data, b"", is_last=True))
            await self._send(self._encoder.data(connection.error, told, is_last=True))
