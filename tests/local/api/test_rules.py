"""Validation rules of CRDs, in CEL."""

from __future__ import annotations

import pytest

from tests.local.api.http import Http, causes
from tests.local.api.objects import CRDS, THINGS, thing, thing_crd, with_spec


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
