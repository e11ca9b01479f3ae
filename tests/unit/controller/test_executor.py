"""Carrying plans out: many writes at a time, but no number that a user writes decides how many."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dask_k8s_controller.cache.cache import Cache
from dask_k8s_controller.kubernetes.errors import Refused, Unavailable
from dask_k8s_controller.kubernetes.executor import Executor
from dask_k8s_controller.kubernetes.resources import Key, Resource
from dask_k8s_controller.plans.actions import Apply, Create, Outcome
from dask_k8s_controller.scheduler.conversations import Conversations
from tests.unit.controller.builders import metadata
from tests.unit.controller.clocks import ManualClock

KEY = Key("DaskWorkerGroup", "default", "c-default")


class Server:
    """Counts the pods that are asked for at the same time; a test says which are refused."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.batches: list[int] = []
        self.fails: dict[int, Exception] = {}
        self._under_way = 0

    async def create(self, resource: Resource, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        number = len(self.asked)
        self.asked.append(body["metadata"]["name"])
        self._under_way += 1
        await asyncio.sleep(0)
        if self._under_way:
            self.batches.append(self._under_way)
            self._under_way = 0
        if number in self.fails:
            raise self.fails[number]
        return {**body, "metadata": metadata(body["metadata"]["name"])}

    async def apply(self, resource: Resource, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        raise Refused("no Services here", 403)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def executor(server: Server) -> Executor:
    clock = ManualClock()
    conversations = Conversations(None, clock, lambda key: None)  # type: ignore[arg-type]
    return Executor(Cache(clock, conversations), server, at_once=32)  # type: ignore[arg-type]


def pods(count: int) -> list[Create]:
    names = (f"p{number}" for number in range(count))
    return [Create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}}) for name in names]


async def test_pods_are_created_by_batches_that_double(executor: Executor, server: Server) -> None:
    assert await executor.execute(KEY, "group", pods(20)) == Outcome()
    assert server.batches == [1, 2, 4, 8, 5]


@pytest.mark.parametrize("error", [Refused("exceeded quota", 403), Unavailable("come again", 429)])
async def test_after_a_batch_with_a_failure_no_more_are_asked_for(
    executor: Executor, server: Server, error: Exception
) -> None:
    server.fails = {1: error}
    outcome = await executor.execute(KEY, "group", pods(500))
    assert len(server.asked) == 3
    assert [failure.what for failure in outcome.failures] == ["Pod p1"]


async def test_what_fails_beside_them_does_not_hold_pods_up(executor: Executor, server: Server) -> None:
    service = Apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}})
    outcome = await executor.execute(KEY, "group", [service, *pods(20)])
    assert len(server.asked) == 20
    assert [failure.what for failure in outcome.failures] == ["Service s"]
