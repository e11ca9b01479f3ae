"""Tasks go to the cheapest group that can run them: each case is groups and what tasks need."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from dask_k8s_controller.autoscaler.needs import Assignment, Offer, assignment, unsatisfiable
from dask_k8s_controller.autoscaler.observe import ObservedAutoscaler, observe
from dask_k8s_controller.autoscaler.status import status
from dask_k8s_controller.cache.cache import Cache
from dask_k8s_controller.kubernetes.resources import Key
from dask_k8s_controller.operator import KINDS
from dask_k8s_controller.plans.actions import Ask, Outcome
from dask_k8s_controller.scheduler.answers import Answer, Demand, Need
from dask_k8s_controller.worker_group.spec import WorkerGroup
from tests.harness.clocks import ManualClock
from tests.unit.controller.autoscaling.builders import (
    autoscaler,
    autoscaler_body,
    demand,
    members,
    observed,
    plan,
    scaled_to,
)
from tests.unit.controller.builders import cluster_body, group_body, pod_body

CPU = Offer("cpu")
GPU = Offer("gpu", {"GPU": 2})
BIG = Offer("big", {"MEMORY": 64e9})
GROUPS = [CPU, GPU, BIG]


def need(count: int, *, is_pinned: bool = False, **resources: float) -> Need:
    return Need(resources, is_pinned, waiting=count, slots=count)


class TestAssignment:
    def test_a_group_has_the_tasks_that_only_it_can_run(self) -> None:
        gpus = need(5, GPU=1)
        asked = Demand(7, (gpus,))
        assert assignment(asked, "gpu", GROUPS) == Assignment(3, (gpus,), takes_the_rest=False)
        assert assignment(asked, "big", GROUPS) == Assignment(0, (), takes_the_rest=False)
        assert assignment(asked, "cpu", GROUPS) == Assignment(0, (), takes_the_rest=True)

    def test_of_two_groups_that_can_the_cheaper_does(self) -> None:
        both = Offer("both", {"GPU": 1, "MEMORY": 64e9})
        asked = Demand(0, (need(1, GPU=1),))
        assert assignment(asked, "both", [*GROUPS, both]).workers == 0
        preferred = replace(both, priority=-1)
        assert assignment(asked, "both", [*GROUPS, preferred]).workers == 1
        assert assignment(asked, "gpu", [*GROUPS, preferred]).workers == 0

    def test_a_group_that_cannot_grow_gets_nothing(self) -> None:
        fixed = replace(GPU, can_grow=False)
        dear = Offer("dear", {"GPU": 1, "X": 1})
        assert assignment(Demand(0, (need(1, GPU=1),)), "dear", [CPU, fixed, dear]).workers == 1

    def test_the_only_group_takes_what_any_worker_can_do(self) -> None:
        assert assignment(Demand(3, ()), "gpu", [GPU]).takes_the_rest

    @pytest.mark.parametrize(
        "resources", [{"GPU": 3}, {"TPU": 1}, {"GPU": 1, "MEMORY": 1}, {"GPU": float("inf")}]
    )
    def test_what_no_group_offers_is_told(self, resources: dict[str, float]) -> None:
        impossible = need(2, **resources)
        assert unsatisfiable(Demand(0, (impossible, need(1, GPU=1))), GROUPS) == [impossible]

    def test_tasks_for_a_particular_worker_start_none(self) -> None:
        pinned = need(2, is_pinned=True)
        assert unsatisfiable(Demand(0, (pinned,)), GROUPS) == [pinned]
        assert all(not assignment(Demand(0, (pinned,)), offer.group, GROUPS).workers for offer in GROUPS)

    def test_what_runs_is_not_told_as_impossible(self) -> None:
        assert unsatisfiable(Demand(0, (Need({"TPU": 1}, running=1, slots=1),)), GROUPS) == []


def mixed(group: str, *needs: Need, workers: int = 0, **replicas: int) -> ObservedAutoscaler:
    """A cluster of a CPU group and a GPU group, each with its autoscaler, seen by one of them."""
    groups = {}
    for name, resources in (("c-default", None), ("c-gpu", {"GPU": 1})):
        found, _ = members(replicas.get(name.partition("-")[2], 0), name=name)
        body: dict[str, Any] = group_body(name, uid=name, replicas=found.group.replicas)
        if resources:
            body["spec"]["worker"]["resources"] = resources
        groups[name] = replace(found, group=WorkerGroup.of(body))
    scalers = {name: autoscaler(name, uid=f"of-{name}", workerGroup=name) for name in groups}
    others = [name for name in groups if name != group]
    return observed(
        scalers[group],
        target=groups[group],
        others=tuple(groups[name] for name in others),
        siblings=tuple(scalers[name] for name in others),
        demand=demand(workers, *needs),
        workers=None,
    )


class TestScaling:
    def test_a_gpu_group_at_zero_starts_for_tasks_that_need_it(self) -> None:
        assert scaled_to(plan(mixed("c-gpu", need(2, GPU=1)))) == 2

    def test_and_the_others_do_not(self) -> None:
        assert scaled_to(plan(mixed("c-default", need(2, GPU=1)))) is None

    def test_tasks_that_any_worker_can_run_leave_it_at_zero(self) -> None:
        assert scaled_to(plan(mixed("c-gpu", workers=9))) is None
        assert scaled_to(plan(mixed("c-default", workers=9))) == 9

    def test_gpu_workers_are_not_counted_on_for_other_tasks(self) -> None:
        assert scaled_to(plan(mixed("c-default", need(2, GPU=1), workers=3, gpu=2))) == 3

    def test_where_the_scheduler_tells_no_needs_all_is_as_if_there_were_none(self) -> None:
        silent = mixed("c-gpu")
        assert silent.demand is not None
        asked = replace(silent, demand=replace(silent.demand, value=Demand(4)))
        assert scaled_to(plan(asked)) == 4

    def test_the_status_tells_which_needs(self) -> None:
        seen = mixed("c-gpu", need(2, GPU=1), need(1, TPU=1))
        found = {item["type"]: item for item in status(seen, plan(seen), Outcome())["conditions"]}
        assert "2 tasks that need GPU=1" in found["AbleToScale"]["message"]
        assert found["Unsatisfiable"]["status"] == "True"
        assert found["Unsatisfiable"]["message"] == "No group of the cluster can run 1 task that needs TPU=1."


def test_groups_at_zero_are_seen_by_each_others_autoscalers() -> None:
    """Of two that can run a task one starts, and the third doesn't say that nobody can run it."""
    asked = Answer(0, Demand(0, (need(1, MEMORY=32e9),)))
    answers = SimpleNamespace(last=lambda question, _: asked if question is Ask.DEMAND else None)
    cache = Cache({kind.resource.kind: kind.parse for kind in KINDS}, ManualClock(), answers)  # type: ignore[arg-type]
    cache.see(cluster_body())
    cache.see(pod_body("c-scheduler", component="scheduler"))
    offered = {"c-default": None, "c-big": {"MEMORY": 64e9}, "c-gpu": {"GPU": 1, "MEMORY": 64e9}}
    for name, resources in offered.items():
        cache.see(group_body(name, name, replicas=0, resources=resources))
        cache.see(autoscaler_body(name, workerGroup=name, priority=10 * (name == "c-gpu")))

    plans = {name: plan(observe(cache, Key("DaskAutoscaler", "default", name))) for name in offered}

    assert {name: scaled_to(planned) for name, planned in plans.items()} == {
        "c-default": None,
        "c-big": 1,
        "c-gpu": None,
    }
    assert [planned.decision.unsatisfiable for planned in plans.values()] == [(), (), ()]
