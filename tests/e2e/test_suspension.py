"""A cluster that has nothing to do: suspended by its user, or removed since it is idle."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from distributed import Client

from dask_k8s_client import KubeCluster
from tests.e2e.conftest import DASK_CLUSTERS, pods_of
from tests.harness.flows import holds
from tests.harness.kube import Kube, Object

pytestmark = pytest.mark.usefixtures("controller")


@pytest.mark.namespaced
def test_a_suspended_cluster_has_no_pods_and_comes_back(
    kube: Kube, namespace: str, idle_cluster_manifest: Callable[..., Object]
) -> None:
    kube.create(idle_cluster_manifest("paused", n_workers=1), namespace)
    kube.wait(DASK_CLUSTERS, "paused", namespace, until=lambda found: holds(found, "Ready"), timeout=120)

    kube.patch(DASK_CLUSTERS, "paused", {"spec": {"suspend": True}}, namespace)
    kube.wait_all("pods", namespace, until=lambda pods: not pods, timeout=120)
    suspended = kube.wait(DASK_CLUSTERS, "paused", namespace, until=lambda found: holds(found, "Suspended"))
    assert suspended["status"]["phase"] == "Pending"
    assert kube.get("services", "paused-scheduler", namespace)

    kube.patch(DASK_CLUSTERS, "paused", {"spec": {"suspend": False}}, namespace)
    kube.wait(DASK_CLUSTERS, "paused", namespace, until=lambda found: holds(found, "Ready"), timeout=120)
    assert len(pods_of(kube, "paused", namespace)) == 2


def test_an_idle_cluster_goes_and_a_busy_one_stays(kube: Kube, namespace: str, dask_image: str) -> None:
    with (
        KubeCluster(name="lazy", namespace=namespace, image=dask_image, n_workers=1, quiet=True) as cluster,
        Client(cluster) as client,
    ):
        busy = client.submit(time.sleep, 5, pure=False)
        client.wait_for_workers(1, timeout=120)
        kube.patch(DASK_CLUSTERS, "lazy", {"spec": {"idleTimeout": 1}}, namespace)
        busy.result(timeout=60)
        assert "deletionTimestamp" not in kube.get(DASK_CLUSTERS, "lazy", namespace)["metadata"]
        kube.gone(DASK_CLUSTERS, "lazy", namespace, timeout=60)
