"""Label and field selectors.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/
"""

from __future__ import annotations

import pytest

from tests.conformance.gadgets import gadget
from tests.conformance.manifests import config_map, secret, waiting_pod
from tests.harness.kube import Kube, Refused

LABELS = {
    "a": {"tier": "front", "level": "1"},
    "b": {"tier": "back", "level": "2"},
    "c": {"tier": "back", "x.io/y": ""},
}


@pytest.fixture(scope="module")
def three(kube: Kube, namespace: str) -> str:
    """A namespace with three config maps: a, b and c."""
    for name, labels in LABELS.items():
        kube.create(config_map(name, labels={"of": "three", **labels}), namespace)
    return namespace


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ("tier=back", "bc"),
        ("tier==front", "a"),
        ("tier!=front", "bc"),
        ("level!=1", "bc"),
        ("tier in (front,back)", "abc"),
        ("tier in (front)", "a"),
        ("tier notin (front)", "bc"),
        ("level notin (2)", "ac"),
        ("level", "ab"),
        ("!level", "c"),
        ("tier=back,level=2", "b"),
        ("tier=back, !level", "c"),
        ("x.io/y", "c"),
        ("x.io/y=", "c"),
        ("tier in (back), level in (1, 2)", "b"),
        ("level>1", "b"),
        ("level<2", "a"),
        ("tier=nowhere", ""),
    ],
)
def test_labels_select(kube: Kube, three: str, selector: str, selected: str) -> None:
    found = kube.list("configmaps", three, f"of=three,{selector}")

    assert "".join(item["metadata"]["name"] for item in found) == selected


@pytest.mark.parametrize(
    "selector", ["tier=a b", "=back", "tier in front", "tier in (", "-bad=x", "level>one"]
)
def test_what_cannot_be_parsed_is_refused(kube: Kube, three: str, selector: str) -> None:
    with pytest.raises(Refused) as refused:
        kube.list("configmaps", three, selector)

    assert (refused.value.code, refused.value.reason) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ("metadata.name=a", "a"),
        ("metadata.name==b", "b"),
        ("metadata.name!=a", "bc"),
        ("metadata.name!=a,metadata.name!=b", "c"),
        ("metadata.name=a,metadata.name=b", ""),
    ],
)
def test_fields_select(kube: Kube, three: str, selector: str, selected: str) -> None:
    found = kube.list("configmaps", three, "of=three", fieldSelector=selector)

    assert "".join(item["metadata"]["name"] for item in found) == selected


def test_the_namespace_is_a_field(kube: Kube, three: str) -> None:
    found = kube.list(
        "configmaps", selector="of=three", fieldSelector=f"metadata.namespace={three},metadata.name=a"
    )

    assert [item["metadata"]["name"] for item in found] == ["a"]


def test_other_fields_are_refused(kube: Kube, namespace: str, gadgets: str) -> None:
    for resource, field in (("configmaps", "data.a"), (gadgets, "spec.size"), ("pods", "spec.priority")):
        known = f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"'
        with pytest.raises(Refused, match=f"field label not supported: {field}|{known}") as refused:
            kube.list(resource, namespace, fieldSelector=f"{field}=x")
        assert (refused.value.code, refused.value.reason) == (400, "BadRequest")


def test_custom_resources_are_selected_by_name(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    for one in (name, f"{name}-other"):
        kube.create(gadget(one), namespace)

    found = kube.list(gadgets, namespace, fieldSelector=f"metadata.name={name}")

    assert [item["metadata"]["name"] for item in found] == [name]


def test_pods_are_selected_by_phase_node_and_more(kube: Kube, namespace: str, name: str) -> None:
    kube.create(waiting_pod(name, restartPolicy="Never"), namespace)

    def selects(selector: str) -> bool:
        found = kube.list("pods", namespace, fieldSelector=f"metadata.name={name},{selector}")
        return [item["metadata"]["name"] for item in found] == [name]

    assert selects("status.phase=Pending")
    assert selects("spec.nodeName=")
    assert selects("spec.restartPolicy=Never")
    assert selects("spec.schedulerName=default-scheduler")
    assert selects("spec.serviceAccountName=default")
    assert not selects("status.phase!=Pending")
    assert not selects("spec.nodeName=somewhere")


def test_secrets_are_selected_by_type(kube: Kube, namespace: str, name: str) -> None:
    kube.create(secret(name, {"a": "b"}, type="example.com/own"), namespace)

    found = kube.list("secrets", namespace, fieldSelector="type=example.com/own")

    assert [item["metadata"]["name"] for item in found] == [name]
