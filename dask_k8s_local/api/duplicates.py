"""JSON with the same field twice: Go's decoder takes the last one, a strict one refuses both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def loads_noting(data: bytes, duplicates: list[str]) -> Any:
    """Parse JSON and name the fields that come more than once."""
    doubled: dict[int, list[str]] = {}

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        built = dict(pairs)
        if len(built) < len(pairs):
            seen: set[str] = set()
            doubled[id(built)] = [key for key, _ in pairs if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
        return built

    value = json.loads(data, object_pairs_hook=build)
    if doubled:
        duplicates.extend(_paths(value, doubled, ""))
    return value


def _paths(value: Any, doubled: dict[int, list[str]], path: str) -> Iterator[str]:
    if isinstance(value, dict):
        prefix = f"{path}." if path else ""
        yield from (f"{prefix}{key}" for key in doubled.get(id(value), ()))
        for key, item in value.items():
            yield from _paths(item, doubled, f"{prefix}{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _paths(item, doubled, f"{path}[{index}]")
