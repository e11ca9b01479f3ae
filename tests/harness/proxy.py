"""An HTTP proxy in front of any API server: it logs requests, and breaks the ones that a test names."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Self

import aiohttp
import yaml
from aiohttp import web
from kr8s._auth import KubeAuth

from dask_k8s_local.api import Faults, Request, errors
from dask_k8s_local.api.http.target import target_of, verb_of
from dask_k8s_local.api.http.watches import Watches
from dask_k8s_local.api.storage.store import Store
from dask_k8s_local.interfaces import ApiError
from tests.harness.background import Background

HOP_BY_HOP = {
    "host",
    "connection",
    "transfer-encoding",
    "content-length",
    "content-encoding",
    "authorization",
}


class ApiProxy:
    """Listens on loopback without TLS; `kubeconfig` names it, with the credentials of the API server behind.

    Parameters
    ----------
    upstream : Path
        The kubeconfig of the API server behind.

    Attributes
    ----------
    faults : Faults
        What shall go wrong with what is sent through it, and its log; only history can't be forgotten.
    heard : callable
        Told about each request before anything else, with its body: reads as well.
    """

    def __init__(self, upstream: Path) -> None:
        self.upstream = upstream
        self._background = Background("api-proxy")
        self._watches = Watches()
        self.faults = Faults(Store(), self._watches)
        self.heard: Callable[[web.Request, bytes], None] = lambda *_: None

    def admitted(self, request: web.Request, body: bytes | None) -> bytes | None:
        """Return what is passed on in place of a body, as a mutating admission webhook does."""
        return body

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="api-proxy-")
        self._background.__enter__()
        self._background.run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._background.run(self._stop())
        self._background.__exit__()
        self._folder.cleanup()

    async def _start(self) -> None:
        auth = await KubeAuth(kubeconfig=str(self.upstream))
        headers = {"Authorization": f"Bearer {auth.token}"} if auth.token else {}
        context = await auth.ssl_context()
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        self._server = auth.server
        self.faults.attach(asyncio.get_running_loop())
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.kubeconfig = Path(self._folder.name) / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(kubeconfig_for(f"http://127.0.0.1:{port}", auth.namespace)))

    async def _stop(self) -> None:
        await self._runner.cleanup()
        assert self._session.connector is not None
        await self._session.connector.close(abort_ssl=True)
        await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.heard(request, await request.read() if request.body_exists else b"")
        record = record_of(request)

        async def handle() -> web.StreamResponse:
            if record.verb != "watch":
                return await self._pass_on(request, whole=record.is_write)
            with self._watches.following(_OpenWatch(request.transport), record):
                return await self._pass_on(request)

        try:
            return await self.faults.around(record, request, handle)
        except ApiError as error:
            headers = {"Retry-After": str(error.details.get("retryAfterSeconds", 1))}
            return web.json_response(errors.status(error), status=error.code, headers=headers)

    async def _pass_on(self, request: web.Request, *, whole: bool = False) -> web.StreamResponse:
        """Send a request on; its answer is passed on as it comes, or once it is whole."""
        headers = {key: value for key, value in request.headers.items() if key.lower() not in HOP_BY_HOP}
        body = self.admitted(request, await request.read() if request.body_exists else None)
        url = f"{self._server}{request.raw_path}"
        async with self._session.request(request.method, url, headers=headers, data=body) as answer:
            if whole:
                content = await answer.read()
                content_type = {"Content-Type": answer.headers["Content-Type"]}
                return web.Response(status=answer.status, body=content, headers=content_type)
            response = web.StreamResponse(status=answer.status)
            for key, value in answer.headers.items():
                if key.lower() not in HOP_BY_HOP or key.lower() == "content-encoding":
                    response.headers[key] = value
            await response.prepare(request)
            with contextlib.suppress(ConnectionError, aiohttp.ClientConnectionError):
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
            return response


def kubeconfig_for(server: str, namespace: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "proxy",
        "contexts": [
            {"name": "proxy", "context": {"cluster": "proxy", "user": "proxy", "namespace": namespace}}
        ],
        "clusters": [{"name": "proxy", "cluster": {"server": server}}],
        "users": [{"name": "proxy", "user": {}}],
    }


class _OpenWatch:
    """A watch that can be cut."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def cut(self) -> None:
        self._transport.abort()

    def close(self) -> None:
        """It ends with its connection."""


def record_of(request: web.Request) -> Request:
    """Return what is remembered of a request."""
    target = target_of(request.path)
    watch = request.query.get("watch") in ("true", "1")
    verb = verb_of(request.method, target, watch=watch) if target else ""
    full_name = f"{target.plural}.{target.group}".rstrip(".") if target else ""
    return Request(
        verb=verb,
        method=request.method,
        path=request.path,
        resource=full_name,
        subresource=target.subresource if target else "",
        namespace=(target.namespace or "") if target else "",
        name=target.name if target else "",
        user="",
        user_agent=request.headers.get("User-Agent", ""),
        field_manager=request.query.get("fieldManager", ""),
    )
