"""Reading containers' logs, as the supervisor writes them: ``{time} {F|P} {line}``."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from dask_k8s_local.interfaces import LogOptions
from dask_k8s_local.node.times import parse_timestamp

CHUNK = 1 << 16


class LogReader:
    """Reads a log from its beginning, and again from where it stood when it has grown."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._inode: int | None = None
        self._rest = b""

    def entries(self) -> Iterator[bytes]:
        """Yield the entries that are new since the last call."""
        rotated = self._path.with_name(self._path.name + ".1")
        if rotated.exists() and self._inode in (None, rotated.stat().st_ino):
            yield from self._read(rotated)
            self._position = 0
        if self._path.exists():
            yield from self._read(self._path)

    def _read(self, path: Path) -> Iterator[bytes]:
        with path.open("rb") as file:
            self._inode = path.stat().st_ino
            file.seek(self._position)
            while data := file.read(CHUNK):
                self._position += len(data)
                *entries, self._rest = (self._rest + data).split(b"\n")
                yield from entries


class LogFilter:
    """Turns entries into what a client asked for, and says when that was enough."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._left = options.limit_bytes
        self._is_at_line_start = True

    @property
    def is_full(self) -> bool:
        return self._left is not None and self._left <= 0

    def tail(self, entries: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the last lines asked for, of those that are recent enough."""
        recent = (entry for entry in entries if self._is_recent(entry))
        lines = self._options.tail_lines
        return recent if lines is None else iter(deque(recent, maxlen=lines))

    def text(self, entry: bytes) -> bytes:
        moment, kind, line = entry.split(b" ", 2)
        prefix = moment + b" " if self._options.timestamps and self._is_at_line_start else b""
        self._is_at_line_start = kind == b"F"
        text = prefix + line + (b"\n" if kind == b"F" else b"")
        if self._left is not None:
            text = text[: self._left]
            self._left -= len(text)
        return text

    def _is_recent(self, entry: bytes) -> bool:
        return self._options.since is None or entry_time(entry) >= self._options.since


def entry_time(entry: bytes) -> datetime:
    # Python's times have microseconds.
    text = entry.split(b" ", 1)[0].decode()
    return parse_timestamp(text[:26] + "Z")


def last_text(path: Path, lines: int = 80, size: int = 2048) -> str:
    """Return the end of a log, as ``FallbackToLogsOnError`` shows it."""
    reader = LogFilter(LogOptions(container="", tail_lines=lines))
    text = b"".join(reader.text(entry) for entry in reader.tail(LogReader(path).entries()))
    return text[-size:].decode(errors="replace")
