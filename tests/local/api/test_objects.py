"""Objects: identity, versions, concurrency, names."""

from __future__ import annotations

import asyncio

from tests.local.api.http import MERGE, Http
from tests.local.api.objects import CRDS, MAPS, PODS, THINGS, config_map, pod, thing, thing_crd


async def test_a_created_object_gets_its_identity(http: Http) -> None:
    answer = await http.post(MAPS, config_map(data={"a": "b"}))
    own = answer.body["metadata"]
    assert answer.status == 201
    assert {"uid", "resourceVersion", "creationTimestamp", "managedFields"} <= own.keys()
    assert own["namespace"] == "default"
    assert (await http.get(f"{MAPS}/one")).body == answer.body


async def test_identity_is_not_for_clients_to_choose(http: Http) -> None:
    sent = config_map()
    sent["metadata"] |= {"uid": "mine", "creationTimestamp": "2000-01-01T00:00:00Z", "generation": 7}
    own = (await http.post(MAPS, sent)).body["metadata"]
    assert own["uid"] != "mine"
    assert not own["creationTimestamp"].startswith("2000")
    assert "generation" not in own


async def test_versions_grow_over_all_resources(http: Http) -> None:
    versions = [
        int((await http.post(MAPS, config_map("a"))).body["metadata"]["resourceVersion"]),
        int((await http.post(PODS, pod("a"))).body["metadata"]["resourceVersion"]),
        int((await http.patch(f"{MAPS}/a", {"data": {"x": "y"}})).body["metadata"]["resourceVersion"]),
    ]
    assert versions == sorted(set(versions))


async def test_a_write_that_changes_nothing_is_no_write(http: Http) -> None:
    created = (await http.post(MAPS, config_map(data={"a": "b"}))).body
    assert (await http.put(f"{MAPS}/one", created)).body == created
    assert (await http.patch(f"{MAPS}/one", {"data": {"a": "b"}})).body == created


async def test_a_name_is_taken_once(http: Http) -> None:
    await http.post(MAPS, config_map())
    answer = await http.post(MAPS, config_map())
    assert (answer.status, answer.body["reason"]) == (409, "AlreadyExists")
    assert answer.message == 'configmaps "one" already exists'
    assert answer.body["details"] == {"name": "one", "kind": "configmaps"}


async def test_what_is_missing_is_told_as_kubernetes_tells_it(http: Http) -> None:
    answer = await http.get(f"{MAPS}/gone")
    assert answer.status == 404
    assert answer.body == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'configmaps "gone" not found',
        "reason": "NotFound",
        "details": {"name": "gone", "kind": "configmaps"},
        "code": 404,
    }


async def test_an_old_version_is_refused(http: Http) -> None:
    old = (await http.post(MAPS, config_map())).body
    await http.patch(f"{MAPS}/one", {"data": {"a": "1"}})
    answer = await http.put(f"{MAPS}/one", {**old, "data": {"a": "2"}})
    assert (answer.status, answer.body["reason"]) == (409, "Conflict")
    assert answer.message == (
        'Operation cannot be fulfilled on configmaps "one": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    patch = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "data": {"a": "2"}}
    assert (await http.patch(f"{MAPS}/one", patch)).status == 409


async def test_of_many_writers_at_once_one_wins(http: Http) -> None:
    old = (await http.post(MAPS, config_map())).body
    answers = await asyncio.gather(
        *(http.put(f"{MAPS}/one", {**old, "data": {"by": str(number)}}) for number in range(10))
    )
    assert sorted(answer.status for answer in answers) == [200] + [409] * 9


async def test_another_uid_is_another_object(http: Http) -> None:
    old = (await http.post(MAPS, config_map())).body
    del old["metadata"]["resourceVersion"]
    old["metadata"]["uid"] = "another"
    answer = await http.put(f"{MAPS}/one", {**old, "data": {"a": "b"}})
    assert answer.status == 409
    assert "Precondition failed: UID in precondition: another" in answer.message


async def test_the_name_in_the_body_is_that_of_the_path(http: Http) -> None:
    await http.post(MAPS, config_map())
    answer = await http.put(f"{MAPS}/one", config_map("two"))
    assert answer.status == 400
    assert answer.message == "the name of the object (two) does not match the name on the URL (one)"


async def test_custom_resources_are_replaced_with_their_version_only(http: Http) -> None:
    await http.post(CRDS, thing_crd())
    await http.post(THINGS, thing())
    answer = await http.put(f"{THINGS}/one", thing(color="red"))
    assert answer.status == 422
    assert "metadata.resourceVersion: Invalid value: 0: must be specified for an update" in answer.message


async def test_dry_run_tells_and_does_nothing(http: Http, server: object) -> None:
    answer = await http.post(PODS, pod(), dryRun="All")
    assert answer.status == 201
    assert answer.body["spec"]["restartPolicy"] == "Always"
    assert (await http.get(f"{PODS}/one")).status == 404
    await http.post(MAPS, config_map())
    changed = await http.patch(f"{MAPS}/one", {"data": {"a": "b"}}, dryRun="All")
    assert changed.body["data"] == {"a": "b"}
    assert "data" not in (await http.get(f"{MAPS}/one")).body
    assert (await http.delete(f"{MAPS}/one", dryRun="All")).status == 200
    assert (await http.get(f"{MAPS}/one")).status == 200


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


async def test_nothing_is_created_in_a_namespace_that_is_not_there(http: Http) -> None:
    answer = await http.post("/api/v1/namespaces/nowhere/configmaps", config_map())
    assert (answer.status, answer.message) == (404, 'namespaces "nowhere" not found')


async def test_a_new_object_has_no_version_yet(http: Http) -> None:
    body = config_map()
    body["metadata"]["resourceVersion"] = "5"
    answer = await http.post(MAPS, body)
    assert (answer.status, answer.message) == (
        500,
        "resourceVersion should not be set on objects to be created",
    )
    assert (await http.apply(f"{MAPS}/one", body)).status == 201


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


async def test_empty_fields_of_kubernetes_own_kinds_are_left_out(http: Http) -> None:
    body = config_map(data={})
    body["metadata"] |= {"labels": {}, "finalizers": []}
    created = (await http.post(MAPS, body)).body
    assert "data" not in created
    assert not {"labels", "finalizers"} & created["metadata"].keys()
