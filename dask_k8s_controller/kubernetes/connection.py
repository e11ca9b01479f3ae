"""How the controller logs in: with the credentials of the kubeconfig, else of the pod's service account."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
from multidict import CIMultiDict

from dask_k8s_controller.settings import Backoff
from dask_k8s_credentials import Credentials, CredentialsError, load

logger = logging.getLogger(__name__)

KEPT_ALIVE = 60.0
"""Seconds for which an idle connection is kept: a TLS handshake costs as much as several requests.

API servers hang up after 90 s.
"""

REFUSED_CREDENTIALS = Backoff(first=1.0, longest=30.0)
"""Waits before credentials are read again that stay refused."""


@dataclass(frozen=True)
class Connection:
    """An HTTP session with the API server's credentials."""

    server: str
    """The API server's address, without a trailing slash."""
    session: aiohttp.ClientSession
    """Has the credentials; whoever made the connection closes it."""
    in_cluster: bool
    """Whether the credentials are a pod's service account: only then other pods can be reached directly."""
    namespace: str
    """The credentials' own namespace."""


def connect(credentials: Credentials, *, trust_env: bool = False) -> Connection:
    """Open a session; the number of connections is not limited here.

    The environment's proxies are used if that is trusted, and the credentials name none.

    Raises
    ------
    CredentialsError
        The proxy is of a kind that the controller can't use.
    """
    if credentials.proxy and credentials.proxy.startswith("socks"):
        raise CredentialsError(
            f"The controller can't use the kubeconfig's proxy-url {credentials.proxy}: use an HTTP proxy."
        )
    session = aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),  # Schedulers behind the proxy are not to be recognised.
        connector=aiohttp.TCPConnector(
            limit=0, ssl=credentials.ssl_context or True, keepalive_timeout=KEPT_ALIVE
        ),
        headers=CIMultiDict([("User-Agent", "dask-k8s-controller"), *credentials.headers]),
        proxy=credentials.proxy,
        trust_env=trust_env and not credentials.is_local,
        timeout=aiohttp.ClientTimeout(total=None),
    )
    return Connection(credentials.server, session, credentials.in_cluster, credentials.namespace)


async def log_in(*, trust_env: bool = False) -> Connection:
    """Find the credentials as they are now, and open a session; a plugin of the kubeconfig may take a while.

    Raises
    ------
    CredentialsError
        There are none, or they can't be read.
    """
    return connect(await asyncio.to_thread(load), trust_env=trust_env)


@dataclass
class Logins:
    """Logs in: at once when credentials have expired, ever more slowly while they stay refused."""

    log_in: Callable[[], Awaitable[Connection]]
    """Awaited for a connection with the credentials as they are now."""
    backoff: Backoff = REFUSED_CREDENTIALS
    _in_a_row: int = field(default=0, init=False)
    _last: float = field(default=float("-inf"), init=False)
    _next: float = field(default=float("-inf"), init=False)

    async def connection(self) -> Connection:
        """Log in.

        Raises
        ------
        CredentialsError
            They can't be read, or are refused and it is too soon to read them again.
        """
        if (wait := self._wait()) > 0:
            raise CredentialsError(f"the API server refuses the credentials: read again in {wait:.0f} s")
        now = time.monotonic()
        if now - self._last > 2 * self.backoff.longest:
            self._in_a_row = 0
        self._in_a_row += 1
        # The first login is one, the second replaces what has expired: those that follow soon were refused.
        delay = self.backoff.delay(self._in_a_row - 1) if self._in_a_row > 1 else 0.0
        self._last, self._next = now, now + delay
        return await self.log_in()

    async def log_in_until_it_works(self) -> Connection:
        """Log in as soon as the back-off allows, again and again until it works."""
        while True:
            await asyncio.sleep(self._wait())
            try:
                return await self.connection()
            except CredentialsError as error:
                logger.error("Can't log in; it is tried again: %s", error)

    def _wait(self) -> float:
        return max(0.0, self._next - time.monotonic())
