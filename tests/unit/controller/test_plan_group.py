"""A group of workers grows, heals, and rolls out changes: plans, without any API server."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dask_k8s_controller.plans.actions import Ask, Create, Delete, Patch
from dask_k8s_controller.plans.plan import Plan
from dask_k8s_controller.scheduler.answers import Retirement
from dask_k8s_controller.settings import Policy
from dask_k8s_controller.worker_group.observe import ObservedGroup
from dask_k8s_controller.worker_group.plan import plan as plan_group
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_models import labels
from tests.unit.controller.builders import (
    NOW,
    all_know,
    answer,
    cluster,
    group,
    observed_group,
    pod_spec,
    scheduler_pod,
    time,
    worker,
    worker_pod,
)


def plan(observed: ObservedGroup, policy: Policy | None = None) -> Plan:
    return plan_group(observed, policy or Policy())


def created(plan: Plan) -> list[dict[str, Any]]:
    return [action.body for action in plan.actions if isinstance(action, Create)]


def deleted(plan: Plan) -> set[str]:
    return {action.name for action in plan.actions if isinstance(action, Delete)}


def marked(plan: Plan) -> set[str]:
    return {
        action.name
        for action in plan.actions
        if isinstance(action, Patch) and action.patch["metadata"].get("annotations", {}).get(labels.RETIRING)
    }


def reasons(plan: Plan) -> list[str]:
    return [remark.reason for remark in plan.remarks]


def ended(
    name: str,
    *,
    lived: float,
    ago: float,
    phase: str = "Failed",
    retiring: float | None = None,
    **more: Any,
) -> Any:
    state = {"terminated": {"exitCode": 1, "finishedAt": time(-ago)}}
    status = {"containerStatuses": [{"name": "worker", "state": state}], **more}
    return worker_pod(name, phase=phase, age=ago + lived, retiring=retiring, status=status)


class TestGrowing:
    def test_all_missing_workers_are_created_at_once(self) -> None:
        assert len(created(plan(observed_group(group(replicas=500))))) == 500

    @pytest.mark.parametrize("replicas", [501, 10_000])
    def test_no_number_that_a_user_writes_decides_the_size_of_a_plan(self, replicas: int) -> None:
        assert len(created(plan(observed_group(group(replicas=replicas))))) == 500

    def test_a_group_with_all_its_workers_is_left_alone(self) -> None:
        pods = (worker_pod("w1"), worker_pod("w2"))
        observed = observed_group(group(), *pods, workers=all_know(*pods))
        assert plan(observed) == Plan(observed, Policy())

    def test_pods_that_have_not_started_yet_count(self) -> None:
        observed = observed_group(group(), worker_pod("w1"), worker_pod("w2", phase="Pending"))
        assert plan(observed).actions == []

    def test_new_workers_are_called_by_their_group_and_ten_random_digits(self) -> None:
        names = [body["metadata"]["name"] for body in created(plan(observed_group()))]
        assert len(set(names)) == 2
        for name in names:
            prefix, _, suffix = name.rpartition("-")
            assert prefix == "c-default-worker"
            assert len(suffix) == 10
            assert int(suffix, 16) >= 0

    def test_every_observation_finds_other_names(self) -> None:
        names = {
            body["metadata"]["name"]
            for entropy in ("a", "b")
            for body in created(plan(observed_group(entropy=entropy)))
        }
        assert len(names) == 4

    def test_a_pod_whose_creation_got_no_answer_is_created_again_under_its_name(self) -> None:
        names = [body["metadata"]["name"] for body in created(plan(observed_group(undecided=("lost",))))]
        assert names[0] == "lost"
        assert len(names) == 2

    def test_a_pod_whose_creation_was_answered_at_last_is_not_created_again(self) -> None:
        observed = observed_group(group(), worker_pod("found"), undecided=("found",))
        assert "found" not in [body["metadata"]["name"] for body in created(plan(observed))]

    def test_workers_are_made_though_the_scheduler_is_not_ready_yet(self) -> None:
        assert len(created(plan(observed_group(scheduler=None)))) == 2

    def test_a_batch_size_bounds_what_is_created_at_once(self) -> None:
        policy = Policy(batch_size=3, batch_delay=10)
        first = plan(observed_group(group(replicas=8)), policy)
        assert len(created(first)) == 3
        pods = [worker_pod(f"w{number}", age=4) for number in range(3)]
        second = plan(observed_group(group(replicas=8), *pods), policy)
        assert created(second) == []
        assert second.requeue_at is not None
        assert (second.requeue_at - NOW).total_seconds() == 6
        pods = [worker_pod(f"w{number}", age=10) for number in range(3)]
        assert len(created(plan(observed_group(group(replicas=8), *pods), policy))) == 3


class TestRegistering:
    """The status counts workers that the scheduler knows: it is asked until it knows them all."""

    pods = (worker_pod("w1"), worker_pod("w2", age=20))

    def test_the_scheduler_is_asked_when_pods_are_ready(self) -> None:
        assert plan(observed_group(group(), *self.pods)).questions == [Ask.WORKERS]
        unready = (worker_pod("w1", ready=False), worker_pod("w2", ready=False))
        assert plan(observed_group(group(), *unready)).questions == []

    def test_it_is_asked_again_while_a_worker_has_not_registered(self) -> None:
        waiting = plan(observed_group(group(), *self.pods, workers=all_know(self.pods[0])))
        assert waiting.questions == []
        assert waiting.requeue_at == NOW + timedelta(seconds=2)
        later = replace(all_know(self.pods[0]), at=-2.0)
        assert plan(observed_group(group(), *self.pods, workers=later)).questions == [Ask.WORKERS]

    def test_it_is_not_asked_for_their_sake_while_others_go(self) -> None:
        """What a retirement wants to know is asked then."""
        going = worker_pod("w3", retiring=1)
        done = Retirement(under_way={"w3": "c-scheduler"})
        observed = observed_group(group(), *self.pods, going, retirement=done)
        assert plan(observed).questions == []

    def test_it_is_not_asked_for_nothing(self) -> None:
        old = replace(all_know(*self.pods), at=-1000.0)
        observed = observed_group(group(), *self.pods, workers=old)
        assert plan(observed) == Plan(observed, Policy())


class TestWaiting:
    def test_for_its_cluster(self) -> None:
        waiting = plan(observed_group(cluster=None))
        assert waiting.actions == []
        assert reasons(waiting) == ["ClusterNotFound"]

    def test_while_its_cluster_is_being_deleted(self) -> None:
        going = cluster(metadata={"deletionTimestamp": time()})
        waiting = plan(observed_group(cluster=going))
        assert waiting.actions == []
        assert reasons(waiting) == ["ClusterTerminating"]

    def test_when_it_belongs_to_an_earlier_cluster_of_the_same_name(self) -> None:
        waiting = plan(observed_group(group(owner="earlier")))
        assert waiting.actions == []
        assert reasons(waiting) == ["ClusterTerminating"]

    def test_for_a_cluster_whose_spec_is_invalid(self) -> None:
        waiting = plan(observed_group(cluster=cluster(idleTimeout=-1)))
        assert waiting.actions == []
        assert reasons(waiting) == ["ClusterInvalid"]

    def test_with_a_spec_that_the_models_refuse(self) -> None:
        broken = plan(observed_group(group(replicas=-1)))
        assert broken.actions == []
        assert broken.remarks[0].needs_a_person
        assert "spec.worker.replicas" in broken.remarks[0].message


class TestHealing:
    def test_a_pod_that_vanished_is_replaced(self) -> None:
        assert len(created(plan(observed_group(group(), worker_pod("w1"))))) == 1

    def test_a_pod_that_is_being_deleted_is_replaced_at_once(self) -> None:
        observed = observed_group(group(), worker_pod("w1"), worker_pod("w2", going=True))
        assert len(created(plan(observed))) == 1
        assert deleted(plan(observed)) == set()

    def test_a_pod_that_failed_is_deleted_and_replaced(self) -> None:
        healing = plan(observed_group(group(), worker_pod("w1"), ended("w2", lived=600, ago=1)))
        assert deleted(healing) == {"w2"}
        assert len(created(healing)) == 1

    def test_a_pod_that_was_evicted_is_replaced_at_once_however_young(self) -> None:
        evicted = worker_pod("w2", phase="Failed", age=1, status={"reason": "Evicted"})
        healing = plan(observed_group(group(), worker_pod("w1"), evicted))
        assert deleted(healing) == {"w2"}
        assert len(created(healing)) == 1

    def test_a_worker_that_exited_with_0_without_being_retired_is_replaced(self) -> None:
        observed = observed_group(group(), worker_pod("w1"), ended("w2", lived=600, ago=1, phase="Succeeded"))
        assert deleted(plan(observed)) == {"w2"}
        assert len(created(plan(observed))) == 1

    def test_a_pod_that_failed_right_after_its_start_is_replaced_after_a_while(self) -> None:
        healing = plan(observed_group(group(), worker_pod("w1"), ended("w2", lived=1, ago=4)))
        assert healing.actions == []
        assert healing.requeue_at is not None
        assert (healing.requeue_at - NOW).total_seconds() == 6
        healing = plan(observed_group(group(), worker_pod("w1"), ended("w2", lived=1, ago=10)))
        assert deleted(healing) == {"w2"}
        assert len(created(healing)) == 1

    def test_a_pod_that_was_to_go_and_failed_right_after_its_start_goes_at_once(self) -> None:
        leaving = ended("w2", lived=1, ago=1, retiring=1)
        assert deleted(plan(observed_group(group(), worker_pod("w1"), leaving))) == {"w2"}

    def test_a_worker_that_ended_with_an_earlier_scheduler_is_replaced_at_once_however_young(self) -> None:
        orphan = ended("w2", lived=5, ago=1, phase="Succeeded")
        survivor = observed_group(group(), worker_pod("w1"), orphan, scheduler=scheduler_pod(age=2))
        assert deleted(plan(survivor)) == {"w2"}
        assert len(created(plan(survivor))) == 1
        older = observed_group(group(), worker_pod("w1"), orphan, scheduler=scheduler_pod(age=60))
        assert plan(older).actions == []

    def test_pods_of_an_earlier_group_of_this_name_are_deleted_and_do_not_count(self) -> None:
        stranger = worker_pod("old", owner=("DaskWorkerGroup", "an-earlier-group"), age=7200)
        healing = plan(observed_group(group(), worker_pod("w1"), stranger))
        assert deleted(healing) == {"old"}
        assert len(created(healing)) == 1

    def test_pods_of_a_later_group_of_this_name_stay_though_it_is_not_known_yet(self) -> None:
        stranger = worker_pod("new", owner=("DaskWorkerGroup", "a-later-group"), age=1)
        assert deleted(plan(observed_group(group(), worker_pod("w1"), stranger))) == set()

    def test_pods_of_another_kind_of_owner_are_left_alone(self) -> None:
        stranger = worker_pod("other", owner=("ReplicaSet", "somebody-else"))
        assert deleted(plan(observed_group(group(), stranger))) == set()


class TestSuspending:
    def test_all_pods_go_at_once_without_being_retired(self) -> None:
        observed = observed_group(
            group(), worker_pod("w1"), worker_pod("w2"), cluster=cluster(suspend=True), scheduler=None
        )
        suspending = plan(observed)
        assert deleted(suspending) == {"w1", "w2"}
        assert suspending.questions == []
        assert reasons(suspending) == ["Suspended"]

    def test_no_pods_are_made_while_suspended(self) -> None:
        assert plan(observed_group(cluster=cluster(suspend=True))).actions == []

    def test_all_pods_come_back_afterwards(self) -> None:
        assert len(created(plan(observed_group(cluster=cluster(suspend=False))))) == 2


class TestLabelsAndAnnotations:
    def test_a_label_that_is_added_later_is_patched_onto_the_pods(self) -> None:
        labelled = group(metadata={"labels": {"team": "a"}})
        actions = plan(observed_group(labelled, worker_pod("w1"), worker_pod("w2"))).actions
        assert [action.patch["metadata"]["labels"] for action in actions if isinstance(action, Patch)] == [
            {"team": "a"}
        ] * 2

    def test_a_pod_that_is_going_is_not_patched(self) -> None:
        labelled = group(metadata={"labels": {"team": "a"}}, replicas=1)
        actions = plan(observed_group(labelled, worker_pod("w1"), worker_pod("w2", going=True))).actions
        assert [action.name for action in actions if isinstance(action, Patch)] == ["w1"]


class TestRollingOut:
    def changed(self, **more: Any) -> WorkerGroup:
        return group(spec=pod_spec("worker", "dask", "worker", "--nthreads", "2"), **more)

    def pods(self, count: int, **more: Any) -> list[Any]:
        return [worker_pod(f"w{n}", ip=f"10.0.0.{n}", **more) for n in range(1, count + 1)]

    def known(self, count: int) -> Any:
        return answer(*(worker(f"10.0.0.{n}:1", nbytes=100 * n) for n in range(1, count + 1)))

    def test_the_scheduler_is_asked_which_workers_can_go(self) -> None:
        rollout = plan(observed_group(self.changed(replicas=4), *self.pods(4)))
        assert rollout.questions == [Ask.WORKERS]
        assert rollout.actions == []

    def test_no_more_workers_are_marked_than_may_be_unavailable(self) -> None:
        observed = observed_group(self.changed(replicas=4), *self.pods(4), workers=self.known(4))
        assert marked(plan(observed)) == {"w1"}
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}
        changed = self.changed(replicas=4, updateStrategy=strategy)
        observed = observed_group(changed, *self.pods(4), workers=self.known(4))
        assert marked(plan(observed)) == {"w1", "w2"}

    def test_workers_that_are_not_ready_use_up_what_may_be_unavailable(self) -> None:
        pods = [*self.pods(3), worker_pod("w4", ready=False, template=self.changed().worker_hash)]
        observed = observed_group(self.changed(replicas=4), *pods, workers=self.known(3))
        assert marked(plan(observed)) == set()

    def test_workers_that_have_not_registered_yet_use_it_up_as_well(self) -> None:
        pods = [*self.pods(3), worker_pod("w4", ip="10.0.0.4", template=self.changed().worker_hash)]
        observed = observed_group(self.changed(replicas=4), *pods, workers=self.known(3))
        waiting = plan(observed)
        assert marked(waiting) == set()
        assert waiting.requeue_at is not None

    def test_a_marked_worker_is_replaced_while_it_drains(self) -> None:
        pods = [*self.pods(3), worker_pod("w4", retiring=1)]
        observed = observed_group(self.changed(replicas=4), *pods, workers=self.known(4))
        bodies = created(plan(observed))
        assert len(bodies) == 1
        assert bodies[0]["spec"]["containers"][0]["args"][-1] == "2"

    def test_outdated_pods_that_have_not_started_go_at_once(self) -> None:
        pods = self.pods(4, phase="Pending")
        assert deleted(plan(observed_group(self.changed(replicas=4), *pods))) == {"w1", "w2", "w3", "w4"}

    def test_a_single_worker_is_replaced_before_it_goes(self) -> None:
        observed = observed_group(self.changed(replicas=1), *self.pods(1), workers=self.known(1))
        first = plan(observed)
        assert len(created(first)) == 1
        assert marked(first) == set()

    def test_a_single_worker_goes_when_its_replacement_is_ready(self) -> None:
        changed = self.changed(replicas=1)
        new = worker_pod("new", template=changed.worker_hash, ip="10.0.0.9")
        known = answer(worker("10.0.0.1:1"), worker("10.0.0.9:1"))
        second = plan(observed_group(changed, *self.pods(1), new, workers=known))
        assert created(second) == []
        assert marked(second) == {"w1"}

    def test_a_single_worker_stays_while_its_replacement_is_not_ready(self) -> None:
        changed = self.changed(replicas=1)
        new = worker_pod("new", template=changed.worker_hash, ready=False)
        waiting = plan(observed_group(changed, *self.pods(1), new, workers=self.known(1)))
        assert waiting.actions == []

    def test_on_delete_changes_only_pods_that_are_made_later(self) -> None:
        changed = self.changed(replicas=3, updateStrategy={"type": "OnDelete"})
        bodies = created(plan(observed_group(changed, *self.pods(2))))
        assert len(bodies) == 1
        assert bodies[0]["spec"]["containers"][0]["args"][-1] == "2"

    def test_without_a_scheduler_outdated_workers_are_deleted_step_by_step(self) -> None:
        observed = observed_group(self.changed(replicas=4), *self.pods(4), scheduler=None)
        assert len(deleted(plan(observed))) == 1

    @pytest.mark.parametrize(
        "same",
        [
            {"imagePullPolicy": None},
            {"ports": [{"containerPort": 8788, "protocol": "TCP"}]},
        ],
    )
    def test_fields_that_equal_their_default_restart_nothing(self, same: dict[str, Any]) -> None:
        without = group(spec={"containers": [{"name": "worker", "ports": [{"containerPort": 8788}]}]})
        written = {"name": "worker", "ports": [{"containerPort": 8788}], **same}
        with_default = group(spec={"containers": [written]})
        assert without.worker_hash == with_default.worker_hash


def test_a_scheduler_that_is_not_ready_does_not_stop_growth() -> None:
    observed = observed_group(group(replicas=3), worker_pod("w1"), scheduler=scheduler_pod(ready=False))
    assert len(created(plan(observed))) == 2
