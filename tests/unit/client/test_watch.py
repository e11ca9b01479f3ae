"""Mirrors: what exists, without a gap."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from dask_k8s_client import watch as watch_module
from dask_k8s_client.watch import Mirror
from tests.unit.client.server import ScriptedServer, an_object, refusal, watch


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "FIRST_DELAY", 0.001)


async def silence(request: web.Request) -> web.StreamResponse:
    """Answer with a watch that never says anything."""
    response = web.StreamResponse()
    await response.prepare(request)
    await asyncio.Event().wait()
    return response


async def follow(
    mirror_of: Callable[[Callable[[], None]], Mirror], until: Callable[[Mirror], bool]
) -> Mirror:
    """Run a mirror until it shows what is expected."""
    pulse = asyncio.Event()
    mirror = mirror_of(pulse.set)
    task: Awaitable[None] = asyncio.ensure_future(mirror.run())
    try:
        async with asyncio.timeout(5):
            while not until(mirror):
                await pulse.wait()
                pulse.clear()
    finally:
        assert isinstance(task, asyncio.Task)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return mirror


async def test_it_shows_what_a_watch_tells() -> None:
    events = watch(
        ("ADDED", an_object("a", 1)),
        ("ADDED", an_object("b", 2)),
        ("DELETED", an_object("a", 3)),
        ("MODIFIED", an_object("b", 4)),
    )
    async with ScriptedServer(events, silence) as server:
        mirror = await follow(
            lambda changed: Mirror(server.api, "/x", changed),
            lambda mirror: mirror.objects == {"b": an_object("b", 4)},
        )
    assert mirror.error is None
    assert "resourceVersion" not in server.queries[0]


async def test_it_goes_on_where_the_watch_ended() -> None:
    first, second = watch(("ADDED", an_object("a", 5))), watch(("ADDED", an_object("b", 6)))
    async with ScriptedServer(first, second, silence) as server:
        await follow(
            lambda changed: Mirror(server.api, "/x", changed), lambda mirror: len(mirror.objects) == 2
        )
    assert server.queries[1]["resourceVersion"] == "5"


async def test_bookmarks_move_it_on() -> None:
    first = watch(("BOOKMARK", {"metadata": {"resourceVersion": "99"}}))
    async with ScriptedServer(first, watch(("ADDED", an_object("a", 100))), silence) as server:
        await follow(lambda changed: Mirror(server.api, "/x", changed), lambda mirror: "a" in mirror.objects)
    assert server.queries[1]["resourceVersion"] == "99"


async def test_after_a_gap_it_forgets_what_vanished() -> None:
    gone = watch(("ADDED", an_object("a", 1)), ("ERROR", {"code": 410}))
    listed = {"metadata": {"resourceVersion": "50"}, "items": [an_object("b", 40)]}
    async with ScriptedServer(gone, listed, silence) as server:
        await follow(lambda changed: Mirror(server.api, "/x", changed), lambda mirror: "b" in mirror.objects)
        mirror_shows = server.requests
    assert [method for method, _, _ in mirror_shows][:2] == ["GET", "GET"]
    assert "watch" not in server.queries[1]


async def test_passing_failures_do_not_end_it() -> None:
    async with ScriptedServer(refusal(400, "Odd"), watch(("ADDED", an_object("a", 1))), silence) as server:
        await follow(lambda changed: Mirror(server.api, "/x", changed), lambda mirror: "a" in mirror.objects)


async def test_what_is_forbidden_is_told() -> None:
    async with ScriptedServer(refusal(403, "Forbidden", "may not watch")) as server:
        mirror = await follow(
            lambda changed: Mirror(server.api, "/x", changed), lambda mirror: mirror.error is not None
        )
    assert "may not watch" in str(mirror.error)


async def test_it_may_begin_with_a_known_object() -> None:
    async with ScriptedServer(watch(("MODIFIED", an_object("a", 8))), silence) as server:

        def mirror_of(changed: Callable[[], None]) -> Mirror:
            mirror = Mirror(server.api, "/x", changed)
            mirror.start_with(an_object("a", 7))
            return mirror

        await follow(mirror_of, lambda mirror: mirror.objects["a"] == an_object("a", 8))
    assert server.queries[0]["resourceVersion"] == "7"
