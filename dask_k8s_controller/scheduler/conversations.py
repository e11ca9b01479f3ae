"""Conversations with schedulers: questions are asked in the background, answers are kept for the plans.

A plan never waits for a scheduler. It finds an answer, or asks; when that comes, the object is reconciled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from dask_k8s_controller.kubernetes.errors import NoSuchRoute, SchedulerError, Unreachable
from dask_k8s_controller.kubernetes.resources import Key
from dask_k8s_controller.plans.actions import Ask, Question, Resume, Retire
from dask_k8s_controller.scheduler.answers import (
    Answer,
    Demand,
    Problem,
    Retirement,
    ServedCertificate,
    Worker,
)
from dask_k8s_controller.scheduler.endpoint import Endpoint

if TYPE_CHECKING:
    from dask_k8s_controller.runtime.clock import Clock

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Schedulers(Protocol):
    """How schedulers are asked: by HTTP; tests have others."""

    async def workers(self, endpoint: Endpoint) -> tuple[Worker, ...]: ...

    async def certificate(self, endpoint: Endpoint) -> ServedCertificate: ...

    async def idle_for(self, endpoint: Endpoint) -> float | None: ...

    async def demand(self, endpoint: Endpoint) -> Demand: ...

    async def drain(self, endpoint: Endpoint, addresses: Iterable[str]) -> Mapping[str, int]: ...

    async def resume(self, endpoint: Endpoint, addresses: Iterable[str]) -> None: ...

    def forget(self, uid: str) -> None: ...

    async def retire(self, endpoint: Endpoint, addresses: Iterable[str]) -> frozenset[str]: ...

    async def close(self) -> None: ...


@dataclass
class _Retirements:
    """What is known of a group's retirements; pods by their uid."""

    under_way: dict[str, str] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    refused: dict[str, float] = field(default_factory=dict)
    busy: dict[str, float] = field(default_factory=dict)
    failed: Answer[None] | None = None


