"""A thin client of the API server: requests, watches, logs and WebSockets over one aiohttp session."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp

from dask_k8s_client import credentials as _credentials
from dask_k8s_client.credentials import Credentials
from dask_k8s_client.errors import ApiError, UnauthorizedError, UnreachableError, api_error

logger = logging.getLogger(__name__)

Json = dict[str, Any]

REQUEST_TIMEOUT = 30.0
"""Seconds for one request, watches and logs apart."""
WATCH_SECONDS = 300
"""The API server ends each watch after that time; a longer silence means that the connection is dead."""
RETRY_DELAYS = (0.1, 0.3, 0.9, 2.0)
"""Seconds to wait before each repetition of a request that failed for a passing reason."""
PASSING = frozenset({429, 500, 502, 503, 504})

MERGE_PATCH = "application/merge-patch+json"


@dataclass(frozen=True)
class Resource:
    """A kind of object, as URLs name it."""

    plural: str
    base: str = "/api/v1"
    namespaced: bool = True

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """Return the path of all objects (no namespace), those of a namespace, or one of them."""
        within = f"namespaces/{namespace}" if namespace and self.namespaced else ""
        return "/".join(part for part in (self.base, within, self.plural, name, subresource) if part)


_DASK = "/apis/kubernetes.dask.org/v1"
CLUSTERS = Resource("daskclusters", _DASK)
GROUPS = Resource("daskworkergroups", _DASK)
JOBS = Resource("daskjobs", _DASK)
AUTOSCALERS = Resource("daskautoscalers", _DASK)
PODS = Resource("pods")
SERVICES = Resource("services")
EVENTS = Resource("events")
NODES = Resource("nodes", namespaced=False)


class Kubernetes:
    """A connection to an API server; make it with `connect` and close it, or use it in ``async with``.

    It belongs to the event loop that it was made in.

    Attributes
    ----------
    credentials : Credentials
        Where the API server is and who we are.
    requests : int
        How many requests were sent so far.
    """

    def __init__(self, credentials: Credentials, reload: Any = None) -> None:
        self.credentials = credentials
        self.requests = 0
        self._reload = reload
        self._cut_off: weakref.WeakSet[asyncio.BaseTransport] = weakref.WeakSet()
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT),
            read_bufsize=2**20,
            trust_env=True,
        )

    @classmethod
    async def connect(
        cls, kubeconfig: str | os.PathLike[str] | None = None, context: str | None = None
    ) -> Self:
        """Load credentials (see `credentials.load`) and open a session; nothing is sent yet.

        Raises
        ------
        CredentialsError
            There are no credentials.
        """

        async def reload() -> Credentials:
            return await asyncio.to_thread(_credentials.load, kubeconfig, context)

        return cls(await reload(), reload)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()
        # TLS says good-bye at leisure, but our event loop may end right after this.
        for transport in self._cut_off:
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()
        await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def namespace(self) -> str:
        """The namespace of the current context, or the pod's own."""
        return self.credentials.namespace

    @property
    def in_cluster(self) -> bool:
        """Whether we run in a pod: then our credentials came from its service account."""
        return self.credentials.in_cluster

    async def get(self, path: str, **params: str) -> Json:
        """Read an object or a list."""
        return await self.request("GET", path, params=params)

    async def create(self, path: str, body: Json) -> Json:
        """Create an object; unknown fields are refused."""
        return await self.request("POST", path, params={"fieldValidation": "Strict"}, body=body)

    async def patch(self, path: str, body: Json) -> Json:
        """Apply a JSON merge patch; unknown fields are refused."""
        return await self.request(
            "PATCH", path, params={"fieldValidation": "Strict"}, body=body, content_type=MERGE_PATCH
        )

    async def delete(self, path: str, *, uid: str | None = None) -> None:
        """Delete an object, only if it has this uid if one is given."""
        body: Json = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid:
            body["preconditions"] = {"uid": uid}
        await self.request("DELETE", path, body=body)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Json | None = None,
        content_type: str = "application/json",
    ) -> Json:
        """Send a request, again after a passing failure, and return the object that is answered.

        Raises
        ------
        ApiError
            The API server refused it.
        UnreachableError
            The API server can't be reached.
        """
        data = None if body is None else json.dumps(body).encode()
        async with self._answer(
            method, path, params=params, data=data, headers={"Content-Type": content_type}
        ) as response:
            answer: Json = json.loads(await response.read())
            return answer

    async def text(self, path: str, **params: str) -> str:
        """Read a plain text, such as a container's log."""
        async with self._answer("GET", path, params=params) as response:
            return (await response.read()).decode(errors="replace")

    async def lines(self, path: str, **params: str) -> AsyncGenerator[str, None]:
        """Follow a text line by line, such as a container's log with ``follow="true"``."""
        async with self._answer(
            "GET", path, params=params, timeout=aiohttp.ClientTimeout(total=None)
        ) as response:
            async for line in _lines(response):
                yield line.decode(errors="replace")

    async def watch(
        self, path: str, since: str | None = None, **params: str
    ) -> AsyncGenerator[tuple[str, Json], None]:
        """Yield changes, as (type, object), until the API server ends the watch.

        Without ``since`` everything that exists comes first, as ADDED.

        Raises
        ------
        GoneError
            ``since`` is too old; list again.
        """
        params = {
            **params,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        if since:
            params["resourceVersion"] = since
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=REQUEST_TIMEOUT, sock_read=WATCH_SECONDS + 30
        )
        async with self._answer("GET", path, params=params, timeout=timeout) as response:
            async for line in _lines(response):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise api_error(int(status.get("code") or 500), status)
                yield event["type"], event["object"]

    async def websocket(
        self, path: str, protocol: str, **params: str
    ) -> aiohttp.ClientWebSocketResponse[bool]:
        """Open a WebSocket.

        Raises
        ------
        ApiError
            The API server, or the node behind it, refused it.
        """
        self.requests += 1
        try:
            websocket: aiohttp.ClientWebSocketResponse[bool] = await asyncio.wait_for(
                self._session.ws_connect(
                    self.credentials.server + path,
                    params=params,
                    protocols=(protocol,),
                    max_msg_size=0,
                    autoping=True,
                    **self._connection(),
                ),
                REQUEST_TIMEOUT,
            )
            self._remember(websocket._response)
            return websocket
        except aiohttp.WSServerHandshakeError as error:
            raise api_error(error.status, {}, f"The API server answered {error.status} to {path}.") from error
        except (aiohttp.ClientConnectionError, TimeoutError) as error:
            raise self._unreachable(error) from error

    def _connection(self) -> dict[str, Any]:
        mine = self.credentials
        arguments: dict[str, Any] = {"headers": dict(mine.headers)}
        if mine.ssl_context is not None:
            arguments["ssl"] = mine.ssl_context
        if mine.server_hostname:
            arguments["server_hostname"] = mine.server_hostname
        if mine.proxy:
            arguments["proxy"] = mine.proxy
        return arguments

    @asynccontextmanager
    async def _answer(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **arguments: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        response = await self._send(method, path, dict(headers or {}), arguments)
        try:
            yield response
        finally:
            if response.content.at_eof():
                response.release()
            else:
                self._remember(response)
                response.close()

    def _remember(self, response: aiohttp.ClientResponse) -> None:
        """Know a connection that goes back to no pool."""
        if response.connection is not None and response.connection.transport is not None:
            self._cut_off.add(response.connection.transport)

    async def _send(
        self, method: str, path: str, headers: dict[str, str], arguments: dict[str, Any]
    ) -> aiohttp.ClientResponse:
        """Send until there is a good answer, or a bad one that will stay bad."""
        delays = iter(RETRY_DELAYS)
        has_reloaded = False
        while True:
            self.requests += 1
            connection = self._connection()
            connection["headers"].update(headers)
            error: ApiError | UnreachableError
            try:
                response = await self._session.request(
                    method, self.credentials.server + path, **connection, **arguments
                )
                if response.status < 400:
                    return response
                error = await _refusal(response)
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError) as problem:
                # What was sent may have taken effect, so only what may be repeated is.
                if method == "POST" and not isinstance(problem, aiohttp.ClientConnectorError):
                    raise self._unreachable(problem) from problem
                error = self._unreachable(problem)
            if isinstance(error, UnauthorizedError) and self._reload and not has_reloaded:
                # Tokens expire; a credential plugin or the kubelet has newer ones.
                self.credentials = await self._reload()
                has_reloaded = True
                continue
            delay = next(delays, None)
            if delay is None or (isinstance(error, ApiError) and error.code not in PASSING):
                raise error
            if isinstance(error, ApiError):
                delay = max(delay, min(float(error.details.get("retryAfterSeconds") or 0), 10.0))
            logger.debug("%s %s failed, again in %.1f s: %s", method, path, delay, error)
            await asyncio.sleep(delay)

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
