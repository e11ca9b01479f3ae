"""The base of every model: strict types, no unknown fields, rules."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from dask_k8s_models.markers import RULE_BROKEN, Rule, broken


class KubernetesModel(BaseModel):
    """A Kubernetes type: attributes called as in YAML; unknown ones and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _nulls_are_absent(cls, value: Any) -> Any:
        # As the API server does it: an unknown field is a mistake even if it is null.
        if not isinstance(value, dict):
            if not isinstance(value, Mapping):
                return value
            value = dict(value)  # E.g. a view that kopf hands out.
        if None in value.values():
            value = {
                key: item for key, item in value.items() if item is not None or key not in cls.model_fields
            }
        for name in _map_fields(cls):
            items = value.get(name)
            if isinstance(items, dict) and None in items.values():
                value = {**value, name: {key: item for key, item in items.items() if item is not None}}
        return value


@cache
def _map_fields(model: type[BaseModel]) -> tuple[str, ...]:
    """Return the names of the fields that map any keys to values."""
    return tuple(name for name, field in model.model_fields.items() if "dict[" in str(field.annotation))


class RuledModel(KubernetesModel):
    """A type of ours, with rules that span several of its fields."""

    rules: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        described = handler(schema)
        if validations := [rule.as_validation() for rule in cls.rules]:
            handler.resolve_ref_schema(described)["x-kubernetes-validations"] = validations
        return described

    @model_validator(mode="after")
    def _keep_the_rules(self) -> Self:
        if problems := broken(self.rules, self):
            raise ValidationError.from_exception_data(
                type(self).__name__, [_line_error(rule, self) for rule in problems]
            )
        return self

    def broken_since(self, old: Self, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Rule]]:
        """Find the rules about changes, e.g. of immutable fields, that the step from ``old`` breaks.

        Parameters
        ----------
        old : model of the same type
            What was there before.
        path : tuple of str
            Where the two are.

        Returns
        -------
        list of (path, Rule)
            The field that mustn't change so, and the rule.
        """
        problems = [
            ((*path, *rule.field.split(".")), rule)
            for rule in self.rules
            if rule.is_about_changes and not rule.holds(self, old)
        ]
        for name in type(self).model_fields:
            mine, others = getattr(self, name), getattr(old, name)
            if isinstance(mine, RuledModel) and isinstance(others, RuledModel):
                problems += mine.broken_since(others, (*path, name))
        return problems


def _line_error(rule: Rule, model: BaseModel) -> InitErrorDetails:
    location = tuple(rule.field.split(".")) if rule.field else ()
    value: Any = model
    for name in location:
        value = getattr(value, name, None)
    message = rule.message.replace("{", "{{").replace("}", "}}")
    return InitErrorDetails(type=PydanticCustomError(RULE_BROKEN, message), loc=location, input=value)
