"""Patches: JSON, merge, strategic merge."""

from __future__ import annotations

from typing import Any

from dask_k8s_local.api.patches.merge import strategic_merge_patch
from dask_k8s_local.api.schema.compiled import definition
from tests.local.api.http import JSON_PATCH, STRATEGIC, Http
from tests.local.api.objects import CRDS, MAPS, PODS, THINGS, config_map, pod, thing, thing_crd

POD = definition("io.k8s.api.core.v1.Pod")
SERVICE = definition("io.k8s.api.core.v1.Service")


async def test_json_patches(http: Http) -> None:
    await http.post(MAPS, config_map(data={"a": "1", "b": "2"}))
    patch = [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "replace", "path": "/data/a", "value": "3"},
        {"op": "remove", "path": "/data/b"},
        {"op": "add", "path": "/data/c", "value": "4"},
    ]
    assert (await http.patch(f"{MAPS}/one", patch, JSON_PATCH)).body["data"] == {"a": "3", "c": "4"}


async def test_a_json_patch_whose_test_fails_changes_nothing(http: Http) -> None:
    await http.post(MAPS, config_map(data={"a": "1"}))
    patch = [
        {"op": "replace", "path": "/data/a", "value": "2"},
        {"op": "test", "path": "/data/a", "value": "1"},
    ]
    answer = await http.patch(f"{MAPS}/one", patch, JSON_PATCH)
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    assert (await http.get(f"{MAPS}/one")).body["data"] == {"a": "1"}
    missing = [{"op": "remove", "path": "/data/x"}]
    assert (await http.patch(f"{MAPS}/one", missing, JSON_PATCH)).status == 422
    assert (await http.patch(f"{MAPS}/one", [{"op": "dance"}], JSON_PATCH)).status in (400, 422)
    assert (await http.patch(f"{MAPS}/one", {"not": "a list"}, JSON_PATCH)).status == 400


async def test_merge_patches_remove_what_is_null(http: Http) -> None:
    await http.post(MAPS, config_map(data={"a": "1", "b": "2"}))
    patched = (await http.patch(f"{MAPS}/one", {"data": {"a": None, "c": "3"}})).body
    assert patched["data"] == {"b": "2", "c": "3"}
    assert (await http.patch(f"{MAPS}/one", [1])).status == 400


async def test_strategic_patches_are_not_for_custom_resources(http: Http) -> None:
    await http.post(CRDS, thing_crd())
    await http.post(THINGS, thing())
    answer = await http.patch(f"{THINGS}/one", {"spec": {"color": "red"}}, STRATEGIC)
    assert (answer.status, answer.body["reason"]) == (415, "UnsupportedMediaType")


async def test_a_strategic_patch_of_a_pod(http: Http) -> None:
    await http.post(PODS, pod(tolerations=[{"key": "a", "operator": "Exists"}]))
    patch = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "main", "image": "new:1"}]}}
    body = (await http.patch(f"{PODS}/one", patch, STRATEGIC)).body
    assert body["spec"]["containers"][0]["image"] == "new:1"
    assert body["spec"]["containers"][0]["terminationMessagePath"] == "/dev/termination-log"
    assert body["metadata"]["labels"] == {"a": "b"}


def merged(target: Any, patch: Any) -> Any:
    return strategic_merge_patch(POD, target, patch)


def test_keyed_lists_merge_by_key() -> None:
    target = {"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}}
    patch = {"spec": {"containers": [{"name": "b", "image": "2"}, {"name": "c", "image": "3"}]}}
    assert merged(target, patch)["spec"]["containers"] == [
        {"name": "a", "image": "1"},
        {"name": "b", "image": "2"},
        {"name": "c", "image": "3"},
    ]
    assert target["spec"]["containers"][1]["image"] == "1"


def test_items_are_deleted_by_directive() -> None:
    target = {"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}
    patch = {"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}
    assert merged(target, patch)["spec"]["containers"] == [{"name": "b"}]


def test_lists_are_replaced_by_directive() -> None:
    target = {"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}
    patch = {"spec": {"containers": [{"name": "c"}, {"$patch": "replace"}]}}
    assert merged(target, patch)["spec"]["containers"] == [{"name": "c"}]


def test_maps_are_replaced_by_directive() -> None:
    target = {"metadata": {"labels": {"a": "1", "b": "2"}}}
    assert merged(target, {"metadata": {"labels": {"$patch": "replace", "c": "3"}}}) == {
        "metadata": {"labels": {"c": "3"}}
    }


def test_atomic_lists_are_replaced() -> None:
    target = {"spec": {"containers": [{"name": "a", "args": ["1", "2"]}]}}
    patch = {"spec": {"containers": [{"name": "a", "args": ["3"]}]}}
    assert merged(target, patch)["spec"]["containers"][0]["args"] == ["3"]


def test_lists_of_primitives_merge_and_shrink() -> None:
    target = {"metadata": {"finalizers": ["a/a", "b/b"]}}
    assert merged(target, {"metadata": {"finalizers": ["c/c", "a/a"]}})["metadata"]["finalizers"] == [
        "a/a",
        "b/b",
        "c/c",
    ]
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/a"]}}
    assert merged(target, patch)["metadata"]["finalizers"] == ["b/b"]


def test_element_order() -> None:
    target = {"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}],
            "containers": [{"name": "c"}],
        }
    }
    assert [one["name"] for one in merged(target, patch)["spec"]["containers"]] == ["c", "b", "a"]


def test_retained_keys_replace_a_union() -> None:
    target = {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}
    patch = {
        "spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}]}
    }
    assert merged(target, patch)["spec"]["volumes"] == [{"name": "v", "hostPath": {"path": "/"}}]


def test_the_ports_of_services_merge_by_port() -> None:
    target = {"spec": {"ports": [{"port": 80, "name": "a"}]}}
    patch = {"spec": {"ports": [{"port": 81, "name": "b"}]}}
    ports = strategic_merge_patch(SERVICE, target, patch)["spec"]["ports"]
    assert [one["port"] for one in ports] == [80, 81]


def test_null_removes() -> None:
    assert merged({"spec": {"nodeName": "a", "hostname": "b"}}, {"spec": {"nodeName": None}}) == {
        "spec": {"hostname": "b"}
    }
