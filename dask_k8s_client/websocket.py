"""A WebSocket that hands bytes on as they come, without waiting for the end of a message.

It speaks RFC 6455 as a client on a connection that `Api.open_websocket` has upgraded; a tunnel needs no more
of it than binary messages, pings and the end. A server masks nothing, so that receiving takes no copy.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import os
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, NamedTuple, Protocol, Self

import httpcore

from dask_k8s_client.errors import UnreachableError

CHUNK = 2**18
"""Bytes that are read and sent at once."""
HEARTBEAT = 10.0
"""Seconds of silence after which the other side is asked whether it is there."""
SILENCE = 25.0
"""Seconds of silence after which it isn't: a network may forget a connection without closing it."""
GOOD_BYE = 2.0
"""Seconds that closing may take."""
CONTINUATION, BINARY, CLOSE, PING, PONG = 0, 2, 8, 9, 10
FINAL, MASKED = 0x80, 0x80
CONTROL = 8


class Stream(Protocol):
    """A connection, as httpcore has it."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what has come, empty at the end."""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send."""


class Part(NamedTuple):
    """Some bytes of a message."""

    content: memoryview
    begins: bool


def upgrade(protocols: list[str]) -> dict[str, str]:
    """Return the headers that ask for a WebSocket."""
    headers = {
        "Connection": "upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    }
    return {**headers, "Sec-WebSocket-Protocol": ", ".join(protocols)} if protocols else headers


class WebSocket:
    """One end of a WebSocket.

    Parameters
    ----------
    stream : Stream
        The bytes of the connection that was upgraded.
    response
        The answer that opened it.
    """

    def __init__(self, stream: Stream, response: Any = None) -> None:
        self.response = response
        self._stream = stream
        self._writing = asyncio.Lock()
        self._heard = time.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_ended = False

    async def __aenter__(self) -> Self:
        self._in_background(self._beat())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if not self._has_ended:
            with suppress(TimeoutError, UnreachableError):
                await asyncio.wait_for(self._say_good_bye(), GOOD_BYE)

    async def _say_good_bye(self) -> None:
        """Wait until the other side has taken all that was sent before."""
        await self._write(CLOSE, (1000).to_bytes(2, "big"))
        while await self._read():
            pass

    async def send(self, content: bytes) -> None:
        """Send a binary message.

        Raises
        ------
        UnreachableError
            The connection broke.
        """
        await self._write(BINARY, content)

    async def parts(self) -> AsyncIterator[Part]:
        """Yield what comes, until the other side ends it.

        Raises
        ------
        UnreachableError
            The connection broke, or has been silent for too long.
        """
        view = memoryview(b"")
        begins = True
        while True:
            while (header := _header(view)) is None:
                if not (data := await self._read()):
                    return
                view = memoryview(bytes(view) + data)
            opcode, start, left = header
            view = view[start:]
            if opcode >= CONTROL:
                while len(view) < left:
                    if not (data := await self._read()):
                        return
                    view = memoryview(bytes(view) + data)
                if opcode == CLOSE:
                    self._has_ended = True
                    return
                if opcode == PING:
                    self._in_background(self._write(PONG, bytes(view[:left])))
                view = view[left:]
                continue
            begins = begins or opcode != CONTINUATION
            while left:
                if view:
                    part, view = view[:left], view[left:]
                    left -= len(part)
                    yield Part(part, begins)
                    begins = False
                elif data := await self._read():
                    view = memoryview(data)
                else:
                    return

    async def _read(self) -> bytes:
        try:
            data = await self._stream.read(CHUNK, timeout=SILENCE)
        except httpcore.ReadTimeout as error:
            self._has_ended = True
            raise UnreachableError(f"The connection has been silent for {SILENCE:g} seconds.") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            self._has_ended = True
            raise UnreachableError(f"The connection broke: {error or type(error).__name__}") from error
        self._heard = time.monotonic()
        self._has_ended = not data
        return data

    async def _write(self, opcode: int, content: bytes) -> None:
        frame = _frame(opcode, content)
        try:
            async with self._writing:
                await self._stream.write(frame)
        except (httpcore.NetworkError, httpcore.TimeoutException, OSError) as error:
            self._has_ended = True
            raise UnreachableError(f"The connection broke: {error or type(error).__name__}") from error

    async def _beat(self) -> None:
        with suppress(UnreachableError):  # whoever reads or writes will notice
            while True:
                await asyncio.sleep(HEARTBEAT / 2)
                if time.monotonic() - self._heard >= HEARTBEAT / 2:
                    await self._write(PING, b"")

    def _in_background(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # of a pong that could not be sent; whoever reads will notice


def _header(buffer: memoryview) -> tuple[int, int, int] | None:
    """Return a frame's opcode, where its payload begins, and its length; None if there is more to come."""
    if len(buffer) < 2:
        return None
    opcode, length = buffer[0] & 0x0F, buffer[1] & 0x7F
    if length < 126:
        return opcode, 2, length
    start = 4 if length == 126 else 10
    return (opcode, start, int.from_bytes(buffer[2:start], "big")) if len(buffer) >= start else None


def _frame(opcode: int, content: bytes) -> bytes:
    size = len(content)
    if size < 126:
        head = bytes((FINAL | opcode, MASKED | size))
    elif size < 2**16:
        head = bytes((FINAL | opcode, MASKED | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((FINAL | opcode, MASKED | 127)) + size.to_bytes(8, "big")
    key = os.urandom(4)
    masked = bytearray(size)
    for place, byte in enumerate(key):
        # By translation: a loop over bytes takes a hundred times as long, and one big integer twice.
        masked[place::4] = content[place::4].translate(_mask(byte))
    return b"".join((head, key, masked))


@functools.cache
def _mask(byte: int) -> bytes:
    return bytes(each ^ byte for each in range(256))
