"""What every pod is given at its creation: its service account's token, and patience with lost nodes."""

from __future__ import annotations

from dask_k8s_local.api.kinds.pod_spec import containers
from dask_k8s_local.api.meta import names
from dask_k8s_local.interfaces import Object

TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_TOKEN_SECONDS = 3607
_PATIENCE_SECONDS = 300
_LOST_NODE = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def mount_token(spec: Object) -> None:
    """Mount the service account's token, the certificate authority and the namespace in every container.

    https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-token-volume
    """
    without = [
        container
        for container in containers(spec)
        if all(mount.get("mountPath") != TOKEN_PATH for mount in container.get("volumeMounts") or ())
    ]
    if not without:
        return
    volume = names.generated("kube-api-access-")
    sources = [
        {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {
            "downwardAPI": {
                "items": [
                    {
                        "path": "namespace",
                        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                    }
                ]
            }
        },
    ]
    spec.setdefault("volumes", []).append(
        {"name": volume, "projected": {"defaultMode": 0o644, "sources": sources}}
    )
    for container in without:
        mount = {"name": volume, "readOnly": True, "mountPath": TOKEN_PATH}
        container.setdefault("volumeMounts", []).append(mount)


def tolerate_lost_nodes(spec: Object) -> None:
    """Let a pod stay for a while on a node that doesn't answer.

    https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-based-evictions
    """
    tolerations = spec.get("tolerations") or []
    missing = [
        key
        for key in _LOST_NODE
        if not any(
            one.get("key") in (None, "", key) and one.get("effect") in (None, "", "NoExecute")
            for one in tolerations
        )
    ]
    if missing:
        spec["tolerations"] = [
            *tolerations,
            *(
                {
                    "key": key,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": _PATIENCE_SECONDS,
                }
                for key in missing
            ),
        ]
