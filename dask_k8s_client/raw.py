"""The API server's verbs over plain JSON, for what happens often or with many objects.

kr8s makes a `Box` of each object that it reads, which takes 30 times as long as to parse it. So `KubeCluster`
reads and watches by these; all go through `Api.call_api`, as the objects do.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Any

from dask_k8s_client.errors import (
    AlreadyExistsError,
    ConflictError,
    NotFoundError,
    UnreachableError,
    api_error,
)

if TYPE_CHECKING:
    import httpx

    from dask_k8s_client.api import Api

Json = dict[str, Any]

USER_AGENT = "dask-k8s-client"
WATCH_SECONDS = 300
"""The API server ends each watch after that time; a longer silence means that the connection is dead."""
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"


async def get(api: Api, path: str, **params: str) -> Json:
    """Read an object or a list."""
    return _parsed(await _body(api, "GET", path, params))


async def create(api: Api, path: str, body: Json) -> Json:
    """Create an object; unknown fields are refused.

    Raises
    ------
    AlreadyExistsError
        Somebody else has created an object of that name.
    """
    # One of a kind, so that we know our own object again should the answer get lost.
    manager = f"{USER_AGENT}-{secrets.token_hex(4)}"
    params = {"fieldValidation": "Strict", "fieldManager": manager}
    try:
        return _parsed(await _body(api, "POST", path, params, body))
    except AlreadyExistsError as error:
        if not error.may_be_done:
            raise
        existing = await get(api, f"{path}/{body['metadata']['name']}")
        if manager not in _managers(existing):
            raise
        return existing


async def patch(api: Api, path: str, body: Json | list[Json]) -> Json:
    """Apply a JSON merge patch, or a JSON patch if it is a list; unknown fields are refused."""
    params = {"fieldValidation": "Strict", "fieldManager": USER_AGENT}
    content_type = JSON_PATCH if isinstance(body, list) else MERGE_PATCH
    return _parsed(await _body(api, "PATCH", path, params, body, content_type))


async def delete(api: Api, path: str, *, uid: str | None = None, **options: Any) -> None:
    """Delete an object, only if it has this uid if one is given.

    Parameters
    ----------
    api : Api
        Connected to the API server.
    path : str
        The object's path, as `Resource.path` gives it.
    uid : str, optional
        The one that it must have.
    **options
        Further fields of Kubernetes' DeleteOptions.

    Raises
    ------
    NotFoundError
        There was no such object.
    ConflictError
        It has another uid.
    """
    body: Json = {"apiVersion": "v1", "kind": "DeleteOptions", **options}
    if uid:
        body["preconditions"] = {"uid": uid}
    try:
        await _body(api, "DELETE", path, {}, body)
    except (NotFoundError, ConflictError) as error:
        if not error.may_be_done:
            raise


async def text(api: Api, path: str, **params: str) -> str:
    """Read a plain text, such as a container's log."""
    return (await _body(api, "GET", path, params)).decode(errors="replace")


async def lines(api: Api, path: str, **params: str) -> AsyncGenerator[str, None]:
    """Follow a text line by line, such as a container's log with ``follow="true"``."""
    async with api.call_api(**_target(path), params=params, stream=True) as response:
        async for line in _lines(response):
            yield line.decode(errors="replace")


async def watch(
    api: Api, path: str, since: str | None = None, **params: str
) -> AsyncGenerator[tuple[str, Json], None]:
    """Yield changes, as (type, object), until the API server ends the watch.

    Without ``since`` everything that exists comes first, as ADDED.

    Raises
    ------
    GoneError
        ``since`` is too old; list again.
    UnreachableError
        The connection broke, or has been silent for longer than a watch lasts.
    """
    params |= {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH_SECONDS)}
    if since:
        params["resourceVersion"] = since
    limit = WATCH_SECONDS + 30
    async with api.call_api(**_target(path), params=params, stream=True, timeout=limit) as response:
        async for line in _lines(response):
            event = json.loads(line)
            if event["type"] == "ERROR":
                status = event["object"]
                raise api_error(int(status.get("code") or 500), status)
            yield event["type"], event["object"]


async def _body(
    api: Api,
    method: str,
    path: str,
    params: dict[str, str],
    body: Json | list[Json] | None = None,
    content_type: str = "application/json",
) -> bytes:
    more: Json = (
        {} if body is None else {"content": json.dumps(body), "headers": {"Content-Type": content_type}}
    )
    async with api.call_api(method, **_target(path), params=params, **more) as response:
        content: bytes = response.content
        return content


def _target(path: str) -> dict[str, Any]:
    # As two parts: kr8s's own `Api` would put a slash behind a path without.
    base, _, last = path.rpartition("/")
    return {"version": "", "base": base, "url": last} if base else {"version": "", "base": path}


def _parsed(body: bytes) -> Json:
    try:
        answer: Json = json.loads(body)
    except ValueError as error:
        raise UnreachableError(
            f"The API server's answer isn't JSON, but {body[:60]!r}: does a proxy stand in the way?"
        ) from error
    return answer


def _managers(found: Json) -> set[str]:
    return {str(entry.get("manager")) for entry in found["metadata"].get("managedFields") or []}


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    """Split a body at line feeds only; httpx splits at whatever Unicode calls the end of a line."""
    rest: list[bytes] = []
    async for chunk in response.aiter_bytes():
        first, *others = chunk.split(b"\n")
        rest.append(first)
        for line in others:
            if whole := b"".join(rest):
                yield whole
            rest = [line]
    if whole := b"".join(rest):
        yield whole
