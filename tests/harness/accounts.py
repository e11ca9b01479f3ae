"""Service accounts with few rights."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import yaml

from tests.harness.kube import PATIENCE, Kube, Object

RBAC = "rbac.authorization.k8s.io"
DOCUMENTED_ROLE: list[Object] = [
    {
        "apiGroups": ["kubernetes.dask.org"],
        "resources": [
            "daskclusters",
            "daskworkergroups",
            "daskworkergroups/scale",
            "daskjobs",
            "daskautoscalers",
        ],
        "verbs": ["get", "list", "watch", "patch", "create", "delete"],
    },
    {"apiGroups": [""], "resources": ["pods", "pods/status"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list", "watch"]},
]
"""What the documentation grants to the service account of a pod that makes clusters."""


def grant_everywhere(kube: Kube, name: str, rules: list[Object], subject: Object) -> None:
    """Give a service account exactly these rights in the whole cluster, by a role of this name.

    They hold when this returns.
    """
    role = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}
    kube.apply(role)
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", **subject}],
    }
    kube.apply(binding)
    await_rights(kube, subject["namespace"], rules, subject["name"])


def revoke_everywhere(kube: Kube, name: str) -> None:
    """Take back what `grant_everywhere` gave."""
    kube.delete(f"clusterrolebindings.{RBAC}", name)
    kube.delete(f"clusterroles.{RBAC}", name)


def grant(
    kube: Kube, namespace: str, rules: list[Object], account: str = "dask-sa", *, of: str | None = None
) -> None:
    """Give a service account exactly these rights in a namespace, its own or that of another.

    It need not exist yet. They hold when this returns.
    """
    of = of or namespace
    kube.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}}, of)
    role = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": account}, "rules": rules}
    kube.apply(role, namespace)
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": account},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": account},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": of}],
    }
    kube.apply(binding, namespace)
    await_rights(kube, namespace, rules, account, of=of)


def await_rights(
    kube: Kube, namespace: str, rules: list[Object], account: str, *, of: str | None = None
) -> None:
    """Wait until an account has its rights: an API server hears of them a moment after they are written."""
    deadline = time.monotonic() + PATIENCE
    while not is_allowed(kube, namespace, rules[-1], account, of=of):
        assert time.monotonic() < deadline, f"{account} never got its rights"
        time.sleep(0.02)


def is_allowed(kube: Kube, namespace: str, rule: Object, account: str, *, of: str | None = None) -> bool:
    """Whether the account may do the first thing that a rule is about."""
    resource, _, subresource = rule["resources"][0].partition("/")
    asked = {"group": rule["apiGroups"][0], "resource": resource, "verb": rule["verbs"][0]}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{of or namespace}:{account}",
            "groups": ["system:serviceaccounts", f"system:serviceaccounts:{of or namespace}"],
            "resourceAttributes": {**asked, "namespace": namespace, "subresource": subresource},
        },
    }
    answer = kube.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", json=review)
    return bool(answer["status"]["allowed"])


def kubeconfig_of(kube: Kube, kubeconfig: Path, namespace: str, account: str = "dask-sa") -> Object:
    """Return a kubeconfig for the same cluster, with a service account's token instead of the user."""
    path = kube.path("serviceaccounts", namespace, account, "token")
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 86400},
    }
    token = kube.request("POST", path, json=request)["status"]["token"]
    content = yaml.safe_load(kubeconfig.read_text())
    current = next(c["context"] for c in content["contexts"] if c["name"] == content["current-context"])
    cluster = next(c["cluster"] for c in content["clusters"] if c["name"] == current["cluster"])
    if "certificate-authority" in cluster:
        authority = (kubeconfig.parent / cluster.pop("certificate-authority")).read_bytes()
        cluster["certificate-authority-data"] = base64.b64encode(authority).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
        "current-context": "x",
    }
