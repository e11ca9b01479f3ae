"""Tasks for workers, which get this file itself: pickled functions need the very same Python there."""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from distributed import Client, Event, get_worker

NAME = Path(__file__).stem


def sent_to(client: Client) -> Any:
    """Send this module to the scheduler and to all workers, now and later, and return it as they know it."""
    client.upload_file(__file__)
    if NAME not in sys.modules:
        spec = importlib.util.spec_from_file_location(NAME, __file__)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[NAME] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[NAME])
    return sys.modules[NAME]


def make(number: int) -> tuple[int, bytes]:
    """Make a result of some size, and tell that it was begun."""
    get_worker().log_event("begun", f"make {number}")
    return number, bytes(100_000)


def work(number: int, seconds: float) -> int:
    """Take a while, and tell that it was begun."""
    get_worker().log_event("begun", f"work {number}")
    time.sleep(seconds)
    return number


def hold(name: str, until: str) -> str:
    """Run until an event is set, and tell that it was begun."""
    get_worker().log_event("begun", f"hold {name}")
    Event(until).wait()
    return name


def random_bytes(size: int) -> bytes:
    """Return always the same bytes, which no compression makes fewer, in whole pieces of 16 MiB."""
    piece = random.Random(0).randbytes(2**24)
    return piece * (size // len(piece))


def kill(nanny: int) -> None:
    """End the worker that runs this, and its nanny, as abruptly as can be."""
    os.kill(nanny, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
