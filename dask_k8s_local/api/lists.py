"""Lists and watches over HTTP.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections.abc import Mapping

from aiohttp import web

from dask_k8s_local.api import errors
from dask_k8s_local.api.operations import Operations
from dask_k8s_local.api.selectors import Selection, matcher
from dask_k8s_local.api.store import Revision, encode
from dask_k8s_local.api.strategy import Served
from dask_k8s_local.api.watching import Watch

_BOOKMARK_SECONDS = 60.0


def list_body(
    operations: Operations, served: Served, selection: Selection, query: Mapping[str, str]
) -> bytes:
    """Return the answer to a list, page by page if that was asked for."""
    revisions, version, token, remaining = page(operations, served, selection, query)
    metadata: dict[str, object] = {"resourceVersion": str(version)}
    if token:
        metadata["continue"] = token
        if not selection.label_selector and not selection.field_selector:
            metadata["remainingItemCount"] = remaining
    head = {
        "kind": served.resource.list_kind,
        "apiVersion": served.resource.api_version,
        "metadata": metadata,
    }
    return encode(head)[:-1] + b',"items":[' + b",".join(one.encoded for one in revisions) + b"]}"


def page(
    operations: Operations, served: Served, selection: Selection, query: Mapping[str, str]
) -> tuple[list[Revision], int, str, int]:
    """Return a page, its version, how to go on, and how many objects are left then."""
    version, limit, after = operations.store.version, int(query.get("limit") or 0), None
    if token := query.get("continue"):
        version, after = _continuation(token)
        try:
            revisions = operations.list_at(served, selection, version)
        except LookupError:
            raise errors.expired(
                "The provided continue parameter is too old to display a consistent list result. "
                "You must start a new list without the continue parameter."
            ) from None
        revisions = [one for one in revisions if one.key > after]
    elif query.get("resourceVersionMatch") == "Exact":
        version = parse_version(query.get("resourceVersion", "")) or 0
        try:
            revisions = operations.list_at(served, selection, version)
        except LookupError:
            raise errors.too_old(version, version) from None
    else:
        wanted = parse_version(query.get("resourceVersion", "")) or 0
        if wanted > version:
            raise errors.too_large(wanted, version)
        revisions = operations.list(served, selection)
    if limit and len(revisions) > limit:
        rest = len(revisions) - limit
        revisions = revisions[:limit]
        return revisions, version, _token(version, revisions[-1]), rest
    return revisions, version, "", 0


def parse_version(text: str) -> int | None:
    if not text:
        return None
    if not text.isdigit():
        raise errors.bad_request(
            f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        )
    return int(text)


def _token(version: int, last: Revision) -> str:
    return base64.urlsafe_b64encode(
        encode({"v": "meta.k8s.io/v1", "rv": version, "after": last.key})
    ).decode()


def _continuation(token: str) -> tuple[int, tuple[str, str]]:
    try:
        content = json.loads(base64.urlsafe_b64decode(token))
        namespace, name = content["after"]
        return int(content["rv"]), (namespace, name)
    except (ValueError, KeyError, TypeError):
        raise errors.bad_request("continue key is not valid") from None


async def watch_response(
    request: web.BaseRequest, operations: Operations, served: Served, selection: Selection
) -> web.StreamResponse:
    """Send events until the client goes, the watch is cut, or its time is up."""
    query = request.query
    version = parse_version(query.get("resourceVersion", ""))
    sends_initial = query.get("sendInitialEvents") == "true"
    bookmarks = query.get("allowWatchBookmarks") in ("true", "1")
    seconds = float(query.get("timeoutSeconds") or random.uniform(1800, 3600))
    matches = matcher(served.resource, selection, served.selectable_fields)
    watch = Watch(operations.store.collection(served.resource.full_name), selection.namespace, matches)
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    try:
        initial = watch.start(None if sends_initial else version or None)
        first = b"".join(b'{"type":"ADDED","object":%s}\n' % one.encoded for one in initial)
        if sends_initial and bookmarks:
            first += _bookmark(served, operations.store.version, initial_events_end=True)
        await response.prepare(request)
        if first:
            await response.write(first)
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not watch.is_cut and (left := end - loop.time()) > 0:
            if await watch.wait(min(left, _BOOKMARK_SECONDS)):
                lines = b"".join(event.line(type_) for type_, event in watch.take())
                if lines:
                    await response.write(lines)
            elif bookmarks:
                await response.write(_bookmark(served, operations.store.version))
    finally:
        watch.close()
    return response


def _bookmark(served: Served, version: int, *, initial_events_end: bool = False) -> bytes:
    metadata: dict[str, object] = {"resourceVersion": str(version), "creationTimestamp": None}
    if initial_events_end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    body = {"kind": served.resource.kind, "apiVersion": served.resource.api_version, "metadata": metadata}
    return encode({"type": "BOOKMARK", "object": body}) + b"\n"
