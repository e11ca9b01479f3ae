"""Unit tests start no process and open no port; what does is in tests/faults, tests/local or tests/e2e."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest

PROCESSES = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}

_forbidden: list[str] | None = None
"""What the running test did that it must not; None between tests, and in other folders."""


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _forbidden is None:
        return
    if event in PROCESSES:
        _forbidden.append(f"starts a process ({event})")
    elif event == "socket.bind":
        bound, address = arguments
        if isinstance(bound, socket.socket) and bound.family != socket.AF_UNIX:
            _forbidden.append(f"opens the port {address}")


sys.addaudithook(_audit)


@pytest.fixture(autouse=True)
def neither_ports_nor_processes() -> Iterator[None]:
    """Fail a test that opens a port or starts a process."""
    global _forbidden
    _forbidden = []
    yield
    done, _forbidden = _forbidden, None
    assert not done, f"a unit test {' and '.join(done)}: move it to tests/faults, tests/local or tests/e2e"
