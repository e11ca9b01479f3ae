"""What a pod spec says about the abstract resources of its workers."""

from __future__ import annotations

from typing import Any

import pytest

from dask_k8s_models.pods import worker_resources


def pod(**container: Any) -> dict[str, Any]:
    return {"containers": [{"name": "worker", "args": ["dask", "worker"], **container}]}


@pytest.mark.parametrize(
    ("container", "offered"),
    [
        ({}, {}),
        ({"args": ["dask", "worker", "--resources", "GPU=2"]}, {"GPU": 2}),
        ({"args": ["dask", "worker", "--resources", "GPU=1 M=32e9", "--x", "1"]}, {"GPU": 1, "M": 32e9}),
        ({"args": ["dask", "worker", "--resources=GPU=1,X=2"]}, {"GPU": 1, "X": 2}),
        ({"args": ["sh", "-c", "dask worker --resources 'GPU=1 X=2'"]}, {"GPU": 1, "X": 2}),
        ({"env": [{"name": "DASK_DISTRIBUTED__WORKER__RESOURCES__FOO", "value": "3"}]}, {"foo": 3}),
        ({"env": [{"name": "DASK_DISTRIBUTED__WORKER__RESOURCES", "value": "{'GPU': 2}"}]}, {"GPU": 2}),
        ({"env": [{"name": "DASK_DISTRIBUTED__WORKER__RESOURCES", "value": "nonsense("}]}, {}),
        ({"resources": {"limits": {"nvidia.com/gpu": 4}}}, {"GPU": 4}),
        ({"resources": {"limits": {"nvidia.com/gpu": "1"}}, "args": ["--resources=GPU=8"]}, {"GPU": 8}),
        ({"args": ["dask", "worker", "--resources", "GPU=many"]}, {}),
    ],
)  # fmt: skip
def test_it_is_read_however_it_is_written(container: dict[str, Any], offered: dict[str, float]) -> None:
    assert worker_resources(pod(**container)) == offered
