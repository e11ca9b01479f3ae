"""The seams inside the local Kubernetes: what the API server offers in process, and what a node offers it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

Object = dict[str, Any]
"""A Kubernetes object as JSON: apiVersion, kind, metadata, and the rest."""

EventType = Literal["ADDED", "MODIFIED", "DELETED"]


class ApiError(Exception):
    """A request that the API server refused, as the ``Status`` object that clients receive.

    Parameters
    ----------
    code : int
        The HTTP status code.
    reason : str
        Kubernetes' machine-readable word, e.g. ``NotFound``, ``AlreadyExists``, ``Conflict``, ``Invalid``.
    message : str
        What a person reads.
    details : dict, optional
        ``Status.details``: name, group, kind, causes, retryAfterSeconds.
    """

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}


class Api(Protocol):
    """The API server without HTTP, for the controllers and nodes that run in its event loop.

    A resource is called as ``kubectl`` calls it in full: ``pods``, ``deployments.apps``,
    ``endpointslices.discovery.k8s.io``. Objects that come back are the caller's own to change.
    """

    async def get(self, resource: str, namespace: str | None, name: str) -> Object: ...

    async def list(
        self,
        resource: str,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        where: Callable[[Object], bool] = lambda _: True,
    ) -> list[Object]:
        """Return copies of what is selected and of which `where` holds; others are never copied."""
        ...

    def watch(
        self, resource: str, *, label_selector: str = "", field_selector: str = ""
    ) -> AsyncIterator[tuple[EventType, Object]]:
        """Yield ADDED for all that exists, then every change, without a gap and without an end."""
        ...

    async def create(self, resource: str, namespace: str | None, body: Object) -> Object: ...

    async def update(
        self, resource: str, namespace: str | None, body: Object, subresource: str = ""
    ) -> Object: ...

    async def patch(
        self, resource: str, namespace: str | None, name: str, patch: Object, subresource: str = ""
    ) -> Object:
        """Apply a JSON merge patch."""
        ...

    async def delete(
        self,
        resource: str,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        grace_period_seconds: int | None = None,
        propagation_policy: str | None = None,
    ) -> None: ...


@dataclass(frozen=True)
class LogOptions:
    """Query parameters of ``GET …/pods/{name}/log``."""

    container: str
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since: datetime | None = None


class Kubelet(Protocol):
    """What the API server asks of the node that runs a pod."""

    def logs(self, pod: Object, options: LogOptions) -> AsyncIterator[bytes]:
        """Yield a container's log; raise `ApiError` if there is no such container or no log yet."""
        ...

    def address(self, pod: Object, port: int) -> tuple[str, int]:
        """Return the host and port at which this machine reaches a port of the pod."""
        ...

    async def exec(
        self, pod: Object, container: str, command: list[str], stdin: bytes
    ) -> tuple[int, bytes, bytes]:
        """Run a command beside a container's process: exit code, stdout, stderr."""
        ...
