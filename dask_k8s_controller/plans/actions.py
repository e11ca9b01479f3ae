"""What plans are made of: writes, with what becomes of them, and questions to a scheduler. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

Object = dict[str, Any]

NAME_RETRY = 10.0
"""Seconds between looks whether a name is free that somebody else has: what isn't ours isn't watched."""


@dataclass(frozen=True)
class Create:
    """Create a child under the name that it has."""

    body: Object
    may_be_renamed: bool = False
    """If somebody else has the name, the next plan chooses another."""


@dataclass(frozen=True)
class Apply:
    """Apply a child server-side, provided that it is still the one with this uid."""

    body: Object
    uid: str


@dataclass(frozen=True)
class Patch:
    """Merge a patch into an object, provided that it is still the one with this uid."""

    kind: str
    name: str
    uid: str
    patch: Object
    version: str = ""
    """If given, provided that the object has not changed since."""


@dataclass(frozen=True)
class JsonPatch:
    """Change the object with this uid by operations, which replace whole subtrees, as no merge patch does.

    https://www.rfc-editor.org/rfc/rfc6902
    """

    kind: str
    name: str
    uid: str
    operations: tuple[Object, ...]


@dataclass(frozen=True)
class Delete:
    """Delete the object with this uid."""

    kind: str
    name: str
    uid: str
    why: str
    version: str = ""
    """If given, provided that the object has not changed since."""
    grace: int | None = None
    """Seconds for a pod's end, if not those of its spec."""


@dataclass(frozen=True)
class SetScale:
    """Set an object's replicas through its scale subresource, if it is still at that version."""

    kind: str
    name: str
    replicas: int
    version: str


@dataclass(frozen=True)
class CreateCertificate:
    """Make a key and a certificate, and create the Secret that holds them, which is never read."""

    body: Object
    """The Secret, without its data."""
    is_first: bool
    """It may be called so if that is free, else with some digits of the certificate's digest."""
    hosts: tuple[str, ...]
    """What the certificate is good for."""
    now: datetime
    not_after: datetime
    renew_at: datetime
    """When it is to be followed by another."""


@dataclass(frozen=True)
class ApplyUnread:
    """Apply a child that we may not read, unless somebody else has shaped it."""

    body: Object


Action = ApplyUnread | CreateCertificate | Create | Apply | Patch | JsonPatch | Delete | SetScale


class Ask(Enum):
    """A question that a scheduler answers alike to all that want to know."""

    WORKERS = "workers"
    """Which workers it has."""
    IDLE = "idle"
    """Since when it has been idle."""
    DEMAND = "demand"
    """How many workers it could use."""
    CERTIFICATE = "certificate"
    """Which certificate it was started with."""
    TO_EXPECT = "expect"
    """To expect workers: those that leave have somebody to wait for."""


@dataclass(frozen=True)
class Retire:
    """Have the scheduler retire workers: pods by uid, each with the addresses of its workers.

    Those of ``patient`` pods are drained first, and retired only if they run no tasks any more.
    """

    pods: tuple[tuple[str, tuple[str, ...]], ...]
    patient: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Resume:
    """Have the scheduler give tasks to drained workers again."""

    addresses: tuple[str, ...]


Question = Ask | Retire | Resume


@dataclass(frozen=True)
class Remark:
    """Something that the status should tell: why things are as they are."""

    reason: str
    message: str
    needs_a_person: bool = False
    """Nothing will change by itself: Stalled rather than Reconciling."""


@dataclass(frozen=True)
class Failure(Remark):
    """A write that the API server did not carry out."""

    name_is_taken: bool = False
    """An object that isn't ours is called so."""


@dataclass(frozen=True)
class Outcome:
    """What became of a plan's writes."""

    failures: tuple[Failure, ...] = ()
    has_conflicts: bool = False
    """Some objects were no longer as they had been observed."""

    @property
    def requeue_after(self) -> float | None:
        """When to try again at the latest, in seconds, though nothing tells that it could work by now."""
        return NAME_RETRY if any(failure.name_is_taken for failure in self.failures) else None

    @property
    def remarks(self) -> list[Remark]:
        """What the status should tell of it."""
        conflict = Remark("Conflict", "Objects have changed meanwhile: they are looked at again.")
        return [*self.failures, *([conflict] if self.has_conflicts else [])]

    @property
    def is_complete(self) -> bool:
        """Whether all was carried out."""
        return not self.failures and not self.has_conflicts
