"""Server-side apply: who set a field owns it, others ask before they change it, and what nobody wants goes.

https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

import json

import pytest

from tests.conformance.gadgets import gadget
from tests.conformance.manifests import causes, config_map, service
from tests.harness.kube import PATCH_TYPES, Kube, Object, Refused


def apply(kube: Kube, manifest: Object, namespace: str, manager: str, **params: str) -> Object:
    """Apply as a manager that doesn't force."""
    return kube.apply(manifest, namespace, manager=manager, force="false", **params)


def managers(found: Object) -> dict[str, Object]:
    """Return what each manager owns, by ``manager operation[ subresource]``."""
    return {
        " ".join(filter(None, (entry["manager"], entry["operation"], entry.get("subresource")))): entry[
            "fieldsV1"
        ]
        for entry in found["metadata"]["managedFields"]
    }


def test_what_does_not_exist_is_created(kube: Kube, namespace: str, name: str) -> None:
    path = kube.path("configmaps", namespace, name)
    for status in (201, 200):
        response = kube.http.patch(
            path,
            content=json.dumps(config_map(name, {"a": "1"})),
            headers={"Content-Type": PATCH_TYPES["apply"]},
            params={"fieldManager": "one"},
        )
        assert response.status_code == status


def test_an_applier_owns_what_it_sets(kube: Kube, namespace: str, name: str) -> None:
    applied = apply(kube, config_map(name, {"a": "1"}, labels={"l": "m"}), namespace, "one")

    [entry] = applied["metadata"]["managedFields"]
    assert entry.pop("time")
    assert entry == {
        "manager": "one",
        "operation": "Apply",
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {"f:a": {}}, "f:metadata": {"f:labels": {"f:l": {}}}},
    }


def test_a_creator_owns_what_it_sets_by_its_user_agent_or_its_own_word(
    kube: Kube, namespace: str, name: str
) -> None:
    created = kube.create(config_map(name, {"a": "1"}), namespace)
    assert managers(created) == {"dask-k8s-tests Update": {"f:data": {".": {}, "f:a": {}}}}

    patched = kube.patch("configmaps", name, {"data": {"b": "2"}}, namespace, fieldManager="patcher")
    assert managers(patched)["patcher Update"] == {"f:data": {"f:b": {}}}


def test_who_changes_a_field_by_an_update_takes_it(kube: Kube, namespace: str, name: str) -> None:
    apply(kube, config_map(name, {"a": "1", "b": "1"}), namespace, "one")

    patched = kube.patch("configmaps", name, {"data": {"a": "2"}}, namespace, fieldManager="patcher")

    assert managers(patched) == {
        "one Apply": {"f:data": {"f:b": {}}},
        "patcher Update": {"f:data": {"f:a": {}}},
    }


def test_defaults_are_owned_by_nobody(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    applied = apply(kube, gadget(name), namespace, "one")

    assert applied["spec"]["replicas"] == 1
    assert managers(applied) == {"one Apply": {"f:spec": {"f:size": {}}}}


def test_another_value_for_anothers_field_is_a_conflict(kube: Kube, namespace: str, name: str) -> None:
    apply(kube, config_map(name, {"a": "1", "b": "1"}), namespace, "one")

    with pytest.raises(Refused) as refused:
        apply(kube, config_map(name, {"a": "2", "c": "3"}), namespace, "two")

    status = refused.value.status
    assert (status["code"], status["reason"]) == (409, "Conflict")
    assert status["message"] == 'Apply failed with 1 conflict: conflict with "one": .data.a'
    assert status["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.a"}
    ]
    assert kube.get("configmaps", name, namespace)["data"] == {"a": "1", "b": "1"}


def test_several_conflicts_are_told_together(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    apply(kube, gadget(name, size="S", ports=[{"name": "a", "number": 1}]), namespace, "one")

    with pytest.raises(Refused, match='Apply failed with 2 conflicts: conflicts with "one"') as refused:
        apply(kube, gadget(name, size="L", ports=[{"name": "a", "number": 2}]), namespace, "two")

    assert causes(refused.value.status) == {
        ".spec.size": "FieldManagerConflict",
        '.spec.ports[name="a"].number': "FieldManagerConflict",
    }


def test_an_updaters_field_is_guarded_as_well(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name, {"a": "1"}), namespace, fieldManager="creator")

    with pytest.raises(Refused, match=r'conflict with "creator" using v1: \.data\.a'):
        apply(kube, config_map(name, {"a": "2"}), namespace, "one")


