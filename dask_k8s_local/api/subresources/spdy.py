"""SPDY/3.1 frames, as far as Kubernetes' streams are made of them: https://www.chromium.org/spdy/spdy-protocol/"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

_WORDS = """
options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges
age allow authorization cache-control connection content-base content-encoding content-language
content-length content-location content-md5 content-range content-type date etag expect expires from host
if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards
pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer
transfer-encoding upgrade user-agent vary via warning www-authenticate method get status
"""
_MORE_WORDS = ("200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")
_TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _text(text: str) -> bytes:
    return struct.pack(">I", len(text)) + text.encode()


DICTIONARY = b"".join(map(_text, (*_WORDS.split(), *_MORE_WORDS))) + _TEXT.encode()
"""What both sides take as written before the first headers, so that these compress well."""

_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _PING, _GOAWAY = 1, 2, 3, 6, 7
_CONTROL, _FIN = 0x8003_0000, 0x01
_STREAM = 0x7FFF_FFFF
_MOST_HEADERS = 64 * 1024
PROTOCOL_ERROR, REFUSED = 1, 3


class SpdyError(Exception):
    """What came is no SPDY that can be gone on with."""


@dataclass(frozen=True)
class Opened:
    """The other side opens a stream."""

    stream: int
    headers: dict[str, str]
    is_last: bool


@dataclass(frozen=True)
class Data:
    """Bytes on a stream; after the last it sends no more."""

    stream: int
    data: bytes
    is_last: bool


@dataclass(frozen=True)
class Reset:
    """The other side gives a stream up."""

    stream: int


@dataclass(frozen=True)
class Ping:
    """The other side wants its number back."""

    number: int


@dataclass(frozen=True)
class GoAway:
    """The other side ends the connection."""


Frame = Opened | Data | Reset | Ping | GoAway


class Decoder:
    """Cuts what comes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._headers = zlib.decompressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are complete now; raise SpdyError if they make no sense."""
        self._buffer += data
        while len(self._buffer) >= 8:
            head, rest = struct.unpack_from(">II", self._buffer)
            end = 8 + (rest & 0xFF_FFFF)
            if len(self._buffer) < end:
                return
            payload = bytes(memoryview(self._buffer)[8:end])
            del self._buffer[:end]
            frame = self._frame(head, bool(rest >> 24 & _FIN), payload)
            if frame is not None:
                yield frame

    def _frame(self, head: int, is_last: bool, payload: bytes) -> Frame | None:
        if not head & 0x8000_0000:
            return Data(head, payload, is_last)
        if head & 0xFFFF_0000 != _CONTROL:
            raise SpdyError("another version of SPDY than 3")
        kind = head & 0xFFFF
        if kind == _GOAWAY:
            return GoAway()
        if kind not in (_SYN_STREAM, _RST_STREAM, _PING):
            return None  # Settings and windows, which nobody minds here.
        if len(payload) < 4:
            raise SpdyError("a frame is too short")
        number = int.from_bytes(payload[:4])
        if kind == _PING:
            return Ping(number)
        if kind == _RST_STREAM:
            return Reset(number & _STREAM)
        return Opened(number & _STREAM, self._read_headers(payload[10:]), is_last)

    def _read_headers(self, compressed: bytes) -> dict[str, str]:
        try:
            block = self._headers.decompress(compressed, _MOST_HEADERS)
        except zlib.error as error:
            raise SpdyError(f"headers can't be decompressed: {error}") from None
        if self._headers.unconsumed_tail:
            raise SpdyError(f"headers have more than {_MOST_HEADERS} bytes")
        texts: list[str] = []
        position = 4
        while position + 4 <= len(block):
            start = position + 4
            position = start + int.from_bytes(block[position:start])
            texts.append(block[start:position].decode(errors="replace"))
        return {name.lower(): value for name, value in zip(texts[::2], texts[1::2], strict=False)}


class Encoder:
    """Writes frames."""

    def __init__(self) -> None:
        self._headers = zlib.compressobj(zdict=DICTIONARY)

    def reply(self, stream: int) -> bytes:
        """Accept a stream."""
        block = self._headers.compress(struct.pack(">I", 0)) + self._headers.flush(zlib.Z_SYNC_FLUSH)
        return _control(_SYN_REPLY, struct.pack(">I", stream) + block)

    def data(self, stream: int, data: bytes, *, is_last: bool = False) -> bytes:
        return struct.pack(">II", stream, (_FIN if is_last else 0) << 24 | len(data)) + data

    def reset(self, stream: int, status: int) -> bytes:
        return _control(_RST_STREAM, struct.pack(">II", stream, status))

    def ping(self, number: int) -> bytes:
        return _control(_PING, struct.pack(">I", number))


def _control(kind: int, payload: bytes) -> bytes:
    return struct.pack(">II", _CONTROL | kind, len(payload)) + payload
