"""What is remembered of a request."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

_WRITES = frozenset(("create", "update", "patch", "delete", "deletecollection"))


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
