"""``dryRun=All``: everything happens but the writing.

https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run
"""

from __future__ import annotations

import pytest

from tests.conformance.gadgets import gadget
from tests.conformance.manifests import config_map, service
from tests.harness.kube import Kube, Refused


def test_nothing_is_created(kube: Kube, namespace: str, name: str) -> None:
    shown = kube.create(service(name), namespace, dryRun="All")

    assert shown["metadata"]["uid"]
    assert shown["spec"]["type"] == "ClusterIP"
    assert kube.find("services", name, namespace) is None


def test_the_answer_shows_defaults(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    assert kube.create(gadget(name), namespace, dryRun="All")["spec"]["replicas"] == 1
    assert kube.find(gadgets, name, namespace) is None


def test_what_would_be_refused_is_refused(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    with pytest.raises(Refused) as refused:
        kube.create(gadget(name, replicas=99), namespace, dryRun="All")
    assert refused.value.code == 422

    kube.create(gadget(name), namespace)
    with pytest.raises(Refused) as refused:
        kube.create(gadget(name), namespace, dryRun="All")
    assert refused.value.reason == "AlreadyExists"


def test_nothing_is_changed(kube: Kube, namespace: str, name: str) -> None:
    created = kube.create(config_map(name), namespace)

    patched = kube.patch("configmaps", name, {"data": {"a": "1"}}, namespace, dryRun="All")
    updated = kube.update({**created, "data": {"a": "2"}}, dryRun="All")
    applied = kube.apply(config_map(name, {"a": "3"}), namespace, dryRun="All")

    assert [one["data"] for one in (patched, updated, applied)] == [{"a": "1"}, {"a": "2"}, {"a": "3"}]
    assert kube.get("configmaps", name, namespace) == created


def test_nothing_is_applied_for_the_first_time(kube: Kube, namespace: str, name: str) -> None:
    assert kube.apply(config_map(name, {"a": "1"}), namespace, dryRun="All")["data"] == {"a": "1"}
    assert kube.find("configmaps", name, namespace) is None


def test_nothing_is_deleted(kube: Kube, namespace: str, name: str) -> None:
    created = kube.create(config_map(name), namespace)
    path = kube.path("configmaps", namespace)

    kube.request("DELETE", f"{path}/{name}", params={"dryRun": "All"})
    kube.request("DELETE", f"{path}/{name}", json={"dryRun": ["All"]})
    kube.request("DELETE", path, params={"dryRun": "All"})

    assert kube.get("configmaps", name, namespace) == created


def test_there_is_no_other_dry_run(kube: Kube, namespace: str, name: str) -> None:
    with pytest.raises(Refused, match="dryRun") as refused:
        kube.create(config_map(name), namespace, dryRun="Some")

    assert (refused.value.code, refused.value.reason) == (422, "Invalid")
