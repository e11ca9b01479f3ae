"""How kopf logs in: at once when credentials have expired, ever more slowly while they stay refused."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from dask_k8s_controller.kubernetes.api import REFUSED_CREDENTIALS
from dask_k8s_controller.kubernetes.connection import Connection
from dask_k8s_controller.settings import Backoff
from dask_k8s_credentials import CredentialsError

logger = logging.getLogger(__name__)


class Logins:
    """Logs in, again and again.

    Parameters
    ----------
    log_in : callable
        Awaited for a connection with the credentials as they are now.
    backoff : Backoff, optional
        Waits before a login that follows another soon.
    """

    def __init__(
        self, log_in: Callable[[], Awaitable[Connection]], backoff: Backoff = REFUSED_CREDENTIALS
    ) -> None:
        self._log_in = log_in
        self._backoff = backoff
        self._in_a_row = 0
        self._last = float("-inf")

    async def connection(self) -> Connection:
        """Log in, as soon as that is decent; go on until it works."""
        while True:
            await self._wait()
            try:
                return await self._log_in()
            except CredentialsError as error:
                logger.error("Can't log in; it is tried again: %s", error)

    async def _wait(self) -> None:
        if time.monotonic() - self._last > 2 * self._backoff.longest:
            self._in_a_row = 0
        # The first login is one, the second replaces what has expired: those that follow soon were refused.
        if self._in_a_row > 1:
            await asyncio.sleep(self._backoff.delay(self._in_a_row - 1))
        self._in_a_row += 1
        self._last = time.monotonic()
