"""What keeps pods from being ready, in words; when one that ended is replaced; and whose labels follow."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dask_k8s_controller.cache.objects import Meta, Pod
from dask_k8s_controller.plans.metadata import metadata_patch
from dask_k8s_controller.plans.pod_problems import problems_of, replaced_at
from dask_k8s_controller.settings import Policy
from dask_k8s_models import labels
from tests.harness.clocks import NOW
from tests.unit.controller.builders import metadata, pod_body, time


def ended(lived: float, exit_code: int = 1, **of_container: Any) -> Pod:
    """A pod that failed a moment ago."""
    state = {"terminated": {"exitCode": exit_code, "finishedAt": time(-1), **of_container}}
    status = {"containerStatuses": [{"name": "worker", "state": state}]}
    return Pod.of(pod_body("w", phase="Failed", age=lived + 1, status=status))


def told(*pods: Pod) -> list[tuple[str, str]]:
    return [(remark.reason, remark.message) for remark in problems_of(pods)]


def test_a_pod_that_failed_for_no_reason_has_failed() -> None:
    assert told(Pod.of(pod_body("w", phase="Failed"))) == [("Failed", "Pod w: Failed: it has failed")]


def test_a_failure_is_told_in_the_words_of_whoever_caused_it() -> None:
    evicted = {"reason": "Evicted", "message": "low on memory"}
    assert told(Pod.of(pod_body("w", phase="Failed", status=evicted))) == [
        ("Evicted", "Pod w: Evicted: low on memory")
    ]


def test_several_of_a_kind_are_counted_and_one_is_not() -> None:
    failed = [Pod.of(pod_body(name, phase="Failed")) for name in ("w1", "w2")]
    assert told(*failed) == [("Failed", "Pod w1: Failed: it has failed (2 pods)")]


@pytest.mark.parametrize(
    ("command", "remedy"),
    [
        ("dask-worker", "use `dask worker`"),
        ("/opt/conda/bin/dask-scheduler", "use `dask scheduler`"),
        ("my-dask-worker", ""),
        ("http://dask-scheduler", ""),
    ],
)
def test_a_command_that_images_lack_has_a_remedy(command: str, remedy: str) -> None:
    [remark] = problems_of([ended(1.0, exit_code=127)], [command])
    assert remedy in remark.message
    assert bool(remedy) is ("current images of Dask have no" in remark.message)


@pytest.mark.parametrize(("lived", "waits"), [(59.0, True), (60.0, False)])
def test_what_ended_soon_is_replaced_after_a_while_and_what_lived_at_once(lived: float, waits: bool) -> None:
    due = replaced_at(ended(lived), Policy(short_life=60, failure_delay=10))
    assert due == (NOW + timedelta(seconds=9) if waits else None)


@pytest.mark.parametrize("memory", ["nonsense", "[]", '{"labels": null}', '{"labels": 5}', "[" * 100_000])
def test_what_nobody_remembers_as_ours_stays(memory: str) -> None:
    annotations = {labels.PROPAGATED: memory, "theirs": "kept"}
    live = Meta.of({"metadata": metadata("w", labels={"theirs": "kept"}, annotations=annotations)})
    desired = {"labels": {"team": "a"}, "annotations": {labels.PROPAGATED: "new"}}
    assert metadata_patch(live, desired) == {
        "metadata": {"labels": {"team": "a"}, "annotations": {labels.PROPAGATED: "new"}}
    }


def test_only_what_differs_is_patched() -> None:
    live = Meta.of({"metadata": metadata("w", labels={"team": "a"}, annotations={})})
    desired = {"labels": {"team": "a"}, "annotations": {"note": "b"}}
    assert metadata_patch(live, desired) == {"metadata": {"annotations": {"note": "b"}}}
