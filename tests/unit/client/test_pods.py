"""What a pod's status says."""

from __future__ import annotations

from typing import Any

import pytest

from dask_k8s_client import pods
from tests.unit.client.objects import READY, conditions, crashed, scheduler_pod, unschedulable, waiting


@pytest.mark.parametrize(
    ("status", "word", "level", "message"),
    [
        ({}, "Pending", "waiting", ""),
        (READY, "Running", "good", ""),
        (unschedulable("0/3 nodes"), "Unschedulable", "bad", "0/3 nodes"),
        (waiting("ContainerCreating"), "Pending", "waiting", ""),
        (waiting("ImagePullBackOff", "no such image"), "ImagePullBackOff", "bad", "no such image"),
        (waiting("ErrImagePull", "denied"), "ErrImagePull", "bad", "denied"),
        (
            waiting("CreateContainerConfigError", 'secret "x" not found'),
            "CreateContainerConfigError",
            "bad",
            "secret",
        ),
        (crashed("boom", code=137), "CrashLoopBackOff", "bad", "exit code 137"),
        (crashed("boom"), "CrashLoopBackOff", "bad", "boom"),
        (
            {"phase": "Failed", "reason": "Evicted", "message": "low on memory"},
            "Evicted",
            "bad",
            "low on memory",
        ),
        ({"phase": "Succeeded"}, "Completed", "waiting", ""),
        ({"phase": "Running", "conditions": conditions("PodScheduled")}, "Starting", "waiting", "readiness"),
    ],
)
def test_state(status: dict[str, Any], word: str, level: str, message: str) -> None:
    state = pods.state(scheduler_pod(**status))
    assert (state.word, state.level) == (word, level)
    assert message in state.message


def test_a_deleted_pod_terminates_whatever_its_status_says() -> None:
    pod = scheduler_pod(**READY)
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:01Z"
    assert pods.state(pod).word == "Terminating"
    assert not pods.is_ready(pod)


def test_an_image_is_being_pulled_when_the_network_is_ready_and_the_container_is_not() -> None:
    status = waiting("ContainerCreating")
    assert not pods.is_pulling(scheduler_pod(**status))
    status["conditions"] = conditions("PodScheduled", "PodReadyToStartContainers")
    assert pods.is_pulling(scheduler_pod(**status))
    assert pods.state(scheduler_pod(**status)).word == "Pulling"


def test_a_crash_loop_gets_to_no_new_milestone() -> None:
    crashing = set(pods.milestones(scheduler_pod(**crashed(restarts=1))))
    assert set(pods.milestones(scheduler_pod(**crashed(restarts=9)))) == crashing


def test_the_main_container_is_the_one_that_runs_dask() -> None:
    pod = scheduler_pod()
    pod["spec"]["containers"].insert(0, {"name": "sidecar"})
    assert pods.main_container(pod) == "scheduler"
    pod["spec"]["containers"].pop()
    assert pods.main_container(pod) == "sidecar"


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ('exec: "dask-scheduler": executable file not found in $PATH', "use `dask scheduler`"),
        ("/bin/sh: dask-worker: not found", "use `dask worker`"),
        ('exec: "/opt/conda/bin/dask-worker": no such file or directory', "use `dask worker`"),
        ("/bin/sh: my-dask-worker-script: not found", ""),
        ("dask-worker began\nthe file is not found", ""),
        ("pods is forbidden: exceeded quota: compute", "ResourceQuota"),
        ("something else", ""),
        ("the container dask-worker ended", ""),
    ],
)
def test_known_problems_have_a_remedy(message: str, remedy: str) -> None:
    told = pods.remedy(message)
    assert remedy in told
    assert bool(remedy) is bool(told)


def test_workers_agree_with_the_pods_that_serve() -> None:
    def worker(name: str, ready: str) -> dict[str, Any]:
        status = {"conditions": [{"type": "Ready", "status": ready}]}
        return {"metadata": {"name": name}, "spec": {"containers": []}, "status": status}

    serving, starting = worker("a", "True"), worker("b", "False")
    assert pods.are_workers([serving, starting], ["a"])
    assert pods.are_workers([serving, starting], ["a", "b"])
    assert pods.are_workers([serving], ["a-0", "a-1"])
    assert not pods.are_workers([serving, starting], [])
    assert not pods.are_workers([serving], ["a", "gone"])
