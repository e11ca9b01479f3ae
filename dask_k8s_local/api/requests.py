"""What a client asked for, read from a request's query, headers and body."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from aiohttp import web

from dask_k8s_local.api import errors, protobuf
from dask_k8s_local.api.duplicates import loads_noting
from dask_k8s_local.api.errors import Cause
from dask_k8s_local.api.operations import Operations
from dask_k8s_local.api.patches import APPLY_PATCH
from dask_k8s_local.api.paths import Target
from dask_k8s_local.api.rbac import Authorizer
from dask_k8s_local.api.record import Request
from dask_k8s_local.api.strategy import Served
from dask_k8s_local.api.users import User, Users
from dask_k8s_local.api.writes import DeleteOptions, Write
from dask_k8s_local.interfaces import Kubelet, Object

if TYPE_CHECKING:
    from dask_k8s_local.api.serving import Serving

BODY_LIMIT = 3 * 1024 * 1024
"""Bytes that a request's body may have, as in Kubernetes."""
_JSON = ("application/json", "", "application/octet-stream")
_YAML = ("application/yaml", "application/apply-patch+yaml")
_TRUE = ("true", "1", "True", "t", "T", "TRUE")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as Kubernetes reads it: a date is a string."""


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True)
class Call:
    """A request about a resource, with all that answering it may need."""

    http: web.BaseRequest
    target: Target
    verb: str
    served: Served
    operations: Operations
    serving: Serving
    kubelets: dict[str, Kubelet]
    users: Users
    authorizer: Authorizer
    user: User
    record: Request

    @property
    def namespace(self) -> str:
        return self.target.namespace or ""

    @property
    def stored(self) -> Served:
        """Return the resource whose objects this is about."""
        return self.served.stored

    def flag(self, name: str) -> bool:
        return self.http.query.get(name) in _TRUE

    def number(self, name: str) -> int | None:
        """Return a whole number from the query."""
        text = self.http.query.get(name)
        if not text:
            return None
        try:
            return int(text)
        except ValueError:
            message = f'strconv.ParseInt: parsing "{text}": invalid syntax'
            raise errors.bad_request(f"{name}: {message}") from None

    def write(self) -> Write:
        query = self.http.query
        kind = {"create": "CreateOptions", "update": "UpdateOptions"}.get(self.verb, "PatchOptions")
        validation = query.get("fieldValidation") or "Warn"
        causes = []
        if validation not in ("Ignore", "Strict", "Warn"):
            causes.append(
                errors.not_supported("fieldValidation", validation, ("", "Ignore", "Strict", "Warn"))
            )
        causes += dry_run_causes(query.getall("dryRun", []))
        is_apply = self.verb == "patch" and self.http.content_type == APPLY_PATCH
        if "force" in query and not is_apply and self.verb == "patch":
            causes.append(errors.forbidden_field("force", "may not be specified for non-apply patch"))
        if is_apply and not query.get("fieldManager"):
            causes.append(errors.required("fieldManager", "is required for apply patch"))
        if causes:
            raise errors.invalid_options(kind, *causes)
        return Write(
            field_manager=query.get("fieldManager") or user_agent(self.http),
            field_validation=validation,
            dry_run="dryRun" in query,
            force=self.flag("force"),
            subresource=self.target.subresource,
        )


def dry_run_causes(values: list[str]) -> list[Cause]:
    return [errors.not_supported("dryRun", one, ("All",)) for one in values if one != "All"]


def user_agent(request: web.BaseRequest) -> str:
    """Return the name of a client that doesn't give one."""
    return request.headers.get("User-Agent", "unknown").partition("/")[0][:128]


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
