"""What a job has to do with its cluster, and that with the job."""

from __future__ import annotations

import pytest

from dask_k8s_models import labels
from tests.faults.controller.jobs.story import Story, environment, running
from tests.harness.by_hand import ControllerByHand


class TestUsingACluster:
    async def test_it_waits_for_it(self, by_hand: ControllerByHand) -> None:
        story = Story(by_hand, clusterRef={"name": "existing"})
        await story.reconciles()
        assert story.condition("Ready") == ("False", "ClusterNotFound")
        assert story.status["jobStatus"] == "JobCreated"

    async def test_it_waits_for_another_if_it_is_being_deleted(self, by_hand: ControllerByHand) -> None:
        story = Story(by_hand, clusterRef={"name": "existing"})
        story.cluster_appears()
        story.cluster_is_deleted()
        await story.reconciles()
        assert story.condition("Ready") == ("False", "ClusterTerminating")
        assert story.pods == {}

    async def test_it_uses_it_and_leaves_it(self, by_hand: ControllerByHand) -> None:
        story = await running(by_hand, clusterRef={"name": "existing"})
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
        self, by_hand: ControllerByHand
    ) -> None:
        story = Story(by_hand)
        story.cluster_appears("j")
        await story.reconciles()
        assert story.condition("Stalled") == ("True", "ClusterNameTaken")
        assert story.pods == {}

    async def test_a_pod_of_somebody_else_in_the_way_stalls_it(self, by_hand: ControllerByHand) -> None:
        story = Story(by_hand)
        await story.reconciles()
        story.scheduler_starts()
        story.somebody_makes_a_pod("j-runner")
        await story.reconciles()
        assert story.condition("Stalled") == ("True", "PodNameTaken")


class TestLosingTheScheduler:
    async def test_its_sidecar_may_restart(self, by_hand: ControllerByHand) -> None:
        story = await running(by_hand, backoffLimit=0)
        story.sidecar_restarts()
        await story.reconciles()
        assert list(story.pods) == ["j-runner"]

    @pytest.mark.parametrize("loss", ["replaced", "restarted", "gone"])
    async def test_it_counts_as_one_attempt(self, by_hand: ControllerByHand, loss: str) -> None:
        story = await running(by_hand, backoffLimit=1)
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

    async def test_a_pod_that_had_not_begun_has_lost_nothing(self, by_hand: ControllerByHand) -> None:
        story = Story(by_hand, backoffLimit=0)
        await story.reconciles()
        story.scheduler_starts()
        await story.reconciles()
        story.scheduler_restarts()
        await story.reconciles()
        story.pod_runs()
        await story.reconciles()
        assert story.status["jobStatus"] == "Running"
        assert list(story.pods) == ["j-runner"]

    async def test_a_success_that_came_first_stays_one(self, by_hand: ControllerByHand) -> None:
        story = await running(by_hand, backoffLimit=0)
        story.pod_ends()
        story.scheduler_goes()
        await story.reconciles()
        assert story.status["jobStatus"] == "Successful"

    async def test_a_pod_that_obeys_when_it_is_stopped_has_not_succeeded(
        self, by_hand: ControllerByHand
    ) -> None:
        story = await running(by_hand, backoffLimit=0)
        story.pod_takes_its_time()
        story.kube.delete("pods", "j-runner", story.namespace)
        story.pod_ends()
        await story.reconciles()
        assert story.status["jobStatus"] == "Failed"


class TestTrouble:
    async def test_what_the_pod_suffers_is_told(self, by_hand: ControllerByHand) -> None:
        story = Story(by_hand)
        await story.reconciles()
        story.scheduler_starts()
        await story.reconciles()
        story.pod_waits("ImagePullBackOff", "no such image")
        await story.reconciles()
        assert story.condition("Ready") == ("False", "ImagePullBackOff")
        assert "no such image" in story.conditions["Ready"]["message"]

    async def test_what_the_cluster_suffers_is_told(self, by_hand: ControllerByHand) -> None:
        story = Story(by_hand)
        await story.reconciles()
        story.cluster_suffers("Unschedulable", "0/3 nodes")
        story.passes(60)  # What only words it otherwise is written a little later.
        await story.reconciles()
        assert "0/3 nodes" in story.conditions["Ready"]["message"]
