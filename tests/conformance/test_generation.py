"""The generation counts changes of the spec; status and spec are written apart.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#status-subresource
"""

from __future__ import annotations

import pytest

from tests.conformance.gadgets import gadget, plain
from tests.harness.kube import Kube, Refused


def test_the_generation_begins_with_1(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    assert kube.create(gadget(name), namespace)["metadata"]["generation"] == 1


def test_the_generation_cannot_be_chosen(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    created = kube.create(gadget(name, metadata={"generation": 7}), namespace)
    assert created["metadata"]["generation"] == 1

    patched = kube.patch(gadgets, name, {"metadata": {"generation": 9}}, namespace)
    assert patched["metadata"]["generation"] == 1


def test_every_change_of_the_spec_raises_the_generation(
    kube: Kube, namespace: str, gadgets: str, name: str
) -> None:
    kube.create(gadget(name), namespace)

    assert kube.patch(gadgets, name, {"spec": {"size": "L"}}, namespace)["metadata"]["generation"] == 2
    assert kube.patch(gadgets, name, {"spec": {"replicas": 3}}, namespace)["metadata"]["generation"] == 3


def test_metadata_and_status_leave_the_generation_alone(
    kube: Kube, namespace: str, gadgets: str, name: str
) -> None:
    kube.create(gadget(name), namespace)

    kube.patch(gadgets, name, {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}}, namespace)
    kube.patch(gadgets, name, {"status": {"phase": "Ready"}}, namespace, subresource="status")

    found = kube.get(gadgets, name, namespace)
    assert found["metadata"]["generation"] == 1
    assert found["status"] == {"phase": "Ready"}


def test_a_patch_without_effect_leaves_the_generation_alone(
    kube: Kube, namespace: str, gadgets: str, name: str
) -> None:
    created = kube.create(gadget(name), namespace)

    assert kube.patch(gadgets, name, {"spec": {"size": "M"}}, namespace) == created


def test_status_in_a_creation_is_dropped(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    assert "status" not in kube.create({**gadget(name), "status": {"phase": "Ready"}}, namespace)


def test_status_in_a_write_of_the_object_is_dropped(
    kube: Kube, namespace: str, gadgets: str, name: str
) -> None:
    created = kube.create(gadget(name), namespace)
    kube.patch(gadgets, name, {"status": {"phase": "Ready"}}, namespace, subresource="status")

    for patch in ({"status": {"phase": "Lost"}}, {"status": None}):
        assert kube.patch(gadgets, name, patch, namespace)["status"] == {"phase": "Ready"}
    current = kube.get(gadgets, name, namespace)
    assert kube.update({**current, "status": {"phase": "Lost"}})["status"] == {"phase": "Ready"}
    assert kube.get(gadgets, name, namespace)["metadata"]["generation"] == created["metadata"]["generation"]


def test_a_write_of_the_status_changes_nothing_else(
    kube: Kube, namespace: str, gadgets: str, name: str
) -> None:
    created = kube.create(gadget(name), namespace)
    changed = {
        **created,
        "metadata": {
            **created["metadata"],
            "labels": {"a": "b"},
            "finalizers": ["conformance.example.com/stay"],
        },
        "spec": {"size": "L"},
        "status": {"phase": "Ready"},
    }

    kube.update(changed, "status")

    found = kube.get(gadgets, name, namespace)
    assert found["status"] == {"phase": "Ready"}
    assert found["spec"] == created["spec"]
    assert not found["metadata"].keys() & {"labels", "finalizers"}


def test_the_status_has_versions_as_well(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    created = kube.create(gadget(name), namespace)
    kube.update({**created, "status": {"phase": "One"}}, "status")

    with pytest.raises(Refused) as refused:
        kube.update({**created, "status": {"phase": "Two"}}, "status")

    assert (refused.value.code, refused.value.reason) == (409, "Conflict")


def test_the_status_is_validated(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    kube.create(gadget(name), namespace)

    with pytest.raises(Refused) as refused:
        kube.patch(gadgets, name, {"status": {"replicas": "three"}}, namespace, subresource="status")

    assert (refused.value.code, refused.value.reason) == (422, "Invalid")


def test_the_status_can_be_read_alone(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    kube.create(gadget(name), namespace)

    assert kube.get(gadgets, name, namespace, "status") == kube.get(gadgets, name, namespace)


def test_without_the_subresource_the_status_is_a_field_like_any_other(
    kube: Kube, namespace: str, plains: str, name: str
) -> None:
    created = kube.create(plain(name, status={"phase": "New"}), namespace)
    assert created["status"] == {"phase": "New"}

    patched = kube.patch(plains, name, {"status": {"phase": "Old"}}, namespace)
    assert patched["metadata"]["generation"] == 2
    with pytest.raises(Refused) as refused:
        kube.patch(plains, name, {"status": {"phase": "Old"}}, namespace, subresource="status")
    assert refused.value.code == 404


def test_a_change_of_labels_leaves_a_deployments_generation_alone(
    kube: Kube, namespace: str, name: str
) -> None:
    labels = {"app": name}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": "registry.invalid/a"}]},
            },
        },
    }
    assert kube.create(deployment, namespace)["metadata"]["generation"] == 1

    kube.patch("deployments.apps", name, {"metadata": {"labels": {"a": "b"}}}, namespace)
    assert kube.get("deployments.apps", name, namespace)["metadata"]["generation"] == 1
    kube.patch("deployments.apps", name, {"spec": {"minReadySeconds": 1}}, namespace)
    assert kube.get("deployments.apps", name, namespace)["metadata"]["generation"] == 2
