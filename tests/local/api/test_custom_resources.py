"""Custom resources: schemas, defaults, pruning, subresources."""

from __future__ import annotations

from typing import Any

import pytest

from tests.local.api.http import Http, causes
from tests.local.api.objects import CRDS, THINGS, thing, thing_crd, with_spec


async def test_unknown_fields_are_pruned_warned_of_or_refused(http: Http) -> None:
    await http.post(CRDS, thing_crd())
    body = {**thing(color="red", foo=1, bar={"x": 1}), "extra": True}
    strict = await http.post(THINGS, body, fieldValidation="Strict")
    assert (strict.status, strict.body["reason"]) == (400, "BadRequest")
    assert strict.message == (
        'Thing in version "v1" cannot be handled as a Thing: strict decoding error: unknown field "extra", '
        'unknown field "spec.bar", unknown field "spec.foo"'
    )
    warned = await http.post(THINGS, body)
    assert warned.warnings == [
        'unknown field "extra"',
        'unknown field "spec.bar"',
        'unknown field "spec.foo"',
    ]
    assert warned.body["spec"] == {"color": "red", "replicas": 1}
    ignored = await http.post(THINGS, {**body, "metadata": {"name": "b"}}, fieldValidation="Ignore")
    assert (ignored.status, ignored.warnings) == (201, [])
    assert (await http.post(THINGS, body, fieldValidation="Maybe")).status == 422


async def test_unknown_metadata_is_refused_too(http: Http) -> None:
    await http.post(CRDS, thing_crd())
    body = thing()
    body["metadata"]["lables"] = {"a": "b"}
    answer = await http.post(THINGS, body, fieldValidation="Strict")
    assert 'unknown field "metadata.lables"' in answer.message


async def test_open_parts_keep_everything(http: Http) -> None:
    properties = {
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "map": {"type": "object", "additionalProperties": {"type": "integer"}},
        "embedded": {
            "type": "object",
            "x-kubernetes-embedded-resource": True,
            "x-kubernetes-preserve-unknown-fields": True,
        },
    }
    await with_spec(http, {"properties": properties})
    spec = {
        "open": {"a": {"b": [1, None]}},
        "map": {"x": 1},
        "embedded": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "b"}},
    }
    assert (await http.post(THINGS, thing(**spec), fieldValidation="Strict")).body["spec"] == spec


async def test_violations_are_worded_as_kubernetes_words_them(http: Http) -> None:
    properties = {
        "integer": {"type": "integer", "minimum": 0, "maximum": 9},
        "text": {"type": "string", "maxLength": 3, "pattern": "^[a-z]+$"},
        "short": {"type": "string", "minLength": 2},
        "choice": {"type": "string", "enum": ["a", "b"]},
        "list": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
        "time": {"type": "string", "format": "date-time"},
        "port": {"x-kubernetes-int-or-string": True},
        "flag": {"type": "boolean"},
        "inner": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
        "one": {"type": "object", "properties": {"a": {"type": "string"}}, "minProperties": 1},
    }
    await with_spec(http, {"properties": properties})
    cases = [
        (
            {"integer": -1},
            "spec.integer: Invalid value: -1: spec.integer in body should be greater than or equal to 0",
        ),
        (
            {"integer": 10},
            "spec.integer: Invalid value: 10: spec.integer in body should be less than or equal to 9",
        ),
        (
            {"integer": "1"},
            'spec.integer: Invalid value: "string": spec.integer in body must be of type integer: "string"',
        ),
        ({"text": "abcd"}, "spec.text: Too long: may not be more than 3 bytes"),
        ({"text": "A"}, "spec.text: Invalid value: \"A\": spec.text in body should match '^[a-z]+$'"),
        (
            {"short": "a"},
            'spec.short: Invalid value: "a": spec.short in body should be at least 2 chars long',
        ),
        ({"choice": "c"}, 'spec.choice: Unsupported value: "c": supported values: "a", "b"'),
        ({"list": []}, "spec.list: Invalid value: 0: spec.list in body should have at least 1 items"),
        ({"list": [1, 2, 3]}, "spec.list: Too many: 3: must have at most 2 items"),
        (
            {"list": [1, "x"]},
            'spec.list[1]: Invalid value: "string": spec.list[1] in body must be of type integer: "string"',
        ),
        (
            {"time": "noon"},
            'spec.time: Invalid value: "noon": spec.time in body must be of type date-time: "noon"',
        ),
        (
            {"port": 1.5},
            'spec.port: Invalid value: "number": spec.port in body must be of type integer,string: "number"',
        ),
        (
            {"flag": "yes"},
            'spec.flag: Invalid value: "string": spec.flag in body must be of type boolean: "string"',
        ),
        ({"inner": {}}, "spec.inner.a: Required value"),
        (
            {"inner": "x"},
            'spec.inner: Invalid value: "string": spec.inner in body must be of type object: "string"',
        ),
    ]
    for spec, wanted in cases:
        answer = await http.post(THINGS, thing(**spec))
        assert (answer.status, answer.body["reason"]) == (422, "Invalid"), spec
        told = [f"{one['field']}: {one['message']}" for one in answer.body["details"]["causes"]]
        assert wanted in told
        assert answer.message.startswith('Thing.example.org "one" is invalid: ')


