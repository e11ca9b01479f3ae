"""Two custom resources: one with a schema and subresources, one that takes anything."""

from __future__ import annotations

from typing import Any

from tests.harness.kube import Object

GROUP = "conformance.example.com"
GADGETS = f"gadgets.{GROUP}"
PLAINS = f"plains.{GROUP}"


def crd(
    plural: str, kind: str, schema: Object, *, group: str = GROUP, names: Object | None = None, **version: Any
) -> Object:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "plural": plural,
                "singular": kind.lower(),
                "kind": kind,
                "listKind": f"{kind}List",
                **(names or {}),
            },
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    **version,
                }
            ],
        },
    }


def an_object(**properties: Any) -> Object:
    return {"type": "object", "properties": properties}


STRING: Object = {"type": "string"}
INTEGER: Object = {"type": "integer"}

GADGET_SPEC: Object = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "string", "enum": ["S", "M", "L"], "description": "How large the gadget is."},
        "replicas": {"type": "integer", "minimum": 0, "maximum": 10, "default": 1},
        "code": {"type": "string", "pattern": "^[a-z]+$", "minLength": 2, "maxLength": 5},
        "ratio": {"type": "number"},
        "enabled": {"type": "boolean"},
        "when": {"type": "string", "format": "date-time"},
        "limit": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        "numbers": {"type": "array", "items": INTEGER, "maxItems": 3},
        "tags": {
            "type": "array",
            "maxItems": 16,
            "items": {"type": "string", "maxLength": 32},
            "x-kubernetes-list-type": "set",
        },
        "ports": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": STRING,
                    "number": INTEGER,
                    "protocol": {"type": "string", "default": "TCP"},
                },
            },
        },
        "labels": {"type": "object", "additionalProperties": STRING},
        "address": {
            "type": "object",
            "x-kubernetes-map-type": "atomic",
            "properties": {"host": STRING, "port": INTEGER},
        },
        "optional": an_object(depth={"type": "integer", "default": 7}),
        "options": {**an_object(depth={"type": "integer", "default": 7}), "default": {}},
        "anything": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "kept": {"type": "string", "nullable": True},
        "renewed": {"type": "string", "default": "new"},
        "dropped": STRING,
        "forever": {
            "type": "string",
            "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "forever is forever"}],
        },
        "low": INTEGER,
        "high": INTEGER,
        "even": {
            "type": "integer",
            "x-kubernetes-validations": [
                {
                    "rule": "self % 2 == 0",
                    "messageExpression": "'%d is odd'.format([self])",
                    "reason": "FieldValueForbidden",
                }
            ],
        },
    },
    "x-kubernetes-validations": [
        {
            "rule": "!has(self.low) || !has(self.high) || self.low <= self.high",
            "message": "low may not exceed high",
            "fieldPath": ".low",
        },
        {"rule": "!has(oldSelf.code) || has(self.code)", "message": "code can't be removed"},
        {
            "rule": "!has(self.tags) || self.tags.all(tag, tag.size() <= 8)",
            "message": "a tag has at most 8 characters",
        },
    ],
}


def gadget_crd() -> Object:
    schema = an_object(
        spec=GADGET_SPEC,
        status=an_object(
            phase=STRING,
            replicas=INTEGER,
            selector=STRING,
            observedGeneration={"type": "integer", "format": "int64"},
        ),
    )
    schema["required"] = ["spec"]
    schema["x-kubernetes-validations"] = [
        {"rule": "self.metadata.name.size() <= 30", "message": "metadata.name has at most 30 characters"}
    ]
    return crd(
        "gadgets",
        "Gadget",
        schema,
        names={"shortNames": ["gad"], "categories": ["conformance"]},
        subresources={
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        additionalPrinterColumns=[
            {"name": "Size", "type": "string", "jsonPath": ".spec.size", "description": "How large it is"},
            {"name": "Desired", "type": "integer", "jsonPath": ".spec.replicas"},
            {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
            {"name": "Code", "type": "string", "jsonPath": ".spec.code", "priority": 1},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ],
    )


def plain_crd() -> Object:
    return crd("plains", "Plain", {"type": "object", "x-kubernetes-preserve-unknown-fields": True})


def gadget(name: str, metadata: Object | None = None, **spec: Any) -> Object:
    spec = {"size": "M", **spec}
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Gadget",
        "metadata": {"name": name, **(metadata or {})},
        "spec": spec,
    }


def plain(name: str, **fields: Any) -> Object:
    return {"apiVersion": f"{GROUP}/v1", "kind": "Plain", "metadata": {"name": name}, **fields}
