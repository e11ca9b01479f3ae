"""Logs, exec, port-forward and proxies: what reaches a pod through the API server."""

from __future__ import annotations

import asyncio
import json
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from dask_k8s_local.api import ApiServer
from dask_k8s_local.api.subresources.spdy import DICTIONARY, Decoder, SpdyError
from dask_k8s_local.interfaces import ApiError, LogOptions
from tests.local.api.http import Http
from tests.local.api.objects import CORE, PODS, pod

SERVICES = f"{CORE}/services"


class FakeKubelet:
    """A node whose pods are all the same little server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: list[Any] = []

    async def logs(self, pod: dict[str, Any], options: LogOptions) -> AsyncIterator[bytes]:
        self.asked.append(options)
        if options.previous:
            message = f'previous terminated container "{options.container}" in pod "one" not found'
            raise ApiError(400, "BadRequest", message)
        for line in ("first", "second"):
            yield f"{line}\n".encode()
            await asyncio.sleep(0)

    def address(self, pod: dict[str, Any], port: int) -> tuple[str, int]:
        self.asked.append(port)
        return "127.0.0.1", self.port if port == 8787 else 1

    async def exec(
        self, pod: dict[str, Any], container: str, command: list[str], stdin: bytes
    ) -> tuple[int, bytes, bytes]:
        self.asked.append((container, command, stdin))
        return (3 if command == ["false"] else 0), b"out:" + stdin, b"err"


async def page(request: web.Request) -> web.StreamResponse:
    if request.path == "/socket":
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        async for message in websocket:
            await websocket.send_str(f"echo {message.data}")
        return websocket
    if request.path == "/stream":
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(3):
            await response.write(f"{number}\n".encode())
        return response
    body = await request.text()
    seen = {
        "method": request.method,
        "path": request.path_qs,
        "body": body,
        "token": "Authorization" in request.headers,
    }
    return web.json_response(seen, headers={"X-Own": "yes"}, status=418 if request.path == "/teapot" else 200)


@pytest.fixture
async def kubelet(server: ApiServer) -> AsyncIterator[FakeKubelet]:
    runner = web.ServerRunner(web.Server(page))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    kubelet = FakeKubelet(runner.addresses[0][1])
    server.kubelets["n1"] = kubelet
    body = pod(
        containers=[{"name": "main", "image": "a", "ports": [{"name": "http", "containerPort": 8787}]}]
    )
    body["metadata"]["labels"] = {"app": "a"}
    await server.client.create("pods", "default", body)
    await server.client.patch("pods", "default", "one", {"spec": {"nodeName": "n1"}})
    ready = {"phase": "Running", "podIP": "127.5.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
    await server.client.patch("pods", "default", "one", {"status": ready}, "status")
    yield kubelet
    await runner.cleanup()


async def test_logs(http: Http, kubelet: FakeKubelet) -> None:
    answer = await http.get(f"{PODS}/one/log", tailLines=5, timestamps="true", follow="true")
    assert (answer.text, answer.headers["Content-Type"]) == ("first\nsecond\n", "text/plain")
    options = kubelet.asked[0]
    assert (options.container, options.tail_lines, options.timestamps, options.follow) == (
        "main",
        5,
        True,
        True,
    )


async def test_logs_that_are_not_there(http: Http, kubelet: FakeKubelet) -> None:
    answer = await http.get(f"{PODS}/one/log", previous="true")
    assert (answer.status, answer.message) == (
        400,
        'previous terminated container "main" in pod "one" not found',
    )
    assert (await http.get(f"{PODS}/one/log", container="other")).message == (
        "container other is not valid for pod one"
    )
    assert (await http.get(f"{PODS}/none/log")).status == 404
    await http.post(PODS, pod("two"))
    assert (await http.get(f"{PODS}/two/log")).status == 204
    several = pod("three", containers=[{"name": "a", "image": "a"}, {"name": "b", "image": "b"}])
    await http.post(PODS, several)
    assert (await http.get(f"{PODS}/three/log")).message == (
        "a container name must be specified for pod three, choose one of: [a b]"
    )


async def forwarded(websocket: aiohttp.ClientWebSocketResponse) -> tuple[int, bytes]:
    message = await websocket.receive(timeout=5)
    assert message.type is aiohttp.WSMsgType.BINARY
    return message.data[0], message.data[1:]


async def test_port_forward_carries_bytes_both_ways(http: Http, kubelet: FakeKubelet) -> None:
    url = f"{http.url}{PODS}/one/portforward?ports=8787"
    async with http.session.ws_connect(url, protocols=["v4.channel.k8s.io"]) as websocket:
        assert [await forwarded(websocket) for _ in range(2)] == [(0, b"S\x22"), (1, b"S\x22")]
        await websocket.send_bytes(b"\x00GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = b""
        while b"/hello" not in received:
            channel, data = await forwarded(websocket)
            assert channel == 0
            received += data
        assert received.startswith(b"HTTP/1.1 200 OK")


async def test_port_forward_tells_when_nobody_listens(http: Http, kubelet: FakeKubelet) -> None:
    url = f"{http.url}{PODS}/one/portforward?ports=9999"
    async with http.session.ws_connect(url) as websocket:
        frames = [await forwarded(websocket) for _ in range(3)]
        assert frames[2][0] == 1
        assert b"error forwarding port 9999 to pod one" in frames[2][1]


async def test_port_forward_is_refused_before_it_begins(http: Http, kubelet: FakeKubelet) -> None:
    assert (await http.get(f"{PODS}/one/portforward")).status == 501
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.session.ws_connect(f"{http.url}{PODS}/none/portforward?ports=1")
    assert refused.value.status == 404
    url = f"{http.url}{PODS}/one/portforward?ports=1"
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.session.ws_connect(url, protocols=["base64.channel.k8s.io"])
    assert refused.value.status == 501


TUNNEL = "SPDY/3.1+portforward.k8s.io"


def syn_stream(headers: Any, stream: int, **values: str) -> bytes:
    """Return a frame that opens a stream, compressed by a client's compressor."""
    block = struct.pack(">I", len(values))
    for text in (one for pair in values.items() for one in pair):
        block += struct.pack(">I", len(text)) + text.encode()
    body = struct.pack(">IIH", stream, 0, 0) + headers.compress(block) + headers.flush(zlib.Z_SYNC_FLUSH)
    return struct.pack(">II", 0x80030001, len(body)) + body


