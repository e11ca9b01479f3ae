"""The way to the API server: a subclass of kr8s's ``Api``, and its synchronous twin.

`Api.call_api` is the seam that all passes, what kr8s's own objects send as well: it repeats what may be
repeated, limits each request, loads credentials anew when they were refused, and raises our errors.
docs/development/kr8s.md says what differs from kr8s, and why.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Any, Self

import httpx
import httpx_ws
import kr8s
from kr8s._api import Api as Kr8sApi
from kr8s._async_utils import as_sync_func
from kr8s._objects import get_class

from dask_k8s_client.auth import Auth
from dask_k8s_client.errors import ApiError, CredentialsError, UnreachableError, api_error
from dask_k8s_client.kr8s_errors import TimedOutError, known_to_kr8s
from dask_k8s_client.network import use_asyncio
from dask_k8s_client.raw import USER_AGENT
from dask_k8s_client.watch import Informer
from dask_k8s_client.websocket import upgrade
from dask_k8s_credentials import Credentials, load

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


class Api(Kr8sApi):
    """A connection to an API server, for one event loop. Close it, or use it in ``async with``.

    Parameters
    ----------
    kubeconfig : path, optional
        Instead of the environment variable ``KUBECONFIG`` or ``~/.kube/config``.
    context : str, optional
        Instead of the kubeconfig's current context.
    namespace : str, optional
        Instead of the context's, or the pod's own.
    loader : callable, optional
        Returns credentials, instead of what these say. It may block.
    keeps_connections : bool
        Whether connections are used again; False for whoever can't close this.

    Attributes
    ----------
    requests : int
        How many requests were sent so far.
    loader : callable
        Loads the credentials of this moment.
    source : tuple
        Kubeconfig and context, as given.
    """

    auth: Auth

    def __init__(
        self,
        kubeconfig: Path | None = None,
        context: str | None = None,
        namespace: str | None = None,
        *,
        loader: Callable[[], Credentials] | None = None,
        keeps_connections: bool = True,
    ) -> None:
        # kr8s answers a bare `kr8s.api()` with any instance that it knows in this thread and loop.
        super().__init__(bypass_factory=True)
        self._forget_me()
        self.loader = loader or partial(load, kubeconfig, context)
        self.auth = Auth(self.loader, namespace)
        self.source = (kubeconfig, context)
        self.requests = 0
        self._keeps_connections = keeps_connections
        self._sessions: list[_Session] = []

    def __await__(self) -> Any:
        async def connected() -> Any:
            await self._credentials()
            return self

        return connected().__await__()

    async def __aenter__(self) -> Self:
        await self._credentials()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.async_close()

    async def async_close(self) -> None:
        """Close all connections."""
        sessions, self._sessions, self._session = self._sessions, [], None
        for session in sessions:
            with suppress(RuntimeError):  # its event loop has ended
                await session.client.aclose()
        await asyncio.sleep(0)

    async def close(self) -> None:
        """Close all connections."""
        await self.async_close()

    def _forget_me(self) -> None:
        for place, instances in list(Kr8sApi._instances.items()):
            for key, instance in list(instances.items()):
                if instance is self:
                    del instances[key]
            if not instances:
                del Kr8sApi._instances[place]

    @property
    def credentials(self) -> Credentials:
        """Where the API server is and who we are."""
        return self.auth.credentials

    @property
    def in_cluster(self) -> bool:
        """Whether we run in a pod: then our credentials came from its service account."""
        return self.credentials.in_cluster

    @asynccontextmanager
    async def call_api(
        self,
        method: str = "GET",
        version: str = "v1",
        base: str = "",
        namespace: str | None = None,
        url: str = "",
        raise_for_status: bool = True,
        stream: bool = False,
        is_repeated: bool = True,
        **kwargs: Any,
    ) -> AsyncGenerator[httpx.Response]:
        """Send a request, again after a passing failure.

        Parameters
        ----------
        method, version, base, namespace, url, raise_for_status, stream
            As in kr8s. Of a stream only the beginning is repeated and limited.
        is_repeated : bool
            Whether it is sent again after a passing failure.
        **kwargs
            Arguments of `httpx.AsyncClient.build_request`. ``timeout`` may be a number of seconds for all of
            the request.

        Raises
        ------
        ApiError
            The API server refused it. ``may_be_done`` tells that an earlier attempt may have taken effect.
        UnreachableError
            The API server can't be reached, or the connection broke.
        """
        kwargs |= {"method": method, "url": self._construct_url(version, base, namespace, url)}
        async with AsyncExitStack() as stack:
            response = await self._answer(stack, stream, raise_for_status, is_repeated, kwargs)
            try:
                yield response
            except httpx.RequestError as error:
                raise error if isinstance(error, TimedOutError) else self._unreachable(error) from error

    @asynccontextmanager
    async def open_websocket(
        self,
        version: str = "v1",
        base: str = "",
        namespace: str | None = None,
        url: str = "",
        *,
        subprotocols: list[str] | None = None,
        session_class: Any = httpx_ws.AsyncWebSocketSession,
        **kwargs: Any,
    ) -> AsyncGenerator[Any]:
        """Open a WebSocket.

        Parameters
        ----------
        version, base, namespace, url, subprotocols
            As in kr8s.
        session_class : type
            Speaks the protocol; called with the network stream and the response.
        **kwargs
            Further arguments of `call_api`.

        Raises
        ------
        ApiError
            The API server, or the node behind it, refused it.
        UnreachableError
            The API server can't be reached, or the connection broke.
        """
        headers = {**upgrade(subprotocols or []), **kwargs.pop("headers", {})}
        kwargs = {"stream": True, "headers": headers, "timeout": REQUEST_TIMEOUT, **kwargs}
        opening = self.call_api("GET", version, base, namespace, url, **kwargs)
        try:
            async with opening as response:
                if response.status_code != 101:
                    raise known_to_kr8s(api_error(response.status_code, {}, f"{url} is no WebSocket."))
                stream = response.extensions["network_stream"]
                async with session_class(stream, response=response) as session:
                    yield session
        except BaseExceptionGroup as group:
            # httpx-ws wraps what happens inside of its block, also what isn't its own.
            raise self._only(group) from None
        except httpx_ws.HTTPXWSException as error:
            raise self._unreachable(error) from error

    def _only(self, group: BaseExceptionGroup) -> BaseException:
        first = group.exceptions[0]
        if isinstance(first, BaseExceptionGroup):
            return self._only(first)
        return self._unreachable(first) if isinstance(first, httpx_ws.HTTPXWSException) else first

    async def async_watch(
        self,
        kind: Any,
        namespace: str | None = None,
        label_selector: str | Mapping[str, str] | None = None,
        field_selector: str | Mapping[str, str] | None = None,
        since: str | None = None,
        allow_unknown_type: bool = True,
    ) -> AsyncGenerator[tuple[str, Any]]:
        """Yield changes of objects for ever; across gaps as well, and without asking what kinds there are."""
        if not isinstance(kind, type):
            kind = get_class((await self.async_lookup_kind(kind))[0], _asyncio=self._asyncio)
        where = None if namespace is kr8s.ALL or not kind.namespaced else namespace or self.namespace
        path = self._construct_url(kind.version, "", where, kind.endpoint)
        given = {"labelSelector": label_selector, "fieldSelector": field_selector}
        params = {key: _selector(value) for key, value in given.items() if value}
        informer = Informer(self, path, params=params)
        informer.start_after(since)
        async with aclosing(informer.changes()) as changes:
            async for event, found in changes:
                yield event, kind(found, api=self)

    async def async_lookup_kind(self, kind: str, skip_cache: bool = False) -> tuple[str, str, bool]:
        """Look a kind up among kr8s's and our classes, before the API server is asked for all that it has."""
        with suppress(KeyError):
            known = get_class(kind, _asyncio=self._asyncio)
            group = f".{known.version}" if "/" in known.version else f"/{known.version}"
            return f"{known.singular}{group}", known.plural, known.namespaced
        found: tuple[str, str, bool] = await super().async_lookup_kind(kind, skip_cache)
        return found

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

    def _construct_url(
        self, version: str = "v1", base: str = "", namespace: str | None = None, url: str = ""
    ) -> str:
        return str(super()._construct_url(version, base, namespace, url)).rstrip("/")

    async def _credentials(self) -> Credentials:
        return self.credentials if self.auth.server else await self.auth.instead_of(None)

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
            if isinstance(error, ApiError):
                delay = max(delay, min(float(error.details.get("retryAfterSeconds") or 0), LONGEST_DELAY))
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


class SyncApi(Api, kr8s.Api):
    """The twin of `Api` for use without an event loop, or beside one that runs, as in a notebook."""

    _asyncio = False

    def close(self) -> None:  # type: ignore[override]
        """Close all connections."""
        as_sync_func(self.async_close)()


def _selector(given: str | Mapping[str, str]) -> str:
    return given if isinstance(given, str) else ",".join(f"{key}={value}" for key, value in given.items())


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
