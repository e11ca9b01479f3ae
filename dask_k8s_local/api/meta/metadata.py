"""The part of an object that the server owns or checks whatever the kind."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from dask_k8s_local.api import errors
from dask_k8s_local.api.errors import Cause
from dask_k8s_local.api.meta import names
from dask_k8s_local.api.resource import Resource
from dask_k8s_local.interfaces import Object

_ANNOTATIONS_LIMIT = 256 * 1024
_SYSTEM_FIELDS = (
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "generation",
)


def timestamp(at: datetime | None = None) -> str:
    return (at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def fill_for_create(metadata: Object, resource: Resource, namespace: str) -> None:
    """Give a new object its identity."""
    for name in _SYSTEM_FIELDS:
        metadata.pop(name, None)
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = timestamp()
    if resource.namespaced:
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)
    _drop_empty(metadata)


def carry_over(metadata: Object, old: Object) -> None:
    """Restore what an update can't change."""
    for name in (*_SYSTEM_FIELDS, "name", "namespace", "generateName"):
        if name == "resourceVersion":
            continue
        if name in old:
            metadata[name] = old[name]
        else:
            metadata.pop(name, None)
    _drop_empty(metadata)


def _drop_empty(metadata: Object) -> None:
    for name in ("labels", "annotations", "finalizers", "ownerReferences", "managedFields", "generateName"):
        if not metadata.get(name):
            metadata.pop(name, None)


def validate(metadata: Object, resource: Resource, name_problem: Callable[[str], str | None]) -> list[Cause]:
    causes: list[Cause] = []
    name = metadata.get("name")
    if not name:
        causes.append(errors.required("metadata.name", "name or generateName is required"))
    elif problem := name_problem(name):
        causes.append(errors.invalid_value("metadata.name", name, problem))
    for key, value in (metadata.get("labels") or {}).items():
        if problem := names.qualified_name_problem(key):
            causes.append(errors.invalid_value("metadata.labels", key, problem))
        if problem := names.label_value_problem(value):
            causes.append(errors.invalid_value("metadata.labels", value, problem))
    annotations = metadata.get("annotations") or {}
    causes += [
        errors.invalid_value("metadata.annotations", key, problem)
        for key in annotations
        if (problem := names.qualified_name_problem(key.lower()))
    ]
    if (
        sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
        > _ANNOTATIONS_LIMIT
    ):
        causes.append(errors.too_long("metadata.annotations", _ANNOTATIONS_LIMIT))
    causes += _validate_owners(metadata.get("ownerReferences") or [])
    for index, finalizer in enumerate(metadata.get("finalizers") or []):
        field = f"metadata.finalizers[{index}]"
        if problem := names.qualified_name_problem(finalizer):
            causes.append(errors.invalid_value("metadata.finalizers", finalizer, problem))
        elif resource.group not in _LENIENT_GROUPS and not resource.custom and not _is_full(finalizer):
            detail = "name is neither a standard finalizer name nor is it fully qualified"
            causes.append(errors.invalid_value(field, finalizer, detail))
    return causes


_LENIENT_GROUPS = ("apiextensions.k8s.io",)
_OWNER_FIELDS = {
    "apiVersion": "version must not be empty",
    "kind": "must not be empty",
    "name": "must not be empty",
    "uid": "must not be empty",
}


def _is_full(finalizer: str) -> bool:
    return "/" in finalizer or finalizer in ("orphan", "foregroundDeletion", "kubernetes")


def warnings(metadata: Object, old: Object, resource: Resource) -> list[str]:
    """Return what is allowed, but not wise."""
    return [
        f'metadata.finalizers: "{one}": prefer a domain-qualified finalizer name '
        f"{'including a path (/) ' if '.' in one else ''}to "
        "avoid accidental conflicts with other finalizer writers"
        for one in metadata.get("finalizers") or ()
        if resource.custom and not _is_full(one) and one not in (old.get("finalizers") or ())
    ]


def _validate_owners(owners: list[Object]) -> list[Cause]:
    causes: list[Cause] = []
    controllers = []
    for owner in owners:
        causes += [
            errors.invalid_value(f"metadata.ownerReferences.{key}", "", detail)
            for key, detail in _OWNER_FIELDS.items()
            if not owner.get(key)
        ]
        if (owner.get("apiVersion"), owner.get("kind")) == ("v1", "Event"):
            detail = "/v1, Kind=Event is disallowed from being an owner"
            causes.append(errors.invalid_value("metadata.ownerReferences", owner, detail))
        if owner.get("controller"):
            controllers.append(owner)
    if len(controllers) > 1:
        first, second = controllers[:2]
        causes.append(
            errors.invalid_value(
                "metadata.ownerReferences",
                owners,
                'Only one reference can have Controller set to true. Found "true" in references for '
                f"{first.get('kind')}/{first.get('name')} and {second.get('kind')}/{second.get('name')}",
            )
        )
    return causes


def immutable_causes(new: Object, old: Object) -> list[Cause]:
    """Return what a client has tried to change of an object's identity."""
    return [
        errors.invalid_value(f"metadata.{name}", new[name], "field is immutable")
        for name in ("uid",)
        if new.get(name) and new[name] != old.get(name)
    ]


def validate_update(new: Object, old: Object) -> list[Cause]:
    causes: list[Cause] = []
    if old.get("deletionTimestamp"):
        added = [one for one in new.get("finalizers") or [] if one not in (old.get("finalizers") or [])]
        if added:
            shown = "[]string{" + ", ".join(errors.show(one) for one in added) + "}"
            causes.append(
                errors.forbidden_field(
                    "metadata.finalizers",
                    "no new finalizers can be added if the object is being deleted, "
                    f"found new finalizers {shown}",
                )
            )
    return causes
