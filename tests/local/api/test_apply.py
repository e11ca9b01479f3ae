"""Server-side apply: ownership, conflicts, force."""

from __future__ import annotations

from typing import Any

import pytest

from tests.local.api.http import Http
from tests.local.api.objects import CORE, CRDS, MAPS, PODS, THINGS, config_map, pod, thing, thing_crd


def owners(body: dict[str, Any]) -> dict[tuple[str, str], Any]:
    return {(one["manager"], one["operation"]): one["fieldsV1"] for one in body["metadata"]["managedFields"]}


async def test_apply_creates_then_does_nothing(http: Http) -> None:
    first = await http.apply(f"{MAPS}/one", config_map(data={"a": "b"}))
    again = await http.apply(f"{MAPS}/one", config_map(data={"a": "b"}))
    assert (first.status, again.status) == (201, 200)
    assert first.body == again.body
    assert owners(first.body) == {("tester", "Apply"): {"f:data": {"f:a": {}}}}


async def test_apply_needs_a_manager_and_a_kind(http: Http) -> None:
    answer = await http("PATCH", f"{MAPS}/one", config_map(), type="application/apply-patch+yaml")
    assert answer.status == 422
    assert "fieldManager: Required value: is required for apply patch" in answer.message
    assert (await http.apply(f"{MAPS}/one", {"metadata": {"name": "one"}})).status == 400
    assert (await http.apply(f"{MAPS}/one", config_map("two"))).status == 400


async def test_what_is_no_longer_applied_is_removed(http: Http) -> None:
    await http.apply(f"{MAPS}/one", config_map(data={"a": "1", "b": "2"}))
    body = (await http.apply(f"{MAPS}/one", config_map(data={"b": "2"}))).body
    assert body["data"] == {"b": "2"}
    body = (await http.apply(f"{MAPS}/one", config_map())).body
    assert "data" not in body
    assert not body["metadata"].get("managedFields")


async def test_what_others_own_stays(http: Http) -> None:
    await http.apply(f"{MAPS}/one", config_map(data={"a": "1", "b": "2"}), "first")
    await http.apply(f"{MAPS}/one", config_map(data={"b": "2", "c": "3"}), "second")
    body = (await http.apply(f"{MAPS}/one", config_map(), "first")).body
    assert body["data"] == {"b": "2", "c": "3"}
    await http.patch(f"{MAPS}/one", {"data": {"d": "4"}})
    body = (await http.apply(f"{MAPS}/one", config_map(), "second")).body
    assert body["data"] == {"d": "4"}


async def test_a_field_of_another_manager_is_a_conflict(http: Http) -> None:
    await http.apply(f"{MAPS}/one", config_map(data={"a": "1"}), "first")
    answer = await http.apply(f"{MAPS}/one", config_map(data={"a": "2"}), "second")
    assert (answer.status, answer.body["reason"]) == (409, "Conflict")
    assert answer.message == 'Apply failed with 1 conflict: conflict with "first": .data.a'
    assert answer.body["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "first"', "field": ".data.a"}
    ]
    assert (await http.get(f"{MAPS}/one")).body["data"] == {"a": "1"}


async def test_several_conflicts_are_listed_by_manager(http: Http) -> None:
    await http.apply(f"{MAPS}/one", config_map(data={"a": "1", "b": "1"}), "first")
    await http.patch(f"{MAPS}/one", {"data": {"c": "1"}}, fieldManager="third")
    answer = await http.apply(f"{MAPS}/one", config_map(data={"a": "2", "b": "2", "c": "2"}), "second")
    assert answer.message == (
        "Apply failed with 3 conflicts: "
        'conflicts with "first":\n- .data.a\n- .data.b\nconflicts with "third" using v1:\n- .data.c'
    )


async def test_force_takes_the_field_over(http: Http) -> None:
    await http.apply(f"{MAPS}/one", config_map(data={"a": "1", "b": "1"}), "first")
    body = (await http.apply(f"{MAPS}/one", config_map(data={"a": "2"}), "second", force="true")).body
    assert body["data"] == {"a": "2", "b": "1"}
    assert owners(body) == {
        ("first", "Apply"): {"f:data": {"f:b": {}}},
        ("second", "Apply"): {"f:data": {"f:a": {}}},
    }


