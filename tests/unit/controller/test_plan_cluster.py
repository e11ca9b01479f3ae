"""A cluster gets its scheduler, Service and default group: plans, without any API server."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dask_k8s_controller.cluster.observe import ClusterPlan, ObservedCluster
from dask_k8s_controller.cluster.plan import plan as plan_cluster
from dask_k8s_controller.plans.actions import Apply, Ask, Create, Delete, JsonPatch, Patch
from dask_k8s_controller.plans.plan import Plan
from dask_k8s_controller.scheduler.answers import Answer, Problem
from dask_k8s_controller.settings import Policy
from dask_k8s_models import labels
from tests.unit.controller.builders import (
    NOW,
    cluster,
    default_group,
    group,
    observed_cluster,
    pod_spec,
    scheduler_pod,
    service,
    time,
)


def plan(observed: ObservedCluster, policy: Policy | None = None) -> ClusterPlan:
    return plan_cluster(observed, policy or Policy())


def fresh(**spec: Any) -> ObservedCluster:
    """A cluster of which nothing exists yet."""
    return observed_cluster(cluster(**spec), pods=(), service=None, groups=())


def created(plan: ClusterPlan) -> dict[str, dict[str, Any]]:
    return {action.body["kind"]: action.body for action in plan.actions if isinstance(action, Create)}


def deleted(plan: ClusterPlan) -> set[tuple[str, str]]:
    return {(action.kind, action.uid) for action in plan.actions if isinstance(action, Delete)}


def patches(plan: ClusterPlan) -> list[Patch]:
    return [action for action in plan.actions if isinstance(action, Patch)]


def reasons(plan: ClusterPlan) -> list[str]:
    return [remark.reason for remark in plan.remarks]


class TestCreating:
    def test_all_children_are_made_at_once(self) -> None:
        creating = plan(fresh())
        assert created(creating).keys() == {"Pod", "Service", "DaskWorkerGroup"}
        assert len(creating.actions) == 3

    def test_a_cluster_that_is_as_it_should_be_is_left_alone(self) -> None:
        observed = observed_cluster()
        assert plan(observed) == Plan(observed, Policy())

    def test_what_is_missing_is_made_and_nothing_else(self) -> None:
        assert created(plan(observed_cluster(groups=()))).keys() == {"DaskWorkerGroup"}
        assert created(plan(observed_cluster(pods=()))).keys() == {"Pod"}

    def test_the_default_group_gets_the_clusters_replicas_and_remembers_them(self) -> None:
        made = created(plan(fresh(worker={"replicas": 7})))["DaskWorkerGroup"]
        assert made["spec"]["worker"]["replicas"] == 7
        assert made["metadata"]["annotations"][labels.CLUSTER_REPLICAS] == "7"

    def test_a_spec_that_the_models_refuse_needs_a_person(self) -> None:
        broken = plan(fresh(idleTimeout=-1))
        assert broken.actions == []
        assert broken.remarks[0].needs_a_person
        assert "spec.idleTimeout" in broken.remarks[0].message


class TestOneScheduler:
    def test_a_second_one_is_made_when_the_first_is_being_deleted(self) -> None:
        body = created(plan(observed_cluster(pods=(scheduler_pod(going=True),))))["Pod"]
        assert body["metadata"]["name"].startswith("c-scheduler-")

    def test_its_plain_name_is_used_when_it_is_free(self) -> None:
        dying = scheduler_pod("c-scheduler-abcde", going=True)
        body = created(plan(observed_cluster(pods=(dying,))))["Pod"]
        assert body["metadata"]["name"] == "c-scheduler"

    def test_a_foreign_pod_of_its_name_is_left_alone(self) -> None:
        making = plan(observed_cluster(pods=(), name_is_taken=True))
        assert created(making)["Pod"]["metadata"]["name"].startswith("c-scheduler-")
        assert deleted(making) == set()

    def test_one_that_failed_is_deleted_before_another_is_made(self) -> None:
        failed = scheduler_pod(phase="Failed", status={"reason": "Evicted"})
        healing = plan(observed_cluster(pods=(failed,)))
        assert deleted(healing) == {("Pod", "c-scheduler")}
        assert created(healing) == {}

    def test_one_that_fails_right_after_its_start_is_left_for_a_while(self) -> None:
        state = {"terminated": {"exitCode": 1, "finishedAt": time(-4)}}
        failed = scheduler_pod(
            phase="Failed", age=5, status={"containerStatuses": [{"name": "scheduler", "state": state}]}
        )
        healing = plan(observed_cluster(pods=(failed,)), Policy(failure_delay=10))
        assert healing.actions == []
        assert healing.requeue_at == NOW + timedelta(seconds=6)

    def test_of_two_that_run_the_ready_one_stays(self) -> None:
        two = (scheduler_pod("a", ready=False), scheduler_pod("b"))
        assert deleted(plan(observed_cluster(pods=two))) == {("Pod", "a")}

    def test_of_two_the_older_one_stays_though_its_probe_fails_just_now(self) -> None:
        unready = {"type": "Ready", "status": "False", "lastTransitionTime": time(-1)}
        started = {"name": "scheduler", "state": {"running": {"startedAt": time(-60)}}}
        old = scheduler_pod("a", age=60, status={"conditions": [unready], "containerStatuses": [started]})
        assert deleted(plan(observed_cluster(pods=(old, scheduler_pod("b", age=10))))) == {("Pod", "b")}

    def test_of_two_that_are_ready_the_older_one_stays(self) -> None:
        two = (scheduler_pod("a", age=10), scheduler_pod("b", age=20))
        assert deleted(plan(observed_cluster(pods=two))) == {("Pod", "a")}


class TestAChangedScheduler:
    changed = cluster(scheduler={"spec": pod_spec("scheduler", "dask", "scheduler", "--jupyter")})

    def observed(self, **more: Any) -> ObservedCluster:
        return observed_cluster(self.changed, **{"pods": (scheduler_pod(),), **more})

    def test_waits_until_the_cluster_is_idle(self) -> None:
        busy: Answer[float] = Answer(0)
        waiting = plan(self.observed(idle=busy))
        assert waiting.actions == []
        assert reasons(waiting) == ["SchedulerChangePending"]
        assert waiting.requeue_at is not None

    def test_asks_whether_the_cluster_is_idle(self) -> None:
        assert plan(self.observed()).questions == [Ask.IDLE]

    def test_replaces_an_idle_one(self) -> None:
        assert deleted(plan(self.observed(idle=Answer(0, 0)))) == {("Pod", "c-scheduler")}

    def test_keeps_one_that_may_have_work_since_it_was_asked(self) -> None:
        waiting = plan(self.observed(idle=Answer(-200, 100)))
        assert deleted(waiting) == set()
        assert waiting.questions == [Ask.IDLE]

    def test_keeps_one_that_does_not_answer_and_asks_again_later(self) -> None:
        silent: Answer[float] = Answer(0, None, Problem.UNREACHABLE, "timed out")
        waiting = plan(self.observed(idle=silent))
        assert deleted(waiting) == set()
        assert waiting.questions == []
        assert waiting.requeue_at == NOW + timedelta(seconds=5)

    def test_asks_one_that_did_not_answer_anew(self) -> None:
        silent: Answer[float] = Answer(-6, None, Problem.UNREACHABLE, "timed out")
        assert plan(self.observed(idle=silent)).questions == [Ask.IDLE]

    def test_replaces_one_that_is_not_ready(self) -> None:
        assert deleted(plan(self.observed(pods=(scheduler_pod(ready=False),)))) == {("Pod", "c-scheduler")}

    @pytest.mark.parametrize(("unready_since", "stays"), [(100, True), (300, False)])
    def test_keeps_one_that_was_ready_since_it_runs_though_it_is_not_now(
        self, unready_since: float, stays: bool
    ) -> None:
        """It may hold results: a probe fails while a task holds the interpreter's lock."""
        unready = {"type": "Ready", "status": "False", "lastTransitionTime": time(-unready_since)}
        started = {"name": "scheduler", "state": {"running": {"startedAt": time(-200)}}}
        pod = scheduler_pod(ready=False, status={"conditions": [unready], "containerStatuses": [started]})
        unknown: Answer[float] = Answer(0, None, Problem.UNREACHABLE, "timed out")
        changing = plan(self.observed(pods=(pod,), idle=unknown))
        assert deleted(changing) == (set() if stays else {("Pod", "c-scheduler")})
        assert reasons(changing) == (["SchedulerChangePending"] if stays else [])

    def test_replaces_a_busy_one_when_a_person_asks_for_it(self) -> None:
        changed = cluster(
            scheduler={"spec": pod_spec("scheduler", "other")},
            metadata={"annotations": {labels.RESTART: "1"}},
        )
        assert deleted(plan(observed_cluster(changed, pods=(scheduler_pod(),)))) == {("Pod", "c-scheduler")}

    def test_one_request_restarts_it_once(self) -> None:
        changed = cluster(
            scheduler={"spec": pod_spec("scheduler", "other")},
            metadata={"annotations": {labels.RESTART: "1"}},
        )
        restarted = scheduler_pod(annotations={labels.RESTART: "1"})
        assert deleted(plan(observed_cluster(changed, pods=(restarted,)))) == set()


