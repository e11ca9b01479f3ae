"""What others have made stays theirs, whatever a cluster is called; a name that becomes free is used."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.conftest import DASK_CLUSTERS, WORKER_GROUPS, is_running, pods_of
from tests.harness.controller import ControllerProcess
from tests.harness.kube import Kube, Object

JOBS = "daskjobs.kubernetes.dask.org"
pytestmark = pytest.mark.usefixtures("controller_at_work")


def is_stalled(reason: str) -> Callable[[Object], bool]:
    def holds(found: Object) -> bool:
        conditions = {item["type"]: item for item in found.get("status", {}).get("conditions", ())}
        stalled = conditions.get("Stalled", {})
        return (stalled.get("status"), stalled.get("reason")) == ("True", reason)

    return holds


def service(name: str) -> Object:
    """A Service as a Helm release has it: without owners, and without labels of Dask's."""
    ports = [{"name": "http", "port": 8793, "targetPort": 8793}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {"app": "airflow"}},
        "spec": {"selector": {"app": "airflow"}, "ports": ports},
    }


def test_a_service_of_somebody_else_is_neither_changed_nor_deleted(
    kube: Kube, namespace: str, idle_cluster_manifest: Callable[..., Object]
) -> None:
    before = kube.create(service("airflow-scheduler"), namespace)
    kube.create(idle_cluster_manifest("airflow", n_workers=0), namespace)
    kube.wait(DASK_CLUSTERS, "airflow", namespace, until=is_stalled("ServiceNameTaken"))
    kube.delete(DASK_CLUSTERS, "airflow", namespace)
    kube.gone("pods", "airflow-scheduler", namespace)
    after = kube.get("services", "airflow-scheduler", namespace)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"] == before["spec"]
    assert after["metadata"]["labels"] == {"app": "airflow"}
    assert "ownerReferences" not in after["metadata"]


def test_a_service_s_name_that_becomes_free_is_used(
    kube: Kube, namespace: str, idle_cluster_manifest: Callable[..., Object]
) -> None:
    kube.create(service("late-scheduler"), namespace)
    kube.create(idle_cluster_manifest("late", n_workers=0), namespace)
    kube.wait(DASK_CLUSTERS, "late", namespace, until=is_stalled("ServiceNameTaken"))
    kube.delete("services", "late-scheduler", namespace)
    kube.wait(DASK_CLUSTERS, "late", namespace, until=is_running)


def test_a_job_s_pod_s_name_that_becomes_free_is_used(
    kube: Kube, namespace: str, idle_cluster_manifest: Callable[..., Object]
) -> None:
    cluster = idle_cluster_manifest("base", n_workers=0)
    worker = cluster["spec"]["worker"]["spec"]
    container = worker["containers"][0] | {"name": "job"}
    in_the_way = {"containers": [container], "terminationGracePeriodSeconds": 1}
    kube.create(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "report-runner"}, "spec": in_the_way},
        namespace,
    )
    kube.create(cluster, namespace)
    job = {"clusterRef": {"name": "base"}, "job": {"spec": {"containers": [container]}}}
    kube.create(
        {
            "apiVersion": "kubernetes.dask.org/v1",
            "kind": "DaskJob",
            "metadata": {"name": "report"},
            "spec": job,
        },
        namespace,
    )
    kube.wait(JOBS, "report", namespace, until=is_stalled("PodNameTaken"))
    kube.delete("pods", "report-runner", namespace)
    kube.wait(
        JOBS, "report", namespace, until=lambda found: found["status"].get("jobRunnerPodName") is not None
    )
    owners = kube.get("pods", "report-runner", namespace)["metadata"]["ownerReferences"]
    assert [(owner["kind"], owner["name"]) for owner in owners] == [("DaskJob", "report")]


def test_a_group_of_another_cluster_is_not_taken_for_the_default_group(
    kube: Kube, namespace: str, idle_cluster_manifest: Callable[..., Object]
) -> None:
    other = idle_cluster_manifest("other", n_workers=2)
    group = {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskWorkerGroup",
        "metadata": {"name": "other-default"},
        "spec": {"cluster": "somebody", "worker": {**other["spec"]["worker"], "replicas": 0}},
    }
    before = kube.create(group, namespace)
    kube.create(other, namespace)
    kube.wait(DASK_CLUSTERS, "other", namespace, until=is_stalled("WorkerGroupNameTaken"))
    assert kube.get(WORKER_GROUPS, "other-default", namespace)["spec"] == before["spec"]


def test_a_pod_of_the_scheduler_s_name_is_left_alone(
    kube: Kube, namespace: str, idle_cluster_manifest: Callable[..., Object], controller: ControllerProcess
) -> None:
    cluster = idle_cluster_manifest("third", n_workers=0)
    spec = cluster["spec"]["scheduler"]["spec"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "third-scheduler"}, "spec": spec}
    before = kube.create(pod, namespace)
    kube.create(cluster, namespace)
    kube.wait(DASK_CLUSTERS, "third", namespace, until=is_running)
    (scheduler,) = pods_of(kube, "third", namespace, "scheduler")
    assert scheduler["metadata"]["name"] != "third-scheduler"
    after = kube.get("pods", "third-scheduler", namespace)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert "ownerReferences" not in after["metadata"]


def test_what_a_cluster_no_longer_says_of_its_service_goes(
    kube: Kube, namespace: str, idle_cluster_manifest: Callable[..., Object]
) -> None:
    cluster = idle_cluster_manifest("fewer", n_workers=0)
    ports = [{"name": name, "port": port} for name, port in (("tcp-comm", 8786), ("http-dashboard", 8787))]
    extra = {"name": "extra", "port": 9000}
    cluster["spec"]["scheduler"]["service"] = {"ports": [*ports, extra], "publishNotReadyAddresses": True}
    kube.create(cluster, namespace)
    kube.wait(DASK_CLUSTERS, "fewer", namespace, until=is_running)
    fewer = {"scheduler": {"service": {"ports": ports, "publishNotReadyAddresses": None}}}
    kube.patch(DASK_CLUSTERS, "fewer", {"spec": fewer}, namespace)
    found = kube.wait(
        "services", "fewer-scheduler", namespace, until=lambda found: len(found["spec"]["ports"]) == 2
    )
    assert not found["spec"].get("publishNotReadyAddresses")
