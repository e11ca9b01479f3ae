"""Bytes a second through KubeCluster's port-forward, in turns with other ways.

A pod sends to, and takes from, whoever connects. Three ways lead there: KubeCluster's, kr8s's own,
which is dask-kubernetes', and a plain asyncio TCP proxy that leaves out the API server.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

from kr8s.asyncio.objects import Pod

from benchmarks.following import is_condition
from benchmarks.harness import Bench, Figure, Found, benchmark
from benchmarks.sides import PROJECT
from dask_k8s_client import raw
from dask_k8s_client.api import Api
from dask_k8s_client.forward import PortForward, Tunnel
from dask_k8s_client.resources import PODS
from dask_k8s_client.websocket import CHUNK
from tests.harness.ports import reserved_port

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
CONTAINER = {
    "name": "peer",
    "command": ["python", "-c", PEER],
    "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
}
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "peer"}}


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


@asynccontextmanager
async def ours(api: Api, namespace: str) -> AsyncIterator[int]:
    forward = PortForward(lambda: Tunnel.open(api, PODS.path(namespace, "peer", "portforward"), PORT))
    yield await forward.start()
    await forward.close()


@asynccontextmanager
async def by_kr8s(api: Api, namespace: str) -> AsyncIterator[int]:
    pod = Pod(await raw.get(api, PODS.path(namespace, "peer")), api=api)
    # By itself it gives the port that it has found up before it listens there.
    with reserved_port() as free:
        async with pod.portforward(PORT, local_port=free) as port:
            yield port


@asynccontextmanager
async def plainly(api: Api, namespace: str) -> AsyncIterator[int]:
    """Carry each connection to another address, as simply as asyncio's streams can."""
    host = (await raw.get(api, PODS.path(namespace, "peer")))["status"]["podIP"]

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


WAYS = {"ours": ours, "theirs": by_kr8s, "bare": plainly}


@benchmark("port-forward", "throughput of a forwarded port")
def port_forward(bench: Bench) -> Iterator[Found]:
    """Measure all ways in turns, with client and API server in processes of their own."""
    runs, size = bench.few(8), bench.few(128, 8) * 2**20
    with bench.place() as place:
        place.kube.create(
            {**POD, "spec": {"containers": [{**CONTAINER, "image": place.image}]}}, place.namespace
        )
        place.kube.wait("pods", "peer", place.namespace, until=lambda pod: is_condition(pod, "Ready"))
        command = [sys.executable, "-m", "benchmarks.port_forward", place.namespace, str(runs), str(size)]
        if place.local is None:
            command.append("--no-plain")
        told = subprocess.run(
            command,
            env={**os.environ, "KUBECONFIG": str(place.kubeconfig)},
            stdout=subprocess.PIPE,
            cwd=PROJECT,
            check=False,  # Without figures reading them fails; kr8s may end in an error after them.
            timeout=300,
        )
        place.kube.delete("pods", "peer", place.namespace, gracePeriodSeconds=0)
    for direction, found in json.loads(told.stdout).items():
        yield Figure(f"{direction}, a GiB", "s", found["ours"], found["theirs"], found["bare"])


async def measure(namespace: str, runs: int, size: int, ways: Iterable[str]) -> None:
    """Print the seconds that each way takes for a GiB, in both directions."""
    results: dict[str, dict[str, list[float]]] = {}
    async with Api() as api, AsyncExitStack() as stack:
        ports = {name: await stack.enter_async_context(WAYS[name](api, namespace)) for name in ways}
        for direction in ("down", "up"):
            found: dict[str, list[float]] = {name: [] for name in WAYS}
            for _ in range(runs):
                for name, port in ports.items():
                    found[name].append(await seconds(port, direction, size) * 2**30 / size)
            results[direction] = found
    print(json.dumps(results))


if __name__ == "__main__":
    _, where, times, length, *options = sys.argv
    asyncio.run(measure(where, int(times), int(length), [*WAYS][: 2 if options else 3]))
