"""The functions that Kubernetes adds to CEL, as far as they concern strings, lists and quantities.

https://kubernetes.io/docs/reference/using-api/cel/#cel-options-language-features-and-libraries
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from cel_expr_python import cel

from dask_k8s_local import quantity

_LIST = cel.Type.List(cel.Type.DYN)
_STRINGS = cel.Type.List(cel.Type.STRING)


def _is_sorted(items: list[Any]) -> bool:
    return all(one <= other for one, other in pairwise(items))


def _find(text: str, pattern: str) -> str:
    match = re.search(pattern, text)
    return match[0] if match else ""


def _find_all(text: str, pattern: str, limit: int | None = None) -> list[str]:
    found = [match[0] for match in re.finditer(pattern, text)]
    return found if limit is None or limit < 0 else found[:limit]


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc) or text.startswith("/")


def _quantity(value: str) -> str:
    """Represent a quantity by its canonical text, so that equal ones are equal."""
    return format(quantity.parse(value).normalize(), "f")


def _compare(one: str, other: str) -> int:
    first, second = quantity.parse(one), quantity.parse(other)
    return (first > second) - (first < second)


def _function(
    name: str, parameters: list[Any], result: Any, call: Callable[..., Any], *, member: bool
) -> Any:
    identity = f"{name}_{len(parameters)}"
    overload = cel.Overload(identity, result, parameters, member, call)
    return cel.FunctionDecl(name, [overload])


def functions() -> list[Any]:
    """Return the declarations for an environment."""
    boolean, integer, text, any_type = cel.Type.BOOL, cel.Type.INT, cel.Type.STRING, cel.Type.DYN
    return [
        _function("isSorted", [_LIST], boolean, _is_sorted, member=True),
        _function("sum", [_LIST], any_type, sum, member=True),
        _function("min", [_LIST], any_type, min, member=True),
        _function("max", [_LIST], any_type, max, member=True),
        _function("find", [text, text], text, _find, member=True),
        _function("findAll", [text, text], _STRINGS, _find_all, member=True),
        _function("isURL", [text], boolean, _is_url, member=False),
        _function("quantity", [text], text, _quantity, member=False),
        _function("isQuantity", [text], boolean, quantity.is_quantity, member=False),
        _function("isGreaterThan", [text, text], boolean, lambda a, b: _compare(a, b) > 0, member=True),
        _function("isLessThan", [text, text], boolean, lambda a, b: _compare(a, b) < 0, member=True),
        _function("compareTo", [text, text], integer, _compare, member=True),
        _function("sign", [text], integer, lambda a: _compare(a, "0"), member=True),
        _function(
            "asApproximateFloat", [text], cel.Type.DOUBLE, lambda a: float(quantity.parse(a)), member=True
        ),
        _function("asInteger", [text], integer, lambda a: int(quantity.parse(a)), member=True),
    ]
