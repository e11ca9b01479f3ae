"""Workers go in order, with their results moved first: plans, without any API server or scheduler."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dask_k8s_controller.cache.objects import Pod
from dask_k8s_controller.kubernetes.resources import Key
from dask_k8s_controller.plans.actions import Ask, Delete, Resume, Retire
from dask_k8s_controller.scheduler.answers import Answer, Problem, Retirement, holds_nothing
from dask_k8s_controller.scheduler.parsing import parse_workers
from dask_k8s_controller.settings import Policy
from dask_k8s_controller.worker_group.kind import WORKER_GROUP
from dask_k8s_controller.worker_group.observe import ObservedGroup
from dask_k8s_models import labels
from tests.unit.controller.builders import (
    NOW,
    answer,
    cluster_body,
    group,
    group_body,
    observed_group,
    scheduler_pod,
    time,
    worker,
    worker_pod,
)
from tests.unit.controller.test_cost import cache_with
from tests.unit.controller.test_plan_group import created, deleted, marked, plan, reasons


def pods(count: int, **more: Any) -> list[Pod]:
    return [worker_pod(f"w{n}", ip=f"10.0.0.{n}", age=600 + n, **more) for n in range(1, count + 1)]


def shrinking(to: int, *of: Pod, **more: Any) -> ObservedGroup:
    return observed_group(group(replicas=to), *of, **more)


def unmarked(observed: ObservedGroup) -> set[str]:
    return {
        action.name
        for action in plan(observed).actions
        if getattr(action, "patch", None) == {"metadata": {"annotations": {labels.RETIRING: None}}}
    }


class TestChoosing:
    def test_pods_that_have_not_started_go_first_and_at_once(self) -> None:
        observed = shrinking(2, *pods(2), worker_pod("new", phase="Pending"))
        assert deleted(plan(observed)) == {"new"}
        assert plan(observed).questions == []

    def test_of_more_that_are_too_many_workers_go_as_well(self) -> None:
        known = answer(worker("10.0.0.1:1"), worker("10.0.0.2:1"))
        observed = shrinking(1, *pods(2), worker_pod("new", phase="Pending"), workers=known)
        assert deleted(plan(observed)) == {"new"}
        assert marked(plan(observed)) == {"w1"}

    def test_the_scheduler_is_asked_before_a_started_pod_goes(self) -> None:
        assert plan(shrinking(1, *pods(2))).questions == [Ask.WORKERS]
        assert plan(shrinking(1, *pods(2))).actions == []

    def test_pods_that_are_no_workers_of_the_scheduler_go_before_workers(self) -> None:
        observed = shrinking(1, *pods(2), workers=answer(worker("10.0.0.2:1")))
        assert deleted(plan(observed)) == {"w1"}
        assert marked(plan(observed)) == set()

    def test_idle_workers_go_before_busy_ones_whatever_they_hold(self) -> None:
        known = answer(worker("10.0.0.1:1", executing=1), worker("10.0.0.2:1", nbytes=10**9))
        assert marked(plan(shrinking(1, *pods(2), workers=known))) == {"w2"}

    def test_of_idle_workers_those_that_hold_least_go_first(self) -> None:
        known = answer(*(worker(f"10.0.0.{n}:1", nbytes=100 - n) for n in (1, 2, 3)))
        assert marked(plan(shrinking(1, *pods(3), workers=known))) == {"w2", "w3"}

    def test_a_pod_is_as_busy_as_the_busiest_of_its_workers(self) -> None:
        two = (worker("10.0.0.1:1"), worker("10.0.0.1:2", executing=1))
        known = answer(*two, worker("10.0.0.2:1", nbytes=10**9))
        assert marked(plan(shrinking(1, *pods(2), workers=known))) == {"w2"}

    def test_of_those_with_as_many_bytes_those_with_fewer_results_go_first(self) -> None:
        known = answer(worker("10.0.0.1:1", nbytes=8, keys=2), worker("10.0.0.2:1", nbytes=8, keys=1))
        assert marked(plan(shrinking(1, *pods(2), workers=known))) == {"w2"}

    def test_of_equal_workers_the_youngest_goes_first(self) -> None:
        ages = {"w1": 600, "w2": 60, "w3": 6000}
        of = [worker_pod(name, ip=f"10.0.0.{name[1]}", age=age) for name, age in ages.items()]
        known = answer(*(worker(f"10.0.0.{n}:1") for n in (1, 2, 3)))
        assert marked(plan(shrinking(2, *of, workers=known))) == {"w2"}

    def test_of_equal_workers_an_outdated_one_goes_before_any_younger(self) -> None:
        outdated = worker_pod("w3", ip="10.0.0.3", age=6000, template="old")
        known = answer(*(worker(f"10.0.0.{n}:1") for n in (1, 2, 3)))
        assert marked(plan(shrinking(2, *pods(2), outdated, workers=known))) == {"w3"}

    def test_never_more_than_are_too_many(self) -> None:
        known = answer(*(worker(f"10.0.0.{n}:1") for n in range(1, 11)))
        assert len(marked(plan(shrinking(7, *pods(10), workers=known)))) == 3

    def test_pods_that_were_marked_before_count_as_gone(self) -> None:
        of = [*pods(2), worker_pod("w3", ip="10.0.0.3", retiring=1)]
        known = answer(*(worker(f"10.0.0.{n}:1", executing=1) for n in (1, 2, 3)))
        assert marked(plan(shrinking(2, *of, workers=known))) == set()

    def test_workers_of_other_groups_are_never_chosen(self) -> None:
        known = answer(worker("10.9.9.9:1"), worker("10.0.0.1:1", nbytes=5), worker("10.0.0.2:1", nbytes=9))
        assert marked(plan(shrinking(1, *pods(2), workers=known))) == {"w1"}

    def test_an_old_answer_is_not_relied_on(self) -> None:
        known = answer(worker("10.0.0.1:1"), worker("10.0.0.2:1"), age=10)
        assert plan(shrinking(1, *pods(2), workers=known)).questions == [Ask.WORKERS]
        assert plan(shrinking(1, *pods(2), workers=known)).actions == []

    def test_scaling_up_during_a_scale_down_makes_new_workers(self) -> None:
        of = [*pods(1), worker_pod("w2", ip="10.0.0.2", retiring=1)]
        assert len(created(plan(shrinking(2, *of)))) == 1


class TestWithoutAScheduler:
    def test_no_scheduler_pod_at_all_means_nothing_to_lose(self) -> None:
        observed = shrinking(1, *pods(3), scheduler=None)
        assert len(deleted(plan(observed))) == 2
        assert plan(observed).questions == []

    def test_marked_pods_are_deleted_as_well(self) -> None:
        of = [*pods(1), worker_pod("w2", retiring=1)]
        assert deleted(plan(shrinking(1, *of, scheduler=None))) == {"w2"}

    def test_a_scheduler_that_is_not_ready_is_waited_for(self) -> None:
        waiting = plan(shrinking(1, *pods(2), scheduler=scheduler_pod(ready=False)))
        assert waiting.actions == []
        assert reasons(waiting) == ["SchedulerNotReady"]

    def test_a_scheduler_that_does_not_answer_is_asked_again_later(self) -> None:
        silent: Answer[Any] = Answer(-1, None, Problem.UNREACHABLE, "no route to host")
        waiting = plan(shrinking(1, *pods(2), workers=silent), Policy(scheduler_retry=5))
        assert waiting.actions == []
        assert waiting.questions == []
        assert reasons(waiting) == ["SchedulerUnreachable"]
        assert "no route to host" in waiting.remarks[0].message
        assert waiting.requeue_at == NOW + timedelta(seconds=4)

    def test_the_trouble_is_still_told_while_it_is_asked_again(self) -> None:
        silent: Answer[Any] = Answer(-6, None, Problem.UNREACHABLE, "no route to host")
        waiting = plan(shrinking(1, *pods(2), workers=silent), Policy(scheduler_retry=5))
        assert waiting.questions == [Ask.WORKERS]
        assert reasons(waiting) == ["SchedulerUnreachable"]

    def test_if_no_worker_stays_in_the_whole_cluster_nothing_can_be_moved(self) -> None:
        assert deleted(plan(shrinking(0, *pods(2)))) == {"w1", "w2"}

    def test_if_another_group_wants_workers_they_take_the_results_over(self) -> None:
        observed = shrinking(0, *pods(2), others_remain=True)
        assert deleted(plan(observed)) == set()
        assert plan(observed).questions == [Ask.WORKERS]


class TestRetiring:
    def retire(self, *addresses: str, pod: str = "w2") -> list[Retire]:
        return [Retire(((pod, tuple(f"tcp://{address}" for address in addresses)),))]

    def observed(self, *of_w2: Any, since: float = 1, **more: Any) -> ObservedGroup:
        of = [*pods(1), worker_pod("w2", ip="10.0.0.2", retiring=since)]
        known = answer(worker("10.0.0.1:1"), *of_w2)
        return shrinking(1, *of, **{"workers": known, **more})

    def test_an_idle_worker_is_retired_by_its_address(self) -> None:
        retiring = plan(self.observed(worker("10.0.0.2:1")))
        assert retiring.questions[0].patient == frozenset()  # type: ignore[union-attr]
        assert retiring.questions == self.retire("10.0.0.2:1")
        assert retiring.actions == []

    def test_all_workers_of_a_pod_are_retired_together(self) -> None:
        retiring = plan(self.observed(worker("10.0.0.2:1", name="a"), worker("10.0.0.2:2", name="b")))
        assert retiring.questions == self.retire("10.0.0.2:1", "10.0.0.2:2")

    def test_a_busy_worker_may_finish_its_tasks(self) -> None:
        draining = plan(self.observed(worker("10.0.0.2:1", executing=2)))
        assert draining.questions == []
        assert draining.requeue_at == NOW + timedelta(seconds=1)

    def test_a_worker_that_is_still_busy_after_the_drain_timeout_is_retired(self) -> None:
        retiring = plan(self.observed(worker("10.0.0.2:1", executing=2), since=61))
        assert retiring.questions == self.retire("10.0.0.2:1")

    def test_what_an_autoscaler_takes_away_finishes_its_tasks_however_long_they_are(self) -> None:
        of_w2 = worker("10.0.0.2:1", executing=2, can_drain=True, is_draining=True)
        long_ago = self.observed(of_w2, since=6000, is_autoscaled=True)
        (asked,) = plan(long_ago).questions
        assert isinstance(asked, Retire)
        assert asked.patient == {"w2"}
        (asked,) = plan(replace(long_ago, is_autoscaled=False)).questions
        assert isinstance(asked, Retire)
        assert asked.patient == frozenset()

    def test_nothing_is_asked_twice_while_a_retirement_is_under_way(self) -> None:
        under_way = Retirement(under_way={"w2": "c-scheduler"})
        waiting = plan(self.observed(worker("10.0.0.2:1"), retirement=under_way))
        assert waiting.questions == []
        assert waiting.actions == []

    def test_a_pod_is_deleted_when_its_workers_are_retired(self) -> None:
        done = Retirement(done=frozenset({"w2"}))
        assert deleted(plan(self.observed(retirement=done))) == {"w2"}

    def test_a_pod_is_deleted_though_its_retired_worker_has_come_back(self) -> None:
        done = Retirement(done=frozenset({"w2"}))
        assert deleted(plan(self.observed(worker("10.0.0.2:9"), retirement=done))) == {"w2"}

    def test_a_retired_worker_that_came_back_and_holds_something_is_retired_again(self) -> None:
        done = Retirement(done=frozenset({"w2"}))
        back = plan(self.observed(worker("10.0.0.2:9", keys=1, nbytes=8), retirement=done))
        assert back.questions == self.retire("10.0.0.2:9")
        assert back.actions == []

    def test_a_retirement_is_asked_for_again_when_there_is_another_scheduler(self) -> None:
        under_way = Retirement(under_way={"w2": "the-scheduler-before"})
        assert plan(self.observed(worker("10.0.0.2:1"), retirement=under_way)).questions == self.retire(
            "10.0.0.2:1"
        )

    def test_a_restarted_controller_deletes_a_marked_pod_that_was_retired_before(self) -> None:
        assert deleted(plan(self.observed())) == {"w2"}

    def test_a_restarted_controller_lets_a_retirement_come_to_its_end(self) -> None:
        waiting = plan(self.observed(worker("10.0.0.2:1", status="closing_gracefully")))
        assert waiting.questions == []
        assert waiting.actions == []
        assert waiting.requeue_at is not None

    def test_a_retirement_that_never_ends_is_asked_for_again(self) -> None:
        stuck = self.observed(worker("10.0.0.2:1", status="closing_gracefully"), since=100)
        assert plan(stuck).questions == self.retire("10.0.0.2:1")

    def test_a_worker_that_the_scheduler_keeps_is_unmarked(self) -> None:
        refused = Retirement(refused={"w2": 0})
        assert unmarked(self.observed(worker("10.0.0.2:1"), retirement=refused)) == {"w2"}

    def test_a_worker_that_was_kept_long_ago_is_asked_for_again(self) -> None:
        refused = Retirement(refused={"w2": -1000})
        again = self.observed(worker("10.0.0.2:1"), retirement=refused)
        assert unmarked(again) == set()
        assert plan(again).questions == self.retire("10.0.0.2:1")

    def test_a_worker_that_died_during_its_retirement_was_not_kept(self) -> None:
        refused = Retirement(refused={"w2": 0})
        assert deleted(plan(self.observed(retirement=refused))) == {"w2"}

    def test_the_next_candidate_is_tried_in_its_place(self) -> None:
        known = answer(worker("10.0.0.1:1", nbytes=9), worker("10.0.0.2:1"))
        refused = Retirement(refused={"w2": 0})
        assert marked(plan(shrinking(1, *pods(2), workers=known, retirement=refused))) == {"w1"}

    def test_one_that_was_kept_long_ago_is_tried_again(self) -> None:
        known = answer(worker("10.0.0.1:1"), worker("10.0.0.2:1"))
        refused = Retirement(refused={"w1": -31})
        trying = plan(shrinking(1, *pods(2), workers=known, retirement=refused), Policy(refusal_memory=30))
        assert marked(trying) == {"w1"}

    def test_if_the_scheduler_keeps_all_they_stay_and_the_status_says_so(self) -> None:
        known = answer(worker("10.0.0.1:1"), worker("10.0.0.2:1"))
        refused = Retirement(refused={"w1": 0, "w2": -10})
        waiting = plan(shrinking(1, *pods(2), workers=known, retirement=refused), Policy(refusal_memory=30))
        assert waiting.actions == []
        assert reasons(waiting) == ["SchedulerKeepsWorkers"]
        assert waiting.requeue_at == NOW + timedelta(seconds=20)

    def test_a_retirement_that_failed_is_asked_for_again_after_a_while(self) -> None:
        failed: Answer[None] = Answer(-1, None, Problem.UNREACHABLE, "timed out")
        waiting = plan(self.observed(worker("10.0.0.2:1"), retirement=Retirement(failed=failed)))
        assert waiting.questions == []
        assert reasons(waiting) == ["SchedulerUnreachable"]
        assert waiting.requeue_at == NOW + timedelta(seconds=4)
        failed = Answer(-5, None, Problem.UNREACHABLE, "timed out")
        again = plan(self.observed(worker("10.0.0.2:1"), retirement=Retirement(failed=failed)))
        assert again.questions == self.retire("10.0.0.2:1")

    def test_an_idle_worker_may_have_begun_a_task_since_its_heartbeat(self) -> None:
        waiting = plan(self.observed(worker("10.0.0.2:1"), since=0.4))
        assert waiting.questions == []
        assert waiting.requeue_at == NOW + timedelta(seconds=0.6)

    def test_of_many_workers_each_has_fewer_heartbeats(self) -> None:
        more = [worker(f"10.1.0.{n}:1") for n in range(198)]
        observed = self.observed(worker("10.0.0.2:1"), *more, since=0.4)
        assert plan(observed).requeue_at == NOW + timedelta(seconds=2 - 0.4)

    @pytest.mark.parametrize("mark", ["2026-01-01T00:00:00", "2999-01-01T00:00:00Z", "soon", ""])
    def test_a_mark_that_tells_no_time_of_the_past_is_of_now(self, mark: str) -> None:
        of = [*pods(1), worker_pod("w2", ip="10.0.0.2", annotations={labels.RETIRING: mark})]
        observed = shrinking(1, *of, workers=answer(worker("10.0.0.1:1"), worker("10.0.0.2:1")))
        assert plan(observed).requeue_at == NOW + timedelta(seconds=1)


class TestDraining:
    """The scheduler has the controller's routes: it can give a worker no more tasks."""

    def observed(self, of_w2: Any, since: float = 1, **more: Any) -> ObservedGroup:
        of = [*pods(1), worker_pod("w2", ip="10.0.0.2", retiring=since)]
        return shrinking(1, *of, workers=answer(worker("10.0.0.1:1", can_drain=True), of_w2), **more)

    def retire(self, *, patiently: bool) -> list[Retire]:
        patient = frozenset({"w2"}) if patiently else frozenset()
        return [Retire((("w2", ("tcp://10.0.0.2:1",)),), patient)]

    def test_a_worker_is_drained_at_once_be_it_busy_or_not(self) -> None:
        for executing in (0, 5):
            draining = plan(self.observed(worker("10.0.0.2:1", can_drain=True, executing=executing), since=0))
            assert draining.questions == self.retire(patiently=True)

    def test_a_busy_worker_is_asked_again_after_a_while(self) -> None:
        busy = Retirement(busy={"w2": -0.7})
        waiting = plan(
            self.observed(
                worker("10.0.0.2:1", can_drain=True, is_draining=True, executing=1), retirement=busy
            )
        )
        assert waiting.questions == []
        assert waiting.requeue_at == NOW + timedelta(seconds=0.3)

    def test_a_worker_whose_time_is_up_is_retired_though_busy(self) -> None:
        busy = Retirement(busy={"w2": 0})
        of_w2 = worker("10.0.0.2:1", can_drain=True, is_draining=True, executing=1)
        assert plan(self.observed(of_w2, since=60, retirement=busy)).questions == self.retire(patiently=False)

    def test_a_worker_that_the_scheduler_keeps_works_again_before_it_is_unmarked(self) -> None:
        refused = Retirement(refused={"w2": 0})
        drained = worker("10.0.0.2:1", can_drain=True, is_draining=True)
        resuming = plan(self.observed(drained, retirement=refused))
        assert resuming.questions == [Resume(("tcp://10.0.0.2:1",))]
        assert resuming.actions == []
        resumed = worker("10.0.0.2:1", can_drain=True)
        assert unmarked(self.observed(resumed, retirement=refused)) == {"w2"}


