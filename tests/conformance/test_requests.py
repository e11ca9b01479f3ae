"""What an API server answers to requests that are not as they should be, always as a Status.

https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import ssl
from base64 import b64decode
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.conformance.gadgets import gadget
from tests.conformance.manifests import causes, config_map, secret
from tests.harness.kube import Kube, Refused


def test_json_that_is_none_is_refused(kube: Kube, namespace: str, gadgets: str) -> None:
    for resource in ("configmaps", gadgets):
        with pytest.raises(Refused) as refused:
            kube.request(
                "POST",
                kube.path(resource, namespace),
                content='{"metadata": ',
                headers={"Content-Type": "application/json"},
            )
        assert (refused.value.code, refused.value.reason) == (400, "BadRequest")
        assert refused.value.status["kind"] == "Status"


def test_an_empty_body_is_refused(kube: Kube, namespace: str) -> None:
    with pytest.raises(Refused) as refused:
        kube.request("POST", kube.path("configmaps", namespace), headers={"Content-Type": "application/json"})

    assert refused.value.code == 400


def test_another_kind_is_refused(kube: Kube, namespace: str, name: str) -> None:
    with pytest.raises(Refused, match="ConfigMap") as refused:
        kube.request("POST", kube.path("secrets", namespace), json=config_map(name))

    assert (refused.value.code, refused.value.reason) == (400, "BadRequest")


def test_kind_and_version_may_be_left_out_of_kubernetes_own_kinds(
    kube: Kube, namespace: str, name: str
) -> None:
    created = kube.request("POST", kube.path("configmaps", namespace), json={"metadata": {"name": name}})

    assert (created["apiVersion"], created["kind"]) == ("v1", "ConfigMap")


def test_yaml_is_understood(kube: Kube, namespace: str, gadgets: str, name: str) -> None:
    headers = {"Content-Type": "application/yaml"}
    for manifest in (config_map(name, {"a": "1"}), gadget(name)):
        path = kube.path(kube.resource_of(manifest), namespace)
        created = kube.request("POST", path, content=yaml.safe_dump(manifest), headers=headers)
        assert created["metadata"]["name"] == name


def test_yaml_is_answered_to_who_asks_for_it(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name, {"a": "1"}), namespace)

    for path, params in (
        (kube.path("configmaps", namespace, name), {}),
        (kube.path("configmaps", namespace), {"fieldSelector": f"metadata.name={name}"}),
    ):
        response = kube.http.get(path, params=params, headers={"Accept": "application/yaml"})

        assert response.headers["content-type"].startswith("application/yaml")
        answer = yaml.safe_load(response.text)
        assert [item["data"] for item in answer.get("items", [answer])] == [{"a": "1"}]


def test_another_media_type_is_refused(kube: Kube, namespace: str, name: str) -> None:
    path = kube.path("configmaps", namespace)
    with pytest.raises(Refused, match="accepted media types include") as refused:
        kube.request("POST", path, content="a,b", headers={"Content-Type": "text/csv"})

    assert (refused.value.code, refused.value.reason) == (415, "UnsupportedMediaType")


def test_another_answer_cannot_be_had(kube: Kube, namespace: str) -> None:
    response = kube.http.get(kube.path("configmaps", namespace), headers={"Accept": "text/csv"})

    assert response.status_code == 406


def test_what_cannot_be_answered_has_no_effect(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name), namespace)

    response = kube.http.delete(kube.path("configmaps", namespace, name), headers={"Accept": "text/csv"})

    assert response.status_code == 406
    assert kube.find("configmaps", name, namespace) is not None


def test_half_a_wildcard_is_for_custom_resources_only(kube: Kube, namespace: str, gadgets: str) -> None:
    for resource, status in (("configmaps", 406), (gadgets, 200)):
        response = kube.http.get(kube.path(resource, namespace), headers={"Accept": "application/*"})
        assert response.status_code == status, resource


def test_anything_may_be_accepted(kube: Kube, namespace: str) -> None:
    for accept in (
        "*/*",
        "application/vnd.kubernetes.protobuf;q=0.1,application/json",
        "text/csv,*/*;q=0.1",
    ):
        response = kube.http.get(kube.path("configmaps", namespace), headers={"Accept": accept})
        assert response.is_success, accept


def test_methods_that_make_no_sense_are_not_allowed(
    kube: Kube, namespace: str, gadgets: str, name: str
) -> None:
    kube.create(config_map(name), namespace)
    kube.create(gadget(name), namespace)

    for method, path in (
        ("PUT", kube.path("configmaps", namespace)),
        ("PATCH", kube.path("configmaps", namespace)),
        ("POST", kube.path("configmaps", namespace, name)),
    ):
        with pytest.raises(Refused) as refused:
            kube.request(method, path, json={})
        assert (refused.value.code, refused.value.reason) == (405, "MethodNotAllowed"), (method, path)


def test_nothing_is_created_across_namespaces(kube: Kube, name: str) -> None:
    response = kube.http.post(kube.path("configmaps"), json=config_map(name))

    assert response.status_code in (404, 405)


def test_unknown_paths_are_not_found(kube: Kube) -> None:
    for path in (
        "/nothing",
        "/api/v2",
        "/apis/nothing.example.com",
        "/apis/apps/v7",
        "/apis/apps/v1/nothings",
    ):
        assert kube.http.get(path).status_code == 404, path


def test_an_unknown_subresource_is_not_found(kube: Kube, namespace: str, name: str) -> None:
    kube.create(config_map(name), namespace)

    assert kube.http.get(kube.path("configmaps", namespace, name, "status")).status_code == 404


def test_large_objects_are_refused(kube: Kube, namespace: str, name: str) -> None:
    with pytest.raises(Refused) as refused:
        kube.create(secret(name, {"a": "x" * (1024 * 1024 + 1)}), namespace)
    assert causes(refused.value.status) == {"data": "FieldValueTooLong"}

    huge = config_map(name, {"a": "x" * (4 * 1024 * 1024)})
    assert kube.http.post(kube.path("configmaps", namespace), json=huge).status_code == 413


def test_an_unknown_token_is_not_accepted(kubeconfig: Path, kube: Kube) -> None:
    config = yaml.safe_load(kubeconfig.read_text())
    cluster = current_cluster(config)
    if not cluster["server"].startswith("https://"):
        pytest.skip("this API server is reached through a proxy that does the authentication")

    # Without the client certificate that the kubeconfig may have.
    response = httpx.get(
        f"{cluster['server']}/api/v1/namespaces",
        headers={"Authorization": "Bearer nobody"},
        verify=trust(cluster, kubeconfig.parent),
        timeout=30,
    )

    assert response.status_code == 401
    assert response.json()["reason"] == "Unauthorized"


def current_cluster(config: dict[str, Any]) -> dict[str, Any]:
    [context] = [one["context"] for one in config["contexts"] if one["name"] == config["current-context"]]
    [cluster] = [one["cluster"] for one in config["clusters"] if one["name"] == context["cluster"]]
    return cluster


def trust(cluster: dict[str, Any], folder: Path) -> ssl.SSLContext:
    if cluster.get("insecure-skip-tls-verify"):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    if data := cluster.get("certificate-authority-data"):
        return ssl.create_default_context(cadata=b64decode(data).decode())
    if path := cluster.get("certificate-authority"):
        return ssl.create_default_context(cafile=str(folder / path))
    return ssl.create_default_context()


def test_one_may_ask_what_one_may(kube: Kube, namespace: str) -> None:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"namespace": namespace, "verb": "create", "resource": "pods"}},
    }

    answer = kube.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", json=review)

    assert answer["status"]["allowed"] is True


def test_one_may_ask_who_one_is(kube: Kube) -> None:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}

    answer = kube.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", json=review)

    assert answer["status"]["userInfo"]["username"]


def test_secrets_hold_base64(kube: Kube, namespace: str, name: str) -> None:
    created = kube.create(secret(name, {"a": "one"}, data={"b": "dHdv"}), namespace)

    assert created["data"] == {"a": "b25l", "b": "dHdv"}
    assert "stringData" not in created
    with pytest.raises(Refused) as refused:
        kube.create(secret(f"{name}-2", data={"b": "not base64!"}), namespace)
    assert refused.value.code == 400
