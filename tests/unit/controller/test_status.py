"""What the status of clusters and groups says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dask_k8s_controller.cache.objects import Pod, Service
from dask_k8s_controller.cluster.observe import ObservedCluster
from dask_k8s_controller.cluster.status import first_status
from dask_k8s_controller.cluster.status import status as cluster_status
from dask_k8s_controller.kubernetes.status_writer import differs, only_counts_differ
from dask_k8s_controller.plans.actions import Failure, Outcome, Remark
from dask_k8s_controller.plans.plan import Plan
from dask_k8s_controller.scheduler.answers import Answer, Problem
from dask_k8s_controller.settings import Policy
from dask_k8s_controller.worker_group.observe import ObservedGroup
from dask_k8s_controller.worker_group.spec import WorkerGroup
from dask_k8s_controller.worker_group.status import status as group_status
from dask_k8s_models import labels
from dask_k8s_models.cluster import ClusterStatus
from dask_k8s_models.worker_group import WorkerGroupStatus
from tests.unit.controller.builders import (
    NOW,
    all_know,
    answer,
    cluster,
    default_group,
    group,
    observed_cluster,
    observed_group,
    pod_spec,
    scheduler_pod,
    service,
    time,
    worker,
    worker_pod,
)

NOTHING = Outcome()


def of_cluster(observed: ObservedCluster, *remarks: Remark, outcome: Outcome = NOTHING) -> dict[str, Any]:
    status = cluster_status(observed, Plan(observed, Policy(), remarks=[*remarks]), outcome)
    ClusterStatus.model_validate(status)
    return status


def known(of: WorkerGroup, *pods: Pod) -> ObservedGroup:
    """A group whose workers have all registered."""
    return observed_group(of, *pods, workers=all_know(*pods))


def of_group(observed: ObservedGroup, *remarks: Remark, outcome: Outcome = NOTHING) -> dict[str, Any]:
    status = group_status(observed, Plan(observed, Policy(), remarks=[*remarks]), outcome)
    WorkerGroupStatus.model_validate(status)
    return status


def condition(status: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [item for item in status["conditions"] if item["type"] == name]
    return dict(found)


def is_true(status: dict[str, Any], name: str) -> bool:
    return bool(condition(status, name)["status"] == "True")


def a_group_status(ready: int, is_ready: bool = True, **more: Any) -> dict[str, Any]:
    condition = {"type": "Ready", "status": str(is_ready), "observedGeneration": 1, **more}
    return {"replicas": 2, "readyReplicas": ready, "observedGeneration": 1, "conditions": [condition]}


def complete(of: Any = None) -> ObservedCluster:
    """A cluster whose scheduler and workers are all ready."""
    of = of or cluster()
    return observed_cluster(of, groups=(default_group(of, status=a_group_status(2)),))


class TestPhase:
    def test_created_is_the_first_word(self) -> None:
        assert first_status(observed_cluster(cluster(status={})))["phase"] == "Created"

    @pytest.mark.parametrize("missing", [{"pods": ()}, {"service": None}, {"groups": ()}])
    def test_pending_until_scheduler_service_and_group_exist(self, missing: dict[str, Any]) -> None:
        observed = observed_cluster(cluster(status={"phase": "Created"}), **missing)
        assert of_cluster(observed)["phase"] == "Pending"

    def test_running_when_they_do_whatever_the_pods_do(self) -> None:
        observed = observed_cluster(cluster(status={"phase": "Pending"}), pods=(scheduler_pod(ready=False),))
        assert of_cluster(observed)["phase"] == "Running"

    def test_running_stays_though_the_scheduler_is_being_replaced(self) -> None:
        assert of_cluster(observed_cluster(pods=()))["phase"] == "Running"

    def test_a_load_balancer_without_an_address_is_pending(self) -> None:
        of = cluster(status={"phase": "Pending"}, scheduler={"service": {"type": "LoadBalancer"}})
        waiting = service(of)
        assert of_cluster(observed_cluster(of, service=waiting))["phase"] == "Pending"
        given = replace(waiting, has_ingress=True)
        assert isinstance(given, Service)
        assert of_cluster(observed_cluster(of, service=given))["phase"] == "Running"

    def test_suspended_is_pending(self) -> None:
        assert of_cluster(observed_cluster(cluster(suspend=True), pods=()))["phase"] == "Pending"

    def test_an_invalid_spec_is_an_error(self) -> None:
        assert of_cluster(observed_cluster(cluster(idleTimeout=-1)))["phase"] == "Error"


class TestReady:
    def test_when_the_scheduler_and_all_workers_are(self) -> None:
        status = of_cluster(complete())
        assert is_true(status, "Ready")
        assert is_true(status, "SchedulerReady")
        assert is_true(status, "WorkersReady")
        assert not is_true(status, "Reconciling")
        assert not is_true(status, "Stalled")

    def test_not_while_a_worker_is_missing(self) -> None:
        of = cluster()
        lacking = default_group(of, status=a_group_status(1, is_ready=False))
        status = of_cluster(observed_cluster(of, groups=(lacking,)))
        assert not is_true(status, "Ready")
        assert is_true(status, "Reconciling")
        assert condition(status, "WorkersReady")["message"].startswith("1 of 2 workers are ready.")

    def test_stays_while_an_autoscaler_adds_workers(self) -> None:
        before = of_cluster(complete())
        of = cluster(status=before)
        growing = default_group(of, replicas=10, status=a_group_status(2, is_ready=False))
        status = of_cluster(observed_cluster(of, groups=(growing,)))
        assert is_true(status, "Ready")
        assert not is_true(status, "WorkersReady")

    def test_a_new_generation_has_to_reach_its_replicas_anew(self) -> None:
        before = of_cluster(complete())
        of = cluster(status=before, metadata={"generation": 2})
        growing = default_group(of, replicas=10, status=a_group_status(2, is_ready=False))
        assert not is_true(of_cluster(observed_cluster(of, groups=(growing,))), "Ready")

    def test_not_before_the_groups_controller_has_looked_at_the_present_spec(self) -> None:
        of = cluster()
        changed = default_group(of, status=a_group_status(2), metadata={"generation": 2})
        assert not is_true(of_cluster(observed_cluster(of, groups=(changed,))), "Ready")

    def test_not_while_a_change_could_not_be_handed_on(self) -> None:
        status = of_cluster(complete(), outcome=Outcome(has_conflicts=True))
        assert not is_true(status, "Ready")
        assert condition(status, "Ready")["reason"] == "Conflict"

    def test_not_while_the_scheduler_is_not(self) -> None:
        of = cluster(status=of_cluster(complete()))
        status = of_cluster(replace(complete(of), pods=(scheduler_pod(ready=False),)))
        assert not is_true(status, "Ready")
        assert condition(status, "Ready")["reason"] == "SchedulerNotReady"

    def test_not_while_suspended(self) -> None:
        suspended = Remark("Suspended", "spec.suspend is true")
        status = of_cluster(observed_cluster(cluster(suspend=True), pods=()), suspended)
        assert condition(status, "Ready")["reason"] == "Suspended"
        assert is_true(status, "Suspended")


class TestConditions:
    def test_what_needs_a_person_stalls(self) -> None:
        refused = Failure("Refused", 'Pod w: pods "w" is forbidden: exceeded quota', needs_a_person=True)
        status = of_group(observed_group(), outcome=Outcome((refused,)))
        assert is_true(status, "Stalled")
        assert not is_true(status, "Reconciling")
        assert "exceeded quota" in condition(status, "Stalled")["message"]
        assert "exceeded quota" in condition(status, "Ready")["message"]

    def test_what_is_tried_again_reconciles(self) -> None:
        overloaded = Failure("ApiServerFails", "Pod w: too many requests", needs_a_person=False)
        status = of_group(observed_group(), outcome=Outcome((overloaded,)))
        assert is_true(status, "Reconciling")
        assert not is_true(status, "Stalled")

    def test_the_time_of_a_transition_stays_while_the_status_does(self) -> None:
        first = of_cluster(complete())
        later = replace(complete(cluster(status=first)), now=NOW.replace(hour=13))
        assert of_cluster(later)["conditions"] == first["conditions"]

    def test_the_time_of_a_transition_is_that_of_the_change(self) -> None:
        first = of_cluster(complete())
        of = cluster(status=first)
        later = replace(observed_cluster(of, pods=()), now=NOW.replace(hour=13))
        assert condition(of_cluster(later), "Ready")["lastTransitionTime"] == "2026-11-23T13:00:00Z"

    def test_conditions_of_others_stay(self) -> None:
        theirs = {"type": "TheirsReady", "status": "True"}
        status = of_cluster(complete(cluster(status={"phase": "Running", "conditions": [theirs]})))
        assert theirs in status["conditions"]


class TestCounts:
    def test_of_each_group(self) -> None:
        extra = group("highmem", "extra", status={"replicas": 3, "readyReplicas": 1})
        of = cluster()
        made = default_group(of, status={"replicas": 2, "readyReplicas": 2})
        status = of_cluster(observed_cluster(of, groups=(extra, made)))
        assert status["workerGroups"] == [
            {"name": "c-default", "replicas": 2, "readyReplicas": 2},
            {"name": "highmem", "replicas": 3, "readyReplicas": 1},
        ]

    def test_of_no_group_that_is_being_deleted(self) -> None:
        of = cluster()
        going = group("highmem", "extra", metadata={"deletionTimestamp": time()})
        status = of_cluster(observed_cluster(of, groups=(going, default_group(of))))
        assert [found["name"] for found in status["workerGroups"]] == ["c-default"]

    def test_a_clusters_own_are_those_of_its_default_group(self) -> None:
        status = of_cluster(complete())
        assert (status["replicas"], status["readyReplicas"]) == (2, 2)
        assert status["selector"] == labels.selector(labels.worker("c", "c-default"))

    def test_a_groups_are_those_of_its_pods(self) -> None:
        pods = (
            worker_pod("w1"),
            worker_pod("w2", ready=False),
            worker_pod("w3", template="old"),
            worker_pod("w4", going=True),
            worker_pod("w5", phase="Failed"),
        )
        status = of_group(known(group(replicas=3), *pods))
        assert (status["replicas"], status["readyReplicas"], status["updatedReplicas"]) == (3, 2, 2)
        assert status["selector"] == labels.selector(labels.worker("c", "c-default"))

    def test_a_group_is_ready_when_it_has_reached_its_replicas(self) -> None:
        assert is_true(of_group(known(group(), worker_pod("w1"), worker_pod("w2"))), "Ready")
        assert not is_true(of_group(known(group(), worker_pod("w1"))), "Ready")

    def test_a_group_of_no_workers_is_ready(self) -> None:
        assert is_true(of_group(observed_group(group(replicas=0))), "Ready")

    def test_a_group_with_outdated_workers_is_not_ready(self) -> None:
        pods = (worker_pod("w1"), worker_pod("w2", template="old"))
        assert not is_true(of_group(known(group(), *pods)), "Ready")


class TestReadyWorkers:
    """A worker is ready when the scheduler knows it."""

    pods = (worker_pod("w1"), worker_pod("w2"))

    def counts(self, workers: Answer[Any] | None, before: int = 0) -> tuple[int, bool]:
        of = group(status={"readyReplicas": before})
        status = of_group(observed_group(of, *self.pods, workers=workers))
        return status["readyReplicas"], is_true(status, "Ready")

    @pytest.mark.parametrize("connected", [0, 1, 2])
    def test_are_those_that_are_connected(self, connected: int) -> None:
        assert self.counts(all_know(*self.pods[:connected])) == (connected, connected == 2)

    def test_are_no_more_than_before_until_the_scheduler_has_answered(self) -> None:
        assert self.counts(None) == (0, False)
        assert self.counts(None, before=2) == (2, True)

    def test_are_those_of_ready_pods_where_the_scheduler_can_not_be_asked(self) -> None:
        assert self.counts(Answer(0, None, Problem.UNREACHABLE, "out of reach")) == (2, True)

    def test_may_be_such_as_no_pod_explains(self) -> None:
        assert self.counts(answer(worker("10.9.9.9:1"), worker("10.9.9.9:2"))) == (2, True)


class TestAddresses:
    def test_are_those_of_the_service(self) -> None:
        status = of_cluster(complete())
        assert status["schedulerAddress"] == "tcp://c-scheduler.default.svc:8786"
        assert status["dashboardAddress"] == "http://c-scheduler.default.svc:8787"

    def test_follow_the_services_own_ports(self) -> None:
        ports = [{"name": "tcp-comm", "port": 1234}]
        of = cluster(scheduler={"spec": pod_spec("scheduler"), "service": {"ports": ports}})
        status = of_cluster(observed_cluster(of))
        assert status["schedulerAddress"] == "tcp://c-scheduler.default.svc:1234"
        assert "dashboardAddress" not in status

    def test_say_the_protocol_and_the_prefix_of_the_scheduler(self) -> None:
        spec = pod_spec("proxy")
        command = ["dask", "scheduler", "--protocol", "ws", "--dashboard-prefix", "/pod/8787"]
        spec["containers"].append({"name": "dask-scheduler", "image": "dask", "args": command})
        status = of_cluster(observed_cluster(cluster(scheduler={"spec": spec})))
        assert status["schedulerAddress"] == "ws://c-scheduler.default.svc:8786"
        assert status["dashboardAddress"] == "http://c-scheduler.default.svc:8787/pod/8787"


class TestWhatPodsSuffer:
    def waiting(self, reason: str, message: str, **more: Any) -> dict[str, Any]:
        state = {"waiting": {"reason": reason, "message": message}}
        return {"containerStatuses": [{"name": "worker", "state": state, **more}]}

    def message(self, status: dict[str, Any]) -> str:
        of = observed_group(
            group(spec=pod_spec("worker", "dask-worker", "--nthreads", "1"), replicas=1),
            worker_pod("w1", phase="Pending", status=status),
        )
        ready = condition(of_group(of), "Ready")
        return f"{ready['reason']}: {ready['message']}"

    def test_an_image_that_can_not_be_pulled(self) -> None:
        assert (
            self.message(self.waiting("ImagePullBackOff", 'Back-off pulling image "nope"'))
            == 'ImagePullBackOff: Pod w1: ImagePullBackOff: Back-off pulling image "nope"'
        )

    def test_no_node_that_takes_it(self) -> None:
        unschedulable = {
            "conditions": [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "Unschedulable",
                    "message": "0/1 nodes are available: 1 Insufficient cpu.",
                }
            ]
        }
        assert self.message(unschedulable) == (
            "Unschedulable: Pod w1: 0/1 nodes are available: 1 Insufficient cpu."
        )

    def test_a_queue_that_has_yet_to_let_it_in(self) -> None:
        pod = replace(worker_pod("w1", phase="Pending"), gates=("kueue.x-k8s.io/admission",))
        ready = condition(of_group(observed_group(group(replicas=1), pod)), "Ready")
        assert ready["reason"] == "SchedulingGated"
        assert ready["message"] == "Pod w1 waits to be let in by kueue.x-k8s.io/admission."

    def test_a_crash_with_the_remedy_if_it_is_known(self) -> None:
        crashed = self.waiting(
            "CrashLoopBackOff",
            "back-off 10s restarting failed container",
            lastState={"terminated": {"exitCode": 127, "reason": "Error"}},
        )
        message = self.message(crashed)
        assert "CrashLoopBackOff" in message
        assert "exit code 127" in message
        assert "use `dask worker`" in message

    def test_the_container_that_made_the_pod_fail(self) -> None:
        def ended(name: str, code: int) -> dict[str, Any]:
            return {"name": name, "state": {"terminated": {"exitCode": code}}}

        status = {"containerStatuses": [ended("logs", 0), ended("worker", 3)]}
        failed = observed_group(group(replicas=1), worker_pod("w1", phase="Failed", status=status))
        message = condition(of_group(failed), "Ready")["message"]
        assert "the container worker ended with exit code 3" in message

    def test_many_pods_that_suffer_the_same_are_told_once(self) -> None:
        status = self.waiting("ImagePullBackOff", "no")
        pods = [worker_pod(f"w{n}", phase="Pending", status=status) for n in range(3)]
        message = condition(of_group(observed_group(group(replicas=3), *pods)), "Ready")["message"]
        assert message == "Pod w0: ImagePullBackOff: no (3 pods)"

    def test_pods_that_merely_start_suffer_nothing(self) -> None:
        starting = worker_pod("w1", phase="Pending", status=self.waiting("ContainerCreating", ""))
        ready = condition(of_group(observed_group(group(replicas=1), starting)), "Ready")
        assert ready["reason"] == "WorkersNotReady"

    def test_the_cluster_tells_what_its_groups_suffer(self) -> None:
        crash = {
            "type": "Ready",
            "status": "False",
            "reason": "CrashLoopBackOff",
            "message": "Pod w1: CrashLoopBackOff: …",
        }
        suffering = default_group(cluster(), status={"readyReplicas": 0, "conditions": [crash]})
        told = condition(of_cluster(observed_cluster(groups=(suffering,))), "Ready")
        assert told["reason"] == "CrashLoopBackOff"
        assert "Group c-default: Pod w1: CrashLoopBackOff" in told["message"]

    def test_the_schedulers_own_suffering_comes_first(self) -> None:
        status = {
            "containerStatuses": [
                {"name": "scheduler", "state": {"waiting": {"reason": "ErrImagePull", "message": "denied"}}}
            ]
        }
        pulling = scheduler_pod(phase="Pending", status=status)
        told = condition(of_cluster(observed_cluster(pods=(pulling,))), "Ready")
        assert told["reason"] == "ErrImagePull"
        assert "denied" in told["message"]


class TestWriting:
    def test_a_status_that_is_the_same_is_not_written(self) -> None:
        status = of_cluster(complete())
        assert not differs(of_cluster(complete(cluster(status=status))), status)

    def test_fields_of_others_make_no_difference(self) -> None:
        status = of_cluster(complete())
        assert not differs(status, {**status, "plugin": "x"})

    def test_numbers_alone_may_be_written_later(self) -> None:
        of = group(replicas=3)
        one = of_group(known(of, worker_pod("w1")))
        two = of_group(known(of, worker_pod("w1"), worker_pod("w2")))
        assert differs(two, one)
        assert only_counts_differ(two, one)
        three = of_group(known(of, *(worker_pod(f"w{n}") for n in range(3))))
        assert not only_counts_differ(three, two)


def test_a_time_in_a_status_is_as_kubernetes_writes_it() -> None:
    status = first_status(observed_cluster(cluster(status={})))
    assert condition(status, "Ready")["lastTransitionTime"] == "2026-11-23T12:00:00Z"
    assert time() != "2026-11-23T12:00:00Z"