class TestWithAnOldScheduler:
    """It has no route to retire workers by."""

    def observed(self, *of_w2: Any) -> ObservedGroup:
        no_route: Answer[None] = Answer(0, None, Problem.NO_ROUTE, "the scheduler has no such route")
        of = [*pods(1), worker_pod("w2", ip="10.0.0.2", retiring=100)]
        known = answer(worker("10.0.0.1:1"), *of_w2)
        return shrinking(1, *of, workers=known, retirement=Retirement(failed=no_route))

    def test_workers_that_hold_nothing_are_deleted(self) -> None:
        assert deleted(plan(self.observed(worker("10.0.0.2:1")))) == {"w2"}

    def test_a_pod_of_which_one_worker_holds_results_stays(self) -> None:
        holding = worker("10.0.0.2:2", keys=1, nbytes=8)
        assert plan(self.observed(worker("10.0.0.2:1"), holding)).actions == []

    def test_workers_that_hold_results_stay_until_a_person_acts(self) -> None:
        waiting = plan(self.observed(worker("10.0.0.2:1", keys=1, nbytes=8)))
        assert waiting.actions == []
        assert waiting.remarks[0].needs_a_person
        assert waiting.requeue_at is not None


class TestPodsThatHaveNotStarted:
    def test_are_deleted_only_if_they_have_not_changed_since(self) -> None:
        new = worker_pod("new", phase="Pending")
        (action,) = plan(shrinking(2, *pods(2), new)).actions
        assert isinstance(action, Delete)
        assert action.version == new.meta.version

    def test_are_not_those_whose_other_container_still_waits(self) -> None:
        """Kubernetes calls a pod Pending until all its containers have begun once."""
        status = {
            "containerStatuses": [
                {"name": "worker", "state": {"running": {}}},
                {"name": "proxy", "state": {"waiting": {"reason": "ImagePullBackOff"}}},
            ]
        }
        half = worker_pod("half", phase="Pending", status=status)
        assert plan(shrinking(2, *pods(2), half)).actions == []

    def test_are_not_those_that_the_scheduler_knows_already(self) -> None:
        early = worker_pod("early", phase="Pending", ip="10.0.0.9")
        known = answer(*(worker(f"10.0.0.{n}:1", nbytes=1) for n in (1, 2)), worker("10.0.0.9:1", nbytes=9))
        assert deleted(plan(shrinking(2, *pods(2), early, workers=known))) == set()


