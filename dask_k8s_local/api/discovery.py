"""What the server has to offer: groups, versions, resources.

https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

from collections.abc import Iterator

from aiohttp import web

from dask_k8s_local.api import errors
from dask_k8s_local.api.resources import Resource
from dask_k8s_local.api.schema import definitions
from dask_k8s_local.api.serving import Serving
from dask_k8s_local.api.store import encode
from dask_k8s_local.interfaces import Object

_HEALTH = ("/healthz", "/livez", "/readyz")


class Discovery:
    """Answers the paths that are not about objects."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def answer(self, request: web.BaseRequest) -> web.Response:
        path = request.path.rstrip("/")
        if request.method not in ("GET", "HEAD"):
            raise errors.unknown_path()
        if path in _HEALTH:
            return web.Response(text="ok")
        return web.Response(body=encode(self._body(path)), content_type="application/json")

    def _body(self, path: str) -> Object:
        if path == "/version":
            return version()
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        if path == "/apis":
            groups = [self._group(name) for name in self._groups()]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        if path == "/api/v1":
            return self._resource_list("", "v1")
        match path.split("/"):
            case ["", "apis", group] if group in self._groups():
                return {"kind": "APIGroup", "apiVersion": "v1", **self._group(group)}
            case ["", "apis", group, group_version]:
                return self._resource_list(group, group_version)
        raise errors.unknown_path()

    def _groups(self) -> list[str]:
        return sorted({served.resource.group for served in self._serving} - {""})

    def _group(self, name: str) -> Object:
        versions = list(
            dict.fromkeys(one.resource.version for one in self._serving if one.resource.group == name)
        )
        listed = [{"groupVersion": f"{name}/{one}", "version": one} for one in versions]
        return {"name": name, "versions": listed, "preferredVersion": listed[0]}

    def _resource_list(self, group: str, group_version: str) -> Object:
        resources = [
            entry
            for served in self._serving
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