class Conversations:
    """Asks schedulers and remembers their answers.

    Parameters
    ----------
    schedulers : Schedulers
        Speaks with them.
    clock : Clock
        What the time is; tests have one that they set.
    on_answer : callable
        Told the key of the object that an answer is for.
    on_question : callable, optional
        Told of each question what it was, and what came of it.
    """

    def __init__(
        self,
        schedulers: Schedulers,
        clock: Clock,
        on_answer: Callable[[Key], None],
        *,
        on_question: Callable[[str, str], None] | None = None,
    ) -> None:
        self._schedulers = schedulers
        self._clock = clock
        self._on_answer = on_answer
        self._on_question = on_question or (lambda question, outcome: None)
        self._workers: dict[str, Answer[tuple[Worker, ...]]] = {}
        self._idleness: dict[str, Answer[float]] = {}
        self._certificates: dict[str, Answer[ServedCertificate]] = {}
        self._demand: dict[str, Answer[Demand]] = {}
        self._retirements: dict[str, _Retirements] = {}
        self._waiting: dict[tuple[str, str], set[Key]] = {}
        self._tasks: dict[asyncio.Task[None], str] = {}

    def workers(self, scheduler_uid: str) -> Answer[tuple[Worker, ...]] | None:
        """Return what the scheduler said last about its workers."""
        return self._workers.get(scheduler_uid)

    def certificate(self, scheduler_uid: str) -> Answer[ServedCertificate] | None:
        """Return what the scheduler said last about its certificate."""
        return self._certificates.get(scheduler_uid)

    def idleness(self, scheduler_uid: str) -> Answer[float] | None:
        """Return what the scheduler said last about its being idle."""
        return self._idleness.get(scheduler_uid)

    def demand(self, scheduler_uid: str) -> Answer[Demand] | None:
        """Return how many workers the scheduler said last that it could use."""
        return self._demand.get(scheduler_uid)

    def retirement(self, group_uid: str) -> Retirement:
        """Return what is known of the retirement of a group's workers."""
        known = self._retirements.get(group_uid)
        if known is None:
            return Retirement()
        return Retirement(
            under_way=dict(known.under_way),
            done=frozenset(known.done),
            refused=dict(known.refused),
            busy=dict(known.busy),
            failed=known.failed,
        )

    def ask(self, question: Question, endpoint: Endpoint, key: Key, uid: str) -> None:
        """Ask a question in the background, unless it is being asked already.

        Parameters
        ----------
        question : Question
            What to ask.
        endpoint : Endpoint
            Whom.
        key : Key
            The object to reconcile when the answer is there.
        uid : str
            The object's uid.
        """
        match question:
            case Ask.WORKERS:
                self._share("workers", endpoint, key, partial(self._ask_workers, endpoint))
            case Ask.CERTIFICATE:
                self._share("certificate", endpoint, key, partial(self._ask_certificate, endpoint))
            case Ask.IDLE:
                self._share("idle", endpoint, key, partial(self._ask_idle, endpoint))
            case Ask.DEMAND:
                self._share("demand", endpoint, key, partial(self._ask_demand, endpoint))
            case Retire():
                self._start(endpoint, self._retire(question, endpoint, key, uid))
            case Resume():
                self._share("resume", endpoint, key, partial(self._resume, question, endpoint))

    def forget(self, uid: str) -> None:
        """Drop what is remembered of a group, or of a scheduler's pod, that is gone; ask that no more."""
        for task in [task for task, scheduler_uid in self._tasks.items() if scheduler_uid == uid]:
            task.cancel()
        self._retirements.pop(uid, None)
        self._workers.pop(uid, None)
        self._idleness.pop(uid, None)
        self._certificates.pop(uid, None)
        self._demand.pop(uid, None)
        self._schedulers.forget(uid)

    def forget_pod(self, group_uid: str, pod_uid: str) -> None:
        """Drop what is remembered of a worker's pod that is gone."""
        if known := self._retirements.get(group_uid):
            known.done.discard(pod_uid)
            known.refused.pop(pod_uid, None)
            known.busy.pop(pod_uid, None)

    def sweep(self, exists: Callable[[str], bool]) -> None:
        """Drop what is remembered of objects that are gone, though a late answer told of them again.

        Parameters
        ----------
        exists : callable
            Whether there is an object with a uid.
        """
        remembered = {*self._workers, *self._idleness, *self._certificates, *self._demand, *self._retirements}
        for uid in remembered:
            if not exists(uid):
                self.forget(uid)
        for group_uid, known in self._retirements.items():
            for pod_uid in {*known.done, *known.refused, *known.busy}:
                if not exists(pod_uid):
                    self.forget_pod(group_uid, pod_uid)

    def cancel(self) -> None:
        """Give up what is being asked."""
        for task in self._tasks:
            task.cancel()

    async def stop(self) -> None:
        """Ask no more."""
        self.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _share(
        self, what: str, endpoint: Endpoint, key: Key, ask: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Ask once for all that want to know."""
        question = (what, endpoint.uid)
        if question in self._waiting:
            self._waiting[question].add(key)
            return
        self._waiting[question] = {key}
        self._start(endpoint, ask()).add_done_callback(lambda _: self._tell(question))

    def _tell(self, question: tuple[str, str]) -> None:
        for interested in self._waiting.pop(question):
            self._on_answer(interested)

    def _start(self, endpoint: Endpoint, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        self._tasks[task] = endpoint.uid
        task.add_done_callback(self._tasks.pop)
        return task

    async def _ask_workers(self, endpoint: Endpoint) -> None:
        self._workers[endpoint.uid] = await self._answer("workers", self._schedulers.workers(endpoint))

    async def _ask_certificate(self, endpoint: Endpoint) -> None:
        answer = await self._answer("certificate", self._schedulers.certificate(endpoint))
        self._certificates[endpoint.uid] = answer

    async def _ask_idle(self, endpoint: Endpoint) -> None:
        self._idleness[endpoint.uid] = await self._answer("idle", self._schedulers.idle_for(endpoint))

    async def _ask_demand(self, endpoint: Endpoint) -> None:
        self._demand[endpoint.uid] = await self._answer("demand", self._schedulers.demand(endpoint))

    async def _resume(self, question: Resume, endpoint: Endpoint) -> None:
        try:
            await self._schedulers.resume(endpoint, question.addresses)
        except SchedulerError as error:
            logger.debug("%s: %s", endpoint.pod, error)
        finally:
            self._workers.pop(endpoint.uid, None)

    async def _retire(self, question: Retire, endpoint: Endpoint, key: Key, uid: str) -> None:
        known = self._retirements.setdefault(uid, _Retirements())
        pods = {
            pod: addresses for pod, addresses in question.pods if known.under_way.get(pod) != endpoint.uid
        }
        if not pods:
            return
        known.under_way |= dict.fromkeys(pods, endpoint.uid)
        for pod in pods:
            known.done.discard(pod)
            known.refused.pop(pod, None)
        try:
            idle = await self._drain(known, endpoint, pods, question.patient)
            if idle:
                logger.info("%s: retiring the workers of %s pods.", key, len(idle))
                await self._retire_now(known, endpoint, idle)
        finally:
            for pod in pods:
                if known.under_way.get(pod) == endpoint.uid:
                    del known.under_way[pod]
            # What the scheduler said of its workers before is no longer true.
            self._workers.pop(endpoint.uid, None)
            self._on_answer(key)

    async def _drain(
        self,
        known: _Retirements,
        endpoint: Endpoint,
        pods: Mapping[str, tuple[str, ...]],
        patient: frozenset[str],
    ) -> dict[str, tuple[str, ...]]:
        """Have the workers of patient pods get no more tasks; return the pods that may be retired by now."""
        addresses = [address for pod in patient & pods.keys() for address in pods[pod]]
        if not addresses:
            return dict(pods)
        answer = await self._answer("drain", self._schedulers.drain(endpoint, addresses))
        if answer.value is None:
            known.failed = Answer(answer.at, None, answer.problem, answer.message)
            return {}
        busy = {pod for pod in patient & pods.keys() if any(answer.value.get(one) for one in pods[pod])}
        known.busy |= dict.fromkeys(busy, answer.at)
        return {pod: of_pod for pod, of_pod in pods.items() if pod not in busy}

    async def _retire_now(
        self, known: _Retirements, endpoint: Endpoint, pods: Mapping[str, tuple[str, ...]]
    ) -> None:
        addresses = [address for of_pod in pods.values() for address in of_pod]
        answer = await self._answer("retire", self._schedulers.retire(endpoint, addresses))
        if answer.value is None:
            known.failed = Answer(answer.at, None, answer.problem, answer.message)
            return
        known.failed = None
        for pod, of_pod in pods.items():
            if answer.value.issuperset(of_pod):
                known.done.add(pod)
            else:
                known.refused[pod] = answer.at
                self._on_question("retire", "Refused")

    async def _answer(self, question: str, asking: Coroutine[Any, Any, T | None]) -> Answer[T]:
        try:
            value = await asking
        except SchedulerError as error:
            problem = (
                Problem.NO_ROUTE
                if isinstance(error, NoSuchRoute)
                else Problem.UNREACHABLE
                if isinstance(error, Unreachable)
                else Problem.BAD_ANSWER
            )
            self._on_question(question, problem.value)
            return Answer(self._clock.monotonic(), None, problem, str(error))
        self._on_question(question, "Answered")
        return Answer(self._clock.monotonic(), value)
