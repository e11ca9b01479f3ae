"""Custom resources are defaulted, pruned and validated by their schema.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.gadgets import gadget, plain
from tests.conformance.manifests import causes
from tests.harness.kube import Kube, Object, Refused


def created(kube: Kube, namespace: str, name: str, **spec: Any) -> Object:
    """Create a gadget leniently and return the spec that was stored."""
    return kube.create(gadget(name, **spec), namespace, fieldValidation="Ignore")["spec"]


def refused(kube: Kube, namespace: str, name: str, **spec: Any) -> Object:
    """Return the Status that a gadget is refused with, as Invalid."""
    with pytest.raises(Refused) as refusal:
        kube.create(gadget(name, **spec), namespace)
    assert (refusal.value.code, refusal.value.reason) == (422, "Invalid")
    return refusal.value.status


@pytest.fixture(autouse=True)
def _gadgets(gadgets: str) -> None:
    pass


def test_defaults_are_filled_in(kube: Kube, namespace: str, name: str) -> None:
    spec = created(kube, namespace, name, ports=[{"name": "a"}])

    assert spec["replicas"] == 1
    assert spec["ports"] == [{"name": "a", "protocol": "TCP"}]


def test_defaults_reach_into_objects_that_are_there(kube: Kube, namespace: str, name: str) -> None:
    spec = created(kube, namespace, name)
    assert spec["options"] == {"depth": 7}
    assert "optional" not in spec

    assert created(kube, namespace, f"{name}-2", optional={})["optional"] == {"depth": 7}


def test_an_explicit_value_beats_the_default(kube: Kube, namespace: str, name: str) -> None:
    assert created(kube, namespace, name, replicas=0)["replicas"] == 0


def test_unknown_fields_are_pruned(kube: Kube, namespace: str, name: str) -> None:
    spec = created(kube, namespace, name, colour="blue", optional={"width": 1}, ports=[{"name": "a", "x": 1}])

    assert "colour" not in spec
    assert spec["optional"] == {"depth": 7}
    assert "x" not in spec["ports"][0]


def test_unknown_fields_beside_the_spec_are_pruned(kube: Kube, namespace: str, name: str) -> None:
    manifest = {**gadget(name), "extra": {"a": 1}}

    assert "extra" not in kube.create(manifest, namespace, fieldValidation="Ignore")


def test_unknown_fields_are_preserved_where_the_schema_says_so(
    kube: Kube, namespace: str, plains: str, name: str
) -> None:
    anything = {"a": [1, {"b": None}], "c": 1.5}
    assert created(kube, namespace, name, anything=anything)["anything"] == anything

    assert kube.create(plain(name, spec=anything, more=True), namespace)["more"] is True
    assert kube.get(plains, name, namespace)["spec"] == anything


def test_null_means_absent_unless_it_is_allowed(kube: Kube, namespace: str, name: str) -> None:
    spec = created(kube, namespace, name, kept=None, renewed=None, dropped=None, replicas=None)

    assert spec["kept"] is None
    assert spec["renewed"] == "new"
    assert spec["replicas"] == 1
    assert "dropped" not in spec


def test_null_is_no_value_to_apply(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    assert (
        kube.apply(gadget(name, kept=None, renewed=None), namespace)["spec"].items()
        >= {
            "kept": None,
            "renewed": "new",
        }.items()
    )

    with pytest.raises(Refused) as refusal:
        kube.apply(gadget(name, dropped=None), namespace)

    assert refusal.value.code == 422
    assert causes(refusal.value.status) == {"spec.dropped": "FieldValueTypeInvalid"}


def test_numbers_may_be_written_as_whole_numbers(kube: Kube, namespace: str, name: str) -> None:
    assert created(kube, namespace, name, ratio=1)["ratio"] == 1
    assert created(kube, namespace, f"{name}-2", ratio=0.5)["ratio"] == 0.5


def test_int_or_string_is_either(kube: Kube, namespace: str, name: str) -> None:
    assert created(kube, namespace, f"{name}-1", limit=3)["limit"] == 3
    assert created(kube, namespace, f"{name}-2", limit="50%")["limit"] == "50%"
    for bad in (True, 1.5, [], {}):
        assert "spec.limit" in causes(refused(kube, namespace, name, limit=bad))


@pytest.mark.parametrize(
    ("spec", "field", "reason"),
    [
        ({"size": "XXL"}, "spec.size", "FieldValueNotSupported"),
        ({"replicas": -1}, "spec.replicas", "FieldValueInvalid"),
        ({"replicas": 11}, "spec.replicas", "FieldValueInvalid"),
        ({"replicas": "1"}, "spec.replicas", "FieldValueTypeInvalid"),
        ({"replicas": 1.5}, "spec.replicas", "FieldValueTypeInvalid"),
        ({"enabled": "yes"}, "spec.enabled", "FieldValueTypeInvalid"),
        ({"code": "ABC"}, "spec.code", "FieldValueInvalid"),
        ({"code": "a"}, "spec.code", "FieldValueInvalid"),
        ({"code": "abcdef"}, "spec.code", "FieldValueTooLong"),
        ({"when": "yesterday"}, "spec.when", "FieldValueTypeInvalid"),
        ({"numbers": [1, 2, 3, 4]}, "spec.numbers", "FieldValueTooMany"),
        ({"numbers": [1, "two"]}, "spec.numbers[1]", "FieldValueTypeInvalid"),
        ({"numbers": {}}, "spec.numbers", "FieldValueTypeInvalid"),
        ({"tags": ["a", "a"]}, "spec.tags[1]", "FieldValueDuplicate"),
        ({"ports": [{"name": "a"}, {"name": "a"}]}, "spec.ports[1]", "FieldValueDuplicate"),
        ({"ports": [{"number": 1}]}, "spec.ports[0].name", "FieldValueRequired"),
        ({"labels": {"a": 1}}, "spec.labels.a", "FieldValueTypeInvalid"),
        ({"address": "here"}, "spec.address", "FieldValueTypeInvalid"),
    ],
)
def test_what_the_schema_forbids_is_refused(
    kube: Kube, namespace: str, name: str, spec: Object, field: str, reason: str
) -> None:
    told = causes(refused(kube, namespace, name, **spec))
    told.pop(".spec.replicas", None)
    assert told == {field: reason}


@pytest.mark.parametrize("number", ["2.0", "-1", "2147483648"])
def test_replicas_that_scale_reads_are_whole_numbers(
    kube: Kube, namespace: str, gadgets: str, name: str, number: str
) -> None:
    text = json.dumps(gadget(name, replicas=1)).replace('"replicas": 1', f'"replicas": {number}')
    headers = {"Content-Type": "application/json"}

    with pytest.raises(Refused) as refusal:
        kube.request("POST", kube.path(gadgets, namespace), content=text, headers=headers)

    assert refusal.value.code == 422
    assert causes(refusal.value.status)[".spec.replicas"] == "FieldValueInvalid"


def test_what_is_required_must_be_there(kube: Kube, namespace: str, name: str) -> None:
    manifest = gadget(name)
    del manifest["spec"]["size"]
    with pytest.raises(Refused, match=r"spec\.size: Required value") as refusal:
        kube.create(manifest, namespace)
    assert causes(refusal.value.status) == {"spec.size": "FieldValueRequired"}

    del manifest["spec"]
    with pytest.raises(Refused, match="spec: Required value"):
        kube.create(manifest, namespace)


def test_all_that_is_wrong_is_told_at_once(kube: Kube, namespace: str, name: str) -> None:
    status = refused(kube, namespace, name, size="XXL", replicas=11)

    assert causes(status) == {"spec.size": "FieldValueNotSupported", "spec.replicas": "FieldValueInvalid"}
    assert status["message"].startswith(f'Gadget.conformance.example.com "{name}" is invalid: [')
    assert status["details"]["name"] == name
    assert status["details"]["group"] == "conformance.example.com"
    assert status["details"]["kind"] == "Gadget"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"size": "XXL"}, 'spec.size: Unsupported value: "XXL": supported values: "S", "M", "L"'),
        (
            {"replicas": 11},
            "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10",
        ),
        (
            {"replicas": "1"},
            'spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"',
        ),
        ({"code": "ABC"}, "spec.code: Invalid value: \"ABC\": spec.code in body should match '^[a-z]+$'"),
        ({"code": "a"}, 'spec.code: Invalid value: "a": spec.code in body should be at least 2 chars long'),
        ({"numbers": [1, 2, 3, 4]}, "spec.numbers: Too many: 4: must have at most 3 items"),
    ],
)
def test_refusals_read_as_kubernetes_words_them(
    kube: Kube, namespace: str, name: str, spec: Object, words: str
) -> None:
    message = refused(kube, namespace, name, **spec)["message"]

    assert message.startswith(f'Gadget.conformance.example.com "{name}" is invalid: ')
    assert words in message


def test_a_manifest_of_another_kind_or_version_is_refused(
    kube: Kube, namespace: str, gadgets: str, name: str
) -> None:
    path = kube.path(gadgets, namespace)
    for change, code in (
        ({"kind": "Widget"}, 422),
        ({"kind": None}, 400),
        ({"apiVersion": "conformance.example.com/v2"}, 400),
        ({"apiVersion": "example.com/v1"}, 400),
        ({"apiVersion": None}, 400),
    ):
        with pytest.raises(Refused) as refusal:
            kube.request("POST", path, json={**gadget(name), **change})
        assert refusal.value.code == code


def test_metadata_is_typed(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    with pytest.raises(Refused) as refusal:
        kube.create(gadget(name, metadata={"labels": {"a": 1}}), namespace)

    assert refusal.value.code == 400
