"""What fits a node, to the last taint and quantity."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from dask_k8s_local.node.amounts import pod_requests
from dask_k8s_local.node.scheduling.fit import Misfit, unschedulable_message
from dask_k8s_local.node.scheduling.taints import tolerates

TAINT = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("toleration", "does"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "gpu", "operator": "Exists"}, True),
        ({"key": "gpu", "value": "yes"}, True),
        ({"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}, True),
        ({"key": "gpu", "value": "no"}, False),
        ({"key": "gpu"}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({"operator": "Exists", "effect": "NoExecute"}, False),
        ({}, False),
    ],
)
def test_toleration(toleration: dict[str, str], does: bool) -> None:
    assert tolerates(toleration, TAINT) is does


def container(cpu: str, **fields: Any) -> dict[str, Any]:
    return {"name": "x", "resources": {"requests": {"cpu": cpu}}, **fields}


@pytest.mark.parametrize(
    ("spec", "cpu"),
    [
        ({"containers": [container("1"), container("500m")]}, "1.5"),
        ({"containers": [container("1")], "initContainers": [container("2")]}, "2"),
        ({"containers": [container("1")], "initContainers": [container("2", restartPolicy="Always")]}, "3"),
        (
            {
                "containers": [container("1")],
                "initContainers": [container("1", restartPolicy="Always"), container("3")],
            },
            "4",
        ),
        ({"containers": [{"name": "x", "resources": {"limits": {"cpu": 2}}}]}, "2"),
        ({"containers": [container("1")], "overhead": {"cpu": "100m"}}, "1.1"),
        ({"containers": [container("1")], "resources": {"requests": {"cpu": "5"}}}, "5"),
    ],
)
def test_requests_count_as_kube_scheduler_counts_them(spec: dict[str, Any], cpu: str) -> None:
    assert pod_requests({"spec": spec})["cpu"] == Decimal(cpu)


def test_reasons_are_counted_and_sorted() -> None:
    misfits = [
        Misfit(("Insufficient memory", "Insufficient cpu"), preemptible=True),
        Misfit(("Insufficient cpu",), preemptible=True),
        Misfit(("node(s) were unschedulable",)),
    ]
    assert unschedulable_message(misfits) == (
        "0/3 nodes are available: 1 Insufficient memory, 1 node(s) were unschedulable, 2 Insufficient cpu. "
        "preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, "
        "2 No preemption victims found for incoming pod."
    )
