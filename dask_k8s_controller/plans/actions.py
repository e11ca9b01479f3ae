"""What a plan is made of: writes, questions to a scheduler, remarks for the status, and when to look again.

Pure: no kopf, no HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
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


Action = Create | Apply | Patch | JsonPatch | Delete


@dataclass(frozen=True)
class AskWorkers:
    """Ask the scheduler which workers it has."""


@dataclass(frozen=True)
class AskIdle:
    """Ask the scheduler since when it has been idle."""


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


Question = AskWorkers | AskIdle | Retire | Resume


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
        Asked in the background; the answers give the object another turn.
    remarks : tuple of Remark
        For the status, the most important first.
    requeue_at : datetime, optional
        When the object needs a turn though nothing changes.
    """

    actions: tuple[Action, ...] = ()
    questions: tuple[Question, ...] = ()
    remarks: tuple[Remark, ...] = ()
    requeue_at: datetime | None = None


@dataclass(frozen=True)
class Policy:
    """The waits that plans make, in seconds, and other choices of whoever runs the controller.

    Parameters
    ----------
    answer_age : float
        An answer of a scheduler may be so old when a plan relies on it.
    scheduler_retry : float
        Wait before a scheduler that failed to answer is asked again.
    drain_poll : float
        Wait between looks at a worker that is finishing its tasks.
    heartbeat : float
        What an idle worker is said to do may be so old, where the scheduler can't drain.
    retire_patience : float
        Wait for a retirement that an earlier process of the controller may have begun.
    refusal_memory : float
        A worker that the scheduler would not retire isn't asked for again so long.
    short_life : float
        A pod that ended sooner after its start is replaced only after ``failure_delay``.
    failure_delay : float
        See ``short_life``.
    idle_poll : float
        The least wait between looks at whether a busy scheduler has become idle.
    burst : int
        Create at most so many pods in one reconcile, however many are asked for, as a ReplicaSet does.
    batch_size : int, optional
        Create at most so many workers of a group at a time; None has no bound.
    batch_delay : float
        Wait between such batches.
    """

    answer_age: float = 2.0
    scheduler_retry: float = 5.0
    drain_poll: float = 1.0
    heartbeat: float = 1.0
    retire_patience: float = 30.0
    refusal_memory: float = 30.0
    short_life: float = 10.0
    failure_delay: float = 10.0
    idle_poll: float = 1.0
    burst: int = 500
    batch_size: int | None = None
    batch_delay: float = 0.0


@dataclass
class Draft:
    """A plan while it is being made."""

    now: datetime
    actions: list[Action] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    requeue_at: datetime | None = None

    def requeue_no_later_than(self, moment: datetime) -> None:
        """Look again at that time, or earlier if that was asked for already."""
        self.requeue_at = min(moment, self.requeue_at) if self.requeue_at else moment

    def requeue_after(self, seconds: float) -> None:
        """Look again after so many seconds, or earlier."""
        self.requeue_no_later_than(self.now + timedelta(seconds=seconds))

    def ask(self, question: Question) -> None:
        """Ask a question, once."""
        if question not in self.questions:
            self.questions.append(question)

    def remark(self, reason: str, message: str, *, needs_a_person: bool = False) -> None:
        """Add to what the status tells."""
        self.remarks.append(Remark(reason, message, needs_a_person))

    def done(self) -> Plan:
        """Return the plan."""
        return Plan(tuple(self.actions), tuple(self.questions), tuple(self.remarks), self.requeue_at)


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
