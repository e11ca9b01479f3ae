"""Questions about who somebody is and what he may do."""

from __future__ import annotations

from aiohttp import web

from dask_k8s_local.api import errors
from dask_k8s_local.api.access.rbac import review_attributes
from dask_k8s_local.api.access.users import User, user_of
from dask_k8s_local.api.http.body import read_object
from dask_k8s_local.api.http.call import Call
from dask_k8s_local.api.http.representation import json_response
from dask_k8s_local.api.meta import metadata
from dask_k8s_local.interfaces import Object


async def review(call: Call) -> web.StreamResponse:
    if call.verb != "create":
        raise errors.method_not_allowed()
    body = await read_object(call.http)
    resource = call.served.resource
    answer = {
        **body,
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        "metadata": {**(body.get("metadata") or {}), "creationTimestamp": metadata.timestamp()},
        "status": _status(call, body.get("spec") or {}),
    }
    return json_response(answer, 201)


def _status(call: Call, spec: Object) -> Object:
    kind = call.served.resource.kind
    if kind == "SelfSubjectReview":
        return {"userInfo": _user_info(call.user)}
    if kind == "TokenReview":
        user = call.users.authenticate(f"Bearer {spec.get('token', '')}")
        return {"authenticated": True, "user": _user_info(user)} if user else {"authenticated": False}
    if kind == "SelfSubjectRulesReview":
        rules = list(call.authorizer.rules(call.user, spec.get("namespace", "")))
        if call.user.is_master:
            rules = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
        return {"resourceRules": rules, "nonResourceRules": [], "incomplete": False}
    user = call.user if kind == "SelfSubjectAccessReview" else _asked_about(spec)
    wanted = review_attributes(spec)
    # What isn't a resource, such as /version, is open to everybody with a token.
    return {"allowed": wanted is None or call.authorizer.allows(user, wanted)}


def _asked_about(spec: Object) -> User:
    return user_of(spec.get("user", ""), spec.get("groups") or ())


def _user_info(user: User) -> Object:
    return {"username": user.name, "groups": sorted(user.groups)}
