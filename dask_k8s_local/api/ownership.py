"""Who owns which field: ``metadata.managedFields``.

https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dask_k8s_local.api import fields
from dask_k8s_local.api.fields import Fields, Path
from dask_k8s_local.api.metadata import timestamp
from dask_k8s_local.api.schema import Schema
from dask_k8s_local.interfaces import Object

UPDATE, APPLY = "Update", "Apply"
_MAX_UPDATERS = 10
_NOT_OWNED = (
    ("f:apiVersion",),
    ("f:kind",),
    ("f:metadata",),
    *(
        ("f:metadata", f"f:{name}")
        for name in (
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "generation",
            "managedFields",
            "resourceVersion",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        )
    ),
)
_NOT_OWNED_FIELDS = fields.from_paths(_NOT_OWNED)


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
            fields.union(before.fields, owned.fields) if before else owned.fields, owned.time
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


@dataclass
class Comparison:
    """What differs between two states of an object, field by field."""

    written: Fields
    """Added or modified."""
    removed: Fields


def compare(schema: Schema, old: Object, new: Object) -> Comparison:
    written: list[Path] = []
    removed: list[Path] = []
    _compare(schema, old, new, (), written, removed)
    return Comparison(
        fields.difference(fields.from_paths(written), _NOT_OWNED_FIELDS), fields.from_paths(removed)
    )


def _compare(
    schema: Schema | None, old: Any, new: Any, path: Path, written: list[Path], removed: list[Path]
) -> None:
    if old == new:
        return
    if _is_map(schema, old) and _is_map(schema, new):
        for key in old.keys() | new.keys():
            _compare_child(schema, key, old, new, path, written, removed)
    elif fields.is_granular_list(schema) and isinstance(old, list) and isinstance(new, list):
        assert schema is not None
        before = {fields.item_element(schema, item): item for item in old}
        now = {fields.item_element(schema, item): item for item in new}
        for element in before.keys() | now.keys():
            child = (*path, element)
            if element not in now:
                _collect(schema.items, before[element], child, removed, with_containers=True)
            elif element not in before:
                _collect(schema.items, now[element], child, written, with_containers=True)
            else:
                _compare(schema.items, before[element], now[element], child, written, removed)
    else:
        written.append(path)


def _compare_child(
    schema: Schema | None,
    key: str,
    old: Object,
    new: Object,
    path: Path,
    written: list[Path],
    removed: list[Path],
) -> None:
    if path == ("f:metadata",) and key == "managedFields":
        return
    child = (*path, f"f:{key}")
    of_child = schema.child(key) if schema is not None else None
    if key not in new:
        _collect(of_child, old[key], child, removed, with_containers=True)
    elif key not in old:
        _collect(of_child, new[key], child, written, with_containers=True)
    else:
        _compare(of_child, old[key], new[key], child, written, removed)


def _is_map(schema: Schema | None, value: Any) -> bool:
    return isinstance(value, dict) and fields.is_granular_map(schema)


def _collect(
    schema: Schema | None, value: Any, path: Path, found: list[Path], *, with_containers: bool
) -> None:
    """Add the fields below a value; a container counts itself if it is empty, new, or an entry of a map."""
    if isinstance(value, dict) and value and fields.is_granular_map(schema):
        if with_containers:
            found.append(path)
        for key, item in value.items():
            child = (*path, f"f:{key}")
            of_child = schema.child(key) if schema is not None else None
            is_entry = schema is None or key not in schema.properties
            if is_entry and not with_containers and isinstance(item, (dict, list)):
                found.append(child)
            _collect(of_child, item, child, found, with_containers=with_containers)
    elif isinstance(value, list) and value and fields.is_granular_list(schema):
        assert schema is not None
        if with_containers:
            found.append(path)
        for item in value:
            child = (*path, fields.item_element(schema, item))
            if not with_containers:
                found.append(child)
            _collect(schema.items, item, child, found, with_containers=with_containers)
    else:
        found.append(path)


def fields_of(schema: Schema, body: Object) -> Fields:
    """Return the fields that an applied configuration claims."""
    found: list[Path] = []
    _collect(schema, body, (), found, with_containers=False)
    return fields.difference(fields.from_paths(path for path in found if path), _NOT_OWNED_FIELDS)


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
        left = fields.difference(owned.fields, difference.removed)
        if one != manager:
            left = fields.difference(left, difference.written)
        if left:
            updated[one] = Owned(left, owned.time)
    mine = updated.get(manager)
    if difference.written:
        updated[manager] = Owned(fields.union(mine.fields if mine else {}, difference.written), now)
    return updated
