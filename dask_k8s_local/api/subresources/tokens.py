"""Tokens of service accounts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from aiohttp import web

from dask_k8s_local.api import errors
from dask_k8s_local.api.access.users import service_account
from dask_k8s_local.api.http.body import read_object
from dask_k8s_local.api.http.call import Call
from dask_k8s_local.api.http.representation import json_response
from dask_k8s_local.api.meta import metadata


async def request_token(call: Call) -> web.StreamResponse:
    """Answer a TokenRequest: the token is good for requests to this server."""
    if call.verb != "create":
        raise errors.method_not_allowed()
    body = await read_object(call.http)
    account = call.operations.get(call.served, call.namespace, call.target.name)
    seconds = (body.get("spec") or {}).get("expirationSeconds") or 3600
    token = call.users.token(service_account(*account.key))
    expires = metadata.timestamp(datetime.now(UTC) + timedelta(seconds=seconds))
    answer = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "metadata": {"name": call.target.name, "namespace": call.namespace},
        "spec": {**(body.get("spec") or {}), "expirationSeconds": seconds},
        "status": {"token": token, "expirationTimestamp": expires},
    }
    return json_response(answer, 201)
