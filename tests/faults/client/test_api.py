"""The seam to the API server: repetition, limits, credentials, errors, streams."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import psutil
import pytest
import trustme
from aiohttp import web

from dask_k8s_client import raw, sending
from dask_k8s_client.api import Api
from dask_k8s_client.errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    NotFoundError,
    UnauthorizedError,
    UnreachableError,
    with_remedy,
)
from dask_k8s_client.resources import CLUSTERS, NODES, PODS
from dask_k8s_credentials import Credentials
from tests.faults.client.server import ScriptedServer, an_object
from tests.harness.stand_in import Handler, refusal, says, watch


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "RETRY_DELAYS", (0, 0, 0))


async def broken(request: web.Request) -> web.Response:
    """Break the connection after the request has been read."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def unanswered(_: web.Request) -> web.Response:
    """Take a request and say nothing."""
    await asyncio.Event().wait()
    return web.Response()


async def silence(request: web.Request) -> web.StreamResponse:
    """Begin an answer and say nothing more."""
    response = web.StreamResponse()
    await response.prepare(request)
    await asyncio.Event().wait()
    return response


async def echo(request: web.Request) -> web.StreamResponse:
    """Send back what comes."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_bytes(message.data)
    return socket


def test_paths() -> None:
    assert PODS.path("ns", "foo", "log") == "/api/v1/namespaces/ns/pods/foo/log"
    assert CLUSTERS.path() == "/apis/kubernetes.dask.org/v1/daskclusters"
    assert NODES.path("ns") == "/api/v1/nodes"


async def test_objects_are_created_strictly() -> None:
    async with ScriptedServer(an_object()) as server:
        await raw.create(server.api, "/x", {"a": 1})
    assert server.asked == [("POST", "/x", {"a": 1})]
    assert server.queries[0]["fieldValidation"] == "Strict"


@pytest.mark.parametrize("code", [429, 500, 503])
async def test_what_may_pass_is_tried_again(code: int) -> None:
    async with ScriptedServer(refusal(code, "Busy"), refusal(code, "Busy"), an_object()) as server:
        assert await raw.get(server.api, "/x") == an_object()
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("answer", "waits"),
    [
        (refusal(429, "TooManyRequests", retryAfterSeconds=1), True),
        (says(429, "Too many requests, please try again later.", **{"Retry-After": "1"}), True),
        (says(503, "later", **{"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), False),
    ],
)
async def test_an_api_server_says_how_long_to_wait(
    answer: Handler, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "LONGEST_DELAY", 0.2)
    times: list[float] = []

    async def noted(request: web.Request) -> Any:
        times.append(time.monotonic())
        return await answer(request) if len(times) == 1 else an_object()

    async with ScriptedServer(noted) as server:
        assert await raw.get(server.api, "/x") == an_object()
    assert (times[1] - times[0] >= 0.2) is waits


async def test_a_page_in_the_place_of_an_answer_is_told() -> None:
    async with ScriptedServer(says(200, "<html>Log in, please</html>")) as server:
        with pytest.raises(UnreachableError, match="isn't JSON, but b'<html>Log in"):
            await raw.get(server.api, "/x")


async def test_what_does_not_pass_is_raised_in_the_end() -> None:
    async with ScriptedServer(refusal(503, "Busy", "come back")) as server:
        with pytest.raises(ApiError, match="come back"):
            await raw.get(server.api, "/x")
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        (403, "Forbidden", ForbiddenError),
        (404, "NotFound", NotFoundError),
        (409, "AlreadyExists", AlreadyExistsError),
        (409, "Conflict", ConflictError),
        (410, "Expired", GoneError),
        (422, "Invalid", InvalidError),
        (418, "Teapot", ApiError),
    ],
)
async def test_refusals_are_errors_of_their_kind(code: int, reason: str, error: type[ApiError]) -> None:
    async with ScriptedServer(refusal(code, reason, "this and that", name="foo")) as server:
        with pytest.raises(error, match="this and that") as caught:
            await raw.get(server.api, "/x")
    assert (caught.value.code, caught.value.reason, caught.value.details) == (code, reason, {"name": "foo"})
    assert len(server.asked) == 1


async def test_an_answer_that_is_no_status_is_quoted() -> None:
    async with ScriptedServer(web.Response(status=404, text="<html>proxy</html>")) as server:
        with pytest.raises(NotFoundError, match="proxy"):
            await raw.get(server.api, "/x")


def test_forbidden_says_which_rule_helps() -> None:
    error = with_remedy(ForbiddenError("pods is forbidden", 403))
    assert isinstance(error, PermissionError)
    assert "apiGroups: [kubernetes.dask.org]" in str(error)


async def test_a_read_is_repeated_when_the_connection_breaks() -> None:
    async with ScriptedServer(broken, an_object()) as server:
        assert await raw.get(server.api, "/x") == an_object()


async def test_an_object_whose_creation_was_not_answered_is_known_again() -> None:
    async def mine(_: web.Request) -> dict[str, Any]:
        created = an_object("foo")
        created["metadata"]["managedFields"] = [{"manager": server.queries[0]["fieldManager"]}]
        return created

    async with ScriptedServer(broken, refusal(409, "AlreadyExists"), mine) as server:
        created = await raw.create(server.api, "/x", {"metadata": {"name": "foo"}})
    assert created["metadata"]["uid"] == "uid-of-foo"
    assert server.asked[2][:2] == ("GET", "/x/foo")


async def test_an_object_of_that_name_may_also_be_somebody_elses() -> None:
    async with ScriptedServer(broken, refusal(409, "AlreadyExists"), an_object("foo")) as server:
        with pytest.raises(AlreadyExistsError):
            await raw.create(server.api, "/x", {"metadata": {"name": "foo"}})


async def test_a_deletion_that_was_not_answered_is_done_when_nothing_is_found() -> None:
    async with ScriptedServer(broken, refusal(404, "NotFound")) as server:
        await raw.delete(server.api, "/x/foo")
    async with ScriptedServer(refusal(404, "NotFound")) as server:
        with pytest.raises(NotFoundError):
            await raw.delete(server.api, "/x/foo")


async def test_a_log_that_breaks_off_is_read_again() -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    async with ScriptedServer(half, web.Response(text="whole")) as server:
        assert await raw.text(server.api, "/x") == "whole"


async def test_an_unreachable_server_is_named(free_port: int) -> None:
    async with Api(loader=lambda: Credentials(f"http://127.0.0.1:{free_port}")) as api:
        with pytest.raises(UnreachableError, match=f"127.0.0.1:{free_port}"):
            await raw.get(api, "/x")


class Expiring:
    """Credentials of which the first are no longer accepted."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)
        self.url = ""
        self.loads = 0

    def __call__(self) -> Credentials:
        self.loads += 1
        token = self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]
        return Credentials(self.url, headers=(("Authorization", f"Bearer {token}"),))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != "Bearer new":
            return web.json_response({"reason": "Unauthorized"}, status=401)
        if "upgrade" in request.headers.get("Connection", "").lower():
            return await echo(request)
        return web.json_response(an_object())


