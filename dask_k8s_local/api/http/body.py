"""The bodies of requests: JSON, YAML or protobuf, and the options of a deletion."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import yaml
from aiohttp import web

from dask_k8s_local.api import errors
from dask_k8s_local.api.errors import Cause
from dask_k8s_local.api.http import protobuf
from dask_k8s_local.api.objects.options import DeleteOptions
from dask_k8s_local.interfaces import Object

BODY_LIMIT = 3 * 1024 * 1024
"""Bytes that a request's body may have, as in Kubernetes."""
_JSON = ("application/json", "", "application/octet-stream")
_YAML = ("application/yaml", "application/apply-patch+yaml")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as Kubernetes reads it: a date is a string."""


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


async def read_body(request: web.BaseRequest, *more_types: str, duplicates: list[str] | None = None) -> Any:
    """Parse a request's body, None if there is none; name the fields that its JSON has twice."""
    media_type = request.content_type if "Content-Type" in request.headers else ""
    try:
        data = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise errors.too_large_body(BODY_LIMIT) from None
    if not data:
        return None
    if media_type == protobuf.MEDIA_TYPE:
        return protobuf.decoded(data)
    if media_type in _YAML:
        return _parsed_yaml(data)
    if media_type in _JSON or media_type in more_types:
        try:
            return json.loads(data) if duplicates is None else loads_noting(data, duplicates)
        except ValueError as error:
            raise errors.bad_request(f"the object provided is unrecognized: {error}") from None
    raise errors.unsupported_media_type(("application/json", "application/yaml"))


def _yaml_number(text: str) -> float:
    """Read a number as YAML means it: ``2.0`` is 2."""
    number = float(text)
    return int(number) if number.is_integer() else number


def _parsed_yaml(data: bytes) -> Any:
    try:
        return json.loads(data, parse_float=_yaml_number)
    except ValueError:
        pass
    try:
        return yaml.load(data, Loader=_Loader)
    except yaml.YAMLError as error:
        raise errors.bad_request(f"error decoding YAML: {error}") from None


async def read_object(request: web.BaseRequest, duplicates: list[str] | None = None) -> Object:
    body = await read_body(request, duplicates=duplicates)
    if not isinstance(body, dict):
        raise errors.bad_request("the body of the request must be an object")
    return body


def dry_run_causes(values: list[str]) -> list[Cause]:
    return [errors.not_supported("dryRun", one, ("All",)) for one in values if one != "All"]


async def read_delete_options(request: web.BaseRequest) -> DeleteOptions:
    """Read ``DeleteOptions`` from the body, or else from the query."""
    body, query = await read_body(request) or {}, request.query
    preconditions = body.get("preconditions") or {}
    grace = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
    policy = body.get("propagationPolicy") or query.get("propagationPolicy")
    said = body.get("orphanDependents", query.get("orphanDependents"))
    orphan = None if said is None else str(said).lower() == "true"
    if policy is None and orphan is not None:
        policy = "Orphan" if orphan else "Background"
    dry_run = [*(body.get("dryRun") or ()), *query.getall("dryRun", [])]
    causes = dry_run_causes(dry_run)
    if policy not in (None, "Orphan", "Background", "Foreground"):
        known = ("Foreground", "Background", "Orphan", "nil")
        causes.append(errors.not_supported("propagationPolicy", policy, known))
    if causes:
        raise errors.invalid_options("DeleteOptions", *causes)
    return DeleteOptions(
        uid=preconditions.get("uid"),
        resource_version=preconditions.get("resourceVersion"),
        grace_period_seconds=None if grace is None else int(grace),
        propagation_policy=policy,
        orphan_dependents=orphan,
        dry_run=bool(dry_run),
    )


def loads_noting(data: bytes, duplicates: list[str]) -> Any:
    """Parse JSON and name the fields that come more than once."""
    doubled: dict[int, list[str]] = {}

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        built = dict(pairs)
        if len(built) < len(pairs):
            seen: set[str] = set()
            doubled[id(built)] = [key for key, _ in pairs if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
        return built

    value = json.loads(data, object_pairs_hook=build)
    if doubled:
        duplicates.extend(_paths(value, doubled, ""))
    return value


def _paths(value: Any, doubled: dict[int, list[str]], path: str) -> Iterator[str]:
    if isinstance(value, dict):
        prefix = f"{path}." if path else ""
        yield from (f"{prefix}{key}" for key in doubled.get(id(value), ()))
        for key, item in value.items():
            yield from _paths(item, doubled, f"{prefix}{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _paths(item, doubled, f"{path}[{index}]")