async def test_the_same_value_is_shared(http: Http) -> None:
    await http.apply(f"{MAPS}/one", config_map(data={"a": "1"}), "first")
    body = (await http.apply(f"{MAPS}/one", config_map(data={"a": "1"}), "second")).body
    assert owners(body)["first", "Apply"] == owners(body)["second", "Apply"]
    body = (await http.apply(f"{MAPS}/one", config_map(), "first")).body
    assert body["data"] == {"a": "1"}


async def test_an_update_takes_fields_without_asking(http: Http) -> None:
    await http.apply(f"{MAPS}/one", config_map(data={"a": "1"}), "first")
    body = (await http.patch(f"{MAPS}/one", {"data": {"a": "2"}}, fieldManager="kubectl-edit")).body
    assert owners(body) == {("kubectl-edit", "Update"): {"f:data": {"f:a": {}}}}
    answer = await http.apply(f"{MAPS}/one", config_map(data={"a": "1"}), "first")
    assert answer.message == 'Apply failed with 1 conflict: conflict with "kubectl-edit" using v1: .data.a'


async def test_replicas_that_are_left_out_stay_what_others_set(http: Http) -> None:
    await http.post(CRDS, thing_crd())
    await http.apply(f"{THINGS}/one", thing(color="red"), "controller")
    await http.patch(f"{THINGS}/one/scale", {"spec": {"replicas": 5}}, fieldManager="kubectl-scale")
    body = (await http.apply(f"{THINGS}/one", thing(color="green"), "controller")).body
    assert body["spec"] == {"color": "green", "replicas": 5}
    by = [one for one in body["metadata"]["managedFields"] if one["manager"] == "kubectl-scale"]
    assert by[0]["subresource"] == "scale"
    assert by[0]["fieldsV1"] == {"f:spec": {"f:replicas": {}}}


async def test_keyed_lists_are_owned_item_by_item(http: Http) -> None:
    await http.post(
        PODS, pod(containers=[{"name": "main", "image": "a:1"}, {"name": "side", "image": "b:1"}])
    )
    wanted = pod(containers=[{"name": "main", "image": "a:2"}])
    answer = await http.apply(f"{PODS}/one", wanted, "second")
    assert answer.message == (
        'Apply failed with 1 conflict: conflict with "tests" using v1: .spec.containers[name="main"].image'
    )
    body = (await http.apply(f"{PODS}/one", wanted, "second", force="true")).body
    assert [one["image"] for one in body["spec"]["containers"]] == ["a:2", "b:1"]


async def test_ports_are_known_by_number_and_default_protocol(http: Http) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "one"},
        "spec": {"ports": [{"port": 80}, {"port": 81, "name": "b"}]},
    }
    service["spec"]["ports"][0]["name"] = "a"
    await http.apply(f"{CORE}/services/one", service)
    del service["spec"]["ports"][1]
    body = (await http.apply(f"{CORE}/services/one", service)).body
    assert [one["port"] for one in body["spec"]["ports"]] == [80]
    assert body["spec"]["clusterIP"]


async def test_an_item_without_its_keys_is_refused(http: Http) -> None:
    body = pod(containers=[{"image": "a"}])
    answer = await http.apply(f"{PODS}/one", body)
    assert answer.status == 500
    assert answer.message.endswith(
        ".spec.containers: element 0: associative list with keys has an element that omits all key fields "
        '["name"] (and doesn\'t have default values for any key fields)'
    )


async def test_status_is_applied_through_its_subresource(http: Http) -> None:
    await http.post(CRDS, thing_crd())
    await http.apply(f"{THINGS}/one", thing(color="red"), "user")
    status = {"apiVersion": "example.org/v1", "kind": "Thing", "status": {"ready": True}}
    body = (await http.apply(f"{THINGS}/one/status", status, "controller")).body
    assert body["status"] == {"ready": True}
    assert body["metadata"]["generation"] == 1
    entry = next(one for one in body["metadata"]["managedFields"] if one["manager"] == "controller")
    assert entry["subresource"] == "status"
    assert entry["fieldsV1"] == {"f:status": {"f:ready": {}}}
    missing = await http.apply(f"{THINGS}/none/status", status, "controller")
    assert missing.status == 404


async def test_generation_rises_only_when_an_apply_changes_the_spec(http: Http) -> None:
    await http.post(CRDS, thing_crd())
    for _ in range(3):
        body = (await http.apply(f"{THINGS}/one", thing(color="red"))).body
    assert body["metadata"]["generation"] == 1
    body = (await http.apply(f"{THINGS}/one", thing(color="green"))).body
    assert body["metadata"]["generation"] == 2


