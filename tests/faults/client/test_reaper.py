"""What happens to clusters that nobody closed."""

from __future__ import annotations

import asyncio

import pytest

from dask_k8s_client import reaper
from dask_k8s_credentials import Credentials
from tests.faults.client.server import ScriptedServer
from tests.harness.stand_in import Handler, refusal


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper, "_leftovers", {})


def leftover(server: ScriptedServer) -> reaper.Leftover:
    return reaper.Leftover(
        Credentials(server.url, headers=(("Authorization", "Bearer x"),)), "/clusters/foo", "the-uid"
    )


async def test_what_is_remembered_is_deleted_by_its_uid() -> None:
    async with ScriptedServer({}) as server:
        reaper.remember(1, leftover(server))
        await asyncio.to_thread(reaper.reap)
        await asyncio.to_thread(reaper.reap)
    [(method, path, body)] = server.asked
    assert (method, path) == ("DELETE", "/clusters/foo")
    assert body is not None
    assert body["preconditions"] == {"uid": "the-uid"}


async def test_what_is_forgotten_stays() -> None:
    async with ScriptedServer({}) as server:
        reaper.remember(1, leftover(server))
        reaper.forget(1)
        await asyncio.to_thread(reaper.reap)
    assert server.asked == []


@pytest.mark.parametrize("answer", [refusal(404, "NotFound"), refusal(409, "Conflict")])
async def test_what_is_gone_or_replaced_is_fine(answer: Handler) -> None:
    async with ScriptedServer(answer) as server:
        await asyncio.to_thread(reaper.delete, leftover(server))


async def test_what_cannot_be_deleted_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async with ScriptedServer(refusal(403, "Forbidden")) as server:
        reaper.remember(1, leftover(server))
        await asyncio.to_thread(reaper.reap)
    assert "/clusters/foo could not be deleted at exit" in caplog.text


async def test_a_fork_deletes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper, "_process", -1)
    async with ScriptedServer({}) as server:
        reaper.remember(1, leftover(server))
        await asyncio.to_thread(reaper.reap)
    assert server.asked == []
