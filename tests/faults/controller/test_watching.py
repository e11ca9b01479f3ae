"""kopf's lists and watches: what they show is the truth, and nothing that the API server says ends them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from dask_k8s_controller.kubernetes import connection
from dask_k8s_controller.kubernetes.connection import Logins
from dask_k8s_controller.kubernetes.resources import CLUSTERS, NODES, PODS, SERVICES
from dask_k8s_controller.settings import Backoff
from dask_k8s_controller.watching import session as sessions
from dask_k8s_controller.watching.informer import Event
from dask_k8s_controller.watching.session import WatchSession
from dask_k8s_controller.watching.watches import Listing, Watches
from dask_k8s_credentials import CredentialsError
from tests.harness.stand_in import StandIn, says

IN_TEAM_A = "/apis/kubernetes.dask.org/v1/namespaces/team-a/daskclusters"
OF_TEAM_A = Listing(CLUSTERS, "team-a", "")


class Told:
    """Remembers what it is told, as an informer would be."""

    def __init__(self, watches: Watches) -> None:
        self.told: list[Any] = []
        self._watches = watches

    def list_begins(self, listing: Listing) -> int:
        self._watches.begins(listing)
        return len(self.told)

    async def listed(self, listing: Listing, items: list[dict[str, Any]], mark: int) -> None:
        self.told.append((str(listing), [item["metadata"]["uid"] for item in items]))

    def list_ends(self, listing: Listing, uids: set[str], version: str, mark: int) -> None:
        self.told.append((str(listing), uids, version, mark))
        self._watches.listed(listing)

    def happened(self, listing: Listing, event: Event, line: bytes) -> None:
        self.told.append((event.type, event.object.metadata.uid, event.version, json.loads(line)["type"]))

    def forget(self, listing: Listing) -> None:
        self.told.append(f"forget {listing}")


class Server(StandIn):
    """Answers each list and watch with this."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.status = 200
        self.body: dict[str, Any] = {"metadata": {"resourceVersion": "7"}, "items": []}
        self.lines: list[bytes] = []
        self.pieces = 1
        self.cut = 0

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query and self.status == 200:
            return await self._stream(request)
        return web.json_response(self.body, status=self.status)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        text = b"".join(line + b"\n" for line in self.lines)
        text = text[: len(text) - self.cut]
        size = max(1, len(text) // self.pieces)
        for start in range(0, len(text), size):
            await response.write(text[start : start + size])
        await response.write_eof()
        return response


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server() as server:
        yield server


@pytest.fixture
def told(watches: Watches) -> Told:
    return Told(watches)


@pytest.fixture
def watches() -> Watches:
    return Watches((PODS, SERVICES, CLUSTERS, NODES))


@pytest.fixture
async def session(
    server: Server, watches: Watches, told: Told, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[str], Any]]:
    """Sends a GET as kopf does."""
    monkeypatch.setattr(sessions, "RETRY", 0.01)
    informer: Any = told
    kopfs = WatchSession(aiohttp.ClientSession(), watches, informer, {SERVICES})

    async def get(path: str) -> Any:
        timeout = aiohttp.ClientTimeout(total=5)
        return await kopfs.request(method="get", url=server.url + path, timeout=timeout)

    yield get
    await kopfs.close()


def event(kind: str, uid: str, version: str) -> bytes:
    metadata = {"uid": uid, "resourceVersion": version, "name": "x"}
    return json.dumps({"type": kind, "object": {"kind": "Pod", "metadata": metadata, "status": {}}}).encode()


def items(*uids: str) -> list[dict[str, Any]]:
    return [{"metadata": {"uid": uid}} for uid in uids]


async def events(response: Any) -> bytes:
    async with response:
        return b"".join([chunk async for chunk in response.content.iter_chunked(1000)])


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - a session has no events to wait for
            await asyncio.sleep(0)