class TestAnotherGroup:
    """It wants workers, but has none yet: results wait for them."""

    holding = answer(worker("10.0.0.1:1", keys=1, nbytes=8), worker("10.0.0.2:1"))

    def test_that_wants_workers_keeps_those_that_hold_results(self) -> None:
        waiting = plan(shrinking(0, *pods(2), others_remain=True, workers=self.holding))
        assert marked(waiting) == {"w2"}
        assert deleted(waiting) == set()
        assert reasons(waiting) == ["NoWorkerToTakeOver"]
        assert waiting.requeue_at is not None

    @pytest.mark.parametrize("beside", [0, 1])
    def test_that_wants_workers_keeps_those_that_were_chosen_before(self, beside: int) -> None:
        chosen = worker_pod("w2", ip="10.0.0.2", retiring=1)
        of = [*pods(beside), chosen]
        known = answer(worker("10.0.0.2:1", keys=1, nbytes=8), worker("10.0.0.1:1"))
        waiting = plan(shrinking(0, *of, others_remain=True, workers=known))
        assert "w2" not in deleted(waiting)
        assert Retire((("w2", ("tcp://10.0.0.2:1",)),)) in waiting.questions

    def test_that_has_a_worker_takes_the_results_over(self) -> None:
        other = worker_pod("other", group="c-other", ip="10.0.0.9", owner=("DaskWorkerGroup", "other"))
        known = answer(*(self.holding.value or ()), worker("10.0.0.9:1"))
        going = plan(shrinking(0, *pods(2), others_remain=True, workers=known, cluster_pods=(other,)))
        assert marked(going) == {"w1", "w2"}
        assert reasons(going) == []

    def test_of_which_all_workers_go_as_well_takes_nothing_over(self) -> None:
        other = worker_pod(
            "other", group="c-other", ip="10.0.0.9", owner=("DaskWorkerGroup", "other"), retiring=1
        )
        known = answer(*(self.holding.value or ()), worker("10.0.0.9:1"))
        waiting = plan(shrinking(0, *pods(2), others_remain=True, workers=known, cluster_pods=(other,)))
        assert marked(waiting) == {"w2"}

    @pytest.mark.parametrize("holding", [True, False])
    def test_or_none_an_autoscaler_that_goes_to_zero_never_means_results(self, holding: bool) -> None:
        known = self.holding if holding else answer(worker("10.0.0.1:1"), worker("10.0.0.2:1"))
        going = plan(shrinking(0, *pods(2), is_autoscaled=True, workers=known))
        assert deleted(going) == set()
        assert marked(going) == ({"w2"} if holding else {"w1", "w2"})


