"""Tasks go to the cheapest group that can run them: each case is groups and what tasks need."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from dask_k8s_controller.autoscaler.kind import AUTOSCALER
from dask_k8s_controller.autoscaler.needs import Group, shares, unsatisfiable
from dask_k8s_controller.autoscaler.observe import ObservedAutoscaler
from dask_k8s_controller.autoscaler.status import status
from dask_k8s_controller.autoscaler.workforce import GroupOfWorkers
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
    heard,
    members,
    observed,
    plan,
    scaled_to,
)
from tests.unit.controller.builders import answer, cluster_body, group_body, pod_body, pod_spec, worker

CPU = Group("cpu")
GPU = Group("gpu", {"GPU": 2})
BIG = Group("big", {"MEMORY": 64e9})
GROUPS = [CPU, GPU, BIG]


def need(count: int, *, is_pinned: bool = False, **resources: float) -> Need:
    return Need(resources, is_pinned, waiting=count, slots=count)


def own(demanded: Demand, *groups: Group) -> dict[str, int]:
    """Workers that each group should have for the tasks that it is the cheapest to run; without zeros."""
    return {name: share.own for name, share in shares(demanded, groups).items() if share.own}


def grows_to(demanded: Demand, *groups: Group) -> dict[str, int]:
    return {name: share.grow_to for name, share in shares(demanded, groups).items() if share.grow_to}


def shrinks_to(demanded: Demand, *groups: Group) -> dict[str, int]:
    return {name: share.shrink_to for name, share in shares(demanded, groups).items()}


class TestNeeds:
    def test_a_group_has_the_tasks_that_only_it_can_run(self) -> None:
        gpus = need(5, GPU=1)
        found = shares(Demand(7, (gpus,)), GROUPS)
        assert {name: (share.own, share.needs) for name, share in found.items()} == {
            "gpu": (3, (gpus,)),
            "big": (0, ()),
            "cpu": (0, ()),
        }
        assert {name for name, share in found.items() if share.takes_the_rest} == {"cpu"}
        assert (found["cpu"].grow_to, found["gpu"].grow_to, found["big"].grow_to) == (7, 3, 0)

    def test_of_two_groups_that_can_the_cheaper_does(self) -> None:
        both = Group("both", {"GPU": 1, "MEMORY": 64e9})
        asked = Demand(0, (need(1, GPU=1),))
        assert own(asked, *GROUPS, both) == {"gpu": 1}
        assert own(asked, *GROUPS, replace(both, priority=-1)) == {"both": 1}

    def test_what_is_beyond_a_groups_maximum_the_next_gets(self) -> None:
        asked = Demand(0, (need(10, GPU=1),))
        few, more = replace(GPU, maximum=2), Group("reserve", {"GPU": 1}, priority=9, maximum=5)
        assert own(asked, CPU, few, more) == {"gpu": 2 + 1, "reserve": 5}  # One is beyond all limits.
        assert own(asked, CPU, few) == {"gpu": 5}

    def test_a_group_without_autoscaler_has_what_it_has(self) -> None:
        fixed = replace(GPU, is_scaled=False, replicas=1)
        dear = Group("reserve", {"GPU": 1, "X": 1})
        assert own(Demand(0, (need(5, GPU=1),)), CPU, fixed, dear) == {"gpu": 1, "reserve": 3}
        assert own(Demand(0, (need(5, GPU=1),)), CPU, replace(fixed, replicas=0), dear) == {"reserve": 5}

    def test_needs_share_workers(self) -> None:
        big = Group("big", {"MEMORY": 64})
        asked = Demand(0, tuple(need(1, MEMORY=amount) for amount in (8, 12, 16)))
        assert own(asked, big) == {"big": 1}

    def test_a_worker_runs_as_many_as_it_has_threads(self) -> None:
        roomy = Group("roomy", {"MEMORY": 32e9})
        asked = Demand(0, (need(32, MEMORY=1e9),))
        assert own(asked, roomy) == {"roomy": 1}
        assert own(asked, replace(roomy, threads=2)) == {"roomy": 16}
        assert own(Demand(0, (need(2, MEMORY=16e9),)), replace(roomy, threads=8)) == {"roomy": 1}

    def test_who_asks_for_none_of_a_resource_needs_a_worker_that_knows_it(self) -> None:
        """As Dask has it."""
        none = need(3, GPU=0)
        assert own(Demand(0, (none,)), *GROUPS) == {"gpu": 3}
        assert own(Demand(0, (none,)), replace(CPU, resources={"GPU": 0}), GPU) == {"cpu": 3}
        assert unsatisfiable(Demand(0, (none,)), [CPU, BIG]) == (none,)

    def test_threads_are_those_of_the_workers_and_before_there_is_one_those_of_the_spec(self) -> None:
        spec = pod_spec("worker", "dask", "worker", "--nthreads", "2")
        body = group_body("c-big", uid="c-big", spec=spec, resources={"MEMORY": 32}, replicas=0)
        group, scaler = WorkerGroup.of(body), autoscaler(workerGroup="c-big")
        asked = demand(0, need(32, MEMORY=1))
        assert scaled_to(plan(observed(scaler, target=GroupOfWorkers(group), demand=asked))) == 16
        there, _ = members(1, name="c-big")
        one = answer(worker(f"{there.pods[0].ip}:1", resources={"MEMORY": 32}, threads=4))
        assert scaled_to(plan(observed(scaler, target=there, workers=one, demand=asked))) == 8

    @pytest.mark.parametrize(
        "resources", [{"GPU": 3}, {"TPU": 1}, {"GPU": 1, "MEMORY": 1}, {"GPU": float("inf")}]
    )
    def test_what_no_group_offers_is_told(self, resources: dict[str, float]) -> None:
        impossible = need(2, **resources)
        assert unsatisfiable(Demand(0, (impossible, need(1, GPU=1))), GROUPS) == (impossible,)

    def test_tasks_for_a_particular_worker_start_none(self) -> None:
        pinned = need(2, is_pinned=True)
        assert unsatisfiable(Demand(0, (pinned,)), GROUPS) == (pinned,)
        assert own(Demand(0, (pinned,)), *GROUPS) == {}

    def test_what_runs_is_not_told_as_impossible(self) -> None:
        assert unsatisfiable(Demand(0, (Need({"TPU": 1}, running=1, slots=1),)), GROUPS) == ()


class TestTheRest:
    """Tasks that any worker can run."""

    def test_the_only_group_takes_it(self) -> None:
        assert grows_to(Demand(3, ()), GPU) == {"gpu": 3}

    def test_of_equal_groups_the_first_with_room_grows(self) -> None:
        first, second = Group("a", maximum=4), Group("b", replicas=2, ready=2)
        assert grows_to(Demand(9, ()), first, second) == {"a": 7, "b": 5}  # Beyond its maximum, a tells so.
        assert grows_to(Demand(9, ()), replace(first, stuck=1, replicas=1), second) == {"a": 7, "b": 9}

    def test_a_dearer_group_gets_what_the_cheaper_one_cannot_have(self) -> None:
        spot, reserve = Group("spot", maximum=4), Group("reserve", priority=9)
        assert grows_to(Demand(9, ()), spot, reserve) == {"spot": 9, "reserve": 5}
        assert grows_to(Demand(3, ()), spot, reserve) == {"spot": 3}
        found = shares(Demand(3, ()), [spot, replace(reserve, replicas=3, ready=3)])
        assert found["reserve"].shrink_to == 3  # Until the cheaper ones are there.

    def test_of_equal_groups_the_last_goes_and_not_each_because_of_the_other(self) -> None:
        first, second = (Group(name, replicas=4, ready=4) for name in "ab")
        for needs in ((), None):  # A scheduler without the route tells no needs.
            assert shrinks_to(Demand(4, needs), first, second) == {"a": 4, "b": 0}
            assert shrinks_to(Demand(6, needs), first, second) == {"a": 4, "b": 2}
            assert shrinks_to(Demand(1, needs), first, second) == {"a": 1, "b": 0}
            assert shrinks_to(Demand(4, needs), first, replace(second, minimum=3)) == {"a": 1, "b": 0}
            assert shrinks_to(Demand(4, needs), first, replace(second, is_scaled=False)) == {"a": 0, "b": 0}

    def test_gpus_stay_at_zero_even_beyond_the_maximum(self) -> None:
        assert grows_to(Demand(9, ()), replace(CPU, maximum=4), GPU) == {"cpu": 9}

    @pytest.mark.parametrize(
        ("cheap", "dear"),
        [
            (Group("z-cpu", {"CPU": 4}), Group("a-gpu", {"GPU": 1})),
            (Group("cpu", {"CPU": 4, "DISK": 1}), Group("gpu", {"gpu": 1})),
            (Group("cpu", {"GPU": 0}), Group("gpu", {"GPU": 1})),
            (Group("cpu"), Group("a-gpu", has_devices=True)),
            (Group("cpu", {"CPU": 4}), Group("a-gpu", {"nvidia.com/gpu": 1})),
        ],
    )
    def test_gpus_are_dearer_than_anything_else_whatever_groups_are_called(
        self, cheap: Group, dear: Group
    ) -> None:
        assert grows_to(Demand(5, ()), replace(cheap, maximum=2), dear) == {cheap.name: 5}
        assert grows_to(Demand(5, ()), cheap, replace(dear, priority=-1)) == {dear.name: 5}

    def test_gpus_of_containers_are_gpus_whatever_workers_offer(self) -> None:
        spec = pod_spec("worker")
        spec["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": 1}}
        target = GroupOfWorkers(WorkerGroup.of(group_body("a-gpu", spec=spec, resources={}, replicas=0)))
        gpus, default = autoscaler(workerGroup="a-gpu"), autoscaler("default", "other")
        seen = observed(gpus, target=target, others=(members(0)[0],), siblings=(default,))
        assert scaled_to(plan(seen)) is None

    def test_a_minimum_of_gpus_helps(self) -> None:
        gpu = replace(GPU, minimum=2, replicas=2, ready=2)
        assert shares(Demand(5, ()), [CPU, gpu])["cpu"].grow_to == 3
        assert shares(Demand(5, (need(4, GPU=1),)), [CPU, gpu])["cpu"].grow_to == 5

    def test_a_worker_comes_to_take_over_what_gpus_hold(self) -> None:
        holding = Demand(1, (), load=0)
        assert grows_to(holding, CPU, replace(GPU, replicas=1, ready=1)) == {"cpu": 1}
        assert grows_to(holding, CPU, replace(GPU, minimum=1, replicas=1, ready=1)) == {}
        assert grows_to(holding, replace(CPU, replicas=1, ready=1)) == {}


def with_workers(seen: ObservedAutoscaler, **more: Any) -> ObservedAutoscaler:
    """The scheduler knows the workers of all pods, and can drain them."""
    known = (
        worker(f"{pod.ip}:1", name=pod.name, can_drain=True, resources=member.group.resources, **more)
        for member in seen.workforce.members.values()
        for pod in member.pods
    )
    return heard(seen, workers=answer(*known))


def mixed(
    group: str, *needs: Need, workers: int = 0, behavior: Any = None, **replicas: int
) -> ObservedAutoscaler:
    """A cluster of a CPU group and a GPU group, each with its autoscaler, seen by one of them."""
    groups = {}
    for name, resources in (("c-default", None), ("c-gpu", {"GPU": 1})):
        found, _ = members(replicas.get(name.partition("-")[2], 0), name=name)
        body: dict[str, Any] = group_body(name, uid=name, replicas=found.group.replicas)
        if resources:
            body["spec"]["worker"]["resources"] = resources
        groups[name] = replace(found, group=WorkerGroup.of(body))
    scalers = {
        name: autoscaler(name, uid=f"of-{name}", workerGroup=name, behavior=behavior) for name in groups
    }
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
        assert silent.workforce.demand is not None
        asked = heard(silent, demand=replace(silent.workforce.demand, value=Demand(4)))
        assert scaled_to(plan(asked)) == 4

    def test_gpus_that_nothing_needs_go_at_once_but_by_steps_if_somebody_says_so(self) -> None:
        for behavior, left in (None, 0), ({"scaleDown": {"maxPercent": 25}}, 3):
            seen = with_workers(mixed("c-gpu", gpu=4, behavior=behavior))
            assert scaled_to(plan(seen)) == left

    def test_gpus_go_though_they_run_what_others_can_but_not_if_they_run_their_own(self) -> None:
        at_work = with_workers(mixed("c-gpu", workers=2, gpu=2), executing=1)
        assert scaled_to(plan(at_work)) == 0
        own = with_workers(mixed("c-gpu", Need({"GPU": 1}, running=1, slots=1), gpu=2), executing=1)
        assert scaled_to(plan(own)) == 1
        bound = Need({}, is_pinned=True, running=2, slots=1)
        pinned = with_workers(mixed("c-gpu", bound, gpu=2), executing=1)
        assert scaled_to(plan(pinned)) is None

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
    cache = Cache({kind.resource.kind: kind.object_type.of for kind in KINDS}, ManualClock(), answers)  # type: ignore[arg-type]
    cache.see(cluster_body())
    cache.see(pod_body("c-scheduler", component="scheduler"))
    offered = {"c-default": None, "c-big": {"MEMORY": 64e9}, "c-gpu": {"GPU": 1, "MEMORY": 64e9}}
    for name, resources in offered.items():
        cache.see(group_body(name, name, replicas=0, resources=resources))
        cache.see(autoscaler_body(name, workerGroup=name, priority=10 * (name == "c-gpu")))

    plans = {
        name: plan(AUTOSCALER.observe(cache, Key("DaskAutoscaler", "default", name))) for name in offered
    }

    assert {name: scaled_to(planned) for name, planned in plans.items()} == {
        "c-default": None,
        "c-big": 1,
        "c-gpu": None,
    }
    assert [planned.observed.workforce.unsatisfiable for planned in plans.values()] == [(), (), ()]
