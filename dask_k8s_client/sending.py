"""How `Api` sends: again after a passing failure, in a limited time, with credentials that are accepted."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from contextlib import AsyncExitStack, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx
from kr8s._api import Api as Kr8sApi

from dask_k8s_client.auth import Auth
from dask_k8s_client.errors import ApiError, CredentialsError, UnreachableError, api_error
from dask_k8s_client.kr8s_errors import TimedOutError, known_to_kr8s
from dask_k8s_client.network import use_asyncio
from dask_k8s_client.raw import USER_AGENT
from dask_k8s_credentials import Credentials

logger = logging.getLogger(__name__)

Path = str | os.PathLike[str]

REQUEST_TIMEOUT = 30.0
"""Seconds for one request, streams apart."""
RETRY_DELAYS = (0.1, 0.3, 0.9, 2.0)
"""Seconds to wait before each repetition of a request that failed for a passing reason."""
LONGEST_DELAY = 10.0
"""Seconds that we wait at most if the API server asks us to."""
PASSING = frozenset({429, 500, 502, 503, 504})
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class _Session:
    """A pool of connections with some credentials; it closes when nobody uses it and there is a newer one."""

    def __init__(self, credentials: Credentials, client: httpx.AsyncClient) -> None:
        self.credentials = credentials
        self.client = client
        self.users = 0


class Sending(Kr8sApi):
    """The part of `Api` that sends.

    Attributes
    ----------
    requests : int
        How many requests were sent so far.
    """

    auth: Auth
    requests: int
    _keeps_connections: bool
    _sessions: list[_Session]

    async def _create_session(self) -> None:
        """Open a pool with the credentials of this moment; the former one lives until nobody uses it."""
        credentials = await self._credentials()
        keep = 20 if self._keeps_connections else 0
        try:
            client = httpx.AsyncClient(
                base_url=credentials.server,
                headers=[
                    ("User-Agent", USER_AGENT),
                    ("Content-Type", "application/json"),
                    *credentials.headers,
                ],
                verify=await self.auth.ssl_context(),
                proxy=credentials.proxy,
                trust_env=not credentials.is_local,
                follow_redirects=True,
                # Each WebSocket and each watch holds a connection.
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=keep),
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            )
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            raise CredentialsError(f"{credentials.server} can't be spoken to: {error}") from error
        former, self._sessions = self._sessions, [_Session(credentials, client)]
        self._session = use_asyncio(client)
        for session in former:
            if session.users:
                self._sessions.append(session)
            else:
                await session.client.aclose()

    async def _credentials(self) -> Credentials:
        return self.auth.credentials if self.auth.server else await self.auth.instead_of(None)

    async def _answer(
        self,
        stack: AsyncExitStack,
        stream: bool,
        raise_for_status: bool,
        is_repeated: bool,
        kwargs: dict[str, Any],
    ) -> httpx.Response:
        """Send a request until it passes, and return the answer, which the stack closes."""
        limit, kwargs["timeout"] = self._limits(stream, kwargs.pop("timeout", self._timeout))
        delays = iter(RETRY_DELAYS if is_repeated else ())
        last_attempt = time.monotonic() + REQUEST_TIMEOUT
        has_reloaded = may_be_done = has_failed = False
        while True:
            if not self._sessions:
                await self._create_session()
            session = self._sessions[0]
            attempt = AsyncExitStack()
            error: ApiError | UnreachableError
            response: httpx.Response | None = None
            try:
                response = await self._send(attempt, session, stream, limit, kwargs)
            except (httpx.RequestError, httpx.InvalidURL, TimeoutError) as interruption:
                error = self._unreachable(interruption)
                may_be_done = may_be_done or not isinstance(interruption, NEVER_SENT)
            else:
                if response.status_code == 401 and not has_reloaded:
                    # Tokens expire; a credential plugin or the kubelet has newer ones.
                    await attempt.aclose()
                    has_reloaded = True
                    await self.auth.instead_of(session.credentials)
                    if self._sessions and self._sessions[0] is session:
                        await self._create_session()
                    continue
                if response.status_code < 400:
                    stack.push_async_callback(attempt.aclose)
                    return response
                error = known_to_kr8s(_refusal(response))
                error.may_be_done = may_be_done
                may_be_done = may_be_done or error.code >= 500
            delay = next(delays, None)
            is_final = isinstance(error, ApiError) and error.code not in PASSING
            # A request that took all of its time is sent once more: its connection may have died in a pool.
            if delay is None or is_final or (has_failed and time.monotonic() > last_attempt):
                if response is not None and not raise_for_status:
                    stack.push_async_callback(attempt.aclose)
                    return response
                await attempt.aclose()
                raise error
            await attempt.aclose()
            has_failed = True
            if response is not None:
                delay = max(delay, min(_seconds_asked_for(response, error), LONGEST_DELAY))
            logger.debug("%s %s failed, again in %.1f s: %s", kwargs["method"], kwargs["url"], delay, error)
            await asyncio.sleep(delay)

    async def _send(
        self,
        attempt: AsyncExitStack,
        session: _Session,
        stream: bool,
        limit: float | None,
        kwargs: dict[str, Any],
    ) -> httpx.Response:
        """Send a request once; an answer that isn't a stream, or is a refusal, is read."""
        self.requests += 1
        session.users += 1
        attempt.push_async_callback(self._release, session)
        try:
            async with asyncio.timeout(limit):
                request = session.client.build_request(**kwargs)
                response = await session.client.send(request, stream=True)
                attempt.push_async_callback(response.aclose)
                if response.is_error or not stream:
                    await response.aread()
        except BaseException:
            await attempt.aclose()
            raise
        return response

    def _limits(self, stream: bool, given: Any) -> tuple[float | None, httpx.Timeout]:
        """Return the seconds for all of a request, if that is limited, and those for its steps."""
        if isinstance(given, httpx.Timeout):
            return None if stream else REQUEST_TIMEOUT, given
        if stream:
            return None, httpx.Timeout(REQUEST_TIMEOUT, read=given, pool=None)
        seconds = given or REQUEST_TIMEOUT
        return seconds, httpx.Timeout(seconds, pool=None)

    async def _release(self, session: _Session) -> None:
        session.users -= 1
        if not session.users and self._sessions and session in self._sessions[1:]:
            self._sessions.remove(session)
            await session.client.aclose()

    def _unreachable(self, error: BaseException) -> UnreachableError:
        reason = str(error) or type(error).__name__
        text = f"The Kubernetes API server at {self.auth.server} can't be reached: {reason}."
        kind = TimedOutError if isinstance(error, httpx.TimeoutException | TimeoutError) else UnreachableError
        return kind(f"{text} Does `kubectl version` reach it?")


def _seconds_asked_for(response: httpx.Response, error: ApiError | UnreachableError) -> float:
    """Return how long the API server wants us to wait; it says so in a ``Status``, or in a header alone."""
    details = error.details if isinstance(error, ApiError) else {}
    said: Any
    for said in (details.get("retryAfterSeconds"), response.headers.get("Retry-After")):
        with suppress(TypeError, ValueError):  # The header may also be a date.
            return float(said)
    return 0.0


def _refusal(response: httpx.Response) -> ApiError:
    try:
        status = json.loads(response.content)
    except ValueError:
        status = None
    if not isinstance(status, dict):
        text = response.content[:500].decode(errors="replace").strip()
        return api_error(
            response.status_code,
            {},
            f"The API server answered {response.status_code} {response.reason_phrase}: {text}",
        )
    return api_error(response.status_code, status)
