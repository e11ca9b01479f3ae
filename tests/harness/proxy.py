"""An HTTP proxy in front of any API server: it counts writes, and breaks the ones that a test names."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import aiohttp
import yaml
from aiohttp import web
from kr8s._auth import KubeAuth

from dask_k8s_local.api import Faults, Request, errors
from dask_k8s_local.api.http.target import target_of, verb_of
from dask_k8s_local.api.http.watches import Watches
from dask_k8s_local.api.storage.store import Store
from dask_k8s_local.interfaces import ApiError

Fault = Literal[409, 429, 500, 503, "timeout", "lost answer"]
"""A status instead of the write; no answer at all; or a connection that breaks after it took effect."""

REASONS = {409: "Conflict", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}
HOP_BY_HOP = {
    "host",
    "connection",
    "transfer-encoding",
    "content-length",
    "content-encoding",
    "authorization",
}


@dataclass(frozen=True)
class Write:
    """One POST, PUT, PATCH or DELETE: its number from 1, and what it was sent to."""

    number: int
    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class ApiProxy:
    """Listens on loopback without TLS; `kubeconfig` names it, with the credentials of the API server behind.

    Parameters
    ----------
    upstream : Path
        The kubeconfig of the API server behind.

    Attributes
    ----------
    writes : list of Write
        What has been sent since `reset`.
    heard : callable
        Told about each request before anything else, with its body: reads as well.
    before, after : callable
        Asked before a write is passed on, where it may return a `Fault`, and told after it took effect and
        before its sender hears of it.
    """

    def __init__(self, upstream: Path) -> None:
        self.upstream = upstream
        self.requests = 0
        self.heard: Callable[[web.Request, bytes], None] = lambda *_: None
        self.reset()

    def reset(self) -> None:
        self.writes: list[Write] = []
        self.before: Callable[[Write], Fault | None] = lambda _: None
        self.after: Callable[[Write], None] = lambda _: None

    def admitted(self, request: web.Request, body: bytes | None) -> bytes | None:
        """Return what is passed on in place of a body, as a mutating admission webhook does."""
        return body

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="api-proxy-")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="api-proxy")
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._folder.cleanup()

    def _run(self, coroutine: object) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)  # type: ignore[arg-type]

    async def _start(self) -> None:
        auth = await KubeAuth(kubeconfig=str(self.upstream))
        headers = {"Authorization": f"Bearer {auth.token}"} if auth.token else {}
        context = await auth.ssl_context()
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        self._server = auth.server
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
        self.requests += 1
        self.heard(request, await request.read() if request.body_exists else b"")
        if request.method in ("GET", "HEAD", "OPTIONS"):
            return await self._pass_on(request)
        write = Write(len(self.writes) + 1, request.method, request.path)
        self.writes.append(write)
        fault = self.before(write)
        if fault == "timeout":
            await asyncio.sleep(3600)
        if isinstance(fault, int):
            return web.json_response(
                {
                    "kind": "Status",
                    "apiVersion": "v1",
                    "status": "Failure",
                    "reason": REASONS[fault],
                    "message": f"a test asked for {fault}",
                    "code": fault,
                },
                status=fault,
            )
        return await self._pass_on(request, write, lose_the_answer=fault == "lost answer")

    async def _pass_on(
        self, request: web.Request, write: Write | None = None, *, lose_the_answer: bool = False
    ) -> web.StreamResponse:
        headers = {key: value for key, value in request.headers.items() if key.lower() not in HOP_BY_HOP}
        body = self.admitted(request, await request.read() if request.body_exists else None)
        url = f"{self._server}{request.raw_path}"
        async with self._session.request(request.method, url, headers=headers, data=body) as answer:
            if write is not None:
                content = await answer.read()
                await asyncio.to_thread(self.after, write)
                if lose_the_answer:
                    assert request.transport is not None
                    request.transport.abort()
                return web.Response(
                    status=answer.status,
                    body=content,
                    headers={"Content-Type": answer.headers["Content-Type"]},
                )
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


class FaultyProxy(ApiProxy):
    """A proxy that fails on request, as the local Kubernetes does, in front of one that doesn't.

    Attributes
    ----------
    faults : Faults
        What shall go wrong with what is sent through it; only history can't be forgotten.
    """

    def __init__(self, upstream: Path) -> None:
        super().__init__(upstream)
        self._watches = Watches()
        self.faults = Faults(Store(), self._watches)

    async def _start(self) -> None:
        await super()._start()
        self.faults.attach(self._loop)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        record = record_of(request)
        write = Write(0, request.method, request.path) if record.is_write else None

        async def handle() -> web.StreamResponse:
            if record.verb != "watch":
                return await self._pass_on(request, write)
            with self._watches.following(_OpenWatch(request.transport), record):
                return await self._pass_on(request)

        try:
            return await self.faults.around(record, request, handle)
        except ApiError as error:
            headers = {"Retry-After": str(error.details.get("retryAfterSeconds", 1))}
            return web.json_response(errors.status(error), status=error.code, headers=headers)


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
