"""What a pod spec says about the abstract resources of its workers."""

from __future__ import annotations

from typing import Any

import pytest

from dask_k8s_models.pods import has_gpus, worker_resources, worker_threads

WORKER = ["dask", "worker"]
FOO = {"name": "DASK_DISTRIBUTED__WORKER__RESOURCES__FOO", "value": "3"}


def pod(**container: Any) -> dict[str, Any]:
    return {"containers": [{"name": "worker", "args": WORKER, **container}]}


def with_gpus(count: Any, *args: str, name: str = "nvidia.com/gpu", **more: Any) -> dict[str, Any]:
    return {"resources": {"limits": {name: count}}, "args": args or WORKER, **more}


def variable(value: str) -> dict[str, str]:
    return {"name": "DASK_DISTRIBUTED__WORKER__RESOURCES", "value": value}


@pytest.mark.parametrize(
    ("container", "offered"),
    [
        ({}, {}),
        ({"args": [*WORKER, "--resources", "GPU=2"]}, {"GPU": 2}),
        ({"args": [*WORKER, "--resources", "GPU=1 M=32e9", "--x", "1"]}, {"GPU": 1, "M": 32e9}),
        ({"args": [*WORKER, "--resources=GPU=1,X=2"]}, {"GPU": 1, "X": 2}),
        ({"args": ["sh", "-c", "dask worker --resources 'GPU=1 X=2'"]}, {"GPU": 1, "X": 2}),
        ({"env": [FOO]}, {"foo": 3}),
        ({"env": [variable("{'GPU': 2}")]}, {"GPU": 2}),
        ({"env": [variable("nonsense(")]}, {}),
        ({"env": [variable("-" * 100_000 + "1")]}, {}),
        ({"env": [variable("{[]: 1}")]}, {}),
        ({"env": [variable(f"{{'GPU': 1{'0' * 400}}}")]}, {}),
        ({"args": [*WORKER, "--nworkers", "9" * 5000]}, {}),
        ({"args": [*WORKER, "--resources", "GPU=many"]}, {}),
        (with_gpus(4), {"GPU": 4}),
        (with_gpus("1", name="nvidia.com/mig-1g.5gb"), {"GPU": 1}),
        (with_gpus(0), {}),
        (with_gpus("9" * 5000), {}),
    ],
)  # fmt: skip
def test_it_is_read_however_it_is_written(container: dict[str, Any], offered: dict[str, float]) -> None:
    assert worker_resources(pod(**container)) == offered


@pytest.mark.parametrize(
    ("container", "declared", "offered"),
    [
        (with_gpus(1, *WORKER, "--resources=X=8"), {"Y": 1}, {"X": 8}),
        (with_gpus(1, env=[variable("{'X': 2}")]), {"Y": 1}, {"X": 2}),
        (with_gpus(1, env=[FOO]), None, {"GPU": 1, "foo": 3}),
        (with_gpus(1), {"Y": 1}, {"Y": 1}),
        (with_gpus(1), {}, {}),
    ],
)
def test_of_several_one_counts_as_for_dask(
    container: dict[str, Any], declared: dict[str, float] | None, offered: dict[str, float]
) -> None:
    assert worker_resources(pod(**container), declared=declared) == offered


@pytest.mark.parametrize(
    ("args", "offered"),
    [
        (["dask", "cuda", "worker"], {"GPU": 1}),
        (["dask-cuda-worker"], {"GPU": 1}),
        ([*WORKER, "--nworkers", "2"], {"GPU": 2}),
        ([*WORKER, "--nworkers=8"], {"GPU": 0.5}),
        ([*WORKER, "--nworkers", "auto"], {}),
    ],
)
def test_workers_of_a_pod_share_its_gpus(args: list[str], offered: dict[str, float]) -> None:
    assert worker_resources(pod(**with_gpus(4, *args))) == offered


def test_a_pod_has_gpus_whatever_its_workers_offer() -> None:
    assert has_gpus(pod(**with_gpus(1, *WORKER, "--resources=X=8")))
    assert not has_gpus(pod(**with_gpus(0)))
    assert not has_gpus(pod())


@pytest.mark.parametrize(
    ("args", "cpus", "threads"),
    [
        (WORKER, None, 0),
        (WORKER, 4, 4),
        (WORKER, "1500m", 2),
        (WORKER, "2.5", 3),
        (WORKER, "odd", 0),
        ([*WORKER, "--nthreads", "8"], 4, 8),
        ([*WORKER, "--nthreads=0"], 4, 4),
        ([*WORKER, "--nworkers", "2"], 4, 2),
        ([*WORKER, "--nworkers", "auto"], 4, 0),
        (["dask", "cuda", "worker"], 4, 1),
    ],
)
def test_threads_are_known_as_far_as_the_spec_says(args: list[str], cpus: Any, threads: int) -> None:
    limits = {"resources": {"limits": {"cpu": cpus}}} if cpus is not None else {}
    assert worker_threads(pod(args=args, **limits)) == threads


@pytest.mark.parametrize(
    "said", [{"args": [*WORKER, "--nthreads", "9" * 5000]}, {"resources": {"limits": {"cpu": "1e999"}}}]
)
def test_threads_that_no_machine_has_are_not_known(said: dict[str, Any]) -> None:
    assert worker_threads(pod(**said)) == 0