class TestWhichGroupsWantWorkers:
    @pytest.mark.parametrize(
        ("wants", "of"),
        [
            (True, group_body("other", "other", replicas=1)),
            (False, group_body("other", "other", replicas=0)),
            (False, group_body("other", "other", replicas=1, metadata={"deletionTimestamp": time()})),
            (False, group_body("other", "other", replicas=1, owner="an-earlier-cluster")),
            (True, group_body("other", "other", replicas=1, owner="")),
        ],
        ids=["replicas", "no replicas", "being deleted", "of an earlier cluster", "made by hand"],
    )
    def test_those_that_live_and_have_replicas(self, wants: bool, of: dict[str, Any]) -> None:
        cache = cache_with([cluster_body(), group_body(), of])
        observed = WORKER_GROUP.observe(cache, Key("DaskWorkerGroup", "default", "c-default"))
        assert observed is not None
        assert observed.others_remain is wants


class TestWhatIsUnknown:
    """A scheduler without metrics says nothing of what its workers do."""

    def test_is_not_nothing(self) -> None:
        (silent,) = parse_workers({"workers": {"tcp://10.0.0.2:1": {"name": "w2"}}})
        assert (silent.executing, silent.keys, silent.nbytes) == (None, None, None)
        assert not holds_nothing([silent])
        no_route: Answer[None] = Answer(0, None, Problem.NO_ROUTE, "the scheduler has no such route")
        of = [*pods(1), worker_pod("w2", ip="10.0.0.2", retiring=100)]
        known = answer(worker("10.0.0.1:1"), silent)
        waiting = plan(shrinking(1, *of, workers=known, retirement=Retirement(failed=no_route)))
        assert waiting.actions == []
        assert waiting.remarks[0].needs_a_person

    def test_a_worker_is_idle_by_its_counts(self) -> None:
        metrics = {"task_counts": {"memory": 0}, "managed_bytes": 0}
        (idle,) = parse_workers({"workers": {"tcp://10.0.0.2:1": {"metrics": metrics}}})
        assert holds_nothing([idle])


