"""The simple JSONPaths of printer columns and scale subresources: fields, indices and filters."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from dask_k8s_local.api.storage.store import clone
from dask_k8s_local.interfaces import Object

_STEP = re.compile(
    r"\.(?P<field>[A-Za-z0-9_\-]+(?:\\\.[A-Za-z0-9_\-/]+)*)"
    r"|\[\s*['\"](?P<quoted>[^'\"]+)['\"]\s*\]"
    r"|\[\s*(?P<index>-?\d+)\s*\]"
    r"|\[\s*(?P<all>\*)\s*\]|\.(?P<star>\*)"
    r"|\[\?\(\s*@(?P<path>[^=!<>\s]+)\s*(?P<op>==|!=)\s*(?P<value>'[^']*'|\"[^\"]*\"|[^)\s]+)\s*\)\]"
)


class JsonPathError(ValueError):
    """A path that can't be read."""


@lru_cache(maxsize=1024)
def _steps(path: str) -> tuple[re.Match[str], ...]:
    steps = []
    position = 0
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None:
            raise JsonPathError(f"can't read JSONPath {path!r} at {path[position:]!r}")
        steps.append(match)
        position = match.end()
    return tuple(steps)


def find(body: Any, path: str) -> list[Any]:
    """Return all that a path leads to, nothing if it leads nowhere."""
    found = [body]
    for step in _steps(path):
        found = [value for one in found for value in _step(one, step)]
    return found


def _step(value: Any, step: re.Match[str]) -> list[Any]:
    name = step["field"] or step["quoted"]
    if name is not None:
        name = name.replace("\\.", ".")
        return [value[name]] if isinstance(value, dict) and name in value else []
    if step["index"] is not None:
        index = int(step["index"])
        is_there = isinstance(value, list) and -len(value) <= index < len(value)
        return [value[index]] if is_there else []
    if step["all"] or step["star"]:
        if isinstance(value, dict):
            return list(value.values())
        return list(value) if isinstance(value, list) else []
    wanted = step["value"].strip("'\"")
    items = value if isinstance(value, list) else []
    return [
        item
        for item in items
        if (wanted in [_text(one) for one in find(item, step["path"])]) is (step["op"] == "==")
    ]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def put(body: Object, path: str, value: Any) -> Object:
    """Return a copy of an object with a value at a path of fields."""
    changed: Object = clone(body)
    node = changed
    *way, last = (step["field"] for step in _steps(path))
    for name in way:
        node = node.setdefault(name, {})
    node[last] = value
    return changed
