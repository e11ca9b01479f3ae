"""An autoscaler follows the demand: plans, without any API server."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dask_k8s_controller.autoscaler.policy import Limit
from dask_k8s_controller.autoscaler.spec import Autoscaler
from dask_k8s_controller.autoscaler.workforce import GroupOfWorkers, workforce
from dask_k8s_controller.plans.actions import Ask, Patch
from dask_k8s_controller.scheduler.answers import Answer, Problem, Worker
from dask_k8s_controller.worker_group.spec import WorkerGroup
from tests.unit.controller.autoscaling.builders import (
    asks_demand,
    autoscaler,
    changed,
    demand,
    heard,
    members,
    no_demand,
    observed,
    plan,
    reasons,
    scale_of,
    scaled_to,
    stalled,
    unready,
    with_members,
)
from tests.unit.controller.builders import NOW, answer, cluster, group_body, time, worker, worker_pod


def holder(name: str, *, memory: float, **more: Any) -> tuple[GroupOfWorkers, tuple[Worker, ...]]:
    """A group with one ready worker, which the scheduler knows."""
    found, known = members(1, name=name)
    return found, tuple(replace(one, memory_limit=int(memory), **more) for one in known.value or ())


def scaled_by(*autoscalers: Autoscaler) -> GroupOfWorkers:
    """A group that all of these name."""
    target, _ = members(4)
    everybody = workforce([target.group], target.pods, autoscalers, None, None)
    return replace(target, autoscaler=everybody.members[target.group.name].autoscaler)


class TestFollowingTheDemand:
    @pytest.mark.parametrize(
        ("wants", "there", "spec", "gets"),
        [
            (4, 4, {}, None),
            (10, 4, {}, 10),
            (10, 4, {"maximum": 6}, 6),
            (10, 0, {"maximum": 6}, 6),
            (1, 0, {}, 1),
            (10, 4, {"behavior": {"scaleUp": {"maxPercent": 100}}}, 8),
            (10, 0, {"behavior": {"scaleUp": {"maxPercent": 100}}}, 1),
            (10, 1, {"minimum": 3, "behavior": {"scaleUp": {"maxPercent": 100}}}, 3),
            (0, 4, {}, 3),
            (0, 100, {}, 75),
            (90, 100, {}, 90),
            (0, 3, {}, 2),
            (0, 1, {}, 0),
            (0, 4, {"minimum": 4}, None),
            (0, 8, {"minimum": 7}, 7),
            (0, 100, {"behavior": {"scaleDown": {"maxPercent": 50}}}, 50),
            (0, 100, {"maximum": 20}, 20),
            (200_000, 4, {}, 10_000),
        ],
    )
    def test_steps_from_what_there_is_to_what_is_wanted(
        self, wants: int, there: int, spec: dict[str, Any], gets: int | None
    ) -> None:
        assert scaled_to(plan(with_members(autoscaler(**spec), wants, there))) == gets

    def test_a_change_goes_to_the_group_at_the_version_that_was_seen(self) -> None:
        seen = with_members(autoscaler(), 10, 4)
        scale = scale_of(plan(seen))
        assert scale is not None
        assert seen.target is not None
        assert (scale.name, scale.version) == ("c-default", seen.target.group.meta.version)

    def test_the_scheduler_is_asked_every_five_seconds(self) -> None:
        assert asks_demand(plan(observed(demand=None)))
        assert asks_demand(plan(observed(demand=demand(4, age=5))))
        rested = plan(observed(demand=demand(4, age=3)))
        assert not asks_demand(rested)
        assert rested.requeue_at == NOW + timedelta(seconds=2)

    def test_nothing_changes_because_of_an_old_answer(self) -> None:
        planned = plan(heard(with_members(autoscaler(), 10, 4), demand=demand(10, age=3)))
        assert scale_of(planned) is None
        assert asks_demand(planned)


class TestStabilization:
    def test_nothing_changes_within_the_window_after_a_change(self) -> None:
        for wants in (0, 10):
            planned = plan(with_members(autoscaler(status=changed(9, replicas=4)), wants, 4))
            assert scale_of(planned) is None
            assert planned.decision is not None
            assert planned.decision.waits_until == NOW + timedelta(seconds=6)
            assert planned.requeue_at == NOW + timedelta(seconds=5)

    def test_the_window_ends_exactly(self) -> None:
        seen = with_members(autoscaler(status=changed(14, replicas=4)), 10, 4)
        assert plan(seen).requeue_at == NOW + timedelta(seconds=1)
        assert scaled_to(plan(with_members(autoscaler(status=changed(15, replicas=4)), 10, 4))) == 10

    def test_each_direction_has_its_own_window(self) -> None:
        behavior = {
            "scaleUp": {"stabilizationWindowSeconds": 0},
            "scaleDown": {"stabilizationWindowSeconds": 60},
        }
        scaler = autoscaler(behavior=behavior, status=changed(20, replicas=4))
        assert scaled_to(plan(with_members(scaler, 10, 4))) == 10
        assert scaled_to(plan(with_members(scaler, 0, 4))) is None

    def test_nobody_decides_twice_on_one_answer(self) -> None:
        behavior = {"scaleDown": {"stabilizationWindowSeconds": 0}}
        scaler = autoscaler(behavior=behavior, status=changed(0, replicas=3))
        planned = plan(with_members(scaler, 0, 3))
        assert scale_of(planned) is None
        assert planned.requeue_at == NOW + timedelta(seconds=5)

    def test_the_bounds_hold_at_once(self) -> None:
        just_changed = changed(1, replicas=4)
        assert scaled_to(plan(with_members(autoscaler(minimum=6, status=just_changed), 0, 4))) == 6
        assert scaled_to(plan(with_members(autoscaler(maximum=2, status=just_changed), 0, 4))) == 2

    def test_a_change_by_somebody_else_begins_a_window_too(self) -> None:
        seen = with_members(autoscaler(status=changed(60, replicas=2)), 10, 4)
        assert seen.was_changed
        assert scale_of(plan(seen)) is None

    def test_a_controller_that_was_killed_after_scaling_does_not_scale_again(self) -> None:
        """The status still has the number from before."""
        seen = with_members(autoscaler(status=changed(60, replicas=8)), 0, 6)
        assert scale_of(plan(seen)) is None


class TestNoWorkIsLost:
    def test_busy_workers_stay(self) -> None:
        planned = plan(with_members(autoscaler(), 0, 8, busy=7))
        assert scaled_to(planned) == 7
        planned = plan(with_members(autoscaler(), 0, 8, busy=8))
        assert scale_of(planned) is None
        assert planned.decision is not None
        assert planned.decision.limit is Limit.BUSY

    def test_busy_workers_stay_though_other_groups_are_idle(self) -> None:
        """The demand is met by others, but the tasks run here."""
        other, _ = members(5, name="c-other")
        target, workers = members(5, busy=5)
        seen = observed(target=target, others=(other,), workers=workers, demand=demand(5))
        assert scale_of(plan(seen)) is None

    def test_never_to_zero_while_results_are_held(self) -> None:
        planned = plan(with_members(autoscaler(), 0, 1, holding=1))
        assert scale_of(planned) is None
        assert planned.decision is not None
        assert planned.decision.limit is Limit.RESULTS_HELD

    def test_to_zero_if_another_group_can_take_the_results(self) -> None:
        other, (taker,) = holder("c-default", memory=4e9)
        target, (own,) = holder("c-gpu", memory=4e9, keys=9, nbytes=10**9)
        scaler = autoscaler(workerGroup="c-gpu")
        seen = observed(scaler, target=target, others=(other,), workers=answer(own, taker), demand=demand(0))
        assert scaled_to(plan(seen)) == 0
        full = replace(own, nbytes=3 * 10**9)
        assert scaled_to(plan(heard(seen, workers=answer(full, taker)))) is None
        assert scaled_to(plan(heard(seen, workers=answer(full, replace(taker, memory_limit=0))))) == 0

    def test_of_two_groups_that_could_go_the_cheaper_holds_the_results(self) -> None:
        default, (one,) = holder("c-default", memory=4e9, keys=1, nbytes=8)
        gpu, (other,) = holder("c-gpu", memory=4e9, keys=1, nbytes=8)
        workers = answer(one, other)
        for target, beside, goes_to in ((default, gpu, None), (gpu, default, 0)):
            scaler = autoscaler(workerGroup=target.group.name)
            sibling = autoscaler(beside.group.name, uid="sibling", workerGroup=beside.group.name)
            seen = observed(
                scaler,
                target=target,
                others=(beside,),
                siblings=(sibling,),
                workers=workers,
                demand=demand(0),
            )
            assert scaled_to(plan(seen)) == goes_to

    def test_as_many_stay_as_hold_the_results_twice(self) -> None:
        target, workers = members(4, holding=4)
        known = [replace(one, nbytes=10**9, memory_limit=4 * 10**9) for one in workers.value or ()]
        at_once = {"scaleDown": {"stabilizationWindowSeconds": 0, "maxPercent": 100}}
        seen = observed(autoscaler(behavior=at_once), target=target, workers=answer(*known), demand=demand(0))
        planned = plan(seen)
        assert scaled_to(planned) == 2
        assert planned.decision is not None
        assert planned.decision.limit is Limit.RESULTS_HELD

    def test_a_worker_with_results_that_it_alone_may_hold_stays(self) -> None:
        """Though another could hold them: they are of tasks for this worker, or actors."""
        other, (taker,) = holder("c-default", memory=4e9)
        target, (own,) = holder("c-gpu", memory=4e9, keys=1, nbytes=8, bound=1)
        scaler = autoscaler(workerGroup="c-gpu")
        seen = observed(scaler, target=target, others=(other,), workers=answer(own, taker), demand=demand(0))
        assert scale_of(plan(seen)) is None

    def test_pods_that_are_no_workers_yet_go_at_once(self) -> None:
        assert scaled_to(plan(with_members(autoscaler(), 4, 50, unregistered=46))) == 4
        assert scaled_to(plan(with_members(autoscaler(), 0, 50, unregistered=42))) == 6

    def test_successors_of_workers_whose_nodes_go_are_nothing_to_save(self) -> None:
        """4 workers, each with a successor that starts: the group shrinks by steps, as it would without."""
        there, workers = members(4)
        successors = tuple(unready(worker_pod(f"next-{n}")) for n in range(4))
        leaving = frozenset(pod.meta.uid for pod in there.pods)
        target = GroupOfWorkers(there.group, (*there.pods, *successors), leaving=leaving)
        planned = plan(observed(target=target, workers=workers, demand=demand(0)))
        assert scaled_to(planned) == 3
        assert planned.decision is not None
        assert planned.decision.limit is Limit.SCALE_DOWN_STEP

    def test_workers_are_asked_before_any_goes(self) -> None:
        planned = plan(heard(with_members(autoscaler(), 0, 4), workers=None))
        assert scale_of(planned) is None
        assert planned.questions == [Ask.WORKERS]

    def test_the_last_word_before_any_goes_is_the_demand(self) -> None:
        """Workers report by heartbeats; tasks that came since only the demand knows."""
        seen = with_members(autoscaler(), 0, 4)
        assert seen.workers is not None
        planned = plan(heard(seen, demand=demand(0, age=1)))
        assert scale_of(planned) is None
        assert asks_demand(planned)

    def test_workers_that_nobody_can_tell_about_stay(self) -> None:
        unknown: Answer[Any] = Answer(0, None, Problem.UNREACHABLE, "connection refused")
        planned = plan(heard(with_members(autoscaler(), 0, 4), workers=unknown))
        assert scale_of(planned) is None
        assert reasons(planned) == ["SchedulerUnreachable"]

    def test_what_goes_already_needs_no_successor(self) -> None:
        """6 are busy, 4 are to stay: the other 2 finish their tasks on their way out."""
        target, workers = members(6, busy=6)
        fewer = WorkerGroup.of(group_body("c-default", uid="c-default", replicas=4))
        seen = observed(target=GroupOfWorkers(fewer, target.pods), workers=workers, demand=demand(6))
        assert scale_of(plan(seen)) is None


class TestOtherGroups:
    def test_their_workers_are_taken_off_the_demand(self) -> None:
        other, _ = members(3, name="c-other")
        assert scaled_to(plan(observed(others=(other,), demand=demand(10)))) == 7

    def test_workers_on_their_way_keep_it_from_growing_but_it_shrinks_when_they_are_there(self) -> None:
        other, _ = members(3, name="c-other")
        starting = GroupOfWorkers(other.group, tuple(map(unready, other.pods)))
        assert scale_of(plan(observed(others=(starting,), demand=demand(7)))) is None
        assert scale_of(plan(observed(others=(starting,), demand=demand(4)))) is None
        assert scaled_to(plan(observed(others=(other,), demand=demand(4)))) == 3

    def test_pods_that_no_node_takes_are_no_help(self) -> None:
        other, _ = members(3, name="c-other")
        stuck = tuple(replace(unready(pod), unschedulable="0/1 nodes are available") for pod in other.pods)
        seen = observed(others=(GroupOfWorkers(other.group, stuck),), demand=demand(10))
        assert scaled_to(plan(seen)) == 10

    def test_several_workers_in_a_pod_count_as_several(self) -> None:
        pods = tuple(worker_pod(f"p{n}", ip=f"10.0.0.{n}") for n in range(2))
        workers = answer(*(worker(f"10.0.0.{n}:{port}") for n in range(2) for port in (4000, 4001)))
        group = WorkerGroup.of(group_body("c-default", uid="c-default", replicas=2))
        seen = observed(target=GroupOfWorkers(group, pods), workers=workers)
        assert scaled_to(plan(heard(seen, demand=demand(9)))) == 5
        assert scale_of(plan(heard(seen, demand=demand(4)))) is None

    def test_any_group_can_be_scaled(self) -> None:
        target, workers = members(2, name="c-gpu")
        seen = observed(autoscaler(workerGroup="c-gpu"), target=target, workers=workers, demand=demand(5))
        scale = scale_of(plan(seen))
        assert scale is not None
        assert (scale.name, scale.replicas) == ("c-gpu", 5)

    def test_a_group_of_another_cluster_is_left_alone(self) -> None:
        group = WorkerGroup.of(group_body("d-default", of="d"))
        planned = plan(observed(autoscaler(workerGroup="d-default"), target=GroupOfWorkers(group)))
        assert stalled(planned) == ["WorkerGroupOfAnotherCluster"]
        assert scale_of(planned) is None


class TestWaiting:
    def test_of_two_for_one_group_the_younger_is_stalled(self) -> None:
        older = autoscaler("first", "first", metadata={"creationTimestamp": time(-100)})
        younger = autoscaler("second", "second", metadata={"creationTimestamp": time(-10)})
        target = scaled_by(younger, older)
        planned = plan(observed(younger, target=target, demand=demand(10)))
        assert stalled(planned) == ["GroupHasAutoscaler"]
        assert scale_of(planned) is None
        assert scaled_to(plan(observed(older, target=target, demand=demand(10)))) == 10

    def test_the_younger_takes_over_when_the_older_goes(self) -> None:
        old = {"creationTimestamp": time(-100), "deletionTimestamp": time()}
        older = autoscaler("first", "first", metadata=old)
        younger = autoscaler("second", "second", metadata={"creationTimestamp": time(-10)})
        assert scaled_to(plan(observed(younger, target=scaled_by(older, younger), demand=demand(10)))) == 10

    @pytest.mark.parametrize(
        ("seen", "reason"),
        [
            ({"cluster": None}, "ClusterNotFound"),
            ({"cluster": cluster(metadata={"deletionTimestamp": time()})}, "ClusterTerminating"),
            ({"cluster": cluster(uid="another")}, "ClusterTerminating"),
            ({"target": None}, "WorkerGroupNotFound"),
            ({"cluster": cluster(suspend=True)}, "Suspended"),
            ({"scheduler": None}, "SchedulerNotReady"),
        ],
    )
    def test_it_says_what_it_waits_for_and_asks_nobody(self, seen: dict[str, Any], reason: str) -> None:
        planned = plan(observed(**{"demand": None, **seen}))
        assert reasons(planned) == [reason]
        assert not asks_demand(planned)
        assert not planned.questions
        assert scale_of(planned) is None
        assert planned.requeue_at is None

    def test_a_scheduler_that_does_not_answer_changes_nothing_and_is_asked_again(self) -> None:
        planned = plan(observed(demand=no_demand(Problem.UNREACHABLE, age=1)))
        assert reasons(planned) == ["SchedulerUnreachable"]
        assert stalled(planned) == []
        assert scale_of(planned) is None
        assert planned.requeue_at == NOW + timedelta(seconds=4)
        assert asks_demand(plan(observed(demand=no_demand(Problem.UNREACHABLE, age=5))))

    def test_a_scheduler_without_the_route_needs_a_person(self) -> None:
        assert stalled(plan(observed(demand=no_demand(Problem.NO_ROUTE)))) == ["SchedulerRoutesMissing"]

    def test_an_autoscaler_made_by_hand_goes_with_its_cluster(self) -> None:
        planned = plan(observed(autoscaler(metadata={"ownerReferences": []})))
        (patch,) = planned.actions
        assert isinstance(patch, Patch)
        (reference,) = patch.patch["metadata"]["ownerReferences"]
        assert (patch.kind, reference["uid"], reference["controller"]) == ("DaskAutoscaler", "cluster", True)
        assert patch.version

    def test_one_that_somebody_owns_keeps_its_owner(self) -> None:
        theirs = {"apiVersion": "v1", "kind": "Other", "name": "other", "uid": "other", "controller": True}
        planned = plan(observed(autoscaler(metadata={"ownerReferences": [theirs]})))
        (patch,) = planned.actions
        assert isinstance(patch, Patch)
        first, second = patch.patch["metadata"]["ownerReferences"]
        assert first == theirs
        assert (second["uid"], second["controller"]) == ("cluster", False)

    def test_an_invalid_spec_needs_a_person(self) -> None:
        planned = plan(observed(autoscaler(minimum=10, maximum=2), demand=demand(10)))
        assert stalled(planned) == ["InvalidSpec"]
        assert "maximum" in planned.remarks[0].message
