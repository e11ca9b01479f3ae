"""ConfigMaps and Secrets.

https://kubernetes.io/docs/concepts/configuration/configmap/
https://kubernetes.io/docs/concepts/configuration/secret/
"""

from __future__ import annotations

import pytest

from tests.conformance.manifests import causes, config_map, secret
from tests.harness.kube import Kube, Refused


def test_a_secret_is_opaque_by_default(kube: Kube, namespace: str, name: str) -> None:
    assert kube.create(secret(name, {"a": "1"}), namespace)["type"] == "Opaque"


def test_the_type_of_a_secret_stays(kube: Kube, namespace: str, name: str) -> None:
    kube.create(secret(name, {"a": "1"}), namespace)

    with pytest.raises(Refused, match="field is immutable") as refused:
        kube.patch("secrets", name, {"type": "example.com/other"}, namespace)

    assert causes(refused.value.status) == {"type": "FieldValueInvalid"}


def test_strings_are_merged_into_a_secret(kube: Kube, namespace: str, name: str) -> None:
    kube.create(secret(name, {"a": "one", "b": "two"}), namespace)

    patched = kube.patch("secrets", name, {"stringData": {"a": "three"}}, namespace)

    assert patched["data"] == {"a": "dGhyZWU=", "b": "dHdv"}
    assert "stringData" not in patched


def test_what_is_immutable_stays(kube: Kube, namespace: str, name: str) -> None:
    kube.create({**config_map(name, {"a": "1"}), "immutable": True}, namespace)
    kube.create(secret(name, {"a": "1"}, immutable=True), namespace)

    for resource, change in (("configmaps", {"data": {"a": "2"}}), ("secrets", {"stringData": {"a": "2"}})):
        with pytest.raises(Refused, match="field is immutable when `immutable` is set") as refused:
            kube.patch(resource, name, change, namespace)
        assert causes(refused.value.status) == {"data": "FieldValueForbidden"}
        with pytest.raises(Refused):
            kube.patch(resource, name, {"immutable": False}, namespace)
        kube.patch(resource, name, {"metadata": {"labels": {"a": "b"}}}, namespace)


def test_keys_are_file_names(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name, {"a_B-1.txt": ""}), namespace)

    for key in ("a/b", "a b", ".", "..", "..data", ""):
        with pytest.raises(Refused) as refused:
            kube.create(config_map(f"{name}-2", {key: ""}), namespace)
        assert (refused.value.code, refused.value.reason) == (422, "Invalid")


def test_binary_data_has_keys_of_its_own(kube: Kube, namespace: str, name: str) -> None:
    created = kube.create({**config_map(name, {"a": "1"}), "binaryData": {"b": "AAE="}}, namespace)
    assert created["binaryData"] == {"b": "AAE="}

    with pytest.raises(Refused):
        kube.create({**config_map(f"{name}-2", {"a": "1"}), "binaryData": {"a": "AAE="}}, namespace)


def test_values_are_strings(kube: Kube, namespace: str, name: str) -> None:
    with pytest.raises(Refused) as refused:
        kube.create({**config_map(name), "data": {"a": 1}}, namespace)

    assert (refused.value.code, refused.value.reason) == (400, "BadRequest")
