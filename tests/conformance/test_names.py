"""What objects may be called, and names that the API server chooses.

https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
https://kubernetes.io/docs/reference/using-api/api-concepts/#generated-values
"""

from __future__ import annotations

import re

import pytest

from tests.conformance.gadgets import gadget
from tests.conformance.manifests import causes, config_map, service
from tests.harness.kube import Kube, Refused


def test_a_generated_name_has_five_characters_of_its_own(kube: Kube, namespace: str) -> None:
    created = [kube.create(config_map("", generateName="some-"), namespace)["metadata"] for _ in range(3)]

    assert all(re.fullmatch(r"some-[a-z0-9]{5}", one["name"]) for one in created)
    assert len({one["name"] for one in created}) == 3
    assert all(one["generateName"] == "some-" for one in created)


def test_custom_resources_get_generated_names(kube: Kube, namespace: str, gadgets: str) -> None:
    manifest = gadget("", metadata={"generateName": "some-"})
    del manifest["metadata"]["name"]

    assert re.fullmatch(r"some-[a-z0-9]{5}", kube.create(manifest, namespace)["metadata"]["name"])


def test_a_name_wins_over_its_generation(kube: Kube, namespace: str, name: str) -> None:
    assert kube.create(config_map(name, generateName="some-"), namespace)["metadata"]["name"] == name


def test_a_long_prefix_is_cut(kube: Kube, namespace: str) -> None:
    created = kube.create(config_map("", generateName="a" * 70), namespace)

    assert re.fullmatch(r"a{58}[a-z0-9]{5}", created["metadata"]["name"])


def test_an_object_needs_a_name(kube: Kube, namespace: str) -> None:
    with pytest.raises(Refused, match="name or generateName is required") as refused:
        kube.create(config_map(""), namespace)

    assert (refused.value.code, refused.value.reason) == (422, "Invalid")
    assert causes(refused.value.status) == {"metadata.name": "FieldValueRequired"}


@pytest.mark.parametrize("bad", ["Upper", "under_score", "-dash", "dash-", "a b", "dot.", "a" * 254])
def test_names_are_dns_subdomains(kube: Kube, namespace: str, gadgets: str, bad: str) -> None:
    for manifest in (config_map(bad), gadget(bad)):
        with pytest.raises(Refused) as refused:
            kube.create(manifest, namespace)
        assert (refused.value.code, refused.value.reason) == (422, "Invalid")
        assert causes(refused.value.status)["metadata.name"] == "FieldValueInvalid"


def test_the_refusal_of_a_name_says_what_a_name_is(kube: Kube, namespace: str) -> None:
    message = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'"
    with pytest.raises(Refused, match=message) as refused:
        kube.create(config_map("Upper"), namespace)

    assert refused.value.status["message"].startswith(
        'ConfigMap "Upper" is invalid: metadata.name: Invalid value: "Upper": '
    )
    assert refused.value.status["details"]["kind"] == "ConfigMap"


def test_names_may_have_dots_and_digits(kube: Kube, namespace: str) -> None:
    assert kube.create(config_map("0.a-b.9"), namespace)["metadata"]["name"] == "0.a-b.9"


def test_a_service_has_a_dns_label_as_its_name(kube: Kube, namespace: str) -> None:
    for bad in ("with.dot", "a" * 64):
        with pytest.raises(Refused) as refused:
            kube.create(service(bad), namespace)
        assert causes(refused.value.status) == {"metadata.name": "FieldValueInvalid"}


def test_a_namespace_has_a_dns_label_as_its_name(kube: Kube) -> None:
    for bad in ("with.dot", "a" * 64):
        with pytest.raises(Refused) as refused:
            kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": bad}})
        # Its label kubernetes.io/metadata.name may be wrong as well.
        assert causes(refused.value.status)["metadata.name"] == "FieldValueInvalid"


@pytest.mark.parametrize(
    "bad", [{"key": "a b"}, {"key": "a" * 64}, {"not a key": "a"}, {"-": "a"}, {"a/b/c": "d"}]
)
def test_labels_have_a_form(kube: Kube, namespace: str, gadgets: str, name: str, bad: dict[str, str]) -> None:
    for manifest in (config_map(name, labels=bad), gadget(name, metadata={"labels": bad})):
        with pytest.raises(Refused) as refused:
            kube.create(manifest, namespace)
        assert (refused.value.code, refused.value.reason) == (422, "Invalid")
        assert causes(refused.value.status) == {"metadata.labels": "FieldValueInvalid"}


def test_labels_are_strings(kube: Kube, namespace: str, name: str) -> None:
    with pytest.raises(Refused) as refused:
        kube.create(config_map(name, labels={"number": 1}), namespace)

    assert (refused.value.code, refused.value.reason) == (400, "BadRequest")


def test_annotations_are_limited_together(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    large = {"one": "x" * 200_000, "two": "x" * 100_000}
    for manifest in (config_map(name, annotations=large), gadget(name, metadata={"annotations": large})):
        with pytest.raises(Refused, match="262144") as refused:
            kube.create(manifest, namespace)
        assert causes(refused.value.status) == {"metadata.annotations": "FieldValueTooLong"}
