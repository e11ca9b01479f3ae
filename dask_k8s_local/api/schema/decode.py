"""From a client's JSON to an object of its own: unknown fields out, nulls out, defaults in.

One pass does all of it and copies as it goes, so that neither the request nor a stored object is changed.
"""

from __future__ import annotations

from typing import Any

from dask_k8s_local.api.schema.compiled import MISSING, Schema, definition
from dask_k8s_local.api.storage.store import clone
from dask_k8s_local.quantity import canonical

_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def decode(
    schema: Schema,
    value: Any,
    unknown: list[str],
    path: str = "",
    *,
    with_defaults: bool = True,
    with_nulls: bool = False,
) -> Any:
    """Copy a value as its schema sees it; what the schema doesn't know is left out and named in ``unknown``.

    A null counts as absent unless the schema says that it is nullable, as Kubernetes does it:
    https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#defaulting-and-nullable
    With ``with_nulls`` it stays where there is no default.
    """
    if isinstance(value, dict):
        return _decode_map(schema, value, unknown, path, with_defaults, with_nulls)
    if isinstance(value, list):
        items = schema.items
        if items is None:
            return clone(value)
        decoded = []
        for index, item in enumerate(value):
            if item is None and not items.nullable and items.default is not MISSING:
                decoded.append(clone(items.default))
                continue
            decoded.append(
                decode(
                    items,
                    item,
                    unknown,
                    f"{path}[{index}]",
                    with_defaults=with_defaults,
                    with_nulls=with_nulls,
                )
                if isinstance(item, (dict, list))
                else _scalar(items, item)
            )
        return decoded
    return _scalar(schema, value)


def _scalar(schema: Schema, value: Any) -> Any:
    return canonical(value) if schema.quantity else value


def _decode_map(
    schema: Schema,
    value: dict[str, Any],
    unknown: list[str],
    path: str,
    with_defaults: bool,
    with_nulls: bool,
) -> dict[str, Any]:
    decoded: dict[str, Any] = {}
    properties, additional = schema.properties, schema.additional
    is_embedded_root = schema.embedded
    for key, item in value.items():
        child = properties.get(key)
        if is_embedded_root and key == "metadata":
            child = definition(_OBJECT_META)
        if child is None:
            if isinstance(additional, Schema):
                child = additional
            elif schema.is_open or (is_embedded_root and key in ("apiVersion", "kind")):
                decoded[key] = clone(item)
                continue
            else:
                unknown.append(_join(path, key))
                continue
        if (
            child.omits_empty
            and key not in schema.required
            and not item
            and not isinstance(item, (bool, int))
        ):
            # What is applied is owned although it isn't stored.
            if not with_defaults and item is not None:
                decoded[key] = clone(item)
            continue
        if item is None:
            if child.nullable or (with_nulls and (child.default is MISSING or not with_defaults)):
                decoded[key] = None
            elif child is additional and child.default is not MISSING:
                decoded[key] = clone(child.default)
            continue
        if isinstance(item, (dict, list)):
            decoded[key] = decode(
                child,
                item,
                unknown,
                _join(path, key),
                with_defaults=with_defaults,
                # Metadata is of a kind of its own, whose nulls are always dropped.
                with_nulls=with_nulls and not (with_defaults and child is definition(_OBJECT_META)),
            )
        else:
            decoded[key] = canonical(item) if child.quantity else item
    for key, child in schema.defaults if with_defaults else ():
        if key not in decoded:
            decoded[key] = decode(child, child.default, [])
    return decoded


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
