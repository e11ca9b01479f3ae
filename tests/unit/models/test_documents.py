"""Models, validator, JSON Schema and the API server's own check agree on every manifest of the table."""

from __future__ import annotations

from functools import cache
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from dask_k8s_models import KINDS, Severity, field_name, problems_of, to_yaml, validate_documents
from dask_k8s_models.json_schema import json_schema
from tests.documents import CASES, Case
from tests.unit.models.api_server import refusal

pytestmark = pytest.mark.parametrize("case", CASES, ids=str)


def names_the_field(field: str, expected: str) -> bool:
    return field == expected or field.endswith("." + expected) or f"{expected}[" in field


def test_model_agrees(case: Case) -> None:
    model = KINDS[case.document["kind"]]
    if case.is_valid:
        model.model_validate(case.document)
        return
    with pytest.raises(ValidationError) as refusal:
        model.model_validate(case.document)
    fields = [field_name(path) for path, _ in problems_of(refusal.value)]
    assert any(names_the_field(field, bracketed(case.field)) for field in fields), refusal.value


def test_validator_agrees_and_names_field_and_line(case: Case) -> None:
    text = to_yaml(case.document)
    errors = [problem for problem in validate_documents(text, "here") if problem.severity is Severity.ERROR]
    assert bool(errors) is not case.is_valid
    for problem in errors:
        assert 1 <= problem.line <= len(text.splitlines())
    if errors:
        assert any(names_the_field(problem.field, bracketed(case.field)) for problem in errors), errors


def test_json_schema_agrees(case: Case) -> None:
    is_valid = json_schema_validator(case.document["kind"]).is_valid(case.document)
    assert is_valid is (case.is_valid or case.is_beyond_json_schema)


def test_api_server_agrees_and_names_the_field(case: Case) -> None:
    error = refusal(case.document)
    assert (error is None) is case.is_valid, error
    if error is not None:
        assert case.words[0] in error.message


@cache
def json_schema_validator(kind: str) -> Any:
    return jsonschema.Draft7Validator(json_schema(KINDS[kind]))


def bracketed(field: str) -> str:
    """Write the indices of a path as Kubernetes does."""
    name = ""
    for part in field.split("."):
        name += f"[{part}]" if part.isdecimal() else f".{part}"
    return name.removeprefix(".")
