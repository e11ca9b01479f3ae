"""An object with finalizers stays until they are gone.

https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.conformance.gadgets import gadget
from tests.conformance.manifests import causes, config_map
from tests.conformance.watching import Watch, shown
from tests.harness.kube import Kube, Object, Refused

STAY = "conformance.example.com/stay"
LONGER = "conformance.example.com/longer"


def delete(kube: Kube, resource: str, name: str, namespace: str) -> Object:
    return kube.request("DELETE", kube.path(resource, namespace, name))


def test_deletion_marks_an_object_that_has_finalizers(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name, finalizers=[STAY]), namespace)

    answer = delete(kube, "configmaps", name, namespace)

    found = kube.get("configmaps", name, namespace)
    assert answer["metadata"]["deletionTimestamp"] == found["metadata"]["deletionTimestamp"]
    since = datetime.now(UTC) - datetime.fromisoformat(found["metadata"]["deletionTimestamp"])
    assert abs(since) < timedelta(minutes=5)
    assert found["metadata"]["deletionGracePeriodSeconds"] == 0
    kube.patch("configmaps", name, {"metadata": {"finalizers": None}}, namespace)


def test_it_goes_with_its_last_finalizer(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name, finalizers=[STAY, LONGER]), namespace)
    delete(kube, "configmaps", name, namespace)

    kube.patch("configmaps", name, {"metadata": {"finalizers": [LONGER]}}, namespace)
    assert kube.find("configmaps", name, namespace) is not None
    kube.patch("configmaps", name, {"metadata": {"finalizers": []}}, namespace)
    assert kube.find("configmaps", name, namespace) is None


def test_an_update_can_take_the_last_finalizer_too(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name, finalizers=[STAY]), namespace)
    marked = delete(kube, "configmaps", name, namespace)

    del marked["metadata"]["finalizers"]
    kube.update(marked)

    assert kube.find("configmaps", name, namespace) is None


def test_a_second_deletion_changes_nothing(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name, finalizers=[STAY]), namespace)
    marked = delete(kube, "configmaps", name, namespace)

    delete(kube, "configmaps", name, namespace)

    assert kube.get("configmaps", name, namespace) == marked
    kube.patch("configmaps", name, {"metadata": {"finalizers": None}}, namespace)


def test_an_object_on_its_way_out_can_still_be_changed(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name, finalizers=[STAY]), namespace)
    delete(kube, "configmaps", name, namespace)

    assert kube.patch("configmaps", name, {"data": {"a": "1"}}, namespace)["data"] == {"a": "1"}
    kube.patch("configmaps", name, {"metadata": {"finalizers": None}}, namespace)


def test_an_object_on_its_way_out_gets_no_further_finalizers(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name, finalizers=[STAY]), namespace)
    delete(kube, "configmaps", name, namespace)

    message = "no new finalizers can be added if the object is being deleted"
    with pytest.raises(Refused, match=message) as refused:
        kube.patch("configmaps", name, {"metadata": {"finalizers": [STAY, LONGER]}}, namespace)

    assert (refused.value.code, refused.value.reason) == (422, "Invalid")
    assert causes(refused.value.status) == {"metadata.finalizers": "FieldValueForbidden"}
    kube.patch("configmaps", name, {"metadata": {"finalizers": None}}, namespace)


def test_the_mark_of_deletion_cannot_be_taken_back(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name, finalizers=[STAY]), namespace)
    marked = delete(kube, "configmaps", name, namespace)["metadata"]

    patched = kube.patch("configmaps", name, {"metadata": {"deletionTimestamp": None}}, namespace)["metadata"]

    assert patched["deletionTimestamp"] == marked["deletionTimestamp"]
    kube.patch("configmaps", name, {"metadata": {"finalizers": None}}, namespace)


def test_the_mark_of_deletion_raises_the_generation(
    kube: Kube, namespace: str, gadgets: str, name: str
) -> None:
    kube.create(gadget(name, metadata={"finalizers": [STAY]}), namespace)

    marked = delete(kube, gadgets, name, namespace)

    assert marked["metadata"]["generation"] == 2
    kube.patch(gadgets, name, {"metadata": {"finalizers": None}}, namespace)


def test_the_name_is_taken_until_the_object_is_gone(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name, finalizers=[STAY]), namespace)
    delete(kube, "configmaps", name, namespace)

    with pytest.raises(Refused, match="already exists"):
        kube.create(config_map(name), namespace)
    kube.patch("configmaps", name, {"metadata": {"finalizers": None}}, namespace)
    kube.create(config_map(name), namespace)


def test_a_watcher_sees_the_mark_as_a_change_and_the_end_as_a_deletion(
    kube: Kube, namespace: str, name: str
) -> None:
    created = kube.create(config_map(name, finalizers=[STAY]), namespace)
    since = created["metadata"]["resourceVersion"]
    delete(kube, "configmaps", name, namespace)
    kube.patch("configmaps", name, {"metadata": {"finalizers": None}}, namespace)

    selector = f"metadata.name={name}"
    with Watch(kube, "configmaps", namespace, resourceVersion=since, fieldSelector=selector) as watch:
        events = watch.until_seen("DELETED", name)

    assert shown(events) == [("MODIFIED", name), ("DELETED", name)]
    assert all("deletionTimestamp" in found["metadata"] for _, found in events)


def test_finalizers_are_merged_as_a_set_by_strategic_patches(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name, finalizers=[STAY]), namespace)

    patched = kube.patch(
        "configmaps", name, {"metadata": {"finalizers": [LONGER]}}, namespace, kind="strategic"
    )
    assert set(patched["metadata"]["finalizers"]) == {STAY, LONGER}
    removal = {"metadata": {"$deleteFromPrimitiveList/finalizers": [STAY]}}
    patched = kube.patch("configmaps", name, removal, namespace, kind="strategic")
    assert patched["metadata"]["finalizers"] == [LONGER]
    kube.patch("configmaps", name, {"metadata": {"finalizers": None}}, namespace)


def test_a_finalizer_has_a_qualified_name(kube: Kube, namespace: str, name: str) -> None:
    with pytest.raises(Refused) as refused:
        kube.create(config_map(name, finalizers=["not a name"]), namespace)

    assert refused.value.code == 422
    assert all(field.startswith("metadata.finalizers") for field in causes(refused.value.status))
