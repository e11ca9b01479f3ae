"""JSON patches and JSON merge patches.

https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply
"""

from __future__ import annotations

import pytest

from tests.conformance.gadgets import gadget
from tests.conformance.manifests import config_map, service
from tests.harness.kube import Kube, Refused


def test_a_merge_patch_sets_and_removes(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name, {"a": "1", "b": "2"}, labels={"x": "y"}), namespace)

    patched = kube.patch(
        "configmaps", name, {"metadata": {"labels": None}, "data": {"a": None, "c": "3"}}, namespace
    )

    assert patched["data"] == {"b": "2", "c": "3"}
    assert "labels" not in patched["metadata"]


def test_a_merge_patch_replaces_lists(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    kube.create(gadget(name, ports=[{"name": "a", "number": 1}, {"name": "b"}]), namespace)

    patched = kube.patch(gadgets, name, {"spec": {"ports": [{"name": "a", "number": 2}]}}, namespace)

    assert patched["spec"]["ports"] == [{"name": "a", "number": 2, "protocol": "TCP"}]


def test_a_json_patch_adds_replaces_moves_and_removes(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name, {"a": "1", "b": "2", "c": "3"}), namespace)

    operations = [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "add", "path": "/data/d", "value": "4"},
        {"op": "replace", "path": "/data/a", "value": "one"},
        {"op": "remove", "path": "/data/b"},
        {"op": "move", "from": "/data/c", "path": "/data/e"},
        {"op": "copy", "from": "/data/d", "path": "/data/f"},
    ]
    patched = kube.patch("configmaps", name, operations, namespace, kind="json")

    assert patched["data"] == {"a": "one", "d": "4", "e": "3", "f": "4"}


def test_a_json_patch_counts_in_lists(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    kube.create(gadget(name, numbers=[1, 2]), namespace)

    operations = [
        {"op": "add", "path": "/spec/numbers/-", "value": 4},
        {"op": "add", "path": "/spec/numbers/0", "value": 0},
        {"op": "remove", "path": "/spec/numbers/1"},
    ]
    assert kube.patch(gadgets, name, operations, namespace, kind="json")["spec"]["numbers"] == [0, 2, 4]


def test_a_json_pointer_escapes_slashes(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name, annotations={"example.com/a": "1"}), namespace)

    operations = [{"op": "replace", "path": "/metadata/annotations/example.com~1a", "value": "2"}]
    patched = kube.patch("configmaps", name, operations, namespace, kind="json")

    assert patched["metadata"]["annotations"] == {"example.com/a": "2"}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/data/a", "value": "2"},
        {"op": "remove", "path": "/data/missing"},
        {"op": "replace", "path": "/missing/a", "value": "2"},
        {"op": "add", "path": "/missing/a", "value": "2"},
    ],
)
def test_a_json_patch_that_does_not_fit_changes_nothing(
    kube: Kube, namespace: str, name: str, operation: dict[str, str]
) -> None:
    created = kube.create(config_map(name, {"a": "1"}), namespace)

    operations = [{"op": "add", "path": "/data/b", "value": "2"}, operation]
    with pytest.raises(Refused) as refused:
        kube.patch("configmaps", name, operations, namespace, kind="json")

    assert (refused.value.code, refused.value.reason) == (422, "Invalid")
    assert kube.get("configmaps", name, namespace) == created


def test_a_json_patch_replaces_what_a_map_lacks(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    """Against RFC 6902, but only in maps."""
    kube.create(config_map(name, {"a": "1"}), namespace)
    kube.create(gadget(name, numbers=[1]), namespace)

    operation = {"op": "replace", "path": "/data/missing", "value": "2"}
    patched = kube.patch("configmaps", name, [operation], namespace, kind="json")
    assert patched["data"] == {"a": "1", "missing": "2"}

    operation = {"op": "replace", "path": "/spec/numbers/1", "value": 2}
    with pytest.raises(Refused) as refused:
        kube.patch(gadgets, name, [operation], namespace, kind="json")
    assert (refused.value.code, refused.value.reason) == (422, "Invalid")


def test_what_is_no_patch_is_refused(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name), namespace)
    path = kube.path("configmaps", namespace, name)

    for content_type, text in (
        ("application/json-patch+json", '{"data": {}}'),
        ("application/json-patch+json", "nonsense"),
        ("application/merge-patch+json", "nonsense"),
        ("application/merge-patch+json", '["data"]'),
    ):
        with pytest.raises(Refused) as refused:
            kube.request("PATCH", path, content=text, headers={"Content-Type": content_type})
        assert (refused.value.code, refused.value.reason) == (400, "BadRequest")


def test_a_patch_says_what_it_is(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    kube.create(config_map(name), namespace)
    kube.create(gadget(name), namespace)

    for resource in ("configmaps", gadgets):
        with pytest.raises(Refused) as refused:
            kube.request("PATCH", kube.path(resource, namespace, name), json={"data": {}})
        assert (refused.value.code, refused.value.reason) == (415, "UnsupportedMediaType")


def test_a_patch_of_what_does_not_exist_is_not_found(kube: Kube, namespace: str, name: str) -> None:
    with pytest.raises(Refused) as refused:
        kube.patch("configmaps", name, {"data": {"a": "1"}}, namespace)

    assert (refused.value.code, refused.value.reason) == (404, "NotFound")


def test_the_result_of_a_patch_is_validated(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    created = kube.create(gadget(name), namespace)

    with pytest.raises(Refused) as refused:
        kube.patch(gadgets, name, {"spec": {"replicas": 11}}, namespace)
    assert refused.value.code == 422
    with pytest.raises(Refused) as refused:
        kube.patch(gadgets, name, {"spec": {"size": None}}, namespace)
    assert refused.value.code == 422
    assert kube.get(gadgets, name, namespace) == created


def test_a_removed_field_gets_its_default_again(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    kube.create(gadget(name, replicas=5), namespace)
    assert kube.patch(gadgets, name, {"spec": {"replicas": None}}, namespace)["spec"]["replicas"] == 1

    kube.create(service(name, sessionAffinity="ClientIP"), namespace)
    patched = kube.patch(
        "services", name, {"spec": {"sessionAffinity": None, "sessionAffinityConfig": None}}, namespace
    )
    assert patched["spec"]["sessionAffinity"] == "None"


def test_custom_resources_know_no_strategic_patches(
    kube: Kube, namespace: str, gadgets: str, name: str
) -> None:
    kube.create(gadget(name), namespace)

    with pytest.raises(Refused, match="application/merge-patch\\+json") as refused:
        kube.patch(gadgets, name, {"spec": {"size": "L"}}, namespace, kind="strategic")

    assert (refused.value.code, refused.value.reason) == (415, "UnsupportedMediaType")
