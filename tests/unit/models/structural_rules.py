"""What Kubernetes demands of a CustomResourceDefinition's schema, written down from its documentation.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema

Json = dict[str, Any]

FORBIDDEN = {
    "$ref",
    "$defs",
    "definitions",
    "dependencies",
    "deprecated",
    "discriminator",
    "id",
    "patternProperties",
    "readOnly",
    "writeOnly",
    "xml",
    "const",
    "exclusiveMinimum",
    "exclusiveMaximum",
}
NOT_IN_ALTERNATIVES = {"description", "type", "default", "additionalProperties", "nullable"}
INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
SCALARS = {"string", "integer", "number", "boolean"}
FORMATS = {"int32", "int64", "float", "double", "date-time", "byte", "date", "duration"}


def violations(schema: Json, path: str = "") -> Iterator[str]:
    """Yield what is against the rules in a schema, each with its place."""
    yield from (f"{path}: {key} is forbidden" for key in sorted(FORBIDDEN & schema.keys()))
    is_free = schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
    if not schema.get("type") and not is_free:
        yield f"{path}: no type"
    if isinstance(schema.get("type"), list):
        yield f"{path}: more than one type"
    if schema.get("uniqueItems"):
        yield f"{path}: uniqueItems"
    if schema.get("format", "int32") not in FORMATS:
        yield f"{path}: unknown format {schema['format']}"
    yield from _alternatives(schema, path)
    yield from _fields(schema, path)
    yield from _lists(schema, path)
    yield from _default(schema, path)
    yield from _pattern(schema, path)


def _alternatives(schema: Json, path: str) -> Iterator[str]:
    for key in ("anyOf", "allOf", "oneOf", "not"):
        if key not in schema:
            continue
        if schema.get("x-kubernetes-int-or-string") and key == "anyOf" and schema[key] == INT_OR_STRING:
            continue
        for option in [schema[key]] if key == "not" else schema[key]:
            for word in NOT_IN_ALTERNATIVES & option.keys():
                yield f"{path}: {word} in {key}"
            for name in option.get("properties", {}):
                if name not in schema.get("properties", {}):
                    yield f"{path}: {name} is only in {key}"


def _fields(schema: Json, path: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    additional = schema.get("additionalProperties")
    if properties and additional is not None:
        yield f"{path}: both properties and additionalProperties"
    if additional is False:
        yield f"{path}: additionalProperties is false"
    if (properties or additional) and schema.get("type") != "object":
        yield f"{path}: fields, but no object"
    for name in schema.get("required", ()):
        if name not in properties:
            yield f"{path}: required {name} is no field"
    if schema.get("x-kubernetes-map-type", "granular") not in ("granular", "atomic"):
        yield f"{path}: unknown map type"
    if "x-kubernetes-map-type" in schema and schema.get("type") != "object":
        yield f"{path}: a map type, but no object"
    for name, inner in properties.items():
        yield from violations(inner, f"{path}.{name}")
    if isinstance(additional, dict):
        yield from violations(additional, f"{path}[*]")


def _lists(schema: Json, path: str) -> Iterator[str]:
    if (schema.get("type") == "array") != ("items" in schema):
        yield f"{path}: array and items belong together"
    if "items" in schema:
        yield from violations(schema["items"], f"{path}[]")
    kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys")
    if kind and schema.get("type") != "array":
        yield f"{path}: a list type, but no array"
    if (kind == "map") != bool(keys):
        yield f"{path}: list-map keys and list type map belong together"
    if kind == "set" and schema["items"].get("type") not in SCALARS:
        yield f"{path}: a set of what is no scalar"
    for key in keys or ():
        items = schema["items"]
        field = items.get("properties", {}).get(key)
        if field is None or field.get("type") not in SCALARS:
            yield f"{path}: list-map key {key} is no scalar field"
        elif key not in items.get("required", ()) and "default" not in field:
            yield f"{path}: list-map key {key} is neither required nor defaulted"


def _default(schema: Json, path: str) -> Iterator[str]:
    if "default" not in schema:
        return
    try:
        jsonschema.validate(schema["default"], schema)
    except jsonschema.ValidationError as error:
        yield f"{path}: default is invalid: {error.message}"
    if isinstance(schema["default"], dict) and not schema["default"].keys() <= schema["properties"].keys():
        yield f"{path}: default is not pruned"


def _pattern(schema: Json, path: str) -> Iterator[str]:
    # RE2 has neither look-around nor references back, nor possessive or atomic groups.
    if re.search(r"\(\?[=!<>]|\\[1-9]|\(\?P=|[*+?]\+", schema.get("pattern", "")):
        yield f"{path}: pattern is not RE2"


def root_violations(schema: Json) -> Iterator[str]:
    """Yield what is against the rules in the schema of a whole object."""
    yield from violations(schema)
    metadata = schema["properties"].get("metadata", {})
    if metadata.keys() - {"type", "properties"} or metadata.get("properties", {}).keys() - {
        "name",
        "generateName",
    }:
        yield "metadata: only name and generateName may be restricted"
    if "default" in schema or "default" in metadata:
        yield "a default at the root or in metadata"


def field_at(schema: Json, path: str) -> Json | None:
    """Return the schema of a field, by a simple JSON path such as ``.spec.worker.replicas``."""
    for name in path.removeprefix(".").split("."):
        inner = schema.get("properties", {}).get(name)
        if inner is None:
            return None
        schema = inner
    return schema
