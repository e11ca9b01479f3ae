"""CRDs: schemas, defaults, pruning, rules, subresources, versions."""

from __future__ import annotations

from typing import Any

import pytest

from dask_k8s_local.api.storage.store import clone
from tests.local.api.http import Http, eventually
from tests.local.api.objects import CRDS, THINGS, thing, thing_crd


async def with_spec(http: Http, schema: dict[str, Any]) -> None:
    """Create the CRD with a schema of its spec."""
    answer = await http.post(CRDS, thing_crd(**schema))
    assert answer.status == 201, answer.text


def causes(answer: Any) -> dict[str, str]:
    return {one["field"]: one["message"] for one in answer.body["details"]["causes"]}


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


async def test_defaults_are_filled_in_and_counted_as_spec(http: Http) -> None:
    nested = {"type": "object", "default": {}, "properties": {"b": {"type": "string", "default": "x"}}}
    await with_spec(http, {"properties": {"a": nested, "n": {"type": "integer", "default": 3}}})
    body = (await http.post(THINGS, thing(n=None))).body
    assert body["spec"] == {"a": {"b": "x"}, "n": 3}


async def test_null_means_absent_unless_it_is_nullable(http: Http) -> None:
    properties = {
        "plain": {"type": "string"},
        "nullable": {"type": "string", "nullable": True},
        "list": {"type": "array", "items": {"type": "string"}},
    }
    await with_spec(http, {"properties": properties})
    body = (await http.post(THINGS, thing(plain=None, nullable=None, list=None))).body
    assert body["spec"] == {"nullable": None}


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


async def test_one_cause_stands_alone_and_several_in_brackets(http: Http) -> None:
    await http.post(CRDS, thing_crd())
    one = await http.post(THINGS, thing(color="blue"))
    assert one.message == (
        'Thing.example.org "one" is invalid: spec.color: Unsupported value: "blue": '
        'supported values: "red", "green"'
    )
    two = await http.post(THINGS, thing(replicas=-1, color="blue"))
    assert two.message.startswith('Thing.example.org "one" is invalid: [spec.')
    assert two.body["details"]["kind"] == "Thing"
    assert two.body["details"]["group"] == "example.org"


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


async def test_rules_are_checked_and_told(http: Http) -> None:
    schema = {
        "properties": {
            "minimum": {"type": "integer", "default": 0},
            "maximum": {"type": "integer"},
            "name": {"type": "string"},
        },
        "x-kubernetes-validations": [
            {
                "rule": "!has(self.maximum) || self.minimum <= self.maximum",
                "message": "maximum must not be below minimum",
                "fieldPath": ".maximum",
            },
            {"rule": "!has(self.name) || self.name.startsWith('a')"},
            {
                "rule": "self.minimum < 100",
                "messageExpression": "'minimum is ' + string(self.minimum)",
                "reason": "FieldValueForbidden",
                "fieldPath": ".minimum",
            },
        ],
    }
    await with_spec(http, schema)
    assert (await http.post(THINGS, thing(minimum=1, maximum=2))).status == 201
    answer = await http.post(THINGS, thing("two", minimum=200, maximum=2, name="b"))
    assert causes(answer) == {
        "spec.maximum": "Invalid value: maximum must not be below minimum",
        "spec": "Invalid value: failed rule: !has(self.name) || self.name.startsWith('a')",
        "spec.minimum": "Forbidden: minimum is 200",
    }


async def test_transition_rules_compare_with_what_was(http: Http) -> None:
    fixed = {
        "type": "string",
        "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "can't be changed"}],
    }
    await with_spec(http, {"properties": {"fixed": fixed, "free": {"type": "string"}}})
    await http.post(THINGS, thing(free="a"))
    assert (await http.patch(f"{THINGS}/one", {"spec": {"fixed": "x"}})).status == 200
    assert (await http.patch(f"{THINGS}/one", {"spec": {"free": "b"}})).status == 200
    answer = await http.patch(f"{THINGS}/one", {"spec": {"fixed": "y"}})
    assert causes(answer) == {"spec.fixed": 'Invalid value: "y": can\'t be changed'}


