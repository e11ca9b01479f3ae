"""HTTP to the API server: one session, repetitions after failures that pass, streams and WebSockets."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiohttp

from dask_k8s_client.errors import ApiError, UnauthorizedError, UnreachableError, api_error
from dask_k8s_credentials import Credentials

logger = logging.getLogger(__name__)

USER_AGENT = "dask-k8s-client"
REQUEST_TIMEOUT = 30.0
"""Seconds for one request, streams apart."""
RETRY_DELAYS = (0.1, 0.3, 0.9, 2.0)
"""Seconds to wait before each repetition of a request that failed for a passing reason."""
LONGEST_DELAY = 10.0
"""Seconds that we wait at most if the API server asks us to."""
PASSING = frozenset({429, 500, 502, 503, 504})
INTERRUPTIONS = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError)

T = TypeVar("T")

WebSocket = aiohttp.ClientWebSocketResponse[bool]
Reload = Callable[[], Awaitable[Credentials]]


class _Connector(aiohttp.TCPConnector):
    """It knows each connection, also those of cancelled requests and of streams, which go back to no pool."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.transports: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[aiohttp.tracing.Trace], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        connection = await super().connect(req, traces, timeout)
        if isinstance(connection.transport, asyncio.Transport):
            self.transports.add(connection.transport)
        return connection


class Http:
    """A session with an API server; it belongs to the event loop that it was made in.

    Parameters
    ----------
    credentials : Credentials
        Where the API server is and who we are.
    reload : callable, optional
        Gets newer credentials when these have expired.

    Attributes
    ----------
    requests : int
        How many requests were sent so far.
    """

    def __init__(self, credentials: Credentials, reload: Reload | None = None) -> None:
        self.credentials = credentials
        self.requests = 0
        self._reload = reload
        self._connector = _Connector(limit=0)
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=self._connector,
            headers={"User-Agent": USER_AGENT},
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT),
            read_bufsize=2**20,
            trust_env=not credentials.is_local,
        )
        # aiohttp would repeat some requests on its own, and we must know that one was repeated.
        self._session._retry_connection = False

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()
        # TLS says good-bye at leisure, but our event loop may end right after this.
        for transport in self._connector.transports:
            transport.abort()
        await asyncio.sleep(0)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        data: bytes | None = None,
        content_type: str = "application/json",
    ) -> bytes:
        """Send a request, again after a passing failure, and return the body of the answer.

        Raises
        ------
        ApiError
            The API server refused it. ``may_be_done`` tells that an earlier attempt may have taken effect.
        UnreachableError
            The API server can't be reached.
        """

        async def attempt() -> bytes:
            response = await self._send(method, path, params, data, {"Content-Type": content_type})
            async with response:
                return await response.read()

        return await self._until_it_passes(f"{method} {path}", attempt)

    @asynccontextmanager
    async def stream(
        self, path: str, params: Mapping[str, str], timeout: aiohttp.ClientTimeout
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Read an answer line by line; lines may be of any length.

        Raises
        ------
        ApiError, UnreachableError
            As `request`, and when the connection breaks.
        """

        async def attempt() -> aiohttp.ClientResponse:
            return await self._send("GET", path, params, None, {}, timeout)

        response = await self._until_it_passes(f"GET {path}", attempt)
        try:
            yield _lines(response)
        except INTERRUPTIONS as error:
            raise self._unreachable(error) from error
        finally:
            response.close()

    async def websocket(self, path: str, protocol: str, params: Mapping[str, str]) -> WebSocket:
        """Open a WebSocket.

        Raises
        ------
        ApiError
            The API server, or the node behind it, refused it.
        UnreachableError
            The API server can't be reached.
        """
        self.requests += 1
        opening = self._session.ws_connect(
            self.credentials.server + path,
            params=params,
            protocols=(protocol,),
            max_msg_size=0,
            headers=self.credentials.headers,
            **self._connection(),
        )
        try:
            websocket: WebSocket = await asyncio.wait_for(opening, REQUEST_TIMEOUT)
        except aiohttp.WSServerHandshakeError as error:
            raise api_error(error.status, {}, f"The API server answered {error.status} to {path}.") from error
        except INTERRUPTIONS as error:
            raise self._unreachable(error) from error
        return websocket

    async def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        data: bytes | None,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout | None = None,
    ) -> aiohttp.ClientResponse:
        """Send a request once and return a good answer."""
        self.requests += 1
        more: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        response = await self._session.request(
            method,
            self.credentials.server + path,
            params=params,
            data=data,
            headers=[*self.credentials.headers, *headers.items()],
            **self._connection(),
            **more,
        )
        if response.status >= 400:
            raise await _refusal(response)
        return response

    async def _until_it_passes(self, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        delays = iter(RETRY_DELAYS)
        last_attempt = time.monotonic() + REQUEST_TIMEOUT
        has_reloaded = may_be_done = False
        while True:
            error: ApiError | UnreachableError
            try:
                return await attempt()
            except ApiError as refusal:
                error = refusal
                error.may_be_done = may_be_done
                may_be_done = may_be_done or error.code >= 500
            except INTERRUPTIONS as interruption:
                error = self._unreachable(interruption)
                may_be_done = may_be_done or not isinstance(interruption, aiohttp.ClientConnectorError)
            if isinstance(error, UnauthorizedError) and self._reload and not has_reloaded:
                # Tokens expire; a credential plugin or the kubelet has newer ones.
                self.credentials = await self._reload()
                has_reloaded = True
                continue
            delay = next(delays, None)
            is_final = isinstance(error, ApiError) and error.code not in PASSING
            if delay is None or is_final or time.monotonic() > last_attempt:
                raise error
            if isinstance(error, ApiError):
                delay = max(delay, min(float(error.details.get("retryAfterSeconds") or 0), LONGEST_DELAY))
            logger.debug("%s failed, again in %.1f s: %s", what, delay, error)
            await asyncio.sleep(delay)

    def _connection(self) -> dict[str, Any]:
        mine = self.credentials
        arguments: dict[str, Any] = {}
        if mine.ssl_context is not None:
            arguments["ssl"] = mine.ssl_context
        if mine.proxy:
            arguments["proxy"] = mine.proxy
        return arguments

    def _unreachable(self, error: BaseException) -> UnreachableError:
        reason = str(error) or type(error).__name__
        return UnreachableError(
            f"The Kubernetes API server at {self.credentials.server} can't be reached: {reason}. "
            "Does `kubectl version` reach it?"
        )


async def _refusal(response: aiohttp.ClientResponse) -> ApiError:
    async with response:
        body = await response.read()
    try:
        status = json.loads(body)
    except ValueError:
        status = None
    if not isinstance(status, dict):
        text = body[:500].decode(errors="replace").strip()
        return api_error(
            response.status, {}, f"The API server answered {response.status} {response.reason}: {text}"
        )
    return api_error(response.status, status)


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Split a body of any line length."""
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line
    if rest:
        yield rest
