"""A job from its beginning to its end."""

from __future__ import annotations

import pytest

from dask_k8s_models import labels
from tests.faults.controller.jobs.story import JOBS, Story, environment, running
from tests.harness.by_hand import ControllerByHand
from tests.unit.controller.builders import cluster_body


class TestStarting:
    async def test_the_cluster_comes_first_and_is_the_jobs(self, by_hand: ControllerByHand) -> None:
        story = Story(by_hand)
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

    async def test_the_pod_starts_when_the_scheduler_is_ready(self, by_hand: ControllerByHand) -> None:
        story = Story(by_hand)
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

    async def test_it_runs(self, by_hand: ControllerByHand) -> None:
        story = await running(by_hand)
        assert story.status["jobStatus"] == "Running"
        assert story.status["startTime"] == story.at(5)
        assert story.condition("Ready") == ("False", "JobRunning")

    async def test_it_waits_for_workers_if_asked_to(self, by_hand: ControllerByHand) -> None:
        story = Story(by_hand, minReadyWorkers=2)
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

    async def test_what_the_user_sets_wins(self, by_hand: ControllerByHand) -> None:
        container = {
            "name": "job",
            "image": "dask",
            "env": [{"name": "DASK_SCHEDULER_ADDRESS", "value": "tcp://elsewhere:1"}],
            "terminationMessagePolicy": "File",
        }
        story = await running(by_hand, pod={"containers": [container], "restartPolicy": "Never"})
        pod = story.pods["j-runner"]
        assert environment(pod) == {"DASK_SCHEDULER_ADDRESS": "tcp://elsewhere:1"}
        assert pod["spec"]["restartPolicy"] == "Never"
        assert pod["spec"]["containers"][0]["terminationMessagePolicy"] == "File"

    async def test_labels_and_annotations_flow_to_pod_and_cluster_also_later(
        self, by_hand: ControllerByHand
    ) -> None:
        story = await running(
            by_hand,
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
    async def test_success(self, by_hand: ControllerByHand) -> None:
        story = await running(by_hand)
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

    async def test_its_end_is_written_before_anything_goes(self, by_hand: ControllerByHand) -> None:
        story = await running(by_hand)
        story.pod_ends()
        await story.reconciles()
        assert story.log[-2:] == ["patch daskjobs/status", "delete daskclusters"]

    async def test_a_pod_that_ended_before_anybody_saw_it_run(self, by_hand: ControllerByHand) -> None:
        story = Story(by_hand)
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
        self, by_hand: ControllerByHand, policy: str, exit_code: int, cluster_stays: bool
    ) -> None:
        story = await running(by_hand, cleanupPolicy=policy, backoffLimit=0)
        story.pod_ends(exit_code=exit_code)
        await story.reconciles()
        assert (story.cluster is not None) == cluster_stays

    async def test_the_job_goes_after_its_time_to_live(self, by_hand: ControllerByHand) -> None:
        story = await running(by_hand, ttlSecondsAfterFinished=60)
        story.pod_ends()
        await story.reconciles()
        assert story.requeue.after == 60
        story.passes(59)
        await story.reconciles()
        assert story.job is not None
        story.passes(1)
        await story.reconciles()
        assert story.job is None

    async def test_nothing_is_done_for_a_job_that_is_being_deleted(self, by_hand: ControllerByHand) -> None:
        story = Story(by_hand, metadata={"finalizers": ["tests.example.com/hold"]})
        story.kube.delete(JOBS, "j", story.namespace)
        await story.reconciles()
        assert story.cluster is None
        assert story.pods == {}

    async def test_nothing_changes_a_finished_job(self, by_hand: ControllerByHand) -> None:
        story = await running(by_hand)
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
