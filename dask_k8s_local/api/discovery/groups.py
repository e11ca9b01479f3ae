"""What the server has to offer: groups, versions, resources.

https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

from collections.abc import Iterator

from aiohttp import web

from dask_k8s_local.api import errors
from dask_k8s_local.api.discovery.openapi import PROTOBUF, OpenApi, empty_protobuf_document
from dask_k8s_local.api.http.representation import json_response, raw_response
from dask_k8s_local.api.kinds.registry import Registry
from dask_k8s_local.api.resource import Resource
from dask_k8s_local.api.schema.compiled import definitions
from dask_k8s_local.api.storage.store import encode
from dask_k8s_local.interfaces import Object

_HEALTH = ("/healthz", "/livez", "/readyz")


class Discovery:
    """Answers the paths that are not about objects."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._openapi = OpenApi(registry)

    def answer(self, request: web.BaseRequest) -> web.Response:
        path = request.path.rstrip("/")
        if request.method not in ("GET", "HEAD"):
            raise errors.unknown_path()
        if path in _HEALTH or path.startswith(tuple(f"{one}/" for one in _HEALTH)):
            return web.Response(text="ok")
        if path in ("/api", "/apis") and (media_type := _aggregated_type(request)):
            response = json_response(self._aggregated(is_core=path == "/api"))
            response.headers["Content-Type"] = media_type
            return response
        if path == "/openapi/v2":
            if "protobuf" in request.headers.get("Accept", ""):
                return raw_response(empty_protobuf_document(), media_type=PROTOBUF)
            return raw_response(self._openapi.v2())
        if path == "/openapi/v3":
            # As Kubernetes does, whatever was asked for: it leaves the type to be guessed from the content.
            return raw_response(encode(self._openapi.root()), media_type="text/plain")
        if path.startswith("/openapi/v3/"):
            document = self._openapi.v3(path.removeprefix("/openapi/v3/"))
            if document is None:
                raise errors.unknown_path()
            return raw_response(document)
        return json_response(self._body(path))

    def _body(self, path: str) -> Object:
        match path.split("/"):
            case ["", "version"]:
                return version()
            case [""]:
                return {
                    "paths": ["/api", "/api/v1", "/apis", *_HEALTH, "/openapi/v2", "/openapi/v3", "/version"]
                }
            case ["", "api"]:
                return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
            case ["", "api", "v1"]:
                return self._resource_list("", "v1")
            case ["", "apis"]:
                groups = [self._group(name) for name in self._groups()]
                return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
            case ["", "apis", group] if group in self._groups():
                return {"kind": "APIGroup", "apiVersion": "v1", **self._group(group)}
            case ["", "apis", group, group_version]:
                return self._resource_list(group, group_version)
        raise errors.unknown_path()

    def _aggregated(self, *, is_core: bool) -> Object:
        items = []
        for group in [""] if is_core else self._groups():
            versions: dict[str, list[Object]] = {}
            for served in self._registry:
                if served.resource.group == group:
                    versions.setdefault(served.resource.version, []).append(
                        _aggregated_entry(served.resource)
                    )
            listed = [
                {"version": name, "resources": resources, "freshness": "Current"}
                for name, resources in versions.items()
            ]
            items.append({"metadata": {"name": group} if group else {}, "versions": listed})
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": items,
        }

    def _groups(self) -> list[str]:
        return sorted({served.resource.group for served in self._registry} - {""})

    def _group(self, name: str) -> Object:
        versions = list(
            dict.fromkeys(one.resource.version for one in self._registry if one.resource.group == name)
        )
        listed = [{"groupVersion": f"{name}/{one}", "version": one} for one in versions]
        return {"name": name, "versions": listed, "preferredVersion": listed[0]}

    def _resource_list(self, group: str, group_version: str) -> Object:
        resources = [
            entry
            for served in self._registry
            if (served.resource.group, served.resource.version) == (group, group_version)
            for entry in _entries(served.resource)
        ]
        if not resources:
            raise errors.unknown_path()
        name = f"{group}/{group_version}" if group else group_version
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources}


_SUBRESOURCE_KINDS = {
    "binding": ("Binding", "", "v1", ("create",)),
    "eviction": ("Eviction", "policy", "v1", ("create",)),
    "token": ("TokenRequest", "authentication.k8s.io", "v1", ("create",)),
    "scale": ("Scale", "autoscaling", "v1", ("get", "patch", "update")),
}
_SUBRESOURCE_VERBS = {
    "status": ("get", "patch", "update"),
    "log": ("get",),
    "finalize": ("update",),
    "exec": ("create", "get"),
    "attach": ("create", "get"),
    "portforward": ("create", "get"),
    "proxy": ("create", "delete", "get", "patch", "update"),
}


def _entries(resource: Resource) -> Iterator[Object]:
    entry: Object = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    yield entry
    for name in resource.subresources:
        sub: Object = {
            "name": f"{resource.plural}/{name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": list(_SUBRESOURCE_VERBS.get(name, ("get", "patch", "update"))),
        }
        if name in _SUBRESOURCE_KINDS:
            kind, group, group_version, verbs = _SUBRESOURCE_KINDS[name]
            sub |= {"kind": kind, "group": group, "version": group_version, "verbs": list(verbs)}
        yield sub


def _aggregated_entry(resource: Resource) -> Object:
    scope = "Namespaced" if resource.namespaced else "Cluster"
    main, *below = _entries(resource)
    entry: Object = {
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": scope,
        "singularResource": resource.singular,
        "verbs": main["verbs"],
    }
    entry |= {key: main[key] for key in ("shortNames", "categories") if key in main}
    if below:
        entry["subresources"] = [
            {
                "subresource": one["name"].partition("/")[2],
                "responseKind": {
                    "group": one.get("group", resource.group),
                    "version": one.get("version", resource.version),
                    "kind": one["kind"],
                },
                "verbs": one["verbs"],
            }
            for one in below
        ]
    return entry


def _aggregated_type(request: web.BaseRequest) -> str:
    """Return the media type of aggregated discovery if the client would rather have that."""
    for clause in request.headers.get("Accept", "").split(","):
        parts = {part.strip() for part in clause.split(";")}
        if {"application/json", "g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"} <= parts:
            return "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    return ""


def version() -> Object:
    release = definitions()["version"]
    major, minor, _ = release.removeprefix("v").split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"{release}+local",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "local",
    }
