"""Service accounts with few rights."""

from __future__ import annotations

from tests.harness.kube import Kube, Object

RBAC = "rbac.authorization.k8s.io"
SEEDS_ROLE: list[Object] = [
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


def grant(kube: Kube, namespace: str, rules: list[Object], account: str = "dask-sa") -> None:
    """Give a service account exactly these rights in its namespace; it need not exist yet."""
    kube.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}}, namespace)
    role = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": account}, "rules": rules}
    kube.apply(role, namespace)
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": account},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": account},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }
    kube.apply(binding, namespace)
