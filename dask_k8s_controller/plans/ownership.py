"""Owners: how a child names its own, what is taken on, and what an earlier owner of the same name left. Pure.

https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dask_k8s_controller.cache.custom import Custom
from dask_k8s_controller.cache.objects import Meta
from dask_k8s_controller.cache.store import HasMeta
from dask_k8s_controller.plans.actions import Object
from dask_k8s_controller.plans.plan import Plan
from dask_k8s_models.resource import API_VERSION


def owner_reference(owner: Custom[Any]) -> Object:
    """Return what makes an object go when its owner goes."""
    return {
        "apiVersion": API_VERSION,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.meta.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def child(
    owner: Custom[Any], api_version: str, kind: str, name: str, metadata: Mapping[str, Any], **rest: Any
) -> Object:
    """Return an object that goes with its owner, with these labels and annotations, and its other fields."""
    place = {"name": name, "namespace": owner.meta.namespace, "ownerReferences": [owner_reference(owner)]}
    return {"apiVersion": api_version, "kind": kind, "metadata": {**metadata, **place}, **rest}


def adopt(draft: Plan[Any], child: HasMeta, owner: Custom[Any]) -> None:
    """Make an object that was made by hand go with its owner."""
    meta = child.meta
    if meta.belongs_to(owner.meta.uid):
        return
    reference = owner_reference(owner)
    if meta.owner is not None:
        reference["controller"] = False
    draft.patch(child, {"metadata": {"ownerReferences": [*meta.owner_references, reference]}}, meta.version)


def is_of_an_earlier(meta: Meta, kind: str, name: str, uid: str) -> bool:
    """Whether an object belongs to an earlier owner of that kind and name, and is soon gone."""
    return not meta.belongs_to(uid) and any(
        (reference.get("kind"), reference.get("name")) == (kind, name) for reference in meta.owner_references
    )


def is_of_an_earlier_owner(child: HasMeta, owner: Custom[Any]) -> bool:
    """Whether an object belongs to an earlier owner of the same kind and name, and not to this one."""
    return is_of_an_earlier(child.meta, owner.kind, owner.name, owner.meta.uid)


def owner_of(meta: Meta) -> str:
    """Name the owner of an object, for people."""
    return f"the {meta.owner.kind} {meta.owner.name}" if meta.owner else "nobody"


def delete_leftovers(draft: Plan[Any], children: Iterable[HasMeta]) -> None:
    """Delete what an earlier owner of the same name has left, before this one takes the names."""
    owner = draft.observed.subject
    for child in children:
        # What is younger belongs to a later owner, whom the cache doesn't show yet.
        is_younger = bool(
            child.meta.created and owner.meta.created and child.meta.created > owner.meta.created
        )
        if is_of_an_earlier_owner(child, owner) and not child.meta.is_deleting and not is_younger:
            kind = owner.kind.removeprefix("Dask").lower()
            draft.delete(child, f"it belongs to an earlier {kind} of this name")
