"""Who owns which field: ``metadata.managedFields``.

https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dask_k8s_local.api.meta.metadata import timestamp
from dask_k8s_local.api.patches import field_sets
from dask_k8s_local.api.patches.field_sets import Fields
from dask_k8s_local.api.schema.compiled import Schema
from dask_k8s_local.interfaces import Object

UPDATE, APPLY = "Update", "Apply"
_MAX_UPDATERS = 10
_NOT_OWNED = {
    "": frozenset(("apiVersion", "kind")),
    "metadata": frozenset(
        (
            "name",
            "namespace",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "managedFields",
            "resourceVersion",
            "selfLink",
            "uid",
        )
    ),
}
"""Fields that belong to nobody, at the root and in the metadata."""


@dataclass(frozen=True)
class Manager:
    """Who wrote, how, and through which version and subresource."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    def __str__(self) -> str:
        text = f'"{self.name}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == UPDATE else text


@dataclass
class Owned:
    """What a manager owns, and since when."""

    fields: Fields
    time: str


Managers = dict[Manager, Owned]


def read(entries: list[Object] | None) -> Managers:
    """Read ``managedFields``; raise ValueError if they are malformed."""
    managers: Managers = {}
    for entry in entries or ():
        manager = Manager(
            entry.get("manager", ""),
            entry.get("operation", ""),
            entry.get("apiVersion", ""),
            entry.get("subresource", ""),
        )
        if manager.operation not in (UPDATE, APPLY):
            raise ValueError(f"invalid operation {manager.operation!r} in managedFields")
        managers[manager] = Owned(entry.get("fieldsV1") or {}, entry.get("time", ""))
    return managers


def write(managers: Managers) -> list[Object]:
    """Return ``managedFields``, oldest first, with what too many updaters own folded into one entry."""
    updaters = sorted(
        (one for one in managers if one.operation == UPDATE and not one.subresource),
        key=lambda one: managers[one].time,
    )
    for oldest in updaters[:-_MAX_UPDATERS]:
        ancient = Manager("ancient-changes", UPDATE, oldest.api_version)
        owned = managers.pop(oldest)
        before = managers.get(ancient)
        managers[ancient] = Owned(
            field_sets.union(before.fields, owned.fields) if before else owned.fields, owned.time
        )
    return [
        {
            "manager": manager.name,
            "operation": manager.operation,
            "apiVersion": manager.api_version,
            "time": owned.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": owned.fields,
            **({"subresource": manager.subresource} if manager.subresource else {}),
        }
        for manager, owned in sorted(
            managers.items(), key=lambda item: (item[0].operation, item[1].time, item[0].name)
        )
        if owned.fields
    ]


@dataclass(frozen=True)
class Comparison:
    """What differs between two states of an object, field by field."""

    written: Fields
    """Added or modified."""
    removed: Fields


def compare(schema: Schema, old: Object, new: Object) -> Comparison:
    before, now = _ownable(old), _ownable(new)
    # A struct of Kubernetes' own types is always there: only a custom object's spec can be new as such.
    for name in ("metadata",) if schema.is_custom else ("metadata", "spec", "status"):
        if isinstance(now.get(name), dict):
            before.setdefault(name, {})
        elif isinstance(before.get(name), dict):
            now.setdefault(name, {})
    written, removed = _compare(schema, before, now)
    return Comparison(written or {}, removed or {})


def _ownable(body: Object) -> Object:
    """Return an object without the fields that belong to nobody."""
    own = {key: value for key, value in body.items() if key not in _NOT_OWNED[""]}
    metadata = own.pop("metadata", None) or {}
    owned = {key: value for key, value in metadata.items() if key not in _NOT_OWNED["metadata"]}
    return {**own, "metadata": owned} if owned else own


_Node = Fields | None


def _compare(schema: Schema | None, old: Any, new: Any) -> tuple[_Node, _Node]:
    """Return what was written and what was removed."""
    if old == new:
        return None, None
    if isinstance(old, dict) and isinstance(new, dict) and field_sets.is_granular_map(schema):
        before = {f"f:{key}": (schema.child(key) if schema else None, item) for key, item in old.items()}
        now = {f"f:{key}": (schema.child(key) if schema else None, item) for key, item in new.items()}
    elif schema and field_sets.is_granular_list(schema) and isinstance(old, list) and isinstance(new, list):
        before = {field_sets.item_element(schema, item): (schema.items, item) for item in old}
        now = {field_sets.item_element(schema, item): (schema.items, item) for item in new}
    else:
        return {}, None
    written: Fields = {}
    removed: Fields = {}
    for element, (child, item) in now.items():
        if element not in before:
            written[element] = _everything(child, item)
            continue
        was_written, was_removed = _compare(child, before[element][1], item)
        if was_written is not None:
            written[element] = was_written
        if was_removed is not None:
            removed[element] = was_removed
    for element in before.keys() - now.keys():
        removed[element] = _everything(*before[element])
    return written or None, removed or None


def _everything(schema: Schema | None, value: Any) -> Fields:
    """Return a value's fields, containers counted as well."""
    found: Fields = {}
    if isinstance(value, dict) and field_sets.is_granular_map(schema):
        for key, item in value.items():
            found[f"f:{key}"] = _everything(schema.child(key) if schema else None, item)
    elif schema and isinstance(value, list) and field_sets.is_granular_list(schema):
        for item in value:
            found[field_sets.item_element(schema, item)] = _everything(schema.items, item)
    if found:
        found["."] = {}
    return found


def fields_of(schema: Schema, body: Object) -> Fields:
    """Return the fields that an applied configuration claims."""
    return _claimed(schema, _ownable(body))


def _claimed(schema: Schema | None, value: Any) -> Fields:
    """Return a value's fields; of containers only items of lists and entries of maps count themselves."""
    found: Fields = {}
    if isinstance(value, dict) and field_sets.is_granular_map(schema):
        for key, item in value.items():
            below = found[f"f:{key}"] = _claimed(schema.child(key) if schema else None, item)
            is_entry = schema is None or key not in schema.properties
            if below and is_entry:
                below["."] = {}
    elif schema and isinstance(value, list) and field_sets.is_granular_list(schema):
        for item in value:
            below = found[field_sets.item_element(schema, item)] = _claimed(schema.items, item)
            if below:
                below["."] = {}
    return found


def after_update(
    managers: Managers, schema: Schema, old: Object, new: Object, manager: Manager
) -> Managers | None:
    """Return who owns what after an ordinary write; None if that changed nothing."""
    difference = compare(schema, old, new)
    if not difference.written and not difference.removed:
        return None
    now = timestamp()
    updated: Managers = {}
    for one, owned in managers.items():
        left = field_sets.difference(owned.fields, difference.removed)
        if one != manager:
            left = field_sets.difference(left, difference.written)
        if left:
            updated[one] = Owned(left, owned.time)
    mine = updated.get(manager)
    if difference.written:
        updated[manager] = Owned(field_sets.union(mine.fields if mine else {}, difference.written), now)
    return updated
