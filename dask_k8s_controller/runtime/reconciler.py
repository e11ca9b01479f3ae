"""How an object is reconciled, whatever its kind: observe, plan, execute, write the status, requeue."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dask_k8s_controller.cache.cache import Cache
from dask_k8s_controller.cache.objects import Sought
from dask_k8s_controller.kubernetes.errors import ApiError
from dask_k8s_controller.kubernetes.executor import Executor
from dask_k8s_controller.kubernetes.recorder import EventRecorder
from dask_k8s_controller.kubernetes.resources import Key
from dask_k8s_controller.kubernetes.status_writer import StatusWriter, Written
from dask_k8s_controller.plans.actions import Outcome
from dask_k8s_controller.plans.conditions import Status, holds
from dask_k8s_controller.plans.kind import Kind
from dask_k8s_controller.plans.notices import Notice
from dask_k8s_controller.runtime.metrics import Metrics
from dask_k8s_controller.runtime.queue import Requeue
from dask_k8s_controller.scheduler.conversations import Conversations
from dask_k8s_controller.settings import Policy

logger = logging.getLogger(__name__)


@dataclass
class Reconciler:
    """Reconciles objects of all kinds."""

    kinds: Mapping[str, Kind[Any, Any]]
    """The kinds, by name."""
    cache: Cache
    """What is known of the API server's objects."""
    executor: Executor
    statuses: StatusWriter
    recorder: EventRecorder
    conversations: Conversations
    """Where schedulers are asked."""
    metrics: Metrics
    """Told when a cluster has become ready."""
    policy: Policy
    """What plans depend on besides what is observed."""
    _starting: dict[str, datetime | None] = field(default_factory=dict, init=False)
    """Since when each new object, by its uid, has been starting; None while it is held back."""

    async def reconcile(self, key: Key) -> Requeue:
        """Bring an object a step closer to what it should be; return when to reconcile it again."""
        try:
            return await self._reconcile(key)
        except ApiError as error:  # What is missing was looked for.
            logger.warning("%s: whether it is gone can't be told: %s", key, error)
            self.metrics.reconcile_failed(key.kind, "NotReadable")
            return Requeue(failed=True)
        except Exception as error:
            self.metrics.reconcile_failed(key.kind, type(error).__name__)
            raise

    async def _reconcile(self, key: Key) -> Requeue:
        kind = self.kinds[key.kind]
        observed = await self._observe(kind, key)
        if observed is None:
            return Requeue.on_change()
        if (first := kind.first_status(observed)) is not None:
            # Before anything else: it tells clients that a controller acts.
            self._starting[observed.subject.meta.uid] = observed.subject.meta.created
            await self._write_status(kind, observed, first)
            observed = await self._observe(kind, key, observed.missing) or observed
        meta = observed.subject.meta
        planned_at = self.cache.clock.monotonic()
        plan = kind.plan(observed, self.policy)
        outcome = await self.executor.execute(key, meta.uid, plan.actions)
        if observed.endpoint is not None:
            for question in plan.questions:
                self.conversations.ask(question, observed.endpoint, key, meta.uid)
        self._record(kind, observed, plan.notices)
        after = await self._observe(kind, key, observed.missing)
        if after is None or after.subject.meta.uid != meta.uid:
            return Requeue.on_change()
        status = kind.status(after, plan, outcome)
        written = await self._write_status(kind, after, status)
        for reason in _failures(outcome, written):
            self.metrics.reconcile_failed(key.kind, reason)
        if written.is_done:
            self._record(kind, after, kind.notices(after, plan, outcome, status))
        if meta.uid in self._starting:
            self._note_start(kind, after, holds(status, "Ready", meta.generation))
        # Whatever is done to the time of day meanwhile: a wait is as long as the plan wanted it.
        waits = [written.later, outcome.requeue_after]
        if plan.requeue_at is not None:
            wait = (plan.requeue_at - observed.now).total_seconds()
            waits.append(max(0.0, planned_at + wait - self.cache.clock.monotonic()))
        after_seconds = min((wait for wait in waits if wait is not None), default=None)
        return Requeue(after_seconds, written.has_failed or not outcome.is_complete)

    async def _observe(self, kind: Kind[Any, Any], key: Key, sought: Iterable[Sought] = ()) -> Any:
        """Gather what a plan needs; what the cache lacks is looked for, unless it was sought just now."""
        observed = kind.observe(self.cache, key)
        if observed is not None and (missing := set(observed.missing) - set(sought)):
            await self.executor.look_for(key, missing)
            observed = kind.observe(self.cache, key)
        return observed

    async def _write_status(self, kind: Kind[Any, Any], observed: Any, status: Status) -> Written:
        return await self.statuses.write(
            kind.resource, observed.subject, status, plans_from_status=kind.plans_from_status
        )

    def _note_start(self, kind: Kind[Any, Any], observed: Any, is_ready: bool) -> None:
        """Measure how long a new object takes to be ready, from when nothing holds it back."""
        meta, now = observed.subject.meta, observed.now
        since = self._starting[meta.uid] or now
        if is_ready:
            del self._starting[meta.uid]
            self.metrics.became_ready(kind.resource.kind, since, now)
        else:
            self._starting[meta.uid] = None if kind.is_held_back(self.cache, observed.subject) else since

    def sweep(self) -> None:
        """Drop what is remembered of objects that are gone, though something late told of them again."""
        self._starting = {uid: since for uid, since in self._starting.items() if self.cache.knows(uid)}
        self.statuses.sweep()
        self.recorder.sweep()
        self.conversations.sweep(self.cache.knows)
        self.cache.sweep()

    def forget(self, uid: str) -> None:
        """Drop what is remembered of an object that is gone."""
        self.cache.forget(uid)
        self.conversations.forget(uid)

    def _record(self, kind: Kind[Any, Any], observed: Any, notices: Iterable[Notice]) -> None:
        for notice in notices:
            self.recorder.record(kind.resource, observed.subject.meta, notice)


def _failures(outcome: Outcome, written: Written) -> Iterable[str]:
    """Yield a word for all that went wrong."""
    for failure in outcome.failures:
        if failure.name_is_taken:
            yield "NameTaken"
        else:
            yield "Refused" if failure.needs_a_person else "Unavailable"
    if outcome.has_conflicts:
        yield "Conflict"
    if written.has_failed:
        yield "StatusNotWritten"
