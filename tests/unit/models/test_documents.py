"""Models, validator, JSON Schema and the API server's own check agree on every manifest of the table."""

from __future__ import annotations

from functools import cache
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from dask_k8s_models import KINDS, Problem, Severity, field_name, problems_of, to_yaml, validate_documents
from dask_k8s_models.json_schema import json_schema
from dask_k8s_models.markers import without_nulls
from tests.documents import CASES, METADATA_CASES, Case, hold_of_each
from tests.unit.models.api_server import refusal


def names_the_field(field: str, expected: str) -> bool:
    return field == expected or field.endswith("." + expected) or f"{expected}[" in field


def test_models_agree_and_name_the_field() -> None:
    def check(case: Case) -> None:
        model = KINDS[case.document["kind"]]
        if case.is_valid:
            assert model.model_validate(case.document).to_dict() == without_nulls(case.document)
            return
        with pytest.raises(ValidationError) as refusal:
            model.model_validate(case.document)
        fields = [field_name(path) for path, _ in problems_of(refusal.value)]
        assert any(names_the_field(field, bracketed(case.field)) for field in fields), refusal.value

    hold_of_each(CASES, check)


def test_the_validator_agrees_and_names_field_and_line() -> None:
    def check(case: Case) -> None:
        text = to_yaml(case.document)
        errors = errors_in(text)
        assert bool(errors) is not case.is_valid
        for problem in errors:
            assert 1 <= problem.line <= len(text.splitlines())
        if errors:
            assert any(names_the_field(problem.field, bracketed(case.field)) for problem in errors), errors

    hold_of_each(CASES, check)


def test_the_json_schema_agrees() -> None:
    def check(case: Case) -> None:
        is_valid = json_schema_validator(case.document["kind"]).is_valid(case.document)
        assert is_valid is (case.is_valid or case.is_beyond_json_schema)

    hold_of_each(CASES, check)


def test_the_api_server_agrees_and_names_the_field() -> None:
    def check(case: Case) -> None:
        error = refusal(case.document)
        assert (error is None) is case.is_valid, error
        if error is not None:
            assert case.words[0] in error.message

    hold_of_each(CASES, check)


def test_the_validator_judges_metadata_and_status_as_the_api_server_does() -> None:
    def check(case: Case) -> None:
        errors = errors_in(to_yaml(case.document))
        assert bool(errors) is (refusal(case.document) is not None) is not case.is_valid
        assert all(problem.field.startswith(("metadata.", "status.")) for problem in errors)

    hold_of_each(METADATA_CASES, check)


def errors_in(text: str) -> list[Problem]:
    return [problem for problem in validate_documents(text, "here") if problem.severity is Severity.ERROR]


@cache
def json_schema_validator(kind: str) -> Any:
    return jsonschema.Draft7Validator(json_schema(KINDS[kind]))


def bracketed(field: str) -> str:
    """Write the indices of a path as Kubernetes does."""
    name = ""
    for part in field.split("."):
        name += f"[{part}]" if part.isdecimal() else f".{part}"
    return name.removeprefix(".")
