"""CRDs as objects: their life, versions, and what is refused of them."""

from __future__ import annotations

from typing import Any

import pytest

from dask_k8s_local.api.storage.store import clone
from tests.local.api.http import Http, causes, eventually
from tests.local.api.objects import CRDS, THINGS, thing, thing_crd


async def test_a_crd_serves_its_resource_until_it_is_deleted(http: Http) -> None:
    assert (await http.get(THINGS)).status == 404
    crd = (await http.post(CRDS, thing_crd())).body
    assert crd["status"]["storedVersions"] == ["v1"]
    assert crd["spec"]["names"]["listKind"] == "ThingList"
    await http.post(THINGS, thing())
    assert (await http.get(THINGS)).body["kind"] == "ThingList"
    await without_crd(http)
    assert (await http.get(THINGS)).status == 404


async def test_a_crd_is_established_a_moment_after_its_creation(http: Http) -> None:
    async with http.watch(CRDS) as watch:
        created = (await http.post(CRDS, thing_crd())).body
        assert created["status"]["conditions"] is None
        assert created["status"]["acceptedNames"] == {"kind": "", "plural": ""}
        (first, _), (second, changed) = await watch.next(), await watch.next()
    assert [first, second] == ["ADDED", "MODIFIED"]
    status = changed["status"]
    conditions = {one["type"]: one["status"] for one in status["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    assert status["acceptedNames"] == changed["spec"]["names"]


async def test_a_crd_gets_its_finalizer_by_its_deletion(http: Http) -> None:
    await http.post(CRDS, thing_crd())
    held = thing()
    held["metadata"]["finalizers"] = ["example.org/wait"]
    await http.post(THINGS, held)
    assert "finalizers" not in (await http.get(f"{CRDS}/things.example.org")).body["metadata"]
    deleted = (await http.delete(f"{CRDS}/things.example.org")).body
    assert deleted["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]


async def without_crd(http: Http) -> None:
    """Delete the CRD and wait until it is gone."""
    await http.delete(f"{CRDS}/things.example.org")

    async def is_gone() -> bool:
        return (await http.get(f"{CRDS}/things.example.org")).status == 404

    await eventually(is_gone)


async def test_a_crd_that_comes_again_has_none_of_the_old_objects(http: Http) -> None:
    for _ in range(2):
        await http.post(CRDS, thing_crd())
        assert (await http.post(THINGS, thing())).status == 201
        await without_crd(http)


async def test_a_crd_waits_for_its_objects(http: Http) -> None:
    await http.post(CRDS, thing_crd())
    held = thing()
    held["metadata"]["finalizers"] = ["example.org/wait"]
    await http.post(THINGS, held)
    async with http.watch(THINGS) as watch:
        assert await watch.take(1) == [("ADDED", "one")]
        answer = await http.delete(f"{CRDS}/things.example.org")
        assert answer.body["metadata"]["deletionTimestamp"]
        assert await watch.take(1) == [("MODIFIED", "one")]
        refused = await http.post(THINGS, thing("two"))
        assert refused.message == "create not allowed while custom resource definition is terminating"
        await http.patch(f"{THINGS}/one", {"metadata": {"finalizers": None}})
        assert await watch.take(1) == [("DELETED", "one")]
        with pytest.raises(EOFError):
            await watch.next()
    assert (await http.get(THINGS)).status == 404


async def test_schemas_must_be_structural(http: Http) -> None:
    place = "spec.validation.openAPIV3Schema.properties[spec]"
    cases = [
        ({"properties": {"a": {}}}, f"{place}.properties[a].type", "must not be empty"),
        ({"properties": {"a": {"type": "array"}}}, f"{place}.properties[a].items", "must be specified"),
        ({"properties": {"a": {"type": "text"}}}, f"{place}.properties[a].type", "Unsupported value"),
        ({"properties": {"a": {"$ref": "#/x"}}}, f"{place}.properties[a].$ref", "not supported"),
        (
            {"additionalProperties": {"type": "string"}},
            f"{place}.additionalProperties",
            "mutual exclusive",
        ),
        (
            {"anyOf": [{"properties": {"new": {"minimum": 1}}}]},
            f"{place}.properties[new]",
            "because it is defined in",
        ),
        (
            {"anyOf": [{"type": "object"}]},
            f"{place}.anyOf[0].type",
            "must be empty to be structural",
        ),
        (
            {"properties": {"a": {"type": "integer", "default": "x"}}},
            f"{place}.properties[a].default",
            "must be of type integer",
        ),
        (
            {
                "properties": {
                    "a": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["k"],
                        "items": {"type": "object", "properties": {"k": {"type": "string"}}},
                    }
                }
            },
            f"{place}.properties[a].items.properties[k].default",
            "must have a default or be a required property",
        ),
        (
            {
                "properties": {
                    "a": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object"}}
                }
            },
            f"{place}.properties[a].items.x-kubernetes-map-type",
            "must be atomic as item of a list with x-kubernetes-list-type=set",
        ),
        (
            {"properties": {"a": {"type": "object", "x-kubernetes-embedded-resource": True}}},
            f"{place}.properties[a].properties",
            "must not be empty if x-kubernetes-embedded-resource is true",
        ),
        (
            {"properties": {"a": {"type": "object", "x-kubernetes-preserve-unknown-fields": False}}},
            f"{place}.properties[a].x-kubernetes-preserve-unknown-fields",
            "must be true or undefined",
        ),
        *(
            (
                {"properties": {"a": {"type": "string", "pattern": pattern}}},
                f"{place}.properties[a].pattern",
                "must be a valid regular expression",
            )
            for pattern in ("([", "^(?!a)", "(?<=a)b", r"(a)\1")
        ),
    ]
    for schema, field, told in cases:
        answer = await http.post(CRDS, thing_crd(**schema))
        assert answer.status == 422, schema
        assert told in causes(answer)[field], causes(answer)


async def test_a_crd_must_make_sense_as_a_whole(http: Http) -> None:
    cases = []
    for change, field in (
        (lambda crd: crd["metadata"].update(name="other.example.org"), "metadata.name"),
        (lambda crd: crd["spec"]["versions"][0].update(storage=False), "spec.versions"),
        (lambda crd: crd["spec"].update(scope="Galactic"), "spec.scope"),
        (lambda crd: crd["spec"].update(preserveUnknownFields=True), "spec.preserveUnknownFields"),
        (
            lambda crd: crd["spec"]["versions"][0].pop("schema"),
            "spec.versions[0].schema.openAPIV3Schema",
        ),
        (lambda crd: renamed(crd, "org"), "spec.group"),
        (lambda crd: renamed(crd, "things.k8s.io"), "metadata.annotations[api-approved.kubernetes.io]"),
        (lambda crd: crd["spec"]["names"].update(listKind="Thing"), "spec.names.listKind"),
        (lambda crd: crd["spec"]["names"].update(shortNames=["a_b"]), "spec.names.shortNames[0]"),
        (lambda crd: crd["spec"]["names"].update(categories=["all", "A_"]), "spec.names.categories[1]"),
        (
            lambda crd: crd["spec"]["versions"].append({**crd["spec"]["versions"][0], "storage": False}),
            "spec.versions",
        ),
        (
            lambda crd: column_of(crd).update(jsonPath="spec.color"),
            "spec.additionalPrinterColumns[0].JSONPath",
        ),
        (lambda crd: column_of(crd).update(type="float"), "spec.additionalPrinterColumns[0].type"),
    ):
        crd = thing_crd()
        change(crd)
        cases.append((crd, field))
    for crd, field in cases:
        answer = await http.post(CRDS, crd)
        assert answer.status == 422, field
        assert field in causes(answer)


def renamed(crd: dict[str, Any], group: str) -> None:
    crd["spec"]["group"] = group
    crd["metadata"]["name"] = f"things.{group}"


def column_of(crd: dict[str, Any]) -> dict[str, Any]:
    column: dict[str, Any] = crd["spec"]["versions"][0]["additionalPrinterColumns"][0]
    return column


async def test_a_changed_schema_holds_at_once(http: Http) -> None:
    await http.post(CRDS, thing_crd())
    changed = thing_crd(required=["size"])
    crd = (await http.get(f"{CRDS}/things.example.org")).body
    crd["spec"] = changed["spec"]
    assert (await http.put(f"{CRDS}/things.example.org", crd)).status == 200
    assert causes(await http.post(THINGS, thing())) == {"spec.size": "Required value"}


async def test_versions_show_the_same_objects(http: Http) -> None:
    crd = thing_crd()
    old = clone(crd["spec"]["versions"][0])
    old |= {"name": "v1beta1", "storage": False}
    crd["spec"]["versions"].append(old)
    await http.post(CRDS, crd)
    await http.post(THINGS, thing(color="red"))
    beta = THINGS.replace("/v1/", "/v1beta1/")
    body = (await http.get(f"{beta}/one")).body
    assert (body["apiVersion"], body["spec"]["color"]) == ("example.org/v1beta1", "red")
    changed = (await http.patch(f"{beta}/one", {"spec": {"color": "green"}})).body
    assert changed["apiVersion"] == "example.org/v1beta1"
    body = (await http.get(f"{THINGS}/one")).body
    assert (body["apiVersion"], body["spec"]["color"]) == ("example.org/v1", "green")
    listed = (await http.get(beta)).body
    assert {one["apiVersion"] for one in listed["items"]} == {"example.org/v1beta1"}
