"""How late the event loop is: everything that is due waits as long."""

from __future__ import annotations

from collections.abc import Callable

from dask_k8s_controller.runtime.clock import Clock, Timer


class LoopLag:
    """Tells, again and again, how late a call came that was due.

    Parameters
    ----------
    clock : Clock
        What the time is; tests have one that they set.
    observe : callable
        Told the seconds.
    interval : float
        Seconds between two calls; whatever holds the event loop up for longer is noticed.
    """

    def __init__(self, clock: Clock, observe: Callable[[float], None], interval: float = 0.05) -> None:
        self._clock = clock
        self._observe = observe
        self._interval = interval
        self._timer: Timer | None = None

    def start(self) -> None:
        """Begin, in the running event loop."""
        due = self._clock.monotonic() + self._interval
        self._timer = self._clock.call_later(self._interval, lambda: self._called(due))

    def stop(self) -> None:
        """Tell no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _called(self, due: float) -> None:
        self._observe(max(0.0, self._clock.monotonic() - due))
        self.start()
