"""Manifests as they are found in the wild: sidecars before Dask, dashboards behind a path, protocols."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from distributed import Client, wait

from dask_k8s_client import KubeCluster
from tests.e2e.conftest import DASK_CLUSTERS, WORKER_GROUPS
from tests.harness.kube import Kube, Object

pytestmark = pytest.mark.usefixtures("controller")

SIDECAR = ["python", "-c", "import time; print('I am the agent', flush=True); time.sleep(100000)"]


def with_sidecars(cluster: Object, image: str) -> None:
    """An agent before Dask's container, which is called as other tools call it."""
    for component in ("scheduler", "worker"):
        pod = cluster["spec"][component]["spec"]
        pod["containers"][0]["name"] = f"dask-{component}"
        pod["containers"].insert(0, {"name": "agent", "image": image, "command": SIDECAR})
        pod["terminationGracePeriodSeconds"] = 5


def with_a_prefix(cluster: Object, image: str) -> None:
    """A dashboard behind a path, and a port of the Service that is called as nobody else calls it."""
    scheduler = cluster["spec"]["scheduler"]
    container = scheduler["spec"]["containers"][0]
    container["args"] += ["--dashboard-prefix", "/pods/8787"]
    container["readinessProbe"]["httpGet"]["path"] = "/pods/8787/health"
    container["livenessProbe"]["httpGet"]["path"] = "/pods/8787/health"
    scheduler["service"]["ports"][1] |= {"name": "dashboard"}


@pytest.mark.parametrize("written", [with_sidecars, with_a_prefix])
def test_a_cluster_computes_and_scales_down_without_losing_results(
    kube: Kube,
    namespace: str,
    dask_image: str,
    cluster_manifest: Callable[..., Object],
    written: Callable[[Object, str], None],
) -> None:
    manifest = cluster_manifest("wild", n_workers=2)
    written(manifest, dask_image)
    kube.create(manifest, namespace)

    with (
        KubeCluster.from_name("wild", namespace=namespace, quiet=True) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(2, timeout=120)
        results = client.map(str, range(20))
        wait(results, timeout=60)
        cluster.scale(1)
        kube.wait_all(
            "pods",
            namespace,
            until=lambda pods: len(pods) == 1,
            labelSelector="dask.org/component=worker",
            timeout=120,
        )
        assert client.gather(results) == [str(number) for number in range(20)]
        group = kube.get(WORKER_GROUPS, "wild-default", namespace)
        assert group["spec"]["worker"]["replicas"] == 1
        logs = cluster.get_logs()
        assert not any("I am the agent" in log for log in logs.values())


def test_addresses_in_the_status_say_protocol_and_prefix(
    kube: Kube, namespace: str, idle_cluster_manifest: Callable[..., Object]
) -> None:
    manifest = idle_cluster_manifest("wild", n_workers=0)
    container = manifest["spec"]["scheduler"]["spec"]["containers"][0]
    container["args"] = ["--protocol", "ws", "--dashboard-prefix=/pods"]  # For `sleep` they are nothing.
    container["command"] = ["sh", "-c", "sleep 3600", "--"]
    kube.create(manifest, namespace)

    found = kube.wait(
        DASK_CLUSTERS, "wild", namespace, until=lambda found: found.get("status", {}).get("schedulerAddress")
    )

    assert found["status"]["schedulerAddress"] == f"ws://wild-scheduler.{namespace}.svc:8786"
    assert found["status"]["dashboardAddress"] == f"http://wild-scheduler.{namespace}.svc:8787/pods"
