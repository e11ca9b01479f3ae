"""A cluster that is deleted waits for nobody, whatever its workers would do for results otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from distributed import wait

from tests.e2e.conftest import DASK_CLUSTERS
from tests.e2e.test_scaling import connected
from tests.harness.kube import Kube, Object
from tests.harness.worker_tasks import sent_to

WORKERS = 10

pytestmark = pytest.mark.usefixtures("controller")


def seconds_of_deletion(kube: Kube, namespace: str, manifest: Object) -> float:
    """Run a cluster whose workers hold results and run tasks; return how long its deletion takes."""
    name = manifest["metadata"]["name"]
    kube.create(manifest, namespace)
    with connected(name, namespace, WORKERS) as client:
        tasks = sent_to(client)
        wait(client.map(tasks.make, range(40), pure=False), timeout=120)
        running = client.map(tasks.work, range(WORKERS), seconds=60, pure=False)
        assert len(running) == WORKERS
        begin = time.monotonic()
        kube.delete(DASK_CLUSTERS, name, namespace)
        kube.wait_all("pods", namespace, until=lambda pods: not pods, timeout=120)
    return time.monotonic() - begin


@pytest.mark.full
def test_a_cluster_is_deleted_as_fast_as_one_whose_workers_ask_nobody(
    kube: Kube, namespace: str, cluster_manifest: Callable[..., Object]
) -> None:
    asking = cluster_manifest("asking", n_workers=WORKERS)
    silent = cluster_manifest("silent", n_workers=WORKERS)
    hook: dict[str, Any] = {"preStop": {"exec": {"command": ["python", "-c", ""]}}}
    silent["spec"]["worker"]["spec"]["containers"][0]["lifecycle"] = hook
    without = seconds_of_deletion(kube, namespace, silent)
    took = seconds_of_deletion(kube, namespace, asking)
    print(f"deleting {WORKERS} workers takes {took:.1f} s, without their hook {without:.1f} s")
    # A worker that waited would take 20 s more, one that finished its task 60 s.
    assert took < 1.5 * without + 5
