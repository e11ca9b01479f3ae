"""A schema compiled once, from a CRD or from Kubernetes' own definitions, and walked for everything else.

Decoding (unknown fields, nulls, defaults), validation, strategic merge and field ownership walk these nodes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from dask_k8s_local.interfaces import Object

MISSING = object()


class Schema:
    """One node: what a value may be, and how lists and maps merge."""

    __slots__ = (
        "additional",
        "all_of",
        "any_of",
        "default",
        "defaults",
        "embedded",
        "enum",
        "exclusive_maximum",
        "exclusive_minimum",
        "format",
        "int_or_string",
        "is_custom",
        "items",
        "list_keys",
        "list_type",
        "map_type",
        "max_items",
        "max_length",
        "max_properties",
        "maximum",
        "merge_key",
        "min_items",
        "min_length",
        "min_properties",
        "minimum",
        "multiple_of",
        "not_",
        "nullable",
        "omits_empty",
        "one_of",
        "patch_strategies",
        "pattern",
        "preserve",
        "properties",
        "quantity",
        "required",
        "rules",
        "source",
        "type",
    )

    def __init__(self) -> None:
        self.is_custom = False
        self.type = ""
        self.source: Object = {}
        self.properties: dict[str, Schema] = {}
        self.additional: Schema | bool | None = None
        self.items: Schema | None = None
        self.required: tuple[str, ...] = ()
        self.nullable = False
        self.default: Any = MISSING
        self.defaults: list[tuple[str, Schema]] = []
        self.enum: list[Any] | None = None
        self.format = ""
        self.pattern: re.Pattern[str] | None = None
        self.minimum: float | None = None
        self.maximum: float | None = None
        self.exclusive_minimum = False
        self.exclusive_maximum = False
        self.multiple_of: float | None = None
        self.min_length: int | None = None
        self.max_length: int | None = None
        self.min_items: int | None = None
        self.max_items: int | None = None
        self.min_properties: int | None = None
        self.max_properties: int | None = None
        self.all_of: list[Schema] = []
        self.any_of: list[Schema] = []
        self.one_of: list[Schema] = []
        self.not_: Schema | None = None
        self.int_or_string = False
        self.quantity = False
        self.preserve = False
        self.embedded = False
        self.list_type = ""
        self.list_keys: tuple[str, ...] = ()
        self.map_type = ""
        self.merge_key = ""
        self.patch_strategies: frozenset[str] = frozenset()
        self.rules: list[Object] = []
        self.omits_empty = False

    def child(self, key: str) -> Schema | None:
        """Return the schema of a field or of a map's value; None if nothing is known about it."""
        found = self.properties.get(key)
        if found is None and isinstance(self.additional, Schema):
            return self.additional
        return found

    @property
    def has_default(self) -> bool:
        return self.default is not MISSING

    @property
    def is_open(self) -> bool:
        """Whether fields that the schema doesn't name are kept."""
        return self.preserve or self.additional is True or (not self.type and not self.properties)


ANYTHING = Schema()
ANYTHING.preserve = True

_NUMBERS = {
    "minimum": "minimum",
    "maximum": "maximum",
    "multipleOf": "multiple_of",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_items",
    "maxItems": "max_items",
    "minProperties": "min_properties",
    "maxProperties": "max_properties",
}


def compile_schema(source: Mapping[str, Any]) -> Schema:
    """Compile a CRD's ``openAPIV3Schema`` or a part of it."""
    schema = Schema()
    _fill(schema, source, compile_schema)
    return schema


def _fill(schema: Schema, source: Mapping[str, Any], compiled: Any) -> None:
    schema.source = dict(source)
    schema.type = source.get("type") or ""
    schema.nullable = bool(source.get("nullable"))
    schema.properties = {name: compiled(one) for name, one in (source.get("properties") or {}).items()}
    additional = source.get("additionalProperties")
    schema.additional = compiled(additional) if isinstance(additional, Mapping) else additional
    schema.items = compiled(source["items"]) if isinstance(source.get("items"), Mapping) else None
    schema.required = tuple(source.get("required") or ())
    if source.get("default") is not None:
        schema.default = source["default"]
    schema.defaults = [(name, one) for name, one in schema.properties.items() if one.default is not MISSING]
    schema.enum = source.get("enum")
    schema.format = source.get("format") or ""
    schema.pattern = re.compile(source["pattern"]) if source.get("pattern") else None
    schema.exclusive_minimum = bool(source.get("exclusiveMinimum"))
    schema.exclusive_maximum = bool(source.get("exclusiveMaximum"))
    for name, attribute in _NUMBERS.items():
        setattr(schema, attribute, source.get(name))
    schema.all_of = [compiled(one) for one in source.get("allOf") or ()]
    schema.any_of = [compiled(one) for one in source.get("anyOf") or ()]
    schema.one_of = [compiled(one) for one in source.get("oneOf") or ()]
    schema.not_ = compiled(source["not"]) if source.get("not") else None
    schema.int_or_string = bool(source.get("x-kubernetes-int-or-string"))
    schema.preserve = bool(source.get("x-kubernetes-preserve-unknown-fields"))
    schema.embedded = bool(source.get("x-kubernetes-embedded-resource"))
    schema.list_type = source.get("x-kubernetes-list-type") or ""
    schema.list_keys = tuple(source.get("x-kubernetes-list-map-keys") or ())
    schema.map_type = source.get("x-kubernetes-map-type") or ""
    schema.merge_key = source.get("x-kubernetes-patch-merge-key") or ""
    schema.patch_strategies = frozenset((source.get("x-kubernetes-patch-strategy") or "").split(",")) - {""}
    schema.rules = source.get("x-kubernetes-validations") or []


@cache
def definitions() -> dict[str, Any]:
    """Return Kubernetes' own definitions as they are shipped, by their OpenAPI name."""
    text = files(__package__).joinpath("definitions.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@cache
def definition(name: str) -> Schema:
    """Compile one of Kubernetes' own definitions; definitions may refer to each other in circles."""
    return _defined(name, _COMPILED)


_COMPILED: dict[str, Schema] = {}
_REF = "#/definitions/"


def _defined(name: str, known: dict[str, Schema]) -> Schema:
    schema = known.get(name)
    if schema is None:
        schema = known[name] = Schema()
        _fill(schema, definitions()[name], _with_references)
        short = name.rpartition(".")[2]
        if short in ("Quantity", "IntOrString"):
            schema.one_of = []  # The check of their own says it better.
            schema.quantity, schema.int_or_string = short == "Quantity", short == "IntOrString"
        elif short in ("RawExtension", "FieldsV1", "JSON"):
            schema.preserve = True
    return schema


def _with_references(source: Mapping[str, Any]) -> Schema:
    reference = source.get("$ref")
    if reference is None:
        schema = Schema()
        _fill(schema, source, _with_references)
        schema.omits_empty = schema.type == "array" or isinstance(schema.additional, Schema)
        return schema
    target = _defined(reference.removeprefix(_REF), _COMPILED)
    merging = {key: value for key, value in source.items() if key.startswith("x-kubernetes-")}
    if not merging:
        return target
    schema = Schema()
    for slot in Schema.__slots__:
        setattr(schema, slot, getattr(target, slot))
    schema.map_type = merging.get("x-kubernetes-map-type") or schema.map_type
    strategy = merging.get("x-kubernetes-patch-strategy") or ""
    schema.patch_strategies = frozenset(strategy.split(",")) - {""}
    return schema
