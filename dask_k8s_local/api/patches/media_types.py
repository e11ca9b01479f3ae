"""The kinds of patches, by their media type."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import jsonpatch
import jsonpointer

from dask_k8s_local.api import errors
from dask_k8s_local.api.patches.merge import merge_patch, strategic_merge_patch
from dask_k8s_local.api.schema.compiled import Schema
from dask_k8s_local.interfaces import ApiError, Object

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

ACCEPTED = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH)

Change = Callable[[Object], Object]


class _Replace(jsonpatch.ReplaceOperation):
    """Replaces a field of a map also if it isn't there, as Kubernetes does, unlike RFC 6902."""

    def apply(self, obj: Any) -> Any:
        parent, key = self.pointer.to_last(obj)
        if isinstance(parent, dict) and key is not None and "value" in self.operation:
            parent[key] = self.operation["value"]
            return obj
        return super().apply(obj)


class _JsonPatch(jsonpatch.JsonPatch):
    operations = MappingProxyType({**jsonpatch.JsonPatch.operations, "replace": _Replace})


def accepted(*, custom: bool) -> list[str]:
    """Return the media types of patches that a resource takes."""
    kinds = [JSON_PATCH, MERGE_PATCH, APPLY_PATCH]
    return kinds if custom else [*kinds, STRATEGIC_MERGE_PATCH]


def change(media_type: str, patch: Any, schema: Schema, *, custom: bool) -> Change:
    """Return what a patch does to an object."""
    if media_type == JSON_PATCH:
        return _json_patch(patch)
    if media_type == MERGE_PATCH:
        _require_map(patch)
        return lambda body: merge_patch(body, patch)
    if media_type == STRATEGIC_MERGE_PATCH and not custom:
        _require_map(patch)
        return lambda body: strategic_merge_patch(schema, body, patch)
    raise errors.unsupported_media_type(accepted(custom=custom))


def _require_map(patch: Any) -> None:
    if not isinstance(patch, dict):
        raise errors.bad_request("error decoding patch: the patch must be a JSON object")


def _json_patch(patch: Any) -> Change:
    try:
        prepared = _JsonPatch(patch)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError) as error:
        raise errors.bad_request(f"error decoding patch: {error}") from None

    def changed(body: Object) -> Object:
        try:
            result: Object = prepared.apply(body)
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError) as error:
            message = f"the server rejected our request due to an error in our request: {error}"
            raise ApiError(422, "Invalid", message) from None
        return result

    return changed
