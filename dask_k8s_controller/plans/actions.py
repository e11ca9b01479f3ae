"""What a plan is made of: writes, questions to a scheduler, remarks for the status, and when to requeue.

Pure: no kopf, no HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from dask_k8s_controller.plans.notices import Notice

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
    """Make a key and a certificate, and create the Secret that holds them, which is never read.

    Parameters
    ----------
    body : dict
        The Secret, without its data. If its name is taken, or there is an earlier certificate, the Secret is
        called so with some digits of the certificate's digest.
    is_first : bool
        The Secret may be called as it stands.
    hosts : tuple of str
        What the certificate is good for.
    now, not_after, renew_at : datetime
        When it begins, ends, and is to be followed by another.
    """

    body: Object
    is_first: bool
    hosts: tuple[str, ...]
    now: datetime
    not_after: datetime
    renew_at: datetime


@dataclass(frozen=True)
class ApplyUnread:
    """Apply a child that we may not read, unless somebody else has shaped it."""

    body: Object


Action = ApplyUnread | CreateCertificate | Create | Apply | Patch | JsonPatch | Delete | SetScale


@dataclass(frozen=True)
class AskWorkers:
    """Ask the scheduler which workers it has."""


@dataclass(frozen=True)
class AskIdle:
    """Ask the scheduler since when it has been idle."""


@dataclass(frozen=True)
class AskDemand:
    """Ask the scheduler how many workers it could use."""


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


@dataclass(frozen=True)
class AskCertificate:
    """Ask the scheduler which certificate it was started with."""


Question = AskCertificate | AskWorkers | AskIdle | AskDemand | Retire | Resume


@dataclass(frozen=True)
class Remark:
    """Something that the status should tell: why things are as they are."""

    reason: str
    message: str
    needs_a_person: bool = False
    """Nothing will change by itself: Stalled rather than Reconciling."""


@dataclass(frozen=True)
class Plan:
    """What to do next about one object.

    Parameters
    ----------
    actions : tuple of Action
        Writes, independent of each other: they are carried out at the same time.
    questions : tuple of Question
        Asked in the background; the object is reconciled when the answers come.
    remarks : tuple of Remark
        For the status, the most important first.
    requeue_at : datetime, optional
        When the object is to be reconciled though nothing changes.
    notices : tuple of Notice
        Events to record once the writes are done.
    """

    actions: tuple[Action, ...] = ()
    questions: tuple[Question, ...] = ()
    remarks: tuple[Remark, ...] = ()
    requeue_at: datetime | None = None
    notices: tuple[Notice, ...] = ()


def is_past(seconds: float) -> bool:
    """Whether a wait of so many seconds is over: what rounding leaves of it is nothing to wait for."""
    return seconds < 0.001


@dataclass
class Draft:
    """A plan while it is being made."""

    now: datetime
    actions: list[Action] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    requeue_at: datetime | None = None
    notices: list[Notice] = field(default_factory=list)

    def requeue_no_later_than(self, moment: datetime) -> None:
        """Reconcile again at that time, or earlier if that was asked for already."""
        self.requeue_at = min(moment, self.requeue_at) if self.requeue_at else moment

    def requeue_after(self, seconds: float) -> None:
        """Reconcile again after so many seconds, or earlier."""
        self.requeue_no_later_than(self.now + timedelta(seconds=seconds))

    def ask(self, question: Question) -> None:
        """Ask a question, once."""
        if question not in self.questions:
            self.questions.append(question)

    def ask_after(self, seconds: float, question: Question) -> None:
        """Ask a question after so many seconds, or at once if they have passed."""
        if is_past(seconds):
            self.ask(question)
        else:
            self.requeue_after(seconds)

    def remark(self, reason: str, message: str, *, needs_a_person: bool = False) -> None:
        """Add to what the status tells."""
        self.remarks.append(Remark(reason, message, needs_a_person))

    def done(self) -> Plan:
        """Return the plan."""
        return Plan(
            tuple(self.actions),
            tuple(self.questions),
            tuple(self.remarks),
            self.requeue_at,
            tuple(self.notices),
        )


@dataclass(frozen=True)
class Failure:
    """A write that the API server did not carry out."""

    what: str
    message: str
    needs_a_person: bool
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
    def is_complete(self) -> bool:
        """Whether all was carried out."""
        return not self.failures and not self.has_conflicts