def test_the_same_value_is_shared(kube: Kube, namespace: str, name: str) -> None:
    apply(kube, config_map(name, {"a": "1"}), namespace, "one")
    shared = apply(kube, config_map(name, {"a": "1"}), namespace, "two")

    owned = {"f:data": {"f:a": {}}}
    assert managers(shared) == {"one Apply": owned, "two Apply": owned}
    for manager in ("one", "two"):
        with pytest.raises(Refused, match="conflict with"):
            apply(kube, config_map(name, {"a": "2"}), namespace, manager)


def test_force_takes_a_field_over(kube: Kube, namespace: str, name: str) -> None:
    apply(kube, config_map(name, {"a": "1", "b": "1"}), namespace, "one")

    applied = kube.apply(config_map(name, {"a": "2"}), namespace, manager="two")

    assert applied["data"] == {"a": "2", "b": "1"}
    assert managers(applied) == {"one Apply": {"f:data": {"f:b": {}}}, "two Apply": {"f:data": {"f:a": {}}}}


def test_what_an_applier_leaves_out_is_removed(kube: Kube, namespace: str, name: str) -> None:
    apply(kube, config_map(name, {"a": "1", "b": "2"}, labels={"l": "m"}), namespace, "one")

    applied = apply(kube, config_map(name, {"a": "1"}), namespace, "one")

    assert applied["data"] == {"a": "1"}
    assert "labels" not in applied["metadata"]


def test_what_another_still_wants_stays(kube: Kube, namespace: str, name: str) -> None:
    apply(kube, config_map(name, {"a": "1", "b": "2"}), namespace, "one")
    apply(kube, config_map(name, {"b": "2"}), namespace, "two")

    applied = apply(kube, config_map(name, {"a": "1"}), namespace, "one")
    assert applied["data"] == {"a": "1", "b": "2"}
    applied = apply(kube, config_map(name, {}), namespace, "two")
    assert applied["data"] == {"a": "1"}


def test_who_gives_up_all_its_fields_is_forgotten(kube: Kube, namespace: str, name: str) -> None:
    apply(kube, config_map(name, {"a": "1"}), namespace, "one")
    apply(kube, config_map(name, {"b": "2"}), namespace, "two")

    empty = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    applied = apply(kube, empty, namespace, "two")

    assert applied["data"] == {"a": "1"}
    assert managers(applied) == {"one Apply": {"f:data": {"f:a": {}}}}


