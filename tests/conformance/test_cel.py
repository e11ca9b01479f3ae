"""Rules in CEL beside the schema.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
"""

from __future__ import annotations

import pytest

from tests.conformance.gadgets import gadget
from tests.conformance.manifests import causes
from tests.harness.kube import Kube, Refused


@pytest.fixture(autouse=True)
def _gadgets(gadgets: str) -> None:
    pass


def test_a_rule_compares_fields(kube: Kube, namespace: str, name: str) -> None:
    kube.create(gadget(name, low=1, high=1), namespace)

    with pytest.raises(Refused, match="low may not exceed high") as refused:
        kube.create(gadget(f"{name}-2", low=2, high=1), namespace)

    assert (refused.value.code, refused.value.reason) == (422, "Invalid")
    # The rule belongs to spec and names the field that is to blame.
    assert causes(refused.value.status) == {"spec.low": "FieldValueInvalid"}


def test_a_rule_looks_at_every_item(kube: Kube, namespace: str, name: str) -> None:
    with pytest.raises(Refused, match="a tag has at most 8 characters") as refused:
        kube.create(gadget(name, tags=["short", "much-too-long"]), namespace)

    assert causes(refused.value.status) == {"spec": "FieldValueInvalid"}


def test_a_message_can_be_computed_and_a_reason_given(kube: Kube, namespace: str, name: str) -> None:
    kube.create(gadget(name, even=2), namespace)

    with pytest.raises(Refused, match="3 is odd") as refused:
        kube.patch("gadgets.conformance.example.com", name, {"spec": {"even": 3}}, namespace)

    assert causes(refused.value.status) == {"spec.even": "FieldValueForbidden"}


def test_a_rule_knows_the_name(kube: Kube, namespace: str) -> None:
    with pytest.raises(Refused, match=r"metadata\.name has at most 30 characters"):
        kube.create(gadget("a" * 31), namespace)


def test_a_rule_with_old_self_guards_changes(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    kube.create(gadget(name, forever="diamond"), namespace)

    with pytest.raises(Refused, match="forever is forever") as refused:
        kube.patch(gadgets, name, {"spec": {"forever": "glass"}}, namespace)

    assert causes(refused.value.status) == {"spec.forever": "FieldValueInvalid"}
    kube.patch(gadgets, name, {"spec": {"forever": "diamond", "size": "L"}}, namespace)


def test_a_rule_with_old_self_waits_for_an_old_value(
    kube: Kube, namespace: str, gadgets: str, name: str
) -> None:
    kube.create(gadget(name), namespace)

    kube.patch(gadgets, name, {"spec": {"forever": "late"}}, namespace)
    # Nor does it see that the field goes: that takes a rule of the object around it.
    kube.patch(gadgets, name, {"spec": {"forever": None}}, namespace)


def test_a_rule_of_the_object_guards_removal(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    kube.create(gadget(name, code="abc"), namespace)

    with pytest.raises(Refused, match="code can't be removed"):
        kube.patch(gadgets, name, {"spec": {"code": None}}, namespace)


def test_rules_hold_for_applies_as_well(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    kube.apply(gadget(name, forever="diamond"), namespace)

    with pytest.raises(Refused, match="forever is forever"):
        kube.apply(gadget(name, forever="glass"), namespace)


def test_broken_types_are_told_before_rules(kube: Kube, namespace: str, name: str) -> None:
    with pytest.raises(Refused) as refused:
        kube.create(gadget(name, low="one", high=1), namespace)

    assert causes(refused.value.status) == {"spec.low": "FieldValueTypeInvalid"}
    assert "low may not exceed high" not in refused.value.status["message"]
    # https://github.com/kubernetes/kubernetes/pull/108013
    assert (
        "some validation rules were not checked because the object was invalid"
        in refused.value.status["message"]
    )
    assert refused.value.status["details"]["causes"][-1]["field"] == "<nil>"
