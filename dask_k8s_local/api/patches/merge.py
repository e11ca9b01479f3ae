"""Merge patches: RFC 7386's, and strategic ones, which know which lists have keys."""

from __future__ import annotations

from typing import Any

from dask_k8s_local.api import errors
from dask_k8s_local.api.schema.compiled import Schema
from dask_k8s_local.api.storage.store import clone
from dask_k8s_local.interfaces import Object

_DIRECTIVE = "$patch"
_RETAIN_KEYS = "$retainKeys"
_DELETE_FROM = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"


def merge_patch(target: Any, patch: Any) -> Any:
    """Return the target with a merge patch applied; neither is changed."""
    if not isinstance(patch, dict):
        return clone(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def strategic_merge_patch(schema: Schema | None, target: Any, patch: Any) -> Any:
    """Return the target with a strategic merge patch applied; neither is changed."""
    if not isinstance(patch, dict):
        return clone(patch)
    directive = patch.get(_DIRECTIVE)
    if directive == "delete":
        return {}
    if directive == "replace":
        return {key: clone(value) for key, value in patch.items() if key != _DIRECTIVE}
    if directive not in (None, "merge"):
        raise errors.bad_request(f"unrecognized type of patch: {directive!r}")
    merged: Object = dict(target) if isinstance(target, dict) else {}
    if _RETAIN_KEYS in patch:
        merged = {key: value for key, value in merged.items() if key in patch[_RETAIN_KEYS]}
    for key, value in patch.items():
        if key.startswith(_DELETE_FROM):
            name = key.removeprefix(_DELETE_FROM)
            merged[name] = [item for item in merged.get(name) or () if item not in value]
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        child = schema.child(key) if schema is not None else None
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, list) and child is not None and "merge" in child.patch_strategies:
            merged[key] = _merge_lists(child, merged.get(key) or [], value)
        elif child is not None and "replace" in child.patch_strategies:
            merged[key] = clone(value)
        else:
            merged[key] = strategic_merge_patch(child, merged.get(key), value)
    for key, value in patch.items():
        if key.startswith(_ORDER):
            name = key.removeprefix(_ORDER)
            if isinstance(merged.get(name), list):
                merged[name] = _ordered(
                    schema.child(name) if schema is not None else None, merged[name], value
                )
    return merged


def _merge_lists(schema: Schema, target: list[Any], patch: list[Any]) -> list[Any]:
    key = schema.merge_key
    if not key:
        return [*target, *(clone(item) for item in patch if item not in target)]
    if any(isinstance(item, dict) and item.get(_DIRECTIVE) == "replace" for item in patch):
        return [clone(item) for item in patch if item.get(_DIRECTIVE) != "replace"]
    merged = list(target)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise errors.bad_request(f"map: {item} does not contain declared merge key: {key}")
        places = [at for at, one in enumerate(merged) if one.get(key) == item[key]]
        if item.get(_DIRECTIVE) == "delete":
            merged = [one for at, one in enumerate(merged) if at not in places]
        elif places:
            merged[places[0]] = strategic_merge_patch(schema.items, merged[places[0]], item)
        else:
            merged.append(strategic_merge_patch(schema.items, {}, item))
    return merged


def _ordered(schema: Schema | None, items: list[Any], order: list[Any]) -> list[Any]:
    """Sort items as the patch lists them; those that it doesn't list stay behind the one they followed."""
    key = schema.merge_key if schema is not None else ""

    def identity(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    ranks: dict[Any, int] = {}
    for rank, item in enumerate(order):
        ranks.setdefault(identity(item), rank)
    placed: list[tuple[int, bool, Any]] = []
    last = -1
    for item in items:
        is_listed = identity(item) in ranks
        last = ranks[identity(item)] if is_listed else last
        placed.append((last, not is_listed, item))
    return [item for *_, item in sorted(placed, key=lambda place: place[:2])]
