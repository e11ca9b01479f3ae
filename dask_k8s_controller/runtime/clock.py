"""The clock, as the controller is given it: tests have one that they set."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Timer(Protocol):
    """A call that is due later and can be cancelled, such as `asyncio.TimerHandle`."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """What the queue and the plans know of time."""

    def now(self) -> datetime:
        """Return the time of day, in UTC: comparable with the timestamps of objects."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back: for durations."""
        ...

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call back after ``delay`` seconds."""
        ...


class RealClock:
    """The machine's clock and the running event loop's timers."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(delay, callback)
