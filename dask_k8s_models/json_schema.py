"""JSON Schemas of our kinds for editors and linters: what a model accepts, as far as JSON Schema can say it.

https://json-schema.org/draft-07, which every editor knows.
"""

from __future__ import annotations

from typing import Any

from dask_k8s_models import names
from dask_k8s_models.cluster import DaskCluster
from dask_k8s_models.job import DaskJob
from dask_k8s_models.resource import Resource

Json = dict[str, Any]

NULL = {"type": "null"}


def json_schema(model: type[Resource]) -> Json:
    """Return the JSON Schema of a kind.

    Parameters
    ----------
    model : type of Resource
        One of `KINDS`.

    Returns
    -------
    dict
        The schema. Beyond it go only the rules that compare fields with each other.
    """
    schema = _for_editors(model.model_json_schema())
    schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
    schema["properties"] |= {
        "apiVersion": {"const": model.model_fields["apiVersion"].default},
        "kind": {"const": model.__name__},
        "metadata": {"allOf": [schema["properties"]["metadata"], _metadata(model)]},
    }
    if model is DaskJob:
        schema["$defs"]["JobSpec"]["oneOf"] = [_is_there("cluster"), _is_there("clusterRef")]
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": model.__name__} | schema


def _metadata(model: type[Resource]) -> Json:
    is_cluster = model in (DaskCluster, DaskJob)
    name = {
        "maxLength": names.MAX_CLUSTER_NAME_LENGTH if is_cluster else names.MAX_NAME_LENGTH,
        "pattern": names.CLUSTER_NAME_PATTERN if is_cluster else names.NAME_PATTERN,
    }
    return {"properties": {"name": name}, "anyOf": [_is_there("name"), _is_there("generateName")]}


def _is_there(field: str) -> Json:
    return {"required": [field], "properties": {field: {"not": NULL}}}


def _for_editors(schema: Json) -> Json:
    """Return a schema, and all in it, without what only the API server reads; null is absent everywhere."""
    plain = {key: value for key, value in schema.items() if key != "title" and not key.startswith("x-")}
    if plain.get("default", ...) is None:
        del plain["default"]
    for key in ("$defs", "properties"):
        if key in plain:
            plain[key] = {name: _for_editors(inner) for name, inner in plain[key].items()}
    if "properties" in plain:
        optional = plain["properties"].keys() - plain.get("required", [])
        plain["properties"] |= {name: _or_null(plain["properties"][name]) for name in sorted(optional)}
    if "items" in plain:
        plain["items"] = _for_editors(plain["items"])
    if "anyOf" in plain:
        plain["anyOf"] = [_for_editors(option) for option in plain["anyOf"]]
    if isinstance(plain.get("additionalProperties"), dict):
        plain["additionalProperties"] = _or_null(_for_editors(plain["additionalProperties"]))
    if "$ref" in plain and len(plain) > 1:
        plain["allOf"] = [{"$ref": plain.pop("$ref")}]  # Draft 7 ignores what stands beside a reference.
    return plain


def _or_null(schema: Json) -> Json:
    if NULL in schema.get("anyOf", []):
        return schema
    kept = {key: schema[key] for key in ("description", "default") if key in schema}
    return {"anyOf": [{key: schema[key] for key in schema if key not in kept}, NULL]} | kept
