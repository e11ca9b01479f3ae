"""A DaskCluster from its manifest to its end, seen through the API server alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.waiting import eventually
from tests.e2e.conftest import DASK_CLUSTERS, WORKER_GROUPS, Patience, is_running, pods_of
from tests.harness.controller import ControllerProcess
from tests.harness.kube import Kube, Object, Refused
from tests.harness.proxy import ApiProxy

Manifest = Callable[..., Object]


@pytest.mark.namespaced
@pytest.mark.usefixtures("controller")
def test_a_cluster_becomes_running_with_its_children(
    kube: Kube, namespace: str, idle_cluster_manifest: Manifest
) -> None:
    kube.create(idle_cluster_manifest("simple"), namespace)

    cluster = kube.wait(DASK_CLUSTERS, "simple", namespace, until=is_running)
    kube.wait_all("pods", namespace, until=lambda pods: len(pods) == 3)

    uid = cluster["metadata"]["uid"]
    group = kube.get(WORKER_GROUPS, "simple-default", namespace)
    service = kube.get("services", "simple-scheduler", namespace)
    scheduler = kube.get("pods", "simple-scheduler", namespace)
    workers = pods_of(kube, "simple", namespace, "worker")
    assert {
        owner["uid"]
        for child in (group, service, scheduler)
        for owner in child["metadata"]["ownerReferences"]
    } == {uid}
    assert [worker["metadata"]["ownerReferences"][0]["uid"] for worker in workers] == [
        group["metadata"]["uid"]
    ] * 2
    assert all(worker["metadata"]["name"].startswith("simple-default-worker-") for worker in workers)


@pytest.mark.usefixtures("controller")
def test_nothing_is_written_on_the_users_object_but_its_status(
    kube: Kube, namespace: str, idle_cluster_manifest: Manifest
) -> None:
    created = kube.create(idle_cluster_manifest("untouched"), namespace)

    cluster = kube.wait(DASK_CLUSTERS, "untouched", namespace, until=is_running)

    assert "finalizers" not in cluster["metadata"]
    assert "annotations" not in cluster["metadata"]
    assert cluster["spec"] == created["spec"]
    assert cluster["metadata"]["generation"] == 1


@pytest.mark.usefixtures("controller")
def test_workers_that_do_not_connect_are_not_ready(
    kube: Kube, namespace: str, cluster_manifest: Manifest
) -> None:
    manifest = cluster_manifest("deaf", n_workers=2)
    worker = manifest["spec"]["worker"]["spec"]["containers"][0]
    worker["command"] = ["sleep", "3600"]
    for key in ("args", "readinessProbe", "livenessProbe"):
        worker.pop(key, None)
    kube.create(manifest, namespace)

    kube.wait_all(
        "pods",
        namespace,
        until=lambda pods: (
            len(pods) == 3
            and all(
                condition["status"] == "True"
                for pod in pods.values()
                for condition in pod.get("status", {}).get("conditions", ())
                if condition["type"] == "Ready"
            )
        ),
    )
    group = kube.wait(
        WORKER_GROUPS,
        "deaf-default",
        namespace,
        until=lambda found: found.get("status", {}).get("replicas") == 2,
    )
    ready = next(item for item in group["status"]["conditions"] if item["type"] == "Ready")
    assert group["status"]["readyReplicas"] == 0
    assert (ready["status"], ready["message"]) == ("False", "0 of 2 workers are ready.")


@pytest.mark.usefixtures("controller")
def test_a_worker_group_is_scaled_like_a_deployment(
    kube: Kube, namespace: str, idle_cluster_manifest: Manifest
) -> None:
    kube.create(idle_cluster_manifest("scaled", n_workers=1), namespace)
    kube.wait(DASK_CLUSTERS, "scaled", namespace, until=is_running)

    kube.patch(WORKER_GROUPS, "scaled-default", {"spec": {"replicas": 3}}, namespace, subresource="scale")
    kube.wait(
        WORKER_GROUPS, "scaled-default", namespace, until=lambda group: group["status"]["readyReplicas"] == 3
    )
    assert len(pods_of(kube, "scaled", namespace, "worker")) == 3
    assert kube.get(WORKER_GROUPS, "scaled-default", namespace, "scale")["spec"]["replicas"] == 3

    kube.patch(DASK_CLUSTERS, "scaled", {"spec": {"worker": {"replicas": 0}}}, namespace)
    kube.wait(
        WORKER_GROUPS,
        "scaled-default",
        namespace,
        until=lambda group: group["spec"]["worker"]["replicas"] == 0,
    )


@pytest.mark.namespaced
@pytest.mark.usefixtures("controller")
def test_clusters_side_by_side_leave_each_other_alone(
    kube: Kube, namespace: str, other_namespace: str, idle_cluster_manifest: Manifest
) -> None:
    for name, where in (("one", namespace), ("two", namespace), ("one", other_namespace)):
        kube.create(idle_cluster_manifest(name, n_workers=1), where)
    for name, where in (("one", namespace), ("two", namespace), ("one", other_namespace)):
        kube.wait(DASK_CLUSTERS, name, where, until=is_running)
    kube.wait_all("pods", namespace, until=lambda pods: len(pods) == 4)
    kept = {pod["metadata"]["uid"] for pod in pods_of(kube, "two", namespace)}

    kube.delete(DASK_CLUSTERS, "one", namespace)
    kube.wait_all(
        "pods", namespace, until=lambda pods: not [name for name in pods if name.startswith("one-")]
    )

    assert {pod["metadata"]["uid"] for pod in pods_of(kube, "two", namespace)} == kept
    assert len(pods_of(kube, "one", other_namespace)) == 2
    kube.gone("services", "one-scheduler", namespace)
    kube.gone(WORKER_GROUPS, "one-default", namespace)


def test_deleting_a_cluster_works_without_the_controller(
    kube: Kube, namespace: str, controller: ControllerProcess, idle_cluster_manifest: Manifest
) -> None:
    kube.create(idle_cluster_manifest("orphaned"), namespace)
    kube.wait(DASK_CLUSTERS, "orphaned", namespace, until=is_running)
    kube.wait_all("pods", namespace, until=lambda pods: len(pods) == 3)
    controller.stop()
    try:
        kube.delete(DASK_CLUSTERS, "orphaned", namespace)
        kube.wait_all("pods", namespace, until=lambda pods: not pods)
        kube.gone("services", "orphaned-scheduler", namespace)
        assert kube.list(WORKER_GROUPS, namespace) == []
    finally:
        controller.start()


@pytest.mark.usefixtures("controller")
def test_a_name_can_be_used_again_at_once(
    kube: Kube, namespace: str, idle_cluster_manifest: Manifest
) -> None:
    kube.create(idle_cluster_manifest("again"), namespace)
    kube.wait(DASK_CLUSTERS, "again", namespace, until=is_running)

    kube.delete(DASK_CLUSTERS, "again", namespace)
    second = kube.create(idle_cluster_manifest("again"), namespace)["metadata"]["uid"]

    kube.wait(DASK_CLUSTERS, "again", namespace, until=is_running)

    def owner_is_the_second(pods: dict[str, Object]) -> bool:
        schedulers = [
            p for p in pods.values() if p["metadata"]["labels"]["dask.org/component"] == "scheduler"
        ]
        return len(pods) == 3 and [p["metadata"]["ownerReferences"][0]["uid"] for p in schedulers] == [second]

    kube.wait_all("pods", namespace, until=owner_is_the_second)


class TestRefused:
    """What the API server itself refuses, before anything is made."""

    def refusal(self, kube: Kube, namespace: str, manifest: Object) -> str:
        with pytest.raises(Refused) as caught:
            kube.create(manifest, namespace)
        assert kube.list(DASK_CLUSTERS, namespace) == []
        assert kube.list("pods", namespace) == []
        return str(caught.value)

    @pytest.mark.usefixtures("controller")
    def test_a_misspelt_field(self, kube: Kube, namespace: str, idle_cluster_manifest: Manifest) -> None:
        manifest = idle_cluster_manifest("misspelt")
        manifest["spec"]["worker"]["replcas"] = 3
        assert "spec.worker.replcas" in self.refusal(kube, namespace, manifest)

    @pytest.mark.usefixtures("controller")
    def test_a_misspelt_field_of_a_pod(
        self, kube: Kube, namespace: str, idle_cluster_manifest: Manifest
    ) -> None:
        manifest = idle_cluster_manifest("misspelt")
        manifest["spec"]["scheduler"]["spec"]["containers"][0]["resorces"] = {}
        assert "spec.scheduler.spec.containers[0].resorces" in self.refusal(kube, namespace, manifest)

    @pytest.mark.usefixtures("controller")
    def test_a_negative_replica_count(
        self, kube: Kube, namespace: str, idle_cluster_manifest: Manifest
    ) -> None:
        manifest = idle_cluster_manifest("negative")
        manifest["spec"]["worker"]["replicas"] = -1
        assert "spec.worker.replicas" in self.refusal(kube, namespace, manifest)

    @pytest.mark.usefixtures("controller")
    def test_a_name_of_54_characters(
        self, kube: Kube, namespace: str, idle_cluster_manifest: Manifest
    ) -> None:
        manifest = idle_cluster_manifest("short")
        manifest["metadata"]["name"] = "n" * 54
        assert "metadata.name" in self.refusal(kube, namespace, manifest)


@pytest.mark.full
def test_a_controller_killed_between_any_two_writes_goes_on_after_a_restart(
    kube: Kube,
    kubeconfig: Path,
    controller: ControllerProcess,
    namespace: str,
    idle_cluster_manifest: Manifest,
    patience: Patience,
) -> None:
    """Every write in turn takes effect without the controller ever hearing of it, and is its last."""
    controller.stop()
    try:
        with (
            ApiProxy(kubeconfig) as proxy,
            ControllerProcess(proxy.kubeconfig, "--namespace", namespace) as ours,
        ):
            kube.create(idle_cluster_manifest("unharmed"), namespace)
            assert_converges(kube, namespace, "unharmed")
            number_of_writes = len(proxy.faults.writes)
            assert number_of_writes >= 6
            kube.delete(DASK_CLUSTERS, "unharmed", namespace)

            kills = 0
            for number in range(1, number_of_writes + 1):
                kube.wait_all("pods", namespace, until=lambda pods: not pods)
                killed = threading.Event()

                def kill(killed: threading.Event = killed) -> None:
                    ours.kill()
                    killed.set()

                proxy.faults.clear()
                proxy.faults.tell(kill, nth=number, times=1)
                name = f"killed-{number}"
                kube.create(idle_cluster_manifest(name), namespace)
                await_either(killed, kube, namespace, name)
                if not killed.wait(timeout=patience(1)):
                    break  # Status writes may have been fewer this time.
                kills += 1
                ours.start()
                cluster = assert_converges(kube, namespace, name)
                assert "finalizers" not in cluster["metadata"]
                assert "annotations" not in cluster["metadata"]
                kube.delete(DASK_CLUSTERS, name, namespace)
            assert kills >= 6
    finally:
        controller.start()


def await_either(killed: threading.Event, kube: Kube, namespace: str, name: str) -> None:
    """Wait until the controller has been killed, or the cluster has got where it should without that."""

    def is_over() -> bool:
        cluster = kube.get(DASK_CLUSTERS, name, namespace)
        return killed.is_set() or (is_running(cluster) and cluster["status"].get("readyReplicas") == 2)

    eventually(is_over)


def assert_converges(kube: Kube, namespace: str, name: str) -> Object:
    """Wait until the cluster is Running, and its status agrees with exactly its three pods."""
    kube.wait(DASK_CLUSTERS, name, namespace, until=is_running)
    kube.wait_all("pods", namespace, until=lambda pods: len(pods) == 3)
    cluster = kube.wait(
        DASK_CLUSTERS, name, namespace, until=lambda found: found["status"].get("readyReplicas") == 2
    )
    components = sorted(
        pod["metadata"]["labels"]["dask.org/component"] for pod in pods_of(kube, name, namespace)
    )
    assert components == ["scheduler", "worker", "worker"]
    return cluster