async def test_expired_credentials_are_loaded_anew() -> None:
    loader = Expiring("old", "new")
    async with ScriptedServer(loader.answer) as server:
        loader.url = server.url
        async with Api(loader=loader) as api:
            assert await raw.get(api, "/x") == an_object()
    assert (len(server.asked), loader.loads) == (2, 2)


async def test_expired_credentials_are_loaded_anew_for_websockets() -> None:
    loader = Expiring("old", "new")
    async with ScriptedServer(loader.answer) as server:
        loader.url = server.url
        async with Api(loader=loader) as api, api.open_websocket(version="", base="/x") as socket:
            await socket.send_bytes(b"hello")
            assert await socket.receive_bytes() == b"hello"
    assert (len(server.asked), loader.loads) == (2, 2)


async def test_those_who_are_refused_at_once_load_credentials_once() -> None:
    loader = Expiring("old", "new")
    async with ScriptedServer(loader.answer) as server:
        loader.url = server.url
        async with Api(loader=loader) as api:
            await asyncio.gather(*(raw.get(api, f"/{number}") for number in range(10)))
    assert loader.loads == 2
    assert len(server.asked) <= 20


async def test_credentials_that_stay_refused_are_loaded_once_a_request() -> None:
    loader = Expiring("old")
    async with ScriptedServer(loader.answer) as server:
        loader.url = server.url
        async with Api(loader=loader) as api:
            with pytest.raises(UnauthorizedError):
                await raw.get(api, "/x")
    assert (len(server.asked), loader.loads) == (2, 2)


async def test_what_is_open_outlives_new_credentials() -> None:
    loader = Expiring("new", "old", "new")
    async with ScriptedServer(loader.answer) as server:
        loader.url = server.url
        async with Api(loader=loader) as api, api.open_websocket(version="", base="/x") as socket:
            await api.auth.reauthenticate()
            await api._create_session()
            await raw.get(api, "/x")
            await socket.send_bytes(b"still here")
            assert await socket.receive_bytes() == b"still here"


