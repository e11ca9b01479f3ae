"""Owners: how a child names its own, what is taken on, and what an earlier owner of the same name left. Pure.

https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Protocol

from dask_k8s_controller.cache.custom import Custom
from dask_k8s_controller.cache.objects import Meta
from dask_k8s_controller.plans.actions import Delete, Draft, Object, Patch
from dask_k8s_models.resource import API_VERSION


class Child(Protocol):
    """An object that may have owners."""

    kind: ClassVar[str]

    @property
    def meta(self) -> Meta: ...


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


def delete(child: Child, why: str, grace: int | None = None) -> Delete:
    """Return the deletion of this very object; of a pod, perhaps with another grace period, in seconds."""
    return Delete(child.kind, child.meta.name, child.meta.uid, why, grace=grace)


def adoption(child: Child, owner: Custom[Any]) -> Patch | None:
    """Return what makes an object that was made by hand go with its owner; None if it does already."""
    meta = child.meta
    if meta.belongs_to(owner.meta.uid):
        return None
    reference = owner_reference(owner)
    if meta.owner is not None:
        reference["controller"] = False
    patch = {"metadata": {"ownerReferences": [*meta.owner_references, reference]}}
    return Patch(child.kind, meta.name, meta.uid, patch, meta.version)


def is_of_an_earlier(meta: Meta, kind: str, name: str, uid: str) -> bool:
    """Whether an object belongs to an earlier owner of that kind and name, and is soon gone."""
    return not meta.belongs_to(uid) and any(
        (reference.get("kind"), reference.get("name")) == (kind, name) for reference in meta.owner_references
    )


def is_of_an_earlier_owner(child: Child, owner: Custom[Any]) -> bool:
    """Whether an object belongs to an earlier owner of the same kind and name, and not to this one."""
    return is_of_an_earlier(child.meta, owner.kind, owner.name, owner.meta.uid)


def owner_of(meta: Meta) -> str:
    """Name the owner of an object, for people."""
    return f"the {meta.owner.kind} {meta.owner.name}" if meta.owner else "nobody"


def delete_leftovers(draft: Draft, owner: Custom[Any], children: Iterable[Child]) -> None:
    """Delete what an earlier owner of the same name has left, before this one takes the names."""
    for child in children:
        # What is younger belongs to a later owner, whom the cache doesn't show yet.
        is_younger = bool(
            child.meta.created and owner.meta.created and child.meta.created > owner.meta.created
        )
        if is_of_an_earlier_owner(child, owner) and not child.meta.is_deleting and not is_younger:
            kind = owner.kind.removeprefix("Dask").lower()
            draft.actions.append(delete(child, f"it belongs to an earlier {kind} of this name"))