class TestLists:
    async def test_are_told_with_what_they_have(self, session: Any, server: Server, told: Told) -> None:
        server.body["items"] = items("a", "b")
        response = await session("/api/v1/pods?labelSelector=x")
        assert await response.json() == {**server.body, "items": []}, "kopf need not see them"
        assert told.told == [
            ("pods in all namespaces", ["a", "b"]),
            ("pods in all namespaces", {"a", "b"}, "7", 0),
        ]

    async def test_of_what_a_plugin_handles_reach_kopf_as_well(self, session: Any, server: Server) -> None:
        server.body["items"] = items("a", "b")
        response = await session("/api/v1/services")
        assert await response.json() == server.body

    async def test_in_parts_are_one(self, session: Any, server: Server, told: Told) -> None:
        server.body = {"metadata": {"resourceVersion": "7", "continue": "x"}, "items": items("a")}
        await session(f"{IN_TEAM_A}?limit=1")
        server.body = {"metadata": {"resourceVersion": "7"}, "items": items("b")}
        await session(f"{IN_TEAM_A}?limit=1&continue=x")
        where = "daskclusters in the namespace team-a"
        assert told.told == [(where, ["a"]), (where, ["b"]), (where, {"a", "b"}, "7", 0)]

    async def test_whose_parts_have_expired_begin_anew(self, session: Any, server: Server) -> None:
        server.body = {"metadata": {"continue": "x"}, "items": []}
        await session(f"{IN_TEAM_A}?limit=1")
        server.status = 410
        with pytest.raises(aiohttp.ClientPayloadError):
            await session(f"{IN_TEAM_A}?limit=1&continue=x")

    @pytest.mark.parametrize("text", ["<html>of a proxy</html>", "[]", "", f'{{"items": {"[" * 5000}'])
    async def test_that_are_none_begin_anew(self, session: Any, server: Server, text: str) -> None:
        server.answers = [says(200, text)]
        with pytest.raises(aiohttp.ClientPayloadError):
            await session("/api/v1/pods")

    async def test_that_another_session_has_begun_begin_anew(self, session: Any, server: Server) -> None:
        with pytest.raises(aiohttp.ClientPayloadError):
            await session(f"{IN_TEAM_A}?limit=1&continue=x")
        assert server.requests == []

    async def test_of_other_resources_are_left_alone(
        self, session: Any, server: Server, told: Told, watches: Watches
    ) -> None:
        for path in ("/api/v1/configmaps", "/apis/other/v1/daskclusters", "/api/v1/namespaces"):
            server.status = 403
            response = await session(path)
            assert response.status == 403
            response.release()
        assert told.told == []
        assert watches.has_synced("team-a")


class TestEvents:
    ADDED = event("ADDED", "a", "8")
    DELETED = event("DELETED", "b", "9")
    BOOKMARK = event("BOOKMARK", "", "12")

    async def test_are_told_and_kopf_hears_how_far_the_watch_has_come(
        self, session: Any, server: Server, told: Told
    ) -> None:
        server.lines = [self.ADDED, self.DELETED]
        seen = await events(await session("/api/v1/pods?watch=true"))
        assert told.told == [("ADDED", "a", "8", "ADDED"), ("DELETED", "b", "9", "DELETED")]
        for line in seen.splitlines():
            assert json.loads(line)["type"] == "BOOKMARK"
        assert json.loads(seen.splitlines()[-1])["object"]["metadata"]["resourceVersion"] == "9"

    async def test_of_what_a_plugin_handles_reach_kopf_as_well(
        self, session: Any, server: Server, told: Told
    ) -> None:
        server.lines = [self.ADDED, self.DELETED]
        seen = await events(await session("/api/v1/services?watch=true"))
        assert seen.splitlines() == server.lines
        assert len(told.told) == 2

    async def test_that_are_not_about_an_object_reach_kopf(self, session: Any, server: Server) -> None:
        server.lines = [self.BOOKMARK, json.dumps(sessions.BEGIN_ANEW).encode()]
        assert (await events(await session("/api/v1/pods?watch=true"))).splitlines() == server.lines

    async def test_come_in_pieces(self, session: Any, server: Server, told: Told) -> None:
        server.pieces = 3
        server.lines = [self.ADDED, self.DELETED]
        await events(await session("/api/v1/pods?watch=true"))
        assert [uid for _, uid, _, _ in told.told] == ["a", "b"]

    async def test_that_were_cut_off_are_not_told(self, session: Any, server: Server, told: Told) -> None:
        server.lines = [self.ADDED, self.DELETED]
        server.cut = 5
        await events(await session("/api/v1/pods?watch=true"))
        assert [uid for _, uid, _, _ in told.told] == ["a"]

    @pytest.mark.parametrize("line", [b'{"type": 5}', b'{"type": "ADDED", "object": {"spec": ' + b"[" * 5000])
    async def test_that_are_malformed_are_a_connection_that_broke(
        self, session: Any, server: Server, line: bytes
    ) -> None:
        server.lines = [line]
        with pytest.raises(aiohttp.ClientPayloadError):
            await events(await session("/api/v1/pods?watch=true"))


