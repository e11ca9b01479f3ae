"""Models read what the API server sends, write what users wrote, and are quick about it."""

from __future__ import annotations

import time
from types import MappingProxyType
from typing import Any

import pytest

import dask_k8s_models
from dask_k8s_models import DaskCluster, DaskWorkerGroup, PodSpec, make_cluster_spec
from dask_k8s_models.scalars import from_time, to_time
from tests.documents import changed, cluster, group


def from_the_api_server() -> dict[str, Any]:
    """Return a cluster as an API server sends it."""
    document = cluster()
    document["metadata"] |= {
        "namespace": "science",
        "uid": "0b5c0d0e-7e8c-4a51-8f51-5b0f6a4c1f7e",
        "resourceVersion": "1234",
        "generation": 2,
        "creationTimestamp": "2026-11-23T09:00:00Z",
        "deletionTimestamp": None,
        "labels": {"team": "a"},
        "finalizers": ["example.com/hold"],
        "ownerReferences": [
            {
                "apiVersion": "kubernetes.dask.org/v1",
                "kind": "DaskJob",
                "name": "a",
                "uid": "b",
                "controller": True,
            }
        ],
        "managedFields": [
            {
                "manager": "kubectl",
                "operation": "Apply",
                "apiVersion": "kubernetes.dask.org/v1",
                "time": "2026-11-23T09:00:00Z",
                "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {"f:worker": {".": {}, "f:replicas": {}}}},
                "subresource": "status",
            }
        ],
    }
    document["status"] = {
        "observedGeneration": 2,
        "phase": "Running",
        "replicas": 2,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "WorkersReady",
                "message": "",
                "lastTransitionTime": "2026-11-23T09:00:05.123456Z",
            }
        ],
        "workerGroups": [{"name": "simple-default", "replicas": 2}],
        "plugin": {"anything": [1, None]},
    }
    return document


def test_an_object_of_the_api_server_is_understood() -> None:
    read = DaskCluster.model_validate(from_the_api_server())
    assert (read.name, read.namespace) == ("simple", "science")
    assert read.status is not None
    assert read.status.conditions is not None
    assert read.status.conditions[0].type == "Ready"
    assert read.metadata.ownerReferences is not None
    assert read.metadata.ownerReferences[0].controller is True


def test_it_is_written_as_it_was_read_without_nulls() -> None:
    document = from_the_api_server()
    written = DaskCluster.model_validate(document).to_dict()
    del document["metadata"]["deletionTimestamp"]
    document["status"]["plugin"] = {"anything": [1, None]}
    assert written == document


def test_any_mapping_will_do() -> None:
    assert DaskCluster.model_validate(MappingProxyType(cluster())).name == "simple"


def test_a_status_that_no_controller_has_written_is_no_mistake() -> None:
    read = DaskCluster.model_validate(changed(cluster(), "status", {"observedGeneration": -1}))
    assert read.status is not None
    assert read.status.phase is None


def test_defaults_are_known_without_the_api_server() -> None:
    worker = DaskWorkerGroup.model_validate(changed(group(), "spec worker replicas", None)).spec.worker
    assert (worker.replicas, worker.drainTimeoutSeconds) == (1, 60)
    assert worker.update_strategy().type == "RollingUpdate"
    assert worker.max_unavailable() == 1


@pytest.mark.parametrize(
    ("replicas", "share", "missing"),
    [(10, "25%", 3), (10, 4, 4), (0, "50%", 1), (1, "100%", 1), (10, "100%", 10)],
)
def test_percentages_are_rounded_up(replicas: int, share: Any, missing: int) -> None:
    document = changed(group(), "spec worker replicas", replicas)
    document = changed(document, "spec worker updateStrategy", {"rollingUpdate": {"maxUnavailable": share}})
    assert DaskWorkerGroup.model_validate(document).spec.worker.max_unavailable() == missing


def test_idle_timeout_may_stand_at_the_scheduler() -> None:
    read = DaskCluster.model_validate(changed(cluster(), "spec scheduler idleTimeout", 5))
    assert read.spec.idle_timeout() == 5


def test_newest_pod_fields_are_known() -> None:
    newest = {"hostUsers", "resourceClaims", "schedulingGates", "topologySpreadConstraints", "resources"}
    assert newest <= PodSpec.model_fields.keys()


def test_times_are_utc_to_the_second() -> None:
    assert to_time(from_time("2026-11-23T10:00:00.9+01:00")) == "2026-11-23T09:00:00Z"


def test_public_names_are_there_and_sorted() -> None:
    names = dask_k8s_models.__all__
    assert all(hasattr(dask_k8s_models, name) for name in names)
    assert len(set(names)) == len(names)


def test_validation_of_a_typical_cluster_takes_less_than_a_millisecond() -> None:
    document = make_cluster_spec(
        "simple", n_workers=3, resources={"limits": {"memory": "2Gi"}}, env={"A": "1"}
    )
    DaskCluster.model_validate(document)

    def seconds() -> float:
        start = time.perf_counter()
        DaskCluster.model_validate(document)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(50)) < 0.001
