"""Kubelet's back-off."""

from __future__ import annotations

import time
from dataclasses import dataclass

INITIAL, LONGEST = 10.0, 300.0
FORGOTTEN_AFTER = 2 * LONGEST


@dataclass
class BackOff:
    """A delay that doubles, and is forgotten after a long quiet time.

    Parameters
    ----------
    scale : float
        Multiplies the seconds that pass until it is forgotten; the delays themselves are kubelet's.
    """

    scale: float
    delay: float = 0.0
    last_used: float = 0.0

    def next(self) -> float:
        """Return the delay that is due now, in seconds: none the first time."""
        moment = time.monotonic()
        due = self.delay
        if self.last_used and moment - self.last_used > FORGOTTEN_AFTER * self.scale:
            due = 0.0
        self.delay = min(due * 2, LONGEST) or INITIAL
        self.last_used = moment
        return due


def duration(seconds: float) -> str:
    """Return seconds as Go writes them: ``10s``, ``2m40s``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
