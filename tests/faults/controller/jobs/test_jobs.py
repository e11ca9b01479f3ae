"""A job from its beginning to its end: each test is a story, told reconcile by reconcile."""

from __future__ import annotations

from typing import Any

import pytest

from dask_k8s_local import LocalKubernetes
from dask_k8s_models import labels
from tests.faults.controller.jobs.story import JOBS, Story, environment
from tests.harness.by_hand import ControllerByHand, a_controller
from tests.harness.kube import Kube
from tests.unit.controller.builders import cluster_body


async def running(controller: ControllerByHand, **spec: Any) -> Story:
    """A job whose pod runs."""
    story = Story(controller, **spec)
    if "clusterRef" in spec:
        story.cluster_appears(spec["clusterRef"]["name"])
        story.scheduler_starts()
    await story.reconciles()
    if "clusterRef" not in spec:
        story.scheduler_starts()
    await story.reconciles()
    story.pod_runs()
    story.passes(5)
    await story.reconciles()
    return story


class TestStarting:
    async def test_the_cluster_comes_first_and_is_the_jobs(self, controller: ControllerByHand) -> None:
        story = Story(controller)
        await story.reconciles()
        assert story.log[:2] == ["patch daskjobs/status", "create daskclusters"]
        assert story.status["jobStatus"] == "ClusterCreated"
        assert story.status["clusterName"] == "j"
        assert story.cluster is not None
        (owner,) = story.cluster["metadata"]["ownerReferences"]
        assert story.job is not None
        assert owner["uid"] == story.job["metadata"]["uid"]
        assert (owner["kind"], owner["controller"]) == ("DaskJob", True)
        assert story.pods == {}
        assert story.condition("Reconciling") == ("True", "SchedulerNotReady")

    async def test_the_pod_starts_when_the_scheduler_is_ready(self, controller: ControllerByHand) -> None:
        story = Story(controller)
        await story.reconciles()
        story.scheduler_starts()
        await story.reconciles()
        pod = story.pods["j-runner"]
        assert pod["metadata"]["labels"][labels.COMPONENT] == "job-runner"
        assert pod["metadata"]["labels"][labels.CLUSTER_NAME] == "j"
        assert environment(pod)["DASK_SCHEDULER_ADDRESS"] == f"tcp://j-scheduler.{story.namespace}.svc:8786"
        assert pod["spec"]["restartPolicy"] == "OnFailure"
        assert pod["spec"]["containers"][0]["terminationMessagePolicy"] == "FallbackToLogsOnError"
        assert story.status["jobRunnerPodName"] == "j-runner"
        assert story.status["attempts"] == 1
        assert "startTime" not in story.status

    async def test_it_runs(self, controller: ControllerByHand) -> None:
        story = await running(controller)
        assert story.status["jobStatus"] == "Running"
        assert story.status["startTime"] == story.at(5)
        assert story.condition("Ready") == ("False", "JobRunning")

    async def test_it_waits_for_workers_if_asked_to(self, controller: ControllerByHand) -> None:
        story = Story(controller, minReadyWorkers=2)
        await story.reconciles()
        story.scheduler_starts()
        story.workers_are_ready(1)
        await story.reconciles()
        assert story.pods == {}
        assert story.condition("Ready") == ("False", "WorkersNotReady")
        assert "1 of 2 workers" in story.conditions["Ready"]["message"]
        story.workers_are_ready(2)
        await story.reconciles()
        assert list(story.pods) == ["j-runner"]

    async def test_what_the_user_sets_wins(self, controller: ControllerByHand) -> None:
        container = {
            "name": "job",
            "image": "dask",
            "env": [{"name": "DASK_SCHEDULER_ADDRESS", "value": "tcp://elsewhere:1"}],
            "terminationMessagePolicy": "File",
        }
        story = await running(controller, pod={"containers": [container], "restartPolicy": "Never"})
        pod = story.pods["j-runner"]
        assert environment(pod) == {"DASK_SCHEDULER_ADDRESS": "tcp://elsewhere:1"}
        assert pod["spec"]["restartPolicy"] == "Never"
        assert pod["spec"]["containers"][0]["terminationMessagePolicy"] == "File"

    async def test_labels_and_annotations_flow_to_pod_and_cluster_also_later(
        self, controller: ControllerByHand
    ) -> None:
        story = await running(
            controller,
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
        relabelled = {"metadata": {"labels": {"team": "other", "who": None}}}
        story.kube.patch(JOBS, "j", relabelled, story.namespace)
        await story.reconciles()
        assert story.cluster["metadata"]["labels"]["team"] == "other"
        assert story.pods["j-runner"]["metadata"]["labels"]["team"] == "other"


class TestEnding:
    async def test_success(self, controller: ControllerByHand) -> None:
        story = await running(controller)
        story.passes(7)
        story.pod_ends()
        await story.reconciles()
        assert story.status["jobStatus"] == "Successful"
        assert story.status["startTime"] == story.at(5)
        assert story.status["endTime"] == story.at(12)
        assert story.condition("Complete") == ("True", "Completed")
        assert story.condition("Ready") == ("True", "Ready")
        assert "Failed" not in story.conditions
        assert story.cluster is None
        assert list(story.pods) == ["j-runner"]

    async def test_its_end_is_written_before_anything_goes(self, controller: ControllerByHand) -> None:
        story = await running(controller)
        story.pod_ends()
        await story.reconciles()
        assert story.log[-2:] == ["patch daskjobs/status", "delete daskclusters"]

    async def test_a_pod_that_ended_before_anybody_saw_it_run(self, controller: ControllerByHand) -> None:
        story = Story(controller)
        await story.reconciles()
        story.scheduler_starts()
        await story.reconciles()
        story.passes(3)
        story.pod_ends()
        await story.reconciles()
        assert story.status["jobStatus"] == "Successful"
        assert story.status["startTime"] == story.pods["j-runner"]["metadata"]["creationTimestamp"]
        assert story.status["endTime"] == story.at(3)

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
    async def test_the_cluster_goes_as_the_cleanup_policy_says(
        self, controller: ControllerByHand, policy: str, exit_code: int, cluster_stays: bool
    ) -> None:
        story = await running(controller, cleanupPolicy=policy, backoffLimit=0)
        story.pod_ends(exit_code=exit_code)
        await story.reconciles()
        assert (story.cluster is not None) == cluster_stays

    async def test_the_job_goes_after_its_time_to_live(self, controller: ControllerByHand) -> None:
        story = await running(controller, ttlSecondsAfterFinished=60)
        story.pod_ends()
        await story.reconciles()
        assert story.requeue.after == 60
        story.passes(59)
        await story.reconciles()
        assert story.job is not None
        story.passes(1)
        await story.reconciles()
        assert story.job is None

    async def test_nothing_is_done_for_a_job_that_is_being_deleted(
        self, controller: ControllerByHand
    ) -> None:
        story = Story(controller, metadata={"finalizers": ["tests.example.com/hold"]})
        story.kube.delete(JOBS, "j", story.namespace)
        await story.reconciles()
        assert story.cluster is None
        assert story.pods == {}

    async def test_nothing_changes_a_finished_job(self, controller: ControllerByHand) -> None:
        story = await running(controller)
        story.pod_ends()
        await story.reconciles()
        before = story.status
        story.user_sets(suspend=True)
        story.pod_vanishes()
        story.passes(1000)
        await story.reconciles()
        assert story.pods == {}
        assert story.cluster is None
        for field in ("jobStatus", "startTime", "endTime", "attempts"):
            assert story.status[field] == before[field]
        assert story.status["observedGeneration"] == 2
        assert story.condition("Complete") == ("True", "Completed")


class TestFailing:
    async def test_without_a_limit_the_kubelet_restarts_it_until_it_succeeds(
        self, controller: ControllerByHand
    ) -> None:
        story = await running(controller)
        story.container_crashes(restarts=40, waits=True)
        await story.reconciles()
        assert story.status["jobStatus"] == "Running"
        assert story.condition("Reconciling") == ("True", "JobRetrying")
        assert "exit code 3: Traceback: no such file" in story.conditions["Ready"]["message"]

    async def test_without_a_limit_a_pod_that_was_evicted_is_followed_by_another(
        self, controller: ControllerByHand
    ) -> None:
        story = await running(controller)
        story.pod_fails("Evicted", "low on memory")
        story.passes(10)
        await story.reconciles()
        assert list(story.pods) == ["j-runner", "j-runner-2"]

    async def test_without_a_limit_a_pod_that_is_never_restarted_fails_the_job(
        self, controller: ControllerByHand
    ) -> None:
        story = await running(controller, pod={"restartPolicy": "Never"})
        story.pod_ends(exit_code=4, words="out of luck\n")
        await story.reconciles()
        assert story.status["jobStatus"] == "Failed"
        assert story.condition("Failed") == ("True", "PodFailed")
        assert story.conditions["Failed"]["message"] == (
            "The pod j-runner failed: its container job ended with exit code 4: out of luck"
        )

    async def test_no_failure_is_survived_with_limit_zero(self, controller: ControllerByHand) -> None:
        story = await running(controller, backoffLimit=0)
        assert story.pods["j-runner"]["spec"]["restartPolicy"] == "Never"
        story.pod_ends(exit_code=4, words="out of luck\n")
        await story.reconciles()
        assert story.condition("Failed") == ("True", "BackoffLimitExceeded")
        assert story.conditions["Failed"]["message"] == (
            "1 failure, and spec.backoffLimit is 0. "
            "The pod j-runner failed: its container job ended with exit code 4: out of luck"
        )
        assert story.condition("Stalled") == ("True", "BackoffLimitExceeded")
        assert story.status["attempts"] == 1
        assert list(story.pods) == ["j-runner"]
        assert story.cluster is None

    async def test_a_deadline_of_the_pod_itself_would_stop_any_other_pod_too(
        self, controller: ControllerByHand
    ) -> None:
        story = await running(controller)
        story.pod_fails("DeadlineExceeded")
        await story.reconciles()
        assert story.condition("Failed") == ("True", "PodFailed")
        assert "DeadlineExceeded" in story.conditions["Failed"]["message"]

    async def test_an_earlier_attempt_that_still_runs_makes_room_for_the_latest(
        self, controller: ControllerByHand
    ) -> None:
        story = await running(controller, backoffLimit=1)
        story.pod_vanishes()
        await story.reconciles()
        story.runner_comes_back()
        await story.reconciles()
        assert list(story.pods) == ["j-runner-2"]

    async def test_it_fails_twice_and_then_succeeds(self, controller: ControllerByHand) -> None:
        story = await running(controller, backoffLimit=2, pod={"restartPolicy": "Never"})
        story.pod_ends(exit_code=1)
        await story.reconciles()
        assert list(story.pods) == ["j-runner"]
        assert story.condition("Ready") == ("False", "BackOff")
        story.passes(10)
        await story.reconciles()
        story.pod_runs("j-runner-2")
        story.pod_ends("j-runner-2", exit_code=1)
        await story.reconciles()
        story.passes(19)
        await story.reconciles()
        assert "j-runner-3" not in story.pods
        story.passes(1)
        await story.reconciles()
        story.pod_runs("j-runner-3")
        await story.reconciles()
        assert story.status["jobStatus"] == "Running"
        story.pod_ends("j-runner-3")
        await story.reconciles()
        assert story.status["jobStatus"] == "Successful"
        assert story.status["attempts"] == 3
        assert story.status["jobRunnerPodName"] == "j-runner-3"
        assert list(story.pods) == ["j-runner", "j-runner-2", "j-runner-3"]

    @pytest.mark.parametrize(
        ("limit", "restarts", "waits", "fails"),
        [(1, 1, False, False), (1, 1, True, True), (1, 2, False, True), (2, 1, True, False)],
    )
    async def test_restarts_of_the_container_count(
        self, controller: ControllerByHand, limit: int, restarts: int, waits: bool, fails: bool
    ) -> None:
        story = await running(controller, backoffLimit=limit)
        story.container_crashes(restarts, waits=waits)
        await story.reconciles()
        assert story.status["jobStatus"] == ("Failed" if fails else "Running")
        assert ("j-runner" in story.pods) is not fails
        if fails:
            assert "exit code 3" in story.conditions["Failed"]["message"]

    async def test_a_pod_that_vanishes_counts(self, controller: ControllerByHand) -> None:
        story = await running(controller, backoffLimit=1)
        story.pod_vanishes()
        await story.reconciles()
        assert list(story.pods) == ["j-runner-2"]
        story.pod_runs("j-runner-2")
        await story.reconciles()
        story.pod_vanishes("j-runner-2")
        await story.reconciles()
        assert story.condition("Failed") == ("True", "BackoffLimitExceeded")
        assert "2 failures" in story.conditions["Failed"]["message"]

    async def test_failures_of_pods_that_are_gone_stay_counted(self, controller: ControllerByHand) -> None:
        story = await running(controller, backoffLimit=3)
        story.container_crashes(restarts=2, waits=False)
        story.scheduler_restarts()
        await story.reconciles()
        await story.reconciles()
        assert story.pods["j-runner-2"]["metadata"]["annotations"]["dask.org/failures"] in ("1", "3")


class TestDeadline:
    async def test_a_job_that_takes_too_long_has_failed(self, controller: ControllerByHand) -> None:
        story = await running(controller, activeDeadlineSeconds=60)
        assert story.requeue.after == 55
        story.passes(55)
        await story.reconciles()
        assert story.status["jobStatus"] == "Failed"
        assert story.status["endTime"] == story.at(60)
        assert story.condition("Failed") == ("True", "DeadlineExceeded")
        assert "60 s" in story.conditions["Failed"]["message"]
        told, *gone = story.log[-3:]
        assert told == "patch daskjobs/status"
        assert sorted(gone) == ["delete daskclusters", "delete pods"]

    async def test_it_bounds_a_cluster_that_never_becomes_ready(self, controller: ControllerByHand) -> None:
        story = Story(controller, activeDeadlineSeconds=60)
        await story.reconciles()
        story.passes(60)
        await story.reconciles()
        assert story.condition("Failed") == ("True", "DeadlineExceeded")
        assert story.status["attempts"] == 0
        assert "startTime" not in story.status
        assert story.cluster is None

    async def test_it_is_success_if_the_pod_ended_in_time(self, controller: ControllerByHand) -> None:
        story = await running(controller, activeDeadlineSeconds=60)
        story.pod_ends()
        story.passes(1000)
        await story.reconciles()
        assert story.status["jobStatus"] == "Successful"


class TestSuspending:
    async def test_nothing_is_made_while_suspended(self, controller: ControllerByHand) -> None:
        story = Story(controller, suspend=True)
        await story.reconciles()
        assert story.cluster is None
        assert story.status["jobStatus"] == "JobCreated"
        assert story.condition("Suspended") == ("True", "JobSuspended")
        story.user_sets(suspend=False)
        await story.reconciles()
        assert story.cluster is not None
        assert story.condition("Suspended") == ("False", "JobResumed")

    async def test_pods_go_after_the_status_says_why(self, controller: ControllerByHand) -> None:
        story = await running(controller)
        story.user_sets(suspend=True)
        await story.reconciles()
        told, *gone = story.log[-3:]
        assert told == "patch daskjobs/status"
        assert sorted(gone) == ["delete daskclusters", "delete pods"]
        assert story.pods == {}
        assert story.cluster is None
        assert story.status["attempts"] == 1
        for field in ("startTime", "jobRunnerPodName", "clusterName"):
            assert field not in story.status

    async def test_a_suspended_job_is_resumed_without_a_failure_and_its_deadline_starts_anew(
        self, controller: ControllerByHand
    ) -> None:
        story = await running(controller, backoffLimit=0, activeDeadlineSeconds=60)
        story.passes(50)
        story.user_sets(suspend=True)
        await story.reconciles()
        story.passes(100)
        await story.reconciles()
        story.user_sets(suspend=False)
        await story.reconciles()
        story.scheduler_starts()
        await story.reconciles()
        assert list(story.pods) == ["j-runner-2"]
        story.pod_runs("j-runner-2")
        story.passes(30)
        await story.reconciles()
        assert story.status["startTime"] == story.at(185)
        assert story.requeue.after == 30
        story.pod_ends("j-runner-2")
        await story.reconciles()
        assert story.status["jobStatus"] == "Successful"
        assert story.status["attempts"] == 2

    @pytest.mark.parametrize("policy", ["Never", "OnFailure"])
    async def test_a_pod_that_is_stopped_by_a_suspension_has_not_failed(
        self, controller: ControllerByHand, policy: str
    ) -> None:
        story = await running(controller, backoffLimit=0, pod={"restartPolicy": policy})
        story.pod_takes_its_time()
        story.user_sets(suspend=True)
        await story.reconciles()
        story.pod_ends(exit_code=143)
        await story.reconciles()
        assert story.status["jobStatus"] == "JobCreated"
        story.user_sets(suspend=False)
        await story.reconciles()
        story.scheduler_starts()
        await story.reconciles()
        assert list(story.pods) == ["j-runner", "j-runner-2"]
        story.pod_vanishes()
        story.pod_runs("j-runner-2")
        await story.reconciles()
        story.pod_ends("j-runner-2")
        await story.reconciles()
        assert story.status["jobStatus"] == "Successful"
        assert story.status["attempts"] == 2

    async def test_a_cluster_that_is_not_the_jobs_stays(self, controller: ControllerByHand) -> None:
        story = await running(controller, clusterRef={"name": "existing"})
        story.user_sets(suspend=True)
        await story.reconciles()
        assert story.pods == {}
        assert story.cluster is not None


class TestUsingACluster:
    async def test_it_waits_for_it(self, controller: ControllerByHand) -> None:
        story = Story(controller, clusterRef={"name": "existing"})
        await story.reconciles()
        assert story.condition("Ready") == ("False", "ClusterNotFound")
        assert story.status["jobStatus"] == "JobCreated"

    async def test_it_waits_for_another_if_it_is_being_deleted(self, controller: ControllerByHand) -> None:
        story = Story(controller, clusterRef={"name": "existing"})
        story.cluster_appears()
        story.cluster_is_deleted()
        await story.reconciles()
        assert story.condition("Ready") == ("False", "ClusterTerminating")
        assert story.pods == {}

    async def test_it_uses_it_and_leaves_it(self, controller: ControllerByHand) -> None:
        story = await running(controller, clusterRef={"name": "existing"})
        pod = story.pods["j-runner"]
        assert (
            environment(pod)["DASK_SCHEDULER_ADDRESS"]
            == f"tcp://existing-scheduler.{story.namespace}.svc:8786"
        )
        assert pod["metadata"]["labels"][labels.CLUSTER_NAME] == "existing"
        assert story.status["clusterName"] == "existing"
        story.pod_ends()
        await story.reconciles()
        assert story.status["jobStatus"] == "Successful"
        assert story.cluster is not None
        assert not [write for write in story.log if "daskclusters" in write]

    async def test_a_cluster_of_the_jobs_name_that_is_not_its_own_stalls_it(
        self, controller: ControllerByHand
    ) -> None:
        story = Story(controller)
        story.cluster_appears("j")
        await story.reconciles()
        assert story.condition("Stalled") == ("True", "ClusterNameTaken")
        assert story.pods == {}

    async def test_a_pod_of_somebody_else_in_the_way_stalls_it(self, controller: ControllerByHand) -> None:
        story = Story(controller)
        await story.reconciles()
        story.scheduler_starts()
        story.somebody_makes_a_pod("j-runner")
        await story.reconciles()
        assert story.condition("Stalled") == ("True", "PodNameTaken")


class TestLosingTheScheduler:
    async def test_its_sidecar_may_restart(self, controller: ControllerByHand) -> None:
        story = await running(controller, backoffLimit=0)
        story.sidecar_restarts()
        await story.reconciles()
        assert list(story.pods) == ["j-runner"]

    @pytest.mark.parametrize("loss", ["replaced", "restarted", "gone"])
    async def test_it_counts_as_one_attempt(self, controller: ControllerByHand, loss: str) -> None:
        story = await running(controller, backoffLimit=1)
        match loss:
            case "replaced":
                story.scheduler_starts("j-scheduler-abcde")
            case "restarted":
                story.scheduler_restarts()
            case "gone":
                story.scheduler_goes()
        await story.reconciles()
        assert "j-runner" not in story.pods
        if loss == "gone":
            assert story.pods == {}
            story.scheduler_starts("j-scheduler-fghij")
            await story.reconciles()
        assert list(story.pods) == ["j-runner-2"]
        story.pod_runs("j-runner-2")
        await story.reconciles()
        assert story.status["attempts"] == 2
        story.scheduler_goes()
        await story.reconciles()
        assert story.condition("Failed") == ("True", "BackoffLimitExceeded")
        assert "lost its scheduler" in story.conditions["Failed"]["message"]

    async def test_a_pod_that_had_not_begun_has_lost_nothing(self, controller: ControllerByHand) -> None:
        story = Story(controller, backoffLimit=0)
        await story.reconciles()
        story.scheduler_starts()
        await story.reconciles()
        story.scheduler_restarts()
        await story.reconciles()
        story.pod_runs()
        await story.reconciles()
        assert story.status["jobStatus"] == "Running"
        assert list(story.pods) == ["j-runner"]

    async def test_a_success_that_came_first_stays_one(self, controller: ControllerByHand) -> None:
        story = await running(controller, backoffLimit=0)
        story.pod_ends()
        story.scheduler_goes()
        await story.reconciles()
        assert story.status["jobStatus"] == "Successful"

    async def test_a_pod_that_obeys_when_it_is_stopped_has_not_succeeded(
        self, controller: ControllerByHand
    ) -> None:
        story = await running(controller, backoffLimit=0)
        story.pod_takes_its_time()
        story.kube.delete("pods", "j-runner", story.namespace)
        story.pod_ends()
        await story.reconciles()
        assert story.status["jobStatus"] == "Failed"


class TestTrouble:
    async def test_what_the_pod_suffers_is_told(self, controller: ControllerByHand) -> None:
        story = Story(controller)
        await story.reconciles()
        story.scheduler_starts()
        await story.reconciles()
        story.pod_waits("ImagePullBackOff", "no such image")
        await story.reconciles()
        assert story.condition("Ready") == ("False", "ImagePullBackOff")
        assert "no such image" in story.conditions["Ready"]["message"]

    async def test_what_the_cluster_suffers_is_told(self, controller: ControllerByHand) -> None:
        story = Story(controller)
        await story.reconciles()
        story.cluster_suffers("Unschedulable", "0/3 nodes")
        story.passes(1)  # What only words it otherwise is written a little later.
        await story.reconciles()
        assert "0/3 nodes" in story.conditions["Ready"]["message"]


async def whole_life(story: Story, killed_before: int = 0) -> None:
    """A failure, a lost scheduler, a suspension, success; a killed controller is followed by another."""

    async def reconciles() -> None:
        await story.reconciles_killed_before(killed_before)

    await reconciles()
    story.scheduler_starts()
    await reconciles()
    story.pod_runs("j-runner")
    await reconciles()
    story.pod_ends("j-runner", exit_code=1)
    story.passes(10)
    await reconciles()
    story.pod_runs("j-runner-2")
    await reconciles()
    story.scheduler_restarts()
    story.passes(20)
    await reconciles()
    story.pod_runs("j-runner-3")
    await reconciles()
    story.user_sets(suspend=True)
    await reconciles()
    story.user_sets(suspend=False)
    await reconciles()
    story.scheduler_starts()
    story.passes(40)
    await reconciles()
    story.pod_runs("j-runner-4")
    await reconciles()
    story.pod_ends("j-runner-4")
    await reconciles()


@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.full)])
async def test_a_controller_killed_before_a_write_changes_nothing_in_the_end(
    kubernetes: LocalKubernetes, kube: Kube, every: int
) -> None:
    async def life(killed_before: int = 0) -> tuple[Story, Any]:
        async with a_controller(kubernetes, kube) as controller:
            story = Story(controller, backoffLimit=2, pod={"restartPolicy": "Never"})
            await whole_life(story, killed_before)
            await story.controller.close()
            told = {key: story.status.get(key) for key in ("jobStatus", "attempts", "jobRunnerPodName")}
            return story, (told, story.status.keys(), list(story.pods), story.cluster)

    undisturbed, end = await life()
    assert end[0] == {"jobStatus": "Successful", "attempts": 4, "jobRunnerPodName": "j-runner-4"}
    assert end[-1] is None
    for number in range(1, len(undisturbed.log) + 1, every):
        _, found = await life(number)
        assert found == end, f"killed before {undisturbed.log[number - 1]}, write {number}"
