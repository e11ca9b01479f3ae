"""httpx's connections on asyncio's own streams, which carry twice as much as those that httpx chooses.

httpcore reads TLS by anyio, 16 KiB and a cancel scope at a time; asyncio decrypts whatever has come at once.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpcore
import httpx

BUFFER = 2**18
"""Bytes that are read ahead."""
SOONER = 0.25
"""Seconds after which the next address of a host is tried as well."""


def use_asyncio(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Let a new client connect by asyncio's streams.

    httpcore takes a backend, and httpx has no way to pass one on.
    """
    for transport in (client._transport, *client._mounts.values()):
        if isinstance(transport, httpx.AsyncHTTPTransport):
            transport._pool._network_backend = Backend()
    return client


class Backend(httpcore.AsyncNetworkBackend):
    """Opens connections."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a host.

        Raises
        ------
        httpcore.ConnectError, httpcore.ConnectTimeout
            It can't be reached.
        """
        local = None if local_address is None else (local_address, 0)
        async with _errors_as(httpcore.ConnectError, httpcore.ConnectTimeout, timeout):
            reader, writer = await asyncio.open_connection(
                host, port, limit=BUFFER, local_addr=local, happy_eyeballs_delay=SOONER
            )
        for option in socket_options or ():
            writer.get_extra_info("socket").setsockopt(*option)
        return Stream(reader, writer)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class Stream(httpcore.AsyncNetworkStream):
    """A connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what has come, empty at the end."""
        async with _errors_as(httpcore.ReadError, httpcore.ReadTimeout, timeout):
            return await self._reader.read(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send."""
        async with _errors_as(httpcore.WriteError, httpcore.WriteTimeout, timeout):
            self._writer.write(buffer)
            await self._writer.drain()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Begin TLS.

        Raises
        ------
        httpcore.ConnectError, httpcore.ConnectTimeout
            The other side isn't trusted, or doesn't speak it.
        """
        try:
            async with _errors_as(httpcore.ConnectError, httpcore.ConnectTimeout, timeout):
                await self._writer.start_tls(ssl_context, server_hostname=server_hostname)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def aclose(self) -> None:
        """End it at once: TLS says good-bye at leisure, and our event loop may end right after this."""
        self._writer.transport.abort()
        await asyncio.sleep(0)

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore asks for."""
        if info == "is_readable":
            return self._writer.transport.is_closing() or self._reader.at_eof()
        names = {"client_addr": "sockname", "server_addr": "peername"}
        return self._writer.get_extra_info(names.get(info, info))


@asynccontextmanager
async def _errors_as(
    kind: type[Exception], timed_out: type[Exception], limit: float | None
) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(limit):
            yield
    except TimeoutError as error:
        raise timed_out(str(error)) from error
    except (OSError, EOFError) as error:
        raise kind(str(error) or type(error).__name__) from error