class TestWhatIsRefused:
    @pytest.mark.parametrize("status", [403, 404])
    async def test_is_an_empty_list_that_holds_up_no_other(
        self, session: Any, server: Server, told: Told, watches: Watches, status: int
    ) -> None:
        await session(IN_TEAM_A.replace("team-a", "team-b"))
        told.told.clear()
        server.status = status
        response = await session(IN_TEAM_A)
        assert response.status == 200
        assert (await response.json())["items"] == []
        assert told.told == [], "it is no truth"
        assert not watches.has_synced("team-a")
        assert watches.has_synced("team-b")
        assert watches.failing_for == 0

    async def test_in_all_namespaces_leaves_none_to_be_seen(
        self, session: Any, server: Server, watches: Watches
    ) -> None:
        server.status = 403
        await session("/api/v1/pods")
        assert not watches.has_synced("team-b")

    async def test_of_nodes_is_done_without_and_what_was_known_of_them_is_forgotten(
        self,
        session: Any,
        server: Server,
        told: Told,
        watches: Watches,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        server.status = 403
        with caplog.at_level("INFO"):
            for _ in range(3):
                response = await session("/api/v1/nodes")
                assert (await response.json())["items"] == []
        assert len([one for one in caplog.messages if "may not list nodes in all namespaces" in one]) == 1
        assert watches.has_synced("team-a")
        assert watches.failing_for == 0
        assert set(told.told) == {"forget nodes in all namespaces"}

    async def test_is_tried_again_until_it_is_allowed_then_kopf_lists_anew(
        self, session: Any, server: Server, watches: Watches
    ) -> None:
        server.status = 403
        await session(IN_TEAM_A)
        watching = asyncio.create_task(session(f"{IN_TEAM_A}?watch=true&resourceVersion="))
        await until(lambda: len(server.requests) >= 4)
        assert not watching.done()
        server.status = 200
        assert b'"code":410' in await events(await watching)
        await session(IN_TEAM_A)
        assert watches.has_synced("team-a")
        assert all("watch" not in request.query for request in server.requests)

    async def test_is_left_to_kopf_when_the_credentials_expire_meanwhile(
        self, session: Any, server: Server, watches: Watches
    ) -> None:
        server.status = 403
        await session(IN_TEAM_A)
        server.status = 401
        response = await session(f"{IN_TEAM_A}?watch=true&resourceVersion=")
        assert response.status == 401
        response.release()
        assert not watches.has_synced("team-a")

    async def test_while_it_is_watched_is_tried_again_as_well(
        self, session: Any, server: Server, watches: Watches
    ) -> None:
        await session(IN_TEAM_A)
        server.status = 403
        watching = asyncio.create_task(session(f"{IN_TEAM_A}?watch=true&resourceVersion=7"))
        await until(lambda: not watches.has_synced("team-a"))
        server.status = 200
        assert b'"code":410' in await events(await watching)


class TestWhatFails:
    @pytest.mark.parametrize("status", [400, 500, 503])
    async def test_is_a_connection_that_broke(
        self, session: Any, server: Server, watches: Watches, status: int
    ) -> None:
        server.status = status
        for query in ("", "?watch=true"):
            with pytest.raises(aiohttp.ClientConnectionError):
                await session(IN_TEAM_A + query)
        assert watches.failing_for > 0
        server.status = 200
        (await session(f"{IN_TEAM_A}?watch=true")).close()
        assert watches.failing_for == 0

    @pytest.mark.parametrize("status", [401, 429])
    async def test_in_a_way_that_kopf_knows_is_left_to_it(
        self, session: Any, server: Server, status: int
    ) -> None:
        server.status = status
        for query in ("", "?watch=true"):
            response = await session(IN_TEAM_A + query)
            assert response.status == status
            response.release()

    @pytest.mark.parametrize("status", [410, 504])
    async def test_as_the_version_is_of_another_time_is_listed_anew(
        self, session: Any, server: Server, status: int
    ) -> None:
        server.status = status
        response = await session(f"{IN_TEAM_A}?watch=true&resourceVersion=999999")
        assert b'"code":410' in await events(response)


class TestBlindness:
    """Nothing is decided where something may be that hasn't been seen yet."""

    @pytest.fixture
    def watches(self) -> Watches:
        return Watches((PODS, CLUSTERS))

    def see(self, watches: Watches, *listings: Listing) -> None:
        for listing in listings:
            watches.begins(listing)
            watches.listed(listing)

    async def test_lasts_until_all_that_is_expected_has_been_listed(self, watches: Watches) -> None:
        watches.expect([PODS, CLUSTERS])
        assert not watches.has_synced("team-a")
        self.see(watches, Listing(PODS, None, ""))
        assert not watches.has_synced("team-a")
        self.see(watches, Listing(CLUSTERS, None, ""))
        assert watches.has_synced("team-a")

    async def test_is_of_each_namespace_where_they_are_listed_by_name(self, watches: Watches) -> None:
        watches.expect([PODS, CLUSTERS])
        self.see(watches, Listing(PODS, "team-a", ""), Listing(PODS, "team-b", ""), OF_TEAM_A)
        assert watches.has_synced("team-a")
        assert not watches.has_synced("team-b")

    async def test_returns_when_another_kind_appears_until_it_has_been_listed(self, watches: Watches) -> None:
        self.see(watches, Listing(PODS, None, ""))
        assert watches.has_synced("team-a")
        watches.begins(Listing(CLUSTERS, None, ""))
        assert not watches.has_synced("team-a")
        watches.listed(Listing(CLUSTERS, None, ""))
        assert watches.has_synced("team-a")

    async def test_does_not_return_when_a_list_is_repeated_or_its_kind_has_gone(
        self, watches: Watches
    ) -> None:
        watches.expect([PODS, CLUSTERS])
        self.see(watches, Listing(PODS, None, ""))

        async def watch() -> None:
            self.see(watches, Listing(CLUSTERS, None, ""))
            watches.begins(Listing(CLUSTERS, None, ""))
            assert watches.has_synced("team-a")
            await asyncio.Event().wait()

        task = asyncio.create_task(watch())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert watches.has_synced("team-a")


class TestDeafness:
    """What `/healthz` tells."""

    async def test_is_over_when_the_watch_was_ended_on_purpose(self) -> None:
        watches = Watches((CLUSTERS,))
        task = asyncio.create_task(self.fails_then(watches, asyncio.Event().wait()))
        await asyncio.sleep(0)
        assert watches.failing_for > 0
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert watches.failing_for == 0
        assert not watches._watches

    async def test_begins_when_a_watch_dies(self) -> None:
        now = 0.0
        watches = Watches((CLUSTERS,), lambda: now)

        async def die() -> None:
            watches.succeeded(OF_TEAM_A)
            raise RuntimeError

        await asyncio.gather(asyncio.create_task(die()), return_exceptions=True)
        assert watches.failing_for == 0
        now = 700.0
        assert watches.failing_for == 700

    async def fails_then(self, watches: Watches, then: Any) -> None:
        watches.failed(OF_TEAM_A)
        await then


class TestLoggingIn:
    async def test_is_slower_and_slower_while_credentials_are_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        def monotonic() -> float:
            return sum(waits)

        async def log_in() -> Any:
            return "connection"

        monkeypatch.setattr(asyncio, "sleep", sleep)
        monkeypatch.setattr(connection, "time", SimpleNamespace(monotonic=monotonic))
        logins = Logins(log_in, Backoff(first=1, longest=8))
        for _ in range(7):
            assert await logins.log_in_until_it_works() == "connection"
        # The second replaces what has expired.
        for wait, bound in zip(waits, (0, 0, 1, 2, 4, 8, 8), strict=True):
            assert 0.75 * bound <= wait <= bound

    async def test_goes_on_when_the_credentials_cannot_be_read_for_a_while(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        found = iter([CredentialsError("the file is being written"), CredentialsError("again"), "connection"])

        async def log_in() -> Any:
            if isinstance(it := next(found), Exception):
                raise it
            return it

        logins = Logins(log_in, Backoff(first=0.001, longest=0.001))
        assert await logins.log_in_until_it_works() == "connection"
        assert "the file is being written" in caplog.text


class TestWhatIsOptional:
    @pytest.mark.parametrize("end", [Watches.listed, Watches.refused, Watches.failed])
    async def test_is_waited_for_until_it_is_there_or_can_not_be_had(
        self, end: Callable[[Watches, Listing], None]
    ) -> None:
        """Else workers that move would be taken for too many when the controller starts."""
        watches, nodes = Watches((NODES,)), Listing(NODES, None, "")
        watches.expect((NODES,))
        assert not watches.has_synced("team-a")
        watches.begins(nodes)
        assert not watches.has_synced("team-a")
        end(watches, nodes)
        assert watches.has_synced("team-a")
