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