async def frames(websocket: aiohttp.ClientWebSocketResponse, count: int) -> list[tuple[int, int, bytes]]:
    """Return the next frames: a control frame's type or a stream's number, the flags, and the contents."""
    data, found = b"", []
    while len(found) < count:
        while len(data) < 8 or len(data) < 8 + (int.from_bytes(data[4:8]) & 0xFFFFFF):
            data += (await websocket.receive(timeout=5)).data
        head, rest = struct.unpack(">II", data[:8])
        end = 8 + (rest & 0xFFFFFF)
        found.append((head & 0xFFFF, rest >> 24, data[8:end]))
        data = data[end:]
    return found


async def test_streams_are_replied_to_and_carry_bytes_to_their_end(http: Http, kubelet: FakeKubelet) -> None:
    compressor = zlib.compressobj(zdict=DICTIONARY)
    url = f"{http.url}{PODS}/one/portforward"
    async with http.session.ws_connect(url, protocols=[TUNNEL]) as websocket:
        assert websocket.protocol == TUNNEL
        opening = b"".join(
            syn_stream(compressor, stream, streamtype=kind, port="8787", requestid="0")
            for stream, kind in ((1, "error"), (3, "data"))
        )
        # A frame may come in pieces, and a message may hold several.
        for part in (opening[:5], opening[5:90], opening[90:]):
            await websocket.send_bytes(part)
        assert [(kind, body[:4]) for kind, _, body in await frames(websocket, 2)] == [
            (2, struct.pack(">I", 1)),
            (2, struct.pack(">I", 3)),
        ]
        request = b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        await websocket.send_bytes(struct.pack(">II", 3, len(request)) + request)
        received = b""
        while True:
            ((stream, flags, data),) = await frames(websocket, 1)
            received += data
            if flags:
                break
            assert stream == 3
        assert received.startswith(b"HTTP/1.1 200 OK")
        assert await frames(websocket, 1) == [(1, 1, b"")]


async def test_pings_come_back_and_nonsense_is_reset(http: Http, kubelet: FakeKubelet) -> None:
    compressor = zlib.compressobj(zdict=DICTIONARY)
    url = f"{http.url}{PODS}/one/portforward"
    async with http.session.ws_connect(url, protocols=[TUNNEL]) as websocket:
        ping = struct.pack(">III", 0x80030006, 4, 7)
        await websocket.send_bytes(ping)
        assert await frames(websocket, 1) == [(6, 0, struct.pack(">I", 7))]
        for stream, headers in enumerate(
            (
                {"streamtype": "data", "port": "0", "requestid": "0"},
                {"streamtype": "data", "port": "none", "requestid": "0"},
                {"streamtype": "stdout", "port": "8787", "requestid": "0"},
                {},
            )
        ):
            await websocket.send_bytes(syn_stream(compressor, 2 * stream + 1, **headers))
            assert await frames(websocket, 1) == [(3, 0, struct.pack(">II", 2 * stream + 1, 1))]


