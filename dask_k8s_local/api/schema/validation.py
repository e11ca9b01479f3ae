"""Is a value what its schema allows? Causes are worded as the API server words them for custom resources."""

from __future__ import annotations

import json
from typing import Any

from dask_k8s_local.api import errors
from dask_k8s_local.api.errors import Cause
from dask_k8s_local.api.schema.compiled import MISSING, Schema
from dask_k8s_local.api.schema.formats import is_of_format
from dask_k8s_local.quantity import QUANTITY_DETAIL, is_quantity


def validate(schema: Schema, value: Any, path: str = "", *, old: Any = MISSING) -> list[Cause]:
    """Return all that is wrong with a value.

    What is as it was before is not looked at again, so that objects may outlive a stricter schema:
    https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-ratcheting
    """
    causes: list[Cause] = []
    _validate(schema, value, path, causes, old)
    return causes


def _validate(schema: Schema, value: Any, path: str, causes: list[Cause], old: Any = MISSING) -> None:
    if value is None and schema.nullable:
        return
    if old is not MISSING and value == old:
        return
    if schema.quantity and not is_quantity(value):
        causes.append(errors.type_invalid(path, value, QUANTITY_DETAIL))
        return
    if not _type_matches(schema, value):
        wanted = "integer,string" if schema.int_or_string else schema.type
        actual = type_name(value)
        causes.append(
            errors.type_invalid(path, actual, f'{_subject(path)} must be of type {wanted}: "{actual}"')
        )
        return
    if schema.enum is not None and value not in schema.enum:
        causes.append(errors.not_supported(path, value, schema.enum))
    if isinstance(value, dict):
        _validate_map(schema, value, path, causes, old if isinstance(old, dict) else {})
    elif isinstance(value, list):
        _validate_list(schema, value, path, causes, old if isinstance(old, list) else [])
    elif isinstance(value, str):
        _validate_string(schema, value, path, causes)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        _validate_number(schema, value, path, causes)
    if schema.all_of or schema.any_of or schema.one_of or schema.not_ is not None:
        _validate_combinations(schema, value, path, causes)


_TYPE_NAMES = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


def type_name(value: Any) -> str:
    """Return the JSON type of a value; a whole number counts as integer however it is written."""
    if isinstance(value, float) and value.is_integer():
        return "integer"
    return _TYPE_NAMES[type(value)]


def _type_matches(schema: Schema, value: Any) -> bool:
    wanted = schema.type
    actual = _TYPE_NAMES[type(value)]
    if actual == wanted and not schema.int_or_string:
        return True
    if schema.int_or_string:
        return type_name(value) in ("integer", "string")
    return not wanted or (wanted in ("number", "integer") and type_name(value) in (wanted, "integer"))


def _subject(path: str) -> str:
    return f"{path} in body" if path else "in body"


def _validate_map(
    schema: Schema, value: dict[str, Any], path: str, causes: list[Cause], old: dict[str, Any]
) -> None:
    if schema.required:
        causes.extend(errors.required(_join(path, key)) for key in schema.required if key not in value)
    count = len(value)
    if schema.max_properties is not None and count > schema.max_properties:
        causes.append(errors.too_many(path, count, schema.max_properties))
    if schema.min_properties is not None and count < schema.min_properties:
        detail = f"{_subject(path)} should have at least {schema.min_properties} properties"
        causes.append(errors.invalid_value(path, value, detail))
    properties = schema.properties
    additional = schema.additional if isinstance(schema.additional, Schema) else None
    for key, item in value.items():
        child = properties.get(key, additional)
        if child is not None:
            _validate(child, item, _join(path, key), causes, old.get(key, MISSING))


