"""The scale subresource: how ``kubectl scale`` and autoscalers see any kind.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#scale-subresource
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from dask_k8s_local.api import errors
from dask_k8s_local.api.http.body import read_body, read_object
from dask_k8s_local.api.http.call import Call
from dask_k8s_local.api.http.representation import json_response
from dask_k8s_local.api.kinds.served import ScalePaths
from dask_k8s_local.api.patches import media_types
from dask_k8s_local.api.schema import jsonpath
from dask_k8s_local.api.schema.compiled import definition
from dask_k8s_local.interfaces import Object
from dask_k8s_local.workloads.selectors import selector_text

_SCALE = "io.k8s.api.autoscaling.v1.Scale"


def scale_of(body: Object, paths: ScalePaths) -> Object:
    """Return the Scale object of an object."""
    own = body["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    scale: Object = {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: own[key] for key in kept if key in own},
        "spec": {},
        "status": {"replicas": int(_first(body, paths.status_replicas) or 0)},
    }
    replicas = _first(body, paths.spec_replicas)
    if replicas is not None:
        scale["spec"]["replicas"] = replicas
    selector = _first(body, paths.label_selector) if paths.label_selector else None
    if selector:
        scale["status"]["selector"] = selector if isinstance(selector, str) else selector_text(selector)
    return scale


def _first(body: Object, path: str) -> Any:
    found = jsonpath.find(body, path)
    return found[0] if found else None


async def serve(call: Call) -> web.StreamResponse:
    served, paths = call.served, call.served.scale
    if paths is None:
        raise errors.unknown_path()
    namespace, name = call.namespace, call.target.name
    if call.verb == "get":
        return json_response(scale_of(call.operations.get(served, namespace, name).object, paths))
    write = call.write()
    if call.verb == "update":
        wanted = await read_object(call.http)

        def changed(body: Object) -> Object:
            return _scaled(call, body, wanted)

    elif call.verb == "patch":
        media_type = call.http.content_type
        patch = await read_body(call.http, *media_types.ACCEPTED)
        change = media_types.change(media_type, patch, definition(_SCALE), custom=False)

        def changed(body: Object) -> Object:
            return _scaled(call, body, change(scale_of(body, paths)))

    else:
        raise errors.method_not_allowed()
    write.subresource, write.through = "", "scale"
    revision = call.operations.patch(served, namespace, name, changed, write)
    return json_response(scale_of(revision.object, paths))


def _scaled(call: Call, body: Object, scale: Object) -> Object:
    """Return the object with the replicas and the preconditions of a Scale."""
    paths = call.served.scale
    assert paths is not None
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise errors.bad_request(
            'Scale in version "v1" cannot be handled as a Scale: spec.replicas must be a number'
        )
    if replicas < 0 and not call.served.resource.custom:
        detail = "must be greater than or equal to 0"
        cause = errors.invalid_value("spec.replicas", replicas, detail)
        raise errors.invalid(call.served.resource, call.target.name, [cause])
    changed = jsonpath.put(body, paths.spec_replicas, replicas)
    sent = scale.get("metadata") or {}
    for key in ("resourceVersion", "uid"):
        if sent.get(key):
            changed["metadata"][key] = sent[key]
    return changed
