"""Questions about who somebody is and what he may do."""

from __future__ import annotations

from aiohttp import web

from dask_k8s_local.api import errors, metadata
from dask_k8s_local.api.requests import Call, read_object
from dask_k8s_local.api.responses import json_response
from dask_k8s_local.interfaces import Object

_ALL_RULES = {
    "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    "incomplete": False,
}


async def review(call: Call) -> web.StreamResponse:
    """Answer a review: whoever has a token may do everything."""
    if call.verb != "create":
        raise errors.method_not_allowed()
    body = await read_object(call.http)
    resource = call.served.resource
    answer = {
        **body,
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        "metadata": {**(body.get("metadata") or {}), "creationTimestamp": metadata.timestamp()},
        "status": _status(call, body),
    }
    return json_response(answer, 201)


def _status(call: Call, body: Object) -> Object:
    kind = call.served.resource.kind
    if kind == "SelfSubjectReview":
        return {"userInfo": {"username": call.record.user, "groups": ["system:authenticated"]}}
    if kind == "TokenReview":
        token = (body.get("spec") or {}).get("token", "")
        user = call.users.authenticate(f"Bearer {token}")
        return {"authenticated": True, "user": {"username": user}} if user else {"authenticated": False}
    if kind == "SelfSubjectRulesReview":
        return dict(_ALL_RULES)
    return {"allowed": True}
