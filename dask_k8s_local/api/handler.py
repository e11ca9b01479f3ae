"""Requests from outside: who asks, for what, and how the answer looks."""

from __future__ import annotations

import hmac
import json
from typing import Any

from aiohttp import web

from dask_k8s_local.api import errors, paths
from dask_k8s_local.api.discovery import Discovery
from dask_k8s_local.api.lists import list_body, watch_response
from dask_k8s_local.api.merge import merge_patch
from dask_k8s_local.api.operations import DeleteOptions, Operations, Write
from dask_k8s_local.api.paths import Target
from dask_k8s_local.api.selectors import Selection
from dask_k8s_local.api.serving import Serving
from dask_k8s_local.api.store import encode
from dask_k8s_local.api.strategy import Served
from dask_k8s_local.interfaces import ApiError, Object


class Handler:
    """Answers every request that comes over HTTP."""

    def __init__(self, serving: Serving, operations: Operations, token: str) -> None:
        self._serving = serving
        self._operations = operations
        self._authorization = f"Bearer {token}".encode()
        self._discovery = Discovery(serving)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            sent = request.headers.get("Authorization", "").encode()
            if not hmac.compare_digest(sent, self._authorization):
                raise errors.unauthorized()
            return await self._answer(request)
        except ApiError as error:
            return json_response(errors.status(error), error.code)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        asked = paths.target(request.path)
        if asked is None:
            return self._discovery.answer(request)
        served = self._serving.at(asked.group, asked.version, asked.plural)
        if served is None or (asked.namespace is not None and not served.resource.namespaced):
            raise errors.unknown_path()
        query = request.query
        verb = paths.verb(request.method, asked, watch=query.get("watch") in ("true", "1"))
        resource, namespace = served.resource, asked.namespace or ""
        if asked.subresource and asked.subresource not in resource.subresources:
            raise errors.unknown_path()
        if asked.subresource not in ("", "status"):
            raise errors.not_implemented(f"{resource.full_name}/{asked.subresource}")
        if verb not in resource.verbs:
            raise errors.method_not_allowed()
        if verb == "get":
            return raw_response(self._operations.get(served, namespace, asked.name).encoded)
        selection = Selection(asked.namespace, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        if verb == "list":
            return raw_response(list_body(self._operations, served, selection, query))
        if verb == "watch":
            return await watch_response(request, self._operations, served, selection)
        if resource.namespaced and asked.namespace is None:
            raise errors.method_not_allowed()
        return await self._write(request, served, asked, verb, selection)

    async def _write(
        self, request: web.BaseRequest, served: Served, asked: Target, verb: str, selection: Selection
    ) -> web.StreamResponse:
        namespace = asked.namespace or ""
        if verb in ("delete", "deletecollection"):
            options = delete_options(await read_object(request), request.query)
            if verb == "deletecollection":
                gone = self._operations.delete_collection(served, selection, options)
                items = {"kind": served.resource.list_kind, "apiVersion": served.resource.api_version}
                version = str(self._operations.store.version)
                return json_response({**items, "metadata": {"resourceVersion": version}, "items": gone})
            deleted = self._operations.delete(served, namespace, asked.name, options)
            if deleted.is_gone and not served.strategy.returns_deleted:
                return json_response(
                    errors.success(served.resource, asked.name, deleted.body["metadata"]["uid"])
                )
            return json_response(deleted.body)
        write = Write(
            field_manager=request.query.get("fieldManager", ""),
            field_validation=request.query.get("fieldValidation") or "Warn",
            dry_run="dryRun" in request.query,
            force=request.query.get("force") in ("true", "1"),
            subresource=asked.subresource,
        )
        body = await read_object(request)
        if verb == "create":
            revision = self._operations.create(served, namespace, body, write)
        elif verb == "update":
            revision = self._operations.update(served, namespace, asked.name, body, write)
        else:
            revision = self._operations.patch(
                served, namespace, asked.name, lambda old: merge_patch(old, body), write
            )
        response = raw_response(revision.encoded, 201 if verb == "create" else 200)
        for warning in write.warnings:
            response.headers.add("Warning", f"299 - {json.dumps(warning)}")
        return response


async def read_object(request: web.BaseRequest) -> Any:
    """Parse a request's body."""
    data = await request.read()
    if not data:
        return {}
    try:
        return json.loads(data)
    except ValueError as error:
        raise errors.bad_request(f"the object provided is unrecognized: {error}") from None


def delete_options(body: Object, query: Any) -> DeleteOptions:
    """Read ``DeleteOptions`` from the body, or else from the query."""
    preconditions = body.get("preconditions") or {}
    grace = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
    policy = body.get("propagationPolicy") or query.get("propagationPolicy")
    orphan = body.get("orphanDependents", query.get("orphanDependents"))
    if policy is None and orphan is not None:
        policy = "Orphan" if str(orphan).lower() == "true" else "Background"
    return DeleteOptions(
        uid=preconditions.get("uid"),
        resource_version=preconditions.get("resourceVersion"),
        grace_period_seconds=None if grace is None else int(grace),
        propagation_policy=policy,
        dry_run=bool(body.get("dryRun")) or "dryRun" in query,
    )


def raw_response(body: bytes, code: int = 200) -> web.Response:
    return web.Response(body=body, status=code, content_type="application/json")


def json_response(body: Object, code: int = 200) -> web.Response:
    return raw_response(encode(body), code)