class TestTheService:
    def test_one_that_somebody_changed_is_applied_again(self) -> None:
        changed = service(spec={"ports": [], "selector": {}})
        (action,) = plan(observed_cluster(service=changed)).actions
        assert isinstance(action, Apply)

    def test_what_the_api_server_adds_is_no_change(self) -> None:
        assert plan(observed_cluster(service=service())).actions == []

    def test_a_label_taken_off_the_cluster_is_applied(self) -> None:
        labelled = cluster(metadata={"labels": {"team": "a"}})
        (action,) = plan(observed_cluster(service=service(labelled))).actions
        assert isinstance(action, Apply)
        assert "team" not in action.body["metadata"]["labels"]

    @pytest.mark.parametrize(
        ("owners", "who"),
        [([{"kind": "Other", "name": "x", "uid": "x", "controller": True}], "the Other x"), ([], "nobody")],
    )
    def test_one_that_is_not_ours_is_left_alone_and_a_person_has_to_act(
        self, owners: list[dict[str, Any]], who: str
    ) -> None:
        stuck = plan(observed_cluster(service=service(metadata={"ownerReferences": owners})))
        assert stuck.actions == []
        assert reasons(stuck) == ["ServiceNameTaken"]
        assert stuck.remarks[0].needs_a_person
        assert who in stuck.remarks[0].message

    def test_a_name_that_is_taken_is_looked_at_again_after_a_while(self) -> None:
        stuck = plan(observed_cluster(service=service(metadata={"ownerReferences": []})))
        assert stuck.requeue_at == NOW + timedelta(seconds=10)


