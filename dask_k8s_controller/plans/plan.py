"""What plans are made from, and what they say: writes, questions, remarks for the status, when to requeue.

Pure: no kopf, no HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from dask_k8s_controller.cache.custom import Custom
from dask_k8s_controller.cache.objects import Pod, Sought
from dask_k8s_controller.cache.store import HasMeta
from dask_k8s_controller.plans.actions import Action, Delete, Object, Patch, Question, Remark
from dask_k8s_controller.plans.notices import Notice
from dask_k8s_controller.settings import Policy

if TYPE_CHECKING:
    from dask_k8s_controller.scheduler.answers import Answer
    from dask_k8s_controller.scheduler.endpoint import Endpoint

C = TypeVar("C", bound=Custom[Any])


Applied = tuple[str, float]
"""Digest of what was applied, and when by the monotonic clock."""


@dataclass(frozen=True)
class Observed(Generic[C]):
    """Everything about one object at one moment: what its plan is made from."""

    subject: C
    """The object itself."""
    now: datetime
    monotonic: float = 0.0
    """The time by the monotonic clock, in seconds: that of the scheduler's answers."""
    endpoint: Endpoint | None = None
    """Where the scheduler answers that the plan may ask; None if there is none."""
    pods: tuple[Pod, ...] = ()
    """The pods that were made for an object of that name, whoever owns them."""
    applied: Mapping[str, Applied] = field(default_factory=dict)
    """Which of its children that nobody here reads were applied last, by kind."""

    @cached_property
    def own_pods(self) -> tuple[Pod, ...]:
        """The pods that were made for this very object."""
        return tuple(pod for pod in self.pods if pod.meta.is_child_of(self.subject.meta.uid))

    @property
    def missing(self) -> tuple[Sought, ...]:
        """What to read from the API server before anything is decided on its absence from the cache."""
        return ()


O = TypeVar("O", bound=Observed[Any])  # noqa: E741


def is_past(seconds: float) -> bool:
    """Whether a wait of so many seconds is over: what rounding leaves of it is nothing to wait for."""
    return seconds < 0.001


@dataclass
class Plan(Generic[O]):
    """What to do next about one object, by what was observed and under which policy."""

    observed: O
    policy: Policy
    actions: list[Action] = field(default_factory=list)
    """Writes, independent of each other: they are carried out at the same time."""
    questions: list[Question] = field(default_factory=list)
    """Asked in the background; the object is reconciled when the answers come."""
    remarks: list[Remark] = field(default_factory=list)
    """For the status, the most important first."""
    notices: list[Notice] = field(default_factory=list)
    """Events to record once the writes are done."""
    requeue_at: datetime | None = None
    """When the object is to be reconciled though nothing changes."""

    def requeue_no_later_than(self, moment: datetime) -> None:
        """Reconcile again at that time, or earlier if that was asked for already."""
        self.requeue_at = min(moment, self.requeue_at) if self.requeue_at else moment

    def requeue_after(self, seconds: float) -> None:
        """Reconcile again after so many seconds, or earlier."""
        self.requeue_no_later_than(self.observed.now + timedelta(seconds=seconds))

    def waits_until(self, due: datetime) -> bool:
        """Return whether that time is yet to come; if so, reconcile again when it has."""
        if due <= self.observed.now:
            return False
        self.requeue_no_later_than(due)
        return True

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

    def ask_again(self, seconds: float, question: Question, answer: Answer[Any] | None) -> None:
        """Ask a question so many seconds after it was answered last, or at once if it was not."""
        age = answer.age(self.observed.monotonic) if answer else seconds
        self.ask_after(seconds - age, question)

    def remark(self, reason: str, message: str, *, needs_a_person: bool = False) -> None:
        """Add to what the status tells."""
        self.remarks.append(Remark(reason, message, needs_a_person))

    def delete(self, child: HasMeta, why: str, grace: int | None = None, version: str = "") -> None:
        """Delete this very object; of a pod, perhaps with another grace period, in seconds."""
        self.actions.append(Delete(child.kind, child.meta.name, child.meta.uid, why, version, grace))

    def delete_all(self, children: Iterable[HasMeta], why: str, grace: int | None = None) -> None:
        """Delete those of them that aren't being deleted already."""
        for child in children:
            if not child.meta.is_deleting:
                self.delete(child, why, grace)

    def patch(self, child: HasMeta, patch: Object, version: str = "") -> None:
        """Merge a patch into this very object, provided that it still has that version if one is given."""
        self.actions.append(Patch(child.kind, child.meta.name, child.meta.uid, patch, version))
