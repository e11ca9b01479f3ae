"""What goes wrong on request: refusals, silence, broken connections; and the log of requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import aiohttp
import pytest

from dask_k8s_local.api import ApiServer, Request
from dask_k8s_local.api.faults import RequestLog
from tests.local.api.http import Http
from tests.local.api.objects import MAPS, PODS, config_map, pod


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (409, "Conflict"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (503, "ServiceUnavailable"),
        (504, "Timeout"),
    ],
)
async def test_the_nth_write_fails_without_effect(
    http: Http, server: ApiServer, code: int, reason: str
) -> None:
    fault = server.faults.fail(code, nth=2)
    statuses = [(await http.post(MAPS, config_map(name))).status for name in "abc"]
    assert statuses == [201, code, 201]
    assert fault.hits == 1
    assert (await http.get(f"{MAPS}/b")).status == 404
    answer_again = await http.post(MAPS, config_map("b"))
    assert answer_again.status == 201
    server.faults.fail(code, times=1)
    refused = await http.delete(f"{MAPS}/a")
    assert refused.body["reason"] == reason
    assert (code == 429) == ("Retry-After" in refused.headers)


async def test_one_hears_of_a_write_before_its_sender_does(http: Http, server: ApiServer) -> None:
    heard: list[bool] = []
    posting: list[asyncio.Task[object]] = []
    fault = server.faults.tell(lambda: heard.append(posting[0].done()), nth=1)
    posting.append(asyncio.create_task(http.post(MAPS, config_map("a"))))
    await posting[0]
    await http.post(MAPS, config_map("b"))
    assert heard == [False]
    assert fault.hits == 1
    assert (await http.get(f"{MAPS}/a")).status == 200


async def test_reads_are_spared_unless_asked_for(http: Http, server: ApiServer) -> None:
    fault = server.faults.fail(500)
    assert (await http.get(MAPS)).status == 200
    server.faults.remove(fault)
    server.faults.fail(500, when=lambda request: request.verb == "list")
    assert (await http.get(MAPS)).status == 500
    assert (await http.post(MAPS, config_map())).status == 201


async def test_faults_can_be_for_one_client_only(server: ApiServer, client: Callable[..., Http]) -> None:
    mine, other = client(user="controller", agent="kopf/1.45"), client(user="user", agent="kr8s/0.20")
    server.faults.fail(503, when=lambda request: request.user == "controller" and request.resource == "pods")
    assert (await mine.post(PODS, pod())).status == 503
    assert (await mine.post(MAPS, config_map())).status == 201
    assert (await other.post(PODS, pod())).status == 201
    server.faults.clear()
    server.faults.fail(500, when=lambda request: request.user_agent.startswith("kr8s"))
    assert (await mine.delete(f"{PODS}/one")).status == 200
    assert (await other.get(PODS)).status == 500


async def test_the_server_itself_is_never_disturbed(server: ApiServer) -> None:
    server.faults.fail(500)
    await server.client.create("configmaps", "default", config_map())
    assert len(server.faults.log) == 0


async def test_a_connection_breaks_after_the_effect(http: Http, server: ApiServer) -> None:
    server.faults.break_connection(times=1)
    with pytest.raises(aiohttp.ClientError):
        await http.post(MAPS, config_map())
    assert (await http.get(f"{MAPS}/one")).status == 200


async def test_a_connection_breaks_before_the_effect(http: Http, server: ApiServer) -> None:
    server.faults.break_connection(after_effect=False, times=1)
    with pytest.raises(aiohttp.ClientError):
        await http.post(MAPS, config_map())
    assert (await http.get(f"{MAPS}/one")).status == 404


@pytest.mark.parametrize("after_effect", [False, True])
async def test_a_request_gets_no_answer(http: Http, server: ApiServer, after_effect: bool) -> None:
    server.faults.hang(after_effect=after_effect, times=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await http.post(MAPS, config_map())
    assert (await http.get(f"{MAPS}/one")).status == (200 if after_effect else 404)


async def test_silence_can_end(http: Http, server: ApiServer) -> None:
    server.faults.hang(seconds=0.05, times=1)
    assert (await http.post(MAPS, config_map())).status == 504


async def test_requests_can_be_slow(http: Http, server: ApiServer) -> None:
    server.faults.delay(lambda: 0.1, when=lambda request: request.is_write)
    begin = time.monotonic()
    assert (await http.post(MAPS, config_map())).status == 201
    assert time.monotonic() - begin >= 0.1


async def test_requests_are_logged(client: Callable[..., Http], server: ApiServer) -> None:
    http = client(user="me", agent="tool/2 (linux)")
    await http.get(MAPS)
    await http.post(MAPS, config_map(), fieldManager="mine")
    await http.patch(f"{PODS}/one/status", {})
    assert [request.verb for request in server.faults.log] == ["list", "create", "patch"]
    first, second = server.faults.writes
    assert isinstance(first, Request)
    assert (first.resource, first.namespace, first.user, first.field_manager) == (
        "configmaps",
        "default",
        "me",
        "mine",
    )
    assert (second.resource, second.subresource, second.name) == ("pods", "status", "one")
    assert second.user_agent == "tool/2 (linux)"


def test_only_the_latest_requests_are_kept() -> None:
    log = RequestLog(limit=3)
    for number in range(5):
        log.append(Request("get", "GET", f"/{number}", "", "", "", "", "", "", ""))
    assert len(log) == 5
    assert [request.path for request in log] == ["/2", "/3", "/4"]
    assert [request.path for request in log[3:]] == [request.path for request in log[-2:]] == ["/3", "/4"]
    assert log[5:] == []
    with pytest.raises(LookupError, match="of 5 requests only the last 3 are kept"):
        log[1:]


async def test_faults_may_be_asked_for_from_another_thread(http: Http, server: ApiServer) -> None:
    async with http.watch(MAPS):
        assert await asyncio.to_thread(server.faults.cut_watches) == 1
    await asyncio.to_thread(server.faults.forget_history)
