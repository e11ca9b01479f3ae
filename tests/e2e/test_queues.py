"""Queues, meshes and autoscaled nodes: what their annotations, labels and gates need of the controller."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import DASK_CLUSTERS, WORKER_GROUPS, is_running, pods_of
from tests.harness.controller import ControllerProcess
from tests.harness.kube import Kube, Object
from tests.harness.kueue import COUNT, GATE, GROUP, MANAGED, QUEUE, ROLE_HASH, Kueue

FLAVOR = {"kubernetes.io/os": "linux"}
"""Labels of the nodes that a queue's quota is of."""

Manifest = Callable[..., Object]


def condition(item: Object, name: str) -> Object:
    found = item.get("status", {}).get("conditions", ())
    return next((one for one in found if one["type"] == name), {})


def reason(name: str) -> Callable[[Object], bool]:
    """Whether that is why an object isn't ready."""
    return lambda found: condition(found, "Ready").get("reason") == name


def all_ready(found: Object) -> bool:
    return condition(found, "Ready").get("status") == "True"


def by_name(pods: list[Object]) -> dict[str, Object]:
    return {pod["metadata"]["name"]: pod for pod in pods}


def uids(pods: list[Object]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}


@pytest.fixture
def kueue(kube: Kube, kubeconfig: Path, namespace: str, alone: None) -> Iterator[Kueue]:
    """Kueue, as far as pods see it, and the controller that meets it."""
    with (
        Kueue(kubeconfig, kube) as kueue,
        ControllerProcess(kueue.kubeconfig, "--namespace", namespace) as controller,
    ):
        yield kueue
        print("\n".join(controller.log.splitlines()[-40:]))


@pytest.fixture
def let_go(kube: Kube, kueue: Kueue, namespace: str) -> Iterator[None]:
    """Kueue lets all pods go when a test ends: namespaces with finalizers in them would stay."""
    yield
    for pod in kube.list("pods", namespace, MANAGED):
        kueue.finalize(pod)


