"""Kinds that are stored for whoever acts on them.

https://kubernetes.io/docs/reference/kubernetes-api/
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import yaml

from tests.conformance.test_requests import current_cluster, trust
from tests.harness.kube import Kube, Object, Refused

RBAC = "rbac.authorization.k8s.io"


def manifest(api_version: str, kind: str, name: str, **fields: Any) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **fields}


def role_binding(name: str, role: str) -> Object:
    reference = {"apiGroup": RBAC, "kind": "Role", "name": role}
    subjects = [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}]
    return manifest(f"{RBAC}/v1", "RoleBinding", name, roleRef=reference, subjects=subjects)


KINDS: list[tuple[str, str, Object]] = [
    ("v1", "ServiceAccount", {}),
    (
        "v1",
        "PodTemplate",
        {"template": {"spec": {"containers": [{"name": "main", "image": "registry.invalid/a:1"}]}}},
    ),
    (f"{RBAC}/v1", "Role", {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]}),
    ("networking.k8s.io/v1", "NetworkPolicy", {"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}),
    (
        "networking.k8s.io/v1",
        "Ingress",
        {"spec": {"defaultBackend": {"service": {"name": "some", "port": {"number": 80}}}}},
    ),
    (
        "policy/v1",
        "PodDisruptionBudget",
        {"spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}},
    ),
    (
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        {
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "some"},
                "maxReplicas": 3,
            }
        },
    ),
]
PLURALS = {"NetworkPolicy": "networkpolicies", "Ingress": "ingresses"}


@pytest.mark.parametrize(("api_version", "kind", "fields"), KINDS, ids=[kind for _, kind, _ in KINDS])
def test_objects_are_stored_changed_and_deleted(
    kube: Kube, namespace: str, name: str, api_version: str, kind: str, fields: Object
) -> None:
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    path = f"{root}/namespaces/{namespace}/{PLURALS.get(kind, kind.lower() + 's')}"

    created = kube.request(
        "POST", path, json=manifest(api_version, kind, name, **fields), params={"fieldValidation": "Strict"}
    )
    assert (created["apiVersion"], created["kind"]) == (api_version, kind)
    headers = {"Content-Type": "application/merge-patch+json"}
    kube.request("PATCH", f"{path}/{name}", content='{"metadata": {"labels": {"a": "b"}}}', headers=headers)
    listed = kube.request("GET", path, params={"labelSelector": "a=b"})["items"]
    assert [one["metadata"]["uid"] for one in listed] == [created["metadata"]["uid"]]
    kube.request("DELETE", f"{path}/{name}")
    assert kube.http.get(f"{path}/{name}").status_code == 404


def test_the_role_of_a_binding_stays(kube: Kube, namespace: str, name: str) -> None:
    kube.create(role_binding(name, "one"), namespace)

    with pytest.raises(Refused, match="cannot change roleRef") as refused:
        kube.patch(f"rolebindings.{RBAC}", name, {"roleRef": {"name": "two"}}, namespace)

    assert (refused.value.code, refused.value.reason) == (422, "Invalid")


def test_cluster_roles_have_no_namespace(kube: Kube, name: str) -> None:
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    created = kube.create(manifest(f"{RBAC}/v1", "ClusterRole", name, rules=rules))
    try:
        assert "namespace" not in created["metadata"]
        assert kube.get(f"clusterroles.{RBAC}", name)["rules"] == rules
    finally:
        kube.delete(f"clusterroles.{RBAC}", name)


def test_a_service_account_gets_tokens(kube: Kube, namespace: str, kubeconfig: Any) -> None:
    request = manifest("authentication.k8s.io/v1", "TokenRequest", "", spec={"expirationSeconds": 3600})
    del request["metadata"]["name"]

    answer = kube.request("POST", kube.path("serviceaccounts", namespace, "default", "token"), json=request)

    assert answer["kind"] == "TokenRequest"
    assert answer["status"]["expirationTimestamp"]
    cluster = current_cluster(yaml.safe_load(kubeconfig.read_text()))
    if not cluster["server"].startswith("https://"):
        pytest.skip("this API server is reached through a proxy that does the authentication")
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    found = httpx.post(
        f"{cluster['server']}/apis/authentication.k8s.io/v1/selfsubjectreviews",
        json=review,
        headers={"Authorization": f"Bearer {answer['status']['token']}"},
        verify=trust(cluster, kubeconfig.parent),
        timeout=30,
    ).json()
    assert found["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:default"
