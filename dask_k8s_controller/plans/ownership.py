"""Owners: how a child names its own, and what belongs to an earlier one of the same name. Pure."""

from __future__ import annotations

from dask_k8s_controller.cache.objects import Meta
from dask_k8s_controller.plans.actions import Object
from dask_k8s_models.resource import API_VERSION


def owner_reference(kind: str, meta: Meta) -> Object:
    """Return what makes an object go when its owner goes."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "name": meta.name,
        "uid": meta.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_of_an_earlier(meta: Meta, kind: str, name: str, uid: str) -> bool:
    """Whether an object belongs to an earlier owner of that kind and name, and is soon gone."""
    return not meta.belongs_to(uid) and any(
        (reference.get("kind"), reference.get("name")) == (kind, name) for reference in meta.owner_references
    )


def owner_of(meta: Meta) -> str:
    """Name the owner of an object, for people."""
    return f"the {meta.owner.kind} {meta.owner.name}" if meta.owner else "nobody"
