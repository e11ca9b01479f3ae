"""Carrying plans out: many writes at a time, but no number that a user writes decides how many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from dask_k8s_controller.cluster.kind import CLUSTER
from dask_k8s_controller.cluster.observe import ObservedCluster
from dask_k8s_controller.kubernetes.executor import Executor
from dask_k8s_controller.kubernetes.resources import Resource
from dask_k8s_controller.plans.actions import Action, Apply, Create, JsonPatch, Outcome, Patch
from tests.harness.breaking import await_hit
from tests.harness.by_hand import ControllerByHand, owned_by
from tests.harness.kube import Object
from tests.unit.controller.builders import cluster_body, group_body, pod_spec


@dataclass
class Group:
    """A group for which plans are carried out."""

    controller: ControllerByHand
    body: Object

    @property
    def uid(self) -> str:
        return str(self.body["metadata"]["uid"])

    async def execute(self, *actions: Action) -> Outcome:
        controller = self.controller
        executor = Executor(controller.cache, controller.api, at_once=32)
        return await executor.execute(controller.key("DaskWorkerGroup", "c-default"), self.uid, actions)

    def owned(self, kind: str, name: str, **metadata: Any) -> Object:
        """Return a child of the group."""
        labels = {"dask.org/cluster-name": "c"}
        metadata = {"name": name, "labels": labels, "ownerReferences": owned_by(self.body), **metadata}
        spec = {"ports": [{"port": 80}]} if kind == "Service" else pod_spec("worker")
        return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec}

    def pods(self, count: int) -> list[Create]:
        return [Create(self.owned("Pod", f"p{number}")) for number in range(count)]

    def somebody_makes(self, kind: str, name: str, **metadata: Any) -> Object:
        body = self.owned(kind, name, labels={}, ownerReferences=[])
        body["metadata"] |= metadata
        return self.controller.kube.create(body, self.controller.namespace)

    def pods_asked_for(self) -> int:
        """Return how many pods were asked for by now."""
        is_asked = self.controller.asks("create", "pods")
        return len([request for request in self.controller.kubernetes.faults.log if is_asked(request)])


@pytest.fixture
def group(by_hand: ControllerByHand) -> Group:
    return Group(by_hand, by_hand.create(group_body(owner="")))


async def test_all_that_is_planned_is_done(group: Group) -> None:
    assert await group.execute(*group.pods(20)) == Outcome()
    assert len(group.controller.kube.list("pods", group.controller.namespace)) == 20


@pytest.mark.parametrize("code", [403, 429])
async def test_after_a_batch_with_a_failure_no_more_pods_are_asked_for(group: Group, code: int) -> None:
    controller = group.controller
    controller.kubernetes.faults.fail(code, when=controller.asks("create", "pods"), nth=2)
    outcome = await group.execute(*group.pods(500))
    assert group.pods_asked_for() == 3
    [failure] = outcome.failures
    assert failure.message.startswith(("Pod p1: ", "Pod p2: "))


async def test_what_fails_beside_them_does_not_hold_pods_up(group: Group) -> None:
    service = group.somebody_makes("Service", "s")
    controller = group.controller
    controller.kubernetes.faults.fail(403, "no Services here", when=controller.asks("patch", "services"))
    apply = Apply(group.owned("Service", "s"), service["metadata"]["uid"])
    outcome = await group.execute(apply, *group.pods(20))
    assert group.pods_asked_for() == 20
    assert [failure.message.partition(":")[0] for failure in outcome.failures] == ["Service s"]


async def test_an_unexpected_error_of_one_write_is_told_when_all_others_are_done(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = group.controller.api.create

    async def one_is_broken(resource: Resource, namespace: str, body: Object) -> Object:
        if body["metadata"]["name"] == "p7":
            raise RuntimeError("nobody thought of this")
        return await create(resource, namespace, body)

    monkeypatch.setattr(group.controller.api, "create", one_is_broken)
    (failure,) = (await group.execute(*group.pods(20))).failures
    assert "nobody thought of this" in failure.message
    assert not failure.needs_a_person
    assert group.controller.cache.undecided(group.uid) == ("p7",)
    made = len(group.controller.kube.list("pods", group.controller.namespace))
    assert made == group.pods_asked_for() == 14


@pytest.mark.parametrize("action", [Patch, JsonPatch])
async def test_an_object_that_is_another_one_by_now_is_not_patched(
    group: Group, action: Callable[..., Action]
) -> None:
    group.somebody_makes("Service", "s")
    patch = {"metadata": {"labels": {"a": "b"}}} if action is Patch else ()
    assert await group.execute(action("Service", "s", "another", patch)) == Outcome(has_conflicts=True)


class TestANameThatSomebodyElseHas:
    async def test_is_told_and_nothing_is_taken_over(self, group: Group) -> None:
        group.somebody_makes("Service", "s")
        outcome = await group.execute(Create(group.owned("Service", "s")))
        (remark,) = outcome.remarks
        assert (remark.reason, remark.needs_a_person) == ("ServiceNameTaken", True)
        assert "belongs to nobody: rename one of them" in remark.message

    async def test_is_not_remembered_as_no_watch_would_tell_that_it_is_free_again(self, group: Group) -> None:
        group.somebody_makes("Pod", "p0")
        outcome = await group.execute(*group.pods(1))
        assert [remark.reason for remark in outcome.remarks] == ["PodNameTaken"]
        assert len(group.controller.cache.store("Pod")) == 0
        assert outcome.requeue_after == 10

    async def test_of_an_earlier_owner_is_free_soon(self, group: Group) -> None:
        earlier = {**owned_by(group.body)[0], "uid": "earlier"}
        going = ["tests.example.com/not-yet"]
        group.somebody_makes("Pod", "p0", ownerReferences=[earlier], finalizers=going)
        assert await group.execute(*group.pods(1)) == Outcome(has_conflicts=True)

    async def test_makes_a_scheduler_choose_another(self, by_hand: ControllerByHand, group: Group) -> None:
        cluster = by_hand.create(cluster_body())
        await by_hand.look()
        assert not observed(by_hand).name_is_taken
        group.somebody_makes("Pod", "c-scheduler")
        taken = Create(group.owned("Pod", "c-scheduler"), may_be_renamed=True)
        executor = Executor(by_hand.cache, by_hand.api, at_once=1)
        key = by_hand.key("DaskCluster", "c")
        outcome = await executor.execute(key, cluster["metadata"]["uid"], [taken])
        assert outcome == Outcome(has_conflicts=True)
        assert observed(by_hand).name_is_taken


def observed(by_hand: ControllerByHand) -> ObservedCluster:
    found = CLUSTER.observe(by_hand.cache, by_hand.key("DaskCluster", "c"))
    assert found is not None
    return found


async def test_a_pod_whose_creation_was_given_up_is_asked_for_by_its_name_again(group: Group) -> None:
    controller = group.controller
    fault = controller.kubernetes.faults.hang(when=controller.asks("create", "pods"))
    executing = asyncio.create_task(group.execute(*group.pods(1)))
    await asyncio.to_thread(await_hit, fault)
    executing.cancel()
    await asyncio.gather(executing, return_exceptions=True)
    assert controller.cache.undecided(group.uid) == ("p0",)
