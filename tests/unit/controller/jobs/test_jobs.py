"""A job from its beginning to its end: each test is a story without any API server."""

from __future__ import annotations

from typing import Any

import pytest

from dask_k8s_models import labels
from tests.unit.controller.builders import cluster_body, pod_body, pod_spec, time
from tests.unit.controller.jobs.story import Killed, Story, environment


def running(**spec: Any) -> Story:
    """A job whose pod runs."""
    story = Story(**spec)
    if "clusterRef" in spec:
        story.cluster_appears(spec["clusterRef"]["name"])
        story.scheduler_starts()
    story.reconciles()
    if "clusterRef" not in spec:
        story.scheduler_starts()
    story.reconciles()
    story.pod_runs()
    story.passes(5)
    story.reconciles()
    return story


class TestStarting:
    def test_the_cluster_comes_first_and_is_the_jobs(self) -> None:
        story = Story()
        story.reconciles()
        assert story.log[:2] == ["status JobCreated", "create DaskCluster j"]
        assert story.status["jobStatus"] == "ClusterCreated"
        assert story.status["clusterName"] == "j"
        assert story.cluster is not None
        (owner,) = story.cluster["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("DaskJob", "job", True)
        assert story.pods == {}
        assert story.condition("Reconciling") == ("True", "SchedulerNotReady")

    def test_the_pod_starts_when_the_scheduler_is_ready(self) -> None:
        story = Story()
        story.reconciles()
        story.scheduler_starts()
        story.reconciles()
        pod = story.pods["j-runner"]
        assert pod["metadata"]["labels"][labels.COMPONENT] == "job-runner"
        assert pod["metadata"]["labels"][labels.CLUSTER_NAME] == "j"
        assert environment(pod)["DASK_SCHEDULER_ADDRESS"] == "tcp://j-scheduler.default.svc:8786"
        assert pod["spec"]["restartPolicy"] == "OnFailure"
        assert pod["spec"]["containers"][0]["terminationMessagePolicy"] == "FallbackToLogsOnError"
        assert story.status["jobRunnerPodName"] == "j-runner"
        assert story.status["attempts"] == 1
        assert "startTime" not in story.status

    def test_it_runs(self) -> None:
        story = running()
        assert story.status["jobStatus"] == "Running"
        assert story.status["startTime"] == "2026-11-23T12:00:05Z"
        assert story.condition("Ready") == ("False", "JobRunning")

    def test_it_waits_for_workers_if_asked_to(self) -> None:
        story = Story(minReadyWorkers=2)
        story.reconciles()
        story.scheduler_starts()
        story.ready_workers = 1
        story.reconciles()
        assert story.pods == {}
        assert story.condition("Ready") == ("False", "WorkersNotReady")
        assert "1 of 2 workers" in story.conditions["Ready"]["message"]
        story.ready_workers = 2
        story.reconciles()
        assert list(story.pods) == ["j-runner"]

    def test_what_the_user_sets_wins(self) -> None:
        container = {
            "name": "job",
            "image": "dask",
            "env": [{"name": "DASK_SCHEDULER_ADDRESS", "value": "tcp://elsewhere:1"}],
            "terminationMessagePolicy": "File",
        }
        story = running(pod={"containers": [container], "restartPolicy": "Never"})
        pod = story.pods["j-runner"]
        assert environment(pod) == {"DASK_SCHEDULER_ADDRESS": "tcp://elsewhere:1"}
        assert pod["spec"]["restartPolicy"] == "Never"
        assert pod["spec"]["containers"][0]["terminationMessagePolicy"] == "File"

    def test_labels_and_annotations_flow_to_pod_and_cluster_also_later(self) -> None:
        story = running(
            metadata={
                "labels": {"team": "top", "who": "top"},
                "annotations": {"note": "top", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
            },
            job={"metadata": {"labels": {"who": "runner"}}, "spec": cluster_body()["spec"]["worker"]["spec"]},
            cluster={"metadata": {"labels": {"who": "cluster"}}, "spec": cluster_body()["spec"]},
        )
        assert story.cluster is not None
        for child, who in ((story.pods["j-runner"], "runner"), (story.cluster, "cluster")):
            assert child["metadata"]["labels"]["team"] == "top"
            assert child["metadata"]["labels"]["who"] == who
            assert child["metadata"]["annotations"]["note"] == "top"
            assert "kubectl.kubernetes.io/last-applied-configuration" not in child["metadata"]["annotations"]
        assert story.job is not None
        story.job["metadata"]["labels"] = {"team": "other"}
        story.reconciles()
        assert story.cluster["metadata"]["labels"]["team"] == "other"
        assert story.pods["j-runner"]["metadata"]["labels"]["team"] == "other"


class TestEnding:
    def test_success(self) -> None:
        story = running()
        story.passes(7)
        story.pod_ends()
        story.reconciles()
        assert story.status["jobStatus"] == "Successful"
        assert story.status["startTime"] == "2026-11-23T12:00:05Z"
        assert story.status["endTime"] == "2026-11-23T12:00:12Z"
        assert story.condition("Complete") == ("True", "Completed")
        assert story.condition("Ready") == ("True", "Ready")
        assert "Failed" not in story.conditions
        assert story.cluster is None
        assert list(story.pods) == ["j-runner"]

    def test_its_end_is_written_before_anything_goes(self) -> None:
        story = running()
        story.pod_ends()
        story.reconciles()
        assert story.log[-2:] == ["status Successful", "delete DaskCluster j"]

    def test_a_pod_that_ended_before_anybody_saw_it_run(self) -> None:
        story = Story()
        story.reconciles()
        story.scheduler_starts()
        story.reconciles()
        story.passes(3)
        story.pod_ends()
        story.reconciles()
        assert story.status["jobStatus"] == "Successful"
        assert story.status["startTime"] == "2026-11-23T12:00:00Z"
        assert story.status["endTime"] == "2026-11-23T12:00:03Z"

    @pytest.mark.parametrize(
        ("policy", "exit_code", "cluster_stays"),
        [
            ("Always", 0, False),
            ("Always", 1, False),
            ("OnSuccess", 0, False),
            ("OnSuccess", 1, True),
            ("Never", 0, True),
            ("Never", 1, True),
        ],
    )
    def test_the_cluster_goes_as_the_cleanup_policy_says(
        self, policy: str, exit_code: int, cluster_stays: bool
    ) -> None:
        story = running(cleanupPolicy=policy, backoffLimit=0)
        story.pod_ends(exit_code=exit_code)
        story.reconciles()
        assert (story.cluster is not None) == cluster_stays

    def test_the_job_goes_after_its_time_to_live(self) -> None:
        story = running(ttlSecondsAfterFinished=60)
        story.pod_ends()
        story.reconciles()
        assert story.plan.requeue_at is not None
        assert (story.plan.requeue_at - story.now).total_seconds() == 60
        story.passes(59)
        story.reconciles()
        assert story.job is not None
        story.passes(1)
        story.reconciles()
        assert story.job is None

    def test_nothing_is_done_for_a_job_that_is_being_deleted(self) -> None:
        story = Story(metadata={"deletionTimestamp": time()})
        story.reconciles()
        assert story.cluster is None
        assert story.pods == {}

    def test_nothing_changes_a_finished_job(self) -> None:
        story = running()
        story.pod_ends()
        story.reconciles()
        before = story.status
        story.user_sets(suspend=True)
        story.pod_vanishes()
        story.passes(1000)
        story.reconciles()
        assert story.pods == {}
        assert story.cluster is None
        for field in ("jobStatus", "startTime", "endTime", "attempts"):
            assert story.status[field] == before[field]
        assert story.status["observedGeneration"] == 2
        assert story.condition("Complete") == ("True", "Completed")


class TestFailing:
    def test_without_a_limit_the_kubelet_restarts_it_until_it_succeeds(self) -> None:
        story = running()
        story.container_crashes(restarts=40, waits=True)
        story.reconciles()
        assert story.status["jobStatus"] == "Running"
        assert story.condition("Reconciling") == ("True", "JobRetrying")
        assert "exit code 3: Traceback: no such file" in story.conditions["Ready"]["message"]

    def test_without_a_limit_a_pod_that_was_evicted_is_followed_by_another(self) -> None:
        story = running()
        story.pods["j-runner"]["status"] = {
            "phase": "Failed",
            "reason": "Evicted",
            "message": "low on memory",
        }
        story.passes(10)
        story.reconciles()
        assert list(story.pods) == ["j-runner", "j-runner-2"]

    def test_without_a_limit_a_pod_that_is_never_restarted_fails_the_job(self) -> None:
        story = running(pod={"restartPolicy": "Never"})
        story.pod_ends(exit_code=4, words="out of luck\n")
        story.reconciles()
        assert story.status["jobStatus"] == "Failed"
        assert story.condition("Failed") == ("True", "PodFailed")
        assert story.conditions["Failed"]["message"] == (
            "The pod j-runner failed: its container job ended with exit code 4: out of luck"
        )

    def test_no_failure_is_survived_with_limit_zero(self) -> None:
        story = running(backoffLimit=0)
        assert story.pods["j-runner"]["spec"]["restartPolicy"] == "Never"
        story.pod_ends(exit_code=4, words="out of luck\n")
        story.reconciles()
        assert story.condition("Failed") == ("True", "BackoffLimitExceeded")
        assert story.conditions["Failed"]["message"] == (
            "1 failure, and spec.backoffLimit is 0. "
            "The pod j-runner failed: its container job ended with exit code 4: out of luck"
        )
        assert story.condition("Stalled") == ("True", "BackoffLimitExceeded")
        assert story.status["attempts"] == 1
        assert list(story.pods) == ["j-runner"]
        assert story.cluster is None

    def test_a_deadline_of_the_pod_itself_would_stop_any_other_pod_too(self) -> None:
        story = running()
        story.pods["j-runner"]["status"] = {"phase": "Failed", "reason": "DeadlineExceeded"}
        story.reconciles()
        assert story.condition("Failed") == ("True", "PodFailed")
        assert "DeadlineExceeded" in story.conditions["Failed"]["message"]

    def test_an_earlier_attempt_that_still_runs_makes_room_for_the_latest(self) -> None:
        story = running(backoffLimit=1)
        earlier = story.pods["j-runner"]
        story.pod_vanishes()
        story.reconciles()
        story.pods["j-runner"] = earlier
        story.reconciles()
        assert list(story.pods) == ["j-runner-2"]

    def test_it_fails_twice_and_then_succeeds(self) -> None:
        story = running(backoffLimit=2, pod={"restartPolicy": "Never"})
        story.pod_ends(exit_code=1)
        story.reconciles()
        assert list(story.pods) == ["j-runner"]
        assert story.condition("Ready") == ("False", "BackOff")
        story.passes(10)
        story.reconciles()
        story.pod_runs("j-runner-2")
        story.pod_ends("j-runner-2", exit_code=1)
        story.reconciles()
        story.passes(19)
        story.reconciles()
        assert "j-runner-3" not in story.pods
        story.passes(1)
        story.reconciles()
        story.pod_runs("j-runner-3")
        story.reconciles()
        assert story.status["jobStatus"] == "Running"
        story.pod_ends("j-runner-3")
        story.reconciles()
        assert story.status["jobStatus"] == "Successful"
        assert story.status["attempts"] == 3
        assert story.status["jobRunnerPodName"] == "j-runner-3"
        assert list(story.pods) == ["j-runner", "j-runner-2", "j-runner-3"]

    @pytest.mark.parametrize(
        ("limit", "restarts", "waits", "fails"),
        [(1, 1, False, False), (1, 1, True, True), (1, 2, False, True), (2, 1, True, False)],
    )
    def test_restarts_of_the_container_count(
        self, limit: int, restarts: int, waits: bool, fails: bool
    ) -> None:
        story = running(backoffLimit=limit)
        story.container_crashes(restarts, waits=waits)
        story.reconciles()
        assert story.status["jobStatus"] == ("Failed" if fails else "Running")
        assert ("j-runner" in story.pods) is not fails
        if fails:
            assert "exit code 3" in story.conditions["Failed"]["message"]

    def test_a_pod_that_vanishes_counts(self) -> None:
        story = running(backoffLimit=1)
        story.pod_vanishes()
        story.reconciles()
        assert list(story.pods) == ["j-runner-2"]
        story.pod_runs("j-runner-2")
        story.reconciles()
        story.pod_vanishes("j-runner-2")
        story.reconciles()
        assert story.condition("Failed") == ("True", "BackoffLimitExceeded")
        assert "2 failures" in story.conditions["Failed"]["message"]

    def test_failures_of_pods_that_are_gone_stay_counted(self) -> None:
        story = running(backoffLimit=3)
        story.container_crashes(restarts=2, waits=False)
        story.scheduler_restarts()
        story.reconciles()
        story.reconciles()
        assert story.pods["j-runner-2"]["metadata"]["annotations"]["dask.org/failures"] in ("1", "3")


class TestDeadline:
    def test_a_job_that_takes_too_long_has_failed(self) -> None:
        story = running(activeDeadlineSeconds=60)
        assert story.plan.requeue_at is not None
        assert (story.plan.requeue_at - story.now).total_seconds() == 55
        story.passes(55)
        story.reconciles()
        assert story.status["jobStatus"] == "Failed"
        assert story.status["endTime"] == "2026-11-23T12:01:00Z"
        assert story.condition("Failed") == ("True", "DeadlineExceeded")
        assert "60 s" in story.conditions["Failed"]["message"]
        assert story.log[-3:] == ["status Failed", "delete Pod j-runner", "delete DaskCluster j"]

    def test_it_bounds_a_cluster_that_never_becomes_ready(self) -> None:
        story = Story(activeDeadlineSeconds=60)
        story.reconciles()
        story.passes(60)
        story.reconciles()
        assert story.condition("Failed") == ("True", "DeadlineExceeded")
        assert story.status["attempts"] == 0
        assert "startTime" not in story.status
        assert story.cluster is None

    def test_it_is_success_if_the_pod_ended_in_time(self) -> None:
        story = running(activeDeadlineSeconds=60)
        story.pod_ends()
        story.passes(1000)
        story.reconciles()
        assert story.status["jobStatus"] == "Successful"


class TestSuspending:
    def test_nothing_is_made_while_suspended(self) -> None:
        story = Story(suspend=True)
        story.reconciles()
        assert story.cluster is None
        assert story.status["jobStatus"] == "JobCreated"
        assert story.condition("Suspended") == ("True", "JobSuspended")
        story.user_sets(suspend=False)
        story.reconciles()
        assert story.cluster is not None
        assert story.condition("Suspended") == ("False", "JobResumed")

    def test_pods_go_after_the_status_says_why(self) -> None:
        story = running()
        story.user_sets(suspend=True)
        story.reconciles()
        assert story.log[-3:] == ["status JobCreated", "delete Pod j-runner", "delete DaskCluster j"]
        assert story.pods == {}
        assert story.cluster is None
        assert story.status["attempts"] == 1
        for field in ("startTime", "jobRunnerPodName", "clusterName"):
            assert field not in story.status

    def test_a_suspended_job_is_resumed_without_a_failure_and_its_deadline_starts_anew(self) -> None:
        story = running(backoffLimit=0, activeDeadlineSeconds=60)
        story.passes(50)
        story.user_sets(suspend=True)
        story.reconciles()
        story.passes(100)
        story.reconciles()
        story.user_sets(suspend=False)
        story.reconciles()
        story.scheduler_starts()
        story.reconciles()
        assert list(story.pods) == ["j-runner-2"]
        story.pod_runs("j-runner-2")
        story.passes(30)
        story.reconciles()
        assert story.status["startTime"] == "2026-11-23T12:03:05Z"
        assert story.plan.requeue_at is not None
        assert (story.plan.requeue_at - story.now).total_seconds() == 30
        story.pod_ends("j-runner-2")
        story.reconciles()
        assert story.status["jobStatus"] == "Successful"
        assert story.status["attempts"] == 2

    @pytest.mark.parametrize("policy", ["Never", "OnFailure"])
    def test_a_pod_that_is_stopped_by_a_suspension_has_not_failed(self, policy: str) -> None:
        story = running(backoffLimit=0, pod={"restartPolicy": policy})
        story.user_sets(suspend=True)
        pod = story.pods["j-runner"]
        story.reconciles()
        pod["metadata"]["deletionTimestamp"] = time()
        story.pods["j-runner"] = pod
        story.pod_ends(exit_code=143)
        story.reconciles()
        assert story.status["jobStatus"] == "JobCreated"
        story.user_sets(suspend=False)
        story.reconciles()
        story.scheduler_starts()
        story.reconciles()
        assert list(story.pods) == ["j-runner", "j-runner-2"]
        story.pod_vanishes()
        story.pod_runs("j-runner-2")
        story.reconciles()
        story.pod_ends("j-runner-2")
        story.reconciles()
        assert story.status["jobStatus"] == "Successful"
        assert story.status["attempts"] == 2

    def test_a_cluster_that_is_not_the_jobs_stays(self) -> None:
        story = running(clusterRef={"name": "existing"})
        story.user_sets(suspend=True)
        story.reconciles()
        assert story.pods == {}
        assert story.cluster is not None


class TestUsingACluster:
    def test_it_waits_for_it(self) -> None:
        story = Story(clusterRef={"name": "existing"})
        story.reconciles()
        assert story.condition("Ready") == ("False", "ClusterNotFound")
        assert story.status["jobStatus"] == "JobCreated"

    def test_it_waits_for_another_if_it_is_being_deleted(self) -> None:
        story = Story(clusterRef={"name": "existing"})
        story.cluster_appears()
        assert story.cluster is not None
        story.cluster["metadata"]["deletionTimestamp"] = time()
        story.reconciles()
        assert story.condition("Ready") == ("False", "ClusterTerminating")
        assert story.pods == {}

    def test_it_uses_it_and_leaves_it(self) -> None:
        story = running(clusterRef={"name": "existing"})
        pod = story.pods["j-runner"]
        assert environment(pod)["DASK_SCHEDULER_ADDRESS"] == "tcp://existing-scheduler.default.svc:8786"
        assert pod["metadata"]["labels"][labels.CLUSTER_NAME] == "existing"
        assert story.status["clusterName"] == "existing"
        story.pod_ends()
        story.reconciles()
        assert story.status["jobStatus"] == "Successful"
        assert story.cluster is not None
        assert not any(write.endswith("DaskCluster existing") for write in story.log)

    def test_a_cluster_of_the_jobs_name_that_is_not_its_own_stalls_it(self) -> None:
        story = Story()
        story.cluster_appears("j")
        story.reconciles()
        assert story.condition("Stalled") == ("True", "ClusterNameTaken")
        assert story.pods == {}

    def test_what_an_earlier_job_of_the_name_left_goes_first(self) -> None:
        story = Story()
        owner = {"kind": "DaskJob", "name": "j", "uid": "earlier", "controller": True}
        story.cluster = cluster_body("j", "old", metadata={"ownerReferences": [owner]})
        story.pods["j-runner"] = pod_body(
            "j-runner", component="job-runner", of="j", owner=("DaskJob", "earlier")
        )
        story.reconciles()
        story.scheduler_starts()
        story.reconciles()
        assert story.log[:3] == ["status JobCreated", "delete Pod j-runner", "delete DaskCluster j"]
        (owner,) = story.pods["j-runner"]["metadata"]["ownerReferences"]
        assert owner["uid"] == "job"

    def test_a_pod_of_an_earlier_job_that_holds_the_name_goes_first(self) -> None:
        story = Story()
        story.reconciles()
        story.scheduler_starts()
        owner = ("DaskJob", "earlier")
        story.pods["j-runner"] = pod_body("j-runner", component="job-runner", of="j", owner=owner)
        story.reconcile()
        assert story.pods == {}
        story.reconciles()
        (owner,) = story.pods["j-runner"]["metadata"]["ownerReferences"]
        assert owner["uid"] == "job"

    def test_a_pod_of_somebody_else_in_the_way_stalls_it(self) -> None:
        story = Story()
        story.reconciles()
        story.scheduler_starts()
        story.pods["j-runner"] = pod_body(
            "j-runner", component="job-runner", of="j", owner=("Other", "other")
        )
        story.reconciles()
        assert story.condition("Stalled") == ("True", "PodNameTaken")


class TestLosingTheScheduler:
    def test_its_sidecar_may_restart(self) -> None:
        story = running(backoffLimit=0)
        story.schedulers[0]["spec"] = pod_spec("dask-scheduler")
        started = [("proxy", 1), ("dask-scheduler", 0)]
        story.schedulers[0]["status"]["containerStatuses"] = [
            {"name": name, "restartCount": restarts} for name, restarts in started
        ]
        story.reconciles()
        assert list(story.pods) == ["j-runner"]

    @pytest.mark.parametrize("loss", ["replaced", "restarted", "gone"])
    def test_it_counts_as_one_attempt(self, loss: str) -> None:
        story = running(backoffLimit=1)
        match loss:
            case "replaced":
                story.scheduler_starts("j-scheduler-abcde")
            case "restarted":
                story.scheduler_restarts()
            case "gone":
                story.schedulers = []
        story.reconciles()
        assert "j-runner" not in story.pods
        if loss == "gone":
            assert story.pods == {}
            story.scheduler_starts("j-scheduler-fghij")
            story.reconciles()
        assert list(story.pods) == ["j-runner-2"]
        story.pod_runs("j-runner-2")
        story.reconciles()
        assert story.status["attempts"] == 2
        story.schedulers = []
        story.reconciles()
        assert story.condition("Failed") == ("True", "BackoffLimitExceeded")
        assert "lost its scheduler" in story.conditions["Failed"]["message"]

    def test_a_pod_that_had_not_begun_has_lost_nothing(self) -> None:
        story = Story(backoffLimit=0)
        story.reconciles()
        story.scheduler_starts()
        story.reconciles()
        story.scheduler_restarts()
        story.reconciles()
        story.pod_runs()
        story.reconciles()
        assert story.status["jobStatus"] == "Running"
        assert list(story.pods) == ["j-runner"]

    def test_a_success_that_came_first_stays_one(self) -> None:
        story = running(backoffLimit=0)
        story.pod_ends()
        story.schedulers = []
        story.reconciles()
        assert story.status["jobStatus"] == "Successful"

    def test_a_pod_that_obeys_when_it_is_stopped_has_not_succeeded(self) -> None:
        story = running(backoffLimit=0)
        story.pod_ends()
        story.pods["j-runner"]["metadata"]["deletionTimestamp"] = time()
        story.reconciles()
        assert story.status["jobStatus"] == "Failed"


class TestTrouble:
    def test_what_the_pod_suffers_is_told(self) -> None:
        story = Story()
        story.reconciles()
        story.scheduler_starts()
        story.reconciles()
        waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
        story.pods["j-runner"]["status"] = {
            "phase": "Pending",
            "containerStatuses": [{"name": "job", "state": waiting}],
        }
        story.reconciles()
        assert story.condition("Ready") == ("False", "ImagePullBackOff")
        assert "no such image" in story.conditions["Ready"]["message"]

    def test_what_the_cluster_suffers_is_told(self) -> None:
        story = Story()
        story.reconciles()
        assert story.cluster is not None
        ready = {"type": "Ready", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
        story.cluster["status"] = {"conditions": [ready]}
        story.reconciles()
        assert "0/3 nodes" in story.conditions["Ready"]["message"]

    def test_an_invalid_spec_needs_a_person(self) -> None:
        story = Story(backoffLimit=-1)
        story.reconciles()
        assert story.condition("Stalled") == ("True", "InvalidSpec")
        assert "backoffLimit" in story.conditions["Stalled"]["message"]


def whole_life(story: Story) -> None:
    """A failure, a lost scheduler, a suspension, success; a killed controller is restarted."""

    def reconciles() -> None:
        while True:
            try:
                return story.reconciles()
            except Killed:
                continue

    reconciles()
    story.scheduler_starts()
    reconciles()
    story.pod_runs("j-runner")
    reconciles()
    story.pod_ends("j-runner", exit_code=1)
    story.passes(10)
    reconciles()
    story.pod_runs("j-runner-2")
    reconciles()
    story.scheduler_restarts()
    story.passes(20)
    reconciles()
    story.pod_runs("j-runner-3")
    reconciles()
    story.user_sets(suspend=True)
    reconciles()
    story.user_sets(suspend=False)
    reconciles()
    story.scheduler_starts()
    story.passes(40)
    reconciles()
    story.pod_runs("j-runner-4")
    reconciles()
    story.pod_ends("j-runner-4")
    reconciles()


def test_a_controller_killed_before_any_write_changes_nothing_in_the_end() -> None:
    spec = {"backoffLimit": 2, "pod": {"restartPolicy": "Never"}}
    undisturbed = Story(**spec)
    whole_life(undisturbed)
    assert undisturbed.status["jobStatus"] == "Successful"
    assert undisturbed.status["attempts"] == 4
    for number in range(len(undisturbed.log)):
        story = Story(**spec)
        writes = iter(range(10_000))
        story.killed_before = lambda _, writes=writes, number=number: next(writes) == number  # type: ignore[misc]
        whole_life(story)
        without_times = [
            {key: value for key, value in found.status.items() if key != "conditions"}
            for found in (story, undisturbed)
        ]
        assert without_times[0] == without_times[1], f"killed before {undisturbed.log[number]}"
        assert story.cluster is None
        assert list(story.pods) == list(undisturbed.pods)
