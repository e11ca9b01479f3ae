"""Informers: what exists, without a gap."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self

import pytest
from aiohttp import web

from dask_k8s_client import sending
from dask_k8s_client import watch as watch_module
from dask_k8s_client.api import Api
from dask_k8s_client.create import until_deleted
from dask_k8s_client.observe import Observer
from dask_k8s_client.watch import Informer
from dask_k8s_credentials import Credentials, CredentialsError
from tests.faults.client.server import ScriptedServer, an_object
from tests.harness.stand_in import StandIn, refusal, says, watch

WATCHED = "/namespaces/default/x"


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
    informer_of: Callable[[Callable[[], None]], Informer], until: Callable[[Informer], bool]
) -> Informer:
    """Run an informer until it shows what is expected."""
    pulse = asyncio.Event()
    informer = informer_of(pulse.set)
    task: Awaitable[None] = asyncio.ensure_future(informer.run())
    try:
        async with asyncio.timeout(5):
            while not until(informer):
                await pulse.wait()
                pulse.clear()
    finally:
        assert isinstance(task, asyncio.Task)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return informer


async def test_it_shows_what_a_watch_tells() -> None:
    events = watch(
        ("ADDED", an_object("a", 1)),
        ("ADDED", an_object("b", 2)),
        ("DELETED", an_object("a", 3)),
        ("MODIFIED", an_object("b", 4)),
    )
    async with ScriptedServer(events, silence) as server:
        informer = await follow(
            lambda changed: Informer(server.api, WATCHED, changed),
            lambda informer: informer.objects == {"b": an_object("b", 4)},
        )
    assert informer.error is None
    assert "resourceVersion" not in server.queries[0]


async def test_it_goes_on_where_the_watch_ended() -> None:
    first, second = watch(("ADDED", an_object("a", 5))), watch(("ADDED", an_object("b", 6)))
    async with ScriptedServer(first, second, silence) as server:
        await follow(
            lambda changed: Informer(server.api, WATCHED, changed),
            lambda informer: len(informer.objects) == 2,
        )
    assert server.queries[1]["resourceVersion"] == "5"


async def test_bookmarks_move_it_on() -> None:
    first = watch(("BOOKMARK", {"metadata": {"resourceVersion": "99"}}))
    async with ScriptedServer(first, watch(("ADDED", an_object("a", 100))), silence) as server:
        await follow(
            lambda changed: Informer(server.api, WATCHED, changed), lambda informer: "a" in informer.objects
        )
    assert server.queries[1]["resourceVersion"] == "99"


async def test_after_a_gap_it_forgets_what_vanished() -> None:
    gone = watch(("ADDED", an_object("a", 1)), ("ERROR", {"code": 410}))
    listed = {"metadata": {"resourceVersion": "50"}, "items": [an_object("b", 40)]}
    async with ScriptedServer(gone, listed, silence) as server:
        await follow(
            lambda changed: Informer(server.api, WATCHED, changed), lambda informer: "b" in informer.objects
        )
        informer_shows = server.asked
    assert [method for method, _, _ in informer_shows][:2] == ["GET", "GET"]
    assert "watch" not in server.queries[1]


async def test_passing_failures_do_not_end_it() -> None:
    async with ScriptedServer(refusal(400, "Odd"), watch(("ADDED", an_object("a", 1))), silence) as server:
        await follow(
            lambda changed: Informer(server.api, WATCHED, changed), lambda informer: "a" in informer.objects
        )


async def test_what_is_forbidden_is_told() -> None:
    async with ScriptedServer(refusal(403, "Forbidden", "may not watch")) as server:
        informer = await follow(
            lambda changed: Informer(server.api, WATCHED, changed),
            lambda informer: informer.error is not None,
        )
    assert "may not watch" in str(informer.error)


async def test_it_may_begin_with_a_known_object() -> None:
    async with ScriptedServer(watch(("MODIFIED", an_object("a", 8))), silence) as server:

        def informer_of(changed: Callable[[], None]) -> Informer:
            informer = Informer(server.api, WATCHED, changed)
            informer.start_with(an_object("a", 7))
            return informer

        await follow(informer_of, lambda informer: informer.objects["a"] == an_object("a", 8))
    assert server.queries[0]["resourceVersion"] == "7"


async def test_what_has_worked_is_tried_again_though_it_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    first, second = watch(("ADDED", an_object("a", 1))), watch(("ADDED", an_object("b", 2)))
    refused = [refusal(403, "Forbidden", "may not watch"), refusal(404, "NotFound")]
    async with ScriptedServer(first, *refused, second, silence) as server:
        informer = await follow(
            lambda changed: Informer(server.api, WATCHED, changed), lambda informer: "b" in informer.objects
        )
    assert informer.error is None
    assert caplog.text.count("may not watch") == 1


class Login:
    """Credentials from a plugin that can be made to fail, and a token that can be made to expire."""

    def __init__(self) -> None:
        self.is_valid = True
        self.url = ""

    def load(self) -> Credentials:
        if not self.is_valid:
            raise CredentialsError("the plugin failed: log in")
        return Credentials(self.url)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """End each watch at once, as the API server does after some minutes."""
        if not self.is_valid:
            return web.json_response({"kind": "Status", "code": 401, "message": "expired"}, status=401)
        if "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": "1"}, "items": []})
        return web.Response(text="")

    async def __aenter__(self) -> Self:
        self.server = StandIn(self.answer)
        await self.server.__aenter__()
        self.url = self.server.url
        self.api = await Api(loader=self.load)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.api.close()
        await self.server.__aexit__()

    async def until_asked(self, times: int) -> None:
        """Wait until there were so many further requests."""
        await self.server.until_asked(len(self.server.requests) + times)


async def test_watches_go_on_after_a_plugin_has_failed() -> None:
    async with Login() as login:
        observer = Observer(login.api, "default", an_object())
        observer.start()
        await login.until_asked(20)
        login.is_valid = False
        await login.until_asked(20)
        login.is_valid = True
        await login.until_asked(20)
        assert not any(task.done() for task in observer._tasks.values())
        await observer.close()


async def test_who_cannot_watch_does_not_wait_for_a_deletion() -> None:
    async with Login() as login:
        login.is_valid = False
        await until_deleted(login.api, "default", an_object(), 10)


async def test_a_watch_from_the_future_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "RETRY_DELAYS", ())
    future = watch(("ADDED", an_object("a", 900)))
    restored = {"metadata": {"resourceVersion": "50"}, "items": [an_object("b", 40)]}
    too_large = refusal(504, "Timeout", "Too large resource version: 900, current: 50")
    after = watch(("ADDED", an_object("c", 51)))
    async with ScriptedServer(future, too_large, restored, after, silence) as server:
        await follow(
            lambda changed: Informer(server.api, WATCHED, changed),
            lambda informer: informer.objects.keys() == {"b", "c"},
        )
    assert server.queries[3]["resourceVersion"] == "50"


async def test_an_answer_that_is_not_kubernetes_own_does_not_end_it() -> None:
    page, other = says(200, "<html>Log in, please</html>\n"), says(200, '{"error": "late"}\n')
    async with ScriptedServer(page, other, watch(("ADDED", an_object("a", 1))), silence) as server:
        await follow(
            lambda changed: Informer(server.api, WATCHED, changed), lambda informer: "a" in informer.objects
        )
