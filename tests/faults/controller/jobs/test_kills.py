"""A controller that dies during a job, and is followed by another."""

from __future__ import annotations

from typing import Any

import pytest

from dask_k8s_local import LocalKubernetes
from tests.faults.controller.jobs.story import Story
from tests.harness.by_hand import a_controller
from tests.harness.kube import Kube


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
