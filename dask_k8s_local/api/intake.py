"""From what a client sent to an object of the server's own: kind, version, fields, preconditions."""

from __future__ import annotations

from typing import Any

from dask_k8s_local.api import errors
from dask_k8s_local.api.decode import decode
from dask_k8s_local.api.resources import Resource
from dask_k8s_local.api.store import clone
from dask_k8s_local.api.strategy import Served
from dask_k8s_local.api.writes import Write
from dask_k8s_local.interfaces import Object


def taken_over(served: Served, body: Any, write: Write, *, with_defaults: bool = True) -> Object:
    """Check that a body is of the right kind and copy it, field by field."""
    resource = served.resource
    if not isinstance(body, dict):
        raise errors.bad_request(f"the body must be a {resource.kind} object")
    api_version, kind = body.get("apiVersion"), body.get("kind")
    if api_version and api_version != resource.api_version:
        raise errors.bad_request(
            f"the API version in the data ({api_version}) does not match the expected API version "
            f"({resource.api_version})"
        )
    if kind and kind != resource.kind:
        raise errors.bad_request(
            f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
            f'no kind "{kind}" is registered for version "{resource.api_version}"'
        )
    body = {**body, "apiVersion": resource.api_version, "kind": resource.kind}
    unknown: list[str] = []
    new: Object = decode(served.schema, body, unknown, with_defaults=with_defaults)
    _tell_unknown(sorted(unknown), resource, write)
    return new


def _tell_unknown(unknown: list[str], resource: Resource, write: Write) -> None:
    """Refuse unknown fields, warn of them, or ignore them, as the client asked."""
    told = [f'unknown field "{path}"' for path in unknown]
    if told and write.field_validation == "Strict":
        raise errors.bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
            f"strict decoding error: {', '.join(told)}"
        )
    if write.field_validation == "Warn":
        write.warnings.extend(told)


def sent_metadata(body: Any) -> Object:
    """Return the metadata of a body that nobody has looked at yet."""
    own = body.get("metadata") if isinstance(body, dict) else None
    if own is not None and not isinstance(own, dict):
        raise errors.bad_request("metadata: must be an object")
    return own or {}


def check_name(own: Object, name: str) -> None:
    if own.get("name", name) != name:
        raise errors.bad_request(
            f"the name of the object ({own['name']}) does not match the name on the URL ({name})"
        )


def check_namespace(resource: Resource, own: Object, namespace: str) -> None:
    if resource.namespaced and own.get("namespace") and own["namespace"] != namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request "
            f"({own['namespace']} != {namespace})"
        )


def check_preconditions(
    resource: Resource, own: Object, uid: str | None, resource_version: str | None = None
) -> None:
    """Raise 409 unless an object is the one that the client means."""
    for word, wanted, actual in (
        ("UID", uid, own["uid"]),
        ("ResourceVersion", resource_version, own["resourceVersion"]),
    ):
        if wanted and wanted != actual:
            why = f"Precondition failed: {word} in precondition: {wanted}, {word} in object meta: {actual}"
            raise errors.conflict(resource, own["name"], why)


def in_version(body: Object, resource: Resource) -> Object:
    """Copy a stored object as a version of its resource shows it."""
    copy: Object = clone(body)
    copy["apiVersion"] = resource.api_version
    return copy
