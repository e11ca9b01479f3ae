"""Port-forward and exec over WebSockets, a channel number before every frame.

The framing is that of the subprotocols ``v4.channel.k8s.io`` and ``v5.channel.k8s.io``.
"""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress

from aiohttp import WSMsgType, web

from dask_k8s_local.api import errors
from dask_k8s_local.api.http.call import Call
from dask_k8s_local.api.storage.store import encode
from dask_k8s_local.api.subresources.pods import container_of, kubelet_of, pod_of
from dask_k8s_local.interfaces import ApiError

_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io")
_STDIN, _STDOUT, _STDERR, _ERROR, _CLOSE = 0, 1, 2, 3, 255
_CHUNK = 1024 * 1024


def _require_websocket(call: Call) -> None:
    if call.http.headers.get("Upgrade", "").lower() != "websocket":
        raise errors.not_implemented(f"pods/{call.target.subresource} without a WebSocket")
    offered = call.http.headers.get("Sec-WebSocket-Protocol", "")
    if offered and not {one.strip() for one in offered.split(",")} & set(_PROTOCOLS):
        raise errors.not_implemented(f"pods/{call.target.subresource} by {offered}")


async def _accept(call: Call) -> web.WebSocketResponse:
    websocket = web.WebSocketResponse(protocols=_PROTOCOLS, max_msg_size=0, heartbeat=None, compress=False)
    await websocket.prepare(call.http)
    return websocket


async def port_forward(call: Call) -> web.StreamResponse:
    """Connect channels 0, 2, … to the pod's ports; channels 1, 3, … tell what went wrong."""
    _require_websocket(call)
    pod = pod_of(call)
    kubelet = kubelet_of(call, pod)
    try:
        ports = [int(one) for text in call.http.query.getall("ports", []) for one in text.split(",")]
    except ValueError:
        raise errors.bad_request(f"unable to parse ports {call.http.query.getall('ports')}") from None
    if not ports or not all(0 < port < 65536 for port in ports):
        raise errors.bad_request('query parameter "ports" is required')
    addresses = [kubelet.address(pod, port) for port in ports]
    websocket = await _accept(call)
    streams: dict[int, asyncio.StreamWriter] = {}
    tasks: list[asyncio.Task[None]] = []
    try:
        for index, port in enumerate(ports):
            for channel in (2 * index, 2 * index + 1):
                await websocket.send_bytes(bytes([channel]) + struct.pack("<H", port))
        for index, (host, port) in enumerate(addresses):
            try:
                reader, writer = await asyncio.open_connection(host, port, limit=1024 * 1024)
            except OSError as error:
                told = f"error forwarding port {ports[index]} to pod {call.target.name}: {error}"
                await websocket.send_bytes(bytes([2 * index + 1]) + told.encode())
                continue
            streams[2 * index] = writer
            tasks.append(asyncio.create_task(_send_stream(websocket, 2 * index, reader)))
        tasks.append(asyncio.create_task(_receive_streams(websocket, streams)))
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


async def _send_stream(websocket: web.WebSocketResponse, channel: int, reader: asyncio.StreamReader) -> None:
    prefix = bytes([channel])
    with suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK):
            await websocket.send_bytes(prefix + chunk)


async def _receive_streams(
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


async def execute(call: Call) -> web.StreamResponse:
    """Run a command in a container; its output and then its end are sent on their channels."""
    _require_websocket(call)
    pod = pod_of(call)
    container = container_of(call, pod)
    command = call.http.query.getall("command", [])
    if not command:
        raise errors.bad_request("you must specify at least one command for the container")
    kubelet = kubelet_of(call, pod)
    websocket = await _accept(call)
    try:
        stdin = await _read_stdin(websocket) if call.flag("stdin") else b""
        try:
            code, stdout, stderr = await kubelet.exec(pod, container, command, stdin)
        except ApiError as error:
            await websocket.send_bytes(bytes([_ERROR]) + encode(errors.status(error)))
            return websocket
        for channel, wanted, output in ((_STDOUT, "stdout", stdout), (_STDERR, "stderr", stderr)):
            if call.flag(wanted):
                for start in range(0, len(output), _CHUNK):
                    await websocket.send_bytes(bytes([channel]) + output[start : start + _CHUNK])
        await websocket.send_bytes(bytes([_ERROR]) + encode(_exit_status(code)))
    finally:
        with suppress(ConnectionError):
            await websocket.close()
    return websocket


async def _read_stdin(websocket: web.WebSocketResponse) -> bytes:
    """Read until the client closes its channel, which v5 of the protocol can say."""
    data = bytearray()
    async for message in websocket:
        if message.type is WSMsgType.BINARY and message.data:
            if message.data[0] == _CLOSE:
                break
            if message.data[0] == _STDIN:
                if len(message.data) == 1:
                    break
                data += message.data[1:]
    return bytes(data)


def _exit_status(code: int) -> dict[str, object]:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
        "code": 500,
    }
