"""The writer: a thin client of the API server.

It says Strict, sets limits, and knows which answers are success. Measured against a real API server, 200 pods
take 0.5 s this way, and 1.3 to 2.1 s through a client's objects.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import aiohttp
import msgspec

from dask_k8s_controller.kubernetes.connection import Connection
from dask_k8s_controller.kubernetes.errors import ApiError, Conflict, Refused, Unavailable
from dask_k8s_controller.kubernetes.resources import Resource
from dask_k8s_controller.kubernetes.slots import Slots, requests_of_one
from dask_k8s_controller.settings import Backoff, Limits
from dask_k8s_credentials import CredentialsError

Object = dict[str, Any]
Body = Object | list[Object]

FIELD_MANAGER = "dask-k8s-controller"
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

REFUSED_CREDENTIALS = Backoff(first=1.0, longest=30.0)
"""Waits before credentials are read again that stay refused."""

RETRIED_CODES = frozenset({408, 429, 500, 502, 503, 504})


@dataclass
class Api:
    """Reads and writes objects, with a field manager and a time limit, and repeats what may be repeated.

    Every write here can be sent twice without harm: a create names its object, a delete its uid, and patches
    set values. So an answer that got lost is no problem, it is asked for again.
    """

    login: Callable[[], Awaitable[Connection]]
    """Awaited for a connection, at first and when the API server no longer knows us."""
    _: KW_ONLY
    limits: Limits = field(default_factory=Limits)
    """How much, how long and how often."""
    on_request: Callable[[str, str, int], None] = lambda verb, kind, code: None
    """Told about each answer: verb, kind, and HTTP status code (0 for none)."""

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.limits.concurrency)
        self._slots_of_each = Slots(requests_of_one(self.limits.concurrency))
        self._login_lock = asyncio.Lock()
        self._connection: Connection | None = None
        self._refusals = 0
        self._next_login = 0.0

    async def connection(self) -> Connection:
        """Return the connection to the API server, made when it is needed first."""
        async with self._login_lock:
            if self._connection is None:
                if (wait := self._next_login - time.monotonic()) > 0:
                    raise Unavailable(f"the API server refuses the credentials: read again in {wait:.0f} s")
                try:
                    self._connection = await self.login()
                except CredentialsError as error:
                    raise Unavailable(str(error)) from error
            return self._connection

    async def close(self) -> None:
        """Close the connections."""
        if self._connection is not None:
            await self._connection.session.close()
            self._connection = None

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """Read an object; None if there is none."""
        try:
            return await self._request("GET", resource, resource.path(namespace, name))
        except Refused as error:
            if error.code == 404:
                return None
            raise

    async def list(self, resource: Resource, namespace: str | None, label_selector: str = "") -> Object:
        """Read a collection as of now: a list object with ``items`` and a resource version."""
        params = {"labelSelector": label_selector} if label_selector else {}
        return await self._request("GET", resource, resource.path(namespace), params, verb="list")

    async def create(self, resource: Resource, namespace: str, body: Object) -> Object:
        """Create an object, and return it, or the one that already has its name."""
        name = str(body["metadata"]["name"])
        found = await self._create(resource, namespace, body) or await self.get(resource, namespace, name)
        if found is None:
            raise Unavailable(f"{resource} {name} was in the way and is gone", 409, "AlreadyExists")
        return found

    async def create_unread(self, resource: Resource, namespace: str, body: Object) -> bool:
        """Create an object that we may not read; return whether the name was free."""
        return await self._create(resource, namespace, body) is not None

    async def _create(self, resource: Resource, namespace: str, body: Object) -> Object | None:
        try:
            return await self._write("POST", resource, resource.path(namespace), body)
        except Conflict as error:
            if error.reason != "AlreadyExists":
                raise
            return None

    async def apply_unread(self, resource: Resource, namespace: str, body: Object) -> Object:
        """Apply an object that we may not read, created if there is none.

        Raises
        ------
        Conflict
            Others have set what it says otherwise.
        """
        path = resource.path(namespace, str(body["metadata"]["name"]))
        return await self._write("PATCH", resource, path, body, {}, APPLY_PATCH)

    async def apply(self, resource: Resource, namespace: str, body: Object, uid: str) -> Object | None:
        """Apply an object server-side, as the only owner of what the body says; None if it is another by now.

        What we created by POST is made ours to apply before: else what the body no longer says would stay.
        """
        name = str(body["metadata"]["name"])
        live = await self.get(resource, namespace, name)
        if live is None or live["metadata"]["uid"] != uid:
            return None
        if changes := _as_applied(live):
            await self.json_patch(resource, namespace, name, changes)
        body = {**body, "metadata": {**body["metadata"], "uid": uid}}
        path = resource.path(namespace, name)
        return await self._write("PATCH", resource, path, body, {"force": "true"}, APPLY_PATCH)

    async def json_patch(
        self, resource: Resource, namespace: str, name: str, operations: Sequence[Object]
    ) -> Object:
        """Change an object by JSON Patch operations."""
        path = resource.path(namespace, name)
        return await self._write("PATCH", resource, path, [*operations], {}, JSON_PATCH)

    async def patch(
        self, resource: Resource, namespace: str, name: str, patch: Object, subresource: str = ""
    ) -> Object:
        """Merge a patch into an object; with a resource version or uid in it only if they still hold."""
        path = resource.path(namespace, name, subresource)
        return await self._write("PATCH", resource, path, patch, {}, MERGE_PATCH)

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        uid: str,
        version: str = "",
        propagation: str = "Background",
        grace_period: int | None = None,
    ) -> Object | None:
        """Delete the object with that uid, and return what is left of it: None if it is gone."""
        options: Object = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid, **({"resourceVersion": version} if version else {})},
            "propagationPolicy": propagation,
        }
        if grace_period is not None:
            options["gracePeriodSeconds"] = grace_period
        try:
            left = await self._request("DELETE", resource, resource.path(namespace, name), body=options)
        except Refused as error:
            if error.code == 404:
                return None
            raise
        except Conflict:
            present = await self.get(resource, namespace, name)
            if present is None or present["metadata"].get("uid") != uid:
                return None  # That uid is gone, though the name may belong to another object.
            raise
        return left if left.get("metadata", {}).get("deletionTimestamp") else None

    async def _write(
        self,
        method: str,
        resource: Resource,
        path: str,
        body: Body,
        params: Mapping[str, str] | None = None,
        content_type: str = JSON,
    ) -> Object:
        strict = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", **(params or {})}
        return await self._request(method, resource, path, strict, body, content_type)

    async def _request(
        self,
        method: str,
        resource: Resource,
        path: str,
        params: Mapping[str, str] | None = None,
        body: Body | None = None,
        content_type: str = JSON,
        verb: str = "",
    ) -> Object:
        verb = verb or _VERBS[method]
        if content_type == APPLY_PATCH:
            verb = "apply"
        data = None if body is None else msgspec.json.encode(body)
        delay = self.limits.first_delay
        for attempt in range(1, self.limits.attempts + 1):
            try:
                return await self._send(method, resource, path, params, data, content_type, verb)
            except Unavailable as error:
                if attempt == self.limits.attempts:
                    raise
                wait = max(delay * random.uniform(0.5, 1.0), error.retry_after or 0.0)
                await asyncio.sleep(min(wait, self.limits.longest_delay))
                delay *= 2
        raise AssertionError("unreachable")

    async def _send(
        self,
        method: str,
        resource: Resource,
        path: str,
        params: Mapping[str, str] | None,
        data: bytes | None,
        content_type: str,
        verb: str,
    ) -> Object:
        connection = await self.connection()
        code = 0
        headers = {"Accept": JSON} | ({"Content-Type": content_type} if data is not None else {})
        try:
            async with (
                self._slots_of_each.of(_namespace_of(path)),
                self._slots,
                asyncio.timeout(self.limits.timeout),
                connection.session.request(
                    method, connection.server + path, params=params, data=data, headers=headers
                ) as response,
            ):
                code = response.status
                text = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            what = str(error) or type(error).__name__
            raise Unavailable(f"{verb} {path}: no answer from the API server: {what}") from error
        finally:
            self.on_request(verb, resource.kind, code)
        if code == 401:
            await self._log_in_again(connection)
        else:
            self._refusals = 0
        if code >= 400:
            raise _error(verb, path, code, text, response.headers.get("Retry-After"))
        answer: Object = msgspec.json.decode(text)
        return answer

    async def _log_in_again(self, refused: Connection) -> None:
        async with self._login_lock:
            if self._connection is refused:
                # The first time they have expired, afterwards they are no good.
                wait = REFUSED_CREDENTIALS.delay(self._refusals) if self._refusals else 0.0
                self._refusals += 1
                self._next_login = time.monotonic() + wait
                self._connection = None
                await refused.session.close()


def _as_applied(live: Object) -> list[Object]:
    """Return the operations that make what we created as if we had applied it.

    https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership-between-managers
    """
    entries = live["metadata"].get("managedFields") or []
    for index, entry in enumerate(entries):
        if (entry.get("manager"), entry.get("operation")) == (FIELD_MANAGER, "Update") and not entry.get(
            "subresource"
        ):
            version = {
                "op": "replace",
                "path": "/metadata/resourceVersion",
                "value": live["metadata"]["resourceVersion"],
            }
            path = f"/metadata/managedFields/{index}/operation"
            return [version, {"op": "replace", "path": path, "value": "Apply"}]
    return []


def _namespace_of(path: str) -> str:
    return path.partition("/namespaces/")[2].partition("/")[0]


_VERBS = {"GET": "get", "POST": "create", "PATCH": "patch", "DELETE": "delete"}


def _error(verb: str, path: str, code: int, text: bytes, retry_after: str | None) -> ApiError:
    try:
        status = msgspec.json.decode(text)
    except msgspec.MsgspecError:
        status = {}
    if not isinstance(status, dict):
        status = {}
    reason = str(status.get("reason") or "")
    message = str(status.get("message") or "") or f"{verb} {path}: HTTP {code}"
    # A patch that names the uid of an object that is gone would change that of its successor.
    is_another_object = code == 422 and "metadata.uid" in message
    if code == 409 or is_another_object:
        return Conflict(message, code, reason)
    if code == 401 or code in RETRIED_CODES:
        seconds = float(retry_after) if retry_after and retry_after.isdecimal() else None
        return Unavailable(message, code, reason, seconds)
    return Refused(message, code, reason)
