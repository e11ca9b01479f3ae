"""Objects are stored as they were sent, and a writer who looked at an old version is told so.

https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.conformance.gadgets import gadget
from tests.conformance.manifests import causes, config_map, service, waiting_pod
from tests.harness.kube import Kube, Refused

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def test_a_created_object_gets_uid_version_and_time(kube: Kube, namespace: str, name: str) -> None:
    created = kube.create(config_map(name, {"key": "value"}), namespace)

    assert created["data"] == {"key": "value"}
    assert UUID.fullmatch(created["metadata"]["uid"])
    assert created["metadata"]["namespace"] == namespace
    assert int(created["metadata"]["resourceVersion"]) > 0
    since = datetime.now(UTC) - datetime.fromisoformat(created["metadata"]["creationTimestamp"])
    assert abs(since) < timedelta(minutes=5)
    assert created == kube.get("configmaps", name, namespace)


def test_creation_answers_201_and_an_update_200(kube: Kube, namespace: str, name: str) -> None:
    path = kube.path("configmaps", namespace)

    assert kube.http.post(path, json=config_map(name)).status_code == 201
    assert kube.http.put(f"{path}/{name}", json=config_map(name, {"a": "1"})).status_code == 200


def test_what_only_the_server_may_set_is_ignored_in_a_creation(kube: Kube, namespace: str, name: str) -> None:
    manifest = config_map(
        name,
        uid="00000000-0000-0000-0000-000000000000",
        creationTimestamp="2001-01-01T00:00:00Z",
        deletionTimestamp="2001-01-01T00:00:00Z",
        deletionGracePeriodSeconds=30,
    )

    created = kube.create(manifest, namespace)["metadata"]

    assert created["uid"] != manifest["metadata"]["uid"]
    assert not created["creationTimestamp"].startswith("2001")
    assert not created.keys() & {"deletionTimestamp", "deletionGracePeriodSeconds"}


def test_a_name_can_be_taken_only_once(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name), namespace)

    with pytest.raises(Refused) as refused:
        kube.create(config_map(name), namespace)

    status = refused.value.status
    assert (status["kind"], status["apiVersion"], status["status"]) == ("Status", "v1", "Failure")
    assert (status["code"], status["reason"]) == (409, "AlreadyExists")
    assert status["message"] == f'configmaps "{name}" already exists'
    assert status["details"] == {"name": name, "kind": "configmaps"}


def test_the_same_name_is_free_in_another_namespace(
    kube: Kube, namespace: str, fresh_namespace: str, name: str
) -> None:
    kube.create(config_map(name, {"in": "one"}), namespace)
    kube.create(config_map(name, {"in": "another"}), fresh_namespace)

    assert kube.get("configmaps", name, namespace)["data"] == {"in": "one"}
    assert kube.get("configmaps", name, fresh_namespace)["data"] == {"in": "another"}


def test_what_is_missing_is_not_found(kube: Kube, namespace: str, name: str) -> None:
    for method in ("GET", "DELETE"):
        with pytest.raises(Refused, match=f'configmaps "{name}" not found') as refused:
            kube.request(method, kube.path("configmaps", namespace, name))
        assert (refused.value.code, refused.value.reason) == (404, "NotFound")
        assert refused.value.status["details"] == {"name": name, "kind": "configmaps"}


def test_a_missing_custom_resource_is_named_with_its_group(
    kube: Kube, namespace: str, gadgets: str, name: str
) -> None:
    with pytest.raises(Refused, match=f'{gadgets} "{name}" not found') as refused:
        kube.get(gadgets, name, namespace)

    assert refused.value.status["details"] == {
        "name": name,
        "group": "conformance.example.com",
        "kind": "gadgets",
    }


def test_an_update_replaces_the_whole_object(kube: Kube, namespace: str, name: str) -> None:
    created = kube.create(config_map(name, {"a": "1", "b": "2"}, labels={"old": "label"}), namespace)

    updated = kube.update(config_map(name, {"c": "3"}, namespace=namespace))

    assert updated["data"] == {"c": "3"}
    assert "labels" not in updated["metadata"]
    for kept in ("uid", "creationTimestamp"):
        assert updated["metadata"][kept] == created["metadata"][kept]
    assert int(updated["metadata"]["resourceVersion"]) > int(created["metadata"]["resourceVersion"])


def test_an_update_of_an_old_version_is_a_conflict(kube: Kube, namespace: str, name: str) -> None:
    first = kube.create(config_map(name, {"writer": "nobody"}), namespace)
    kube.update({**first, "data": {"writer": "the first"}})

    with pytest.raises(
        Refused, match="the object has been modified; please apply your changes to the latest version"
    ) as refused:
        kube.update({**first, "data": {"writer": "the second"}})

    assert (refused.value.code, refused.value.reason) == (409, "Conflict")
    assert refused.value.status["message"].startswith(
        f'Operation cannot be fulfilled on configmaps "{name}": '
    )
    assert kube.get("configmaps", name, namespace)["data"] == {"writer": "the first"}


def test_a_patch_of_an_old_version_is_a_conflict(kube: Kube, namespace: str, name: str) -> None:
    first = kube.create(config_map(name), namespace)
    kube.patch("configmaps", name, {"data": {"a": "1"}}, namespace)

    version = first["metadata"]["resourceVersion"]
    with pytest.raises(Refused) as refused:
        kube.patch(
            "configmaps", name, {"metadata": {"resourceVersion": version}, "data": {"b": "2"}}, namespace
        )

    assert (refused.value.code, refused.value.reason) == (409, "Conflict")


def test_a_patch_of_the_current_version_is_taken(kube: Kube, namespace: str, name: str) -> None:
    version = kube.create(config_map(name), namespace)["metadata"]["resourceVersion"]

    patched = kube.patch(
        "configmaps", name, {"metadata": {"resourceVersion": version}, "data": {"b": "2"}}, namespace
    )

    assert patched["data"] == {"b": "2"}


def test_kubernetes_own_kinds_may_be_updated_without_a_version(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name), namespace)

    assert kube.update(config_map(name, {"a": "1"}, namespace=namespace))["data"] == {"a": "1"}


def test_a_custom_resource_is_updated_only_with_a_version(
    kube: Kube, namespace: str, gadgets: str, name: str
) -> None:
    manifest = gadget(name, metadata={"namespace": namespace})
    kube.create(manifest)

    with pytest.raises(Refused, match="must be specified for an update") as refused:
        kube.update(manifest)

    assert (refused.value.code, refused.value.reason) == (422, "Invalid")
    assert causes(refused.value.status) == {"metadata.resourceVersion": "FieldValueInvalid"}


def test_an_update_that_changes_nothing_writes_nothing(kube: Kube, namespace: str, name: str) -> None:
    created = kube.create(config_map(name, {"a": "1"}), namespace)

    assert kube.update(created) == created
    assert kube.patch("configmaps", name, {"data": {"a": "1"}}, namespace) == created


def test_an_update_of_what_does_not_exist_is_not_found(kube: Kube, namespace: str, name: str) -> None:
    with pytest.raises(Refused) as refused:
        kube.update(config_map(name, namespace=namespace))

    assert (refused.value.code, refused.value.reason) == (404, "NotFound")


def test_an_update_names_the_object_in_its_url(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name), namespace)

    with pytest.raises(Refused, match="does not match the name on the URL") as refused:
        kube.request("PUT", kube.path("configmaps", namespace, name), json=config_map("another"))

    assert (refused.value.code, refused.value.reason) == (400, "BadRequest")


def test_a_manifest_for_another_namespace_is_refused(kube: Kube, namespace: str, name: str) -> None:
    message = "the namespace of the provided object does not match the namespace sent on the request"
    with pytest.raises(Refused, match=message) as refused:
        kube.request("POST", kube.path("configmaps", namespace), json=config_map(name, namespace="default"))

    assert (refused.value.code, refused.value.reason) == (400, "BadRequest")


def test_an_update_with_another_uid_is_a_conflict(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name), namespace)
    stranger = config_map(name, namespace=namespace, uid="00000000-0000-0000-0000-000000000000")

    with pytest.raises(Refused) as refused:
        kube.update(stranger)

    assert (refused.value.code, refused.value.reason) == (409, "Conflict")


def test_an_object_cannot_move_to_another_name_or_uid(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name), namespace)

    with pytest.raises(Refused) as refused:
        kube.patch("configmaps", name, {"metadata": {"name": "another"}}, namespace)
    assert refused.value.code == 400
    with pytest.raises(Refused, match="field is immutable") as refused:
        kube.patch(
            "configmaps", name, {"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}}, namespace
        )
    assert causes(refused.value.status) == {"metadata.uid": "FieldValueInvalid"}


def test_empty_fields_of_kubernetes_own_kinds_are_as_good_as_none(
    kube: Kube, namespace: str, name: str
) -> None:
    created = kube.create(config_map(name, {}, labels={}, annotations={}, finalizers=[]), namespace)

    assert "data" not in created
    assert not created["metadata"].keys() & {"labels", "annotations", "finalizers"}


def test_versions_grow_with_every_write_of_any_object(kube: Kube, namespace: str, name: str) -> None:
    written = [kube.create(config_map(f"{name}-{number}"), namespace) for number in range(3)]
    written.append(kube.patch("configmaps", f"{name}-0", {"data": {"a": "1"}}, namespace))

    versions = [int(one["metadata"]["resourceVersion"]) for one in written]
    assert versions == sorted(set(versions))


def test_a_version_is_not_given_in_a_creation(kube: Kube, namespace: str, name: str) -> None:
    with pytest.raises(Refused, match="resourceVersion should not be set on objects to be created"):
        kube.create(config_map(name, resourceVersion="1"), namespace)


def test_nothing_is_created_in_a_namespace_that_does_not_exist(kube: Kube, name: str) -> None:
    for manifest in (config_map("a"), service("a"), waiting_pod("a")):
        with pytest.raises(Refused, match=f'namespaces "{name}" not found') as refused:
            kube.create(manifest, name)
        assert (refused.value.code, refused.value.reason) == (404, "NotFound")


def test_a_list_in_a_namespace_that_does_not_exist_is_empty(kube: Kube, name: str) -> None:
    assert kube.list("configmaps", name) == []