class TestReplicas:
    def observed(self, replicas: int, handed_on: int, present: int, **more: Any) -> ObservedCluster:
        of = cluster(worker={"replicas": replicas})
        made = default_group(of, annotations={labels.CLUSTER_REPLICAS: str(handed_on)}, replicas=present)
        return observed_cluster(of, groups=(made,), **more)

    def test_a_change_of_the_clusters_moves_the_groups(self) -> None:
        (patch,) = patches(plan(self.observed(5, handed_on=2, present=2)))
        assert patch.patch["spec"] == {"worker": {"replicas": 5}}
        assert patch.patch["metadata"]["annotations"] == {labels.CLUSTER_REPLICAS: "5"}
        assert patch.version

    def test_a_group_that_somebody_scaled_is_left_alone(self) -> None:
        assert plan(self.observed(2, handed_on=2, present=9)).actions == []

    def test_a_change_does_not_move_a_group_that_is_autoscaled(self) -> None:
        (patch,) = patches(
            plan(self.observed(5, handed_on=2, present=2, autoscaled=frozenset({"c-default"})))
        )
        assert "spec" not in patch.patch

    def test_a_default_group_made_by_hand_keeps_its_replicas(self) -> None:
        made = group(replicas=9)
        (patch,) = patches(plan(observed_cluster(groups=(made,))))
        assert "spec" not in patch.patch


