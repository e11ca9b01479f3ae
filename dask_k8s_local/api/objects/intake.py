"""From what a client sent to an object of the server's own: kind, version, fields, preconditions."""

from __future__ import annotations

import re
from typing import Any

from dask_k8s_local.api import errors
from dask_k8s_local.api.errors import Cause
from dask_k8s_local.api.kinds.served import Served
from dask_k8s_local.api.objects.options import Write
from dask_k8s_local.api.patches import configuration as configurations
from dask_k8s_local.api.resource import Resource
from dask_k8s_local.api.schema.compiled import MISSING, definition
from dask_k8s_local.api.schema.decode import decode
from dask_k8s_local.api.schema.validation import validate
from dask_k8s_local.api.storage.store import clone
from dask_k8s_local.interfaces import ApiError, Object
from dask_k8s_local.quantity import QUANTITY_DETAIL

_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_INDEX = re.compile(r"\[\d+\]")
_TYPE = re.compile(r"must be of type ([a-z,]+): \"([a-z]+)\"")
_NOT_BASE64, _NOT_A_TIME = "must be of type byte: ", "must be of type date-time: "
_GO_TYPES = {"integer": "int", "boolean": "bool", "number": "float64", "array": "slice", "object": "map"}
_JSON_TYPES = {"integer": "number", "boolean": "bool"}


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


def check_decoded(served: Served, new: Object, old: Any = MISSING) -> None:
    """Check an object, or a custom one's metadata, by Kubernetes' own definitions.

    Raises
    ------
    ApiError
        400 if a value has the wrong type, 422 if one is missing that the rest relies on.
    """
    own = new.get("metadata", {})
    if served.resource.custom:
        before = MISSING if old is MISSING else old["metadata"]
        causes = validate(definition(_OBJECT_META), own, "metadata", old=before)
    else:
        causes = validate(served.schema, new, old=old)
    for cause in causes:
        if cause.reason == "FieldValueTypeInvalid":
            raise _cannot_be_read(served, cause)
    # The lists of Kubernetes' own types may repeat a key, unless the kind says otherwise.
    told = [cause for cause in causes if cause.reason != "FieldValueDuplicate"]
    if told:
        raise errors.invalid(served.resource, own.get("name", ""), told)


def _cannot_be_read(served: Served, cause: Cause) -> ApiError:
    kind, version = served.resource.kind, served.resource.version
    match = _TYPE.search(cause.message)
    if _NOT_BASE64 in cause.message:
        told = "illegal base64 data"
    elif _NOT_A_TIME in cause.message:
        told = (
            f'parsing time {cause.message.rpartition(": ")[2]} as "2006-01-02T15:04:05Z07:00": cannot parse'
        )
    elif match is None:
        told = QUANTITY_DETAIL
    else:
        wanted, actual = match.groups()
        field = f"{kind}.{_INDEX.sub('', cause.field)}"
        told = (
            f"json: cannot unmarshal {_JSON_TYPES.get(actual, actual)} into Go struct field {field} "
            f"of type {_GO_TYPES.get(wanted, wanted)}"
        )
    return errors.bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {told}')
