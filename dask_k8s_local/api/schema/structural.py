"""Is a CRD's schema structural, as Kubernetes demands it?

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dask_k8s_local.api import errors
from dask_k8s_local.api.errors import Cause
from dask_k8s_local.api.schema.compiled import compile_schema
from dask_k8s_local.api.schema.decode import decode
from dask_k8s_local.api.schema.validation import validate

_TYPES = ("object", "array", "string", "integer", "number", "boolean")
_UNSUPPORTED = {
    "$ref": "$ref is not supported",
    "definitions": "definitions is not supported",
    "dependencies": "dependencies is not supported",
    "patternProperties": "patternProperties is not supported",
    "additionalItems": "additionalItems is not supported",
    "$schema": "$schema is not supported",
    "id": "id is not supported",
}
_NOT_IN_JUNCTORS = (
    "type",
    "description",
    "title",
    "default",
    "nullable",
    "additionalProperties",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
)
_JUNCTORS = ("allOf", "anyOf", "oneOf")
_BEYOND_RE2 = re.compile(r"(?<!\\)(?:\\\\)*(\(\?(?:[=!>]|<[=!])|\\[1-9])")
"""Lookarounds and back references, which the regular expressions of Go don't have."""
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]


def problems(schema: Mapping[str, Any], path: str) -> list[Cause]:
    """Return all that keeps a schema from being accepted."""
    found = list(_root(schema, path))
    found += _node(schema, path, is_root=True)
    return found


