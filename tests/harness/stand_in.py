"""One HTTP server that stands for an API server, or for a scheduler: it answers what a test scripts."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Self

import trustme
from aiohttp import web

Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[Any]]


class StandIn:
    """Answers requests in turn with what was scripted, then with the last of it, and remembers them.

    Parameters
    ----------
    *answers
        What it answers: a response, an object, or a function that makes one of these of the request.
    authority : trustme.CA, optional
        Who certifies that it is the server; without one it speaks plain HTTP.
    context : ssl.SSLContext, optional
        A certificate of its own to serve with instead.
    name : str
        What its certificate says.

    Attributes
    ----------
    answers : list
        What is left of the script.
    missing : tuple of str
        Parts of paths that it doesn't know: a request for one gets a 404, and isn't remembered.
    requests, bodies : list
        What it was asked, and the JSON that came with it.
    most_at_once : int
        How many requests there were at the same time.
    """

    def __init__(
        self,
        *answers: Any,
        authority: trustme.CA | None = None,
        context: ssl.SSLContext | None = None,
        name: str = "127.0.0.1",
    ) -> None:
        self.answers = [*answers]
        self.missing: tuple[str, ...] = ()
        self.requests: list[web.Request] = []
        self.bodies: list[Any] = []
        self.most_at_once = 0
        self._at_once = 0
        self._authority = authority
        self._context = context
        self._name = name
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        mine, self.tls = self._context, None
        if self._authority is not None:
            mine, self.tls = tls(self._authority, self._name)
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=mine).start()
        self.port: int = self._runner.addresses[0][1]
        self.url = f"{'https' if mine else 'http'}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def asked(self) -> list[tuple[str, str, Any]]:
        """The requests as method, path and body."""
        pairs = zip(self.requests, self.bodies, strict=True)
        return [(request.method, request.path, body) for request, body in pairs]

    @property
    def queries(self) -> list[dict[str, str]]:
        return [dict(request.query) for request in self.requests]

    async def until_asked(self, times: int, limit: float = 10.0) -> None:
        """Wait until there were so many requests."""
        async with asyncio.timeout(limit):
            while len(self.requests) < times:
                self._changed.clear()
                await self._changed.wait()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if any(part in request.path for part in self.missing):
            raise web.HTTPNotFound
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            text = await request.text()
            self.requests.append(request)
            self.bodies.append(json.loads(text) if text else None)
            self._changed.set()
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if callable(answer) and not isinstance(answer, web.StreamResponse):
                answer = await answer(request)
            return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)
        finally:
            self._at_once -= 1


def tls(authority: trustme.CA, name: str = "127.0.0.1") -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return what a server on the loopback address and its clients need."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


def says(status: int, text: str = "", **headers: str) -> Handler:
    """Answer with that text."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text, headers=headers)

    return answer


def gives(body: Any, code: int = 200) -> Handler:
    """Answer with that JSON."""
    return says(code, json.dumps(body), **{"Content-Type": "application/json"})


def refusal(code: int, reason: str = "", message: str = "no", headers: Any = None, **details: Any) -> Handler:
    """Answer with a ``Status``, as the API server words failures."""

    async def answer(_: web.Request) -> web.Response:
        status = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}
        return web.json_response({**status, "details": details}, status=code, headers=headers)

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


async def breaks_the_connection(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def never_answers(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError
