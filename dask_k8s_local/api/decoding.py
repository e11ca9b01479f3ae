"""What can't be read at all: a value of the wrong type, where Kubernetes' own types are decoded."""

from __future__ import annotations

import re
from typing import Any

from dask_k8s_local.api import errors
from dask_k8s_local.api.errors import Cause
from dask_k8s_local.api.quantity import QUANTITY_DETAIL
from dask_k8s_local.api.schema import MISSING, definition
from dask_k8s_local.api.strategy import Served
from dask_k8s_local.api.validation import validate
from dask_k8s_local.interfaces import ApiError, Object

_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_INDEX = re.compile(r"\[\d+\]")
_TYPE = re.compile(r"must be of type ([a-z,]+): \"([a-z]+)\"")
_NOT_BASE64, _NOT_A_TIME = "must be of type byte: ", "must be of type date-time: "
_GO_TYPES = {"integer": "int", "boolean": "bool", "number": "float64", "array": "slice", "object": "map"}
_JSON_TYPES = {"integer": "number", "boolean": "bool"}


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
