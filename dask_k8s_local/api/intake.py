"""From what a client sent to an object of the server's own: kind, version, fields, preconditions."""

from __future__ import annotations

from typing import Any

from dask_k8s_local.api import configurations, errors
from dask_k8s_local.api.decode import decode
from dask_k8s_local.api.resources import Resource
from dask_k8s_local.api.store import clone
from dask_k8s_local.api.strategy import Served
from dask_k8s_local.api.writes import Write
from dask_k8s_local.interfaces import Object


def taken_over(served: Served, body: Any, write: Write) -> Object:
    """Check that a body is of the right kind and copy it, field by field."""
    resource = served.resource
    check_kind(resource, body)
    body = {**body, "apiVersion": resource.api_version, "kind": resource.kind}
    unknown: list[str] = []
    # A null that is applied to a custom resource stays, to be refused, where every other way drops it.
    is_applied = write.managers is not None
    new: Object = decode(served.schema, body, unknown, with_nulls=is_applied and resource.custom)
    told = [f'duplicate field "{path}"' for path in write.duplicates]
    told += [f'unknown field "{path}"' for path in sorted(unknown)]
    _tell(told, resource, write)
    return new


def check_kind(resource: Resource, body: Any) -> None:
    if not isinstance(body, dict):
        raise errors.bad_request(f"the body must be a {resource.kind} object")
    api_version, kind = body.get("apiVersion"), body.get("kind")
    if resource.custom and not kind:
        raise errors.bad_request(
            f"the object provided is unrecognized (must be of type {resource.kind}): Object 'Kind' is missing"
        )
    if resource.custom and not api_version:
        raise errors.bad_request(
            f"{kind} in version \"\" cannot be handled as a {kind}: Object 'apiVersion' is missing"
        )
    if api_version and api_version != resource.api_version:
        raise errors.bad_request(
            f"the API version in the data ({api_version}) does not match the expected API version "
            f"({resource.api_version})"
        )
    if kind and kind != resource.kind and resource.custom:
        cause = errors.invalid_value("kind", kind, f"must be {resource.kind}")
        raise errors.invalid_kind(kind, sent_metadata(body).get("name", ""), [cause], resource.group)
    if kind and kind != resource.kind:
        raise errors.bad_request(
            f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
            f'no kind "{kind}" is registered for version "{resource.api_version}"'
        )


def configuration(served: Served, body: Object) -> Object:
    """Take over a configuration to apply: without defaults, but with its nulls.

    Raises
    ------
    ValueError
        If there are fields that the schema doesn't know, or that are of another sort.
    """
    lines = list(configurations.problems(served.schema, body))
    if lines:
        raise ValueError(lines[0] if len(lines) == 1 else "errors:\n  " + "\n  ".join(lines))
    config: Object = decode(served.schema, body, [], with_defaults=False, with_nulls=True)
    return config


def _tell(told: list[str], resource: Resource, write: Write) -> None:
    """Refuse what makes no sense, warn of it, or ignore it, as the client asked."""
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
    """Raise 409 unless an object is the one that a deletion means."""
    for word, wanted, actual, what_happened in (
        ("UID", uid, own["uid"], "deleted and then recreated"),
        ("ResourceVersion", resource_version, own["resourceVersion"], "modified"),
    ):
        if wanted and wanted != actual:
            why = (
                f"the {word} in the precondition ({wanted}) does not match the {word} in record ({actual}). "
                f"The object might have been {what_happened}"
            )
            raise errors.conflict(resource, own["name"], why)


def check_uid(resource: Resource, own: Object, uid: str | None) -> None:
    """Raise 409 unless an object is the one that an update means."""
    if uid and uid != own["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {own['uid']}"
        raise errors.conflict(resource, own["name"], why)


def in_version(body: Object, resource: Resource) -> Object:
    """Copy a stored object as a version of its resource shows it."""
    copy: Object = clone(body)
    copy["apiVersion"] = resource.api_version
    return copy
