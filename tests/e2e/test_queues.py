"""Queues, meshes and autoscaled nodes: what their annotations, labels and gates need of the controller."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.conftest import DASK_CLUSTERS, WORKER_GROUPS, is_running, pods_of
from tests.harness.kube import Kube, Object

GATE = "kueue.x-k8s.io/admission"

Manifest = Callable[..., Object]


def condition(item: Object, name: str) -> Object:
    found = item.get("status", {}).get("conditions", ())
    return next((one for one in found if one["type"] == name), {})


@pytest.mark.usefixtures("controller")
class TestKueue:
    """Plain pods in a queue, as Kueue's webhook leaves them."""

    def test_gated_pods_wait_and_have_not_failed(
        self, kube: Kube, namespace: str, idle_cluster_manifest: Manifest
    ) -> None:
        manifest = idle_cluster_manifest("queued", n_workers=2)
        worker = manifest["spec"]["worker"]
        worker["metadata"] = {"labels": {"kueue.x-k8s.io/queue-name": "team"}}
        worker["spec"]["schedulingGates"] = [{"name": GATE}]
        kube.create(manifest, namespace)
        group = kube.wait(
            WORKER_GROUPS,
            "queued-default",
            namespace,
            until=lambda found: condition(found, "Ready").get("reason") == "SchedulingGated",
        )
        assert f"waits to be let in by {GATE}" in condition(group, "Ready")["message"]
        assert condition(group, "Stalled")["status"] == "False"
        cluster = kube.wait(DASK_CLUSTERS, "queued", namespace, until=is_running)
        assert condition(cluster, "Stalled").get("status") != "True"
        pods = pods_of(kube, "queued", namespace, "worker")
        assert len(pods) == 2, "none is made in the place of a pod that waits"

        for pod in pods:  # As Kueue admits them.
            kube.patch("pods", pod["metadata"]["name"], {"spec": {"schedulingGates": None}}, namespace)
        kube.wait(
            WORKER_GROUPS,
            "queued-default",
            namespace,
            until=lambda found: found["status"].get("readyReplicas") == 2,
        )
        after = {pod["metadata"]["uid"] for pod in pods_of(kube, "queued", namespace, "worker")}
        assert after == {pod["metadata"]["uid"] for pod in pods}, "an admitted pod is no changed one"

    def test_what_makes_pods_a_group_reaches_them(
        self, kube: Kube, namespace: str, idle_cluster_manifest: Manifest
    ) -> None:
        manifest = idle_cluster_manifest("together", n_workers=2)
        group = {
            "labels": {"kueue.x-k8s.io/queue-name": "team", "kueue.x-k8s.io/pod-group-name": "together"},
            "annotations": {"kueue.x-k8s.io/pod-group-total-count": "3"},
        }
        for component in ("scheduler", "worker"):
            manifest["spec"][component]["metadata"] = group
        kube.create(manifest, namespace)
        kube.wait_all("pods", namespace, until=lambda found: len(found) == 3)
        for pod in kube.list("pods", namespace):
            assert group["labels"].items() <= pod["metadata"]["labels"].items()
            assert group["annotations"].items() <= pod["metadata"]["annotations"].items()

    def test_a_suspended_cluster_takes_its_turn_later(
        self, kube: Kube, namespace: str, idle_cluster_manifest: Manifest
    ) -> None:
        manifest = idle_cluster_manifest("later", n_workers=1)
        manifest["spec"]["suspend"] = True
        kube.create(manifest, namespace)
        kube.wait(
            DASK_CLUSTERS,
            "later",
            namespace,
            until=lambda found: condition(found, "Suspended").get("status") == "True",
        )
        assert pods_of(kube, "later", namespace) == []
        kube.patch(DASK_CLUSTERS, "later", {"spec": {"suspend": False}}, namespace)
        kube.wait(DASK_CLUSTERS, "later", namespace, until=is_running)
        kube.wait_all("pods", namespace, until=lambda found: len(found) == 2)


@pytest.mark.usefixtures("controller")
def test_a_mesh_and_nodes_that_go_are_told_by_labels_and_annotations(
    kube: Kube, namespace: str, idle_cluster_manifest: Manifest
) -> None:
    """Istio's label is the user's; what keeps pods from being moved reaches the pods, later changes too."""
    manifest = idle_cluster_manifest("placed", n_workers=1)
    kept = {
        "karpenter.sh/do-not-disrupt": "true",
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    }
    manifest["spec"]["scheduler"]["metadata"] = {"annotations": kept}
    manifest["spec"]["worker"]["metadata"] = {
        "annotations": kept,
        "labels": {"sidecar.istio.io/inject": "true"},
    }
    kube.create(manifest, namespace)
    kube.wait_all("pods", namespace, until=lambda found: len(found) == 2)
    (scheduler,) = pods_of(kube, "placed", namespace, "scheduler")
    (worker,) = pods_of(kube, "placed", namespace, "worker")
    for pod in (scheduler, worker):
        assert kept.items() <= pod["metadata"]["annotations"].items()
    assert scheduler["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
    assert worker["metadata"]["labels"]["sidecar.istio.io/inject"] == "true"
    change = {"annotations": {"karpenter.sh/do-not-disrupt": "false"}}
    kube.patch(DASK_CLUSTERS, "placed", {"spec": {"worker": {"metadata": change}}}, namespace)
    kube.wait(
        "pods",
        worker["metadata"]["name"],
        namespace,
        until=lambda pod: pod["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "false",
    )
