"""Conversations with schedulers: questions are asked in the background, answers are kept for the plans.

A plan never waits for a scheduler. It finds an answer, or asks; when that comes, the object is reconciled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from dask_k8s_controller.cache.objects import Pod
from dask_k8s_controller.kubernetes.errors import NoSuchRoute, SchedulerError, Unreachable
from dask_k8s_controller.kubernetes.resources import Key
from dask_k8s_controller.plans.actions import Ask, Question, Resume, Retire
from dask_k8s_controller.scheduler.answers import Answer, Problem, Retirement
from dask_k8s_controller.scheduler.client import SchedulerClient
from dask_k8s_controller.scheduler.endpoint import Endpoint

if TYPE_CHECKING:
    from dask_k8s_controller.runtime.clock import Clock

logger = logging.getLogger(__name__)

T = TypeVar("T")

PROBLEMS = {NoSuchRoute: Problem.NO_ROUTE, Unreachable: Problem.UNREACHABLE}


@dataclass(eq=False)
class Conversations:
    """Asks schedulers and remembers their answers."""

    schedulers: SchedulerClient
    clock: Clock
    on_answer: Callable[[Key], None]
    """Called with the key of the object that an answer is for."""
    on_question: Callable[[str, str], None] = lambda question, outcome: None
    """Called with each question and its outcome."""
    _answers: dict[str, dict[Ask, Answer[Any]]] = field(default_factory=dict, init=False)
    _retirements: dict[str, Retirement] = field(default_factory=dict, init=False)
    _waiting: dict[tuple[Question, str], set[Key]] = field(default_factory=dict, init=False)
    _tasks: dict[asyncio.Task[None], str] = field(default_factory=dict, init=False)

    def last(self, question: Ask, scheduler: Pod | None) -> Answer[Any] | None:
        """Return what a scheduler's pod has said last; None if it was not asked, or there is none."""
        return self._answers.get(scheduler.meta.uid, {}).get(question) if scheduler else None

    def retirement(self, group_uid: str) -> Retirement:
        """Return what is known by now of the retirement of a group's workers."""
        known = self._retirements.get(group_uid)
        return deepcopy(known) if known else Retirement()

    def ask(self, question: Question, endpoint: Endpoint, key: Key, uid: str) -> None:
        """Ask a question in the background, unless it is being asked already, for the object with a uid."""
        if isinstance(question, Retire):
            self._start(endpoint, self._retire(question, endpoint, key, uid))
            return
        asked = question, endpoint.uid
        if asked in self._waiting:
            self._waiting[asked].add(key)
            return
        self._waiting[asked] = {key}
        ask = (
            self._resume(question, endpoint)
            if isinstance(question, Resume)
            else self._ask(question, endpoint)
        )
        self._start(endpoint, ask).add_done_callback(lambda _: self._notify(asked))

    def forget(self, uid: str) -> None:
        """Drop what is remembered of a group, or of a scheduler's pod, that is gone; ask that no more."""
        for task in [task for task, scheduler_uid in self._tasks.items() if scheduler_uid == uid]:
            task.cancel()
        self._retirements.pop(uid, None)
        self._answers.pop(uid, None)
        self.schedulers.forget(uid)

    def forget_pod(self, group_uid: str, pod_uid: str) -> None:
        """Drop what is remembered of a worker's pod that is gone."""
        if known := self._retirements.get(group_uid):
            known.done.discard(pod_uid)
            known.refused.pop(pod_uid, None)
            known.busy.pop(pod_uid, None)

    def sweep(self, exists: Callable[[str], bool]) -> None:
        """Drop what is remembered of uids that don't exist any more, though a late answer told of them."""
        for uid in {*self._answers, *self._retirements}:
            if not exists(uid):
                self.forget(uid)
        for group_uid, known in self._retirements.items():
            for pod_uid in {*known.done, *known.refused, *known.busy}:
                if not exists(pod_uid):
                    self.forget_pod(group_uid, pod_uid)

    def cancel(self) -> None:
        """Cancel the questions that are under way."""
        for task in self._tasks:
            task.cancel()

    async def stop(self) -> None:
        """Cancel the questions that are under way, and wait until they have ended."""
        self.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _notify(self, asked: tuple[Question, str]) -> None:
        for interested in self._waiting.pop(asked):
            self.on_answer(interested)

    def _start(self, endpoint: Endpoint, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        self._tasks[task] = endpoint.uid
        task.add_done_callback(self._tasks.pop)
        return task

    async def _ask(self, question: Ask, endpoint: Endpoint) -> None:
        ask: dict[Ask, Callable[[Endpoint], Coroutine[Any, Any, Any]]] = {
            Ask.WORKERS: self.schedulers.workers,
            Ask.IDLE: self.schedulers.idle_for,
            Ask.DEMAND: self.schedulers.demand,
            Ask.CERTIFICATE: self.schedulers.certificate,
            Ask.TO_EXPECT: self.schedulers.expect,
        }
        answer = await self._answer(question.value, ask[question](endpoint))
        self._answers.setdefault(endpoint.uid, {})[question] = answer

    async def _resume(self, question: Resume, endpoint: Endpoint) -> None:
        try:
            await self.schedulers.resume(endpoint, question.addresses)
        except SchedulerError as error:
            logger.debug("%s: %s", endpoint.pod, error)
        finally:
            self._answers.get(endpoint.uid, {}).pop(Ask.WORKERS, None)  # It is no longer true.

    async def _retire(self, question: Retire, endpoint: Endpoint, key: Key, uid: str) -> None:
        known = self._retirements.setdefault(uid, Retirement())
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
            self._answers.get(endpoint.uid, {}).pop(Ask.WORKERS, None)  # It is no longer true.
            self.on_answer(key)

    async def _drain(
        self,
        known: Retirement,
        endpoint: Endpoint,
        pods: Mapping[str, tuple[str, ...]],
        patient: frozenset[str],
    ) -> dict[str, tuple[str, ...]]:
        """Have the workers of patient pods get no more tasks; return the pods that may be retired by now."""
        addresses = [address for pod in patient & pods.keys() for address in pods[pod]]
        if not addresses:
            return dict(pods)
        answer = await self._answer("drain", self.schedulers.drain(endpoint, addresses))
        if answer.value is None:
            known.failed = answer
            return {}
        busy = {pod for pod in patient & pods.keys() if any(answer.value.get(one) for one in pods[pod])}
        known.busy |= dict.fromkeys(busy, answer.at)
        return {pod: of_pod for pod, of_pod in pods.items() if pod not in busy}

    async def _retire_now(
        self, known: Retirement, endpoint: Endpoint, pods: Mapping[str, tuple[str, ...]]
    ) -> None:
        addresses = [address for of_pod in pods.values() for address in of_pod]
        answer = await self._answer("retire", self.schedulers.retire(endpoint, addresses))
        if answer.value is None:
            known.failed = answer
            return
        known.failed = None
        for pod, of_pod in pods.items():
            if answer.value.issuperset(of_pod):
                known.done.add(pod)
            else:
                known.refused[pod] = answer.at
                self.on_question("retire", "Refused")

    async def _answer(self, question: str, asking: Coroutine[Any, Any, T | None]) -> Answer[T]:
        try:
            value = await asking
        except SchedulerError as error:
            problem = PROBLEMS.get(type(error), Problem.BAD_ANSWER)
            self.on_question(question, problem.value)
            return Answer(self.clock.monotonic(), None, problem, str(error))
        self.on_question(question, "Answered")
        return Answer(self.clock.monotonic(), value)
