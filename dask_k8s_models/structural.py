"""Turn a model into a structural schema, the only kind of schema that a CustomResourceDefinition takes.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from dask_k8s_models import _kubernetes

Json = dict[str, Any]

NEVER_WRITTEN = frozenset({"managedFields"})
"""What has no place in the templates that we make pods and Services of. It may be nested so deeply that no
controller could read the object, nor any list that has it."""

KEPT = (
    "description",
    "type",
    "format",
    "default",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "pattern",
    "required",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
)
"""Keywords that mean the same in both worlds, in the order in which they are written."""


def structural_schema(model: type[BaseModel]) -> Json:
    """Return a model's structural schema.

    Parameters
    ----------
    model : type of BaseModel
        Any model of this package.

    Returns
    -------
    dict
        The schema, without references, in a stable order.
    """
    schema = model.model_json_schema()
    return _structural(schema, schema.get("$defs", {}))


def _structural(schema: Json, definitions: dict[str, Json]) -> Json:
    schema = _resolved(schema, definitions)
    if "const" in schema:
        schema["enum"] = [schema["const"]]
    if schema.get("default", ...) is None:
        del schema["default"]
    structural = {key: schema[key] for key in KEPT if key in schema}
    if schema.get("x-kubernetes-int-or-string"):
        structural["anyOf"] = schema["anyOf"]
    if "items" in schema:
        structural["items"] = _structural(schema["items"], definitions)
    if properties := schema.get("properties"):
        structural["properties"] = {
            name: _structural(field, definitions) for name, field in properties.items()
        }
    return structural | _additional_properties(schema.get("additionalProperties", False), definitions)


def _additional_properties(additional: bool | Json, definitions: dict[str, Json]) -> Json:
    if additional is True:
        return {"x-kubernetes-preserve-unknown-fields": True}
    # Unknown fields are pruned, or refused, without being forbidden: `false` would be against the rules.
    return {"additionalProperties": _structural(additional, definitions)} if additional else {}


def _resolved(schema: Json, definitions: dict[str, Json]) -> Json:
    """Return a schema in place of a reference or an optional; what stands beside them wins."""
    beside = {key: value for key, value in schema.items() if key not in ("$ref", "anyOf")}
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _resolved(_without_defaults(name, definitions[name]), definitions) | beside
    if alternatives := [option for option in schema.get("anyOf", []) if option.get("type") != "null"]:
        if schema.get("x-kubernetes-int-or-string"):
            return dict(schema)
        [alternative] = alternatives
        return _resolved(alternative, definitions) | beside
    return dict(schema)


def _without_defaults(name: str, schema: Json) -> Json:
    """Leave it to Kubernetes to fill in its own types, in the pods and Services that are made of them."""
    if not hasattr(_kubernetes, name):
        return schema
    properties = {
        field: {key: value for key, value in inner.items() if key != "default"}
        for field, inner in schema.get("properties", {}).items()
        if field not in NEVER_WRITTEN
    }
    return schema | ({"properties": properties} if properties else {})