class TestTheDefaultGroup:
    def test_one_that_another_controller_has_made_is_left_alone(self) -> None:
        owner = {"kind": "Other", "name": "x", "uid": "x", "controller": True}
        theirs = group(replicas=9, metadata={"ownerReferences": [owner], "annotations": {}})
        stuck = plan(observed_cluster(groups=(theirs,)))
        assert "WorkerGroupNameTaken" in reasons(stuck)
        assert not [action for action in stuck.actions if isinstance(action, JsonPatch)]

    def test_a_changed_worker_spec_is_handed_on_without_replicas(self) -> None:
        before = default_group(cluster())
        after = cluster(worker={"spec": pod_spec("worker", "other"), "drainTimeoutSeconds": 5})
        (action,) = plan(observed_cluster(after, groups=(before,))).actions
        assert isinstance(action, JsonPatch)
        assert [(step["op"], step["path"]) for step in action.operations] == [
            ("add", "/spec/worker/drainTimeoutSeconds"),
            ("add", "/spec/worker/spec"),
        ]

    def test_what_was_taken_out_of_the_worker_spec_is_taken_out_of_the_group(self) -> None:
        before = default_group(cluster(worker={"updateStrategy": {"type": "OnDelete"}}))
        (action,) = plan(observed_cluster(groups=(before,))).actions
        assert isinstance(action, JsonPatch)
        assert action.operations == ({"op": "remove", "path": "/spec/worker/updateStrategy"},)

    def test_a_label_that_is_added_later_is_handed_on(self) -> None:
        before = default_group(cluster())
        labelled = cluster(metadata={"labels": {"team": "a"}})
        (patch,) = [
            p for p in patches(plan(observed_cluster(labelled, groups=(before,)))) if "Group" in p.kind
        ]
        assert patch.patch["metadata"]["labels"] == {"team": "a"}

    def test_a_label_that_is_taken_away_later_is_taken_away(self) -> None:
        before = default_group(cluster(metadata={"labels": {"team": "a"}}))
        (patch,) = patches(plan(observed_cluster(groups=(before,))))
        assert patch.patch["metadata"]["labels"] == {"team": None}


class TestAdopting:
    def test_a_group_made_by_hand_is_adopted(self) -> None:
        extra = group("highmem", "extra", owner="")
        (patch,) = patches(plan(observed_cluster(groups=(default_group(cluster()), extra))))
        (reference,) = patch.patch["metadata"]["ownerReferences"]
        assert (reference["kind"], reference["uid"], reference["controller"]) == (
            "DaskCluster",
            "cluster",
            True,
        )
        assert patch.patch["metadata"].keys() == {"ownerReferences"}

    def test_other_owners_of_the_group_stay(self) -> None:
        owner = {"kind": "Release", "name": "r", "uid": "x", "controller": True}
        extra = group("highmem", "extra", owner="", metadata={"ownerReferences": [owner]})
        (patch,) = patches(plan(observed_cluster(groups=(default_group(cluster()), extra))))
        references = patch.patch["metadata"]["ownerReferences"]
        assert [(item["uid"], item["controller"]) for item in references] == [("x", True), ("cluster", False)]

    def test_a_group_that_was_adopted_is_left_alone(self) -> None:
        extra = group("highmem", "extra")
        assert plan(observed_cluster(groups=(default_group(cluster()), extra))).actions == []


class TestReCreating:
    def test_children_of_an_earlier_cluster_of_this_name_are_deleted_first(self) -> None:
        again = cluster(uid="again", metadata={"creationTimestamp": time()})
        clearing = plan(observed_cluster(again, groups=(default_group(cluster()),), service=service()))
        assert deleted(clearing) == {
            ("Pod", "c-scheduler"),
            ("Service", "service"),
            ("DaskWorkerGroup", "group"),
        }

    def test_the_new_scheduler_need_not_wait_for_its_name(self) -> None:
        again = cluster(uid="again")
        earlier = scheduler_pod(going=True)
        body = created(plan(observed_cluster(again, pods=(earlier,))))["Pod"]
        assert body["metadata"]["name"] != "c-scheduler"

    def test_what_is_being_deleted_is_not_deleted_again(self) -> None:
        again = cluster(uid="again", metadata={"creationTimestamp": time()})
        assert deleted(plan(observed_cluster(again, pods=(scheduler_pod(going=True),)))) == set()

    def test_names_that_are_still_taken_are_waited_for(self) -> None:
        again = cluster(uid="again")
        waiting = plan(observed_cluster(again, service=service()))
        assert "Service" not in created(waiting)