class TestClocks:
    """The time of day may jump; what a scheduler said ages all the same."""

    def test_an_answer_gets_old_though_the_time_of_day_steps_back(self) -> None:
        stale = answer(worker("10.0.0.1:1"), age=10)
        observed = replace(shrinking(1, *pods(2), workers=stale), now=NOW - timedelta(hours=1))
        assert plan(observed).actions == []
        assert plan(observed).questions == [Ask.WORKERS]

    def test_a_refusal_is_remembered_though_the_time_of_day_steps_back(self) -> None:
        known = answer(worker("10.0.0.1:1"), worker("10.0.0.2:1"))
        of = [*pods(1), worker_pod("w2", ip="10.0.0.2", retiring=1)]
        refused = Retirement(refused={"w2": -0.5})
        observed = shrinking(1, *of, workers=known, retirement=refused)
        assert unmarked(replace(observed, now=NOW - timedelta(hours=1))) == {"w2"}

    def test_a_mark_of_the_future_does_not_hold_up_an_idle_worker(self) -> None:
        of = [*pods(1), worker_pod("w2", ip="10.0.0.2", retiring=-3600)]
        known = answer(worker("10.0.0.1:1", can_drain=True), worker("10.0.0.2:1", can_drain=True))
        assert len(plan(shrinking(1, *of, workers=known)).questions) == 1
