"""Patches: corners and wordings that the conformance tests leave out."""

from __future__ import annotations

from typing import Any

from dask_k8s_local.api.patches.merge import strategic_merge_patch
from dask_k8s_local.api.schema.compiled import definition

POD = definition("io.k8s.api.core.v1.Pod")
SERVICE = definition("io.k8s.api.core.v1.Service")


def merged(target: Any, patch: Any) -> Any:
    return strategic_merge_patch(POD, target, patch)


def test_lists_of_primitives_merge_and_shrink() -> None:
    target = {"metadata": {"finalizers": ["a/a", "b/b"]}}
    assert merged(target, {"metadata": {"finalizers": ["c/c", "a/a"]}})["metadata"]["finalizers"] == [
        "a/a",
        "b/b",
        "c/c",
    ]
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/a"]}}
    assert merged(target, patch)["metadata"]["finalizers"] == ["b/b"]
