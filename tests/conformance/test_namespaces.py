"""Namespaces: what they come with, and how they end.

https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.gadgets import gadget
from tests.conformance.manifests import config_map, waiting_pod
from tests.conformance.waiting import condition_is
from tests.harness.kube import Kube, Refused

STAY = "conformance.example.com/stay"


@pytest.fixture
def ending(kube: Kube, fresh_namespace: str) -> Iterator[str]:
    """A namespace that is being deleted, and held by a config map with a finalizer."""
    kube.create(config_map("held", finalizers=[STAY]), fresh_namespace)
    kube.delete("namespaces", fresh_namespace)
    kube.wait(
        "configmaps", "held", fresh_namespace, until=lambda found: "deletionTimestamp" in found["metadata"]
    )
    yield fresh_namespace
    if kube.find("configmaps", "held", fresh_namespace):
        kube.patch("configmaps", "held", {"metadata": {"finalizers": None}}, fresh_namespace)


def test_a_namespace_is_active_and_labelled(kube: Kube, fresh_namespace: str) -> None:
    found = kube.get("namespaces", fresh_namespace)

    assert found["status"]["phase"] == "Active"
    assert found["spec"]["finalizers"] == ["kubernetes"]
    assert found["metadata"]["labels"]["kubernetes.io/metadata.name"] == fresh_namespace


def test_a_namespace_gets_a_service_account_and_the_authoritys_certificate(
    kube: Kube, fresh_namespace: str
) -> None:
    kube.wait("serviceaccounts", "default", fresh_namespace, until=bool)
    found = kube.wait("configmaps", "kube-root-ca.crt", fresh_namespace, until=bool)

    assert "BEGIN CERTIFICATE" in found["data"]["ca.crt"]


def test_a_deleted_service_account_comes_back(kube: Kube, fresh_namespace: str) -> None:
    uid = kube.get("serviceaccounts", "default", fresh_namespace)["metadata"]["uid"]

    kube.delete("serviceaccounts", "default", fresh_namespace)

    kube.wait(
        "serviceaccounts", "default", fresh_namespace, until=lambda found: found["metadata"]["uid"] != uid
    )


def test_some_namespaces_are_always_there(kube: Kube) -> None:
    names = {found["metadata"]["name"] for found in kube.list("namespaces")}

    assert {"default", "kube-system", "kube-public", "kube-node-lease"} <= names


def test_a_namespace_takes_all_that_is_in_it_along(kube: Kube, fresh_namespace: str, gadgets: str) -> None:
    kube.create(config_map("one"), fresh_namespace)
    kube.create(gadget("one"), fresh_namespace)
    kube.create(waiting_pod("one"), fresh_namespace)

    answer = kube.request("DELETE", kube.path("namespaces", name=fresh_namespace))

    assert answer["status"]["phase"] == "Terminating"
    kube.gone("namespaces", fresh_namespace, timeout=120)
    for resource in ("configmaps", gadgets, "pods"):
        assert kube.list(resource, fresh_namespace) == []


def test_a_namespace_can_be_made_again(kube: Kube, fresh_namespace: str) -> None:
    before = kube.get("namespaces", fresh_namespace)
    kube.delete("namespaces", fresh_namespace)
    kube.gone("namespaces", fresh_namespace, timeout=120)

    again = kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": fresh_namespace}})

    assert again["metadata"]["uid"] != before["metadata"]["uid"]
    kube.create(config_map("one"), fresh_namespace)


def test_an_ending_namespace_waits_for_finalizers(kube: Kube, ending: str) -> None:
    found = kube.wait(
        "namespaces",
        ending,
        until=lambda found: condition_is(found, "NamespaceFinalizersRemaining"),
        timeout=120,
    )
    assert found["status"]["phase"] == "Terminating"
    assert "deletionTimestamp" in found["metadata"]
    message = next(
        one["message"]
        for one in found["status"]["conditions"]
        if one["type"] == "NamespaceFinalizersRemaining"
    )
    assert STAY in message

    kube.patch("configmaps", "held", {"metadata": {"finalizers": None}}, ending)
    kube.gone("namespaces", ending, timeout=120)


def test_nothing_new_begins_in_an_ending_namespace(kube: Kube, ending: str) -> None:
    for manifest in (config_map("late"), waiting_pod("late")):
        with pytest.raises(Refused, match="because it is being terminated") as refused:
            kube.create(manifest, ending)
        assert (refused.value.code, refused.value.reason) == (403, "Forbidden")
        causes = refused.value.status["details"]["causes"]
        assert "NamespaceTerminating" in [cause["reason"] for cause in causes]


def test_the_default_namespace_stays(kube: Kube) -> None:
    with pytest.raises(Refused, match="this namespace may not be deleted") as refused:
        kube.delete("namespaces", "default")

    assert (refused.value.code, refused.value.reason) == (403, "Forbidden")
