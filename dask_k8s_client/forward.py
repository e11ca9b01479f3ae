"""Forward a local port to a port of a pod, through the API server.

Each connection to the local port gets a WebSocket of its own. Its protocol is ``v4.channel.k8s.io``: a
message's first byte is its channel, 0 for data and 1 for an error, and the first message of each channel only
repeats the port's number.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Self

from dask_k8s_client.errors import KubeClusterError
from dask_k8s_client.websocket import CHUNK, WebSocket

if TYPE_CHECKING:
    from dask_k8s_client.api import Api

logger = logging.getLogger(__name__)

PROTOCOL = "v4.channel.k8s.io"
DATA, ERROR = 0, 1
FRESH = 5.0
"""Seconds after which a tunnel that nobody has used isn't worth being used: its pod may be gone."""


class Tunnel:
    """A WebSocket to a port of a pod. Make it with `open`, and close it."""

    def __init__(self, socket: WebSocket, stack: AsyncExitStack) -> None:
        self.socket = socket
        self._stack = stack
        self._opened = time.monotonic()

    @classmethod
    async def open(cls, api: Api, path: str, port: int) -> Self:
        """Open a tunnel.

        Parameters
        ----------
        api : Api
            Connected to the API server; the caller closes it.
        path : str
            The pod's subresource ``portforward``.
        port : int
            The pod's own.

        Raises
        ------
        ApiError
            The API server, or the node behind it, refused it.
        UnreachableError
            The API server can't be reached.
        """
        async with AsyncExitStack() as stack:
            opening = api.open_websocket(
                version="",
                base=path,
                params={"ports": str(port)},
                subprotocols=[PROTOCOL],
                session_class=WebSocket,
                is_repeated=False,
            )
            return cls(await stack.enter_async_context(opening), stack.pop_all())

    @property
    def is_fresh(self) -> bool:
        """Whether it has just been opened."""
        return time.monotonic() - self._opened < FRESH

    async def close(self) -> None:
        """End it."""
        await self._stack.aclose()


class PortForward:
    """A local port that leads to a pod's.

    Parameters
    ----------
    open_tunnel : callable
        Returns a new tunnel to the pod's port; called for each connection, so it may lead to another pod
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
                await _first_of(_send(reader, tunnel.socket), _receive(tunnel.socket, writer))
            finally:
                await tunnel.close()
        except (KubeClusterError, OSError, TimeoutError) as error:
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


async def _send(reader: asyncio.StreamReader, socket: WebSocket) -> None:
    while data := await reader.read(CHUNK):
        await socket.send(b"\0" + data)


async def _receive(socket: WebSocket, writer: asyncio.StreamWriter) -> None:
    greeted: set[int] = set()
    channel, is_greeting = ERROR, True
    async for content, begins in socket.parts():
        data = content
        if begins:
            channel, data = content[0], content[1:]
            is_greeting = channel not in greeted
            greeted.add(channel)
        if is_greeting or not data:
            continue
        if channel == ERROR:
            logger.debug("The port-forward's other end says: %s", bytes(data).decode(errors="replace"))
            return
        writer.write(data)
        await writer.drain()
