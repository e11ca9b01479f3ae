"""What stands beside a field: markers that check in Python and tell the API server to check the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

RULE_BROKEN = "rule"
"""Type of the errors, in pydantic's sense, that a `Rule` gives."""


@dataclass(frozen=True)
class Rule:
    """One rule, twice: as a CEL expression for the API server and as a Python function for everybody else.

    Parameters
    ----------
    cel : str
        The expression, over ``self`` and, if it is about changes, ``oldSelf``:
        https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
    message : str
        What is wrong, with the field's name and the remedy.
    holds : callable
        The same in Python, called with the model that carries the rule. For a rule about changes it is
        called with the new and the old one.
    field : str
        Dotted path, from ``self``, of the field that the problem belongs to.
    """

    cel: str
    message: str
    holds: Callable[..., bool]
    field: str = ""

    @property
    def is_about_changes(self) -> bool:
        """Whether the rule compares an object with what it was before."""
        return "oldSelf" in self.cel

    def as_validation(self) -> dict[str, Any]:
        """Return the rule as an item of ``x-kubernetes-validations``."""
        validation = {"rule": self.cel, "message": self.message}
        # The API server refuses a fieldPath into metadata: the message has to name it.
        if self.field and not self.field.startswith("metadata"):
            validation["fieldPath"] = "." + self.field
        return validation


class SchemaExtra:
    """Base of the markers that do no more than adding keys to a field's schema."""

    def schema_extra(self) -> dict[str, Any]:
        """Return the keys to add."""
        raise NotImplementedError

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(schema) | self.schema_extra()


@dataclass(frozen=True, init=False)
class ListMap(SchemaExtra):
    """A list whose items are told apart by some of their fields, as server-side apply merges them.

    https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy
    """

    keys: tuple[str, ...]

    def __init__(self, *keys: str) -> None:
        object.__setattr__(self, "keys", keys)

    def schema_extra(self) -> dict[str, Any]:
        """Return the list type and its keys."""
        return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(self.keys)}

    def identity(self, item: Any) -> tuple[Any, ...]:
        """Return what tells an item from the others."""
        return tuple(getattr(item, key) for key in self.keys)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def refuse_duplicates(items: list[Any] | None) -> list[Any] | None:
            if items:
                _refuse_duplicates([self.identity(item) for item in items], self.keys)
            return items

        return core_schema.no_info_after_validator_function(refuse_duplicates, handler(source))


@dataclass(frozen=True)
class ListSet(SchemaExtra):
    """A list of scalars that are all different."""

    def schema_extra(self) -> dict[str, Any]:
        """Return the list type."""
        return {"x-kubernetes-list-type": "set"}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def refuse_duplicates(items: list[Any] | None) -> list[Any] | None:
            if items:
                _refuse_duplicates([(item,) for item in items], ("item",))
            return items

        return core_schema.no_info_after_validator_function(refuse_duplicates, handler(source))


def _refuse_duplicates(identities: list[tuple[Any, ...]], keys: tuple[str, ...]) -> None:
    if len(set(identities)) == len(identities):
        return
    index = next(i for i, identity in enumerate(identities) if identity in identities[:i])
    identity = json.dumps(dict(zip(keys, identities[index], strict=True)), default=str)
    raise PydanticCustomError(
        "duplicate", "Duplicate value at index {index}: {identity}", {"index": index, "identity": identity}
    )


@dataclass(frozen=True)
class AtomicMap(SchemaExtra):
    """A mapping that server-side apply replaces as a whole."""

    def schema_extra(self) -> dict[str, Any]:
        """Return the map type."""
        return {"x-kubernetes-map-type": "atomic"}


def broken(rules: tuple[Rule, ...], model: BaseModel) -> list[Rule]:
    """Select the rules, of those that aren't about changes, that a model breaks."""
    return [rule for rule in rules if not rule.is_about_changes and not rule.holds(model)]


def without_nulls(value: Any) -> Any:
    """Return JSON without the nulls in its mappings: to Kubernetes they mean absent."""
    if isinstance(value, Mapping):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [without_nulls(item) for item in value]
    return value