@pytest.mark.parametrize(
    ("replicas", "told"),
    [
        (-1, "Invalid value: -1: should be a non-negative integer"),
        (2**31, "Invalid value: 2147483648: should be less than or equal to 2147483647"),
        (2.0, "Invalid value: 0: .{}.replicas accessor error: 2 is of the type float64, expected int64"),
        ("2", "Invalid value: 0: .{}.replicas accessor error: 2 is of the type string, expected int64"),
        (True, "Invalid value: 0: .{}.replicas accessor error: true is of the type bool, expected int64"),
    ],
)
async def test_replicas_that_scale_reads_are_whole_numbers(http: Http, replicas: Any, told: str) -> None:
    await http.post(CRDS, thing_crd())
    answer = await http.post(THINGS, thing(replicas=replicas))
    assert answer.status == 422
    assert causes(answer)[".spec.replicas"] == told.format("spec")
    await http.post(THINGS, thing())
    answer = await http.patch(f"{THINGS}/one/status", {"status": {"replicas": replicas}})
    assert answer.status == 422
    assert causes(answer) == {".status.replicas": told.format("status")}


async def test_a_custom_resource_says_its_kind_and_version(http: Http) -> None:
    await http.post(CRDS, thing_crd())
    answer = await http.post(THINGS, {**thing(), "kind": "Widget"})
    assert answer.status == 422
    assert (
        answer.message == 'Widget.example.org "one" is invalid: kind: Invalid value: "Widget": must be Thing'
    )
    for key in ("kind", "apiVersion"):
        answer = await http.post(THINGS, {**thing(), key: None})
        assert (answer.status, answer.body["reason"]) == (400, "BadRequest")


async def test_combinations_of_schemas(http: Http) -> None:
    schema = {
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
    }
    await with_spec(http, schema)
    assert (await http.post(THINGS, thing(a="x"))).status == 201
    answer = await http.post(THINGS, thing("two", a="x", b="y"))
    assert "must validate one and only one schema (oneOf)" in answer.message


async def test_lists_as_sets_and_maps(http: Http) -> None:
    item = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "value": {"type": "string"}},
        "required": ["name"],
    }
    properties = {
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "map": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": item,
        },
    }
    await with_spec(http, {"properties": properties})
    answer = await http.post(THINGS, thing(set=["a", "a"], map=[{"name": "x"}, {"name": "x"}]))
    assert causes(answer) == {
        "spec.set[1]": 'Duplicate value: "a"',
        "spec.map[1]": 'Duplicate value: {"name":"x"}',
    }
    await http.apply(f"{THINGS}/one", thing(map=[{"name": "x", "value": "1"}]), "first")
    body = (await http.apply(f"{THINGS}/one", thing(map=[{"name": "y", "value": "2"}]), "second")).body
    assert [one["name"] for one in body["spec"]["map"]] == ["x", "y"]


async def test_what_was_valid_before_may_stay(http: Http) -> None:
    await http.post(CRDS, thing_crd())
    await http.post(THINGS, thing(size="much too large"))
    crd = (await http.get(f"{CRDS}/things.example.org")).body
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["size"]["maxLength"] = 3
    await http.put(f"{CRDS}/things.example.org", crd)
    assert (await http.patch(f"{THINGS}/one", {"spec": {"color": "red"}})).status == 200
    assert (await http.patch(f"{THINGS}/one", {"spec": {"size": "still too large"}})).status == 422


async def test_scale(http: Http) -> None:
    await http.post(CRDS, thing_crd())
    await http.post(THINGS, thing(replicas=2))
    await http.patch(f"{THINGS}/one/status", {"status": {"replicas": 1, "selector": "a=b"}})
    scale = (await http.get(f"{THINGS}/one/scale")).body
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"] == {"replicas": 1, "selector": "a=b"}
    scale["spec"]["replicas"] = 4
    assert (await http.put(f"{THINGS}/one/scale", scale)).body["spec"] == {"replicas": 4}
    assert (await http.put(f"{THINGS}/one/scale", scale)).status == 409
    body = (await http.get(f"{THINGS}/one")).body
    assert (body["spec"]["replicas"], body["metadata"]["generation"]) == (4, 2)
    refused = await http.patch(f"{THINGS}/one/scale", {"spec": {"replicas": -1}})
    assert refused.status == 422
    assert "spec.replicas: Invalid value: -1: spec.replicas in body should be greater" in refused.message


async def test_printer_columns(http: Http) -> None:
    await http.post(CRDS, thing_crd())
    await http.post(THINGS, thing(color="red"))
    table = (await http.get(THINGS, accept="application/json;as=Table;v=v1;g=meta.k8s.io")).body
    assert [one["name"] for one in table["columnDefinitions"]] == ["Name", "Color", "Age"]
    (row,) = table["rows"]
    assert row["cells"][:2] == ["one", "red"]
    assert row["cells"][2].endswith("s")
    assert row["object"]["kind"] == "PartialObjectMetadata"


async def test_a_new_default_shows_in_old_objects(http: Http) -> None:
    await http.post(CRDS, thing_crd())
    before = (await http.post(THINGS, thing(color="red"))).body
    crd = (await http.get(f"{CRDS}/things.example.org")).body
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["size"]["default"] = "M"
    await http.put(f"{CRDS}/things.example.org", crd)
    after = (await http.get(f"{THINGS}/one")).body
    assert after["spec"] == {**before["spec"], "size": "M"}
    assert after["metadata"] == before["metadata"]
