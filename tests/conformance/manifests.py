"""Small manifests of Kubernetes' own kinds."""

from __future__ import annotations

from typing import Any

from tests.harness.kube import Object


def config_map(name: str, data: dict[str, str] | None = None, **metadata: Any) -> Object:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}
    return manifest if data is None else {**manifest, "data": data}


def secret(name: str, values: dict[str, str] | None = None, **fields: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": values or {},
        **fields,
    }


def service(name: str, selector: dict[str, str] | None = None, *ports: Object, **spec: Any) -> Object:
    spec = {"ports": list(ports) or [{"port": 80}], **spec}
    if selector is not None:
        spec["selector"] = selector
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def waiting_pod(name: str, **spec: Any) -> Object:
    """A pod that no node takes, so that nothing but requests changes it."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "nodeSelector": {"conformance.example.com/no": "node-has-this"},
            "containers": [{"name": "main", "image": "registry.invalid/never:1"}],
            **spec,
        },
    }


def owned_by(*owners: Object, block: bool = False) -> list[Object]:
    """Return owner references to objects."""
    return [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            **({"blockOwnerDeletion": True} if block else {}),
        }
        for owner in owners
    ]


def causes(status: Object) -> dict[str, str]:
    """Return the reason by field of a refusal's causes, without the note that CEL rules went unchecked."""
    told = status.get("details", {}).get("causes", [])
    return {cause["field"]: cause["reason"] for cause in told if cause["field"] != "<nil>"}