def _validate_list(schema: Schema, value: list[Any], path: str, causes: list[Cause], old: list[Any]) -> None:
    count = len(value)
    if schema.max_items is not None and count > schema.max_items:
        causes.append(errors.too_many(path, count, schema.max_items))
    if schema.min_items is not None and count < schema.min_items:
        detail = f"{_subject(path)} should have at least {schema.min_items} items"
        causes.append(errors.invalid_value(path, count, detail))
    if schema.items is not None:
        before = {_identity(schema, item): item for item in old} if schema.list_type == "map" else {}
        for index, item in enumerate(value):
            unchanged = before.get(_identity(schema, item), MISSING) if before else MISSING
            _validate(schema.items, item, f"{path}[{index}]", causes, unchanged)
    if schema.list_type in ("set", "map"):
        _validate_unique(schema, value, path, causes)


def _validate_unique(schema: Schema, value: list[Any], path: str, causes: list[Cause]) -> None:
    seen: set[Any] = set()
    for index, item in enumerate(value):
        token = _identity(schema, item)
        if token in seen:
            told = {key: item[key] for key in schema.list_keys if key in item} if schema.list_keys else item
            causes.append(errors.duplicate(f"{path}[{index}]", told))
        seen.add(token)


def _identity(schema: Schema, item: Any) -> Any:
    """Return what tells an item of a keyed list, or of a set, from the others."""
    if schema.list_type == "map" and isinstance(item, dict):
        item = tuple(item.get(key) for key in schema.list_keys)
    try:
        hash(item)
    except TypeError:
        return json.dumps(item, sort_keys=True)
    return item


def _validate_string(schema: Schema, value: str, path: str, causes: list[Cause]) -> None:
    if schema.max_length is not None and len(value) > schema.max_length:
        causes.append(errors.too_long(path, schema.max_length))
    if schema.min_length is not None and len(value) < schema.min_length:
        detail = f"{_subject(path)} should be at least {schema.min_length} chars long"
        causes.append(errors.invalid_value(path, value, detail))
    if schema.pattern is not None and schema.pattern.search(value) is None:
        detail = f"{_subject(path)} should match '{schema.pattern.pattern}'"
        causes.append(errors.invalid_value(path, value, detail))
    if schema.format and not is_of_format(schema.format, value):
        detail = f"{_subject(path)} must be of type {schema.format}: {errors.show(value)}"
        causes.append(errors.type_invalid(path, value, detail))


def _validate_number(schema: Schema, value: float, path: str, causes: list[Cause]) -> None:
    minimum, maximum = schema.minimum, schema.maximum
    detail = ""
    if minimum is not None and (value <= minimum if schema.exclusive_minimum else value < minimum):
        word = "greater than" if schema.exclusive_minimum else "greater than or equal to"
        detail = f"should be {word} {minimum}"
    elif maximum is not None and (value >= maximum if schema.exclusive_maximum else value > maximum):
        word = "less than" if schema.exclusive_maximum else "less than or equal to"
        detail = f"should be {word} {maximum}"
    elif schema.multiple_of and value % schema.multiple_of:
        detail = f"should be a multiple of {schema.multiple_of}"
    if detail:
        causes.append(errors.invalid_value(path, value, f"{_subject(path)} {detail}"))


def _validate_combinations(schema: Schema, value: Any, path: str, causes: list[Cause]) -> None:
    for one in schema.all_of:
        _validate(one, value, path, causes)
    if schema.any_of and all(validate(one, value, path) for one in schema.any_of):
        detail = f'"{path}" must validate at least one schema (anyOf)'
        causes.append(errors.invalid_value(path, value, detail))
    if schema.one_of:
        valid = sum(not validate(one, value, path) for one in schema.one_of)
        if valid != 1:
            found = "Found none valid" if valid == 0 else f"Found {valid} valid alternatives"
            detail = f'"{path}" must validate one and only one schema (oneOf). {found}'
            causes.append(errors.invalid_value(path, value, detail))
    if schema.not_ is not None and not validate(schema.not_, value, path):
        causes.append(errors.invalid_value(path, value, f'"{path}" must not validate the schema (not)'))


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
