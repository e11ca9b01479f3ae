"""Server-side apply: merge what a manager wants, take away what it no longer wants, mind the others.

https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dask_k8s_local.api import errors
from dask_k8s_local.api.errors import Cause
from dask_k8s_local.api.meta.metadata import timestamp
from dask_k8s_local.api.patches import field_sets, managed_fields
from dask_k8s_local.api.patches.field_sets import Fields
from dask_k8s_local.api.patches.managed_fields import UPDATE, Manager, Managers, Owned
from dask_k8s_local.api.resource import Resource
from dask_k8s_local.api.schema.compiled import Schema
from dask_k8s_local.api.storage.store import clone
from dask_k8s_local.interfaces import ApiError, Object


@dataclass(frozen=True)
class Applied:
    """What an apply makes of an object, and who owns what then."""

    body: Object
    managers: Managers


def apply(
    schema: Schema, resource: Resource, live: Object, config: Object, manager: Manager, *, force: bool
) -> Applied:
    """Apply a configuration to what is there.

    Raises
    ------
    ApiError
        409 if a field would change that somebody else owns, and that isn't forced.
    """
    managers = managed_fields.read(live.get("metadata", {}).get("managedFields"))
    if not managers and live.get("metadata", {}).get("uid"):
        everything = managed_fields.compare(schema, {}, live).written
        managers[Manager("before-first-apply", UPDATE, resource.api_version)] = Owned(everything, timestamp())
    last = managers.get(manager)
    wanted = managed_fields.fields_of(schema, config)
    body = merge(schema, live, config)
    if last is not None:
        others = [owned.fields for one, owned in managers.items() if one != manager]
        body = _without_abandoned(schema, body, last.fields, [wanted, *others])
    difference = managed_fields.compare(schema, live, body)
    updated: Managers = {}
    conflicts: list[tuple[Manager, Fields]] = []
    for one, owned in managers.items():
        if one == manager:
            continue
        if claimed := field_sets.intersection(owned.fields, difference.written):
            conflicts.append((one, claimed))
        left = field_sets.difference(
            field_sets.difference(owned.fields, difference.written), difference.removed
        )
        if left:
            updated[one] = Owned(left, owned.time)
    if conflicts and not force:
        raise _conflict(conflicts)
    is_same = last is not None and last.fields == wanted
    updated[manager] = Owned(wanted, last.time if last is not None and is_same else timestamp())
    return Applied(body, updated)


def _conflict(conflicts: list[tuple[Manager, Fields]]) -> ApiError:
    found = [
        (one, path)
        for one, claimed in conflicts
        for path in sorted(map(field_sets.path_text, field_sets.paths(claimed)))
    ]
    causes = [Cause("FieldManagerConflict", path, f"conflict with {one}") for one, path in found]
    if len(found) == 1:
        told = f"1 conflict: conflict with {found[0][0]}: {found[0][1]}"
    else:
        lines = []
        for one, _ in conflicts:
            lines.append(f"conflicts with {one}:")
            lines += [f"- {path}" for owner, path in found if owner == one]
        told = f"{len(found)} conflicts: " + "\n".join(lines)
    return ApiError(409, "Conflict", f"Apply failed with {told}", {"causes": errors.causes_json(causes)})


def merge(schema: Schema | None, live: Any, config: Any) -> Any:
    """Put a configuration over what is there: maps and keyed lists are merged, all else is replaced."""
    if isinstance(config, dict) and isinstance(live, dict) and field_sets.is_granular_map(schema):
        merged = dict(live)
        for key, value in config.items():
            of_child = schema.child(key) if schema is not None else None
            merged[key] = merge(of_child, live[key], value) if key in live else clone(value)
        return merged
    if isinstance(config, list) and isinstance(live, list) and field_sets.is_granular_list(schema):
        assert schema is not None
        return _merge_lists(schema, live, config)
    return clone(config)


def _merge_lists(schema: Schema, live: list[Any], config: list[Any]) -> list[Any]:
    """Keep what only the live list has where it stands; the rest comes in the configuration's order."""
    there = {field_sets.item_element(schema, item): item for item in live}
    wanted = [(field_sets.item_element(schema, item), item) for item in config]
    names = {element for element, _ in wanted}
    merged: list[Any] = []
    upcoming = iter(wanted)
    for element, item in there.items():
        if element not in names:
            merged.append(item)
            continue
        for name, value in upcoming:
            merged.append(merge(schema.items, there[name], value) if name in there else clone(value))
            if name in there:
                break
    merged += [
        merge(schema.items, there[name], value) if name in there else clone(value) for name, value in upcoming
    ]
    return merged


def _without_abandoned(schema: Schema, body: Object, last: Fields, kept: list[Fields]) -> Object:
    """Remove what the manager owned, doesn't want any more, and nobody else owns."""
    owned: Fields = {}
    for one in kept:
        owned = field_sets.union(owned, one)
    removed: Object = _remove(schema, body, last, owned or None) if last else body
    return removed


_NOTHING: Any = object()


def _remove(schema: Schema | None, value: Any, last: Fields, owned: Fields | None) -> Any:
    """Return a value without the abandoned fields below it, or nothing if it goes as a whole."""
    if owned is None and field_sets.is_member(last):
        return _NOTHING
    if owned is not None and not owned:
        return value
    if isinstance(value, dict) and field_sets.is_granular_map(schema):
        result = {}
        for key, item in value.items():
            mine = last.get(f"f:{key}")
            if mine is None:
                result[key] = item
                continue
            theirs = owned.get(f"f:{key}") if owned is not None else None
            left = _remove(schema.child(key) if schema is not None else None, item, mine, theirs)
            if left is not _NOTHING:
                result[key] = left
        return _NOTHING if value and not result and owned is None else result
    if isinstance(value, list) and field_sets.is_granular_list(schema):
        assert schema is not None
        items: list[Any] = []
        for item in value:
            element = field_sets.item_element(schema, item)
            mine = last.get(element)
            if mine is None:
                items.append(item)
                continue
            theirs = owned.get(element) if owned is not None else None
            left = _remove(schema.items, item, mine, theirs)
            if left is not _NOTHING:
                items.append(left)
        return _NOTHING if value and not items and owned is None else items
    return value
