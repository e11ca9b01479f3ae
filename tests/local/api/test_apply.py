"""Server-side apply: corners and wordings that the conformance tests leave out."""

from __future__ import annotations

from typing import Any

import pytest

from tests.local.api.http import Http
from tests.local.api.objects import CRDS, MAPS, PODS, THINGS, config_map, pod, thing, thing_crd


def owners(body: dict[str, Any]) -> dict[tuple[str, str], Any]:
    return {(one["manager"], one["operation"]): one["fieldsV1"] for one in body["metadata"]["managedFields"]}


async def test_an_item_without_its_keys_is_refused(http: Http) -> None:
    body = pod(containers=[{"image": "a"}])
    answer = await http.apply(f"{PODS}/one", body)
    assert answer.status == 500
    assert answer.message.endswith(
        ".spec.containers: element 0: associative list with keys has an element that omits all key fields "
        '["name"] (and doesn\'t have default values for any key fields)'
    )


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


async def test_labels_and_annotations_are_shared_key_by_key(http: Http) -> None:
    first, second = config_map(), config_map()
    first["metadata"]["labels"] = {"a": "1"}
    second["metadata"]["labels"] = {"b": "2"}
    await http.apply(f"{MAPS}/one", first, "first")
    body = (await http.apply(f"{MAPS}/one", second, "second")).body
    assert body["metadata"]["labels"] == {"a": "1", "b": "2"}
    body = (await http.apply(f"{MAPS}/one", config_map(), "first")).body
    assert body["metadata"]["labels"] == {"b": "2"}
