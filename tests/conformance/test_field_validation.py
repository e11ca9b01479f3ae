"""Fields that the API server doesn't know: refused, warned of, or dropped in silence.

https://kubernetes.io/docs/reference/using-api/api-concepts/#setting-the-field-validation-level
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.conformance.gadgets import gadget
from tests.conformance.manifests import config_map, service, waiting_pod
from tests.harness.kube import PATCH_TYPES, Kube, Object, Refused


def pod_with_a_typo(name: str) -> Object:
    pod = waiting_pod(name)
    pod["spec"]["containers"][0]["imagePullPolice"] = "Always"
    return pod


def post(kube: Kube, namespace: str, manifest: Object, **params: str) -> httpx.Response:
    return kube.http.post(kube.path(kube.resource_of(manifest), namespace), json=manifest, params=params)


def warnings(response: httpx.Response) -> list[str]:
    return response.headers.get_list("warning")


def test_strict_refuses_unknown_fields_of_a_pod(kube: Kube, namespace: str, name: str) -> None:
    with pytest.raises(Refused, match="strict decoding error") as refused:
        kube.create(pod_with_a_typo(name), namespace, fieldValidation="Strict")

    assert (refused.value.code, refused.value.reason) == (400, "BadRequest")
    assert 'unknown field "spec.containers[0].imagePullPolice"' in refused.value.status["message"]


def test_strict_refuses_unknown_fields_of_a_custom_resource(
    kube: Kube, namespace: str, gadgets: str, name: str
) -> None:
    manifest = gadget(name, colour="blue", ports=[{"name": "a", "nummer": 1}])

    with pytest.raises(Refused, match="strict decoding error") as refused:
        kube.create(manifest, namespace, fieldValidation="Strict")

    assert (refused.value.code, refused.value.reason) == (400, "BadRequest")
    for field in ("spec.colour", "spec.ports[0].nummer"):
        assert f'unknown field "{field}"' in refused.value.status["message"]


def test_strict_refuses_unknown_fields_of_metadata(
    kube: Kube, namespace: str, gadgets: str, name: str
) -> None:
    for manifest in (config_map(name, lables={"a": "b"}), gadget(name, metadata={"lables": {"a": "b"}})):
        with pytest.raises(Refused, match=r'unknown field "metadata\.lables"') as refused:
            kube.create(manifest, namespace, fieldValidation="Strict")
        assert refused.value.code == 400


def test_by_default_unknown_fields_are_dropped_with_a_warning(
    kube: Kube, namespace: str, gadgets: str, name: str
) -> None:
    for manifest, field in (
        (pod_with_a_typo(name), "spec.containers[0].imagePullPolice"),
        (gadget(name, colour="blue"), "spec.colour"),
    ):
        for params in ({}, {"fieldValidation": "Warn"}):
            response = post(kube, namespace, manifest, dryRun="All", **params)
            assert response.status_code == 201
            assert warnings(response) == [f'299 - "unknown field \\"{field}\\""']
            assert "Police" not in response.text
            assert "blue" not in response.text


def test_unknown_fields_can_be_ignored(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    response = post(kube, namespace, gadget(name, colour="blue"), fieldValidation="Ignore")

    assert response.status_code == 201
    assert not warnings(response)
    assert "colour" not in response.json()["spec"]


def test_updates_are_validated_as_well(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    created = kube.create(gadget(name), namespace)

    with pytest.raises(Refused, match=r'unknown field "spec\.colour"'):
        kube.update({**created, "spec": {"size": "M", "colour": "blue"}}, fieldValidation="Strict")


@pytest.mark.parametrize("kind", ["merge", "json"])
def test_patches_are_validated_as_well(
    kube: Kube, namespace: str, gadgets: str, name: str, kind: str
) -> None:
    kube.create(gadget(name), namespace)
    patch: Any = {"spec": {"colour": "blue"}}
    if kind == "json":
        patch = [{"op": "add", "path": "/spec/colour", "value": "blue"}]

    with pytest.raises(Refused, match=r'unknown field "spec\.colour"'):
        kube.patch(gadgets, name, patch, namespace, kind=kind, fieldValidation="Strict")
    assert "colour" not in kube.patch(gadgets, name, patch, namespace, kind=kind)["spec"]


def test_strategic_patches_are_validated_as_well(kube: Kube, namespace: str, name: str) -> None:
    kube.create(service(name), namespace)

    with pytest.raises(Refused, match=r'unknown field "spec\.colour"'):
        kube.patch(
            "services",
            name,
            {"spec": {"colour": "blue"}},
            namespace,
            kind="strategic",
            fieldValidation="Strict",
        )


def test_strict_refuses_a_field_that_comes_twice(kube: Kube, namespace: str, name: str) -> None:
    text = json.dumps(config_map(name, {})).replace('"data": {}', '"data": {}, "data": {}')
    path, headers = kube.path("configmaps", namespace), {"Content-Type": "application/json"}

    with pytest.raises(Refused, match='duplicate field "data"') as refused:
        kube.request("POST", path, content=text, headers=headers, params={"fieldValidation": "Strict"})

    assert refused.value.code == 400


def test_there_is_no_other_level(kube: Kube, namespace: str, name: str) -> None:
    with pytest.raises(Refused, match="fieldValidation") as refused:
        kube.create(config_map(name), namespace, fieldValidation="Mild")

    assert (refused.value.code, refused.value.reason) == (422, "Invalid")


@pytest.mark.parametrize("level", ["Strict", "Warn", "Ignore"])
def test_an_apply_with_unknown_fields_is_always_refused(
    kube: Kube, namespace: str, gadgets: str, name: str, level: str
) -> None:
    for manifest, field in (
        (gadget(name, colour="blue"), "colour"),
        (pod_with_a_typo(name), "imagePullPolice"),
    ):
        with pytest.raises(Refused, match=f"{field}: field not declared in schema"):
            kube.apply(manifest, namespace, fieldValidation=level)


def test_a_value_of_another_type_is_refused_at_every_level(kube: Kube, namespace: str, name: str) -> None:
    for level in ("Strict", "Warn", "Ignore"):
        with pytest.raises(Refused) as refused:
            kube.create(service(name, {}, {"port": "eighty"}), namespace, fieldValidation=level)
        assert (refused.value.code, refused.value.reason) == (400, "BadRequest")
        assert refused.value.status["message"].startswith(
            'Service in version "v1" cannot be handled as a Service: '
        )


def test_an_apply_may_be_yaml(kube: Kube, namespace: str, name: str) -> None:
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n  a: '1'\n"
    headers = {"Content-Type": PATCH_TYPES["apply"]}

    path = kube.path("configmaps", namespace, name)
    applied = kube.request("PATCH", path, content=text, headers=headers, params={"fieldManager": "tests"})

    assert applied["data"] == {"a": "1"}
