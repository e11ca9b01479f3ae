"""What happens to clusters that nobody closed."""

from __future__ import annotations

import asyncio
import os
import warnings
from dataclasses import replace

import pytest
from aiohttp import web

from dask_k8s_client import reaper
from dask_k8s_client.config import ClusterOptions
from dask_k8s_client.session import Session
from dask_k8s_credentials import Credentials
from tests.faults.client.server import ScriptedServer, an_object
from tests.harness.stand_in import Handler, refusal


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper, "_leftovers", set())


def credentials(server: ScriptedServer, token: str) -> Credentials:
    return Credentials(server.url, headers=(("Authorization", f"Bearer {token}"),))


def leftover(server: ScriptedServer) -> reaper.Leftover:
    return reaper.Leftover(
        credentials(server, "first"), lambda: credentials(server, "second"), "/clusters/foo", "the-uid"
    )


async def test_what_is_remembered_is_deleted_by_its_uid() -> None:
    async with ScriptedServer({}) as server:
        reaper.remember(leftover(server))
        await asyncio.to_thread(reaper.reap)
        await asyncio.to_thread(reaper.reap)
    [(method, path, body)] = server.asked
    assert (method, path) == ("DELETE", "/clusters/foo")
    assert body is not None
    assert body["preconditions"] == {"uid": "the-uid"}


async def test_what_is_forgotten_stays() -> None:
    async with ScriptedServer({}) as server:
        made = leftover(server)
        reaper.remember(made)
        reaper.forget(made)
        await asyncio.to_thread(reaper.reap)
    assert server.asked == []


async def test_clusters_are_deleted_that_nothing_refers_to_any_more() -> None:
    made = [f"foo-{number}" for number in range(8)]

    async def make(name: str) -> None:
        session = Session(ClusterOptions.from_config(name=name, namespace="default"))
        session._api = server.api
        await session._create_or_connect(server.api, "default")

    async with ScriptedServer(*(an_object(name) for name in made), {}) as server:
        for name in made:
            await make(name)  # Each may get its predecessor's place in memory.
        await asyncio.to_thread(reaper.reap)
    deleted = [path.rpartition("/")[2] for method, path, _ in server.asked if method == "DELETE"]
    assert sorted(deleted) == made


@pytest.mark.parametrize("answer", [refusal(404, "NotFound"), refusal(409, "Conflict")])
async def test_what_is_gone_or_replaced_is_fine(answer: Handler) -> None:
    async with ScriptedServer(answer) as server:
        await asyncio.to_thread(reaper.delete, leftover(server))


async def test_what_cannot_be_deleted_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async with ScriptedServer(refusal(403, "Forbidden")) as server:
        reaper.remember(leftover(server))
        await asyncio.to_thread(reaper.reap)
    assert "/clusters/foo could not be deleted at exit" in caplog.text


async def test_credentials_that_have_expired_are_loaded_anew() -> None:
    tokens: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        tokens.append(request.headers["Authorization"])
        return web.json_response({}, status=200 if tokens[-1] == "Bearer second" else 401)

    async with ScriptedServer(answer) as server:
        await asyncio.to_thread(reaper.delete, leftover(server))
    assert tokens == ["Bearer first", "Bearer second"]


async def test_a_forked_process_deletes_what_it_made_and_nothing_else() -> None:
    async with ScriptedServer({}) as server:
        reaper.remember(leftover(server))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
            child = os.fork()
        if child == 0:
            reaper.reap()
            reaper.remember(replace(leftover(server), path="/clusters/mine"))
            reaper.reap()
            os._exit(0)
        await asyncio.to_thread(os.waitpid, child, 0)
        assert [path for _, path, _ in server.asked] == ["/clusters/mine"]
        await asyncio.to_thread(reaper.reap)
    assert [path for _, path, _ in server.asked] == ["/clusters/mine", "/clusters/foo"]