@pytest.mark.usefixtures("let_go")
class TestKueueOnPods:
    """Plain pods in a queue: Kueue's webhook changes them when they are created, and Kueue ends them."""

    def test_pods_wait_as_the_webhook_left_them_and_run_where_they_are_let_in(
        self, kube: Kube, kueue: Kueue, namespace: str, idle_cluster_manifest: Manifest
    ) -> None:
        queued(kube, namespace, idle_cluster_manifest("queued", n_workers=2))
        cluster = kube.wait(DASK_CLUSTERS, "queued", namespace, until=reason("SchedulingGated"))
        assert condition(cluster, "Stalled").get("status") != "True"
        [scheduler] = pods_of(kube, "queued", namespace, "scheduler")
        kueue.admit(scheduler, FLAVOR)
        group = kube.wait(WORKER_GROUPS, "queued-default", namespace, until=reason("SchedulingGated"))
        assert f"waits to be let in by {GATE}" in condition(group, "Ready")["message"]
        assert condition(group, "Stalled")["status"] == "False"
        pods = by_name(pods_of(kube, "queued", namespace, "worker"))
        assert len(pods) == 2, "none is made in the place of a pod that waits"

        change = {"worker": {"metadata": {"annotations": {"example.com/later": "change"}}}}
        kube.patch(DASK_CLUSTERS, "queued", {"spec": change}, namespace)
        for name in pods:
            found = kube.wait(
                "pods",
                name,
                namespace,
                until=lambda pod: "example.com/later" in pod["metadata"]["annotations"],
            )
            assert found["metadata"]["labels"][MANAGED] == "true"
            assert found["metadata"]["finalizers"] == [MANAGED]
            assert found["spec"]["schedulingGates"] == [{"name": GATE}]
            kueue.admit(found, FLAVOR)

        kube.wait(WORKER_GROUPS, "queued-default", namespace, until=all_ready)
        after = pods_of(kube, "queued", namespace, "worker")
        assert uids(after) == uids([*pods.values()]), "an admitted pod is no changed one"
        assert all(pod["spec"]["nodeSelector"] == FLAVOR for pod in after)

    def test_an_evicted_worker_goes_back_to_the_queue(
        self, kube: Kube, kueue: Kueue, namespace: str, idle_cluster_manifest: Manifest
    ) -> None:
        running(kube, kueue, namespace, idle_cluster_manifest("evicted", n_workers=2))
        evicted, other = pods_of(kube, "evicted", namespace, "worker")

        kueue.evict(evicted)

        group = kube.wait(WORKER_GROUPS, "evicted-default", namespace, until=reason("SchedulingGated"))
        assert condition(group, "Stalled")["status"] == "False"
        assert group["status"]["readyReplicas"] == 1
        kueue.finalize(evicted)
        kube.gone("pods", evicted["metadata"]["name"], namespace)
        [successor] = [pod for pod in pods_of(kube, "evicted", namespace, "worker") if waits(pod)]
        kueue.admit(successor, FLAVOR)
        kube.wait(WORKER_GROUPS, "evicted-default", namespace, until=all_ready)
        assert uids(pods_of(kube, "evicted", namespace, "worker")) == uids([other, successor])

    def test_an_evicted_scheduler_goes_back_to_the_queue(
        self, kube: Kube, kueue: Kueue, namespace: str, idle_cluster_manifest: Manifest
    ) -> None:
        running(kube, kueue, namespace, idle_cluster_manifest("headless", n_workers=1))
        [evicted] = pods_of(kube, "headless", namespace, "scheduler")

        kueue.evict(evicted)
        kueue.finalize(evicted)

        # It has the name of the one before, if that was gone first.
        pods = kube.wait_all(
            "pods",
            namespace,
            until=lambda pods: (
                uids([*pods.values()]).isdisjoint(uids([evicted])) and any(map(waits, pods.values()))
            ),
            labelSelector="dask.org/component=scheduler",
        )
        [successor] = pods.values()
        cluster = kube.wait(DASK_CLUSTERS, "headless", namespace, until=reason("SchedulingGated"))
        assert condition(cluster, "Stalled").get("status") != "True"
        kueue.admit(successor, FLAVOR)
        kube.wait(DASK_CLUSTERS, "headless", namespace, until=all_ready)

    def test_a_worker_lost_from_a_group_has_a_successor_in_it_before_it_is_let_go(
        self, kube: Kube, kueue: Kueue, namespace: str, idle_cluster_manifest: Manifest
    ) -> None:
        manifest = idle_cluster_manifest("together", n_workers=2)
        group = {
            "labels": {GROUP: "together"},
            "annotations": {COUNT: "3", "kueue.x-k8s.io/pod-group-serving": "true"},
        }
        pods = running(kube, kueue, namespace, manifest, **group)
        assert len(pods) == 3
        for pod in pods:
            assert group["labels"].items() <= pod["metadata"]["labels"].items()
            assert group["annotations"].items() <= pod["metadata"]["annotations"].items()
            assert pod["metadata"]["annotations"][ROLE_HASH]
        lost, kept = pods_of(kube, "together", namespace, "worker")

        kube.delete("pods", lost["metadata"]["name"], namespace, gracePeriodSeconds=0)

        kube.wait(WORKER_GROUPS, "together-default", namespace, until=reason("SchedulingGated"))
        assert kube.get("pods", lost["metadata"]["name"], namespace)["metadata"]["deletionTimestamp"]
        [successor] = [pod for pod in pods_of(kube, "together", namespace, "worker") if waits(pod)]
        assert successor["metadata"]["labels"][GROUP] == "together"
        assert successor["metadata"]["annotations"][ROLE_HASH] == kept["metadata"]["annotations"][ROLE_HASH]
        kueue.finalize(lost)
        kueue.admit(successor, FLAVOR)
        kube.wait(WORKER_GROUPS, "together-default", namespace, until=all_ready)
        assert uids(pods_of(kube, "together", namespace, "worker")) == uids([kept, successor])

    def test_a_deleted_cluster_is_gone_when_kueue_has_let_its_pods_go(
        self, kube: Kube, kueue: Kueue, namespace: str, idle_cluster_manifest: Manifest
    ) -> None:
        pods = running(kube, kueue, namespace, idle_cluster_manifest("ended", n_workers=1))
        kube.delete(DASK_CLUSTERS, "ended", namespace)
        kube.wait_all(
            "pods",
            namespace,
            until=lambda found: all("deletionTimestamp" in pod["metadata"] for pod in found.values()),
        )
        for pod in pods:
            kueue.finalize(pod)
        kube.wait_all("pods", namespace, until=lambda found: not found)


def queued(kube: Kube, namespace: str, manifest: Object, **metadata: Object) -> None:
    """Create a cluster with its pods in a queue."""
    labels = {QUEUE: "team", **metadata.get("labels", {})}
    for component in ("scheduler", "worker"):
        manifest["spec"][component]["metadata"] = {**metadata, "labels": labels}
    kube.create(manifest, namespace)


def running(kube: Kube, kueue: Kueue, namespace: str, manifest: Object, **metadata: Object) -> list[Object]:
    """Create such a cluster, let it in, and return its pods when they are ready."""
    queued(kube, namespace, manifest, **metadata)
    name, workers = manifest["metadata"]["name"], manifest["spec"]["worker"]["replicas"]
    for pod in kube.wait_all("pods", namespace, until=lambda found: len(found) == 1 + workers).values():
        kueue.admit(pod, FLAVOR)
    kube.wait(WORKER_GROUPS, f"{name}-default", namespace, until=all_ready)
    kube.wait(DASK_CLUSTERS, name, namespace, until=all_ready)
    return pods_of(kube, name, namespace)


def waits(pod: Object) -> bool:
    return bool(pod["spec"].get("schedulingGates"))


@pytest.mark.usefixtures("controller")
class TestSuspension:
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
