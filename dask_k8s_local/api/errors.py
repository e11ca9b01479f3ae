"""The refusals of an API server, each as the ``Status`` that Kubernetes sends."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dask_k8s_local.api.resource import Resource
from dask_k8s_local.interfaces import ApiError, Object

__all__ = ["ApiError", "Cause"]


@dataclass(frozen=True)
class Cause:
    """One thing that is wrong with an object, in the words of apimachinery's ``util/validation/field``."""

    reason: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def show(value: Any) -> str:
    """Return a value as Kubernetes quotes it in an error: as JSON, a missing one as "null"."""
    if value is None:
        return '"null"'
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def invalid_value(field: str, value: Any, detail: str) -> Cause:
    return Cause("FieldValueInvalid", field, f"Invalid value: {show(value)}: {detail}")


def type_invalid(field: str, value: Any, detail: str) -> Cause:
    return Cause("FieldValueTypeInvalid", field, f"Invalid value: {show(value)}: {detail}")


def required(field: str, detail: str = "") -> Cause:
    return Cause("FieldValueRequired", field, f"Required value: {detail}" if detail else "Required value")


def forbidden_field(field: str, detail: str) -> Cause:
    return Cause("FieldValueForbidden", field, f"Forbidden: {detail}")


def duplicate(field: str, value: Any) -> Cause:
    return Cause("FieldValueDuplicate", field, f"Duplicate value: {show(value)}")


def not_supported(field: str, value: Any, supported: Iterable[Any]) -> Cause:
    values = ", ".join(show(one if isinstance(one, str) else show(one)) for one in supported)
    return Cause(
        "FieldValueNotSupported", field, f"Unsupported value: {show(value)}: supported values: {values}"
    )


def too_long(field: str, limit: int) -> Cause:
    return Cause("FieldValueTooLong", field, f"Too long: may not be more than {limit} bytes")


def too_many(field: str, actual: int, limit: int) -> Cause:
    return Cause("FieldValueTooMany", field, f"Too many: {actual}: must have at most {limit} items")


def status(error: ApiError) -> Object:
    """Return the ``Status`` object of a refusal."""
    body: Object = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": error.message,
        "reason": error.reason,
        "code": error.code,
    }
    if not error.reason:
        del body["reason"]
    if error.details:
        body["details"] = error.details
    return body


def success(resource: Resource, name: str, uid: str) -> Object:
    """Return the ``Status`` that answers a deletion."""
    details = {"name": name, "group": resource.group, "kind": resource.plural, "uid": uid}
    if not resource.group:
        del details["group"]
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _details(resource: Resource, name: str = "", **more: Any) -> Object:
    details: Object = {"name": name, "group": resource.group, "kind": resource.plural, **more}
    return {key: value for key, value in details.items() if value not in ("", [], None)}


def not_found(resource: Resource, name: str) -> ApiError:
    message = f'{resource.full_name} "{name}" not found'
    return ApiError(404, "NotFound", message, _details(resource, name))


def unknown_path() -> ApiError:
    return ApiError(
        404,
        "NotFound",
        "the server could not find the requested resource",
        {"causes": [{"reason": "UnexpectedServerResponse", "message": "404 page not found"}]},
    )


def already_exists(resource: Resource, name: str, *, is_ending: bool = False) -> ApiError:
    message = f'{resource.full_name} "{name}" already exists'
    if is_ending:
        message = f"object is being deleted: {message}"
    return ApiError(409, "AlreadyExists", message, _details(resource, name))


def conflict(resource: Resource, name: str, why: str) -> ApiError:
    message = f'Operation cannot be fulfilled on {resource.full_name} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(resource, name))


def modified(resource: Resource, name: str) -> ApiError:
    why = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(resource, name, why)


def forbidden(resource: Resource, name: str, why: str, causes: Sequence[Cause] = ()) -> ApiError:
    if name:
        message = f'{resource.full_name} "{name}" is forbidden: {why}'
    else:
        message = f"{resource.full_name} is forbidden: {why}"
    return ApiError(403, "Forbidden", message, _details(resource, name, causes=causes_json(causes)))


def invalid(resource: Resource, name: str, causes: Sequence[Cause]) -> ApiError:
    """Return 422: every cause by itself in ``details.causes``, all of them in the message."""
    return invalid_kind(resource.kind, name, causes, resource.group)


def invalid_kind(kind: str, name: str, causes: Sequence[Cause], group: str = "") -> ApiError:
    texts = list(dict.fromkeys(str(cause) for cause in causes))
    told = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    details = {"name": name, "group": group, "kind": kind, "causes": causes_json(causes)}
    full_kind = f"{kind}.{group}" if group else kind
    return ApiError(
        422,
        "Invalid",
        f'{full_kind} "{name}" is invalid: {told}',
        {key: value for key, value in details.items() if value},
    )


def invalid_options(kind: str, *causes: Cause) -> ApiError:
    """Return 422 for options of a request, such as ``PatchOptions``, that make no sense."""
    return invalid_kind(kind, "", causes, "meta.k8s.io")


def causes_json(causes: Sequence[Cause]) -> list[dict[str, str]]:
    return [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes]


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def internal(message: str) -> ApiError:
    """Return 500 for what Kubernetes has no reason for."""
    return ApiError(500, "", message)


def method_not_allowed() -> ApiError:
    return ApiError(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
    )


def unsupported_media_type(accepted: Iterable[str]) -> ApiError:
    """Refuse a body; Kubernetes doesn't always say what it would accept."""
    known = ", ".join(accepted)
    message = "415: Unsupported Media Type"
    if known:
        message = f"the body of the request was in an unknown format - accepted media types include: {known}"
    return ApiError(415, "UnsupportedMediaType", message)


def not_acceptable() -> ApiError:
    message = "only the following media types are accepted: application/json, application/yaml"
    return ApiError(406, "NotAcceptable", message)


def too_large_body(limit: int) -> ApiError:
    return ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def expired(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def too_old(version: int, oldest: int) -> ApiError:
    return expired(f"too old resource version: {version} ({oldest})")


def too_large(version: int, current: int) -> ApiError:
    return ApiError(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {version}, current: {current}",
        {
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        },
    )


def not_implemented(what: str) -> ApiError:
    return ApiError(501, "NotImplemented", f"the local Kubernetes does not offer {what}")


def service_unavailable(message: str) -> ApiError:
    return ApiError(503, "ServiceUnavailable", message)