class TestSuspending:
    def test_the_scheduler_goes_and_service_and_group_stay(self) -> None:
        suspending = plan(observed_cluster(cluster(suspend=True)))
        assert deleted(suspending) == {("Pod", "c-scheduler")}
        assert reasons(suspending) == ["Suspended"]
        gone = plan(observed_cluster(cluster(suspend=True), pods=(scheduler_pod(going=True),)))
        assert deleted(gone) == set()

    def test_no_scheduler_is_made_while_suspended(self) -> None:
        assert plan(observed_cluster(cluster(suspend=True), pods=())).actions == []


class TestIdleTimeout:
    def observed(self, idle: Answer[float] | None, **more: Any) -> ObservedCluster:
        return observed_cluster(cluster(idleTimeout=300), idle=idle, **more)

    def test_without_one_the_scheduler_is_never_asked(self) -> None:
        assert plan(observed_cluster()).questions == []

    def test_the_scheduler_is_asked_since_when_it_is_idle(self) -> None:
        assert plan(self.observed(None)).questions == [Ask.IDLE]

    def test_an_idle_scheduler_is_looked_at_again_only_when_the_timeout_could_have_passed(self) -> None:
        waiting = plan(self.observed(Answer(0, 100)))
        assert waiting.questions == []
        assert waiting.requeue_at == NOW + timedelta(seconds=200)

    def test_a_busy_scheduler_is_never_deleted(self) -> None:
        waiting = plan(self.observed(Answer(0)))
        assert deleted(waiting) == set()
        assert waiting.requeue_at == NOW + timedelta(seconds=30)

    def test_an_old_answer_is_not_enough_to_delete_a_cluster(self) -> None:
        old = Answer(-200, 100)
        looking = plan(self.observed(old))
        assert deleted(looking) == set()
        assert looking.questions == [Ask.IDLE]

    def test_a_cluster_that_was_idle_for_long_enough_is_deleted(self) -> None:
        ending = plan(self.observed(Answer(0, 300)))
        assert deleted(ending) == {("DaskCluster", "cluster")}
        [notice] = ending.notices
        assert (notice.reason, "idle for 300 s" in notice.message) == ("IdleTimeout", True)

    def test_a_scheduler_that_does_not_answer_is_not_idle(self) -> None:
        silent: Answer[float] = Answer(0, None, Problem.UNREACHABLE, "timed out")
        waiting = plan(self.observed(silent))
        assert deleted(waiting) == set()
        assert reasons(waiting) == ["SchedulerUnreachable"]

    def test_a_scheduler_without_the_route_needs_a_person(self) -> None:
        old: Answer[float] = Answer(0, None, Problem.NO_ROUTE, "no such route")
        assert plan(self.observed(old)).remarks[0].needs_a_person

    def test_a_scheduler_that_is_not_ready_is_not_asked(self) -> None:
        starting = scheduler_pod(ready=False, template=cluster(idleTimeout=300).scheduler_hash)
        assert plan(self.observed(None, pods=(starting,))).questions == []


class TestAnotherOperator:
    def test_keeps_its_cluster_until_it_is_handed_over(self) -> None:
        theirs = scheduler_pod("c-scheduler-5d8f", owner=("ReplicaSet", "theirs"))
        planned = plan(observed_cluster(pods=(theirs,)))
        assert planned.actions == []
        (remark,) = planned.remarks
        assert (remark.reason, remark.needs_a_person) == ("RunByAnotherOperator", True)
        assert "dask kubernetes migrate c" in remark.message

    def test_keeps_it_while_it_is_handed_over(self) -> None:
        theirs = scheduler_pod("c-scheduler-5d8f")
        orphan = replace(theirs, meta=replace(theirs.meta, owner=None))
        assert plan(observed_cluster(pods=(orphan,))).actions == []

    def test_is_none_that_somebody_invents_beside_the_clusters_own_scheduler(self) -> None:
        forged = scheduler_pod("forged")
        forged = replace(forged, meta=replace(forged.meta, owner=None, owner_references=(), uid="forged"))
        own = scheduler_pod(template=cluster().scheduler_hash)
        planned = plan(observed_cluster(cluster(suspend=True), pods=(own, forged)))
        assert deleted(planned) == {("Pod", own.meta.uid)}
        assert "RunByAnotherOperator" not in reasons(planned)

    def test_is_forgotten_when_its_pod_has_ended(self) -> None:
        ended = scheduler_pod("old", owner=("ReplicaSet", "theirs"), phase="Failed")
        assert plan(observed_cluster(pods=(ended,))).actions
