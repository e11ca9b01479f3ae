"""Discovery, versions and OpenAPI, as far as clients read them."""

from __future__ import annotations

from tests.local.api.http import Http
from tests.local.api.objects import CORE, CRDS, THINGS, thing_crd


async def test_openapi_v3_describes_what_is_served(http: Http) -> None:
    await http.post(CRDS, thing_crd())
    root = (await http.get("/openapi/v3")).body["paths"]
    url = root["apis/example.org/v1"]["serverRelativeURL"]
    document = (await http.get(url.partition("?")[0])).body
    schema = document["components"]["schemas"]["org.example.v1.Thing"]
    assert schema["properties"]["spec"]["properties"]["replicas"]["minimum"] == 0
    item = document["paths"]["/apis/example.org/v1/namespaces/{namespace}/things/{name}"]
    assert {"fieldValidation", "dryRun"} <= {one["name"] for one in item["patch"]["parameters"]}
    kinds = item["patch"]["requestBody"]["content"]
    assert "application/strategic-merge-patch+json" not in kinds
    core = (await http.get("/openapi/v3/api/v1")).body["components"]["schemas"]
    assert "io.k8s.api.core.v1.Pod" in core
    assert (await http.get("/openapi/v3/apis/none/v1")).status == 404
    changed = thing_crd(description="other")
    crd = (await http.get(f"{CRDS}/things.example.org")).body
    await http.put(f"{CRDS}/things.example.org", {**crd, "spec": changed["spec"]})
    after = (await http.get("/openapi/v3")).body["paths"]["apis/example.org/v1"]["serverRelativeURL"]
    assert after != url


async def test_every_reference_leads_somewhere(http: Http) -> None:
    text = (await http.get("/openapi/v3/api/v1")).text
    names = {part.split('"')[0] for part in text.split('"$ref":"#/components/schemas/')[1:]}
    schemas = (await http.get("/openapi/v3/api/v1")).body["components"]["schemas"]
    assert names <= schemas.keys()


async def test_openapi_v2_is_there_for_those_who_read_json(http: Http) -> None:
    document = (await http.get("/openapi/v2")).body
    assert document["swagger"] == "2.0"
    assert "io.k8s.api.apps.v1.Deployment" in document["definitions"]


async def test_reviews_allow_everything(http: Http) -> None:
    body = {"spec": {"resourceAttributes": {"verb": "create", "resource": "pods"}}}
    answer = await http.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
    assert (answer.status, answer.body["status"]["allowed"]) == (201, True)
    who = (await http.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", {})).body
    assert who["status"]["userInfo"]["username"] == "kubernetes-admin"


async def test_tokens_of_service_accounts_work(http: Http) -> None:
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    await http.post(accounts, {"metadata": {"name": "robot"}})
    token = (await http.post(f"{accounts}/robot/token", {"spec": {}})).body["status"]["token"]
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{http.url}/apis/authentication.k8s.io/v1/selfsubjectreviews"
    async with http.session.post(url, json={}, headers=headers) as response:
        body = await response.json()
    assert body["status"]["userInfo"]["username"] == "system:serviceaccount:default:robot"


async def test_builtin_tables(http: Http) -> None:
    table = (await http.get("/api/v1/namespaces", accept="application/json;as=Table;v=v1;g=meta.k8s.io")).body
    assert [one["name"] for one in table["columnDefinitions"]] == ["Name", "Status", "Age"]
    assert table["rows"][0]["cells"][:2] == ["default", "Active"]
    none = (
        await http.get(CRDS, accept="application/json;as=Table;v=v1;g=meta.k8s.io", includeObject="None")
    ).body
    assert none["rows"] == []


async def test_paths_of_custom_resources_without_crd(http: Http) -> None:
    answer = await http.get(THINGS)
    assert answer.message == "the server could not find the requested resource"


async def test_events_are_shown_by_two_groups(http: Http) -> None:
    core, new = f"{CORE}/events", "/apis/events.k8s.io/v1/namespaces/default/events"
    body = {
        "metadata": {"name": "one"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "message": "told",
        "reason": "Tested",
        "source": {"component": "tests"},
    }
    await http.post(core, body)
    shown = (await http.get(f"{new}/one")).body
    assert (shown["apiVersion"], shown["note"], shown["regarding"]["name"]) == (
        "events.k8s.io/v1",
        "told",
        "p",
    )
    sent = {
        "metadata": {"name": "two"},
        "regarding": {"kind": "Pod", "name": "q", "namespace": "default"},
        "note": "newly told",
        "reportingController": "tests",
        "eventTime": "2026-01-01T00:00:00.000000Z",
    }
    assert (await http.post(new, sent, fieldValidation="Strict")).body["note"] == "newly told"
    stored = (await http.get(f"{core}/two")).body
    assert (stored["apiVersion"], stored["message"]) == ("v1", "newly told")
    patched = (await http.patch(f"{new}/two", {"note": "again"})).body
    assert (patched["note"], (await http.get(f"{core}/two")).body["message"]) == ("again", "again")
    selected = (await http.get(new, fieldSelector="regarding.name=q")).body["items"]
    assert [one["metadata"]["name"] for one in selected] == ["two"]
    async with http.watch(new) as watch:
        assert await watch.take(2) == [("ADDED", "one"), ("ADDED", "two")]
        await http.delete(f"{new}/one")
        type_, event = await watch.next()
    assert (type_, event["apiVersion"]) == ("DELETED", "events.k8s.io/v1")
    table = (await http.get(new, accept="application/json;as=Table;v=v1;g=meta.k8s.io")).body
    assert table["columnDefinitions"][0]["name"] == "Last Seen"
