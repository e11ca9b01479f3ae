"""Deletion: finalizers, grace, preconditions, owners, namespaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dask_k8s_local.api import ApiServer
from tests.local.api.http import Http, eventually
from tests.local.api.objects import MAPS, PODS, config_map, pod


def owned_by(owner: dict[str, Any], name: str, *, blocking: bool = False, **metadata: Any) -> dict[str, Any]:
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }
    if blocking:
        reference |= {"controller": True, "blockOwnerDeletion": True}
    return {**config_map(), "metadata": {"name": name, "ownerReferences": [reference], **metadata}}


def gone(http: Http, *names: str) -> Callable[[], Any]:
    async def check() -> bool:
        return all([(await http.get(f"{MAPS}/{name}")).status == 404 for name in names])

    return check


async def test_deletion_answers_with_a_status(http: Http) -> None:
    created = (await http.post(MAPS, config_map())).body
    answer = await http.delete(f"{MAPS}/one")
    assert answer.body["status"] == "Success"
    assert answer.body["details"] == {"name": "one", "kind": "configmaps", "uid": created["metadata"]["uid"]}
    assert (await http.delete(f"{MAPS}/one")).status == 404


async def test_a_finalizer_holds_an_object(http: Http) -> None:
    body = config_map()
    body["metadata"]["finalizers"] = ["example.org/wait"]
    await http.post(MAPS, body)
    answer = await http.delete(f"{MAPS}/one")
    own = answer.body["metadata"]
    assert own["deletionTimestamp"]
    assert own["deletionGracePeriodSeconds"] == 0
    again = await http.delete(f"{MAPS}/one")
    assert again.body["metadata"]["resourceVersion"] == own["resourceVersion"]
    assert (await http.patch(f"{MAPS}/one", {"data": {"a": "b"}})).status == 200
    await http.patch(f"{MAPS}/one", {"metadata": {"finalizers": None}})
    assert (await http.get(f"{MAPS}/one")).status == 404


async def test_finalizers_cannot_be_added_to_what_is_going(http: Http) -> None:
    body = config_map()
    body["metadata"]["finalizers"] = ["example.org/wait"]
    await http.post(MAPS, body)
    await http.delete(f"{MAPS}/one")
    more = {"metadata": {"finalizers": ["example.org/wait", "example.org/more"]}}
    answer = await http.patch(f"{MAPS}/one", more)
    assert answer.status == 422
    assert answer.message == (
        'ConfigMap "one" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the '
        'object is being deleted, found new finalizers []string{"example.org/more"}'
    )


async def test_preconditions_guard_against_the_wrong_object(http: Http) -> None:
    created = (await http.post(MAPS, config_map())).body["metadata"]
    answer = await http.delete(f"{MAPS}/one", {"preconditions": {"uid": "other"}})
    assert (answer.status, answer.body["reason"]) == (409, "Conflict")
    assert f"(other) does not match the UID in record ({created['uid']})" in answer.message
    answer = await http.delete(f"{MAPS}/one", {"preconditions": {"resourceVersion": "1"}})
    assert answer.status == 409
    assert (await http.delete(f"{MAPS}/one", {"preconditions": {"uid": created["uid"]}})).status == 200


async def test_a_pod_that_runs_nowhere_goes_at_once(http: Http) -> None:
    await http.post(PODS, pod())
    answer = await http.delete(f"{PODS}/one")
    assert answer.body["kind"] == "Pod"
    assert (await http.get(f"{PODS}/one")).status == 404


async def test_the_kubelet_ends_a_pod_that_runs(http: Http, server: ApiServer) -> None:
    await http.post(PODS, pod(terminationGracePeriodSeconds=7))
    await server.client.patch("pods", "default", "one", {"spec": {"nodeName": "n"}})
    going = (await http.delete(f"{PODS}/one")).body["metadata"]
    assert going["deletionGracePeriodSeconds"] == 7
    shorter = (await http.delete(f"{PODS}/one", {"gracePeriodSeconds": 2})).body["metadata"]
    assert shorter["deletionGracePeriodSeconds"] == 2
    assert shorter["deletionTimestamp"] < going["deletionTimestamp"]
    longer = (await http.delete(f"{PODS}/one", {"gracePeriodSeconds": 60})).body["metadata"]
    assert longer["deletionTimestamp"] == shorter["deletionTimestamp"]
    await server.client.delete("pods", "default", "one", uid=going["uid"], grace_period_seconds=0)
    assert (await http.get(f"{PODS}/one")).status == 404


async def test_a_negative_grace_period_is_one_second(http: Http, server: ApiServer) -> None:
    assert (await http.post(PODS, pod(terminationGracePeriodSeconds=-1))).status == 201
    await server.client.patch("pods", "default", "one", {"spec": {"nodeName": "n"}})
    assert (await http.delete(f"{PODS}/one")).body["metadata"]["deletionGracePeriodSeconds"] == 1


async def test_a_forced_deletion_removes_a_pod_at_once(http: Http, server: ApiServer) -> None:
    await http.post(PODS, pod())
    await server.client.patch("pods", "default", "one", {"spec": {"nodeName": "n"}})
    await http.delete(f"{PODS}/one", gracePeriodSeconds=0)
    assert (await http.get(f"{PODS}/one")).status == 404


async def test_a_finished_pod_goes_at_once(http: Http, server: ApiServer) -> None:
    await http.post(PODS, pod())
    await server.client.patch("pods", "default", "one", {"spec": {"nodeName": "n"}})
    await server.client.patch("pods", "default", "one", {"status": {"phase": "Succeeded"}}, "status")
    await http.delete(f"{PODS}/one")
    assert (await http.get(f"{PODS}/one")).status == 404


async def test_what_is_owned_goes_with_its_owner(http: Http) -> None:
    owner = (await http.post(MAPS, config_map("owner"))).body
    child = (await http.post(MAPS, owned_by(owner, "child"))).body
    await http.post(MAPS, owned_by(child, "grandchild"))
    await http.delete(f"{MAPS}/owner")
    await eventually(gone(http, "child", "grandchild"))


async def test_a_child_that_comes_after_its_owner_has_gone_goes_too(http: Http) -> None:
    owner = (await http.post(MAPS, config_map("owner"))).body
    await http.delete(f"{MAPS}/owner")
    await http.post(MAPS, owned_by(owner, "child"))
    await eventually(gone(http, "child"))


async def test_a_namesake_of_the_owner_is_not_the_owner(http: Http) -> None:
    owner = (await http.post(MAPS, config_map("owner"))).body
    await http.post(MAPS, owned_by(owner, "child"))
    await http.delete(f"{MAPS}/owner")
    await http.post(MAPS, config_map("owner"))
    await eventually(gone(http, "child"))
    assert (await http.get(f"{MAPS}/owner")).status == 200


async def test_one_of_two_owners_is_enough(http: Http) -> None:
    owners = [(await http.post(MAPS, config_map(name))).body for name in ("first", "second")]
    child = owned_by(owners[0], "child")
    child["metadata"]["ownerReferences"] += owned_by(owners[1], "x")["metadata"]["ownerReferences"]
    await http.post(MAPS, child)
    await http.delete(f"{MAPS}/first")

    async def has_one_owner() -> bool:
        owners = (await http.get(f"{MAPS}/child")).body["metadata"]["ownerReferences"]
        return [one["name"] for one in owners] == ["second"]

    await eventually(has_one_owner)
    await http.delete(f"{MAPS}/second")
    await eventually(gone(http, "child"))


async def test_only_orphan_dependents_has_deletion_answered_as_accepted(http: Http) -> None:
    for options, status in (({"propagationPolicy": "Background"}, 200), ({"orphanDependents": False}, 202)):
        held = config_map()
        held["metadata"]["finalizers"] = ["example.org/wait"]
        await http.post(MAPS, held)
        assert (await http.delete(f"{MAPS}/one", options)).status == status


async def test_foreground_deletion_ends_with_the_owner(http: Http) -> None:
    owner = (await http.post(MAPS, config_map("owner"))).body
    await http.post(MAPS, owned_by(owner, "child", blocking=True, finalizers=["example.org/wait"]))
    answer = await http.delete(f"{MAPS}/owner", {"propagationPolicy": "Foreground"})
    assert answer.status == 200
    assert answer.body["metadata"]["finalizers"] == ["foregroundDeletion"]

    async def child_is_going() -> bool:
        return "deletionTimestamp" in (await http.get(f"{MAPS}/child")).body["metadata"]

    await eventually(child_is_going)
    assert (await http.get(f"{MAPS}/owner")).status == 200
    await http.patch(f"{MAPS}/child", {"metadata": {"finalizers": None}})
    await eventually(gone(http, "child", "owner"))


async def test_foreground_deletion_does_not_wait_for_those_that_do_not_block(http: Http) -> None:
    owner = (await http.post(MAPS, config_map("owner"))).body
    await http.post(MAPS, owned_by(owner, "child", finalizers=["example.org/wait"]))
    await http.delete(f"{MAPS}/owner", propagationPolicy="Foreground")
    await eventually(gone(http, "owner"))
    assert (await http.get(f"{MAPS}/child")).status == 200


async def test_orphans_stay(http: Http) -> None:
    owner = (await http.post(MAPS, config_map("owner"))).body
    await http.post(MAPS, owned_by(owner, "child"))
    await http.delete(f"{MAPS}/owner", {"propagationPolicy": "Orphan"})
    await eventually(gone(http, "owner"))
    child = (await http.get(f"{MAPS}/child")).body
    assert "ownerReferences" not in child["metadata"]
    assert "deletionTimestamp" not in child["metadata"]


async def test_a_collection_is_deleted_by_selector(http: Http) -> None:
    for name, color in (("a", "red"), ("b", "blue"), ("c", "red")):
        await http.post(MAPS, {**config_map(), "metadata": {"name": name, "labels": {"color": color}}})
    answer = await http.delete(MAPS, labelSelector="color=red")
    assert [one["metadata"]["name"] for one in answer.body["items"]] == ["a", "c"]
    listed = (await http.get(MAPS)).body["items"]
    assert [one["metadata"]["name"] for one in listed if one["metadata"]["name"] in "abc"] == ["b"]


async def test_a_namespace_goes_after_its_contents(http: Http, server: ApiServer) -> None:
    await http.post("/api/v1/namespaces", {"metadata": {"name": "team"}})
    maps = "/api/v1/namespaces/team/configmaps"
    held = config_map("held")
    held["metadata"]["finalizers"] = ["example.org/wait"]
    await http.post(maps, held)
    await http.post(maps, config_map("plain"))
    await http.delete("/api/v1/namespaces/team")

    async def is_waiting() -> bool:
        body = (await http.get("/api/v1/namespaces/team")).body
        conditions = {one["type"]: one for one in body["status"].get("conditions") or ()}
        remaining = conditions.get("NamespaceContentRemaining") or {}
        return body["status"]["phase"] == "Terminating" and remaining.get("status") == "True"

    await eventually(is_waiting)
    assert (await http.get(f"{maps}/plain")).status == 404
    refused = await http.post(maps, config_map("new"))
    assert (refused.status, refused.body["reason"]) == (403, "Forbidden")
    assert refused.message == (
        'configmaps "new" is forbidden: unable to create new content in namespace team '
        "because it is being terminated"
    )
    await http.patch(f"{maps}/held", {"metadata": {"finalizers": None}})

    async def is_gone() -> bool:
        return (await http.get("/api/v1/namespaces/team")).status == 404

    await eventually(is_gone)


async def test_the_first_namespaces_stay(http: Http) -> None:
    answer = await http.delete("/api/v1/namespaces/default")
    assert answer.status == 403


async def test_a_name_is_free_again_as_soon_as_its_object_is_gone(http: Http) -> None:
    for _ in range(5):
        assert (await http.post(PODS, pod())).status == 201
        assert (await http.delete(f"{PODS}/one")).status == 200
