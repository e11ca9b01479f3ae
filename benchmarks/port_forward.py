"""Bytes a second through KubeCluster's port-forward, beside other ways in the same run: ratios count.

On the local Kubernetes a pod sends to, and takes from, whoever connects. Four ways lead there: KubeCluster's
port-forward, the same over aiohttp's WebSocket, kr8s's own port-forward, and a plain asyncio TCP proxy that
leaves out the API server. The second one was the way before kr8s's connections were used.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
from kr8s.asyncio.objects import Pod

from dask_k8s_client import raw
from dask_k8s_client.api import Api
from dask_k8s_client.forward import PROTOCOL, PortForward, Tunnel
from dask_k8s_client.resources import PODS
from dask_k8s_client.websocket import CHUNK, Part

PORT = 8786
PEER = f"""
import socket
listener = socket.create_server(("0.0.0.0", {PORT}))
block = bytes(2**20)
while True:
    connection, _ = listener.accept()
    with connection:
        words = connection.makefile("rb").readline().split()  # probes connect and say nothing
        if len(words) != 2:
            continue
        left = int(words[1])
        if words[0] == b"down":
            while left > 0:
                connection.sendall(block[:left])
                left -= len(block)
        else:
            connection.sendall(b"?")
            while left > 0:
                left -= len(connection.recv(2**18))
            connection.sendall(b"!")
"""
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "peer"},
    "spec": {
        "containers": [
            {
                "name": "peer",
                "image": "python",
                "command": [sys.executable, "-c", PEER],
                "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
            }
        ]
    },
}
PATH = PODS.path("default", "peer", "portforward")


async def seconds(port: int, direction: str, size: int) -> float:
    """Carry so many bytes by a local port, and return how long it took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=CHUNK)
    writer.write(f"{direction} {size}\n".encode())
    started = time.perf_counter()
    if direction == "down":
        left = size
        while left:
            data = await reader.read(CHUNK)
            if not data:
                raise ConnectionError(f"the connection ended {left} bytes too early")
            left -= len(data)
    else:
        await reader.readexactly(1)
        started = time.perf_counter()
        block = bytes(2**20)
        for _ in range(size // len(block)):
            writer.write(block)
            await writer.drain()
        await reader.readexactly(1)
    took = time.perf_counter() - started
    writer.close()
    await writer.wait_closed()
    return took


class AiohttpSocket:
    """aiohttp's WebSocket, as a tunnel needs it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def send(self, content: bytes) -> None:
        await self._socket.send_bytes(content)

    async def parts(self) -> AsyncIterator[Part]:
        async for message in self._socket:
            yield Part(memoryview(message.data), begins=True)


@asynccontextmanager
async def ours(api: Api) -> AsyncIterator[int]:
    forward = PortForward(lambda: Tunnel.open(api, PATH, PORT))
    yield await forward.start()
    await forward.close()


@asynccontextmanager
async def by_aiohttp(api: Api) -> AsyncIterator[int]:
    credentials = api.credentials
    async with aiohttp.ClientSession(headers=list(credentials.headers)) as session:

        async def tunnel() -> Tunnel:
            stack = AsyncExitStack()
            opening = session.ws_connect(
                f"{credentials.server}{PATH}?ports={PORT}",
                protocols=(PROTOCOL,),
                max_msg_size=0,
                ssl=credentials.ssl_context or True,
            )
            socket = await stack.enter_async_context(opening)
            return Tunnel(AiohttpSocket(socket), stack)  # type: ignore[arg-type]

        forward = PortForward(tunnel)
        yield await forward.start()
        await forward.close()


@asynccontextmanager
async def by_kr8s(api: Api) -> AsyncIterator[int]:
    pod = Pod(await raw.get(api, PODS.path("default", "peer")), api=api)
    async with pod.portforward(PORT, local_port="auto") as port:
        yield port


@asynccontextmanager
async def plainly(api: Api) -> AsyncIterator[int]:
    """Carry each connection to another address, as simply as asyncio's streams can."""
    host = (await raw.get(api, PODS.path("default", "peer")))["status"]["podIP"]

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(host, PORT, limit=CHUNK)
        await asyncio.gather(carry(reader, there_writer), carry(there_reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=CHUNK)
    yield server.sockets[0].getsockname()[1]
    server.close()


WAYS = {"KubeCluster": ours, "aiohttp": by_aiohttp, "kr8s": by_kr8s, "plain proxy": plainly}


async def until_ready(api: Api) -> None:
    async for _, pod in raw.watch(api, PODS.path("default"), None, fieldSelector="metadata.name=peer"):
        conditions = pod.get("status", {}).get("conditions") or []
        if any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
            return


async def measure(runs: int, size: int) -> None:
    async with Api() as api, AsyncExitStack() as stack:
        await raw.create(api, PODS.path("default"), POD)
        await until_ready(api)
        ports = {name: await stack.enter_async_context(way(api)) for name, way in WAYS.items()}
        for direction in ("down", "up"):
            speeds: dict[str, list[float]] = {name: [] for name in ports}
            for number in range(1, runs + 1):
                for name, port in ports.items():
                    speeds[name].append(size / await seconds(port, direction, size) / 2**20)
                told = "   ".join(f"{name} {found[-1]:5.0f}" for name, found in speeds.items())
                print(f"{direction:4} {number:2}   {told}   MiB/s", flush=True)
            medians = {name: statistics.median(found) for name, found in speeds.items()}
            print(f"{direction}: medians of {runs} times {size / 2**20:.0f} MiB")
            for name, median in medians.items():
                ratio = median / medians["aiohttp"]
                print(f"  {name:12} {median:5.0f} MiB/s, {ratio:.2f} of aiohttp's", flush=True)


@contextlib.contextmanager
def local_kubernetes() -> Iterator[None]:
    """Run it as a process: in this one its API server and its client would take turns."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KUBECONFIG"] = kubeconfig = f"{folder}/kubeconfig"
        command = [sys.executable, "-m", "dask_k8s_local", "--kubeconfig", kubeconfig]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    if "KUBECONFIG=" in line:
                        break
                yield
            finally:
                process.terminate()
                process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--mebibytes", type=int, default=256)
    given = parser.parse_args()
    with local_kubernetes():
        asyncio.run(measure(given.runs, given.mebibytes * 2**20))


if __name__ == "__main__":
    main()
