"""In which pod each worker runs, and what becomes of pods while a worker may be in any of them."""

from __future__ import annotations

from typing import Any

import pytest

from dask_k8s_controller.autoscaler.workforce import workforce
from dask_k8s_controller.cache.objects import Pod
from dask_k8s_controller.plans.actions import Ask, Outcome
from dask_k8s_controller.scheduler.answers import Answer, attribute
from dask_k8s_controller.scheduler.parsing import parse_workers
from dask_k8s_controller.worker_group.observe import ObservedGroup
from dask_k8s_controller.worker_group.status import status
from tests.unit.controller.builders import (
    all_know,
    answer,
    cluster,
    group,
    observed_group,
    worker,
    worker_pod,
)
from tests.unit.controller.test_plan_group import deleted, marked, plan, reasons
from tests.unit.controller.test_scaling_down import pods, shrinking


class TestFindingThePodOfAWorker:
    def found(self, *of: Pod, address: str = "10.0.0.1:1", **more: Any) -> list[str]:
        attribution = attribute(of, [worker(address, **more)])
        assert bool(attribution.unexplained) != bool(attribution.by_pod)
        return list(attribution.by_pod)

    def hosted(self, count: int = 2) -> list[Pod]:
        return [worker_pod(f"w{n}", ip="10.0.0.1", hostNetwork=True) for n in range(1, count + 1)]

    def test_by_its_address_if_its_name_says_nothing(self) -> None:
        assert self.found(*pods(2), name="anything") == ["w1"]

    def test_by_its_address_in_ipv6(self) -> None:
        (known,) = parse_workers({"workers": {"tcp://[fd00:0::1]:4000": {"name": "x"}}})
        assert list(attribute([worker_pod("w1", ip="fd00::1")], [known]).by_pod) == ["w1"]

    def test_by_its_second_address_where_pods_have_two(self) -> None:
        both = {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}
        pod = worker_pod("w1", ip="10.0.0.1", status=both)
        (known,) = parse_workers({"workers": {"tcp://[fd00::1]:4000": {"name": "x"}}})
        assert list(attribute([pod], [known]).by_pod) == ["w1"]

    def test_by_its_name_whatever_its_address(self) -> None:
        assert self.found(*pods(2), name="w2") == ["w2"]

    def test_by_its_name_at_the_address_of_a_second_interface(self) -> None:
        assert self.found(*pods(2), address="192.168.7.7:1", name="w2") == ["w2"]

    def test_by_its_name_where_the_address_is_the_hosts(self) -> None:
        assert self.found(*self.hosted(), name="w2") == ["w2"]

    def test_by_its_numbered_name_where_several_share_a_pod_and_a_host(self) -> None:
        assert self.found(*self.hosted(), name="w2-3") == ["w2"]

    def test_by_its_hosts_address_if_no_other_pod_is_there(self) -> None:
        assert self.found(*self.hosted(1), name="stranger") == ["w1"]

    def test_not_at_all_if_several_pods_have_the_address(self) -> None:
        assert self.found(*self.hosted(), name="stranger") == []

    def test_not_at_all_if_nothing_fits(self) -> None:
        assert self.found(*pods(2), address="10.9.9.9:1", name="stranger") == []

    @pytest.mark.parametrize("state", [{"phase": "Succeeded"}, {"phase": "Failed"}])
    def test_not_in_a_pod_that_has_ended(self, state: dict[str, Any]) -> None:
        assert self.found(worker_pod("w1", ip="10.0.0.1", **state), name="w1") == []

    def test_by_its_name_alone_in_a_pod_that_is_being_deleted(self) -> None:
        leaving = worker_pod("w1", ip="10.0.0.1", going=True)
        assert self.found(leaving, name="w1") == self.found(leaving, name="w1-3") == ["w1"]
        assert self.found(leaving, name="anything") == []

    def test_an_address_that_is_used_again_belongs_to_the_pod_that_lives(self) -> None:
        dead = worker_pod("dead", ip="10.0.0.1", going=True)
        assert self.found(dead, *pods(1), name="anything") == ["w1"]


