"""Forward a local port to a port of a pod, through the API server.

Each connection to the local port gets a WebSocket of its own. Its protocol is ``v4.channel.k8s.io``: a
message's first byte is its channel, 0 for data and 1 for an error, and the first message of each channel only
repeats the port's number.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import aiohttp

from dask_k8s_client.errors import KubeClusterError
from dask_k8s_client.http import WebSocket as Tunnel

logger = logging.getLogger(__name__)

PROTOCOL = "v4.channel.k8s.io"
DATA, ERROR = 0, 1
CHUNK = 2**18
"""Bytes that are read and sent at once."""


class PortForward:
    """A local port that leads to a pod's.

    Parameters
    ----------
    open_tunnel : callable
        Returns a new WebSocket to the pod's port; called for each connection, so it may lead to another pod
        each time. It should wait for a while if there is no pod, as those who connect do.
    port : int
        The local port, 0 for any that is free.
    host : str
        The local address.
    """

    def __init__(
        self, open_tunnel: Callable[[], Awaitable[Tunnel]], port: int = 0, host: str = "127.0.0.1"
    ) -> None:
        self._open_tunnel = open_tunnel
        self._port = port
        self._host = host
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The local port."""
        if self._server is None:
            raise RuntimeError("The port-forward isn't started.")
        return self._port

    async def start(self) -> int:
        """Begin to listen, and return the local port.

        Raises
        ------
        OSError
            The port is taken.
        """
        try:
            self._server = await asyncio.start_server(self._accept, self._host, self._port, limit=CHUNK)
        except OSError as error:
            raise OSError(
                error.errno,
                f"Cannot forward the local port {self._port}: {error.strerror}. Choose another port.",
            ) from error
        self._port = int(self._server.sockets[0].getsockname()[1])
        return self._port

    async def close(self) -> None:
        """Stop listening and end all connections."""
        if self._server is None:
            return
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._server.wait_closed(), 5)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer), name=f"port-forward {self.port}")
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        # A task that is cancelled before it begins runs no `finally`.
        task.add_done_callback(lambda _: writer.close())

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            tunnel = await self._open_tunnel()
            try:
                await _first_of(_send(reader, tunnel), _receive(tunnel, writer))
            finally:
                await tunnel.close()
        except (KubeClusterError, aiohttp.ClientError, OSError, TimeoutError) as error:
            logger.debug("A forwarded connection ended: %s", error)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def _first_of(*coroutines: Awaitable[None]) -> None:
    """Run until the first one ends: the protocol can't close one direction only."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _send(reader: asyncio.StreamReader, tunnel: Tunnel) -> None:
    while data := await reader.read(CHUNK):
        await tunnel.send_bytes(b"\0" + data)


async def _receive(tunnel: Tunnel, writer: asyncio.StreamWriter) -> None:
    greeted: set[int] = set()
    async for message in tunnel:
        if message.type is not aiohttp.WSMsgType.BINARY:
            break
        content: bytes = message.data
        channel = content[0]
        if channel not in greeted:
            greeted.add(channel)
        elif channel == DATA:
            writer.write(memoryview(content)[1:])
            await writer.drain()
        elif channel == ERROR:
            logger.debug("The port-forward's other end says: %s", content[1:].decode(errors="replace"))
            break
