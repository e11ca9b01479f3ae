"""One question for all autoscalers of a cluster, and a reconcile only for those whose share has changed."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from dask_k8s_controller.autoscaler.kind import AUTOSCALER
from dask_k8s_controller.kubernetes.resources import Key
from dask_k8s_controller.operator import Operator
from dask_k8s_controller.plans.actions import Outcome, SetScale
from dask_k8s_controller.runtime.queue import Requeue
from dask_k8s_controller.scheduler.answers import Demand, Need
from dask_k8s_controller.scheduler.client import SchedulerClient
from dask_k8s_controller.settings import Settings
from tests.harness.clocks import ManualClock
from tests.unit.controller.autoscaling.builders import autoscaler_body
from tests.unit.controller.builders import cluster_body, group_body, pod_body


class OneScheduler(SchedulerClient):
    """Wants workers of some groups, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.wanted: dict[int, int] = {}

    async def demand(self, _: Any) -> Demand:
        self.asked["demand"] += 1
        needs = [Need({f"R{number}": 1}, waiting=count, slots=count) for number, count in self.wanted.items()]
        return Demand(0, tuple(needs), 0)

    async def workers(self, _: Any) -> tuple[Any, ...]:
        self.asked["workers"] += 1
        return ()

    def forget(self, uid: str) -> None:
        """Nothing is remembered."""

    async def close(self) -> None:
        """Nothing is open."""


class Cluster(Operator):
    """A controller with a cluster of many groups, each with an autoscaler; writes go to its own cache."""

    def __init__(self, groups: int) -> None:
        self.time = ManualClock()
        self.scheduler = OneScheduler()
        super().__init__(Settings(), clock=self.time, schedulers=self.scheduler)
        self.reconciled: Counter[str] = Counter()
        self.versions = iter(range(10_000, 1_000_000))
        self.bodies: dict[tuple[str, str], dict[str, Any]] = {}
        self._write(cluster_body())
        self._write(pod_body("c-scheduler", component="scheduler"))
        for number in range(groups):
            name = f"c-{number:03}"
            self._write(group_body(name, name, replicas=0, resources={f"R{number}": 1}))
            self._write(autoscaler_body(name, f"of-{name}", workerGroup=name))
        self.queue.start()

    def _write(self, body: dict[str, Any], by: Key | None = None) -> None:
        body = {**body, "metadata": {**body["metadata"], "resourceVersion": str(next(self.versions))}}
        self.bodies[body["kind"], body["metadata"]["name"]] = body
        self.cache.see(body, by=by)

    async def _reconcile(self, key: Key) -> Requeue:
        if key.kind != AUTOSCALER.resource.kind:
            return Requeue.on_change()
        self.reconciled[key.name] += 1
        observed = AUTOSCALER.observe(self.cache, key)
        if observed is None:
            return Requeue.on_change()
        plan = AUTOSCALER.plan(observed, self.settings.policy)
        for action in plan.actions:
            if isinstance(action, SetScale):
                group = self.bodies["DaskWorkerGroup", action.name]
                worker = {**group["spec"]["worker"], "replicas": action.replicas}
                changed = {**group, "spec": {**group["spec"], "worker": worker}}
                generation = group["metadata"].get("generation", 1) + 1
                changed["metadata"] = {**group["metadata"], "generation": generation}
                self._write(changed, by=key)
        assert observed.endpoint is not None
        for question in plan.questions:
            self.conversations.ask(question, observed.endpoint, key, observed.subject.meta.uid)
        after = AUTOSCALER.observe(self.cache, key)
        assert after is not None
        status = AUTOSCALER.status(after, plan, Outcome())
        if status != after.subject.status:
            self._write({**self.bodies["DaskAutoscaler", key.name], "status": status}, by=key)
        wait = None if plan.requeue_at is None else (plan.requeue_at - observed.now).total_seconds()
        return Requeue(after=wait)

    async def let_pass(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.25)):
            for _ in range(8):
                await asyncio.sleep(0)
            self.time.advance(0.25)

    def replicas(self, number: int) -> int:
        return int(self.bodies["DaskWorkerGroup", f"c-{number:03}"]["spec"]["worker"]["replicas"])


async def half_a_minute_of_work(groups: int) -> tuple[int, int]:
    """Return how many questions and reconciles it takes that every tenth group comes."""
    cluster = Cluster(groups)
    cluster.scheduler.wanted = dict.fromkeys(range(0, groups, 10), 2)
    await cluster.let_pass(30)
    assert [cluster.replicas(number) for number in range(groups)] == [
        2 * (number % 10 == 0) for number in range(groups)
    ]
    await cluster.conversations.stop()
    return cluster.scheduler.asked.total(), cluster.reconciled.total()


async def test_twice_as_many_groups_cost_at_most_twice_as_much() -> None:
    (few_asked, few_reconciled), (asked, reconciled) = [
        await half_a_minute_of_work(count) for count in (40, 80)
    ]
    print(f"{few_asked} and {asked} questions, {few_reconciled} and {reconciled} reconciles")
    assert asked <= 2.2 * few_asked
    assert reconciled <= 2.2 * few_reconciled


async def test_while_nothing_changes_one_autoscaler_asks_for_all() -> None:
    cluster = Cluster(50)
    cluster.scheduler.wanted = {7: 1}
    await cluster.let_pass(60)
    cluster.scheduler.asked.clear()
    cluster.reconciled.clear()
    await cluster.let_pass(60)
    assert cluster.scheduler.asked["demand"] <= 13
    assert set(cluster.reconciled) == {"c-000"}
    await cluster.conversations.stop()


async def test_only_autoscalers_whose_share_has_changed_are_reconciled() -> None:
    cluster = Cluster(50)
    await cluster.let_pass(60)
    cluster.reconciled.clear()
    cluster.scheduler.wanted = {7: 3}
    await cluster.let_pass(20)
    assert cluster.replicas(7) == 3
    assert set(cluster.reconciled) == {"c-000", "c-007"}
    await cluster.conversations.stop()


async def test_tasks_that_no_group_can_run_are_told_by_all() -> None:
    cluster = Cluster(3)
    cluster.scheduler.wanted = {99: 4}
    await cluster.let_pass(20)
    for number in range(3):
        conditions = cluster.bodies["DaskAutoscaler", f"c-{number:03}"]["status"]["conditions"]
        (told,) = [item["message"] for item in conditions if item["type"] == "Unsatisfiable"]
        assert told == "No group of the cluster can run 4 tasks that need R99=1."
    await cluster.conversations.stop()


async def test_another_asks_for_all_when_the_first_autoscaler_goes() -> None:
    cluster = Cluster(3)
    await cluster.let_pass(20)
    cluster.cache.store("DaskAutoscaler").forget("of-c-000")
    cluster.reconciled.clear()
    await cluster.let_pass(20)
    assert set(cluster.reconciled) == {"c-000", "c-001"}  # The first of them is gone.
    assert cluster.scheduler.asked["demand"] >= 7
    await cluster.conversations.stop()
