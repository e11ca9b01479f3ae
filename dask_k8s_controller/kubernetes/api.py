"""The writer: a thin client of the API server.

It says Strict, sets limits, and knows which answers are success. Measured against a real API server, 200 pods
take 0.5 s this way, and 1.3 to 2.1 s through a client's objects.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import aiohttp
import msgspec

from dask_k8s_controller.kubernetes.connection import Connection, Logins
from dask_k8s_controller.kubernetes.errors import ApiError, Conflict, Refused, Unavailable
from dask_k8s_controller.kubernetes.resources import REVIEWS, Resource
from dask_k8s_controller.kubernetes.slots import Slots, requests_of_one
from dask_k8s_controller.settings import Backoff, Limits
from dask_k8s_credentials import CredentialsError

Object = dict[str, Any]
Body = Object | list[Object]

FIELD_MANAGER = "dask-k8s-controller"
JSON = "application/json"
JSON_PATCH = "application/json-patch+json"

VERBS = {
    "get": ("GET", ""),
    "list": ("GET", ""),
    "create": ("POST", JSON),
    "apply": ("PATCH", "application/apply-patch+yaml"),
    "patch": ("PATCH", "application/merge-patch+json"),
    "delete": ("DELETE", JSON),
}
"""How a verb is sent: the HTTP method, and what its body is."""

STRICT = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}

FORBIDDING = {
    "rights": re.compile(r'forbidden: User ".*?" cannot |is forbidden: cannot set blockOwnerDeletion'),
    "quota": re.compile(r"is forbidden: (exceeded|failed) quota: "),
}
"""What an answer 403 is about, by its message, as its reason is ``Forbidden`` whatever it is about."""

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
    on_forbidden: Callable[[str, str, str], None] = lambda verb, kind, by: None
    """Told what has forbidden a request: verb, kind, and one of `FORBIDDING`, else ``admission``."""

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.limits.concurrency)
        self._slots_of_each = Slots(requests_of_one(self.limits.concurrency))
        self._backoff = Backoff(self.limits.first_delay, self.limits.longest_delay)
        self._logins = Logins(self.login)
        self._login_lock = asyncio.Lock()
        self._connection: Connection | None = None
        self._users: Counter[Connection] = Counter()

    async def connection(self) -> Connection:
        """Return the connection to the API server, made when it is needed first."""
        async with self._login_lock:
            if self._connection is None:
                try:
                    self._connection = await self._logins.connection()
                except CredentialsError as error:
                    raise Unavailable(str(error)) from error
            return self._connection

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Connection]:
        """Use the connection; one that has been replaced is closed by whoever uses it last."""
        connection = await self.connection()
        self._users[connection] += 1
        try:
            yield connection
        finally:
            self._users[connection] -= 1
            if not self._users[connection]:
                del self._users[connection]
                if connection is not self._connection:
                    await connection.session.close()

    async def close(self) -> None:
        """Close the connections."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.session.close()

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """Read an object; None if there is none."""
        return await self._find("get", resource, resource.path(namespace, name))

    async def list(self, resource: Resource, namespace: str | None, label_selector: str = "") -> Object:
        """Read a collection as of now: a list object with ``items`` and a resource version."""
        params = {"labelSelector": label_selector} if label_selector else {}
        return await self._request("list", resource, resource.path(namespace), params)

    async def served(self, like: Resource) -> frozenset[str]:
        """Return the plurals, and subresources, that the API server has of a resource's group and version."""
        found = await self._find("get", like, f"/apis/{like.api_version}") or {}
        return frozenset(item["name"] for item in found.get("resources") or ())

    async def may_list(self, group: str, plural: str) -> bool:
        """Whether we may list a kind in all namespaces."""
        asked = {"verb": "list", "group": group, "resource": plural}
        review = {
            "apiVersion": REVIEWS.api_version,
            "kind": REVIEWS.kind,
            "spec": {"resourceAttributes": asked},
        }
        answer = await self._request("create", REVIEWS, REVIEWS.path(None), {}, review)
        return bool(answer["status"]["allowed"])

    async def create(self, resource: Resource, namespace: str, body: Object) -> Object:
        """Create an object, and return it, or the one that already has its name."""
        name = str(body["metadata"]["name"])
        found = await self.create_unread(resource, namespace, body) or await self.get(
            resource, namespace, name
        )
        if found is None:
            raise Unavailable(f"{resource} {name} was in the way and is gone", 409, "AlreadyExists")
        return found

    async def create_unread(self, resource: Resource, namespace: str, body: Object) -> Object | None:
        """Create an object that we may not read: None if another has its name."""
        try:
            return await self._request("create", resource, resource.path(namespace), STRICT, body)
        except Conflict as error:
            if error.reason != "AlreadyExists":
                raise
            return None

    async def apply_unread(self, resource: Resource, namespace: str, body: Object) -> Object:
        """Apply an object that we may not read; what others have set otherwise is a Conflict."""
        path = resource.path(namespace, str(body["metadata"]["name"]))
        return await self._request("apply", resource, path, STRICT, body)

    async def apply(self, resource: Resource, namespace: str, body: Object, uid: str) -> Object | None:
        """Apply an object server-side, as the only owner of what the body says; None if it is another by now.

        What we created by POST is made ours to apply before: else what the body no longer says would stay.
        """
        name = str(body["metadata"]["name"])
        live = await self.get(resource, namespace, name)
        if live is None or live["metadata"]["uid"] != uid:
            return None
        if changes := _as_applied(live):
            await self.patch(resource, namespace, name, changes)
        body = {**body, "metadata": {**body["metadata"], "uid": uid}}
        path = resource.path(namespace, name)
        return await self._request("apply", resource, path, {**STRICT, "force": "true"}, body)

    async def patch(
        self, resource: Resource, namespace: str, name: str, patch: Body, subresource: str = ""
    ) -> Object:
        """Merge a patch into an object, or change it by the operations of a JSON Patch.

        With a resource version or uid in it only if they still hold.
        """
        path = resource.path(namespace, name, subresource)
        return await self._request("patch", resource, path, STRICT, patch)

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        uid: str,
        version: str = "",
        grace_period: int | None = None,
    ) -> Object | None:
        """Delete the object with that uid, and return what is left of it: None if it is gone."""
        options: Object = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid, **({"resourceVersion": version} if version else {})},
            "propagationPolicy": "Background",
        }
        if grace_period is not None:
            options["gracePeriodSeconds"] = grace_period
        try:
            left = await self._find("delete", resource, resource.path(namespace, name), options)
        except Conflict:
            present = await self.get(resource, namespace, name)
            if present is None or present["metadata"].get("uid") != uid:
                return None  # That uid is gone, though the name may belong to another object.
            raise
        return left if left and left.get("metadata", {}).get("deletionTimestamp") else None

    async def _find(
        self, verb: str, resource: Resource, path: str, body: Object | None = None
    ) -> Object | None:
        """Send a request about what may not be there: None if it isn't."""
        try:
            return await self._request(verb, resource, path, {}, body)
        except Refused as error:
            if error.code == 404:
                return None
            raise

    async def _request(
        self,
        verb: str,
        resource: Resource,
        path: str,
        params: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Object:
        """Send a request, several times if need be; a list as its body is a JSON Patch."""
        method, content_type = VERBS[verb]
        if isinstance(body, list):
            content_type = JSON_PATCH
        sent: dict[str, Any] = {"params": params, "headers": {"Accept": JSON}}
        if body is not None:
            sent["data"] = msgspec.json.encode(body)
            sent["headers"]["Content-Type"] = content_type
        for failures in range(1, self.limits.attempts):
            try:
                return await self._send(verb, resource, method, path, sent)
            except Unavailable as error:
                wait = max(self._backoff.delay(failures), error.retry_after or 0.0)
                await asyncio.sleep(min(wait, self.limits.longest_delay))
        return await self._send(verb, resource, method, path, sent)

    async def _send(
        self, verb: str, resource: Resource, method: str, path: str, sent: Mapping[str, Any]
    ) -> Object:
        code = 0
        try:
            async with (
                self._slots_of_each.of(_namespace_of(path)),
                self._slots,
                self.connected() as connection,
                asyncio.timeout(self.limits.timeout),
                connection.session.request(method, connection.server + path, **sent) as response,
            ):
                code = response.status
                text = await response.read()
                if code == 401 and self._connection is connection:
                    self._connection = None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            what = str(error) or type(error).__name__
            raise Unavailable(f"{verb} {path}: no answer from the API server: {what}") from error
        finally:
            self.on_request(verb, resource.kind, code)
        if code >= 400:
            problem = _error(verb, path, code, text, response.headers.get("Retry-After"))
            if code == 403:
                self.on_forbidden(verb, resource.kind, _forbidden_by(str(problem)))
            raise problem
        try:
            return msgspec.json.decode(text, type=Object)
        except msgspec.MsgspecError as error:
            raise Unavailable(f"{verb} {path}: the answer isn't an API server's: {error}", code) from error


def _as_applied(live: Object) -> list[Object]:
    """Return the operations that make what we created as if we had applied it.

    https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership-between-managers
    """
    ours = {"manager": FIELD_MANAGER, "operation": "Update"}
    for index, entry in enumerate(live["metadata"].get("managedFields") or []):
        if ours.items() <= entry.items() and not entry.get("subresource"):
            return [
                _replace("/metadata/resourceVersion", live["metadata"]["resourceVersion"]),
                _replace(f"/metadata/managedFields/{index}/operation", "Apply"),
            ]
    return []


def _replace(path: str, value: str) -> Object:
    return {"op": "replace", "path": path, "value": value}


def _namespace_of(path: str) -> str:
    return path.partition("/namespaces/")[2].partition("/")[0]


def _forbidden_by(message: str) -> str:
    return next((by for by, words in FORBIDDING.items() if words.search(message)), "admission")


class _Cause(msgspec.Struct):
    field: str = ""


class _Details(msgspec.Struct):
    causes: list[_Cause] | None = None


class _Status(msgspec.Struct):
    """How the API server says what went wrong."""

    reason: str = ""
    message: str = ""
    details: _Details | None = None

    def is_about(self, field: str) -> bool:
        causes = (self.details and self.details.causes) or ()
        return any(cause.field == field for cause in causes)


def _error(verb: str, path: str, code: int, text: bytes, retry_after: str | None) -> ApiError:
    try:
        status = msgspec.json.decode(text, type=_Status)
    except msgspec.MsgspecError:
        status = _Status()
    message = status.message or f"{verb} {path}: HTTP {code}"
    # A patch that names the uid of an object that is gone would change that of its successor.
    if code == 409 or (code == 422 and status.is_about("metadata.uid")):
        return Conflict(message, code, status.reason)
    if code == 401 or code in RETRIED_CODES:
        seconds = float(retry_after) if retry_after and retry_after.isdecimal() else None
        return Unavailable(message, code, status.reason, seconds)
    return Refused(message, code, status.reason)
