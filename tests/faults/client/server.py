"""An API server that answers what a test tells it to."""

from __future__ import annotations

import json
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Self

import trustme
from aiohttp import web

from dask_k8s_client.api import Api
from dask_k8s_credentials import Credentials

Json = dict[str, Any]
Answer = web.StreamResponse | Json
Handler = Callable[[web.Request], Awaitable[Answer]]


class ScriptedServer:
    """Answers the requests in turn with what was scripted, and remembers them.

    Parameters
    ----------
    *answers
        A function of the request, or what it would return: a response or an object. The last is repeated.
    authority
        Who certifies that it is the server; without one it speaks plain HTTP.
    name
        What its certificate says.
    """

    def __init__(
        self, *answers: Handler | Answer, authority: trustme.CA | None = None, name: str = "127.0.0.1"
    ) -> None:
        self._name = name
        self._answers = list(answers)
        self._authority = authority
        self.requests: list[tuple[str, str, Json | None]] = []
        self.queries: list[dict[str, str]] = []

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=1)
        await self._runner.setup()
        mine, theirs = (None, None) if self._authority is None else tls(self._authority, self._name)
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=mine)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.url = f"{'https' if mine else 'http'}://127.0.0.1:{self.port}"
        self.api = await Api(loader=lambda: Credentials(self.url, ssl_context=theirs))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.api.close()
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append((request.method, request.path, json.loads(body) if body else None))
        self.queries.append(dict(request.query))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if callable(answer) and not isinstance(answer, web.StreamResponse):
            answer = await answer(request)
        return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)


def tls(authority: trustme.CA, name: str = "127.0.0.1") -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return what a server on the loopback address and its clients need."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


def refusal(code: int, reason: str, message: str = "no", **details: Any) -> Handler:
    """Answer with a ``Status``."""

    async def answer(_: web.Request) -> web.Response:
        status = {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}
        return web.json_response(status, status=code)

    return answer


def watch(*events: tuple[str, Json]) -> Handler:
    """Answer with a watch that ends after these events."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for kind, found in events:
            await response.write(json.dumps({"type": kind, "object": found}).encode() + b"\n")
        await response.write_eof()
        return response

    return answer


def an_object(name: str = "foo", version: int = 1, **rest: Any) -> Json:
    """Return an object with the metadata that every object has."""
    metadata = {
        "name": name,
        "uid": f"uid-of-{name}",
        "resourceVersion": str(version),
        "namespace": "default",
    }
    return {"metadata": metadata, **rest}