async def test_a_connection_that_cannot_be_had_is_told(http: Http, kubelet: FakeKubelet) -> None:
    compressor = zlib.compressobj(zdict=DICTIONARY)
    url = f"{http.url}{PODS}/one/portforward"
    async with http.session.ws_connect(url, protocols=[TUNNEL]) as websocket:
        for stream, kind in ((1, "error"), (3, "data")):
            headers = {"streamtype": kind, "port": "9999", "requestid": "0"}
            await websocket.send_bytes(syn_stream(compressor, stream, **headers))
        *_, last, told = await frames(websocket, 4)
        assert last == (3, 1, b"")
        assert told[:2] == (1, 1)
        assert b"error forwarding port 9999 to pod one" in told[2]


@pytest.mark.parametrize(
    "garbage",
    [
        struct.pack(">II", 0x80020001, 0),
        struct.pack(">II", 0x80030001, 2) + b"ab",
        struct.pack(">II", 0x80030001, 12) + b"x" * 12,
    ],
    ids=["version", "short", "headers"],
)
async def test_what_is_no_spdy_ends_the_connection(http: Http, kubelet: FakeKubelet, garbage: bytes) -> None:
    async with http.session.ws_connect(f"{http.url}{PODS}/one/portforward", protocols=[TUNNEL]) as websocket:
        await websocket.send_bytes(garbage)
        assert (await websocket.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE


def test_headers_of_any_size_are_not_unpacked() -> None:
    compressor = zlib.compressobj(zdict=DICTIONARY)
    with pytest.raises(SpdyError, match="headers have more than"):
        list(Decoder().feed(syn_stream(compressor, 1, a="b" * 1_000_000)))


async def run(http: Http, *command: str, **options: str) -> dict[int, bytes]:
    query = [("command", one) for one in command]
    query += [(key, value) for key, value in {"stdout": "true", "stderr": "true", **options}.items()]
    url = f"{http.url}{PODS}/one/exec"
    streams: dict[int, bytes] = {}
    protocols = ["v5.channel.k8s.io"]
    async with http.session.ws_connect(url, params=query, protocols=protocols) as websocket:
        if options.get("stdin"):
            await websocket.send_bytes(b"\x00typed")
            await websocket.send_bytes(b"\xff\x00")
        async for message in websocket:
            streams[message.data[0]] = streams.get(message.data[0], b"") + message.data[1:]
    return streams


async def test_exec(http: Http, kubelet: FakeKubelet) -> None:
    streams = await run(http, "echo", "hi", stdin="true")
    assert kubelet.asked[0] == ("main", ["echo", "hi"], b"typed")
    assert (streams[1], streams[2]) == (b"out:typed", b"err")
    assert json.loads(streams[3])["status"] == "Success"
    failed = json.loads((await run(http, "false"))[3])
    assert failed["reason"] == "NonZeroExitCode"
    assert failed["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


async def test_the_pod_proxy_passes_requests_on(http: Http, kubelet: FakeKubelet) -> None:
    answer = await http.get(f"{PODS}/one:8787/proxy/some/path", q="1")
    assert answer.body == {"method": "GET", "path": "/some/path?q=1", "body": "", "token": False}
    assert answer.headers["X-Own"] == "yes"
    assert (await http.get(f"{PODS}/one:http/proxy/teapot")).status == 418
    posted = await http.post(f"{PODS}/http:one:8787/proxy/x", {"a": 1})
    assert posted.body["body"] == '{"a": 1}'
    assert (await http.get(f"{PODS}/one/proxy/stream")).text == "0\n1\n2\n"


async def test_the_service_proxy_finds_a_ready_pod(http: Http, kubelet: FakeKubelet) -> None:
    ports = [{"name": "web", "port": 80, "targetPort": "http"}, {"name": "none", "port": 81, "targetPort": 9}]
    spec = {"selector": {"app": "a"}, "ports": ports}
    await http.post(SERVICES, {"metadata": {"name": "s"}, "spec": spec})
    for name in ("s:web", "s:80", "http:s:web"):
        assert (await http.get(f"{SERVICES}/{name}/proxy/x")).body["path"] == "/x"
    assert kubelet.asked == [8787, 8787, 8787]
    missing = await http.get(f"{SERVICES}/s:82/proxy/x")
    assert (missing.status, missing.message) == (503, 'no service port "82" found for service "s"')
    dead = await http.get(f"{SERVICES}/s:81/proxy/x")
    assert dead.status == 503
    assert dead.message.startswith("error trying to reach service: ")
    await http.patch(f"{SERVICES}/s", {"spec": {"selector": {"app": "other"}}})
    nobody = await http.get(f"{SERVICES}/s:80/proxy/x")
    assert (nobody.status, nobody.message) == (503, 'no endpoints available for service "s"')


async def test_the_proxy_passes_websockets_on(http: Http, kubelet: FakeKubelet) -> None:
    async with http.session.ws_connect(f"{http.url}{PODS}/one:8787/proxy/socket") as websocket:
        await websocket.send_str("hi")
        assert await websocket.receive_str(timeout=5) == "echo hi"