class TestWorkersThatNoPodExplains:
    stranger = worker("10.9.9.9:1", name="stranger", keys=1, nbytes=8)

    def test_keep_started_pods_that_have_no_worker_to_show(self) -> None:
        waiting = plan(shrinking(1, *pods(3), workers=answer(self.stranger)))
        assert waiting.actions == []
        assert reasons(waiting) == ["WorkersNotRecognized"]
        assert "stranger at tcp://10.9.9.9:1" in waiting.remarks[0].message
        assert "--name $(DASK_WORKER_NAME)" in waiting.remarks[0].message
        assert waiting.requeue_at is not None

    def test_keep_a_marked_pod_without_a_worker_as_well(self) -> None:
        of = [*pods(1), worker_pod("w2", ip="10.0.0.2", retiring=1)]
        waiting = plan(shrinking(1, *of, workers=answer(self.stranger, worker("10.0.0.1:1"))))
        assert waiting.actions == []
        assert reasons(waiting) == ["WorkersNotRecognized"]

    def test_keep_no_pod_whose_containers_wait_to_be_started_again(self) -> None:
        crashing = {
            "containerStatuses": [{"name": "worker", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]
        }
        of = [*pods(2), worker_pod("w3", ip="10.0.0.3", status=crashing)]
        assert deleted(plan(shrinking(2, *of, workers=answer(self.stranger)))) == {"w3"}

    def test_do_not_keep_workers_that_are_recognized(self) -> None:
        known = answer(self.stranger, worker("10.0.0.1:1"))
        assert marked(plan(shrinking(1, *pods(2), workers=known))) == {"w1"}

    def test_are_not_those_of_the_clusters_other_groups(self) -> None:
        other = worker_pod("other", group="c-other", ip="10.9.9.9", owner=("DaskWorkerGroup", "other"))
        known = answer(self.stranger, worker("10.0.0.1:1"))
        shrunk = plan(shrinking(1, *pods(2), workers=known, cluster_pods=(other,)))
        assert deleted(shrunk) == {"w2"}

    def test_are_not_those_that_leave(self) -> None:
        leaving = worker_pod("w3", ip="10.0.0.3", going=True)
        known = answer(worker("10.0.0.3:1", name="w3"), worker("10.0.0.1:1"))
        assert deleted(plan(shrinking(1, *pods(2), leaving, workers=known))) == {"w2"}


class TestWhileAWorkerLeaves:
    """Its pod is being deleted, and the scheduler knows it until it has handed on what it holds."""

    leaving = worker_pod("w3", going=True)

    def test_its_successor_is_ready_when_the_scheduler_knows_it(self) -> None:
        staying, successor = worker_pod("w1"), worker_pod("w2")
        for known, ready in (([staying], 1), ([staying, successor], 2)):
            of = observed_group(
                group(replicas=2), staying, successor, self.leaving, workers=all_know(*known, self.leaving)
            )
            made = plan(of)
            told = status(of, made, Outcome())
            conditions = {one["type"]: one["status"] for one in told["conditions"]}
            assert (told["readyReplicas"], conditions["Ready"]) == (ready, str(ready == 2))
            assert (made.requeue_at is None) == (ready == 2)

    def test_the_scheduler_hears_of_its_successor_again_and_again(self) -> None:
        starting = worker_pod("w1", phase="Pending")
        for told, asks in ((None, True), (Answer(-4.0, True), False), (Answer(-6.0, True), True)):
            made = plan(observed_group(group(replicas=1), starting, self.leaving, expecting=told))
            assert (Ask.TO_EXPECT in made.questions) == asks
            assert asks or made.requeue_at is not None

    @pytest.mark.parametrize(
        "of",
        [
            observed_group(group(replicas=0), leaving),
            observed_group(group(replicas=1), worker_pod("w1")),
            observed_group(group(replicas=1), worker_pod("w3", going=True, retiring=1)),
            observed_group(group(replicas=1), leaving, cluster=cluster(suspend=True)),
            observed_group(group(replicas=1), leaving, scheduler=None),
        ],
    )
    def test_the_scheduler_hears_of_nobody_who_does_not_come(self, of: ObservedGroup) -> None:
        assert Ask.TO_EXPECT not in plan(of).questions

    def test_it_takes_over_nothing(self) -> None:
        holding = worker("10.0.0.1:1", name="w1", keys=1, nbytes=8)
        known = answer(holding, worker("10.0.0.3:1", name="w3"))
        made = plan(
            shrinking(0, *pods(1), self.leaving, workers=known, others_remain=True),
        )
        assert marked(made) == set()
        assert reasons(made) == ["NoWorkerToTakeOver"]

    def test_an_autoscaler_counts_no_room_in_pods_without_a_worker(self) -> None:
        known = all_know(worker_pod("w1"), self.leaving)
        of = [worker_pod("w1"), worker_pod("w2"), self.leaving]
        found = workforce([group()], of, [], None, known)
        assert not found.attribution.may_have_workers(of[1])
        assert found.memory_of(of[1]) == 0
