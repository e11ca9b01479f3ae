"""The way to the API server: a subclass of kr8s's ``Api``, and its synchronous twin.

`Api.call_api` is the seam that all passes, what kr8s's own objects send as well: it repeats what may be
repeated, limits each request, loads credentials anew when they were refused, and raises our errors.
docs/development/kr8s.md says what differs from kr8s, and why.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

import httpx
import httpx_ws
import kr8s
from kr8s._api import Api as Kr8sApi
from kr8s._async_utils import as_sync_func
from kr8s._objects import get_class

from dask_k8s_client.auth import Auth
from dask_k8s_client.errors import api_error
from dask_k8s_client.kr8s_errors import TimedOutError, known_to_kr8s
from dask_k8s_client.sending import REQUEST_TIMEOUT, Sending
from dask_k8s_client.watch import Informer
from dask_k8s_client.websocket import upgrade
from dask_k8s_credentials import Credentials, load

Path = str | os.PathLike[str]


class Api(Sending):
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
        self._sessions = []

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

    def _construct_url(
        self, version: str = "v1", base: str = "", namespace: str | None = None, url: str = ""
    ) -> str:
        return str(super()._construct_url(version, base, namespace, url)).rstrip("/")


class SyncApi(Api, kr8s.Api):
    """The twin of `Api` for use without an event loop, or beside one that runs, as in a notebook."""

    _asyncio = False

    def close(self) -> None:  # type: ignore[override]
        """Close all connections."""
        as_sync_func(self.async_close)()


def _selector(given: str | Mapping[str, str]) -> str:
    return given if isinstance(given, str) else ",".join(f"{key}={value}" for key, value in given.items())