async def test_what_is_applied_is_of_the_kind_and_version(http: Http) -> None:
    for change in ({"kind": "Pod"}, {"apiVersion": "v2"}):
        body = {**config_map(), **change}
        answer = await http.apply(f"{MAPS}/one", body)
        told = f"invalid object type: {body['apiVersion']}, Kind={body['kind']}"
        assert (answer.status, answer.message) == (400, told)


async def test_unknown_fields_cannot_be_applied(http: Http) -> None:
    await http.post(CRDS, thing_crd())
    for level in ("Strict", "Warn", "Ignore"):
        answer = await http.apply(f"{THINGS}/one", thing(colour="red"), fieldValidation=level)
        assert answer.status == 500
        assert "reason" not in answer.body
        assert answer.message == (
            "failed to create typed patch object (/one; example.org/v1, Kind=Thing): "
            ".spec.colour: field not declared in schema"
        )


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"replicas": "2"}, ".spec.replicas: expected numeric (int or float), got string"),
        ({"replicas": True}, ".spec.replicas: expected numeric (int or float), got bool"),
        ({"color": 2}, ".spec.color: expected string, got &value.valueUnstructured{Value:2}"),
    ],
)
async def test_a_field_of_another_sort_cannot_be_applied(http: Http, spec: dict[str, Any], told: str) -> None:
    await http.post(CRDS, thing_crd())
    answer = await http.apply(f"{THINGS}/one", thing(**spec))
    assert answer.status == 500
    assert answer.message.endswith(f"Kind=Thing): {told}")


async def test_an_item_cannot_be_applied_twice(http: Http) -> None:
    answer = await http.apply(f"{PODS}/one", pod(containers=[{"name": "a"}, {"name": "a"}]))
    assert answer.status == 500
    assert answer.message.endswith('.spec.containers: duplicate entries for key [name="a"]')


async def test_a_null_is_owned_and_has_to_be_allowed(http: Http) -> None:
    await http.post(CRDS, thing_crd())
    answer = await http.apply(f"{THINGS}/one", thing(color=None))
    assert answer.status == 422
    assert answer.body["details"]["causes"][0]["field"] == "spec.color"
    assert 'must be of type string: "null"' in answer.message
    created = await http.post(THINGS, thing(color=None))
    assert created.status == 201
    assert "color" not in created.body["spec"]


async def test_a_null_that_is_applied_leaves_a_default_in_place(http: Http) -> None:
    await http.post(CRDS, thing_crd())
    body = (await http.apply(f"{THINGS}/one", thing(replicas=None))).body
    assert body["spec"]["replicas"] == 1
    [entry] = body["metadata"]["managedFields"]
    assert entry["fieldsV1"] == {"f:spec": {"f:replicas": {}}}


async def test_a_null_that_is_applied_to_a_kind_of_kubernetes_own_is_dropped(http: Http) -> None:
    body = (await http.apply(f"{MAPS}/one", config_map(data=None, immutable=None))).body
    assert not {"data", "immutable"} & body.keys()


async def test_a_whole_number_may_be_applied_with_a_point(http: Http) -> None:
    await http.post(CRDS, thing_crd())
    assert (await http.apply(f"{THINGS}/one", thing(replicas=2.0))).body["spec"]["replicas"] == 2


async def test_ownership_can_be_reset(http: Http) -> None:
    await http.apply(f"{MAPS}/one", config_map(data={"a": "1"}), "first")
    body = (await http.patch(f"{MAPS}/one", {"metadata": {"managedFields": [{}]}})).body
    assert "managedFields" not in body["metadata"]
    body = (await http.apply(f"{MAPS}/one", config_map(data={"a": "1"}), "second")).body
    assert ("before-first-apply", "Update") in owners(body)


async def test_labels_and_annotations_are_shared_key_by_key(http: Http) -> None:
    first, second = config_map(), config_map()
    first["metadata"]["labels"] = {"a": "1"}
    second["metadata"]["labels"] = {"b": "2"}
    await http.apply(f"{MAPS}/one", first, "first")
    body = (await http.apply(f"{MAPS}/one", second, "second")).body
    assert body["metadata"]["labels"] == {"a": "1", "b": "2"}
    body = (await http.apply(f"{MAPS}/one", config_map(), "first")).body
    assert body["metadata"]["labels"] == {"b": "2"}