def _root(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    kind = schema.get("type")
    if not kind:
        yield errors.required(f"{path}.type", "must not be empty at the root")
    elif kind != "object":
        yield errors.invalid_value(f"{path}.type", kind, "must be object at the root")
    if schema.get("nullable"):
        yield errors.forbidden_field(f"{path}.nullable", "nullable cannot be true at the root")
    own = (schema.get("properties") or {}).get("metadata") or {}
    extra = own.keys() - {"type", "description", "properties"}
    more = (own.get("properties") or {}).keys() - {"name", "generateName"}
    if extra or more:
        yield errors.forbidden_field(
            f"{path}.properties[metadata]",
            "must not specify anything other than name and generateName, "
            "but metadata is implicitly specified",
        )


def _node(schema: Mapping[str, Any], path: str, *, is_root: bool = False) -> Iterator[Cause]:
    kind = schema.get("type")
    int_or_string = schema.get("x-kubernetes-int-or-string")
    for key, detail in _UNSUPPORTED.items():
        if key in schema:
            yield errors.forbidden_field(f"{path}.{key}", detail)
    if kind and kind not in _TYPES:
        yield errors.not_supported(f"{path}.type", kind, _TYPES)
    if (
        not kind
        and not is_root
        and not int_or_string
        and not schema.get("x-kubernetes-preserve-unknown-fields")
    ):
        what = "array items" if path.endswith(".items") else "object fields"
        yield errors.required(f"{path}.type", f"must not be empty for specified {what}")
    if kind == "array" and not isinstance(schema.get("items"), Mapping):
        yield errors.required(f"{path}.items", "must be specified")
    if schema.get("uniqueItems"):
        yield errors.forbidden_field(
            f"{path}.uniqueItems",
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        )
    if schema.get("properties") and schema.get("additionalProperties") is not None:
        yield errors.forbidden_field(
            f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive"
        )
    yield from _extensions(schema, path)
    yield from _pattern(schema, path)
    yield from _list(schema, path)
    yield from _default(schema, path)
    for junctor in _JUNCTORS:
        for index, one in enumerate(schema.get(junctor) or ()):
            yield from _junctor(one, schema, f"{path}.{junctor}[{index}]")
    if schema.get("not"):
        yield from _junctor(schema["not"], schema, f"{path}.not")
    for name, child in (schema.get("properties") or {}).items():
        if not (is_root and name in ("metadata", "apiVersion", "kind")):
            yield from _node(child, f"{path}.properties[{name}]")
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield from _node(schema["additionalProperties"], f"{path}.additionalProperties")
    if isinstance(schema.get("items"), Mapping):
        yield from _node(schema["items"], f"{path}.items")


def _extensions(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    preserves = schema.get("x-kubernetes-preserve-unknown-fields")
    if preserves is False:
        place = f"{path}.x-kubernetes-preserve-unknown-fields"
        yield errors.invalid_value(place, False, "must be true or undefined")
    if schema.get("x-kubernetes-embedded-resource") and not preserves and not schema.get("properties"):
        yield errors.required(
            f"{path}.properties",
            "must not be empty if x-kubernetes-embedded-resource is true "
            "without x-kubernetes-preserve-unknown-fields",
        )


def _pattern(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    pattern = schema.get("pattern")
    if pattern:
        try:
            re.compile(pattern)
            if beyond := _BEYOND_RE2.search(pattern):
                raise re.error(f"invalid or unsupported Perl syntax: `{beyond[1]}`")
        except re.error as error:
            detail = f"must be a valid regular expression, but isn't: {error}"
            yield errors.invalid_value(f"{path}.pattern", pattern, detail)


def _list(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    list_type, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys")
    if list_type is None:
        if keys:
            yield errors.invalid_value(
                f"{path}.x-kubernetes-list-type", "", "must be map if x-kubernetes-list-map-keys is non-empty"
            )
        return
    if list_type not in ("atomic", "set", "map"):
        yield errors.not_supported(f"{path}.x-kubernetes-list-type", list_type, ("atomic", "set", "map"))
    if schema.get("type") != "array":
        yield errors.invalid_value(
            f"{path}.type", schema.get("type", ""), "must be array if x-kubernetes-list-type is specified"
        )
    items = schema.get("items") or {}
    if list_type == "set" and items.get("type") in ("object", "array"):
        key, given = (
            ("x-kubernetes-map-type", items.get("x-kubernetes-map-type"))
            if items["type"] == "object"
            else ("x-kubernetes-list-type", items.get("x-kubernetes-list-type"))
        )
        if given != "atomic" and not (key == "x-kubernetes-list-type" and given is None):
            shown = "null" if given is None else errors.show(given)
            detail = "must be atomic as item of a list with x-kubernetes-list-type=set"
            yield Cause("FieldValueInvalid", f"{path}.items.{key}", f"Invalid value: {shown}: {detail}")
    if list_type != "map":
        return
    if not keys:
        yield errors.required(
            f"{path}.x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map"
        )
    for index, key in enumerate(keys or ()):
        child = (items.get("properties") or {}).get(key)
        if child is None:
            yield errors.invalid_value(
                f"{path}.x-kubernetes-list-map-keys[{index}]",
                key,
                "entries must all be names of item properties",
            )
        elif child.get("default") is None and key not in (items.get("required") or ()):
            yield errors.required(
                f"{path}.items.properties[{key}].default",
                "this property is in x-kubernetes-list-map-keys, "
                "so it must have a default or be a required property",
            )


def _default(schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    default = schema.get("default")
    if default is None:
        return
    compiled = compile_schema({key: value for key, value in schema.items() if key != "default"})
    unknown: list[str] = []
    decode(compiled, default, unknown)
    if unknown:
        yield errors.invalid_value(f"{path}.default", default, "must not have unknown fields")
    yield from validate(compiled, default, f"{path}.default")


def _junctor(schema: Mapping[str, Any], parent: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """What stands below anyOf and its like may only restrict what the parent declares."""
    is_int_or_string = parent.get("x-kubernetes-int-or-string") and (
        parent.get("anyOf") == _INT_OR_STRING
        or any(one.get("anyOf") == _INT_OR_STRING for one in parent.get("allOf") or ())
    )
    for key in _NOT_IN_JUNCTORS:
        if schema.get(key) and not (key == "type" and is_int_or_string):
            yield errors.forbidden_field(f"{path}.{key}", "must be empty to be structural")
    declared = parent.get("properties") or {}
    for name, child in (schema.get("properties") or {}).items():
        if name not in declared and name != "metadata":
            yield errors.required(
                f"{path.rpartition('.')[0]}.properties[{name}]",
                f"because it is defined in {path}.properties[{name}]",
            )
        yield from _junctor(child, declared.get(name) or {}, f"{path}.properties[{name}]")
    if isinstance(schema.get("items"), Mapping):
        yield from _junctor(schema["items"], parent.get("items") or {}, f"{path}.items")
    for junctor in _JUNCTORS:
        for index, one in enumerate(schema.get(junctor) or ()):
            yield from _junctor(one, parent, f"{path}.{junctor}[{index}]")
    if schema.get("not"):
        yield from _junctor(schema["not"], parent, f"{path}.not")
