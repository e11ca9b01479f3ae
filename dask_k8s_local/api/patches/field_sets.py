"""Sets of fields as ``FieldsV1`` writes them: tries of ``f:name``, ``k:{"key":…}`` and ``v:…``.

A node without children, or with the child ``.``, is a member of the set. Sets are never changed in place,
so that they may share parts with each other and with stored objects.
https://pkg.go.dev/sigs.k8s.io/structured-merge-diff/v6/fieldpath
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from dask_k8s_local.api.schema.compiled import Schema

Fields = dict[str, Any]
Path = tuple[str, ...]
_SELF = "."


def is_member(node: Fields) -> bool:
    return not node or _SELF in node


def node(member: bool, children: Fields) -> Fields | None:
    if not children:
        return {} if member else None
    return {_SELF: {}, **children} if member else children


def _children(node: Fields) -> Iterator[tuple[str, Fields]]:
    return ((key, child) for key, child in node.items() if key != _SELF)


def paths(fields: Fields, prefix: Path = ()) -> Iterator[Path]:
    """Yield the members of a set, parents first."""
    for key, child in _children(fields):
        path = (*prefix, key)
        if is_member(child):
            yield path
        yield from paths(child, path)


def union(one: Fields, other: Fields) -> Fields:
    return _union(one, other) if one and other else one or other


def _union(one: Fields, other: Fields) -> Fields:
    children = dict(_children(one))
    for key, child in _children(other):
        mine = children.get(key)
        children[key] = child if mine is None else _union(mine, child)
    return node(is_member(one) or is_member(other), children) or {}


def difference(one: Fields, other: Fields) -> Fields:
    """Return the members of one set that are not in the other."""
    if not one or not other:
        return one
    children = {}
    for key, child in _children(one):
        theirs = other.get(key)
        left = child if theirs is None else _difference(child, theirs)
        if left is not None:
            children[key] = left
    return children


def _difference(one: Fields, other: Fields) -> Fields | None:
    children = {}
    for key, child in _children(one):
        theirs = other.get(key)
        left = child if theirs is None else _difference(child, theirs)
        if left is not None:
            children[key] = left
    return node(is_member(one) and not is_member(other), children)


def intersection(one: Fields, other: Fields) -> Fields:
    children = {}
    for key, child in _children(one):
        theirs = other.get(key)
        if theirs is not None and (both := _intersection(child, theirs)) is not None:
            children[key] = both
    return children


def _intersection(one: Fields, other: Fields) -> Fields | None:
    children = {}
    for key, child in _children(one):
        theirs = other.get(key)
        if theirs is not None and (both := _intersection(child, theirs)) is not None:
            children[key] = both
    return node(is_member(one) and is_member(other), children)


def path_text(path: Path) -> str:
    """Write a path as conflicts show it: ``.spec.containers[name="worker"].image``."""
    text = ""
    for element in path:
        kind, _, rest = element.partition(":")
        if kind == "f":
            text += f".{rest}"
        elif kind == "k":
            keys = json.loads(rest)
            text += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in keys.items()) + "]"
        else:
            text += f"[={rest}]" if kind == "v" else f"[{rest}]"
    return text


def item_element(schema: Schema, item: Any) -> str:
    """Return what names an item of a granular list; raise ValueError if the item lacks its keys."""
    if schema.list_type == "set":
        return "v:" + json.dumps(item, separators=(",", ":"), ensure_ascii=False)
    if not isinstance(item, dict):
        element = "a null element" if item is None else "non-map elements"
        raise ValueError(f"associative list with keys may not have {element}")
    keys: list[tuple[str, Any]] = []
    for key in schema.list_keys:
        child = schema.items.properties.get(key) if schema.items else None
        value = item.get(key, child.default if child is not None and child.has_default else None)
        if isinstance(value, (dict, list)):
            raise ValueError(
                f'associative list with keys has an element whose key field "{key}" isn\'t a scalar'
            )
        if value is not None:
            keys.append((key, value))
    if not keys:
        quoted = " ".join(json.dumps(key) for key in schema.list_keys)
        raise ValueError(
            f"associative list with keys has an element that omits all key fields [{quoted}] "
            "(and doesn't have default values for any key fields)"
        )
    return _keys_element(tuple(keys))


@lru_cache(maxsize=8192)
def _keys_element(keys: tuple[tuple[str, Any], ...]) -> str:
    return "k:" + json.dumps(dict(sorted(keys)), separators=(",", ":"), ensure_ascii=False)


def is_granular_list(schema: Schema | None) -> bool:
    return schema is not None and schema.list_type in ("map", "set")


def is_granular_map(schema: Schema | None) -> bool:
    return schema is None or schema.map_type != "atomic"
