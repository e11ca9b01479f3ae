"""Labels, annotations and environment of children: made, compared, and followed. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dask_k8s_controller.cache.objects import Meta
from dask_k8s_controller.plans.actions import Object
from dask_k8s_models import labels
from dask_k8s_models.resource import Metadata


def metadata_patch(live: Meta, desired: Object) -> Object | None:
    """Find what to merge into a child's metadata so that it follows; None if it does already.

    Parameters
    ----------
    live : Meta
        The child's.
    desired : dict
        ``labels`` and ``annotations``, with the annotation that remembers their keys. What others have put
        on the child stays.
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
        changes |= {key: None for key in remembered[what] if key in present and key not in wanted}
        if changes:
            patch[what] = changes
    return {"metadata": patch} if patch else None


def remembered(child_labels: dict[str, str], annotations: dict[str, str]) -> Object:
    keys = {"labels": sorted(child_labels), "annotations": sorted(annotations)}
    memory = json.dumps(keys, separators=(",", ":"))
    return {"labels": child_labels, "annotations": {**annotations, labels.PROPAGATED: memory}}


def _recall(live: Meta) -> dict[str, list[str]]:
    nothing: dict[str, list[str]] = {"labels": [], "annotations": []}
    try:
        found = json.loads(live.annotations.get(labels.PROPAGATED, "{}"))
    except ValueError:
        return nothing
    if not isinstance(found, dict):
        return nothing
    return {what: [str(key) for key in found.get(what) or ()] for what in nothing}


def with_env(container: Mapping[str, Any], variables: Mapping[str, str]) -> Object:
    """Add environment variables that the user hasn't set, before the user's, which may refer to them."""
    env = container.get("env") or []
    theirs = {variable["name"] for variable in env}
    ours = [{"name": name, "value": value} for name, value in variables.items() if name not in theirs]
    return {**container, "env": [*ours, *env]}


def sub_resource(metadata: Metadata | None) -> Metadata:
    return metadata or Metadata()
