"""The client of the API server: retries, errors, watches."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import psutil
import pytest
import trustme
from aiohttp import web

from dask_k8s_client import http
from dask_k8s_client.api import CLUSTERS, NODES, PODS, Kubernetes
from dask_k8s_client.errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    NotFoundError,
    UnreachableError,
    with_remedy,
)
from dask_k8s_credentials import Credentials
from tests.unit.client.server import ScriptedServer, an_object, refusal, watch


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "RETRY_DELAYS", (0, 0, 0))


async def broken(request: web.Request) -> web.Response:
    """Break the connection after the request has been read."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


def test_paths() -> None:
    assert PODS.path("ns", "foo", "log") == "/api/v1/namespaces/ns/pods/foo/log"
    assert CLUSTERS.path() == "/apis/kubernetes.dask.org/v1/daskclusters"
    assert NODES.path("ns") == "/api/v1/nodes"


async def test_objects_are_created_strictly() -> None:
    async with ScriptedServer(an_object()) as server:
        await server.api.create("/x", {"a": 1})
    assert server.requests == [("POST", "/x", {"a": 1})]
    assert server.queries[0]["fieldValidation"] == "Strict"


@pytest.mark.parametrize("code", [429, 500, 503])
async def test_what_may_pass_is_tried_again(code: int) -> None:
    async with ScriptedServer(refusal(code, "Busy"), refusal(code, "Busy"), an_object()) as server:
        assert await server.api.get("/x") == an_object()
    assert len(server.requests) == 3


async def test_what_does_not_pass_is_raised_in_the_end() -> None:
    async with ScriptedServer(refusal(503, "Busy", "come back")) as server:
        with pytest.raises(ApiError, match="come back"):
            await server.api.get("/x")
    assert len(server.requests) == 4


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
            await server.api.get("/x")
    assert (caught.value.code, caught.value.reason, caught.value.details) == (code, reason, {"name": "foo"})
    assert len(server.requests) == 1


async def test_an_answer_that_is_no_status_is_quoted() -> None:
    async with ScriptedServer(web.Response(status=404, text="<html>proxy</html>")) as server:
        with pytest.raises(NotFoundError, match="proxy"):
            await server.api.get("/x")


def test_forbidden_says_which_rule_helps() -> None:
    error = with_remedy(ForbiddenError("pods is forbidden", 403))
    assert isinstance(error, PermissionError)
    assert "apiGroups: [kubernetes.dask.org]" in str(error)


async def test_a_read_is_repeated_when_the_connection_breaks() -> None:
    async with ScriptedServer(broken, an_object()) as server:
        assert await server.api.get("/x") == an_object()


async def test_an_object_whose_creation_was_not_answered_is_known_again() -> None:
    async def mine(_: web.Request) -> dict[str, Any]:
        created = an_object("foo")
        created["metadata"]["managedFields"] = [{"manager": server.queries[0]["fieldManager"]}]
        return created

    async with ScriptedServer(broken, refusal(409, "AlreadyExists"), mine) as server:
        created = await server.api.create("/x", {"metadata": {"name": "foo"}})
    assert created["metadata"]["uid"] == "uid-of-foo"
    assert server.requests[2][:2] == ("GET", "/x/foo")


async def test_an_object_of_that_name_may_also_be_somebody_elses() -> None:
    async with ScriptedServer(broken, refusal(409, "AlreadyExists"), an_object("foo")) as server:
        with pytest.raises(AlreadyExistsError):
            await server.api.create("/x", {"metadata": {"name": "foo"}})


async def test_a_deletion_that_was_not_answered_is_done_when_nothing_is_found() -> None:
    async with ScriptedServer(broken, refusal(404, "NotFound")) as server:
        await server.api.delete("/x/foo")
    async with ScriptedServer(refusal(404, "NotFound")) as server:
        with pytest.raises(NotFoundError):
            await server.api.delete("/x/foo")


async def test_a_log_that_breaks_off_is_read_again() -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    async with ScriptedServer(half, web.Response(text="whole")) as server:
        assert await server.api.text("/x") == "whole"


async def test_an_unreachable_server_is_named(unused_tcp_port: int) -> None:
    async with Kubernetes(Credentials(f"http://127.0.0.1:{unused_tcp_port}")) as api:
        with pytest.raises(UnreachableError, match=f"127.0.0.1:{unused_tcp_port}"):
            await api.get("/x")


async def test_expired_credentials_are_loaded_anew() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != "Bearer new":
            return web.json_response({"reason": "Unauthorized"}, status=401)
        return web.json_response(an_object())

    async with ScriptedServer(answer) as server:

        async def reload() -> Credentials:
            return Credentials(server.url, headers=(("Authorization", "Bearer new"),))

        async with Kubernetes(
            Credentials(server.url, headers=(("Authorization", "Bearer old"),)), reload
        ) as api:
            assert await api.get("/x") == an_object()
    assert len(server.requests) == 2


async def test_a_watch_yields_events_of_any_size() -> None:
    big = an_object("big", payload="x" * 3_000_000)
    async with ScriptedServer(watch(("ADDED", an_object()), ("MODIFIED", big))) as server:
        events = [event async for event in server.api.watch("/x", "7", labelSelector="a=b")]
    assert events == [("ADDED", an_object()), ("MODIFIED", big)]
    assert server.queries[0]["resourceVersion"] == "7"
    assert server.queries[0]["labelSelector"] == "a=b"
    assert server.queries[0]["watch"] == "true"


async def test_a_watch_that_is_too_old_says_so() -> None:
    async with ScriptedServer(watch(("ERROR", {"code": 410, "message": "too old"}))) as server:
        with pytest.raises(GoneError, match="too old"):
            await anext(server.api.watch("/x", "1"))


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
        events = server.api.watch("/x")
        await anext(events)
        await events.aclose()
        await asyncio.wait_for(ended.wait(), 5)


async def test_closing_waits_for_nobody_to_say_good_bye_on_a_cancelled_requests_connection() -> None:
    begun = asyncio.Event()

    async def unanswered(_: web.Request) -> web.Response:
        begun.set()
        await asyncio.Event().wait()
        return web.Response()

    async with ScriptedServer(unanswered, authority=trustme.CA()) as server:
        reading = asyncio.create_task(server.api.get("/x"))
        await begun.wait()
        reading.cancel()
        await asyncio.wait([reading])
        await server.api.close()
        mine = psutil.Process().net_connections("tcp")
        assert [each for each in mine if each.raddr and each.raddr.port == server.port] == []


async def test_connect_reads_the_kubeconfig_and_sends_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(
        "current-context: c\ncontexts: [{name: c, context: {cluster: c, namespace: blue}}]\n"
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n"
    )
    async with await Kubernetes.connect(path) as api:
        assert (api.namespace, api.in_cluster, api.requests) == ("blue", False, 0)
