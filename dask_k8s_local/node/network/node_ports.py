"""NodePorts: a Service's ports on the node's own address, for clients that aren't pods."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence

logger = logging.getLogger(__name__)

CHUNK = 1 << 18
Endpoint = tuple[str, int]


class NodePorts:
    """Listens on the node ports of all Services, and passes connections on to ready endpoints."""

    def __init__(self, node_address: str) -> None:
        self._address = node_address
        self._endpoints: Mapping[int, Sequence[Endpoint]] = {}
        self._servers: dict[int, asyncio.Server] = {}
        self._connections: set[asyncio.Task[None]] = set()

    async def serve(self, endpoints: Mapping[int, Sequence[Endpoint]]) -> None:
        """Serve these ports, and no others any more."""
        self._endpoints = endpoints
        for port in self._servers.keys() - endpoints.keys():
            self._servers.pop(port).close()
        for port in endpoints.keys() - self._servers.keys():
            try:
                self._servers[port] = await asyncio.start_server(
                    lambda reader, writer, port=port: self._accepted(port, reader, writer),  # type: ignore[misc]
                    self._address,
                    port,
                )
            except OSError as error:
                logger.warning("node port %s:%s: %s", self._address, port, error)

    async def stop(self) -> None:
        await self.serve({})
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accepted(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass_on(port, reader, writer), name=f"node port {port}")
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        # Also of a task that is cancelled before it begins.
        task.add_done_callback(lambda _: writer.close())

    async def _pass_on(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        endpoints = self._endpoints.get(port)
        try:
            if not endpoints:
                return
            inner_reader, inner_writer = await asyncio.open_connection(*random.choice(endpoints))
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_copy(reader, inner_writer))
                    group.create_task(_copy(inner_reader, writer))
            except* OSError:
                pass  # One side broke the connection: the other one's is closed as well.
            finally:
                inner_writer.close()
        except OSError as error:
            logger.debug("node port %s: %s", port, error)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
