"""Whatever the manifest: models, JSON Schema and the API server's own check agree."""

from __future__ import annotations

from functools import cache
from typing import Any

import jsonschema
from hypothesis import HealthCheck, given, note, settings
from pydantic import ValidationError

from dask_k8s_models import KINDS, parse_manifest, to_yaml
from dask_k8s_models.json_schema import json_schema
from dask_k8s_models.markers import RULE_BROKEN, without_nulls
from tests.unit.models.api_server import refusal
from tests.unit.models.strategies import damaged_manifests, manifests

Json = dict[str, Any]

BEYOND_JSON_SCHEMA = {RULE_BROKEN, "duplicate", "time"}

thorough = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def complaints_of_model(manifest: Json) -> set[str]:
    """Return the types of the errors that the model finds."""
    try:
        KINDS[manifest["kind"]].model_validate(manifest)
    except ValidationError as error:
        note(str(error))
        return {details["type"] for details in error.errors()}
    return set()


@cache
def json_schema_validator(kind: str) -> Any:
    return jsonschema.Draft7Validator(json_schema(KINDS[kind]))


def assert_agreement(manifest: Json) -> None:
    """Compare the model with the JSON Schema and with the API server."""
    complaints = complaints_of_model(manifest)
    refused = refusal(manifest)
    note(f"API server: {refused}")
    assert bool(complaints) is (refused is not None)
    error = next(json_schema_validator(manifest["kind"]).iter_errors(manifest), None)
    note(f"JSON Schema: {error and error.message}")
    if not complaints:
        assert error is None
    elif complaints - BEYOND_JSON_SCHEMA:
        assert error is not None


@thorough
@given(manifests())
def test_manifests_from_the_models_are_judged_alike(manifest: Json) -> None:
    assert_agreement(manifest)
    assert not complaints_of_model(manifest) - BEYOND_JSON_SCHEMA


@thorough
@given(damaged_manifests())
def test_damaged_manifests_are_judged_alike(manifest: Json) -> None:
    assert_agreement(manifest)


@thorough
@given(manifests())
def test_valid_manifests_survive_models_and_yaml(manifest: Json) -> None:
    if complaints_of_model(manifest):
        return
    [read] = parse_manifest(to_yaml(manifest))
    assert read.to_dict() == without_nulls(manifest)
