"""OpenAPI documents, as far as ``kubectl apply``, ``explain`` and client-side validation read them.

https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from dask_k8s_local.api.kinds.builtin import definition_name
from dask_k8s_local.api.kinds.registry import Registry
from dask_k8s_local.api.kinds.served import Served
from dask_k8s_local.api.patches.media_types import accepted
from dask_k8s_local.api.schema.compiled import definitions
from dask_k8s_local.api.storage.store import encode
from dask_k8s_local.interfaces import Object

_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_POD = "io.k8s.api.core.v1.Pod"
_V2, _V3 = "#/definitions/", "#/components/schemas/"
_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation", "force")


PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


def empty_protobuf_document() -> bytes:
    """Return an OpenAPI v2 document without contents, in protobuf.

    kubectl asks for it when v3 lacks a kind, to validate by itself; a document that lacks the kind as well
    lets it go on, to the server's own answer.
    """
    title, version = b"Kubernetes", str(definitions()["version"]).encode()
    info = b"\x0a" + bytes([len(title)]) + title + b"\x12" + bytes([len(version)]) + version
    return b"\x0a\x032.0" + b"\x12" + bytes([len(info)]) + info


class OpenApi:
    """The documents for what is served right now; each is built when somebody asks for it, and kept."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._kept: dict[str, tuple[str, bytes]] = {}

    def root(self) -> Object:
        """Return the list of documents of OpenAPI v3."""
        paths = {}
        for group, version in dict.fromkeys(
            (one.resource.group, one.resource.version) for one in self._registry
        ):
            path = _document_path(group, version)
            url = f"/openapi/v3/{path}?hash={self._hash(self._of(group, version))}"
            paths[path] = {"serverRelativeURL": url}
        return {"paths": paths}

    def v3(self, path: str) -> bytes | None:
        """Return the document of a group's version."""
        chosen = [
            one for one in self._registry if _document_path(one.resource.group, one.resource.version) == path
        ]
        return self._cached(path, chosen, lambda: _document_v3(chosen)) if chosen else None

    def v2(self) -> bytes:
        everything = list(self._registry)
        return self._cached("v2", everything, lambda: _document_v2(everything))

    def _of(self, group: str, version: str) -> list[Served]:
        return [
            one for one in self._registry if (one.resource.group, one.resource.version) == (group, version)
        ]

    @staticmethod
    def _hash(chosen: list[Served]) -> str:
        text = "|".join(f"{one.resource.full_name}/{one.resource.version}@{one.revision}" for one in chosen)
        return hashlib.sha256(text.encode()).hexdigest().upper()

    def _cached(self, name: str, chosen: list[Served], build: Any) -> bytes:
        digest = self._hash(chosen)
        kept = self._kept.get(name)
        if kept is None or kept[0] != digest:
            kept = self._kept[name] = (digest, encode(build()))
        return kept[1]


def _document_path(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def schema_name(served: Served) -> str:
    """Return a kind's name among the schemas."""
    resource = served.resource
    if not resource.custom:
        return definition_name(resource)
    return ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])


def _document_v3(chosen: list[Served]) -> Object:
    schemas = _schemas(chosen)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": definitions()["version"]},
        "paths": dict(_paths(chosen, v3=True)),
        "components": {"schemas": _with_references(schemas, _V3)},
    }


def _document_v2(chosen: list[Served]) -> Object:
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": definitions()["version"]},
        "paths": dict(_paths(chosen, v3=False)),
        "definitions": _schemas(chosen),
    }


def _schemas(chosen: list[Served]) -> Object:
    """Return the schemas of kinds and of all that they refer to."""
    schemas: Object = {}
    wanted = [_OBJECT_META]
    for served in chosen:
        if served.resource.custom:
            schemas[schema_name(served)] = _custom_schema(served)
        else:
            wanted.append(schema_name(served))
    while wanted:
        name = wanted.pop()
        if name not in schemas:
            schemas[name] = definitions()[name]
            wanted += _references(schemas[name])
    return schemas


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix(_V2)
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for item in node:
            yield from _references(item)


def _with_references(node: Any, prefix: str) -> Any:
    """Point references to where OpenAPI v3 keeps schemas; a description beside one needs an allOf there."""
    if isinstance(node, list):
        return [_with_references(item, prefix) for item in node]
    if not isinstance(node, dict):
        return node
    reference = node.get("$ref")
    if isinstance(reference, str):
        target = {"$ref": reference.replace(_V2, prefix)}
        rest = {key: value for key, value in node.items() if key != "$ref"}
        return {**rest, "allOf": [target]} if rest else target
    return {key: _with_references(value, prefix) for key, value in node.items()}


def _custom_schema(served: Served) -> Object:
    source = served.schema.source
    described = definitions()[_POD]["properties"]
    properties = {
        **(source.get("properties") or {}),
        "apiVersion": {"type": "string", "description": described["apiVersion"]["description"]},
        "kind": {"type": "string", "description": described["kind"]["description"]},
        "metadata": {"$ref": f"{_V2}{_OBJECT_META}", "description": "Standard object's metadata."},
    }
    return {**source, "properties": properties, "x-kubernetes-group-version-kind": [_gvk(served)]}


def _paths(chosen: list[Served], *, v3: bool) -> Iterator[tuple[str, Object]]:
    for served in chosen:
        resource = served.resource
        base = f"/{_document_path(resource.group, resource.version)}"
        place = f"{base}/namespaces/{{namespace}}" if resource.namespaced else base
        yield f"{place}/{resource.plural}", {"post": _operation("post", served, v3=v3)}
        if "patch" in resource.verbs:
            item = {method: _operation(method, served, v3=v3) for method in ("get", "put", "patch")}
            yield f"{place}/{resource.plural}/{{name}}", item


def _operation(method: str, served: Served, *, v3: bool) -> Object:
    schema = {"$ref": f"{_V3 if v3 else _V2}{schema_name(served)}"}
    operation: Object = {
        "x-kubernetes-action": method,
        "x-kubernetes-group-version-kind": _gvk(served),
        "parameters": [],
    }
    if method != "get":
        taken = accepted(custom=served.resource.custom) if method == "patch" else ["application/json"]
        kind = {"schema": {"type": "string"}} if v3 else {"type": "string"}
        operation["parameters"] = [{"name": name, "in": "query", **kind} for name in _WRITE_PARAMETERS]
        if v3:
            operation["requestBody"] = {"content": {one: {"schema": schema} for one in taken}}
        else:
            operation["consumes"] = taken
    answer: Object = {"content": {"application/json": {"schema": schema}}} if v3 else {"schema": schema}
    operation["responses"] = {"200": {"description": "OK", **answer}}
    return operation


def _gvk(served: Served) -> Object:
    resource = served.resource
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}
