"""What server-side apply takes: a configuration of fields that the schema knows, each of the right sort.

https://pkg.go.dev/sigs.k8s.io/structured-merge-diff/v6/typed
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dask_k8s_local.api.patches import field_sets
from dask_k8s_local.api.schema.compiled import Schema, definition

_NUMBERS = ("integer", "number")
_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_GO_TYPES = {str: "string", bool: "bool", dict: "map[string]interface {}", list: "[]interface {}"}


def problems(schema: Schema, value: Any, path: field_sets.Path = ()) -> Iterator[str]:
    """Yield what keeps a configuration from being applied; nothing is wrong with a null."""
    if value is None:
        return
    if told := _mismatch(schema, value):
        yield f"{field_sets.path_text(path)}: {told}"
    elif isinstance(value, dict):
        yield from _map_problems(schema, value, path)
    elif field_sets.is_granular_list(schema):
        yield from _list_problems(schema, value, path)
    elif isinstance(value, list) and schema.items is not None:
        for index, item in enumerate(value):
            yield from problems(schema.items, item, (*path, f"i:{index}"))


def _mismatch(schema: Schema, value: Any) -> str:
    kind = "" if schema.int_or_string or schema.quantity else schema.type
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind in _NUMBERS and not is_number:
        return f"expected numeric (int or float), got {_GO_TYPES[type(value)]}"
    if kind == "string" and not isinstance(value, str):
        return f"expected string, got &value.valueUnstructured{{Value:{_shown(value)}}}"
    if kind == "boolean" and not isinstance(value, bool):
        return f"expected boolean, got &{{{_shown(value)}}}"
    if kind == "array" and not isinstance(value, list):
        return f"expected list, got &{{{_shown(value)}}}"
    if kind == "object" and not isinstance(value, dict):
        return f"expected map, got &{{{_shown(value)}}}"
    return ""


def _map_problems(schema: Schema, value: dict[str, Any], path: field_sets.Path) -> Iterator[str]:
    for key, item in sorted(value.items()):
        below = (*path, f"f:{key}")
        child = definition(_OBJECT_META) if schema.embedded and key == "metadata" else schema.child(key)
        if child is not None:
            yield from problems(child, item, below)
        elif not schema.is_open and not (schema.embedded and key in ("apiVersion", "kind")):
            yield f"{field_sets.path_text(below)}: field not declared in schema"


def _list_problems(schema: Schema, value: list[Any], path: field_sets.Path) -> Iterator[str]:
    assert schema.items is not None
    seen: set[str] = set()
    for index, item in enumerate(value):
        try:
            element = field_sets.item_element(schema, item)
        except ValueError as error:
            yield f"{field_sets.path_text(path)}: element {index}: {error}"
            continue
        if element in seen:
            place, key = field_sets.path_text(path), field_sets.path_text((element,))
            yield f"{place}: duplicate entries for key {key}"
        seen.add(element)
        yield from problems(schema.items, item, (*path, element))


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
