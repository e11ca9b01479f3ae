"""Labels and annotations flow from a cluster and its groups to their children, then and later."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from tests.e2e.conftest import DASK_CLUSTERS, WORKER_GROUPS, is_running, pods_of
from tests.harness.kube import Kube, Object

Manifest = Callable[..., Object]

pytestmark = pytest.mark.usefixtures("controller")

PRIVATE = {
    "kopf.zalando.org/last-handled-configuration": "{}",
    "kubectl.kubernetes.io/last-applied-configuration": "{}",
    "argocd.argoproj.io/tracking-id": "tracked",
    "kustomize.toolkit.fluxcd.io/checksum": "tracked",
}
ISTIO = "sidecar.istio.io/inject"


@pytest.fixture
def manifest(idle_cluster_manifest: Manifest) -> Object:
    """The documented example, with labels, reserved labels and annotations of tools beside it."""
    cluster = idle_cluster_manifest("example", n_workers=2)
    cluster["metadata"] |= {
        "labels": {"foo": "bar", "team": "blue", "dask.org/component": "supercluster"},
        "annotations": {"hello": "world", **PRIVATE},
    }
    cluster["spec"]["worker"]["metadata"] = {
        "labels": {"foo": "baz", "dask.org/component": "superworker"},
        "annotations": {"foo": "bar"},
    }
    cluster["spec"]["scheduler"]["metadata"] = {
        "labels": {"dask.org/cluster-name": "other"},
        "annotations": {"fizz": "buzz"},
    }
    return cluster


def start(kube: Kube, namespace: str, manifest: Object) -> None:
    kube.create(manifest, namespace)
    kube.wait(DASK_CLUSTERS, "example", namespace, until=is_running)
    kube.wait_all("pods", namespace, until=lambda pods: len(pods) == 3)


def children(kube: Kube, namespace: str) -> dict[str, list[Object]]:
    return {
        "scheduler": pods_of(kube, "example", namespace, "scheduler"),
        "service": [kube.get("services", "example-scheduler", namespace)],
        "group": [kube.get(WORKER_GROUPS, "example-default", namespace)],
        "worker": pods_of(kube, "example", namespace, "worker"),
    }


def carry(objects: list[Object], labels: Mapping[str, str], annotations: Mapping[str, str]) -> bool:
    return bool(objects) and all(
        labels.items() <= found["metadata"]["labels"].items()
        and annotations.items() <= found["metadata"].get("annotations", {}).items()
        for found in objects
    )


def test_the_documented_example(kube: Kube, namespace: str, manifest: Object) -> None:
    start(kube, namespace, manifest)
    found = children(kube, namespace)

    base = {"dask.org/cluster-name": "example"}
    assert carry(
        found["scheduler"] + found["service"],
        {**base, "foo": "bar", "team": "blue", "dask.org/component": "scheduler"},
        {"hello": "world", "fizz": "buzz"},
    )
    of_group = {**base, "foo": "baz", "team": "blue", "dask.org/workergroup-name": "example-default"}
    annotations = {"hello": "world", "foo": "bar"}
    assert carry(found["group"], {**of_group, "dask.org/component": "workergroup"}, annotations)
    assert carry(found["worker"], {**of_group, "dask.org/component": "worker"}, annotations)
    assert len(found["worker"]) == 2
    for child in (child for objects in found.values() for child in objects):
        metadata = child["metadata"]
        assert not PRIVATE.keys() & metadata["annotations"].keys()
        is_workers = metadata["labels"]["dask.org/component"] != "scheduler"
        assert ("fizz" in metadata["annotations"], "foo" in metadata["annotations"]) == (
            not is_workers,
            is_workers,
        )
        if child.get("kind") == "Pod":
            assert metadata["labels"][ISTIO] == "false"


def test_the_istio_label_is_the_users_if_they_set_it(kube: Kube, namespace: str, manifest: Object) -> None:
    manifest["metadata"]["labels"][ISTIO] = "true"
    manifest["spec"]["worker"]["metadata"]["labels"][ISTIO] = "worker-says"
    start(kube, namespace, manifest)
    found = children(kube, namespace)
    assert carry(found["scheduler"], {ISTIO: "true"}, {})
    assert carry(found["worker"], {ISTIO: "worker-says"}, {})


def test_later_changes_reach_all_children_and_restart_nothing(
    kube: Kube, namespace: str, manifest: Object
) -> None:
    start(kube, namespace, manifest)
    before = {pod["metadata"]["uid"] for pod in pods_of(kube, "example", namespace)}
    for pod in pods_of(kube, "example", namespace):
        patch = {"metadata": {"labels": {"others": "label"}, "annotations": {"others": "annotation"}}}
        kube.patch("pods", pod["metadata"]["name"], patch, namespace)

    change = {
        "metadata": {"labels": {"team": "red", "new": "one"}, "annotations": {"hello": None, "later": "on"}},
        "spec": {"worker": {"metadata": {"labels": {"foo": None, "of": "workers"}}}},
    }
    kube.patch(DASK_CLUSTERS, "example", change, namespace)

    def followed(pods: dict[str, Object]) -> bool:
        return all(
            carry([pod], {"team": "red", "new": "one", "foo": "bar"}, {"later": "on"})
            and "hello" not in pod["metadata"]["annotations"]
            and (pod["metadata"]["labels"]["dask.org/component"] == "scheduler")
            == ("of" not in pod["metadata"]["labels"])
            for pod in pods.values()
        )

    kube.wait_all("pods", namespace, until=followed, labelSelector="dask.org/cluster-name=example")
    kube.wait(
        "services",
        "example-scheduler",
        namespace,
        until=lambda service: (
            carry([service], {"team": "red", "new": "one"}, {"later": "on"})
            and "hello" not in service["metadata"]["annotations"]
        ),
    )
    kube.wait(
        WORKER_GROUPS,
        "example-default",
        namespace,
        until=lambda group: (
            carry([group], {"team": "red", "new": "one", "foo": "bar", "of": "workers"}, {"later": "on"})
            and "hello" not in group["metadata"]["annotations"]
        ),
    )
    after = pods_of(kube, "example", namespace)
    assert {pod["metadata"]["uid"] for pod in after} == before
    assert carry(after, {"others": "label"}, {"others": "annotation"})


def test_a_groups_own_labels_reach_its_workers_alone(kube: Kube, namespace: str, manifest: Object) -> None:
    start(kube, namespace, manifest)
    mark = {"metadata": {"labels": {"of-group": "yes"}, "annotations": {"said": "by-group"}}}
    kube.patch(WORKER_GROUPS, "example-default", mark, namespace)
    kube.wait_all(
        "pods",
        namespace,
        until=lambda pods: carry([*pods.values()], {"of-group": "yes"}, {"said": "by-group"}),
        labelSelector="dask.org/component=worker",
    )
    assert "of-group" not in children(kube, namespace)["scheduler"][0]["metadata"]["labels"]
    mark = {"metadata": {"labels": {"of-group": None}, "annotations": {"said": None}}}
    kube.patch(WORKER_GROUPS, "example-default", mark, namespace)
    kube.wait_all(
        "pods",
        namespace,
        until=lambda pods: all("of-group" not in pod["metadata"]["labels"] for pod in pods.values()),
        labelSelector="dask.org/component=worker",
    )
