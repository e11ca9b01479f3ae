"""How kopf logs in: at once when credentials have expired, ever more slowly while they stay refused."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from dask_k8s_controller.kubernetes.api import REFUSED_CREDENTIALS
from dask_k8s_controller.kubernetes.connection import Connection
from dask_k8s_controller.settings import Backoff
from dask_k8s_credentials import CredentialsError

logger = logging.getLogger(__name__)


@dataclass
class Logins:
    """Logs in, again and again."""

    log_in: Callable[[], Awaitable[Connection]]
    """Awaited for a connection with the credentials as they are now."""
    backoff: Backoff = REFUSED_CREDENTIALS
    """Waits before a login that follows another soon."""
    _in_a_row: int = field(default=0, init=False)
    _last: float = field(default=float("-inf"), init=False)

    async def connection(self) -> Connection:
        """Log in, as soon as that is decent; go on until it works."""
        while True:
            await self._wait()
            try:
                return await self.log_in()
            except CredentialsError as error:
                logger.error("Can't log in; it is tried again: %s", error)

    async def _wait(self) -> None:
        if time.monotonic() - self._last > 2 * self.backoff.longest:
            self._in_a_row = 0
        # The first login is one, the second replaces what has expired: those that follow soon were refused.
        if self._in_a_row > 1:
            await asyncio.sleep(self.backoff.delay(self._in_a_row - 1))
        self._in_a_row += 1
        self._last = time.monotonic()
