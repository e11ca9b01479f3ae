"""Labels, annotations and environment of children: made, compared, and followed. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from dask_k8s_controller.cache.custom import Custom
from dask_k8s_controller.cache.objects import Meta
from dask_k8s_controller.cache.store import HasMeta
from dask_k8s_controller.plans.actions import Object
from dask_k8s_controller.plans.plan import Plan
from dask_k8s_models import labels


def inherited(
    owner: Custom[Any], part: Mapping[str, Any], base: Mapping[str, str], *, is_pod: bool = False
) -> Object:
    """Return the labels and annotations of a child that follow its owner's, and the memory of their keys.

    Parameters
    ----------
    owner : Custom
        Whose child it is.
    part : mapping
        The part of the owner's spec that describes the child: its ``metadata`` wins over the owner's.
    base : mapping
        Labels that the controller insists on.
    is_pod : bool
        The child is a pod: Istio leaves it alone unless the user says otherwise.
    """
    own, merged = part.get("metadata") or {}, labels.merged_pod_labels if is_pod else labels.merged
    child_labels = merged(owner.meta.labels, own.get("labels"), base)
    annotations = labels.merged(owner.meta.annotations, own.get("annotations"))
    keys = {"labels": sorted(child_labels), "annotations": sorted(annotations)}
    memory = json.dumps(keys, separators=(",", ":"))
    return {"labels": child_labels, "annotations": {**annotations, labels.PROPAGATED: memory}}


def follow(draft: Plan[Any], child: HasMeta, desired: Object) -> None:
    """Have a child's metadata follow, unless it does already."""
    if patch := metadata_patch(child.meta, desired):
        draft.patch(child, patch)


def metadata_patch(live: Meta, desired: Object) -> Object | None:
    """Find what to merge into a child's metadata so that it follows; None if it does already.

    What others have put on the child stays: those desired remember their keys.
    """
    if (
        desired["labels"].items() <= live.labels.items()
        and desired["annotations"].items() <= live.annotations.items()
    ):
        return None  # The memory of keys is among the annotations: nothing has to go either.
    remembered = _recall(live)
    patch: Object = {}
    for what, present in (("labels", live.labels), ("annotations", live.annotations)):
        wanted: Mapping[str, str] = desired[what]
        changes: dict[str, str | None] = {
            key: value for key, value in wanted.items() if present.get(key) != value
        }
        changes |= {key: None for key in remembered.get(what, ()) if key in present and key not in wanted}
        if changes:
            patch[what] = changes
    return {"metadata": patch} if patch else None


def _recall(live: Meta) -> dict[str, list[str]]:
    """Return the keys that are remembered; none if the memory isn't what we have written."""
    try:
        return msgspec.json.decode(live.annotations.get(labels.PROPAGATED, "{}"), type=dict[str, list[str]])
    except (msgspec.MsgspecError, RecursionError):
        return {}


def with_env(container: Mapping[str, Any], variables: Mapping[str, str]) -> Object:
    """Add environment variables that the user hasn't set, before the user's, which may refer to them."""
    env = container.get("env") or []
    theirs = {variable["name"] for variable in env}
    ours = [{"name": name, "value": value} for name, value in variables.items() if name not in theirs]
    return {**container, "env": [*ours, *env]}
