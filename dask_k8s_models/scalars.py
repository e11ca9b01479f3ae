"""The scalar types of Kubernetes that JSON doesn't have."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    StrictInt,
    StrictStr,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

INT32_MAX = 2**31 - 1
MAX_WORKERS = 10_000
"""Of a group: more than one Dask scheduler serves, so a larger number is a slip or meant to harm.

A Kubernetes cluster has at most 150,000 pods: https://kubernetes.io/docs/setup/best-practices/cluster-large/
"""


def _whole(value: Any) -> Any:
    # JSON has one kind of number: to the API server 2.0 is an integer.
    return int(value) if isinstance(value, float) and value.is_integer() else value


# The bounds come first: pydantic writes only those that stand beside the type itself into a schema. They are
# needed, as API servers don't look at formats of integers: https://github.com/kubernetes/kubernetes/issues/136091
Int32 = Annotated[StrictInt, Field(le=INT32_MAX), BeforeValidator(_whole)]
Int64 = Annotated[StrictInt, BeforeValidator(_whole)]
Count = Annotated[StrictInt, Field(ge=0, le=INT32_MAX), BeforeValidator(_whole)]
"""A number of things, or of seconds."""
Workers = Annotated[StrictInt, Field(ge=0, le=MAX_WORKERS), BeforeValidator(_whole)]
"""A number of workers of one group."""
Amount = Annotated[float, Field(strict=True, ge=0)]
"""An amount of an abstract resource."""
Positive = Annotated[StrictInt, Field(ge=1, le=INT32_MAX), BeforeValidator(_whole)]
Percentage = Annotated[StrictInt, Field(ge=1, le=100), BeforeValidator(_whole)]
Window = Annotated[StrictInt, Field(ge=0, le=3600), BeforeValidator(_whole)]
"""Seconds, as in a HorizontalPodAutoscaler at most an hour."""

INT_OR_STRING: dict[str, Any] = {
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "x-kubernetes-int-or-string": True,
}


def _check_int_or_string(value: Any) -> int | str:
    value = _whole(value)
    if isinstance(value, int | str) and not isinstance(value, bool):
        return value
    raise PydanticCustomError("int_or_string", "Input should be an integer or a string")


IntOrString = Annotated[int | str, PlainValidator(_check_int_or_string), WithJsonSchema(INT_OR_STRING)]
"""A number or a name, e.g. the ``targetPort`` of a Service."""

QUANTITY_PATTERN = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"
"""https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/"""

_QUANTITY = re.compile(QUANTITY_PATTERN.strip("^$"))


def _check_quantity(value: Any) -> int | str:
    if isinstance(value, float) and not value.is_integer():
        raise PydanticCustomError(
            "quantity", 'must be an integer or a string: write "{value}"', {"value": str(value)}
        )
    quantity = _check_int_or_string(value)
    if isinstance(quantity, str) and not _QUANTITY.fullmatch(quantity):
        raise PydanticCustomError(
            "quantity",
            "{value} is not a quantity: write e.g. 2, 500m, 1.5 or 64Gi",
            {"value": repr(quantity)},
        )
    return quantity


Quantity = Annotated[
    int | str,
    PlainValidator(_check_quantity),
    WithJsonSchema({**INT_OR_STRING, "pattern": QUANTITY_PATTERN}),
]
"""An amount of a resource: ``1``, ``"500m"``, ``"64Gi"``."""

RESOURCES = ("cpu", "memory", "ephemeral-storage")
"""The resources of a container that every Kubernetes knows, but for the sizes of huge pages."""


def misspelt_resource(name: str) -> str | None:
    """Return the resource that is meant by a name that only looks like it, e.g. ``cpu`` for ``CPU``."""
    plain = re.sub("[-_ ]", "", name).lower()
    meant = next((resource for resource in RESOURCES if resource.replace("-", "") == plain), None)
    return None if meant == name else meant


def _check_resource_name(name: str) -> str:
    if meant := misspelt_resource(name):
        raise PydanticCustomError(
            "resource_name",
            "{name} is no resource, so no pod could be made: did you mean {meant}?",
            {"name": repr(name), "meant": repr(meant)},
        )
    return name


ResourceName = Annotated[str, AfterValidator(_check_resource_name)]
"""What there may be an amount of: ``cpu``, ``memory``, ``nvidia.com/gpu``."""

_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _check_time(value: str) -> str:
    try:
        is_time = bool(_TIME.fullmatch(value) and datetime.fromisoformat(value.upper()))
    except ValueError:  # E.g. a month that doesn't exist.
        is_time = False
    if not is_time:
        raise PydanticCustomError("time", "{value} is not a time like 2026-11-23T09:00:00Z", {"value": value})
    return value


Time = Annotated[
    StrictStr, AfterValidator(_check_time), WithJsonSchema({"type": "string", "format": "date-time"})
]
"""A point in time as it stands in JSON; `to_time` and `from_time` convert."""


def to_time(moment: datetime) -> str:
    """Write a point in time as Kubernetes does: in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_time(time: str) -> datetime:
    """Read a point in time of an object."""
    return datetime.fromisoformat(time)