async def test_a_websocket_that_is_refused_says_why() -> None:
    async with ScriptedServer(refusal(403, "Forbidden", "may not forward ports")) as server:
        with pytest.raises(ForbiddenError, match="may not forward ports"):
            async with server.api.open_websocket(version="", base="/x"):
                pass
    assert len(server.asked) == 1


async def test_what_is_no_websocket_says_so() -> None:
    async with ScriptedServer({}) as server:
        with pytest.raises(ApiError, match="no WebSocket"):
            async with server.api.open_websocket(version="", base="/x"):
                pass


async def test_a_websocket_that_breaks_raises_our_error_and_no_group() -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        assert request.transport is not None
        request.transport.abort()
        return socket

    async with ScriptedServer(cut) as server:
        with pytest.raises(UnreachableError, match="127"):
            async with server.api.open_websocket(version="", base="/x") as socket:
                await socket.receive_bytes()


async def test_what_is_raised_inside_a_websockets_block_comes_out_as_it_is() -> None:
    async with ScriptedServer(echo) as server:
        with pytest.raises(KeyError):
            async with server.api.open_websocket(version="", base="/x"):
                raise KeyError("mine")


async def test_a_request_that_is_not_answered_ends() -> None:
    async with ScriptedServer(unanswered) as server:
        with pytest.raises(UnreachableError, match="can't be reached"):
            async with server.api.call_api(version="", base="/x", timeout=0.05):
                pass
    assert len(server.asked) == 4


async def test_a_request_that_took_all_its_time_is_sent_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "REQUEST_TIMEOUT", 0.1)
    async with ScriptedServer(unanswered, an_object()) as server:
        assert await raw.get(server.api, "/x") == an_object()
    assert len(server.asked) == 2


async def test_a_watch_that_goes_silent_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "WATCH_SECONDS", -29.8)
    async with ScriptedServer(silence) as server:
        with pytest.raises(UnreachableError, match="can't be reached"):
            await anext(raw.watch(server.api, "/x"))


async def test_a_log_is_followed_line_by_line_whatever_unicode_calls_a_line() -> None:
    text = "one\x85still one\u2028still one\x0bstill one\rstill one\ntwo\n\nthree"
    async with ScriptedServer(web.Response(text=text)) as server:
        lines = [line async for line in raw.lines(server.api, "/x", follow="true")]
    assert lines == ["one\x85still one\u2028still one\x0bstill one\rstill one", "two", "three"]


async def test_a_watch_yields_events_of_any_size() -> None:
    big = an_object("big", payload="x" * 3_000_000)
    async with ScriptedServer(watch(("ADDED", an_object()), ("MODIFIED", big))) as server:
        events = [event async for event in raw.watch(server.api, "/x", "7", labelSelector="a=b")]
    assert events == [("ADDED", an_object()), ("MODIFIED", big)]
    assert server.queries[0]["resourceVersion"] == "7"
    assert server.queries[0]["labelSelector"] == "a=b"
    assert server.queries[0]["watch"] == "true"


async def test_a_watch_that_is_too_old_says_so() -> None:
    async with ScriptedServer(watch(("ERROR", {"code": 410, "message": "too old"}))) as server:
        with pytest.raises(GoneError, match="too old"):
            await anext(raw.watch(server.api, "/x", "1"))


async def test_an_abandoned_watch_closes_its_connection() -> None:
    ended = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b'{"type": "ADDED", "object": {}}\n')
                await asyncio.sleep(0.01)
        except (ConnectionError, asyncio.CancelledError):
            ended.set()
            raise

    async with ScriptedServer(endless) as server:
        events = raw.watch(server.api, "/x")
        await anext(events)
        await events.aclose()
        await asyncio.wait_for(ended.wait(), 5)


async def test_closing_waits_for_nobody_to_say_good_bye_on_a_cancelled_requests_connection() -> None:
    begun = asyncio.Event()

    async def begin(request: web.Request) -> web.StreamResponse:
        begun.set()
        return await unanswered(request)

    async with ScriptedServer(begin, authority=trustme.CA()) as server:
        reading = asyncio.create_task(raw.get(server.api, "/x"))
        await begun.wait()
        reading.cancel()
        await asyncio.wait([reading])
        await server.api.close()
        mine = psutil.Process().net_connections("tcp")
        assert [each for each in mine if each.raddr and each.raddr.port == server.port] == []
