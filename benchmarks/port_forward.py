"""Bytes a second through KubeCluster's port-forward, beside a plain asyncio TCP proxy in the same run.

On the local Kubernetes a pod sends to whoever connects. Both carry it to a client in this process, the
port-forward through the API server, in a WebSocket. What counts is the ratio.
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
from collections.abc import Awaitable, Callable, Iterator

from dask_k8s_client.api import PODS, Kubernetes
from dask_k8s_client.forward import CHUNK, PROTOCOL, PortForward

PORT = 8786
SENDER = f"""
import socket
listener = socket.create_server(("0.0.0.0", {PORT}))
block = bytes(2**20)
while True:
    connection, _ = listener.accept()
    with connection:
        size = int(connection.makefile().readline() or 0)  # probes connect and say nothing
        while size > 0:
            connection.sendall(block[:size])
            size -= len(block)
"""
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "sender"},
    "spec": {
        "containers": [
            {
                "name": "sender",
                "image": "python",
                "command": [sys.executable, "-c", SENDER],
                "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
            }
        ]
    },
}


async def seconds(port: int, size: int) -> float:
    """Receive so many bytes from a local port, and return how long it took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=CHUNK)
    started = time.perf_counter()
    writer.write(f"{size}\n".encode())
    left = size
    while left:
        data = await reader.read(CHUNK)
        if not data:
            raise ConnectionError(f"the connection ended {left} bytes too early")
        left -= len(data)
    took = time.perf_counter() - started
    writer.close()
    await writer.wait_closed()
    return took


async def plain_proxy(host: str, port: int) -> asyncio.Server:
    """Carry each connection to another address, as simply as asyncio's streams can."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(host, port, limit=CHUNK)
        await asyncio.gather(carry(reader, there_writer), carry(there_reader, writer))

    return await asyncio.start_server(accept, "127.0.0.1", 0, limit=CHUNK)


async def until_ready(api: Kubernetes) -> str:
    """Return the pod's address."""
    async for _, pod in api.watch(PODS.path("default"), None, fieldSelector="metadata.name=sender"):
        conditions = pod["status"].get("conditions") or []
        if any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
            return str(pod["status"]["podIP"])
    raise RuntimeError("the watch ended")


async def measure(runs: int, size: int) -> None:
    async with await Kubernetes.connect() as api:
        await api.create(PODS.path("default"), POD)
        address = await until_ready(api)
        tunnels = PODS.path("default", "sender", "portforward")
        open_tunnel: Callable[[], Awaitable[object]] = lambda: api.websocket(  # noqa: E731
            tunnels, PROTOCOL, ports=str(PORT)
        )
        forward = PortForward(open_tunnel)  # type: ignore[arg-type]
        await forward.start()
        proxy = await plain_proxy(address, PORT)
        proxy_port = proxy.sockets[0].getsockname()[1]
        ours, plain = [], []
        for number in range(1, runs + 1):
            ours.append(size / await seconds(forward.port, size) / 2**20)
            plain.append(size / await seconds(proxy_port, size) / 2**20)
            print(
                f"{number:3}  port-forward {ours[-1]:6.0f} MiB/s   plain proxy {plain[-1]:6.0f} MiB/s",
                flush=True,
            )
        proxy.close()
        await forward.close()
    mine, other = statistics.median(ours), statistics.median(plain)
    print(
        f"medians of {runs} times {size / 2**20:.0f} MiB: port-forward {mine:.0f} MiB/s, "
        f"plain proxy {other:.0f} MiB/s, ratio {mine / other:.2f}"
    )


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
