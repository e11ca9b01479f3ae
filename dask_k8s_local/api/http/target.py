"""What a request's path and method ask for.

https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

_WRITES = frozenset(("create", "update", "patch", "delete", "deletecollection"))
_VERBS = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}


@dataclass(frozen=True)
class Target:
    """The resource, object and subresource that a path names."""

    group: str
    version: str
    plural: str
    namespace: str | None = None
    name: str = ""
    subresource: str = ""


def target_of(path: str) -> Target | None:
    """Take a path apart; None if it isn't below ``/api/v1`` or ``/apis/{group}/{version}``."""
    parts = path.split("/")
    if parts[:3] == ["", "api", "v1"]:
        group, version, rest = "", "v1", parts[3:]
    elif parts[:2] == ["", "apis"] and len(parts) > 4:
        group, version, rest = parts[2], parts[3], parts[4:]
    else:
        return None
    while rest and rest[-1] == "" and "proxy" not in rest:
        rest.pop()
    if not rest:
        return None
    namespace: str | None = None
    is_inside_namespace = rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize")
    if is_inside_namespace:
        namespace, rest = rest[1], rest[2:]
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if len(rest) > 3 and subresource != "proxy":
        return None
    return Target(group, version, rest[0], namespace, name, subresource)


def verb_of(method: str, asked: Target, *, watch: bool) -> str:
    """Return Kubernetes' word for what a method does to a target."""
    word = _VERBS.get(method, "")
    if asked.name:
        return word
    if word == "get":
        return "watch" if watch else "list"
    return "deletecollection" if word == "delete" else word


@dataclass(frozen=True)
class Request:
    """A request from outside, as it stands in the log and as predicates see it."""

    verb: str
    """As in RBAC: get, list, watch, create, update, patch, delete, deletecollection; "" beside resources."""
    method: str
    path: str
    resource: str
    """As kubectl calls it in full: ``pods``, ``deployments.apps``."""
    subresource: str
    namespace: str
    name: str
    user: str
    user_agent: str
    field_manager: str
    at: float = field(default_factory=time.monotonic)
    """Seconds on the clock of `time.monotonic`."""

    @property
    def is_write(self) -> bool:
        return self.verb in _WRITES and self.subresource not in ("proxy", "exec", "portforward", "attach")