async def test_rules_wait_until_the_rest_is_valid(http: Http) -> None:
    schema = {
        "properties": {"a": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "self.a > 0"}],
    }
    await with_spec(http, schema)
    answer = await http.post(THINGS, thing(a="x"))
    assert "some validation rules were not checked" in answer.message
    missing = await http.post(THINGS, thing())
    assert causes(missing) == {"spec": 'Invalid value: "object": no such key: a evaluating rule: self.a > 0'}


async def test_rules_at_the_root_see_the_name(http: Http) -> None:
    crd = thing_crd()
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["x-kubernetes-validations"] = [
        {"rule": "size(self.metadata.name) <= 5", "message": "metadata.name must be short"}
    ]
    await http.post(CRDS, crd)
    answer = await http.post(THINGS, thing("much-too-long"))
    assert causes(answer) == {"<nil>": "Invalid value: metadata.name must be short"}


async def test_kubernetes_functions_in_rules(http: Http) -> None:
    rules = [
        "!has(self.q) || quantity(self.q).isLessThan(quantity('2Gi'))",
        "self.l.isSorted() && self.l.sum() < 10 && self.l.max() < 9",
        "self.s.find('[0-9]+') == '42'",
        "self.foo__dash__bar == 'x'",
        "self.?nothing.orValue(1) == 1" if False else "true",
    ]
    schema = {
        "properties": {
            "q": {"type": "string"},
            "l": {"type": "array", "items": {"type": "integer"}},
            "s": {"type": "string"},
            "foo-bar": {"type": "string"},
        },
        "x-kubernetes-validations": [{"rule": rule} for rule in rules],
    }
    await with_spec(http, schema)
    spec = {"q": "1500Mi", "l": [1, 2, 3], "s": "a42b", "foo-bar": "x"}
    answer = await http.post(THINGS, thing(**spec))
    assert answer.status == 201, answer.text
    answer = await http.post(THINGS, thing("two", **{**spec, "q": "3Gi", "l": [2, 1]}))
    assert len(answer.body["details"]["causes"]) == 2


async def test_a_rule_that_cannot_be_compiled_refuses_the_crd(http: Http) -> None:
    for rule, told in (
        ("self.nothing > 1", "undefined field 'nothing'"),
        ("self.replicas >", "Syntax error"),
        ("self.replicas + 1", "must evaluate to a bool"),
        ("unknown(self.replicas)", "undeclared reference to 'unknown'"),
    ):
        crd = thing_crd(**{"x-kubernetes-validations": [{"rule": rule}]})
        answer = await http.post(CRDS, crd)
        assert answer.status == 422, rule
        (cause,) = answer.body["details"]["causes"]
        assert cause["field"] == (
            "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule"
        )
        assert told in cause["message"], cause


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


@pytest.mark.parametrize(
    ("rule", "field", "told"),
    [
        ({"rule": " "}, "rule", "Required value: rule is not specified"),
        (
            {"rule": "self.size == 'a' ||\nself.size == 'b'"},
            "message",
            "Required value: message must be specified if rule contains line breaks",
        ),
        ({"rule": "true", "reason": "Because"}, "reason", 'Unsupported value: "Because"'),
        ({"rule": "true", "fieldPath": ".nowhere"}, "fieldPath", "must be a valid path"),
        ({"rule": "true", "fieldPath": "size"}, "fieldPath", "must be a valid path"),
        ({"rule": "true", "messageExpression": "1"}, "rule", "messageExpression must evaluate to a string"),
    ],
)
async def test_rules_must_be_complete(http: Http, rule: dict[str, str], field: str, told: str) -> None:
    answer = await http.post(CRDS, thing_crd(**{"x-kubernetes-validations": [rule]}))
    place = "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0]"
    assert told in causes(answer)[f"{place}.{field}"]


async def test_the_field_of_a_rule_may_be_a_key_of_a_map(http: Http) -> None:
    schema = {
        "properties": {"labels": {"type": "object", "additionalProperties": {"type": "string"}}},
        "x-kubernetes-validations": [
            {"rule": "!has(self.labels)", "fieldPath": ".labels['a.b/c']", "message": "no labels"}
        ],
    }
    await with_spec(http, schema)
    answer = await http.post(THINGS, thing(labels={"a": "b"}))
    assert list(causes(answer)) == ["spec.labels['a.b/c']"]


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
