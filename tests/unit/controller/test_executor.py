"""Carrying plans out: many writes at a time, but no number that a user writes decides how many."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dask_k8s_controller.cache.cache import Cache
from dask_k8s_controller.cluster.observe import ObservedCluster, observe
from dask_k8s_controller.kubernetes.errors import Refused, Unavailable
from dask_k8s_controller.kubernetes.executor import Executor
from dask_k8s_controller.kubernetes.resources import Key, Resource
from dask_k8s_controller.operator import KINDS
from dask_k8s_controller.plans.actions import Apply, Create, Outcome
from dask_k8s_controller.plans.conditions import remarks_of
from dask_k8s_controller.scheduler.conversations import Conversations
from tests.unit.controller.builders import cluster_body, metadata
from tests.unit.controller.clocks import ManualClock

KEY = Key("DaskWorkerGroup", "default", "c-default")


class Server:
    """Counts the pods that are asked for at the same time; a test says which are refused."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.batches: list[int] = []
        self.fails: dict[int, Exception] = {}
        self.there: dict[str, Any] | None = None
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
        return self.there or {**body, "metadata": {**metadata(body["metadata"]["name"]), **body["metadata"]}}

    async def apply(
        self, resource: Resource, namespace: str, body: dict[str, Any], uid: str
    ) -> dict[str, Any]:
        raise Refused("no Services here", 403)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def cache() -> Cache:
    clock = ManualClock()
    return Cache(
        {kind.resource.kind: kind.parse for kind in KINDS},
        clock,
        Conversations(None, clock, lambda key: None),
    )  # type: ignore[arg-type]


@pytest.fixture
def executor(cache: Cache, server: Server) -> Executor:
    return Executor(cache, server, at_once=32)  # type: ignore[arg-type]


def owned(kind: str, name: str, owner: str = "group", **more: Any) -> dict[str, Any]:
    reference = {"kind": KEY.kind, "name": KEY.name, "uid": owner, "controller": True}
    labelled = {"labels": {"dask.org/cluster-name": "c"}, "ownerReferences": [reference], **more}
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, **labelled}}


def pods(count: int) -> list[Create]:
    return [Create(owned("Pod", f"p{number}")) for number in range(count)]


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
    service = Apply(owned("Service", "s"), "uid")
    outcome = await executor.execute(KEY, "group", [service, *pods(20)])
    assert len(server.asked) == 20
    assert [failure.what for failure in outcome.failures] == ["Service s"]


class TestANameThatSomebodyElseHas:
    async def test_is_told_and_nothing_is_taken_over(
        self, executor: Executor, server: Server, cache: Cache
    ) -> None:
        server.there = {"apiVersion": "v1", "kind": "Service", "metadata": metadata("s")}
        outcome = await executor.execute(KEY, "group", [Create(owned("Service", "s"))])
        (remark,) = remarks_of(outcome)
        assert (remark.reason, remark.needs_a_person) == ("ServiceNameTaken", True)
        assert "belongs to nobody: rename one of them" in remark.message

    async def test_is_not_remembered_as_no_watch_would_tell_that_it_is_free_again(
        self, executor: Executor, server: Server, cache: Cache
    ) -> None:
        server.there = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata("p0")}
        outcome = await executor.execute(KEY, "group", pods(1))
        assert [remark.reason for remark in remarks_of(outcome)] == ["PodNameTaken"]
        assert len(cache.store("Pod")) == 0
        assert outcome.requeue_after == 10

    async def test_of_an_earlier_owner_is_free_soon(self, executor: Executor, server: Server) -> None:
        of_the_earlier = owned("Pod", "p0", owner="earlier")
        of_the_earlier["metadata"] = {**metadata("p0"), **of_the_earlier["metadata"]}
        server.there = of_the_earlier
        assert await executor.execute(KEY, "group", pods(1)) == Outcome(has_conflicts=True)

    async def test_makes_a_scheduler_choose_another(
        self, executor: Executor, server: Server, cache: Cache
    ) -> None:
        key = Key("DaskCluster", "default", "c")
        cache.see(cluster_body())
        assert not observed(cache, key).name_is_taken
        server.there = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata("c-scheduler")}
        taken = Create(owned("Pod", "c-scheduler"), may_be_renamed=True)
        assert await executor.execute(key, "cluster", [taken]) == Outcome(has_conflicts=True)
        assert observed(cache, key).name_is_taken


def observed(cache: Cache, key: Key) -> ObservedCluster:
    found = observe(cache, key)
    assert found is not None
    return found


async def test_a_pod_whose_creation_was_given_up_is_asked_for_by_its_name_again(
    executor: Executor, server: Server, cache: Cache
) -> None:
    async def hang(*_: Any) -> Any:
        await asyncio.Event().wait()

    server.create = hang  # type: ignore[method-assign]
    executing = asyncio.create_task(executor.execute(KEY, "group", pods(1)))
    for _ in range(10):
        await asyncio.sleep(0)
    executing.cancel()
    await asyncio.gather(executing, return_exceptions=True)
    assert cache.undecided("group") == ("p0",)
