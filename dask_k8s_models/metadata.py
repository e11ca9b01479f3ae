"""What the API server refuses in the metadata of any object, beyond its types.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str | int, ...]

MAX_ANNOTATIONS = 262_144
"""Bytes of all annotations of an object together."""

LABEL_VALUE_PATTERN = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"

_VALUE = re.compile(LABEL_VALUE_PATTERN.strip("^$"))
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def metadata_problems(metadata: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yield what keeps an object with that metadata from being created; wrong types are left to others.

    Parameters
    ----------
    metadata : mapping
        The ``metadata`` of an object, as it was written.
    """
    for key, value in _texts(metadata, "labels"):
        yield from _about_key(("labels", key), key)
        if len(value) > 63 or not _VALUE.fullmatch(value):
            yield ("labels", key), f"{value!r} is no label: at most 63 letters, digits, '-', '_' and '.'"
    annotations = list(_texts(metadata, "annotations"))
    for key, _ in annotations:
        yield from _about_key(("annotations", key), key.lower())
    if (size := sum(len(f"{key}{value}".encode()) for key, value in annotations)) > MAX_ANNOTATIONS:
        yield ("annotations",), f"have {size:,} bytes: at most {MAX_ANNOTATIONS:,} are allowed"
    for index, finalizer in enumerate(metadata.get("finalizers") or ()):
        yield from _about_key(("finalizers", index), str(finalizer))
    yield from _about_owners(metadata.get("ownerReferences") or ())
    if metadata.get("resourceVersion"):
        yield ("resourceVersion",), "must not be there when an object is created: take it out"


def _texts(metadata: Mapping[str, Any], field: str) -> Iterator[tuple[str, str]]:
    values = metadata.get(field)
    if isinstance(values, Mapping):
        yield from ((str(key), value) for key, value in values.items() if isinstance(value, str))


def _about_key(path: Path, key: str) -> Iterator[tuple[Path, str]]:
    prefix, divider, name = key.rpartition("/")
    is_valid = len(name) <= 63 and _NAME.fullmatch(name)
    if divider:
        is_valid = is_valid and len(prefix) <= 253 and _SUBDOMAIN.fullmatch(prefix)
    if not is_valid:
        yield (
            path,
            f"{key!r} is no valid key: at most 63 letters, digits, '-', '_' and '.', perhaps with a domain "
            "and '/' before them",
        )


def _about_owners(owners: Any) -> Iterator[tuple[Path, str]]:
    controllers = 0
    for index, owner in enumerate(owners if isinstance(owners, list) else ()):
        if not isinstance(owner, Mapping):
            continue
        for field in ("apiVersion", "kind", "name", "uid"):
            if owner.get(field) == "":
                yield ("ownerReferences", index, field), "must not be empty"
        controllers += owner.get("controller") is True
        if controllers > 1 and owner.get("controller") is True:
            yield ("ownerReferences", index, "controller"), "is true for another owner already"
