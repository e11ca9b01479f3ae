"""How a job fails, and what it survives."""

from __future__ import annotations

import pytest

from tests.faults.controller.jobs.story import Story, running
from tests.harness.by_hand import ControllerByHand


class TestFailing:
    async def test_without_a_limit_the_kubelet_restarts_it_until_it_succeeds(
        self, by_hand: ControllerByHand
    ) -> None:
        story = await running(by_hand)
        story.container_crashes(restarts=40, waits=True)
        await story.reconciles()
        assert story.status["jobStatus"] == "Running"
        assert story.condition("Reconciling") == ("True", "JobRetrying")
        assert "exit code 3: Traceback: no such file" in story.conditions["Ready"]["message"]

    async def test_without_a_limit_a_pod_that_was_evicted_is_followed_by_another(
        self, by_hand: ControllerByHand
    ) -> None:
        story = await running(by_hand)
        story.pod_fails("Evicted", "low on memory")
        story.passes(10)
        await story.reconciles()
        assert list(story.pods) == ["j-runner", "j-runner-2"]

    async def test_without_a_limit_a_pod_that_is_never_restarted_fails_the_job(
        self, by_hand: ControllerByHand
    ) -> None:
        story = await running(by_hand, pod={"restartPolicy": "Never"})
        story.pod_ends(exit_code=4, words="out of luck\n")
        await story.reconciles()
        assert story.status["jobStatus"] == "Failed"
        assert story.condition("Failed") == ("True", "PodFailed")
        assert story.conditions["Failed"]["message"] == (
            "The pod j-runner failed: its container job ended with exit code 4: out of luck"
        )

    async def test_no_failure_is_survived_with_limit_zero(self, by_hand: ControllerByHand) -> None:
        story = await running(by_hand, backoffLimit=0)
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
        self, by_hand: ControllerByHand
    ) -> None:
        story = await running(by_hand)
        story.pod_fails("DeadlineExceeded")
        await story.reconciles()
        assert story.condition("Failed") == ("True", "PodFailed")
        assert "DeadlineExceeded" in story.conditions["Failed"]["message"]

    async def test_an_earlier_attempt_that_still_runs_makes_room_for_the_latest(
        self, by_hand: ControllerByHand
    ) -> None:
        story = await running(by_hand, backoffLimit=1)
        story.pod_vanishes()
        await story.reconciles()
        story.runner_comes_back()
        await story.reconciles()
        assert list(story.pods) == ["j-runner-2"]

    async def test_it_fails_twice_and_then_succeeds(self, by_hand: ControllerByHand) -> None:
        story = await running(by_hand, backoffLimit=2, pod={"restartPolicy": "Never"})
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
        self, by_hand: ControllerByHand, limit: int, restarts: int, waits: bool, fails: bool
    ) -> None:
        story = await running(by_hand, backoffLimit=limit)
        story.container_crashes(restarts, waits=waits)
        await story.reconciles()
        assert story.status["jobStatus"] == ("Failed" if fails else "Running")
        assert ("j-runner" in story.pods) is not fails
        if fails:
            assert "exit code 3" in story.conditions["Failed"]["message"]

    async def test_a_pod_that_vanishes_counts(self, by_hand: ControllerByHand) -> None:
        story = await running(by_hand, backoffLimit=1)
        story.pod_vanishes()
        await story.reconciles()
        assert list(story.pods) == ["j-runner-2"]
        story.pod_runs("j-runner-2")
        await story.reconciles()
        story.pod_vanishes("j-runner-2")
        await story.reconciles()
        assert story.condition("Failed") == ("True", "BackoffLimitExceeded")
        assert "2 failures" in story.conditions["Failed"]["message"]

    async def test_failures_of_pods_that_are_gone_stay_counted(self, by_hand: ControllerByHand) -> None:
        story = await running(by_hand, backoffLimit=3)
        story.container_crashes(restarts=2, waits=False)
        story.scheduler_restarts()
        await story.reconciles()
        await story.reconciles()
        assert story.pods["j-runner-2"]["metadata"]["annotations"]["dask.org/failures"] in ("1", "3")

    async def test_what_nobody_can_have_counted_is_not_counted(self, by_hand: ControllerByHand) -> None:
        story = await running(by_hand, backoffLimit=1)
        forged = {"metadata": {"annotations": {"dask.org/failures": "9" * 5000}}}
        by_hand.kube.patch("pods", "j-runner", forged, by_hand.namespace)
        story.pod_fails("Evicted", "low on memory")
        story.passes(10)
        await story.reconciles()
        assert list(story.pods) == ["j-runner", "j-runner-2"]


class TestDeadline:
    async def test_a_job_that_takes_too_long_has_failed(self, by_hand: ControllerByHand) -> None:
        story = await running(by_hand, activeDeadlineSeconds=60)
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

    async def test_it_bounds_a_cluster_that_never_becomes_ready(self, by_hand: ControllerByHand) -> None:
        story = Story(by_hand, activeDeadlineSeconds=60)
        await story.reconciles()
        story.passes(60)
        await story.reconciles()
        assert story.condition("Failed") == ("True", "DeadlineExceeded")
        assert story.status["attempts"] == 0
        assert "startTime" not in story.status
        assert story.cluster is None

    async def test_it_is_success_if_the_pod_ended_in_time(self, by_hand: ControllerByHand) -> None:
        story = await running(by_hand, activeDeadlineSeconds=60)
        story.pod_ends()
        story.passes(1000)
        await story.reconciles()
        assert story.status["jobStatus"] == "Successful"
