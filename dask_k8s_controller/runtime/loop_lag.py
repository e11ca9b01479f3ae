"""How late the event loop is: everything that is due waits as long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dask_k8s_controller.runtime.clock import Clock, Timer


@dataclass
class LoopLag:
    """Tells, again and again, how late a call came that was due."""

    clock: Clock
    observe: Callable[[float], None]
    """Told the seconds."""
    interval: float = 0.05
    """Seconds between two calls; whatever holds the event loop up for longer is noticed."""
    _timer: Timer | None = field(default=None, init=False)

    def start(self) -> None:
        """Begin, in the running event loop."""
        due = self.clock.monotonic() + self.interval
        self._timer = self.clock.call_later(self.interval, lambda: self._called(due))

    def stop(self) -> None:
        """Tell no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _called(self, due: float) -> None:
        self.observe(max(0.0, self.clock.monotonic() - due))
        self.start()
