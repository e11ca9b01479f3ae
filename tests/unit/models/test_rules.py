"""Each rule says the same twice: in CEL, which the API server evaluates, and in Python."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from cel_expr_python import cel
from pydantic import BaseModel, ValidationError

from dask_k8s_models import KINDS, DaskWorkerGroup
from dask_k8s_models.base import RuledModel
from dask_k8s_models.markers import RULE_BROKEN, Rule, without_nulls
from tests.documents import CASES, Case, changed, group, hold_of_each


def breaks_rules_only(case: Case) -> bool:
    try:
        KINDS[case.document["kind"]].model_validate(case.document)
    except ValidationError as error:
        return all(details["type"] == RULE_BROKEN for details in error.errors())
    return True


RULE_BREAKERS = [case for case in CASES if breaks_rules_only(case)]


@cache
def program(expression: str) -> Any:
    return cel.NewEnv(variables={"self": cel.Type.DYN, "oldSelf": cel.Type.DYN}).compile(expression)


def holds_in_cel(rule: Rule, value: Any, old: Any = None) -> bool:
    result = program(rule.cel).eval(data={"self": value, "oldSelf": old}).value()
    assert isinstance(result, bool), result
    return result


def unchecked(model: type[BaseModel], value: dict[str, Any]) -> BaseModel:
    """Build a model without keeping its rules, to be able to ask each rule."""
    fields = {}
    for name, item in value.items():
        annotation = model.model_fields[name].annotation
        inner = next((t for t in (annotation, *getattr(annotation, "__args__", ())) if is_model(t)), None)
        if inner is None or not isinstance(item, dict):
            fields[name] = item
        else:
            fields[name] = unchecked(inner, item)
    return model.model_construct(**fields)


def is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def ruled(model: BaseModel, value: dict[str, Any]) -> Iterator[tuple[RuledModel, dict[str, Any]]]:
    if isinstance(model, RuledModel):
        yield model, value
    for name in type(model).model_fields:
        inner = getattr(model, name, None)
        if isinstance(inner, BaseModel) and name in value:
            yield from ruled(inner, value[name])


def with_a_name(document: dict[str, Any]) -> dict[str, Any]:
    """As the API server does before it looks at any rule."""
    metadata = document["metadata"]
    name = metadata.get("name") or metadata["generateName"] + "x7k2p"
    return {**document, "metadata": {**metadata, "name": name}}


def test_cel_and_python_agree() -> None:
    def check(case: Case) -> None:
        document = without_nulls(case.document)
        for model, value in ruled(unchecked(KINDS[document["kind"]], document), with_a_name(document)):
            for rule in model.rules:
                if not rule.is_about_changes:
                    assert holds_in_cel(rule, value) is rule.holds(model), rule.message

    hold_of_each(RULE_BREAKERS, check)


def test_the_table_breaks_every_rule() -> None:
    broken = set()
    for case in RULE_BREAKERS:
        document = without_nulls(case.document)
        for model, _ in ruled(unchecked(KINDS[document["kind"]], document), document):
            broken |= {
                rule.message for rule in model.rules if not rule.is_about_changes and not rule.holds(model)
            }
    every = {
        rule.message
        for kind in KINDS.values()
        for model in models_in(kind)
        for rule in model.rules
        if not rule.is_about_changes
    }
    assert broken == every


def models_in(model: type[BaseModel]) -> Iterator[type[RuledModel]]:
    if issubclass(model, RuledModel):
        yield model
    for field in model.model_fields.values():
        for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, RuledModel):
                yield from models_in(inner)


@pytest.mark.parametrize(("cluster", "is_allowed"), [("simple", True), ("other", False)])
def test_a_group_stays_with_its_cluster(cluster: str, is_allowed: bool) -> None:
    old, new = group(), changed(group(), "spec cluster", cluster)
    problems = DaskWorkerGroup.model_validate(new).broken_since(DaskWorkerGroup.model_validate(old))
    assert (problems == []) is is_allowed
    [rule] = [rule for rule in DaskWorkerGroup.model_fields["spec"].annotation.rules if rule.is_about_changes]
    assert holds_in_cel(rule, new["spec"], old["spec"]) is is_allowed
    assert [path for path, _ in problems] == ([] if is_allowed else [("spec", "cluster")])
