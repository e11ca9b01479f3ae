"""The API server's verbs: get, create, patch, delete, watch, logs and WebSockets."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp

from dask_k8s_client.errors import (
    AlreadyExistsError,
    ConflictError,
    CredentialsError,
    NotFoundError,
    api_error,
)
from dask_k8s_client.http import REQUEST_TIMEOUT, USER_AGENT, Http, Reload, WebSocket
from dask_k8s_credentials import Credentials, load
from dask_k8s_credentials import CredentialsError as LoaderError

Json = dict[str, Any]

WATCH_SECONDS = 300
"""The API server ends each watch after that time; a longer silence means that the connection is dead."""
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
    """A connection to an API server; make it with `connect` and close it, or use it in ``async with``."""

    def __init__(self, credentials: Credentials, reload: Reload | None = None) -> None:
        self._http = Http(credentials, reload)

    @classmethod
    async def connect(
        cls, kubeconfig: str | os.PathLike[str] | None = None, context: str | None = None
    ) -> Self:
        """Load credentials (see `dask_k8s_credentials.load`) and open a session; nothing is sent yet.

        Raises
        ------
        CredentialsError
            There are no credentials.
        """

        async def reload() -> Credentials:
            try:
                return await asyncio.to_thread(load, kubeconfig, context)
            except LoaderError as error:
                raise CredentialsError(str(error)) from error.__cause__

        return cls(await reload(), reload)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def credentials(self) -> Credentials:
        """Where the API server is and who we are."""
        return self._http.credentials

    @property
    def namespace(self) -> str:
        """The namespace of the current context, or the pod's own."""
        return self.credentials.namespace

    @property
    def in_cluster(self) -> bool:
        """Whether we run in a pod: then our credentials came from its service account."""
        return self.credentials.in_cluster

    @property
    def requests(self) -> int:
        """How many requests were sent so far."""
        return self._http.requests

    async def get(self, path: str, **params: str) -> Json:
        """Read an object or a list."""
        return _parsed(await self._http.request("GET", path, params=params))

    async def create(self, path: str, body: Json) -> Json:
        """Create an object; unknown fields are refused.

        Raises
        ------
        AlreadyExistsError
            Somebody else has created an object of that name.
        """
        # One of a kind, so that we know our own object again should the answer get lost.
        manager = f"{USER_AGENT}-{secrets.token_hex(4)}"
        params = {"fieldValidation": "Strict", "fieldManager": manager}
        try:
            return _parsed(await self._http.request("POST", path, params=params, data=_written(body)))
        except AlreadyExistsError as error:
            if not error.may_be_done:
                raise
            existing = await self.get(f"{path}/{body['metadata']['name']}")
            if manager not in _managers(existing):
                raise
            return existing

    async def patch(self, path: str, body: Json) -> Json:
        """Apply a JSON merge patch; unknown fields are refused."""
        params = {"fieldValidation": "Strict", "fieldManager": USER_AGENT}
        return _parsed(
            await self._http.request(
                "PATCH", path, params=params, data=_written(body), content_type=MERGE_PATCH
            )
        )

    async def delete(self, path: str, *, uid: str | None = None) -> None:
        """Delete an object, only if it has this uid if one is given.

        Raises
        ------
        NotFoundError
            There was no such object.
        ConflictError
            It has another uid.
        """
        body: Json = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            await self._http.request("DELETE", path, data=_written(body))
        except (NotFoundError, ConflictError) as error:
            if not error.may_be_done:
                raise

    async def text(self, path: str, **params: str) -> str:
        """Read a plain text, such as a container's log."""
        return (await self._http.request("GET", path, params=params)).decode(errors="replace")

    async def lines(self, path: str, **params: str) -> AsyncGenerator[str, None]:
        """Follow a text line by line, such as a container's log with ``follow="true"``."""
        async with self._http.stream(path, params, aiohttp.ClientTimeout(total=None)) as lines:
            async for line in lines:
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
        params |= {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH_SECONDS)}
        if since:
            params["resourceVersion"] = since
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=REQUEST_TIMEOUT, sock_read=WATCH_SECONDS + REQUEST_TIMEOUT
        )
        async with self._http.stream(path, params, timeout) as lines:
            async for line in lines:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise api_error(int(status.get("code") or 500), status)
                yield event["type"], event["object"]

    async def websocket(self, path: str, protocol: str, **params: str) -> WebSocket:
        """Open a WebSocket, see `Http.websocket`."""
        return await self._http.websocket(path, protocol, params)


def _parsed(body: bytes) -> Json:
    answer: Json = json.loads(body)
    return answer


def _written(body: Json) -> bytes:
    return json.dumps(body).encode()


def _managers(found: Json) -> set[str]:
    return {str(entry.get("manager")) for entry in found["metadata"].get("managedFields") or []}
