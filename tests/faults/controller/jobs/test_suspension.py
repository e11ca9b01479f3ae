"""A job that is suspended, and resumed."""

from __future__ import annotations

import pytest

from tests.faults.controller.jobs.story import Story, running
from tests.harness.by_hand import ControllerByHand


async def test_nothing_is_made_while_suspended(by_hand: ControllerByHand) -> None:
    story = Story(by_hand, suspend=True)
    await story.reconciles()
    assert story.cluster is None
    assert story.status["jobStatus"] == "JobCreated"
    assert story.condition("Suspended") == ("True", "JobSuspended")
    story.user_sets(suspend=False)
    await story.reconciles()
    assert story.cluster is not None
    assert story.condition("Suspended") == ("False", "JobResumed")


async def test_pods_go_after_the_status_says_why(by_hand: ControllerByHand) -> None:
    story = await running(by_hand)
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
    by_hand: ControllerByHand,
) -> None:
    story = await running(by_hand, backoffLimit=0, activeDeadlineSeconds=60)
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
    by_hand: ControllerByHand, policy: str
) -> None:
    story = await running(by_hand, backoffLimit=0, pod={"restartPolicy": policy})
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


async def test_a_cluster_that_is_not_the_jobs_stays(by_hand: ControllerByHand) -> None:
    story = await running(by_hand, clusterRef={"name": "existing"})
    story.user_sets(suspend=True)
    await story.reconciles()
    assert story.pods == {}
    assert story.cluster is not None
