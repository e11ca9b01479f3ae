"""Objects: corners and wordings that the conformance tests leave out."""

from __future__ import annotations

import asyncio

from tests.local.api.http import MERGE, Http
from tests.local.api.objects import MAPS, config_map


async def test_of_many_writers_at_once_one_wins(http: Http) -> None:
    old = (await http.post(MAPS, config_map())).body
    answers = await asyncio.gather(
        *(http.put(f"{MAPS}/one", {**old, "data": {"by": str(number)}}) for number in range(10))
    )
    assert sorted(answer.status for answer in answers) == [200] + [409] * 9


async def test_bad_metadata_is_refused_with_the_field(http: Http) -> None:
    cases = {
        "metadata.name": config_map("Bad_Name"),
        "metadata.labels": {**config_map(), "metadata": {"name": "a", "labels": {"x": "no spaces"}}},
        "metadata.annotations": {**config_map(), "metadata": {"name": "a", "annotations": {"-": "x"}}},
        "metadata.finalizers[0]": {**config_map(), "metadata": {"name": "a", "finalizers": ["plain"]}},
        "metadata.ownerReferences[0].uid": {
            **config_map(),
            "metadata": {"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]},
        },
    }
    for field, body in cases.items():
        answer = await http.post(MAPS, body)
        assert (answer.status, answer.body["reason"]) == (422, "Invalid"), body
        assert field in [cause["field"] for cause in answer.body["details"]["causes"]]


async def test_owners_are_named_in_full(http: Http) -> None:
    body = config_map()
    body["metadata"]["ownerReferences"] = [{"apiVersion": "", "kind": "Pod", "name": "", "uid": ""}]
    causes = (await http.post(MAPS, body)).body["details"]["causes"]
    assert {one["field"]: one["message"] for one in causes} == {
        "metadata.ownerReferences.apiVersion": 'Invalid value: "": version must not be empty',
        "metadata.ownerReferences.name": 'Invalid value: "": must not be empty',
        "metadata.ownerReferences.uid": 'Invalid value: "": must not be empty',
    }
    body["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "Event", "name": "a", "uid": "b"}]
    assert "/v1, Kind=Event is disallowed from being an owner" in (await http.post(MAPS, body)).message


async def test_without_the_token_nothing_is_told(http: Http) -> None:
    async with http.session.get(http.url + MAPS, headers={"Authorization": "Bearer wrong"}) as response:
        assert response.status == 401
        assert (await response.json())["reason"] == "Unauthorized"
    async with http.session.get(http.url + MAPS, headers={"Authorization": ""}) as response:
        assert response.status == 401


async def test_clients_are_known_by_manager_or_user_agent(http: Http) -> None:
    created = (await http.post(MAPS, config_map(data={"a": "b"}))).body
    patched = (await http.patch(f"{MAPS}/one", {"data": {"c": "d"}}, MERGE, fieldManager="me")).body
    assert [one["manager"] for one in created["metadata"]["managedFields"]] == ["tests"]
    assert sorted(one["manager"] for one in patched["metadata"]["managedFields"]) == ["me", "tests"]


async def test_options_that_make_no_sense_are_refused(http: Http) -> None:
    await http.post(MAPS, config_map())
    cases = [
        (await http.post(MAPS, config_map("b"), dryRun="Some"), "CreateOptions", "dryRun"),
        (await http.patch(f"{MAPS}/one", {}, force="true"), "PatchOptions", "force"),
        (await http.delete(f"{MAPS}/one", propagationPolicy="Up"), "DeleteOptions", "propagationPolicy"),
        (await http.get(MAPS, resourceVersionMatch="Exact"), "ListOptions", "resourceVersionMatch"),
    ]
    for answer, kind, field in cases:
        assert answer.status == 422
        assert answer.body["details"]["kind"] == kind
        assert [one["field"] for one in answer.body["details"]["causes"]] == [field]
        assert answer.message.startswith(f'{kind}.meta.k8s.io "" is invalid: {field}: ')


async def test_identity_cannot_be_patched(http: Http) -> None:
    await http.post(MAPS, config_map())
    answer = await http.patch(f"{MAPS}/one", {"metadata": {"uid": "another"}})
    assert answer.message == (
        'ConfigMap "one" is invalid: metadata.uid: Invalid value: "another": field is immutable'
    )
    assert (await http.patch(f"{MAPS}/one", {"metadata": {"name": "two"}})).status == 400
