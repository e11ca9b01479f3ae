"""Pods are created by batches that double: a quota, or a policy, is met before many are asked for."""

from __future__ import annotations

import pytest

from dask_k8s_controller.kubernetes.executor import doubling
from dask_k8s_controller.plans.actions import Create


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, []), (1, [1]), (20, [1, 2, 4, 8, 5]), (500, [1, 2, 4, 8, 16, 32, 64, 128, 245])]
)
def test_a_batch_is_twice_as_large_as_the_one_before(count: int, sizes: list[int]) -> None:
    actions = [Create({"metadata": {"name": f"p{number}"}}) for number in range(count)]
    batches = list(doubling(actions))
    assert [len(batch) for batch in batches] == sizes
    assert [action for batch in batches for action in batch] == actions
