"""Deletion: what it answers, its preconditions, and many at once.

https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.37/#deleteoptions-v1-meta
"""

from __future__ import annotations

import pytest

from tests.conformance.gadgets import gadget
from tests.conformance.manifests import config_map, waiting_pod
from tests.harness.kube import Kube, Refused


def test_an_object_without_finalizers_is_gone_at_once(kube: Kube, namespace: str, name: str) -> None:
    uid = kube.create(config_map(name), namespace)["metadata"]["uid"]

    answer = kube.request("DELETE", kube.path("configmaps", namespace, name))

    assert (answer["kind"], answer["status"]) == ("Status", "Success")
    assert answer["details"] == {"name": name, "kind": "configmaps", "uid": uid}
    assert kube.find("configmaps", name, namespace) is None


def test_a_custom_resource_is_gone_at_once(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    uid = kube.create(gadget(name), namespace)["metadata"]["uid"]

    answer = kube.request("DELETE", kube.path(gadgets, namespace, name))

    assert answer["details"] == {
        "name": name,
        "group": "conformance.example.com",
        "kind": "gadgets",
        "uid": uid,
    }
    assert kube.find(gadgets, name, namespace) is None


def test_a_name_can_be_used_again_at_once(kube: Kube, namespace: str, name: str) -> None:
    first = kube.create(config_map(name), namespace)
    kube.delete("configmaps", name, namespace)

    second = kube.create(config_map(name), namespace)

    assert first["metadata"]["uid"] != second["metadata"]["uid"]


def test_deletion_by_the_uid_of_another_object_is_a_conflict(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name), namespace)

    stranger = {"uid": "00000000-0000-0000-0000-000000000000"}
    with pytest.raises(Refused, match="does not match the UID in record") as refused:
        kube.request("DELETE", kube.path("configmaps", namespace, name), json={"preconditions": stranger})

    assert (refused.value.code, refused.value.reason) == (409, "Conflict")
    assert kube.find("configmaps", name, namespace) is not None


def test_deletion_by_the_right_uid_is_carried_out(kube: Kube, namespace: str, name: str) -> None:
    uid = kube.create(config_map(name), namespace)["metadata"]["uid"]

    kube.delete("configmaps", name, namespace, preconditions={"uid": uid})

    assert kube.find("configmaps", name, namespace) is None


def test_deletion_of_an_old_version_is_a_conflict(kube: Kube, namespace: str, name: str) -> None:
    version = kube.create(config_map(name), namespace)["metadata"]["resourceVersion"]
    kube.patch("configmaps", name, {"data": {"a": "1"}}, namespace)

    with pytest.raises(Refused) as refused:
        kube.delete("configmaps", name, namespace, preconditions={"resourceVersion": version})

    assert (refused.value.code, refused.value.reason) == (409, "Conflict")
    assert kube.find("configmaps", name, namespace) is not None


def test_options_may_be_query_parameters(kube: Kube, namespace: str, name: str) -> None:
    kube.create(waiting_pod(name), namespace)

    params = {"gracePeriodSeconds": "0", "propagationPolicy": "Background"}
    kube.request("DELETE", kube.path("pods", namespace, name), params=params)

    assert kube.find("pods", name, namespace) is None


def test_options_may_be_sent_as_their_kind(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name), namespace)

    kube.delete(
        "configmaps", name, namespace, kind="DeleteOptions", apiVersion="v1", propagationPolicy="Background"
    )

    assert kube.find("configmaps", name, namespace) is None


def test_an_unknown_propagation_policy_is_refused(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name), namespace)

    with pytest.raises(Refused, match="propagationPolicy") as refused:
        kube.delete("configmaps", name, namespace, propagationPolicy="Sideways")

    assert refused.value.code == 422


def test_a_selection_is_deleted_together(kube: Kube, namespace: str, name: str) -> None:
    for number in range(3):
        kube.create(config_map(f"{name}-{number}", labels={"of": name, "number": str(number)}), namespace)

    params = {"labelSelector": f"of={name},number!=1"}
    kube.request("DELETE", kube.path("configmaps", namespace), params=params)

    assert [one["metadata"]["name"] for one in kube.list("configmaps", namespace, f"of={name}")] == [
        f"{name}-1"
    ]


def test_a_deleted_selection_waits_for_finalizers(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name, labels={"of": name}, finalizers=["conformance.example.com/stay"]), namespace)

    kube.request("DELETE", kube.path("configmaps", namespace), params={"labelSelector": f"of={name}"})

    assert "deletionTimestamp" in kube.get("configmaps", name, namespace)["metadata"]
    kube.patch("configmaps", name, {"metadata": {"finalizers": None}}, namespace)


def test_a_pod_that_no_node_has_goes_at_once(kube: Kube, namespace: str, name: str) -> None:
    kube.create(waiting_pod(name), namespace)

    answer = kube.request("DELETE", kube.path("pods", namespace, name))

    assert answer["kind"] == "Pod"
    assert kube.find("pods", name, namespace) is None