def test_a_given_up_field_gets_its_default(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    apply(kube, gadget(name, replicas=5), namespace, "one")

    assert apply(kube, gadget(name), namespace, "one")["spec"]["replicas"] == 1


def test_replicas_are_handed_over_by_leaving_them_out(
    kube: Kube, namespace: str, gadgets: str, name: str
) -> None:
    apply(kube, gadget(name, replicas=5), namespace, "one")
    kube.patch(gadgets, name, {"spec": {"replicas": 7}}, namespace, fieldManager="autoscaler")

    assert apply(kube, gadget(name), namespace, "one")["spec"]["replicas"] == 7


def test_an_apply_without_effect_writes_nothing(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    for manifest in (config_map(name, {"a": "1"}), gadget(name, tags=["a"]), service(name)):
        applied = apply(kube, manifest, namespace, "one")
        assert apply(kube, manifest, namespace, "one") == applied


def test_items_of_a_map_list_are_owned_one_by_one(
    kube: Kube, namespace: str, gadgets: str, name: str
) -> None:
    apply(
        kube, gadget(name, ports=[{"name": "a", "number": 1}, {"name": "b", "number": 2}]), namespace, "one"
    )
    other = gadget(name, ports=[{"name": "c", "number": 3}])
    applied = apply(kube, other, namespace, "two")
    assert {port["name"]: port["number"] for port in applied["spec"]["ports"]} == {"a": 1, "b": 2, "c": 3}
    assert managers(applied)["two Apply"]["f:spec"]["f:ports"] == {
        'k:{"name":"c"}': {".": {}, "f:name": {}, "f:number": {}}
    }

    applied = apply(kube, gadget(name, ports=[{"name": "b", "number": 2}]), namespace, "one")
    assert [port["name"] for port in applied["spec"]["ports"]] == ["b", "c"]


def test_items_of_a_set_are_owned_one_by_one(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    apply(kube, gadget(name, tags=["a", "b"]), namespace, "one")
    applied = apply(kube, gadget(name, tags=["b", "c"]), namespace, "two")
    assert set(applied["spec"]["tags"]) == {"a", "b", "c"}
    assert managers(applied)["two Apply"]["f:spec"]["f:tags"] == {'v:"b"': {}, 'v:"c"': {}}

    applied = apply(kube, gadget(name), namespace, "one")
    assert set(applied["spec"]["tags"]) == {"b", "c"}


def test_atomic_lists_and_maps_are_owned_as_a_whole(
    kube: Kube, namespace: str, gadgets: str, name: str
) -> None:
    applied = apply(kube, gadget(name, numbers=[1, 2], address={"host": "a", "port": 1}), namespace, "one")
    assert managers(applied)["one Apply"]["f:spec"] == {"f:address": {}, "f:numbers": {}, "f:size": {}}

    with pytest.raises(Refused) as refused:
        apply(kube, gadget(name, numbers=[1], address={"host": "a"}), namespace, "two")
    assert set(causes(refused.value.status)) == {".spec.numbers", ".spec.address"}
    applied = kube.apply(gadget(name, numbers=[3], address={"host": "b"}), namespace, manager="two")
    assert applied["spec"]["numbers"] == [3]
    assert applied["spec"]["address"] == {"host": "b"}


def test_core_lists_are_merged_by_their_keys(kube: Kube, namespace: str, name: str) -> None:
    apply(kube, service(name, None, {"port": 80, "protocol": "TCP", "name": "http"}), namespace, "one")

    other = service(name, None, {"port": 443, "protocol": "TCP", "name": "https"})
    applied = apply(kube, other, namespace, "two")

    assert {port["port"] for port in applied["spec"]["ports"]} == {80, 443}


def test_default_keys_identify_items(kube: Kube, namespace: str, name: str) -> None:
    """``protocol`` belongs to the key of a port, and may be left out."""
    apply(kube, service(name, None, {"port": 80, "name": "http"}), namespace, "one")

    applied = apply(
        kube, service(name, None, {"port": 80, "name": "http", "targetPort": 8080}), namespace, "one"
    )

    [port] = applied["spec"]["ports"]
    assert (port["targetPort"], port["protocol"]) == (8080, "TCP")
    key = 'k:{"port":80,"protocol":"TCP"}'
    assert list(managers(applied)["one Apply"]["f:spec"]["f:ports"]) == [key]


def test_metadata_lists_are_sets_and_maps(kube: Kube, namespace: str, name: str) -> None:
    apply(kube, config_map(name, finalizers=["conformance.example.com/a"]), namespace, "one")
    applied = apply(kube, config_map(name, finalizers=["conformance.example.com/b"]), namespace, "two")
    assert len(applied["metadata"]["finalizers"]) == 2

    applied = apply(kube, config_map(name), namespace, "one")
    assert applied["metadata"]["finalizers"] == ["conformance.example.com/b"]
    kube.patch("configmaps", name, {"metadata": {"finalizers": None}}, namespace)


def test_what_is_empty_is_owned_though_it_is_not_stored(kube: Kube, namespace: str, name: str) -> None:
    """So that the next who applies it as well changes what another owns."""
    for manifest, field in (
        (config_map(name, {}), ".data"),
        (service(name, {}, {"port": 80}), ".spec.selector"),
    ):
        applied = apply(kube, manifest, namespace, "one")
        assert "data" not in applied
        assert "selector" not in applied.get("spec", {})
        apply(kube, manifest, namespace, "one")

        with pytest.raises(Refused, match=f'1 conflict: conflict with "one": {field}') as refused:
            apply(kube, manifest, namespace, "two")

        assert causes(refused.value.status) == {field: "FieldManagerConflict"}
        kube.apply(manifest, namespace, manager="two")


def test_the_status_is_applied_apart(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    manifest = {**gadget(name), "status": {"phase": "Ready"}}
    applied = apply(kube, manifest, namespace, "one")
    assert "status" not in applied
    assert managers(applied) == {"one Apply": {"f:spec": {"f:size": {}}}}

    path = kube.path(gadgets, namespace, name, "status")
    applied = kube.request(
        "PATCH",
        path,
        content=json.dumps({key: value for key, value in manifest.items() if key != "spec"}),
        headers={"Content-Type": PATCH_TYPES["apply"]},
        params={"fieldManager": "one", "force": "true"},
    )
    assert applied["status"] == {"phase": "Ready"}
    assert applied["spec"]["size"] == "M"
    assert managers(applied)["one Apply status"] == {"f:status": {"f:phase": {}}}


def test_the_status_of_nothing_is_not_applied(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    manifest = {**gadget(name), "status": {"phase": "Ready"}}
    with pytest.raises(Refused) as refused:
        kube.request(
            "PATCH",
            kube.path(gadgets, namespace, name, "status"),
            content=json.dumps(manifest),
            headers={"Content-Type": PATCH_TYPES["apply"]},
            params={"fieldManager": "one", "force": "true"},
        )

    assert (refused.value.code, refused.value.reason) == (404, "NotFound")


def test_ownership_by_update_of_the_status_is_kept_apart(
    kube: Kube, namespace: str, gadgets: str, name: str
) -> None:
    kube.create(gadget(name), namespace, fieldManager="one")
    patch = {"status": {"phase": "Ready"}}

    patched = kube.patch(gadgets, name, patch, namespace, subresource="status", fieldManager="one")

    assert managers(patched)["one Update status"] == {"f:status": {".": {}, "f:phase": {}}}


def test_an_old_version_is_a_conflict(kube: Kube, namespace: str, name: str) -> None:
    version = apply(kube, config_map(name, {"a": "1"}), namespace, "one")["metadata"]["resourceVersion"]
    kube.patch("configmaps", name, {"data": {"b": "2"}}, namespace)

    with pytest.raises(Refused, match="the object has been modified") as refused:
        apply(kube, config_map(name, {"a": "1"}, resourceVersion=version), namespace, "one")

    assert (refused.value.code, refused.value.reason) == (409, "Conflict")


def test_a_uid_keeps_an_apply_from_creating(kube: Kube, namespace: str, name: str) -> None:
    uid = "00000000-0000-0000-0000-000000000000"
    with pytest.raises(Refused, match="uid mismatch: the provided object specified uid") as refused:
        apply(kube, config_map(name, uid=uid), namespace, "one")

    assert (refused.value.code, refused.value.reason) == (409, "Conflict")
    assert kube.find("configmaps", name, namespace) is None


def test_an_applier_says_who_it_is(kube: Kube, namespace: str, name: str) -> None:
    path = kube.path("configmaps", namespace, name)
    headers = {"Content-Type": PATCH_TYPES["apply"]}
    with pytest.raises(Refused, match="is required for apply patch") as refused:
        kube.request("PATCH", path, content=json.dumps(config_map(name)), headers=headers)

    assert (refused.value.code, refused.value.reason) == (422, "Invalid")
    assert causes(refused.value.status) == {"fieldManager": "FieldValueRequired"}


def test_only_an_apply_can_be_forced(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name), namespace)

    with pytest.raises(Refused, match="may not be specified for non-apply patch") as refused:
        kube.patch("configmaps", name, {"data": {}}, namespace, force="true")

    assert causes(refused.value.status) == {"force": "FieldValueForbidden"}


def test_an_applied_manifest_carries_no_managers(kube: Kube, namespace: str, name: str) -> None:
    manifest = config_map(name, managedFields=[{"manager": "one", "operation": "Apply", "apiVersion": "v1"}])

    with pytest.raises(Refused, match=r"metadata\.managedFields must be nil") as refused:
        apply(kube, manifest, namespace, "one")

    assert (refused.value.code, refused.value.reason) == (400, "BadRequest")


def test_an_applied_manifest_says_what_it_is(kube: Kube, namespace: str, name: str) -> None:
    path = kube.path("configmaps", namespace, name)
    with pytest.raises(Refused) as refused:
        kube.request(
            "PATCH",
            path,
            content=json.dumps({"metadata": {"name": name}}),
            headers={"Content-Type": PATCH_TYPES["apply"]},
            params={"fieldManager": "one"},
        )
    assert refused.value.code == 400


def test_managers_are_cleared_by_an_empty_entry(kube: Kube, namespace: str, name: str) -> None:
    apply(kube, config_map(name, {"a": "1"}), namespace, "one")

    patched = kube.patch("configmaps", name, {"metadata": {"managedFields": [{}]}}, namespace)

    assert "managedFields" not in patched["metadata"]


def test_a_manager_keeps_its_time_while_it_owns_the_same(kube: Kube, namespace: str, name: str) -> None:
    first = apply(kube, config_map(name, {"a": "1"}), namespace, "one")
    second = apply(kube, config_map(name, {"b": "2"}), namespace, "two")

    [before] = first["metadata"]["managedFields"]
    assert before in second["metadata"]["managedFields"]


def test_removed_containers_of_a_deployment_go(kube: Kube, namespace: str, name: str) -> None:
    def deployment(*containers: str) -> Object:
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {
                        "containers": [{"name": one, "image": "registry.invalid/a:1"} for one in containers]
                    },
                },
            },
        }

    apply(kube, deployment("a", "b"), namespace, "one")
    applied = apply(kube, deployment("b", "c"), namespace, "one")

    assert [one["name"] for one in applied["spec"]["template"]["spec"]["containers"]] == ["b", "c"]
