"""Say what is wrong with an object so that a person finds the field and the remedy."""

from __future__ import annotations

import difflib
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from dask_k8s_models.kinds import KINDS
from dask_k8s_models.structural import structural_schema

Path = tuple[str | int, ...]


def field_name(path: Path) -> str:
    """Write a path as Kubernetes does: ``spec.worker.spec.containers[0].image``."""
    name = ""
    for part in path:
        if isinstance(part, int) or "." in part or "/" in part:
            name += f"[{part}]"
        else:
            name += f".{part}"
    return name.removeprefix(".")


def problems_of(error: ValidationError, kind: str = "") -> list[tuple[Path, str]]:
    """Return the fields and messages of an error that a model gave.

    Parameters
    ----------
    error : pydantic.ValidationError
        The error.
    kind : str
        The object's kind, to propose the right word for an unknown field.

    Returns
    -------
    list of (path, str)
        The field's path, as keys and indices, and what is wrong with it.
    """
    return [(_path(details), _message(details, kind)) for details in error.errors(include_url=False)]


def _path(details: ErrorDetails) -> Path:
    path = tuple(part for part in details["loc"] if part != "[key]")
    index = details.get("ctx", {}).get("index")
    return (*path, index) if details["type"] == "duplicate" and index is not None else path


def _message(details: ErrorDetails, kind: str) -> str:
    match details["type"]:
        case "extra_forbidden":
            return f"unknown field {str(details['loc'][-1])!r}{_proposal(kind, details['loc'])}"
        case "missing":
            return "is required, but missing"
        case "rule" | "duplicate" | "quantity" | "resource_name" | "time" | "number_or_percentage":
            return details["msg"]
    message = details["msg"].replace("Input should", "must")
    value = details["input"]
    return f"{message}, not {value!r}" if isinstance(value, str | int | float) else message


def _proposal(kind: str, path: Path) -> str:
    """Say where the field belongs, or how it is spelt, if either is sure enough."""
    *around, wrong = path
    known = known_fields(kind, tuple(around))
    above = [tuple(around[:end]) for end in range(len(around) - 1, -1, -1) if isinstance(around[end], str)]
    for place in [*((*around, name) for name in known), *above]:
        if wrong in known_fields(kind, place):
            return f": it belongs into {field_name(place) or 'the object itself'}"
    plain = {_plain(name): name for name in known}
    close = difflib.get_close_matches(_plain(str(wrong)), plain, n=1, cutoff=0.75)
    return f": did you mean {plain[close[0]]!r}?" if close else ""


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def known_fields(kind: str, path: Path) -> list[str]:
    """Return the names of the fields at a path in a kind."""
    if kind not in KINDS:
        return []
    schema: dict[str, Any] = _schema(kind)
    for part in path:
        if isinstance(part, int):
            schema = schema.get("items", {})
        else:
            schema = schema.get("properties", {}).get(part) or schema.get("additionalProperties", {})
    return list(schema.get("properties", {}))


@cache
def _schema(kind: str) -> dict[str, Any]:
    return structural_schema(KINDS[kind])
