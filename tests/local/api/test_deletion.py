"""Deletion: corners and wordings that the conformance tests leave out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dask_k8s_local.api import ApiServer
from tests.local.api.http import Http
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


async def test_only_orphan_dependents_has_deletion_answered_as_accepted(http: Http) -> None:
    for options, status in (({"propagationPolicy": "Background"}, 200), ({"orphanDependents": False}, 202)):
        held = config_map()
        held["metadata"]["finalizers"] = ["example.org/wait"]
        await http.post(MAPS, held)
        assert (await http.delete(f"{MAPS}/one", options)).status == status
