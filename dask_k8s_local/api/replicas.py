"""The numbers that a scale subresource reads from an object, which are checked whatever the schema says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dask_k8s_local.api import errors
from dask_k8s_local.api.errors import Cause
from dask_k8s_local.interfaces import Object

_MOST = 2**31 - 1
_GO_TYPES = {
    str: "string",
    bool: "bool",
    float: "float64",
    dict: "map[string]interface {}",
    list: "[]interface {}",
}


def replicas_problems(body: Object, path: str) -> Iterator[Cause]:
    """Yield why what a path leads to is no number of replicas; no number at all is fine.

    A number that is written with a point, such as ``2.0``, is none: Kubernetes reads it as a float.
    """
    *parents, last = path.removeprefix(".").split(".")
    value: Any = body
    for depth, key in enumerate(parents, 1):
        value = value.get(key)
        if value is None:
            return
        if not isinstance(value, dict):
            place = "." + ".".join(parents[:depth])
            yield errors.invalid_value(path, 0, _misread(place, value, "map[string]interface {}"))
            return
    value = value.get(last)
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        yield errors.invalid_value(path, 0, _misread(path, value, "int64"))
    elif value < 0:
        yield errors.invalid_value(path, value, "should be a non-negative integer")
    elif value > _MOST:
        yield errors.invalid_value(path, value, f"should be less than or equal to {_MOST}")


def _misread(path: str, value: Any, wanted: str) -> str:
    shown = f"{value:g}" if isinstance(value, float) else errors.show(value).strip('"')
    actual = _GO_TYPES.get(type(value), "int64")
    return f"{path} accessor error: {shown} is of the type {actual}, expected {wanted}"
