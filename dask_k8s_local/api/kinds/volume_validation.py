"""What is wrong with a pod's volumes and with where its containers mount them.

Paths inside a volume never leave it: https://kubernetes.io/docs/concepts/storage/volumes/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dask_k8s_local.api import errors
from dask_k8s_local.api.errors import Cause
from dask_k8s_local.api.meta import names
from dask_k8s_local.interfaces import Object

_LEAST_TOKEN_SECONDS = 600


def name_problems(name: Any, seen: set[str], path: str) -> Iterator[Cause]:
    if not name:
        yield errors.required(path)
    elif problem := names.label_problem(name):
        yield errors.invalid_value(path, name, problem)
    elif name in seen:
        yield errors.duplicate(path, name)
    else:
        seen.add(name)


def volume_problems(volumes: Any, path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        place = f"{path}[{index}]"
        yield from name_problems(volume.get("name"), seen, f"{place}.name")
        if len(volume) > 2:
            second = [key for key in volume if key != "name"][1]
            yield errors.forbidden_field(f"{place}.{second}", "may not specify more than 1 volume type")
        yield from _source_problems(volume, place)
        if "hostPath" in volume:
            yield from _backstep_problems(volume["hostPath"].get("path"), f"{place}.hostPath.path")
        if projected := volume.get("projected"):
            yield from _mode_problems(projected, "defaultMode", f"{place}.projected")
            for number, source in enumerate(projected.get("sources") or ()):
                yield from _source_problems(source, f"{place}.projected.sources[{number}]")


def _source_problems(source: Object, place: str) -> Iterator[Cause]:
    for kind in ("configMap", "secret", "downwardAPI"):
        reference = source.get(kind) or {}
        yield from _mode_problems(reference, "defaultMode", f"{place}.{kind}")
        for index, item in enumerate(reference.get("items") or ()):
            # Kubernetes doesn't count what tells of the pod itself.
            where = f"{place}.{kind}" + ("" if kind == "downwardAPI" else f".items[{index}]")
            if kind != "downwardAPI" and not item.get("key"):
                yield errors.required(f"{where}.key")
            yield from _file_problems(item.get("path"), f"{where}.path")
            yield from _mode_problems(item, "mode", where)
    if token := source.get("serviceAccountToken"):
        yield from _file_problems(token.get("path"), f"{place.partition('.sources')[0]}.path")
        if (seconds := token.get("expirationSeconds", _LEAST_TOKEN_SECONDS)) < _LEAST_TOKEN_SECONDS:
            detail = "may not specify a duration less than 10 minutes"
            yield errors.invalid_value(f"{place}.serviceAccountToken.expirationSeconds", seconds, detail)


def mount_problems(
    mount: Object, volumes: set[str], mounted: set[str], path: str, index: int
) -> Iterator[Cause]:
    place = f"{path}[{index}]"
    if not mount.get("name"):
        yield errors.required(f"{place}.name")
    elif mount["name"] not in volumes:
        yield Cause("FieldValueNotFound", f"{place}.name", f"Not found: {errors.show(mount['name'])}")
    if not mount.get("mountPath"):
        yield errors.required(f"{place}.mountPath")
    elif mount["mountPath"] in mounted:
        yield errors.invalid_value(f"{place}.mountPath", mount["mountPath"], "must be unique")
    mounted.add(mount.get("mountPath", ""))
    for key in ("subPath", "subPathExpr"):
        if mount.get(key):
            # Without the index, as Kubernetes has it.
            yield from _descending_problems(mount[key], f"{path}.{key}")
    if mount.get("subPath") and mount.get("subPathExpr"):
        detail = "subPathExpr and subPath are mutually exclusive"
        yield errors.invalid_value(f"{place}.subPathExpr", mount["subPathExpr"], detail)


def _file_problems(file: str | None, path: str) -> Iterator[Cause]:
    if not file:
        yield errors.required(path)
        return
    yield from _descending_problems(file, path)
    # Names that begin so are what a volume's files are exchanged with.
    if file.startswith("..") and not file.startswith("../"):
        yield errors.invalid_value(path, file, "must not start with '..'")


def _descending_problems(file: str, path: str) -> Iterator[Cause]:
    if file.startswith("/"):
        yield errors.invalid_value(path, file, "must be a relative path")
    yield from _backstep_problems(file, path)


def _backstep_problems(file: str | None, path: str) -> Iterator[Cause]:
    if not file:
        yield errors.required(path)
    elif ".." in file.split("/"):
        yield errors.invalid_value(path, file, "must not contain '..'")


def _mode_problems(source: Object, key: str, place: str) -> Iterator[Cause]:
    mode = source.get(key)
    if mode is not None and not 0 <= mode <= 0o777:
        detail = "must be a number between 0 and 0777 (octal), both inclusive"
        yield errors.invalid_value(f"{place}.{key}", mode, detail)
